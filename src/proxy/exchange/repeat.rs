//! Rules for requests and interim responses that hold whichever protocol carries them.

use super::Request;
use crate::message::{Framing, Head, ResponseConnection};

/// How many interim responses (1xx) may come before the final one.
pub(crate) const MOST_INTERIM: usize = 32;

/// Returns whether a request may be executed twice: its method is idempotent (RFC 9110 9.2.2), and it has no body that is
/// used up by now.
pub(crate) fn is_repeatable(request: &Request) -> bool {
    let idempotent =
        matches!(request.head.method(), b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE");
    idempotent && matches!(request.framing, Framing::None | Framing::Length(0))
}

/// Passes an interim response on, without the fields of one connection and of the inside.
pub(crate) async fn relay_interim(head: &mut Head, request: &Request) {
    if request.takes_interim {
        let _ = head.strip_hop_by_hop();
        head.settle_response(Framing::None, ResponseConnection::Interim);
        head.remove_where(|field| field.known.is_steering());
        request.caller.interim(head).await;
    }
}
