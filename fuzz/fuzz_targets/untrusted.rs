//! Blocks of fields that are made to steer: family by spelling by place in a list. From an untrusted caller nothing that
//! steers is left, by a reader of its own, and all that does not steer stays byte for byte and in order.
#![no_main]

use libfuzzer_sys::fuzz_target;
use signpost::context::{Config, Context, ForwardedFrom, Peer, Policy, Tenancy};
use signpost::message::{Head, HeadLimits};
use signpost_fuzz::{is_steering_key, members, read_laxly, stays};
use std::net::Ipv4Addr;

const LIMITS: HeadLimits = HeadLimits { line: 20_000, fields_bytes: 200_000, fields: 300 };

/// How many lines a block has at most: the members of baggage in them stay below its limits.
const MOST_LINES: usize = 15;

const NAMES: [&str; 22] = [
    "l5d-dtab",
    "l5d-ctx-dtab",
    "l5d-reqid",
    "l5d-",
    "dtab-local",
    "x-dtab-00-a",
    "x-tenant",
    "forwarded",
    "x-forwarded-for",
    "x-real-ip",
    "true-client-ip",
    "traceparent",
    "b3",
    "x-dtab",
    "l5d",
    "dtab-local-",
    "dtab-locals",
    "x-dtabs",
    "l5dx",
    "dtab",
    "accept",
    "via",
];

const KEYS: [&str; 8] =
    ["dtab", "sd-routing-key", "sd-sandbox", "okteto-divert", "mirrord-session", "user", "tenant", ""];

const VALUES: [&str; 6] = ["=a", "=a;p=q", " = a ; p ", "", "=\"a\"", "=a=b;dtab=c"];

const BLANKS: [&str; 4] = ["", " ", "\t", " \t "];

/// The fuzzer's bytes, each a choice.
struct Choices<'a>(std::slice::Iter<'a, u8>);

impl Choices<'_> {
    /// Chooses among so many; the first when no bytes are left.
    fn next(&mut self, among: usize) -> usize {
        self.0.next().map_or(0, |byte| usize::from(*byte) % among)
    }

    fn pick<'t>(&mut self, table: &[&'t str]) -> &'t str {
        table[self.next(table.len())]
    }

    fn is_over(&self) -> bool {
        self.0.as_slice().is_empty()
    }

    /// Changes a name into one that some reader may take for it, or one that is merely near.
    fn spell(&mut self, name: &str, is_field: bool) -> String {
        let mut name = name.to_owned();
        for _ in 0..self.next(4) {
            let at = self.next(name.len().max(1));
            let Some(letter) = name.get(at..=at).map(str::to_owned) else { continue };
            let other = match self.next(7) {
                0 => letter.to_uppercase(),
                1 => format!("%{:02x}", letter.as_bytes()[0]),
                2 => format!("%25{:02X}", letter.as_bytes()[0]),
                3 => letter.replace('-', "_"),
                4 => format!("+{letter}"),
                5 if !is_field => format!("{letter}\u{a0}"),
                6 if !is_field => letter.replace('k', "\u{212a}"),
                _ => format!("{letter}{letter}"),
            };
            name.replace_range(at..=at, &other);
        }
        name
    }

    fn list(&mut self) -> String {
        let mut list = String::new();
        for at in 0..=self.next(4) {
            let key = self.pick(&KEYS);
            let parts = [if at == 0 { "" } else { "," }, self.pick(&BLANKS), &self.spell(key, false)];
            list += &parts.concat();
            list += self.pick(&VALUES);
            list += self.pick(&BLANKS);
        }
        list
    }

    fn line(&mut self) -> (String, String) {
        match self.next(4) {
            0 => (self.pick(&["baggage", "Baggage"]).to_owned(), self.list()),
            1 => (self.pick(&["tracestate", "TraceState"]).to_owned(), self.list()),
            2 => {
                let (prefix, key) = (self.pick(&["ot-baggage-", "uberctx-"]), self.pick(&KEYS));
                (self.spell(&format!("{prefix}{key}"), true), self.list())
            }
            _ => {
                let name = self.pick(&NAMES);
                (self.spell(name, true), self.list())
            }
        }
    }

    fn query(&mut self) -> String {
        let mut query = String::new();
        for at in 0..self.next(5) {
            let name = self.pick(&["tenant", "user", ""]);
            query += if at == 0 { "?" } else { self.pick(&["&", ";"]) };
            query += &self.spell(name, true);
            query += self.pick(&["", "=", "=a", "=tenant"]);
        }
        query
    }
}

fuzz_target!(|input: &[u8]| {
    let mut choices = Choices(input.iter());
    let target = format!("/a{}", choices.query());
    let mut lines = Vec::new();
    while !choices.is_over() && lines.len() < MOST_LINES {
        lines.push(choices.line());
    }
    let text: String = lines.iter().map(|(name, value)| format!("{name}:{value}\r\n")).collect();
    let text = format!("GET {target} HTTP/1.1\r\n{text}\r\n");
    let mut head = Head::new();
    if head.parse_request(text.as_bytes(), &LIMITS) != Ok(Some(text.len())) {
        return;
    }
    // A refusal is about the call depth only.
    let _ = policy().enter(&peer(), &mut head, &mut Context::new());
    let written = ["X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http"].map(str::to_owned);
    let left: Vec<String> = head.fields().map(|field| line(field.name, field.value)).collect();
    assert_eq!(left, [expected(&lines), written.to_vec()].concat(), "{text}");
    assert_eq!(String::from_utf8_lossy(head.target()), expected_target(&target));
});

/// Returns the lines that must be left; those of baggage as their members, by a blank apart.
fn expected(lines: &[(String, String)]) -> Vec<String> {
    let is_steering_member = |member: &[u8]| is_steering_key(&read_laxly(key(member)));
    let new_trace = lines.iter().any(|(name, value)| {
        name.eq_ignore_ascii_case("tracestate") && members(value.as_bytes()).any(is_steering_member)
    });
    let mut left = Vec::new();
    let baggage = lines.iter().filter(|(name, _)| name.eq_ignore_ascii_case("baggage"));
    let is_cut = !baggage.clone().flat_map(|(_, value)| members(value.as_bytes())).all(stays);
    for (name, value) in lines {
        let plain = name.to_ascii_lowercase().replace('_', "-");
        let lower = name.to_ascii_lowercase();
        let is_item = ["ot-baggage-", "uberctx-"].iter().find_map(|prefix| plain.strip_prefix(prefix));
        let gone = is_whole(&plain)
            || is_item.is_some_and(|key| is_steering_key(&read_laxly(key.as_bytes()).replace('_', "-")))
            || (new_trace && (lower == "tracestate" || lower == "traceparent"));
        if gone {
            continue;
        }
        let all = members(value.as_bytes()).count();
        let kept = members(value.as_bytes()).filter(|member| stays(member)).count();
        if lower != "baggage" || !is_cut || kept == all {
            left.push(line(name.as_bytes(), value.trim_ascii().as_bytes()));
        } else if kept > 0 {
            let raw = value.split(',').filter(|member| !member.trim_ascii().is_empty());
            let kept: Vec<&str> = raw.filter(|member| stays(member.trim_ascii().as_bytes())).collect();
            left.push(line(name.as_bytes(), kept.join(",").trim_ascii().as_bytes()));
        }
    }
    left
}

/// Returns whether a field goes as a whole, by its name without case and underscores.
fn is_whole(plain: &str) -> bool {
    let names = [
        "l5d",
        "x-dtab",
        "dtab-local",
        "x-tenant",
        "forwarded",
        "x-real-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "true-client-ip",
    ];
    ["l5d-", "x-dtab-", "dtab-local-", "x-forwarded-"].iter().any(|prefix| plain.starts_with(prefix))
        || names.contains(&plain)
}

/// Returns the target that must be left.
fn expected_target(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else { return target.to_owned() };
    let mut left = String::new();
    let mut rest = query;
    loop {
        let end = rest.find(['&', ';']);
        let (parameter, separator) = rest.split_at(end.unwrap_or(rest.len()));
        let name = parameter.split('=').next().unwrap_or_default();
        let is_gone = read_laxly(name.as_bytes()) == "tenant";
        if !is_gone {
            left += parameter;
            left += separator.get(..1).unwrap_or_default();
        }
        let Some(next) = separator.get(1..) else {
            if is_gone && !left.is_empty() {
                // Its separator stands before it.
                left.pop();
            }
            break;
        };
        rest = next;
    }
    let is_whole = left.len() == query.len();
    if left.is_empty() && !is_whole { path.to_owned() } else { format!("{path}?{left}") }
}

fn key(member: &[u8]) -> &[u8] {
    member.split(|byte| matches!(byte, b'=' | b';')).next().unwrap_or_default().trim_ascii()
}

fn line(name: &[u8], value: &[u8]) -> String {
    format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
}

fn policy() -> Policy {
    let tenancy = Tenancy {
        headers: vec!["x-tenant".into()],
        query_parameter: Some("tenant".into()),
        ..Tenancy::default()
    };
    Policy::new(Config { tenancy, forwarded_from: ForwardedFrom::Trusted, ..Config::default() })
}

fn peer() -> Peer {
    let address = (Ipv4Addr::LOCALHOST, 4140).into();
    Peer::new(address, address)
}
