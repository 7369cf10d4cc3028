//! Five routers in a row, with overrides from every source: each hop decides as the first caller meant, and no header
//! grows.

use crate::support::either::{Ask, Caller, Echo, Seen, Speaks, router};
use crate::support::grpc::{GrpcClient, GrpcServer, Method, said};
use crate::support::{Team, TestApp, speaking};
use signpost::context::token::KeyKind;

/// How many routers a request passes.
const HOPS: usize = 5;

/// Five routers that speak one protocol, and the overrides that lead from one to the next.
///
/// The router at each hop looks `/hop/<its number>` up, which leads on to the next by the entry of one source: that of
/// the first by baggage, of the second by `inject`, of the third by `l5d-ctx-dtab`, of the fourth by a token, of the last
/// by `l5d-dtab`. Every source with less to say has an entry that makes it a 418.
struct Stage {
    /// The first router that a request meets comes last.
    apps: Vec<TestApp>,
    baggage: String,
    inject: String,
    ctx: String,
    token: String,
    user: String,
    team: Team,
}

/// Entries of a source that make a 418 of this hop and all after it.
fn wrong(from: usize, source: &str) -> String {
    (from..=HOPS).map(|hop| format!("/hop/{hop}=>/wrong/{source};")).collect()
}

impl Stage {
    /// Starts the routers; the last one leads to `service`, the name of an endpoint.
    async fn start(protocol: &str, service: String) -> Self {
        let (baggage, inject, ctx, token, user) = Default::default();
        let team = Team::new(KeyKind::Ed25519);
        let mut stage = Self { apps: Vec::new(), baggage, inject, ctx, token, user, team };
        let mut next = service;
        for hop in (1..=HOPS).rev() {
            let right = format!("/hop/{hop}=>{next};");
            match hop {
                1 => stage.baggage = right + &wrong(2, "baggage"),
                2 => stage.inject = (right + &wrong(3, "inject")).trim_end_matches(';').to_owned(),
                3 => stage.ctx = right + &wrong(4, "ctx"),
                4 => stage.token = (right + &wrong(5, "token")).trim_end_matches(';').to_owned(),
                // An entry that leads nowhere is looked at by each of them.
                _ => stage.user = right + "/hop=>/nowhere",
            }
            // The second router has the same rule as the first, which has applied it already.
            let trust = stage.team.trust(", from: [127.0.0.1]");
            let server = format!("{trust}, inject: [{{when: {{}}, dtab: \"{}\"}}]", stage.inject);
            let dtab =
                format!("/svc/* => /hop/{hop}; {} /wrong => /$/io.buoyant.http.status/418", wrong(1, "base"));
            let app = TestApp::start(&speaking(protocol, &dtab, &server)).await;
            next = format!("/$/inet/127.0.0.1/{}", app.first_address().port());
            stage.apps.push(app);
        }
        stage
    }

    /// The router that a request meets first.
    fn first(&self) -> &TestApp {
        self.apps.last().expect("there are five")
    }

    /// The member of baggage that carries a dtab, between others.
    fn member(&self) -> String {
        format!("a=b, dtab={} ;p, c=d", self.baggage.trim_end_matches(';').replace(';', "%3B"))
    }

    /// The dtab that the last upstream is told: everything but baggage, in the order of the sources.
    fn told(&self) -> String {
        format!("{};{}{};{}", self.inject, self.ctx, self.token, self.user)
    }

    async fn stop(self) {
        for app in self.apps.into_iter().rev() {
            app.stop().await;
        }
    }
}

/// What a request says of where it came from, and what a response does: as many lines as after one hop.
fn assert_nothing_grew(fields: &[(String, String)]) {
    let mut names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all, "a field stands twice: {fields:?}");
    let via = fields.iter().find(|(name, _)| name == "via").map(|(_, value)| value.split(',').count());
    assert_eq!(via, Some(HOPS), "{fields:?}");
}

fn field<'a>(seen: &'a Seen, name: &str) -> Option<&'a str> {
    seen.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

#[tokio::test(flavor = "local")]
async fn requests_are_led_over_five_hops_as_their_first_caller_meant() {
    for speaks in [Speaks::Http1, Speaks::Http2] {
        let service = Echo::start(speaks).await;
        let stage = Stage::start(router(speaks), service.path()).await;
        let mut caller = Caller::connect(stage.first(), speaks).await;
        let member = stage.member();
        let token = stage.team.sign(&stage.token, None, 60);
        let fields = [
            ("baggage", &*member),
            ("l5d-ctx-dtab", &stage.ctx),
            ("l5d-dtab-token", &token),
            ("l5d-dtab", &stage.user),
        ];
        for _ in 0..2 {
            let answer =
                caller.ask(&Ask { method: "GET", target: "/", fields: &fields, ..Ask::default() }).await;
            assert_eq!(answer.status, 200, "{speaks:?}: {answer:?}");
            assert_nothing_grew(&answer.fields);
            assert_eq!(field(&answer, "l5d-dtab-unbound"), Some("/hop=>/nowhere"));
            let seen = service.take_request();
            assert_nothing_grew(&seen.fields);
            assert_eq!(field(&seen, "l5d-ctx-dtab"), Some(&*stage.told()), "{speaks:?}");
            assert_eq!((field(&seen, "l5d-dtab"), field(&seen, "l5d-dtab-token")), (None, None));
            assert_eq!(field(&seen, "baggage"), Some(&*member));
        }
        // Without one of them, the hop that it decides goes wrong.
        for missing in 0..fields.len() {
            let fields: Vec<_> =
                (0..).zip(fields).filter(|(at, _)| *at != missing).map(|(_, field)| field).collect();
            let answer = caller.get(&fields).await;
            assert_eq!(answer.status, 418, "{speaks:?} without {missing}: {answer:?}");
        }
        stage.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn calls_are_led_over_five_hops_as_their_first_caller_meant() {
    let service = GrpcServer::start().await;
    let stage = Stage::start("h2", service.path()).await;
    let mut client = GrpcClient::connect(stage.first().first_address(), "web").await;
    let member = stage.member();
    let token = stage.team.sign(&stage.token, None, 60);
    let metadata = [
        ("baggage", &*member),
        ("l5d-ctx-dtab", &stage.ctx),
        ("l5d-dtab-token", &token),
        ("l5d-dtab", &stage.user),
    ];
    let answer = client.unary(Method::Echo, "hi", &metadata).await.expect("it answers");
    assert_eq!(answer.into_inner(), "hi");
    let seen = service.take_metadata().pop().expect("the call came");
    assert_eq!(said(&seen, "l5d-ctx-dtab"), Some(&*stage.told()));
    assert_eq!((said(&seen, "baggage"), said(&seen, "l5d-dtab")), (Some(&*member), None));
    client.unary(Method::Echo, "hi", &metadata[1..]).await.expect_err("the first hop goes wrong");
    stage.stop().await;
}
