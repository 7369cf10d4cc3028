//! The dtab overrides of a request.

use super::baggage::decode_value;
use crate::name::{Dtab, ParseError};

/// The bytes that end each value in [`Context::overrides`](super::Context::overrides), one for each source that a value
/// may come from. No field value has them (RFC 9110 section 5.5), and no dtab.
pub(super) const CTX_END: u8 = 1;
pub(super) const USER_END: u8 = 2;
pub(super) const BAGGAGE_END: u8 = 3;

const CTX_FIELD: &str = "header l5d-ctx-dtab";
const USER_FIELD: &str = "header l5d-dtab";
const BAGGAGE_MEMBER: &str = "member dtab of the header baggage";

/// The bounds on the overrides of one request that are checked when they are parsed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OverrideLimits {
    /// How many entries the overrides may have together, whatever they come from.
    pub entries: usize,
}

/// The dtab entries that a request carries.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The entries of `baggage`, then those of `l5d-ctx-dtab`, then those of `l5d-dtab`: the caller's own entries win.
    pub dtab: Dtab,
    /// How many of the entries came in `baggage`.
    pub baggage_entries: usize,
    /// How many of the entries came in `l5d-ctx-dtab`.
    pub ctx_entries: usize,
    /// The entries of `baggage` in their exact printed form.
    baggage: String,
    /// The other entries.
    printed: String,
}

impl Overrides {
    /// Returns the entries to be sent as `l5d-ctx-dtab`, in their exact printed form; empty when there is none.
    ///
    /// Those of `baggage` are not among them: they travel in `baggage`, so that the order is the same at the next hop
    /// and no header grows.
    pub fn printed(&self) -> &[u8] {
        self.printed.as_bytes()
    }

    /// Appends a key of these overrides: equal keys mean equal entries in `baggage`, and equal entries beside it.
    pub fn write_key(&self, key: &mut Vec<u8>) {
        if !self.baggage.is_empty() {
            key.extend_from_slice(self.baggage.as_bytes());
            key.push(BAGGAGE_END);
        }
        key.extend_from_slice(self.printed());
    }
}

/// The reason why the overrides of a request are refused: a 400 with this error's text as its body.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OverrideError {
    /// A value is not a dtab.
    #[error("The {origin} is not a dtab.\n{error}\nCorrect the {origin}, or send the request without it.")]
    Malformed {
        /// The header or member that the value came in; the value of a member is shown decoded.
        origin: &'static str,
        /// The fault of the value, with its place.
        error: ParseError,
    },
    /// There are more entries than allowed.
    #[error(
        "The headers l5d-ctx-dtab and l5d-dtab and the {BAGGAGE_MEMBER} have more than {limit} entries. Send fewer."
    )]
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
    let (mut baggage, mut ctx, mut user) = (Dtab::empty(), Dtab::empty(), Dtab::empty());
    for line in raw.split_inclusive(|byte| matches!(*byte, BAGGAGE_END | CTX_END | USER_END)) {
        let decoded;
        let (origin, value, dtab) = match line {
            [value @ .., BAGGAGE_END] => {
                decoded = decode_value(value);
                (BAGGAGE_MEMBER, decoded.as_slice(), &mut baggage)
            }
            [value @ .., CTX_END] => (CTX_FIELD, value, &mut ctx),
            [value @ .., USER_END] | value => (USER_FIELD, value, &mut user),
        };
        *dtab = dtab.concat(&read_value(origin, &String::from_utf8_lossy(value), limits)?);
        if baggage.len() + ctx.len() + user.len() > limits.entries {
            return Err(OverrideError::TooMany { limit: limits.entries });
        }
    }
    let forwarded = ctx.concat(&user);
    Ok(Overrides {
        dtab: baggage.concat(&forwarded),
        baggage_entries: baggage.len(),
        ctx_entries: ctx.len(),
        baggage: format!("{baggage:#}"),
        printed: format!("{forwarded:#}"),
    })
}

/// Reads one value as a dtab, or else as a list of dtabs.
fn read_value(origin: &'static str, value: &str, limits: &OverrideLimits) -> Result<Dtab, OverrideError> {
    let malformed = |error| OverrideError::Malformed { origin, error };
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
        let table: [(&[u8], &str, usize); 17] = [
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
            (b"%2Fa=>/b%3B%20/c%3d%3E/d\x03", "/a=>/b;/c=>/d", 0),
            (b"/a=>/b%2C/c=>/d%20%23%20%FF%03\x03", "/a=>/b;/c=>/d", 0),
            (b"/a=>/%25/b\x03/a=>/c\x03/a=>/d\x01/a=>/e\x02", "/a=>/%/b;/a=>/c;/a=>/d;/a=>/e", 1),
            // Not what `enter` makes, but it must have a meaning.
            (b"/a=>/d\x02/a=>/b\x03", "/a=>/b;/a=>/d", 0),
            (b"/c=>/d\x02/a=>/b\x01/e=>/f", "/a=>/b;/c=>/d;/e=>/f", 1),
        ];
        for (raw, expected, ctx_entries) in table {
            let overrides = decode_overrides(raw, &LIMITS).unwrap();
            assert_eq!(overrides.dtab, dtab(expected), "{}", raw.escape_ascii());
            assert_eq!(overrides.ctx_entries, ctx_entries, "{}", raw.escape_ascii());
            let printed = std::str::from_utf8(overrides.printed()).unwrap();
            let beside_baggage: Dtab =
                overrides.dtab.iter().skip(overrides.baggage_entries).cloned().collect();
            assert_eq!(dtab(printed), beside_baggage, "{printed}");
        }
    }

    #[test]
    fn keys_tell_overrides_apart_by_their_way() {
        let keys = [
            b"".as_slice(),
            b"/a=>/b\x03",
            b"/a=>/b\x02",
            b"/a=>/b\x03/c=>/d\x02",
            b"/a=>/b\x03/c=>/d\x03",
            b"/a=>/b\x01/c=>/d\x02",
            b"/c=>/d\x03/a=>/b\x02",
        ]
        .map(|raw| {
            let mut key = Vec::new();
            decode_overrides(raw, &LIMITS).unwrap().write_key(&mut key);
            key
        });
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys.iter().skip(at + 1).any(|other| other == key), "{}", key.escape_ascii());
        }
        let same = decode_overrides(b"%2Fa%20=>%20%2Fb%3B\x03# nothing\x02", &LIMITS).unwrap();
        let mut key = Vec::new();
        same.write_key(&mut key);
        assert_eq!(key, keys[1]);
    }

    #[test]
    fn the_printed_form_of_nothing_is_empty() {
        assert_eq!(decode_overrides(b"# only a comment\x02", &LIMITS).unwrap().printed(), b"");
    }

    #[test]
    fn an_error_names_the_origin_and_the_place() {
        let table: [(&[u8], &str, usize); 8] = [
            (b"/a%20=>%20invalid\x03", BAGGAGE_MEMBER, 7),
            (b"/a=>/b%2\x03%2Fc\x03", BAGGAGE_MEMBER, 3),
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
            let OverrideError::Malformed { origin, error } = error else { panic!("{text}") };
            assert_eq!((origin, error.column), (expected, column), "{text}");
            assert!(text.starts_with(&format!("The {expected} is not a dtab.\n")), "{text}");
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
        let everywhere = [raw(40, 60), b"%2fa=>/b\x03".to_vec()].concat();
        assert_eq!(
            decode_overrides(&everywhere, &LIMITS).unwrap_err(),
            OverrideError::TooMany { limit: 100 }
        );
        for folded in [format!("{folded},/a=>/b"), format!("!{}", ",#".repeat(4000))] {
            let error = decode_overrides(folded.as_bytes(), &LIMITS).unwrap_err();
            assert_eq!(error, OverrideError::TooMany { limit: 100 });
        }
        assert!(decode_overrides(",".repeat(8192).as_bytes(), &LIMITS).unwrap().dtab.is_empty());
    }
}
