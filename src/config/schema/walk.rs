//! Every place where a row of the schema may stand in a file.

use super::{Contents, SchemaRow, Support, TOP, find_section, rows};
use serde_json::{Map, Value, json};
use std::collections::{BTreeSet, HashSet};

/// A mapping on the way to a row, from the top of the file: its other keys, and the key that leads on.
pub(crate) type Level = (Map<String, Value>, &'static str, Contents);

/// One row where it may stand in a file.
pub(crate) struct RowPlace {
    /// The mappings around it, outermost first.
    pub(crate) levels: Vec<Level>,
    /// The row.
    pub(crate) row: SchemaRow,
    /// Whether the row is a kind; then the last level's key is `kind` or `protocol`.
    pub(crate) is_kind: bool,
    /// The section of the mapping that the row stands in.
    pub(crate) section: &'static str,
    /// The kind of that mapping; empty where there are no kinds, and for a row that is a kind.
    pub(crate) kind: &'static str,
    /// The protocol of the router around it; empty outside of routers.
    pub(crate) protocol: &'static str,
}

impl RowPlace {
    /// Returns the file in which `value` stands at the row's place; without a value the row is absent.
    pub(crate) fn file(&self, value: Option<Value>) -> Value {
        let Some(((others, key, contents), around)) = self.levels.split_last() else { return Value::Null };
        let mut last = others.clone();
        last.remove(*key);
        last.extend(value.map(|value| ((*key).to_owned(), in_list(value, contents))));
        let mut value = Value::Object(last);
        for (others, key, contents) in around.iter().rev() {
            let mut mapping = others.clone();
            mapping.insert((*key).to_owned(), in_list(value, contents));
            value = Value::Object(mapping);
        }
        if let Value::Object(file) = &mut value {
            let routers = file.entry("routers").or_insert_with(|| json!([{ "protocol": "http" }]));
            if let Some(Value::Object(router)) = routers.get_mut(0) {
                router.entry("servers").or_insert_with(|| json!([{ "port": 0 }]));
            }
        }
        value
    }

    /// Returns the key path of the row, with `index` behind the name of each list.
    pub(crate) fn path(&self, index: &str) -> String {
        let lists = |contents: &Contents| if matches!(contents, Contents::List(_)) { index } else { "" };
        let mut path = String::new();
        for (at, (_, key, contents)) in self.levels.iter().enumerate() {
            path.push_str(key);
            if at + 1 < self.levels.len() {
                path.push_str(lists(contents));
                path.push('.');
            }
        }
        path
    }

    /// Returns the row's value in a file.
    pub(crate) fn find<'a>(&self, file: &'a Value) -> Option<&'a Value> {
        let mut value = file;
        for (at, (_, key, contents)) in self.levels.iter().enumerate() {
            value = value.get(*key)?;
            // What may be one mapping or a list is shown as a list.
            if at + 1 < self.levels.len() && matches!(contents, Contents::List(_) | Contents::OneOrList(_)) {
                value = value.get(0).unwrap_or(value);
            }
        }
        Some(value)
    }
}

/// Puts a value into a list where the key takes one.
fn in_list(value: Value, contents: &Contents) -> Value {
    if matches!(contents, Contents::List(_)) && !value.is_array() { json!([value]) } else { value }
}

/// Every row in every section where it may stand.
#[derive(Default)]
pub(crate) struct SchemaWalk {
    /// The rows, each once for a section, a kind and a protocol.
    pub(crate) places: Vec<RowPlace>,
    /// The sections that were looked for.
    pub(crate) sections: BTreeSet<String>,
    /// The key paths under which each section stands, with `[]` behind the name of a list.
    pub(crate) paths: Vec<(&'static str, String)>,
    seen: HashSet<(&'static str, &'static str)>,
}

/// Walks along the schema from the top of the file.
pub(crate) fn walk() -> SchemaWalk {
    let mut walk = SchemaWalk::default();
    walk.section(TOP, "", &[]);
    walk
}

/// Returns the keys that a kind requires.
fn required(section: &str, kind: &str) -> Map<String, Value> {
    let keys = match kind {
        "io.l5d.fs" if section == "interpreter" => json!({ "dtabFile": "dtab" }),
        "io.l5d.fs" => json!({ "rootDir": "names" }),
        "io.l5d.k8s.dtab" => json!({ "name": "routes" }),
        "io.l5d.k8s.configMap" => json!({ "name": "routes", "filename": "dtab" }),
        "io.l5d.rewrite" => json!({ "prefix": "/p", "pattern": "/{a}", "name": "/b/{a}" }),
        "io.l5d.static" if section == "identifier" => json!({ "path": "/a" }),
        "io.l5d.specificHost" => json!({ "host": "localhost" }),
        "io.l5d.port" => json!({ "port": 1 }),
        "io.l5d.k8s.daemonset" => json!({ "namespace": "a", "port": "b", "service": "c" }),
        "io.l5d.const" | "io.l5d.replace" => json!({ "path": "/$/nil" }),
        "static" => json!({ "label": "a" }),
        _ => json!({}),
    };
    keys.as_object().cloned().unwrap_or_default()
}

/// Returns whether the contents of a row are checked.
fn is_descended_into(row: &SchemaRow) -> bool {
    matches!(row.support, Support::Works | Support::Inside)
}

/// Returns whether the keys of a kind are checked, although it is not built.
fn waits_with_its_keys(section: &str, kind: &SchemaRow) -> bool {
    let keys = format!("{section} {}", kind.name);
    matches!(kind.support, Support::NotYet(_)) && find_section(&keys).is_some()
}

/// One kind of a section's mappings: its other keys, its name, and the protocol that it is in.
type Variant = (Map<String, Value>, &'static str, &'static str);

impl SchemaWalk {
    fn section(&mut self, name: &'static str, protocol: &'static str, levels: &[Level]) {
        self.note_path(name, levels);
        if !self.seen.insert((name, protocol)) {
            return;
        }
        self.sections.insert(name.to_owned());
        for (others, kind, protocol) in self.variants(name, protocol, levels) {
            let mut names = vec![
                name.to_owned(),
                format!("{name} {kind}"),
                format!("{name} {kind} {protocol}"),
                format!("{name} {protocol}"),
            ];
            // The kind of a router is its protocol.
            names.retain(|name| find_section(name).is_some());
            names.dedup();
            self.sections.extend(names.iter().cloned());
            for row in rows(&names) {
                let levels = [levels, &[(others.clone(), row.name, row.contents)]].concat();
                let place = RowPlace {
                    levels: levels.clone(),
                    row: *row,
                    is_kind: false,
                    section: name,
                    kind,
                    protocol,
                };
                self.places.push(place);
                if let Some(section) = row.contents.section() {
                    debug_assert!(is_descended_into(row), "{}: its contents would not be checked", row.name);
                    self.section(section, protocol, &levels);
                }
            }
        }
    }

    /// Returns the kinds of a section's mappings, and adds their rows.
    fn variants(&mut self, name: &'static str, protocol: &'static str, levels: &[Level]) -> Vec<Variant> {
        let section = find_section(name);
        debug_assert!(section.is_some(), "a key leads to the section {name}, which is not there");
        let Some(kind_key) = section.and_then(|section| section.kind_key) else {
            return vec![(Map::new(), "", protocol)];
        };
        let kinds = format!("{name} kind");
        self.sections.insert(kinds.clone());
        let mut variants = Vec::new();
        for kind in rows(&[kinds]) {
            let levels = [levels, &[(Map::new(), kind_key.name, Contents::Value)]].concat();
            let place = RowPlace { levels, row: *kind, is_kind: true, section: name, kind: "", protocol };
            self.places.push(place);
            if is_descended_into(kind) || waits_with_its_keys(name, kind) {
                let mut others = required(name, kind.name);
                others.insert(kind_key.name.to_owned(), json!(kind.name));
                let protocol = if kind_key.name == "protocol" { kind.name } else { protocol };
                variants.push((others, kind.name, protocol));
            }
        }
        variants
    }

    /// Remembers that a section stands under a path.
    fn note_path(&mut self, name: &'static str, levels: &[Level]) {
        let end = |contents: &Contents| if matches!(contents, Contents::List(_)) { "[]" } else { "" };
        let path: Vec<_> =
            levels.iter().map(|(_, key, contents)| format!("{key}{}", end(contents))).collect();
        let path = (name, path.join("."));
        if !self.paths.contains(&path) {
            self.paths.push(path);
        }
    }
}
