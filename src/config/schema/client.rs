//! Clients and services: balancers, accrual, retries, classifiers, timeouts.

use super::Support::{Foreign, Inside, NoEffect, NotYet, Refused, Works};
use super::{
    ACCRUAL, BALANCERS, CLASSIFIERS, CONNECTIONS, NOTHING, PER_CLIENT, PER_SERVICE, RETRIES, Section,
    TIMEOUTS, TLS, key, kinds, list, one, section,
};

const NO_PUSH: &str = "it limits what endpoints push, and they may push nothing";
const SOCKETS: &str = "socket options of clients";

pub(super) const SECTIONS: &[Section] = &[
    kinds("client", &[]).defaults_to("io.l5d.global"),
    section("client kind", &[key("io.l5d.global", Works), key("io.l5d.static", NotYet(PER_CLIENT))]),
    section("client io.l5d.static", &[list("configs", Inside, "client of a prefix")]),
    section("client of a prefix", &[key("prefix", Inside)]).with(&["client io.l5d.global"]),
    section("client of a prefix http", &[]).with(&["client http"]),
    section(
        "client of a prefix h2",
        &[
            key("initialStreamWindowBytes", Inside),
            key("headerTableBytes", Inside),
            key("maxFrameBytes", Inside),
            key("maxHeaderListBytes", Inside),
            key("windowUpdateRatio", Inside),
            key("maxConcurrentStreamsPerConnection", Inside),
        ],
    ),
    section("client http", &[key("maxConcurrentStreamsPerConnection", Foreign(NOTHING))])
        .with(&["no h2 endpoint"]),
    section("client h2", &[key("maxConcurrentStreamsPerConnection", NoEffect(NO_PUSH))])
        .with(&["h2 endpoint"]),
    section(
        "client io.l5d.global",
        &[
            key("tls", NotYet(TLS)),
            key("loadBalancer", NotYet(BALANCERS)),
            key("streamWaitMs", Works),
            one("hostConnectionPool", Works, "host connection pool"),
            key("failFast", NotYet(ACCRUAL)),
            key("failureAccrual", NotYet(ACCRUAL)),
            key("requestAttemptTimeoutMs", NotYet(TIMEOUTS)),
            key("requeueBudget", NotYet(RETRIES)),
            key("clientSession", NotYet(CONNECTIONS)),
            key("socketOptions", NotYet(SOCKETS)),
            key("forwardClientCert", NotYet(TLS)),
            key(
                "requestAuthorizers",
                Refused("its only kind was Istio's, of Linkerd 1's time: remove the key"),
            ),
        ],
    ),
    section(
        "host connection pool",
        &[
            key("minSize", NotYet(CONNECTIONS)),
            key("maxSize", Works),
            key("idleTimeMs", NotYet(CONNECTIONS)),
            key(
                "maxWaiters",
                NoEffect(
                    "requests wait for a connection in turn, and `streamWaitMs` of `client` bounds the wait",
                ),
            ),
        ],
    ),
    kinds("service", &[]).defaults_to("io.l5d.global"),
    section("service kind", &[key("io.l5d.global", Works), key("io.l5d.static", NotYet(PER_SERVICE))]),
    section("service io.l5d.static", &[list("configs", Inside, "service of a prefix")]),
    section("service of a prefix", &[key("prefix", Inside)]).with(&["service io.l5d.global"]),
    section("service of a prefix http", &[]).with(&["service http"]),
    section("service of a prefix h2", &[]).with(&["service h2"]),
    section(
        "service io.l5d.global",
        &[
            key("totalTimeoutMs", NotYet(TIMEOUTS)),
            key("retries", NotYet(RETRIES)),
            key("responseClassifier", NotYet(CLASSIFIERS)),
        ],
    ),
    section(
        "service h2",
        &[key("classificationTimeoutMs", NotYet(CLASSIFIERS)), key("retryBufferSize", NotYet(RETRIES))],
    ),
    section(
        "service http",
        &[key("classificationTimeoutMs", Foreign(NOTHING)), key("retryBufferSize", Foreign(NOTHING))],
    ),
];
