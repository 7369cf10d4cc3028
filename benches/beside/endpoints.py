"""Endpoints for `run`: each argument is `port:seconds`, the time after which the endpoint answers; or `port:apart`, an
endpoint that writes its head and its body apart, with Nagle's algorithm on, as Python's `http.server` does.

SIGUSR1 prints how many requests each of the former had since the last time."""

import asyncio
import signal
import socket
import sys
import threading

counts = {}


class Delayed(asyncio.Protocol):
    def __init__(self, port, seconds):
        self.port, self.seconds, self.received = port, seconds, b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.received += data
        while b"\r\n\r\n" in self.received:
            _, self.received = self.received.split(b"\r\n\r\n", 1)
            counts[self.port] = counts.get(self.port, 0) + 1
            asyncio.get_running_loop().call_later(self.seconds, self.answer)

    def answer(self):
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")


def serve_apart(connection):
    received = b""
    try:
        while True:
            while b"\r\n\r\n" not in received:
                data = connection.recv(65536)
                if not data:
                    return
                received += data
            head, received = received.split(b"\r\n\r\n", 1)
            lines = [line.lower() for line in head.split(b"\r\n")]
            length = sum(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
            while len(received) < length:
                received += connection.recv(65536)
            received = received[length:]
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
            connection.send(b"x" * 500)
    except ConnectionError:
        pass


def listen_apart(port):
    listener = socket.create_server(("127.0.0.1", port), backlog=64)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve_apart, args=(connection,), daemon=True).start()


def show():
    print(" ".join(f"{port}:{count}" for port, count in sorted(counts.items())), flush=True)
    counts.clear()


async def main():
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, show)
    for argument in sys.argv[1:]:
        port, kind = argument.split(":")
        if kind == "apart":
            threading.Thread(target=listen_apart, args=(int(port),), daemon=True).start()
        else:
            make = lambda port=int(port), seconds=float(kind): Delayed(port, seconds)
            await loop.create_server(make, "127.0.0.1", int(port), backlog=512)
    await asyncio.Event().wait()


asyncio.run(main())
