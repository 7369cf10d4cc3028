//! Responses of the admin server.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

/// A response with all of its body.
pub(super) type PageResponse = Response<Full<Bytes>>;

/// The media type of pages.
pub(super) const HTML: &str = "text/html; charset=utf-8";

/// Fields of every response: a browser does not cache it, guess its type or frame it, and a page loads from here alone.
const ALWAYS: [(HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
];

/// Returns a response with a status, a media type and a body.
pub(super) fn respond(status: StatusCode, media_type: &'static str, body: impl Into<Bytes>) -> PageResponse {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Returns a response of one line of text.
pub(super) fn text(status: StatusCode, line: &str) -> PageResponse {
    respond(status, "text/plain; charset=utf-8", format!("{line}\n"))
}

/// Returns a response of a value as JSON, on one line or indented.
pub(super) fn json(status: StatusCode, value: &impl Serialize, pretty: bool) -> PageResponse {
    json_of_length(status, value, pretty, 128)
}

/// As [`json`], of a value that is about so long as text.
pub(super) fn json_of_length(
    status: StatusCode,
    value: &impl Serialize,
    pretty: bool,
    expected: usize,
) -> PageResponse {
    let mut body = Vec::with_capacity(expected);
    let written = if pretty {
        serde_json::to_writer_pretty(&mut body, value)
    } else {
        serde_json::to_writer(&mut body, value)
    };
    match written {
        Ok(()) => respond(status, "application/json", body),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}
