"""The story of sandboxes: two branches tested in a shared environment that is in use meanwhile.

    story.py SIGNPOST

Three services, one behind the other, call each other through a router: `front` calls `middle`, which calls `back`. Each
has a baseline; branch `a` changes `middle`, branch `b` changes `back`. Requests carry their key in baggage, over HTTP and
over gRPC, and the services pass it on by OpenTelemetry alone. The baseline is under load all the time: not one of its
requests may fail, or reach a branch.
"""

import contextlib
import datetime
import http.client
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time

import grpc

SIGNPOST = os.path.abspath(sys.argv[1])
HERE = pathlib.Path(__file__).parent
BASELINE = ["front", "middle", "back"]
CALL = "/story.Service/Call"
# How long a change may take until it is seen, with all these processes on a busy machine.
PATIENCE = 60
# How many requests over each protocol must all end where their key says.
REQUESTS = 25


class Story:
    def __init__(self, folder, stack):
        self.folder, self.stack = folder, stack
        (folder / "http").mkdir()
        (folder / "h2").mkdir()
        self.items = []
        self.publish()

    def start(self, *command, **options):
        process = subprocess.Popen(command, text=True, **options)
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)
        return process

    def start_router(self):
        config = self.folder / "signpost.yaml"
        config.write_text(
            json.dumps(
                {
                    "admin": {"port": 0},
                    "namers": [
                        {"kind": "io.l5d.fs", "prefix": "/http", "rootDir": str(self.folder / "http")},
                        {"kind": "io.l5d.fs", "prefix": "/h2", "rootDir": str(self.folder / "h2")},
                    ],
                    "sandboxes": {"file": str(self.folder / "sandboxes.yaml")},
                    "routers": [
                        {
                            "protocol": protocol,
                            "label": protocol,
                            "identifier": {"kind": "io.l5d.header.token"},
                            "dtab": f"/branch => /#/{protocol} ; /svc => /#/{protocol}",
                            "servers": [{"port": 0}],
                        }
                        for protocol in ("http", "h2")
                    ],
                }
            )
        )
        log = self.folder / "log"
        self.router = self.start(SIGNPOST, "run", str(config), stdout=log.open("w"), stderr=subprocess.STDOUT)

        def addresses():
            assert self.router.poll() is None, f"the router does not start:\n{log.read_text()}"
            found = re.findall(r"router=\"(\w+)\" address=(127\.0\.0\.1:\d+)", re.sub(r"\x1b\[[0-9;]*m", "", log.read_text()))
            return dict(found) if len(found) >= 2 else None

        found = wait_for(addresses, lambda: f"the router does not start:\n{log.read_text()}")
        self.http, self.grpc = found["http"], found["h2"]

    def start_service(self, name, version, following):
        """Starts a version of a service, and names it: the baseline by its service, a branch by its version."""
        command = [sys.executable, str(HERE / "service.py"), version, following, self.http, self.grpc]
        service = self.start(*command, stdout=subprocess.PIPE)
        http_port, grpc_port = service.stdout.readline().split()
        name = name if version == name else version
        (self.folder / "http" / name).write_text(f"127.0.0.1 {http_port}\n")
        (self.folder / "h2" / name).write_text(f"127.0.0.1 {grpc_port}\n")

    def publish(self, *items):
        """Writes the file of sandboxes as an editor does: it is never there by halves."""
        self.items = list(items)
        draft = self.folder / "draft"
        draft.write_text(json.dumps(self.items))
        draft.rename(self.folder / "sandboxes.yaml")

    def ask_http(self, key=None, service="front"):
        """Returns the versions that a request met, and what the first router says of its keys."""
        connection = http.client.HTTPConnection(self.http, timeout=30)
        try:
            headers = {"Host": service, **({"baggage": f"user=7,sd-routing-key={key}"} if key else {})}
            connection.request("GET", "/", headers=headers)
            response = connection.getresponse()
            body = response.read()
            if response.status != 200:
                raise AssertionError(f"{key}: {response.status} {body!r}")
            told = {name.lower(): value for name, value in response.getheaders() if name.lower().startswith("l5d-sandbox")}
            return json.loads(body), told
        finally:
            connection.close()

    def ask_grpc(self, key=None):
        metadata = (("baggage", f"user=7,sd-routing-key={key}"),) if key else ()
        answer, call = self.front.with_call(b"", metadata=metadata, timeout=30)
        told = {name: value for name, value in call.initial_metadata() if name.startswith("l5d-sandbox")}
        return json.loads(answer), told

    def open_channel(self):
        options = [("grpc.default_authority", "front")]
        channel = self.stack.enter_context(grpc.insecure_channel(self.grpc, options=options))
        self.front = channel.unary_unary(CALL)

    def await_versions(self, key, expected):
        """Waits until requests with a key end at these versions, over both protocols; from then on all of them must."""
        for ask in (self.ask_http, self.ask_grpc):
            wait_for(lambda: ask(key)[0] == expected, lambda: f"{key} does not lead to {expected}: {ask(key)}")
            for _ in range(REQUESTS):
                versions, told = ask(key)
                assert versions == expected, (key, versions, expected)
        return told


class Load:
    """Requests without a key, one after the other, over both protocols."""

    def __init__(self, story):
        self.story, self.count, self.wrong, self.is_over = story, 0, [], False
        self.threads = [threading.Thread(target=self.run, args=[ask]) for ask in (story.ask_http, story.ask_grpc)]
        for thread in self.threads:
            thread.start()

    def run(self, ask):
        while not self.is_over:
            try:
                versions, told = ask()
                if versions != BASELINE or told:
                    self.wrong.append((versions, told))
            except Exception as error:  # noqa: BLE001: every failure counts
                self.wrong.append(error)
            self.count += 1

    def end(self):
        self.is_over = True
        for thread in self.threads:
            thread.join()


def wait_for(condition, complaint):
    """Waits until a condition is met; returns its value."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(complaint())


def sandbox(name, service, version, **more):
    return {"name": name, "dtab": f"/svc/{service} => /branch/{version}", **more}


def tell(story):
    a, b = sandbox("a", "middle", "middle-a"), sandbox("b", "back", "back-b")
    both = {"name": "both", "all": ["a", "b"]}

    print("before any sandbox, a key is unknown and leads to the baseline")
    told = story.await_versions("a", BASELINE)
    assert told == {"l5d-sandbox-unknown": "a"}, told

    print("two branches, and a group of both")
    story.publish(a, b, both)
    assert story.await_versions("a", ["front", "middle-a", "back"]) == {"l5d-sandbox": "a"}
    assert story.await_versions("b", ["front", "middle", "back-b"]) == {"l5d-sandbox": "b"}
    story.await_versions("both", ["front", "middle-a", "back-b"])
    story.await_versions("b%2Ba", ["front", "middle-a", "back-b"])
    story.await_versions(None, BASELINE)

    print("a branch is deployed anew, under another name")
    story.start_service("middle", "middle-a2", "back")
    story.publish(sandbox("a", "middle", "middle-a2"), b, both)
    story.await_versions("a", ["front", "middle-a2", "back"])
    story.await_versions("both", ["front", "middle-a2", "back-b"])
    story.await_versions("b", ["front", "middle", "back-b"])

    print("a copy is scaled down: the baseline answers, and a trusted caller is told")
    (story.folder / "http" / "middle-a2").write_text("")
    (story.folder / "h2" / "middle-a2").write_text("")
    story.await_versions("a", BASELINE)
    versions, told = story.ask_http("a", "middle")
    assert versions == ["middle", "back"], versions
    assert told == {"l5d-sandbox": "a", "l5d-sandbox-fallback": "a /svc/middle=>/branch/middle-a2"}, told

    print("a sandbox ends at its time, and its group goes on without it")
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=8)
    ending = sandbox("a", "middle", "middle-a", expiresAt=end.isoformat().replace("+00:00", "Z"))
    story.publish(ending, b, both)
    wait_for(lambda: story.ask_http("a")[0] == ["front", "middle-a", "back"], lambda: "the sandbox is not seen")
    ended = story.await_versions("a", BASELINE)
    assert datetime.datetime.now(datetime.UTC) >= end, "it ended too early"
    assert ended == {"l5d-sandbox-unknown": "a"}, ended
    story.await_versions("both", ["front", "middle", "back-b"])

    print("a sandbox is deleted")
    story.publish(a, b)
    story.await_versions("a", ["front", "middle-a", "back"])
    story.publish(b)
    assert story.await_versions("a", BASELINE) == {"l5d-sandbox-unknown": "a"}
    assert story.await_versions("both", BASELINE) == {"l5d-sandbox-unknown": "both"}
    story.await_versions("b", ["front", "middle", "back-b"])


def main():
    with contextlib.ExitStack() as stack:
        story = Story(pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory())), stack)
        story.start_router()
        for name, versions, following in (
            ("front", ["front"], "middle"),
            ("middle", ["middle", "middle-a"], "back"),
            ("back", ["back", "back-b"], "-"),
        ):
            for version in versions:
                story.start_service(name, version, following)
        story.open_channel()
        story.await_versions(None, BASELINE)
        load = Load(story)
        try:
            tell(story)
        finally:
            load.end()
        assert load.count > 10 * REQUESTS, f"only {load.count} requests of the baseline were tried"
        assert not load.wrong, f"{len(load.wrong)} of {load.count} requests of the baseline went wrong: {load.wrong[:5]}"
        story.router.terminate()
        assert story.router.wait(timeout=30) == 0, "the router does not stop cleanly"
        print(f"the story is told: {load.count} requests of the baseline, none of them wrong")


main()
