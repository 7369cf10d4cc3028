//! The file as a whole, the admin server, the names of tenants, telemeters.

use super::Support::{Inside, NoEffect, NotYet, Works};
use super::{IDENTIFIER_PORT, Section, TRACES, key, kinds, list, one, section, value_or_one};

const NO_REPORT: &str = "no usage data is sent";
const ALWAYS_THERE: &str =
    "metrics are at `/admin/metrics/prometheus` without it, under names that begin with `signpost_`";
const GONE: &str = "nothing is sent there; read the metrics of the admin server instead";

const NO_PAGE: &str = "the page of recent requests is not built yet; an access log has each request";

pub(super) const SECTIONS: &[Section] = &[
    section(
        super::TOP,
        &[
            list("routers", Works, "router"),
            list("namers", Works, "namer"),
            list("telemetry", Inside, "telemeter"),
            one("admin", Works, "admin"),
            value_or_one("sandboxes", Works, "sandboxes"),
            // Not in Linkerd 1, which asked as often as it liked.
            one("kubernetes", Works, "kubernetes"),
            // Not in Linkerd 1, which had `admin.workerThreads` for the admin server alone.
            key("workers", Works),
            key("usage", NoEffect(NO_REPORT)),
        ],
    ),
    section(
        "admin",
        &[
            key("ip", Works),
            key("port", Works),
            key("socketOptions", NoEffect("the admin server sets what it needs")),
            key("shutdownDelayMs", Works),
            key("shutdownGraceMs", Works),
            one("tls", Works, "server tls"),
            // These three are not in Linkerd 1.
            key("hosts", Works),
            key("shutdown", Works),
            one("metrics", Works, "admin metrics"),
            one("security", Works, "admin security"),
            key("httpIdentifierPort", NotYet(IDENTIFIER_PORT)),
            key(
                "workerThreads",
                NoEffect(
                    "one thread of its own serves the admin server; `workers` at the top sets the threads that serve requests",
                ),
            ),
        ],
    ),
    section("admin metrics", &[key("ip", Works), key("port", Works)]),
    section(
        "admin security",
        &[
            key("controlEnabled", Works),
            key("uiEnabled", Works),
            key("diagnosticsEnabled", Works),
            key("pathWhitelist", Works),
            key("pathBlacklist", Works),
        ],
    ),
    section("kubernetes", &[key("watchAttemptsPerSecond", Works)]),
    section(
        "sandboxes",
        &[
            key("keys", Works),
            key("headers", Works),
            key("queryParameter", Works),
            key("namespaces", Works),
            key("router", Works),
            one("overrides", Works, "sandbox overrides"),
            key("maxTtl", Works),
            key("unknownKey", Works),
            key("file", Works),
            // Lists of items are read by the module of sandboxes, for the file beside the configuration too.
            key("items", Works),
        ],
    )
    .with(&["kubernetes client"]),
    section("sandbox overrides", &[key("prefixes", Works), key("destinations", Works)]),
    kinds("telemeter", &[]),
    section(
        "telemeter kind",
        &[
            key("io.l5d.prometheus", NoEffect(ALWAYS_THERE)),
            key("io.l5d.influxdb", NoEffect(GONE)),
            key("io.l5d.statsd", NoEffect(GONE)),
            key("io.l5d.tracelog", NotYet(TRACES)),
            key("io.l5d.recentRequests", NoEffect(NO_PAGE)),
            key("io.l5d.zipkin", NotYet(TRACES)),
        ],
    ),
];
