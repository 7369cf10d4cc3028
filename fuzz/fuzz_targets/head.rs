//! Bytes are a head, the beginning of one, or neither, however they arrive. A head is written and read again as the
//! same, with the same framing; a head without the steering fields is written without them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use signpost::message::{Field, Head, KnownField, keeps_alive, request_framing, response_framing};
use signpost_fuzz::{LIMITS, Parse, assert_not_steering, cut, next_hop};

/// How many bytes of an incomplete head no bound counts: empty lines before it and line ends.
const END_BYTES: usize = 16;

fuzz_target!(|input: &[u8]| {
    let Some((bytes, first)) = cut(input) else { return };
    if let Some(head) = check(Head::parse_request, bytes, first) {
        let again = written(Head::parse_request, &head);
        assert_eq!((again.method(), again.target()), (head.method(), head.target()));
        assert_eq!(request_framing(&again), request_framing(&head));
    }
    if let Some(head) = check(Head::parse_response, bytes, first) {
        let again = written(Head::parse_response, &head);
        assert_eq!(again.status(), head.status());
        assert_eq!(response_framing(&again, b"GET"), response_framing(&head, b"GET"));
    }
});

/// Reads a head in one piece and in two, which must give the same head or none: incomplete bytes with a fault may be
/// refused sooner or later, but not later than the bounds.
fn check(parse: Parse, bytes: &[u8], first: usize) -> Option<Head> {
    let (mut head, mut pieced) = (Head::new(), Head::new());
    let whole = parse(&mut head, bytes, &LIMITS);
    let pieces = match parse(&mut pieced, &bytes[..first], &LIMITS) {
        Ok(None) => parse(&mut pieced, bytes, &LIMITS),
        decided => decided,
    };
    let is_bounded = bytes.len() <= LIMITS.line + LIMITS.fields_bytes + END_BYTES;
    assert!(is_bounded || [whole, pieces].iter().all(|result| *result != Ok(None)), "{} bytes", bytes.len());
    assert_eq!(pieces.ok().flatten(), whole.ok().flatten(), "cut at {first}");
    let taken = whole.ok().flatten()?;
    assert!(taken <= bytes.len());
    assert_eq!(fields(&head), fields(&pieced));
    assert!(head.fields().all(|field| KnownField::of(field.name) == field.known));
    Some(head)
}

/// Writes a head and reads it again; then once more without the steering fields.
fn written(parse: Parse, head: &Head) -> Head {
    let again = next_hop(parse, head);
    assert_eq!(again.version(), head.version());
    assert_eq!(keeps_alive(&again), keeps_alive(head));
    assert_eq!(fields(&again), fields(head));

    let mut stripped = head.clone();
    stripped.remove_where(|field| field.known.is_steering());
    next_hop(parse, &stripped).fields().for_each(|field| assert_not_steering(field.name));
    again
}

fn fields(head: &Head) -> Vec<Field<'_>> {
    head.fields().collect()
}
