//! Routers, their servers, identifiers and binding caches.

use super::Fate::{Inside, NoEffect, NotYet, Refused, Works};
use super::{ACCESS_LOGS, HTTP2, Holds, INGRESS, Key, Section, TLS, TRACES, key, list, one, section, sorted};

const ONE_CACHE: &str = "a name is kept with its tree and its bound names: `paths` bounds them all";
const STREAMED: &str = "bodies are always streamed, whatever their length";
const ALWAYS_STREAMED: &str = "removed in Linkerd 1.6 or 1.7, and bodies have no limit here: remove the key";
const NOT_ANNOUNCED: &str =
    "listeners are not announced anywhere: let the platform's service discovery find them";
const BINARY: &str = "Signpost speaks HTTP: keep such a service on another proxy, or put gRPC in its place";
const ISTIO: &str = "the Istio of Linkerd 1 is gone: use `io.l5d.header.token`, or Istio's own ingress";

pub(super) const SECTIONS: &[Section] = &[
    section(
        "router",
        &[
            key("label", Works),
            list("servers", Works, "server"),
            key("dtab", Works),
            key("dstPrefix", Works),
            Key { name: "identifier", fate: Works, holds: Holds::OneOrList("identifier") },
            one("interpreter", Works, "interpreter"),
            key("bindingTimeoutMs", Works),
            one("bindingCache", Works, "binding cache"),
            one("client", Inside, "client"),
            one("service", Inside, "service"),
            key("originator", NoEffect("it only set a gauge")),
            key("announcers", NoEffect(NOT_ANNOUNCED)),
            key("experimental", NoEffect(super::naming::NO_EXPERIMENT)),
            one("tracePropagator", NotYet(TRACES), "trace propagator"),
        ],
    )
    .sorted_by("protocol"),
    section(
        "router kind",
        &[
            key("http", Works),
            key("h2", NotYet(HTTP2)),
            key("thrift", Refused(BINARY)),
            key("thriftmux", Refused(BINARY)),
            key("mux", Refused(BINARY)),
        ],
    ),
    section(
        "router http",
        &[
            key("maxHeadersKB", Works),
            key("maxInitialLineKB", Works),
            key("maxErrResponseKB", Works),
            key("httpAccessLog", NotYet(ACCESS_LOGS)),
            key("httpAccessLogRollPolicy", NotYet(ACCESS_LOGS)),
            key("httpAccessLogAppend", NotYet(ACCESS_LOGS)),
            key("httpAccessLogRotateCount", NotYet(ACCESS_LOGS)),
            key("streamingEnabled", NoEffect(STREAMED)),
            key("streamAfterContentLengthKB", NoEffect(STREAMED)),
            key("compressionLevel", NoEffect("bodies pass as they are: let the service compress them")),
            key("maxRequestKB", Refused(ALWAYS_STREAMED)),
            key("maxResponseKB", Refused(ALWAYS_STREAMED)),
            key("maxChunkKB", Refused(ALWAYS_STREAMED)),
            key("engine", Refused("removed in Linkerd 1.3: there is one engine, remove the key")),
            key("timeoutMs", Refused("removed from routers: set `timeoutMs` on the server")),
            key("baseDtab", Refused("removed from Linkerd: its name is `dtab`")),
            key("tracers", Refused("removed from Linkerd: its place is `telemetry`")),
        ],
    ),
    section(
        "router h2",
        &[
            key("h2AccessLog", NotYet(HTTP2)),
            key("h2AccessLogRollPolicy", NotYet(HTTP2)),
            key("h2AccessLogAppend", NotYet(HTTP2)),
            key("h2AccessLogRotateCount", NotYet(HTTP2)),
        ],
    ),
    section(
        "binding cache",
        &[
            key("paths", Works),
            key("trees", NoEffect(ONE_CACHE)),
            key("bounds", NoEffect(ONE_CACHE)),
            key("clients", Works),
            key("idleTtlSecs", Works),
        ],
    ),
    sorted("trace propagator", &[]),
    section(
        "trace propagator kind",
        &[key("io.l5d.default", NotYet(TRACES)), key("io.l5d.zipkin", NotYet(TRACES))],
    ),
    section(
        "server",
        &[
            key("port", Works),
            key("ip", Works),
            key("label", Works),
            key("trust", Works),
            key("clearContext", Works),
            key("maxConcurrentRequests", Works),
            key("maxConnections", Works),
            key("maxHeaders", Works),
            key("headersTimeoutMs", Works),
            key("timeoutMs", Works),
            key("maxCallDepth", Works),
            one("addForwardedHeader", Works, "forwarded header"),
            one("socketOptions", Works, "socket options"),
            one("tls", NotYet(TLS), "server tls"),
            one("serverSession", Works, "session"),
            key("announce", NoEffect(NOT_ANNOUNCED)),
        ],
    ),
    section("server http", &[key("timestampHeader", Works)]),
    section("server h2", &[]).with(&["h2 endpoint"]),
    section(
        "h2 endpoint",
        &[
            key("maxConcurrentStreamsPerConnection", NotYet(HTTP2)),
            key("initialStreamWindowBytes", NotYet(HTTP2)),
            key("headerTableBytes", NotYet(HTTP2)),
            key("maxFrameBytes", NotYet(HTTP2)),
            key("maxHeaderListBytes", NotYet(HTTP2)),
            key("windowUpdateRatio", NotYet(HTTP2)),
        ],
    ),
    section(
        "socket options",
        &[
            key("noDelay", Works),
            key("reuseAddr", NoEffect("it is always on, as it was by default")),
            key("reusePort", Works),
            key("keepAlive", Works),
            key("backlog", Works),
            key("readTimeoutMs", Works),
            key("writeTimeoutMs", Works),
        ],
    ),
    section("session", &[key("idleTimeMs", Works), key("lifeTimeMs", Works)]),
    section("forwarded header", &[one("by", Works, "labeler"), one("for", Works, "labeler")]),
    sorted("labeler", &[]),
    section(
        "labeler kind",
        &[
            key("ip", Works),
            key("ip:port", Works),
            key("connectionRandom", Works),
            key("requestRandom", Works),
            key("router", Works),
            key("static", Works),
        ],
    ),
    section("labeler static", &[key("label", Works)]),
    section(
        "server tls",
        &[
            key("certPath", NotYet(TLS)),
            key("keyPath", NotYet(TLS)),
            key("intermediateCertsPath", NotYet(TLS)),
            key("caCertPath", NotYet(TLS)),
            key("ciphers", NotYet(TLS)),
            key("requireClientAuth", NotYet(TLS)),
            key("protocols", NotYet(TLS)),
        ],
    ),
    sorted("identifier", &[]),
    section("identifier kind", &[key("io.l5d.header.token", Works), key("io.l5d.ingress", NotYet(INGRESS))]),
    section(
        "identifier kind http",
        &[
            key("io.l5d.header", Works),
            key("io.l5d.path", Works),
            key("io.l5d.methodAndHost", Works),
            key("io.l5d.static", Works),
            key("io.l5d.k8s.istio", Refused(ISTIO)),
            key("io.l5d.k8s.istio-ingress", Refused(ISTIO)),
        ],
    ),
    section(
        "identifier kind h2",
        &[
            key("io.l5d.header.path", NotYet(HTTP2)),
            key("io.l5d.k8s.istio", Refused(ISTIO)),
            key("io.l5d.k8s.istio-ingress", Refused(ISTIO)),
        ],
    ),
    section("identifier io.l5d.header.token", &[key("header", Works)]),
    section("identifier io.l5d.header", &[key("header", Works)]),
    section("identifier io.l5d.path", &[key("segments", Works), key("consume", Works)]),
    section("identifier io.l5d.methodAndHost", &[key("httpUriInDst", Works)]),
    section("identifier io.l5d.static", &[key("path", Works)]),
    section("identifier io.l5d.header.path", &[key("header", NotYet(HTTP2)), key("segments", NotYet(HTTP2))]),
    section(
        "identifier io.l5d.ingress",
        &[
            key("namespace", NotYet(INGRESS)),
            key("ingressClassAnnotation", NotYet(INGRESS)),
            key("ignoreDefaultBackends", NotYet(INGRESS)),
            key("host", NotYet(INGRESS)),
            key("port", NotYet(INGRESS)),
        ],
    ),
];
