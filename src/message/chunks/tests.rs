use super::*;

/// Decodes `input` in pieces of `size` bytes: the body and how many bytes were taken, if it ended.
fn decode(chunks: &mut Chunks, input: &[u8], size: usize) -> Result<(Vec<u8>, Option<usize>), ChunkError> {
    let (mut body, mut taken) = (Vec::new(), 0);
    for piece in input.chunks(size) {
        let mut rest = piece;
        while !rest.is_empty() {
            let step = match chunks.decode(rest)? {
                ChunkEvent::More { consumed } => {
                    assert_eq!(consumed, rest.len(), "more is asked for when all was taken");
                    consumed
                }
                ChunkEvent::Data { skip, data } => {
                    assert!(data > 0, "there is data");
                    body.extend_from_slice(&rest[skip..skip + data]);
                    skip + data
                }
                ChunkEvent::End { consumed } => return Ok((body, Some(taken + consumed))),
            };
            rest = &rest[step..];
            taken += step;
        }
    }
    Ok((body, None))
}

const PIECES: [usize; 6] = [1, 2, 3, 5, 7, usize::MAX];

#[test]
fn bodies() {
    let table: [(&str, &str, &str); 17] = [
        ("0\r\n\r\n", "", ""),
        ("5\r\nhello\r\n0\r\n\r\n", "hello", ""),
        ("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world", ""),
        ("00005\r\nhello\r\n000\r\n\r\n", "hello", ""),
        ("0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n", "hello", ""),
        ("A\r\n0123456789\r\n0\r\n\r\n", "0123456789", ""),
        ("a\r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n\r\n\r\n\r\n", ""),
        ("5;a\r\nhello\r\n0;b=c\r\n\r\n", "hello", ""),
        ("5 ;a=\"b;c\" ; d\r\nhello\r\n0\t;\r\n\r\n", "hello", ""),
        ("5;\r\nhello\r\n0\r\n\r\n", "hello", ""),
        ("0\r\nA: b\r\n\r\n", "", "A: b\r\n"),
        ("0\r\nA:b\r\ngrpc-status: 0 \r\nEmpty:\r\n\r\n", "", "A:b\r\ngrpc-status: 0 \r\nEmpty:\r\n"),
        ("0\r\nContent-Length: 5\r\nA: b\r\nHost: c\r\n\r\n", "", "A: b\r\n"),
        ("0\r\nTransfer-Encoding: chunked\r\nTrailer: a\r\nConnection: close\r\nVia: a\r\n\r\n", "", ""),
        ("0\r\nl5d-dtab: /a => /b\r\nL5D_Dtab: c\r\nDtab-Local: d\r\nbaggage: e\r\n\r\n", "", ""),
        ("0\r\ntracestate: a\r\not-baggage-a: b\r\nUberctx_a: b\r\n\r\n", "", ""),
        (
            "0\r\nAuthorization: a\r\nset-cookie: b\r\nContent-Type: c\r\nX-Checksum: d\r\n\r\n",
            "",
            "X-Checksum: d\r\n",
        ),
    ];
    for (input, body, trailers) in table {
        let with_next = format!("{input}GET / HTTP/1.1\r\n\r\n");
        for size in PIECES {
            let mut chunks = Chunks::new();
            let decoded = decode(&mut chunks, with_next.as_bytes(), size);
            assert_eq!(decoded, Ok((body.into(), Some(input.len()))), "{input:?} by {size}");
            assert_eq!(chunks.trailers().escape_ascii().to_string(), trailers.escape_default().to_string());
            assert_eq!(chunks.decode(b"5\r\n"), Ok(ChunkEvent::End { consumed: 0 }), "the end stays the end");
        }
    }
}

#[test]
fn malformed_bodies() {
    let table: [(&[u8], ChunkError); 40] = [
        (b"\r\n", ChunkError::Size),
        (b"x\r\n", ChunkError::Size),
        (b" 5\r\n", ChunkError::Size),
        (b"\t5\r\n", ChunkError::Size),
        (b"+5\r\n", ChunkError::Size),
        (b"-5\r\n", ChunkError::Size),
        (b"0x5\r\n", ChunkError::Size),
        (b"5g\r\n", ChunkError::Size),
        (b"5,5\r\n", ChunkError::Size),
        (b"5_0\r\n", ChunkError::Size),
        (b";a\r\n", ChunkError::Size),
        (b"5 \r\n", ChunkError::Size),
        (b"5 a\r\n", ChunkError::Size),
        (b"5\0\r\n", ChunkError::Size),
        (b"\n", ChunkError::Size),
        (b"5\n", ChunkError::Line),
        (b"5\rx", ChunkError::Line),
        (b"5\r\r\n", ChunkError::Line),
        (b"8000000000000000\r\n", ChunkError::SizeTooLarge),
        (b"ffffffffffffffff\r\n", ChunkError::SizeTooLarge),
        (b"00000000000000005\r\n", ChunkError::SizeTooLarge),
        (b"5;a\n", ChunkError::Line),
        (b"5;a\rb\r\n", ChunkError::Line),
        (b"5;a\0\r\n", ChunkError::Extension),
        (b"5;a\x7f\r\n", ChunkError::Extension),
        (b"5\r\nhelloo", ChunkError::Line),
        (b"5\r\nhello\n", ChunkError::Line),
        (b"5\r\nhello\rx", ChunkError::Line),
        (b"5\r\nhello0\r\n\r\n", ChunkError::Line),
        (b"0\n\n", ChunkError::Line),
        (b"0\r\n\n", ChunkError::Line),
        (b"0\r\n\rx", ChunkError::Line),
        (b"0\r\nA: b\n\r\n", ChunkError::Line),
        (b"0\r\nA: b\rc\r\n\r\n", ChunkError::Line),
        (b"0\r\nA\r\n\r\n", ChunkError::Trailer),
        (b"0\r\n: b\r\n\r\n", ChunkError::Trailer),
        (b"0\r\nA : b\r\n\r\n", ChunkError::Trailer),
        (b"0\r\nA: b\r\n c\r\n\r\n", ChunkError::Trailer),
        (b"0\r\nA: b\0\r\n\r\n", ChunkError::Trailer),
        (b"0\r\nGET / HTTP/1.1\r\n\r\n", ChunkError::Trailer),
    ];
    for (input, error) in table {
        for size in PIECES {
            let decoded = decode(&mut Chunks::new(), input, size);
            assert_eq!(decoded.map(|_| ()), Err(error), "{} by {size}", input.escape_ascii());
        }
    }
}

#[test]
fn framing_is_bounded() {
    let decode_all =
        |body: &str| decode(&mut Chunks::new(), body.as_bytes(), 4096).map(|(body, _)| body.len());
    // One long extension; one that does not end; many of middling length with little data.
    let long = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(20_000));
    assert_eq!(decode_all(&long), Err(ChunkError::TooMuchFraming));
    let endless = format!("1;{}", "x".repeat(17_000));
    assert_eq!(decode_all(&endless), Err(ChunkError::TooMuchFraming));
    let chunk = format!("1;{}\r\na\r\n", "x".repeat(100));
    assert_eq!(decode_all(&chunk.repeat(100)), Ok(100));
    assert_eq!(decode_all(&chunk.repeat(300)), Err(ChunkError::TooMuchFraming));
    // Small chunks without extensions are how some servers stream; data excuses extensions.
    assert_eq!(decode_all(&"1\r\na\r\n".repeat(50_000)), Ok(50_000));
    let padded = "0000000000000001\r\na\r\n".repeat(50_000);
    assert_eq!(decode_all(&padded), Ok(50_000), "what a chunk is excused for adds up to nothing");
    let signed = format!("400;signature={}\r\n{}\r\n", "s".repeat(80), "d".repeat(1024));
    assert_eq!(decode_all(&signed.repeat(1000)), Ok(1024 * 1000));
}

#[test]
fn trailers_are_bounded() {
    let end = |trailers: &str| {
        decode(&mut Chunks::new(), format!("0\r\n{trailers}\r\n").as_bytes(), 1000).map(|_| ())
    };
    assert_eq!(end(&"A: b\r\n".repeat(64)), Ok(()));
    assert_eq!(end(&"A: b\r\n".repeat(65)), Err(ChunkError::TrailersTooLong));
    assert_eq!(end(&format!("A: {}\r\n", "b".repeat(8189))), Ok(()));
    assert_eq!(end(&format!("A: {}\r\n", "b".repeat(8190))), Err(ChunkError::TrailersTooLong));
    // Dropped ones count as well.
    assert_eq!(end(&"Host: b\r\n".repeat(65)), Err(ChunkError::TrailersTooLong));
    assert_eq!(end(&format!("Host: {}\r\n", "b".repeat(5000)).repeat(2)), Err(ChunkError::TrailersTooLong));
}

#[test]
fn trailers_are_chosen() {
    let mut chunks = Chunks::new();
    assert_eq!(chunks.decode(b"0\r\nA: b\r\nC: d \r\ne: f\r\n\r"), Ok(ChunkEvent::More { consumed: 23 }));
    assert_eq!(chunks.trailers(), b"", "there are none before the end");
    assert_eq!(chunks.decode(b"\n"), Ok(ChunkEvent::End { consumed: 1 }));
    chunks.retain_trailers(|field| field.value == b"d" || field.name == b"e");
    assert_eq!(chunks.trailers(), b"C: d \r\ne: f\r\n");
    chunks.clear();
    assert_eq!(chunks.trailers(), b"");
    assert_eq!(chunks.decode(b"1\r\na"), Ok(ChunkEvent::Data { skip: 3, data: 1 }));
}

#[test]
fn chunks_are_written() {
    let mut out = Vec::new();
    for data in ["hello", "", &"x".repeat(31)] {
        write_chunk_head(data.len(), &mut out);
        if !data.is_empty() {
            out.extend_from_slice(data.as_bytes());
            out.extend_from_slice(CHUNK_END);
        }
    }
    let last = out.len();
    write_last_chunk(b"", &mut out);
    assert_eq!(&out[last..], LAST_CHUNK);
    let expected = format!("5\r\nhello\r\n1f\r\n{}\r\n0\r\n\r\n", "x".repeat(31));
    assert_eq!(out, expected.as_bytes());
    let mut out = Vec::new();
    write_last_chunk(b"A: b\r\n", &mut out);
    assert_eq!(out, b"0\r\nA: b\r\n\r\n");
}

#[test]
fn a_response_may_have_blanks_behind_a_size() {
    let bodies: [&[u8]; 4] = [
        b"2 \r\nhi\r\n0\r\n\r\n",
        b"2\t \r\nhi\r\n0  \r\n\r\n",
        b"2 ;a=b\r\nhi\r\n0\r\n\r\n",
        b"2\r\nhi\r\n0 \r\nA: b\r\n\r\n",
    ];
    for body in bodies {
        let name = body.escape_ascii();
        assert_eq!(Chunks::of_response().check(body), Ok(true), "{name}");
        let is_strict = body.contains(&b';');
        assert_eq!(Chunks::new().check(body).is_ok(), is_strict, "{name}: a request");
    }
    for body in [&b"2 x\r\nhi\r\n"[..], b" 2\r\nhi\r\n", b"2 2\r\nhi\r\n", b"2 \nhi\r\n", b" \r\n"] {
        assert!(Chunks::of_response().check(body).is_err(), "{}", body.escape_ascii());
    }
}

#[test]
fn a_check_uses_nothing_up() {
    let mut chunks = Chunks::new();
    assert_eq!(chunks.decode(b"5\r\nhe"), Ok(ChunkEvent::Data { skip: 3, data: 2 }));
    for (rest, expected) in [
        (&b"llo\r\n"[..], Ok(false)),
        (b"llo\r\n0\r\n\r\n", Ok(true)),
        (b"llo\r\n0\r\n\r\nmore", Ok(true)),
        (b"llo!\r\n", Err(ChunkError::Line)),
        (b"", Ok(false)),
    ] {
        assert_eq!(chunks.check(rest), expected, "{}", rest.escape_ascii());
    }
    assert_eq!(chunks.decode(b"llo\r\n0\r\n\r\n"), Ok(ChunkEvent::Data { skip: 0, data: 3 }));
}
