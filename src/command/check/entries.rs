//! Entries of a dtab that cannot work, as far as the table alone tells.
//!
//! What a namer will answer is not known here, so nothing is said about an entry that a namer could make useful.

use crate::interpret::{AnswerState, Answers, Explore, Failure, Step, StepKind, delegate};
use crate::name::{Dentry, Dtab, Element, NameTree, Path, Prefix};

/// One entry and what is doubtful about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Doubt {
    /// Its position in the dtab.
    pub(super) entry: usize,
    kind: Kind,
    text: String,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// A later entry decides for every name it matches.
    Shadowed { by: usize },
    /// A later entry says the same.
    Repeated { by: usize },
    /// Nothing begins with where it leads.
    Nowhere { path: Path },
    /// It leads to a namer that is not there.
    NoNamer { path: Path, configured: Vec<Path> },
    /// It leads back to itself.
    Loop { failure: Failure },
}

impl Doubt {
    /// What is doubtful, in words; `line` tells where another entry stands.
    pub(super) fn reason(&self, line: impl Fn(usize) -> usize) -> String {
        let entry = &self.text;
        match &self.kind {
            Kind::Shadowed { by } => format!(
                "`{entry}` is never asked: the entry in line {} comes first and decides for every such name",
                line(*by)
            ),
            Kind::Repeated { by } => {
                format!("`{entry}` is repeated in line {}: one of the two can go", line(*by))
            }
            Kind::Nowhere { path } => {
                format!("`{entry}` leads nowhere: no entry and no namer begins with {path}")
            }
            Kind::NoNamer { path, configured } if configured.is_empty() => {
                format!("`{entry}` leads to {path}, but no namer is configured")
            }
            Kind::NoNamer { path, configured } => {
                let names: Vec<_> = configured.iter().map(|prefix| format!("/#{prefix}")).collect();
                format!(
                    "`{entry}` leads to {path}, which is no configured namer's: there is {}",
                    names.join(", ")
                )
            }
            Kind::Loop { failure } => format!("`{entry}` leads back to itself: {failure}"),
        }
    }
}

/// The doubtful entries of a dtab; `namers` are the prefixes of the configured namers, without `/#`.
pub(super) fn doubts(dtab: &Dtab, namers: &[Path]) -> Vec<Doubt> {
    let entries: Vec<&Dentry> = dtab.iter().collect();
    let kind = |at: usize, dentry: &Dentry| {
        shadow(&entries, at, dentry)
            .or_else(|| nowhere(&entries, namers, dentry))
            .or_else(|| circle(dtab, at, dentry))
    };
    entries
        .iter()
        .enumerate()
        .filter_map(|(at, dentry)| {
            Some(Doubt { entry: at, kind: kind(at, dentry)?, text: dentry.to_string() })
        })
        .collect()
}

/// A later entry that leaves nothing to this one.
fn shadow(entries: &[&Dentry], at: usize, dentry: &Dentry) -> Option<Kind> {
    entries.iter().enumerate().skip(at + 1).find_map(|(by, later)| {
        if later == &dentry {
            Some(Kind::Repeated { by })
        } else if covers(&later.prefix, &dentry.prefix) && decides(&later.dst) {
            Some(Kind::Shadowed { by })
        } else {
            None
        }
    })
}

/// Whether every name that `inner` matches is matched by `outer`.
fn covers(outer: &Prefix, inner: &Prefix) -> bool {
    outer.len() <= inner.len()
        && outer.elems().zip(inner.elems()).all(|(outer, inner)| outer == Element::Any || outer == inner)
}

/// Whether a tree is never Neg, whatever follows its paths.
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

/// A path in the entry's tree with which nothing begins.
fn nowhere(entries: &[&Dentry], namers: &[Path], dentry: &Dentry) -> Option<Kind> {
    let mut found = None;
    dentry.dst.map(&mut |path: &Path| {
        let meets = entries.iter().any(|entry| meets(&entry.prefix, path));
        let kind = match path.first() {
            Some(b"$") => return,
            Some(b"#") => {
                let rest = path.skip(1);
                let known = namers.iter().any(|namer| rest.starts_with(namer) || namer.starts_with(&rest));
                (!known).then(|| Kind::NoNamer { path: path.clone(), configured: namers.to_vec() })
            }
            _ => Some(Kind::Nowhere { path: path.clone() }),
        };
        if !meets && found.is_none() {
            found = kind;
        }
    });
    found
}

/// Whether `prefix` could match `path` with something behind it.
fn meets(prefix: &Prefix, path: &Path) -> bool {
    prefix
        .elems()
        .zip(path.elems())
        .all(|(elem, label)| elem == Element::Any || elem == Element::Label(label))
}

/// Namers of which nothing is known.
struct Unknown;

impl Answers for Unknown {
    fn answer(&mut self, _: &Path) -> AnswerState {
        AnswerState::Pending
    }
}

/// Whether the entry, asked for its own prefix, is asked again on the way until a bound is reached.
fn circle(dtab: &Dtab, at: usize, dentry: &Dentry) -> Option<Kind> {
    let path = Path::from_elems(dentry.prefix.elems().map(|elem| match elem {
        Element::Label(label) => label,
        Element::Any => b"any",
    }));
    let delegation = delegate(dtab, &path, &mut Unknown, Explore::All);
    let failure = bound_below(&delegation.step, at, 0)?;
    Some(Kind::Loop { failure })
}

/// The bound that is reached below more than one step of the entry at `at`.
fn bound_below(step: &Step, at: usize, passed: usize) -> Option<Failure> {
    let passed = passed + usize::from(step.dentry == Some(at));
    match &step.kind {
        StepKind::Delegate(next) => bound_below(next, at, passed),
        StepKind::Alt(arms) => arms.iter().find_map(|arm| bound_below(arm, at, passed)),
        StepKind::Union(branches) => branches.iter().find_map(|(_, branch)| bound_below(branch, at, passed)),
        StepKind::Failed(failure) if passed > 1 => Some(failure.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons(dtab: &str) -> Vec<String> {
        let namers = [Path::from_elems(["io.l5d.fs"])];
        doubts(&dtab.parse().unwrap(), &namers).iter().map(|doubt| doubt.reason(|entry| entry + 1)).collect()
    }

    #[test]
    fn a_table_that_works_raises_none() {
        let dtab = "/srv => /#/io.l5d.fs; /host => /srv; /host/world => /srv/world-v1; /http/1.1/* => /host;
            /svc => /$/io.buoyant.http.domainToPathPfx/host; /svc/api => /host/world | !";
        assert_eq!(reasons(dtab), [""; 0]);
    }

    #[test]
    fn each_doubt_says_what_and_why() {
        let table = [
            ("/a => /b", "`/a=>/b` leads nowhere: no entry and no namer begins with /b"),
            (
                "/a => /#/io.l5d.k8s/default",
                "`/a=>/#/io.l5d.k8s/default` leads to /#/io.l5d.k8s/default, which is no configured namer's: there is /#/io.l5d.fs",
            ),
            (
                "/a/b => /$/inet/1/80; /a => !",
                "`/a/b=>/$/inet/1/80` is never asked: the entry in line 2 comes first and decides for every such name",
            ),
            (
                "/a => /$/inet/1/80; /* => ~ | $",
                "`/a=>/$/inet/1/80` is never asked: the entry in line 2 comes first and decides for every such name",
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
    fn what_a_later_entry_may_leave_is_not_shadowed() {
        for dtab in
            ["/a => !; /a => /#/io.l5d.fs", "/a => !; /a/b => !", "/* => !; /a => !", "/a => $; /a => ~ & !"]
        {
            assert_eq!(reasons(dtab), [""; 0], "{dtab}");
        }
    }
}
