"""Sends 50 requests, one after the other, on one connection to a port, and prints how long they took. With `apart`, each
request has a body that is written behind its head, with Nagle's algorithm on."""

import socket
import sys
import time

port, apart = int(sys.argv[1]), sys.argv[2:] == ["apart"]
connection = socket.create_connection(("127.0.0.1", port))
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, not apart)
answers, times = connection.makefile("rb"), []
for _ in range(50):
    began = time.perf_counter()
    if apart:
        connection.send(b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 500\r\n\r\n")
        connection.send(b"y" * 500)
    else:
        connection.send(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
    status, length = answers.readline(), 0
    assert b" 200 " in status, status
    while (line := answers.readline()) != b"\r\n":
        if line.lower().startswith(b"content-length:"):
            length = int(line[15:])
    answers.read(length)
    times.append((time.perf_counter() - began) * 1000)
times.sort()
print(f"p50 {times[25]:.2f} ms, most {times[-1]:.2f} ms")
