//! The dtab overrides of a request.

use crate::name::{Dtab, ParseError};

/// The bytes that end each value in [`Context::overrides`](super::Context::overrides), one for each field that a value
/// may come in. No field value has them (RFC 9110 section 5.5), and no dtab.
pub(super) const CTX_END: u8 = 1;
pub(super) const USER_END: u8 = 2;

const CTX_FIELD: &str = "l5d-ctx-dtab";
const USER_FIELD: &str = "l5d-dtab";

/// The bounds on the overrides of one request that are checked when they are parsed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OverrideLimits {
    /// How many entries `l5d-ctx-dtab` and `l5d-dtab` may have together.
    pub entries: usize,
}

/// The dtab entries that a request carries.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The entries of `l5d-ctx-dtab`, then those of `l5d-dtab`: the caller's own entries win.
    pub dtab: Dtab,
    /// How many of the entries came in `l5d-ctx-dtab`.
    pub ctx_entries: usize,
    printed: String,
}

impl Overrides {
    /// Returns the dtab in its exact printed form, to be sent as `l5d-ctx-dtab`; empty when there is no entry.
    pub fn printed(&self) -> &[u8] {
        self.printed.as_bytes()
    }
}

/// The reason why the overrides of a request are refused: a 400 with this error's text as its body.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OverrideError {
    /// A value is not a dtab.
    #[error(
        "The header {header} is not a dtab.\n{error}\nCorrect the header, or send the request without it."
    )]
    Malformed {
        /// The field the value came in.
        header: &'static str,
        /// The fault of the value, with its place.
        error: ParseError,
    },
    /// There are more entries than allowed.
    #[error("The headers {CTX_FIELD} and {USER_FIELD} have more than {limit} entries. Send fewer.")]
    TooMany {
        /// How many entries are allowed.
        limit: usize,
    },
}

/// Reads the override values of [`Context::overrides`](super::Context::overrides).
///
/// A value that is no dtab as a whole is read once more as a list: a proxy may have folded several lines into one
/// with commas (RFC 9110 section 5.3), which Linkerd refused. The whole comes first because a comment may hold a
/// comma. Bytes that are not UTF-8 are read as the replacement character, which only a comment may hold.
///
/// # Errors
///
/// When a value is not a dtab, or when there are too many entries.
pub fn decode_overrides(raw: &[u8], limits: &OverrideLimits) -> Result<Overrides, OverrideError> {
    let mut ctx = Dtab::empty();
    let mut user = Dtab::empty();
    for line in raw.split_inclusive(|byte| matches!(*byte, CTX_END | USER_END)) {
        let (header, value, dtab) = match line {
            [value @ .., CTX_END] => (CTX_FIELD, value, &mut ctx),
            [value @ .., USER_END] | value => (USER_FIELD, value, &mut user),
        };
        *dtab = dtab.concat(&read_value(header, &String::from_utf8_lossy(value), limits)?);
        if ctx.len() + user.len() > limits.entries {
            return Err(OverrideError::TooMany { limit: limits.entries });
        }
    }
    let dtab = ctx.concat(&user);
    let printed = format!("{dtab:#}");
    Ok(Overrides { dtab, ctx_entries: ctx.len(), printed })
}

/// Reads one value as a dtab, or else as a list of dtabs.
fn read_value(header: &'static str, value: &str, limits: &OverrideLimits) -> Result<Dtab, OverrideError> {
    let malformed = |error| OverrideError::Malformed { header, error };
    let whole = match value.parse::<Dtab>() {
        Ok(dtab) => return Ok(dtab),
        Err(error) => malformed(error),
    };
    if !value.contains(',') {
        return Err(whole);
    }
    let pieces = || value.split(',').filter(|piece| !piece.trim().is_empty());
    // A list of thousands of comments has no entry, but it costs as many parses.
    if pieces().count() > limits.entries {
        return Err(OverrideError::TooMany { limit: limits.entries });
    }
    pieces().try_fold(Dtab::empty(), |dtab, piece| Ok(dtab.concat(&piece.parse().map_err(malformed)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: OverrideLimits = OverrideLimits { entries: 100 };

    fn dtab(text: &str) -> Dtab {
        text.parse().unwrap()
    }

    #[test]
    fn lines_concatenate_in_order_and_those_of_the_user_win() {
        let table: [(&[u8], &str, usize); 13] = [
            (b"", "", 0),
            (b"\x01\x02", "", 0),
            (b"/a => /b\x02", "/a=>/b", 0),
            (b"/a => /b;\x02", "/a=>/b", 0),
            (b"/a => /b\x01", "/a=>/b", 1),
            (b"/a=>/b;/c=>/d\x01/e=>/f\x02", "/a=>/b;/c=>/d;/e=>/f", 2),
            (b"/a=>/b\x02/c=>/d\x02", "/a=>/b;/c=>/d", 0),
            (b"/a=>/b, /c=>/d\x02", "/a=>/b;/c=>/d", 0),
            (b"/a=>/b,, /c=>/d;,\x02", "/a=>/b;/c=>/d", 0),
            (b"/a=>/b # c, d\x02", "/a=>/b", 0),
            (b"/a=>/b # \xff\xfe\x02", "/a=>/b", 0),
            (b"/a=>0.125*/b&/c\x02", "/a=>0.125*/b&/c", 0),
            // Not what `enter` makes, but it must have a meaning.
            (b"/c=>/d\x02/a=>/b\x01/e=>/f", "/a=>/b;/c=>/d;/e=>/f", 1),
        ];
        for (raw, expected, ctx_entries) in table {
            let overrides = decode_overrides(raw, &LIMITS).unwrap();
            assert_eq!(overrides.dtab, dtab(expected), "{}", raw.escape_ascii());
            assert_eq!(overrides.ctx_entries, ctx_entries, "{}", raw.escape_ascii());
            let printed = std::str::from_utf8(overrides.printed()).unwrap();
            assert_eq!(dtab(printed), overrides.dtab, "{printed}");
        }
    }

    #[test]
    fn the_printed_form_of_nothing_is_empty() {
        assert_eq!(decode_overrides(b"# only a comment\x02", &LIMITS).unwrap().printed(), b"");
    }

    #[test]
    fn an_error_names_the_header_and_the_place() {
        let table: [(&[u8], &str, usize); 6] = [
            (b"/a => /b\x01invalid\x02", USER_FIELD, 1),
            (b"/a = /b\x01", CTX_FIELD, 4),
            (b"/a => /b, /c => ^\x02", USER_FIELD, 8),
            (b"\xff\x02", USER_FIELD, 1),
            (b"/a/\xff => /b\x02", USER_FIELD, 4),
            (b"\x00", USER_FIELD, 1),
        ];
        for (raw, expected, column) in table {
            let error = decode_overrides(raw, &LIMITS).unwrap_err();
            let text = error.to_string();
            let OverrideError::Malformed { header, error } = error else { panic!("{text}") };
            assert_eq!((header, error.column), (expected, column), "{text}");
            assert!(text.starts_with(&format!("The header {expected} is not a dtab.\n")), "{text}");
            assert!(text.contains('^') && text.ends_with("send the request without it."), "{text}");
        }
    }

    #[test]
    fn too_many_entries_are_refused() {
        let raw = |ctx: usize, user: usize| {
            let mut raw = "/a=>/b;".repeat(ctx).into_bytes();
            raw.push(CTX_END);
            raw.extend("/a=>/b\x02".repeat(user).into_bytes());
            raw
        };
        assert_eq!(decode_overrides(&raw(40, 60), &LIMITS).unwrap().dtab.len(), 100);
        for (ctx, user) in [(41, 60), (101, 0), (0, 101)] {
            let error = decode_overrides(&raw(ctx, user), &LIMITS).unwrap_err();
            assert_eq!(error, OverrideError::TooMany { limit: 100 });
            assert!(error.to_string().contains("more than 100 entries"), "{error}");
        }
        let folded = format!("/a=>/b{}", ",/a=>/b".repeat(99));
        assert_eq!(decode_overrides(folded.as_bytes(), &LIMITS).unwrap().dtab.len(), 100);
        for folded in [format!("{folded},/a=>/b"), format!("!{}", ",#".repeat(4000))] {
            let error = decode_overrides(folded.as_bytes(), &LIMITS).unwrap_err();
            assert_eq!(error, OverrideError::TooMany { limit: 100 });
        }
        assert!(decode_overrides(",".repeat(8192).as_bytes(), &LIMITS).unwrap().dtab.is_empty());
    }
}
