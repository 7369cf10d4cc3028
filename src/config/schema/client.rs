//! Clients and services: balancers, accrual, retries, classifiers, timeouts.

use super::Support::{Foreign, NoEffect, Refused, Works};
use super::{NOTHING, Section, key, kinds, list, one, section};

const NO_PUSH: &str = "it limits what endpoints push, and they may push nothing";
const NOT_LISTENING: &str = "a client binds no port, and listens on none";

pub(super) const SECTIONS: &[Section] = &[
    kinds("client", &[]).defaults_to("io.l5d.global"),
    section("client kind", &[key("io.l5d.global", Works), key("io.l5d.static", Works)]),
    section("client io.l5d.static", &[list("configs", Works, "client of a prefix")]),
    section("client of a prefix", &[key("prefix", Works)]).with(&["client io.l5d.global"]),
    section("client of a prefix http", &[]).with(&["client io.l5d.global http"]),
    section("client of a prefix h2", &[]).with(&["client io.l5d.global h2"]),
    section("client io.l5d.global http", &[key("maxConcurrentStreamsPerConnection", Foreign(NOTHING))])
        .with(&["no h2 endpoint"]),
    section("client io.l5d.global h2", &[key("maxConcurrentStreamsPerConnection", NoEffect(NO_PUSH))])
        .with(&["h2 endpoint"]),
    section(
        "client io.l5d.global",
        &[
            one("tls", Works, "client tls"),
            one("loadBalancer", Works, "load balancer"),
            // Not in Linkerd 1: it had 3 s, fixed.
            key("connectTimeoutMs", Works),
            key("streamWaitMs", Works),
            one("hostConnectionPool", Works, "host connection pool"),
            key("failFast", Works),
            one("failureAccrual", Works, "failure accrual"),
            key("requestAttemptTimeoutMs", Works),
            one("requeueBudget", Works, "retry budget"),
            one("clientSession", Works, "client session"),
            // Not in Linkerd 1, which believed every endpoint.
            key("trustRetryable", Works),
            // Neither are these two, although its users asked for them.
            key("egress", Works),
            key("removeBaggage", Works),
            one("socketOptions", Works, "client socket options"),
            key("forwardClientCert", Works),
            key(
                "requestAuthorizers",
                Refused("its only kind was Istio's, of Linkerd 1's time: remove the key"),
            ),
        ],
    ),
    section(
        "client tls",
        &[
            key("enabled", Works),
            key("commonName", Works),
            key("disableValidation", Works),
            key("trustCerts", Works),
            key("trustCertsBundle", Works),
            one("clientAuth", Works, "client auth"),
            key("protocols", Works),
        ],
    ),
    section(
        "client auth",
        &[key("certPath", Works), key("keyPath", Works), key("intermediateCertsPath", Works)],
    ),
    // `preferZone` is not in Linkerd 1.
    kinds("load balancer", &[key("enableProbation", Works), key("preferZone", Works)]).defaults_to("p2c"),
    section(
        "load balancer kind",
        &[
            key("p2c", Works),
            key("ewma", Works),
            key("aperture", Works),
            key("heap", Works),
            key("roundRobin", Works),
        ],
    ),
    section("load balancer p2c", &[key("maxEffort", Works)]),
    section("load balancer ewma", &[key("maxEffort", Works), key("decayTimeMs", Works)]),
    section(
        "load balancer aperture",
        &[
            key("maxEffort", Works),
            key("smoothWindowMs", Works),
            key("lowLoad", Works),
            key("highLoad", Works),
            key("minAperture", Works),
        ],
    ),
    section("load balancer roundRobin", &[key("maxEffort", Works)]),
    kinds("failure accrual", &[one("backoff", Works, "backoff")]),
    section(
        "failure accrual kind",
        &[
            key("io.l5d.consecutiveFailures", Works),
            key("io.l5d.successRate", Works),
            key("io.l5d.successRateWindowed", Works),
            key("none", Works),
        ],
    ),
    section("failure accrual io.l5d.consecutiveFailures", &[key("failures", Works)]),
    section("failure accrual io.l5d.successRate", &[key("successRate", Works), key("requests", Works)]),
    section("failure accrual io.l5d.successRateWindowed", &[key("successRate", Works), key("window", Works)]),
    section(
        "host connection pool",
        &[key("minSize", Works), key("maxSize", Works), key("idleTimeMs", Works), key("maxWaiters", Works)],
    ),
    section(
        "client socket options",
        &[
            key("noDelay", Works),
            key("keepAlive", Works),
            key("readTimeoutMs", Works),
            key("writeTimeoutMs", Works),
            key("reuseAddr", NoEffect(NOT_LISTENING)),
            key("reusePort", NoEffect(NOT_LISTENING)),
            key("backlog", NoEffect(NOT_LISTENING)),
        ],
    ),
    section("client session", &[key("idleTimeMs", Works), key("lifeTimeMs", Works)]),
    section(
        "retry budget",
        &[key("minRetriesPerSec", Works), key("percentCanRetry", Works), key("ttlSecs", Works)],
    ),
    kinds("service", &[]).defaults_to("io.l5d.global"),
    section("service kind", &[key("io.l5d.global", Works), key("io.l5d.static", Works)]),
    section("service io.l5d.static", &[list("configs", Works, "service of a prefix")]),
    section("service of a prefix", &[key("prefix", Works)]).with(&["service io.l5d.global"]),
    section("service of a prefix http", &[]).with(&["service io.l5d.global http"]),
    section("service of a prefix h2", &[]).with(&["service io.l5d.global h2"]),
    section(
        "service io.l5d.global",
        &[
            key("totalTimeoutMs", Works),
            one("retries", Works, "retries"),
            // Not in Linkerd 1.
            one("mirror", Works, "mirror"),
            one("responseClassifier", Works, "response classifier"),
        ],
    ),
    section(
        "service io.l5d.global h2",
        &[key("classificationTimeoutMs", Works), one("retryBufferSize", Works, "retry buffer size")],
    ),
    section(
        "service io.l5d.global http",
        &[key("classificationTimeoutMs", Foreign(NOTHING)), key("retryBufferSize", Foreign(NOTHING))],
    ),
    section("retries", &[one("budget", Works, "retry budget"), one("backoff", Works, "backoff")]),
    section("mirror", &[key("name", Works), key("percent", Works)]),
    section("retry buffer size", &[key("requestBytes", Works), key("responseBytes", Works)]),
    kinds("backoff", &[]),
    section("backoff kind", &[key("constant", Works), key("jittered", Works)]),
    section("backoff constant", &[key("ms", Works)]),
    section("backoff jittered", &[key("minMs", Works), key("maxMs", Works)]),
    kinds("response classifier", &[]),
    section(
        "response classifier kind",
        &[
            key("io.l5d.http.nonRetryable5XX", Works),
            key("io.l5d.http.retryableRead5XX", Works),
            key("io.l5d.http.retryableIdempotent5XX", Works),
            key("io.l5d.http.retryableAll5XX", Works),
            key("io.l5d.http.allSuccessful", Works),
            key("io.l5d.h2.nonRetryable5XX", Works),
            key("io.l5d.h2.retryableRead5XX", Works),
            key("io.l5d.h2.retryableIdempotent5XX", Works),
            key("io.l5d.h2.retryableAll5XX", Works),
            key("io.l5d.h2.allSuccessful", Works),
            key("io.l5d.h2.grpc.default", Works),
            key("io.l5d.h2.grpc.compliant", Works),
            key("io.l5d.h2.grpc.alwaysRetryable", Works),
            key("io.l5d.h2.grpc.neverRetryable", Works),
            key("io.l5d.h2.grpc.retryableStatusCodes", Works),
        ],
    ),
    section("grpc classifier", &[key("successStatusCodes", Works)]),
    section("response classifier io.l5d.h2.grpc.default", &[]).with(&["grpc classifier"]),
    section("response classifier io.l5d.h2.grpc.compliant", &[]).with(&["grpc classifier"]),
    section("response classifier io.l5d.h2.grpc.alwaysRetryable", &[]).with(&["grpc classifier"]),
    section("response classifier io.l5d.h2.grpc.neverRetryable", &[]).with(&["grpc classifier"]),
    section("response classifier io.l5d.h2.grpc.retryableStatusCodes", &[key("retryableStatusCodes", Works)])
        .with(&["grpc classifier"]),
];
