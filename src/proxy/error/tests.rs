//! Tests of the statuses and texts of errors.

use super::*;
use crate::context::{OverrideLimits, OverrideSource, decode_overrides};

#[test]
fn a_log_has_one_line_without_dtabs() {
    let text = "Unable to route request!\n\nservice name: /svc/a\nended at:\n  /b: no such name\nbase dtab:\n  /x => /y";
    let line = Error::Unroutable(text.to_owned()).log_text();
    assert_eq!(line, "Unable to route request!; service name: /svc/a; ended at:; /b: no such name");
    assert_eq!(Error::Naming("ä".repeat(1000)).log_text().len(), 1024);
}

#[test]
fn a_token_is_refused_in_full_to_every_caller() {
    let table = [(TokenRefusal::Unsigned, (403, 7, false)), (TokenRefusal::Busy, (503, 14, true))];
    for (refusal, expected) in table {
        let error = Error::Refused(Refusal::Token(refusal));
        let Status { http, grpc } = error.status();
        assert_eq!((http, grpc, error.retryable()), expected, "{error}");
        assert_eq!(error.text(false), refusal.to_string());
        assert!(!error.ends_connection());
    }
}

/// Names, addresses and dtabs that no stranger may learn.
const INSIDE: [&str; 4] = ["/svc/secret", "10.1.2.3", "/secret=>/#/io.l5d.fs", "secret"];

/// Returns an error of each variant whose full text has something of the inside, where the variant has any, and its
/// place among them. A new variant does not compile until it is listed.
fn place(error: &Error) -> usize {
    match error {
        Error::Head(_) => 0,
        Error::Framing(_) => 1,
        Error::Connect => 2,
        Error::MaxForwards => 3,
        Error::RequestBody(_) => 4,
        Error::Refused(_) => 5,
        Error::Override(_) => 6,
        Error::Unidentified { .. } => 7,
        Error::NotIdentifiedYet { .. } => 8,
        Error::Unroutable(_) => 9,
        Error::Naming(_) => 10,
        Error::BindingTimeout { .. } => 11,
        Error::Busy { .. } => 12,
        Error::OwnSocket { .. } => 13,
        Error::Connecting { .. } => 14,
        Error::ConnectTimeout { .. } => 15,
        Error::Reset { .. } => 16,
        Error::BadResponse { .. } => 17,
        Error::Timeout { .. } => 18,
        Error::OverrideRefused(_) => 19,
        Error::DeniedAddress { .. } => 20,
        Error::BrokenResponse { .. } => 21,
        Error::Trace => 22,
        Error::SandboxRefused(_) => 23,
        Error::SandboxUnknown { .. } => 24,
        Error::SandboxesUnknown { .. } => 25,
        Error::OverrideLookups(_) => 26,
        Error::PendingNames { .. } => 27,
        Error::PeerBusy { .. } => 28,
        Error::EndpointBusy { .. } => 29,
        Error::EndpointQueueFull { .. } => 30,
        Error::AttemptTimeout { .. } => 31,
        Error::EndpointShare { .. } => 32,
        Error::TunnelUnsupported { .. } => 33,
        Error::Lost { .. } => 34,
        Error::EndpointSilent { .. } => 35,
        Error::Misdirected => 36,
    }
}

fn all() -> Vec<Error> {
    let secret = || INSIDE.join(" ");
    let address = SocketAddr::from(([10, 1, 2, 3], 8080));
    let source = || io::Error::other(secret());
    let timeout = Duration::from_secs(1);
    let end = char::from(OverrideSource::User.end());
    let malformed =
        decode_overrides(format!("/secret=>{end}").as_bytes(), &OverrideLimits::default()).unwrap_err();
    vec![
        Error::Head(HeadError::Malformed("a field has no colon")),
        Error::Framing(FramingError::HostMissing),
        Error::Connect,
        Error::MaxForwards,
        Error::RequestBody(io::ErrorKind::UnexpectedEof.into()),
        Error::Refused(Refusal::MalformedMember { key: secret() }),
        Error::Refused(Refusal::OverrideTooLarge { limit: 1 }),
        Error::Refused(Refusal::CallDepth { limit: 1, passed: 2, own: 1 }),
        Error::Refused(Refusal::DeadlinePassed),
        Error::Override(malformed),
        Error::Override(OverrideError::TooMany { limit: 1 }),
        Error::Unidentified { reason: secret() },
        Error::NotIdentifiedYet { reason: secret() },
        Error::Unroutable(secret()),
        Error::Naming(secret()),
        Error::BindingTimeout { timeout, name: secret() },
        Error::Busy { limit: 1 },
        Error::OwnSocket { address },
        Error::Connecting { address, source: source() },
        Error::ConnectTimeout { address, timeout },
        Error::Reset { address, source: source(), exposure: Exposure::Seen },
        Error::BadResponse { address, reason: secret() },
        Error::Timeout { timeout },
        Error::OverrideRefused(secret()),
        Error::DeniedAddress { address },
        Error::BrokenResponse { address, source: source() },
        Error::Trace,
        Error::SandboxRefused(secret()),
        Error::SandboxUnknown { keys: secret() },
        Error::SandboxesUnknown { keys: secret(), reason: secret() },
        Error::OverrideLookups(secret()),
        Error::PendingNames { limit: 1 },
        Error::PeerBusy { limit: 1 },
        Error::EndpointBusy { address, wait: timeout },
        Error::EndpointQueueFull { address, limit: 3 },
        Error::AttemptTimeout { timeout },
        Error::EndpointShare { address },
        Error::TunnelUnsupported { address, reason: TunnelDefect::NotAllowed },
        Error::Lost { address, exposure: Exposure::Unseen },
        Error::EndpointSilent { address, timeout },
        Error::Misdirected,
    ]
}

#[test]
fn strangers_learn_nothing_of_the_inside() {
    let errors = all();
    let mut places: Vec<usize> = errors.iter().map(place).collect();
    places.dedup();
    assert_eq!(places, (0..=36).collect::<Vec<_>>(), "each variant is there");
    for error in &errors {
        let text = error.text(false);
        let inside = ["/", "=>", "l5d", "signpost", "dtab", "baggage"].iter().chain(&INSIDE);
        for part in inside.filter(|part| text.contains(**part)) {
            // The protocol's own name.
            assert!(*part == "/" && !text.replace("HTTP/", "").contains('/'), "{error:?}: {text}");
        }
        assert!(!text.is_empty() && !text.contains(|letter: char| letter.is_control()), "{error:?}: {text}");
        assert_eq!(error.text(true), error.to_string());
    }
}

/// These texts are shown to every caller.
#[test]
fn the_texts_about_a_message_are_about_nothing_else() {
    let about_message = [0, 1, 2, 4];
    for error in all().iter().filter(|error| error.text(false) == error.to_string()) {
        assert!(about_message.contains(&place(error)), "{error:?}");
    }
}
