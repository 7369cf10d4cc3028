//! Imports run downhill: a module imports from lower floors only, and modules on one floor do not see each other.
//!
//! The sources are read as syntax, from `src/lib.rs` along its `mod` lines, and from each program beside it. Every
//! path that starts at `crate`, `self`, `super` or the library's own name counts, wherever it stands: in a `use`, a
//! re-export, an expression, a type, a pattern, an attribute (also as a string, as serde takes it), the tokens of a
//! macro, or a test. What counts is the top-level module it leads to; a name that the crate's root re-exports leads to
//! where it came from, and any other name of the root leads to the root itself, which is above every module.

use proc_macro2::{Span, TokenStream, TokenTree};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use syn::ext::IdentExt;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, ExprLit, Ident, ItemMod, ItemUse, Lit, Meta, UseTree, Visibility};

/// The top-level modules, floor by floor from 0 up. The root of the library and its programs see them all.
const FLOORS: &[&[&str]] = &[
    &["source", "fault", "drain", "telemetry", "files"],
    &["name", "message"],
    &["kubernetes", "context", "interpret"],
    &["identify", "sandbox", "namer", "store"],
    &["proxy"],
    &["admin"],
    &["config"],
    &["app"],
    &["command"],
    &[ROOT],
    &[PROGRAM],
];

/// Modules that have a floor and are still to be built.
const TO_COME: &[&str] = &["sandbox"];

/// How the table and the messages call the root of the library.
const ROOT: &str = "lib.rs";

/// How the table and the messages call the programs: `src/main.rs` and `src/bin/*.rs`.
const PROGRAM: &str = "main.rs";

#[test]
fn imports_run_downhill() {
    let violations = check(Path::new(env!("CARGO_MANIFEST_DIR")), FLOORS, TO_COME);
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

/// The table in the crate's documentation is the one this test enforces.
#[test]
fn the_map_shows_the_same_floors() {
    let map = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let mut shown = vec![Vec::new(); FLOORS.len() - 2];
    for (floor, module) in map.lines().filter_map(floor_row) {
        shown[floor].push(module);
    }
    assert_eq!(shown, FLOORS[..FLOORS.len() - 2]);
}

/// The floor and module of a line such as "//! | 1 | [`name`] | ... |", or "//! | 3 | `store` | ... |" while it is to come.
fn floor_row(line: &str) -> Option<(usize, &str)> {
    let mut cells = line.strip_prefix("//! |")?.split('|').map(str::trim);
    Some((cells.next()?.parse().ok()?, cells.next()?.trim_matches(['[', ']', '`'])))
}

/// The planted violations are found, each where it stands, and nothing else is.
#[test]
fn planted_violations_are_caught() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/downhill");
    let floors: &[&[&str]] = &[&["low"], &["mid", "twin"], &["high", "gone", "early"], &[ROOT], &[PROGRAM]];
    let expected = [
        "src/elsewhere/odd.rs:1:23: low (floor 0) imports high (floor 2): super::super::high::Thing",
        "src/lib.rs:1:1: gone has a floor and no module",
        "src/lib.rs:5:9: attic has no floor",
        "src/lib.rs:6:9: early is built: strike it from the modules to come",
        "src/lib.rs:12:9: lost has no floor",
        "src/lib.rs:12:9: the file of mod lost cannot be read",
        "src/low/nested.rs:3:19: low (floor 0) imports high (floor 2): super::super::high::Thing",
        "src/low/nested.rs:9:18: low (floor 0) imports high (floor 2): planted::high::Thing",
        "src/low.rs:7:12: low (floor 0) imports high (floor 2): crate::high::Thing",
        "src/low.rs:8:13: low (floor 0) imports mid (floor 1): crate::mid::Half",
        "src/low.rs:8:32: low (floor 0) imports high (floor 2): crate::high::deep::Deeper",
        "src/low.rs:8:32: low (floor 0) imports high (floor 2): crate::high::deep::self",
        "src/low.rs:9:16: low (floor 0) imports high (floor 2): crate::high",
        "src/low.rs:10:5: low (floor 0) imports lib.rs (floor 3): crate",
        "src/low.rs:13:23: low (floor 0) imports high (floor 2): super::super::high::Thing",
        "src/low.rs:14:27: low (floor 0) imports lib.rs (floor 3): super::super",
        "src/low.rs:18:10: low (floor 0) imports high (floor 2): crate::high::mark",
        "src/low.rs:20:20: low (floor 0) imports high (floor 2): crate::high::encode",
        "src/low.rs:24:29: low (floor 0) imports mid (floor 1): crate::Half",
        "src/low.rs:24:46: low (floor 0) imports high (floor 2): crate::high::Thing",
        "src/low.rs:25:12: low (floor 0) imports high (floor 2): super::high::work",
        "src/low.rs:27:16: low (floor 0) imports high (floor 2): crate::high::THING",
        "src/low.rs:30:30: low (floor 0) imports high (floor 2): crate::high::work",
        "src/low.rs:30:56: low (floor 0) imports mid (floor 1): crate::mid::Half",
        "src/low.rs:30:67: low (floor 0) imports high (floor 2): crate::high",
        "src/low.rs:31:12: low (floor 0) imports lib.rs (floor 3): crate::of_the_root",
        "src/main.rs:4:14: main.rs (floor 4) imports attic (no floor): planted::attic::Dust",
        "src/mid.rs:4:18: mid (floor 1) imports twin (floor 1): crate::twin::Other",
    ];
    let found = check(&fixture, floors, &["early", "late"]);
    assert_eq!(found, expected, "\n{}\n", found.join("\n"));
}

/// A point in a file of the package: lines and columns count from 1.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    file: PathBuf,
    line: usize,
    column: usize,
}

/// A path that may lead from one top-level module to another.
struct Import {
    /// Where the segment stands that says where it leads.
    place: Place,
    /// The module it is written in.
    from: String,
    /// The first name it takes from the crate's root; none when it takes the root itself.
    to: Option<String>,
    /// The path as written, from its start.
    written: String,
}

/// Lists what breaks the law in the package at `root`, in the order of files and lines.
fn check(root: &Path, floors: &[&[&str]], to_come: &[&str]) -> Vec<String> {
    let src = root.join("src");
    let mut sources = Sources::new(root, package_name(root).replace('-', "_"));
    sources.read_root(ROOT, &src.join("lib.rs"));
    let programs =
        std::fs::read_dir(src.join("bin")).into_iter().flatten().map(|entry| entry.unwrap().path());
    for program in [src.join("main.rs")].into_iter().chain(programs).filter(|path| path.is_file()) {
        sources.read_root(PROGRAM, &program);
    }

    let floor = |name: &str| floors.iter().position(|modules| modules.contains(&name));
    let shown = |name: &str| floor(name).map_or("no floor".to_owned(), |floor| format!("floor {floor}"));
    let Sources { modules, imports, aliases, mut faults, .. } = sources;
    for (name, place) in &modules {
        if floor(name).is_none() {
            faults.push((place.clone(), format!("{name} has no floor")));
        } else if to_come.contains(&name.as_str()) {
            faults.push((place.clone(), format!("{name} is built: strike it from the modules to come")));
        }
    }
    for name in floors.iter().copied().flatten() {
        if !modules.contains_key(*name) && !to_come.contains(name) {
            faults.push((modules[ROOT].clone(), format!("{name} has a floor and no module")));
        }
    }
    for Import { place, from, to, written } in imports {
        let is_module = |name: &&String| modules.contains_key(*name);
        let to = to.as_ref().and_then(|name| Some(name).filter(is_module).or_else(|| aliases.get(name)));
        let to = to.filter(is_module).map_or(ROOT, String::as_str);
        let downhill = floor(to).is_some_and(|to| floor(&from).is_none_or(|from| to < from));
        if from != to && !downhill {
            let fault = format!("{from} ({}) imports {to} ({}): {written}", shown(&from), shown(to));
            faults.push((place, fault));
        }
    }
    faults.sort();
    faults
        .into_iter()
        .map(|(Place { file, line, column }, fault)| format!("{}:{line}:{column}: {fault}", file.display()))
        .collect()
}

/// The name in the package's `Cargo.toml`: by it the programs call the library.
fn package_name(root: &Path) -> String {
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let name = manifest.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    name.expect("the manifest names the package").to_owned()
}

/// What the sources of one package say, gathered file by file.
struct Sources<'a> {
    root: &'a Path,
    /// The library's name.
    library: String,
    /// The top-level modules with their declarations; the roots of the library and of the programs among them.
    modules: BTreeMap<String, Place>,
    imports: Vec<Import>,
    /// Names that the library's root imports, with the name at the root they come from.
    aliases: BTreeMap<String, String>,
    faults: Vec<(Place, String)>,
    scope: Scope,
}

/// Where the reader stands.
#[derive(Clone, Default)]
struct Scope {
    file: PathBuf,
    /// Where the files of this module's own modules are.
    folder: PathBuf,
    /// Whether it is a `mod x { }` within its file.
    inline: bool,
    /// What `crate` stands for: the empty path in the library, its own name in a program.
    krate: Vec<String>,
    /// The path of the module from the library's root.
    module: Vec<String>,
}

impl<'a> Sources<'a> {
    fn new(root: &'a Path, library: String) -> Self {
        Self {
            root,
            library,
            modules: BTreeMap::new(),
            imports: Vec::new(),
            aliases: BTreeMap::new(),
            faults: Vec::new(),
            scope: Scope::default(),
        }
    }

    /// Reads a crate: the library, or a program as if it were one more module of it.
    fn read_root(&mut self, name: &str, file: &Path) {
        let folder = file.parent().expect("a file has a folder").to_owned();
        let krate = if name == ROOT { Vec::new() } else { vec![name.to_owned()] };
        self.scope = Scope { file: file.to_owned(), folder, inline: false, module: krate.clone(), krate };
        let start = self.place(Span::call_site());
        self.modules.insert(name.to_owned(), start);
        let text = std::fs::read_to_string(file).expect("the root of a crate can be read");
        self.read(&text);
    }

    fn read(&mut self, text: &str) {
        match syn::parse_file(text) {
            Ok(file) => self.visit_file(&file),
            Err(error) => self.faults.push((self.place(error.span()), error.to_string())),
        }
    }

    fn place(&self, span: Span) -> Place {
        let file = self.scope.file.strip_prefix(self.root).unwrap_or(&self.scope.file).to_owned();
        Place { file, line: span.start().line, column: span.start().column + 1 }
    }

    /// Notes a path, unless it starts at a name of its own scope or of another crate.
    fn note(&mut self, path: &[Ident]) {
        let mut reached = match path.first() {
            Some(first) if first == "crate" => self.scope.krate.clone(),
            Some(first) if first == "self" || first == "super" => self.scope.module.clone(),
            Some(first) if *first == self.library => Vec::new(),
            _ => return,
        };
        let climbs = 1 + path.iter().skip(1).take_while(|step| *step == "self" || *step == "super").count();
        let (climb, rest) = path.split_at(climbs);
        let up = climb.iter().filter(|step| *step == "super").count();
        reached.truncate(reached.len().saturating_sub(up));
        if reached.is_empty() {
            let names: Vec<String> = path.iter().map(Ident::to_string).collect();
            self.imports.push(Import {
                place: self.place(rest.first().unwrap_or(&climb[climbs - 1]).span()),
                from: self.scope.module.first().map_or(ROOT, String::as_str).to_owned(),
                to: rest.first().map(|name| name.unraw().to_string()),
                written: names.join("::"),
            });
        }
    }

    /// Notes every path of a `use`, and where the names come from that it gives to the library's root.
    fn note_use(&mut self, before: &[Ident], tree: &UseTree) {
        let with = |last: &Ident| [before, std::slice::from_ref(last)].concat();
        let (path, alias) = match tree {
            UseTree::Path(step) => return self.note_use(&with(&step.ident), &step.tree),
            UseTree::Group(group) => return group.items.iter().for_each(|tree| self.note_use(before, tree)),
            UseTree::Glob(_) => (before.to_vec(), None),
            UseTree::Name(name) => (with(&name.ident), Some(&name.ident)),
            UseTree::Rename(rename) => (with(&rename.ident), Some(&rename.rename)),
        };
        self.note(&path);
        let origin = path.iter().find(|step| *step != "crate" && *step != "self");
        if let (true, Some(alias), Some(origin)) = (self.scope.module.is_empty(), alias, origin) {
            self.aliases.insert(alias.to_string(), origin.to_string());
        }
    }

    /// Notes the paths among tokens; `before` is what stands before the braces of a group such as `crate::{a, b}`.
    fn note_tokens(&mut self, before: &[Ident], tokens: &TokenStream) {
        let mut tokens = tokens.clone().into_iter().peekable();
        let mut path = before.to_vec();
        while let Some(token) = tokens.next() {
            let going_on = path.len() > before.len();
            match token {
                TokenTree::Ident(name) if name == "as" && !before.is_empty() => drop(tokens.next()),
                TokenTree::Ident(name) => {
                    path.push(name);
                    if tokens.next_if(is_colon).is_some() && tokens.next_if(is_colon).is_some() {
                        continue;
                    }
                    // `crate` alone is a visibility, `self` alone a value.
                    if path.len() > 1 {
                        self.note(&path);
                    }
                }
                TokenTree::Group(group) if going_on => self.note_tokens(&path, &group.stream()),
                TokenTree::Group(group) => self.note_tokens(&[], &group.stream()),
                // `crate::a::*` and `crate::a::<T>`.
                TokenTree::Punct(_) if going_on => self.note(&path),
                TokenTree::Punct(_) => {}
                // serde takes paths as strings.
                TokenTree::Literal(literal) => {
                    if let Lit::Str(text) = Lit::new(literal)
                        && let Ok(path) = text.parse()
                    {
                        self.visit_path(&path);
                    }
                }
            }
            path.truncate(before.len());
        }
    }
}

impl<'ast> Visit<'ast> for Sources<'_> {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<Ident> = path.segments.iter().map(|segment| segment.ident.clone()).collect();
        self.note(&names);
        visit::visit_path(self, path);
    }

    fn visit_token_stream(&mut self, tokens: &'ast TokenStream) {
        self.note_tokens(&[], tokens);
    }

    /// `pub(crate)` limits visibility, and imports nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        item.attrs.iter().for_each(|attribute| self.visit_attribute(attribute));
        self.note_use(&[], &item.tree);
    }

    /// Goes into a module, in its own file or in this one, by the rules of the Rust reference for `mod` and `path`.
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        item.attrs.iter().for_each(|attribute| self.visit_attribute(attribute));
        let name = item.ident.unraw().to_string();
        let place = self.place(item.ident.span());
        if self.scope.module.is_empty() {
            self.modules.insert(name.clone(), place.clone());
        }
        let Scope { file, folder, inline, .. } = &self.scope;
        let base = if *inline { folder } else { file.parent().expect("a file has a folder") };
        let elsewhere = item.attrs.iter().find_map(path_attribute).map(|path| base.join(path));
        let beside = folder.join(&name);

        let mut inner = self.scope.clone();
        inner.module.push(name.clone());
        inner.inline = item.content.is_some();
        if inner.inline {
            inner.folder = elsewhere.unwrap_or(beside);
        } else if let Some(file) = elsewhere {
            inner.folder = file.parent().expect("a file has a folder").to_owned();
            inner.file = file;
        } else {
            inner.file = beside.with_extension("rs");
            inner.folder = beside;
        }
        let outer = std::mem::replace(&mut self.scope, inner);
        match &item.content {
            Some((_, items)) => items.iter().for_each(|item| self.visit_item(item)),
            None => match std::fs::read_to_string(&self.scope.file) {
                Ok(text) => self.read(&text),
                Err(_) => self.faults.push((place, format!("the file of mod {name} cannot be read"))),
            },
        }
        self.scope = outer;
    }
}

/// The text of `#[path = "text"]`.
fn path_attribute(attribute: &Attribute) -> Option<String> {
    match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}

fn is_colon(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == ':')
}
