//! Connections that break: requests that are tried again, errors that are passed on, and callers that are told.

use crate::support::{Service, TestApp, Upstream, Wire, ok, routing_to, time_flies};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";

async fn scene() -> (TestApp, Upstream, Wire) {
    let upstream = Upstream::start().await;
    let app = TestApp::start_here(&routing_to(&upstream.path())).await;
    let client = app.client().await;
    (app, upstream, client)
}

/// Has one request answered, so that its connection waits for the next.
async fn warm(upstream: &Upstream, client: &mut Wire) -> Wire {
    client.send(GET).await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    conn.send(ok("warm")).await;
    assert_eq!(client.response().await.text(), "warm");
    conn
}

#[tokio::test(flavor = "local")]
async fn a_connection_that_closed_while_it_waited_is_not_used() {
    for request in [GET, POST] {
        let (app, upstream, mut client) = scene().await;
        drop(warm(&upstream, &mut client).await);
        client.send(request).await;
        let mut conn = upstream.accept().await;
        conn.request().await;
        conn.send(ok("fresh")).await;
        assert_eq!(client.response().await.text(), "fresh");
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_connection_on_which_something_came_unasked_is_not_used() {
    let (app, upstream, mut client) = scene().await;
    let mut conn = warm(&upstream, &mut client).await;
    conn.send(ok("not asked for")).await;
    client.send(GET).await;
    let mut fresh = upstream.accept().await;
    fresh.request().await;
    fresh.send(ok("fresh")).await;
    assert_eq!(client.response().await.text(), "fresh");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_connection_waits_for_a_minute() {
    let (app, upstream, mut client) = scene().await;
    let mut conn = warm(&upstream, &mut client).await;
    let ((), passed) = time_flies(conn.assert_ended()).await;
    assert!((60..70).contains(&passed.as_secs()), "{passed:?}");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn what_stands_behind_a_response_is_not_the_next_one() {
    // In one write, so that it is read together with the response before it.
    for bodiless in [false, true] {
        let (app, upstream, mut client) = scene().await;
        client.send(if bodiless { "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" } else { GET }).await;
        let mut conn = upstream.accept().await;
        conn.request().await;
        let first =
            if bodiless { "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n".to_owned() } else { ok("first") };
        conn.send(first + &ok("smuggled")).await;
        if bodiless {
            client.head().await.assert_status(200);
        } else {
            assert_eq!(client.response().await.text(), "first");
        }
        let mut other = app.client().await;
        other.send(GET).await;
        let mut fresh = upstream.accept().await;
        fresh.request().await;
        fresh.send(ok("fresh")).await;
        assert_eq!(other.response().await.text(), "fresh");
        conn.assert_gone().await;
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_request_that_crossed_a_close_is_sent_again_if_it_may_be() {
    let idempotent = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"].map(|method| (method, true));
    for (method, again) in idempotent.into_iter().chain([("POST", false), ("PATCH", false), ("BREW", false)])
    {
        let (app, upstream, mut client) = scene().await;
        let mut conn = warm(&upstream, &mut client).await;
        client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert_eq!(conn.request().await.method(), method);
        drop(conn);
        if again {
            let mut fresh = upstream.accept().await;
            assert_eq!(fresh.request().await.method(), method);
            fresh.send("HTTP/1.1 204 No Content\r\n\r\n").await;
            client.response().await.assert_status(204);
        } else {
            let response = client.response().await;
            response.assert_status(502);
            assert_eq!(response.field("l5d-retryable"), None, "{method} may have been done");
            upstream.assert_unreached().await;
        }
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_request_on_a_new_connection_is_sent_once() {
    for reset in [false, true] {
        let (app, upstream, mut client) = scene().await;
        client.send(GET).await;
        let mut conn = upstream.accept().await;
        conn.request().await;
        if reset {
            conn.reset();
        } else {
            drop(conn);
        }
        let response = client.response().await;
        response.assert_status(502);
        assert!(response.text().contains("closed the connection before its response"), "{response:?}");
        upstream.assert_unreached().await;
        client.send(GET).await;
        let mut conn = upstream.accept().await;
        conn.request().await;
        conn.send(ok("next")).await;
        assert_eq!(client.response().await.text(), "next");
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn half_a_response_is_not_passed_off_as_a_whole_one() {
    for (framing, half, rest) in [
        ("Content-Length: 10", "hello", ""),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n", ""),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n", "broken\r\n"),
    ] {
        let (app, upstream, mut client) = scene().await;
        client.send(GET).await;
        let mut conn = upstream.accept().await;
        conn.request().await;
        conn.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{half}")).await;
        client.head().await.assert_status(200);
        client.expect(half).await;
        conn.send(rest).await;
        drop(conn);
        client.assert_gone().await;
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn half_a_head_is_no_response() {
    let (app, upstream, mut client) = scene().await;
    client.send(GET).await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    conn.send("HTTP/1.1 200 OK\r\nContent-Le").await;
    drop(conn);
    client.response().await.assert_status(502);
    upstream.assert_unreached().await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_caller_that_breaks_off_cancels_the_upstream() {
    for begun in [false, true] {
        let (app, upstream, mut client) = scene().await;
        client.send(GET).await;
        let mut conn = upstream.accept().await;
        conn.request().await;
        if begun {
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await;
            client.head().await;
            client.expect("hello").await;
        }
        client.reset();
        conn.assert_gone().await;
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_caller_that_leaves_cancels_the_upstream() {
    let (app, upstream, mut client) = scene().await;
    client.send(GET).await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    drop(client);
    let ((), passed) = time_flies(conn.assert_gone()).await;
    assert!(passed.as_secs() < 5, "{passed:?}");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_caller_that_ended_its_side_still_gets_its_answer() {
    let service = Service::saying("hi").await;
    let app = TestApp::start_here(&routing_to(&service.path())).await;
    let mut client = app.client().await;
    client.send([GET, POST].concat()).await;
    client.writer.finish().await;
    for _ in 0..2 {
        assert_eq!(client.response().await.text(), "hi");
    }
    client.assert_ended().await;

    let (upstream_app, upstream, mut client) = scene().await;
    client.send(POST).await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    client.writer.finish().await;
    conn.send(ok("after the end")).await;
    assert_eq!(client.response().await.text(), "after the end");
    client.assert_ended().await;
    upstream_app.stop().await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_caller_that_stops_in_the_middle_of_its_body_takes_the_upstream_with_it() {
    let (app, upstream, mut client) = scene().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello").await;
    let mut conn = upstream.accept().await;
    conn.head().await;
    conn.expect("hello").await;
    client.reset();
    conn.assert_gone().await;
    app.stop().await;
}
