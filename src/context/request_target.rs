//! The target of a request.

/// A request target split at its query.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestTarget<'a> {
    /// The part before the first `?`.
    pub path: &'a [u8],
    /// The part after the first `?`, if there is one.
    pub query: Option<&'a [u8]>,
}

impl<'a> RequestTarget<'a> {
    /// Splits the bytes of a target at the first `?` (RFC 3986 section 3.4).
    pub fn split(target: &'a [u8]) -> Self {
        let mut halves = target.splitn(2, |&byte| byte == b'?');
        Self { path: halves.next().unwrap_or_default(), query: halves.next() }
    }

    /// Returns the non-empty elements of the path, as they were sent: nothing is percent-decoded.
    ///
    /// A path that does not begin with `/` (as in `OPTIONS *`, or the authority of CONNECT) has none.
    pub fn elems(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        let path = self.path.strip_prefix(b"/").unwrap_or_default();
        path.split(|&byte| byte == b'/').filter(|elem| !elem.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::RequestTarget;

    #[test]
    fn splits_at_the_first_question_mark() {
        let table = [
            ("/a/b", "/a/b", None),
            ("/a?b", "/a", Some("b")),
            ("/a?b?c", "/a", Some("b?c")),
            ("/a/?", "/a/", Some("")),
            ("?x", "", Some("x")),
            ("*", "*", None),
            ("", "", None),
        ];
        for (target, path, query) in table {
            let expected = RequestTarget { path: path.as_bytes(), query: query.map(str::as_bytes) };
            assert_eq!(RequestTarget::split(target.as_bytes()), expected, "{target}");
        }
    }

    #[test]
    fn gives_elements_as_they_were_sent() {
        let table: [(&[u8], &[&[u8]]); 8] = [
            (b"/a/b?c/d", &[b"a", b"b"]),
            (b"/a/b/", &[b"a", b"b"]),
            (b"//a///b", &[b"a", b"b"]),
            (b"/", &[]),
            (b"//", &[]),
            (b"*", &[]),
            (b"host:80", &[]),
            (b"/%2f/\xff~@", &[b"%2f", b"\xff~@"]),
        ];
        for (target, elems) in table {
            let found: Vec<&[u8]> = RequestTarget::split(target).elems().collect();
            assert_eq!(found, elems, "{}", target.escape_ascii());
        }
    }
}
