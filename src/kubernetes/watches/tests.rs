use super::*;
use crate::kubernetes::scope::MAX_WATCHES;
use crate::kubernetes::watched_object::sample::Values;
use crate::telemetry::Registry;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use kube::client::Body;
use serde_json::json;
use std::num::NonZeroU32;
use tokio::time::{Instant, sleep, timeout};

/// An API server without sockets, which refuses some namespaces and lists one object in each of the others.
#[derive(Clone, Default)]
struct FakeApi(Arc<Mutex<FakeState>>);

#[derive(Default)]
struct FakeState {
    /// The prefix of the namespaces that are refused, the status, and the pause that it asks for.
    refuses: Option<(&'static str, u16, Option<u64>)>,
    /// The namespaces and the times of the requests that began a list.
    asked: Vec<(String, Instant)>,
}

type FakeBody = UnsyncBoxBody<Bytes, std::io::Error>;

impl FakeApi {
    fn refuse(&self, prefix: &'static str, status: u16, pause: Option<u64>) {
        self.0.lock().unwrap().refuses = Some((prefix, status, pause));
    }

    fn refuse_nothing(&self) {
        self.0.lock().unwrap().refuses = None;
    }

    /// Takes the namespaces that lists were begun of, with their times.
    fn asked(&self) -> Vec<(String, Instant)> {
        std::mem::take(&mut self.0.lock().unwrap().asked)
    }

    /// The watches of ConfigMaps that ask it, with a budget that no test reaches.
    fn watches(&self) -> Watches<Values> {
        self.watches_at(100_000)
    }

    fn watches_at(&self, attempts: u32) -> Watches<Values> {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let response = api.respond(request.uri());
            async move { Ok::<_, Infallible>(response) }
        });
        let kube = kube::Client::new(service, "default");
        let client = ApiClient::of_test(kube, NonZeroU32::new(attempts).unwrap());
        let metrics = Metrics::new(&Registry::default(), "configmaps");
        let group = |meta: &ObjectMeta| meta.name.clone();
        Watches::new(client, Scope::Namespace, Selector::All, group, metrics, &Handle::current())
    }

    fn respond(&self, uri: &http::Uri) -> Response<FakeBody> {
        let namespace = uri.path().split('/').nth(4).unwrap_or_default().to_owned();
        let parameters = uri.query().unwrap_or_default();
        let lists = parameters.contains("sendInitialEvents=true");
        let life = parameters.split('&').find_map(|part| part.strip_prefix("timeoutSeconds=")?.parse().ok());
        let mut state = self.0.lock().unwrap();
        state.asked.push((namespace.clone(), Instant::now()));
        if let Some((_, code, pause)) = state.refuses.filter(|(prefix, ..)| namespace.starts_with(prefix)) {
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
                "reason": "Refused", "message": "by the test",
                "details": { "retryAfterSeconds": pause.unwrap_or(0) },
            });
            let body = Full::from(status.to_string()).map_err(|never| match never {}).boxed_unsync();
            return Response::builder().status(code).body(body).unwrap();
        }
        // A streamed list with one object, and then a watch that ends after its time.
        let object = json!({
            "kind": "ConfigMap", "apiVersion": "v1", "data": { "a": namespace },
            "metadata": { "name": "one", "namespace": namespace, "resourceVersion": "1" },
        });
        let end = json!({
            "kind": "ConfigMap", "apiVersion": "v1",
            "metadata": { "resourceVersion": "1", "annotations": { "k8s.io/initial-events-end": "true" } },
        });
        let mut events = vec![("ADDED", object), ("BOOKMARK", end)];
        if namespace.starts_with("empty") {
            events.remove(0);
        }
        if !lists {
            events.clear();
        }
        let frames = events.into_iter().map(|(kind, object)| {
            let line = format!("{}\n", json!({ "type": kind, "object": object }));
            Ok::<_, std::io::Error>(hyper::body::Frame::data(Bytes::from(line)))
        });
        let open = stream::once(sleep(Duration::from_secs(life.unwrap_or(90))))
            .filter_map(|()| std::future::ready(None));
        let stream = stream::iter(frames.collect::<Vec<_>>()).chain(open);
        Response::new(StreamBody::new(stream).boxed_unsync())
    }
}

/// A name in use: its state, and the demand for it.
struct Name(watch::Receiver<GroupState<Values>>, Demand);

impl Name {
    fn of(watches: &Watches<Values>, namespace: &str) -> Self {
        let (known, demand) = watches.watch_wanted_group(&namespace.into(), &"one".into());
        Self(known, demand)
    }

    /// Its state as text.
    fn show(&self) -> String {
        match &*self.0.borrow() {
            GroupState::Pending => "pending".to_owned(),
            GroupState::Failed(reason) => format!("failed: {reason}"),
            GroupState::Ready(view) if view.stale => format!("stale {}", view.objects.len()),
            GroupState::Ready(view) => format!("{}", view.objects.len()),
        }
    }

    /// Waits until it has this state.
    async fn becomes(&mut self, expected: &str) {
        while self.show() != expected {
            let changed = timeout(Duration::from_secs(300), self.0.changed()).await;
            assert!(changed.is_ok(), "{} is not {expected}", self.show());
        }
    }
}

fn names(watches: &Watches<Values>, kind: &str, count: usize) -> Vec<Name> {
    (0..count).map(|at| Name::of(watches, &format!("{kind}-{at}"))).collect()
}

/// How many watches run.
fn running(watches: &Watches<Values>) -> usize {
    let room = watches.0.lock();
    let count = room.iter().filter(|watched| watched.lock().run.is_some()).count();
    assert!(count <= MAX_WATCHES);
    count
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_asked_for_first_after_500_bogus_ones_is_watched() {
    let api = FakeApi::default();
    api.refuse("bogus", 403, None);
    let watches = api.watches();
    let bogus = names(&watches, "bogus", MAX_WATCHES);
    sleep(10 * SECOND).await;
    assert!(bogus.iter().all(|name| name.show().contains("403")), "{}", bogus[0].show());

    let mut healthy = Name::of(&watches, "healthy");
    healthy.becomes("1").await;
    assert_eq!(running(&watches), MAX_WATCHES);
    let displaced = bogus.iter().filter(|name| name.show().contains("more than 500 namespaces")).count();
    assert_eq!(displaced, 1, "{}", bogus[0].show());
    assert!(watches.state().values().any(|state| state["state"] == "displaced"));

    // Each is asked for again, once in 10 s, for ten minutes; the healthy one is not, and stays.
    for at in (0..60 * 500).step_by(50) {
        for name in 0..50 {
            bogus[(at + name) % bogus.len()].1.pass_on();
        }
        sleep(SECOND).await;
        assert_eq!(healthy.show(), "1", "after {at}");
    }
    let mut late = Name::of(&watches, "late");
    late.becomes("1").await;
    assert_eq!(running(&watches), MAX_WATCHES);
}

#[tokio::test(start_paused = true)]
async fn namespaces_in_use_stay_and_the_refused_one_is_watched_when_there_is_room() {
    let api = FakeApi::default();
    let watches = api.watches();
    let mut used = names(&watches, "used", MAX_WATCHES);
    for name in &mut used {
        name.becomes("1").await;
    }
    let mut late = Name::of(&watches, "late");
    assert!(late.show().contains("more than 500 namespaces"), "{}", late.show());
    for _ in 0..60 {
        sleep(5 * SECOND).await;
        used.iter().for_each(|name| name.1.pass_on());
        late.1.pass_on();
        assert!(late.show().starts_with("failed"), "{}", late.show());
    }
    assert!(used.iter().all(|name| name.show() == "1"));
    used.truncate(MAX_WATCHES - 1);
    let kept = async {
        loop {
            used.iter().for_each(|name| name.1.pass_on());
            sleep(5 * SECOND).await;
        }
    };
    tokio::select! {
        () = late.becomes("1") => {}
        () = kept => {}
    }

    // When no request asks for the names of one any more, it gives way.
    let mut later = Name::of(&watches, "later");
    assert!(later.show().starts_with("failed"));
    for _ in 0..60 {
        sleep(5 * SECOND).await;
        used[1..].iter().for_each(|name| name.1.pass_on());
        late.1.pass_on();
        later.1.pass_on();
    }
    later.becomes("1").await;
    assert_eq!((used[0].show().as_str(), late.show().as_str()), ("stale 1", "1"));
    // It comes back in its turn.
    late.1.pass_on();
    drop(later);
    used[0].becomes("1").await;
}

#[tokio::test(start_paused = true)]
async fn namespaces_without_objects_go_first() {
    let api = FakeApi::default();
    let watches = api.watches();
    let mut filled = names(&watches, "filled", MAX_WATCHES - 2);
    sleep(60 * SECOND).await;
    let mut empty = names(&watches, "empty", 2);
    for name in filled.iter_mut().chain([]) {
        name.becomes("1").await;
    }
    for name in &mut empty {
        name.becomes("0").await;
    }
    sleep(600 * SECOND).await;
    empty[0].1.pass_on();
    let mut new = Name::of(&watches, "new");
    new.becomes("1").await;
    assert_eq!((empty[0].show().as_str(), empty[1].show().as_str()), ("0", "stale 0"));
    assert!(filled.iter().all(|name| name.show() == "1"));
    // One of which no worker holds a name goes before all others.
    drop(filled.pop());
    let mut newer = Name::of(&watches, "newer");
    newer.becomes("1").await;
    assert_eq!(empty[0].show(), "0");
}

#[tokio::test(start_paused = true)]
async fn namespaces_that_nobody_holds_are_forgotten() {
    let api = FakeApi::default();
    api.refuse("bogus", 403, None);
    let watches = api.watches();
    for at in 0..10_000 {
        drop(Name::of(&watches, &format!("bogus-{at}")));
    }
    assert!(watches.0.lock().iter().count() <= MAX_WATCHES + 1025, "{}", watches.0.lock().iter().count());
    sleep(IDLE + SWEEP + SECOND).await;
    assert_eq!(running(&watches), 0);
}

/// The pauses between the attempts that were made.
fn pauses(asked: &[(String, Instant)]) -> Vec<Duration> {
    asked.windows(2).map(|pair| pair[1].1 - pair[0].1).collect()
}

#[tokio::test(start_paused = true)]
async fn a_lasting_refusal_is_tried_again_seldom_until_a_request_asks() {
    for code in [401, 403, 404] {
        let api = FakeApi::default();
        api.refuse("", code, None);
        let watches = api.watches();
        let mut name = Name::of(&watches, "bogus");
        sleep(600 * SECOND).await;
        let unasked = pauses(&api.asked());
        let last = &unasked[unasked.len() - 5..];
        assert!(last.iter().all(|pause| (30 * SECOND..=60 * SECOND).contains(pause)), "{code}: {last:?}");

        // Some time after an attempt a request brings about one at once; the next follow after 3 s at most, while
        // requests come.
        while api.asked().is_empty() {
            sleep(SECOND).await;
        }
        sleep(5 * SECOND).await;
        name.1.pass_on();
        sleep(Duration::from_millis(10)).await;
        assert_eq!(api.asked().len(), 1, "{code}");
        for _ in 0..60 {
            name.1.pass_on();
            sleep(SECOND).await;
        }
        let asked = pauses(&api.asked());
        assert!(asked.len() >= 18, "{code}: {asked:?}");
        assert!(asked.iter().all(|pause| (SECOND..=4 * SECOND).contains(pause)), "{code}: {asked:?}");
        api.refuse_nothing();
        name.1.pass_on();
        timeout(4 * SECOND, name.becomes("1")).await.expect("rights that come back are noticed");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_configuration_names_is_tried_as_often_as_if_requests_asked() {
    let api = FakeApi::default();
    api.refuse("", 403, None);
    let watches = api.watches();
    let _known = watches.watch_group(&"routing".into(), &"one".into());
    sleep(600 * SECOND).await;
    let pauses = pauses(&api.asked());
    assert!(pauses.iter().all(|pause| *pause <= 3 * SECOND), "{pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn all_watches_share_a_budget_and_a_new_namespace_goes_first() {
    let api = FakeApi::default();
    api.refuse("bogus", 403, None);
    let watches = api.watches_at(20);
    let bogus = names(&watches, "bogus", MAX_WATCHES - 1);
    let ask = async || {
        bogus.iter().for_each(|name| name.1.pass_on());
        sleep(SECOND).await;
    };
    for _ in 0..60 {
        ask().await;
    }
    api.asked();
    for _ in 0..60 {
        ask().await;
    }
    let asked = api.asked().len();
    assert!((1100..=1300).contains(&asked), "{asked} in a minute");
    for at in 0..5 {
        let mut healthy = Name::of(&watches, &format!("healthy-{at}"));
        let began = Instant::now();
        healthy.becomes("1").await;
        assert!(began.elapsed() <= Duration::from_millis(60), "{:?}", began.elapsed());
    }
}

/// Asks for a healthy namespace once a second while so many bogus ones that never repeat are asked for in each second.
/// Returns the seconds after which it was served.
async fn served_beside_new_ones(each_second: usize) -> f64 {
    let api = FakeApi::default();
    api.refuse("bogus", 403, None);
    let watches = api.watches_at(20);
    let mut held = Vec::new();
    let mut next_second = async || {
        for _ in 0..each_second {
            held.push(Name::of(&watches, &format!("bogus-{}", held.len())));
            sleep(SECOND / each_second as u32).await;
        }
    };
    for _ in 0..20 {
        next_second().await;
    }
    let mut healthy = Name::of(&watches, "healthy");
    let began = Instant::now();
    let asked = async {
        loop {
            next_second().await;
            healthy.1.pass_on();
        }
    };
    let mut known = healthy.0.clone();
    let served = known.wait_for(|state| matches!(state, GroupState::Ready(_)));
    tokio::select! {
        served = served => { served.unwrap(); }
        never = asked => never,
    }
    healthy.becomes("1").await;
    began.elapsed().as_secs_f64()
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_asked_for_once_a_second_is_served_beside_any_number_of_new_ones() {
    for each_second in [100, 500] {
        let after = served_beside_new_ones(each_second).await;
        assert!(after < 2.5, "{after} s beside {each_second} a second");
    }
}

#[tokio::test(start_paused = true)]
async fn a_namespace_without_objects_keeps_its_place_beside_those_that_are_wanted_once() {
    let api = FakeApi::default();
    let watches = api.watches();
    let mut wanted = Name::of(&watches, "empty-wanted");
    sleep(SECOND).await;
    wanted.1.pass_on();
    wanted.becomes("0").await;
    let new = names(&watches, "empty", 3 * MAX_WATCHES);
    assert_eq!(wanted.show(), "0");
    assert_eq!(running(&watches), MAX_WATCHES);
    // Nothing asks for it any more.
    sleep(120 * SECOND).await;
    new.iter().for_each(|name| name.1.pass_on());
    assert_eq!(wanted.show(), "stale 0");
}

#[tokio::test(start_paused = true)]
async fn a_start_with_many_namespaces_is_not_slowed() {
    let api = FakeApi::default();
    let watches = api.watches_at(20);
    let began = Instant::now();
    for name in &mut names(&watches, "filled", MAX_WATCHES) {
        name.becomes("1").await;
    }
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_for_a_pause_gets_it() {
    for code in [429, 503] {
        let api = FakeApi::default();
        api.refuse("", code, Some(40));
        let watches = api.watches();
        let name = Name::of(&watches, "busy");
        for _ in 0..300 {
            name.1.pass_on();
            sleep(SECOND).await;
        }
        let pauses = pauses(&api.asked());
        assert!(pauses.len() >= 6, "{pauses:?}");
        assert!(pauses.iter().all(|pause| *pause >= 40 * SECOND), "{code}: {pauses:?}");
    }
}

/// The log lines that this thread writes from now on.
#[derive(Clone, Default)]
struct LogLines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for LogLines {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl LogLines {
    fn begin() -> (Self, tracing::subscriber::DefaultGuard) {
        let lines = Self::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
        (lines, tracing::subscriber::set_default(subscriber.finish()))
    }

    /// Takes the lines that have these words.
    fn with(&self, words: &str) -> Vec<String> {
        let text = String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap();
        text.lines().filter(|line| line.contains(words)).map(ToOwned::to_owned).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn the_log_says_which_namespace_gives_way_and_which_waits() {
    let (log, _guard) = LogLines::begin();
    let api = FakeApi::default();
    let watches = api.watches();
    let mut used = names(&watches, "used", MAX_WATCHES - 1);
    used.extend(names(&watches, "empty", 1));
    sleep(SECOND).await;
    assert!(log.with("namespaces are watched already").is_empty());

    used.push(Name::of(&watches, "new"));
    let gives_way = "configmaps in new: takes the place of configmaps in empty-0, which was wanted less and has none: \
                     500 namespaces are watched already";
    let said = log.with("namespaces are watched already");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("WARN") && said[0].contains(gives_way), "{said:?}");

    sleep(60 * SECOND).await;
    used.push(Name::of(&watches, "late"));
    used.push(Name::of(&watches, "later"));
    let said = log.with("namespaces are watched already");
    assert_eq!(said.len(), 1, "once a minute: {said:?}");
    assert!(
        said[0].contains("configmaps in late: waits until one of them is not wanted any more"),
        "{said:?}"
    );

    sleep(60 * SECOND).await;
    let running = used[..MAX_WATCHES - 1].iter().chain([&used[MAX_WATCHES]]);
    running.for_each(|name| name.1.pass_on());
    used.push(Name::of(&watches, "last"));
    let said = log.with("namespaces are watched already");
    assert!(said[0].contains("configmaps in last: waits"), "{said:?}");
    assert!(said[0].contains("(2 so since this was last said)"), "{said:?}");
    used.remove(0);
    sleep(IDLE + 2 * SWEEP).await;
    assert_eq!(log.with("configmaps in last: there is room for it again").len(), 1);
}
