//! The printed forms: Finagle's canonical one by `{}`, and the exact one by `{:#}`.
//!
//! They differ in weights only.

use std::fmt::{self, Display, Formatter, Write};

use super::{Dentry, Dtab, Element, NameTree, Path, Prefix, Weighted, is_label_byte};

/// How many digits an infinite weight is written with: one more than the longest finite double has.
const INFINITE_DIGITS: usize = 310;

impl Display for Path {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_char('/');
        }
        self.elems().try_for_each(|elem| segment(f, elem))
    }
}

impl Display for Prefix {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_char('/');
        }
        self.elems().try_for_each(|elem| match elem {
            Element::Any => f.write_str("/*"),
            Element::Label(label) => segment(f, label),
        })
    }
}

/// Prints a slash and one element.
fn segment(f: &mut Formatter<'_>, elem: &[u8]) -> fmt::Result {
    f.write_char('/')?;
    match std::str::from_utf8(elem) {
        Ok(label) if label.bytes().all(is_label_byte) => f.write_str(label),
        _ => elem.iter().try_for_each(|byte| write!(f, "\\x{byte:02x}")),
    }
}

impl<T: Display> Display for NameTree<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.unwrapped() {
            Self::Alt(arms) => separated(f, " | ", arms, |f, arm| arm.fmt_arm(f)),
            tree => tree.fmt_arm(f),
        }
    }
}

impl<T> NameTree<T> {
    /// Returns the tree without the `Alt`s and `Union`s around it that have no other child.
    fn unwrapped(&self) -> &Self {
        let mut tree = self;
        loop {
            tree = match tree {
                Self::Alt(arms) if let [arm] = &arms[..] => arm,
                Self::Union(branches) if let [branch] = &branches[..] => &branch.tree,
                _ => return tree,
            };
        }
    }
}

impl<T: Display> NameTree<T> {
    /// Prints an arm of an `Alt`.
    fn fmt_arm(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.unwrapped() {
            Self::Union(branches) => separated(f, " & ", branches, |f, branch| branch.fmt_branch(f)),
            tree => tree.fmt_simple(f),
        }
    }

    /// Prints a tree that a weight can stand before.
    fn fmt_simple(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.unwrapped() {
            Self::Leaf(leaf) => leaf.fmt(f),
            Self::Neg => f.write_char('~'),
            Self::Fail => f.write_char('!'),
            Self::Empty => f.write_char('$'),
            tree @ (Self::Alt(_) | Self::Union(_)) => {
                f.write_char('(')?;
                tree.fmt(f)?;
                f.write_char(')')
            }
        }
    }
}

impl<T: Display> Weighted<T> {
    /// Prints a branch of a `Union`.
    fn fmt_branch(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // A weight is left out when it is exactly the default.
        if self.weight != 1.0 {
            let print = if f.alternate() { exact } else { two_decimals };
            print(f, self.weight)?;
            f.write_char('*')?;
        }
        self.tree.fmt_simple(f)
    }
}

/// Prints items with a separator between them.
fn separated<T>(
    f: &mut Formatter<'_>,
    separator: &str,
    items: impl IntoIterator<Item = T>,
    mut print: impl FnMut(&mut Formatter<'_>, T) -> fmt::Result,
) -> fmt::Result {
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            f.write_str(separator)?;
        }
        print(f, item)?;
    }
    Ok(())
}

/// Prints a weight so that it reads back as the same number: the shortest decimal form, without exponent.
fn exact(f: &mut Formatter<'_>, weight: f64) -> fmt::Result {
    if weight == f64::INFINITY {
        // The notation has no word for it, but so many digits read back as infinity.
        return write!(f, "1{:0<1$}", "", INFINITE_DIGITS - 1);
    }
    write!(f, "{weight}")
}

/// Prints a weight with two decimals: the shortest decimal form rounded half up, as the JVM's `%.2f` does.
///
/// Rust's `{:.2}` rounds the binary value half to even, and so prints 0.125 as 0.12 and 1.005 as 1.00.
fn two_decimals(f: &mut Formatter<'_>, weight: f64) -> fmt::Result {
    if weight.is_infinite() {
        return f.write_str(if weight > 0.0 { "Infinity" } else { "-Infinity" });
    }
    if weight.is_nan() {
        return f.write_str("NaN");
    }
    let shortest = weight.to_string();
    let (whole, fraction) = shortest.split_once('.').unwrap_or((&shortest, ""));
    let kept = fraction.get(..2).unwrap_or(fraction);
    // All digits but the dot, so that a carry can run through.
    let mut digits = format!("{whole}{kept:0<2}").into_bytes();
    if fraction.as_bytes().get(2).is_some_and(|digit| *digit >= b'5') {
        round_up(&mut digits);
    }
    let (whole, fraction) = digits.split_at(digits.len().saturating_sub(2));
    for &digit in whole.iter().chain(b".").chain(fraction) {
        f.write_char(char::from(digit))?;
    }
    Ok(())
}

/// Adds one to a decimal number.
fn round_up(digits: &mut Vec<u8>) {
    for digit in digits.iter_mut().rev() {
        match *digit {
            b'9' => *digit = b'0',
            b'0'..=b'8' => {
                *digit += 1;
                return;
            }
            // The sign of a negative number.
            _ => break,
        }
    }
    let first = usize::from(digits.first() == Some(&b'-'));
    digits.insert(first, b'1');
}

impl Display for Dentry {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.prefix.fmt(f)?;
        f.write_str("=>")?;
        self.dst.fmt(f)
    }
}

impl Display for Dtab {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        separated(f, ";", self.iter(), |f, dentry| dentry.fmt(f))
    }
}

#[cfg(test)]
mod tests;
