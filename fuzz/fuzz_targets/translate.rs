//! A list of fields that came over HTTP/2, as the library gives it, is a head of HTTP/1 or refused. The head is written
//! and read as the same message, with the same framing, so no field of HTTP/2 can become two messages; and it goes on
//! over HTTP/2 as it came.
#![no_main]

use libfuzzer_sys::fuzz_target;
use signpost::message::{Field, Head, KnownField, Version, request_framing};
use signpost_fuzz::{LIMITS, next_hop};

fuzz_target!(|input: &[u8]| {
    let Some(request) = request(input) else { return };
    let (parts, ()) = request.into_parts();
    let mut head = Head::new();
    if head.take_http2_request(&parts, &LIMITS).is_err() {
        return;
    }
    if let Ok(sent) = head.to_http2_request(false, false) {
        let (parts, ()) = sent.into_parts();
        let mut again = Head::new();
        again.take_http2_request(&parts, &LIMITS).expect("an accepted head is accepted again");
        assert_eq!(again.method(), head.method());
        assert_eq!(
            again.get(KnownField::Host).unwrap_or_default(),
            head.get(KnownField::Host).unwrap_or_default()
        );
        assert_eq!(again.get(KnownField::ContentLength), head.get(KnownField::ContentLength));
    }
    let Ok(framing) = request_framing(&head) else { return };
    // The proxy does this too before it writes a head.
    head.strip_hop_by_hop();
    head.set_version(Version::Http11);
    if !head.contains(KnownField::Host) {
        head.append(b"host", b"");
    }
    let again = next_hop(Head::parse_request, &head);
    assert_eq!((again.method(), again.target()), (head.method(), head.target()));
    assert_eq!(fields(&again), fields(&head));
    assert_eq!(request_framing(&again), Ok(framing));
});

/// Reads a request: the method, the target, and a field on each further line; `None` for one that HTTP/2 cannot have.
fn request(input: &[u8]) -> Option<http::Request<()>> {
    let mut lines = input.split(|&byte| byte == b'\n');
    let mut request = http::Request::builder().method(lines.next()?).uri(lines.next()?);
    for line in lines {
        let (name, value) = line.split_at(line.iter().position(|&byte| byte == b':')?);
        let is_hop_by_hop = KnownField::of(name).is_hop_by_hop();
        if is_hop_by_hop || name.iter().any(u8::is_ascii_uppercase) {
            return None;
        }
        request = request.header(name, value.get(1..)?.trim_ascii());
    }
    request.body(()).ok()
}

fn fields(head: &Head) -> Vec<Field<'_>> {
    head.fields().collect()
}
