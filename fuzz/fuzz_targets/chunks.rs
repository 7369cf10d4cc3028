//! A chunked body has the same data, trailers and end however its bytes arrive, or breaks in the same way; sent on, in
//! chunks of other sizes, it is the same body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use signpost::message::{CHUNK_END, ChunkError, ChunkEvent, Chunks, write_chunk_head, write_last_chunk};
use signpost_fuzz::cut;

fuzz_target!(|input: &[u8]| {
    let Some((bytes, first)) = cut(input) else { return };
    let whole = decode([bytes]);
    assert_eq!(decode(bytes.split_at(first).into()), whole, "cut at {first}");
    if let Ok(mut body) = whole {
        let bytes = encode(&body);
        body.ended = Some(bytes.len());
        assert_eq!(decode([&bytes]), Ok(body));
    }
});

/// A decoded body.
#[derive(Debug, Default, PartialEq)]
struct Body {
    data: Vec<u8>,
    trailers: Vec<u8>,
    /// How many bytes the body took, when it is complete.
    ended: Option<usize>,
}

/// Decodes a body that arrives in pieces.
fn decode<const N: usize>(pieces: [&[u8]; N]) -> Result<Body, ChunkError> {
    let mut chunks = Chunks::new();
    let mut body = Body::default();
    let mut taken = 0;
    for mut piece in pieces {
        while !piece.is_empty() && body.ended.is_none() {
            let step = match chunks.decode(piece)? {
                ChunkEvent::More { consumed } => {
                    assert_eq!(consumed, piece.len(), "more is needed when all was taken");
                    consumed
                }
                ChunkEvent::Data { skip, data } => {
                    assert!(data > 0);
                    body.data.extend_from_slice(&piece[skip..skip + data]);
                    skip + data
                }
                ChunkEvent::End { consumed } => {
                    body.ended = Some(taken + consumed);
                    consumed
                }
            };
            taken += step;
            piece = &piece[step..];
        }
    }
    body.trailers.extend_from_slice(chunks.trailers());
    Ok(body)
}

/// Sends a body on, in chunks of one byte, two bytes, three and so on.
fn encode(body: &Body) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut data = body.data.as_slice();
    for size in 1.. {
        if data.is_empty() {
            break;
        }
        let (chunk, rest) = data.split_at(size.min(data.len()));
        write_chunk_head(chunk.len(), &mut bytes);
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(CHUNK_END);
        data = rest;
    }
    write_last_chunk(&body.trailers, &mut bytes);
    bytes
}
