//! Every family of fields, in every spelling, at every position, between every two protocols, at every kind of listener:
//! what arrives is compared byte for byte with a model, and where.

mod cases;
mod model;

use self::cases::{FORGED, Override, Part};
use self::model::{Arrival, OWN, Way, expected};
use crate::support::either::Speaks;
use crate::support::http2::{H2Client, H2Service, fields};
use crate::support::{Service, TestApp, Wire, ok};
use Speaks::{Http1, Http2};
use http::{HeaderMap, Request, Response};
use signpost::context::encode_baggage_value;
use std::cell::RefCell;
use std::rc::Rc;

/// How many parts stand in one request.
const PARTS: usize = 12;

/// The listeners of each router: their trust, and whether callers from 127.0.0.1 have it.
const LISTENERS: [(&str, bool); 4] =
    [("nobody", false), ("{from: [127.0.0.9]}", false), ("{from: [127.0.0.1]}", true), ("everybody", true)];

/// Where the fields stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Position {
    /// In the head.
    Head,
    /// In the head, and `Connection` names them. HTTP/2 has no such field.
    Named,
    /// Behind the body.
    Trailer,
}

/// The requests that arrived, each as its lines, with the end of the road.
type Log = Rc<RefCell<Vec<Arrival>>>;

/// A service that notes what arrives.
enum Recorder {
    Http1(Service),
    Http2(H2Service),
}

impl Recorder {
    async fn start(speaks: Speaks, steered: bool, log: &Log) -> Self {
        let log = Rc::clone(log);
        match speaks {
            Http1 => Self::Http1(
                Service::start(async move |request| {
                    let target = request.first_line().split(' ').nth(1).unwrap_or_default().to_owned();
                    let lines = request.field_lines().into_iter().map(str::to_owned).collect();
                    log.borrow_mut().push(Arrival { steered, target, lines, trailers: request.trailers });
                    ok("hi")
                })
                .await,
            ),
            Http2 => Self::Http2(
                H2Service::start(async move |mut call| {
                    let (_, trailers) = call.read().await;
                    let target = call.head.uri().path_and_query().expect("it has one").to_string();
                    let (lines, trailers) = (lines_of(call.head.headers()), lines_of(&trailers));
                    log.borrow_mut().push(Arrival { steered, target, lines, trailers });
                    call.answer(Response::new("hi")).await;
                })
                .await,
            ),
        }
    }

    fn path(&self) -> String {
        match self {
            Self::Http1(service) => service.path(),
            Self::Http2(service) => service.path(),
        }
    }
}

fn lines_of(fields: &HeaderMap) -> Vec<String> {
    let text = |value: &http::HeaderValue| value.to_str().expect("it is ASCII").to_owned();
    fields.iter().map(|(name, value)| format!("{name}: {}", text(value))).collect()
}

/// A router whose callers may lead the host `web` to another service than the usual one.
struct Scene {
    app: TestApp,
    entry: Override,
    log: Log,
    service: Speaks,
    _recorders: [Recorder; 2],
}

impl Scene {
    async fn start(service: Speaks) -> Self {
        let log = Log::default();
        let base = Recorder::start(service, false, &log).await;
        let other = Recorder::start(service, true, &log).await;
        let servers: String =
            LISTENERS.iter().map(|(trust, _)| format!("  - {{port: 0, trust: {trust}}}\n")).collect();
        let protocol = if service == Http1 { "http" } else { "h2" };
        let app = TestApp::start(&format!(
            "sandboxes: {{headers: [x-tenant], queryParameter: tenant}}\nadmin: {{port: 0}}\nrouters:\n\
             - protocol: {protocol}\n  label: matrix\n  dtab: '/svc/web => {}'\n  servers:\n{servers}",
            base.path()
        ))
        .await;
        let plain = format!("/svc/web=>{}", other.path());
        let encoded = encode_baggage_value(plain.as_bytes());
        Self { app, entry: Override { plain, encoded }, log, service, _recorders: [base, other] }
    }

    /// Compares what arrives with what must, for all parts at one listener; returns how many parts were sent.
    async fn check(&self, caller: Speaks, listener: usize) -> usize {
        let (trust, trusted) = LISTENERS[listener];
        let mut sender = Sender::connect(caller, &self.app, listener).await;
        let parts = cases::all(&self.entry);
        let parts: Vec<Part> = parts.into_iter().filter(|part| caller.can_send(part)).collect();
        let mut sent = 0;
        for position in [Position::Head, Position::Named, Position::Trailer] {
            if caller == Http2 && position == Position::Named {
                continue;
            }
            let way = Way { caller, service: self.service, trusted, position };
            for parts in parts.chunks(PARTS) {
                sender.send(position, parts).await;
                let arrived = self.log.take();
                let [arrived] = arrived.try_into().unwrap_or_else(|all| panic!("one request: {all:?}"));
                let (arrived, expected) = (comparable(way, arrived), expected(way, parts, &self.entry));
                assert_eq!(arrived, expected, "\n{way:?} at a listener that trusts {trust}: {parts:#?}");
                sent += parts.len();
            }
        }
        sent
    }
}

/// A request as it arrived, without what the router owns and what frames it.
fn comparable(way: Way, mut arrived: Arrival) -> Arrival {
    const FRAMING: [&str; 2] = ["host", "transfer-encoding"];
    arrived.lines.retain(|line| {
        let (name, value) = line.split_once(':').expect("a line has a colon");
        assert!(!OWN.contains(&name) || !value.contains(FORGED), "the router says so itself: {line}");
        !FRAMING.contains(&name.to_ascii_lowercase().as_str()) && !is_own(name)
    });
    arrived.lines = way.normal(arrived.lines);
    arrived.trailers = way.normal(arrived.trailers);
    arrived
}

/// Whether the router has written a field of this name: it writes it so, and passes none of it.
fn is_own(name: &str) -> bool {
    OWN.iter().any(|own| name.eq_ignore_ascii_case(own))
}

impl Speaks {
    /// Whether a caller can send a part: names are in lower case in HTTP/2.
    fn can_send(self, part: &Part) -> bool {
        match part {
            Part::Field(field) => self == Http1 || field.name == field.name.to_ascii_lowercase(),
            Part::Parameter(_) => true,
        }
    }
}

/// A caller that sends requests with given parts.
enum Sender {
    Http1(Wire),
    Http2(H2Client),
}

impl Sender {
    async fn connect(speaks: Speaks, app: &TestApp, listener: usize) -> Self {
        let address = app.address("matrix", listener);
        match speaks {
            Http1 => Self::Http1(Wire::connect(address).await),
            Http2 => Self::Http2(H2Client::connect(address).await),
        }
    }

    async fn send(&mut self, position: Position, parts: &[Part]) {
        let parameters: Vec<&str> = parts.iter().filter_map(Part::parameter).collect();
        let query = if parameters.is_empty() { String::new() } else { format!("?{}", parameters.join("&")) };
        match self {
            Self::Http1(wire) => {
                let response = wire.ask(http1_request(position, &query, parts)).await;
                assert_eq!((response.status(), response.text()), (200, "hi"), "{position:?} {parts:#?}");
            }
            Self::Http2(client) => send_http2(client, position, &query, parts).await,
        }
    }
}

fn http1_request(position: Position, query: &str, parts: &[Part]) -> String {
    let lines: Vec<String> = parts.iter().filter_map(Part::line).collect();
    let lines = lines.iter().map(|line| format!("{line}\r\n")).collect::<String>();
    let names: Vec<&str> = parts.iter().filter_map(Part::name).collect();
    match position {
        Position::Head => format!("GET /p{query} HTTP/1.1\r\nHost: web\r\n{lines}\r\n"),
        // The target's other form.
        Position::Named => {
            format!(
                "GET http://web/p{query} HTTP/1.1\r\nHost: web\r\nConnection: {}\r\n{lines}\r\n",
                names.join(", ")
            )
        }
        Position::Trailer => format!(
            "POST /p{query} HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n{lines}\r\n"
        ),
    }
}

async fn send_http2(client: &mut H2Client, position: Position, query: &str, parts: &[Part]) {
    let mut request = Request::builder().method("POST").uri(format!("http://web/p{query}"));
    let mut lines = HeaderMap::new();
    for part in parts {
        if let Part::Field(field) = part {
            let name = http::HeaderName::from_bytes(field.name.as_bytes()).expect("it is a name");
            lines.append(name, field.value.parse().expect("it is a value"));
        }
    }
    let is_head = position == Position::Head;
    if is_head {
        *request.headers_mut().expect("it is right so far") = lines.clone();
    }
    let mut exchange = client.begin(request.body(()).expect("it is one"), true).await;
    exchange.send("hi", is_head).await;
    if !is_head {
        exchange.end_with(if lines.is_empty() { fields(&[]) } else { lines });
    }
    let answer = exchange.answer().await;
    assert_eq!((answer.status(), answer.text()), (200, "hi"), "{position:?} {parts:#?}");
}

impl Part {
    fn parameter(&self) -> Option<&str> {
        if let Self::Parameter(parameter) = self { Some(parameter) } else { None }
    }

    fn name(&self) -> Option<&str> {
        if let Self::Field(field) = self { Some(&field.name) } else { None }
    }

    fn line(&self) -> Option<String> {
        if let Self::Field(field) = self { Some(field.line()) } else { None }
    }
}

#[tokio::test(flavor = "local")]
async fn what_arrives_is_what_its_caller_may_send() {
    let mut sent = 0;
    for service in [Http1, Http2] {
        let scene = Scene::start(service).await;
        for caller in [Http1, Http2] {
            for listener in 0..LISTENERS.len() {
                sent += scene.check(caller, listener).await;
            }
        }
        scene.app.stop().await;
    }
    assert!(sent > 20_000, "{sent} parts are sent");
}
