//! Files that are good, and files that are wrong in one point each; and handshakes that are wrong somewhere.

use super::files::{ClientAuthority, PairFiles, ServerPair, ServerTlsFiles};
use super::live::TlsFileSet as _;
use super::names::HostNames;
use super::protocols::TlsProtocols;
use super::testing::{TestCertificate, TestFiles};
use super::{AuthorityFiles, ClientTlsFiles, HostCertificate, PemPair};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

fn pair(cert: PathBuf, key: PathBuf, intermediates: Option<PathBuf>) -> ServerPair {
    ServerPair { files: PairFiles { cert, key, intermediates }, hosts: HostNames::default(), clients: None }
}

fn listener(certificates: Vec<ServerPair>) -> ServerTlsFiles {
    ServerTlsFiles { certificates, ingress: None, protocols: TlsProtocols::default() }
}

/// Returns the error about a pair, without the folder.
fn fault(files: &TestFiles, pair: ServerPair) -> String {
    let error = listener(vec![pair]).build().expect_err("it is wrong").to_string();
    error.replace(&format!("{}/", files.path().display()), "")
}

#[test]
fn every_fault_names_its_file_and_says_what_to_do() {
    let files = TestFiles::new();
    let root = TestCertificate::authority("root", None);
    let middle = TestCertificate::authority("middle", Some(&root));
    let leaf = middle.issue("a.test");
    let old = root.issue_for_years("old.test", 2001, 2002);
    let young = root.issue_for_years("young.test", 2201, 2202);
    let write = |name: &str, content: &str| files.write(name, content);
    let (cert, key) = (write("cert.pem", &leaf.pem), write("key.pem", &leaf.key));
    let at = |name: &str| files.path().join(name);
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMA==\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let old_style =
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMA==\n-----END RSA PRIVATE KEY-----\n";
    let noise = "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n";
    let damaged = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n";
    let table: Vec<(PathBuf, PathBuf, Option<PathBuf>, &str)> = vec![
        (at("missing.pem"), key.clone(), None, "missing.pem: cannot be read: No such file"),
        (cert.clone(), at("no-key.pem"), None, "no-key.pem: cannot be read: No such file"),
        (
            write("empty.pem", " \n"),
            key.clone(),
            None,
            "empty.pem: the file is empty: expected a certificate",
        ),
        (
            write("text.pem", "certificate"),
            key.clone(),
            None,
            "text.pem: expected a certificate (-----BEGIN CERTIFICATE-----) in PEM: no line begins",
        ),
        (
            files.write("der.pem", [0x30, 0x82]),
            key.clone(),
            None,
            "der.pem: expected a certificate (-----BEGIN CERTIFICATE-----) in PEM: it seems to be DER",
        ),
        (
            key.clone(),
            key.clone(),
            None,
            "key.pem: expected a certificate (-----BEGIN CERTIFICATE-----), found `PRIVATE KEY`",
        ),
        (
            cert.clone(),
            cert.clone(),
            None,
            "cert.pem: expected a private key (-----BEGIN PRIVATE KEY-----), found `CERTIFICATE`",
        ),
        (
            cert.clone(),
            write("encrypted.pem", encrypted),
            None,
            "encrypted.pem: the private key is encrypted",
        ),
        (cert.clone(), write("proc.pem", old_style), None, "proc.pem: the private key is encrypted"),
        (cert.clone(), write("noise.pem", noise), None, "noise.pem: the private key cannot be used"),
        (
            cert.clone(),
            write("two.pem", &format!("{}{}", leaf.key, old.key)),
            None,
            "two.pem: it has 2 private keys",
        ),
        (
            cert.clone(),
            write("old-key.pem", &old.key),
            None,
            "old-key.pem: the private key does not fit the certificate in cert.pem",
        ),
        (
            write("damaged.pem", damaged),
            key.clone(),
            None,
            "damaged.pem: certificate 1 of the file is malformed",
        ),
        (
            write("old.pem", &old.pem),
            at("old-key.pem"),
            None,
            "old.pem: the certificate of `CN=old.test` expired at 2002-01-01T00:00:00Z",
        ),
        (
            write("young.pem", &young.pem),
            write("young-key.pem", &young.key),
            None,
            "young.pem: the certificate of `CN=young.test` is valid from 2201-01-01T00:00:00Z on",
        ),
        (
            write("turned.pem", &format!("{}{}", middle.pem, leaf.pem)),
            key.clone(),
            None,
            "turned.pem: the certificates are in the wrong order: the private key fits certificate 2",
        ),
        (
            cert.clone(),
            key.clone(),
            Some(write("root.pem", &root.pem)),
            "root.pem: the chain is broken: `CN=a.test` was issued by `CN=middle`, but `CN=root` follows: add the intermediate",
        ),
        (
            cert.clone(),
            key.clone(),
            Some(write("swapped.pem", &format!("{}{}", root.pem, middle.pem))),
            "swapped.pem: the chain is broken: `CN=a.test` was issued by `CN=middle`, but `CN=root` follows: bring them into order",
        ),
        (
            cert.clone(),
            key.clone(),
            Some(write("namesake.pem", &TestCertificate::authority("middle", None).pem)),
            "namesake.pem: the chain is broken: `CN=a.test` was issued by `CN=middle`, but `CN=middle` follows: the names fit",
        ),
    ];
    for (cert, key, intermediates, expected) in table {
        let said = fault(&files, pair(cert, key, intermediates));
        assert!(said.starts_with(expected), "{expected}\n{said}");
    }
    let authority = |ca: PathBuf| {
        let clients = Some(ClientAuthority { ca, is_required: true });
        ServerPair { clients, ..pair(cert.clone(), key.clone(), None) }
    };
    let said = fault(&files, authority(write("leaf-as-ca.pem", &leaf.pem)));
    assert!(
        said.starts_with("leaf-as-ca.pem: the certificate of `CN=a.test` is not that of an authority (CA)"),
        "{said}"
    );
    let chain = write("chain.pem", &format!("{}{}{}", leaf.pem, middle.pem, root.pem));
    listener(vec![pair(chain, key.clone(), None), authority(at("root.pem"))]).build().expect("they are good");
}

#[test]
fn keys_are_read_in_each_form() {
    let files = TestFiles::new();
    let openssl = |arguments: &str| {
        let done = Command::new("openssl").args(arguments.split(' ')).current_dir(files.path()).output();
        let done = done.expect("openssl is there");
        assert!(done.status.success(), "{arguments}: {}", String::from_utf8_lossy(&done.stderr));
    };
    for (make, forms) in [
        (
            "genrsa -out key.pem 2048",
            &[
                "pkey -in key.pem -traditional -out form.pem",
                "pkcs8 -topk8 -nocrypt -in key.pem -out form.pem",
            ][..],
        ),
        (
            "ecparam -name prime256v1 -genkey -out key.pem",
            &[
                "ec -in key.pem -out form.pem",
                "pkcs8 -topk8 -nocrypt -in key.pem -out form.pem",
                "ecparam -name prime256v1 -out form.pem",
            ][..2],
        ),
        ("genpkey -algorithm ed25519 -out key.pem", &["pkey -in key.pem -out form.pem"][..]),
    ] {
        openssl(make);
        openssl("req -x509 -key key.pem -subj /CN=a.test -days 30 -out cert.pem");
        for form in forms {
            openssl(form);
            for key in ["key.pem", "form.pem"] {
                let pair = pair(files.path().join("cert.pem"), files.path().join(key), None);
                listener(vec![pair]).build().unwrap_or_else(|error| panic!("{make}: {form}: {error}"));
            }
        }
    }
}

#[test]
fn a_host_chooses_its_certificate() {
    let files = TestFiles::new();
    let root = TestCertificate::authority("root", None);
    let ca = files.write("ca.pem", &root.pem);
    let entry = |host: &str, hosts: &[&str], clients: Option<ClientAuthority>| {
        let leaf = root.issue(host);
        let name = host.replace('*', "any");
        let (cert, key) =
            (files.write(&format!("{name}.pem"), &leaf.pem), files.write(&format!("{name}.key"), &leaf.key));
        let hosts = HostNames::new(hosts.iter().map(|name| HostNames::parse_one(name).unwrap()).collect());
        ServerPair { hosts, clients, ..pair(cert, key, None) }
    };
    let own = Some(ClientAuthority { ca, is_required: true });
    let one = listener(vec![entry("only.test", &[], None)]).build().unwrap();
    let tls = listener(vec![
        entry("first.test", &[], None),
        entry("*.test", &[], None),
        entry("second.test", &["alias.example"], None),
        entry("admin.test", &[], own),
    ])
    .build()
    .unwrap();
    // The certificate, whether another connection may carry it: that of each certificate in turn.
    for (host, chosen, carried) in [
        ("first.test", 0, [true, true, false, false]),
        ("a.test", 1, [false, true, false, false]),
        // Its configuration says other names.
        ("second.test", 1, [false, true, false, false]),
        ("ALIAS.example", 2, [false, false, true, false]),
        // The wildcard covers it, but its callers have another authority.
        ("admin.test", 3, [false, false, false, true]),
        ("unknown.example", 0, [true, false, false, false]),
    ] {
        assert_eq!(tls.choose(Some(host.as_bytes())), Some(chosen), "{host}");
        let misdirected = [0, 1, 2, 3].map(|at| !tls_misdirects(&tls, at, host));
        assert_eq!(misdirected, carried, "{host}");
        assert!(!tls_misdirects(&one, 0, host), "one certificate is for all");
    }
    assert_eq!(tls.choose(None), Some(0));
}

fn tls_misdirects(tls: &super::ServerTls, at: usize, host: &str) -> bool {
    tls.misdirects(at, host.as_bytes())
}

/// Returns a certificate of a Secret for these hosts, which are among those of the certificate.
fn supplied(pair: &PemPair, hosts: &[&str]) -> HostCertificate {
    let hosts = hosts.iter().map(|host| HostNames::parse_one(host).unwrap()).collect();
    HostCertificate { pair: pair.clone(), hosts: HostNames::new(hosts) }
}

#[test]
fn certificates_of_secrets_carry_their_own_hosts_beside_those_of_files() {
    let files = TestFiles::new();
    let root = TestCertificate::authority("root", None);
    let issue = |host: &str| {
        let leaf = root.issue(host);
        PemPair::parse(&format!("ns/{host}"), leaf.pem.as_bytes(), leaf.key.as_bytes()).unwrap()
    };
    let leaf = root.issue("file.test");
    let file = pair(files.write("f.pem", &leaf.pem), files.write("f.key", &leaf.key), None);
    let ingress = Some(super::IngressTls { clients: None });
    let of = |certificates| {
        let files =
            ServerTlsFiles { certificates, ingress: ingress.clone(), protocols: TlsProtocols::default() };
        files.build().unwrap()
    };
    let [a, b] = ["a.test", "b.test"].map(issue);
    let list = [
        supplied(&a, &["a.test", "*.shop.test"]),
        // The older one has it, and that a file has it counts more than either.
        supplied(&b, &["b.test", "a.test", "file.test"]),
        supplied(&a, &["a2.test"]),
    ];
    let (with_file, alone) = (of(vec![file]), of(Vec::new()));
    assert!(with_file.needs_host() && alone.needs_host(), "there may be more at any time");
    assert_eq!(alone.choose(Some(b"a.test")), None, "nothing is there for it");
    let of_files = with_file;
    let with_file = of_files.with_supplied(list.iter(), None).unwrap();
    let alone = alone.with_supplied(list.iter(), None).unwrap();
    // Where a host is at home: with a file, which is also for unknown ones, and without.
    for (host, at_home) in [
        ("file.test", [Some(0), Some(1)]),
        ("a.test", [Some(1), Some(0)]),
        ("A2.test", [Some(1), Some(0)]),
        ("b.test", [Some(2), Some(1)]),
        ("x.shop.test", [Some(1), Some(0)]),
        ("unknown.test", [Some(0), None]),
    ] {
        let found = [&with_file, &alone].map(|tls| tls.choose(Some(host.as_bytes())));
        assert_eq!(found, at_home, "{host}");
        for (tls, at_home) in [&with_file, &alone].into_iter().zip(at_home) {
            for at in 0..3 {
                let carries = !tls.misdirects(at, host.as_bytes()) && tls.config(at).is_some();
                assert_eq!(carries, at_home == Some(at) && tls.config(at).is_some(), "{host} at {at}");
            }
        }
    }
    assert_eq!((with_file.choose(None), alone.choose(None)), (Some(0), None));
    // A change of one leaves the others as they are, so that their sessions are resumed.
    let renewed = issue("b.test");
    let next = [list[0].clone(), supplied(&renewed, &["b.test"])];
    let next = of_files.with_supplied(next.iter(), Some(&with_file)).unwrap();
    let is_kept = |at| Arc::ptr_eq(next.config(at).unwrap(), with_file.config(at).unwrap());
    assert_eq!([0, 1, 2].map(is_kept), [true, true, false]);
    assert_eq!(next.supplied_expiries().len(), 2, "and not those of before");
}

#[test]
fn a_pair_of_a_secret_is_checked_and_shows_no_key() {
    let root = TestCertificate::authority("root", None);
    let (a, b) = (root.issue("a.test"), root.issue("b.test"));
    let parse = |cert: &str, key: &str| PemPair::parse("ns/a", cert.as_bytes(), key.as_bytes());
    let good = parse(&a.pem, &a.key).unwrap();
    let shown = format!("{good:?} {:?}", supplied(&good, &["a.test"]));
    let inner = a.key.lines().nth(1).unwrap();
    assert!(shown.contains("a.test") && !shown.contains(inner), "{shown}");
    for (cert, key, fault) in [
        (&*a.pem, &*b.key, "tls.key: the private key does not fit the certificate in tls.crt"),
        (&a.key, &a.key, "tls.crt: expected a certificate"),
        (&a.pem, "", "tls.key: the file is empty"),
        (&root.issue_for_years("a.test", 2001, 2002).pem, &a.key, "tls.key: the private key does not fit"),
    ] {
        let error = parse(cert, key).expect_err("it is wrong").to_string();
        assert!(error.starts_with(fault), "{error}");
        assert!(!error.contains(inner), "{error}");
    }
}

#[test]
fn a_bundle_of_endpoints_may_have_what_they_signed_themselves() {
    let files = TestFiles::new();
    let root = TestCertificate::authority("root", None);
    let client = |file: PathBuf| ClientTlsFiles {
        authorities: AuthorityFiles::Files(vec![file]),
        pair: None,
        protocols: TlsProtocols::default(),
    };
    client(files.write("root.pem", &root.pem)).build().expect("it is an authority");
    let error = client(files.write("leaf.pem", root.issue("a.test").pem)).build().expect_err("it is none");
    assert!(error.to_string().contains("is not that of an authority (CA)"), "{error}");
}

/// Returns both ends of a connection.
async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connecting = TcpStream::connect(listener.local_addr().unwrap());
    let (near, far) = tokio::join!(connecting, listener.accept());
    (near.unwrap(), far.unwrap().0)
}

/// Carries bytes one way until they end, and changes one of them.
async fn carry(
    from: &mut (impl tokio::io::AsyncRead + Unpin),
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
    (place, mask): (usize, u8),
) {
    let (mut buffer, mut done) = ([0; 1500], 0);
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if let Some(byte) = place.checked_sub(done).and_then(|at| buffer[..count].get_mut(at)) {
            *byte ^= mask;
        }
        done += count;
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

/// Whichever byte of a handshake is another, on either way and of either side: both ends come to an end, and none panics.
#[tokio::test]
async fn no_byte_of_a_handshake_makes_an_end_panic() {
    let files = TestFiles::new();
    let root = TestCertificate::authority("root", None);
    let ca = files.write("ca.pem", &root.pem);
    let entry = |host: &str| {
        let leaf = root.issue(host);
        let (cert, key) =
            (files.write(&format!("{host}.pem"), &leaf.pem), files.write(&format!("{host}.key"), &leaf.key));
        let clients = Some(ClientAuthority { ca: ca.clone(), is_required: true });
        ServerPair { clients, ..pair(cert, key, None) }
    };
    let (a, b) = (entry("a.test"), entry("b.test"));
    let client = |version| {
        let protocols = TlsProtocols { versions: vec![version], ciphers: Vec::new() };
        let authorities = AuthorityFiles::Files(vec![ca.clone()]);
        ClientTlsFiles { authorities, pair: Some(a.files.clone()), protocols }.build().unwrap()
    };
    let clients = [client(super::TlsVersion::Tls12), client(super::TlsVersion::Tls13)];
    let servers =
        [listener(vec![a.clone()]), listener(vec![a, b])].map(|files| Arc::new(files.build().unwrap()));
    let mut random = fastrand::Rng::with_seed(7);
    let mut good = 0;
    for turn in 0..300 {
        let (near, mut near_far) = sockets().await;
        let (mut far_near, far) = sockets().await;
        // The first turns change nothing.
        let mask = if turn < 8 { 0 } else { random.u8(1..) };
        // Most of the bytes of interest come first.
        let place = random.usize(..4000) * random.usize(..100) / 100;
        let [up, down] = if turn % 2 == 0 { [(place, mask), (0, 0)] } else { [(0, 0), (place, mask)] };
        let (mut near_read, mut near_write) = near_far.split();
        let (mut far_read, mut far_write) = far_near.split();
        let carrying = async {
            tokio::join!(
                carry(&mut near_read, &mut far_write, up),
                carry(&mut far_read, &mut near_write, down)
            )
        };
        let name = super::EndpointName::parse("a.test").unwrap();
        let asking = async {
            let mut stream = super::connect(near, &clients[turn / 2 % 2], name, &[b"h2"]).await.ok()?;
            stream.write_all(b"question").await.ok()?;
            stream.flush().await.ok()?;
            let mut answer = [0; 6];
            stream.read_exact(&mut answer).await.ok()?;
            Some(answer)
        };
        let answering = async {
            let (mut stream, _) = super::accept(far, Arc::clone(&servers[turn / 4 % 2])).await.ok()?;
            let mut question = [0; 8];
            stream.read_exact(&mut question).await.ok()?;
            stream.write_all(b"answer").await.ok()?;
            stream.flush().await.ok()
        };
        let ends = async { tokio::join!(asking, answering, carrying).0 };
        // A length that is larger than it was has an end wait for more.
        let answer = tokio::time::timeout(std::time::Duration::from_millis(150), ends).await.ok().flatten();
        assert!(turn >= 8 || answer == Some(*b"answer"), "turn {turn}");
        good += usize::from(answer.is_some());
    }
    assert!(good < 200, "{good} of 300 came through, although a byte was changed");
}
