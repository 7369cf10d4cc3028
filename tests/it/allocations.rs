//! What a request allocates, once everything it needs is remembered.
//!
//! The allocator counts for each thread by itself. Callers and endpoints are on threads of their own, so that what is
//! counted here is the router's.

use crate::support::{TestApp, one_router};
use allocation_counter::measure;
use jiff::Timestamp;
use signpost::context::token::{
    GeneratedKey, KeyFiles, KeyKind, SignedOverrides, SigningKey, TokenKeys, TokenRequest,
};
use signpost::context::{self, Context, Peer, Policy, Requirement, SignedTrust, Trust};
use signpost::identify::{Identifiers, Scheme};
use signpost::interpret::{
    Answer, AnswerState, Bound, Endpoint, EndpointSet, Leaf, Namer, NamerRegistry, Namers, Naming, Target,
};
use signpost::message::Head;
use signpost::name::{NameTree, Path, PathBuf};
use signpost::proxy::{BindingSettings, Bindings, ClientSettings, Limits, WireProtocol};
use signpost::sandbox::{
    Sandbox, SandboxId, SandboxRules, SandboxSpec, SandboxTable, StoreObjects, StoreState, WorkerSandboxes,
    Written,
};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{self, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{oneshot, watch};

const PLAIN: &[u8] = b"GET /a/path HTTP/1.1\r\nHost: world\r\nAccept: */*\r\n\r\n";
const OVERRIDING: &[u8] =
    b"GET /a/path HTTP/1.1\r\nHost: world\r\nl5d-dtab: /svc/world => /#/any/world-v2\r\n\r\n";

const BAGGAGE: &[u8] = b"GET /a/path HTTP/1.1\r\nHost: world\r\n\
    baggage: a=1,b=2,c=3,d=4,dtab=%2Fsvc%2Fworld=>%2F%23%2Fany%2Fworld-v3,e=5;f\r\n\r\n";

const SANDBOXED: &[u8] = b"GET /a/path HTTP/1.1\r\nHost: world\r\n\
    baggage: a=1,sd-routing-key=pr-7%2Bpr-8,c=3\r\nl5d-dtab: /svc/other => /#/any/other\r\n\r\n";

/// Returns a view of two sandboxes, of which one ends some day.
fn sandboxes() -> WorkerSandboxes {
    let sandbox = |name: &str, ttl: Option<&str>| {
        let dtab = format!("/svc/world => /#/any/{name}");
        let spec = SandboxSpec { dtab, ttl: ttl.map(str::to_owned), ..SandboxSpec::default() };
        let id = SandboxId { namespace: None, name: name.into() };
        let created = Some(Timestamp::now());
        let written = Written { id, labels: [].into(), created, expires: None, spec };
        Arc::new(Sandbox::new(&written, &SandboxRules::default()))
    };
    let sandboxes = vec![sandbox("pr-7", None), sandbox("pr-8", Some("1h"))];
    let store = StoreState::Ready(Arc::new(StoreObjects { sandboxes, groups: Vec::new() }));
    WorkerSandboxes::new(watch::channel(Arc::new(SandboxTable::new([&store], Timestamp::now()))).1)
}

/// Binds every name to one endpoint.
struct OneEndpoint;

impl Namer for OneEndpoint {
    fn lookup(&self, path: &Path) -> Answer {
        let endpoint = Endpoint::at(SocketAddr::from(([127, 0, 0, 1], 80)));
        let (_, endpoints) = watch::channel(EndpointSet::new(vec![endpoint]));
        let id = Path::from_elems(["#", "any"]).concat(path);
        let bound = Bound { id, residual: Path::empty(), target: Target::Endpoints(endpoints) };
        Answer::fixed(AnswerState::Ready(NameTree::Leaf(Leaf::Bound(bound))))
    }
}

/// The part of a worker that names a request.
struct RequestNaming {
    policy: Policy,
    identifiers: Identifiers,
    bindings: Bindings,
    sandboxes: Rc<WorkerSandboxes>,
    peer: Peer,
    head: Head,
    context: Context,
    name: PathBuf,
}

impl RequestNaming {
    fn new() -> (Self, NamerRegistry) {
        let (registry, handle) = NamerRegistry::new(Duration::from_secs(60));
        let namers =
            Namers::new(vec![(Path::from_elems(["#", "any"]), Arc::new(OneEndpoint) as Arc<dyn Namer>)]);
        let naming = Naming { dtab: "/svc => /#/any".parse().unwrap(), namers };
        let clients = ClientSettings::new(WireProtocol::Http1, Limits::default().heads);
        let settings = BindingSettings::new(Duration::from_secs(10), clients);
        let peer = SocketAddr::from(([127, 0, 0, 1], 4140));
        let config = context::Config { trust: Trust::Everybody, ..context::Config::default() };
        let sandboxes = Rc::new(sandboxes());
        let this = Self {
            policy: Policy::new(config),
            identifiers: Identifiers::new(&[], &"/svc".parse().unwrap()),
            bindings: Bindings::new(watch::channel(naming).1, &settings, handle).with_sandboxes(&sandboxes),
            sandboxes,
            peer: Peer::new(peer, peer),
            head: Head::new(),
            context: Context::new(),
            name: PathBuf::default(),
        };
        (this, registry)
    }

    /// Names a request, from the bytes of its head to the route; returns the length of the route's id.
    async fn name(&mut self, request: &[u8]) -> usize {
        let Self { policy, identifiers, bindings, sandboxes, peer, head, context, name } = self;
        head.clear();
        assert_eq!(head.parse_request(request, &Limits::default().heads), Ok(Some(request.len())));
        policy.enter(peer, head, context).1.expect("it may enter");
        identifiers.identify(head, Scheme::Http, name).expect("it has a host");
        let overlay = sandboxes.overlay(context.sandbox_keys());
        let dtab = bindings.request_dtab(&overlay, context.overrides(), policy.override_limits());
        let binding = bindings.bind(name, &dtab.expect("it is a dtab")).await.expect("it is bound");
        binding.draw().expect("it has a leaf").id().len()
    }
}

#[tokio::test(flavor = "current_thread")]
async fn naming_a_cached_request_allocates_nothing() {
    let (mut naming, registry) = RequestNaming::new();
    tokio::spawn(registry.run());
    for request in [PLAIN, OVERRIDING, BAGGAGE, SANDBOXED] {
        let first = naming.name(request).await;
        let mut again = 0;
        let counted = measure(|| {
            let mut context = task::Context::from_waker(Waker::noop());
            for _ in 0..100 {
                let Poll::Ready(named) = pin!(naming.name(request)).poll(&mut context) else {
                    panic!("every answer is held")
                };
                again = named;
            }
        });
        assert_eq!(again, first);
        let id = if request == SANDBOXED { "/#/any/pr-8".len() } else { first };
        assert_eq!(again, id, "the later sandbox wins");
        assert_eq!(counted.count_total, 0, "{}", request.escape_ascii());
    }
    // The counter counts: a name that was never seen is put together and remembered.
    let counted = measure(|| {
        let unseen = b"GET / HTTP/1.1\r\nHost: unseen\r\n\r\n";
        assert!(pin!(naming.name(unseen)).poll(&mut task::Context::from_waker(Waker::noop())).is_pending());
    });
    assert!(counted.count_total > 0);
}

/// A stranger's token that was verified is found, checked against the clock and granted.
#[tokio::test(flavor = "current_thread")]
async fn a_verified_token_allocates_nothing() {
    let (mut naming, registry) = RequestNaming::new();
    tokio::spawn(registry.run());
    let key = GeneratedKey::new(KeyKind::Ed25519).unwrap();
    let claims = TokenRequest {
        aud: vec!["http".to_owned()],
        exp: SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 600,
        nbf: None,
        jti: TokenRequest::new_id().unwrap(),
        dtab: Some("/svc/world => /#/any/world-v2".to_owned()),
        sandbox: Some("pr-17".to_owned()),
        path: None,
    };
    let token = SigningKey::read(key.private.as_bytes()).unwrap().sign(&claims).unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: world\r\nl5d-dtab-token: {token}\r\n\r\n").into_bytes();
    let signed = SignedOverrides {
        files: KeyFiles::default(),
        audience: claims.aud,
        max_lifetime: 3600,
        revoked: Vec::new(),
    };
    let trust = Trust::Signed(Arc::new(SignedTrust {
        from: None,
        identities: None,
        signed,
        require: Requirement::Any,
    }));
    let token_keys = Some(TokenKeys::from_jwks(key.jwks.unwrap().as_bytes()).unwrap());
    naming.policy = Policy::new(context::Config { trust, token_keys, ..context::Config::default() });
    let first = naming.name(&request).await;
    let counted = measure(|| {
        for _ in 0..100 {
            let mut context = task::Context::from_waker(Waker::noop());
            assert_eq!(pin!(naming.name(&request)).poll(&mut context), Poll::Ready(first));
        }
    });
    assert_eq!(counted.count_total, 0);
}

/// How many allocations a request over HTTP/1 costs: the room in which it is served, which a connection that waits does
/// not hold.
const FOR_A_REQUEST: u64 = 1;

/// How many requests are counted.
const REQUESTS: u64 = 500;

/// Answers every request on one connection after the other, on a thread that ends with the test's process.
fn endpoint() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                while read_head(&mut stream) {
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
                    if stream.write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// Reads to the end of a head; returns false when the connection ends before.
fn read_head(stream: &mut TcpStream) -> bool {
    let mut read = Vec::new();
    let mut byte = [0];
    while !read.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => read.push(byte[0]),
            _ => return false,
        }
    }
    true
}

/// Sends a request again and again on a thread of its own, and says when all were answered.
fn send(mut stream: TcpStream, request: &'static [u8], requests: u64) -> oneshot::Receiver<TcpStream> {
    let (done, answered) = oneshot::channel();
    std::thread::spawn(move || {
        for _ in 0..requests {
            stream.write_all(request).unwrap();
            assert!(read_head(&mut stream));
            stream.read_exact(&mut [0; 5]).unwrap();
        }
        let _ = done.send(stream);
    });
    answered
}

#[test]
fn a_cached_request_allocates_the_room_it_is_served_in_and_no_more() {
    let endpoint = endpoint();
    let dtab = format!("/svc/* => /#/any/world ; /#/any/* => /$/inet/127.0.0.1/{}", endpoint.port());
    // On the loopback listener, the override holds because the name leads somewhere without it.
    for (server, request) in [("", PLAIN), (", trust: everybody", OVERRIDING), ("", OVERRIDING)] {
        count_requests(&one_router(&dtab, server), request);
    }
}

/// Counts what a request allocates that has been seen before.
fn count_requests(yaml: &str, request: &'static [u8]) {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
    let app = runtime.block_on(TestApp::start_here(yaml));
    let stream = TcpStream::connect(app.first_address()).unwrap();
    // Names, clients, connections, buffers and tables reach their size.
    let mut stream = Some(runtime.block_on(send(stream, request, 100)).unwrap());
    let counted = measure(|| {
        stream = runtime.block_on(send(stream.take().unwrap(), request, REQUESTS)).ok();
    });
    assert!(stream.is_some(), "all were answered");
    // The thread that sends, the channel to it, and what the router does by the clock are counted once.
    let once = counted.count_total.saturating_sub(REQUESTS * FOR_A_REQUEST);
    assert!(counted.count_total >= REQUESTS * FOR_A_REQUEST, "{counted:?}: say less in FOR_A_REQUEST");
    assert!(once < REQUESTS / 2, "{counted:?}");
    drop(stream);
    runtime.block_on(app.stop());
}
