//! Finds entries of a dtab that cannot work, as far as the dtab alone tells.
//!
//! The answers of namers are not known here, so an entry that a namer could make useful is no doubt.

use crate::interpret::{AnswerState, Answers, Explore, Failure, Step, StepKind, delegate};
use crate::name::{Dentry, Dtab, Element, NameTree, Path, Prefix};

/// One entry, and the reason to doubt it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Doubt {
    /// Its position in the dtab.
    pub(super) entry: usize,
    kind: DoubtKind,
    text: String,
}

/// A mistake that an entry may have.
#[derive(Debug, PartialEq, Eq)]
enum DoubtKind {
    /// A later entry decides for every name it matches.
    Shadowed { by: usize },
    /// A later entry is equal.
    Repeated { by: usize },
    /// No entry and no namer begins with the path it leads to.
    Nowhere { path: Path },
    /// It leads to a namer that is not configured.
    NoNamer { path: Path, configured: Vec<Path> },
    /// It leads back to itself.
    Loop { failure: Failure },
}

impl Doubt {
    /// Returns the reason in words; `line` returns the line of another entry.
    pub(super) fn reason(&self, line: impl Fn(usize) -> usize) -> String {
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
            DoubtKind::Loop { failure } => format!("`{entry}` leads back to itself: {failure}"),
        }
    }
}

/// Returns the doubtful entries of a dtab; `namers` are the prefixes of the configured namers, without `/#`.
pub(super) fn find_doubts(dtab: &Dtab, namers: &[Path]) -> Vec<Doubt> {
    let entries: Vec<&Dentry> = dtab.iter().collect();
    let kind = |at: usize, dentry: &Dentry| {
        find_shadow(&entries, at, dentry)
            .or_else(|| find_dead_end(&entries, namers, dentry))
            .or_else(|| find_loop(dtab, at, dentry))
    };
    entries
        .iter()
        .enumerate()
        .filter_map(|(at, dentry)| {
            Some(Doubt { entry: at, kind: kind(at, dentry)?, text: dentry.to_string() })
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
            Some(b"$") => return,
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

/// Reports an entry whose own prefix leads to it again, until a bound is reached.
fn find_loop(dtab: &Dtab, at: usize, dentry: &Dentry) -> Option<DoubtKind> {
    let path = Path::from_elems(dentry.prefix.elems().map(|elem| match elem {
        Element::Label(label) => label,
        Element::Any => b"any",
    }));
    let delegation = delegate(dtab, &path, &mut PendingAnswers, Explore::All);
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
            /svc => /$/io.buoyant.http.domainToPathPfx/host; /svc/api => /host/world | !";
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
