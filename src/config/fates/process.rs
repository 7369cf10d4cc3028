//! The file as a whole, the admin server, telemeters.

use super::Fate::{Inside, NoEffect, NotYet, Works};
use super::{ADMIN_RULES, IDENTIFIER_PORT, RECENT, Section, TLS, TRACES, key, list, one, section, sorted};

const NO_REPORT: &str = "nothing is reported to anyone";
const ALWAYS_THERE: &str =
    "metrics are at `/admin/metrics/prometheus` without it, under names that begin with `signpost_`";
const GONE: &str = "nothing is sent there; read the metrics of the admin server instead";

pub(super) const SECTIONS: &[Section] = &[
    section(
        super::TOP,
        &[
            list("routers", Works, "router"),
            list("namers", Works, "namer"),
            list("telemetry", Inside, "telemeter"),
            one("admin", Works, "admin"),
            one("usage", NoEffect(NO_REPORT), "usage"),
        ],
    ),
    section("usage", &[key("orgId", NoEffect(NO_REPORT)), key("enabled", NoEffect(NO_REPORT))]),
    section(
        "admin",
        &[
            key("ip", Works),
            key("port", Works),
            one("socketOptions", NoEffect("the admin server sets what it needs"), "socket options"),
            key("shutdownDelayMs", Works),
            key("shutdownGraceMs", Works),
            one("tls", NotYet(TLS), "server tls"),
            one("security", NotYet(ADMIN_RULES), "admin security"),
            key("httpIdentifierPort", NotYet(IDENTIFIER_PORT)),
            key("workerThreads", NoEffect("one thread of its own serves the admin server")),
        ],
    ),
    section(
        "admin security",
        &[
            key("uiEnabled", NotYet(ADMIN_RULES)),
            key("controlEnabled", NotYet(ADMIN_RULES)),
            key("diagnosticsEnabled", NotYet(ADMIN_RULES)),
            key("pathWhitelist", NotYet(ADMIN_RULES)),
            key("pathBlacklist", NotYet(ADMIN_RULES)),
        ],
    ),
    sorted("telemeter", &[key("experimental", NoEffect(super::naming::NO_EXPERIMENT))]),
    section(
        "telemeter kind",
        &[
            key("io.l5d.prometheus", NoEffect(ALWAYS_THERE)),
            key("io.l5d.influxdb", NoEffect(GONE)),
            key("io.l5d.statsd", NoEffect(GONE)),
            key("io.l5d.tracelog", NotYet(TRACES)),
            key("io.l5d.recentRequests", NotYet(RECENT)),
            key("io.l5d.zipkin", NotYet(TRACES)),
        ],
    ),
    section(
        "telemeter io.l5d.prometheus",
        &[key("path", NoEffect(ALWAYS_THERE)), key("prefix", NoEffect(ALWAYS_THERE))],
    ),
    section(
        "telemeter io.l5d.statsd",
        &[
            key("prefix", NoEffect(GONE)),
            key("hostname", NoEffect(GONE)),
            key("port", NoEffect(GONE)),
            key("gaugeIntervalMs", NoEffect(GONE)),
            key("sampleRate", NoEffect(GONE)),
        ],
    ),
    section("telemeter io.l5d.tracelog", &[key("sampleRate", NotYet(TRACES)), key("level", NotYet(TRACES))]),
    section(
        "telemeter io.l5d.recentRequests",
        &[key("sampleRate", NotYet(RECENT)), key("capacity", NotYet(RECENT))],
    ),
    section(
        "telemeter io.l5d.zipkin",
        &[key("host", NotYet(TRACES)), key("port", NotYet(TRACES)), key("sampleRate", NotYet(TRACES))],
    ),
];
