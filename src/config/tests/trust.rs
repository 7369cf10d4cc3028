//! Whom listeners trust, as it is written in a file.

use super::*;

/// Returns the trust of a listener with these keys, and its reason.
fn trust(keys: &str) -> (Trust, String) {
    let server = config(&router(&format!("  servers: [{{{keys}}}]\n"))).routers.remove(0).servers.remove(0);
    (server.trust, server.trust_reason)
}

#[test]
fn a_listener_trusts_by_its_keys_or_its_address() {
    for (keys, trusted, reason) in [
        ("", Trust::Loopback, "trusts everybody: no `trust` is set and 127.0.0.1 is loopback"),
        ("ip: localhost", Trust::Loopback, "trusts everybody: no `trust` is set and 127.0.0.1 is loopback"),
        ("ip: 127.1.2.3", Trust::Loopback, "trusts everybody: no `trust` is set and 127.1.2.3 is loopback"),
        (r#"ip: "::1""#, Trust::Loopback, "trusts everybody: no `trust` is set and ::1 is loopback"),
        (
            r#"ip: "::ffff:127.0.0.1""#,
            Trust::Loopback,
            "trusts everybody: no `trust` is set and ::ffff:127.0.0.1 is loopback",
        ),
        ("ip: 0.0.0.0", Trust::Nobody, "trusts nobody: no `trust` is set and 0.0.0.0 is not loopback"),
        (r#"ip: "::""#, Trust::Nobody, "trusts nobody: no `trust` is set and :: is not loopback"),
        ("ip: 10.0.0.1", Trust::Nobody, "trusts nobody: no `trust` is set and 10.0.0.1 is not loopback"),
        ("clearContext: true", Trust::Nobody, "trusts nobody: `clearContext: true` is set"),
        (
            "clearContext: false, ip: 0.0.0.0",
            Trust::Everybody,
            "trusts everybody: `clearContext: false` is set",
        ),
        ("trust: nobody", Trust::Nobody, "trusts nobody: `trust: nobody` is set"),
        ("trust: nobody, clearContext: true", Trust::Nobody, "trusts nobody: `trust: nobody` is set"),
        ("trust: everybody, ip: 0.0.0.0", Trust::Everybody, "trusts everybody: `trust: everybody` is set"),
        (
            r#"trust: {from: [10.244.0.0/16, "fd00::/8", 127.0.0.1]}"#,
            Trust::From(
                ["10.244.0.0/16", "fd00::/8", "127.0.0.1/32"].map(|range| range.parse().unwrap()).into(),
            ),
            "trusts 10.244.0.0/16, fd00::/8, 127.0.0.1/32: callers from other addresses are not trusted",
        ),
        (
            "trust: {signed: {jwks: k}}",
            signed_trust(None, Requirement::Any),
            "trusts nobody, and grants the claims of a token for http that is signed by one of its keys to whoever \
             presents it",
        ),
        (
            "trust: {from: [10.0.0.0/8], signed: {jwks: k}, require: any}",
            signed_trust(Some("10.0.0.0/8"), Requirement::Any),
            "trusts 10.0.0.0/8, and grants the claims of a token for http that is signed by one of its keys to whoever \
             presents it, from any address",
        ),
        (
            "trust: {from: [10.0.0.0/8], signed: {jwks: k}, require: all}",
            signed_trust(Some("10.0.0.0/8"), Requirement::All),
            "trusts nobody, and grants the claims of a token for http that is signed by one of its keys to whoever \
             presents it from 10.0.0.0/8",
        ),
    ] {
        assert_eq!(trust(keys), (trusted, reason.to_owned()), "{keys}");
    }
}

/// The trust of a listener that accepts tokens and sets nothing beside.
fn signed_trust(from: Option<&str>, require: Requirement) -> Trust {
    let signed = SignedOverrides {
        files: KeyFiles { pem: Vec::new(), jwks: Some("k".into()) },
        audience: vec!["http".to_owned()],
        max_lifetime: 86_400,
        revoked: Vec::new(),
    };
    let from = from.map(|range| [range.parse().unwrap()].into());
    Trust::Signed(Arc::new(SignedTrust { from, identities: None, signed, require }))
}

#[test]
fn notes_say_what_each_listener_trusts() {
    let servers = "  - port: 1\n  - {port: 2, ip: 0.0.0.0}\n  - {port: 3, ip: 0.0.0.0, trust: everybody}\n  \
                   - {port: 4, trust: {from: [192.0.2.0/24]}}\n";
    let text = router(&format!("  label: in\n  servers:\n{servers}"));
    let notes = [
        [
            "f.yaml:5:5: router in, 127.0.0.1:1: trusts everybody: no `trust` is set and 127.0.0.1 is loopback. ",
            "Every program of this machine decides",
            "name these in `hosts`, or write `trust: everybody`; to remove overrides, write `trust: nobody`",
        ],
        [
            "f.yaml:6:5: router in, 0.0.0.0:2: trusts nobody: no `trust` is set and 0.0.0.0 is not loopback. ",
            "Overrides of its callers are removed",
            "write `trust: {from: [10.244.0.0/16]}`",
        ],
        [
            "f.yaml:7:5: router in, 0.0.0.0:3: trusts everybody: `trust: everybody` is set. ",
            "Every caller decides where its requests go",
            "To remove overrides, write `trust: nobody`",
        ],
        [
            "f.yaml:8:5: router in, 127.0.0.1:4: trusts 192.0.2.0/24: callers from other addresses are not trusted. ",
            "those whose address is translated",
            "To remove all, write `trust: nobody`",
        ],
    ];
    let found = config(&text).notes();
    assert_eq!(found.len(), notes.len());
    for (found, [begin, consequence, choice]) in std::iter::zip(&found, notes) {
        let text = found.to_string();
        assert!(text.starts_with(begin) && text.contains(consequence) && text.contains(choice), "{text}");
    }
    assert_eq!(found.iter().map(|note| note.is_surprising).collect::<Vec<_>>(), [false, true, false, false]);
}

#[test]
fn the_names_of_tenants_are_read_and_checked() {
    let with = |sandboxes: &str| format!("sandboxes: {sandboxes}\n{}", router(""));
    assert_eq!(config(&router("")).sandboxes.tenancy, Tenancy::default());
    assert_eq!(config(&with("{}")).sandboxes.tenancy, Tenancy::default());
    let own =
        config(&with("{keys: [tenant, sd-sandbox], headers: [X-Tenant, x_space], queryParameter: my.t}"));
    let expected = Tenancy {
        keys: vec!["tenant".into(), "sd-sandbox".into()],
        headers: vec!["X-Tenant".into(), "x_space".into()],
        query_parameter: Some("my.t".into()),
    };
    assert_eq!((own.sandboxes.tenancy.first_key(), &own.sandboxes.tenancy), (Some("tenant"), &expected));
    let many = |count: usize| (0..count).map(|at| format!("k{at}")).collect::<Vec<_>>().join(",");
    assert_eq!(config(&with(&format!("{{keys: [{}]}}", many(16)))).sandboxes.tenancy.keys.len(), 16);
    for (sandboxes, expected) in [
        ("{keys: []}", "f.yaml:1:19: sandboxes.keys: this list is empty"),
        ("{keys: tenant}", "f.yaml:1:19: sandboxes.keys: expected a list"),
        ("{keys: [a b]}", "expected the key of a member of baggage"),
        ("{keys: [a%20b]}", "expected the key of a member of baggage"),
        ("{keys: ['a,b']}", "expected the key of a member of baggage"),
        ("{keys: [Dtab]}", "the member `dtab` holds a dtab, and no tenant: leave it out"),
        ("{keys: [a, b, A]}", "f.yaml:1:26: sandboxes.keys[2]: `A` stands in this list already"),
        (&format!("{{keys: [{}]}}", many(17)), "this list has 17 names: 16 are the most"),
        ("{headers: [x tenant]}", "expected the name of a header"),
        ("{headers: [Baggage]}", "the router has a use of its own for `Baggage`"),
        ("{headers: [l5d-tenant]}", "the router has a use of its own for `l5d-tenant`"),
        ("{queryParameter: 'a&b'}", "expected the name of a query parameter"),
        ("{queryParameter: ''}", "expected the name of a query parameter"),
        ("{tenant: a}", "tenant"),
    ] {
        let errors = read("f.yaml", &with(sandboxes)).expect_err(sandboxes).to_string();
        assert!(errors.contains(expected), "{sandboxes}: {errors}");
    }
}

#[test]
fn the_peers_whose_word_counts() {
    let from = |keys: &str| {
        let text = router(&format!("  servers: [{{port: 0{keys}}}]\n"));
        config(&text).routers.remove(0).servers.remove(0).forwarded_from
    };
    assert_eq!(from(""), ForwardedFrom::Trusted);
    assert_eq!(from(", forwardedFrom: []"), ForwardedFrom::Ranges([].into()));
    let ranges = ["10.0.0.0/8", "fd00::1/128"].map(|range| range.parse().unwrap());
    assert_eq!(from(", forwardedFrom: [10.0.0.0/8, 'fd00::1']"), ForwardedFrom::Ranges(ranges.into()));
    for (keys, expected) in [
        ("forwardedFrom: 10.0.0.0/8", "f.yaml:3:29: routers[0].servers[0].forwardedFrom: expected a list"),
        ("forwardedFrom: [pods]", "expected a range of addresses"),
        ("forwardedFrom: [10.1.0.0/8]", "the range is `10.0.0.0/8`"),
    ] {
        let text = router(&format!("  servers: [{{{keys}}}]\n"));
        let errors = read("f.yaml", &text).expect_err(keys).to_string();
        assert!(errors.contains(expected), "{keys}: {errors}");
    }
}
