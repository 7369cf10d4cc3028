//! The table of the admin server's pages.

use super::metrics::{metrics_json, openmetrics};
use super::query::Query;
use super::response::{HTML, PageResponse, json, respond, text};
use super::{AdminState, PageSet, delegator, origin, routed, sandboxes, state};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, StatusCode};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

/// A page of the admin server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AdminPage {
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
    Sandboxes,
    Delegator,
    /// A text that never changes, after its media type.
    Asset(&'static str, &'static str),
}

impl AdminPage {
    /// Returns whether it has metrics, or answers a probe.
    const fn is_for_machines(self) -> bool {
        matches!(self, Self::Ping | Self::Live | Self::Ready | Self::Metrics | Self::OpenMetrics)
    }

    /// Returns whether any request may have it, by whatever name it calls this server: it changes nothing and tells no
    /// secret. Links lead to some of these; probes and scrapers use names of services.
    const fn is_open(self) -> bool {
        self.is_for_machines() || matches!(self, Self::Index | Self::Asset(..))
    }
}

/// One row of the table of pages.
struct PageRow {
    path: &'static str,
    page: AdminPage,
    /// HEAD is taken where GET is.
    methods: &'static [Method],
    /// The line for the index; a page without one is not listed.
    about: &'static str,
}

const GET: &[Method] = &[Method::GET];
const POST: &[Method] = &[Method::POST];
const GET_POST: &[Method] = &[Method::GET, Method::POST];

const fn row(
    path: &'static str,
    page: AdminPage,
    methods: &'static [Method],
    about: &'static str,
) -> PageRow {
    PageRow { path, page, methods, about }
}

/// Every page.
const PAGES: &[PageRow] = &[
    row("/", AdminPage::Index, GET, ""),
    row("/admin", AdminPage::Index, GET, ""),
    row("/delegator", AdminPage::Asset(HTML, delegator::PAGE), GET, "where a name leads, and why"),
    row("/delegator.css", AdminPage::Asset("text/css; charset=utf-8", delegator::STYLE), GET, ""),
    row("/delegator.js", AdminPage::Asset("text/javascript; charset=utf-8", delegator::SCRIPT), GET, ""),
    row(
        "/delegator.json",
        AdminPage::Delegator,
        GET_POST,
        "the same for programs; takes namespace=, path=, sandbox=, dtab=, baseDtab=",
    ),
    row("/sandboxes.json", AdminPage::Sandboxes, GET, "sandboxes and groups, and their entries; takes key="),
    row("/routers.json", AdminPage::Routers, GET, "each router's label, prefix and dtab"),
    row("/admin/ping", AdminPage::Ping, GET, "answers while the process is alive"),
    row("/admin/live", AdminPage::Live, GET, "the same, for a liveness probe"),
    row("/admin/ready", AdminPage::Ready, GET, "200 while requests may be sent here, or else 503"),
    row(
        "/admin/shutdown",
        AdminPage::Shutdown,
        POST,
        "stops as a signal does: requests under way are finished",
    ),
    row(
        "/admin/metrics.json",
        AdminPage::Metrics,
        GET,
        "metrics in Linkerd's tree; takes tree=1, q=, pretty=1",
    ),
    row("/admin/metrics/prometheus", AdminPage::OpenMetrics, GET, "metrics for Prometheus"),
    row("/config.json", AdminPage::Config, GET, "the configuration, every default in place; takes pretty=1"),
    row("/bound-names.json", AdminPage::BoundNames, GET, "names that namers can list, and those in use"),
    row("/namer_state.json", AdminPage::NamerStates, GET, "what each namer knows of the names in use"),
    row("/namer_state/<prefix>.json", AdminPage::NamerState, GET, "the same of one namer"),
    row("/watches.json", AdminPage::Watches, GET, "the watches of Kubernetes, and the state of each"),
    row(
        "/interpreter_state/<router>.json",
        AdminPage::InterpreterState,
        GET,
        "what a router knows of the dtab that is stored for it",
    ),
    row("/client_state.json", AdminPage::ClientState, GET, "the endpoints in use"),
];

impl PageRow {
    /// Returns the text that `path` has in place of the part in angle brackets, empty for a page without such a part;
    /// None for the path of another page.
    fn matches<'a>(&self, path: &'a str) -> Option<&'a str> {
        match self.path.split_once('<').and_then(|(before, rest)| Some((before, rest.split_once('>')?.1))) {
            None => (self.path == path).then_some(""),
            Some((before, after)) => path.strip_prefix(before)?.strip_suffix(after),
        }
    }
}

/// Answers a request with its page.
pub(super) async fn answer(
    request: Request<Incoming>,
    pages: PageSet,
    peer: IpAddr,
    state: &AdminState,
) -> PageResponse {
    if let Some(why) = routed::refusal(&request) {
        return text(StatusCode::FORBIDDEN, why);
    }
    let path = request.uri().path();
    let access = state.access.borrow().clone();
    if pages == PageSet::All && !access.security.has(path) {
        return text(StatusCode::NOT_FOUND, "there is no such page");
    }
    let mut known = PAGES.iter().filter(|row| pages == PageSet::All || row.page.is_for_machines());
    let Some((row, variable)) = known.find_map(|row| Some((row, row.matches(path)?))) else {
        return text(StatusCode::NOT_FOUND, missing(pages));
    };
    let head = request.method() == Method::HEAD && row.methods.contains(&Method::GET);
    if !head && !row.methods.contains(request.method()) {
        return refuse_method(row);
    }
    if !row.page.is_open()
        && let Some(why) = origin::refusal(&request, &access.hosts)
    {
        return text(StatusCode::FORBIDDEN, why);
    }
    let query = Query::of(request.uri());
    match row.page {
        AdminPage::Index => index(&request),
        AdminPage::Ping => respond(StatusCode::OK, "text/plain", "pong"),
        AdminPage::Live => text(StatusCode::OK, "live"),
        AdminPage::Ready => match state.readiness.unready_reason() {
            None => text(StatusCode::OK, "ready"),
            Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, why),
        },
        AdminPage::Shutdown if !access.shutdown.allows(peer) => text(
            StatusCode::FORBIDDEN,
            "this caller may not stop the process: `admin: {shutdown: loopback | anybody | nobody}` says which callers may",
        ),
        AdminPage::Shutdown => {
            tracing::info!("a caller of /admin/shutdown asks for a stop");
            state.stop.notify_one();
            text(StatusCode::OK, "stopping")
        }
        AdminPage::Metrics => metrics_json(&state.registry, query),
        AdminPage::OpenMetrics => openmetrics(&state.registry),
        AdminPage::Config => json(StatusCode::OK, &*state.config.borrow(), query.flag("pretty")),
        AdminPage::BoundNames => state::bound_names(state).await,
        AdminPage::NamerState => state::namer_state(&state.namers.borrow(), variable),
        AdminPage::NamerStates => state::namer_states(&state.namers.borrow()),
        AdminPage::Watches => json(StatusCode::OK, &state.clients.state(), false),
        AdminPage::InterpreterState => state::interpreter_state(&state.routers.borrow(), variable),
        AdminPage::ClientState => state::client_state(&state.endpoint_registry),
        AdminPage::Routers => state::routers(&state.routers.borrow()),
        AdminPage::Sandboxes => {
            // Every router has the same ones.
            let table = state.routers.borrow().first().map(|router| Arc::clone(&router.sandboxes.borrow()));
            sandboxes::list(&table.unwrap_or_default(), Query::of(request.uri()))
        }
        AdminPage::Delegator => delegator::explain(request, state).await,
        AdminPage::Asset(media_type, content) => respond(StatusCode::OK, media_type, content),
    }
}

/// Returns the answer where there is no such page.
const fn missing(pages: PageSet) -> &'static str {
    match pages {
        PageSet::All => "there is no such page: / lists all pages",
        PageSet::Metrics => {
            "there is no such page here: /admin/metrics/prometheus, /admin/metrics.json, /admin/ping, /admin/live and \
             /admin/ready are all"
        }
    }
}

/// Answers a request whose method the page does not take.
fn refuse_method(row: &PageRow) -> PageResponse {
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

/// Answers with the list of pages, for browsers or for terminals.
fn index(request: &Request<Incoming>) -> PageResponse {
    let accepts = request.headers().get(header::ACCEPT).and_then(|accepts| accepts.to_str().ok());
    let listed = PAGES.iter().filter(|row| !row.about.is_empty());
    let method = |row: &PageRow| if row.methods.contains(&Method::GET) { "" } else { "POST " };
    let mut list = String::new();
    if !accepts.is_some_and(|accepts| accepts.contains("text/html")) {
        listed.for_each(|row| {
            let _ = writeln!(list, "{}{}  {}", method(row), row.path, row.about);
        });
        return text(StatusCode::OK, list.trim_end());
    }
    for row in listed {
        let path = row.path.replace('<', "&lt;").replace('>', "&gt;");
        // A page that takes more than a click is named, and not linked.
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
