//! Writes items into the text of a file of sandboxes, and leaves the rest of the text as it is, comments and all.

use crate::sandbox::{GroupSpec, Item, SandboxSpec, Written};
use crate::source::node::Place;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The text of a file, and where its items stand.
pub(super) struct ItemText<'a> {
    lines: Vec<&'a str>,
    /// The line of each item, from 0, and the indentation of its dash.
    items: Vec<(usize, usize)>,
}

impl<'a> ItemText<'a> {
    /// Finds the items in a text; none if one of them does not begin a line with `- `, as in JSON.
    pub(super) fn new(text: &'a str, places: impl Iterator<Item = Place>) -> Option<Self> {
        let lines: Vec<_> = text.split_inclusive('\n').collect();
        let items = places.map(|place| {
            let line = place.line.checked_sub(1)?;
            let indent = lines.get(line)?.find(|c| c != ' ')?;
            let dash = lines.get(line)?.get(indent..)?.strip_prefix('-')?;
            let inner = dash.find(|c| c != ' ')?;
            (inner > 0 && indent + 1 + inner + 1 == place.column).then_some((line, indent))
        });
        let items = items.collect::<Option<Vec<_>>>()?;
        Some(Self { lines, items })
    }

    /// Returns the text without an item.
    pub(super) fn without(&self, at: usize) -> Option<String> {
        self.replaced(at, "")
    }

    /// Returns the text with another item in the place of one.
    pub(super) fn with(&self, at: usize, item: &Item) -> Option<String> {
        let (_, indent) = *self.items.get(at)?;
        self.replaced(at, &item_text(item, indent))
    }

    /// Returns the text with one item more, at its end.
    pub(super) fn and(&self, item: &Item) -> Option<String> {
        let last = self.items.len().checked_sub(1)?;
        let (_, indent) = *self.items.get(last)?;
        let end = self.end_of(last)?;
        let mut text = self.lines.get(..end)?.concat();
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&item_text(item, indent));
        text.push_str(&self.lines.get(end..)?.concat());
        Some(text)
    }

    fn replaced(&self, at: usize, with: &str) -> Option<String> {
        let (start, _) = *self.items.get(at)?;
        let (before, after) = (self.lines.get(..start)?, self.lines.get(self.end_of(at)?..)?);
        Some([&before.concat(), with, &after.concat()].concat())
    }

    /// Returns the line behind an item. Comments and empty lines before the next item are that one's.
    fn end_of(&self, at: usize) -> Option<usize> {
        let (start, indent) = *self.items.get(at)?;
        let mut end = self.items.get(at + 1).map_or(self.lines.len(), |(line, _)| *line);
        let belongs_elsewhere = |line: &str| {
            let text = line.trim();
            text.is_empty()
                || (text.starts_with('#') && line.find('#').is_some_and(|column| column <= indent))
        };
        while end > start + 1 && belongs_elsewhere(self.lines.get(end - 1)?) {
            end -= 1;
        }
        Some(end)
    }
}

/// Returns items as the text of a whole file.
pub(super) fn file_text(items: &[Item]) -> String {
    if items.is_empty() { "[]\n".to_owned() } else { items.iter().map(|item| item_text(item, 0)).collect() }
}

/// Returns the text of an item, in lines that begin so many columns to the right.
fn item_text(item: &Item, indent: usize) -> String {
    let mut lines = ItemLines { text: String::new(), indent };
    lines.key("name", item.name());
    match item {
        Item::Sandbox(Written { id: _, labels, created, expires: _, spec }) => {
            let SandboxSpec { key, dtab, owner, ttl, expires_at, values } = spec;
            lines.some("key", key.as_deref());
            lines.block("dtab", dtab);
            lines.pairs("labels", labels);
            lines.some("owner", owner.as_deref());
            lines.some("ttl", ttl.as_deref());
            lines.some("expiresAt", expires_at.map(|at| at.to_string()).as_deref());
            lines.some("createdAt", created.map(|at| at.to_string()).as_deref());
            lines.pairs("values", values);
        }
        Item::Group(Written { spec: GroupSpec { key, all, any, label }, .. }) => {
            lines.some("key", key.as_deref());
            for (name, members) in [("all", all), ("any", any)] {
                if let Some(members) = members {
                    lines.line(name, &format!("[{}]", members.join(", ")));
                }
            }
            if let Some(label) = label {
                let (key, value) = (scalar(&label.key), scalar(&label.value));
                lines.line("label", &format!("{{key: {key}, value: {value}}}"));
            }
        }
    }
    lines.text
}

/// The lines of an item.
struct ItemLines {
    text: String,
    indent: usize,
}

impl ItemLines {
    /// Adds a line whose value is YAML.
    fn line(&mut self, key: &str, value: &str) {
        let begin = if self.text.is_empty() { "- " } else { "  " };
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{:indent$}{begin}{key}: {value}", "", indent = self.indent);
    }

    fn key(&mut self, key: &str, value: &str) {
        self.line(key, &scalar(value));
    }

    fn some(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.key(key, value);
        }
    }

    /// Adds a text of several lines.
    fn block(&mut self, key: &str, value: &str) {
        let body = value.strip_suffix('\n').unwrap_or(value);
        let fits = |line: &str| !line.contains(|c: char| c.is_control()) && line.trim_end() == line;
        let begins = !body.is_empty() && !body.starts_with([' ', '\n']) && !body.ends_with('\n');
        if !begins || !body.split('\n').all(fits) {
            return self.key(key, value);
        }
        self.line(key, if body.len() == value.len() { "|-" } else { "|" });
        for line in body.split('\n') {
            let indent = if line.is_empty() { 0 } else { self.indent + 4 };
            let _ = writeln!(self.text, "{:indent$}{line}", "");
        }
    }

    fn pairs(&mut self, key: &str, pairs: &BTreeMap<String, String>) {
        if !pairs.is_empty() {
            let pairs: Vec<_> =
                pairs.iter().map(|(key, value)| format!("{}: {}", scalar(key), scalar(value))).collect();
            self.line(key, &format!("{{{}}}", pairs.join(", ")));
        }
    }
}

/// Returns a text as a scalar of YAML: as it is, or in quotes as JSON has it.
fn scalar(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._/-".contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if begins && text.chars().all(is_plain) && !text.eq_ignore_ascii_case("null") {
        text.to_owned()
    } else {
        serde_json::Value::from(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::{SandboxRules, read_items_text};

    fn read(text: &str) -> Vec<(Item, Place)> {
        let read = read_items_text("f", text, &[], &SandboxRules::default());
        read.unwrap_or_else(|errors| panic!("{errors}\n{text}")).items
    }

    fn items(text: &str) -> Vec<Item> {
        read(text).into_iter().map(|(item, _)| item).collect()
    }

    fn at<'a>(text: &'a str, found: &[(Item, Place)]) -> Option<ItemText<'a>> {
        ItemText::new(text, found.iter().map(|(_, place)| *place))
    }

    const FILE: &str = "# ours
items:
  # the first
  - name: a
    dtab: |
      # why
      /a => /b;
    labels: {x: y}

  # the second
  -   name: b
      dtab: /a => /c
# the end
";

    #[test]
    fn what_is_written_reads_back() {
        let dtabs = [
            "",
            "/a => /b",
            "/a => /b;\n/c => /d;\n",
            "# é\n\n/a => /b ;\n",
            " /a => /b",
            "/a => /b;\n\n",
            "\t/a=>/b\r\n",
        ];
        let texts = [
            "1",
            "null",
            "~",
            "a: b",
            "- x",
            "\"q\" \\ \u{7}",
            "é",
            "2026-01-31T09:00:00Z",
            "x#y",
            "a #b",
            "",
        ];
        for dtab in dtabs {
            for text in texts {
                let quoted = serde_json::Value::from(text);
                let json = format!(
                    "[{{\"name\": \"a\", \"key\": \"b\", \"dtab\": {}, \"owner\": {quoted}, \"labels\": {{\"k\": {quoted}}}, \
                     \"expiresAt\": \"2026-01-31T09:00:00Z\", \"createdAt\": \"2026-01-31T08:00:00Z\", \"values\": {{{}: \"v\"}}}}, \
                     {{\"name\": \"c\", \"all\": [\"a\", \"b\"]}}, {{\"name\": \"d\", \"label\": {{\"key\": {quoted}, \"value\": \"x-*\"}}}}]",
                    serde_json::Value::from(dtab),
                    if text.is_empty() { "\"k\"".to_owned() } else { quoted.to_string() },
                );
                let written = items(&json);
                let text = file_text(&written);
                assert_eq!(items(&text), written, "{text}");
            }
        }
        assert_eq!(items(&file_text(&[])), []);
    }

    #[test]
    fn an_edit_leaves_the_rest_as_it_is() {
        let found = read(FILE);
        let text = at(FILE, &found).unwrap();
        let new = items("- {name: c, any: [a]}").remove(0);
        let without = text.without(0).unwrap();
        assert_eq!(
            without,
            "# ours\nitems:\n  # the first\n\n  # the second\n  -   name: b\n      dtab: /a => /c\n# the end\n"
        );
        let with = text.with(1, &new).unwrap();
        assert!(with.ends_with("  # the second\n  - name: c\n    any: [a]\n# the end\n"), "{with}");
        let and = text.and(&new).unwrap();
        assert!(and.ends_with("      dtab: /a => /c\n  - name: c\n    any: [a]\n# the end\n"), "{and}");
        assert_eq!(read(&and).len(), 3);
        let open = "- name: a\n  dtab: ''";
        assert_eq!(
            at(open, &read(open)).unwrap().and(&new).unwrap(),
            "- name: a\n  dtab: ''\n- name: c\n  any: [a]\n"
        );
        for flow in ["[{name: a, dtab: ''}]", "-\n  name: a\n  dtab: ''\n"] {
            assert!(at(flow, &read(flow)).is_none(), "{flow}");
        }
    }
}
