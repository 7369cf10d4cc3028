//! Explains where a name leads: `/delegator.json`, and the page `/delegator` over it.
//!
//! The tree and the parameters are Linkerd 1's, but for one difference on purpose: `dtab` holds the overrides of a
//! request, and comes after the router's own, live dtab, unless `baseDtab` takes its place. In Linkerd, `dtab` is the
//! whole dtab, and a caller that asks about an override has to send a copy of all other entries with it.

mod overriding;

use super::query::Query;
use super::response::{PageResponse, respond, text};
use super::{AdminState, RouterView};
use crate::interpret::{
    AnswerTable, DelegationOutcome, Explore, NameQuery, NamerHandle, render, settle_query,
};
use crate::name::{Dtab, ParseError, Path};
use crate::sandbox::Overlay;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode, header};
use jiff::Timestamp;
use serde::Deserialize;
use std::time::Duration;
use tokio::time::timeout;

/// The page.
pub(super) const PAGE: &str = include_str!("delegator/page.html");
/// Its style.
pub(super) const STYLE: &str = include_str!("delegator/page.css");
/// Its script.
pub(super) const SCRIPT: &str = include_str!("delegator/page.js");

/// How long namers may take to answer, as in Linkerd.
const WAIT: Duration = Duration::from_secs(2);

/// The limit on the bytes of an answer: 4 MiB. A browser draws no more, and a loop of entries would make a gigabyte of a few
/// hundred kilobytes.
const LARGEST_ANSWER: usize = 4 << 20;

/// The limit on the bytes of a body.
const LARGEST_BODY: usize = 1024 * 1024;

/// The time in which a body must have arrived.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The parameters of a request, as they were written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DelegationParameters {
    /// The label of the router.
    namespace: Option<String>,
    /// The name to resolve.
    path: Option<String>,
    /// The keys of sandboxes that a request would carry, joined by `+`.
    sandbox: Option<String>,
    /// The overrides that a request would carry.
    dtab: Option<String>,
    /// The dtab that takes the place of the router's own.
    base_dtab: Option<String>,
}

/// The parameters of a request, parsed.
#[derive(Debug)]
struct DelegationQuery {
    path: Path,
    sandbox: String,
    /// The overrides as they were written.
    written: String,
    dtab: Dtab,
    base: Option<Dtab>,
}

/// The response to a request whose name cannot be explained: a status and a reason.
#[derive(Debug)]
struct DelegationError(StatusCode, String);

/// Answers `/delegator.json`.
pub(super) async fn explain(request: Request<Incoming>, state: &AdminState) -> PageResponse {
    try_explain(request, state).await.unwrap_or_else(|DelegationError(status, why)| text(status, &why))
}

/// Reads the parameters from the query of a GET.
fn query_parameters(request: &Request<Incoming>) -> DelegationParameters {
    let query = Query::of(request.uri());
    let get = |name| query.get(name).map(Into::into);
    DelegationParameters {
        namespace: get("namespace"),
        path: get("path"),
        sandbox: get("sandbox"),
        dtab: get("dtab"),
        base_dtab: get("baseDtab"),
    }
}

/// Reads the parameters from the JSON body of a POST.
async fn body_parameters(request: Request<Incoming>) -> Result<DelegationParameters, DelegationError> {
    let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    // Another site's form cannot send this media type, and another site's script has to ask this server first.
    let is_json = media_type
        .and_then(|value| value.split(';').next())
        .is_some_and(|value| value.trim().eq_ignore_ascii_case("application/json"));
    if !is_json {
        return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send application/json"));
    }
    let reading = timeout(BODY_TIMEOUT, Limited::new(request.into_body(), LARGEST_BODY).collect()).await;
    let body = match reading {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 1 MiB"));
        }
        Ok(Err(error)) => return Err(bad_request(&format!("Malformed delegation request: {error}"))),
        Err(_) => return Err(refuse(StatusCode::REQUEST_TIMEOUT, "the body takes too long")),
    };
    serde_json::from_slice(&body)
        .map_err(|error| bad_request(&format!("Malformed delegation request: {error}")))
}

async fn try_explain(
    request: Request<Incoming>,
    state: &AdminState,
) -> Result<PageResponse, DelegationError> {
    let parameters = if request.method() == Method::POST {
        body_parameters(request).await?
    } else {
        query_parameters(&request)
    };
    let routers = state.routers.borrow().clone();
    explain_name(parameters, &routers, &state.namer_handle).await
}

/// Explains a name, as far as the namers have answered within [`WAIT`].
async fn explain_name(
    parameters: DelegationParameters,
    routers: &[RouterView],
    namer_handle: &NamerHandle,
) -> Result<PageResponse, DelegationError> {
    let router = choose_router(parameters.namespace.as_deref(), routers)?;
    // A large dtab takes a while to parse, and other tasks run on this thread.
    let reading = tokio::task::spawn_blocking(move || parse(&parameters)).await;
    // An error is a panic of the blocking task, or the end of the runtime.
    let reading = reading.map_err(|error| refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()))?;
    let DelegationQuery { path, sandbox, written, dtab: own, base } = reading?;
    let naming = router.naming.borrow().clone();
    let base = base.unwrap_or(naming.dtab);
    let overlay = Overlay::new(&router.sandboxes.borrow(), &sandbox, Timestamp::now());
    let under = base.concat(overlay.dtab());
    let query = NameQuery {
        base: &under,
        overrides: &own,
        path: &path,
        max_added_lookups: router.max_override_lookups,
    };
    let mut answers = AnswerTable::new(namer_handle.clone(), naming.namers);
    let settled = timeout(WAIT, settle_query(&query, Explore::All, &mut answers)).await;
    let delegation = settled.unwrap_or_else(|_| {
        answers.begin();
        query.delegate(&mut answers, Explore::All)
    });
    let status = match delegation.outcome {
        DelegationOutcome::Pending => StatusCode::SERVICE_UNAVAILABLE,
        DelegationOutcome::Bound(_) | DelegationOutcome::Failed(_) => StatusCode::OK,
    };
    let mut tree = render::json(&delegation).with_outcome(&delegation).with_staleness(&answers);
    let origins = overlay.origins(base.len());
    if !own.is_empty() || !overlay.is_empty() {
        let mut report = overriding::report(&delegation, under.len(), &written, router);
        report.warnings.splice(0..0, overriding::sandbox_warnings(&overlay, &delegation, base.len()));
        tree = tree.with_override(report).with_origins(&origins);
    }
    // The rest is for what the root has beside its tree: the outcome and the report.
    Ok(match tree.to_bytes(LARGEST_ANSWER - LARGEST_ANSWER / 4) {
        Ok(body) => respond(status, "application/json", body),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    })
}

/// Returns the router of a label; without one, the only router there is.
fn choose_router<'a>(
    label: Option<&str>,
    routers: &'a [RouterView],
) -> Result<&'a RouterView, DelegationError> {
    let labels = || routers.iter().map(|router| router.label.as_str()).collect::<Vec<_>>().join(", ");
    match (label.filter(|label| !label.is_empty()), routers) {
        (None, [only]) => Ok(only),
        (None, _) => {
            Err(bad_request(&format!("the parameter namespace is missing: it is one of {}", labels())))
        }
        (Some(label), routers) => routers.iter().find(|router| router.label == label).ok_or_else(|| {
            refuse(StatusCode::NOT_FOUND, &format!("there is no router {label}: there are {}", labels()))
        }),
    }
}

/// Parses the parameters of a request.
fn parse(parameters: &DelegationParameters) -> Result<DelegationQuery, DelegationError> {
    let invalid = |what: &str, error: &ParseError| bad_request(&format!("Invalid {what}: {error}"));
    let dtab = |what, text: &str| text.parse().map_err(|error| invalid(what, &error));
    let sandbox = parameters.sandbox.clone().unwrap_or_default();
    let written = parameters.dtab.clone().unwrap_or_default();
    let own = dtab("dtab", &written)?;
    let base = parameters.base_dtab.as_deref().map(|text| dtab("baseDtab", text)).transpose()?;
    let path = parameters
        .path
        .as_deref()
        .ok_or_else(|| bad_request("Invalid path: the parameter path is missing"))?;
    let path = path.parse().map_err(|error| invalid("path", &error))?;
    Ok(DelegationQuery { path, sandbox, written, dtab: own, base })
}

/// Returns a refusal with 400.
fn bad_request(why: &str) -> DelegationError {
    refuse(StatusCode::BAD_REQUEST, why)
}

/// Returns a refusal with a status and a reason.
fn refuse(status: StatusCode, why: &str) -> DelegationError {
    DelegationError(status, why.to_owned())
}

#[cfg(test)]
mod tests;
