//! gRPC through the router, with tonic on both ends.

use crate::support::either::Speaks::{Http1, Http2};
use crate::support::either::played;
use crate::support::grpc::{self, GrpcClient, GrpcServer, Method, said};
use crate::support::http2::{self, H2Conn, H2Service};
use crate::support::{Names, TestApp, dead_address, speaking, time_flies, until};
use h2::Reason;
use http::{Request, Response};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tonic::Code;
use tonic::codegen::tokio_stream::{self, StreamExt as _};

/// A server, an app whose every call goes there, and a client of the app.
async fn scene() -> (GrpcServer, TestApp, GrpcClient) {
    let server = GrpcServer::start().await;
    let app = TestApp::start_here(&speaking("h2", &format!("/svc/* => {}", server.path()), "")).await;
    let client = GrpcClient::connect(app.first_address(), "web").await;
    (server, app, client)
}

#[tokio::test(flavor = "local")]
async fn calls_of_all_four_kinds_pass() {
    let (server, app, mut client) = scene().await;
    let metadata = [("x-a", "1"), ("x-a", "2"), ("authorization", "Bearer x")];
    let answer = client.unary(Method::Echo, "hi", &metadata).await.expect("it answers");
    assert_eq!((&answer.get_ref()[..], said(answer.metadata(), "x-from")), (&b"hi"[..], Some("echo")));
    let seen = server.take_metadata().pop().expect("it was called");
    assert_eq!(seen.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(said(&seen, "authorization"), Some("Bearer x"));
    assert_eq!(said(&seen, "l5d-dst-service"), Some("/svc/web"));

    let mut words = client.server_streaming(Method::Split, "a b c").await.expect("it answers");
    assert_eq!(grpc::rest(&mut words).await.expect("it ends well"), ["a", "b", "c"]);
    let messages = tokio_stream::iter(["a", "b", "", "c"]).map(Into::into);
    assert_eq!(client.join(messages).await.expect("it answers"), "abc");
    let mut talk = client.talk().await.expect("it answers");
    for word in ["one", "", "two"] {
        talk.say(word).await;
        assert_eq!(
            talk.answer().await.expect("it goes on").as_deref(),
            Some(word),
            "before the call is over"
        );
    }
    let grpc::Talk { say, mut answers } = talk;
    drop(say);
    assert_eq!(grpc::next(&mut answers).await.expect("it ends well"), None);
    assert_eq!((app.total("connections", &[]), app.total("success", &[])), (1, 4));
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn failures_pass_as_they_are() {
    let (_server, app, mut client) = scene().await;
    for (message, code, reason) in [
        ("5 there is none", Code::NotFound, "there is none"),
        ("13 50 % of it\nis \u{e4}\u{2603}", Code::Internal, "50 % of it\nis \u{e4}\u{2603}"),
        ("16 ", Code::Unauthenticated, ""),
    ] {
        let status = client.unary(Method::Fail, message, &[]).await.expect_err("it fails");
        assert_eq!((status.code(), status.message()), (code, reason));
        assert_eq!(said(status.metadata(), "x-why"), Some("asked for"), "trailers pass whole");
    }
    let mut words = client.server_streaming(Method::SplitAndFail, "a b").await.expect("it begins well");
    assert_eq!(grpc::next(&mut words).await.expect("it goes on").as_deref(), Some("a"));
    assert_eq!(grpc::next(&mut words).await.expect("it goes on").as_deref(), Some("b"));
    let status = grpc::next(&mut words).await.expect_err("it fails");
    assert_eq!((status.code(), status.message()), (Code::Aborted, "after the words"));
    assert_eq!(app.total("upstream_faults", &[]), 0, "a failed call is an answer");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn large_messages_pass() {
    let (_server, app, mut client) = scene().await;
    let message = "x".repeat(1 << 20);
    let answer = client.unary(Method::Echo, &message, &[]).await.expect("it answers");
    assert!(answer.get_ref() == message.as_bytes());
    let piece: bytes::Bytes = vec![b'y'; 64 << 10].into();
    let joined = client.join(tokio_stream::iter(vec![piece; 16])).await.expect("it answers");
    assert_eq!(joined.len(), 1 << 20);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn many_calls_share_one_connection() {
    let (_server, app, client) = scene().await;
    let mut talks = Vec::new();
    for at in 0..100 {
        talks.push((at, client.clone().talk().await.expect("it answers")));
    }
    for round in 0..3 {
        for (at, talk) in talks.iter().rev() {
            talk.say(&format!("{round} {at}")).await;
        }
        for (at, talk) in &mut talks {
            assert_eq!(talk.answer().await.expect("it goes on"), Some(format!("{round} {at}")));
        }
    }
    assert_eq!((app.total("connections", &[]), app.total("requests", &[])), (1, 100));
    drop(talks);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_call_that_is_given_up_is_given_up_behind_the_router() {
    let (server, app, client) = scene().await;
    let mut calls: Vec<_> = (0..3)
        .map(|_| {
            let mut client = client.clone();
            tokio::task::spawn_local(async move { client.unary(Method::Hang, "", &[]).await })
        })
        .collect();
    server.hanging(3).await;
    calls.pop().expect("there are three").abort();
    server.hanging(2).await;
    drop(client);
    calls.iter().for_each(tokio::task::JoinHandle::abort);
    server.hanging(0).await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_call_takes_no_longer_than_it_may() {
    let server = GrpcServer::start().await;
    let app =
        TestApp::start_here(&speaking("h2", &format!("/svc/* => {}", server.path()), ", timeoutMs: 5000"))
            .await;
    let mut client = GrpcClient::connect(app.first_address(), "web").await;
    let (answer, passed) = time_flies(client.unary(Method::Hang, "", &[])).await;
    let status = answer.expect_err("it is too late");
    // The server is told the time as well, and gives up at the same moment: with another code.
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status}");
    // The server's clock is that of the system.
    assert!((4_900..10_000).contains(&passed.as_millis()), "{passed:?}");
    server.hanging(0).await;

    let past = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later") - Duration::from_secs(10);
    let deadline = format!("{} {}", past.as_nanos(), past.as_nanos());
    let answer = client.unary(Method::Echo, "", &[("l5d-ctx-deadline", &deadline)]).await;
    assert_eq!(answer.expect_err("it is too late").code(), Code::DeadlineExceeded);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn what_is_not_carried_is_told_as_a_status() {
    let (dead, _held) = dead_address();
    let dtab = format!("/svc/dead => /$/inet/{}/{}; /svc/loop => /svc/loop", dead.ip(), dead.port());
    for (server, trusted) in [("", true), (", trust: nobody", false)] {
        for protocol in ["http", "h2"] {
            let app = TestApp::start_here(&speaking(protocol, &dtab, server)).await;
            let typo = ("l5d-dtab", "/svc/web = /srv/w\u{e4}");
            for (host, metadata, code, reason) in [
                ("nowhere", &[][..], Code::Unavailable, "/svc/nowhere"),
                ("dead", &[], Code::Unavailable, "Unable to establish connection to 127.0.0.1"),
                ("loop", &[], Code::Internal, "100"),
                ("nowhere", &[typo], Code::InvalidArgument, "/svc/web = /srv/w"),
            ] {
                if !trusted && !metadata.is_empty() {
                    continue;
                }
                let mut client = GrpcClient::connect(app.first_address(), host).await;
                let status = client.unary(Method::Echo, "hi", metadata).await.expect_err("it is not carried");
                assert_eq!(status.code(), code, "{status}");
                assert_eq!(status.message().contains(reason), trusted, "{}", status.message());
            }
            app.stop().await;
        }
    }
}

#[tokio::test(flavor = "local")]
async fn a_status_made_here_is_trailers_only() {
    let app = TestApp::start_here(&speaking("h2", "", "")).await;
    let mut client = app.h2_client().await;
    for (kind, grpc) in [
        ("application/grpc", true),
        ("application/grpc+proto", true),
        ("application/grpc;charset=utf-8", true),
        ("application/grpc-web", false),
        ("text/plain", false),
    ] {
        let request =
            Request::post("http://nowhere/a.B/C").header("content-type", kind).header("te", "trailers");
        let mut exchange = client.begin(request.body(()).expect("it is one"), true).await;
        // The head alone decides; what follows of the request is not waited for.
        let head = exchange.head().await.expect("an answer comes");
        assert_eq!(head.status(), if grpc { 200 } else { 502 }, "{kind}");
        assert_eq!(head.body().is_end_stream(), grpc, "{kind}");
        let fields = head.headers();
        if grpc {
            assert!(
                fields["content-type"] == "application/grpc" && fields["grpc-status"] == "14",
                "{fields:?}"
            );
            let message = fields["grpc-message"].to_str().expect("it is ASCII");
            assert!(message.contains("%0A") && message.contains("/svc/nowhere"), "{message}");
            assert!(fields.contains_key("l5d-err"), "{fields:?}");
        } else {
            assert!(!fields.contains_key("grpc-status"), "{fields:?}");
        }
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn an_override_leads_a_call_over_two_hops() {
    let (base, staged) = (GrpcServer::start().await, GrpcServer::start().await);
    let dtab = format!("/srv/web => {}; /srv/web-v2 => {}; /svc => /srv", base.path(), staged.path());
    let inner = TestApp::start_here(&speaking("h2", &dtab, "")).await;
    let address = inner.first_address();
    let way_in = format!("/svc/* => /$/inet/{}/{}", address.ip(), address.port());
    let outer = TestApp::start_here(&speaking("h2", &way_in, "")).await;
    let mut client = GrpcClient::connect(outer.first_address(), "web").await;
    let over = [("l5d-dtab", "/srv/web => /srv/web-v2")];
    for (metadata, to, other) in [(&[][..], &base, &staged), (&over, &staged, &base)] {
        client.unary(Method::Echo, "hi", metadata).await.expect("it answers");
        assert_eq!((to.take_metadata().len(), other.take_metadata().len()), (1, 0));
    }
    let wrong = [("l5d-dtab", "/srv/web => /srv/nothing | !")];
    let status = client.unary(Method::Echo, "hi", &wrong).await.expect_err("it leads nowhere");
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("/srv/nothing"), "{status}");
    outer.stop().await;
    inner.stop().await;
}

#[tokio::test(flavor = "local")]
async fn calls_are_named_by_their_path() {
    let server = GrpcServer::start().await;
    let yaml = speaking("h2", &format!("/svc/signpost.test.Echo => {}", server.path()), "")
        + "  identifier: {kind: io.l5d.header.path, segments: 1}\n";
    let app = TestApp::start_here(&yaml).await;
    let mut client = GrpcClient::connect(app.first_address(), "web").await;
    client.unary(Method::Echo, "hi", &[]).await.expect("it answers");
    assert_eq!(said(&server.take_metadata()[0], "l5d-dst-service"), Some("/svc/signpost.test.Echo"));
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_drain_finishes_the_calls_under_way() {
    let (_server, app, mut client) = scene().await;
    let mut talk = client.talk().await.expect("it answers");
    talk.say("before").await;
    assert_eq!(talk.answer().await.expect("it goes on").as_deref(), Some("before"));
    let talking = async {
        for word in ["one", "two"] {
            talk.say(word).await;
            assert_eq!(talk.answer().await.expect("it goes on").as_deref(), Some(word));
        }
        let grpc::Talk { say, mut answers } = talk;
        drop(say);
        assert_eq!(grpc::next(&mut answers).await.expect("it ends well"), None);
    };
    tokio::join!(app.stop(), talking);
    let refused = client.unary(Method::Echo, "hi", &[]).await.expect_err("it is stopped");
    assert_eq!(refused.code(), Code::Unavailable);
}

#[tokio::test(flavor = "local")]
async fn a_server_that_drains_loses_no_call() {
    let (mut leaves, stays) = (GrpcServer::start().await, GrpcServer::start().await);
    let names = Names::new();
    names.write("web", &[leaves.address()]);
    let app = TestApp::start_here(&(speaking("h2", "/svc => /#/io.l5d.fs", "") + &names.namer())).await;
    let mut client = GrpcClient::connect(app.first_address(), "web").await;
    let mut talk = client.talk().await.expect("it answers");
    names.write("web", &[leaves.address(), stays.address()]);
    let all_well = async |client: &mut GrpcClient| {
        client.unary(Method::Echo, "hi", &[]).await.expect("no call is lost");
    };
    until("the other is known", async || {
        all_well(&mut client).await;
        !stays.take_metadata().is_empty()
    })
    .await;
    let draining = leaves.stop();
    let calling = async {
        for at in 0..50 {
            all_well(&mut client).await;
            talk.say(&at.to_string()).await;
            assert_eq!(talk.answer().await.expect("it goes on"), Some(at.to_string()));
        }
        drop(talk);
    };
    tokio::join!(draining, calling);
    stays.take_metadata();
    for _ in 0..10 {
        all_well(&mut client).await;
    }
    assert_eq!(stays.take_metadata().len(), 10);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn an_answer_that_is_no_grpc_is_left_as_it_is() {
    let service = H2Service::saying("not gRPC").await;
    let app = TestApp::start_here(&speaking("h2", &format!("/svc/* => {}", service.path()), "")).await;
    let mut client = app.h2_client().await;
    let request = Request::post("http://web/a.B/C").header("content-type", "application/grpc");
    let answer = client.ask(request.body("").expect("it is one")).await;
    assert_eq!((answer.status(), answer.text(), answer.field("grpc-status")), (200, "not gRPC", None));
    app.stop().await;
}

/// A call over HTTP/2 with this content type.
fn call(content_type: &'static str) -> Request<()> {
    Request::post("http://web/a/b").header("content-type", content_type).body(()).expect("a request")
}

#[tokio::test(flavor = "local")]
async fn a_call_whose_endpoint_is_gone_ends_with_unavailable() {
    for endpoint in [Http1, Http2] {
        let (app, upstream, mut client) = played(endpoint).await;
        let mut exchange = client.begin(call("application/grpc+proto"), false).await;
        let mut body;
        if endpoint == Http1 {
            let mut conn = upstream.accept().await;
            conn.request().await;
            conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n").await;
            body = exchange.head().await.expect("a head comes").into_body();
            assert_eq!(http2::piece(&mut body).await.expect("it goes on").expect("it is whole"), "hi");
            drop(conn);
        } else {
            let mut conn = H2Conn::accept(&upstream).await;
            let mut out = conn.call().await.begin(Response::new(()));
            http2::write(&mut out, "hi", false).await.expect("the caller reads");
            body = exchange.head().await.expect("a head comes").into_body();
            assert_eq!(http2::piece(&mut body).await.expect("it goes on").expect("it is whole"), "hi");
            drop(conn);
        }
        let (rest, trailers) = http2::read(&mut body).await.expect("the stream ends in order");
        assert!(rest.is_empty());
        assert_eq!(trailers["grpc-status"], "14", "{endpoint:?}");
        assert!(!trailers["grpc-message"].is_empty());
        assert_eq!((app.total("upstream_faults", &[]), app.total("success", &[])), (1, 0));
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_reset_of_a_call_passes_with_its_code() {
    let (app, upstream, mut client) = played(Http2).await;
    let mut exchange = client.begin(call("application/grpc"), false).await;
    let mut conn = H2Conn::accept(&upstream).await;
    let mut out = conn.call().await.begin(Response::new(()));
    http2::write(&mut out, "hi", false).await.expect("the caller reads");
    let mut body = exchange.head().await.expect("a head comes").into_body();
    assert_eq!(http2::piece(&mut body).await.expect("it goes on").expect("it is whole"), "hi");
    out.send_reset(Reason::ENHANCE_YOUR_CALM);
    let error = http2::read(&mut body).await.expect_err("it is reset");
    assert_eq!(error.reason(), Some(Reason::ENHANCE_YOUR_CALM));
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_content_type_is_grpcs_in_any_case() {
    let app = TestApp::start_here(&speaking("h2", "", "")).await;
    let mut client = app.h2_client().await;
    for (content_type, is_grpc) in [
        ("application/grpc", true),
        ("Application/GRPC", true),
        ("APPLICATION/grpc+Proto", true),
        ("application/grpc; x=y", true),
        ("application/grpc ;x=y", true),
        ("application/grpc-web", false),
        ("application/grp", false),
    ] {
        let answer = client.ask(call(content_type).map(|()| "")).await;
        let expected = if is_grpc { (200, Some("14")) } else { (502, None) };
        assert_eq!((answer.status(), answer.field("grpc-status")), expected, "{content_type}");
    }
    app.stop().await;
}
