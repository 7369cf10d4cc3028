//! Routers, their servers, identifiers and binding caches.

use super::Support::{Foreign, NoEffect, NotYet, Refused, Works};
use super::{Contents, NOTHING, SchemaRow, Section, TRACES, key, kinds, list, one, section, value_or_one};

const ONE_CACHE: &str = "a name is kept with its tree and its bound names: `paths` bounds them all";
const STREAMED: &str = "bodies are always streamed, whatever their length";
const ALWAYS_STREAMED: &str = "removed in Linkerd 1.6 or 1.7, and bodies have no limit here: remove the key";
const NOT_ANNOUNCED: &str =
    "listeners are not announced anywhere: let the platform's service discovery find them";
const BINARY: &str = "Signpost speaks HTTP: keep such a service on another proxy, or put gRPC in its place";
const HEADER_LIST: &str = "here a server, and `client` for responses, has `maxHeaderListBytes`";
const ISTIO: &str = "the Istio of Linkerd 1 is gone: use `io.l5d.header.token`, or Istio's own ingress";

pub(super) const SECTIONS: &[Section] = &[
    section(
        "router",
        &[
            key("label", Works),
            list("servers", Works, "server"),
            key("dtab", Works),
            key("dstPrefix", Works),
            SchemaRow { name: "identifier", support: Works, contents: Contents::OneOrList("identifier") },
            one("interpreter", Works, "interpreter"),
            key("bindingTimeoutMs", Works),
            key("maxOverrideLookups", Works),
            one("bindingCache", Works, "binding cache"),
            one("client", Works, "client"),
            key("maxResponseHeaders", Works),
            one("service", Works, "service"),
            key("originator", NoEffect("it only set a gauge")),
            key("announcers", NoEffect(NOT_ANNOUNCED)),
            key("experimental", NoEffect(super::naming::NO_EXPERIMENT)),
            key("tracePropagator", NotYet(TRACES)),
        ],
    )
    .kinds_by("protocol"),
    section(
        "router kind",
        &[
            key("http", Works),
            key("h2", Works),
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
            key("httpAccessLog", Works),
            key("httpAccessLogFormat", Works),
            key("httpAccessLogRollPolicy", Works),
            key("httpAccessLogAppend", Works),
            key("httpAccessLogRotateCount", Works),
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
            key("h2AccessLog", Foreign("here it is `httpAccessLog`")),
            key("h2AccessLogFormat", Foreign("here it is `httpAccessLogFormat`")),
            key("h2AccessLogRollPolicy", Foreign("here it is `httpAccessLogRollPolicy`")),
            key("h2AccessLogAppend", Foreign("here it is `httpAccessLogAppend`")),
            key("h2AccessLogRotateCount", Foreign("here it is `httpAccessLogRotateCount`")),
        ],
    ),
    section(
        "router h2",
        &[
            key("h2AccessLog", Works),
            key("h2AccessLogFormat", Works),
            key("h2AccessLogRollPolicy", Works),
            key("h2AccessLogAppend", Works),
            key("h2AccessLogRotateCount", Works),
            key("httpAccessLog", Foreign("here it is `h2AccessLog`")),
            key("httpAccessLogFormat", Foreign("here it is `h2AccessLogFormat`")),
            key("httpAccessLogRollPolicy", Foreign("here it is `h2AccessLogRollPolicy`")),
            key("httpAccessLogAppend", Foreign("here it is `h2AccessLogAppend`")),
            key("httpAccessLogRotateCount", Foreign("here it is `h2AccessLogRotateCount`")),
            key("maxHeadersKB", Foreign(HEADER_LIST)),
            key("maxInitialLineKB", Foreign(HEADER_LIST)),
            key("maxErrResponseKB", Foreign(NOTHING)),
            key("streamingEnabled", Foreign(NOTHING)),
            key("streamAfterContentLengthKB", Foreign(NOTHING)),
            key("compressionLevel", Foreign(NOTHING)),
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
            key("bytes", Works),
        ],
    ),
    section(
        "server",
        &[
            key("port", Works),
            key("ip", Works),
            key("label", Works),
            value_or_one("trust", Works, "trust"),
            key("clearContext", Works),
            one("overrides", Works, "overrides"),
            list("inject", Works, "inject rule"),
            key("hosts", Works),
            key("forwardedFrom", Works),
            key("maxConcurrentRequests", Works),
            key("maxConnections", Works),
            key("maxConnectionsPerPeer", Works),
            key("maxRequestsPerPeer", Works),
            // Not in Linkerd 1, which knew no CONNECT.
            key("connect", Works),
            key("maxConcurrentStreamsPerConnection", Works),
            key("maxHeaders", Works),
            key("headersTimeoutMs", Works),
            key("timeoutMs", Works),
            key("maxCallDepth", Works),
            one("addForwardedHeader", Works, "forwarded header"),
            one("socketOptions", Works, "socket options"),
            one("tls", Works, "listener tls"),
            // Not in Linkerd 1, which had no certificates of Ingresses.
            one("ingressRedirect", Works, "ingress redirect"),
            // Not in Linkerd 1, although its users asked for it.
            one("proxyProtocol", Works, "proxy protocol"),
            one("serverSession", Works, "session"),
            key("announce", NoEffect(NOT_ANNOUNCED)),
        ],
    ),
    section("server http", &[key("timestampHeader", Works)]).with(&["no h2 endpoint"]),
    section("server h2", &[key("timestampHeader", Foreign(NOTHING))]).with(&["h2 endpoint"]),
    section(
        "h2 endpoint",
        &[
            key("initialStreamWindowBytes", Works),
            key("headerTableBytes", Works),
            key("maxFrameBytes", Works),
            key("maxHeaderListBytes", Works),
            key(
                "windowUpdateRatio",
                NoEffect("a window is opened as fast as the other side takes the bytes"),
            ),
        ],
    ),
    section(
        "no h2 endpoint",
        &[
            key("initialStreamWindowBytes", Foreign(NOTHING)),
            key("headerTableBytes", Foreign(NOTHING)),
            key("maxFrameBytes", Foreign(NOTHING)),
            key("maxHeaderListBytes", Foreign("here the router has `maxHeadersKB`")),
            key("windowUpdateRatio", Foreign(NOTHING)),
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
    // Not in Linkerd 1.
    section(
        "overrides",
        &[
            key("prefixes", Works),
            key("destinations", Works),
            one("addresses", Works, "override addresses"),
            key("maxEntries", Works),
            key("maxBytes", Works),
        ],
    ),
    section("override addresses", &[key("deny", Works)]),
    section(
        "inject rule",
        &[one("when", Works, "inject condition"), key("dtab", Works), key("sandbox", Works)],
    ),
    section(
        "inject condition",
        &[
            key("cookie", Works),
            key("header", Works),
            key("path", Works),
            key("query", Works),
            key("from", Works),
            key("identities", Works),
            one("percent", Works, "inject share"),
        ],
    ),
    section(
        "inject share",
        &[key("share", Works), value_or_one("by", Works, "inject caller"), key("secret", Works)],
    ),
    section("inject caller", &[key("cookie", Works)]),
    section(
        "trust",
        &[
            key("from", Works),
            key("identities", Works),
            one("signed", Works, "signed overrides"),
            key("require", Works),
        ],
    ),
    section(
        "signed overrides",
        &[
            key("keys", Works),
            key("jwks", Works),
            key("audience", Works),
            key("maxLifetimeSeconds", Works),
            key("revoked", Works),
        ],
    ),
    section(
        "server tls",
        // The list is not in Linkerd 1, which had one certificate.
        &[list("certificates", Works, "server certificate"), key("protocols", Works), key("ciphers", Works)],
    )
    .with(&["server certificate"]),
    // Not in Linkerd 1. The admin server has no Ingresses.
    section("listener tls", &[key("ingress", Works)]).with(&["server tls"]),
    section("ingress redirect", &[key("httpsPort", Works)]),
    section("proxy protocol", &[key("from", Works)]),
    section(
        "server certificate",
        &[
            key("certPath", Works),
            key("keyPath", Works),
            key("intermediateCertsPath", Works),
            key("caCertPath", Works),
            key("requireClientAuth", Works),
            key("hosts", Works),
        ],
    ),
    section("session", &[key("idleTimeMs", Works), key("lifeTimeMs", Works)]),
    section("forwarded header", &[one("by", Works, "labeler"), one("for", Works, "labeler")]),
    kinds("labeler", &[]),
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
    kinds("identifier", &[]),
    // In Linkerd each protocol had its own. Here the listeners of either take requests of both.
    section(
        "identifier kind",
        &[
            key("io.l5d.header.token", Works),
            key("io.l5d.header", Works),
            key("io.l5d.header.path", Works),
            key("io.l5d.path", Works),
            key("io.l5d.methodAndHost", Works),
            key("io.l5d.static", Works),
            key("io.l5d.ingress", Works),
            key("io.l5d.k8s.istio", Refused(ISTIO)),
            key("io.l5d.k8s.istio-ingress", Refused(ISTIO)),
        ],
    ),
    section("identifier io.l5d.header.token", &[key("header", Works)]),
    section("identifier io.l5d.header", &[key("header", Works)]),
    section("identifier io.l5d.path", &[key("segments", Works), key("consume", Works)]),
    section("identifier io.l5d.methodAndHost", &[key("httpUriInDst", Works)]),
    section("identifier io.l5d.static", &[key("path", Works)]),
    section("identifier io.l5d.header.path", &[key("header", Works), key("segments", Works)]),
    section(
        "identifier io.l5d.ingress",
        &[key("namespace", Works), key("ingressClassAnnotation", Works), key("ignoreDefaultBackends", Works)],
    )
    .with(&["kubernetes client"]),
];
