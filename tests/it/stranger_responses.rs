//! Responses to callers that are not trusted: nothing of the inside, whatever the service or the next router says.

use crate::support::either::{Ask, Caller, Speaks, WAYS, router};
use crate::support::http2::{H2Service, fields, get, write};
use crate::support::{Service, TestApp, Upstream, Wire, dead_address, one_router, speaking};
use Speaks::{Http1, Http2};
use http::{HeaderMap, Response};

const INSIDE: [&str; 4] = ["l5d-success-class", "l5d-dtab-unbound", "l5d_anything", "l5d-dst-client"];

/// A service that tells of the inside in its head and behind its body.
enum Teller {
    Http1(Service),
    Http2(H2Service),
}

impl Teller {
    async fn start(speaks: Speaks) -> Self {
        match speaks {
            Http1 => {
                let lines = INSIDE.map(|name| format!("{}: secret\r\n", name.to_uppercase())).concat();
                let response = format!(
                    "HTTP/1.1 200 OK\r\n{lines}x-fine: yes\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\
                     {lines}x-end: yes\r\n\r\n"
                );
                Self::Http1(Service::start(async move |_| response.clone()).await)
            }
            Http2 => Self::Http2(
                H2Service::start(async |mut call| {
                    call.read().await;
                    let secrets = fields(&INSIDE.map(|name| (name, "secret")));
                    let with = |name: &'static str| {
                        let mut all: HeaderMap = secrets.clone();
                        all.insert(name, http::HeaderValue::from_static("yes"));
                        all
                    };
                    let mut response = Response::new(());
                    *response.headers_mut() = with("x-fine");
                    let mut out = call.begin(response);
                    write(&mut out, "hi", false).await.expect("the caller reads");
                    out.send_trailers(with("x-end")).expect("the caller reads");
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

#[tokio::test(flavor = "local")]
async fn neither_heads_nor_trailers_tell_of_the_inside() {
    for (caller, service) in WAYS.into_iter().chain([(Http1, Http1)]) {
        let teller = Teller::start(service).await;
        let dtab = format!("/svc/* => {}", teller.path());
        for (trust, is_told) in [("nobody", false), ("everybody", true)] {
            let app = TestApp::start(&speaking(router(service), &dtab, &format!(", trust: {trust}"))).await;
            let mut client = Caller::connect(&app, caller).await;
            let asks = [("te", "trailers"), ("connection", "te")];
            let asked = if caller == Http1 { &asks[..] } else { &asks[..1] };
            let ask = Ask { method: "GET", target: "/", fields: asked, ..Ask::default() };
            let seen = client.ask(&ask).await;
            let told = seen.fields.iter().filter(|(_, value)| value == "secret").count();
            assert_eq!(told, if is_told { INSIDE.len() } else { 0 }, "{caller:?} {service:?} {seen:?}");
            assert_eq!((seen.field("x-fine"), seen.text()), (Some("yes"), "hi"));
            assert_eq!(seen.trailers, [("x-end".to_owned(), "yes".to_owned())], "{caller:?} {service:?}");
            app.stop().await;
        }
    }
}

#[tokio::test(flavor = "local")]
async fn interim_responses_and_upgrades_tell_nothing() {
    let upstream = Upstream::start().await;
    let app = TestApp::start(&one_router(&format!("/svc/* => {}", upstream.path()), ", trust: nobody")).await;
    let mut client = app.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    conn.send(
        "HTTP/1.1 103 Early Hints\r\nL5d-Success-Class: secret\r\nl5d_err: secret\r\nlink: </a>\r\n\r\n",
    )
    .await;
    let interim = client.head().await;
    assert_eq!((interim.status(), interim.field_lines()), (103, vec!["link: </a>"]));
    conn.send(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nl5d-dst-client: secret\r\n\r\n",
    )
    .await;
    let switched = client.head().await;
    assert_eq!(
        (switched.status(), switched.field_names()),
        (101, ["connection", "upgrade", "via"].map(str::to_owned).to_vec())
    );
    drop((client, conn));
    app.stop().await;
}

/// The next router trusts this one and tells it all; the stranger before this one gets none of it.
#[tokio::test(flavor = "local")]
async fn the_errors_of_the_next_router_are_told_to_no_stranger() {
    let (dead, _held) = dead_address();
    let inner_dtab = format!("/svc/dead => /$/inet/127.0.0.1/{}", dead.port());
    for protocol in ["http", "h2"] {
        let inner = TestApp::start(&speaking(protocol, &inner_dtab, "")).await;
        let dtab = format!("/svc/* => /$/inet/127.0.0.1/{}", inner.first_address().port());
        let edge = TestApp::start(&speaking(protocol, &dtab, ", trust: nobody")).await;
        let secrets = ["/svc", "/$", "127.0.0.1", "dtab", "dead"];
        let mut http1 = Wire::connect(edge.first_address()).await;
        let mut http2 = edge.h2_client().await;
        for host in ["dead", "nobody"] {
            let response = http1.get(host, "").await;
            response.assert_status(502);
            assert!(!response.field_names().iter().any(|name| name.starts_with("l5d")), "{response:?}");
            assert!(!secrets.iter().any(|secret| response.text().contains(secret)), "{response:?}");
            let call = get(host, &[("content-type", "application/grpc"), ("te", "trailers")]);
            let answer = http2.ask(call.map(|()| "")).await;
            let all = format!("{:?} {:?} {}", answer.head.headers(), answer.trailers, answer.text());
            assert!(!all.contains("l5d") && !secrets.iter().any(|secret| all.contains(secret)), "{all}");
        }
        edge.stop().await;
        inner.stop().await;
    }
}
