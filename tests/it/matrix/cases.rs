//! The parts of requests that steer, say something about other hops, or look as if they did: each family in each spelling.

/// A part of a request.
#[derive(Clone, Debug)]
pub(super) enum Part {
    /// A field line.
    Field(Field),
    /// A query parameter.
    Parameter(String),
}

/// A field line.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) value: String,
    /// Whether blanks stand around the value, over HTTP/1.
    pub(super) padded: bool,
}

impl Field {
    /// The line as it is sent over HTTP/1, without its end.
    pub(super) fn line(&self) -> String {
        let Self { name, value, padded } = self;
        if *padded { format!("{name}:\t {value}\t ") } else { format!("{name}: {value}") }
    }
}

/// A dtab that leads the host `web` elsewhere, as a field has it and as a member of baggage has it.
pub(super) struct Override {
    pub(super) plain: String,
    pub(super) encoded: String,
}

/// A value that the router must never take for its own.
pub(super) const FORGED: &str = "forged";

/// A deadline in the far future.
pub(super) const DEADLINE: &str = "1 9000000000000000000";

/// Fields that count as a whole, and others whose names are near.
const NAMES: [&str; 41] = [
    "l5d-dtab",
    "l5d-ctx-dtab",
    "l5d-ctx-deadline",
    "l5d-ctx-trace",
    "l5d-sample",
    "l5d-reqid",
    "l5d-dst-service",
    "l5d-dst-client",
    "l5d-dst-residual",
    "l5d-add-context",
    "l5d-err",
    "l5d-anything-else",
    "dtab-local",
    "x-dtab-00-a",
    "x-dtab-01-b",
    "l5d",
    "x-dtab",
    "dtab-local-x",
    "x-tenant",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-server",
    "x-forwarded-client-cert",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "traceparent",
    "b3",
    "x-b3-traceid",
    "xl5d-dtab",
    "dtab-locals",
    "x-dtabs",
    "x-tenants",
    "x-real-ips",
    "ot-baggage",
    "accept",
];

/// Keys of members, those of the default configuration first.
const KEYS: [&str; 8] = [
    "dtab",
    "sd-routing-key",
    "sd-sandbox",
    "okteto-divert",
    "mirrord-session",
    "user",
    "dtabs",
    "sd-sandboxes",
];

const PARAMETERS: [&str; 12] = [
    "tenant=a",
    "tenant",
    "tenant=",
    "Tenant=a%26b",
    "%74enant=a",
    "ten%2561nt=a",
    "tenants=a",
    "x=tenant",
    "xtenant=a",
    "",
    "y",
    "tenan=t",
];

/// All parts.
pub(super) fn all(entry: &Override) -> Vec<Part> {
    let mut parts = Vec::new();
    for name in NAMES {
        for name in spellings(name) {
            let value = value(&name, entry);
            let field = |padded| Part::Field(Field { name: name.clone(), value: value.clone(), padded });
            parts.extend([field(false), field(true)]);
        }
    }
    for (at, key) in KEYS.into_iter().enumerate() {
        let value = if key == "dtab" { entry.encoded.as_str() } else { "a%2Cb" };
        for key in key_spellings(key) {
            for list in ["baggage", "tracestate", "correlation-context", "Jaeger_Baggage"] {
                parts.extend(lists(&format!("{key}={value}"), at).map(|line| {
                    Part::Field(Field { name: list.to_owned(), value: line, padded: at.is_multiple_of(2) })
                }));
            }
        }
        for prefix in ["ot-baggage-", "uberctx-"] {
            for name in
                spellings(&format!("{prefix}{key}")).into_iter().chain([format!("{prefix}{}", encoded(key))])
            {
                parts.push(Part::Field(Field { name, value: value.to_owned(), padded: false }));
            }
        }
    }
    parts.extend(["BAGGAGE", "Baggage", "TraceState"].map(|name| {
        Part::Field(Field { name: name.to_owned(), value: "a=b,sd-sandbox=c".to_owned(), padded: false })
    }));
    let malformed = ["a b", "x=y z,u=v", "=,sd%2dsandbox"].map(str::to_owned);
    parts.extend(malformed.map(|value| Part::Field(Field { name: "baggage".into(), value, padded: false })));
    for _ in 0..3 {
        parts.extend(PARAMETERS.map(|parameter| Part::Parameter(parameter.to_owned())));
    }
    parts
}

/// The value that a field has in this test.
fn value(name: &str, entry: &Override) -> String {
    match name.to_ascii_lowercase().replace('_', "-").as_str() {
        "l5d-dtab" | "l5d-ctx-dtab" | "dtab-local" => entry.plain.clone(),
        "l5d-ctx-deadline" => DEADLINE.to_owned(),
        name => format!("{FORGED} {name}"),
    }
}

/// The spellings of a field's name that a reader may take for it.
fn spellings(name: &str) -> Vec<String> {
    let capitals =
        name.split('-').map(|word| word[..1].to_uppercase() + &word[1..]).collect::<Vec<_>>().join("-");
    let mut spellings = vec![
        name.to_owned(),
        name.to_uppercase(),
        capitals,
        name.replace('-', "_"),
        name.replacen('-', "_", 1),
        name.to_uppercase().replace('-', "_"),
    ];
    spellings.sort();
    spellings.dedup();
    spellings
}

/// The spellings of a key that a reader may take for it.
fn key_spellings(key: &str) -> [String; 5] {
    [key.to_owned(), key.to_uppercase(), encoded(key), encoded(key).replace('%', "%25"), format!("+{key}")]
}

/// The key with its second letter percent-encoded.
fn encoded(key: &str) -> String {
    format!("{}%{:02x}{}", &key[..1], key.as_bytes()[1], &key[2..])
}

/// Lists in which a member stands alone, first, in the middle, last.
fn lists(member: &str, at: usize) -> [String; 4] {
    let blank = if at.is_multiple_of(2) { "" } else { " \t" };
    [
        member.to_owned(),
        format!("{member}{blank},p=1;q"),
        format!("p=1{blank},{blank}{member};r=s{blank},t=u"),
        format!("p=1 , u = v;w,{blank}{member}"),
    ]
}
