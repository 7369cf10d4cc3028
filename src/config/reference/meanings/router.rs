//! Routers, their servers, identifiers and binding caches.

use super::{SectionMeanings, StatedDefault};

const LOG: &str = "The file of the access log; `-` is standard output";
const LOG_FORMAT: &str = "The format of its lines";
const LOG_ROLL: &str =
    "When a new file is begun: `never`, `hourly`, `daily`, `weekly(1)`, or a size such as `10.megabytes`";
const LOG_APPEND: &str = "`false` empties the file at the start";
const LOG_ROTATE: &str = "How many older files are kept; -1 is all";

pub(super) const MEANINGS: &[SectionMeanings] = &[
    (
        "router",
        &[
            ("label", "The name of the router, which no other has; by default its protocol"),
            ("servers", "The listeners; there is at least one"),
            ("dtab", "The delegation table; its last entry that matches is tried first"),
            ("dstPrefix", "A path that stands before every name"),
            ("identifier", "The way in which requests are named; a list is tried in order"),
            ("interpreter", "The store of more of the dtab, and transformers of all bound names"),
            ("bindingTimeoutMs", "How long a request waits for a name whose answer is not known yet"),
            (
                "maxOverrideLookups",
                "How many lookups the overrides of a request may add to those of its name",
            ),
            ("bindingCache", "Bounds of what the router remembers"),
            ("client", "The settings of connections to endpoints, for all bound names or by prefix"),
            ("maxResponseHeaders", "How many header fields a response may have"),
            ("service", "The settings of requests, for all logical names or by prefix"),
        ],
    ),
    (
        "router kind",
        &[
            ("http", "Endpoints speak HTTP/1; the listeners take HTTP/1 and HTTP/2"),
            ("h2", "Endpoints speak HTTP/2; the listeners take HTTP/1 and HTTP/2"),
        ],
    ),
    (
        "router http",
        &[
            ("maxHeadersKB", "How long all header fields of a request or response may be, in KiB"),
            ("maxInitialLineKB", "How long the first line of a request or response may be, in KiB"),
            ("maxErrResponseKB", "How long the text of an error may be, in KiB"),
            ("httpAccessLog", LOG),
            ("httpAccessLogFormat", LOG_FORMAT),
            ("httpAccessLogRollPolicy", LOG_ROLL),
            ("httpAccessLogAppend", LOG_APPEND),
            ("httpAccessLogRotateCount", LOG_ROTATE),
        ],
    ),
    (
        "router h2",
        &[
            ("h2AccessLog", LOG),
            ("h2AccessLogFormat", LOG_FORMAT),
            ("h2AccessLogRollPolicy", LOG_ROLL),
            ("h2AccessLogAppend", LOG_APPEND),
            ("h2AccessLogRotateCount", LOG_ROTATE),
        ],
    ),
    (
        "binding cache",
        &[
            ("paths", "How many names, and how many parsed overrides, a worker remembers"),
            ("clients", "How many clients a worker remembers"),
            ("idleTtlSecs", "After how many seconds without use they are forgotten"),
            ("bytes", "How many bytes names, overrides and answers take, over all workers"),
        ],
    ),
    (
        "server",
        &[
            ("port", "The port; 0 takes a free one"),
            ("ip", "The address that it listens on"),
            ("label", "Its name in metrics; by default `<ip>/<port>`"),
            (
                "trust",
                "The callers whose overrides and `l5d-*` headers are followed; by default all on loopback, nobody elsewhere",
            ),
            ("clearContext", "`true` is `trust: nobody`"),
            ("overrides", "Limits on what trusted callers may override"),
            ("inject", "Rules that give overrides to requests"),
            (
                "hosts",
                "Hosts by which a listener that trusts by being on loopback is called, beside addresses, `localhost` and names that lead somewhere",
            ),
            (
                "forwardedFrom",
                "Peers whose `Forwarded` and `X-Forwarded-*` are kept; by default those that are trusted by their address",
            ),
            ("maxConcurrentRequests", "How many requests are served at once; further ones are 503"),
            ("maxConnections", "How many connections may be open; an idle one gives way to a newcomer"),
            ("maxConnectionsPerPeer", "How many connections one peer address may have"),
            (
                "maxRequestsPerPeer",
                "How many requests of one peer address that is not trusted may be under way, on each worker",
            ),
            ("connect", "Whether CONNECT opens tunnels"),
            (
                "maxConcurrentStreamsPerConnection",
                "How many streams a connection over HTTP/2 may have at once; by default 1000 of a trusted caller, 100 of others",
            ),
            ("maxHeaders", "How many header fields a request may have"),
            ("headersTimeoutMs", "How long a head may be on its way"),
            ("timeoutMs", "How long a request may take until its response begins"),
            ("maxCallDepth", "How many proxies a request may have passed, by `Via`"),
            ("addForwardedHeader", "Adds `Forwarded` to requests, with labels for both ends"),
            ("socketOptions", "Options of its sockets"),
            ("tls", "Its certificates"),
            (
                "ingressRedirect",
                "Sends requests in clear to TLS while their Ingress has a certificate for their host",
            ),
            ("proxyProtocol", "Reads the header of the PROXY protocol"),
            ("serverSession", "The times of its connections"),
        ],
    ),
    (
        "server http",
        &[(
            "timestampHeader",
            "The header that tells the endpoint when the request came, in milliseconds since 1970",
        )],
    ),
    (
        "h2 endpoint",
        &[
            (
                "initialStreamWindowBytes",
                "How many bytes of a body the other side may send before they are taken",
            ),
            ("headerTableBytes", "The size of the table for compressed fields"),
            ("maxFrameBytes", "The size of the largest frame"),
            ("maxHeaderListBytes", "The size of the largest head"),
        ],
    ),
    (
        "socket options",
        &[
            ("noDelay", "Whether small packets are sent at once (TCP_NODELAY)"),
            ("reusePort", "Whether several processes may listen on the port (SO_REUSEPORT)"),
            ("keepAlive", "Whether the system probes silent connections (SO_KEEPALIVE)"),
            ("backlog", "How many connections may wait to be accepted"),
            ("readTimeoutMs", "How long a caller may send nothing of a body"),
            ("writeTimeoutMs", "How long a caller may take nothing of a response"),
        ],
    ),
    (
        "overrides",
        &[
            ("prefixes", "An entry's prefix must be at or below one of these; without the key any may be"),
            ("destinations", "The bound names to which entries may lead; without the key all"),
            ("addresses", "Addresses to which no override may lead"),
            ("maxEntries", "How many entries a request may carry"),
            ("maxBytes", "How many bytes of overrides a request may carry"),
        ],
    ),
    (
        "override addresses",
        &[(
            "deny",
            "Ranges that are never dialled for an override; by default link-local addresses and those of cloud metadata",
        )],
    ),
    (
        "inject rule",
        &[
            ("when", "The condition; an empty one always holds"),
            ("dtab", "The entries that the request gets"),
            ("sandbox", "The key of a sandbox that the request gets, unless it names one"),
        ],
    ),
    (
        "inject condition",
        &[
            (
                "cookie",
                "Cookies and patterns that their values match as a whole: `*` is any text, `?` one character",
            ),
            ("header", "Headers and patterns that their values match as a whole"),
            ("path", "The first elements of the request's path"),
            ("query", "Query parameters and patterns that their values match as a whole"),
            ("from", "Ranges of addresses that the connection comes from"),
            ("identities", "Names in the certificate of the caller"),
            ("percent", "A share of the callers"),
        ],
    ),
    (
        "inject share",
        &[
            ("share", "The share, in percent"),
            ("by", "What tells callers apart: their address, or a cookie"),
            ("secret", "A secret that keeps callers from choosing their share"),
        ],
    ),
    ("inject caller", &[("cookie", "The cookie whose value tells callers apart")]),
    (
        "trust",
        &[
            ("from", "Ranges of addresses whose callers are trusted"),
            ("identities", "Names in client certificates whose callers are trusted"),
            ("signed", "Keys of signed overrides, which grant what they claim"),
            ("require", "`all` asks that address and identity both be trusted; `any` that one of them be"),
        ],
    ),
    (
        "signed overrides",
        &[
            ("keys", "PEM files with public keys"),
            ("jwks", "A file with public keys in the format JWKS"),
            ("audience", "The names of this listener, of which a token must claim one; by default the label"),
            ("maxLifetimeSeconds", "How long a token may be valid"),
            ("revoked", "The ids of tokens that count no longer"),
        ],
    ),
    (
        "server tls",
        &[
            (
                "certificates",
                "Several certificates, of which one is chosen by the name that a caller asks for; they stand in place of `certPath` and `keyPath`, which are required without them",
            ),
            ("protocols", "The versions of TLS that are spoken"),
            ("ciphers", "The cipher suites that are used; without the key all that are good"),
        ],
    ),
    (
        "listener tls",
        &[(
            "ingress",
            "Whether the certificates in Secrets that Ingresses name are used, beside those of files or alone; needs the identifier `io.l5d.ingress`",
        )],
    ),
    ("ingress redirect", &[("httpsPort", "The port to which callers are sent; 443 is not written")]),
    ("proxy protocol", &[("from", "Ranges of addresses of the load balancers that send the header")]),
    (
        "server certificate",
        &[
            ("certPath", "The PEM file with the certificate"),
            ("keyPath", "The PEM file with its private key"),
            ("intermediateCertsPath", "A PEM file with certificates between it and its authority"),
            (
                "caCertPath",
                "A PEM file with the authorities of client certificates; callers are asked for one",
            ),
            ("requireClientAuth", "Whether a caller without a certificate is refused"),
            ("hosts", "The names for which it is used; by default those in the certificate"),
        ],
    ),
    (
        "session",
        &[
            (
                "idleTimeMs",
                "How long a connection may be without a request, and a tunnel without bytes if CONNECT opened it, or if its caller is not trusted and others need its room; by default `readTimeoutMs` of `socketOptions`, or else 10 minutes",
            ),
            ("lifeTimeMs", "How old a connection may get; the request that is served then is its last"),
        ],
    ),
    (
        "forwarded header",
        &[
            ("by", "The label of this end; by default `requestRandom`"),
            ("for", "The label of the caller; by default `requestRandom`"),
        ],
    ),
    (
        "labeler kind",
        &[
            ("ip", "The address"),
            ("ip:port", "The address and the port"),
            ("connectionRandom", "A random text for each connection"),
            ("requestRandom", "A random text for each request"),
            ("router", "The label of the router"),
            ("static", "A text of the configuration"),
        ],
    ),
    ("labeler static", &[("label", "The text")]),
    (
        "identifier kind",
        &[
            ("io.l5d.header.token", "The value of a header is one element: `/svc/<value>`"),
            ("io.l5d.header", "A header holds a path"),
            ("io.l5d.header.path", "A header holds a path or URL, whose segments are the elements"),
            ("io.l5d.path", "The first segments of the request's path are the elements"),
            ("io.l5d.methodAndHost", "Version, method and host are the elements: `/svc/1.1/GET/<host>`"),
            ("io.l5d.static", "Every request has one name"),
            (
                "io.l5d.ingress",
                "Ingress resources of Kubernetes name the service: `/svc/<namespace>/<port>/<service>`",
            ),
        ],
    ),
    ("identifier io.l5d.header.token", &[("header", "The header")]),
    ("identifier io.l5d.header", &[("header", "The header")]),
    (
        "identifier io.l5d.path",
        &[
            ("segments", "How many segments are taken"),
            ("consume", "Whether they are removed from the path that is sent on"),
        ],
    ),
    ("identifier io.l5d.methodAndHost", &[("httpUriInDst", "Whether the path's segments follow")]),
    ("identifier io.l5d.static", &[("path", "The name")]),
    (
        "identifier io.l5d.header.path",
        &[("header", "The header"), ("segments", "How many segments are taken; by default all")],
    ),
    (
        "identifier io.l5d.ingress",
        &[
            ("namespace", "The namespace whose resources count; by default all"),
            ("ingressClassAnnotation", "The class whose resources count"),
            ("ignoreDefaultBackends", "Whether default backends are ignored"),
        ],
    ),
];

/// The defaults of keys that count only beside another key, and those that the proxy decides.
pub(super) const DEFAULTS: &[StatedDefault] = &[
    ("router http", "httpAccessLogFormat", r#""linkerd""#),
    ("router http", "httpAccessLogRollPolicy", r#""never""#),
    ("router http", "httpAccessLogAppend", "true"),
    ("router http", "httpAccessLogRotateCount", "-1"),
    ("router h2", "h2AccessLogFormat", r#""linkerd""#),
    ("router h2", "h2AccessLogRollPolicy", r#""never""#),
    ("router h2", "h2AccessLogAppend", "true"),
    ("router h2", "h2AccessLogRotateCount", "-1"),
    ("server tls", "protocols", r#"["TLSv1.2","TLSv1.3"]"#),
    ("listener tls", "ingress", "false"),
    ("ingress redirect", "httpsPort", "443"),
    ("server certificate", "requireClientAuth", "false"),
    ("trust", "require", r#""any""#),
];
