//! Carets.

use super::caret;

/// Returns the excerpt for the offset of `^` in a text without it.
fn shown(text: &str) -> (usize, usize, String) {
    let offset = text.find('^').unwrap();
    let excerpt = caret(&text.replacen('^', "", 1), offset);
    (excerpt.line, excerpt.column, excerpt.to_string())
}

#[test]
fn the_caret_stands_below_its_character() {
    for (text, line, column, expected) in [
        ("^", 1, 1, "1 | \n  | ^"),
        ("ab^c", 1, 3, "1 | abc\n  |   ^"),
        ("abc^", 1, 4, "1 | abc\n  |    ^"),
        ("a\nb^c\nd", 2, 2, "2 | bc\n  |  ^"),
        ("a\n^\nd", 2, 1, "2 | \n  | ^"),
        ("a\r\nb^c\r\n", 2, 2, "2 | bc\n  |  ^"),
        ("ab^\n", 1, 3, "1 | ab\n  |   ^"),
        ("ab\n^", 2, 1, "2 | \n  | ^"),
        // Columns are characters.
        ("é€😀^x", 1, 4, "1 | é€😀x\n  |    ^"),
        // Nothing moves the caret or the terminal.
        ("\ta\t^b", 1, 4, "1 |  a b\n  |    ^"),
        ("\0\x1b[2J\x7f^x", 1, 7, "1 | ␀␛[2J␡x\n  |       ^"),
        ("\u{202e}\u{200b}\u{9b}^x", 1, 4, "1 | \u{fffd}\u{fffd}\u{fffd}x\n  |    ^"),
        ("a\rb^c", 1, 4, "1 | a␍bc\n  |    ^"),
    ] {
        assert_eq!(shown(text), (line, column, expected.to_owned()), "{text:?}");
    }
}

#[test]
fn the_gutter_is_as_wide_as_the_number() {
    let text = format!("{}ab^c", "\n".repeat(99));
    assert_eq!(shown(&text), (100, 3, "100 | abc\n    |   ^".to_owned()));
}

#[test]
fn offsets_outside_the_text_are_pulled_in() {
    assert_eq!(caret("ab", 99), caret("ab", 2));
    assert_eq!(caret("é", 1), caret("é", 0));
}

#[test]
fn long_lines_are_shortened_around_the_caret() {
    let a = |n: usize| "a".repeat(n);
    let b = |n: usize| "b".repeat(n);
    for (before, after, text, blanks) in [
        (50, 50, a(50) + &b(50), 50),
        (0, 100, b(100), 0),
        (100, 0, a(100), 100),
        (0, 101, b(100) + "…", 0),
        (101, 0, "…".to_owned() + &a(100), 101),
        (1_000, 1_000, "…".to_owned() + &a(50) + &b(50) + "…", 51),
        (1_000, 10, "…".to_owned() + &a(90) + &b(10), 91),
        (10, 1_000, a(10) + &b(90) + "…", 10),
    ] {
        let excerpt = caret(&(a(before) + &b(after)), before);
        assert_eq!(excerpt.column, before + 1);
        assert_eq!(excerpt.to_string(), format!("1 | {text}\n  | {}^", " ".repeat(blanks)));
    }
}
