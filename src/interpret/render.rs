//! Renders delegations: as a drawing for the terminal, and as Linkerd's JSON.

use super::share::shares_left;
use super::{
    Bound, Delegation, DelegationOutcome, Endpoint, EndpointSet, Failure, Step, StepKind, Target, percent,
};
use crate::name::{Dentry, NameTree, Path};
use std::fmt::{self, Write};

mod json;

pub use json::{DelegationJson, OverrideReport, cut, json};

/// The colour codes of a drawing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// No codes: plain text.
    Without,
    /// ANSI codes: green for bound names, red for all other results, dim for steps that were not taken.
    Ansi,
}

/// How many addresses of one name are drawn; the rest is only counted.
const ADDRESSES: usize = 8;

/// How often one path is drawn below itself. Nested alternates share their path; more repetitions are a loop.
const ROUNDS: usize = 8;

/// How many steps are drawn one below the other; anything deeper is a loop whose path grows.
const DEPTH: usize = 30;

/// How many characters of one entry's destination are drawn.
const DESTINATION: usize = 60;

/// Draws a delegation as a tree, a line for each step, and a line for the outcome.
///
/// Each step shows its path, the entry that led there (in brackets, counted from 1), and its result. A branch of a union
/// shows its weight and, in percent, its share among the branches that are left. Steps that are not
/// taken hang on dotted lines. Endpoints are those known at this moment.
///
/// ```text
/// /svc/world
/// └── /host/world  [2: /svc => /host]
///     └── /srv/world-v2  [4: /host/world => /srv/world-v2]
///         └── /#/io.l5d.fs/world-v2  [1: /srv => /#/io.l5d.fs]  bound: 127.0.0.1:8082
/// outcome: /#/io.l5d.fs/world-v2
/// ```
///
/// # Errors
///
/// Fails when `out` does.
pub fn draw(delegation: &Delegation, colours: Colours, out: &mut impl Write) -> fmt::Result {
    draw_with_origins(delegation, &[], colours, out)
}

/// Does the same, and names the origin of the entries that have one, in the order of the dtab: `[4, sandbox v2: /a => /b]`.
///
/// # Errors
///
/// Fails when `out` does.
pub fn draw_with_origins(
    delegation: &Delegation,
    origins: &[Option<String>],
    colours: Colours,
    out: &mut impl Write,
) -> fmt::Result {
    let dentries = delegation.dtab.iter().collect();
    let mut drawing = Drawing { dentries, origins, colours, indent: String::new(), around: Vec::new(), out };
    drawing.step(&delegation.step, "")?;
    drawing.outcome(&delegation.outcome)
}

/// Returns the taken steps that lead to no endpoint, as lines of text: each path with the entry that led there and its
/// result. More than `most` are left out.
pub fn dead_ends(delegation: &Delegation, most: usize) -> Vec<String> {
    let mut ends = Vec::new();
    collect_ends(delegation, &delegation.step, most, &mut ends);
    ends
}

/// Collects the ends at or below a step.
fn collect_ends(delegation: &Delegation, step: &Step, most: usize, ends: &mut Vec<String>) {
    if !step.taken || ends.len() >= most {
        return;
    }
    match &step.kind {
        StepKind::Delegate(next) => collect_ends(delegation, next, most, ends),
        StepKind::Alt(arms) => arms.iter().for_each(|arm| collect_ends(delegation, arm, most, ends)),
        StepKind::Union(branches) => {
            branches.iter().for_each(|(_, branch)| collect_ends(delegation, branch, most, ends));
        }
        StepKind::Leaf(_) | StepKind::Unexplored => {}
        kind => {
            let path = symbol(step).map_or_else(|| step.path.to_string(), str::to_owned);
            let entry = delegation.dentry(step).map(|entry| format!(" ({})", shown_entry(entry)));
            let result = result(kind).map_or_else(String::new, |(_, result)| result);
            ends.push(format!("{path}{}: {result}", entry.unwrap_or_default()));
        }
    }
}

/// Returns an entry as text, with a long destination cut.
fn shown_entry(Dentry { prefix, dst }: &Dentry) -> String {
    let mut dst = format!("{dst:#}");
    if let Some((cut, _)) = dst.char_indices().nth(DESTINATION) {
        dst.replace_range(cut.., "...");
    }
    format!("{prefix} => {dst}")
}

/// A drawing in progress.
struct Drawing<'a, W> {
    dentries: Vec<&'a Dentry>,
    origins: &'a [Option<String>],
    colours: Colours,
    /// The text at the left of the lines below the present step.
    indent: String,
    /// The paths of the steps around the present one.
    around: Vec<Path>,
    out: &'a mut W,
}

/// The ANSI codes of the colours that are used.
const GREEN: &str = "32";
const RED: &str = "31";
const DIM: &str = "2";

impl<W: Write> Drawing<'_, W> {
    /// Draws the rest of a step's line, and the steps below it.
    fn step(&mut self, step: &Step, weight: &str) -> fmt::Result {
        let mut line = weight.to_owned();
        match symbol(step) {
            Some(symbol) => line.push_str(symbol),
            None => write!(line, "{}", step.path)?,
        }
        self.entry(step, &mut line)?;
        let colour = if step.taken { "" } else { DIM };
        self.coloured(colour, &line)?;
        if let Some((colour, text)) = result(&step.kind) {
            self.out.write_str("  ")?;
            self.coloured(if step.taken { colour } else { DIM }, &text)?;
        }
        if self.goes_round(step) {
            self.out.write_str("  again, and so on")?;
            if let Some(failure) = failure(step) {
                self.out.write_str(": ")?;
                self.coloured(if step.taken { RED } else { DIM }, &failure.to_string())?;
            }
            return self.out.write_char('\n');
        }
        self.out.write_char('\n')?;
        self.around.push(step.path.clone());
        self.below(step)?;
        self.around.pop();
        Ok(())
    }

    /// Returns whether the steps below have been drawn around this step already, or lie too deep to be read.
    fn goes_round(&self, step: &Step) -> bool {
        let has_below = matches!(step.kind, StepKind::Delegate(_) | StepKind::Alt(_) | StepKind::Union(_));
        let times = self.around.iter().filter(|path| **path == step.path).count();
        has_below && (times >= ROUNDS || self.around.len() >= DEPTH)
    }

    /// Draws the steps below a step.
    fn below(&mut self, step: &Step) -> fmt::Result {
        match &step.kind {
            StepKind::Delegate(child) => self.child(child, "", true),
            StepKind::Alt(arms) => {
                let last = arms.len().saturating_sub(1);
                arms.iter().enumerate().try_for_each(|(at, arm)| self.child(arm, "", at == last))
            }
            StepKind::Union(branches) => {
                let last = branches.len().saturating_sub(1);
                let shares = shares_left(branches).unwrap_or_default();
                branches.iter().enumerate().try_for_each(|(at, (weight, branch))| {
                    let share =
                        shares.get(at).map_or_else(String::new, |share| format!(" ({} %)", percent(*share)));
                    self.child(branch, &format!("{weight}{share} * "), at == last)
                })
            }
            _ => Ok(()),
        }
    }

    /// Draws one step below another, with its branch line.
    fn child(&mut self, child: &Step, weight: &str, last: bool) -> fmt::Result {
        let (branch, below) = match (child.taken, last) {
            (true, false) => ("├── ", "│   "),
            (true, true) => ("└── ", "    "),
            (false, false) => ("├╌╌ ", "│   "),
            (false, true) => ("└╌╌ ", "    "),
        };
        self.out.write_str(&self.indent)?;
        self.out.write_str(branch)?;
        let indented = self.indent.len();
        self.indent.push_str(below);
        self.step(child, weight)?;
        self.indent.truncate(indented);
        Ok(())
    }

    /// Adds the entry that led to a step.
    fn entry(&self, step: &Step, line: &mut String) -> fmt::Result {
        let found = step.dentry.and_then(|at| Some((at + 1, *self.dentries.get(at)?)));
        let Some((number, entry)) = found else { return Ok(()) };
        let origin = step.dentry.and_then(|at| self.origins.get(at)?.as_deref());
        let origin = origin.map_or_else(String::new, |origin| format!(", {origin}"));
        write!(line, "  [{number}{origin}: {}]", shown_entry(entry))
    }

    /// Draws the line of the outcome.
    fn outcome(&mut self, outcome: &DelegationOutcome) -> fmt::Result {
        self.out.write_str("outcome: ")?;
        let colour = match outcome {
            DelegationOutcome::Bound(NameTree::Neg | NameTree::Fail | NameTree::Empty) => RED,
            DelegationOutcome::Bound(_) => GREEN,
            DelegationOutcome::Pending | DelegationOutcome::Failed(_) => RED,
        };
        self.coloured(colour, &outcome_text(outcome))?;
        self.out.write_char('\n')
    }

    /// Writes a text in a colour.
    fn coloured(&mut self, colour: &str, text: &str) -> fmt::Result {
        if self.colours == Colours::Without || colour.is_empty() {
            self.out.write_str(text)
        } else {
            write!(self.out, "\x1b[{colour}m{text}\x1b[0m")
        }
    }
}

/// Returns an outcome as one line of text.
fn outcome_text(outcome: &DelegationOutcome) -> String {
    match outcome {
        DelegationOutcome::Bound(NameTree::Neg) => format!("~ ({NEG})"),
        DelegationOutcome::Bound(NameTree::Fail) => format!("! ({FAIL})"),
        DelegationOutcome::Bound(NameTree::Empty) => format!("$ ({EMPTY})"),
        DelegationOutcome::Bound(tree) => {
            let names = tree.map(&mut |bound: &Bound| bound.id.concat(&bound.residual));
            format!("{names:#}")
        }
        DelegationOutcome::Pending => PENDING.to_owned(),
        DelegationOutcome::Failed(failure) => printable(&format!("failed: {failure}")),
    }
}

const NEG: &str = "no such name";
const FAIL: &str = "fails on purpose";
const EMPTY: &str = "no members";
const UNEXPLORED: &str = "not explored: too much is not taken";
const PENDING: &str = "pending: a namer has not answered";

/// Returns the first failure at or below a step.
fn failure(step: &Step) -> Option<&Failure> {
    match &step.kind {
        StepKind::Failed(failure) => Some(failure),
        StepKind::Delegate(child) => failure(child),
        StepKind::Alt(arms) => arms.iter().find_map(failure),
        StepKind::Union(branches) => branches.iter().find_map(|(_, branch)| failure(branch)),
        _ => None,
    }
}

/// Returns the symbol of a step that is a `~`, `!` or `$` in an entry; it is drawn in the place of the path.
const fn symbol(step: &Step) -> Option<&'static str> {
    if step.dentry.is_none() || !step.path.is_empty() {
        return None;
    }
    match step.kind {
        StepKind::Neg => Some("~"),
        StepKind::Fail => Some("!"),
        StepKind::Empty => Some("$"),
        _ => None,
    }
}

/// Returns the result of a step for the end of its line, with its colour; nothing when the next line tells it.
fn result(kind: &StepKind) -> Option<(&'static str, String)> {
    Some(match kind {
        StepKind::Delegate(_) => return None,
        StepKind::Alt(_) => ("", "first of:".into()),
        StepKind::Union(_) => ("", "shared by:".into()),
        StepKind::Leaf(bound) => (GREEN, leaf(bound)),
        StepKind::Neg => (RED, NEG.into()),
        StepKind::Fail => (RED, FAIL.into()),
        StepKind::Empty => (RED, EMPTY.into()),
        StepKind::Pending => (RED, PENDING.into()),
        StepKind::Failed(failure) => (RED, printable(&format!("failed: {failure}"))),
        StepKind::Unexplored => (DIM, UNEXPLORED.into()),
    })
}

/// Returns the text of a bound name.
fn leaf(bound: &Bound) -> String {
    let mut text = format!("bound to {}", bound.id);
    if !bound.residual.is_empty() {
        text.push_str(&format!(", rest {}", bound.residual));
    }
    text.push_str(": ");
    match &bound.target {
        Target::Endpoints(endpoints) => text.push_str(&addresses(&endpoints.borrow())),
        Target::Status(status) => text.push_str(&format!("an empty answer with status {status}")),
    }
    text
}

/// Returns the first addresses of a set, and the number of the others.
fn addresses(endpoints: &EndpointSet) -> String {
    let used = || Endpoint::preferred(endpoints);
    let mut shown: Vec<_> = used().take(ADDRESSES).map(|endpoint| endpoint.address.to_string()).collect();
    match used().count() {
        0 => return "no endpoints".into(),
        1..=ADDRESSES => {}
        many => shown.push(format!("{} more", many - ADDRESSES)),
    }
    shown.join(", ")
}

/// Replaces the control characters of a text, which could steer a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests;
