use super::*;

const LIMITS: HeadLimits = HeadLimits { line: 8192, fields_bytes: 16384, fields: 100 };

/// Reads the head of a request, which must be well-formed and whole.
fn request(bytes: &[u8]) -> Head {
    let mut head = Head::new();
    assert_eq!(head.parse_request(bytes, &LIMITS), Ok(Some(bytes.len())), "{}", bytes.escape_ascii());
    head
}

fn response(bytes: &[u8]) -> Head {
    let mut head = Head::new();
    assert_eq!(head.parse_response(bytes, &LIMITS), Ok(Some(bytes.len())), "{}", bytes.escape_ascii());
    head
}

fn written(head: &Head) -> String {
    let mut out = Vec::new();
    head.write(&mut out);
    String::from_utf8(out).expect("the tests' heads are text")
}

fn fields(head: &Head) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    head.fields().map(|field| (text(field.name), text(field.value))).collect()
}

#[test]
fn a_request_is_read() {
    let head =
        request(b"GET /a?b HTTP/1.1\r\nHost: x\r\nAccept:  */* \r\nEmpty:\r\nl5d-dtab: /a=>/b\r\n\r\n");
    assert_eq!(head.method(), b"GET");
    assert_eq!(head.target(), b"/a?b");
    assert_eq!(head.version(), Version::Http11);
    assert_eq!(head.status(), 0);
    let expected = [("Host", "x"), ("Accept", "*/*"), ("Empty", ""), ("l5d-dtab", "/a=>/b")];
    assert_eq!(fields(&head), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(head.get(KnownField::L5dDtab), Some(b"/a=>/b".as_slice()));
    assert_eq!(head.get(KnownField::Te), None);
    assert!(head.contains(KnownField::Host) && !head.contains(KnownField::Via));
    assert_eq!(head.find(b"ACCEPT"), Some(b"*/*".as_slice()));
    assert_eq!(head.find(b"absent"), None);
}

#[test]
fn a_response_is_read() {
    let table: [(&[u8], u16, Version, &str); 6] = [
        (b"HTTP/1.1 200 OK\r\n\r\n", 200, Version::Http11, "HTTP/1.1 200 OK\r\n\r\n"),
        (
            b"HTTP/1.0 404 Not here\r\nA: b\r\n\r\n",
            404,
            Version::Http10,
            "HTTP/1.0 404 Not here\r\nA: b\r\n\r\n",
        ),
        (b"HTTP/1.1 204 \r\n\r\n", 204, Version::Http11, "HTTP/1.1 204 \r\n\r\n"),
        // The blank behind the status is missing; it is written all the same.
        (b"HTTP/1.1 299\r\nA: b\r\n\r\n", 299, Version::Http11, "HTTP/1.1 299 \r\nA: b\r\n\r\n"),
        (b"HTTP/1.1 200\r\n\r\n", 200, Version::Http11, "HTTP/1.1 200 OK\r\n\r\n"),
        (b"HTTP/1.1 999 \tall right\r\n\r\n", 999, Version::Http11, "HTTP/1.1 999 \tall right\r\n\r\n"),
    ];
    for (bytes, status, version, expected) in table {
        let head = response(bytes);
        assert_eq!((head.status(), head.version()), (status, version), "{}", bytes.escape_ascii());
        assert_eq!(head.method(), b"");
        assert_eq!(head.target(), b"");
        assert_eq!(written(&head), expected);
    }
}

/// Returns the error of a head that is refused whole and, at the latest when its last byte has come, byte by byte.
fn refused(bytes: &[u8], limits: &HeadLimits, is_request: bool) -> HeadError {
    let parse = |head: &mut Head, bytes: &[u8]| {
        if is_request { head.parse_request(bytes, limits) } else { head.parse_response(bytes, limits) }
    };
    let mut bytewise = Head::new();
    let early = (1..=bytes.len()).find_map(|end| parse(&mut bytewise, &bytes[..end]).err());
    assert!(early.is_some(), "not refused byte by byte: {}", bytes.escape_ascii());
    match parse(&mut Head::new(), bytes) {
        Err(error) => error,
        Ok(taken) => panic!("not refused: {} ({taken:?})", bytes.escape_ascii()),
    }
}

#[test]
fn malformed_requests_are_refused() {
    let table: [(&[u8], &str); 51] = [
        (b"GET / HTTP/1.1\nHost: a\r\n\r\n", "CR"),
        (b"GET / HTTP/1.1\r\nHost: a\n\r\n", "CR"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\n", "CR"),
        (b"GET / HTTP/1.1\r\nHost: a\n\n", "CR"),
        (b"GET / HTTP/1.1\n\n", "CR"),
        (b"GET / HTTP/1.1\r\n\n", "CR"),
        (b"GET / HTTP/1.1\r\nA:\nB: c\r\n\r\n", "CR"),
        (b"GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n", "CR"),
        (b"GET / HTTP/1.1\rHost: a\r\n\r\n", "CRLF"),
        (b"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", "value"),
        (b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", "value"),
        (b"GET / HTTP/1.1\r\nA:\rb\r\n\r\n", "value"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n\r\n", "CRLF"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", "folded"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\tb\r\n\r\n", "folded"),
        (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", "folded"),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", "name"),
        (b"GET / HTTP/1.1\r\nHost\t: a\r\n\r\n", "name"),
        (b"GET / HTTP/1.1\r\nHo st: a\r\n\r\n", "name"),
        (b"GET / HTTP/1.1\r\n: a\r\n\r\n", "name"),
        (b"GET / HTTP/1.1\r\nHost\r\n\r\n", "name"),
        (b"GET / HTTP/1.1\r\nHo\0st: a\r\n\r\n", "name"),
        (b"GET / HTTP/1.1\r\nH\xc3\xb6st: a\r\n\r\n", "name"),
        (b"GET / HTTP/1.1\r\nHo(st: a\r\n\r\n", "name"),
        (b"GET / HTTP/1.1\r\nHo/st: a\r\n\r\n", "name"),
        (b"GET / HTTP/1.1\r\n\"Host\": a\r\n\r\n", "name"),
        (b"GET / HTTP/1.1\r\nA: b\0c\r\n\r\n", "value"),
        (b"GET / HTTP/1.1\r\nA: \x01\r\n\r\n", "value"),
        (b"GET / HTTP/1.1\r\nA: b\x0bc\r\n\r\n", "value"),
        (b"GET / HTTP/1.1\r\nA: b\x7f\r\n\r\n", "value"),
        (b"GET  / HTTP/1.1\r\n\r\n", "request line"),
        (b"GET /  HTTP/1.1\r\n\r\n", "version"),
        (b"GET / HTTP/1.1 \r\n\r\n", "CRLF"),
        (b" GET / HTTP/1.1\r\n\r\n", "request line"),
        (b"GET\t/\tHTTP/1.1\r\n\r\n", "request line"),
        (b"GET / a HTTP/1.1\r\n\r\n", "version"),
        (b"GET /\x01 HTTP/1.1\r\n\r\n", "request line"),
        (b"GET /\0 HTTP/1.1\r\n\r\n", "request line"),
        (b"GET /\x7f HTTP/1.1\r\n\r\n", "request line"),
        (b"GET /\xff HTTP/1.1\r\n\r\n", "request line"),
        (b"GE:T / HTTP/1.1\r\n\r\n", "request line"),
        (b"GET /\r\n\r\n", "request line"),
        (b"GET HTTP/1.1\r\n\r\n", "request line"),
        (b"GET / HTTP/1.2\r\n\r\n", "version"),
        (b"GET / HTTP/0.9\r\n\r\n", "version"),
        (b"GET / HTTP/2.0\r\n\r\n", "version"),
        (b"GET / http/1.1\r\n\r\n", "version"),
        (b"GET / HTTP/1.10\r\n\r\n", "CRLF"),
        (b"\nGET / HTTP/1.1\r\n\r\n", "CR"),
        (b"\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n", "empty lines"),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", "request line"),
    ];
    for (bytes, reason) in table {
        match refused(bytes, &LIMITS, true) {
            HeadError::Malformed(why) => {
                assert!(why.contains(reason), "{}: {why:?} does not say {reason:?}", bytes.escape_ascii());
            }
            other => panic!("{}: {other:?}", bytes.escape_ascii()),
        }
    }
}

#[test]
fn malformed_responses_are_refused() {
    let table: [&[u8]; 14] = [
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 -20 OK\r\n\r\n",
        b"HTTP/1.1 200 O\0K\r\n\r\n",
        b"HTTP/1.1 200 O\rK\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
    ];
    for bytes in table {
        let error = refused(bytes, &LIMITS, false);
        assert!(matches!(error, HeadError::Malformed(_)), "{}: {error:?}", bytes.escape_ascii());
    }
}

#[test]
fn unusual_requests_are_taken() {
    let table: [&[u8]; 10] = [
        b"\r\nGET / HTTP/1.1\r\n\r\n",
        b"\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        b"get / HTTP/1.1\r\n\r\n",
        b"M-SEARCH * HTTP/1.1\r\n\r\n",
        b"!#$%&'*+-.^_`|~09 / HTTP/1.1\r\n\r\n",
        b"GET /\xc3\xa4 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.0\r\nA:b\r\nA:\tc\t\r\n!#$%&'*+-.^_`|~: \r\n\r\n",
        b"GET / HTTP/1.1\r\nA: \xff\xfe\r\n\r\n",
        b"PRI * HTTP/1.1\r\n\r\n",
        b"PRI / HTTP/1.1\r\n\r\n",
    ];
    for bytes in table {
        request(bytes);
    }
}

#[test]
fn the_preface_of_http2_is_told_apart() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut head = Head::new();
    for end in 0..preface.len() {
        let expected = if end < 16 { Ok(None) } else { Err(HeadError::Http2Preface) };
        assert_eq!(head.parse_request(&preface[..end], &LIMITS), expected, "{end}");
    }
}

#[test]
fn bytes_behind_a_head_are_left() {
    let mut head = Head::new();
    let input = b"POST / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\n\nbody";
    assert_eq!(head.parse_request(input, &LIMITS), Ok(Some(28)));
    assert_eq!(written(&head).len(), 28);
    let input = b"\r\nGET / HTTP/1.1\r\n\r\n\r\n\r\n";
    assert_eq!(head.parse_request(input, &LIMITS), Ok(Some(20)));
    assert_eq!(written(&head), "GET / HTTP/1.1\r\n\r\n");
}

#[test]
fn limits_are_noticed_at_once() {
    let limits = HeadLimits { line: 20, fields_bytes: 30, fields: 3 };
    // Each row fits; with one byte or line more it does not, and that is noticed before the head is complete.
    let head = |line: &str, fields: &str| format!("{line}\r\n{fields}").into_bytes();
    let line = format!("GET /{} HTTP/1.1", "a".repeat(6));
    assert_eq!(line.len(), 20);
    let fields = format!("A: {}\r\nB: c\r\n", "b".repeat(19));
    assert_eq!(fields.len(), 30);

    for end in ["\r\n", ""] {
        let expected = |length| if end.is_empty() { Ok(None) } else { Ok(Some(length)) };
        let fits = head(&line, &format!("{fields}{end}"));
        assert_eq!(Head::new().parse_request(&fits, &limits), expected(fits.len()));

        let long_line = head(&line.replacen('/', "/a", 1), end);
        assert_eq!(refused(&long_line, &limits, true), HeadError::LineTooLong);

        let long_fields = head("GET / HTTP/1.1", &format!("{fields}C: d\r\n{end}"));
        assert_eq!(refused(&long_fields, &limits, true), HeadError::FieldsTooLong);

        let many_fields = head("GET / HTTP/1.1", &format!("A:\r\nB:\r\nC:\r\nD:\r\n{end}"));
        assert_eq!(refused(&many_fields, &limits, true), HeadError::TooManyFields);
    }
    // Lines that never end.
    assert_eq!(refused(&b"G".repeat(22), &limits, true), HeadError::LineTooLong);
    assert_eq!(Head::new().parse_request(&b"G".repeat(21), &limits), Ok(None));
    let endless = head("GET / HTTP/1.1", &"A".repeat(32));
    assert_eq!(refused(&endless, &limits, true), HeadError::FieldsTooLong);
    assert_eq!(Head::new().parse_request(&endless[..endless.len() - 1], &limits), Ok(None));
    // The same bounds hold for responses.
    assert_eq!(
        refused(&[b"HTTP/1.1 200 ".as_slice(), &[b'a'; 9]].concat(), &limits, false),
        HeadError::LineTooLong
    );
}

#[test]
fn more_fields_than_the_stack_has_room_for() {
    let text = |count: usize| {
        let mut text = String::from("GET / HTTP/1.1\r\n");
        (0..count).for_each(|index| text.push_str(&format!("a{index}: b\r\n")));
        text + "\r\n"
    };
    let limits = HeadLimits { fields: 300, ..LIMITS };
    for count in [0, 1, 127, 128, 129, 299, 300] {
        let text = text(count);
        for pieces in [vec![text.len()], vec![text.len() - 1, text.len()]] {
            let mut head = Head::new();
            let mut last = None;
            for end in pieces {
                last = head.parse_request(&text.as_bytes()[..end], &limits).expect("the head is well formed");
            }
            assert_eq!(last, Some(text.len()));
            assert_eq!(head.fields().count(), count);
            assert_eq!(written(&head), text);
        }
    }
    assert_eq!(refused(text(301).as_bytes(), &limits, true), HeadError::TooManyFields);
    let limits = HeadLimits { fields: 0, ..LIMITS };
    request(text(0).as_bytes());
    assert_eq!(refused(text(1).as_bytes(), &limits, true), HeadError::TooManyFields);
}

#[test]
fn an_element_is_added_to_the_last_line_of_its_field() {
    let table = [
        ("", "Via: 1.1 c\r\n"),
        ("A: b\r\n", "A: b\r\nVia: 1.1 c\r\n"),
        ("vIa:  1.0 a \r\nA: b\r\n", "vIa:  1.0 a, 1.1 c\r\nA: b\r\n"),
        (
            "Via: 1.0 a\r\nA: b\r\nVia: 2 b, 1.1 x\r\nC: d\r\n",
            "Via: 1.0 a\r\nA: b\r\nVia: 2 b, 1.1 x, 1.1 c\r\nC: d\r\n",
        ),
        ("Via: 1.0 a\r\nVia:\r\n", "Via: 1.0 a, 1.1 c\r\nVia:\r\n"),
        ("Via: \r\nA: b\r\n", "Via: \r\nA: b\r\nVia: 1.1 c\r\n"),
    ];
    for (before, after) in table {
        let mut head = request(format!("GET / HTTP/1.1\r\n{before}\r\n").as_bytes());
        head.append_element(KnownField::Via, b" 1.1 c\r");
        assert_eq!(written(&head), format!("GET / HTTP/1.1\r\n{after}\r\n"), "{before:?}");
        let count = head.fields().count();
        head.append_element(KnownField::Via, b"1.1 d\ne");
        assert_eq!(head.fields().count(), count, "{before:?}");
        let last = head.get_all(KnownField::Via).filter(|value| !value.is_empty()).last();
        assert!(last.is_some_and(|value| value.ends_with(b"1.1 c, 1.1 d e")), "{head:?}");
    }
}

#[test]
fn a_head_is_reused() {
    let mut head = Head::new();
    let first = b"GET /first HTTP/1.0\r\nHost: a\r\nVia: b\r\n\r\n";
    assert_eq!(head.parse_request(first, &LIMITS), Ok(Some(first.len())));
    let memory = (head.bytes.as_ptr(), head.lines.as_ptr());
    // An incomplete head that is given up; the next one is shorter than what was seen of it.
    assert_eq!(head.parse_request(b"GET /given-up HTTP/1.1\r\nHost: ", &LIMITS), Ok(None));
    head.clear();
    assert_eq!(head.fields().count(), 0);
    assert!(!head.contains(KnownField::Host));
    let second = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
    assert_eq!(head.parse_response(second, &LIMITS), Ok(Some(second.len())));
    assert_eq!((head.status(), head.version(), head.method()), (200, Version::Http11, b"".as_slice()));
    assert_eq!(fields(&head), [("A".to_owned(), "b".to_owned())]);
    assert_eq!((head.bytes.as_ptr(), head.lines.as_ptr()), memory, "the memory is kept");
}

#[test]
fn a_refused_head_leaves_no_trace() {
    let mut head = Head::new();
    assert_eq!(head.parse_request(b"GET / HTTP/1.1\r\nA: b", &LIMITS), Ok(None));
    assert!(head.parse_request(b"GET / HTTP/1.1\r\nA: b\nC", &LIMITS).is_err());
    let next = b"GET /next HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n";
    assert_eq!(head.parse_request(next, &LIMITS), Ok(Some(next.len())));
    assert_eq!(written(&head).as_bytes(), next);
}

#[test]
fn bytes_that_come_singly_are_looked_at_once() {
    let text = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(10_000));
    let mut head = Head::new();
    for end in 1..text.len() {
        assert_eq!(head.parse_request(&text.as_bytes()[..end], &LIMITS), Ok(None));
        assert_eq!(head.scan.seen, end, "what has been seen is not seen again");
    }
    assert_eq!(head.parse_request(text.as_bytes(), &LIMITS), Ok(Some(text.len())));
    assert_eq!(head.scan.seen, 0, "the next head begins anew");
}

#[test]
fn an_untouched_head_is_written_as_it_came() {
    let table: [&[u8]; 3] = [
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /a HTTP/1.0\r\nHost:a\r\nX:  y  \r\nEmpty:\r\n\r\n",
        b"HTTP/1.1 200 Very well\r\nServer: s\r\n\r\n",
    ];
    for bytes in table {
        let head = if bytes.starts_with(b"HTTP") { response(bytes) } else { request(bytes) };
        assert_eq!(written(&head).as_bytes(), bytes);
    }
}

#[test]
fn edits_are_written() {
    const BEFORE: &[u8] =
        b"GET /a HTTP/1.1\r\nHost: x\r\nA: 1\r\nB: 2\r\na: 3\r\nl5d-x: 4\r\nl5d-y: 5\r\n\r\n";
    type Edit = fn(&mut Head);
    let table: [(Edit, &str); 13] = [
        (
            |head| head.set_target(b"/b"),
            "GET /b HTTP/1.1\r\nHost: x\r\nA: 1\r\nB: 2\r\na: 3\r\nl5d-x: 4\r\nl5d-y: 5\r\n\r\n",
        ),
        (
            |head| head.set_version(Version::Http10),
            "GET /a HTTP/1.0\r\nHost: x\r\nA: 1\r\nB: 2\r\na: 3\r\nl5d-x: 4\r\nl5d-y: 5\r\n\r\n",
        ),
        (
            |head| head.set_version(Version::Http2),
            "GET /a HTTP/1.1\r\nHost: x\r\nA: 1\r\nB: 2\r\na: 3\r\nl5d-x: 4\r\nl5d-y: 5\r\n\r\n",
        ),
        (
            |head| assert_eq!(head.remove(KnownField::Host), 1),
            "GET /a HTTP/1.1\r\nA: 1\r\nB: 2\r\na: 3\r\nl5d-x: 4\r\nl5d-y: 5\r\n\r\n",
        ),
        (
            |head| assert_eq!(head.remove(KnownField::Via), 0),
            "GET /a HTTP/1.1\r\nHost: x\r\nA: 1\r\nB: 2\r\na: 3\r\nl5d-x: 4\r\nl5d-y: 5\r\n\r\n",
        ),
        (
            |head| assert_eq!(head.remove_where(|field| field.known.is_steering()), 2),
            "GET /a HTTP/1.1\r\nHost: x\r\nA: 1\r\nB: 2\r\na: 3\r\n\r\n",
        ),
        (|head| assert_eq!(head.remove_where(|_| true), 6), "GET /a HTTP/1.1\r\n\r\n"),
        (
            |head| head.append(b"C", b"6"),
            "GET /a HTTP/1.1\r\nHost: x\r\nA: 1\r\nB: 2\r\na: 3\r\nl5d-x: 4\r\nl5d-y: 5\r\nC: 6\r\n\r\n",
        ),
        (
            |head| head.set(b"A", b"6"),
            "GET /a HTTP/1.1\r\nHost: x\r\nB: 2\r\nl5d-x: 4\r\nl5d-y: 5\r\nA: 6\r\n\r\n",
        ),
        (
            |head| head.set(b"L5D-X", b"6"),
            "GET /a HTTP/1.1\r\nHost: x\r\nA: 1\r\nB: 2\r\na: 3\r\nl5d-y: 5\r\nL5D-X: 6\r\n\r\n",
        ),
        (
            |head| head.set(b"host", b"y"),
            "GET /a HTTP/1.1\r\nA: 1\r\nB: 2\r\na: 3\r\nl5d-x: 4\r\nl5d-y: 5\r\nhost: y\r\n\r\n",
        ),
        (
            |head| {
                head.replace_values(KnownField::Other, |value| match value {
                    b"1" => Some(b" 6\r\n7 ".to_vec()),
                    b"2" => Some(b" ".to_vec()),
                    _ => None,
                });
            },
            "GET /a HTTP/1.1\r\nHost: x\r\nA: 6  7\r\na: 3\r\nl5d-x: 4\r\nl5d-y: 5\r\n\r\n",
        ),
        (
            |head| {
                head.append(b"C", b"6");
                head.set_target(b"/b");
                head.append(b"D", b"7");
                head.remove_where(|field| field.name == b"B" || field.name == b"C");
            },
            "GET /b HTTP/1.1\r\nHost: x\r\nA: 1\r\na: 3\r\nl5d-x: 4\r\nl5d-y: 5\r\nD: 7\r\n\r\n",
        ),
    ];
    for (edit, expected) in table {
        let mut head = request(BEFORE);
        edit(&mut head);
        assert_eq!(written(&head), expected);
        let again = request(expected.as_bytes());
        assert_eq!(fields(&again), fields(&head), "what is written reads the same");
        assert_eq!(again.known, head.known, "the set of known fields is right");
    }
}

#[test]
fn no_edit_breaks_a_line() {
    let mut head = Head::request(b"GET\r\nX: y", b"/a b\r\nX: y\x7f\0");
    head.append(b"A\r\nB: c", b"d\r\n\r\nGET / HTTP/1.1\0\x1b");
    head.append(b"", b"nothing");
    head.append(b"Tab", b"\t a\tb \r\n");
    assert_eq!(
        written(&head),
        "GET--X--y /a%20b%0D%0AX:%20y%7F%00 HTTP/1.1\r\nA--B--c: d    GET / HTTP/1.1\r\nTab: a\tb\r\n\r\n"
    );
    request(written(&head).as_bytes());
}

#[test]
fn heads_made_here() {
    let mut head = Head::request(b"GET", b"/");
    head.append(b"Host", b"a");
    assert_eq!(head.get(KnownField::Host), Some(b"a".as_slice()));
    assert_eq!(written(&head), "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    for (status, line) in [
        (200, "HTTP/1.1 200 OK"),
        (502, "HTTP/1.1 502 Bad Gateway"),
        (299, "HTTP/1.1 299 "),
        (0, "HTTP/1.1 100 Continue"),
        (1000, "HTTP/1.1 999 "),
    ] {
        let head = Head::response(status);
        assert_eq!(written(&head), format!("{line}\r\n\r\n"));
        response(written(&head).as_bytes());
    }
    let mut head = response(b"HTTP/1.0 200 Fine\r\nA: b\r\n\r\n");
    head.set_version(Version::Http11);
    assert_eq!(written(&head), "HTTP/1.1 200 Fine\r\nA: b\r\n\r\n", "the reason outlives the version");
    head.set_status(404);
    assert_eq!(written(&head), "HTTP/1.1 404 Not Found\r\nA: b\r\n\r\n");
}

#[test]
fn one_content_length_is_left() {
    let table = [
        ("Content-Length: 5\r\nA: b\r\n", "Content-Length: 5\r\nA: b\r\n"),
        ("Content-Length: 5\r\ncontent-length: 5\r\n", "Content-Length: 5\r\n"),
        ("Content-Length: 5, 5\r\nA: b\r\n", "A: b\r\nContent-Length: 5\r\n"),
        ("Content-Length: 005\r\n", "Content-Length: 5\r\n"),
        ("A: b\r\n", "A: b\r\nContent-Length: 5\r\n"),
    ];
    for (before, after) in table {
        let mut head = request(format!("POST / HTTP/1.1\r\n{before}\r\n").as_bytes());
        head.set_content_length(5);
        assert_eq!(written(&head), format!("POST / HTTP/1.1\r\n{after}\r\n"));
    }
    let mut head = Head::response(200);
    for length in [0, u64::MAX] {
        head.set_content_length(length);
        assert_eq!(head.get(KnownField::ContentLength), Some(length.to_string().as_bytes()));
    }
}

#[test]
fn debug_is_text() {
    let head = request(b"GET / HTTP/1.1\r\nA: \xff\"\r\n\r\n");
    assert_eq!(format!("{head:?}"), r#"Head("GET / HTTP/1.1\r\nA: \xff\"")"#);
}

#[test]
fn token_bytes_are_those_of_rfc_9110() {
    for byte in 0..=u8::MAX {
        let allowed = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        assert_eq!(is_token_byte(byte), allowed, "{:?}", char::from(byte));
    }
}

#[test]
fn a_length_is_written_in_plain_digits() {
    for length in [0, 7, 10, 1024, u64::MAX] {
        let mut head = Head::response(200);
        head.set_content_length(length);
        assert_eq!(head.find(b"content-length"), Some(length.to_string().as_bytes()));
    }
}
