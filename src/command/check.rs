//! `signpost check`: prints the meaning of a configuration file, and its mistakes.

mod entries;

use super::Exit;
use super::run::{fail, run_control};
use crate::config::{self, Config, Finding, Severity};
use crate::kubernetes::ApiClients;
use crate::namer;
use crate::telemetry::Registry;
use std::path::Path;
use tokio::runtime::Handle;

/// The command line of `signpost check`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  signpost check linkerd.yaml
  signpost check --strict --json linkerd.yaml
  generate-config | signpost check -

A note is no fault of the file: the callers that a listener trusts, or what only the pod has in which the process will run.")]
pub(super) struct Arguments {
    /// The configuration in Linkerd 1's YAML or JSON, or - for standard input
    file: String,
    /// Fail on warnings too; never on notes
    #[arg(long)]
    strict: bool,
    /// Print the findings as a JSON list of {file, line, column, key, severity, code, message}
    #[arg(long)]
    json: bool,
}

/// Checks a file as the start does, but for free ports.
pub(super) fn run(arguments: &Arguments) -> Exit {
    let (name, mut findings) = match config::load(Path::new(&arguments.file)) {
        Ok(config) => (config.file.clone(), findings(&config)),
        Err(errors) => (arguments.file.clone(), errors.iter().map(Finding::from).collect()),
    };
    if arguments.strict {
        let warnings = findings.iter_mut().filter(|finding| finding.severity == Severity::Warning);
        warnings.for_each(|warning| warning.severity = Severity::Error);
    }
    if arguments.json { print_json(&findings) } else { print_text(&name, &findings) }
}

/// Prints the findings as JSON.
fn print_json(findings: &[Finding]) -> Exit {
    match serde_json::to_string_pretty(findings) {
        Ok(text) => println!("{text}"),
        Err(error) => return fail(&error),
    }
    if count(findings, Severity::Error) == 0 { Exit::Done } else { Exit::Failed }
}

/// Prints the findings and a verdict; of a file with errors these alone, on standard error.
fn print_text(file: &str, findings: &[Finding]) -> Exit {
    if count(findings, Severity::Error) > 0 {
        for error in findings.iter().filter(|finding| finding.severity == Severity::Error) {
            eprintln!("{error}");
        }
        return Exit::Failed;
    }
    for finding in findings {
        println!("{finding}");
    }
    println!("{file}: {}", verdict(count(findings, Severity::Warning)));
    Exit::Done
}

/// Returns how many findings have a weight.
fn count(findings: &[Finding], severity: Severity) -> usize {
    findings.iter().filter(|finding| finding.severity == severity).count()
}

/// Returns the last line of the output.
fn verdict(warnings: usize) -> String {
    match warnings {
        0 => "good".to_owned(),
        1 => "good, with 1 warning".to_owned(),
        several => format!("good, with {several} warnings"),
    }
}

/// Returns everything that there is to say about a file that can be read: notes first, then what is probably a mistake.
fn findings(config: &Config) -> Vec<Finding> {
    let mut findings: Vec<Finding> = config.notes().iter().map(Finding::from).collect();
    let environment = config.environment_findings();
    if environment.iter().all(|finding| !finding.fails_start()) {
        findings.extend(namer_error(config));
    }
    findings.extend(environment);
    findings.extend(config.sandbox_notes());
    findings.extend(config.warnings.iter().chain(&config.masquerade_warnings()).map(Finding::from));
    findings.extend(entries::doubtful_entries(config));
    findings.sort_by_key(|finding| (finding.severity != Severity::Note, finding.place()));
    findings
}

/// Makes the namers as the start makes them, and drops them again.
fn namer_error(config: &Config) -> Option<Finding> {
    let mut found = None;
    run_control(async {
        let (clients, registry, control) = (ApiClients::default(), Registry::default(), Handle::current());
        let made = namer::build(&config.namers, config.interpreters(), &clients, &registry, &control);
        found = made.err().map(|error| config.namer_finding(&error));
        Exit::Done
    });
    found
}
