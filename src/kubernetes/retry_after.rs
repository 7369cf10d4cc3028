//! The field `Retry-After` of a refusal, which `kube` would drop.

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::{BodyExt as _, Either, Full, Limited};
use httpdate::parse_http_date;
use hyper::body::Body;
use kube::core::Status;
use kube::core::response::StatusDetails;
use std::time::SystemTime;
use tower::BoxError;

/// The limit on the bytes of a refusal that are read.
const LARGEST_REFUSAL: usize = 64 << 10;

/// Moves the pause that a 429 or 503 asks for in `Retry-After` into its status, which is what `kube` hands on. Other
/// responses stay as they are.
pub(super) async fn tell_pause<B>(response: Response<B>) -> Response<Either<B, Full<Bytes>>>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let Some(seconds) = pause(&response) else { return response.map(Either::Left) };
    let (mut parts, body) = response.into_parts();
    let body = Limited::new(body, LARGEST_REFUSAL).collect().await.map(|body| body.to_bytes());
    let body = body.unwrap_or_default();
    let mut status: Status = serde_json::from_slice(&body).unwrap_or_else(|_| {
        let said = String::from_utf8_lossy(&body).trim().to_owned();
        let reason = parts.status.canonical_reason().unwrap_or_default();
        Status::failure(&said, reason).with_code(parts.status.as_u16())
    });
    let none = || StatusDetails {
        name: String::new(),
        group: String::new(),
        kind: String::new(),
        uid: String::new(),
        causes: Vec::new(),
        retry_after_seconds: 0,
    };
    let details = status.details.get_or_insert_with(none);
    details.retry_after_seconds = details.retry_after_seconds.max(seconds);
    parts.headers.remove(header::CONTENT_LENGTH);
    // A status is written without failure.
    let told = serde_json::to_vec(&status).unwrap_or_default();
    Response::from_parts(parts, Either::Right(Full::from(told)))
}

/// Returns the pause that a refusal asks for, in seconds: a number, or until a date (RFC 9110 10.2.3).
fn pause<B>(response: &Response<B>) -> Option<u32> {
    let refuses =
        matches!(response.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let field = |name| response.headers().get(name)?.to_str().ok().map(str::trim);
    let said = field(header::RETRY_AFTER).filter(|said| refuses && !said.is_empty())?;
    if said.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(said.parse().unwrap_or(u32::MAX));
    }
    let until = parse_http_date(said).ok()?;
    // The date is by the clock of the server, which may be another than that of this machine.
    let sent = field(header::DATE).and_then(|date| parse_http_date(date).ok());
    let pause = until.duration_since(sent.unwrap_or_else(SystemTime::now)).unwrap_or_default();
    Some(pause.as_secs_f64().ceil() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::failure::{ApiFailure, FailureKind};
    use k8s_openapi::api::core::v1::Service;
    use std::time::Duration;

    /// Returns the failure that a watch makes of a response.
    async fn failure(status: u16, retry_after: Option<&str>, body: &str) -> ApiFailure {
        let fields = retry_after.map(|said| ("retry-after", said));
        failure_of(status, fields.as_slice(), body).await
    }

    async fn failure_of(status: u16, fields: &[(&str, &str)], body: &str) -> ApiFailure {
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        let told = tell_pause(response.body(Full::from(body.to_owned())).unwrap()).await;
        let body = told.into_body().collect().await.unwrap().to_bytes();
        let status = serde_json::from_slice::<Status>(&body)
            .unwrap_or_else(|_| Status::failure("not a status", "").with_code(status));
        ApiFailure::from_status::<Service>(&status, None)
    }

    #[tokio::test]
    async fn the_pause_of_a_refusal_is_kept() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let text = failure(429, Some("7"), "Too many requests, please try again later.\n").await;
        assert_eq!((text.kind, text.retry_after), (FailureKind::Refused, seconds(7)));
        assert!(text.text.contains("429 Too Many Requests: Too many requests, please"), "{}", text.text);

        let status = r#"{"kind":"Status","code":503,"reason":"ServiceUnavailable","message":"etcd is away","details":{"retryAfterSeconds":3}}"#;
        for (field, expected) in [(None, 3), (Some("1"), 3), (Some("30"), 30), (Some("soon"), 3)] {
            let failed = failure(503, field, status).await;
            assert_eq!(failed.retry_after, seconds(expected), "{field:?}");
            assert!(failed.text.contains("etcd is away"), "{}", failed.text);
        }
        assert_eq!(failure(500, Some("7"), "no").await.retry_after, None);
        assert_eq!(failure(429, Some("7"), "").await.retry_after, seconds(7), "without a body");
        let for_ever = failure(429, Some("99999999999999999999999"), "").await.retry_after;
        assert_eq!(for_ever, seconds(u32::MAX.into()), "more than there is room for");
    }

    #[tokio::test]
    async fn a_pause_may_end_at_a_date() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        for (until, seconds) in [
            ("Sun, 06 Nov 1994 08:50:17 GMT", Some(40)),
            ("Sunday, 06-Nov-94 08:50:17 GMT", Some(40)),
            ("Sun Nov  6 08:50:17 1994", Some(40)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08:00:00 GMT", None),
            ("Sun, 06 Nov 1994", None),
            ("-7", None),
            ("", None),
        ] {
            let failed = failure_of(503, &[date, ("retry-after", until)], "no").await;
            assert_eq!(failed.retry_after, seconds.map(Duration::from_secs), "{until:?}");
        }
        let until = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        let left = failure(429, Some(&until), "no").await.retry_after.unwrap().as_secs();
        assert!((60..=100).contains(&left), "by the clock of this machine: {left}");
    }
}
