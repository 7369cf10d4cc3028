use super::*;
use crate::message::HeadLimits;

const LIMITS: HeadLimits = HeadLimits { line: 8192, fields_bytes: 8192, fields: 100 };

fn head(text: &str) -> Head {
    let text = text.replace('\n', "\r\n") + "\r\n\r\n";
    let mut head = Head::new();
    assert_eq!(head.parse_request(text.as_bytes(), &LIMITS).unwrap(), Some(text.len()));
    head
}

fn path(text: &str) -> Path {
    text.parse().unwrap()
}

/// The same request as it comes by HTTP/2: its `:authority` is the field `Host`.
fn http2(text: &str) -> Head {
    let mut head = head(text);
    head.set_version(Version::Http2);
    head
}

/// Returns the name that `configs` give a request, or the reason why they do not.
fn name(configs: &[Config], text: &str) -> Result<Path, String> {
    name_of(configs, &mut head(text))
}

fn name_of(configs: &[Config], head: &mut Head) -> Result<Path, String> {
    let identifiers: Vec<_> = configs.iter().cloned().map(Identifier::Head).collect();
    let identifiers = Identifiers::new(&identifiers, &path("/svc"));
    let mut name = PathBuf::default();
    name.push(b"left over");
    identifiers
        .identify(head, Scheme::Http, &mut name)
        .map(|_| name.to_path())
        .map_err(|error| error.to_string())
}

fn svc<const N: usize>(elems: [&str; N]) -> Result<Path, String> {
    Ok(Path::from_elems(["svc"].into_iter().chain(elems)))
}

fn header(name: &str) -> Config {
    Config::Header(Header { header: name.into() })
}

fn header_path(header: &str, segments: Option<usize>) -> Config {
    Config::HeaderPath(HeaderPath { header: header.into(), segments })
}

fn token(name: &str) -> Config {
    Config::HeaderToken(HeaderToken { header: name.into() })
}

fn segments(segments: usize, consume: bool) -> Config {
    Config::Path(PathSegments { segments, consume })
}

fn method_and_host(http_uri_in_dst: bool) -> Config {
    Config::MethodAndHost(MethodAndHost { http_uri_in_dst })
}

#[test]
fn header_token_is_one_element() {
    let absent = |name: &str| Err(format!("{name} header is absent"));
    let table = [
        (token("Host"), "GET / HTTP/1.1\nHost: hello", svc(["hello"])),
        (token("Host"), "GET / HTTP/1.1\nhost: WWW.Hello.World:8080", svc(["www.hello.world:8080"])),
        (token("hOST"), "GET / HTTP/1.1\nHost: Hello", svc(["hello"])),
        (token("Host"), "GET / HTTP/1.1\nHost: Hello.World.", svc(["hello.world"])),
        (token("Host"), "GET / HTTP/1.1\nHost: Hello.World.:8080", svc(["hello.world:8080"])),
        (token(":authority"), "GET / HTTP/1.1\nHost: hello.:80", svc(["hello:80"])),
        (token("My-Name"), "GET / HTTP/1.1\nMy-Name: hello.", svc(["hello."])),
        (token("Host"), "GET / HTTP/1.1\nHost: a/b//c", svc(["a/b//c"])),
        (token("Host"), "GET / HTTP/1.1\nHost:", absent("Host")),
        (token("Host"), "GET / HTTP/1.0", absent("Host")),
        (token("My-Name"), "GET / HTTP/1.1\nmy-name: Hello World!", svc(["Hello World!"])),
        (token("My-Name"), "GET / HTTP/1.1\nMy-Name: a\nMy-Name: b", svc(["a"])),
        (token("My-Name"), "GET / HTTP/1.1\nHost: hello", absent("My-Name")),
        (token("My-Name"), "GET / HTTP/1.1\nMy-Name:  ", absent("My-Name")),
    ];
    for (config, text, expected) in table {
        assert_eq!(name(&[config], text), expected, "{text}");
    }
}

#[test]
fn header_is_elements_of_bytes() {
    let slash = || Err("l5d-name header is not a path: it does not begin with '/'".to_owned());
    let table = [
        ("/a/b", svc(["a", "b"])),
        ("/", svc([])),
        ("//a///b/", svc(["a", "b"])),
        (r"/A/\x2f/~@+,=()/%2f", svc(["A", r"\x2f", "~@+,=()", "%2f"])),
        ("/*", svc(["*"])),
        ("a/b", slash()),
        ("http://a/b", slash()),
        ("", Err("l5d-name header is absent".into())),
    ];
    for (value, expected) in table {
        assert_eq!(
            name(&[header("l5d-name")], &format!("GET / HTTP/1.1\nL5d-Name: {value}")),
            expected,
            "{value}"
        );
    }
    assert_eq!(name(&[header("host")], "GET / HTTP/1.1\nHost: /A/b"), svc(["a", "b"]));
}

#[test]
fn header_path_is_the_segments_of_a_uri() {
    let few = |needed: usize| Err(format!("not enough segments in path: {needed} needed"));
    let none = |header: &str| Err(format!("no segments in {header}"));
    let all = || header_path(":path", None);
    let first = |segments| header_path(":path", Some(segments));
    let table = [
        (all(), "/helloworld.World/Greeting", svc(["helloworld.World", "Greeting"])),
        (first(1), "/helloworld.World/Greeting", svc(["helloworld.World"])),
        (first(2), "/helloworld.World/Greeting", svc(["helloworld.World", "Greeting"])),
        (first(3), "/helloworld.World/Greeting", few(3)),
        (all(), "/a/b/?c/d", svc(["a", "b"])),
        (all(), "/a?b/", svc(["a"])),
        (all(), "//a///B//", svc(["a", "B"])),
        // What Linkerd's parser of paths refused.
        (all(), r"/~@+,=()/%2f/\x2", svc(["~@+,=()", "%2f", r"\x2"])),
        (first(2), "/a//b~/c", svc(["a", "b~"])),
        (all(), "/", none(":path")),
        (all(), "/?a/b", none(":path")),
        (first(1), "//", few(1)),
        (all(), "*", none(":path")),
    ];
    for (config, target, expected) in table {
        let text = format!("OPTIONS {target} HTTP/1.1\nHost: hello");
        for mut head in [head(&text), http2(&text)] {
            assert_eq!(name_of(std::slice::from_ref(&config), &mut head), expected, "{target}");
            assert_eq!(head.target(), target.as_bytes());
        }
    }
    let table = [
        ("my-path: /a/b/?c", svc(["a", "b"])),
        ("my-path: a/b", none("My-Path")),
        ("my-path: http://a/b", none("My-Path")),
        ("my-path:", Err("My-Path header is absent".into())),
        ("other: /a", Err("My-Path header is absent".into())),
    ];
    for (field, expected) in table {
        let text = format!("GET /x HTTP/1.1\n{field}");
        assert_eq!(name(&[header_path("My-Path", None)], &text), expected, "{field}");
    }
}

#[test]
fn the_scheme_is_that_of_the_connection() {
    let identifiers = Identifiers::new(&[Identifier::Head(token(":scheme"))], &path("/svc"));
    for scheme in [Scheme::Http, Scheme::Https] {
        let mut name = PathBuf::default();
        let mut head = head("GET http://hello/ HTTP/1.1\nHost: hello");
        identifiers.identify(&mut head, scheme, &mut name).unwrap();
        assert_eq!(Ok(name.to_path()), svc([scheme.as_str()]));
    }
}

#[test]
fn pseudo_headers_are_those_of_either_protocol() {
    let table = [
        (token(":authority"), svc(["hello:80"])),
        (token(":Authority"), svc(["hello:80"])),
        (token("host"), svc(["hello:80"])),
        (token(":path"), svc(["/a/B?c"])),
        (token(":method"), svc(["PUT"])),
        (token(":scheme"), svc(["http"])),
        (token(":status"), Err(":status header is absent".into())),
        (header(":path"), svc(["a", "B?c"])),
        (header_path(":path", None), svc(["a", "B"])),
    ];
    for (config, expected) in table {
        let text = "PUT /a/B?c HTTP/1.1\nHost: Hello:80";
        for mut head in [head(text), http2(text)] {
            assert_eq!(name_of(std::slice::from_ref(&config), &mut head), expected, "{config:?}");
        }
    }
    assert_eq!(name(&[token(":authority")], "GET / HTTP/1.0"), Err(":authority header is absent".into()));
    for (known, is) in
        [(":authority", true), (":PATH", true), (":status", false), ("host", false), (":", false)]
    {
        assert_eq!(is_pseudo_header(known), is, "{known}");
    }
}

#[test]
fn path_takes_the_first_segments() {
    let few = |needed: usize| Err(format!("not enough segments in path: {needed} needed"));
    let table = [
        (1, "/foo/bar", svc(["foo"])),
        (1, "/Foo", svc(["Foo"])),
        (1, "/foo?a/b", svc(["foo"])),
        (2, "/foo/bar/baz", svc(["foo", "bar"])),
        (2, "//foo///bar", svc(["foo", "bar"])),
        (2, "/~@,/(=)", svc(["~@,", "(=)"])),
        (2, "/foo", few(2)),
        (2, "/foo/", few(2)),
        (2, "/foo?/bar", few(2)),
        (1, "/", few(1)),
        (1, "//", few(1)),
        (1, "/?foo", few(1)),
        (1, "*", few(1)),
    ];
    for (count, target, expected) in table {
        let text = format!("OPTIONS {target} HTTP/1.1\nHost: hello");
        assert_eq!(name(&[segments(count, false)], &text), expected, "{target}");
        assert_eq!(name(&[segments(count, true)], &text), expected, "{target}");
    }
}

#[test]
fn consume_removes_the_segments_and_nothing_else() {
    let table = [
        (1, "/foo", "/"),
        (1, "/foo/", "/"),
        (1, "/foo/bar", "/bar"),
        (1, "/foo/bar/", "/bar/"),
        (2, "/foo/bar/baz/", "/baz/"),
        // Linkerd lost the query when nothing was left of the path,
        (1, "/foo?a=b", "/?a=b"),
        (1, "/foo/bar?a=b", "/bar?a=b"),
        (1, "/foo/?", "/?"),
        // split the query at its slashes,
        (1, "/foo/bar?a=/b//c/", "/bar?a=/b//c/"),
        // and put the trailing slash behind the query.
        (1, "/foo/bar/?a=b", "/bar/?a=b"),
        // Nothing may look like another host's path.
        (1, "//foo//evil/x", "/evil/x"),
        (1, "/foo//", "/"),
        (1, "/foo/a//b", "/a//b"),
    ];
    for (count, target, expected) in table {
        let mut head = head(&format!("GET {target} HTTP/1.1\nHost: hello"));
        let identifiers = Identifiers::new(&[Identifier::Head(segments(count, true))], &path("/svc"));
        identifiers.identify(&mut head, Scheme::Http, &mut PathBuf::default()).unwrap();
        assert_eq!(head.target().escape_ascii().to_string(), expected, "{target}");
    }
}

#[test]
fn a_target_stays_when_nothing_is_consumed() {
    for (config, target) in [(segments(1, false), "/foo/bar?x"), (segments(3, true), "/foo/bar?x")] {
        let mut head = head(&format!("GET {target} HTTP/1.1\nHost: hello"));
        let _ = Identifiers::new(&[Identifier::Head(config)], &path("/svc")).identify(
            &mut head,
            Scheme::Http,
            &mut PathBuf::default(),
        );
        assert_eq!(head.target(), target.as_bytes());
    }
}

#[test]
fn method_and_host_depends_on_the_version() {
    let missing = || Err("request missing hostname".to_owned());
    let table = [
        (false, "GET /a/b HTTP/1.1\nHost: Hello:80", svc(["1.1", "GET", "hello:80"])),
        (false, "GET / HTTP/1.1\nHost: Hello.:80", svc(["1.1", "GET", "hello:80"])),
        (true, "GET /a HTTP/1.1\nHost: hello.", svc(["1.1", "GET", "hello", "a"])),
        (false, "post / HTTP/1.1\nHost: hello", svc(["1.1", "post", "hello"])),
        (false, "GET /a HTTP/1.1\nHost:", missing()),
        (false, "GET /a HTTP/1.1\nA: b", missing()),
        (false, "GET /a HTTP/1.0\nHost: hello", svc(["1.0", "GET"])),
        (true, "GET /a/b?c/d HTTP/1.1\nHost: hello", svc(["1.1", "GET", "hello", "a", "b"])),
        (true, "GET / HTTP/1.1\nHost: hello", svc(["1.1", "GET", "hello"])),
        (true, "GET /a/B/ HTTP/1.0", svc(["1.0", "GET", "a", "B"])),
        (true, "GET //a//~@/ HTTP/1.1\nHost: hello", svc(["1.1", "GET", "hello", "a", "~@"])),
    ];
    for (uri, text, expected) in table {
        assert_eq!(name(&[method_and_host(uri)], text), expected, "{text}");
        if text.contains("HTTP/1.1") {
            assert_eq!(name_of(&[method_and_host(uri)], &mut http2(text)), expected, "{text} by HTTP/2");
        }
    }
}

#[test]
fn static_names_every_request() {
    let config = Config::Static(StaticPath { path: path("/a/b") });
    assert_eq!(name(&[config], "GET / HTTP/1.0"), svc(["a", "b"]));
}

#[test]
fn a_list_is_tried_in_order_and_keeps_the_last_reason() {
    let table: [(&[Config], &str, Result<Path, String>); 5] = [
        (&[], "GET / HTTP/1.1\nHost: hello", svc(["hello"])),
        (&[token("a"), header("b"), token("host")], "GET / HTTP/1.1\nHost: hello\na: x", svc(["x"])),
        (&[token("a"), header("b"), token("host")], "GET / HTTP/1.1\nHost: hello\nb: /y", svc(["y"])),
        // What a failed identifier had already written is forgotten.
        (
            &[segments(2, true), method_and_host(false)],
            "GET /foo HTTP/1.1\nHost: h",
            svc(["1.1", "GET", "h"]),
        ),
        (&[token("a"), token("b")], "GET / HTTP/1.1\nHost: hello", Err("b header is absent".into())),
    ];
    for (configs, text, expected) in table {
        assert_eq!(name(configs, text), expected, "{text}");
    }
}

#[test]
fn configurations_have_linkerds_defaults() {
    assert_eq!(Config::default(), token("Host"));
    assert_eq!(Header::default().header, "l5d-name");
    assert_eq!(HeaderPath::default(), HeaderPath { header: ":path".into(), segments: None });
    assert_eq!(PathSegments::default(), PathSegments { segments: 1, consume: false });
    assert!(!MethodAndHost::default().http_uri_in_dst);
}
