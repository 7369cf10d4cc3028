//! The `Via` header.

use crate::message::Version;

/// Counts the proxies that `Via` names, over all of its lines; Linkerd looked at the first line only.
///
/// A comma inside a comment counts too: the field is a guard against loops, and a caller that writes such a
/// comment only lowers its own limit.
pub fn count_via<'a>(lines: impl Iterator<Item = &'a [u8]>) -> u32 {
    count(entries(lines))
}

/// Counts the entries of `Via` that routers of this program have added, this one or others.
pub fn count_own_via<'a>(lines: impl Iterator<Item = &'a [u8]>) -> u32 {
    count(entries(lines).filter(|entry| {
        let mut words = entry.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        // The first is the protocol.
        words.nth(1).is_some_and(|name| name.eq_ignore_ascii_case(b"signpost"))
    }))
}

/// Returns the entries of all lines that are not empty.
fn entries<'a>(lines: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    lines.flat_map(|line| line.split(|&byte| byte == b',')).filter(|entry| !entry.trim_ascii().is_empty())
}

fn count<'a>(entries: impl Iterator<Item = &'a [u8]>) -> u32 {
    u32::try_from(entries.count()).unwrap_or(u32::MAX)
}

/// Returns the entry that names this proxy in `Via`, for a message received in `version` (RFC 9110 section 7.6.3).
pub(super) fn via_entry(version: Version) -> &'static [u8] {
    match version {
        Version::Http10 => b"1.0 signpost",
        Version::Http11 => b"1.1 signpost",
        Version::Http2 => b"2 signpost",
    }
}

#[cfg(test)]
mod tests {
    use super::{count_own_via, count_via, via_entry};
    use crate::message::Version;

    #[test]
    fn counts_entries_over_all_lines() {
        let table: [(&[&[u8]], u32); 8] = [
            (&[], 0),
            (&[b""], 0),
            (&[b" , ,\t,"], 0),
            (&[b"1.1 a"], 1),
            (&[b"1.1 a, 1.0 b"], 2),
            (&[b"1.1 a,1.0 b", b"h2 c", b""], 3),
            (&[b"1.1 a (x, y)"], 2),
            (&[b"\xff,\x00,="], 3),
        ];
        for (lines, count) in table {
            assert_eq!(count_via(lines.iter().copied()), count, "{lines:?}");
        }
    }

    #[test]
    fn counts_own_entries() {
        let table: [(&[&[u8]], u32); 9] = [
            (&[], 0),
            (&[b"1.1 a, 1.0 signpost.example"], 0),
            (&[b"signpost", b"signpost 1.1"], 0),
            (&[b"1.1 a (1.1 signpost)"], 0),
            (&[b"1.1 signpost"], 1),
            (&[b"1.1 a,\t2  Signpost (of the node) ,1.0 b"], 1),
            (&[b"1.1 a", b"1.1 signpost, HTTP/1.1 signpost", b"2 signpost"], 3),
            // A comma inside a comment counts.
            (&[b"1.1 a (x, 1.1 signpost"], 1),
            (&[b"\xff \xff signpost"], 0),
        ];
        for (lines, count) in table {
            assert_eq!(count_own_via(lines.iter().copied()), count, "{lines:?}");
        }
        for version in [Version::Http10, Version::Http11, Version::Http2] {
            assert_eq!(count_own_via(std::iter::once(via_entry(version))), 1);
        }
    }
}
