//! `signpost check`: prints the meaning of a configuration file, and its mistakes.

mod entries;

use super::Exit;
use super::run::{fail, run_control};
use crate::config::{self, Config};
use crate::kubernetes::ApiClients;
use crate::namer;
use crate::telemetry::Registry;
use std::path::Path;
use tokio::runtime::Handle;

/// Checks a file as the start does, but for free ports.
pub(super) fn run(file: &str) -> Exit {
    let config = match config::load(Path::new(file)) {
        Ok(config) => config,
        Err(errors) => return fail(&errors),
    };
    run_control(async {
        // Namers are made as the start makes them, and dropped again.
        let (clients, registry, control) = (ApiClients::default(), Registry::default(), Handle::current());
        let made = namer::build(&config.namers, config.interpreters(), &clients, &registry, &control);
        if let Err(error) = made {
            return fail(&error);
        }
        for store in config.routers.iter().filter_map(|router| router.interpreter.store.as_ref()) {
            if let Err(error) = store.check() {
                return fail(&error);
            }
        }
        for identifier in config.routers.iter().flat_map(|router| &router.identifiers) {
            if let Err(error) = identifier.check() {
                return fail(&error);
            }
        }
        for server in config.routers.iter().flat_map(|router| &router.servers) {
            if let Some(trust) = server.trust.signed()
                && let Err(error) = trust.signed.files.check()
            {
                return fail(&error);
            }
        }
        for note in config.notes() {
            println!("{note}");
        }
        let warnings = warnings(&config);
        for warning in &warnings {
            println!("{warning}");
        }
        println!("{}: {}", config.file, verdict(warnings.len()));
        Exit::Done
    })
}

/// Returns the last line of the output.
fn verdict(warnings: usize) -> String {
    match warnings {
        0 => "good".to_owned(),
        1 => "good, with 1 warning".to_owned(),
        several => format!("good, with {several} warnings"),
    }
}

/// Returns a warning for each part that does not fail the start and is probably a mistake.
fn warnings(config: &Config) -> Vec<String> {
    let found = config.warnings.iter().cloned().chain(config.masquerade_warnings());
    let mut warnings: Vec<String> = found.map(|warning| warning.to_string()).collect();
    let namers: Vec<_> = config.namers.iter().map(|namer| namer.prefix.clone()).collect();
    for (router, places) in config.routers.iter().zip(&config.places.routers) {
        let place = |at: usize| places.dentries.get(at).copied().unwrap_or(places.dtab);
        for doubt in entries::find_doubts(&router.dtab, &namers) {
            let (file, at, key) = (&config.file, place(doubt.entry), &places.key);
            let reason = doubt.reason(|entry| place(entry).line);
            warnings.push(format!("{file}:{at}: {key}.dtab: {reason}"));
        }
    }
    warnings
}
