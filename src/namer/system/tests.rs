use super::SystemNamer;
use crate::interpret::{AnswerState, Leaf, Namer, Target};
use crate::name::{NameTree, Path};
use crate::namer::dns::Dns;
use tokio::runtime::Handle;

/// An answer as text: `neg`, `fail`, `empty`, `failed: ...`, `path /x`, `status 204 ID RESIDUAL`, or
/// `ADDRESSES ID RESIDUAL`.
fn show(state: &AnswerState) -> String {
    match state {
        AnswerState::Pending => "pending".into(),
        AnswerState::Failed(reason) => format!("failed: {reason}"),
        AnswerState::Ready(NameTree::Neg) => "neg".into(),
        AnswerState::Ready(NameTree::Fail) => "fail".into(),
        AnswerState::Ready(NameTree::Empty) => "empty".into(),
        AnswerState::Ready(NameTree::Leaf(Leaf::Path(path))) => format!("path {path}"),
        AnswerState::Ready(NameTree::Leaf(Leaf::Bound(bound))) => {
            let target = match &bound.target {
                Target::Status(code) => format!("status {code}"),
                Target::Endpoints(endpoints) => {
                    let endpoints = endpoints.borrow();
                    endpoints
                        .iter()
                        .map(|endpoint| endpoint.address.to_string())
                        .collect::<Vec<_>>()
                        .join(",")
                }
            };
            format!("{target} {} {}", bound.id, bound.residual)
        }
        other => format!("{other:?}"),
    }
}

/// Returns the immediate answer for a path that begins with `/$`.
fn ask(namer: &SystemNamer, path: &str) -> String {
    let path: Path = path.parse().unwrap();
    let rest = path.skip(1);
    let Some(state) = namer.immediate(&rest) else { return "asks".into() };
    let looked_up = namer.lookup(&rest).look().state;
    assert_eq!(show(&looked_up), show(&state), "{path}: a lookup answers the same");
    show(&state)
}

#[tokio::test]
async fn answers_at_once() {
    let namer = SystemNamer::new(Dns::of_system(&Handle::current()), &Handle::current());
    let cases = [
        ("/$", "neg"),
        ("/$/nil", "empty"),
        ("/$/nil/a", "empty"),
        ("/$/fail", "fail"),
        ("/$/fail/a", "fail"),
        ("/$/failure", "failed: Unknown namer: failure for path: /$/failure"),
        ("/$/a.b/c/d", "failed: Unknown namer: a.b for path: /$/a.b/c/d"),
        ("/$/inet/127.0.0.1/80", "127.0.0.1:80 /$/inet/127.0.0.1/80 /"),
        ("/$/inet/127.1/80/a/b", "127.0.0.1:80 /$/inet/127.1/80 /a/b"),
        ("/$/inet/::1/80/a", "[::1]:80 /$/inet/::1/80 /a"),
        (r"/$/inet/\x5b::1\x5d/80", r"[::1]:80 /$/inet/\x5b\x3a\x3a\x31\x5d/80 /"),
        ("/$/inet/localhost/80", "127.0.0.1:80 /$/inet/localhost/80 /"),
        ("/$/inet/127.1/0080", "127.0.0.1:80 /$/inet/127.1/0080 /"),
        (r"/$/inet/127.1/\x2b80", r"127.0.0.1:80 /$/inet/127.1/\x2b\x38\x30 /"),
        ("/$/inet/8080", "127.0.0.1:8080 /$/inet/8080 /"),
        ("/$/inet/8080/a/9090", "127.0.0.1:8080 /$/inet/8080 /a/9090"),
        ("/$/inet/8080/9090", "0.0.31.144:9090 /$/inet/8080/9090 /"),
        (r"/$/inet/80/\xff", r"127.0.0.1:80 /$/inet/80 /\xef\xbf\xbd"),
        ("/$/fixedinet/127.1/80/a", "127.0.0.1:80 /$/fixedinet/127.1/80 /a"),
        ("/$/fixedinet/80", "127.0.0.1:80 /$/fixedinet/80 /"),
        ("/$/fixedinet/80/x", "127.0.0.1:80 /$/fixedinet/80 /x"),
        ("/$/fixedinet/70000", "failed: /$/fixedinet/70000: the port 70000 is not one of 1 to 65535"),
        ("/$/inet", "failed: /$/inet: the address is missing: write /$/inet/HOST/PORT"),
        ("/$/fixedinet", "failed: /$/fixedinet: the address is missing: write /$/fixedinet/HOST/PORT"),
        ("/$/inet/1.2.3.4", "failed: /$/inet/1.2.3.4: the port is missing: write /$/inet/1.2.3.4/PORT"),
        ("/$/fixedinet/web", "failed: /$/fixedinet/web: the port is missing: write /$/fixedinet/web/PORT"),
        (
            "/$/inet/a.b/http",
            "failed: /$/inet/a.b/http: `http` is no port, which is a number from 1 to 65535",
        ),
        (
            "/$/inet/a.b/99999999999",
            "failed: /$/inet/a.b/99999999999: `99999999999` is no port, which is a number from 1 to 65535",
        ),
        ("/$/inet/127.1/0", "failed: /$/inet/127.1/0: the port 0 is not one of 1 to 65535"),
        ("/$/inet/127.1/65536", "failed: /$/inet/127.1/65536: the port 65536 is not one of 1 to 65535"),
        ("/$/inet/127.1/-80", "failed: /$/inet/127.1/-80: the port -80 is not one of 1 to 65535"),
        ("/$/inet/70000", "failed: /$/inet/70000: the port 70000 is not one of 1 to 65535"),
        ("/$/inet/a:b/80", "failed: /$/inet/a:b/80: `a:b` is neither an address nor a host name"),
        (
            r"/$/inet/a\x20b/80",
            r"failed: /$/inet/\x61\x20\x62/80: `a b` is neither an address nor a host name",
        ),
        (r"/$/inet/\x00/80", r"failed: /$/inet/\x00/80: `\0` is neither an address nor a host name"),
        ("/$/inet/example.org/80", "asks"),
        ("/$/fixedinet/example.org/80", "asks"),
        ("/$/io.buoyant.rinet/80/127.1/a", "127.0.0.1:80 /$/io.buoyant.rinet/80/127.1 /a"),
        (r"/$/io.buoyant.rinet/80/127.1\x20", "127.0.0.1:80 /$/io.buoyant.rinet/80/127.1 /"),
        ("/$/io.buoyant.rinet/80/example.org", "asks"),
        ("/$/io.buoyant.rinet/80", "neg"),
        ("/$/io.buoyant.rinet", "neg"),
        (
            "/$/io.buoyant.rinet/http/127.1",
            "failed: /$/io.buoyant.rinet/http/127.1: the port http is not one of 1 to 65535",
        ),
        (
            r"/$/io.buoyant.rinet/80/\xc3\xa9",
            r"failed: /$/io.buoyant.rinet/80/\xc3\xa9: the port and the host do not make a path",
        ),
        ("/$/io.buoyant.http.status/204", "status 204 /$/io.buoyant.http.status/204 /"),
        ("/$/io.buoyant.http.status/100/a", "status 100 /$/io.buoyant.http.status/100 /a"),
        ("/$/io.buoyant.http.status/599/a/b", "status 599 /$/io.buoyant.http.status/599 /a/b"),
        ("/$/io.buoyant.http.status/99", "neg"),
        ("/$/io.buoyant.http.status/600", "neg"),
        ("/$/io.buoyant.http.status/99999", "neg"),
        ("/$/io.buoyant.http.status/-204", "neg"),
        ("/$/io.buoyant.http.status/ok", "neg"),
        ("/$/io.buoyant.http.status", "neg"),
        ("/$/io.buoyant.http.anyMethod/GET/svc/a", "path /svc/a"),
        ("/$/io.buoyant.http.anyMethod", "neg"),
        ("/$/io.buoyant.hostportPfx/p/a:80/x", "path /p/a/80/x"),
        (
            "/$/io.buoyant.hostportPfx/p/:80",
            "failed: /$/io.buoyant.hostportPfx/p/:80: an element of the result would be empty",
        ),
    ];
    for (path, expected) in cases {
        assert_eq!(ask(&namer, path), expected, "{path}");
    }
}

#[tokio::test]
async fn any_bytes_are_answered() {
    let namer = SystemNamer::new(Dns::of_system(&Handle::current()), &Handle::current());
    let odd: [&[u8]; 6] = [b"\0", b"\xff", b"/", b"80", b"\xed\xa0\x80", b"[::"];
    for class in ["inet", "fixedinet", "io.buoyant.rinet", "io.buoyant.http.status", "nil", "\u{fffd}"] {
        for first in odd {
            for second in odd {
                let path = Path::from_elems([class.as_bytes(), first, second, b"\xff"]);
                assert_ne!(namer.immediate(&path).as_ref().map(show).as_deref(), Some("pending"));
            }
        }
    }
}
