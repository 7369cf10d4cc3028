//! Override values as they are read, and the keys under which they are cached.

use super::super::OverrideRules;
use super::*;

fn dtab(text: &str) -> Dtab {
    text.parse().unwrap()
}

#[test]
fn lines_concatenate_in_order_and_those_of_the_user_win() {
    let table: [(&[u8], &str, usize); 17] = [
        (b"", "", 0),
        (b"\x03\x05", "", 0),
        (b"/a => /b\x05", "/a=>/b", 0),
        (b"/a => /b;\x05", "/a=>/b", 0),
        (b"/a => /b\x03", "/a=>/b", 1),
        (b"/a=>/b;/c=>/d\x03/e=>/f\x05", "/a=>/b;/c=>/d;/e=>/f", 2),
        (b"/a=>/b\x05/c=>/d\x05", "/a=>/b;/c=>/d", 0),
        (b"/a=>/b, /c=>/d\x05", "/a=>/b;/c=>/d", 0),
        (b"/a=>/b,, /c=>/d;,\x05", "/a=>/b;/c=>/d", 0),
        (b"/a=>/b # c, d\x05", "/a=>/b", 0),
        (b"/a=>/b # \xff\xfe\x05", "/a=>/b", 0),
        (b"/a=>0.125*/b&/c\x05", "/a=>0.125*/b&/c", 0),
        (b"%2Fa=>/b%3B%20/c%3d%3E/d\x01", "/a=>/b;/c=>/d", 0),
        (b"/a=>/b%2C/c=>/d%20%23%20%FF%03\x01", "/a=>/b;/c=>/d", 0),
        (b"/a=>/%25/b\x01/a=>/c\x01/a=>/d\x03/a=>/e\x05", "/a=>/%/b;/a=>/c;/a=>/d;/a=>/e", 1),
        // Not what `enter` makes, but it must have a meaning.
        (b"/a=>/d\x05/a=>/b\x01", "/a=>/b;/a=>/d", 0),
        (b"/c=>/d\x05/a=>/b\x03/e=>/f", "/a=>/b;/c=>/d;/e=>/f", 1),
    ];
    for (raw, expected, ctx_entries) in table {
        let overrides = decode_overrides(raw, &OverrideLimits::default()).unwrap();
        assert_eq!(overrides.dtab, dtab(expected), "{}", raw.escape_ascii());
        assert_eq!(overrides.count(OverrideSource::Ctx), ctx_entries, "{}", raw.escape_ascii());
        let printed = std::str::from_utf8(overrides.printed()).unwrap();
        let beside_baggage: Dtab =
            overrides.dtab.iter().skip(overrides.count(OverrideSource::Baggage)).cloned().collect();
        assert_eq!(dtab(printed), beside_baggage, "{printed}");
    }
}

#[test]
fn keys_tell_overrides_apart_by_their_way() {
    let keys = [
        b"".as_slice(),
        b"/a=>/b\x01",
        b"/a=>/b\x05",
        b"/a=>/b\x04",
        b"/a=>/b\x03",
        b"/a=>/b\x02",
        b"/a=>/b\x01/c=>/d\x05",
        b"/a=>/b\x01/c=>/d\x01",
        b"/a=>/b\x03/c=>/d\x05",
        b"/c=>/d\x01/a=>/b\x05",
    ]
    .map(|raw| {
        let mut key = Vec::new();
        decode_overrides(raw, &OverrideLimits::default()).unwrap().write_key(&mut key);
        key
    });
    for (at, key) in keys.iter().enumerate() {
        assert!(!keys.iter().skip(at + 1).any(|other| other == key), "{}", key.escape_ascii());
    }
    let same = decode_overrides(b"%2Fa%20=>%20%2Fb%3B\x01# nothing\x05", &OverrideLimits::default()).unwrap();
    let mut key = Vec::new();
    same.write_key(&mut key);
    assert_eq!(key, keys[1]);
}

#[test]
fn limits_are_a_part_of_the_key() {
    let tight = OverrideLimits::new(OverrideRules { max_entries: 1, ..OverrideRules::default() });
    let keys = [OverrideLimits::default(), tight].map(|limits| {
        let mut key = Vec::new();
        decode_overrides(b"/a=>/b\x05", &limits).unwrap().write_key(&mut key);
        key
    });
    assert_ne!(keys[0], keys[1]);
}

#[test]
fn each_entry_has_the_source_that_it_came_from() {
    let raw = b"/u=>/1;/u=>/2\x05/t=>/1\x04/c=>/1\x03/i=>/1\x02/b=>/1\x01";
    let overrides = decode_overrides(raw, &OverrideLimits::default()).unwrap();
    assert_eq!(overrides.dtab, dtab("/b=>/1;/i=>/1;/c=>/1;/t=>/1;/u=>/1;/u=>/2"));
    assert_eq!(overrides.printed(), b"/i=>/1;/c=>/1;/t=>/1;/u=>/1;/u=>/2");
    let sources: Vec<_> = (0..7).map(|position| overrides.source(position)).collect();
    let [baggage, inject, ctx, token, user] = OverrideSource::ALL.map(Some);
    assert_eq!(sources, [baggage, inject, ctx, token, user, user, None]);
    let limited: Vec<_> = (0..7).filter(|position| overrides.is_limited(*position)).collect();
    assert_eq!(limited, [0, 2, 3, 4, 5]);
}

#[test]
fn entries_that_were_injected_before_are_not_injected_again() {
    for (raw, printed) in [
        (b"/i=>/1;/j=>/2\x02/i=>/1;/j=>/2;/c=>/1\x03".as_slice(), "/i=>/1;/j=>/2;/c=>/1"),
        (b"/i=>/1\x02/c=>/1;/i=>/1\x03", "/c=>/1;/i=>/1"),
        (b"/i=>/1;/k=>/3\x02/i=>/1\x03", "/k=>/3;/i=>/1"),
        // The same from another source has another place in the order.
        (b"/i=>/1\x02/i=>/1\x05", "/i=>/1;/i=>/1"),
    ] {
        let overrides = decode_overrides(raw, &OverrideLimits::default()).unwrap();
        assert_eq!(overrides.printed(), printed.as_bytes());
    }
}

#[test]
fn an_entry_with_a_prefix_that_is_not_allowed_is_refused() {
    let prefixes = Some(vec!["/host".parse().unwrap(), "/srv".parse().unwrap()]);
    let limits = OverrideLimits::new(OverrideRules { prefixes, ..OverrideRules::default() });
    for (source, allowed) in OverrideSource::ALL.into_iter().zip([false, true, false, false, false]) {
        let raw = |entry: &str| [entry.as_bytes(), &[source.end()]].concat();
        assert!(decode_overrides(&raw("/host/a=>/b"), &limits).is_ok(), "{source}");
        let decoded = decode_overrides(&raw("/srv/a=>/b;/svc=>/c"), &limits);
        assert_eq!(decoded.is_ok(), allowed, "{source}");
        if let Err(error) = decoded {
            assert_eq!(
                error.to_string(),
                format!(
                    "The entry /svc=>/c of the {source} is refused: this listener allows overrides at or below \
                     /host, /srv only (`overrides.prefixes`)."
                )
            );
        }
    }
}

#[test]
fn entries_of_the_configuration_do_not_count() {
    let limits = OverrideLimits::new(OverrideRules { max_entries: 1, ..OverrideRules::default() });
    assert!(decode_overrides(b"/i=>/1;/i=>/2\x02/u=>/1\x05", &limits).is_ok());
    assert!(decode_overrides(b"/b=>/1\x01/u=>/1\x05", &limits).is_err());
}

#[test]
fn the_printed_form_of_nothing_is_empty() {
    assert_eq!(decode_overrides(b"# only a comment\x05", &OverrideLimits::default()).unwrap().printed(), b"");
}

#[test]
fn an_error_names_the_origin_and_the_place() {
    let table: [(&[u8], OverrideSource, usize); 8] = [
        (b"/a%20=>%20invalid\x01", OverrideSource::Baggage, 7),
        (b"/a=>/b%2\x01%2Fc\x01", OverrideSource::Baggage, 3),
        (b"/a => /b\x03invalid\x05", OverrideSource::User, 1),
        (b"/a = /b\x03", OverrideSource::Ctx, 4),
        (b"/a => /b, /c => ^\x05", OverrideSource::User, 8),
        (b"\xff\x05", OverrideSource::User, 1),
        (b"/a/\xff => /b\x05", OverrideSource::User, 4),
        (b"\x00", OverrideSource::User, 1),
    ];
    for (raw, expected, column) in table {
        let error = decode_overrides(raw, &OverrideLimits::default()).unwrap_err();
        let text = error.to_string();
        let OverrideError::Malformed { origin, error } = error else { panic!("{text}") };
        assert_eq!((origin, error.column), (expected, column), "{text}");
        assert!(text.starts_with(&format!("The {expected} is not a dtab.\n")), "{text}");
        assert!(text.contains('^') && text.ends_with("send the request without it."), "{text}");
    }
}

#[test]
fn too_many_entries_are_refused() {
    let raw = |ctx: usize, user: usize| {
        let mut raw = "/a=>/b;".repeat(ctx).into_bytes();
        raw.push(OverrideSource::Ctx.end());
        raw.extend("/a=>/b\x05".repeat(user).into_bytes());
        raw
    };
    assert_eq!(decode_overrides(&raw(40, 60), &OverrideLimits::default()).unwrap().dtab.len(), 100);
    for (ctx, user) in [(41, 60), (101, 0), (0, 101)] {
        let error = decode_overrides(&raw(ctx, user), &OverrideLimits::default()).unwrap_err();
        assert_eq!(error, OverrideError::TooMany { limit: 100 });
        assert!(error.to_string().contains("more than 100 entries"), "{error}");
    }
    let folded = format!("/a=>/b{}", ",/a=>/b".repeat(99));
    assert_eq!(decode_overrides(folded.as_bytes(), &OverrideLimits::default()).unwrap().dtab.len(), 100);
    let everywhere = [raw(40, 60), b"%2fa=>/b\x01".to_vec()].concat();
    assert_eq!(
        decode_overrides(&everywhere, &OverrideLimits::default()).unwrap_err(),
        OverrideError::TooMany { limit: 100 }
    );
    for folded in [format!("{folded},/a=>/b"), format!("!{}", ",#".repeat(4000))] {
        let error = decode_overrides(folded.as_bytes(), &OverrideLimits::default()).unwrap_err();
        assert_eq!(error, OverrideError::TooMany { limit: 100 });
    }
    assert!(
        decode_overrides(",".repeat(8192).as_bytes(), &OverrideLimits::default()).unwrap().dtab.is_empty()
    );
}
