//! The real app, started from YAML text.

use super::http2::{Frames, H2Client};
use super::{Wire, within};
use serde_json::Value;
use signpost::app::{App, RunningApp, Threads};
use signpost::config::{self, Config};
use std::future::{Future as _, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;

/// The configuration of one router called `http`, with a dtab and more keys of its one server (`, trust: nobody`).
pub(crate) fn one_router(dtab: &str, server: &str) -> String {
    with_servers(dtab, &[server])
}

/// As [`one_router`], with several servers.
pub(crate) fn with_servers(dtab: &str, servers: &[&str]) -> String {
    let servers: String = servers.iter().map(|keys| format!("  - {{port: 0{keys}}}\n")).collect();
    format!("admin: {{port: 0}}\nrouters:\n- protocol: http\n  dtab: '{dtab}'\n  servers:\n{servers}")
}

/// The configuration of one router called by its protocol, `http` or `h2`, which its endpoints speak.
pub(crate) fn speaking(protocol: &str, dtab: &str, server: &str) -> String {
    one_router(dtab, server).replace("protocol: http", &format!("protocol: {protocol}"))
}

/// The configuration of one router whose every request goes to the endpoint of that name.
pub(crate) fn routing_to(path: &str) -> String {
    one_router(&format!("/svc/* => {path}"), "")
}

/// The app under test. Every test ends it with [`TestApp::stop`].
#[derive(Debug)]
pub(crate) struct TestApp {
    running: Option<RunningApp>,
}

impl TestApp {
    /// Starts the app with two workers, as a rule: what one of them counts, binds or closes the other knows of, or does not.
    pub(crate) async fn start(yaml: &str) -> Self {
        Self::start_workers(yaml, 2).await
    }

    /// Starts the app on the thread of the test: on its clock, which can be paused.
    pub(crate) async fn start_here(yaml: &str) -> Self {
        Self::start_config(read(yaml), Threads::Here).await
    }

    /// Starts the app on so many threads of its own.
    pub(crate) async fn start_workers(yaml: &str, workers: usize) -> Self {
        Self::start_config(read(yaml), Threads::Workers(workers)).await
    }

    /// Starts the app with a configuration that was read, and perhaps changed.
    pub(crate) async fn start_config(config: Config, threads: Threads) -> Self {
        let started = within("starting", App::start(config, threads)).await;
        Self { running: Some(started.unwrap_or_else(|error| panic!("the app starts: {error}"))) }
    }

    /// The app itself.
    pub(crate) fn running(&self) -> &RunningApp {
        self.running.as_ref().expect("it has not been stopped")
    }

    /// Asks the admin server for JSON.
    pub(crate) async fn json(&self, target: &str) -> Value {
        let mut admin = Wire::connect(self.running().admin()).await;
        let answer = admin.ask(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        assert_eq!(
            (answer.status(), answer.field("content-type")),
            (200, Some("application/json")),
            "{target}"
        );
        serde_json::from_slice(&answer.body).expect("it is JSON")
    }

    /// Reloads the configuration from a text; returns what takes a restart.
    pub(crate) async fn reload(&mut self, yaml: &str) -> Vec<String> {
        let left = self.try_reload(yaml).await;
        left.unwrap_or_else(|error| panic!("the configuration is right: {error}\n{yaml}"))
    }

    /// Reloads a configuration that was read, and perhaps changed; nothing in it takes a restart.
    pub(crate) async fn reload_config(&mut self, config: Config) {
        let running = self.running.as_mut().expect("it has not been stopped");
        let left = within("reloading", running.reload(Ok(config))).await.expect("the configuration is right");
        assert!(left.is_empty(), "{left:?}");
    }

    /// Reloads the configuration from a text that may be wrong.
    pub(crate) async fn try_reload(&mut self, yaml: &str) -> Result<Vec<String>, String> {
        let running = self.running.as_mut().expect("it has not been stopped");
        let taken = within("reloading", running.reload(config::read("test.yaml", yaml))).await;
        let said = |left: Vec<config::Warning>| left.iter().map(ToString::to_string).collect();
        taken.map(said).map_err(|error| error.to_string())
    }

    /// Where the router's server at that position listens.
    pub(crate) fn address(&self, router: &str, server: usize) -> SocketAddr {
        let mut listeners = self.running().listeners().iter().filter(|listener| listener.router == router);
        listeners.nth(server).expect("there is such a listener").address
    }

    /// Connects to the first listener.
    pub(crate) async fn client(&self) -> Wire {
        Wire::connect(self.first_address()).await
    }

    /// Where the first listener is.
    pub(crate) fn first_address(&self) -> SocketAddr {
        self.running().listeners()[0].address
    }

    /// Connects to the first listener and speaks HTTP/2.
    pub(crate) async fn h2_client(&self) -> H2Client {
        H2Client::connect(self.first_address()).await
    }

    /// Connects to the first listener and speaks HTTP/2 frame by frame.
    pub(crate) async fn frames(&self) -> Frames {
        Frames::client(self.first_address()).await
    }

    /// Connects to the router's server at that position.
    pub(crate) async fn client_of(&self, router: &str, server: usize) -> Wire {
        Wire::connect(self.address(router, server)).await
    }

    /// What is counted under that name, over all listeners that have the labels.
    pub(crate) fn total(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.running().registry().total(name, labels)
    }

    /// Whether a caller of the admin server has asked for a stop.
    pub(crate) async fn is_asked_to_stop(&self) -> bool {
        let mut asked = pin!(self.running().stop_asked());
        poll_fn(|cx| Poll::Ready(asked.as_mut().poll(cx).is_ready())).await
    }

    /// Stops the app, and fails unless everything it had begun was finished in time.
    pub(crate) async fn stop(self) {
        assert!(self.stop_in_time().await, "everything that was begun finishes in time");
    }

    /// Stops the app; returns whether everything it had begun was finished in time.
    pub(crate) async fn stop_in_time(mut self) -> bool {
        let running = self.running.take().expect("it has not been stopped");
        within("stopping", running.stop()).await
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        if self.running.is_some() && !std::thread::panicking() {
            panic!("a test stops its app");
        }
    }
}

/// Reads a configuration that is right.
pub(crate) fn read(yaml: &str) -> Config {
    config::read("test.yaml", yaml)
        .unwrap_or_else(|errors| panic!("the configuration is right: {errors}\n{yaml}"))
}
