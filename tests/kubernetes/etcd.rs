//! The store behind the API server, and what can be done to it alone.

use super::control_plane::ETCD;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

/// Forgets what every object was before now: watches cannot go on from there any more.
pub(crate) async fn compact() {
    let now = ask("kv/range", json!({ "key": BASE64_STANDARD.encode("/") })).await;
    ask("kv/compaction", json!({ "revision": now["header"]["revision"] })).await;
}

/// Deletes a service, as if that had happened while no watch could be told.
pub(crate) async fn delete_service(namespace: &str, name: &str) {
    let key = BASE64_STANDARD.encode(format!("/registry/services/specs/{namespace}/{name}"));
    let done = ask("kv/deleterange", json!({ "key": key })).await;
    assert_eq!(done["deleted"], "1", "{done}");
}

/// Whether it answers.
pub(crate) async fn answers() -> bool {
    request("kv/range", json!({ "key": BASE64_STANDARD.encode("/") })).await.is_ok()
}

async fn ask(what: &str, body: Value) -> Value {
    request(what, body).await.expect("etcd answers")
}

async fn request(what: &str, body: Value) -> kube::Result<Value> {
    let config = kube::Config::new(ETCD.parse().expect("an address"));
    let client = kube::Client::try_from(config).expect("there is nothing to read");
    let request = http::Request::post(format!("/v3/{what}")).body(body.to_string().into_bytes());
    client.request(request.expect("a request")).await
}
