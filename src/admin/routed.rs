//! Refuses requests that came through a router.
//!
//! A caller that may steer requests chooses the address to which a router carries them. The router that runs this server
//! does not dial it; another one may, or this one through an address that is translated on the way. To this server such
//! a request seems to come from the router's machine, so it shows only in the fields that every router adds.

use crate::context::count_own_via;
use hyper::Request;
use hyper::header::{HeaderValue, VIA};

/// Returns the reason to refuse a request that a router has carried, if one has.
pub(super) fn refusal<B>(request: &Request<B>) -> Option<&'static str> {
    let fields = request.headers();
    let is_routed = count_own_via(fields.get_all(VIA).iter().map(HeaderValue::as_bytes)) > 0
        || fields.keys().any(|name| name.as_str().starts_with("l5d-dst-"));
    is_routed.then_some(
        "the request came through a router, as its Via or l5d-dst-* fields say, and the admin server answers none \
         that did: ask it directly, at its own address",
    )
}

#[cfg(test)]
mod tests {
    use super::refusal;
    use hyper::Request;

    #[test]
    fn requests_that_a_router_has_carried_are_refused() {
        let cases: &[(&[(&str, &str)], bool)] = &[
            (&[], false),
            (&[("via", "1.1 proxy.example"), ("l5d-dtab", "/a => /b"), ("x-l5d-dst-service", "/a")], false),
            (&[("via", "1.1 signpost")], true),
            (&[("Via", "1.0 first, 2 signpost, 1.1 last")], true),
            (&[("via", "1.0 first"), ("via", "1.1 signpost")], true),
            (&[("l5d-dst-service", "/svc/localhost")], true),
            (&[("L5D-Dst-Client", "")], true),
            (&[("l5d-dst-residual", "/a")], true),
        ];
        for (fields, expected) in cases {
            let request = fields
                .iter()
                .fold(Request::get("/admin/ping"), |request, (name, value)| request.header(*name, *value));
            assert_eq!(refusal(&request.body(()).unwrap()).is_some(), *expected, "{fields:?}");
        }
    }
}
