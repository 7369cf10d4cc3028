//! The layout of dtabs in files: one entry per line, with the comments.

use std::fmt::{self, Display, Write};
use std::ops::Range;

use super::parse::scan::{self, Mark};
use super::{Dentry, Dtab, ParseError, parse};

/// The widest column of prefixes that is still aligned. Longer prefixes stick out: otherwise a single long one would
/// widen every line.
const ALIGNED: usize = 40;

impl Dtab {
    /// Returns the dtab laid out for reading: one entry per line, `=>` below `=>`, in exact weights.
    ///
    /// The text reads back as the same dtab. There is no line feed at its end.
    ///
    /// ```
    /// use signpost::name::Dtab;
    ///
    /// let dtab: Dtab = "/svc=>/host;/host/world=>/srv/world-v1".parse()?;
    /// assert_eq!(dtab.pretty().to_string(), "/svc        => /host ;\n/host/world => /srv/world-v1 ;");
    /// # Ok::<(), signpost::name::ParseError>(())
    /// ```
    pub fn pretty(&self) -> impl Display {
        PrettyDtab(self)
    }
}

/// A dtab that is printed one entry per line.
struct PrettyDtab<'a>(&'a Dtab);

impl Display for PrettyDtab<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = width(self.0.iter());
        for (i, dentry) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_char('\n')?;
            }
            write!(f, "{}", Row { dentry, width })?;
        }
        Ok(())
    }
}

/// One entry on a line of its own.
struct Row<'a> {
    dentry: &'a Dentry,
    width: usize,
}

impl Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Dentry { prefix, dst } = self.dentry;
        write!(f, "{:1$} => {dst:#} ;", prefix.to_string(), self.width)
    }
}

/// Returns the width of the column of prefixes.
fn width<'a>(dentries: impl Iterator<Item = &'a Dentry>) -> usize {
    dentries.map(|dentry| dentry.prefix.to_string().len()).filter(|&len| len <= ALIGNED).max().unwrap_or(0)
}

/// Lays a dtab's text out as [`Dtab::pretty`] does, with its comments.
///
/// A comment that ends an entry's line stays there, one on a line of its own stays between the same two entries, and
/// one in the middle of an entry moves to the line before it. Several blank lines become one. Every line ends with a
/// line feed. Doing it again changes nothing.
///
/// # Errors
///
/// When the text is not a dtab.
pub fn format(text: &str) -> Result<String, ParseError> {
    let mut page = Page { text, lines: Vec::new(), end: 0 };
    let mut comments = scan::marks(text).filter_map(|(_, mark)| match mark {
        Mark::Comment(span) => Some(span),
        Mark::Open | Mark::Close => None,
    });
    let mut comment = comments.next();
    for (span, dentry) in parse::dentries(text)? {
        while let Some(outside) = comment.take_if(|comment| comment.start < span.start) {
            page.push_comment(outside);
            comment = comments.next();
        }
        let mut inside = Vec::new();
        while let Some(next) = comment.take_if(|comment| comment.start < span.end) {
            inside.push(next);
            comment = comments.next();
        }
        page.push_entry(span, dentry, &inside);
    }
    comment.into_iter().chain(comments).for_each(|comment| page.push_comment(comment));
    Ok(page.to_string())
}

/// A text that is being laid out.
struct Page<'t> {
    text: &'t str,
    lines: Vec<Line<'t>>,
    /// The number of bytes of the text used so far.
    end: usize,
}

/// A line of a page: an entry with its comments, or a comment alone.
struct Line<'t> {
    /// Whether a blank line stands before it.
    apart: bool,
    entry: Option<Dentry>,
    /// The comments at its end, or the one comment that is the whole line.
    comments: Vec<&'t str>,
}

impl<'t> Page<'t> {
    /// Adds an entry and the comments in its span, which reaches to the next semicolon.
    fn push_entry(&mut self, span: Range<usize>, dentry: Dentry, comments: &[Range<usize>]) {
        let mut end = span.end;
        let mut inner = comments.len();
        for comment in comments.iter().rev() {
            if !self.is_blank(comment.end..end) {
                break;
            }
            end = comment.start;
            inner -= 1;
        }
        let (inner, after) = comments.split_at(inner);
        let mut apart = self.is_apart(span.start);
        for comment in inner {
            let comments = self.comment(comment);
            self.lines.push(Line { apart, entry: None, comments });
            apart = false;
        }
        self.lines.push(Line { apart, entry: Some(dentry), comments: Vec::new() });
        self.end = end;
        after.iter().for_each(|comment| self.push_comment(comment.clone()));
    }

    /// Adds a comment that stands outside entries: to the last entry's line, unless it has a line of its own.
    fn push_comment(&mut self, span: Range<usize>) {
        let comments = self.comment(&span);
        let line_start = self.text.get(..span.start).and_then(|text| text.rfind('\n')).unwrap_or(0);
        let alone = self.is_blank(line_start..span.start);
        match self.lines.last_mut() {
            Some(Line { entry: Some(_), comments: at_end, .. }) if !alone => at_end.extend(comments),
            _ => {
                let apart = self.is_apart(span.start);
                self.lines.push(Line { apart, entry: None, comments });
            }
        }
        self.end = span.end;
    }

    /// Returns the text of a comment, without white space at its end.
    fn comment(&self, span: &Range<usize>) -> Vec<&'t str> {
        self.text.get(span.clone()).map(str::trim_end).into_iter().collect()
    }

    /// Returns whether a blank line stands between the text used last and the offset `start`.
    fn is_apart(&self, start: usize) -> bool {
        let between = self.text.get(self.end..start).unwrap_or_default();
        !self.lines.is_empty() && between.bytes().filter(|&byte| byte == b'\n').count() > 1
    }

    /// Returns whether a part of the text is white space only. All of the notation is visible ASCII.
    fn is_blank(&self, span: Range<usize>) -> bool {
        !self.text.get(span).unwrap_or_default().bytes().any(|byte| byte.is_ascii_graphic())
    }
}

impl Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = width(self.lines.iter().filter_map(|line| line.entry.as_ref()));
        for Line { apart, entry, comments } in &self.lines {
            if *apart {
                f.write_char('\n')?;
            }
            if let Some(dentry) = entry {
                write!(f, "{}", Row { dentry, width })?;
            }
            for (i, comment) in comments.iter().enumerate() {
                let blank = if i > 0 || entry.is_some() { " " } else { "" };
                write!(f, "{blank}{comment}")?;
            }
            f.write_char('\n')?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
