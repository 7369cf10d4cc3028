//! Paths, prefixes, name trees and dtabs as values: parse, print, look up.
//!
//! The notation is Finagle's, as Linkerd 1 used it; `grammar/README.md` explains it and says where this
//! implementation differs on purpose.
//!
//! | value | written | read and printed by |
//! |---|---|---|
//! | [`Path`] | `/svc/users` | `FromStr`, `Display`, serde |
//! | [`Prefix`] | `/svc/*` | the same |
//! | [`NameTree`] of paths | `/v1 \| 0.9 * /v2 & 0.1 * /v3` | the same |
//! | [`Dentry`] | `/svc => /host` | the same |
//! | [`Dtab`] | `/svc => /host; /host => /srv` | the same, and [`format()`] for people |
//!
//! `{}` prints Finagle's canonical form, in which weights have two decimals. `{:#}` prints the exact form, which reads
//! back as the same value. Headers, serde and cache keys use the exact form. A text that cannot be read gives a
//! [`ParseError`] with the line and a caret.
//!
//! Nothing here waits, does input or output, or keeps global state. Reading never panics. It takes time in proportion
//! to the text, and refuses more than 100 open parentheses.

#![warn(clippy::indexing_slicing, clippy::string_slice)]

mod dtab;
mod encoding;
mod exact;
mod layout;
mod parse;
mod path;
#[cfg(feature = "router")]
mod placed;
mod prefix;
mod print;
mod tree;

pub use self::dtab::{Dentry, Dtab};
pub use self::layout::format;
pub use self::parse::{ParseError, comments, dentries};
pub use self::path::{Path, PathBuf};
#[cfg(feature = "router")]
pub use self::placed::{FOLDED_COMMENT, dtab_in_file, folded_comment};
pub use self::prefix::{Element, Prefix};
pub use self::tree::{NameTree, Weighted};

/// Returns whether a label shows this byte as it is; all others are escaped.
const fn is_label_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'.' | b'#' | b'$' | b'%' | b'-')
}
