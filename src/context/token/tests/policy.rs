//! Tokens at a listener: they are taken out of every request, and grant their claims and nothing else.

use super::*;
use crate::context::{
    Config, Context, OverrideLimits, OverrideRules, Peer, Policy, Refusal, Trust, decode_overrides,
};
use crate::message::{Head, HeadLimits};

const LIMITS: HeadLimits = HeadLimits { line: 8192, fields_bytes: 65536, fields: 200 };

/// The rules by which a listener of these tests trusts.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rules {
    Nobody,
    Everybody,
    Signed,
    SignedOrPods,
    SignedAndPods,
}

const POD: &str = "10.0.0.1:1";
const STRANGER: &str = "192.0.2.1:1";

fn policy(rules: Rules) -> Policy {
    let from = Some(["10.0.0.0/8".parse().unwrap()].into());
    let signed = |from, require| {
        Trust::Signed(Arc::new(SignedTrust { from, identities: None, signed: super::rules(), require }))
    };
    let trust = match rules {
        Rules::Nobody => Trust::Nobody,
        Rules::Everybody => Trust::Everybody,
        Rules::Signed => signed(None, Requirement::Any),
        Rules::SignedOrPods => signed(from, Requirement::Any),
        Rules::SignedAndPods => signed(from, Requirement::All),
    };
    let token_keys = Some(TokenKeys::fixed(jwks(&team()).unwrap()));
    let overrides = OverrideLimits::new(OverrideRules { max_bytes: 40, ..OverrideRules::default() });
    Policy::new(Config { trust, token_keys, overrides, ..Config::default() })
}

/// A token with this dtab and sandbox, good at the time of the system.
fn signed(dtab: &str, sandbox: Option<&str>) -> String {
    let exp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 60;
    let mut claims = json!({"exp": exp, "aud": "edge", "dtab": dtab});
    if let Some(sandbox) = sandbox {
        claims["sandbox"] = sandbox.into();
    }
    String::from_utf8(team_token(HEADER, &claims.to_string())).unwrap()
}

/// Enters a request; returns its overrides and the fields that are left besides `Host` and those that
/// the router writes about a peer, or the refusal.
fn enter(policy: &Policy, from: &str, lines: &[String]) -> Result<(String, Vec<String>), Refusal> {
    let text = format!(
        "GET /a HTTP/1.1\r\nHost: hello\r\n{}\r\n",
        lines.iter().map(|line| format!("{line}\r\n")).collect::<String>()
    );
    let mut head = Head::new();
    assert_eq!(head.parse_request(text.as_bytes(), &LIMITS).unwrap(), Some(text.len()));
    let mut context = Context::new();
    let peer = Peer::new(from.parse().unwrap(), "192.0.2.9:4140".parse().unwrap());
    let (grant, entered) = policy.enter(&peer, &mut head, &mut context);
    assert_eq!(grant, policy.grant(&peer), "a token makes nobody trusted");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let left: Vec<_> =
        head.fields().map(|field| format!("{}: {}", text(field.name), text(field.value))).collect();
    assert!(!left.iter().any(|line| line.contains("eyJ")), "{left:?}");
    entered?;
    let overrides = decode_overrides(context.overrides(), policy.override_limits()).unwrap();
    let is_ours = |line: &str| line == "Host: hello" || line.starts_with("X-Forwarded-");
    Ok((format!("{:#}", overrides.dtab), left.into_iter().filter(|line| !is_ours(line)).collect()))
}

#[test]
fn a_token_grants_its_claims_to_whoever_may_use_it() {
    let lines = [
        format!("l5d-dtab-token: {}", signed("/t=>/1", None)),
        "l5d-dtab: /u=>/1".into(),
        "l5d-ctx-dtab: /c=>/1".into(),
    ];
    let address = Err(Refusal::Token(TokenRefusal::Address));
    for (rules, pod, stranger) in [
        (Rules::Nobody, Ok(""), Ok("")),
        (Rules::Everybody, Ok("/c=>/1;/u=>/1"), Ok("/c=>/1;/u=>/1")),
        (Rules::Signed, Ok("/t=>/1"), Ok("/t=>/1")),
        (Rules::SignedOrPods, Ok("/c=>/1;/t=>/1;/u=>/1"), Ok("/t=>/1")),
        (Rules::SignedAndPods, Ok("/t=>/1"), address),
    ] {
        let policy = policy(rules);
        for (from, expected) in [(POD, pod), (STRANGER, stranger)] {
            let entered = enter(&policy, from, &lines);
            assert_eq!(
                entered.map(|(overrides, _)| overrides),
                expected.map(str::to_owned),
                "{rules:?} {from}"
            );
        }
        let (plain, left) = enter(&policy, STRANGER, &lines[1..]).unwrap();
        let trusted = if rules == Rules::Everybody { "/c=>/1;/u=>/1" } else { "" };
        assert_eq!((plain.as_str(), left.len()), (trusted, 0), "{rules:?}");
    }
}

/// With keys or without, from any caller, in every spelling.
#[test]
fn no_token_passes() {
    let token = signed("/t=>/1", None);
    for rules in [Rules::Nobody, Rules::Everybody, Rules::SignedOrPods, Rules::SignedAndPods] {
        for from in [POD, STRANGER] {
            for name in ["l5d-dtab-token", "L5D-Dtab-Token", "l5d_dtab_token", "l5d-dtab_token"] {
                let line = format!("{name}: {token}");
                let once = enter(&policy(rules), from, &[line.clone(), "x: y".into()]);
                let is_refused = rules == Rules::SignedAndPods && from == STRANGER;
                assert_eq!(once.map(|(_, left)| left).ok(), (!is_refused).then(|| vec!["x: y".to_owned()]));
                let twice = enter(&policy(rules), from, &[line.clone(), line]);
                let has_keys = !matches!(rules, Rules::Nobody | Rules::Everybody);
                assert_eq!(twice.is_err(), has_keys, "{rules:?} {from} {name}");
            }
        }
    }
    let twice = ["l5d-dtab-token: a".to_owned(), format!("l5d_dtab_token: {token}")];
    assert_eq!(enter(&policy(Rules::Signed), STRANGER, &twice), Err(TokenRefusal::Several.into()));
    let list = [format!("l5d-dtab-token: {token},{token}")];
    assert_eq!(enter(&policy(Rules::Signed), STRANGER, &list), Err(TokenRefusal::Several.into()));
    let empty = ["l5d-dtab-token:".to_owned()];
    assert_eq!(enter(&policy(Rules::Signed), STRANGER, &empty), Err(TokenRefusal::Malformed.into()));
}

/// A comment may hold any character, also those that end a value in the context.
#[test]
fn the_dtab_of_a_token_is_one_layer_under_the_bounds_of_all() {
    let policy = policy(Rules::SignedOrPods);
    let token = |dtab: &str| format!("l5d-dtab-token: {}", signed(dtab, None));
    let (overrides, _) = enter(&policy, STRANGER, &[token("/a=>/b # \u{2}/c=>/d\u{1}\n;")]).unwrap();
    assert_eq!(overrides, "/a=>/b");
    let user = |bytes: usize| format!("l5d-dtab: /{}=>/u", "u".repeat(bytes - 5));
    assert!(enter(&policy, POD, &[token("/aaaaa=>/b"), user(30)]).is_ok());
    let refused = Err(Refusal::OverrideTooLarge { limit: 40 });
    assert_eq!(enter(&policy, POD, &[token("/aaaaa=>/b"), user(31)]), refused);
    assert_eq!(enter(&policy, STRANGER, &[token(&format!("/{}=>/b", "a".repeat(40)))]), refused);
    assert_eq!(enter(&policy, STRANGER, &[token("")]), Ok((String::new(), Vec::new())));
}

#[test]
fn a_sandbox_is_written_into_baggage_in_place_of_any_other() {
    let token = format!("l5d-dtab-token: {}", signed("", Some("pr-17+a")));
    let policy = policy(Rules::SignedOrPods);
    let tenant = "baggage: sd-routing-key=pr-17%2Ba";
    for from in [POD, STRANGER] {
        for (baggage, left) in [
            (vec![], vec![]),
            (vec!["a=b, c=d;e"], vec!["baggage: a=b, c=d;e"]),
            (vec!["a=b,sd-routing-key=x , okteto-divert=y,c=d", "SD-Sandbox=z"], vec!["baggage: a=b,c=d"]),
        ] {
            let lines = baggage.into_iter().map(|line| format!("baggage: {line}")).chain([token.clone()]);
            let (_, entered) = enter(&policy, from, &lines.collect::<Vec<_>>()).unwrap();
            assert_eq!(entered, [left, vec![tenant]].concat(), "{from}");
        }
    }
}

/// A token with these claims beside `exp` and `aud`, good at the time of the system.
fn signed_claims(more: &serde_json::Value) -> String {
    let exp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 60;
    let mut claims = json!({"exp": exp, "aud": "edge"});
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    String::from_utf8(team_token(HEADER, &claims.to_string())).unwrap()
}

/// Enters a stranger's request for a target, on a listener that reads tokens from the parameter `sandbox` if it has keys.
/// Returns the target and the keys of sandboxes that are left.
fn enter_target(rules: Rules, target: &str, lines: &str) -> Result<(String, String), Refusal> {
    let mut config = policy(rules).into_config();
    config.tenancy.query_parameter = Some("sandbox".to_owned());
    let policy = Policy::new(config);
    let text = format!("GET {target} HTTP/1.1\r\nHost: hello\r\n{lines}\r\n");
    let mut head = Head::new();
    assert_eq!(head.parse_request(text.as_bytes(), &LIMITS).unwrap(), Some(text.len()));
    let mut context = Context::new();
    let peer = Peer::new(STRANGER.parse().unwrap(), "192.0.2.9:4140".parse().unwrap());
    let (_, entered) = policy.enter(&peer, &mut head, &mut context);
    let left = String::from_utf8(head.target().to_vec()).unwrap();
    assert!(!left.contains("eyJ"), "{left}");
    entered.map(|()| (left, context.sandbox_keys().to_owned()))
}

#[test]
fn a_token_in_a_query_selects_a_sandbox_at_one_place() {
    let good = signed_claims(&json!({"sandbox": "pr-7", "path": "/hooks/pay"}));
    let with = |token: &str, target: &str| target.replace("TOKEN", token);
    for (target, left) in [
        ("/hooks/pay?sandbox=TOKEN", "/hooks/pay"),
        ("/hooks/pay/?a=1&sandbox=TOKEN&b=2", "/hooks/pay/?a=1&b=2"),
        ("/hooks/pay/x?sandbox=TOKEN;b=2", "/hooks/pay/x?b=2"),
        // A stranger's own key beside it is nothing.
        ("/hooks/pay?sandbox=other&sandbox=TOKEN", "/hooks/pay"),
    ] {
        let entered = enter_target(Rules::Signed, &with(&good, target), "");
        assert_eq!(entered, Ok((left.to_owned(), "pr-7".to_owned())), "{target}");
        let unread = enter_target(Rules::Nobody, &with(&good, target), "");
        assert_eq!(unread, Ok((left.to_owned(), String::new())), "{target}");
    }
    for target in [
        "/?sandbox=TOKEN",
        "/hooks?sandbox=TOKEN",
        "/hooks/payments?sandbox=TOKEN",
        "/hooks/pay/../admin?sandbox=TOKEN",
        "/hooks/pay/%2e%2E/admin?sandbox=TOKEN",
        "/hooks/pay/..;x/admin?sandbox=TOKEN",
        "/hooks/pay//admin?sandbox=TOKEN",
        "/hooks/pay/%2e%2e%5cadmin?sandbox=TOKEN",
        "/hooks/pay/%252e%252e/admin?sandbox=TOKEN",
    ] {
        let refused = enter_target(Rules::Signed, &with(&good, target), "").unwrap_err();
        assert_eq!(refused, Refusal::Token(TokenRefusal::Path), "{target}");
    }
}

#[test]
fn a_token_in_a_query_grants_a_sandbox_alone() {
    let enter = |claims: &serde_json::Value, lines: &str| {
        enter_target(Rules::Signed, &format!("/a?sandbox={}", signed_claims(claims)), lines)
    };
    for claims in [
        json!({"sandbox": "pr-7"}),
        json!({"dtab": "/a=>/b", "path": "/a"}),
        json!({"dtab": "/a=>/b", "sandbox": "pr-7", "path": "/a"}),
    ] {
        assert_eq!(enter(&claims, ""), Err(Refusal::Token(TokenRefusal::NotForQueries)));
    }
    for path in ["", "a", "/a?b", "/a#b", "/a b"] {
        let refused = enter(&json!({"sandbox": "pr-7", "path": path}), "");
        assert_eq!(refused, Err(Refusal::Token(TokenRefusal::MalformedPath)), "{path}");
    }
    let all = json!({"sandbox": "pr-7", "path": "/"});
    assert_eq!(enter(&all, ""), Ok(("/a".to_owned(), "pr-7".to_owned())));
    let line = format!("l5d-dtab-token: {}\r\n", signed_claims(&json!({"sandbox": "pr-8"})));
    assert_eq!(enter(&all, &line), Err(Refusal::Token(TokenRefusal::Several)));
}

#[test]
fn a_token_in_a_field_keeps_to_its_path_as_well() {
    let line = |path: &str| {
        format!("l5d-dtab-token: {}\r\n", signed_claims(&json!({"sandbox": "pr-7", "path": path})))
    };
    assert_eq!(enter_target(Rules::Signed, "/a/b", &line("/a")), Ok(("/a/b".to_owned(), "pr-7".to_owned())));
    assert_eq!(enter_target(Rules::Signed, "/b", &line("/a")), Err(Refusal::Token(TokenRefusal::Path)));
}
