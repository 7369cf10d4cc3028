//! Items as a store has them, and how they are shown.

use crate::sandbox::{Item, Written};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

/// An item as a store has it.
pub(super) struct StoredItem {
    /// Its namespace; none in a file.
    pub(super) namespace: Option<String>,
    pub(super) item: Item,
    pub(super) state: ItemState,
    /// The end of a sandbox that has one.
    pub(super) end: Option<Timestamp>,
}

/// The state of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ItemState {
    /// Requests can select it.
    Ready,
    /// It has ended.
    Ended,
    /// It is not accepted, for this reason.
    Refused(String),
    /// It is not ready yet, for this reason.
    Waiting(String),
}

impl ItemState {
    /// Returns the state in one word.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Ended => "Ended",
            Self::Refused(_) => "Refused",
            Self::Waiting(_) => "NotReady",
        }
    }

    /// Returns the reason, if the item is of no use.
    pub(super) fn reason(&self) -> Option<&str> {
        match self {
            Self::Ready => None,
            Self::Ended => Some("it has ended"),
            Self::Refused(reason) | Self::Waiting(reason) => Some(reason),
        }
    }
}

impl Serialize for StoredItem {
    /// Writes the keys of the item as they are written, and `namespace`, `state`, `reason` and its end as
    /// `expiresAt`.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let item = serde_json::to_value(&self.item).map_err(serde::ser::Error::custom)?;
        let mut keys = match item {
            Value::Object(keys) => keys,
            _ => Map::new(),
        };
        if let Some(namespace) = &self.namespace {
            keys.insert("namespace".to_owned(), namespace.as_str().into());
        }
        keys.insert("state".to_owned(), self.state.word().into());
        if let (Some(end), false) = (self.end, keys.contains_key("expiresAt")) {
            keys.insert("expiresAt".to_owned(), end.to_string().into());
        }
        if let Some(reason) = self.state.reason() {
            keys.insert("reason".to_owned(), reason.into());
        }
        keys.serialize(serializer)
    }
}

/// Returns items as a table, a line for each below the line of the columns.
pub(super) fn table(items: &[StoredItem]) -> String {
    let mut rows = vec![["NAME", "KEY", "OWNER", "STATE", "ENDS", "CONTENTS"].map(str::to_owned)];
    for stored in items {
        let (owner, contents) = match &stored.item {
            Item::Sandbox(Written { spec, .. }) => {
                let dtab = spec.dtab.parse::<crate::name::Dtab>().map_or(0, |dtab| dtab.len());
                (
                    spec.owner.as_deref(),
                    if dtab == 1 { "1 entry".to_owned() } else { format!("{dtab} entries") },
                )
            }
            Item::Group(Written { spec, .. }) => (
                None,
                match (&spec.all, &spec.any, &spec.label) {
                    (Some(all), ..) => format!("all of {}", all.join(", ")),
                    (_, Some(any), _) => format!("any of {}", any.join(", ")),
                    (.., Some(label)) => format!("label {} = {}", label.key, label.value),
                    _ => String::new(),
                },
            ),
        };
        let name = match &stored.namespace {
            Some(namespace) => format!("{namespace}/{}", stored.item.name()),
            None => stored.item.name().to_owned(),
        };
        let end = stored.end.map_or_else(|| "-".to_owned(), |end| end.to_string());
        rows.push([
            name,
            stored.item.key().to_owned(),
            printable(owner.unwrap_or("-")),
            stored.state.word().to_owned(),
            end,
            printable(&contents),
        ]);
    }
    let widths: Vec<usize> =
        (0..6).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let line = |row: &[String; 6]| {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// Replaces the control characters of a text, which could steer a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
