//! Ways into the cluster: where requests are sent, and what they ask for.

use super::cluster::until;
use super::load::Client;
use super::router::ROUTER;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

/// Requests one after the other that find out which pods serve: many enough that each of some pods is chosen.
const ASKED: usize = 100;

/// The host of a request that asks for none.
const HOST: &str = "test";

/// Where requests are sent, and what they ask for.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) router: SocketAddr,
    pub(crate) host: String,
    pub(crate) path: String,
}

impl Way {
    /// The service `web` of a namespace, by the router of the suite.
    pub(crate) fn to(namespace: &str) -> Self {
        Self::service(namespace, "web")
    }

    /// A service of a namespace, by the router of the suite.
    pub(crate) fn service(namespace: &str, name: &str) -> Self {
        Self::of(ROUTER, &format!("/{namespace}/http/{name}"))
    }

    /// A path, by a router.
    pub(crate) fn of(router: SocketAddr, path: &str) -> Self {
        Self { router, host: HOST.into(), path: path.into() }
    }

    /// The same by another router.
    pub(crate) fn by(self, router: SocketAddr) -> Self {
        Self { router, ..self }
    }

    /// The same of another host.
    pub(crate) fn host(self, host: &str) -> Self {
        Self { host: host.into(), ..self }
    }

    /// The status of one request.
    pub(crate) async fn status(&self) -> u16 {
        let mut client = Client::connect(self.router).await;
        client.get_of(&self.host, &self.path).await.expect("the router answers").0
    }

    /// The pods that serve requests now.
    pub(crate) async fn answers(&self) -> BTreeSet<String> {
        let mut client = Client::connect(self.router).await;
        let mut answers = BTreeSet::new();
        for _ in 0..ASKED {
            let (status, text) = client.get_of(&self.host, &self.path).await.expect("the router answers");
            assert_eq!(status, 200, "{self:?}: {text}");
            answers.insert(text);
        }
        answers
    }

    /// Waits until requests are served by so many pods of a deployment, or daemon set, and by nothing else.
    pub(crate) async fn until_pods(&self, of: &str, count: usize, limit: Duration) {
        let prefix = format!("{of}-");
        let wanted = |answers: &BTreeSet<String>| {
            answers.len() == count && answers.iter().all(|text| text.starts_with(&prefix))
        };
        self.until(&format!("{count} pods of {of}"), limit, wanted).await;
    }

    /// Waits until requests fall back.
    pub(crate) async fn until_rest(&self, limit: Duration) {
        self.until_answers(&["rest"], limit).await;
    }

    /// Waits until requests are served by these, and by nothing else.
    pub(crate) async fn until_answers(&self, texts: &[&str], limit: Duration) {
        self.until(&texts.join(", "), limit, |answers| answers.iter().eq(texts)).await;
    }

    async fn until(&self, server: &str, limit: Duration, wanted: impl Fn(&BTreeSet<String>) -> bool) {
        let what = format!("{} {} is served by {server}", self.host, self.path);
        until(&what, limit, async || wanted(&self.answers().await)).await;
    }
}
