//! The `Via` header.

use crate::message::Version;

/// Counts the proxies that `Via` names, over all of its lines; Linkerd looked at the first line only.
///
/// A comma inside a comment counts too: the field is a guard against loops, and a caller that writes such a
/// comment only lowers its own limit.
pub fn count_via<'a>(lines: impl Iterator<Item = &'a [u8]>) -> u32 {
    let entries = lines
        .flat_map(|line| line.split(|&byte| byte == b','))
        .filter(|entry| !entry.trim_ascii().is_empty())
        .count();
    u32::try_from(entries).unwrap_or(u32::MAX)
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
    use super::count_via;

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
}
