//! The configurations, and what they are asked.

/// A configuration, and what it is asked.
pub(super) struct Example {
    /// Its path in the repository, without `.yaml`.
    pub(super) name: &'static str,
    /// It, written anew.
    pub(super) text: String,
    pub(super) asked: Vec<Asked>,
}

/// A request, and what becomes of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// The routers that it goes through, the one that is asked first.
    pub(super) through: &'static [&'static str],
    /// Its host, or its host and path. `ADDRESS` is that of the endpoint hello.
    pub(super) target: &'static str,
    /// The endpoints that answer, each in turn.
    pub(super) says: &'static [&'static str],
}

const fn asked(
    through: &'static [&'static str],
    target: &'static str,
    says: &'static [&'static str],
) -> Asked {
    Asked { through, target, says }
}

const FILES: &str = "[{kind: io.l5d.fs, rootDir: /disco}]";
const PROXIED: &str = "[{kind: io.l5d.k8s, host: localhost, port: 8001}]";
const CLUSTER: &str = "[{kind: io.l5d.k8s}]";

const LOCAL: &str = "interpreter: {transformers: [{kind: io.l5d.k8s.localnode}]}";
const DAEMON_SET: &str = "interpreter: {transformers: [{kind: io.l5d.k8s.daemonset, namespace: default, port: incoming, service: l5d}]}";
const IDEMPOTENT: &str = "service: {responseClassifier: {kind: io.l5d.http.retryableRead5XX}}";
const BY_RATE: &str =
    "{kind: io.l5d.successRate, successRate: 0.9, requests: 20, backoff: {kind: constant, ms: 10000}}";
const INGRESS: &str = "identifier: {kind: io.l5d.ingress}, dtab: /svc => /#/io.l5d.k8s";

/// The names of most examples of a DaemonSet.
const WORLD: &str =
    "/srv => /#/io.l5d.k8s/default/http; /host => /srv; /svc => /host; /host/world => /srv/world-v1";
/// The same of gRPC.
const GRPC: &str = "/srv => /#/io.l5d.k8s/default/grpc; /grpc => /srv; /grpc/World => /srv/world-v1; \
                    /svc => /$/io.buoyant.http.domainToPathPfx/grpc";
/// The names of a service in any namespace, behind `/k8s` and a port.
const BY_PORT: &str = "{kind: io.l5d.rewrite, prefix: /portNsSvcToK8s, pattern: '/{port}/{ns}/{svc}', name: '/k8s/{ns}/{port}/{svc}'}";
/// Clients of hosts whose port is 443.
const TO_443: &str = "client: {kind: io.l5d.static, configs: [{prefix: '/$/io.buoyant.rinet/443/{service}', tls: {commonName: '{service}'}}]}";

/// A router that has one server, and more keys, the dtab among them if it has one.
fn router(protocol: &str, port: u16, keys: &str) -> String {
    format!("- {{protocol: {protocol}, servers: [{{port: {port}, ip: 0.0.0.0}}], {keys}}}\n")
}

/// The same of HTTP/1 with a dtab.
fn http(port: u16, dtab: &str, keys: &str) -> String {
    router("http", port, &format!("dtab: '{dtab}', {keys}"))
}

/// The same of HTTP/2 with a dtab.
fn h2(port: u16, dtab: &str, keys: &str) -> String {
    router("h2", port, &format!("dtab: '{dtab}', {keys}"))
}

/// A whole file.
fn file(namers: &str, routers: &[String]) -> String {
    let rest = "telemetry: [{kind: io.l5d.prometheus}, {kind: io.l5d.recentRequests, sampleRate: 0.25}]\n\
                usage: {orgId: linkerd-examples}\n";
    format!("admin: {{ip: 0.0.0.0, port: 9990}}\n{rest}namers: {namers}\nrouters:\n{}", routers.concat())
}

/// The two routers of a node: a pod asks `outgoing`, which asks `incoming` of the node where the other pod is.
fn pair(protocol: &str, dtab: &str, outgoing: &str, incoming: &str) -> [String; 2] {
    let of =
        |port, label, keys: &str| router(protocol, port, &format!("label: {label}, dtab: '{dtab}', {keys}"));
    [of(4140, "outgoing", outgoing), of(4141, "incoming", incoming)]
}

/// What is asked of the routers of a node.
fn of_pair(hello: &'static str, world: &'static str) -> Vec<Asked> {
    const BOTH: &[&str] = &["outgoing", "incoming"];
    vec![asked(BOTH, hello, &["hello"]), asked(BOTH, world, &["world-v1"])]
}

pub(super) fn examples() -> Vec<Example> {
    let mut all = of_files();
    all.extend(of_kubernetes());
    all.extend(of_ingresses());
    all.extend(of_daemon_sets());
    all.push(servicemesh());
    all.push(lifecycle());
    all
}

fn of_files() -> Vec<Example> {
    const HTTP: &[&str] = &["http"];
    let hello = |target| vec![asked(HTTP, target, &["hello"])];
    let example = |name, namers, router, asked| Example { name, text: file(namers, &[router]), asked };
    let add_steps =
        format!("{IDEMPOTENT}, client: {{loadBalancer: {{kind: ewma}}, failureAccrual: {BY_RATE}}}");
    let files = "/svc => /#/io.l5d.fs";
    let both = || vec![asked(HTTP, "any", &["hello", "world-v1"])];
    let weighted = |weights| http(4140, weights, "");
    vec![
        example("add-steps/linkerd", FILES, http(4140, "/svc => /#/io.l5d.fs/app", &add_steps), hello("any")),
        failure_accrual(),
        example("getting-started/docker/linkerd", FILES, http(4140, files, ""), hello("hello")),
        example("getting-started/local/linkerd", FILES, http(4140, files, ""), hello("hello")),
        example(
            "http-proxy/linkerd",
            "[]",
            http(4140, "/svc/webapp => /$/inet/127.1/8888", ""),
            hello("webapp"),
        ),
        example(
            "influxdb/linkerd1",
            FILES,
            weighted("/svc => 9 * /#/io.l5d.fs/app1 & /#/io.l5d.fs/app2"),
            both(),
        ),
        example(
            "influxdb/linkerd2",
            FILES,
            weighted("/svc => /#/io.l5d.fs/app1 & 3 * /#/io.l5d.fs/app2"),
            both(),
        ),
        example(
            "perf-baseline/linkerd1-perf/linkerd1-perf/linkerd-h1-config/linkerd",
            "[]",
            http(4143, "/svc => /$/inet/127.1/8080", "experimental: true"),
            hello("any"),
        ),
        example(
            "perf-baseline/linkerd1-perf/linkerd1-perf/linkerd-h2-config/linkerd",
            "[]",
            h2(4143, "/svc => /$/inet/127.1/8080", "experimental: true"),
            vec![asked(&["h2"], "any", &["hello"])],
        ),
    ]
}

/// A router in front of three others, each with a kind of failure accrual.
fn failure_accrual() -> Example {
    const ALL: &[&str] = &["http", "none", "io.l5d.consecutiveFailures", "io.l5d.successRate"];
    let classifier = "service: {responseClassifier: {kind: io.l5d.http.nonRetryable5XX}}";
    let of = |port, keys: &str, dtab: &str, accrual: &str| {
        http(port, dtab, &format!("client: {{failureAccrual: {accrual}}}, {keys}{classifier}"))
    };
    let behind = |port, label, service, accrual: &str| {
        of(port, &format!("label: {label}, "), &format!("/svc => /#/io.l5d.fs/{service}"), accrual)
    };
    let in_a_row = "{kind: io.l5d.consecutiveFailures, failures: 5, backoff: {kind: constant, ms: 10000}}";
    let before = "/svc => /$/inet/127.1/4141 & /$/inet/127.1/4142 & /$/inet/127.1/4143";
    let routers = [
        of(4140, "", before, "{kind: none}"),
        behind(4141, ALL[1], "service1", "{kind: none}"),
        behind(4142, ALL[2], "service2", in_a_row),
        behind(4143, ALL[3], "service3", BY_RATE),
    ];
    let asked = vec![asked(ALL, "any", &["hello", "world-v1", "api"])];
    Example { name: "failure-accrual/linkerd", text: file(FILES, &routers), asked }
}

fn of_kubernetes() -> [Example; 2] {
    let hello = || vec![asked(&["http"], "hello", &["hello"])];
    let add_steps = format!(
        "service: {{kind: io.l5d.global, responseClassifier: {{kind: io.l5d.http.retryableRead5XX}}}}, \
         client: {{kind: io.l5d.global, loadBalancer: {{kind: ewma}}, failureAccrual: {BY_RATE}}}"
    );
    let add_steps = http(4140, "/svc => /#/io.l5d.k8s/add-steps/test-app", &add_steps);
    let service = http(4140, "/svc => /#/io.l5d.k8s/default/service", "");
    [
        Example {
            name: "add-steps/k8s/add-steps/l5d-config/linkerd",
            text: file(PROXIED, &[add_steps]),
            asked: hello(),
        },
        Example {
            name: "getting-started/k8s/linkerd/linkerd-config/config",
            text: file(PROXIED, &[service]),
            asked: hello(),
        },
    ]
}

/// A router that Ingresses name.
fn ingress(protocol: &str, port: u16, keys: &str, server: &str) -> String {
    format!(
        "- {{protocol: {protocol}, {INGRESS}{keys}, servers: [{{port: {port}, ip: 0.0.0.0, clearContext: true{server}}}]}}\n"
    )
}

fn of_ingresses() -> [Example; 2] {
    let tls =
        ", tls: {certPath: /io.buoyant/linkerd/certs/tls.crt, keyPath: /io.buoyant/linkerd/certs/tls.pk8}";
    let example = |name, router| Example {
        name,
        text: file(CLUSTER, &[router]),
        asked: vec![asked(&["http"], "http.example", &["hello"])],
    };
    [
        example(
            "k8s-daemonset/k8s/linkerd-ingress-controller/l5d-config/config",
            ingress("http", 80, "", ""),
        ),
        example(
            "k8s-daemonset/k8s/linkerd-tls-ingress-controller/l5d-config/config",
            ingress("http", 443, "", tls),
        ),
    ]
}

fn of_daemon_sets() -> Vec<Example> {
    let example = |name, namers, routers: &[String]| Example {
        name,
        text: file(namers, routers),
        asked: of_pair("hello", "world"),
    };
    let outgoing = &format!("{DAEMON_SET}, {IDEMPOTENT}");
    let host = |keys: &str| keys.replace("{kind: io.l5d.k8s.", "{hostNetwork: true, kind: io.l5d.k8s.");
    let on_host = pair("http", WORLD, &host(outgoing), &host(LOCAL));
    let trusted =
        "client: {tls: {commonName: linkerd, trustCerts: [/io.buoyant/linkerd/certs/cacertificate.pem]}}";
    let [tls_outgoing, tls_incoming] = pair("http", WORLD, &format!("{outgoing}, {trusted}"), LOCAL);
    let certificate = "port: 4141, tls: {certPath: /io.buoyant/linkerd/certs/certificate.pem, \
                       keyPath: /io.buoyant/linkerd/certs/key.pk8}";
    let tls = [tls_outgoing, tls_incoming.replace("port: 4141", certificate)];
    let times = "service: {kind: io.l5d.static, configs: [{prefix: /svc/hello, totalTimeoutMs: 600}, {prefix: /svc/world, totalTimeoutMs: 100}]}";
    let latency = pair("http", WORLD, &format!("{DAEMON_SET}, {times}"), LOCAL);
    let identifier = "identifier: {kind: io.l5d.header.path, segments: 1}";
    let of_grpc = pair("h2", GRPC, &format!("{identifier}, {DAEMON_SET}"), &format!("{identifier}, {LOCAL}"));
    let mut grpc = example("k8s-daemonset/k8s/linkerd-grpc/l5d-config/config", PROXIED, &of_grpc);
    grpc.asked = of_pair("any/Hello/Greeting", "any/World/Greeting");
    let plain = pair("http", WORLD, outgoing, LOCAL);
    vec![
        example("k8s-daemonset/k8s/linkerd/l5d-config/config", PROXIED, &plain),
        example("k8s-daemonset/k8s/linkerd-cni/l5d-config/config", PROXIED, &on_host),
        example("k8s-daemonset/k8s/linkerd-cni-legacy/l5d-config/config", PROXIED, &on_host),
        example("k8s-daemonset/k8s/linkerd-tls/l5d-config/config", PROXIED, &tls),
        example("k8s-daemonset/k8s/linkerd-latency/l5d-config/config", CLUSTER, &latency),
        grpc,
        egress(),
        ingress_router(),
    ]
}

/// A node's routers that also lead out of the cluster.
fn egress() -> Example {
    let namers = "[{kind: io.l5d.k8s, prefix: /io.l5d.k8s.ds, transformers: [{kind: io.l5d.k8s.daemonset, \
                  namespace: default, port: incoming, service: l5d}]}, {kind: io.l5d.k8s}]";
    let out = "/ph => /$/io.buoyant.rinet; /srv => /ph/80; /srv => /$/io.buoyant.porthostPfx/ph; \
               /srv => /#/io.l5d.k8s.ds/default/http; /svc => /srv; /svc/world => /srv/world-v1";
    let routers = [
        http(4140, out, &format!("label: outgoing, {IDEMPOTENT}, {TO_443}")),
        http(4141, WORLD, &format!("label: incoming, {LOCAL}")),
    ];
    let mut asks = of_pair("hello", "world");
    asks.push(asked(&["outgoing"], "ADDRESS", &["hello"]));
    let name = "k8s-daemonset/k8s/linkerd-egress/l5d-config/config";
    Example { name, text: file(namers, &routers), asked: asks }
}

/// A node's routers, and one for callers outside of the cluster.
fn ingress_router() -> Example {
    let srv = "/srv => /#/io.l5d.k8s/default/http";
    let domains = "/domain/world/hello/www => /srv/hello; /domain/world/hello/api => /srv/api; \
                   /host => /$/io.buoyant.http.domainToPathPfx/domain";
    let world = "/host => /srv; /host/world => /srv/world-v1; /svc => /host";
    let routers = [
        http(4142, &format!("{srv}; {domains}; /svc => /host"), &format!("label: ingress, {DAEMON_SET}")),
        http(4140, &format!("{srv}; {world}"), &format!("label: outgoing, {DAEMON_SET}, {IDEMPOTENT}")),
        http(4141, &format!("{srv}; {domains}; {world}"), &format!("label: incoming, {LOCAL}")),
    ];
    let mut asks = of_pair("hello", "world");
    asks.push(asked(&["ingress", "incoming"], "www.hello.world", &["hello"]));
    asks.push(asked(&["ingress", "incoming"], "api.hello.world", &["api"]));
    let name = "k8s-daemonset/k8s/linkerd-ingress/l5d-config/config";
    Example { name, text: file(PROXIED, &routers), asked: asks }
}

/// All that Linkerd had for a cluster: three protocols, out of the cluster and into it.
fn servicemesh() -> Example {
    let of = |name: &str| {
        format!(
            "{{kind: io.l5d.k8s, prefix: /io.l5d.k8s.{name}, transformers: [{{kind: io.l5d.k8s.daemonset, \
             namespace: linkerd, port: {name}-incoming, service: l5d}}]}}"
        )
    };
    let namers = format!("[{{kind: io.l5d.k8s}}, {}, {}, {}, {BY_PORT}]", of("http"), of("h2"), of("grpc"));
    let out = "/ph => /$/io.buoyant.rinet; /svc => /ph/80; /svc => /$/io.buoyant.porthostPfx/ph; ";
    let hosts = |namer: &str, port: &str| {
        format!(
            "/k8s => /#/{namer}; /portNsSvc => /#/portNsSvcToK8s; /host => /portNsSvc/{port}/default; \
             /host => /portNsSvc/{port}; /svc => /$/io.buoyant.http.domainToPathPfx/host"
        )
    };
    let outgoing = |protocol: &str, port| {
        let dtab = format!("{out}{}", hosts(&format!("io.l5d.k8s.{protocol}"), protocol));
        router(protocol, port, &format!("label: {protocol}-outgoing, dtab: '{dtab}', {TO_443}"))
    };
    let incoming = |protocol: &str, port| {
        let dtab = hosts("io.l5d.k8s", protocol);
        router(protocol, port, &format!("label: {protocol}-incoming, dtab: '{dtab}', {LOCAL}"))
    };
    let by_path = "identifier: {kind: io.l5d.header.path, segments: 1}";
    let packages = |namer: &str| {
        format!("/srv => /#/{namer}/default/grpc; /svc => /$/io.buoyant.http.domainToPathPfx/srv")
    };
    let grpc_out =
        format!("/hp => /$/inet; /svc => /$/io.buoyant.hostportPfx/hp; {}", packages("io.l5d.k8s.grpc"));
    let to_hosts = "client: {kind: io.l5d.static, configs: [{prefix: '/$/inet/{service}', tls: {commonName: '{service}'}}]}";
    let routers = [
        outgoing("http", 4140),
        incoming("http", 4141),
        outgoing("h2", 4240),
        incoming("h2", 4241),
        h2(4340, &grpc_out, &format!("label: grpc-outgoing, {by_path}, {to_hosts}")),
        h2(4341, &packages("io.l5d.k8s"), &format!("label: grpc-incoming, {by_path}, {LOCAL}")),
        ingress("http", 80, ", label: http-ingress", ""),
        ingress("h2", 8080, ", label: h2-ingress", ""),
    ];
    let asked = vec![
        asked(&["http-outgoing", "http-incoming"], "hello", &["hello"]),
        asked(&["http-outgoing", "http-incoming"], "world-v1.default", &["world-v1"]),
        asked(&["http-outgoing"], "ADDRESS", &["hello"]),
        asked(&["h2-outgoing", "h2-incoming"], "hello", &["hello"]),
        asked(&["h2-outgoing", "h2-incoming"], "world-v1.default", &["world-v1"]),
        asked(&["grpc-outgoing", "grpc-incoming"], "any/greeting.hello/Say", &["hello"]),
        asked(&["http-ingress"], "http.example", &["hello"]),
        asked(&["h2-ingress"], "h2.example", &["hello"]),
    ];
    let name = "k8s-daemonset/k8s/servicemesh/l5d-config/config";
    Example { name, text: file(&namers, &routers), asked }
}

fn lifecycle() -> Example {
    let routers = |protocol: &str, label: &str, first: u16| {
        let dtab = format!(
            "/k8s => /#/io.l5d.k8s; /srv => /#/portNsSvcToK8s/{label}; /svc => /$/io.buoyant.http.domainToPathPfx/srv"
        );
        let out =
            DAEMON_SET.replace("namespace: default, port: ", &format!("namespace: linkerd, port: {label}-"));
        [
            router(protocol, first, &format!("label: {label}-outgoing, dtab: '{dtab}', {out}")),
            router(protocol, first + 1, &format!("label: {label}-incoming, dtab: '{dtab}', {LOCAL}")),
        ]
    };
    let all = [routers("http", "http", 4140), routers("h2", "grpc", 4340)].concat();
    let asked = vec![
        asked(&["http-outgoing", "http-incoming"], "hello.default", &["hello"]),
        asked(&["grpc-outgoing", "grpc-incoming"], "world-v1.default", &["world-v1"]),
    ];
    let name = "lifecycle/linkerd1/linkerd/l5d-config/config";
    Example { name, text: file(&format!("[{{kind: io.l5d.k8s}}, {BY_PORT}]"), &all), asked }
}
