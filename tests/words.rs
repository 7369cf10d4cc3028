//! Names and docs use plain words: a type's name is a noun and names one type, and the doc of a type, function or
//! module begins with a subject or a verb.
//!
//! The sources are read as syntax, from `src/lib.rs` and `src/main.rs` along their `mod` lines. Modules under
//! `#[cfg(test)]` are left out, and so are associated types. The tokens of macros are not read.

mod attribute;

use proc_macro2::Span;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use syn::visit::{self, Visit};
use syn::{Attribute, Field, Ident, ImplItem, Item, ItemMod, Meta, TraitItem, Variant};

/// Type names that several modules may use, each with the reason.
const SHARED: &[(&str, &str)] = &[
    ("Arguments", "the command line of one subcommand, always used as `<subcommand>::Arguments`"),
    ("Config", "the configuration of the module it stands in, always used as `<module>::Config`"),
    ("Error", "the error of the module it stands in, always used as `<module>::Error`"),
    ("Metrics", "the metrics of the module it stands in, always used as `<module>::Metrics`"),
];

/// Words that no type's name contains ("HeldName" contains "Held"): verbs, participles and metaphors.
const TYPE_WORDS: &[&str] = &[
    "Asked", "Asker", "Bell", "Came", "Found", "Given", "Hearer", "Held", "Judged", "Keeper", "Kept",
    "Lender", "Loads", "Loan", "Looked", "Made", "Member", "Patience", "Said", "Shown", "Wanted",
];

/// Names that no module has, for the same reason.
const MODULES: &[&str] =
    &["across", "arming", "arrive", "fates", "held", "judge", "keeper", "kept", "lend", "patience", "way"];

/// First words of a doc that leave it without a subject.
const FIRST_WORDS: &[&str] = &["How", "Of", "What", "Where", "Whether", "Who", "Whoever", "Whom", "Whose"];

/// First words that are plain English on a field, a variant or a constant ("Whether it is open"), and only there.
const FIRST_WORDS_OF_FIELDS: &[&str] = &["How", "Whether"];

#[test]
fn words_are_plain() {
    let violations = check(Path::new(env!("CARGO_MANIFEST_DIR")), SHARED);
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

/// The planted violations are found, each where it stands, and nothing else is.
#[test]
fn planted_violations_are_caught() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/words");
    let shared = &[("Config", "used"), ("Metrics", "stands once"), ("Ghost", "does not stand at all")];
    let expected = [
        "src/inner/deep.rs:6:10: Closed is a type of src/inner/deep.rs:5 as well",
        "src/inner/deep.rs:10:11: Thing is a type of src/inner/deep.rs:3 as well",
        "src/inner.rs:1:1: the doc begins with Who",
        "src/inner.rs:4:5: a module is named kept",
        "src/inner.rs:5:5: the file of mod lost cannot be read",
        "src/lib.rs:1:1: Ghost may stand twice and does not",
        "src/lib.rs:1:1: Metrics may stand twice and does not",
        "src/lib.rs:11:1: the doc begins with Where",
        "src/lib.rs:17:12: Thing is a type of src/inner/deep.rs:3 as well",
        "src/lib.rs:22:1: the doc begins with What",
        "src/lib.rs:23:12: a type is named HeldName",
        "src/lib.rs:26:5: the doc begins with Who",
        "src/lib.rs:30:1: the doc begins with Whose",
        "src/lib.rs:31:10: a type is named Bell",
        "src/lib.rs:34:5: the doc begins with What",
        "src/lib.rs:42:5: the doc begins with Whether",
        "src/lib.rs:51:5: the doc begins with How",
        "src/lib.rs:54:9: the doc begins with Of",
        "src/lib.rs:60:1: the doc begins with Whom",
        "src/lib.rs:66:5: the doc begins with Whether",
        "src/lib.rs:70:1: the doc begins with Whoever",
        "src/main.rs:1:1: the doc begins with How",
        "src/main.rs:3:8: Thing is a type of src/inner/deep.rs:3 as well",
    ];
    let found = check(&fixture, shared);
    assert_eq!(found, expected, "\n{}\n", found.join("\n"));
}

/// A point in a file of the package: lines and columns count from 1.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    file: PathBuf,
    line: usize,
    column: usize,
}

/// The sources of one package as they are read, file by file.
struct Sources<'a> {
    root: &'a Path,
    /// The file that is being read.
    file: PathBuf,
    /// The folder with the files of this module's own modules.
    folder: PathBuf,
    /// Every type by its name.
    types: BTreeMap<String, Vec<Place>>,
    faults: Vec<(Place, String)>,
}

/// Lists the violations in the package at `root`, in the order of files and lines.
fn check(root: &Path, shared: &[(&str, &str)]) -> Vec<String> {
    let folder = root.join("src");
    let mut sources =
        Sources { root, file: PathBuf::new(), folder, types: BTreeMap::new(), faults: Vec::new() };
    for name in ["lib.rs", "main.rs"] {
        sources.file = sources.folder.join(name);
        let text = std::fs::read_to_string(&sources.file).expect("the root of a crate can be read");
        sources.read(&text);
    }

    sources.file = sources.folder.join("lib.rs");
    let start = sources.place(Span::call_site());
    let Sources { types, mut faults, .. } = sources;
    for (name, _) in shared {
        if types.get(*name).is_none_or(|places| places.len() < 2) {
            faults.push((start.clone(), format!("{name} may stand twice and does not")));
        }
    }
    for (name, places) in types {
        let Place { file, line, .. } = &places[0];
        let fault = format!("{name} is a type of {}:{line} as well", file.display());
        if shared.iter().all(|(shared, _)| *shared != name) {
            faults.extend(places[1..].iter().map(|place| (place.clone(), fault.clone())));
        }
    }
    faults.sort();
    faults
        .into_iter()
        .map(|(Place { file, line, column }, fault)| format!("{}:{line}:{column}: {fault}", file.display()))
        .collect()
}

impl Sources<'_> {
    fn read(&mut self, text: &str) {
        match syn::parse_file(text) {
            Ok(file) => {
                self.note_doc(&file.attrs, &[]);
                self.visit_file(&file);
            }
            Err(error) => self.faults.push((self.place(error.span()), error.to_string())),
        }
    }

    fn place(&self, span: Span) -> Place {
        let file = self.file.strip_prefix(self.root).unwrap_or(&self.file).to_owned();
        Place { file, line: span.start().line, column: span.start().column + 1 }
    }

    fn note_type(&mut self, name: &Ident, attributes: &[Attribute]) {
        self.note_doc(attributes, &[]);
        let (place, name) = (self.place(name.span()), name.to_string());
        let stands_in_name = |word: &&str| {
            name.match_indices(word).any(|(at, _)| !name[at + word.len()..].starts_with(char::is_lowercase))
        };
        if TYPE_WORDS.iter().any(stands_in_name) {
            self.faults.push((place.clone(), format!("a type is named {name}")));
        }
        self.types.entry(name).or_default().push(place);
    }

    /// Notes a doc whose first word is one of [`FIRST_WORDS`] and not one of those `allowed`.
    fn note_doc(&mut self, attributes: &[Attribute], allowed: &[&str]) {
        let Some((attribute, text)) =
            attributes.iter().find_map(|it| Some((it, attribute::text(it, "doc")?)))
        else {
            return;
        };
        let first =
            text.trim_start().split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default();
        if FIRST_WORDS.contains(&first) && !allowed.contains(&first) {
            let place = self.place(attribute.pound_token.span);
            self.faults.push((place, format!("the doc begins with {first}")));
        }
    }
}

/// Returns whether the attribute is `#[cfg(test)]`.
fn is_for_tests(attribute: &Attribute) -> bool {
    match &attribute.meta {
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Sources<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Struct(it) => self.note_type(&it.ident, &it.attrs),
            Item::Enum(it) => self.note_type(&it.ident, &it.attrs),
            Item::Union(it) => self.note_type(&it.ident, &it.attrs),
            Item::Trait(it) => self.note_type(&it.ident, &it.attrs),
            Item::Type(it) => self.note_type(&it.ident, &it.attrs),
            Item::Fn(it) => self.note_doc(&it.attrs, &[]),
            Item::Macro(it) => self.note_doc(&it.attrs, &[]),
            Item::Const(it) => self.note_doc(&it.attrs, FIRST_WORDS_OF_FIELDS),
            Item::Static(it) => self.note_doc(&it.attrs, FIRST_WORDS_OF_FIELDS),
            _ => {}
        }
        visit::visit_item(self, item);
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        match item {
            ImplItem::Fn(it) => self.note_doc(&it.attrs, &[]),
            ImplItem::Const(it) => self.note_doc(&it.attrs, FIRST_WORDS_OF_FIELDS),
            _ => {}
        }
        visit::visit_impl_item(self, item);
    }

    fn visit_trait_item(&mut self, item: &'ast TraitItem) {
        match item {
            TraitItem::Fn(it) => self.note_doc(&it.attrs, &[]),
            TraitItem::Type(it) => self.note_doc(&it.attrs, &[]),
            TraitItem::Const(it) => self.note_doc(&it.attrs, FIRST_WORDS_OF_FIELDS),
            _ => {}
        }
        visit::visit_trait_item(self, item);
    }

    fn visit_field(&mut self, field: &'ast Field) {
        self.note_doc(&field.attrs, FIRST_WORDS_OF_FIELDS);
        visit::visit_field(self, field);
    }

    fn visit_variant(&mut self, variant: &'ast Variant) {
        self.note_doc(&variant.attrs, FIRST_WORDS_OF_FIELDS);
        visit::visit_variant(self, variant);
    }

    /// Goes into a module, in its own file or in this one, unless it is compiled for tests only.
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if item.attrs.iter().any(is_for_tests) {
            return;
        }
        self.note_doc(&item.attrs, &[]);
        let name = item.ident.to_string();
        let place = self.place(item.ident.span());
        if MODULES.contains(&name.as_str()) {
            self.faults.push((place.clone(), format!("a module is named {name}")));
        }
        let inner = self.folder.join(&name);
        let (outer, file) = (std::mem::replace(&mut self.folder, inner), self.file.clone());
        match &item.content {
            Some((_, items)) => items.iter().for_each(|item| self.visit_item(item)),
            None => {
                self.file = self.folder.with_extension("rs");
                match std::fs::read_to_string(&self.file) {
                    Ok(text) => self.read(&text),
                    Err(_) => self.faults.push((place, format!("the file of mod {name} cannot be read"))),
                }
            }
        }
        (self.folder, self.file) = (outer, file);
    }
}
