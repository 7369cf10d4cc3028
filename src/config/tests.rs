use super::*;
use crate::context::token::{KeyFiles, SignedOverrides};
use crate::context::{
    Forwarded, ForwardedFrom, HostParameter, Labeler, OverrideLimits, Requirement, SignedTrust, Tenancy,
    Trust,
};
use crate::proxy::AccessFormat;
use crate::telemetry::{LogFile, LogTarget, RollPolicy};
use crate::{identify, namer};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

mod kubernetes;
mod sandboxes;
mod traffic;
mod trust;

fn config(text: &str) -> Config {
    read("f.yaml", text).unwrap_or_else(|errors| panic!("{errors}"))
}

fn path(text: &str) -> crate::name::Path {
    text.parse().expect("a path")
}

/// Returns a router with these lines, and with a server unless they have some.
fn router(lines: &str) -> String {
    let servers = if lines.contains("servers:") { "" } else { "  servers: [{port: 0}]\n" };
    format!("routers:\n- protocol: http\n{lines}{servers}")
}

#[test]
fn the_least_file_has_every_default() {
    let config = config("routers:\n- protocol: http\n  servers:\n  - {}\n");
    assert_eq!(config.admin.address().to_string(), "127.0.0.1:9990");
    let waits = (config.admin.shutdown_delay, config.admin.shutdown_grace);
    assert_eq!(waits, (Duration::from_secs(5), Duration::from_secs(10)));
    assert!(config.namers.is_empty() && config.warnings.is_empty());
    let [router] = config.routers.as_slice() else { panic!("one router") };
    assert_eq!((router.label.as_str(), router.dtab.len(), &router.dst_prefix), ("http", 0, &path("/svc")));
    assert_eq!(router.identifiers, [identify::Config::default()]);
    assert_eq!(router.binding_timeout, Duration::from_secs(10));
    assert_eq!(router.binding_cache, BindingCacheConfig::default());
    assert_eq!((router.max_headers_kb, router.max_initial_line_kb, router.max_err_response_kb), (8, 4, 5120));
    let [server] = router.servers.as_slice() else { panic!("one server") };
    assert_eq!((server.address().to_string().as_str(), server.label.as_deref()), ("127.0.0.1:4140", None));
    assert_eq!((server.max_concurrent_requests, server.timeout, server.max_call_depth), (None, None, 100));
    assert_eq!((server.max_connections, server.max_headers), (10_000, 100));
    assert_eq!(
        (server.headers_timeout, &server.session),
        (Duration::from_secs(10), &SessionConfig::default())
    );
    assert_eq!((&server.add_forwarded_header, &server.timestamp_header), (&None, &None));
    assert_eq!((server.socket_options.no_delay, server.socket_options.reuse_port), (true, false));
}

const EVERYTHING: &str = r#"
admin: {ip: 0.0.0.0, port: 1, shutdownGraceMs: 5, socketOptions: {backlog: 6}, workerThreads: 2, shutdownDelayMs: 3}
usage: {orgId: me, enabled: false}
telemetry:
- kind: io.l5d.statsd
namers:
- {kind: io.l5d.fs, rootDir: names}
- {kind: io.l5d.rewrite, prefix: /re/write, pattern: "/{a}", name: "/b/{a}"}
- {kind: io.l5d.dnssrv}
- {kind: io.l5d.dnssrv, prefix: /srv, refreshIntervalSeconds: 60, dnsHosts: [10.0.0.10, "ns:54"], domain: a.b}
routers:
- protocol: http
  label: in
  dtab: |
    # The services.
    /srv => /#/io.l5d.fs ;

    /host => /srv | /$/nil; # both
    /svc => /host
  dstPrefix: /http
  identifier:
  - {kind: io.l5d.header.token, header: x-name}
  - {kind: io.l5d.header}
  - {kind: io.l5d.path, segments: 2, consume: true}
  - {kind: io.l5d.methodAndHost, httpUriInDst: true}
  - {kind: io.l5d.static, path: /a/b}
  interpreter: {kind: default}
  client: {kind: io.l5d.global, hostConnectionPool: {maxWaiters: 5}}
  service: {}
  bindingTimeoutMs: 7
  bindingCache: {paths: 1, clients: 4, idleTtlSecs: 5, bytes: 2MiB}
  maxOverrideLookups: 20
  maxHeadersKB: 9
  maxResponseHeaders: 3
  maxInitialLineKB: 10
  maxErrResponseKB: 11
  streamingEnabled: true
  servers:
  - ip: "::1"
    port: 12
    label: first
    trust: nobody
    maxConcurrentRequests: 13
    timeoutMs: 14
    maxCallDepth: 15
    timestampHeader: x-request-start
    addForwardedHeader: {by: {kind: static, label: me}, for: {kind: "ip:port"}}
    socketOptions:
      {noDelay: false, reuseAddr: true, reusePort: true, keepAlive: true, backlog: 16, readTimeoutMs: 17, writeTimeoutMs: 18}
  - {ip: 0.0.0.0, clearContext: true, addForwardedHeader: {}, maxConnections: 19, maxConnectionsPerPeer: 18, maxHeaders: 20, headersTimeoutMs: 21,
     maxRequestsPerPeer: 17, maxConcurrentStreamsPerConnection: 16, serverSession: {idleTimeMs: 22, lifeTimeMs: 23}}
"#;

#[test]
fn connect_is_for_listeners_that_trust_somebody() {
    let of = |keys: &str| config(&format!("routers: [{{protocol: http, servers: [{{{keys}}}]}}]"));
    let trusting = of("connect: true");
    assert!(trusting.routers[0].servers[0].connect && trusting.warnings.is_empty());
    let nobody = of("connect: true, trust: nobody");
    let [warning] = &nobody.warnings[..] else { panic!("{:?}", nobody.warnings) };
    assert!(warning.to_string().contains("servers[0].connect: `connect` has no effect"), "{warning}");
}

#[test]
fn every_key_that_works_ends_in_its_field() {
    let config = config(EVERYTHING);
    assert_eq!(config.admin.address().to_string(), "0.0.0.0:1");
    assert_eq!((config.admin.shutdown_delay.as_millis(), config.admin.shutdown_grace.as_millis()), (3, 5));
    let fs = namer::Config {
        prefix: path("/io.l5d.fs"),
        kind: namer::Kind::Fs(namer::Fs { root_dir: "names".into() }),
        transformers: Vec::new(),
    };
    let rewrite = namer::Rewrite { pattern: "/{a}".into(), name: "/b/{a}".into() };
    let rewrite = namer::Config {
        prefix: path("/re/write"),
        kind: namer::Kind::Rewrite(rewrite),
        transformers: Vec::new(),
    };
    let srv = |prefix, refresh_interval_seconds, dns_hosts: &[&str], domain: Option<&str>| {
        let dns_hosts = dns_hosts.iter().copied().map(str::to_owned).collect();
        let domain = domain.map(str::to_owned);
        let srv = namer::DnsSrv { refresh_interval_seconds, dns_hosts, domain };
        namer::Config { prefix: path(prefix), kind: namer::Kind::DnsSrv(srv), transformers: Vec::new() }
    };
    let usual = srv("/io.l5d.dnssrv", 5, &[], None);
    let other = srv("/srv", 60, &["10.0.0.10", "ns:54"], Some("a.b"));
    assert_eq!(config.namers, [fs, rewrite, usual, other]);
    let [router] = config.routers.as_slice() else { panic!("one router") };
    let dtab = "/srv=>/#/io.l5d.fs;/host=>/srv | /$/nil;/svc=>/host";
    assert_eq!(
        (router.label.as_str(), &router.dtab, &router.dst_prefix),
        ("in", &dtab.parse().expect("a dtab"), &path("/http"))
    );
    let identifiers = [
        identify::Config::HeaderToken(identify::HeaderToken { header: "x-name".into() }),
        identify::Config::Header(identify::Header { header: "l5d-name".into() }),
        identify::Config::Path(identify::PathSegments { segments: 2, consume: true }),
        identify::Config::MethodAndHost(identify::MethodAndHost { http_uri_in_dst: true }),
        identify::Config::Static(identify::StaticPath { path: path("/a/b") }),
    ];
    assert_eq!(router.identifiers, identifiers);
    assert_eq!(router.binding_timeout.as_millis(), 7);
    let cache = BindingCacheConfig { paths: 1, clients: 4, idle_ttl: Duration::from_secs(5), bytes: 2 << 20 };
    assert_eq!(router.max_override_lookups, 20);
    assert_eq!(router.binding_cache, cache);
    assert_eq!((router.max_headers_kb, router.max_initial_line_kb, router.max_err_response_kb), (9, 10, 11));
    assert_eq!(router.max_response_headers, 3);
    let [first, second] = router.servers.as_slice() else { panic!("two servers") };
    let options = SocketConfig {
        no_delay: false,
        reuse_port: true,
        keep_alive: Some(true),
        backlog: Some(16),
        read_timeout: Some(Duration::from_millis(17)),
        write_timeout: Some(Duration::from_millis(18)),
    };
    let expected = Server {
        ip: IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
        port: 12,
        label: Some("first".into()),
        proxy_protocol: None,
        tls: None,
        trust_is_set: true,
        trust: Trust::Nobody,
        hosts: Vec::new(),
        trust_reason: "trusts nobody: `trust: nobody` is set".into(),
        overrides: OverrideLimits::default(),
        inject: Arc::new([]),
        forwarded_from: ForwardedFrom::Trusted,
        max_concurrent_requests: Some(13),
        max_connections: 10_000,
        max_connections_per_peer: None,
        max_headers: 100,
        headers_timeout: Duration::from_secs(10),
        session: SessionConfig::default(),
        timeout: Some(Duration::from_millis(14)),
        max_call_depth: 15,
        add_forwarded_header: Some(Forwarded {
            by: Labeler::Static("me".into()),
            from: Labeler::IpPort,
            host: HostParameter::Host,
        }),
        max_streams: None,
        max_requests_per_peer: 1000,
        connect: false,
        ingress_redirect: None,
        http2: Http2Config::default(),
        timestamp_header: Some("x-request-start".into()),
        socket_options: options,
    };
    assert_eq!(first, &expected);
    assert_eq!((second.label.as_deref(), second.port, &second.trust), (None, 4140, &Trust::Nobody));
    assert_eq!(second.add_forwarded_header, Some(Forwarded::default()));
    assert_eq!((second.max_connections, second.max_connections_per_peer), (19, Some(18)));
    assert_eq!((second.max_requests_per_peer, second.max_streams), (17, Some(16)));
    assert_eq!((second.max_headers, second.headers_timeout.as_millis()), (20, 21));
    let [idle, life] = [22, 23].map(|millis| Some(Duration::from_millis(millis)));
    assert_eq!(second.session, SessionConfig { idle, life });
}

#[test]
fn h2_has_its_own_defaults() {
    let config = config("routers:\n- protocol: h2\n  servers: [{}]\n");
    let [router] = config.routers.as_slice() else { panic!("one router") };
    assert_eq!((router.protocol, router.label.as_str()), (Protocol::H2, "h2"));
    let authority = identify::HeaderToken { header: ":authority".into() };
    assert_eq!(router.identifiers, [identify::Config::HeaderToken(authority)]);
    assert_eq!((&router.dst_prefix, &router.client), (&path("/svc"), &ByPrefix::default()));
    let [server] = router.servers.as_slice() else { panic!("one server") };
    assert_eq!(server.address().to_string(), "127.0.0.1:4142");
    assert_eq!((server.max_streams, &server.http2), (None, &Http2Config::default()));
    assert_eq!(server.max_call_depth, 100);
}

#[test]
fn every_h2_key_that_works_ends_in_its_field() {
    let config = config(
        r#"
routers:
- protocol: h2
  label: grpc
  dtab: /svc => /#/io.l5d.fs
  dstPrefix: /grpc
  identifier:
  - {kind: io.l5d.header.path, segments: 2}
  - {kind: io.l5d.header.path, header: my-path}
  - {kind: io.l5d.header.token}
  - {kind: io.l5d.header.token, header: Host}
  - {kind: io.l5d.static, path: /a}
  client:
    initialStreamWindowBytes: 1
    headerTableBytes: 2
    maxFrameBytes: 16384
    maxHeaderListBytes: 3
    maxConcurrentStreamsPerConnection: 4
  servers:
  - ip: 0.0.0.0
    clearContext: true
    timeoutMs: 5
    maxCallDepth: 6
    addForwardedHeader: {by: {kind: ip}}
    maxConcurrentStreamsPerConnection: 7
    initialStreamWindowBytes: 2147483647
    headerTableBytes: 0
    maxFrameBytes: 16777215
    maxHeaderListBytes: 9
    windowUpdateRatio: 0.99
"#,
    );
    let [router] = config.routers.as_slice() else { panic!("one router") };
    assert_eq!(
        (router.protocol, router.label.as_str(), &router.dst_prefix),
        (Protocol::H2, "grpc", &path("/grpc"))
    );
    let header_path = |header: &str, segments| {
        identify::Config::HeaderPath(identify::HeaderPath { header: header.into(), segments })
    };
    let token = |header: &str| identify::Config::HeaderToken(identify::HeaderToken { header: header.into() });
    let identifiers = [
        header_path(":path", Some(2)),
        header_path("my-path", None),
        token(":authority"),
        token("Host"),
        identify::Config::Static(identify::StaticPath { path: path("/a") }),
    ];
    assert_eq!(router.identifiers, identifiers);
    let http2 = |window, table, frame, list| Http2Config {
        stream_window: Some(window),
        header_table: Some(table),
        max_frame: Some(frame),
        max_header_list: Some(list),
    };
    assert_eq!(router.client.of(&path("/#/a")).http2, http2(1, 2, 16384, 3));
    let [server] = router.servers.as_slice() else { panic!("one server") };
    assert_eq!((server.port, &server.trust, server.max_call_depth), (4142, &Trust::Nobody, 6));
    assert_eq!((server.timeout, server.max_streams), (Some(Duration::from_millis(5)), Some(7)));
    assert_eq!(server.http2, http2(i32::MAX as u32, 0, (1 << 24) - 1, 9));
    let forwarded =
        Forwarded { by: Labeler::Ip, from: Labeler::RequestRandom, host: HostParameter::Authority };
    assert_eq!(server.add_forwarded_header, Some(forwarded));
    let warned: Vec<_> = config.warnings.iter().map(|warning| warning.key.as_str()).collect();
    let expected =
        ["routers[0].client.maxConcurrentStreamsPerConnection", "routers[0].servers[0].windowUpdateRatio"];
    assert_eq!(warned, expected);
}

#[test]
fn what_has_no_effect_warns_at_its_place() {
    let config = config(EVERYTHING);
    let warnings: Vec<_> =
        config.warnings.iter().map(|w| (w.place.line, w.place.column, w.key.as_str())).collect();
    let expected = [
        (2, 28, "admin.ip"),
        (2, 51, "admin.socketOptions"),
        (2, 80, "admin.workerThreads"),
        (3, 1, "usage"),
        (5, 9, "telemetry[0].kind"),
        (22, 5, "routers[0].identifier"),
        (37, 3, "routers[0].streamingEnabled"),
        (49, 24, "routers[0].servers[0].socketOptions.reuseAddr"),
    ];
    assert_eq!(warnings, expected);
    let shown = "f.yaml:3:1: usage: `usage` has no effect: no usage data is sent";
    assert_eq!(config.warnings[3].to_string(), shown);
}

#[test]
fn places_are_those_of_the_file() {
    let Places { admin, workers, routers, namers, sandboxes } = config(EVERYTHING).places;
    let at = |line, column| Place { line, column };
    assert_eq!(sandboxes, SandboxPlaces::default(), "the file does not mention them");
    assert_eq!(workers, at(2, 1), "the beginning, for the file does not say");
    assert_eq!((admin, namers), (at(2, 28), vec![at(7, 3), at(8, 3), at(9, 3), at(10, 3)]));
    let [router] = routers.as_slice() else { panic!("one router") };
    assert_eq!((router.key.as_str(), router.router, router.label), ("routers[0]", at(12, 3), at(13, 10)));
    assert_eq!((router.dtab, &router.dentries), (at(15, 5), &vec![at(16, 5), at(18, 5), at(19, 5)]));
    assert_eq!((&router.servers, &router.ports), (&vec![at(39, 5), at(50, 5)], &vec![at(40, 11), at(50, 5)]));
}

/// A reload keeps routers with the same settings, wherever they stand.
#[test]
fn routers_compare_by_meaning() {
    let moved = format!("# a line more\n{}", EVERYTHING.replace("# both", "# either"));
    let (before, after) = (config(EVERYTHING), config(&moved));
    assert_eq!((&before.routers, &before.namers), (&after.routers, &after.namers));
    assert_ne!(before.places, after.places);
    assert_ne!(before.routers, config(&EVERYTHING.replace("/$/nil", "/$/fail")).routers);
}

#[test]
fn json_is_read_as_yaml_is() {
    let json = r#"
{
	"routers": [
		{ "protocol": "http", "label": "a\/b", "dtab": "/svc => /host;",
			"identifier": {"kind":"io.l5d.path","segments":"2"}, "servers": [{"port":0},{"port":0}] }
	]
}"#;
    let config = config(json);
    let router = &config.routers[0];
    assert_eq!((router.label.as_str(), router.dtab.len(), router.servers.len()), ("a/b", 1, 2));
    assert_eq!(
        router.identifiers,
        [identify::Config::Path(identify::PathSegments { segments: 2, consume: false })]
    );
    assert_eq!(config.places.routers[0].dentries, [Place { line: 4, column: 51 }]);
}

#[test]
fn ports_are_in_conflict_when_one_listener_would_take_the_others() {
    for (first, second, conflict) in [
        ("", "ip: 127.0.0.1", true),
        ("ip: 127.0.0.1", "ip: 127.0.0.2", false),
        ("ip: 0.0.0.0", "ip: 127.0.0.1", true),
        ("ip: 10.0.0.1", "ip: 0.0.0.0", true),
        (r#"ip: "::""#, "ip: 10.0.0.1", true),
        (r#"ip: "::""#, "ip: 0.0.0.0", true),
        (r#"ip: "::1""#, "ip: 0.0.0.0", false),
        (r#"ip: "::1""#, r#"ip: "::""#, true),
        (r#"ip: "::ffff:10.0.0.1""#, "ip: 10.0.0.1", true),
    ] {
        let text = router(&format!("  servers:\n  - {{port: 80, {first}}}\n  - {{port: 80, {second}}}\n"));
        assert_eq!(read("f", &text).is_err(), conflict, "{first} and {second}");
        let text = text.replace("port: 80", "port: 0");
        assert!(read("f", &text).is_ok(), "0 may repeat: {first} and {second}");
    }
}

#[test]
fn a_file_of_errors_is_not_read_to_its_end() {
    for servers in ["  - prot: 1\n", "  - port: x\n", "  - {}\n", "  - 1\n"] {
        let text = router(&format!("  servers:\n{}", servers.repeat(10_000)));
        let errors = read("f", &text).expect_err("wrong");
        assert!((100..300).contains(&errors.iter().len()), "{servers}: {}", errors.iter().len());
        assert!(errors.to_string().ends_with("and perhaps more: too many to go on"));
    }
}

/// No text makes the reader panic: files that break off, and files with a sign that means something in a wrong place.
#[test]
fn damaged_files_are_errors_at_worst() {
    const SIGNS: &[&str] = &[
        "\t", "{", "]", "*", "&", "!", "|", "'", "\"", "%", "@", "?", ":", "#", "\n", "\n---\n", "\u{feff}",
        "é",
    ];
    for (at, sign) in (0..EVERYTHING.len()).step_by(5).zip(SIGNS.iter().cycle()) {
        let (before, after) = EVERYTHING.split_at(at);
        for text in [before.to_owned(), format!("{before}{sign}{}", &after[1..])] {
            let Err(errors) = read("f", &text) else { continue };
            assert!(errors.iter().all(|error| error.line > 0 && !error.excerpt.is_empty()), "{errors}");
        }
    }
}

/// Returns the access log of a router with these lines, and the warnings.
fn access_log(lines: &str) -> (Option<AccessLogConfig>, Vec<String>) {
    let mut config = config(&router(lines));
    let warnings = config.warnings.iter().map(ToString::to_string).collect();
    (config.routers.remove(0).access_log, warnings)
}

#[test]
fn access_logs_are_off_until_one_is_named() {
    let usual = LogFile { path: "logs/a.log".into(), roll: RollPolicy::Never, append: true, keep: None };
    let file = |file: LogFile, format| Some(AccessLogConfig { target: LogTarget::File(file), format });
    assert_eq!(access_log(""), (None, vec![]));
    assert_eq!(
        access_log("  httpAccessLog: logs/a.log\n"),
        (file(usual.clone(), AccessFormat::Linkerd), vec![])
    );
    let all = "  httpAccessLog: logs/a.log
  httpAccessLogFormat: json
  httpAccessLogRollPolicy: 10.Megabytes
  httpAccessLogAppend: false
  httpAccessLogRotateCount: 0
";
    let kept = LogFile { roll: RollPolicy::Size(10 << 20), append: false, keep: Some(0), ..usual.clone() };
    assert_eq!(access_log(all), (file(kept, AccessFormat::Json), vec![]));
    let h2 = all.replace("http", "h2") + "  servers: [{port: 0}]\n";
    let h2 = config(&format!("routers:\n- protocol: h2\n{h2}"));
    assert_eq!(h2.routers[0].access_log, access_log(all).0);
    assert_eq!(h2.places.routers[0].access_log.0, "routers[0].h2AccessLog");
    let all_kept = "  httpAccessLog: logs/a.log\n  httpAccessLogRotateCount: -1\n";
    assert_eq!(access_log(all_kept), (file(usual, AccessFormat::Linkerd), vec![]));
}

#[test]
fn keys_of_an_access_log_that_change_nothing_warn() {
    for output in ["'-'", "/dev/stdout"] {
        let (log, warnings) = access_log(&format!(
            "  httpAccessLog: {output}\n  httpAccessLogFormat: json\n  httpAccessLogRollPolicy: daily\n"
        ));
        let expected = AccessLogConfig { target: LogTarget::StandardOutput, format: AccessFormat::Json };
        assert_eq!(log, Some(expected));
        let warning = "f.yaml:5:28: routers[0].httpAccessLogRollPolicy: `httpAccessLogRollPolicy` has no effect: \
                       the standard output is not a file that is rolled here";
        assert_eq!(warnings, [warning]);
    }
    let (log, warnings) = access_log("  httpAccessLogFormat: json\n  httpAccessLogAppend: true\n");
    assert_eq!((log, warnings.len()), (None, 2));
    assert!(
        warnings[0].ends_with("has no effect: there is no access log without `httpAccessLog`"),
        "{warnings:?}"
    );
}

#[test]
fn routers_share_an_access_log_only_if_they_keep_it_alike() {
    let two = |second: &str| {
        let first = "- {protocol: http, label: a, servers: [{port: 0}], httpAccessLog: a.log}";
        read(
            "f",
            &format!("routers:\n{first}\n- {{protocol: http, label: b, servers: [{{port: 0}}], {second}}}\n"),
        )
    };
    for second in ["httpAccessLog: ./a.log", "httpAccessLog: b.log, httpAccessLogFormat: json"] {
        assert!(two(second).is_ok(), "{second}");
    }
    for key in ["Format: json", "RollPolicy: daily", "Append: false", "RotateCount: 1"] {
        assert!(two(&format!("httpAccessLog: a.log, httpAccessLog{key}")).is_err(), "{key}");
    }
}
