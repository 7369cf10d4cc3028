//! A resolved configuration as JSON: what the admin server shows.
//!
//! It is a configuration itself, with every default written out: reading it gives the same again, but for places and for
//! the reasons of trust. Each type is taken apart by name, so that a new key cannot be forgotten here.

use super::resolved::{
    AccessLog, Admin, BindingCache, Client, Config, Http2, Protocol, Router, Server, Session, SocketOptions,
};
use crate::context::{Forwarded, Labeler, Range, Trust};
use crate::proxy::AccessFormat;
use crate::telemetry::{LogFile, LogTarget};
use crate::{identify, namer, store};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::time::Duration;

impl Config {
    /// Returns the configuration as JSON, every default in place. What was not said and has no default is absent.
    pub fn to_json(&self) -> Value {
        let Self { file: _, admin, routers, namers, places: _, warnings: _ } = self;
        json!({
            "admin": admin_json(admin),
            "namers": namers.iter().map(namer_json).collect::<Vec<_>>(),
            "routers": routers.iter().map(router_json).collect::<Vec<_>>(),
        })
    }
}

fn admin_json(admin: &Admin) -> Value {
    let Admin { ip, port, shutdown_delay, shutdown_grace } = admin;
    json!({
        "ip": ip,
        "port": port,
        "shutdownDelayMs": millis(*shutdown_delay),
        "shutdownGraceMs": millis(*shutdown_grace),
    })
}

fn router_json(router: &Router) -> Value {
    let Router {
        protocol,
        label,
        dtab,
        store,
        transformers,
        dst_prefix,
        identifiers,
        binding_timeout,
        binding_cache: BindingCache { paths, clients, idle_ttl },
        servers,
        client: Client { http2 },
        max_headers_kb,
        max_initial_line_kb,
        max_err_response_kb,
        access_log,
    } = router;
    let common = json!({
        "protocol": protocol.name(),
        "label": label,
        "dtab": format!("{dtab:#}"),
        "interpreter": interpreter_json(store.as_ref(), transformers),
        "dstPrefix": dst_prefix.to_string(),
        "identifier": identifiers.iter().map(identifier_json).collect::<Vec<_>>(),
        "bindingTimeoutMs": millis(*binding_timeout),
        "bindingCache": { "paths": paths, "clients": clients, "idleTtlSecs": idle_ttl.as_secs() },
        "servers": servers.iter().map(|server| server_json(server, *protocol)).collect::<Vec<_>>(),
    });
    let own = match protocol {
        Protocol::Http => json!({
            "maxHeadersKB": max_headers_kb,
            "maxInitialLineKB": max_initial_line_kb,
            "maxErrResponseKB": max_err_response_kb,
        }),
        Protocol::H2 => json!({ "client": http2_json(http2) }),
    };
    let log = access_log.as_ref().map_or(json!({}), |log| access_log_json(protocol.name(), log));
    said(both(both(common, own), log))
}

/// The keys of an access log; they begin with the router's protocol.
fn access_log_json(protocol: &str, log: &AccessLog) -> Value {
    let AccessLog { target, format } = log;
    let key = |rest: &str| format!("{protocol}AccessLog{rest}");
    let format = match format {
        AccessFormat::Linkerd => "linkerd",
        AccessFormat::Json => "json",
    };
    match target {
        LogTarget::StandardOutput => json!({ key(""): "-", key("Format"): format }),
        LogTarget::File(LogFile { path, roll, append, keep }) => json!({
            key(""): path,
            key("Format"): format,
            key("RollPolicy"): roll.to_string(),
            key("Append"): append,
            key("RotateCount"): keep.map_or(json!(-1), |keep| json!(keep)),
        }),
    }
}

fn interpreter_json(store: Option<&store::Config>, transformers: &[namer::TransformerConfig]) -> Value {
    let interpreter = match store {
        Some(store) => store_json(store),
        None if transformers.is_empty() => return Value::Null,
        None => json!({ "kind": "default" }),
    };
    said(both(interpreter, json!({ "transformers": transformers_json(transformers) })))
}

/// Null when there are none.
fn transformers_json(transformers: &[namer::TransformerConfig]) -> Value {
    let transformers: Vec<_> = transformers.iter().map(|one| with_kind(one.kind(), one)).collect();
    if transformers.is_empty() { Value::Null } else { transformers.into() }
}

fn store_json(store: &store::Config) -> Value {
    let mut keys = match store {
        store::Config::Fs(store::FileStoreConfig { dtab_file }) => json!({ "dtabFile": dtab_file }),
        store::Config::Kubernetes(kubernetes) => json!(kubernetes),
    };
    keys["kind"] = store.kind().into();
    keys
}

fn server_json(server: &Server, protocol: Protocol) -> Value {
    let Server {
        ip,
        port,
        label,
        trust,
        trust_is_said: _,
        trust_reason: _,
        max_concurrent_requests,
        max_connections,
        max_headers,
        headers_timeout,
        session,
        timeout,
        max_call_depth,
        add_forwarded_header,
        max_streams,
        http2,
        timestamp_header,
        socket_options,
    } = server;
    let trust = match trust {
        Trust::Everybody => json!("everybody"),
        Trust::Nobody => json!("nobody"),
        Trust::From(ranges) => json!({ "from": ranges.iter().map(Range::to_string).collect::<Vec<_>>() }),
    };
    let common = json!({
        "ip": ip,
        "port": port,
        "label": label,
        "trust": trust,
        "maxConcurrentRequests": max_concurrent_requests,
        "maxConnections": max_connections,
        "maxHeaders": max_headers,
        "headersTimeoutMs": millis(*headers_timeout),
        "serverSession": (*session != Session::default()).then(|| session_json(session)),
        "timeoutMs": timeout.map(millis),
        "maxCallDepth": max_call_depth,
        "addForwardedHeader": add_forwarded_header.as_ref().map(forwarded_json),
        "socketOptions": socket_json(socket_options),
    });
    let own = match protocol {
        Protocol::Http => json!({ "timestampHeader": timestamp_header }),
        Protocol::H2 => both(json!({ "maxConcurrentStreamsPerConnection": max_streams }), http2_json(http2)),
    };
    said(both(common, own))
}

fn http2_json(http2: &Http2) -> Value {
    let Http2 { stream_window, header_table, max_frame, max_header_list } = http2;
    said(json!({
        "initialStreamWindowBytes": stream_window,
        "headerTableBytes": header_table,
        "maxFrameBytes": max_frame,
        "maxHeaderListBytes": max_header_list,
    }))
}

fn forwarded_json(forwarded: &Forwarded) -> Value {
    // The name of the host's parameter follows from the protocol.
    let Forwarded { by, from, host: _ } = forwarded;
    json!({ "by": labeler_json(by), "for": labeler_json(from) })
}

fn labeler_json(labeler: &Labeler) -> Value {
    let kind = match labeler {
        Labeler::Ip => "ip",
        Labeler::IpPort => "ip:port",
        Labeler::ConnectionRandom => "connectionRandom",
        Labeler::RequestRandom => "requestRandom",
        Labeler::Router => "router",
        Labeler::Static(label) => return json!({ "kind": "static", "label": label }),
    };
    json!({ "kind": kind })
}

fn session_json(session: &Session) -> Value {
    let Session { idle, life } = session;
    said(json!({ "idleTimeMs": idle.map(millis), "lifeTimeMs": life.map(millis) }))
}

fn socket_json(options: &SocketOptions) -> Value {
    let SocketOptions { no_delay, reuse_port, keep_alive, backlog, read_timeout, write_timeout } = options;
    said(json!({
        "noDelay": no_delay,
        "reusePort": reuse_port,
        "keepAlive": keep_alive,
        "backlog": backlog,
        "readTimeoutMs": read_timeout.map(millis),
        "writeTimeoutMs": write_timeout.map(millis),
    }))
}

fn identifier_json(identifier: &identify::Config) -> Value {
    with_kind(identifier.kind(), identifier)
}

fn namer_json(namer: &namer::Config) -> Value {
    let namer::Config { prefix, kind, transformers } = namer;
    let mut json = with_kind(kind.name(), kind);
    json["prefix"] = prefix.to_string().into();
    json["transformers"] = transformers_json(transformers);
    said(json)
}

/// The keys of a kind, with the kind. A value that is no JSON, such as a directory whose name is not UTF-8, is absent.
fn with_kind(kind: &str, keys: &impl Serialize) -> Value {
    let mut json = serde_json::to_value(keys).unwrap_or_else(|_| Map::new().into());
    json["kind"] = kind.into();
    json
}

/// The members of two objects.
fn both(mut one: Value, other: Value) -> Value {
    if let (Value::Object(members), Value::Object(more)) = (&mut one, other) {
        members.extend(more);
    }
    one
}

/// Without what was not said.
fn said(mut json: Value) -> Value {
    if let Value::Object(members) = &mut json {
        members.retain(|_, value| !value.is_null());
    }
    json
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, read};
    use std::net::{IpAddr, Ipv4Addr};

    /// What two configurations say, without where and why.
    fn meaning(mut config: Config) -> Config {
        config.places = super::super::Places::default();
        config.warnings.clear();
        config.routers.iter_mut().flat_map(|router| &mut router.servers).for_each(|server| {
            server.trust_reason.clear();
            server.trust_is_said = true;
        });
        config
    }

    #[test]
    fn what_is_shown_is_the_same_configuration() {
        let full = r#"
admin:
  ip: 127.0.0.2
  port: 0
  shutdownDelayMs: 2000
  shutdownGraceMs: 3000
  socketOptions: {noDelay: false, keepAlive: true, backlog: 7, readTimeoutMs: 1, writeTimeoutMs: 2, reusePort: true}
namers:
- {kind: io.l5d.fs, rootDir: names}
- {kind: io.l5d.fs, rootDir: /names, prefix: /two/parts}
- {kind: io.l5d.rewrite, prefix: /r, pattern: "/{a}", name: "/b/{a}"}
- {kind: io.l5d.k8s}
- {kind: io.l5d.k8s, prefix: /k, host: localhost, labelSelector: example.org/version, endpoints: v1, watch: cluster}
- {kind: io.l5d.k8s.ns, envVar: NS, kubeconfig: /k/config, context: dev, endpoints: discovery.k8s.io/v1}
- {kind: io.l5d.k8s.external, port: 8002}
- kind: io.l5d.fs
  prefix: /through
  rootDir: names
  transformers:
  - {kind: io.l5d.localhost}
  - {kind: io.l5d.specificHost, host: localhost}
  - {kind: io.l5d.port, port: 4141}
  - {kind: io.l5d.k8s.localnode}
  - {kind: io.l5d.k8s.localnode, envVar: NODE}
  - {kind: io.l5d.k8s.daemonset, namespace: default, port: incoming, service: l5d}
  - {kind: io.l5d.k8s.daemonset, k8sHost: "::1", k8sPort: 3, snapshot: known, namespace: default, port: 4141, service: l5d}
  - {kind: io.l5d.k8s.daemonset, kubeconfig: c, context: x, namespace: default, port: 4141, service: l5d}
  - {kind: io.l5d.replace, path: /$/inet/127.1/4140}
  - {kind: io.l5d.const, path: "/$/io.buoyant.http.status/204"}
routers:
- protocol: http
  servers: [{port: 0}]
- protocol: http
  label: transforming
  interpreter: {transformers: [{kind: io.l5d.port, port: 4141}, {kind: io.l5d.localhost}]}
  servers: [{port: 0}]
- protocol: http
  label: through file
  interpreter: {kind: io.l5d.fs, dtabFile: dtab, transformers: [{kind: io.l5d.localhost}]}
  servers: [{port: 0}]
- {protocol: http, label: file, interpreter: {kind: io.l5d.fs, dtabFile: routes.dtab}, servers: [{port: 0}]}
- protocol: http
  label: map
  interpreter: {kind: io.l5d.k8s.configMap, kubeconfig: c, context: x, namespace: n, name: m, filename: f}
  servers: [{port: 0}]
- {protocol: http, label: own, interpreter: {kind: io.l5d.k8s.dtab, name: m}, servers: [{port: 0}]}
- protocol: http
  label: old
  interpreter: {kind: io.l5d.k8s.dtab, host: h, name: m, apiVersion: l5d.io/v1alpha1}
  servers: [{port: 0}]
- {protocol: http, label: logged, httpAccessLog: /dev/stdout, servers: [{port: 0}]}
- {protocol: http, label: logged too, httpAccessLog: a.log, httpAccessLogRollPolicy: 1.kilobyte, servers: [{port: 0}]}
- protocol: http
  label: 'quotes " and { braces'
  dtab: |
    /a\x20b/* => 0.001 * /b & 2 * (/c | ~) ;
    /x => ! ;
  dstPrefix: /a/b
  identifier:
  - {kind: io.l5d.static, path: /a/b}
  - {kind: io.l5d.header.token, header: my-host}
  - {kind: io.l5d.header, header: my-path}
  - {kind: io.l5d.path, segments: 2, consume: true}
  - {kind: io.l5d.methodAndHost, httpUriInDst: true}
  bindingTimeoutMs: 5
  bindingCache: {paths: 1, clients: 2, idleTtlSecs: 3}
  maxHeadersKB: 1
  maxInitialLineKB: 2
  maxErrResponseKB: 3
  httpAccessLog: logs/access.log
  httpAccessLogFormat: json
  httpAccessLogRollPolicy: Weekly(3)
  httpAccessLogAppend: false
  httpAccessLogRotateCount: 4
  servers:
  - {ip: 0.0.0.0, port: 0, label: s, trust: everybody, maxConcurrentRequests: 1, timeoutMs: 2, maxCallDepth: 3}
  - {port: 0, maxConnections: 4, maxHeaders: 5, headersTimeoutMs: 6, serverSession: {idleTimeMs: 7, lifeTimeMs: 8}}
  - port: 0
    clearContext: true
    timestampHeader: x-when
    addForwardedHeader: {by: {kind: static, label: me}, for: {kind: "ip:port"}}
  - {port: 0, addForwardedHeader: {by: {kind: router}}}
  - {port: 0, trust: {from: [10.0.0.0/8, 127.0.0.1, "::1", "::ffff:10.0.0.0/104"]}}
- protocol: h2
  h2AccessLog: h2.log
  h2AccessLogFormat: json
  h2AccessLogRotateCount: 2
  identifier:
  - {kind: io.l5d.header.token}
  - {kind: io.l5d.header.path}
  - {kind: io.l5d.header.path, header: my-path, segments: 2}
  client: {initialStreamWindowBytes: 1, headerTableBytes: 2, maxFrameBytes: 16384, maxHeaderListBytes: 4}
  servers:
  - {addForwardedHeader: {}, maxConcurrentStreamsPerConnection: 5, initialStreamWindowBytes: 6}
  - {port: 0, headerTableBytes: 0, maxFrameBytes: 16777215, maxHeaderListBytes: 8}
"#;
        let least = |protocol: &str| format!("routers: [{{protocol: {protocol}, servers: [{{}}]}}]");
        for text in [&least("http"), &least("h2"), full] {
            let config = read("f", text).unwrap();
            let json = config.to_json().to_string();
            let again = read("f", &json).unwrap_or_else(|errors| panic!("{errors}\n{json}"));
            assert_eq!(meaning(again), meaning(config), "{json}");
        }
    }

    #[test]
    fn defaults_are_written_out_and_what_was_not_said_is_absent() {
        let config = read("f", "routers: [{protocol: http, servers: [{}]}]").unwrap();
        let json = config.to_json();
        assert_eq!(json["admin"]["ip"], IpAddr::from(Ipv4Addr::LOCALHOST).to_string());
        let server = &json["routers"][0]["servers"][0];
        assert_eq!((&server["port"], &server["trust"]), (&4140.into(), &"everybody".into()));
        assert_eq!(server.get("timeoutMs"), None);
    }
}
