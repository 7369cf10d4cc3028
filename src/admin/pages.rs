//! The table of what the admin server shows.

use super::answer::{Answer, HTML, answer as respond, json, text};
use super::metrics::{metrics_json, openmetrics};
use super::query::Query;
use super::{Shown, caller, delegator, state};
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
    Config,
    BoundNames,
    NamerState,
    NamerStates,
    Watches,
    InterpreterState,
    ClientState,
    Routers,
    Delegator,
    /// Something that never changes, with its media type.
    Asset(&'static str, &'static str),
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
const GET_POST: &[Method] = &[Method::GET, Method::POST];

const fn row(path: &'static str, page: Page, methods: &'static [Method], about: &'static str) -> Row {
    Row { path, page, methods, about }
}

/// Every page.
const PAGES: &[Row] = &[
    row("/", Page::Index, GET, ""),
    row("/admin", Page::Index, GET, ""),
    row("/delegator", Page::Asset(HTML, delegator::PAGE), GET, "where a name leads, and why"),
    row("/delegator.css", Page::Asset("text/css; charset=utf-8", delegator::STYLE), GET, ""),
    row("/delegator.js", Page::Asset("text/javascript; charset=utf-8", delegator::SCRIPT), GET, ""),
    row(
        "/delegator.json",
        Page::Delegator,
        GET_POST,
        "the same for programs; takes namespace=, path=, dtab=, baseDtab=",
    ),
    row("/routers.json", Page::Routers, GET, "each router's label, prefix and dtab"),
    row("/admin/ping", Page::Ping, GET, "answers while the process is alive"),
    row("/admin/live", Page::Live, GET, "the same, for a liveness probe"),
    row("/admin/ready", Page::Ready, GET, "200 while requests may be sent here, or else 503"),
    row("/admin/shutdown", Page::Shutdown, POST, "stops as a signal does: what was begun is finished"),
    row("/admin/metrics.json", Page::Metrics, GET, "metrics in Linkerd's tree; takes tree=1, q=, pretty=1"),
    row("/admin/metrics/prometheus", Page::OpenMetrics, GET, "metrics for Prometheus"),
    row("/config.json", Page::Config, GET, "the configuration, every default in place; takes pretty=1"),
    row("/bound-names.json", Page::BoundNames, GET, "names that namers can list, and those in use"),
    row("/namer_state.json", Page::NamerStates, GET, "what each namer knows of the names in use"),
    row("/namer_state/<prefix>.json", Page::NamerState, GET, "the same of one namer"),
    row("/watches.json", Page::Watches, GET, "the watches of Kubernetes, how each is doing"),
    row(
        "/interpreter_state/<router>.json",
        Page::InterpreterState,
        GET,
        "what a router knows of the dtab that is stored for it",
    ),
    row("/client_state.json", Page::ClientState, GET, "the endpoints in use"),
];

impl Row {
    /// What stands in `path` for the part in angle brackets, nothing where there is none; None for another path.
    fn matches<'a>(&self, path: &'a str) -> Option<&'a str> {
        match self.path.split_once('<').and_then(|(before, rest)| Some((before, rest.split_once('>')?.1))) {
            None => (self.path == path).then_some(""),
            Some((before, after)) => path.strip_prefix(before)?.strip_suffix(after),
        }
    }
}

/// Answers a request.
pub(super) async fn answer(request: Request<Incoming>, shown: &Shown) -> Answer {
    let path = request.uri().path();
    let Some((row, variable)) = PAGES.iter().find_map(|row| Some((row, row.matches(path)?))) else {
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
        Page::Ping => respond(StatusCode::OK, "text/plain", "pong"),
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
        Page::Config => json(StatusCode::OK, &*shown.config.borrow(), query.flag("pretty")),
        Page::BoundNames => state::bound_names(shown).await,
        Page::NamerState => state::namer_state(&shown.namers.borrow(), variable),
        Page::NamerStates => state::namer_states(&shown.namers.borrow()),
        Page::Watches => json(StatusCode::OK, &shown.clients.state(), false),
        Page::InterpreterState => state::interpreter_state(&shown.routers.borrow(), variable),
        Page::ClientState => state::client_state(&shown.loads),
        Page::Routers => state::routers(&shown.routers.borrow()),
        Page::Delegator => delegator::explain(request, shown).await,
        Page::Asset(media_type, content) => respond(StatusCode::OK, media_type, content),
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
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Signpost</title><h1>Signpost</h1><ul>{list}</ul>"
    );
    respond(StatusCode::OK, HTML, page)
}
