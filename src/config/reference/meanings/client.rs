//! Clients and services: balancers, accrual, retries, classifiers, timeouts.

use super::{SectionMeanings, StatedDefault};

const NON_RETRYABLE: &str = "A status of 500 or above is a failure; nothing is retried";
const READ: &str = "The same failures; GET, HEAD, OPTIONS and TRACE are retried";
const IDEMPOTENT: &str = "The same failures; PUT and DELETE are retried as well";
const ALL: &str = "The same failures; every method is retried, PATCH and POST too";
const SUCCESSFUL: &str = "Nothing is a failure";
const FOR_ALL: &str = "The keys stand in the mapping itself, and hold for all names";
const BY_PREFIX: &str = "The keys stand in `configs`, by prefix";
const MAX_EFFORT: &str = "How often an endpoint is picked again when it is shut";

pub(super) const MEANINGS: &[SectionMeanings] = &[
    ("client kind", &[("io.l5d.global", FOR_ALL), ("io.l5d.static", BY_PREFIX)]),
    (
        "client io.l5d.static",
        &[("configs", "Settings by prefix: all that match apply, a later one over those before it")],
    ),
    (
        "client of a prefix",
        &[("prefix", "The beginning of bound names; `*` is one element, `{name}` any text within one")],
    ),
    (
        "client io.l5d.global",
        &[
            ("tls", "Encrypts connections to endpoints"),
            ("loadBalancer", "The balancer, which picks an endpoint"),
            ("connectTimeoutMs", "How long a connection may take to open, with the handshake of TLS"),
            ("streamWaitMs", "How long a request waits for a connection or a stream"),
            ("hostConnectionPool", "The connections over HTTP/1 to one endpoint"),
            ("failFast", "Whether an endpoint whose connection is refused is shut at once"),
            ("failureAccrual", "The rule by which an endpoint that fails is shut"),
            ("requestAttemptTimeoutMs", "How long one attempt may take until the head of its response"),
            ("requeueBudget", "How many further attempts are made when a request cannot have been executed"),
            ("clientSession", "The times of connections to endpoints"),
            ("trustRetryable", "Whether an endpoint's `l5d-retryable: true` makes a failure retryable"),
            (
                "egress",
                "Whether the endpoints are outside, so that they are told nothing of names and overrides",
            ),
            ("removeBaggage", "Whether `egress` removes `baggage` as a whole"),
            ("socketOptions", "Options of sockets to endpoints"),
            (
                "forwardClientCert",
                "Whether endpoints are told of the caller's certificate, in `x-forwarded-client-cert`",
            ),
        ],
    ),
    (
        "client tls",
        &[
            ("enabled", "`false` switches off what a prefix before it said"),
            (
                "commonName",
                "The name that the endpoint's certificate must have; `{name}` is that of the prefix. It is required unless `disableValidation` is set",
            ),
            ("disableValidation", "Whether any certificate is accepted"),
            ("trustCerts", "PEM files with authorities that are trusted; by default those of the system"),
            ("trustCertsBundle", "A PEM file with several authorities that are trusted"),
            ("clientAuth", "The certificate that the router presents"),
            ("protocols", "The versions of TLS that are spoken"),
        ],
    ),
    (
        "client auth",
        &[
            ("certPath", "The PEM file with the certificate"),
            ("keyPath", "The PEM file with its private key"),
            ("intermediateCertsPath", "A PEM file with certificates between it and its authority"),
        ],
    ),
    (
        "load balancer",
        &[
            (
                "enableProbation",
                "Whether an endpoint that its namer no longer has stays in use until an attempt at it fails",
            ),
            (
                "preferZone",
                "Whether requests go to endpoints that are hinted for the router's own zone (`NODE_ZONE`)",
            ),
        ],
    ),
    (
        "load balancer kind",
        &[
            ("p2c", "Of two endpoints at random, the one with fewer requests under way"),
            ("ewma", "Of two endpoints at random, the one with the lower expected latency"),
            ("aperture", "As `p2c`, among as few endpoints as the load allows"),
            ("heap", "The endpoint with the fewest requests under way, of all"),
            ("roundRobin", "One endpoint after the other"),
        ],
    ),
    ("load balancer p2c", &[("maxEffort", MAX_EFFORT)]),
    (
        "load balancer ewma",
        &[("maxEffort", MAX_EFFORT), ("decayTimeMs", "How long a latency takes to be forgotten")],
    ),
    (
        "load balancer aperture",
        &[
            ("maxEffort", MAX_EFFORT),
            ("smoothWindowMs", "How long the load is smoothed over"),
            ("lowLoad", "The load of an endpoint below which fewer are used"),
            ("highLoad", "The load of an endpoint above which more are used"),
            ("minAperture", "How many endpoints are used at least"),
        ],
    ),
    ("load balancer roundRobin", &[("maxEffort", MAX_EFFORT)]),
    (
        "failure accrual",
        &[("backoff", "How long an endpoint is shut; by default 5 s, then growing to 300 s")],
    ),
    (
        "failure accrual kind",
        &[
            ("io.l5d.consecutiveFailures", "An endpoint is shut after so many failures in a row"),
            (
                "io.l5d.successRate",
                "An endpoint is shut after too low a rate of success among its last requests",
            ),
            (
                "io.l5d.successRateWindowed",
                "An endpoint is shut after too low a rate of success in the last seconds",
            ),
            ("none", "No endpoint is shut"),
        ],
    ),
    ("failure accrual io.l5d.consecutiveFailures", &[("failures", "How many failures in a row")]),
    (
        "failure accrual io.l5d.successRate",
        &[("successRate", "The least rate of success"), ("requests", "How many requests the rate is of")],
    ),
    (
        "failure accrual io.l5d.successRateWindowed",
        &[("successRate", "The least rate of success"), ("window", "How many seconds the rate is of")],
    ),
    (
        "host connection pool",
        &[
            ("minSize", "How many idle connections each worker keeps, however long they are idle"),
            ("maxSize", "How many connections serve requests at once, over all workers"),
            ("idleTimeMs", "How long an idle connection is kept"),
            ("maxWaiters", "How many requests wait at once; by default without limit"),
        ],
    ),
    (
        "client socket options",
        &[
            ("noDelay", "Whether small packets are sent at once (TCP_NODELAY)"),
            ("keepAlive", "Whether a silent connection is probed (SO_KEEPALIVE)"),
            ("readTimeoutMs", "How long an endpoint may send nothing while its response is awaited"),
            ("writeTimeoutMs", "How long an endpoint may take nothing of what is sent"),
        ],
    ),
    (
        "client session",
        &[
            ("idleTimeMs", "How long an idle connection is kept"),
            ("lifeTimeMs", "How long a connection takes new requests"),
        ],
    ),
    (
        "retry budget",
        &[
            ("minRetriesPerSec", "How many are made in a second, however few requests there are"),
            ("percentCanRetry", "How many are made for each request: 0.2 is one for five"),
            ("ttlSecs", "For how many seconds a request counts"),
        ],
    ),
    ("service kind", &[("io.l5d.global", FOR_ALL), ("io.l5d.static", BY_PREFIX)]),
    (
        "service io.l5d.static",
        &[("configs", "Settings by prefix: all that match apply, a later one over those before it")],
    ),
    (
        "service of a prefix",
        &[("prefix", "The beginning of logical names; `*` is one element, `{name}` any text within one")],
    ),
    (
        "service io.l5d.global",
        &[
            (
                "totalTimeoutMs",
                "How long a request may take until the head of its response, with all its attempts",
            ),
            ("retries", "The retries of requests that failed"),
            ("mirror", "Copies a share of the requests to a second name"),
            ("responseClassifier", "Says which responses are failures, and which requests are retried"),
        ],
    ),
    (
        "service io.l5d.global h2",
        &[
            (
                "classificationTimeoutMs",
                "How long the trailers of a gRPC call are awaited before its response is passed on",
            ),
            ("retryBufferSize", "How much of bodies is kept for a retry"),
        ],
    ),
    (
        "retries",
        &[
            ("budget", "How many retries are made for a name"),
            ("backoff", "The pause before a retry; by default none"),
        ],
    ),
    (
        "mirror",
        &[("name", "The second name"), ("percent", "The share of the requests that is copied, in percent")],
    ),
    (
        "retry buffer size",
        &[
            ("requestBytes", "How many bytes of a request are kept"),
            ("responseBytes", "How many bytes of a response are kept while its trailers are awaited"),
        ],
    ),
    ("backoff kind", &[("constant", "Always the same time"), ("jittered", "A time that grows at random")]),
    ("backoff constant", &[("ms", "The time, in milliseconds")]),
    ("backoff jittered", &[("minMs", "The first time, and the least"), ("maxMs", "The greatest time")]),
    (
        "response classifier kind",
        &[
            ("io.l5d.http.nonRetryable5XX", NON_RETRYABLE),
            ("io.l5d.http.retryableRead5XX", READ),
            ("io.l5d.http.retryableIdempotent5XX", IDEMPOTENT),
            ("io.l5d.http.retryableAll5XX", ALL),
            ("io.l5d.http.allSuccessful", SUCCESSFUL),
            ("io.l5d.h2.nonRetryable5XX", NON_RETRYABLE),
            ("io.l5d.h2.retryableRead5XX", READ),
            ("io.l5d.h2.retryableIdempotent5XX", IDEMPOTENT),
            ("io.l5d.h2.retryableAll5XX", ALL),
            ("io.l5d.h2.allSuccessful", SUCCESSFUL),
            (
                "io.l5d.h2.grpc.default",
                "Calls that end with UNAVAILABLE are retried, and those that no endpoint can have executed",
            ),
            (
                "io.l5d.h2.grpc.compliant",
                "The same; and 429, 502, 503 and 504 of HTTP without a `grpc-status`",
            ),
            ("io.l5d.h2.grpc.alwaysRetryable", "All failures are retried"),
            ("io.l5d.h2.grpc.neverRetryable", "Nothing is retried"),
            ("io.l5d.h2.grpc.retryableStatusCodes", "Calls that end with one of these codes are retried"),
        ],
    ),
    ("grpc classifier", &[("successStatusCodes", "The codes of gRPC that are no failure")]),
    (
        "response classifier io.l5d.h2.grpc.retryableStatusCodes",
        &[("retryableStatusCodes", "The codes of gRPC that are retried")],
    ),
];

/// The defaults that the proxy decides. Those without a limit are absent.
pub(super) const DEFAULTS: &[StatedDefault] = &[
    ("client io.l5d.global", "connectTimeoutMs", "3000"),
    ("client io.l5d.global", "streamWaitMs", "1000"),
    ("client io.l5d.global", "failFast", "false"),
    ("client io.l5d.global", "trustRetryable", "false"),
    ("client io.l5d.global", "egress", "false"),
    ("client io.l5d.global", "removeBaggage", "false"),
    ("client io.l5d.global", "forwardClientCert", "false"),
    ("client tls", "enabled", "true"),
    ("client tls", "disableValidation", "false"),
    ("client tls", "protocols", r#"["TLSv1.2","TLSv1.3"]"#),
    ("host connection pool", "minSize", "0"),
    ("host connection pool", "maxSize", "1024"),
    ("host connection pool", "idleTimeMs", "60000"),
    ("client session", "idleTimeMs", "60000"),
    ("client socket options", "noDelay", "true"),
    ("client socket options", "keepAlive", "true"),
    ("client socket options", "writeTimeoutMs", "30000"),
    ("backoff constant", "ms", "0"),
    ("service io.l5d.global h2", "classificationTimeoutMs", "100"),
    ("retry buffer size", "requestBytes", "16383"),
    ("retry buffer size", "responseBytes", "16383"),
    ("mirror", "percent", "100"),
    ("grpc classifier", "successStatusCodes", "[0]"),
];
