use super::*;
use crate::message::HeadLimits;

fn request(fields: &str) -> Head {
    let limits = HeadLimits { line: 1000, fields_bytes: 10_000, fields: 100 };
    let mut head = Head::new();
    let text = format!("GET / HTTP/1.1\r\n{fields}\r\n");
    assert_eq!(head.parse_request(text.as_bytes(), &limits), Ok(Some(text.len())), "{text:?}");
    head
}

#[test]
fn options_of_all_lines() {
    let head = request("Connection: a, B ,,\tc\r\nX: y\r\nconnection:\r\nConnection: ,d\r\n");
    let options: Vec<_> = head.connection_options().map(|option| option.escape_ascii().to_string()).collect();
    assert_eq!(options, ["a", "B", "c", "d"]);
    assert!(head.has_connection_option(b"b") && !head.has_connection_option(b"y"));
}

#[test]
fn hop_by_hop_fields_are_removed() {
    let table = [
        ("Host: a\r\nX: y\r\n", "Host: a\r\nX: y\r\n"),
        ("Host: a\r\nConnection: close\r\n", "Host: a\r\n"),
        ("Connection: X\r\nx: y\r\nZ: y\r\nX: z\r\n", "Z: y\r\n"),
        ("X: y\r\nConnection: z\r\nconnection: x\r\nZ: y\r\n", ""),
        ("Keep-Alive: timeout=5\r\nA: b\r\n", "A: b\r\n"),
        ("Proxy-Connection: keep-alive\r\nTE: gzip\r\nTrailer: a\r\nUpgrade: b\r\nA: b\r\n", "A: b\r\n"),
        (
            "Transfer-Encoding: chunked\r\nProxy-Authorization: a\r\nProxy-Authenticate: b\r\nA: b\r\n",
            "A: b\r\n",
        ),
        // Fields that Connection cannot remove.
        (
            "Connection: host, content-length, via, max-forwards, forwarded, x-forwarded-for\r\nHost: a\r\n\
             Content-Length: 1\r\nVia: b\r\nMax-Forwards: 1\r\nForwarded: for=c\r\nX-Forwarded-For: c\r\n",
            "Host: a\r\nContent-Length: 1\r\nVia: b\r\nMax-Forwards: 1\r\nForwarded: for=c\r\n\
             X-Forwarded-For: c\r\n",
        ),
        (
            "Connection: l5d-dtab, baggage, l5d-x, x-dtab-00-a\r\nl5d-dtab: a\r\nBaggage: b\r\nl5d-x: c\r\nx-dtab-00-a: d\r\n",
            "l5d-dtab: a\r\nBaggage: b\r\nl5d-x: c\r\nx-dtab-00-a: d\r\n",
        ),
        // An underscore is no hyphen.
        ("Keep_Alive: a\r\n", "Keep_Alive: a\r\n"),
    ];
    for (before, after) in table {
        let mut head = request(before);
        head.strip_hop_by_hop();
        let mut out = Vec::new();
        head.write(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), format!("GET / HTTP/1.1\r\n{after}\r\n"), "{before:?}");
        assert!(!head.contains(KnownField::Connection) && !head.contains(KnownField::TransferEncoding));
    }
}

#[test]
fn upgrades_and_trailers_are_noticed() {
    let table = [
        ("Connection: Upgrade\r\nUpgrade: websocket\r\n", Some("websocket"), false),
        ("Connection: keep-alive, upgrade\r\nUpgrade: a\r\nUpgrade: b/1\r\n", Some("a, b/1"), false),
        ("Upgrade: websocket\r\n", None, false),
        ("Connection: upgrade\r\n", None, false),
        ("Connection: te\r\nTE: gzip;q=1, Trailers\r\n", None, true),
        ("TE: trailers\r\n", None, true),
        ("TE: gzip\r\n", None, false),
    ];
    for (fields, upgrade, trailers) in table {
        let upgrade = upgrade.map(|upgrade| upgrade.as_bytes().into());
        assert_eq!(request(fields).strip_hop_by_hop(), HopByHopFields { upgrade, trailers }, "{fields:?}");
    }
    let mut old = request("Connection: upgrade\r\nUpgrade: websocket\r\n");
    old.set_version(Version::Http10);
    assert_eq!(old.strip_hop_by_hop(), HopByHopFields::default());
}

/// Reads a head, which must be well-formed and whole.
fn head_of(request: bool, text: &str) -> Head {
    let limits = HeadLimits { line: 1000, fields_bytes: 10_000, fields: 100 };
    let mut head = Head::new();
    let parsed = if request {
        head.parse_request(text.as_bytes(), &limits)
    } else {
        head.parse_response(text.as_bytes(), &limits)
    };
    assert_eq!(parsed, Ok(Some(text.len())), "{text:?}");
    head
}

fn text(head: &Head) -> String {
    let mut out = Vec::new();
    head.write(&mut out);
    String::from_utf8(out).expect("the tests' heads are text")
}

/// Writes a request, twice, as a request is that another endpoint gets: the second time must give the same bytes.
fn sent(mut head: Head, connection: RequestConnection<'_>) -> String {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    head.write_request(connection, &mut first);
    head.write_request(connection, &mut second);
    assert_eq!(first, second, "{connection:?}");
    String::from_utf8(first).expect("the tests' heads are text")
}

#[test]
fn a_request_states_its_connection() {
    const PLAIN: &str = "GET /a HTTP/1.1\r\nHost: a\r\nVia: 1.1 x\r\n";
    let none = RequestConnection { framing: Framing::None, upgrade: None, trailers: false };
    let chunked = RequestConnection { framing: Framing::Chunked, ..none };
    let websocket = Some(b"websocket".as_slice());
    let table = [
        (none, ""),
        (RequestConnection { framing: Framing::Length(5), ..none }, ""),
        (chunked, "transfer-encoding: chunked\r\n"),
        (RequestConnection { trailers: true, ..none }, "connection: te\r\nte: trailers\r\n"),
        (
            RequestConnection { trailers: true, ..chunked },
            "transfer-encoding: chunked\r\nconnection: te\r\nte: trailers\r\n",
        ),
        (RequestConnection { upgrade: websocket, ..none }, "connection: upgrade\r\nupgrade: websocket\r\n"),
        (
            RequestConnection { upgrade: websocket, trailers: true, ..chunked },
            "transfer-encoding: chunked\r\nconnection: upgrade\r\nupgrade: websocket\r\n",
        ),
    ];
    for (connection, lines) in table {
        let head = head_of(true, &format!("{PLAIN}\r\n"));
        assert_eq!(sent(head, connection), format!("{PLAIN}{lines}\r\n"), "{connection:?}");
    }
}

#[test]
fn a_request_of_another_version_becomes_one_of_http_1_1() {
    let none = RequestConnection { framing: Framing::Chunked, upgrade: None, trailers: false };
    let table = [
        // A missing Host comes behind the fields and before those of the connection.
        ("GET / HTTP/1.0\r\nA: b\r\n", "GET / HTTP/1.1\r\nA: b\r\nHost: \r\n"),
        ("GET / HTTP/1.0\r\nHost: a\r\nA: b\r\n", "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n"),
        ("POST / HTTP/1.0\r\nExpect: 100-continue\r\nHost: a\r\n", "POST / HTTP/1.1\r\nHost: a\r\n"),
        // HTTP/1.1 is left alone, and keeps Expect.
        ("POST / HTTP/1.1\r\nExpect: 100-continue\r\n", "POST / HTTP/1.1\r\nExpect: 100-continue\r\n"),
    ];
    for (received, expected) in table {
        let head = head_of(true, &format!("{received}\r\n"));
        let expected = format!("{expected}transfer-encoding: chunked\r\n\r\n");
        assert_eq!(sent(head, none), expected, "{received:?}");
    }
    let mut head = Head::request(b"POST", b"/");
    head.append(b"expect", b"100-continue");
    head.set_version(Version::Http2);
    assert_eq!(
        sent(head, RequestConnection { framing: Framing::None, ..none }),
        "POST / HTTP/1.1\r\nexpect: 100-continue\r\nHost: \r\n\r\n",
        "Expect of HTTP/2 is kept"
    );
}

#[test]
fn protocols_that_carry_http_are_not_tunnelled() {
    let table = [
        (None, None),
        (Some("websocket"), Some("websocket")),
        (Some("h2c"), None),
        (Some("HTTP/2.0, TLS/1.2,h2"), None),
        (Some("h2c, websocket , HTTP/2.0"), Some("websocket")),
        (Some("a,b/1"), Some("a, b/1")),
    ];
    for (asked, expected) in table {
        let fields = HopByHopFields { upgrade: asked.map(|text| text.as_bytes().into()), trailers: false };
        assert_eq!(fields.tunnel_protocols().as_deref(), expected.map(str::as_bytes), "{asked:?}");
    }
}

#[test]
fn a_response_over_http_1_states_length_coding_and_connection() {
    let (new, old) = (Version::Http11, Version::Http10);
    let table = [
        (Framing::Length(5), new, true, "Content-Length: 5\r\n", Framing::Length(5), true),
        (
            Framing::Length(5),
            new,
            false,
            "Content-Length: 5\r\nconnection: close\r\n",
            Framing::Length(5),
            false,
        ),
        (
            Framing::Length(5),
            old,
            true,
            "Content-Length: 5\r\nconnection: keep-alive\r\n",
            Framing::Length(5),
            true,
        ),
        (
            Framing::Length(5),
            old,
            false,
            "Content-Length: 5\r\nconnection: close\r\n",
            Framing::Length(5),
            false,
        ),
        (Framing::None, new, true, "", Framing::None, true),
        (Framing::None, old, true, "connection: keep-alive\r\n", Framing::None, true),
        (Framing::Chunked, new, true, "transfer-encoding: chunked\r\n", Framing::Chunked, true),
        (
            Framing::Chunked,
            new,
            false,
            "transfer-encoding: chunked\r\nconnection: close\r\n",
            Framing::Chunked,
            false,
        ),
        (Framing::Close, new, true, "transfer-encoding: chunked\r\n", Framing::Chunked, true),
        // A body that only the end of the connection ends does not let it stay open.
        (Framing::Chunked, old, true, "connection: close\r\n", Framing::Close, false),
        (Framing::Close, old, true, "connection: close\r\n", Framing::Close, false),
    ];
    for (framing, version, keep, lines, sent, kept) in table {
        let mut head = head_of(false, "HTTP/1.0 200 Fine\r\nA: b\r\n\r\n");
        let end = head.settle_response(framing, ResponseConnection::Http1 { version, keep });
        let case = format!("{framing:?} {version:?} {keep}");
        assert_eq!(text(&head), format!("HTTP/1.1 200 Fine\r\nA: b\r\n{lines}\r\n"), "{case}");
        assert_eq!(end, ResponseEnd { framing: sent, keep: kept }, "{case}");
    }
}

#[test]
fn a_response_over_http_1_has_at_most_one_true_length() {
    let chunked = "A: b\r\ntransfer-encoding: chunked\r\n";
    let table = [
        // The one length stays in its place; any other spelling of it moves to the end.
        ("200", "Content-Length: 5\r\nA: b\r\n", Framing::Length(5), "Content-Length: 5\r\nA: b\r\n"),
        ("200", "content-length: 5, 5\r\nA: b\r\n", Framing::Length(5), "A: b\r\nContent-Length: 5\r\n"),
        ("200", "Content-Length: 05\r\nA: b\r\n", Framing::Length(5), "A: b\r\nContent-Length: 5\r\n"),
        (
            "200",
            "Content-Length: 5\r\nA: b\r\nContent-Length: 5\r\n",
            Framing::Length(5),
            "A: b\r\nContent-Length: 5\r\n",
        ),
        // An empty body in place of one that may name internals.
        ("503", "Content-Length: 5\r\nA: b\r\n", Framing::Length(0), "A: b\r\nContent-Length: 0\r\n"),
        ("200", "Content-Length: 5\r\nA: b\r\n", Framing::Chunked, chunked),
        ("200", "Content-Length: 5\r\nA: b\r\n", Framing::Close, chunked),
        // The response to HEAD, and a 304.
        ("200", "Content-Length: 5\r\nA: b\r\n", Framing::None, "Content-Length: 5\r\nA: b\r\n"),
        ("304", "Content-Length: 5\r\nA: b\r\n", Framing::None, "Content-Length: 5\r\nA: b\r\n"),
        ("204", "Content-Length: 5\r\nA: b\r\n", Framing::None, "A: b\r\n"),
    ];
    for (status, received, framing, expected) in table {
        let mut head = head_of(false, &format!("HTTP/1.1 {status} S\r\n{received}\r\n"));
        head.settle_response(framing, ResponseConnection::Http1 { version: Version::Http11, keep: true });
        assert_eq!(text(&head), format!("HTTP/1.1 {status} S\r\n{expected}\r\n"), "{received:?} {framing:?}");
    }
}

#[test]
fn a_response_over_http_2_keeps_a_length_only_where_it_is_true() {
    let table = [
        ("200", "content-length: 5\r\n", Framing::Length(5), "content-length: 5\r\n"),
        ("200", "content-length: 05\r\n", Framing::Length(5), "Content-Length: 5\r\n"),
        ("200", "", Framing::Length(5), ""),
        ("200", "content-length: 5\r\n", Framing::None, "content-length: 5\r\n"),
        ("204", "content-length: 5\r\n", Framing::None, ""),
        ("304", "content-length: 5\r\n", Framing::None, "content-length: 5\r\n"),
        ("200", "content-length: 5\r\n", Framing::Chunked, ""),
        ("200", "content-length: 5\r\n", Framing::Close, ""),
    ];
    for (status, received, framing, expected) in table {
        let mut head = head_of(false, &format!("HTTP/1.1 {status} S\r\n{received}\r\n"));
        let end = head.settle_response(framing, ResponseConnection::Http2);
        assert_eq!(text(&head), format!("HTTP/1.1 {status} S\r\n{expected}\r\n"), "{status} {framing:?}");
        assert_eq!(end, ResponseEnd { framing, keep: true });
    }
}

#[test]
fn interim_responses_and_those_that_open_a_tunnel() {
    let mut head = head_of(false, "HTTP/1.0 103 Early Hints\r\nLink: a\r\nContent-Length: 0\r\n\r\n");
    let end = head.settle_response(Framing::None, ResponseConnection::Interim);
    assert_eq!(text(&head), "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n");
    assert_eq!(end, ResponseEnd { framing: Framing::None, keep: true });

    let switching =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nA: b\r\n\r\n";
    let mut head = head_of(false, switching);
    let fields = head.strip_hop_by_hop();
    let tunnel = ResponseConnection::Tunnel { protocols: fields.upgrade.as_deref() };
    let end = head.settle_response(Framing::Tunnel, tunnel);
    assert_eq!(
        text(&head),
        "HTTP/1.1 101 Switching Protocols\r\nA: b\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    );
    assert_eq!(end, ResponseEnd { framing: Framing::Tunnel, keep: false });
}

/// A head that needs nothing is not edited, so its buffer does not grow either.
#[test]
fn the_common_message_costs_nothing() {
    let mut head = head_of(true, "GET /a HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n");
    let (bytes, lines) = (head.bytes.clone(), head.lines.len());
    let mut out = Vec::with_capacity(1024);
    head.strip_hop_by_hop();
    head.write_request(
        RequestConnection { framing: Framing::None, upgrade: None, trailers: false },
        &mut out,
    );
    assert_eq!((&head.bytes, head.lines.len(), out.capacity()), (&bytes, lines, 1024));

    let mut head = head_of(false, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: b\r\n\r\n");
    let (bytes, lines) = (head.bytes.clone(), head.lines.len());
    head.strip_hop_by_hop();
    let http1 = ResponseConnection::Http1 { version: Version::Http11, keep: true };
    for connection in [http1, ResponseConnection::Http2] {
        head.settle_response(Framing::Length(5), connection);
        assert_eq!((&head.bytes, head.lines.len()), (&bytes, lines), "{connection:?}");
    }
}
