use super::{classes, rewrite, utility};
use crate::name::Path;

/// An expected result: a path, Neg, or the failure.
enum Expected {
    To(&'static str),
    Neg,
    Failed,
}
use Expected::{Failed, Neg, To};

#[test]
fn every_row() {
    let port63 = "a".repeat(63);
    let port64 = "a".repeat(64);
    let long_port = format!("/p/h:{port63}");
    let too_long_port = format!("/p/h:{port64}");
    let cases: &[(&str, &str, Expected)] = &[
        ("io.buoyant.http.anyMethod", "/GET/svc/a", To("/svc/a")),
        ("io.buoyant.http.anyMethod", "/GET", To("/")),
        ("io.buoyant.http.anyMethod", "/Get/svc", Neg),
        ("io.buoyant.http.anyMethod", "/M-SEARCH/svc", Neg),
        ("io.buoyant.http.anyMethod", "/", Neg),
        ("io.buoyant.http.anyMethodPfx", "/p/POST/svc", To("/p/svc")),
        ("io.buoyant.http.anyMethodPfx", "/p", Neg),
        ("io.buoyant.http.anyMethodPfx", "/p/post", Neg),
        ("io.buoyant.http.anyMethodPfx", "/", Neg),
        ("io.buoyant.http.anyHost", "/www.a.com:80/svc", To("/svc")),
        ("io.buoyant.http.anyHost", "/a_b-C/svc", To("/svc")),
        ("io.buoyant.http.anyHost", "/a%b/svc", Neg),
        ("io.buoyant.http.anyHost", r"/\xff/svc", Neg),
        ("io.buoyant.http.anyHost", "/", Neg),
        ("io.buoyant.http.anyHostPfx", "/p/::1/svc", To("/p/svc")),
        ("io.buoyant.http.anyHostPfx", "/p/$/svc", Neg),
        ("io.buoyant.http.anyHostPfx", "/p", Neg),
        ("io.buoyant.http.subdomainOf", "/a.com/www.a.com/x", To("/www/x")),
        ("io.buoyant.http.subdomainOf", "/a.com/www.a.com:80/x", To("/www/x")),
        ("io.buoyant.http.subdomainOf", "/a.com/b.www.a.com", To("/b.www")),
        ("io.buoyant.http.subdomainOf", "/a.com/www.a.com./x", To("/www/x")),
        ("io.buoyant.http.subdomainOf", "/a.com/www.a.com.:80/x", To("/www/x")),
        ("io.buoyant.http.subdomainOf", "/a.com./www.a.com/x", To("/www/x")),
        ("io.buoyant.http.subdomainOfPfx", "/a.com/p/www.a.com.:80/x", To("/p/www/x")),
        ("io.buoyant.http.anyHost", "/www.a.com.:80/svc", To("/svc")),
        ("io.buoyant.http.anyHostPfx", "/p/www.a.com./svc", To("/p/svc")),
        ("io.buoyant.http.domainToPath", "/foo.io.:80", To("/io:80/foo")),
        ("io.buoyant.http.domainToPathPfx", "/p/foo.io.:80/x", To("/p/io:80/foo/x")),
        ("io.buoyant.hostportPfx", "/p/a.com.:8080/x", To("/p/a.com/8080/x")),
        ("io.buoyant.porthostPfx", "/p/a.com.:8080/x", To("/p/8080/a.com/x")),
        ("io.buoyant.hostportPfx", "/p/.:80", Failed),
        ("io.buoyant.http.subdomainOf", "/com/..com", To("/.")),
        ("io.buoyant.http.subdomainOf", "/a.com:80/www.a.com:80/x", Neg),
        ("io.buoyant.http.subdomainOf", "/a.com/a.com", Neg),
        ("io.buoyant.http.subdomainOf", "/a.com/.a.com", Neg),
        ("io.buoyant.http.subdomainOf", "/a.com/wwwa.com", Neg),
        ("io.buoyant.http.subdomainOf", "/a.com/www.A.com", Neg),
        ("io.buoyant.http.subdomainOf", "/:80/x.:80", Neg),
        ("io.buoyant.http.subdomainOf", "/a.com", Neg),
        ("io.buoyant.http.subdomainOf", "/", Neg),
        ("io.buoyant.http.subdomainOfPfx", "/a.com/p/www.a.com:80/x", To("/p/www/x")),
        ("io.buoyant.http.subdomainOfPfx", "/a.com/p/a.com/x", Neg),
        ("io.buoyant.http.subdomainOfPfx", "/a.com/p", Neg),
        ("io.buoyant.http.domainToPath", "/www.a.com/x", To("/com/a/www/x")),
        ("io.buoyant.http.domainToPath", "/foo.io:80", To("/io:80/foo")),
        ("io.buoyant.http.domainToPath", "/foo.io../x", To("/io/foo/x")),
        ("io.buoyant.http.domainToPath", "/.../x", To("/x")),
        ("io.buoyant.http.domainToPath", "/.foo/x", Failed),
        ("io.buoyant.http.domainToPath", "/a..b", Failed),
        ("io.buoyant.http.domainToPath", "/a%b", Neg),
        ("io.buoyant.http.domainToPath", "/", Neg),
        ("io.buoyant.http.domainToPathPfx", "/p/www.a.com/x", To("/p/com/a/www/x")),
        ("io.buoyant.http.domainToPathPfx", "/p/a..b/x", Failed),
        ("io.buoyant.http.domainToPathPfx", "/p", Neg),
        ("io.buoyant.hostportPfx", "/p/a.com:8080/x", To("/p/a.com/8080/x")),
        ("io.buoyant.hostportPfx", "/p/a.com:http", To("/p/a.com/http")),
        ("io.buoyant.hostportPfx", "/p/a:b:", To("/p/a/b")),
        ("io.buoyant.hostportPfx", "/p/a:b-", To("/p/a/b-")),
        ("io.buoyant.hostportPfx", "/p/a:", Neg),
        ("io.buoyant.hostportPfx", "/p/a", Neg),
        ("io.buoyant.hostportPfx", "/p/a:b:c", Neg),
        ("io.buoyant.hostportPfx", "/p/a::b", Neg),
        ("io.buoyant.hostportPfx", "/p/a:HTTP", Neg),
        ("io.buoyant.hostportPfx", "/p/a:-b", Neg),
        ("io.buoyant.hostportPfx", "/p/:80/x", Failed),
        ("io.buoyant.hostportPfx", "/p", Neg),
        ("io.buoyant.hostportPfx", "/", Neg),
        ("io.buoyant.porthostPfx", "/p/a.com:8080/x", To("/p/8080/a.com/x")),
        ("io.buoyant.porthostPfx", "/p/a.com/x", Neg),
        ("io.buoyant.porthostPfx", "/p/:80", Failed),
        // What is only passed on is text as well: bytes that are not UTF-8 are replaced.
        ("io.buoyant.http.anyMethod", r"/GET/\xff", To(r"/\xef\xbf\xbd")),
        ("io.buoyant.http.anyHostPfx", r"/\xff/h/x", To(r"/\xef\xbf\xbd/x")),
        ("io.buoyant.hostportPfx", r"/p/\xff:80", To(r"/p/\xef\xbf\xbd/80")),
    ];
    for (class, from, expected) in cases {
        let made = rewrite(utility(class).unwrap(), &from.parse().unwrap());
        match expected {
            To(to) => assert_eq!(made, Ok(Some(to.parse().unwrap())), "{class} {from}"),
            Neg => assert_eq!(made, Ok(None), "{class} {from}"),
            Failed => assert!(made.is_err(), "{class} {from}: {made:?}"),
        }
    }
    let hostport = utility("io.buoyant.hostportPfx").unwrap();
    assert!(rewrite(hostport, &long_port.parse().unwrap()).unwrap().is_some(), "63 bytes are a port");
    assert_eq!(rewrite(hostport, &too_long_port.parse().unwrap()), Ok(None), "64 bytes are not");
}

#[test]
fn other_classes_are_unknown() {
    for class in ["", "io.buoyant.http", "io.buoyant.http.anymethod", "io.buoyant.http.anyMethodPfxs"] {
        assert!(utility(class).is_none(), "{class}");
    }
}

#[test]
fn any_bytes_are_answered() {
    let odd: [&[u8]; 8] = [b"\0", b"\xff\xfe", b"/", b":", b"...", b"..:..", b"::", b"A"];
    for class in classes() {
        let utility = utility(class).unwrap();
        for first in odd {
            for second in odd {
                for third in odd {
                    let _ = rewrite(utility, &Path::from_elems([first, second, third]));
                }
            }
        }
    }
}
