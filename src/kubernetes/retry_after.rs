//! The field `Retry-After` of a refusal, which `kube` would drop.

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::body::Body;
use kube::core::Status;
use kube::core::response::StatusDetails;
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

/// Returns the pause that a refusal asks for, in seconds. API servers do not send the form with a date.
fn pause<B>(response: &Response<B>) -> Option<u32> {
    let refuses =
        matches!(response.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let said = response.headers().get(header::RETRY_AFTER).filter(|_| refuses)?;
    said.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::failure::{ApiFailure, FailureKind};
    use k8s_openapi::api::core::v1::Service;
    use std::time::Duration;

    /// Returns the failure that a watch makes of a response.
    async fn failure(status: u16, retry_after: Option<&str>, body: &str) -> ApiFailure {
        let mut response = Response::builder().status(status);
        if let Some(said) = retry_after {
            response = response.header("retry-after", said);
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
    }
}
