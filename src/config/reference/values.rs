//! The values that a key takes, and its default, as the readers tell them.

use crate::config::{
    self,
    schema::{Contents, RowPlace},
};
use serde_json::{Value, json};

/// The shape of the values that a key takes, with the reader's words for them: "a number from 1 to 65535".
#[derive(Clone, PartialEq, Debug)]
pub(super) enum ValueShape {
    /// One value.
    Scalar(String),
    /// A list of such values.
    List(String),
    /// A mapping from names of the user's own to such values.
    Mapping(String),
}

/// A text that no key takes unless it takes every text.
const ODD: &str = "?\u{1} ";

/// Returns the values that a key takes.
///
/// Its reader is given a mapping of mappings, which no key takes, and then a list of such. A reader that wants a text is
/// given one that few keys take, and says more.
pub(super) fn values(place: &RowPlace) -> ValueShape {
    let wrong = json!({ "a": { "mapping": 1 } });
    // A mapping under such a key has a section of its own.
    let first = if place.row.contents == Contents::Value { &wrong } else { &json!(ODD) };
    match expectation(place, first) {
        Some((at, words)) if at.is_empty() && words.starts_with("a list") => {
            let of = expectation(place, &json!([wrong])).filter(|(at, _)| at.starts_with("[0]"));
            let of = of.map(|(_, words)| words).unwrap_or_default();
            ValueShape::List(better(place, of, &json!([ODD])))
        }
        Some((at, words)) if !at.is_empty() => {
            ValueShape::Mapping(better(place, words, &json!({ "a": ODD })))
        }
        words => {
            ValueShape::Scalar(better(place, words.map(|(_, words)| words).unwrap_or_default(), &json!(ODD)))
        }
    }
}

/// Returns the reader's words for a text, if those that are known say no more than that it wants one.
fn better(place: &RowPlace, words: String, odd: &Value) -> String {
    match words.as_str() {
        "a text" => expectation(place, odd).map_or(words, |(_, better)| better),
        _ => words,
    }
}

/// Returns what the reader of a key expects in place of a value: how far below the key, and in which words.
fn expectation(place: &RowPlace, value: &Value) -> Option<(String, String)> {
    let errors = config::read("reference", &place.file(Some(value.clone())).to_string()).err()?;
    let key = place.path("[0]");
    errors.iter().find_map(|error| {
        let below = error.key.strip_prefix(&key)?;
        let words = error.message.strip_prefix("expected ")?;
        let words = words.rsplit_once(", found").map_or(words, |(words, _)| words);
        Some((below.to_owned(), words.to_owned()))
    })
}

/// Returns the value that a key has in a configuration without it.
pub(super) fn default(place: &RowPlace) -> Option<Value> {
    let config = config::read("reference", &place.file(None).to_string()).ok()?;
    // The file with the key absent has the mapping around it; so the value is the default, not what the mapping's absence
    // means.
    place.find(&config.to_json()).filter(|value| !value.is_object() && !is_list_of_mappings(value)).cloned()
}

/// Returns whether a value is a list of what other rows describe.
fn is_list_of_mappings(value: &Value) -> bool {
    value.as_array().is_some_and(|list| list.iter().any(Value::is_object))
}

/// Keys that are required unless another key of their mapping is there.
const IN_PLACE_OF_OTHERS: [(&str, &str); 5] = [
    ("listener tls", "certPath"),
    ("listener tls", "keyPath"),
    ("server tls", "certPath"),
    ("server tls", "keyPath"),
    ("client tls", "commonName"),
];

/// Returns whether a mapping without this key is an error, whatever else it has.
pub(super) fn is_required(place: &RowPlace) -> bool {
    if IN_PLACE_OF_OTHERS.contains(&(place.section, place.row.name)) {
        return false;
    }
    if matches!(place.path("").as_str(), "routers" | "routers.servers") {
        return true;
    }
    let read = config::read("reference", &place.file(None).to_string());
    let missing = format!("`{}` is missing", place.row.name);
    read.err().is_some_and(|errors| errors.iter().any(|error| error.message.contains(&missing)))
}
