//! An endpoint over HTTP/2 that takes no more requests.

use super::{Call, Exchange, H2Client, H2Conn};
use crate::support::Upstream;
use http::Request;

/// How many connections over HTTP/2 a worker has to one endpoint at most.
pub(crate) const MOST_CONNECTIONS: usize = 8;

/// An upstream that takes one request on a connection, with as many connections as a worker has, each of which has one.
pub(crate) struct FullUpstream {
    /// The requests, as their caller sees them.
    pub(crate) exchanges: Vec<Exchange>,
    pub(crate) conns: Vec<H2Conn>,
    /// The requests, as the upstream sees them.
    pub(crate) calls: Vec<Call>,
}

impl FullUpstream {
    /// Fills an upstream by requests of a client, whose bodies follow if they have any.
    pub(crate) async fn fill(
        upstream: &Upstream,
        client: &mut H2Client,
        request: impl Fn() -> Request<()>,
        has_body: bool,
    ) -> Self {
        let mut settings = h2::server::Builder::new();
        settings.max_concurrent_streams(1);
        // The first tells what is allowed.
        let (answer, first) = tokio::join!(client.get("web", &[]), async {
            let mut conn = H2Conn::accept_with(upstream, &settings).await;
            conn.call().await.say("hi").await;
            conn
        });
        answer.assert_status(200);
        let (mut conns, mut calls, mut exchanges) = (vec![first], Vec::new(), Vec::new());
        for at in 0..MOST_CONNECTIONS {
            exchanges.push(client.begin(request(), has_body).await);
            if at > 0 {
                conns.push(H2Conn::accept_with(upstream, &settings).await);
            }
            calls.push(conns[at].call().await);
        }
        Self { exchanges, conns, calls }
    }
}
