//! Explains where a name leads: `/delegator.json`, and the page `/delegator` over it.
//!
//! The tree is Linkerd 1's, and so are the ways to ask. On purpose different: `dtab` holds what a request would carry
//! and comes after the router's own, live dtab, unless `baseDtab` stands in its place. In Linkerd `dtab` is all there is,
//! and whoever wants to know what an override does has to send a copy of the rest with it.

use super::answer::{Answer, json, text};
use super::query::Query;
use super::{Router, Shown};
use crate::interpret::{AnswerTable, Explore, NamerHandle, Outcome, delegate, render, settle};
use crate::name::{Dtab, ParseError, Path};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode, header};
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

/// How many bytes a body may have.
const LARGEST_BODY: usize = 1024 * 1024;

/// How long a body may take.
const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// What is asked, as it was written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Asked {
    /// The label of the router.
    namespace: Option<String>,
    /// What is to be resolved.
    path: Option<String>,
    /// What the request would carry.
    dtab: Option<String>,
    /// What stands in the place of the router's dtab.
    base_dtab: Option<String>,
}

/// What is asked, read.
#[derive(Debug)]
struct Question {
    path: Path,
    dtab: Dtab,
    base: Option<Dtab>,
}

/// Why a question is not answered.
#[derive(Debug)]
struct Refused(StatusCode, String);

/// Answers `/delegator.json`.
pub(super) async fn explain(request: Request<Incoming>, shown: &Shown) -> Answer {
    explained(request, shown).await.unwrap_or_else(|Refused(status, why)| text(status, &why))
}

fn query(request: &Request<Incoming>) -> Asked {
    let query = Query::of(request.uri());
    let get = |name| query.get(name).map(Into::into);
    Asked { namespace: get("namespace"), path: get("path"), dtab: get("dtab"), base_dtab: get("baseDtab") }
}

async fn body(request: Request<Incoming>) -> Result<Asked, Refused> {
    let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    // A form of another page's cannot send this media type, and a script of another page's has to ask first.
    let is_json = media_type
        .and_then(|value| value.split(';').next())
        .is_some_and(|value| value.trim().eq_ignore_ascii_case("application/json"));
    if !is_json {
        return Err(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send application/json"));
    }
    let reading = timeout(BODY_PATIENCE, Limited::new(request.into_body(), LARGEST_BODY).collect()).await;
    let body = match reading {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return Err(refused(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 1 MiB"));
        }
        Ok(Err(error)) => return Err(bad(&format!("Malformed delegation request: {error}"))),
        Err(_) => return Err(refused(StatusCode::REQUEST_TIMEOUT, "the body takes too long")),
    };
    serde_json::from_slice(&body).map_err(|error| bad(&format!("Malformed delegation request: {error}")))
}

async fn explained(request: Request<Incoming>, shown: &Shown) -> Result<Answer, Refused> {
    let asked = if request.method() == Method::POST { body(request).await? } else { query(&request) };
    let routers = shown.routers.borrow().clone();
    answered(asked, &routers, &shown.asker).await
}

/// Answers what is asked as far as it is known after a while.
async fn answered(asked: Asked, routers: &[Router], asker: &NamerHandle) -> Result<Answer, Refused> {
    let router = choose(asked.namespace.as_deref(), routers)?;
    // A large dtab takes a while to read, and control has others to serve.
    let reading = tokio::task::spawn_blocking(move || read(&asked)).await;
    // An error is a panic in there, or the end of the runtime.
    let reading = reading.map_err(|error| refused(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()))?;
    let Question { path, dtab, base } = reading?;
    let naming = router.naming.borrow().clone();
    let dtab = base.unwrap_or(naming.dtab).concat(&dtab);
    let mut held = AnswerTable::new(asker.clone(), naming.namers);
    let settled = timeout(WAIT, settle(&dtab, &path, Explore::All, &mut held)).await;
    let delegation = settled.unwrap_or_else(|_| {
        held.begin();
        delegate(&dtab, &path, &mut held, Explore::All)
    });
    let status = match delegation.outcome {
        Outcome::Pending => StatusCode::SERVICE_UNAVAILABLE,
        Outcome::Bound(_) | Outcome::Failed(_) => StatusCode::OK,
    };
    Ok(json(status, &render::json(&delegation).with_outcome(&delegation), false))
}

fn choose<'a>(label: Option<&str>, routers: &'a [Router]) -> Result<&'a Router, Refused> {
    let labels = || routers.iter().map(|router| router.label.as_str()).collect::<Vec<_>>().join(", ");
    match (label.filter(|label| !label.is_empty()), routers) {
        (None, [only]) => Ok(only),
        (None, _) => Err(bad(&format!("the parameter namespace is missing: it is one of {}", labels()))),
        (Some(label), routers) => routers.iter().find(|router| router.label == label).ok_or_else(|| {
            refused(StatusCode::NOT_FOUND, &format!("there is no router {label}: there are {}", labels()))
        }),
    }
}

fn read(asked: &Asked) -> Result<Question, Refused> {
    let invalid = |what: &str, error: &ParseError| bad(&format!("Invalid {what}: {error}"));
    let dtab = |what, text: &str| text.parse().map_err(|error| invalid(what, &error));
    let own = dtab("dtab", asked.dtab.as_deref().unwrap_or_default())?;
    let base = asked.base_dtab.as_deref().map(|text| dtab("baseDtab", text)).transpose()?;
    let path = asked.path.as_deref().ok_or_else(|| bad("Invalid path: the parameter path is missing"))?;
    let path = path.parse().map_err(|error| invalid("path", &error))?;
    Ok(Question { path, dtab: own, base })
}

fn bad(why: &str) -> Refused {
    refused(StatusCode::BAD_REQUEST, why)
}

fn refused(status: StatusCode, why: &str) -> Refused {
    Refused(status, why.to_owned())
}

#[cfg(test)]
mod tests;
