//! Clients and services: balancers, accrual, retries, classifiers, timeouts.

use super::Fate::{Foreign, Inside, NoEffect, NotYet, Refused, Works};
use super::{
    ACCRUAL, BALANCERS, CLASSIFIERS, CONNECTIONS, NOTHING, PER_CLIENT, PER_SERVICE, RETRIES, Section,
    TIMEOUTS, TLS, key, list, one, section, sorted,
};

const NO_PUSH: &str = "it limits what endpoints push, and they may push nothing";
const SOCKETS: &str = "socket options of clients";

pub(super) const SECTIONS: &[Section] = &[
    sorted("client", &[]).defaults_to("io.l5d.global"),
    section("client kind", &[key("io.l5d.global", Works), key("io.l5d.static", NotYet(PER_CLIENT))]),
    section("client io.l5d.global", &[]).with(&["client settings"]),
    section("client io.l5d.static", &[list("configs", NotYet(PER_CLIENT), "client by prefix")]),
    section("client by prefix", &[key("prefix", NotYet(PER_CLIENT))]).with(&["client settings"]),
    section("client by prefix http", &[]).with(&["client http"]),
    section("client by prefix h2", &[]).with(&["client h2"]),
    section("client http", &[key("maxConcurrentStreamsPerConnection", Foreign(NOTHING))])
        .with(&["no h2 endpoint"]),
    section("client h2", &[key("maxConcurrentStreamsPerConnection", NoEffect(NO_PUSH))])
        .with(&["h2 endpoint"]),
    section(
        "client settings",
        &[
            one("tls", NotYet(TLS), "client tls"),
            one("loadBalancer", NotYet(BALANCERS), "load balancer"),
            one("hostConnectionPool", Inside, "host connection pool"),
            key("failFast", NotYet(ACCRUAL)),
            one("failureAccrual", NotYet(ACCRUAL), "failure accrual"),
            key("requestAttemptTimeoutMs", NotYet(TIMEOUTS)),
            one("requeueBudget", NotYet(RETRIES), "retry budget"),
            one("clientSession", NotYet(CONNECTIONS), "session"),
            one("socketOptions", NotYet(SOCKETS), "socket options"),
            key("forwardClientCert", NotYet(TLS)),
            key(
                "requestAuthorizers",
                Refused("its only kind was Istio's, of Linkerd 1's time: remove the key"),
            ),
        ],
    ),
    section(
        "client tls",
        &[
            key("enabled", NotYet(TLS)),
            key("disableValidation", NotYet(TLS)),
            key("commonName", NotYet(TLS)),
            key("trustCerts", NotYet(TLS)),
            key("trustCertsBundle", NotYet(TLS)),
            one("clientAuth", NotYet(TLS), "client auth"),
            key("protocols", NotYet(TLS)),
        ],
    ),
    section(
        "client auth",
        &[
            key("certPath", NotYet(TLS)),
            key("intermediateCertsPath", NotYet(TLS)),
            key("keyPath", NotYet(TLS)),
        ],
    ),
    section(
        "host connection pool",
        &[
            key("minSize", NotYet(CONNECTIONS)),
            key("maxSize", NotYet(CONNECTIONS)),
            key("idleTimeMs", NotYet(CONNECTIONS)),
            key("maxWaiters", NoEffect("nobody waits for a connection: one is made")),
        ],
    ),
    sorted("load balancer", &[key("enableProbation", NotYet(BALANCERS))]).defaults_to("p2c"),
    section(
        "load balancer kind",
        &[
            key("p2c", NotYet(BALANCERS)),
            key("ewma", NotYet(BALANCERS)),
            key("aperture", NotYet(BALANCERS)),
            key("heap", NotYet(BALANCERS)),
            key("roundRobin", NotYet(BALANCERS)),
        ],
    ),
    section("load balancer p2c", &[key("maxEffort", NotYet(BALANCERS))]),
    section(
        "load balancer ewma",
        &[key("maxEffort", NotYet(BALANCERS)), key("decayTimeMs", NotYet(BALANCERS))],
    ),
    section(
        "load balancer aperture",
        &[
            key("maxEffort", NotYet(BALANCERS)),
            key("smoothWindowMs", NotYet(BALANCERS)),
            key("lowLoad", NotYet(BALANCERS)),
            key("highLoad", NotYet(BALANCERS)),
            key("minAperture", NotYet(BALANCERS)),
        ],
    ),
    section("load balancer roundRobin", &[key("maxEffort", NotYet(BALANCERS))]),
    sorted("failure accrual", &[one("backoff", NotYet(ACCRUAL), "backoff")]),
    section(
        "failure accrual kind",
        &[
            key("io.l5d.consecutiveFailures", NotYet(ACCRUAL)),
            key("io.l5d.successRate", NotYet(ACCRUAL)),
            key("io.l5d.successRateWindowed", NotYet(ACCRUAL)),
            key("none", NotYet(ACCRUAL)),
        ],
    ),
    section("failure accrual io.l5d.consecutiveFailures", &[key("failures", NotYet(ACCRUAL))]),
    section(
        "failure accrual io.l5d.successRate",
        &[key("successRate", NotYet(ACCRUAL)), key("requests", NotYet(ACCRUAL))],
    ),
    section(
        "failure accrual io.l5d.successRateWindowed",
        &[key("successRate", NotYet(ACCRUAL)), key("window", NotYet(ACCRUAL))],
    ),
    sorted("backoff", &[]),
    section("backoff kind", &[key("constant", NotYet(RETRIES)), key("jittered", NotYet(RETRIES))]),
    section("backoff constant", &[key("ms", NotYet(RETRIES))]),
    section("backoff jittered", &[key("minMs", NotYet(RETRIES)), key("maxMs", NotYet(RETRIES))]),
    section(
        "retry budget",
        &[
            key("minRetriesPerSec", NotYet(RETRIES)),
            key("percentCanRetry", NotYet(RETRIES)),
            key("ttlSecs", NotYet(RETRIES)),
        ],
    ),
    sorted("service", &[]).defaults_to("io.l5d.global"),
    section("service kind", &[key("io.l5d.global", Works), key("io.l5d.static", NotYet(PER_SERVICE))]),
    section("service io.l5d.global", &[]).with(&["service settings"]),
    section("service io.l5d.static", &[list("configs", NotYet(PER_SERVICE), "service by prefix")]),
    section("service by prefix", &[key("prefix", NotYet(PER_SERVICE))]).with(&["service settings"]),
    section("service by prefix http", &[]).with(&["no h2 service settings"]),
    section("service by prefix h2", &[]).with(&["h2 service settings"]),
    section("service http", &[]).with(&["no h2 service settings"]),
    section("service h2", &[]).with(&["h2 service settings"]),
    section(
        "service settings",
        &[
            key("totalTimeoutMs", NotYet(TIMEOUTS)),
            one("retries", NotYet(RETRIES), "retries"),
            one("responseClassifier", NotYet(CLASSIFIERS), "response classifier"),
        ],
    ),
    section(
        "h2 service settings",
        &[
            key("classificationTimeoutMs", NotYet(CLASSIFIERS)),
            one("retryBufferSize", NotYet(RETRIES), "retry buffer size"),
        ],
    ),
    section(
        "no h2 service settings",
        &[key("classificationTimeoutMs", Foreign(NOTHING)), key("retryBufferSize", Foreign(NOTHING))],
    ),
    section(
        "retry buffer size",
        &[key("requestBytes", NotYet(RETRIES)), key("responseBytes", NotYet(RETRIES))],
    ),
    section(
        "retries",
        &[one("budget", NotYet(RETRIES), "retry budget"), one("backoff", NotYet(RETRIES), "backoff")],
    ),
    sorted("response classifier", &[]),
    section(
        "response classifier kind http",
        &[
            key("io.l5d.http.nonRetryable5XX", NotYet(CLASSIFIERS)),
            key("io.l5d.http.retryableRead5XX", NotYet(CLASSIFIERS)),
            key("io.l5d.http.retryableIdempotent5XX", NotYet(CLASSIFIERS)),
            key("io.l5d.http.retryableAll5XX", NotYet(CLASSIFIERS)),
            key("io.l5d.http.allSuccessful", NotYet(CLASSIFIERS)),
        ],
    ),
    section(
        "response classifier kind h2",
        &[
            key("io.l5d.h2.nonRetryable5XX", NotYet(CLASSIFIERS)),
            key("io.l5d.h2.retryableRead5XX", NotYet(CLASSIFIERS)),
            key("io.l5d.h2.retryableIdempotent5XX", NotYet(CLASSIFIERS)),
            key("io.l5d.h2.retryableAll5XX", NotYet(CLASSIFIERS)),
            key("io.l5d.h2.allSuccessful", NotYet(CLASSIFIERS)),
            key("io.l5d.h2.grpc.default", NotYet(CLASSIFIERS)),
            key("io.l5d.h2.grpc.compliant", NotYet(CLASSIFIERS)),
            key("io.l5d.h2.grpc.alwaysRetryable", NotYet(CLASSIFIERS)),
            key("io.l5d.h2.grpc.neverRetryable", NotYet(CLASSIFIERS)),
            key("io.l5d.h2.grpc.retryableStatusCodes", NotYet(CLASSIFIERS)),
        ],
    ),
    section("grpc classifier", &[key("successStatusCodes", NotYet(CLASSIFIERS))]),
    section("response classifier io.l5d.h2.grpc.default", &[]).with(&["grpc classifier"]),
    section("response classifier io.l5d.h2.grpc.compliant", &[]).with(&["grpc classifier"]),
    section("response classifier io.l5d.h2.grpc.alwaysRetryable", &[]).with(&["grpc classifier"]),
    section("response classifier io.l5d.h2.grpc.neverRetryable", &[]).with(&["grpc classifier"]),
    section(
        "response classifier io.l5d.h2.grpc.retryableStatusCodes",
        &[key("retryableStatusCodes", NotYet(CLASSIFIERS))],
    )
    .with(&["grpc classifier"]),
];
