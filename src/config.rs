//! Reads, checks and resolves the configuration file.
//!
//! [`load`] reads a file or the standard input, [`read`] a text: Linkerd 1's YAML or JSON. They return a [`Config`] that
//! is resolved: every default is in place, every name parsed, every listener's trust decided. Or they return [`Errors`]:
//! all mistakes at once, each with its line, column and key path.
//!
//! 1. `source::node` makes nodes of the text.
//! 2. `validation` compares them with the `schema`: keys and kinds that are unknown, refused or not built are errors;
//!    those without effect are [`Warning`]s.
//! 3. `router`, `server`, `signed`, `access_log`, `naming`, `sandboxes` and `process` read the keys that work.
//! 4. `cross_checks` compares values across the file: labels and ports must differ, settings of a shared log must not.
//! 5. `json` shows the result, for the admin server.
//!
//! [`Config::environment_findings`] looks for what the configuration needs of the machine. A [`Finding`] is the one form of
//! errors, warnings and notes, for `signpost check`.
//!
//! The types of [`Config`] compare by meaning: two routers with the same settings are equal wherever they stand in
//! their files, because places are kept apart, in [`Places`]. A reload relies on it.
//!
//! Nothing here opens a port or starts a task. Absent: variables and includes. A file is read as it is written.

mod access_log;
mod balancing;
mod by_prefix;
mod client;
mod cross_checks;
mod environment;
mod errors;
mod finding;
mod inject;
mod json;
mod naming;
mod notes;
mod overrides;
mod process;
mod reader;
mod reference;
mod resolved;
mod retries;
mod router;
mod sandbox_notes;
mod sandboxes;
mod schema;
mod server;
mod service;
mod signed;
mod tls;
mod validation;

pub use self::balancing::{AccrualConfig, AccrualPolicyConfig, AlgorithmConfig, BalancerConfig};
pub use self::by_prefix::{ByPrefix, NamePrefix, PrefixEntry, Settings};
pub use self::client::{ClientConfig, ClientSessionConfig, ClientSocketConfig, PoolConfig};
pub use self::environment::{OWN_ZONE, own_zone};
pub use self::errors::{Errors, Warning};
pub use self::finding::{Finding, Severity};
pub use self::notes::Note;
pub use self::reference::{json_schema, markdown};
pub use self::resolved::{
    AccessLogConfig, Admin, AdminMetrics, BindingCacheConfig, Config, Http2Config, IngressRedirect,
    InterpreterConfig, KubernetesConfig, Places, Protocol, ProxyProtocol, Router, RouterPlaces,
    SandboxPlaces, SandboxesConfig, Server, SessionConfig, SocketConfig,
};
pub use self::retries::{BackoffConfig, BudgetConfig};
pub use self::service::{ClassifierConfig, MirrorConfig, RetriesConfig, RetryBufferConfig, ServiceConfig};
pub use self::tls::{ClientTlsConfig, CommonName};

use self::errors::Report;
use crate::source::node::{self, Document, Place};
use std::io;
use std::path::Path;

/// Reads a configuration from a text. `name` is the file's name in errors.
///
/// It does not check that directories exist; [`load`] does.
///
/// # Errors
///
/// Everything that fails the start, sorted by place.
pub fn read(name: &str, text: &str) -> Result<Config, Errors> {
    resolve(name, text, |_| true)
}

/// Reads a configuration from a file, or from the standard input when the path is `-`.
///
/// # Errors
///
/// As [`read`], and when the file cannot be read, is not UTF-8, or names a directory of names that does not exist.
pub fn load(path: &Path) -> Result<Config, Errors> {
    let stdin = path.as_os_str() == "-";
    let name = if stdin { "<stdin>".to_owned() } else { path.display().to_string() };
    let text = if stdin { node::read_text(&name, io::stdin().lock()) } else { node::read_file(path) };
    resolve(&name, &text.map_err(Errors::from)?, Path::is_dir)
}

/// Reads a text and resolves it; `is_directory` checks the directories of names.
fn resolve(name: &str, text: &str, is_directory: fn(&Path) -> bool) -> Result<Config, Errors> {
    let document = Document::read(name, text).map_err(Errors::from)?;
    let mut report = Report::new(name);
    let root = document.root();
    validation::validate(&root, &mut report);
    let (admin, admin_place) = process::admin(&root, &mut report);
    let (workers, workers_place) = process::workers(&root, &mut report);
    let (routers, router_places) = router::routers(&root, &mut report);
    let (namers, namer_places) = naming::namers(&root, is_directory, &mut report);
    let (sandboxes, sandbox_places) = sandboxes::sandboxes(&root, &routers, &mut report);
    let kubernetes = process::kubernetes(&root, &mut report);
    let places = Places {
        admin: admin_place,
        workers: workers_place,
        routers: router_places,
        namers: namer_places,
        sandboxes: sandbox_places,
    };
    cross_checks::check(&document, &admin, &routers, &places, &mut report);
    cross_checks::check_identifiers(&routers, &sandboxes.tenancy, &places, &mut report);
    let warnings = report.finish()?;
    let file = name.to_owned();
    Ok(Config { file, admin, workers, routers, namers, sandboxes, kubernetes, places, warnings })
}

/// Returns the place of a value, or of the mapping it belongs to when the value is absent.
fn place_or(value: Option<&node::Node<'_>>, whole: Place) -> Place {
    value.map_or(whole, node::Node::place)
}

#[cfg(test)]
mod tests;
