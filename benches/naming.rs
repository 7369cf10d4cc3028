//! What naming costs: notation, lookup, delegation, and a request's way from its header bytes to the chosen client.
//!
//! `benches/README.md` says what the figures mean and which aims they have.

use criterion::{BenchmarkId, Criterion};
use mimalloc::MiMalloc;
use signpost::context::token::{
    GeneratedKey, KeyFiles, KeyKind, SignedOverrides, SigningKey, TokenKeys, TokenRequest,
};
use signpost::context::{
    Context, OverrideLimits, Peer, Policy, Requirement, SignedTrust, Trust, decode_overrides,
};
use signpost::identify::{Identifiers, Scheme};
use signpost::interpret::{
    Answer, AnswerState, AnswerTable, Bound, DelegationOutcome, Endpoint, EndpointSet, Explore, Leaf, Namer,
    NamerHandle, NamerRegistry, Namers, Naming, Target, delegate,
};
use signpost::message::{Head, HeadLimits};
use signpost::name::{Dtab, NameTree, Path, PathBuf};
use signpost::proxy::{Binding, BindingSettings, Bindings, CacheConfig, ClientSettings, WireProtocol};
use signpost::{context, proxy};
use std::hint::black_box;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{self, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

/// The allocator of the binary: what is measured is what ships.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The override of the staging story, and a usual dtab.
const OVERRIDE: &str = "/host/world => /srv/world-v2;";
const USUAL: &str =
    "/srv => /#/io.l5d.fs; /host => /srv; /host/world => 0.9*/srv/world-v1 & .1*/srv/v2; /svc => /host";

/// Three rewrites lead from a name to a namer.
const BASE: &str = "/srv => /#/io.l5d.fs; /host => /srv; /host/world => /srv/world-v1; /svc => /host";

const PLAIN: &[u8] = b"GET /a/path HTTP/1.1\r\nHost: world\r\nUser-Agent: naming\r\nAccept: */*\r\n\
    Accept-Encoding: gzip\r\n\r\n";
const OVERRIDING: [&[u8]; 2] = [
    b"GET /a/path HTTP/1.1\r\nHost: world\r\nUser-Agent: naming\r\nAccept: */*\r\n\
    Accept-Encoding: gzip\r\nl5d-dtab: /host/world => /srv/world-v2;\r\n\r\n",
    b"GET /a/path HTTP/1.1\r\nHost: world\r\nUser-Agent: naming\r\nAccept: */*\r\n\
    Accept-Encoding: gzip\r\nl5d-dtab: /host/world => /srv/world-v3;\r\n\r\n",
];

/// The baggage of OpenTelemetry, in which no member steers.
const BAGGAGE: &[u8] = b"GET /a/path HTTP/1.1\r\nHost: world\r\nUser-Agent: naming\r\nAccept: */*\r\n\
    Accept-Encoding: gzip\r\nbaggage: user.id=17,account=acme%20inc;tier=1,session=4f2a,region=eu-west-1,\
    channel=web,experiment=none\r\n\r\n";

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    notation(&mut criterion);
    lookup(&mut criterion);
    delegation(&mut criterion);
    binding(&mut criterion);
    criterion.final_summary();
}

fn notation(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("dtab");
    for text in [OVERRIDE, USUAL] {
        let id = |what| BenchmarkId::new(what, format!("{} bytes", text.len()));
        group.bench_function(id("parse"), |bencher| bencher.iter(|| dtab(black_box(text))));
        let dtab = dtab(text);
        group.bench_function(id("print"), |bencher| bencher.iter(|| format!("{:#}", black_box(&dtab))));
    }
}

/// Three entries match, wherever they stand among the others.
fn lookup(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lookup");
    for entries in [10_usize, 1_000, 10_000] {
        let others = (3..entries).map(|at| format!("/host/service-{at} => /srv/service-{at};"));
        let matching = "/host => /a; /host/world => /b; /host/*/v2 => /c";
        let dtab = dtab(&(others.collect::<String>() + matching));
        let path = path("/host/world/v2");
        assert_eq!((dtab.len(), dtab.matches(&path).count()), (entries, 3));
        group.bench_function(BenchmarkId::from_parameter(entries), |bencher| {
            bencher.iter(|| dtab.lookup(black_box(&path)));
        });
    }
}

/// Evaluation over answers that a worker holds, without any cache.
fn delegation(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("delegate");
    let control = control();
    let mut answers = AnswerTable::new(namer_handle(&control), namers());
    let (base, path) = (dtab(BASE), path("/svc/world"));
    let limits = OverrideLimits::default();
    let overridden = |raw: &[u8]| base.concat(&decode_overrides(raw, &limits).expect("it is a dtab").dtab);
    // A raw value as `Policy::enter` keeps it; without the mark of its field it counts as the user's.
    let raw = OVERRIDE.as_bytes();
    for dtab in [&base, &overridden(raw)] {
        control.block_on(signpost::interpret::settle(dtab, &path, Explore::Deciding, &mut answers));
    }
    let mut evaluate = |dtab: &Dtab| {
        answers.begin();
        let delegation = delegate(dtab, black_box(&path), &mut answers, Explore::Deciding);
        assert!(matches!(delegation.outcome, DelegationOutcome::Bound(NameTree::Leaf(_))));
        delegation
    };
    group.bench_function("three hops", |bencher| bencher.iter(|| evaluate(&base)));
    group.bench_function("override, parsed each time", |bencher| {
        bencher.iter(|| evaluate(&overridden(black_box(raw))));
    });
}

/// From the bytes of a head to the client that is chosen, as a worker does it for each request.
fn binding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bind");
    let control = control();
    let namer_handle = namer_handle(&control);
    let _entered = control.enter();

    let mut worker = Worker::new(namer_handle.clone(), CacheConfig::default());
    for request in [PLAIN, OVERRIDING[0]] {
        control.block_on(worker.chosen(request));
    }
    group.bench_function("cached", |bencher| bencher.iter(|| at_once(worker.chosen(black_box(PLAIN)))));
    group.bench_function("cached override", |bencher| {
        bencher.iter(|| at_once(worker.chosen(black_box(OVERRIDING[0]))));
    });
    for (caller, trust) in [("trusted", Trust::Everybody), ("untrusted", Trust::Nobody)] {
        worker.policy = Policy::new(context::Config { trust, ..context::Config::default() });
        group.bench_function(format!("cached, six members of baggage, {caller}"), |bencher| {
            bencher.iter(|| at_once(worker.chosen(black_box(BAGGAGE))));
        });
    }

    // A stranger's token, verified once.
    let (trust, token_keys, request) = signed();
    worker.policy =
        Policy::new(context::Config { trust, token_keys: Some(token_keys), ..context::Config::default() });
    control.block_on(worker.chosen(&request));
    group.bench_function("cached token", |bencher| {
        bencher.iter(|| at_once(worker.chosen(black_box(&request))));
    });

    // What remembers one name forgets each of two as soon as it sees the other.
    let cache = CacheConfig { names: NonZeroUsize::MIN, ..CacheConfig::default() };
    let mut forgetful = Worker::new(namer_handle.clone(), cache);
    // Bindings that are in use, which keep the answers in the table.
    let _used: Vec<_> = OVERRIDING.iter().map(|request| control.block_on(forgetful.bind(request))).collect();
    let mut turn = OVERRIDING.iter().cycle();
    group.bench_function("override never seen", |bencher| {
        bencher.iter(|| turn.next().map(|request| at_once(forgetful.chosen(black_box(request)))));
    });

    group.bench_function("cold", |bencher| {
        bencher.iter(|| {
            let mut new = Worker::new(namer_handle.clone(), CacheConfig::default());
            control.block_on(new.chosen(black_box(PLAIN)))
        });
    });
}

/// Returns the trust of a listener that accepts tokens, its keys, and a request with a token for the next hour.
fn signed() -> (Trust, TokenKeys, Vec<u8>) {
    let key = GeneratedKey::new(KeyKind::Ed25519).expect("there are random numbers");
    let keys = TokenKeys::from_pem(key.public.expect("it is a pair").as_bytes()).expect("it is a key");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    let claims = TokenRequest {
        aud: vec!["http".to_owned()],
        exp: now.as_secs() + 3600,
        nbf: None,
        jti: TokenRequest::new_id().expect("there are random numbers"),
        dtab: Some(OVERRIDE.to_owned()),
        sandbox: None,
        path: None,
    };
    let signing = SigningKey::read(key.private.as_bytes()).expect("it is a key");
    let token = signing.sign(&claims).expect("it signs");
    let plain = String::from_utf8_lossy(PLAIN);
    let request = plain.replace("\r\n\r\n", &format!("\r\nl5d-dtab-token: {token}\r\n\r\n"));
    let signed = SignedOverrides {
        files: KeyFiles::default(),
        audience: claims.aud,
        max_lifetime: 7200,
        revoked: Vec::new(),
    };
    let trust = SignedTrust { from: None, identities: None, signed, require: Requirement::Any };
    (Trust::Signed(Arc::new(trust)), keys, request.into_bytes())
}

/// The part of a worker that a request meets before it is sent.
struct Worker {
    policy: Policy,
    identifiers: Identifiers,
    bindings: Bindings,
    peer: Peer,
    limits: HeadLimits,
    head: Head,
    context: Context,
    name: PathBuf,
}

impl Worker {
    fn new(namer_handle: NamerHandle, cache: CacheConfig) -> Self {
        let here = SocketAddr::from(([127, 0, 0, 1], 4140));
        let clients = ClientSettings::new(WireProtocol::Http1, proxy::Limits::default().heads);
        let config = context::Config { trust: Trust::Everybody, ..context::Config::default() };
        Self {
            policy: Policy::new(config),
            identifiers: Identifiers::new(&[], &path("/svc")),
            bindings: Bindings::new(
                watch::channel(Naming { dtab: dtab(BASE), namers: namers() }).1,
                &BindingSettings { cache, ..BindingSettings::new(Duration::from_secs(10), clients) },
                namer_handle,
            ),
            peer: Peer::new(here, here),
            limits: proxy::Limits::default().heads,
            head: Head::new(),
            context: Context::new(),
            name: PathBuf::default(),
        }
    }

    /// Returns the length of the chosen client's name, so that nothing of the work can be left out.
    async fn chosen(&mut self, request: &[u8]) -> usize {
        self.bind(request).await.draw().expect("it is bound").id().len()
    }

    async fn bind(&mut self, request: &[u8]) -> Rc<Binding> {
        let Self { policy, identifiers, bindings, peer, limits, head, context, name } = self;
        head.clear();
        let parsed = head.parse_request(request, limits).expect("it is a request");
        assert_eq!(parsed, Some(request.len()), "it is whole");
        policy.enter(peer, head, context).1.expect("nothing in it is refused");
        identifiers.identify(head, Scheme::Http, name).expect("it has a host");
        let overrides = bindings.overrides(context.overrides(), policy.override_limits());
        let overrides = overrides.expect("it is a dtab");
        bindings.bind(name, &overrides).await.expect("no namer fails")
    }
}

/// Names any path, with one endpoint.
struct Anything;

impl Namer for Anything {
    fn lookup(&self, path: &Path) -> Answer {
        let endpoint = Endpoint::at(SocketAddr::from(([127, 0, 0, 1], 80)));
        let (sender, endpoints) = watch::channel(EndpointSet::new(vec![endpoint]));
        // A channel whose sender is gone never changes any more.
        drop(sender);
        let id = prefix().concat(path);
        let bound = Bound { id, residual: Path::empty(), target: Target::Endpoints(endpoints) };
        Answer::fixed(AnswerState::Ready(NameTree::Leaf(Leaf::Bound(bound))))
    }
}

fn prefix() -> Path {
    path("/#/io.l5d.fs")
}

fn control() -> Runtime {
    Builder::new_current_thread().enable_time().build().expect("a runtime needs nothing but memory")
}

fn namers() -> Namers {
    Namers::new(vec![(prefix(), Arc::new(Anything) as Arc<dyn Namer>)])
}

/// Returns the handle of a registry that runs whenever `control` does.
fn namer_handle(control: &Runtime) -> NamerHandle {
    let (namer_registry, namer_handle) = NamerRegistry::new(Duration::from_secs(60));
    control.spawn(namer_registry.run());
    namer_handle
}

/// Runs what does not have to wait. After an evaluation it gives other tasks a turn, of which there are none.
fn at_once<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let context = &mut task::Context::from_waker(Waker::noop());
    let polled = [(); 2].into_iter().find_map(|()| match work.as_mut().poll(context) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    });
    polled.expect("every answer is in the table")
}

fn dtab(text: &str) -> Dtab {
    text.parse().expect("it is a dtab")
}

fn path(text: &str) -> Path {
    text.parse().expect("it is a path")
}
