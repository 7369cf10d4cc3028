//! An API server of Kubernetes on loopback that does what a test wants, over HTTP/1: lists, streamed lists, watches,
//! and every way in which they go wrong.

mod cluster;

pub(crate) use self::cluster::{
    config_map, dtab, endpoints, ingress, pod, sandbox, service, slice, tls_secret,
};

use self::cluster::{Cluster, Question, Told};
use super::{Message, Upstream, Wire};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

/// An API server; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct ApiServer {
    address: SocketAddr,
    shared: Rc<Shared>,
    accepting: JoinHandle<()>,
}

/// How it behaves.
#[derive(Clone, Debug)]
pub(crate) struct Manners {
    /// Closes each connection as soon as it is accepted.
    pub(crate) away: bool,
    /// Accepts connections, and says nothing on them.
    pub(crate) silent: bool,
    /// Answers every request with this status.
    pub(crate) refuses: Option<u16>,
    /// Answers every watch with this status, streamed lists among them where there are such.
    pub(crate) refuses_watches: Option<u16>,
    /// Answers everything about this resource with 403.
    pub(crate) refuses_resource: Option<&'static str>,
    /// Answers everything about namespaces that begin so with 403.
    pub(crate) refuses_namespaces: Option<&'static str>,
    /// How long the answer to a watch is on its way. Watches then end after the time that was asked for.
    pub(crate) way: Option<Duration>,
    /// Answers everything that would write with this status.
    pub(crate) refuses_writes: Option<u16>,
    /// Accepts no other token.
    pub(crate) token: Option<&'static str>,
    /// What becomes of streamed lists.
    pub(crate) streams: Streams,
    /// Sends bookmarks; those that end streamed lists come in any case.
    pub(crate) bookmarks: bool,
    /// Tells a watch from a version that it forgot with a status, and not inside of the stream.
    pub(crate) forgets_by_status: bool,
    /// Objects in a page of a list at most.
    pub(crate) page: usize,
    /// Ends each watch as soon as it began.
    pub(crate) ends_watches: bool,
}

/// What a server makes of a streamed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Streams {
    /// It streams.
    Yes,
    /// It says that it cannot: 422.
    Refused,
    /// It knows nothing of them, and takes them for watches.
    Ignored,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            away: false,
            silent: false,
            refuses: None,
            refuses_watches: None,
            refuses_resource: None,
            refuses_namespaces: None,
            way: None,
            refuses_writes: None,
            token: None,
            streams: Streams::Yes,
            bookmarks: true,
            forgets_by_status: false,
            page: 500,
            ends_watches: false,
        }
    }
}

#[derive(Debug, Default)]
struct Shared {
    cluster: RefCell<Cluster>,
    manners: RefCell<Manners>,
    requests: RefCell<Vec<String>>,
    /// The events that were created, and the statuses that were applied.
    written: RefCell<Vec<Value>>,
    /// One for each connection; aborting them cuts all.
    connections: RefCell<JoinSet<()>>,
    accepted: Cell<usize>,
    /// Connections accepted before this many were say nothing any more.
    dead: Cell<usize>,
}

impl ApiServer {
    /// Starts a server of an empty cluster.
    pub(crate) async fn start() -> Self {
        let upstream = Upstream::start().await;
        let address = upstream.address();
        let shared = Rc::<Shared>::default();
        let serving = Rc::clone(&shared);
        let accepting = tokio::task::spawn_local(async move {
            loop {
                let Ok(wire) = upstream.next().await else { return };
                let at = serving.accepted.get();
                serving.accepted.set(at + 1);
                if !serving.manners.borrow().away {
                    let serve = serve(Rc::clone(&serving), wire, at);
                    serving.connections.borrow_mut().spawn_local(serve);
                }
            }
        });
        Self { address, shared, accepting }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The part of a configuration that makes its services `/#/<kind>`, with more keys (`, watch: cluster`).
    pub(crate) fn namer(&self, kind: &str, keys: &str) -> String {
        let (host, port) = (self.address.ip(), self.address.port());
        format!("namers: [{{kind: {kind}, host: {host}, port: {port}{keys}}}]\n")
    }

    /// The keys `host` and `port` that lead to it.
    pub(crate) fn keys(&self) -> String {
        format!("host: {}, port: {}", self.address.ip(), self.address.port())
    }

    /// Creates or changes an object, and tells the watches.
    pub(crate) fn put(&self, object: Value) {
        self.shared.cluster.borrow_mut().put(object);
    }

    /// Deletes an object, and tells the watches.
    pub(crate) fn delete(&self, kind: &str, namespace: &str, name: &str) {
        self.shared.cluster.borrow_mut().delete(kind, namespace, name);
    }

    /// Forgets all that was before: watches from there are told 410.
    pub(crate) fn compact(&self) {
        self.shared.cluster.borrow_mut().compact();
    }

    /// Sends a line to every watch, whatever it is.
    pub(crate) fn say(&self, line: &str) {
        self.shared.cluster.borrow_mut().tell_all(&Told::Line(format!("{line}\n")));
    }

    /// Ends every watch in order.
    pub(crate) fn end_watches(&self) {
        self.shared.cluster.borrow_mut().tell_all(&Told::End);
    }

    /// Behaves differently from now on.
    pub(crate) fn behave(&self, change: impl FnOnce(&mut Manners)) {
        change(&mut self.shared.manners.borrow_mut());
    }

    /// Cuts every connection.
    pub(crate) fn cut(&self) {
        self.shared.cluster.borrow_mut().forget_watches();
        self.shared.connections.borrow_mut().abort_all();
    }

    /// Falls silent on every connection there is, and leaves it open.
    pub(crate) fn fall_silent(&self) {
        self.shared.dead.set(self.shared.accepted.get());
        self.shared.cluster.borrow_mut().keep_watches_in_the_dark();
    }

    /// How many watches are open.
    pub(crate) fn watches(&self) -> usize {
        self.shared.cluster.borrow_mut().open_watches()
    }

    /// The targets of the requests that came since this was last called.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.shared.requests.take()
    }
}

impl ApiServer {
    /// An object, as it is now.
    pub(crate) fn object(&self, kind: &str, namespace: &str, name: &str) -> Value {
        self.shared.cluster.borrow().object(kind, namespace, name)
    }

    /// What was written since this was last called: statuses with their objects, and events.
    pub(crate) fn written(&self) -> Vec<Value> {
        self.shared.written.take()
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Serves one connection.
async fn serve(shared: Rc<Shared>, mut wire: Wire, at: usize) {
    while let Some(request) = wire.reader.next_request().await {
        let is_dead = || at < shared.dead.get();
        if is_dead() || shared.manners.borrow().silent {
            std::future::pending::<()>().await;
        }
        let target = request.first_line().split(' ').nth(1).unwrap_or_default().to_owned();
        shared.requests.borrow_mut().push(target.clone());
        match answer(&shared, &request, &target) {
            Answer::Json(status, body) => {
                let body = body.to_string();
                let head = format!("HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\n");
                let sent = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
                if !wire.writer.try_send(sent).await {
                    return;
                }
            }
            Answer::Watch(told) => {
                let way = shared.manners.borrow().way;
                let life = way.map(|_| Question::of(&target).life());
                sleep(way.unwrap_or_default()).await;
                if !watch(&mut wire, told, life).await {
                    return;
                }
            }
        }
    }
}

enum Answer {
    Json(u16, Value),
    Watch(mpsc::UnboundedReceiver<Told>),
}

/// Streams what a watch is told, for as long as `life`; returns whether the connection can be used again.
async fn watch(wire: &mut Wire, mut told: mpsc::UnboundedReceiver<Told>, life: Option<Duration>) -> bool {
    let ended = async {
        match life {
            Some(life) => sleep(life).await,
            None => std::future::pending().await,
        }
    };
    let mut ended = std::pin::pin!(ended);
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    if !wire.writer.try_send(head).await {
        return false;
    }
    loop {
        let told = tokio::select! {
            told = told.recv() => told,
            () = &mut ended => Some(Told::End),
            // The client sends nothing more: this is its end.
            _ = wire.reader.next_request() => return false,
        };
        let sent = match told {
            Some(Told::Line(line)) => format!("{:x}\r\n{line}\r\n", line.len()),
            Some(Told::End) => return wire.writer.try_send("0\r\n\r\n").await,
            // The server has forgotten this watch, and does not say so.
            None => return std::future::pending().await,
        };
        if !wire.writer.try_send(sent).await {
            return false;
        }
    }
}

fn answer(shared: &Shared, request: &Message, target: &str) -> Answer {
    let manners = shared.manners.borrow().clone();
    if request.method() != "GET" && manners.refuses.is_none() {
        let is_refused = manners.refuses_namespaces.is_some_and(|prefix| Question::of(target).is_in(prefix));
        return write(shared, request, target, manners.refuses_writes.or(is_refused.then_some(403)));
    }
    let mut cluster = shared.cluster.borrow_mut();
    let question = Question::of(target);
    let authorized = manners.token.is_none_or(|token| {
        request.field("authorization").is_some_and(|sent| sent == format!("Bearer {token}"))
    });
    let is_refused = manners.refuses_resource.is_some_and(|resource| question.is_of(resource))
        || manners.refuses_namespaces.is_some_and(|prefix| question.is_in(prefix));
    let refused = manners.refuses.or(manners.refuses_watches.filter(|_| question.watch));
    let refused = refused.or(is_refused.then_some(403));
    match refused {
        _ if !authorized => status(401, "Unauthorized", "Unauthorized"),
        _ if question.stream && manners.streams == Streams::Refused => {
            status(422, "Invalid", "sendInitialEvents: Forbidden")
        }
        Some(code) => status(code, if code == 403 { "Forbidden" } else { "Refused" }, "refused by the test"),
        None if !question.watch => Answer::Json(200, cluster.list(&question, manners.page)),
        None if manners.forgets_by_status && cluster.has_forgotten(&question) => {
            status(410, "Expired", "too old resource version")
        }
        None => {
            let told = cluster.watch(&question, &manners);
            Answer::Watch(told)
        }
    }
}

/// Takes a status, or an event.
fn write(shared: &Shared, request: &Message, target: &str, refuses: Option<u16>) -> Answer {
    let body: Value = serde_json::from_slice(&request.body).expect("what is written is JSON");
    let written = match refuses {
        Some(code) => Err(code),
        None if request.method() == "PATCH" => shared.cluster.borrow_mut().apply_status(target, &body),
        None => Ok(body.clone()),
    };
    match written {
        Ok(object) => {
            shared.written.borrow_mut().push(body);
            Answer::Json(if request.method() == "POST" { 201 } else { 200 }, object)
        }
        Err(code) => status(code, if code == 403 { "Forbidden" } else { "Refused" }, "refused by the test"),
    }
}

fn status(code: u16, reason: &str, message: &str) -> Answer {
    Answer::Json(code, cluster_status(code, reason, message))
}

fn cluster_status(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": code, "reason": reason, "message": message,
    })
}
