//! The file as a whole, the admin server, sandboxes.

use super::SectionMeanings;

pub(super) const MEANINGS: &[SectionMeanings] = &[
    (
        "file",
        &[
            ("routers", "The routers; there is at least one"),
            ("namers", "The namers, which turn names below `/#` into addresses"),
            ("telemetry", "Linkerd 1's telemeters; metrics are there without them"),
            ("admin", "The admin server"),
            ("sandboxes", "Sandboxes: a list of them, or a mapping that says where they come from"),
            ("kubernetes", "The use of every API server"),
            (
                "workers",
                "The number of threads that serve requests; by default one for each core of the process",
            ),
        ],
    ),
    (
        "admin",
        &[
            ("ip", "The address that the admin server listens on; it has no passwords"),
            ("port", "The port that it listens on"),
            (
                "shutdownDelayMs",
                "How long requests are served as before after SIGTERM, while `/admin/ready` is 503",
            ),
            ("shutdownGraceMs", "How long requests under way may take once listeners are closed"),
            ("tls", "The certificate of the admin server"),
            ("hosts", "Names by which requests may call this server, as behind a proxy that adds passwords"),
            ("shutdown", "The callers that may POST `/admin/shutdown`: those on loopback, anybody or nobody"),
            ("metrics", "A port for metrics and probes, and nothing else"),
            ("security", "The pages that are there"),
        ],
    ),
    (
        "admin metrics",
        &[
            ("ip", "The address of that port; by default `ip` of `admin`"),
            ("port", "The port for metrics, `/admin/ping`, `/admin/live` and `/admin/ready`"),
        ],
    ),
    (
        "admin security",
        &[
            ("controlEnabled", "`false` is `shutdown: nobody`"),
            (
                "uiEnabled",
                "Whether the pages for people are there: `/`, `/delegator`, `/config.json`, `/routers.json`, `/admin/metrics.json`",
            ),
            ("diagnosticsEnabled", "Whether all other pages are there, probes too"),
            ("pathWhitelist", "Regular expressions of whole paths that are there all the same"),
            ("pathBlacklist", "Regular expressions of whole paths that are never there"),
        ],
    ),
    (
        "kubernetes",
        &[(
            "watchAttemptsPerSecond",
            "How many watches that do not succeed begin in a second, for each API server",
        )],
    ),
    (
        "sandboxes",
        &[
            ("keys", "The members of `baggage` and `tracestate` that carry the key of a sandbox"),
            ("headers", "The headers that carry the key of a sandbox"),
            ("queryParameter", "The query parameter that carries the key of a sandbox"),
            ("namespaces", "The namespaces of Kubernetes whose `Sandbox` and `SandboxGroup` objects count"),
            ("router", "The label of the router under which a controller asks whether a sandbox is ready"),
            ("overrides", "Limits on the entries of sandboxes"),
            ("maxTtl", "How long a sandbox may live"),
            (
                "unknownKey",
                "What becomes of a request with a key that no sandbox has: `baseline` serves it without, `refuse` answers 404",
            ),
            ("file", "A file with more sandboxes, which is followed live"),
            ("items", "Sandboxes and groups of sandboxes"),
        ],
    ),
    (
        "sandbox overrides",
        &[
            ("prefixes", "An entry's prefix must be at or below one of these; without the key any may be"),
            (
                "destinations",
                "The bound names to which entries may lead; by default those of their own namespace for objects, all for items",
            ),
        ],
    ),
];
