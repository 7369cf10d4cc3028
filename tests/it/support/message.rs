//! A request or a response as it stood on the wire.

use std::fmt;

/// A request or a response as it stood on the wire, taken apart without the router's own code.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// The head without the empty line at its end.
    pub(crate) head: String,
    /// The content, without chunks.
    pub(crate) body: Vec<u8>,
    /// The sizes of the chunks that the content came in.
    pub(crate) chunks: Vec<usize>,
    /// The trailer lines.
    pub(crate) trailers: Vec<String>,
}

impl Message {
    /// The first line of the head.
    pub(crate) fn first_line(&self) -> &str {
        self.head.split("\r\n").next().unwrap_or_default()
    }

    /// The field lines of the head.
    pub(crate) fn field_lines(&self) -> Vec<&str> {
        self.head.split("\r\n").skip(1).collect()
    }

    /// The names of the fields, in lower case and sorted.
    pub(crate) fn field_names(&self) -> Vec<String> {
        let name = |line: &&str| line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        let mut names: Vec<_> = self.field_lines().iter().map(name).collect();
        names.sort();
        names
    }

    /// The values of all fields of that name.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.field_lines()
            .into_iter()
            .filter_map(|line| line.split_once(':'))
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim_matches([' ', '\t']))
            .collect()
    }

    /// The value of the field of that name; there must not be two.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} comes {} times: {self:?}", all.len());
        all.first().copied()
    }

    /// The method of a request.
    pub(crate) fn method(&self) -> &str {
        self.first_line().split(' ').next().unwrap_or_default()
    }

    /// The status of a response.
    pub(crate) fn status(&self) -> u16 {
        let status = self.first_line().split(' ').nth(1).and_then(|status| status.parse().ok());
        status.unwrap_or_else(|| panic!("a response has a status: {self:?}"))
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("the body is text")
    }

    /// Fails unless this is a response of that status.
    #[track_caller]
    pub(crate) fn assert_status(&self, status: u16) {
        assert_eq!(self.status(), status, "{self:?}");
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 2000;
        let body = self.body.get(..SHOWN).unwrap_or(&self.body);
        writeln!(f, "\n{}\n", self.head)?;
        writeln!(f, "{} ({} bytes)", String::from_utf8_lossy(body), self.body.len())?;
        self.trailers.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
