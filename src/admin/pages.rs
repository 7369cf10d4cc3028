//! The table of what the admin server shows.

use super::answer::{Answer, html, text};
use super::metrics::{metrics_json, openmetrics};
use super::query::Query;
use super::{Shown, caller};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, StatusCode};
use std::fmt::Write as _;

/// What there is to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    Index,
    Ping,
    Live,
    Ready,
    Shutdown,
    Metrics,
    OpenMetrics,
}

/// One row of the table.
struct Row {
    path: &'static str,
    page: Page,
    /// HEAD is taken where GET is.
    methods: &'static [Method],
    /// For the index; a page without one is not listed.
    about: &'static str,
}

const GET: &[Method] = &[Method::GET];
const POST: &[Method] = &[Method::POST];

const fn row(path: &'static str, page: Page, methods: &'static [Method], about: &'static str) -> Row {
    Row { path, page, methods, about }
}

/// Every page.
const PAGES: &[Row] = &[
    row("/", Page::Index, GET, ""),
    row("/admin", Page::Index, GET, ""),
    row("/admin/ping", Page::Ping, GET, "answers while the process is alive"),
    row("/admin/live", Page::Live, GET, "the same, for a liveness probe"),
    row("/admin/ready", Page::Ready, GET, "200 while requests may be sent here, or else 503"),
    row("/admin/shutdown", Page::Shutdown, POST, "stops as a signal does: what was begun is finished"),
    row("/admin/metrics.json", Page::Metrics, GET, "metrics in Linkerd's tree; takes tree=1, q=, pretty=1"),
    row("/admin/metrics/prometheus", Page::OpenMetrics, GET, "metrics for Prometheus"),
];

/// Answers a request.
pub(super) async fn answer(request: Request<Incoming>, shown: &Shown) -> Answer {
    let Some(row) = PAGES.iter().find(|row| row.path == request.uri().path()) else {
        return text(StatusCode::NOT_FOUND, "there is no such page; / lists those there are");
    };
    let head = request.method() == Method::HEAD && row.methods.contains(&Method::GET);
    if !head && !row.methods.contains(request.method()) {
        return refuse_method(row);
    }
    if request.method() == Method::POST
        && let Some(why) = caller::refusal(&request)
    {
        return text(StatusCode::FORBIDDEN, why);
    }
    let query = Query::of(request.uri());
    match row.page {
        Page::Index => index(&request),
        Page::Ping => super::answer::answer(StatusCode::OK, "text/plain", "pong"),
        Page::Live => text(StatusCode::OK, "live"),
        Page::Ready => match shown.readiness.missing() {
            None => text(StatusCode::OK, "ready"),
            Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, why),
        },
        Page::Shutdown => {
            tracing::info!("asked to stop by the admin server");
            shown.stop.notify_one();
            text(StatusCode::OK, "stopping")
        }
        Page::Metrics => metrics_json(&shown.registry, query),
        Page::OpenMetrics => openmetrics(&shown.registry),
    }
}

fn refuse_method(row: &Row) -> Answer {
    let mut methods = String::new();
    for method in row.methods {
        let head = if *method == Method::GET { ", HEAD" } else { "" };
        // Writing to a string does not fail.
        let _ = write!(methods, "{}{method}{head}", if methods.is_empty() { "" } else { ", " });
    }
    let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, &format!("ask with {methods}"));
    if let Ok(allow) = HeaderValue::try_from(methods) {
        refused.headers_mut().insert(header::ALLOW, allow);
    }
    refused
}

/// The list of pages, for browsers or for terminals.
fn index(request: &Request<Incoming>) -> Answer {
    let accepts = request.headers().get(header::ACCEPT).and_then(|accepts| accepts.to_str().ok());
    let listed = PAGES.iter().filter(|row| !row.about.is_empty());
    let method = |row: &Row| if row.methods.contains(&Method::GET) { "" } else { "POST " };
    let mut list = String::new();
    if !accepts.is_some_and(|accepts| accepts.contains("text/html")) {
        listed.for_each(|row| {
            let _ = writeln!(list, "{}{}  {}", method(row), row.path, row.about);
        });
        return text(StatusCode::OK, list.trim_end());
    }
    for row in listed {
        let path = row.path.replace('<', "&lt;").replace('>', "&gt;");
        // What takes more than a click is named, and not linked.
        let _ = match (method(row), path == row.path) {
            ("", true) => write!(list, "<li><a href=\"{path}\">{path}</a> {}</li>", row.about),
            (method, _) => write!(list, "<li>{method}{path} {}</li>", row.about),
        };
    }
    html(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Signpost</title><h1>Signpost</h1><ul>{list}</ul>"
    ))
}
