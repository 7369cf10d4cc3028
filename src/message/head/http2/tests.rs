use super::*;

const LIMITS: HeadLimits = HeadLimits { line: 100, fields_bytes: 1000, fields: 10 };

type Fields = &'static [(&'static str, &'static str)];

fn request(method: &str, uri: &str, fields: &[(&str, &str)]) -> Result<String, HeadError> {
    let mut builder = http::Request::builder().method(method).uri(uri);
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    let (parts, ()) = builder.body(()).unwrap().into_parts();
    let mut head = Head::new();
    head.take_http2_request(&parts, &LIMITS)?;
    assert_eq!(head.version(), Version::Http2);
    let mut out = Vec::new();
    head.write(&mut out);
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn a_list_becomes_a_head() {
    let table: [(&str, &str, Fields, &str); 7] = [
        ("GET", "http://World/a?b", &[], "GET /a?b HTTP/1.1\r\nHost: world\r\n\r\n"),
        ("OPTIONS", "*", &[("host", "w")], "OPTIONS * HTTP/1.1\r\nHost: w\r\n\r\n"),
        ("GET", "/", &[("host", "w")], "GET / HTTP/1.1\r\nHost: w\r\n\r\n"),
        ("GET", "http://w/", &[("host", "W")], "GET / HTTP/1.1\r\nHost: w\r\n\r\n"),
        ("GET", "/", &[], "GET / HTTP/1.1\r\n\r\n"),
        (
            "POST",
            "http://w:80/",
            &[("content-length", "3"), ("x", "1"), ("y", "2"), ("x", "3")],
            "POST / HTTP/1.1\r\nHost: w:80\r\ncontent-length: 3\r\nx: 1\r\nx: 3\r\ny: 2\r\n\r\n",
        ),
        (
            "GET",
            "http://w/",
            &[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")],
            "GET / HTTP/1.1\r\nHost: w\r\nx: y\r\ncookie: a=1; b=2\r\n\r\n",
        ),
    ];
    for (method, uri, fields, expected) in table {
        assert_eq!(request(method, uri, fields).as_deref(), Ok(expected), "{method} {uri} {fields:?}");
    }
}

#[test]
fn malformed_lists_are_no_heads() {
    let long = "x".repeat(101);
    let many: Vec<_> = (0..11).map(|_| ("x", "y")).collect();
    let large: Vec<_> = (0..10).map(|_| ("x", long.as_str())).collect();
    let table: [(&str, Fields, &str); 4] = [
        ("http://w/", &[("host", "v")], "Host differs from :authority"),
        ("http://w/", &[("host", "w"), ("host", "w")], "the request has more than one Host"),
        ("/", &[("host", "a b")], "the host is not valid"),
        ("http://user@w/", &[], "the host is not valid"),
    ];
    for (uri, fields, error) in table {
        assert_eq!(request("GET", uri, fields), Err(HeadError::Malformed(error)), "{uri} {fields:?}");
    }
    assert_eq!(request("GET", "http://w/", &many), Err(HeadError::TooManyFields));
    assert_eq!(request("GET", "http://w/", &large), Err(HeadError::FieldsTooLong));
    assert_eq!(request("GET", &format!("http://w/{long}"), &[]), Err(HeadError::LineTooLong));
}

fn parsed(text: &[u8]) -> Head {
    let mut head = Head::new();
    let limits = HeadLimits { line: 1000, fields_bytes: 10_000, fields: 100 };
    assert_eq!(head.parse_request(text, &limits), Ok(Some(text.len())));
    head
}

#[test]
fn a_head_becomes_a_list() {
    let head = parsed(b"POST /a?b HTTP/1.1\r\nHost: w:1\r\nX-Y: z\r\nConnection: close\r\nTE: gzip\r\n\r\n");
    let sent = head.to_http2_request(true, false).unwrap();
    assert_eq!(sent.uri().to_string(), "http://w:1/a?b");
    assert_eq!(sent.method(), "POST");
    let fields: Vec<_> =
        sent.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    assert_eq!(fields, [("x-y", b"z".as_slice()), ("te", b"trailers")]);
    assert!(head.to_http2_request(false, false).unwrap().headers().get("te").is_none());

    let without = parsed(b"OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n").to_http2_request(false, false).unwrap();
    assert_eq!((without.uri().to_string().as_str(), without.uri().authority()), ("*", None));

    let mut answer = Head::response(404);
    answer.append(b"Content-Length", b"0");
    answer.append(b"Transfer-Encoding", b"chunked");
    let sent = answer.to_http2_response().unwrap();
    assert_eq!(sent.status(), 404);
    assert_eq!(sent.headers().len(), 1);
    assert_eq!(sent.headers()["content-length"], "0");
}

#[test]
fn heads_of_http1_that_http2_cannot_carry() {
    let mut head = Head::request(b"GET", b"/<a>?\"\xff`");
    head.append(b"host", b"w");
    let sent = head.to_http2_request(false, false).unwrap();
    assert_eq!(sent.uri().path_and_query().unwrap(), "/%3Ca%3E?%22%FF%60");
    let mut odd = Head::request(b"GET", b"/");
    odd.append(b"host", b"a^b");
    let error = odd.to_http2_request(false, false).err();
    assert_eq!(error, Some(HeadError::Malformed("the host cannot be carried over HTTP/2")));
}

#[test]
fn fields_that_are_never_indexed_stay_so() {
    let mut value = HeaderValue::from_static("secret");
    value.set_sensitive(true);
    let request = http::Request::builder().uri("http://w/").header("authorization", value).header("x", "y");
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let mut head = Head::new();
    head.take_http2_request(&parts, &LIMITS).unwrap();
    let sent = head.to_http2_request(false, false).unwrap();
    assert!(sent.headers()["authorization"].is_sensitive());
    assert!(!sent.headers()["x"].is_sensitive());
}

#[test]
fn trailers_pass_stripped() {
    let mut fields = trailer_fields(b"grpc-status: 0\r\nX: a\r\nx: b\r\n");
    assert_eq!(fields.len(), 3);
    let gone = [
        ("l5d-dtab", "/a => /b"),
        ("l5d_dtab", "x"),
        ("baggage", "a=b"),
        ("ot_baggage-a", "b"),
        ("uberctx-a", "b"),
        ("tracestate", "a=b"),
        ("host", "w"),
        ("content-length", "1"),
        ("te", "x"),
    ];
    for (name, value) in gone {
        fields.append(name, value.parse().unwrap());
    }
    fields.append("set-cookie", "a=b".parse().unwrap());
    strip_trailers(&mut fields);
    let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["grpc-status", "x", "x", "set-cookie"], "HTTP/2 to HTTP/2 is whole");
    assert_eq!(
        String::from_utf8(trailer_lines(&fields)).unwrap(),
        "grpc-status: 0\r\nx: a\r\nx: b\r\n",
        "HTTP/1 has what RFC 9110 6.5.1 allows"
    );
}
