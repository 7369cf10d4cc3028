use super::Place;
use std::iter::Peekable;
use std::str::{CharIndices, Chars};

/// A cursor in the text of a file and, beside it, in the value that was read from it. It finds the place in the file of
/// a byte of the value.
///
/// One cursor serves every style: outside of white space and escapes the two are the same, white space may differ
/// (indentation is taken off, lines are folded), and an escape in quotes is one character.
pub(super) struct SourceCursor<'a> {
    source: Peekable<Chars<'a>>,
    value: Peekable<CharIndices<'a>>,
    quote: Option<char>,
    place: Place,
    /// The place where the value begins.
    start: Place,
    /// The end of the value without white space: an error at the end is placed behind the last letter.
    end: usize,
    /// Whether the two did not agree; then the value's beginning is the best place there is.
    lost: bool,
}

impl<'a> SourceCursor<'a> {
    /// Creates a cursor at the beginning of both. `source` may go on after the value's end.
    pub(super) fn new(source: &'a str, value: &'a str, place: Place) -> Self {
        let quote = source.chars().next().filter(|first| matches!(first, '"' | '\''));
        // In a block, a value may begin with a quote that is its own; in quotes that one would be escaped or doubled.
        let own = quote.is_some_and(|quote| value.starts_with(quote))
            && !(source.starts_with("\"\\") || source.starts_with("'''"));
        let mut cursor = Self {
            source: source.chars().peekable(),
            value: value.char_indices().peekable(),
            quote: quote.filter(|_| !own),
            place,
            start: place,
            end: value.trim_end().len(),
            lost: false,
        };
        if cursor.quote.is_some() {
            cursor.step();
        }
        cursor
    }

    /// Goes on to a byte offset of the value and returns its place.
    pub(super) fn advance_to(&mut self, offset: usize) -> Place {
        let offset = offset.min(self.end);
        while !self.lost && self.value.peek().is_some_and(|(at, _)| *at < offset) {
            self.pass();
        }
        if self.lost { self.start } else { self.place }
    }

    /// Passes one character of the value, or a run of white space in both.
    fn pass(&mut self) {
        let (Some(&(_, wanted)), Some(&found)) = (self.value.peek(), self.source.peek()) else {
            self.lost = true;
            return;
        };
        let ends_line = matches!(found, '\n' | '\r');
        match self.quote {
            Some('"') if found == '\\' => self.escape(),
            Some('\'') if found == '\'' => {
                self.step();
                self.same(wanted);
            }
            _ if found == wanted && !ends_line => self.same(wanted),
            _ if wanted.is_whitespace() || ends_line => self.white(),
            _ => self.lost = true,
        }
    }

    /// Passes one character that must be the same in both.
    fn same(&mut self, wanted: char) {
        self.lost |= self.step() != Some(wanted);
        self.value.next();
    }

    /// Passes the white space around a line's end: in the file with its indentation, in the value without.
    fn white(&mut self) {
        while self.source.peek().is_some_and(|c| c.is_whitespace()) {
            self.step();
        }
        while self.value.peek().is_some_and(|(_, c)| c.is_whitespace()) {
            self.value.next();
        }
    }

    /// Passes `\n`, `\x41`, `\u0041`, `\U00000041`, or a backslash that hides a line's end.
    fn escape(&mut self) {
        self.step();
        let digits = match self.step() {
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            Some('\n' | '\r') => {
                while self.source.peek().is_some_and(|c| c.is_whitespace()) {
                    self.step();
                }
                return;
            }
            _ => 0,
        };
        for _ in 0..digits {
            self.step();
        }
        self.value.next();
    }

    /// Takes one character of the file and moves the place behind it.
    fn step(&mut self) -> Option<char> {
        let found = self.source.next()?;
        let ends_line = found == '\n' || (found == '\r' && self.source.peek() != Some(&'\n'));
        if ends_line {
            self.place = Place { line: self.place.line + 1, column: 1 };
        } else {
            self.place.column += 1;
        }
        Some(found)
    }
}
