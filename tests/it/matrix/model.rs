//! A small model of what a request must be when it arrives, by rules of its own.

use super::cases::{DEADLINE, Field, Override, Part};
use super::{Position, Speaks};

/// The fields that the router writes itself: their values are not compared, only that they are not the caller's.
pub(super) const OWN: [&str; 5] = ["l5d-dst-service", "l5d-dst-client", "l5d-ctx-trace", "l5d-reqid", "via"];

/// One request, and the way it takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub(super) caller: Speaks,
    pub(super) service: Speaks,
    pub(super) trusted: bool,
    pub(super) position: Position,
}

/// A request as it arrived, or must arrive.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Arrival {
    /// Whether it went where an override leads.
    pub(super) steered: bool,
    pub(super) target: String,
    /// Its field lines, but for those that the router owns.
    pub(super) lines: Vec<String>,
    pub(super) trailers: Vec<String>,
}

/// What must arrive of a request with these parts.
pub(super) fn expected(way: Way, parts: &[Part], entry: &Override) -> Arrival {
    let fields: Vec<Field> = parts.iter().filter_map(field).collect();
    let parameters: Vec<&str> = parts.iter().filter_map(parameter).collect();
    let kept = parameters.iter().filter(|parameter| way.trusted || !is_tenant_parameter(parameter));
    let query = kept.copied().collect::<Vec<_>>().join("&");
    let is_there = if way.trusted { !parameters.is_empty() } else { !query.is_empty() };
    let target = if is_there { format!("/p?{query}") } else { "/p".to_owned() };
    if way.position == Position::Trailer {
        let lines = if way.trusted { Vec::new() } else { anew() };
        let trailers: Vec<String> =
            fields.iter().filter(|field| trails(way, field)).map(Field::line).collect();
        return Arrival { steered: false, target, lines: way.normal(lines), trailers: way.normal(trailers) };
    }
    let named: Vec<String> = match way.position {
        Position::Named => fields.iter().map(|field| field.name.to_ascii_lowercase()).collect(),
        _ => Vec::new(),
    };
    let (steered, left, own) = if way.trusted { trusted(&fields, entry) } else { untrusted(&fields) };
    let outlives = |line: &String| {
        let name = line.split(':').next().unwrap_or_default();
        outlives_connection(name) || !named.contains(&name.to_ascii_lowercase())
    };
    let lines = left.into_iter().filter(outlives).chain(own).collect();
    Arrival { steered, target, lines: way.normal(lines), trailers: Vec::new() }
}

impl Way {
    /// Lines in the form in which they are compared: as they are from HTTP/1 to HTTP/1; else HTTP/2 has changed the case
    /// of names, the blanks, and the order of different names.
    pub(super) fn normal(self, lines: Vec<String>) -> Vec<String> {
        if self.caller == Speaks::Http1 && self.service == Speaks::Http1 {
            return lines;
        }
        let plain = |line: String| {
            let (name, value) = line.split_once(':').expect("a line has a colon");
            format!("{}: {}", name.to_ascii_lowercase(), value.trim())
        };
        let mut lines: Vec<String> = lines.into_iter().map(plain).collect();
        lines.sort_by_key(|line| line.split(':').next().unwrap_or_default().to_owned());
        lines
    }
}

fn field(part: &Part) -> Option<Field> {
    if let Part::Field(field) = part { Some(field.clone()) } else { None }
}

fn parameter(part: &Part) -> Option<&str> {
    if let Part::Parameter(parameter) = part { Some(parameter) } else { None }
}

fn is_tenant_parameter(parameter: &str) -> bool {
    lax(parameter.split('=').next().unwrap_or_default()) == "tenant"
}

/// What the router says of a hop that it does not know.
fn anew() -> Vec<String> {
    vec!["X-Forwarded-For: 127.0.0.1".to_owned(), "X-Forwarded-Proto: http".to_owned()]
}

/// Whether a request is steered, what is left of its fields, and what the router adds.
fn trusted(fields: &[Field], entry: &Override) -> (bool, Vec<String>, Vec<String>) {
    const TAKEN: [&str; 9] = [
        "l5d-dtab",
        "l5d-ctx-dtab",
        "l5d-ctx-deadline",
        "l5d-ctx-trace",
        "l5d-sample",
        "l5d-reqid",
        "l5d-dst-service",
        "l5d-dst-client",
        "l5d-dst-residual",
    ];
    let is = |field: &Field, name: &str| field.name.eq_ignore_ascii_case(name);
    let overrides = fields.iter().filter(|field| is(field, "l5d-dtab") || is(field, "l5d-ctx-dtab")).count();
    let in_baggage =
        |field: &Field| is(field, "baggage") && field.value.split(',').any(|member| key(member) == "dtab");
    let mut own = Vec::new();
    if overrides > 0 {
        own.push(format!("l5d-ctx-dtab: {}", vec![entry.plain.as_str(); overrides].join(";")));
    }
    if fields.iter().any(|field| is(field, "l5d-ctx-deadline")) {
        own.push(format!("l5d-ctx-deadline: {DEADLINE}"));
    }
    let left = fields.iter().filter(|field| !TAKEN.iter().any(|taken| is(field, taken)));
    (overrides > 0 || fields.iter().any(in_baggage), left.map(Field::line).collect(), own)
}

fn untrusted(fields: &[Field]) -> (bool, Vec<String>, Vec<String>) {
    let steers = |field: &Field| field.value.split(',').any(|member| is_steering(&lax(key(member))));
    let is = |field: &Field, name: &str| field.name.eq_ignore_ascii_case(name);
    let new_trace = fields.iter().any(|field| is(field, "tracestate") && steers(field));
    let mut left = Vec::new();
    for field in fields {
        let name = plain(&field.name);
        let item = name.strip_prefix("ot-baggage-").or_else(|| name.strip_prefix("uberctx-"));
        let gone = is_context(&name)
            || is_forwarding(&field.name)
            || name == "x-tenant"
            || item.is_some_and(|key| is_steering(&plain(&lax(key))))
            || (new_trace && (is(field, "tracestate") || is(field, "traceparent")));
        if !gone {
            let is_baggage = is(field, "baggage") || is_read_as_baggage(&name);
            left.extend(if is_baggage { cut(field) } else { Some(field.line()) });
        }
    }
    left.extend(anew());
    (false, left, Vec::new())
}

/// A line of baggage without the members that may not stay; `None` when none stays.
fn cut(field: &Field) -> Option<String> {
    let members: Vec<&str> = field.value.split(',').collect();
    let stays = |member: &&&str| {
        let (key, text) = (lax(key(member)), member.trim());
        let has_value = text.split(';').next().is_some_and(|first| first.contains('='));
        // The blanks of well-formed members stand around `=` and `;` alone.
        let squeezed = text.replace(" = ", "=");
        !is_steering(&key) && has_value && !text.starts_with('=') && !squeezed.contains(' ')
    };
    let kept: Vec<&str> = members.iter().filter(stays).copied().collect();
    match kept.len() {
        0 => None,
        all if all == members.len() => Some(field.line()),
        _ => Some(format!("{}: {}", field.name, kept.join(",").trim())),
    }
}

/// Whether a trailer passes.
fn trails(way: Way, field: &Field) -> bool {
    let name = plain(&field.name);
    let over_http1 = way.caller == Speaks::Http1 || way.service == Speaks::Http1;
    let of_heads = ["traceparent", "accept"].contains(&field.name.to_ascii_lowercase().as_str());
    let is_list = ["baggage", "tracestate"].contains(&field.name.to_ascii_lowercase().as_str());
    let is_item = name.starts_with("ot-baggage-") || name.starts_with("uberctx-");
    let carries =
        is_read_as_baggage(&name) || is_context(&name) || is_forwarding(&field.name) || is_list || is_item;
    !(carries || (of_heads && over_http1) || (!way.trusted && name == "x-tenant"))
}

fn outlives_connection(name: &str) -> bool {
    let (lower, plain) = (name.to_ascii_lowercase(), plain(name));
    ["baggage", "tracestate"].contains(&lower.as_str())
        || is_read_as_baggage(&plain)
        || is_context(&plain)
        || plain == "x-tenant"
        || is_forwarding(name)
        || plain.starts_with("ot-baggage-")
        || plain.starts_with("uberctx-")
}

/// Whether some libraries read the field as baggage.
fn is_read_as_baggage(plain: &str) -> bool {
    ["correlation-context", "jaeger-baggage"].contains(&plain)
}

fn is_context(plain: &str) -> bool {
    let is_all_of = ["l5d", "x-dtab", "dtab-local"].contains(&plain);
    is_all_of || ["l5d-", "x-dtab-", "dtab-local-"].iter().any(|prefix| plain.starts_with(prefix))
}

fn is_forwarding(name: &str) -> bool {
    let addresses = ["x-real-ip", "x-client-ip", "x-cluster-client-ip", "true-client-ip"];
    let plain = plain(name);
    plain.starts_with("x-forwarded-") || plain == "forwarded" || addresses.contains(&plain.as_str())
}

/// Whether a key steers, read as `lax` reads it.
fn is_steering(key: &str) -> bool {
    ["dtab", "sd-routing-key", "sd-sandbox", "okteto-divert", "mirrord-session"].contains(&key)
}

/// The key of a member.
fn key(member: &str) -> &str {
    member.split(['=', ';']).next().unwrap_or_default().trim()
}

/// A name as a CGI gateway has it.
fn plain(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

/// A key as the laxest reader has it.
fn lax(key: &str) -> String {
    let mut key = key.to_owned();
    for _ in 0..3 {
        for byte in (0x21..0x7f_u8).filter(|byte| *byte != b'%').chain([b'%']) {
            key = key.replace(&format!("%{byte:02x}"), &char::from(byte).to_string());
            key = key.replace(&format!("%{byte:02X}"), &char::from(byte).to_string());
        }
    }
    key.to_ascii_lowercase().replace('+', "")
}
