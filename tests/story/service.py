"""A service of the story: it answers with its version, and with the answers of the services behind it.

    service.py VERSION NEXT HTTP_ROUTER GRPC_ROUTER

It serves HTTP and gRPC on free ports of loopback and prints both. NEXT is the name of the service that it calls through
the router, or `-`. What it passes on is what OpenTelemetry's own propagators make of the request: the code of the
service knows nothing of sandboxes.
"""

import http.client
import http.server
import json
import sys
from concurrent import futures

import grpc
from opentelemetry import propagate
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

VERSION, NEXT, HTTP_ROUTER, GRPC_ROUTER = sys.argv[1:]
CALL = "/story.Service/Call"
TIMEOUT = 10

propagate.set_global_textmap(CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()]))


def passed_on(headers):
    """Returns the header fields of a call, from those of the request that caused it."""
    carrier = {}
    propagate.inject(carrier, propagate.extract(dict(headers)))
    return carrier


def over_http(headers):
    """Returns the versions of the services behind this one."""
    if NEXT == "-":
        return []
    connection = http.client.HTTPConnection(HTTP_ROUTER, timeout=TIMEOUT)
    try:
        connection.request("GET", "/", headers={**passed_on(headers), "Host": NEXT})
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise OSError(f"{NEXT} answered {response.status}: {body!r}")
        return json.loads(body)
    finally:
        connection.close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        try:
            status, answer = 200, [VERSION, *over_http({name.lower(): value for name, value in self.headers.items()})]
        except OSError as error:
            status, answer = 500, str(error)
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def channel(name):
    return grpc.insecure_channel(GRPC_ROUTER, options=[("grpc.default_authority", name)])


def over_grpc(request, context):
    answer = [VERSION]
    if NEXT != "-":
        metadata = tuple(passed_on(context.invocation_metadata()).items())
        try:
            answer += json.loads(next_service(request, metadata=metadata, timeout=TIMEOUT))
        except grpc.RpcError as error:
            context.abort(error.code(), error.details())
    return json.dumps(answer).encode()


if NEXT != "-":
    next_service = channel(NEXT).unary_unary(CALL)

grpc_server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
handler = grpc.unary_unary_rpc_method_handler(over_grpc)
grpc_server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("story.Service", {"Call": handler})])
grpc_port = grpc_server.add_insecure_port("127.0.0.1:0")
grpc_server.start()
http_server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
http_server.daemon_threads = True
print(http_server.server_address[1], grpc_port, flush=True)
http_server.serve_forever()
