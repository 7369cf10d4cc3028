use super::{DelegationParameters, RouterView, WAIT, explain_name};
use crate::interpret::{Answer, AnswerWriter, Namer, NamerHandle, NamerRegistry, Namers, Naming};
use crate::name::Path;
use http_body_util::BodyExt as _;
use hyper::StatusCode;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use tokio::time::Instant;

/// A namer that never answers.
#[derive(Default)]
struct Silent(Mutex<Vec<AnswerWriter>>);

impl Namer for Silent {
    fn lookup(&self, _: &Path) -> Answer {
        let (writer, answer) = Answer::pending();
        self.0.lock().unwrap().push(writer);
        answer
    }
}

fn namer_handle() -> NamerHandle {
    let (namer_registry, namer_handle) = NamerRegistry::new(WAIT);
    tokio::spawn(namer_registry.run());
    namer_handle
}

async fn ask(dtab: &str) -> (StatusCode, String) {
    ask_with(dtab, None).await
}

/// Asks where `/svc` leads under a dtab, and the override of a request.
async fn ask_with(dtab: &str, overriding: Option<String>) -> (StatusCode, String) {
    let silent: Arc<dyn Namer> = Arc::new(Silent::default());
    let namers = Namers::new(vec![(Path::from_elems(["#"]), silent)]);
    let naming = watch::channel(Naming { dtab: dtab.parse().unwrap(), namers }).1;
    let routers = [RouterView {
        label: "http".into(),
        prefix: Path::from_elems(["svc"]),
        naming,
        max_override_lookups: 300,
        sandboxes: watch::channel(Arc::default()).1,
        store: None,
        listeners: Vec::new(),
    }];
    let parameters = DelegationParameters {
        path: Some("/svc".into()),
        dtab: overriding,
        ..DelegationParameters::default()
    };
    let answer = explain_name(parameters, &routers, &namer_handle()).await.unwrap();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_pending_after_the_wait_is_shown_so_far() {
    let began = Instant::now();
    let (status, tree) = ask("/svc => /#/slow").await;
    assert_eq!(began.elapsed(), WAIT);
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let expected = concat!(
        r##"{"type":"delegate","path":"/svc","taken":true,"delegate":{"type":"pending","path":"/#/slow","##,
        r##""dentry":{"prefix":"/svc","dst":"/#/slow"},"entry":0,"taken":true},"##,
        r##""outcome":"pending: a namer has not answered"}"##,
    );
    assert_eq!(tree, expected);
}

#[tokio::test(start_paused = true)]
async fn a_pending_branch_that_does_not_decide_is_no_failure() {
    let began = Instant::now();
    let (status, tree) = ask("/svc => ! | /#/slow").await;
    assert_eq!((began.elapsed(), status), (WAIT, StatusCode::OK));
    assert!(
        tree.contains(r#""type":"pending""#) && tree.contains(r#""outcome":"! (fails on purpose)""#),
        "{tree}"
    );
}

#[tokio::test(start_paused = true)]
async fn no_override_makes_a_large_answer() {
    const MIB: usize = 1 << 20;
    let many = |count: usize, path: &str| vec![path; count].join(" & ");
    let long = "x".repeat(1000);
    for overriding in [
        format!("/svc => {}", many(10_000, "/svc")),
        format!("/svc => {}", many(128_000, "/svc")),
        format!("/svc => {}", many(19_000, "/$/nil")),
        format!("/svc => {}", many(900, &format!("/$/nil/{long}"))),
        // Entries that match nothing, each of which is told.
        (0..900).map(|at| format!("/{at}{long} => /b")).collect::<Vec<_>>().join(";"),
        (0..60_000).map(|at| format!("/{at} => /b")).collect::<Vec<_>>().join(";"),
        format!("/svc => {}", many(20, &format!("/svc/{}", "\\x00".repeat(10_000)))),
    ] {
        assert!(overriding.len() <= MIB);
        let (status, tree) = ask_with("/x => /y", Some(overriding.clone())).await;
        assert_eq!(status, StatusCode::OK);
        assert!(tree.len() <= 4 * MIB, "{} bytes of {}: {}", tree.len(), overriding.len(), &overriding[..60]);
        assert!(tree.contains("\"outcome\":"), "the end is there");
    }
}
