//! The test kit for HTTP/2 and gRPC by itself: its client talks to its upstream with no router in between.

use crate::support::Upstream;
use crate::support::grpc::{self, GrpcClient, GrpcServer, Method};
use crate::support::http2::{Frame, Frames, H2Client, H2Conn, H2Service, fields, flag, get, kind};
use http::{Request, Response};
use tonic::Code;
use tonic::codegen::tokio_stream::iter;

#[tokio::test(flavor = "local")]
async fn a_client_and_a_service_talk() {
    let service = H2Service::start(async |mut call| {
        let (body, trailers) = call.read().await;
        let mut out = call.begin(Response::new(()));
        super::support::http2::write(&mut out, body, false).await.expect("the caller reads");
        out.send_trailers(trailers).expect("the caller reads");
    })
    .await;
    let mut client = H2Client::connect(service.address()).await;
    let body = vec![b'x'; 1 << 20];
    let answer = client.ask(Request::post("http://a/b").body(body.clone()).expect("it is one")).await;
    assert!(answer.status() == 200 && answer.body == body);
    let mut exchange = client.begin(get("a", &[]), true).await;
    exchange.send("hi", false).await;
    exchange.end_with(fields(&[("x-sum", "1")]));
    let answer = exchange.answer().await;
    assert_eq!((answer.text(), answer.trailer("x-sum")), ("hi", Some("1")));
    assert_eq!((service.connections(), service.take_heads().len()), (1, 2));
}

#[tokio::test(flavor = "local")]
async fn streams_are_played_and_connections_end() {
    let upstream = Upstream::start().await;
    let (mut client, mut conn) =
        tokio::join!(H2Client::connect(upstream.address()), H2Conn::accept(&upstream));
    let mut exchange = client.begin(get("a", &[("x", "1")]), true).await;
    let mut call = conn.call().await;
    assert_eq!((call.authority(), call.field("x")), (Some("a"), Some("1")));
    exchange.out.send_reset(h2::Reason::INADEQUATE_SECURITY);
    assert_eq!(call.given_up().await, h2::Reason::INADEQUATE_SECURITY);
    let mut exchange = client.begin(get("a", &[]), false).await;
    let mut call = conn.call().await;
    call.respond.send_reset(h2::Reason::REFUSED_STREAM);
    assert_eq!(exchange.refused().await, h2::Reason::REFUSED_STREAM);
    conn.go_away_with(h2::Reason::ENHANCE_YOUR_CALM);
    let ended = client.over().await.expect_err("it went away");
    assert_eq!(ended.reason(), Some(h2::Reason::ENHANCE_YOUR_CALM));
}

#[tokio::test(flavor = "local")]
async fn frames_are_understood_by_the_library() {
    let request = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
    let service = H2Service::start(async |mut call| {
        let status: u16 = call.field("x-status").expect("the test says it").parse().expect("a number");
        let (body, _) = call.read().await;
        call.answer(Response::builder().status(status).body(body).expect("it is one")).await;
    })
    .await;
    let mut frames = Frames::client(service.address()).await;
    for (at, status) in [200, 204, 206, 304, 400, 404, 500, 431, 502, 503, 999].into_iter().enumerate() {
        let stream = 2 * at as u32 + 1;
        let (text, long) = (status.to_string(), "x".repeat(at * 100));
        let head = [&request[..], &[("x-status", &text), ("x-long", &long)]].concat();
        frames.send(Frame::head(stream, &head)).await;
        frames.send(Frame::data(stream, b"hi", true)).await;
        assert_eq!(frames.status(stream).await, status);
        let data = frames.next_of(kind::DATA, stream).await;
        assert_eq!((&data.payload[..], data.has(flag::END_STREAM)), (&b"hi"[..], true));
    }
    frames.send(Frame::data(0, b"on no stream", false)).await;
    assert_eq!(frames.last_code().await, Some(h2::Reason::PROTOCOL_ERROR.into()));
}

#[tokio::test(flavor = "local")]
async fn the_library_understands_frames() {
    let upstream = Upstream::start().await;
    let (mut client, mut frames) =
        tokio::join!(H2Client::connect(upstream.address()), Frames::accept(&upstream, &[]));
    let mut exchange = client.begin(get("a", &[]), false).await;
    assert!(frames.next_of(kind::HEADERS, 1).await.has(flag::END_STREAM));
    frames.send(Frame::head(1, &[(":status", "200"), ("x", "1")])).await;
    frames.send(Frame::data(1, b"hi", true)).await;
    let answer = exchange.answer().await;
    assert_eq!((answer.text(), answer.field("x")), ("hi", Some("1")));
    frames.send(Frame::goaway(1, 0)).await;
    client.over().await.expect("it ends in order");
}

#[tokio::test(flavor = "local")]
async fn calls_of_all_kinds() {
    let mut server = GrpcServer::start().await;
    let mut client = GrpcClient::connect(server.address(), "web").await;
    let answer = client.unary(Method::Echo, "hi", &[("x-a", "1")]).await.expect("it answers");
    assert_eq!((&answer.get_ref()[..], answer.metadata().get("x-from").is_some()), (&b"hi"[..], true));
    assert!(server.take_metadata()[0].get("x-a").is_some());
    let mut words = client.server_streaming(Method::Split, "a b c").await.expect("it answers");
    assert_eq!(grpc::rest(&mut words).await.expect("it ends well"), ["a", "b", "c"]);
    assert_eq!(client.join(iter(["a".into(), "b".into()])).await.expect("it answers"), "ab");
    let mut talk = client.talk().await.expect("it answers");
    for word in ["one", "two"] {
        talk.say(word).await;
        assert_eq!(talk.answer().await.expect("it goes on").as_deref(), Some(word));
    }
    let failed = client.unary(Method::Fail, "5 there is none", &[]).await.expect_err("it fails");
    assert_eq!((failed.code(), failed.message()), (Code::NotFound, "there is none"));
    {
        let mut other = client.clone();
        let mut hanging = std::pin::pin!(other.unary(Method::Hang, "", &[]));
        tokio::select! {
            _ = &mut hanging => panic!("it never answers"),
            () = server.hanging(1) => {}
        }
    }
    server.hanging(0).await;
    drop((client, talk, words));
    server.stop().await;
}
