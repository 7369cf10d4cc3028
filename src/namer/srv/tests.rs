use super::SrvNamer;
use crate::interpret::{Answer, AnswerState, Namer};
use crate::name::{NameTree, Path};
use crate::namer::dns::tests::Scripted;
use crate::namer::tests;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout};

const DAY: Duration = Duration::from_secs(86_400);

fn namer(dns: &Scripted, domain: Option<&str>) -> SrvNamer {
    let prefix = "/#/io.l5d.dnssrv".parse().unwrap();
    let domain = domain.map(str::to_owned);
    SrvNamer::new(prefix, dns.dns(), domain, Duration::from_secs(5), &Handle::current())
}

/// An answer as text: `pending`, `neg`, `failed: ...`, or `ADDRESS*WEIGHT,... ID RESIDUAL`, with `stale` where it is.
fn show(answer: &mut Answer) -> String {
    tests::show(answer, |bound, endpoints| {
        let endpoint = |e: &crate::interpret::Endpoint| format!("{}*{}", e.address, e.weight);
        let endpoints: Vec<String> = endpoints.iter().map(endpoint).collect();
        format!("{} {} {}", endpoints.join(","), bound.id, bound.residual)
    })
}

/// Waits until an answer is this, by changes of the tree or of the addresses.
async fn becomes(answer: &mut Answer, expected: &str) {
    for _ in 0..1000 {
        if show(answer) == expected {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("expected {expected}, it is {}", show(answer));
}

#[tokio::test(start_paused = true)]
async fn endpoints_are_those_of_the_targets() {
    let dns = Scripted::default();
    dns.service("_http._tcp.web.", Ok(&[("a.", 80, 4), ("b.", 81, 0), ("gone.", 82, 1)]));
    dns.host("a.", Ok(&["10.0.0.1", "10.0.0.2"]));
    dns.host("b.", Ok(&["2001:db8::1"]));
    let namer = namer(&dns, None);
    let mut answer = namer.lookup(&"/_http._tcp.Web/x/y".parse().unwrap());
    let id = "/#/io.l5d.dnssrv/_http._tcp.Web /x/y";
    becomes(&mut answer, &format!("10.0.0.1:80*2,10.0.0.2:80*2,[2001:db8::1]:81*0.1 {id}")).await;

    dns.host("a.", Ok(&["10.0.0.3"]));
    becomes(&mut answer, &format!("10.0.0.3:80*4,[2001:db8::1]:81*0.1 {id}")).await;
    assert!(!answer.has_changed());
    dns.host("b.", Err("away"));
    becomes(&mut answer, &format!("10.0.0.3:80*4,[2001:db8::1]:81*0.1 {id} stale")).await;
    dns.host("b.", Ok(&[]));
    becomes(&mut answer, &format!("10.0.0.3:80*4 {id}")).await;
    dns.service("_http._tcp.web.", Err("away"));
    becomes(&mut answer, &format!("10.0.0.3:80*4 {id} stale")).await;

    dns.service("_http._tcp.web.", Ok(&[("new.", 80, 0), ("a.", 80, 0)]));
    dns.host("new.", Err("away"));
    becomes(&mut answer, &format!("10.0.0.3:80*1 {id} stale")).await;
    dns.host("new.", Ok(&["10.0.0.3", "10.0.0.4"]));
    becomes(&mut answer, &format!("10.0.0.3:80*1.5,10.0.0.4:80*0.5 {id}")).await;
    dns.service("_http._tcp.web.", Ok(&[("gone.", 80, 0)]));
    becomes(&mut answer, "neg").await;
    dns.service("_http._tcp.web.", Ok(&[("a.", 80, 7)]));
    becomes(&mut answer, &format!("10.0.0.3:80*7 {id}")).await;
    dns.service("_http._tcp.web.", Ok(&[]));
    becomes(&mut answer, "neg").await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_lookup_is_not_neg() {
    let dns = Scripted::default();
    let namer = namer(&dns, None);
    dns.service("web.", Err("away"));
    let mut answer = namer.lookup(&"/web".parse().unwrap());
    becomes(&mut answer, "failed: looking up web.: away").await;
    dns.service("web.", Ok(&[("a.", 80, 0)]));
    dns.host("a.", Err("off"));
    becomes(&mut answer, "failed: looking up a.: off").await;
    dns.host("a.", Ok(&["10.0.0.1"]));
    becomes(&mut answer, "10.0.0.1:80*1 /#/io.l5d.dnssrv/web /").await;
}

#[tokio::test(start_paused = true)]
async fn names_are_completed_by_the_domain() {
    let dns = Scripted::default();
    dns.host("a.", Ok(&["10.0.0.1"]));
    let cases = [
        (None, "/web", Some("web.")),
        (None, "/web.", Some("web.")),
        (None, "/_http._tcp.Web.test/x", Some("_http._tcp.web.test.")),
        (Some("example.org"), "/web", Some("web.example.org.")),
        (Some("Example.org."), "/web", Some("web.example.org.")),
        (Some("example.org"), "/web.", Some("web.")),
        (None, "/", None),
        (None, "/a..b", None),
        (None, r"/\xff", None),
        (None, r"/a\x20b", None),
        (None, "/.", None),
    ];
    for (domain, path, service) in cases {
        let namer = namer(&dns, domain);
        let path: Path = path.parse().unwrap();
        let Some(service) = service else {
            assert_eq!(namer.immediate(&path), Some(AnswerState::Ready(NameTree::Neg)), "{path}");
            assert_eq!(namer.lookup(&path).look().state, AnswerState::Ready(NameTree::Neg), "{path}");
            continue;
        };
        assert_eq!(namer.immediate(&path), None, "{path}");
        dns.service(service, Ok(&[("a.", 80, 1)]));
        let mut answer = namer.lookup(&path);
        timeout(DAY, answer.changed()).await.unwrap();
        assert!(show(&mut answer).starts_with("10.0.0.1:80*1 /#/io.l5d.dnssrv/"), "{domain:?} {path}");
        dns.service(service, Ok(&[]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_gets_addresses_is_noticed_while_requests_ask() {
    let dns = Scripted::default();
    dns.service("_http._tcp.web.", Ok(&[("a.", 80, 1), ("late.", 80, 1)]));
    dns.host("a.", Ok(&["10.0.0.1"]));
    let namer = namer(&dns, None);
    let mut answer = namer.lookup(&"/_http._tcp.web".parse().unwrap());
    becomes(&mut answer, "10.0.0.1:80*1 /#/io.l5d.dnssrv/_http._tcp.web /").await;
    sleep(Duration::from_secs(120)).await;
    dns.host("late.", Ok(&["10.0.0.2"]));
    let began = Instant::now();
    becomes(&mut answer, "10.0.0.1:80*1,10.0.0.2:80*1 /#/io.l5d.dnssrv/_http._tcp.web /").await;
    assert!(began.elapsed() <= Duration::from_secs(11), "{:?}", began.elapsed());
}
