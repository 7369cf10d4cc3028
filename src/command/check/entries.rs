//! Finds entries of a dtab that cannot work, as far as the dtab alone tells.
//!
//! The answers of namers are not known here, so an entry that a namer could make useful is no doubt.

use crate::config::{Config, Finding, Warning};
use crate::interpret::{
    AnswerState, Answers, Bound, Explore, Failure, Leaf, Step, StepKind, Target, delegate, lost_shares,
    percent,
};
use crate::name::{Dentry, Dtab, Element, NameTree, Path, Prefix};
use crate::namer;

/// Returns a warning for each entry of the routers' dtabs that is probably a mistake.
pub(super) fn doubtful_entries(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let namers: Vec<_> = config.namers.iter().map(|namer| namer.prefix.clone()).collect();
    for (router, places) in config.routers.iter().zip(&config.places.routers) {
        let place = |at: usize| places.dentries.get(at).copied().unwrap_or(places.dtab);
        for doubt in find_doubts(&router.dtab, &namers) {
            let warning = Warning {
                file: config.file.clone(),
                place: place(doubt.entry),
                key: format!("{}.dtab", places.key),
                code: doubt.code(),
                message: doubt.reason(|entry| place(entry).line),
            };
            findings.push(Finding::from(&warning));
        }
    }
    findings
}

/// One entry, and the reason to doubt it.
#[derive(Debug, PartialEq)]
struct Doubt {
    /// Its position in the dtab.
    entry: usize,
    kind: DoubtKind,
    text: String,
}

/// A mistake that an entry may have.
#[derive(Debug, PartialEq)]
enum DoubtKind {
    /// A later entry decides for every name it matches.
    Shadowed { by: usize },
    /// A later entry is equal.
    Repeated { by: usize },
    /// No entry and no namer begins with the path it leads to.
    Nowhere { path: Path },
    /// It leads to a namer that is not configured.
    NoNamer { path: Path, configured: Vec<Path> },
    /// It leads to a name under `/$` that nothing binds, for this reason.
    System { path: Path, reason: String },
    /// A branch of it leads nowhere for sure, and others take its share.
    Lost { percent: f64 },
    /// It leads back to itself.
    Loop { failure: Failure },
}

impl Doubt {
    /// Returns the word for its kind.
    const fn code(&self) -> &'static str {
        match self.kind {
            DoubtKind::Shadowed { .. } => "shadowed-entry",
            DoubtKind::Repeated { .. } => "repeated-entry",
            DoubtKind::Nowhere { .. } | DoubtKind::System { .. } => "dead-entry",
            DoubtKind::NoNamer { .. } => "no-namer",
            DoubtKind::Lost { .. } => "lost-share",
            DoubtKind::Loop { .. } => "entry-loop",
        }
    }

    /// Returns the reason in words; `line` returns the line of another entry.
    fn reason(&self, line: impl Fn(usize) -> usize) -> String {
        let entry = &self.text;
        match &self.kind {
            DoubtKind::Shadowed { by } => format!(
                "`{entry}` is never used: the entry in line {} comes first and decides for every such name",
                line(*by)
            ),
            DoubtKind::Repeated { by } => {
                format!("`{entry}` is repeated in line {}: one of the two can go", line(*by))
            }
            DoubtKind::Nowhere { path } => {
                format!("`{entry}` leads nowhere: no entry and no namer begins with {path}")
            }
            DoubtKind::NoNamer { path, configured } if configured.is_empty() => {
                format!("`{entry}` leads to {path}, but no namer is configured")
            }
            DoubtKind::NoNamer { path, configured } => {
                let names: Vec<_> = configured.iter().map(|prefix| format!("/#{prefix}")).collect();
                format!(
                    "`{entry}` leads to {path}, which is no configured namer's: configured are {}",
                    names.join(", ")
                )
            }
            DoubtKind::System { path, reason } => format!("`{entry}` leads to {path}: {reason}"),
            DoubtKind::Lost { percent } => format!(
                "`{entry}` loses {percent} %: a branch that leads nowhere or is `!` takes no part, and the branches beside it \
                 take its share"
            ),
            DoubtKind::Loop { failure } => format!("`{entry}` leads back to itself: {failure}"),
        }
    }
}

/// Returns the doubtful entries of a dtab; `namers` are the prefixes of the configured namers, without `/#`.
fn find_doubts(dtab: &Dtab, namers: &[Path]) -> Vec<Doubt> {
    let entries: Vec<&Dentry> = dtab.iter().collect();
    let kind = |at: usize, dentry: &Dentry| {
        find_shadow(&entries, at, dentry)
            .or_else(|| find_dead_end(&entries, namers, dentry))
            .or_else(|| find_loop(dtab, at, dentry))
            .or_else(|| find_lost_share(dtab, at, dentry))
    };
    entries
        .iter()
        .enumerate()
        .filter_map(|(at, dentry)| {
            Some(Doubt { entry: at, kind: kind(at, dentry)?, text: format!("{dentry:#}") })
        })
        .collect()
}

/// Finds a later entry that decides for every name this one matches.
fn find_shadow(entries: &[&Dentry], at: usize, dentry: &Dentry) -> Option<DoubtKind> {
    entries.iter().enumerate().skip(at + 1).find_map(|(by, later)| {
        if later == &dentry {
            Some(DoubtKind::Repeated { by })
        } else if covers(&later.prefix, &dentry.prefix) && decides(&later.dst) {
            Some(DoubtKind::Shadowed { by })
        } else {
            None
        }
    })
}

/// Returns whether every name that `inner` matches is matched by `outer`.
fn covers(outer: &Prefix, inner: &Prefix) -> bool {
    outer.len() <= inner.len()
        && outer.elems().zip(inner.elems()).all(|(outer, inner)| outer == Element::Any || outer == inner)
}

/// Returns whether a tree is never Neg, whatever its paths lead to.
fn decides(tree: &NameTree<Path>) -> bool {
    match tree {
        NameTree::Fail | NameTree::Empty => true,
        NameTree::Neg => false,
        NameTree::Leaf(path) => {
            let mut elems = path.elems();
            elems.next() == Some(b"$")
                && matches!(elems.next(), Some(b"nil" | b"fail" | b"io.buoyant.http.status"))
        }
        NameTree::Alt(arms) => arms.iter().any(decides),
        // A union drops the branches that fail.
        NameTree::Union(branches) => {
            branches.iter().any(|branch| branch.tree != NameTree::Fail && decides(&branch.tree))
        }
    }
}

/// Finds a path in the entry's tree with which no entry and no namer begins.
fn find_dead_end(entries: &[&Dentry], namers: &[Path], dentry: &Dentry) -> Option<DoubtKind> {
    let mut found = None;
    dentry.dst.map(&mut |path: &Path| {
        let meets = entries.iter().any(|entry| meets(&entry.prefix, path));
        let kind = match path.first() {
            Some(b"$") => {
                namer::system_doubt(path).map(|reason| DoubtKind::System { path: path.clone(), reason })
            }
            Some(b"#") => {
                let rest = path.skip(1);
                let known = namers.iter().any(|namer| rest.starts_with(namer) || namer.starts_with(&rest));
                (!known).then(|| DoubtKind::NoNamer { path: path.clone(), configured: namers.to_vec() })
            }
            _ => Some(DoubtKind::Nowhere { path: path.clone() }),
        };
        if !meets && found.is_none() {
            found = kind;
        }
    });
    found
}

/// Returns whether `prefix` could match `path` with further labels behind it.
fn meets(prefix: &Prefix, path: &Path) -> bool {
    prefix
        .elems()
        .zip(path.elems())
        .all(|(elem, label)| elem == Element::Any || elem == Element::Label(label))
}

/// Answers of namers that are never known.
struct PendingAnswers;

impl Answers for PendingAnswers {
    fn answer(&mut self, _: &Path) -> AnswerState {
        AnswerState::Pending
    }
}

/// Answers of namers that bind every name, as far as the name does not say the opposite.
struct BoundAnswers;

impl Answers for BoundAnswers {
    fn answer(&mut self, path: &Path) -> AnswerState {
        let is_fail = path.take(2) == Path::from_elems(["$", "fail"]);
        let bound = || Bound { id: path.clone(), residual: Path::empty(), target: Target::Status(200) };
        AnswerState::Ready(if is_fail { NameTree::Fail } else { NameTree::Leaf(Leaf::Bound(bound())) })
    }
}

/// Returns a path that an entry matches.
fn matched_path(dentry: &Dentry) -> Path {
    Path::from_elems(dentry.prefix.elems().map(|elem| match elem {
        Element::Label(label) => label,
        Element::Any => b"any",
    }))
}

/// Reports an entry with a branch that leads nowhere even when the namers bind every name.
fn find_lost_share(dtab: &Dtab, at: usize, dentry: &Dentry) -> Option<DoubtKind> {
    let delegation = delegate(dtab, &matched_path(dentry), &mut BoundAnswers, Explore::Deciding);
    let lost = lost_shares(&delegation, dtab.len());
    let share: f64 = lost.iter().filter(|lost| lost.dentry == Some(at)).map(|lost| lost.share).sum();
    (share > 0.0).then(|| DoubtKind::Lost { percent: percent(share) })
}

/// Reports an entry whose own prefix leads to it again, until a bound is reached.
fn find_loop(dtab: &Dtab, at: usize, dentry: &Dentry) -> Option<DoubtKind> {
    let delegation = delegate(dtab, &matched_path(dentry), &mut PendingAnswers, Explore::All);
    let failure = find_bound_below(&delegation.step, at, 0)?;
    Some(DoubtKind::Loop { failure })
}

/// Finds the bound that is reached below more than one step of the entry at `at`.
fn find_bound_below(step: &Step, at: usize, passed: usize) -> Option<Failure> {
    let passed = passed + usize::from(step.dentry == Some(at));
    match &step.kind {
        StepKind::Delegate(next) => find_bound_below(next, at, passed),
        StepKind::Alt(arms) => arms.iter().find_map(|arm| find_bound_below(arm, at, passed)),
        StepKind::Union(branches) => {
            branches.iter().find_map(|(_, branch)| find_bound_below(branch, at, passed))
        }
        StepKind::Failed(failure) if passed > 1 => Some(failure.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons(dtab: &str) -> Vec<String> {
        let namers = [Path::from_elems(["io.l5d.fs"])];
        find_doubts(&dtab.parse().unwrap(), &namers)
            .iter()
            .map(|doubt| doubt.reason(|entry| entry + 1))
            .collect()
    }

    #[test]
    fn a_table_that_works_raises_none() {
        let dtab = "/srv => /#/io.l5d.fs; /host => /srv; /host/world => /srv/world-v1; /http/1.1/* => /host;
            /svc => /$/io.buoyant.http.domainToPathPfx/host; /svc/api => /host/world | !;
            /out => /$/io.buoyant.rinet/80; /on => /$/inet/8080 | /$/fixedinet/10.0.0.1/80/more; /no => /$/fail | /$/nil";
        assert_eq!(reasons(dtab), [""; 0]);
    }

    #[test]
    fn each_doubt_names_the_entry_and_the_reason() {
        let table = [
            ("/a => /b", "`/a=>/b` leads nowhere: no entry and no namer begins with /b"),
            (
                "/a => /#/io.l5d.k8s/default",
                "`/a=>/#/io.l5d.k8s/default` leads to /#/io.l5d.k8s/default, which is no configured namer's: configured are /#/io.l5d.fs",
            ),
            (
                "/a/b => /$/inet/1/80; /a => !",
                "`/a/b=>/$/inet/1/80` is never used: the entry in line 2 comes first and decides for every such name",
            ),
            (
                "/a => /$/inet/1/80; /* => ~ | $",
                "`/a=>/$/inet/1/80` is never used: the entry in line 2 comes first and decides for every such name",
            ),
            (
                "/a => /#/io.l5d.fs; /a => /#/io.l5d.fs",
                "`/a=>/#/io.l5d.fs` is repeated in line 2: one of the two can go",
            ),
            (
                "/a => /$/inte/1.2.3.4/80",
                "`/a=>/$/inte/1.2.3.4/80` leads to /$/inte/1.2.3.4/80: unknown namer: did you mean `inet`? Known here: inet, \
                 fixedinet, io.buoyant.rinet, io.buoyant.http.status, nil, fail, io.buoyant.http.anyMethod, \
                 io.buoyant.http.anyMethodPfx, io.buoyant.http.anyHost, io.buoyant.http.anyHostPfx, \
                 io.buoyant.http.subdomainOf, io.buoyant.http.subdomainOfPfx, io.buoyant.http.domainToPath, \
                 io.buoyant.http.domainToPathPfx, io.buoyant.hostportPfx, io.buoyant.porthostPfx",
            ),
            (
                "/a => /$/inet/1.2.3.4",
                "`/a=>/$/inet/1.2.3.4` leads to /$/inet/1.2.3.4: the port is missing: write /$/inet/1.2.3.4/PORT",
            ),
            (
                "/a => /$/inet/1.2.3.4/http | /$/inet/1/80",
                "`/a=>/$/inet/1.2.3.4/http | /$/inet/1/80` leads to /$/inet/1.2.3.4/http: `http` is no port, which is a \
                 number from 1 to 65535",
            ),
            (
                "/a => /$/io.buoyant.rinet/99999",
                "`/a=>/$/io.buoyant.rinet/99999` leads to /$/io.buoyant.rinet/99999: `99999` is no port, which is a number \
                 from 1 to 65535",
            ),
            (
                "/a => /$/io.buoyant.http.status/999",
                "`/a=>/$/io.buoyant.http.status/999` leads to /$/io.buoyant.http.status/999: `999` is no status, which is a \
                 number from 100 to 599",
            ),
            (
                "/a => 99 * /#/io.l5d.fs/x & 1 * !",
                "`/a=>99*/#/io.l5d.fs/x & !` loses 1 %: a branch that leads nowhere or is `!` takes no part, and the branches \
                 beside it take its share",
            ),
            (
                "/a => 3 * /#/io.l5d.fs/x & 1 * /b; /b => /$/fail",
                "`/a=>3*/#/io.l5d.fs/x & /b` loses 25 %: a branch that leads nowhere or is `!` takes no part, and the branches \
                 beside it take its share",
            ),
            ("/a => /a", "`/a=>/a` leads back to itself: Max recursion level: 100 reached in Namer lookup"),
        ];
        for (dtab, reason) in table {
            assert_eq!(reasons(dtab), [reason], "{dtab}");
        }
        assert_eq!(reasons("/a => /b; /b => /a").len(), 2, "both entries of a circle");
    }

    #[test]
    fn an_entry_that_may_still_decide_is_not_shadowed() {
        for dtab in
            ["/a => !; /a => /#/io.l5d.fs", "/a => !; /a/b => !", "/* => !; /a => !", "/a => $; /a => ~ & !"]
        {
            assert_eq!(reasons(dtab), [""; 0], "{dtab}");
        }
    }
}
