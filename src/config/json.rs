//! A resolved configuration as JSON, for the admin server.
//!
//! `trust` is absent where a listener trusts by being on loopback, for no value of it means the same.
//!
//! The JSON is a configuration itself, with every default written out: reading it gives the same configuration, but for
//! places and the reasons of trust. Each type serializes its fields under the keys that they are read from.

use super::resolved::{Config, Router};
use super::{router, schema, server};
use crate::store;
use serde::ser::{Error as _, Serialize, SerializeMap as _, Serializer};
use serde_json::{Map, Value};
use std::time::Duration;

impl Config {
    /// Returns the configuration as JSON, every default in place. A key that is not set and has no default is absent.
    ///
    /// It is null if a path of the configuration is not UTF-8. A configuration that was read has no such path.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

impl Serialize for Router {
    /// Serializes the keys that exist in the router's protocol. Those of its access log begin with the protocol.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Value::Object(mut keys) =
            Self::serialize(self, serde_json::value::Serializer).map_err(S::Error::custom)?
        else {
            return Err(S::Error::custom("a router is a mapping"));
        };
        let log = keys.remove("accessLog");
        retain(&mut keys, router::sections(self.protocol));
        if let Some(Value::Array(servers)) = keys.get_mut("servers") {
            let servers = servers.iter_mut().filter_map(Value::as_object_mut);
            servers.for_each(|keys| retain(keys, server::sections(self.protocol)));
        }
        if let Some(Value::Object(log)) = log {
            keys.extend(log.into_iter().map(|(key, value)| (self.access_log_key(&key), value)));
        }
        keys.serialize(serializer)
    }
}

impl Router {
    /// Returns the name of a key of the access log: `httpAccessLog` for `Path`, `httpAccessLogFormat` for `Format`.
    fn access_log_key(&self, key: &str) -> String {
        let end = if key == "Path" { "" } else { key };
        format!("{}AccessLog{end}", self.protocol.name())
    }
}

/// Removes the keys that do not exist in these sections.
fn retain(keys: &mut Map<String, Value>, sections: &[&str]) {
    let known = schema::working_keys(sections);
    keys.retain(|key, _| known.contains(&key.as_str()));
}

/// Serializes the store of an interpreter with its kind; without a store it is the default interpreter.
pub(super) fn kind_of_store<S: Serializer>(
    store: &Option<store::Config>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match store {
        Some(store) => store.serialize(serializer),
        None => {
            let mut keys = serializer.serialize_map(Some(1))?;
            keys.serialize_entry("kind", "default")?;
            keys.end()
        }
    }
}

/// Returns whether a value is that of a key that is not set.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Serializes a time in milliseconds.
pub(super) fn millis<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(time.as_millis().try_into().unwrap_or(u64::MAX))
}

/// Serializes a time in milliseconds, if there is one.
pub(super) fn some_millis<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => millis(time, serializer),
        None => serializer.serialize_none(),
    }
}

/// Serializes a time in seconds.
pub(super) fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(time.as_secs())
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::schema::{self, Support};
    use crate::config::{Config, read};
    use std::collections::BTreeSet;
    use std::net::{IpAddr, Ipv4Addr};

    /// A configuration with every key that works.
    pub(crate) const FULL: &str = r#"
workers: 2
admin:
  ip: 127.0.0.2
  port: 0
  shutdownDelayMs: 2000
  shutdownGraceMs: 3000
  hosts: [router.example]
  shutdown: nobody
  security: {uiEnabled: false, diagnosticsEnabled: false, pathWhitelist: ["/admin/(ping|ready)"], pathBlacklist: [/help]}
  tls: {certPath: admin.pem, keyPath: admin.key, caCertPath: ca.pem, protocols: [TLSv1.3]}
  metrics: {ip: 127.0.0.3, port: 0}
  socketOptions: {noDelay: false, keepAlive: true, backlog: 7, readTimeoutMs: 1, writeTimeoutMs: 2, reusePort: true}
sandboxes:
  keys: [tenant, Sd-Sandbox]
  headers: [x-tenant]
  queryParameter: t
  namespaces: [shop, shop-staging]
  host: localhost
  port: 8003
  snapshot: kept
  router: file
  overrides: {prefixes: [/svc, /host/*], destinations: ["/#/io.l5d.fs/**"]}
  maxTtl: 30d
  unknownKey: refuse
  file: sandboxes.yaml
  items:
  - name: v2
    key: world-v2
    dtab: /svc/world => /#/io.l5d.fs/v2
    labels: {branch: feature-v2}
    owner: anna
    ttl: 7d
    createdAt: 2026-01-31T09:00:00Z
    values: {queue: v2}
  - {name: v3, dtab: "", expiresAt: "2026-01-31T09:00:00Z"}
  - {name: both, key: all-of-them, all: [v2, v3]}
  - {name: some, any: [v2]}
  - {name: branch, label: {key: branch, value: feature-*}}
namers:
- {kind: io.l5d.fs, rootDir: names}
- {kind: io.l5d.fs, rootDir: /names, prefix: /two/parts}
- {kind: io.l5d.rewrite, prefix: /r, pattern: "/{a}", name: "/b/{a}"}
- {kind: io.l5d.dnssrv}
- {kind: io.l5d.dnssrv, prefix: /srv, refreshIntervalSeconds: 60, dnsHosts: [10.0.0.10, "ns:54"], domain: a.b}
- {kind: io.l5d.k8s}
- {kind: io.l5d.k8s, prefix: /k, host: localhost, labelSelector: example.org/version, endpoints: v1, watch: cluster, externalNames: true}
- {kind: io.l5d.k8s.ns, envVar: NS, kubeconfig: /k/config, context: dev, endpoints: discovery.k8s.io/v1}
- {kind: io.l5d.k8s.external, port: 8002}
- {kind: io.l5d.k8s.external, prefix: /saved, kubeconfig: c, snapshot: known}
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
  - {kind: io.l5d.ingress}
  - {kind: io.l5d.ingress, host: api, port: 8, namespace: n, ingressClassAnnotation: c, ignoreDefaultBackends: true}
  bindingTimeoutMs: 5
  bindingCache: {paths: 1, clients: 2, idleTtlSecs: 3, bytes: 1048576}
  maxOverrideLookups: 7
  client:
    tls:
      commonName: linkerd
      trustCertsBundle: ca.pem
      clientAuth: {certPath: own.pem, keyPath: own.key, intermediateCertsPath: middle.pem}
      protocols: [TLSv1.2, TLSv1.3]
    forwardClientCert: true
    loadBalancer: {kind: aperture, maxEffort: 4, smoothWindowMs: 3, lowLoad: 0.25, highLoad: 1.5, minAperture: 2, enableProbation: true, preferZone: true}
    failureAccrual: {kind: io.l5d.successRate, successRate: 0.75, requests: 20, backoff: {kind: constant, ms: 0}}
    failFast: true
    connectTimeoutMs: 3
    streamWaitMs: 4
    hostConnectionPool: {minSize: 1, maxSize: 5, idleTimeMs: 6, maxWaiters: 0}
    clientSession: {idleTimeMs: 7, lifeTimeMs: 8}
    socketOptions: {noDelay: false, keepAlive: false, readTimeoutMs: 10, writeTimeoutMs: 11}
    requestAttemptTimeoutMs: 9
    requeueBudget: {minRetriesPerSec: 0, percentCanRetry: 0.5, ttlSecs: 60}
    trustRetryable: true
    egress: true
    removeBaggage: false
  service:
    totalTimeoutMs: 10
    mirror: {name: /svc/shadow, percent: 12.5}
    responseClassifier: {kind: io.l5d.http.retryableIdempotent5XX}
    retries: {budget: {minRetriesPerSec: 1, percentCanRetry: 2.5, ttlSecs: 3}, backoff: {kind: jittered, minMs: 4, maxMs: 5}}
  maxHeadersKB: 1
  maxResponseHeaders: 6
  maxInitialLineKB: 2
  maxErrResponseKB: 3
  httpAccessLog: logs/access.log
  httpAccessLogFormat: json
  httpAccessLogRollPolicy: Weekly(3)
  httpAccessLogAppend: false
  httpAccessLogRotateCount: 4
  servers:
  - {ip: 0.0.0.0, port: 0, label: s, trust: everybody, maxConcurrentRequests: 1, timeoutMs: 2, maxCallDepth: 3}
  - {port: 0, maxConnections: 4, maxConnectionsPerPeer: 3, maxRequestsPerPeer: 2, connect: true, maxHeaders: 5, headersTimeoutMs: 6, serverSession: {idleTimeMs: 7, lifeTimeMs: 8}}
  - port: 0
    clearContext: true
    timestampHeader: x-when
    addForwardedHeader: {by: {kind: static, label: me}, for: {kind: "ip:port"}}
  - {port: 0, addForwardedHeader: {by: {kind: router}}, hosts: [World, "*.example.test"]}
  - {port: 0, addForwardedHeader: {by: {kind: ip}, for: {kind: connectionRandom}}}
  - port: 0
    socketOptions: {noDelay: false, keepAlive: true, backlog: 7, readTimeoutMs: 1, writeTimeoutMs: 2, reusePort: true}
  - {port: 0, trust: nobody, forwardedFrom: [10.0.0.0/8, "::1"]}
  - {port: 0, forwardedFrom: []}
  - {port: 0, trust: {from: [10.0.0.0/8, 127.0.0.1, "::1", "::ffff:10.0.0.0/104"]}}
  - port: 0
    tls:
      certificates:
      - {certPath: a.pem, keyPath: a.key, intermediateCertsPath: middle.pem, hosts: [a.test, "*.example"]}
      - {certPath: b.pem, keyPath: b.key, caCertPath: own-ca.pem, requireClientAuth: true}
      caCertPath: ca.pem
      ciphers: [TLS_AES_128_GCM_SHA256]
    trust: {from: [10.0.0.0/8], identities: ["spiffe://mesh.example/ns/*/sa/edge", "*.mesh.example"], require: all}
    inject: [{when: {identities: [edge.mesh.example]}, sandbox: a}]
  - {port: 0, ingressRedirect: {httpsPort: 8443}}
  - {port: 0, tls: {ingress: true, caCertPath: ca.pem, requireClientAuth: true}}
  - port: 0
    proxyProtocol: {from: [10.0.0.0/8]}
    tls: {certPath: a.pem, keyPath: a.key, caCertPath: ca.pem}
    trust: {identities: [edge.mesh.example], signed: {keys: [a.pem]}}
  - {port: 0, trust: {signed: {keys: [a.pem, /b.pem], jwks: keys.json}}}
  - {port: 0, trust: {signed: {jwks: keys.json, maxLifetimeSeconds: 60, audience: [a, b], revoked: [c, d]}}}
  - {port: 0, trust: {from: [10.0.0.0/8], signed: {keys: [a.pem]}, require: all}}
  - port: 0
    overrides:
      prefixes: [/host, /srv/*]
      destinations: ["/#/io.l5d.fs/**", /$/inet/127.1/*]
      addresses: {deny: [10.0.0.0/8]}
      maxEntries: 3
      maxBytes: 4
    inject:
    - when:
        cookie: {dogfood: "on*"}
        header: {x-team: a}
        path: /shop
        query: {preview: "*"}
        from: [10.0.0.0/8]
        percent: {share: 0.5, by: {cookie: session}, secret: a secret that is shown to nobody}
      dtab: /host/world => /srv/world-v2
    - {when: {percent: {share: 5, by: peer, secret: a secret that is shown to nobody}}, sandbox: a+b}
- protocol: h2
  h2AccessLog: h2.log
  h2AccessLogFormat: json
  h2AccessLogRotateCount: 2
  identifier:
  - {kind: io.l5d.header.token}
  - {kind: io.l5d.header.path}
  - {kind: io.l5d.header.path, header: my-path, segments: 2}
  client:
    kind: io.l5d.static
    configs:
    - {prefix: /, initialStreamWindowBytes: 1, headerTableBytes: 2, maxFrameBytes: 16384, maxHeaderListBytes: 4}
    - prefix: "/#/io.l5d.fs/{service}"
      requestAttemptTimeoutMs: 5
      loadBalancer: {kind: ewma}
      failureAccrual: {kind: io.l5d.successRateWindowed, successRate: 1, window: 30, backoff: {kind: jittered, minMs: 1, maxMs: 2}}
    - {prefix: /$/inet, loadBalancer: {kind: roundRobin, maxEffort: 6}, failureAccrual: {kind: io.l5d.consecutiveFailures, failures: 3}}
    - {prefix: "/$/inet/{host}", tls: {commonName: "{host}.test", trustCerts: [ca.pem, other.pem]}}
    - {prefix: /$/inet/plain, tls: {enabled: false}}
    - {prefix: /$/inet/any, tls: {disableValidation: true}}
    - {prefix: /#/io.l5d.k8s, loadBalancer: {kind: heap}, failureAccrual: {kind: none}}
    - {prefix: /#/io.l5d.dnssrv, loadBalancer: {kind: p2c}}
  service:
    kind: io.l5d.static
    configs:
    - {prefix: /svc/*, totalTimeoutMs: 6, classificationTimeoutMs: 7, retryBufferSize: {requestBytes: 8, responseBytes: 0}}
    - prefix: /svc
      responseClassifier: {kind: io.l5d.h2.grpc.retryableStatusCodes, successStatusCodes: [0, 5], retryableStatusCodes: [14]}
      retries: {backoff: {kind: constant, ms: 9}}
  servers:
  - {addForwardedHeader: {}, maxConcurrentStreamsPerConnection: 5, initialStreamWindowBytes: 6}
  - {port: 0, headerTableBytes: 0, maxFrameBytes: 16777215, maxHeaderListBytes: 8}
"#;

    /// Returns a router with the defaults of a protocol.
    fn least(protocol: &str) -> String {
        format!("routers: [{{protocol: {protocol}, servers: [{{}}]}}]")
    }

    /// Returns a configuration without places and reasons.
    fn meaning(mut config: Config) -> Config {
        config.places = super::super::Places::default();
        config.warnings.clear();
        config.routers.iter_mut().flat_map(|router| &mut router.servers).for_each(|server| {
            server.trust_reason.clear();
            server.trust_is_set = true;
            let mut rules = server.inject.to_vec();
            for percent in rules.iter_mut().filter_map(|rule| rule.when.percent.as_mut()) {
                percent.secret = crate::context::Secret::new("what is shown is not the secret");
            }
            server.inject = rules.into();
        });
        config
    }

    #[test]
    fn what_is_shown_is_the_same_configuration() {
        for text in [&least("http"), &least("h2"), FULL] {
            let config = read("f", text).unwrap();
            let json = config.to_json().to_string();
            let again = read("f", &json).unwrap_or_else(|errors| panic!("{errors}\n{json}"));
            assert_eq!(meaning(again), meaning(config), "{json}");
        }
    }

    /// A key that is read must be shown. Keys are compared by name, in whatever mapping. `clearContext` is shown as `trust`,
    /// `controlEnabled` as `shutdown`.
    #[test]
    fn every_key_that_works_is_shown() {
        let json = read("f", FULL).unwrap().to_json().to_string();
        let rows = schema::sections()
            .filter(|section| !section.name.contains(" kind"))
            .flat_map(|section| section.keys);
        let working: BTreeSet<_> =
            rows.filter(|row| row.support == Support::Works).map(|row| row.name).collect();
        let hidden: Vec<_> =
            working.into_iter().filter(|key| !json.contains(&format!("\"{key}\":"))).collect();
        assert_eq!(hidden, ["clearContext", "controlEnabled"]);
        assert!(!json.contains("shown to nobody"), "a secret is shown");
    }

    #[test]
    fn defaults_are_written_out_and_what_was_not_set_is_absent() {
        let config = read("f", &least("http")).unwrap();
        let json = config.to_json();
        assert_eq!(json["admin"]["ip"], IpAddr::from(Ipv4Addr::LOCALHOST).to_string());
        let server = &json["routers"][0]["servers"][0];
        assert_eq!(server["port"], 4140);
        // Trust by loopback is none of the values of `trust`: `everybody` is more.
        assert_eq!((server.get("timeoutMs"), server.get("trust")), (None, None));
    }
}
