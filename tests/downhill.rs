//! Imports run downhill: a module imports from lower floors only, and modules on one floor do not see each other.
//!
//! The sources are read as syntax, from `src/lib.rs` along its `mod` lines, and from each program beside it. Every
//! path that starts at `crate`, `self`, `super` or the library's own name counts, wherever it stands: in a `use`, a
//! re-export, an expression, a type, a pattern, an attribute (also as a string, as serde takes it), the tokens of a
//! macro, or a test. What counts is the top-level module it leads to; a name that the crate's root re-exports leads to
//! where it came from, and any other name of the root leads to the root itself, which is above every module.
//!
//! The same holds inside `proxy`, the largest module, for its own modules: its file `proxy.rs` is above them.

mod attribute;

use proc_macro2::{Span, TokenStream, TokenTree};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use syn::ext::IdentExt;
use syn::visit::{self, Visit};
use syn::{Ident, ItemMod, ItemUse, Lit, UseTree, Visibility};

/// Modules that lie beside each other, and the floors they are on.
struct House {
    /// The module that holds them, from the root of the library; empty for the root itself.
    path: &'static [&'static str],
    /// The name of that module in the table and in the messages: it sees them all.
    root: &'static str,
    /// Floor by floor, from 0 up.
    floors: &'static [&'static [&'static str]],
    /// Modules that have a floor and are still to be built.
    to_come: &'static [&'static str],
}

/// The top-level modules. The root of the library and its programs see them all.
const LIBRARY: House = House {
    path: &[],
    root: ROOT,
    floors: &[
        &["source", "fault", "drain", "telemetry", "files", "machine"],
        &["name", "tls", "message"],
        &["kubernetes", "context", "interpret"],
        &["identify", "sandbox", "namer", "store"],
        &["proxy", "controller"],
        &["admin"],
        &["config"],
        &["app"],
        &["command"],
        &[ROOT],
        &[PROGRAM],
    ],
    to_come: &[],
};

/// The modules of the proxy.
const PROXY: House = House {
    path: &["proxy"],
    root: "proxy.rs",
    floors: &[
        &["error", "limits", "metrics"],
        &["wire"],
        &["exchange"],
        &["upstream"],
        &["bind"],
        &["serve"],
        &["downstream"],
        &["worker"],
        &["proxy.rs"],
    ],
    to_come: &[],
};

/// The name of the library's root in the table and in the messages.
const ROOT: &str = "lib.rs";

/// The name of the programs in the table and in the messages: `src/main.rs` and `src/bin/*.rs`.
const PROGRAM: &str = "main.rs";

#[test]
fn imports_run_downhill() {
    let violations = check(Path::new(env!("CARGO_MANIFEST_DIR")), &[LIBRARY, PROXY]);
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

/// The tables in the documentation of the crate and of the proxy are those that this test enforces.
#[test]
fn the_maps_show_the_same_floors() {
    for (file, floors) in [("src/lib.rs", &LIBRARY.floors[..9]), ("src/proxy.rs", &PROXY.floors[..8])] {
        let map = read(file);
        let mut shown = vec![Vec::new(); floors.len()];
        for (floor, module) in map.lines().filter_map(floor_row) {
            shown[floor].push(module);
        }
        assert_eq!(shown, floors, "{file}");
    }
}

/// Every step in the life of a request, as the documentation of the proxy lists them, is a function of that file.
#[test]
fn the_life_of_a_request_is_where_it_is_said_to_be() {
    let map = read("src/proxy.rs");
    let steps: Vec<_> = map.lines().filter_map(step_row).collect();
    assert!(steps.len() > 5, "the table is found: {steps:?}");
    for (file, function) in steps {
        let text = read(&format!("src/{file}"));
        assert!(text.contains(&format!("fn {function}(")), "{file} has no function {function}");
    }
}

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// Returns the file and function of a line such as "//! | bind | `proxy/bind.rs:bind` | ... |".
fn step_row(line: &str) -> Option<(&str, &str)> {
    let place = line.strip_prefix("//! |")?.split('|').nth(1)?.trim();
    place.strip_prefix('`')?.strip_suffix('`')?.split_once(".rs:").map(|(file, function)| {
        let end = file.len() + ".rs".len();
        (&place[1..=end], function)
    })
}

/// Returns the floor and module of a line such as "//! | 1 | [`name`] | ... |", or "//! | 3 | `store` | ... |" while it is
/// to come.
fn floor_row(line: &str) -> Option<(usize, &str)> {
    let mut cells = line.strip_prefix("//! |")?.split('|').map(str::trim);
    Some((cells.next()?.parse().ok()?, cells.next()?.trim_matches(['[', ']', '`'])))
}

/// The planted violations are found, each where it stands, and nothing else is.
#[test]
fn planted_violations_are_caught() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/downhill");
    let planted = House {
        path: &[],
        root: ROOT,
        floors: &[&["low"], &["mid", "twin"], &["high", "gone", "early"], &[ROOT], &[PROGRAM]],
        to_come: &["early", "late"],
    };
    let inside = House {
        path: &["mid"],
        root: "mid.rs",
        floors: &[&["ground"], &["upper"], &["mid.rs"]],
        to_come: &[],
    };
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
        "src/mid/ground.rs:3:12: ground (floor 0) imports upper (floor 1): super::upper::Lamp",
        "src/mid/ground.rs:4:17: ground (floor 0) imports upper (floor 1): crate::mid::Lamp",
        "src/mid/ground.rs:5:17: ground (floor 0) imports mid.rs (floor 2): crate::mid::Half",
        "src/mid.rs:4:18: mid (floor 1) imports twin (floor 1): crate::twin::Other",
    ];
    let found = check(&fixture, &[planted, inside]);
    assert_eq!(found, expected, "\n{}\n", found.join("\n"));
}

/// A point in a file of the package: lines and columns count from 1.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    file: PathBuf,
    line: usize,
    column: usize,
}

/// A path that may lead from one module to another.
struct Import {
    /// The module it is written in, from the root of the library.
    from: Vec<String>,
    /// The path that it stands for, from the root of the library.
    to: Vec<String>,
    /// The place of each name of `to`; that of the last `self` or `super` for those that are not written.
    places: Vec<Place>,
    /// The path as written, from its start.
    written: String,
}

/// Lists the violations in the package at `root`, in the order of files and lines.
fn check(root: &Path, houses: &[House]) -> Vec<String> {
    let src = root.join("src");
    let mut sources = Sources::new(root, package_name(root).replace('-', "_"));
    sources.read_root(ROOT, &src.join("lib.rs"));
    let programs =
        std::fs::read_dir(src.join("bin")).into_iter().flatten().map(|entry| entry.unwrap().path());
    for program in [src.join("main.rs")].into_iter().chain(programs).filter(|path| path.is_file()) {
        sources.read_root(PROGRAM, &program);
    }
    for house in houses {
        house.check(&mut sources);
    }
    let mut faults = sources.faults;
    faults.sort();
    faults
        .into_iter()
        .map(|(Place { file, line, column }, fault)| format!("{}:{line}:{column}: {fault}", file.display()))
        .collect()
}

impl House {
    fn floor(&self, name: &str) -> Option<usize> {
        self.floors.iter().position(|modules| modules.contains(&name))
    }

    fn shown(&self, name: &str) -> String {
        let floor = self.floor(name).map_or("no floor".to_owned(), |floor| format!("floor {floor}"));
        format!("{name} ({floor})")
    }

    /// Returns the name in `path` that stands for a module of this house; none when `path` leads elsewhere.
    fn inside<'a>(&self, path: &'a [String]) -> Option<&'a [String]> {
        let (before, rest) = path.split_at_checked(self.path.len())?;
        before.iter().map(String::as_str).eq(self.path.iter().copied()).then_some(rest)
    }

    /// Adds the violations of this house to the faults.
    fn check(&self, sources: &mut Sources<'_>) {
        let Sources { modules, imports, aliases, faults, .. } = sources;
        let path = |name: &str| [self.path, &[name]].concat().iter().map(|&name| name.to_owned()).collect();
        let is_module = |name: &str| modules.contains_key::<Vec<String>>(&path(name));
        for (module, place) in modules.iter() {
            let Some([name]) = self.inside(module) else { continue };
            if self.floor(name).is_none() {
                faults.push((place.clone(), format!("{name} has no floor")));
            } else if self.to_come.contains(&name.as_str()) {
                faults.push((place.clone(), format!("{name} is built: strike it from the modules to come")));
            }
        }
        for name in self.floors.iter().copied().flatten() {
            if *name != self.root && !is_module(name) && !self.to_come.contains(name) {
                let root = if self.path.is_empty() {
                    vec![ROOT.to_owned()]
                } else {
                    path("")[..self.path.len()].to_vec()
                };
                faults.push((modules[&root].clone(), format!("{name} has a floor and no module")));
            }
        }
        for Import { from, to, places, written } in imports.iter() {
            let (Some(from), Some(to)) = (self.inside(from), self.inside(to)) else { continue };
            let from = from.first().map_or(self.root, String::as_str);
            let origin = to.first().map(|name| match is_module(name) {
                true => name.as_str(),
                false => aliases.get::<Vec<String>>(&path(name)).map_or("", String::as_str),
            });
            let to = origin.filter(|name| is_module(name)).unwrap_or(self.root);
            let downhill = self.floor(to).is_some_and(|to| self.floor(from).is_none_or(|from| to < from));
            if from != to && !downhill {
                let place = places.get(self.path.len()).or(places.last()).expect("a path has a name");
                let fault = format!("{} imports {}: {written}", self.shown(from), self.shown(to));
                faults.push((place.clone(), fault));
            }
        }
    }
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
    /// The modules with their declarations, by their paths; the roots of the library and of the programs among them.
    modules: BTreeMap<Vec<String>, Place>,
    imports: Vec<Import>,
    /// Names that a module imports, by their paths, with the name in that module from which they come.
    aliases: BTreeMap<Vec<String>, String>,
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
        self.modules.insert(vec![name.to_owned()], start);
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
        let start = self.place(climb[climbs - 1].span());
        let mut places = vec![start; reached.len()];
        places.extend(rest.iter().map(|name| self.place(name.span())));
        if places.is_empty() {
            places.push(self.place(climb[climbs - 1].span()));
        }
        reached.extend(rest.iter().map(|name| name.unraw().to_string()));
        let names: Vec<String> = path.iter().map(Ident::to_string).collect();
        let from = self.scope.module.clone();
        self.imports.push(Import { from, to: reached, places, written: names.join("::") });
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
        let own = |step: &&Ident| *step != "crate" && *step != "self";
        if let (Some(alias), Some(origin)) = (alias, path.iter().find(own)) {
            let at = [self.scope.module.as_slice(), &[alias.to_string()]].concat();
            self.aliases.insert(at, origin.to_string());
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
        let path = [self.scope.module.as_slice(), std::slice::from_ref(&name)].concat();
        self.modules.insert(path, place.clone());
        let Scope { file, folder, inline, .. } = &self.scope;
        let base = if *inline { folder } else { file.parent().expect("a file has a folder") };
        let elsewhere = item
            .attrs
            .iter()
            .find_map(|attribute| attribute::text(attribute, "path"))
            .map(|path| base.join(path));
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

fn is_colon(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == ':')
}
