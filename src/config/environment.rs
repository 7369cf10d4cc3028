//! The part of a configuration that depends on the machine: variables of the environment, files of credentials and keys.

use super::Config;
use super::by_prefix::ByPrefix;
use super::client::ClientConfig;
use super::finding::{Finding, POD_ENVIRONMENT, Severity};
use super::resolved::{Router, RouterPlaces};
use super::tls::ClientTlsConfig;
use crate::source::node::Place;
use crate::tls::TlsError;
use crate::{identify, kubernetes, namer, sandbox, store};
use std::fmt;

/// The end of a message about something that only the pod has.
const IN_THE_POD: &str =
    ". Nothing is wrong with the file: the process starts where this is there, and not elsewhere";

/// The place and the key of a part of the configuration.
type Part<'a> = (Place, &'a str);

/// The variable that holds the zone of the process, for `preferZone`.
pub const OWN_ZONE: &str = "NODE_ZONE";

/// Returns the zone of the process, if the environment has it. Blanks and line ends around it do not count.
pub fn own_zone() -> Option<String> {
    let zone = std::env::var(OWN_ZONE).ok()?;
    Some(zone.trim().to_owned()).filter(|zone| !zone.is_empty())
}

impl Config {
    /// Returns all that the configuration needs of the machine and that is not there, or not good. Reads files, and asks
    /// no server.
    ///
    /// Something that only the pod has in which the process will run (a variable of the environment, a kubeconfig) is a
    /// note, for the file may be checked elsewhere; the start fails with it ([`Finding::fails_start`]).
    pub fn environment_findings(&self) -> Vec<Finding> {
        let asks = self.namers.iter().any(|namer| namer.server().is_some());
        let mut search = Search { file: &self.file, asks, found: Vec::new() };
        for (at, (namer, place)) in self.namers.iter().zip(&self.places.namers).enumerate() {
            let key = format!("namers[{at}]");
            for cause in namer.missing() {
                search.add((*place, &key), &cause, cause.is_of_pod());
            }
            search.transformers((*place, &key), &namer.transformers);
        }
        for (router, places) in self.routers.iter().zip(&self.places.routers) {
            search.router(router, places);
        }
        if let Some(tls) = &self.admin.tls {
            search.tls((self.places.admin, "admin.tls"), tls.check());
        }
        search.sandboxes(self);
        search.found
    }
}

impl Config {
    /// Returns the finding about namers that cannot be made.
    pub fn namer_finding(&self, error: &namer::Error) -> Finding {
        let (place, key) = match error {
            namer::Error::Namer { at, .. } => (self.places.namers.get(*at), format!("namers[{at}]")),
            namer::Error::Interpreter(_) => {
                (self.places.routers.first().map(|places| &places.interpreter), "routers".to_owned())
            }
        };
        let place = place.copied().unwrap_or_default();
        Finding::new((&self.file, place, &key), (Severity::Error, "environment"), error.to_string())
    }
}

/// One search.
struct Search<'a> {
    file: &'a str,
    /// Whether a namer has an API server to ask.
    asks: bool,
    found: Vec<Finding>,
}

impl Search<'_> {
    /// Adds a finding.
    fn add(&mut self, (place, key): Part<'_>, error: &dyn fmt::Display, is_of_pod: bool) {
        let (weight, end) = match is_of_pod {
            true => ((Severity::Note, POD_ENVIRONMENT), IN_THE_POD),
            false => ((Severity::Error, "environment"), ""),
        };
        self.found.push(Finding::new((self.file, place, key), weight, format!("{error}{end}")));
    }

    /// Searches one router.
    fn router(&mut self, router: &Router, places: &RouterPlaces) {
        let key = format!("{}.interpreter", places.key);
        let interpreter = (places.interpreter, &*key);
        if let Some(Err(error)) = router.interpreter.store.as_ref().map(store::Config::check) {
            let is_of_pod = matches!(&error, store::Error::Kubernetes { source, .. } if is_of_pod(source));
            self.add(interpreter, &error, is_of_pod);
        }
        self.transformers(interpreter, &router.interpreter.transformers);
        if own_zone().is_none() && router.client.iter().any(ClientConfig::prefers_zone) {
            let error = format!(
                "`preferZone` needs the variable `{OWN_ZONE}`, the zone that the process runs in, as                  `topology.kubernetes.io/zone` of its node has it"
            );
            self.add((places.router, &format!("{}.client", places.key)), &error, true);
        }
        let key = format!("{}.identifier", places.key);
        for error in router.identifiers.iter().filter_map(|identifier| identifier.check().err()) {
            let identify::Error { source, .. } = &error;
            let is_of_pod = is_of_pod(source);
            self.add((places.identifier, &key), &error, is_of_pod);
        }
        for (at, client) in router.client.iter().enumerate() {
            let Some(files) = client.tls.as_ref().and_then(ClientTlsConfig::files) else { continue };
            let key = match &router.client {
                ByPrefix::Global(_) => format!("{}.client.tls", places.key),
                ByPrefix::Static { .. } => format!("{}.client.configs[{at}].tls", places.key),
            };
            self.tls((places.router, &key), files.check());
        }
        for (at, (server, place)) in router.servers.iter().zip(&places.servers).enumerate() {
            if let Some(tls) = &server.tls {
                self.tls((*place, &format!("{}.servers[{at}].tls", places.key)), tls.check());
            }
            let Some(Err(error)) = server.trust.signed().map(|trust| trust.signed.files.check()) else {
                continue;
            };
            let key = format!("{}.servers[{at}].trust.signed", places.key);
            self.add((*place, &key), &error, false);
        }
    }

    /// Adds what was found of certificates and keys.
    fn tls(&mut self, part: Part<'_>, checked: Result<Vec<String>, TlsError>) {
        match checked {
            Ok(warnings) => {
                let weight = (Severity::Warning, "certificate-expiry");
                let found = warnings
                    .into_iter()
                    .map(|warning| Finding::new((self.file, part.0, part.1), weight, warning));
                self.found.extend(found);
            }
            Err(error) => self.add(part, &error, false),
        }
    }

    /// Searches the stores of sandboxes.
    fn sandboxes(&mut self, config: &Config) {
        let (objects, places) = (&config.sandboxes.objects, &config.places.sandboxes);
        if !objects.namespaces.is_empty()
            && let Err(error) = objects.client.check()
        {
            self.add((places.namespaces, "sandboxes.namespaces"), &error, is_of_pod(&error));
        }
        let Some(file) = &objects.file else { return };
        match sandbox::read_items(file, &objects.items, &config.sandbox_rules()) {
            Ok(read) => {
                let file = file.display().to_string();
                self.found.extend(read.warnings.into_iter().map(|(place, key, message)| {
                    let weight = (Severity::Warning, "folded-comment");
                    Finding::new((&file, place, &key), weight, message.to_owned())
                }));
            }
            Err(errors) => self.found.extend(errors.iter().map(Finding::from)),
        }
    }

    /// Searches transformers.
    fn transformers(&mut self, part: Part<'_>, transformers: &[namer::TransformerConfig]) {
        for transformer in transformers {
            if let Err(cause) = transformer.check(self.asks) {
                self.add(part, &cause, cause.is_of_pod());
            }
            if let Some(doubt) = transformer.doubt(self.asks) {
                let (weight, doubt) = match doubt {
                    namer::NodeDoubt::Asked(doubt) => ((Severity::Note, "node-by-api"), doubt),
                    namer::NodeDoubt::Guessed(doubt) => ((Severity::Warning, "node-by-network"), doubt),
                };
                let (place, key) = part;
                self.found.push(Finding::new((self.file, place, key), weight, doubt));
            }
        }
    }
}

/// Returns whether an API server cannot be reached for want of a file that a pod has.
fn is_of_pod(error: &kubernetes::Error) -> bool {
    error.is_missing_kubeconfig()
}
