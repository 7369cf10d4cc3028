use super::*;

fn read(text: &str) -> Document {
    Document::read("f.yaml", text).unwrap_or_else(|error| panic!("{error}"))
}

/// Returns the node at keys and positions: `a.0.b`.
fn at<'a>(document: &'a Document, path: &str) -> Node<'a> {
    let step = |node: Node<'a>, step: &str| match step.parse::<usize>() {
        Ok(at) => node.list().expect("a list").swap_remove(at),
        Err(_) => {
            let entries = node.mapping().expect("a mapping");
            entries.into_iter().find(|entry| entry.name == step).expect("a key").value
        }
    };
    path.split('.').fold(document.root(), step)
}

#[test]
fn values_know_their_place_and_key_path() {
    let text = "# é\na:\n- b: 1\n  c: ë x\n-  d\nempty:\n\"q\": {\"r\": [1,\n\t2]}\nlast: |\n  l1\n  l2\n";
    let document = read(text);
    for (path, place, key) in [
        ("a", (3, 3), "a"),
        ("a.0", (3, 3), "a[0]"),
        ("a.0.b", (3, 6), "a[0].b"),
        ("a.0.c", (4, 6), "a[0].c"),
        ("a.1", (5, 4), "a[1]"),
        ("empty", (6, 1), "empty"),
        ("q", (7, 6), "q"),
        ("q.r.1", (8, 2), "q.r[1]"),
        ("last", (10, 3), "last"),
    ] {
        let node = at(&document, path);
        assert_eq!((node.place().line, node.place().column, node.key()), (place.0, place.1, key), "{path}");
    }
    assert_eq!(document.root().place(), Place { line: 2, column: 1 });
    assert_eq!((document.root().key(), document.file()), ("", "f.yaml"));
}

#[test]
fn errors_of_getters_name_the_expected_and_the_found_value() {
    let document = read(
        "n: 12\nquoted: \"12\"\nneg: -1\nt: x\nyes: true\nno: \"false\"\nnull: ~\nlist: [1]\nmap: {a: 1}\n",
    );
    let root = document.root();
    let get = |key: &str| root.get(key).expect("a value");
    assert_eq!(get("n").number(0..=12), Ok(12));
    assert_eq!(get("quoted").number(0..=12), Ok(12));
    assert_eq!(get("n").text(), Ok("12"));
    assert_eq!((get("yes").flag(), get("no").flag()), (Ok(true), Ok(false)));
    assert_eq!(get("list").list().map(|list| list.len()), Ok(1));
    assert!(root.get("null").is_none() && root.get("absent").is_none() && get("n").get("n").is_none());

    let message = |result: Result<u64, Error>| result.expect_err("wrong").message;
    assert_eq!(message(get("n").number(1..=11)), "expected a number from 1 to 11, found `12`");
    assert_eq!(message(get("neg").number(0..=11)), "expected a number from 0 to 11, found `-1`");
    assert_eq!(message(get("t").number(0..=11)), "expected a number from 0 to 11, found `x`");
    assert_eq!(message(get("list").number(0..=11)), "expected a number from 0 to 11, found a list");
    assert_eq!(message(get("t").flag().map(u64::from)), "expected `true` or `false`, found `x`");
    assert_eq!(message(get("map").text().map(|_| 0)), "expected a text, found a mapping");
    assert_eq!(message(get("t").list().map(|_| 0)), "expected a list (`- value`), found `x`");
    assert_eq!(message(get("t").mapping().map(|_| 0)), "expected a mapping (`key: value`), found `x`");
    assert_eq!(message(at(&document, "null").text().map(|_| 0)), "expected a text, found no value");
}

#[test]
fn an_error_shows_the_line_and_a_caret() {
    let document = read("a:\n  - b: 1\n    port: x\n");
    let error = at(&document, "a.0.port").number(0..=9).expect_err("wrong");
    let shown =
        "f.yaml:3:11: a[0].port: expected a number from 0 to 9, found `x`\n3 |     port: x\n  |           ^";
    assert_eq!(error.to_string(), shown);
    assert_eq!(Error::of_file("f", "is odd").to_string(), "f: is odd");
    let entries = at(&document, "a.0").mapping().expect("a mapping");
    let unknown = entries[1].unknown(&["ports", "other"]);
    assert_eq!(unknown.place(), Place { line: 3, column: 5 });
    assert_eq!(unknown.message, "unknown key: did you mean `ports`? Known here: ports, other");
}

#[test]
fn null_is_told_from_texts_in_quotes() {
    let document = read("a:\nb: ~\nc: null\nd: ''\ne: 'null'\nf: \"~\"\n'g': \"\"\nh:\n'i': 1\n");
    let null: Vec<_> = document.root().mapping().expect("a mapping");
    let null: String = null.iter().filter(|entry| entry.value.is_null()).map(|entry| entry.name).collect();
    assert_eq!(null, "abch");
}

/// In every style the place of `^`, a character of the value, is found in the file.
#[test]
fn a_place_inside_a_text_is_exact_in_every_style() {
    for (name, text) in [
        ("plain", "k: /a => ^b"),
        ("single quotes", "k: 'it''s ^x'"),
        ("a quote at the beginning, single", "k: '''a ^b'"),
        ("double quotes", r#"k: "\x2fa\t\"\u00e9 \U0001F600 ^b""#),
        ("a quote at the beginning, double", r#"k: "\"a ^b""#),
        ("characters beyond ASCII", "k: é ë ^b"),
        ("literal", "k: |\n  one\n  two ^x\n"),
        ("literal with a comment and blank lines", "k: |- # c\n\n\n    one\n\n      two ^x\n"),
        ("literal with its own indentation", "k: |2\n     one\n   ^two\n"),
        ("literal that begins with a quote", "k: |\n  \"one\n  ^two\"\n"),
        ("literal, CR LF", "k: |\r\n  one\r\n  ^two\r\n"),
        ("literal in a list", "k:\n- j: |\n    one\n    ^two\n"),
        ("folded", "k: >\n  one\n  two ^x\n\n  three\n"),
        ("folded with more indentation", "k: >\n  one\n    two\n  ^three\n"),
        ("plain over lines", "k: one\n  two\n  ^three\n"),
        ("single quotes over lines", "k: 'one\n  two\n\n  ^three'\n"),
        ("double quotes over lines", "k: \"one \\\n  two\n  ^three\"\n"),
        ("JSON", "{\"k\": \"/a =>\\n\\/b ^x\"}"),
    ] {
        let document = read(text);
        let mut node = at(&document, "k");
        if node.is_list() {
            node = at(&document, "k.0.j");
        }
        let offset = node.text().expect(name).find('^').expect("a mark");
        let before = &text[..text.find('^').expect("a mark")];
        let line = before.lines().count() + usize::from(before.ends_with('\n'));
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        assert_eq!(node.inside(offset), Place { line, column }, "{name}: {text}");
    }
}

#[test]
fn a_place_at_the_end_of_a_text_is_behind_its_last_letter() {
    let document = read("a: |\n  one\n  two\n\nb: x");
    assert_eq!(at(&document, "a").inside(usize::MAX), Place { line: 3, column: 6 });
    assert_eq!(at(&document, "b").inside(usize::MAX), Place { line: 5, column: 5 });
    let places: Vec<_> =
        at(&document, "a").inside_all([0, 1, 4, 7]).map(|place| (place.line, place.column)).collect();
    assert_eq!(places, [(2, 3), (2, 4), (3, 3), (3, 6)]);
}

#[test]
fn texts_that_are_refused() {
    for (text, place, phrase) in [
        ("a: 1\na: 2\n", (2, 1), "the key `a` stands here a second time; the first is at 1:1"),
        ("a: &x 1\nb: 2\n", (1, 4), "anchors"),
        ("a: &x\n  b: 1\n", (1, 4), "anchors"),
        ("a: *x\n", (1, 4), "aliases"),
        ("a: !!int 1\n", (1, 5), "tags"),
        ("a:\n\tb: 1\n", (2, 1), "not YAML: a tab cannot indent"),
        ("a: 1\n b: 2\n", (2, 3), "not YAML: mapping values are not allowed"),
        ("a: \"x\n", (1, 4), "not YAML"),
        ("a: [1,\n", (1, 4), "this `[` is not closed"),
        ("? [a]\n: b\n", (1, 3), "a key must be a text"),
        ("- a\n", (1, 1), "begins with keys"),
        ("x\n", (1, 1), "begins with keys"),
        ("a: 1\n---\nb: 2\n", (2, 1), "one document"),
        ("a: 1\n...\nb: 2\n", (3, 1), "one document"),
        ("{a: 1} b", (1, 8), "one document"),
        ("a: 1\nb: \0x", (2, 4), "NUL"),
    ] {
        let error = Document::read("f", text).expect_err(text);
        assert_eq!((error.line, error.column), place, "{text:?}: {error}");
        assert!(error.message.contains(phrase), "{text:?}: {error}");
    }
    for text in
        ["", "# only a comment\n", "{}", "{a: 1} # c\n", "a: 1\n...\n", "\u{feff}a: 1", "--- # c\na: 1\n"]
    {
        read(text);
    }
}

#[test]
fn a_key_that_stands_twice_has_its_whole_path() {
    let error = Document::read("f", "a:\n- b: 1\n- c: {d: 1,\n    d: 2}\n").expect_err("twice");
    assert_eq!((error.key.as_str(), error.line, error.column), ("a[1].c.d", 4, 5));
    assert!(error.message.contains("the first is at 3:7"), "{error}");
}

#[test]
fn depth_is_bounded_and_what_is_allowed_does_not_overflow() {
    let deep = |text: String| Document::read("f", &text).map(|_| ()).map_err(|error| error.message);
    let block = |levels: usize| (0..levels).map(|at| format!("{}a:\n", " ".repeat(at))).collect::<String>();
    for text in [
        block(MAX_INDENT + 2),
        format!("a: {}", "[".repeat(100_000)),
        format!("a: {}1{}", "{a: ".repeat(100_000), "}".repeat(100_000)),
        format!("a:\n {}b", "- ".repeat(100_000)),
        format!("a:\n {}", "- ".repeat(100_000)),
        format!("{}b", "? ".repeat(100_000)),
        format!("a:\n {}b", "-\t".repeat(100_000)),
    ] {
        let error = deep(text).expect_err("too deep");
        assert!(error.contains("nested too deep"), "{error}");
    }
    // As deep as it may be: lists as far to the right as their mappings, then brackets.
    let mut text: String = (0..=MAX_INDENT).map(|at| format!("{}a:\n", " ".repeat(at))).collect();
    text.truncate(text.len() - 1);
    let indent = " ".repeat(MAX_INDENT - 98);
    let lists = format!("a:\n{indent}{}{}1{}", "- ".repeat(49), "[".repeat(250), "]".repeat(250));
    assert_eq!((deep(text), deep(lists)), (Ok(()), Ok(())));
    assert!(deep(format!("a: {}", "x".repeat(MAX_BYTES))).expect_err("too long").contains("longer than"));
}

#[test]
fn a_suggestion_is_near() {
    let known = ["port", "ip", "dstPrefix", "maxConcurrentRequests"];
    for (name, suggestion) in [
        ("prot", Some("port")),
        ("Port", Some("port")),
        ("dst_prefix", Some("dstPrefix")),
        ("dst-prefx", Some("dstPrefix")),
        ("maxConcurentRequest", Some("maxConcurrentRequests")),
        ("i", Some("ip")),
        ("servers", None),
        ("", None),
    ] {
        assert_eq!(suggestion::did_you_mean(name, &known), suggestion, "{name}");
    }
    assert_eq!(suggestion::did_you_mean(&"x".repeat(100_000), &known), None);
}

/// The error that a type has in its own words is kept, at the value's place.
#[test]
fn deserializing_keeps_places() {
    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Three {
        number: u32,
        #[serde(default)]
        flag: bool,
        address: std::net::IpAddr,
    }
    let keys = ["number", "flag", "address"];
    for (text, place, key, message) in [
        (
            "number: x\naddress: 127.0.0.1",
            (1, 9),
            "number",
            "expected a whole number, not negative, found `x`",
        ),
        ("number: 1\naddress: nowhere", (2, 10), "address", "invalid IP address syntax"),
        ("number: 1\nflag: 2\naddress: ::1", (2, 7), "flag", "expected `true` or `false`, found `2`"),
        ("number: 1\naddress: [a]", (2, 10), "address", "expected IP address, found a list"),
        ("number: 1\nother: 2", (1, 1), "", "the key `address` is missing"),
    ] {
        let error = read(text).root().deserialize::<Three>(&keys).expect_err(text);
        assert_eq!(
            ((error.line, error.column), error.key.as_str(), error.message.as_str()),
            (place, key, message)
        );
    }
    let three: Three =
        read("number: 1\nflag: ~\naddress: ::1\nother: 5").root().deserialize(&keys).expect("three");
    assert_eq!((three.number, three.flag, three.address.is_loopback()), (1, false, true));
}

#[test]
fn a_list_may_be_the_whole_text_where_it_is_asked_for() {
    let read = |text: &str| Document::read_list("f", text);
    for (text, places) in [
        ("[]", vec![]),
        ("# nothing\n[\n]\n# more\n", vec![]),
        ("- a: 1\n- {b: 2}\n# end\n", vec![(1, 3), (2, 3)]),
        ("---\n- a\n-\n  b: c\n", vec![(2, 3), (4, 3)]),
        ("[a, {b: c}]\n", vec![(1, 2), (1, 5)]),
    ] {
        let document = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let list = document.root().list().unwrap_or_else(|error| panic!("{text}: {error}"));
        let found: Vec<_> = list.iter().map(|node| (node.place().line, node.place().column)).collect();
        assert_eq!(found, places, "{text}");
        assert!(list.iter().zip(0..).all(|(node, at)| node.key() == format!("[{at}]")), "{text}");
        assert!(Document::read("f", text).is_err(), "{text}");
    }
    assert!(read("items: []").unwrap().root().is_mapping() && read("").unwrap().root().is_mapping());
    for (text, expected) in [
        ("a", "f:1:1: this is neither a list (`- name: a`) nor a mapping"),
        ("[] x", "f:1:4: the configuration has ended"),
        ("- a: 1\n  a: 2\n", "f:2:3: [0].a: the key `a` stands here a second time"),
        ("- a\nb: c\n", "f:2:1: not YAML"),
        ("- a\n---\n- b\n", "f:2:1: the configuration has ended"),
    ] {
        let error = read(text).map(drop).expect_err(text).to_string();
        assert!(error.starts_with(expected), "{text}: {error}");
    }
}
