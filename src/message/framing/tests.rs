use super::*;
use crate::message::HeadLimits;

const LIMITS: HeadLimits = HeadLimits { line: 1000, fields_bytes: 10_000, fields: 100 };

fn request(line: &str, fields: &str) -> Head {
    let text = format!("{line}\r\n{fields}\r\n");
    let mut head = Head::new();
    assert_eq!(head.parse_request(text.as_bytes(), &LIMITS), Ok(Some(text.len())), "{text:?}");
    head
}

fn response(line: &str, fields: &str) -> Head {
    let text = format!("{line}\r\n{fields}\r\n");
    let mut head = Head::new();
    assert_eq!(head.parse_response(text.as_bytes(), &LIMITS), Ok(Some(text.len())), "{text:?}");
    head
}

/// The framing of both requests and responses by their fields.
const FIELDS: [(&str, Result<Framing, FramingError>); 37] = [
    ("Content-Length: 0\r\n", Ok(Framing::Length(0))),
    ("Content-Length: 5\r\n", Ok(Framing::Length(5))),
    ("Content-Length: 5\r\nContent-Length: 5\r\n", Ok(Framing::Length(5))),
    ("Content-Length: 5 , 5\r\n", Ok(Framing::Length(5))),
    ("Content-Length: 05, 5\r\n", Ok(Framing::Length(5))),
    ("Content-Length: 9223372036854775807\r\n", Ok(Framing::Length(i64::MAX as u64))),
    ("Content-Length: 9223372036854775808\r\n", Err(FramingError::LengthInvalid)),
    ("Content-Length: 18446744073709551616\r\n", Err(FramingError::LengthInvalid)),
    ("Content-Length: 99999999999999999999999999\r\n", Err(FramingError::LengthInvalid)),
    ("Content-Length:\r\n", Err(FramingError::LengthInvalid)),
    ("Content-Length: +5\r\n", Err(FramingError::LengthInvalid)),
    ("Content-Length: -5\r\n", Err(FramingError::LengthInvalid)),
    ("Content-Length: 5x\r\n", Err(FramingError::LengthInvalid)),
    ("Content-Length: 0x5\r\n", Err(FramingError::LengthInvalid)),
    ("Content-Length: 5 5\r\n", Err(FramingError::LengthInvalid)),
    ("Content-Length: 5_0\r\n", Err(FramingError::LengthInvalid)),
    ("Content-Length: 5.0\r\n", Err(FramingError::LengthInvalid)),
    ("Content-Length: \"5\"\r\n", Err(FramingError::LengthInvalid)),
    ("Content-Length: 5;a\r\n", Err(FramingError::LengthInvalid)),
    ("Content-Length: 5,\r\n", Err(FramingError::LengthInvalid)),
    ("Content-Length: ,5\r\n", Err(FramingError::LengthInvalid)),
    ("Content-Length: 5\r\nContent-Length: 6\r\n", Err(FramingError::LengthsDiffer)),
    ("Content-Length: 5, 6\r\n", Err(FramingError::LengthsDiffer)),
    ("Content-Length: 5\r\nContent-Length:\r\n", Err(FramingError::LengthInvalid)),
    ("Transfer-Encoding: chunked\r\n", Ok(Framing::Chunked)),
    ("transfer-encoding: CHUNKED \r\n", Ok(Framing::Chunked)),
    ("Transfer-Encoding: gzip, chunked\r\n", Err(FramingError::CodingUnknown)),
    ("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", Err(FramingError::CodingUnknown)),
    ("Transfer-Encoding: ,chunked\r\n", Err(FramingError::CodingUnknown)),
    ("Transfer-Encoding: chunked,\r\n", Err(FramingError::ChunkedNotLast)),
    ("Transfer-Encoding: chunked, gzip\r\n", Err(FramingError::ChunkedNotLast)),
    ("Transfer-Encoding: gzip\r\n", Err(FramingError::ChunkedNotLast)),
    ("Transfer-Encoding: xchunked\r\n", Err(FramingError::ChunkedNotLast)),
    ("Transfer-Encoding: chunked;a=b\r\n", Err(FramingError::ChunkedNotLast)),
    ("Transfer-Encoding:\r\n", Err(FramingError::ChunkedNotLast)),
    ("Transfer-Encoding: chunked, chunked\r\n", Err(FramingError::ChunkedTwice)),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Err(FramingError::ChunkedTwice)),
];

#[test]
fn framing_fields() {
    for (fields, expected) in FIELDS {
        let head = request("POST / HTTP/1.1", &format!("Host: a\r\n{fields}"));
        assert_eq!(request_framing(&head), expected, "request: {fields:?}");
        let head = response("HTTP/1.1 200 OK", fields);
        assert_eq!(response_framing(&head, b"GET"), expected, "response: {fields:?}");
    }
}

#[test]
fn requests() {
    let table = [
        ("GET / HTTP/1.1", "Host: a\r\n", Ok(Framing::None)),
        ("POST / HTTP/1.1", "Host: a\r\n", Ok(Framing::None)),
        ("HEAD / HTTP/1.1", "Host: a\r\nContent-Length: 3\r\n", Ok(Framing::Length(3))),
        (
            "POST / HTTP/1.1",
            "Host: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            Err(FramingError::LengthAndCoding),
        ),
        (
            "POST / HTTP/1.1",
            "Host: a\r\nTransfer-Encoding: gzip\r\nContent-Length: x\r\n",
            Err(FramingError::LengthAndCoding),
        ),
        ("POST / HTTP/1.0", "Content-Length: 3\r\n", Ok(Framing::Length(3))),
        ("POST / HTTP/1.0", "Transfer-Encoding: chunked\r\n", Err(FramingError::CodingInOldVersion)),
        ("POST / HTTP/1.1", "Host: a\r\nContent_Length: 3\r\n", Err(FramingError::Lookalike)),
        ("POST / HTTP/1.1", "Host: a\r\nTRANSFER_ENCODING: chunked\r\n", Err(FramingError::Lookalike)),
        ("GET / HTTP/1.0", "", Ok(Framing::None)),
        ("GET / HTTP/1.0", "Host: a\r\nHost: a\r\n", Err(FramingError::HostRepeated)),
        ("GET / HTTP/1.0", "Host: a b\r\n", Err(FramingError::HostInvalid)),
        ("GET / HTTP/1.1", "", Err(FramingError::HostMissing)),
        ("GET http://a/ HTTP/1.1", "", Err(FramingError::HostMissing)),
        ("GET / HTTP/1.1", "Host:\r\n", Ok(Framing::None)),
        ("GET / HTTP/1.1", "Host: a\r\nhost: a\r\n", Err(FramingError::HostRepeated)),
        ("GET / HTTP/1.1", "Host: a, b\r\n", Err(FramingError::HostInvalid)),
        ("GET / HTTP/1.1", "Host: a/b\r\n", Err(FramingError::HostInvalid)),
        ("GET / HTTP/1.1", "Host: a@b\r\n", Err(FramingError::HostInvalid)),
    ];
    for (line, fields, expected) in table {
        assert_eq!(request_framing(&request(line, fields)), expected, "{line} {fields:?}");
    }
}

#[test]
fn responses() {
    const BOTH: &str = "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n";
    let table = [
        ("HTTP/1.1 200 OK", "GET", "", Ok(Framing::Close)),
        ("HTTP/1.0 200 OK", "GET", "", Ok(Framing::Close)),
        ("HTTP/1.1 200 OK", "GET", BOTH, Ok(Framing::Chunked)),
        ("HTTP/1.0 200 OK", "GET", BOTH, Err(FramingError::CodingInOldVersion)),
        ("HTTP/1.1 200 OK", "HEAD", BOTH, Ok(Framing::None)),
        ("HTTP/1.1 200 OK", "head", BOTH, Ok(Framing::Chunked)),
        ("HTTP/1.1 200 OK", "HEAD", "Content-Length: 3, 4\r\n", Ok(Framing::None)),
        ("HTTP/1.1 100 Continue", "POST", "Content-Length: 3\r\n", Ok(Framing::None)),
        ("HTTP/1.1 103 Early Hints", "GET", BOTH, Ok(Framing::None)),
        ("HTTP/1.1 101 Switching Protocols", "GET", "Content-Length: 3\r\n", Ok(Framing::Tunnel)),
        ("HTTP/1.1 204 No Content", "GET", "Content-Length: 3\r\n", Ok(Framing::None)),
        ("HTTP/1.1 205 Reset Content", "GET", "Content-Length: 0\r\n", Ok(Framing::Length(0))),
        ("HTTP/1.1 304 Not Modified", "GET", "Content-Length: 3\r\n", Ok(Framing::None)),
        ("HTTP/1.1 200 OK", "CONNECT", BOTH, Ok(Framing::Tunnel)),
        ("HTTP/1.1 299 ", "CONNECT", "", Ok(Framing::Tunnel)),
        ("HTTP/1.1 407 No", "CONNECT", "Content-Length: 3\r\n", Ok(Framing::Length(3))),
        ("HTTP/1.1 404 Not Found", "GET", "Content-Length: 3\r\n", Ok(Framing::Length(3))),
    ];
    for (line, method, fields, expected) in table {
        let head = response(line, fields);
        assert_eq!(response_framing(&head, method.as_bytes()), expected, "{method}: {line} {fields:?}");
    }
}

#[test]
fn connections_are_kept() {
    let table = [
        ("HTTP/1.1", "", true),
        ("HTTP/1.1", "Connection: close\r\n", false),
        ("HTTP/1.1", "Connection: Close\r\n", false),
        ("HTTP/1.1", "Connection: keep-alive\r\n", true),
        ("HTTP/1.1", "Connection: x, close\r\n", false),
        ("HTTP/1.1", "Connection: x\r\nConnection: y,close\r\n", false),
        ("HTTP/1.1", "Connection: closed\r\n", true),
        ("HTTP/1.1", "Connection: upgrade\r\n", true),
        ("HTTP/1.1", "Proxy-Connection: close\r\n", true),
        ("HTTP/1.0", "", false),
        ("HTTP/1.0", "Connection: Keep-Alive\r\n", true),
        ("HTTP/1.0", "Connection: x\r\nConnection: keep-alive\r\n", true),
        ("HTTP/1.0", "Connection: keep-alive, close\r\n", false),
        ("HTTP/1.0", "Connection: x\r\n", false),
        ("HTTP/1.0", "Keep-Alive: timeout=5\r\n", false),
    ];
    for (version, fields, kept) in table {
        assert_eq!(keeps_alive(&request(&format!("GET / {version}"), fields)), kept, "{version} {fields:?}");
        assert_eq!(
            keeps_alive(&response(&format!("{version} 200 OK"), fields)),
            kept,
            "{version} {fields:?}"
        );
    }
    let mut head = Head::request(b"GET", b"/");
    head.set_version(Version::Http2);
    assert!(keeps_alive(&head));
}

#[test]
fn connection_options_are_bounded() {
    for (count, expected) in [(64, Ok(Framing::None)), (65, Err(FramingError::TooManyOptions))] {
        let options = vec!["a"; count].join(",");
        let head = request("GET / HTTP/1.1", &format!("Host: a\r\nConnection: {options}\r\n"));
        assert_eq!(request_framing(&head), expected);
        let head = response("HTTP/1.1 204 No Content", &format!("Connection: {options}\r\n"));
        assert_eq!(response_framing(&head, b"GET"), expected);
    }
}

#[test]
fn statuses() {
    assert_eq!(FramingError::CodingUnknown.status(), 501);
    assert_eq!(FramingError::ChunkedNotLast.status(), 400);
    assert_eq!(FramingError::HostMissing.status(), 400);
    assert_eq!(
        FramingError::LengthAndCoding.to_string(),
        "the request has both Content-Length and Transfer-Encoding"
    );
}
