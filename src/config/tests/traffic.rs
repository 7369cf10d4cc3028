//! `client` and `service`: by prefix, and their errors.

use crate::config::{Config, read};
use crate::name::Path;
use crate::proxy::{Classifier, GrpcClassifier, StatusCodes};
use std::time::Duration;

fn router(protocol: &str, lines: &str) -> Result<Config, String> {
    let text = format!("routers:\n- protocol: {protocol}\n  servers: [{{port: 0}}]\n  {lines}\n");
    read("f", &text).map_err(|errors| errors.to_string())
}

fn path(text: &str) -> Path {
    text.parse().expect("a path")
}

#[test]
fn later_entries_count_over_those_before_key_by_key() {
    let config = router(
        "http",
        "client: {kind: io.l5d.static, configs: [{prefix: /, requestAttemptTimeoutMs: 1, hostConnectionPool: {maxSize: 2, maxWaiters: 3}}, \
         {prefix: \"/#/io.l5d.fs\", hostConnectionPool: {maxSize: 4}}]}",
    );
    let client = config.expect("it is right").routers[0].client.of(&path("/#/io.l5d.fs/web"));
    assert_eq!(client.attempt_timeout, Some(Duration::from_millis(1)));
    assert_eq!((client.pool.max_size, client.pool.max_waiters), (Some(4), Some(3)));
}

#[test]
fn the_compliant_classifier_is_not_the_default_one() {
    let classifier = |kind: &str| {
        let line = format!("service: {{responseClassifier: {{kind: io.l5d.h2.grpc.{kind}}}}}");
        let config = router("h2", &line).expect("it is right");
        config.routers[0].service.of(&path("/svc/web")).settings(false).classifier
    };
    let rule = |is_compliant| {
        let (success, retried) = (StatusCodes::of([0]), StatusCodes::of([14]));
        Classifier::Grpc(GrpcClassifier { success, retried, is_compliant })
    };
    assert_eq!((classifier("default"), classifier("compliant")), (rule(false), rule(true)));
}

#[test]
fn what_cannot_work_fails_the_start() {
    for (protocol, lines, message) in [
        (
            "http",
            "client: {kind: io.l5d.static, configs: [{streamWaitMs: 1}]}",
            "the key `prefix` is missing",
        ),
        (
            "http",
            "client: {kind: io.l5d.static, configs: [{prefix: '/a{'}]}",
            "a brace that does not enclose a name",
        ),
        (
            "http",
            "client: {hostConnectionPool: {minSize: 3, maxSize: 2}}",
            "`minSize` is more than the `maxSize` of 2",
        ),
        ("http", "client: {requeueBudget: {ttlSecs: 61}}", "from 1 to 60"),
        ("http", "service: {retries: {budget: {percentCanRetry: 1001}}}", "a number from 0 to 1000"),
        ("http", "service: {retries: {backoff: {kind: jittered, minMs: 1}}}", "the key `maxMs` is missing"),
        (
            "http",
            "service: {retries: {backoff: {kind: jittered, minMs: 2, maxMs: 1}}}",
            "more than the `maxMs` of 1",
        ),
        ("http", "service: {retries: {backoff: {ms: 1}}}", "the key `kind` is missing"),
        (
            "http",
            "service: {responseClassifier: {kind: io.l5d.h2.retryableRead5XX}}",
            "begin with `io.l5d.http.`",
        ),
        (
            "h2",
            "service: {responseClassifier: {kind: io.l5d.http.retryableRead5XX}}",
            "begin with `io.l5d.h2.`",
        ),
        (
            "h2",
            "service: {responseClassifier: {kind: io.l5d.h2.grpc.retryableStatusCodes}}",
            "`retryableStatusCodes` is missing",
        ),
        (
            "h2",
            "service: {responseClassifier: {kind: io.l5d.h2.grpc.default, successStatusCodes: [17]}}",
            "from 0 to 16",
        ),
        ("http", "service: {retryBufferSize: {requestBytes: 1}}", "unknown key"),
    ] {
        let error = router(protocol, lines).expect_err(lines);
        assert!(error.contains(message), "{lines}: {error}");
    }
}
