//! Which requests are sent to an endpoint once more, and how many of them.

use crate::support::either::Speaks::Http2;
use crate::support::either::played;
use crate::support::http2::{Call, Exchange, Frame, Frames, H2Client, H2Conn, H2Service, get, kind, post};
use crate::support::{TestApp, Upstream, speaking};
use h2::Reason;

/// Has one request answered, so that the connection waits for others.
async fn warm(upstream: &Upstream, client: &mut H2Client) -> H2Conn {
    let (answer, conn) = tokio::join!(client.get("web", &[]), async {
        let mut conn = H2Conn::accept(upstream).await;
        conn.call().await.say("warm").await;
        conn
    });
    answer.assert_status(200);
    conn
}

/// The request is a bad gateway, and no other connection was opened for it.
async fn assert_given_up(exchange: &mut Exchange, upstream: &Upstream) {
    let answer = exchange.answer().await;
    answer.assert_status(502);
    assert_eq!(answer.field("l5d-retryable"), None, "it may have been executed");
    upstream.assert_unreached().await;
}

#[tokio::test(flavor = "local")]
async fn a_request_whose_endpoint_dies_is_repeated_once_and_only_if_it_may_be() {
    let (app, upstream, mut client) = played(Http2).await;
    // A GET on a connection that was idle may have crossed its end. The second time, it is not that.
    let mut conn = warm(&upstream, &mut client).await;
    let mut exchange = client.begin(get("web", &[]), false).await;
    drop(conn.call().await);
    drop(conn);
    let mut conn = H2Conn::accept(&upstream).await;
    drop(conn.call().await);
    drop(conn);
    assert_given_up(&mut exchange, &upstream).await;

    // A POST may have been executed.
    let mut conn = warm(&upstream, &mut client).await;
    let mut exchange = client.begin(post(), false).await;
    drop(conn.call().await);
    drop(conn);
    assert_given_up(&mut exchange, &upstream).await;

    // So may a GET on a connection that has answered since, or that was busy when it began.
    let mut conn = warm(&upstream, &mut client).await;
    let mut first = client.begin(get("web", &[]), false).await;
    let _first = conn.call().await;
    let mut second = client.begin(get("web", &[]), false).await;
    conn.call().await.say("second").await;
    assert_eq!(second.answer().await.text(), "second");
    let mut third = client.begin(get("web", &[]), false).await;
    let _third = conn.call().await;
    drop(conn);
    assert_given_up(&mut first, &upstream).await;
    assert_given_up(&mut third, &upstream).await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_goaway_tells_the_executed_from_the_unseen() {
    let (app, upstream, mut client) = played(Http2).await;
    let mut executed = client.begin(post(), false).await;
    let mut conn = Frames::accept(&upstream, &[]).await;
    conn.next_of(kind::HEADERS, 1).await;
    let mut unseen = client.begin(post(), false).await;
    conn.next_of(kind::HEADERS, 3).await;
    conn.send(Frame::goaway(1, Reason::NO_ERROR.into())).await;
    let mut next = H2Conn::accept(&upstream).await;
    next.call().await.say("elsewhere").await;
    assert_eq!(unseen.answer().await.text(), "elsewhere");
    drop(conn);
    assert_given_up(&mut executed, &upstream).await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn repeats_are_paid_from_a_budget() {
    const REQUESTS: usize = 100;
    // Linkerd's: 10 a second for 10 s, and a fifth of the requests.
    const PAID: usize = 100 + REQUESTS / 5;
    let service = H2Service::start(async |mut call: Call| {
        call.respond.send_reset(Reason::REFUSED_STREAM);
    })
    .await;
    let app = TestApp::start(&speaking("h2", &format!("/svc/* => {}", service.path()), "")).await;
    let mut client = app.h2_client().await;
    for _ in 0..REQUESTS {
        let answer = client.get("web", &[]).await;
        answer.assert_status(502);
        assert_eq!(answer.field("l5d-retryable"), Some("true"), "no endpoint has seen it");
    }
    let sent = service.take_heads().len();
    // Without a budget it would be four times as many. With it, a slow machine earns a few more as time passes.
    assert!((REQUESTS + PAID..REQUESTS + 2 * PAID).contains(&sent), "{sent}");
    app.stop().await;
}
