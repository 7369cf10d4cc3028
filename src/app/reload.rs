//! Merges a changed configuration into the running one: most changes are taken over, some wait for a restart.

use crate::config::{Admin, Config, Router, RouterPlaces, Server, SocketConfig, Warning};
use crate::source::node::Place;

/// Returns the configuration to run from now on: `new`, as far as it can change in a running process.
///
/// Parts that cannot change stay as they are in `running`; each comes back as a warning with its place in the new file.
pub(super) fn merge(running: &Config, new: &Config) -> (Config, Vec<Warning>) {
    let mut left = RestartWarnings { file: &new.file, warnings: Vec::new() };
    let Config { file, admin, workers, routers: _, namers, sandboxes, kubernetes, places, warnings } = new;
    if running.workers != *workers {
        left.add(places.workers, "workers", "the number of workers stays until a restart".to_owned());
    }
    let config = Config {
        file: file.clone(),
        admin: merge_admin(&running.admin, admin, places.admin, &mut left),
        workers: running.workers,
        routers: merge_routers(running, new, &mut left),
        namers: namers.clone(),
        sandboxes: sandboxes.clone(),
        kubernetes: *kubernetes,
        places: running.places.clone(),
        warnings: warnings.clone(),
    };
    (config, left.warnings)
}

/// The changes that wait for a restart.
struct RestartWarnings<'a> {
    file: &'a str,
    warnings: Vec<Warning>,
}

impl RestartWarnings<'_> {
    fn add(&mut self, place: Place, key: impl Into<String>, message: String) {
        self.warnings.push(Warning {
            file: self.file.to_owned(),
            place,
            key: key.into(),
            code: "restart-needed",
            message,
        });
    }
}

/// Merges the admin server: its addresses stay.
fn merge_admin(running: &Admin, new: &Admin, place: Place, left: &mut RestartWarnings<'_>) -> Admin {
    let mut merged = new.clone();
    if running.address() != new.address() {
        left.add(place, "admin", format!("the admin server stays at {} until a restart", running.address()));
    }
    let Admin {
        ip,
        port,
        shutdown_delay: _,
        shutdown_grace: _,
        tls: _,
        hosts: _,
        shutdown: _,
        security: _,
        metrics,
    } = &mut merged;
    if *metrics != running.metrics {
        left.add(
            place,
            "admin.metrics",
            "the listener for metrics stays as it is until a restart".to_owned(),
        );
    }
    (*ip, *port, *metrics) = (running.ip, running.port, running.metrics);
    merged
}

/// Merges each running router with the new one of its label.
fn merge_routers(running: &Config, new: &Config, left: &mut RestartWarnings<'_>) -> Vec<Router> {
    let known: Vec<_> = new.routers.iter().zip(&new.places.routers).collect();
    let merged =
        running.routers.iter().map(|router| match known.iter().find(|(now, _)| now.label == router.label) {
            Some((now, places)) => merge_router(router, now, places, left),
            None => {
                let place = new.places.routers.first().map_or_else(Place::default, |places| places.router);
                left.add(
                    place,
                    "routers",
                    format!(
                        "the router `{}` is no longer in the file, and runs on until a restart",
                        router.label
                    ),
                );
                router.clone()
            }
        });
    let merged: Vec<Router> = merged.collect();
    for (router, places) in known {
        if !merged.iter().any(|merged| merged.label == router.label) {
            left.add(
                places.label,
                &places.key,
                format!("the router `{}` is new, and starts with a restart", router.label),
            );
        }
    }
    merged
}

/// Merges a router with the running one of its label.
fn merge_router(
    running: &Router,
    new: &Router,
    places: &RouterPlaces,
    left: &mut RestartWarnings<'_>,
) -> Router {
    let mut merged = new.clone();
    // Taken apart by name, so that a new key cannot be forgotten here: a key that is `_` changes at once.
    let Router {
        protocol: _,
        label: _,
        dtab: _,
        interpreter: _,
        dst_prefix: _,
        identifiers: _,
        binding_timeout: _,
        max_override_lookups: _,
        binding_cache: _,
        servers,
        client: _,
        service: _,
        max_headers_kb: _,
        max_response_headers: _,
        max_initial_line_kb: _,
        max_err_response_kb: _,
        access_log,
    } = &mut merged;
    if running.access_log != *access_log {
        let (key, place) = match &places.access_log {
            (key, place) if access_log.is_some() => (key, *place),
            _ => (&places.key, places.router),
        };
        left.add(place, key, "the access log stays until a restart".to_owned());
        access_log.clone_from(&running.access_log);
    }
    *servers = merge_servers(running, new, places, left);
    merged
}

/// Merges each running server with the new one of its address; several with one address are merged in their order.
fn merge_servers(
    running: &Router,
    new: &Router,
    places: &RouterPlaces,
    left: &mut RestartWarnings<'_>,
) -> Vec<Server> {
    let mut now: Vec<_> = new.servers.iter().zip(&places.servers).enumerate().collect();
    let key = |at: usize| format!("{}.servers[{at}]", places.key);
    let mut merged = Vec::new();
    for server in &running.servers {
        let address = server.address();
        match now.iter().position(|(_, (server, _))| server.address() == address) {
            Some(found) => {
                let (at, (new, place)) = now.remove(found);
                merged.push(merge_server(server, new, (*place, &key(at)), left));
            }
            None => {
                let (key, message) = (
                    format!("{}.servers", places.key),
                    format!("{address} is no longer in the file, and runs on until a restart"),
                );
                left.add(places.router, key, message);
                merged.push(server.clone());
            }
        }
    }
    for (at, (server, place)) in now {
        left.add(*place, key(at), format!("{} is new, and starts with a restart", server.address()));
    }
    merged
}

/// Merges a server with the running one of its address.
fn merge_server(
    running: &Server,
    new: &Server,
    (place, key): (Place, &str),
    left: &mut RestartWarnings<'_>,
) -> Server {
    let mut merged = new.clone();
    // Taken apart by name, as routers are.
    let Server {
        ip: _,
        port: _,
        label,
        proxy_protocol: _,
        tls: _,
        trust: _,
        hosts: _,
        trust_is_set: _,
        trust_reason: _,
        overrides: _,
        inject: _,
        forwarded_from: _,
        max_concurrent_requests: _,
        max_connections: _,
        max_connections_per_peer: _,
        max_headers: _,
        headers_timeout: _,
        session: _,
        timeout: _,
        max_call_depth: _,
        add_forwarded_header: _,
        max_streams: _,
        max_requests_per_peer: _,
        http2: _,
        timestamp_header: _,
        socket_options,
    } = &mut merged;
    if running.label != *label {
        left.add(place, format!("{key}.label"), "the label in metrics stays until a restart".to_owned());
        label.clone_from(&running.label);
    }
    let kept = SocketConfig {
        read_timeout: socket_options.read_timeout,
        write_timeout: socket_options.write_timeout,
        ..running.socket_options.clone()
    };
    if *socket_options != kept {
        let message = "the options of the socket stay until a restart".to_owned();
        left.add(place, format!("{key}.socketOptions"), message);
        *socket_options = kept;
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::read;

    const RUNNING: &str = "
admin: {port: 9990}
routers:
- protocol: http
  label: a
  dtab: /a => /b
  servers:
  - {port: 4140}
  - {port: 0, label: first}
  - {port: 0, label: second}
- protocol: http
  label: b
  servers: [{port: 4141}]
";

    /// Returns the configuration that runs after a reload of `new`, and the changes that wait.
    fn merged(new: &str) -> (Config, Vec<String>) {
        let (config, left) = merge(&read("old", RUNNING).unwrap(), &read("new", new).unwrap());
        (config, left.iter().map(ToString::to_string).collect())
    }

    /// Returns a configuration without file name and places.
    fn meaning(mut config: Config) -> Config {
        config.places = crate::config::Places::default();
        config.file.clear();
        config
    }

    #[test]
    fn an_equal_configuration_changes_nothing() {
        let (config, left) = merged(RUNNING);
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(meaning(config), meaning(read("old", RUNNING).unwrap()));
    }

    #[test]
    fn everything_but_listeners_is_taken_over() {
        let new = "
admin: {port: 9990, shutdownDelayMs: 1, shutdownGraceMs: 2, hosts: [router.example], shutdown: nobody}
namers: [{kind: io.l5d.rewrite, prefix: /r, pattern: '/{a}', name: '/b/{a}'}]
sandboxes: {keys: [tenant], headers: [x-tenant], queryParameter: t}
kubernetes: {watchAttemptsPerSecond: 7}
routers:
- protocol: http
  label: a
  dtab: /c => /d
  dstPrefix: /http
  identifier: {kind: io.l5d.path}
  interpreter: {kind: io.l5d.fs, dtabFile: routes.dtab}
  bindingTimeoutMs: 7
  bindingCache: {paths: 8}
  maxHeadersKB: 16
  maxResponseHeaders: 17
  servers:
  - {port: 0, label: first, maxConnections: 3, maxHeaders: 4, headersTimeoutMs: 5}
  - {port: 4140, trust: nobody, forwardedFrom: [], serverSession: {lifeTimeMs: 6}, socketOptions: {readTimeoutMs: 1}}
  - {port: 0, label: second, timeoutMs: 9, timestampHeader: x-when, addForwardedHeader: {}}
- protocol: http
  label: b
  servers: [{port: 4141, clearContext: true, maxConcurrentRequests: 5, maxCallDepth: 6}]
";
        let (config, left) = merged(new);
        assert!(left.is_empty(), "{left:?}");
        let mut expected = read("new", new).unwrap();
        // Running servers stay in their order.
        expected.routers[0].servers.swap(0, 1);
        assert_eq!(meaning(config), meaning(expected));
    }

    #[test]
    fn a_change_that_takes_a_restart_is_reported_with_its_place() {
        let (config, left) = merged(
            "
admin: {ip: 127.0.0.2, port: 9990}
workers: 3
routers:
- protocol: http
  label: c
  servers: [{port: 4143}]
- protocol: http
  label: a
  dtab: /c => /d
  httpAccessLog: logs/access.log
  servers:
  - {port: 4144}
  - {port: 0, label: other, socketOptions: {noDelay: false, readTimeoutMs: 5}}
",
        );
        let expected = [
            "new:3:10: workers: the number of workers stays until a restart",
            "new:2:30: admin: the admin server stays at 127.0.0.1:9990 until a restart",
            "new:11:18: routers[1].httpAccessLog: the access log stays until a restart",
            "new:8:3: routers[1].servers: 127.0.0.1:4140 is no longer in the file, and runs on until a restart",
            "new:14:5: routers[1].servers[1].label: the label in metrics stays until a restart",
            "new:14:5: routers[1].servers[1].socketOptions: the options of the socket stay until a restart",
            "new:8:3: routers[1].servers: 127.0.0.1:0 is no longer in the file, and runs on until a restart",
            "new:13:5: routers[1].servers[0]: 127.0.0.1:4144 is new, and starts with a restart",
            "new:5:3: routers: the router `b` is no longer in the file, and runs on until a restart",
            "new:6:10: routers[0]: the router `c` is new, and starts with a restart",
        ];
        assert_eq!(left, expected);
        let running = read("old", RUNNING).unwrap();
        let [a, b] = &config.routers[..] else { panic!("{:?}", config.routers) };
        assert_eq!(*b, running.routers[1]);
        assert_eq!(a.dtab, "/c => /d".parse().unwrap());
        assert_eq!(
            (&a.servers[0], &a.servers[2]),
            (&running.routers[0].servers[0], &running.routers[0].servers[2])
        );
        assert_eq!(a.servers[1].label.as_deref(), Some("first"));
        assert!(a.servers[1].socket_options.no_delay);
        assert_eq!(a.servers[1].socket_options.read_timeout.map(|time| time.as_millis()), Some(5));
        assert_eq!(config.admin.ip, running.admin.ip);
    }
}
