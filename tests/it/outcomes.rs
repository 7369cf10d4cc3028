//! Each request has one outcome: the counters, the access lines and what callers see agree, however requests end.

use crate::support::either::Speaks::{self, Http1, Http2};
use crate::support::http2::{self, Exchange, Frame, Frames, H2Client, kind};
use crate::support::{TestApp, Upstream, Wire, dead_address, time_flies, until};
use h2::Reason;
use http::Request;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use std::fs;
use tokio::runtime::{Builder, LocalOptions};

/// A way in which a request can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Answered(u16),
    /// Its head is malformed.
    Malformed,
    BadOverride,
    Unroutable,
    /// No connection to its endpoint can be opened.
    DeadEndpoint,
    /// Its endpoint closes the connection instead of answering.
    NoResponse,
    /// Its response is malformed in its first bytes.
    WrongAtOnce,
    /// Its response breaks off.
    WrongLater,
    /// Its endpoint does not answer in time.
    TimedOut,
    /// Its caller goes away before the response.
    LeftEarly,
    /// Its caller goes away in the middle of the response.
    LeftLate,
    /// Its caller goes away in the middle of its own body.
    LeftInBody,
    /// Its body turns out to be malformed.
    BadBody,
    /// Its caller sends a part of its body and then nothing more.
    Stalled,
}

const ENDS: [End; 15] = [
    End::Answered(200),
    End::Answered(404),
    End::Answered(503),
    End::Malformed,
    End::BadOverride,
    End::Unroutable,
    End::DeadEndpoint,
    End::NoResponse,
    End::WrongAtOnce,
    End::WrongLater,
    End::TimedOut,
    End::LeftEarly,
    End::LeftLate,
    End::LeftInBody,
    End::BadBody,
];

/// The names of the outcomes in the metrics.
const COUNTERS: [&str; 7] = [
    "success",
    "failed_responses",
    "caller_faults",
    "router_faults",
    "upstream_faults",
    "abandoned",
    "stalled",
];

impl End {
    /// The counter of such a request.
    fn counter(self) -> &'static str {
        match self {
            Self::Answered(503) => "failed_responses",
            Self::Answered(_) => "success",
            Self::Malformed | Self::BadOverride | Self::BadBody => "caller_faults",
            Self::Unroutable => "router_faults",
            Self::DeadEndpoint | Self::NoResponse | Self::WrongAtOnce | Self::WrongLater | Self::TimedOut => {
                "upstream_faults"
            }
            Self::LeftEarly | Self::LeftLate | Self::LeftInBody => "abandoned",
            Self::Stalled => "stalled",
        }
    }

    /// The status that its caller sees, if it sees one, and whether the response is whole.
    fn seen(self, caller: Speaks) -> (Option<u16>, bool) {
        match self {
            // Over HTTP/2, the stream is reset.
            Self::BadBody if caller == Http2 => (None, false),
            Self::BadBody => (Some(400), true),
            Self::Answered(status) => (Some(status), true),
            Self::Malformed | Self::BadOverride => (Some(400), true),
            Self::Unroutable | Self::DeadEndpoint | Self::NoResponse | Self::WrongAtOnce => (Some(502), true),
            Self::TimedOut => (Some(504), true),
            Self::WrongLater | Self::LeftLate => (Some(200), false),
            Self::LeftEarly | Self::LeftInBody | Self::Stalled => (None, false),
        }
    }

    fn host(self) -> &'static str {
        match self {
            Self::Unroutable => "nowhere",
            Self::DeadEndpoint => "dead",
            _ => "web",
        }
    }

    /// A field of its head.
    fn field(self) -> (&'static str, &'static str) {
        match self {
            Self::Malformed => ("host", "another"),
            Self::BadOverride => ("l5d-dtab", "/a"),
            _ => ("x", "y"),
        }
    }

    fn has_body(self) -> bool {
        matches!(self, Self::LeftInBody | Self::BadBody | Self::Stalled)
    }

    /// Whether it gets to an endpoint that can be talked to.
    fn is_carried(self) -> bool {
        !matches!(self, Self::Malformed | Self::BadOverride | Self::Unroutable | Self::DeadEndpoint)
    }
}

/// The caller of one request, on a connection of its own.
enum Asking {
    Http1(Wire),
    Http2(H2Client, Exchange),
}

impl Asking {
    async fn begin(app: &TestApp, speaks: Speaks, end: End) -> Self {
        // The second server has a time limit.
        let address = app.running().listeners()[usize::from(end == End::TimedOut)].address;
        let (host, (name, value)) = (end.host(), end.field());
        if speaks == Http1 {
            let mut wire = Wire::connect(address).await;
            let body = match end {
                End::BadBody => "Transfer-Encoding: chunked\r\n\r\n4\r\nhell\r\n",
                _ if end.has_body() => "Content-Length: 10\r\n\r\nhell",
                _ => "\r\n",
            };
            wire.send(format!("POST / HTTP/1.1\r\nHost: {host}\r\n{name}: {value}\r\n{body}")).await;
            return Self::Http1(wire);
        }
        let mut client = H2Client::connect(address).await;
        let mut request = Request::post(format!("http://{host}/")).header(name, value);
        if end.has_body() {
            request = request.header("content-length", "10");
        }
        let request = request.body(()).expect("a request");
        let mut exchange = client.begin(request, end.has_body()).await;
        if end.has_body() {
            exchange.send("hell", false).await;
        }
        Self::Http2(client, exchange)
    }

    /// The status of a whole response.
    async fn whole(&mut self) -> u16 {
        match self {
            Self::Http1(wire) => wire.response().await.status(),
            Self::Http2(_, exchange) => exchange.answer().await.status(),
        }
    }

    /// The status of a response of which no more is read.
    async fn head(&mut self) -> u16 {
        match self {
            Self::Http1(wire) => wire.head().await.status(),
            Self::Http2(_, exchange) => exchange.head().await.expect("a head comes").status().as_u16(),
        }
    }

    /// The status of a response that breaks off.
    async fn broken(self) -> u16 {
        match self {
            Self::Http1(mut wire) => {
                let status = wire.head().await.status();
                wire.expect("hell").await;
                wire.assert_gone().await;
                status
            }
            Self::Http2(_client, mut exchange) => {
                let (head, mut body) = exchange.head().await.expect("a head comes").into_parts();
                http2::read(&mut body).await.expect_err("it breaks off");
                head.status.as_u16()
            }
        }
    }

    /// Goes away.
    fn leave(self) {
        match self {
            Self::Http1(wire) => wire.reset(),
            Self::Http2(client, _) => client.abort(),
        }
    }

    /// Waits until the router ends the request without a response.
    async fn assert_given_up(self) {
        match self {
            Self::Http1(mut wire) => wire.assert_gone().await,
            Self::Http2(_client, mut exchange) => assert_eq!(exchange.refused().await, Reason::CANCEL),
        }
    }

    /// Goes on with a body that is not as its framing or its head says; returns the status.
    async fn spoil_body(self) -> Option<u16> {
        match self {
            Self::Http1(mut wire) => Some(wire.ask("oops\r\n").await.status()),
            Self::Http2(_client, mut exchange) => {
                exchange.send("more than it said", true).await;
                assert_eq!(exchange.refused().await, Reason::PROTOCOL_ERROR);
                None
            }
        }
    }
}

/// The endpoint of one request, on a connection of its own.
enum Serving {
    Http1(Wire),
    Http2(Frames),
}

impl Serving {
    /// Waits for the head of a request.
    async fn accept(upstream: &Upstream, speaks: Speaks) -> Self {
        if speaks == Http1 {
            let mut wire = upstream.accept().await;
            wire.head().await;
            return Self::Http1(wire);
        }
        let mut frames = Frames::accept(upstream, &[]).await;
        frames.next_of(kind::HEADERS, 1).await;
        Self::Http2(frames)
    }

    async fn send(&mut self, http1: &str, http2: &[Frame]) {
        match self {
            Self::Http1(wire) => wire.send(http1).await,
            Self::Http2(frames) => {
                frames.wire.send(http2.iter().flat_map(Frame::encode).collect::<Vec<_>>()).await;
            }
        }
    }

    async fn answer(&mut self, status: u16) {
        let http1 = format!("HTTP/1.1 {status} S\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        self.send(&http1, &[Frame::request(1, &[(":status", &status.to_string())])]).await;
    }

    async fn answer_half(&mut self) {
        let head = Frame::head(1, &[(":status", "200"), ("content-length", "10")]);
        let http1 = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhell";
        self.send(http1, &[head, Frame::data(1, b"hell", false)]).await;
    }

    async fn answer_wrong(&mut self) {
        let http1 = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\noops\r\n";
        self.send(http1, &[Frame::head(1, &[(":status", "200")]), Frame::reset(1, 2)]).await;
    }

    /// Waits until the router has closed the connection, so that no other request is sent on it.
    async fn finish(self) {
        match self {
            Self::Http1(mut wire) => _ = wire.reader.bytes_or_end(usize::MAX).await,
            Self::Http2(mut frames) => {
                frames.try_send(&Frame::goaway(1, 0)).await;
                frames.last_code().await;
            }
        }
    }
}

/// Has one request end; returns what its caller saw.
async fn drive(app: &TestApp, upstream: &Upstream, ways: (Speaks, Speaks), end: End) -> (Option<u16>, bool) {
    let mut asking = Asking::begin(app, ways.0, end).await;
    if !end.is_carried() {
        return (Some(asking.whole().await), true);
    }
    let answered = app.total("responses", &[("class", "2xx")]);
    let mut serving = Serving::accept(upstream, ways.1).await;
    let seen = match end {
        End::Answered(status) => {
            serving.answer(status).await;
            (Some(asking.whole().await), true)
        }
        End::NoResponse => {
            drop(serving);
            return (Some(asking.whole().await), true);
        }
        End::WrongAtOnce => {
            serving.answer_wrong().await;
            (Some(asking.whole().await), true)
        }
        End::WrongLater => {
            serving.answer_half().await;
            // The caller has a part of the response before the rest is known to be missing.
            let going = async {
                until("the head", async || {
                    app.client().await;
                    app.total("responses", &[("class", "2xx")]) > answered
                })
                .await;
                drop(serving);
            };
            let (status, ()) = tokio::join!(asking.broken(), going);
            return (Some(status), false);
        }
        End::TimedOut => (Some(time_flies(asking.whole()).await.0), true),
        End::LeftLate => {
            serving.answer_half().await;
            let status = asking.head().await;
            asking.leave();
            (Some(status), false)
        }
        End::BadBody => {
            let status = asking.spoil_body().await;
            (status, status.is_some())
        }
        End::Stalled => {
            time_flies(asking.assert_given_up()).await;
            (None, false)
        }
        _ => {
            asking.leave();
            (None, false)
        }
    };
    serving.finish().await;
    seen
}

fn counts(app: &TestApp) -> Vec<u64> {
    COUNTERS.iter().map(|name| app.total(name, &[])).collect()
}

/// Has requests end in these ways, one after the other, and compares what can be known of them.
async fn check(endpoint: Speaks, requests: &[(Speaks, End)]) {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("access.log");
    let (upstream, (dead, _held)) = (Upstream::start().await, dead_address());
    let protocol = if endpoint == Http1 { "http" } else { "h2" };
    let app = TestApp::start_here(&format!(
        "admin: {{port: 0}}\nrouters:\n- protocol: {protocol}\n  servers: [{{port: 0}}, {{port: 0, timeoutMs: 500}}]\n  \
         dtab: '/svc/web => {}; /svc/dead => /$/inet/{}/{}'\n  {protocol}AccessLog: {}\n  \
         {protocol}AccessLogFormat: json\n",
        upstream.path(),
        dead.ip(),
        dead.port(),
        log.display()
    ))
    .await;
    for (at, (caller, end)) in requests.iter().enumerate() {
        let what = format!("{end:?} of a caller over {caller:?}, endpoint over {endpoint:?}");
        let mut expected = counts(&app);
        let counted = COUNTERS.iter().position(|name| *name == end.counter()).expect("a counter");
        expected[counted] += 1;
        assert_eq!(drive(&app, &upstream, (*caller, endpoint), *end).await, end.seen(*caller), "{what}");
        until(&what, async || {
            app.client().await;
            counts(&app).iter().sum::<u64>() == at as u64 + 1
        })
        .await;
        assert_eq!(counts(&app), expected, "{what}");
        assert_eq!(app.total("requests", &[]), at as u64 + 1, "{what}");
    }
    app.stop().await;
    let text = fs::read_to_string(&log).expect("a log");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    assert_eq!(lines.len(), requests.len(), "{text}");
    for ((caller, end), line) in requests.iter().zip(&lines) {
        let (status, is_whole) = end.seen(*caller);
        // The names of outcomes are singular.
        let outcome = end.counter().trim_end_matches("s").replace("succe", "success");
        let expected = (u64::from(status.unwrap_or(499)), is_whole, outcome.as_str());
        let said = (
            line["status"].as_u64().unwrap_or_default(),
            line["complete"].as_bool().unwrap_or_default(),
            line["outcome"].as_str().unwrap_or_default(),
        );
        assert_eq!(said, expected, "{end:?} of a caller over {caller:?}: {line}");
        let has_fault = end.counter().ends_with("faults");
        assert_eq!(line.get("error").is_some(), has_fault, "a fault has a reason: {line}");
    }
}

fn block_on(work: impl Future<Output = ()>) {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    runtime.expect("a runtime").block_on(work);
}

#[test]
fn every_end_of_a_request_is_counted_and_logged_as_its_caller_saw_it() {
    for endpoint in [Http1, Http2] {
        let callers = [Http1, Http2].into_iter();
        let all = callers
            .flat_map(|caller| ENDS.map(|end| (caller, end)).into_iter().chain([(caller, End::Stalled)]));
        block_on(check(endpoint, &all.collect::<Vec<_>>()));
    }
}

#[test]
fn requests_end_as_they_do_whatever_came_before() {
    let request = (select(vec![Http1, Http2]), select(ENDS.to_vec()));
    let requests = prop::collection::vec(request, 1..12);
    let config = Config { cases: 24, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&(select(vec![Http1, Http2]), requests), |(endpoint, requests)| {
            block_on(check(endpoint, &requests));
            Ok(())
        })
        .expect("the counters, the lines and the callers agree");
}
