//! Excerpts of a text, with a caret under a place in it.

use std::fmt;

/// How many characters of a line are shown, at most.
const WIDTH: usize = 100;

/// The character that stands for the part of a line that is left out.
const LEFT_OUT: char = '…';

/// A line of a text with a caret under one of its characters.
///
/// `Display` prints two lines, without a line feed at the end:
///
/// ```text
/// 3 | /svc => /host/web^1
///   |                  ^
/// ```
///
/// A long line is shortened around the caret to about 100 characters. Characters that would move the caret or the
/// terminal are replaced by others of one column: a tab by a blank, a control character by its picture (`␀`), other
/// invisible ones by `�`. The caret counts characters, so characters that a terminal draws two columns wide move it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Excerpt {
    /// The line, from 1.
    pub line: usize,
    /// The column, in characters, from 1.
    pub column: usize,
    /// The part of the line that is shown.
    text: String,
    /// How many characters of `text` stand before the caret.
    before: usize,
}

/// Returns the line around a byte offset, with a caret under the character there.
///
/// An offset within a character means that character, one beyond the text its end. Lines end at line feeds; a carriage
/// return before one is not shown.
pub fn caret(text: &str, offset: usize) -> Excerpt {
    let (before, after) = text.split_at(text.floor_char_boundary(offset));
    let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
    let before = before.rsplit('\n').next().unwrap_or_default();
    let after = after.split('\n').next().unwrap_or_default();
    let after = after.strip_suffix('\r').unwrap_or(after);
    let column = before.chars().count() + 1;

    let shown_after = after.chars().take(WIDTH).count();
    // Half of the width on either side; a short side leaves its room to the other.
    let room_before = (WIDTH / 2).max(WIDTH - shown_after);
    let mut shown: Vec<char> = before.chars().rev().take(room_before).map(visible).collect();
    let room_after = WIDTH - shown.len();
    if shown.len() < column - 1 {
        shown.push(LEFT_OUT);
    }
    shown.reverse();
    let before = shown.len();
    let mut rest = after.chars();
    shown.extend(rest.by_ref().take(room_after).map(visible));
    if rest.next().is_some() {
        shown.push(LEFT_OUT);
    }
    Excerpt { line, column, text: shown.into_iter().collect(), before }
}

/// Returns a character of one column to show for another.
fn visible(char: char) -> char {
    match char {
        '\t' => ' ',
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(char)).unwrap_or(char::REPLACEMENT_CHARACTER),
        '\x7f' => '␡',
        // Control characters, and those that are invisible or change the direction of writing.
        '\u{80}'..='\u{9f}'
        | '\u{ad}'
        | '\u{61c}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}' => char::REPLACEMENT_CHARACTER,
        other => other,
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, text, before, .. } = self;
        let gutter = line.to_string().len();
        write!(f, "{line} | {text}\n{:gutter$} | {:before$}^", "", "")
    }
}

#[cfg(test)]
mod tests;
