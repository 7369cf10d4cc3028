use super::*;
use crate::message::HeadLimits;
use std::net::SocketAddr;

const SECRET: &str = "a secret of some length";

fn head(lines: &str) -> Head {
    let mut head = Head::new();
    let text = format!("GET {lines}\r\n\r\n");
    let limits = HeadLimits { line: 1000, fields_bytes: 10_000, fields: 20 };
    head.parse_request(text.as_bytes(), &limits).unwrap().unwrap();
    head
}

fn peer(ip: &str) -> Peer {
    let local = SocketAddr::from(([127, 0, 0, 1], 4140));
    Peer::new(SocketAddr::new(ip.parse().unwrap(), 1), local)
}

fn globs(pairs: &[(&str, &str)]) -> BTreeMap<String, Glob> {
    pairs.iter().map(|(name, text)| ((*name).to_owned(), Glob::new(text))).collect()
}

#[test]
fn every_part_must_hold() {
    let all = InjectCondition {
        cookie: globs(&[("dogfood", "on*")]),
        header: globs(&[("x-team", "?a")]),
        path: Some("/shop".to_owned()),
        query: globs(&[("preview", "*")]),
        from: Some(vec!["10.0.0.0/8".parse().unwrap()]),
        identities: None,
        percent: None,
    };
    let request = "/shop/cart?a=b&preview= HTTP/1.1\r\nX-Team: ba\r\ncookie: dogfood=on-v2";
    assert!(all.holds(&peer("10.1.2.3"), &head(request)));
    assert!(all.holds(&peer("::ffff:10.1.2.3"), &head(request)));
    assert!(!all.holds(&peer("11.1.2.3"), &head(request)));
    for (part, other) in [
        ("/shop/", "/shopping/"),
        ("preview=", "preview2="),
        ("X-Team", "X-Tea"),
        ("ba", "bab"),
        ("=on", "=off"),
    ] {
        assert!(!all.holds(&peer("10.1.2.3"), &head(&request.replace(part, other))), "{other}");
    }
    assert!(InjectCondition::default().holds(&peer("::1"), &head("* HTTP/1.1")), "no part always holds");
}

#[test]
fn cookies_are_found_in_every_line() {
    let on = |lines: &str| {
        let condition = InjectCondition { cookie: globs(&[("d", "on")]), ..InjectCondition::default() };
        condition.holds(&peer("::1"), &head(&format!("/ HTTP/1.1\r\n{lines}")))
    };
    for lines in [
        "Cookie: d=on",
        "Cookie: a=b; d=on; c=d",
        "cookie: a=b;d=on",
        "Cookie: a=b\r\nCookie: d=on",
        "Cookie: d=off; d=on",
        "Cookie: d=\"on\"",
    ] {
        assert!(on(lines), "{lines}");
    }
    for lines in [
        "Cookie: d=On",
        "Cookie: D=on",
        "Cookie: xd=on",
        "Cookie: d=on2",
        "Cookie: d",
        "Cookie: d=\"on",
        "X: d=on",
    ] {
        assert!(!on(lines), "{lines}");
    }
}

#[test]
fn patterns_match_whole_values() {
    for (pattern, value, matches) in [
        ("on*", "on", true),
        ("on*", "on-v2", true),
        ("on*", "won", false),
        ("*", "", true),
        ("", "", true),
        ("", "a", false),
        ("?", "a", true),
        ("?", "ab", false),
        ("a*b*c", "a-b-c", true),
        ("a*b*c", "a-c-b", false),
    ] {
        assert_eq!(Glob::new(pattern).matches(value.as_bytes()), matches, "{pattern} {value}");
    }
    assert!(!Glob::new("*").matches(b"\xff"));
    // Time that grows with both lengths, and not faster.
    let (pattern, value) = ("*a".repeat(200) + "b", "a".repeat(8000));
    assert!(!Glob::new(&pattern).matches(value.as_bytes()));
}

#[test]
fn query_parameters_are_decoded() {
    let condition = InjectCondition { query: globs(&[("a b", "c/d*")]), ..InjectCondition::default() };
    for (target, holds) in [
        ("/?a+b=c%2Fd", true),
        ("/?x&a%20b=c/d+e", true),
        ("/?ab=c/d", false),
        ("/a+b=c/d", false),
        ("/", false),
    ] {
        assert_eq!(condition.holds(&peer("::1"), &head(&format!("{target} HTTP/1.1"))), holds, "{target}");
    }
}

fn share(share: f64, by: PercentBy, secret: &str) -> InjectCondition {
    let percent = Some(Percent { share, by, secret: Secret::new(secret) });
    InjectCondition { percent, ..InjectCondition::default() }
}

#[test]
fn a_share_of_callers_is_chosen_and_each_always_or_never() {
    let request = head("/ HTTP/1.1");
    let chosen = |condition: &InjectCondition| -> Vec<u32> {
        let address = |at: u32| std::net::Ipv4Addr::from(0x0a00_0000 + at).to_string();
        (0..10_000).filter(|at| condition.holds(&peer(&address(*at)), &request)).collect()
    };
    let five = share(5.0, PercentBy::Peer, SECRET);
    let first = chosen(&five);
    // Five standard deviations of 10,000 draws.
    assert!((390..=610).contains(&first.len()), "{}", first.len());
    assert_eq!(chosen(&five), first);
    let more = chosen(&share(10.0, PercentBy::Peer, SECRET));
    assert!(
        first.iter().all(|caller| more.contains(caller)),
        "a larger share keeps those of the smaller one"
    );
    assert_ne!(chosen(&share(5.0, PercentBy::Peer, "another secret of it")), first);
    assert_eq!(chosen(&share(0.0, PercentBy::Peer, SECRET)).len(), 0);
    assert_eq!(chosen(&share(100.0, PercentBy::Peer, SECRET)).len(), 10_000);
}

#[test]
fn a_share_by_cookie_has_no_request_without_it() {
    let all = share(100.0, PercentBy::Cookie("s".to_owned()), SECRET);
    assert!(all.holds(&peer("::1"), &head("/ HTTP/1.1\r\nCookie: s=1")));
    assert!(!all.holds(&peer("::1"), &head("/ HTTP/1.1\r\nCookie: t=1")));
    let half = share(50.0, PercentBy::Cookie("s".to_owned()), SECRET);
    let request = |value: u32| head(&format!("/ HTTP/1.1\r\nCookie: s={value}"));
    let chosen = (0..1000).filter(|value| half.holds(&peer("::1"), &request(*value))).count();
    assert!((420..=580).contains(&chosen), "{chosen}");
}

#[test]
fn conditions_that_a_stranger_can_meet_at_will_are_known() {
    for (condition, at_will) in [
        (InjectCondition::default(), true),
        (InjectCondition { cookie: globs(&[("d", "on")]), ..InjectCondition::default() }, true),
        (InjectCondition { from: Some(Vec::new()), ..InjectCondition::default() }, false),
        (share(1.0, PercentBy::Peer, SECRET), false),
        (share(1.0, PercentBy::Cookie("s".to_owned()), SECRET), true),
    ] {
        assert_eq!(condition.can_be_met_at_will(), at_will, "{condition:?}");
    }
}

#[test]
fn secrets_are_not_shown() {
    let condition = share(1.0, PercentBy::Peer, SECRET);
    let shown = format!("{condition:?} {}", serde_json::to_string(&condition).unwrap());
    assert!(!shown.contains(SECRET) && shown.matches(HIDDEN).count() == 2, "{shown}");
}
