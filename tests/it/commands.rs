//! The binary, as a shell sees it.

use crate::support::{Message, Names, Serving, Wire, address, run, signpost, until};
use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;

/// Does what the shell and curl do with a printed line: method, header fields, host and port.
pub(crate) async fn curl(line: &str) -> Message {
    let mut words = shell_words(line).into_iter().skip(1);
    let (mut method, mut url) = ("GET".to_owned(), String::new());
    let mut fields: Vec<(String, String)> = Vec::new();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-X" => method = words.next().expect("-X has a method"),
            "-H" => {
                let field = words.next().expect("-H has a field");
                let (name, value) = field.split_once(": ").expect("a field has a value");
                fields.push((name.to_owned(), value.to_owned()));
            }
            "-i" => {}
            option if option.starts_with('-') => panic!("an option that this curl does not know: {option}"),
            _ => url = word,
        }
    }
    for (name, default) in [("Accept", "*/*"), ("User-Agent", "curl/8"), ("Host", &url)] {
        if !fields.iter().any(|(given, _)| given.eq_ignore_ascii_case(name)) {
            fields.insert(0, (name.to_owned(), default.to_owned()));
        }
    }
    let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let port =
        url.strip_prefix("localhost:").and_then(|port| port.parse().ok()).expect("localhost and a port");
    let mut wire = Wire::connect(SocketAddr::from(([127, 0, 0, 1], port))).await;
    wire.ask(format!("{method} / HTTP/1.1\r\n{fields}\r\n")).await
}

/// Splits at blanks outside single quotes.
fn shell_words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (at, part) in line.trim().split('\'').enumerate() {
        if at % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

#[tokio::test(flavor = "local")]
async fn the_demo_works_as_printed() {
    let ports = ["--ingress-port", "--public-port", "--node-port", "--admin-port"];
    let arguments: Vec<_> =
        ["demo"].into_iter().chain(ports.into_iter().flat_map(|port| [port, "0"])).collect();
    let mut demo = Serving::start(&arguments);
    let story = demo.until("Ctrl-C ends the demo").await;
    let curls: Vec<_> = story.iter().filter(|line| line.trim_start().starts_with("curl ")).collect();
    let mut answers = Vec::new();
    for line in &curls {
        answers.push(curl(line).await);
    }
    let (world, earth) = ("world (127.0.0.1:", "earth (127.0.0.1:");
    let expected = [
        (200, vec!["Hello (127.0.0.1:", world, ")!!"]),
        (200, vec!["Hello (127.0.0.1:", earth, ")!!"]),
        (200, vec!["Hello (127.0.0.1:", earth, ")!!"]),
        (200, vec!["Hello (127.0.0.1:", earth, ")!!"]),
        (400, vec!["/host/world = /srv/world-v2;", "^"]),
        (200, vec!["Hello (127.0.0.1:", world]),
        (200, vec!["Hello (127.0.0.1:", "[204 No Content]"]),
        (200, vec!["Hello (127.0.0.1:", earth]),
        (200, vec!["Hello (127.0.0.1:", world]),
        (200, vec!["Hello (127.0.0.1:", world]),
    ];
    assert_eq!(curls.len(), expected.len(), "{curls:#?}");
    for ((line, answer), (status, parts)) in curls.iter().zip(&answers).zip(expected) {
        assert_eq!(answer.status(), status, "{line}: {answer:?}");
        assert!(parts.iter().all(|part| answer.text().contains(part)), "{line}: {answer:?}");
    }
    // What leads nowhere is known to the per-node router alone; `hello` hands it back.
    let unbound: Vec<_> = answers.iter().filter_map(|answer| answer.field("l5d-dtab-unbound")).collect();
    assert_eq!(unbound, ["/host/world=>/srv/world-v3"]);
    let page =
        story.iter().find_map(|line| line.split_once("http://localhost:")?.1.strip_suffix("/delegator"));
    let admin = SocketAddr::from(([127, 0, 0, 1], page.and_then(|port| port.parse().ok()).expect("a page")));
    let page = Wire::connect(admin).await.ask("GET /delegator HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(page.status() == 200 && page.text().contains("<html"), "{page:?}");
    // The story names the services by the addresses that answer.
    let about = story.iter().find(|line| line.starts_with("hello (")).expect("the services are introduced");
    let address = answers[0].text().split(['(', ')']).nth(1).expect("an address");
    assert!(about.contains(&format!("hello ({address})")), "{about}");
    assert_eq!(demo.end("INT").await, Some(0));
}

#[tokio::test(flavor = "local")]
async fn each_service_of_the_demo_runs_by_itself() {
    let mut world = Serving::start(&["demo", "world", "--listen", "127.0.0.1:0", "--says", "moon"]);
    let at = address(&world.until("listening on ").await, "listening on ");
    // Its router is a `world` itself here: it gets the request for `world`.
    let mut hello =
        Serving::start(&["demo", "hello", "--listen", "127.0.0.1:0", "--router", &at.to_string()]);
    let asked = address(&hello.until("listening on ").await, "listening on ");
    let answer = Wire::connect(asked).await.get("hello", "").await;
    assert_eq!(answer.text(), format!("Hello ({asked}) moon ({at})!!"));
    assert_eq!(world.end("TERM").await, Some(0));
    Wire::connect(asked).await.get("hello", "").await.assert_status(502);

    let (code, stdout, stderr) = run(&["demo", "world", "--listen", &asked.to_string()], "");
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("--listen"), "{stderr}");
    assert_eq!(hello.end("TERM").await, Some(0));
}

#[test]
fn a_demo_without_its_port_says_how_to_choose_another() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let ports = ["--ingress-port", "0", "--public-port", "0", "--admin-port", "0"];
    let (code, stdout, stderr) = run(&[&["demo", "--node-port", &port][..], &ports].concat(), "");
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains(&port) && stderr.contains("--node-port"), "{stderr}");
}

#[tokio::test(flavor = "local")]
async fn a_file_is_run_until_it_is_told_to_stop() {
    let names = Names::new();
    let file = format!("{}/config.yaml", names.path());
    let dtab = "/svc/done => /$/io.buoyant.http.status/204";
    let yaml = format!(
        "admin: {{port: 0, shutdownDelayMs: 0}}\nrouters:\n- protocol: http\n  dtab: {dtab}\n  \
         servers: [{{port: 0, ip: 0.0.0.0}}]\n"
    );
    fs::write(&file, yaml).expect("the folder is there");
    for (arguments, signal) in [(vec!["run", &file], "TERM"), (vec![&file[..]], "INT")] {
        let mut serving = Serving::start(&arguments);
        let lines = serving.until(" admin address=").await;
        let log = lines.join("\n");
        assert!(log.contains("trusts nobody: no `trust` is set and 0.0.0.0 is not loopback"), "{log}");
        let mut client = Wire::connect(address(&lines, " serving ")).await;
        client.get("done", "").await.assert_status(204);
        assert_eq!(serving.end(signal).await, Some(0));
    }
}

#[tokio::test(flavor = "local")]
async fn a_probe_says_whether_the_router_is_ready() {
    let yaml = "admin: {port: 0}\nrouters:\n- protocol: http\n  servers: [{port: 0}]\n";
    let names = Names::new();
    let file = format!("{}/config.yaml", names.path());
    fs::write(&file, yaml).expect("the folder is there");
    let mut serving = Serving::start(&["run", &file]);
    let admin = address(&serving.until(" admin address=").await, " admin address=").to_string();
    let probe = |page: &[&str]| run(&[&["probe", &admin][..], page].concat(), "");
    assert_eq!(probe(&[]), (0, String::new(), String::new()));
    assert_eq!(probe(&["/admin/live"]), (0, String::new(), String::new()));
    let (code, _, stderr) = probe(&["/none"]);
    assert!(code == 1 && stderr.contains("404"), "{stderr}");
    // It waits until callers can have noticed the stop.
    serving.signal("TERM");
    serving.until("leaving").await;
    let (code, _, stderr) = probe(&[]);
    assert!(code == 1 && stderr.contains("503"), "{stderr}");
    let named = admin.replace("127.0.0.1", "localhost");
    assert_eq!(run(&["probe", &named, "/admin/live"], ""), (0, String::new(), String::new()));
    for wrong in ["localhost", "::1:9990", "http://localhost:9990", ":9990", "localhost:port"] {
        let (code, _, stderr) = run(&["probe", wrong], "");
        assert!(code == 2 && stderr.contains("localhost:9990"), "{wrong}: {stderr}");
    }
    assert_eq!(probe(&["/admin/live"]).0, 0);
    assert_eq!(serving.end("TERM").await, Some(0));
    let (code, _, stderr) = probe(&[]);
    assert!(code == 1 && stderr.contains(&admin), "{stderr}");
    let (code, _, stderr) = probe(&["ready"]);
    assert!(code == 2 && stderr.contains("/admin/ready"), "{stderr}");
}

#[tokio::test(flavor = "local")]
async fn a_stop_is_announced_until_another_signal_comes() {
    let names = Names::new();
    let file = format!("{}/config.yaml", names.path());
    let day = 24 * 60 * 60 * 1000;
    let dtab = "/svc/done => /$/io.buoyant.http.status/204";
    let yaml = format!(
        "admin: {{port: 0, shutdownDelayMs: {day}}}\nrouters:\n- protocol: http\n  dtab: {dtab}\n  \
         servers: [{{port: 0}}]\n"
    );
    fs::write(&file, yaml).expect("the folder is there");
    for asked_by_signal in [true, false] {
        let mut serving = Serving::start(&["run", &file]);
        let lines = serving.until(" admin address=").await;
        let (serves, admin) = (address(&lines, " serving "), address(&lines, " admin "));
        let mut open = Wire::connect(serves).await;
        open.get("done", "").await.assert_status(204);
        if asked_by_signal {
            serving.signal("TERM");
        } else {
            let asked = "POST /admin/shutdown HTTP/1.1\r\nHost: localhost\r\n\r\n";
            Wire::connect(admin).await.ask(asked).await.assert_status(200);
        }
        serving.until("leaving").await;
        let ready = Wire::connect(admin).await.ask("GET /admin/ready HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!((ready.status(), ready.text()), (503, "draining\n"));
        for mut client in [open, Wire::connect(serves).await] {
            let response = client.get("done", "").await;
            assert_eq!((response.status(), response.field("connection")), (204, None), "all goes on");
        }
        assert_eq!(serving.end("TERM").await, Some(0));
    }
}

#[tokio::test(flavor = "local")]
async fn a_changed_file_is_taken_over_and_a_wrong_one_is_not() {
    let names = Names::new();
    let (file, dtab) = (format!("{}/config.yaml", names.path()), format!("{}/dtab", names.path()));
    // Written beside it and renamed over it, as editors and mounted ConfigMaps do.
    let write = |file: &str, text: String| {
        let new = format!("{file}.new");
        fs::write(&new, text).and_then(|()| fs::rename(&new, file)).expect("the folder is there");
    };
    let configure = |router: &str, more: &str| {
        write(
            &file,
            format!(
                "admin: {{port: 0}}\nrouters:\n- protocol: http\n  dtab: {router}\n  \
                 interpreter: {{kind: io.l5d.fs, dtabFile: '{dtab}'}}\n  servers: [{{port: 0{more}}}]\n"
            ),
        );
    };
    let status = |code: u16| format!("/svc/a => /$/io.buoyant.http.status/{code}");
    write(&dtab, status(204));
    configure("/x => /y", "");
    let mut serving = Serving::start(&["run", &file]);
    let lines = serving.until(" admin address=").await;
    let mut client = Wire::connect(address(&lines, " serving ")).await;
    let admin = address(&lines, " admin ");
    client.get("a", "").await.assert_status(204);

    write(&dtab, status(205));
    serving.until("the stored dtab has changed").await;
    until("the new dtab serves", async || client.get("a", "").await.status() == 205).await;
    write(&dtab, "/svc/a = /b".to_owned());
    serving.until(":1:8: expected '=>'").await;
    client.get("a", "").await.assert_status(205);

    configure(&status(206), ", maxCallDepth: 5}, {port: 0, label: other}]\nworkers: 3 # [{");
    let lines = serving.until("was read again and is in use").await;
    let left = ":7:10: workers: the number of workers stays until a restart";
    assert!(lines.iter().any(|line| line.contains(left)), "{lines:?}");
    until("the new dtab serves", async || client.get("a", "").await.status() == 206).await;
    let mut added = Wire::connect(address(&lines, " serving ")).await;
    added.get("a", "").await.assert_status(206);
    configure("/svc = /b", "");
    let lines = serving.until("expected '=>'").await;
    assert!(lines.iter().any(|line| line.contains("the last good configuration stays in use")), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains(":4:14: routers[0].dtab")), "{lines:?}");
    client.get("a", "").await.assert_status(206);
    let metric = async |name: &str| {
        let asked = format!("GET /admin/metrics.json?q={name} HTTP/1.1\r\nHost: a\r\n\r\n");
        Wire::connect(admin).await.ask(asked).await.text().to_owned()
    };
    assert!(metric("config_reload_failures").await.contains(":1"));
    assert!(metric("config_rejected").await.contains(":1"));
    configure(&status(208), "");
    until("the corrected file serves", async || client.get("a", "").await.status() == 208).await;
    assert!(metric("config_rejected").await.contains(":0"));
    serving.until("was read again and is in use").await;
    serving.signal("HUP");
    serving.until("was read again and is in use").await;
    assert_eq!(serving.end("INT").await, Some(0));
}

/// It waits for its file, and is told to open its logs anew.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "local")]
async fn a_hangup_before_the_routers_run_kills_nothing() {
    let mut serving = Serving::start_with_input(&["run", "-"], Stdio::piped());
    let file = format!("/proc/{}/status", serving.child.id());
    until("it handles the signal", async || {
        let status = fs::read_to_string(&file).expect("it runs");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("Linux tells it");
        u64::from_str_radix(caught.trim(), 16).expect("a mask") & 1 == 1
    })
    .await;
    serving.signal("HUP");
    let yaml = "admin: {port: 0}\nworkers: 1\nrouters:\n- {protocol: http, servers: [{port: 0}]}\n";
    let mut input = serving.child.stdin.take().expect("it is piped");
    input.write_all(yaml.as_bytes()).expect("it reads");
    drop(input);
    serving.until(" admin address=").await;
    assert_eq!(serving.end("INT").await, Some(0));
}

/// Standard output, as containers have it; and a file that is replaced on SIGHUP, as logrotate does it.
#[tokio::test(flavor = "local")]
async fn access_lines_go_to_standard_output_or_to_a_file_that_can_be_replaced() {
    let names = Names::new();
    let path = |name: &str| format!("{}/{name}", names.path());
    let dtab = "/svc/done => /$/io.buoyant.http.status/204";
    let router = |label: &str, log: &str| {
        format!(
            "- {{protocol: http, label: {label}, dtab: {dtab}, servers: [{{port: 0}}], httpAccessLog: '{log}'}}\n"
        )
    };
    let routers = [router("one", "-"), router("two", &path("access.log"))].concat();
    fs::write(path("config.yaml"), format!("admin: {{port: 0}}\nrouters:\n{routers}"))
        .expect("the folder is there");
    let mut serving = Serving::start(&["run", &path("config.yaml")]);
    let lines = serving.until(" admin address=").await;
    let ports = lines.iter().filter(|line| line.contains(" serving "));
    let ports: Vec<u16> = ports.filter_map(|line| line.rsplit(':').next()?.trim().parse().ok()).collect();
    let mut clients = Vec::new();
    for port in ports {
        clients.push(Wire::connect(SocketAddr::from(([127, 0, 0, 1], port))).await);
    }
    clients[0].get("done", "").await.assert_status(204);
    let lines = serving.until("\"GET / HTTP/1.1\" 204 - \"-\" \"-\"").await;
    assert!(lines.last().is_some_and(|line| line.starts_with("done 127.0.0.1 - - [")), "{lines:?}");

    fs::rename(path("access.log"), path("access.log.1")).expect("it is there");
    serving.signal("HUP");
    until("the log is there again", async || {
        clients[0].get("done", "").await;
        fs::exists(path("access.log")).expect("the folder is there")
    })
    .await;
    clients[1].get("done", "").await.assert_status(204);
    assert_eq!(serving.end("TERM").await, Some(0));
    let count = |name| fs::read_to_string(path(name)).expect("a log").lines().count();
    assert_eq!((count("access.log.1"), count("access.log")), (0, 1));
}

#[test]
fn help_shows_examples_and_exit_codes() {
    let (code, stdout, _) = run(&["--help"], "");
    assert_eq!(code, 0);
    for part in ["Examples:", "Exit codes:", "run", "check", "delegate", "fmt", "demo"] {
        assert!(stdout.contains(part), "{part}: {stdout}");
    }
    for command in ["run", "check", "delegate", "fmt", "demo", "keys", "sign"] {
        let (code, stdout, _) = run(&[command, "--help"], "");
        assert!(code == 0 && stdout.contains("Examples:"), "{stdout}");
    }
    let unreadable: [&[&str]; 4] = [&[], &["--bogus"], &["check"], &["fmt", "--write", "--check", "x"]];
    for arguments in unreadable {
        let (code, stdout, stderr) = run(arguments, "");
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(stderr.contains("Usage:"), "{stderr}");
    }
}

#[test]
fn the_command_line_helps() {
    let (code, stdout, stderr) = run(&[], "");
    assert_eq!((code, stdout.as_str()), (2, ""));
    for part in ["Usage:", "Examples:", "Exit codes:", "delegate"] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    for arguments in [&["chekc"][..], &["chekc", "linkerd.yaml"], &["chekc", "--strict", "linkerd.yaml"]] {
        let (code, _, stderr) = run(arguments, "");
        assert!(code == 2 && stderr.contains("`chekc`") && stderr.contains("`check`"), "{stderr}");
    }
    let (code, stdout, _) = run(&["--version"], "");
    assert!(code == 0 && stdout.starts_with("signpost 0.") && stdout.trim_end().ends_with(')'), "{stdout}");
}

#[test]
fn the_level_of_the_log_is_checked() {
    let check = |level: &str| {
        let mut command = signpost(&["check", "examples/staging.yaml"]);
        let output = command.env("SIGNPOST_LOG", level).output().expect("the binary is there");
        (output.status.code(), String::from_utf8(output.stderr).expect("it writes text"))
    };
    for level in ["", "debug", "error,kubernetes=debug"] {
        assert_eq!(check(level), (Some(0), String::new()), "{level}");
    }
    for level in ["warning", "verbose", "info,proxy=loud"] {
        let (code, stderr) = check(level);
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains("SIGNPOST_LOG") && stderr.contains("error, warn, info, debug"), "{stderr}");
    }
}

#[test]
fn delegate_draws_where_a_name_leads() {
    let ask = |path: &'static str, more: &[&'static str]| {
        run(&[&["delegate", "examples/staging.yaml", path, "--router", "ingress"], more].concat(), "")
    };
    let (code, stdout, _) = ask("/svc/www.hello.world", &[]);
    assert_eq!(code, 0);
    for part in ["/svc/www.hello.world", "/domain/world/hello/www", "/#/io.l5d.fs/hello", "127.0.0.1:7777"] {
        assert!(stdout.contains(part), "{part}: {stdout}");
    }
    assert!(!stdout.contains('\x1b'), "no colours where there is no terminal: {stdout}");

    let (code, stdout, _) = ask("/svc/nobody", &[]);
    assert!(code == 3 && stdout.contains("/domain/nobody"), "{stdout}");
    let (code, stdout, _) = ask("/svc/nobody", &["-d", "/svc/nobody => /srv/world-v2"]);
    assert!(code == 0 && stdout.contains("/#/io.l5d.fs/world-v2"), "{stdout}");
    let (code, stdout, _) = ask("/svc/www.hello.world", &["--json"]);
    let json: serde_json::Value = serde_json::from_str(&stdout).expect("it is JSON");
    assert_eq!((code, &json["type"], &json["path"]), (0, &"delegate".into(), &"/svc/www.hello.world".into()));
    assert!(stdout.contains("\"id\": \"/#/io.l5d.fs/hello\""), "{stdout}");

    for (path, more, says) in [
        ("svc", &[][..], "the path"),
        ("/svc", &["-d", "/svc = /host"], "^"),
        ("/svc", &["--router", "other"], ""),
    ] {
        let (code, stdout, stderr) = ask(path, more);
        assert!([1, 2].contains(&code) && stdout.is_empty() && stderr.contains(says), "{stderr}");
    }
    let (code, _, stderr) = run(&["delegate", "examples/staging.yaml", "/svc"], "");
    assert!(code == 1 && stderr.contains("ingress, outgoing"), "{stderr}");
}

#[test]
fn fmt_lays_a_dtab_out() {
    let (ugly, neat) = ("/svc=>/host;# why\n/a=>/b|/c", "/svc => /host ; # why\n/a   => /b | /c ;\n");
    assert_eq!(run(&["fmt", "-"], ugly), (0, neat.to_owned(), String::new()));
    assert_eq!(run(&["fmt", "--check", "-"], neat).0, 0);
    assert_eq!(run(&["fmt", "--check", "-"], ugly).0, 1);
    let (code, _, stderr) = run(&["fmt", "-"], "/svc => /host ;\n/a = /b");
    assert!(code == 1 && stderr.contains(":2:4:") && stderr.contains('^'), "{stderr}");

    for file in ["routers:\n- protocol: http\n", "namers: []\nrouters: [\n"] {
        let (code, _, stderr) = run(&["fmt", "-"], file);
        assert!(code == 1 && stderr.contains("this is a configuration"), "{stderr}");
    }
    let (_, _, stderr) = run(&["fmt", "-"], "/a => /b # why\n/c => /d");
    assert!(stderr.contains("is a `;` missing at the end of the line before?"), "{stderr}");

    let names = Names::new();
    let file = format!("{}/routes.dtab", names.path());
    fs::write(&file, ugly).expect("the folder is there");
    assert_eq!(run(&["fmt", "--write", &file], "").0, 0);
    assert_eq!(fs::read_to_string(&file).expect("it is there"), neat);
}
