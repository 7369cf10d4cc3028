//! The book in `docs/`: every page is in its table of contents, every link leads somewhere, every block of code can be used.

use crate::support::run;
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use signpost::config;
use signpost::name::Dtab;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

/// A file in Markdown, by its path inside the project.
pub(crate) struct Page {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A block of code, with the comment before it, if there is one.
pub(crate) struct Block {
    pub(crate) mark: Option<String>,
    pub(crate) language: String,
    pub(crate) text: String,
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page(path: &str) -> Page {
    let text = fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    Page { path: path.to_owned(), text }
}

/// The README and every page of the book.
pub(crate) fn pages() -> Vec<Page> {
    let mut paths = vec!["README.md".to_owned()];
    find("docs", &mut paths);
    paths.iter().map(|path| page(path)).collect()
}

/// Adds the files in Markdown at and below a folder.
fn find(folder: &str, paths: &mut Vec<String>) {
    let entries = fs::read_dir(root().join(folder)).expect("the folder is there");
    for entry in entries {
        let entry = entry.expect("the folder can be read");
        let path = format!("{folder}/{}", entry.file_name().to_str().expect("names are text"));
        if entry.file_type().expect("it has a type").is_dir() {
            find(&path, paths);
        } else if path.ends_with(".md") {
            paths.push(path);
        }
    }
}

fn events(text: &str) -> Parser<'_> {
    Parser::new_ext(text, Options::ENABLE_TABLES)
}

impl Page {
    pub(crate) fn blocks(&self) -> Vec<Block> {
        let (mut blocks, mut mark, mut inside) = (Vec::new(), None, false);
        for event in events(&self.text) {
            match event {
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                    inside = true;
                    let language = language.into_string();
                    blocks.push(Block { mark: mark.take(), language, text: String::new() });
                }
                Event::End(TagEnd::CodeBlock) => inside = false,
                Event::Text(text) if inside => {
                    blocks.last_mut().expect("a block has begun").text.push_str(&text);
                }
                Event::Html(text) => {
                    let comment = text.trim().strip_prefix("<!--").and_then(|text| text.strip_suffix("-->"));
                    mark = comment.map(|text| text.trim().to_owned());
                }
                Event::Start(Tag::HtmlBlock) | Event::End(TagEnd::HtmlBlock) => {}
                _ => mark = None,
            }
        }
        blocks
    }

    fn links(&self) -> Vec<String> {
        let links = events(&self.text).filter_map(|event| match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                Some(dest_url.into_string())
            }
            _ => None,
        });
        links.collect()
    }

    /// The anchors of its headings, as mdBook and GitHub make them.
    fn anchors(&self) -> BTreeSet<String> {
        let (mut anchors, mut heading) = (BTreeSet::new(), None);
        for event in events(&self.text) {
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let anchor = anchor(&heading.take().expect("a heading has begun"));
                    assert!(anchors.insert(anchor.clone()), "{}: two headings are #{anchor}", self.path);
                }
                Event::Text(text) | Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                _ => {}
            }
        }
        anchors
    }
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|sign| sign.is_alphanumeric() || " -_".contains(*sign));
    kept.map(|sign| if sign == ' ' { '-' } else { sign.to_ascii_lowercase() }).collect()
}

/// The path inside the project to which a link of a page leads; none when it leaves the project.
fn target(page: &str, link: &str) -> Option<String> {
    let mut parts: PathBuf = Path::new(page).parent().expect("a file is in a folder").to_owned();
    for component in Path::new(link).components() {
        match component {
            Component::Normal(part) => parts.push(part),
            Component::ParentDir => {
                if !parts.pop() {
                    return None;
                }
            }
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.to_str().expect("paths are text").to_owned())
}

/// The reason why a link of a page leads nowhere; no other host is asked.
fn broken(page: &Page, link: &str) -> Option<String> {
    if link.starts_with("https://") || link.starts_with("http://") {
        return None;
    }
    let (file, wanted) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
    let path = if file.is_empty() { Some(page.path.clone()) } else { target(&page.path, file) };
    let Some(path) = path.filter(|path| root().join(path).exists()) else {
        return Some(format!("{}: {link}: there is no such file", page.path));
    };
    let wanted = wanted?;
    if !path.ends_with(".md") || !self::page(&path).anchors().contains(wanted) {
        return Some(format!("{}: {link}: {path} has no such heading", page.path));
    }
    None
}

#[test]
fn every_link_leads_somewhere() {
    let mut paths =
        ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"].map(str::to_owned).to_vec();
    for folder in ["docs", "examples", "benches", "grammar"] {
        find(folder, &mut paths);
    }
    let (mut followed, mut wrong) = (0, Vec::new());
    for page in paths.iter().map(|path| page(path)) {
        for link in page.links() {
            followed += 1;
            wrong.extend(broken(&page, &link));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(followed > 200, "{followed}");
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let page = page("docs/tls.md");
    for link in ["trust.md", "#endpoints", "../README.md#test-it", "https://example.org/x#y"] {
        assert_eq!(broken(&page, link), None);
    }
    for link in
        ["trusts.md", "#endpoint", "../README.md#sandboxes", "../../etc", "/etc/passwd", "book.toml#book"]
    {
        assert!(broken(&page, link).is_some(), "{link}");
    }
}

#[test]
fn every_page_is_in_the_table_of_contents_once() {
    let listed = page("docs/SUMMARY.md").links();
    let unique: BTreeSet<String> = listed.iter().map(|link| format!("docs/{link}")).collect();
    assert_eq!(unique.len(), listed.len(), "a page is listed twice: {listed:?}");
    let mut there = Vec::new();
    find("docs", &mut there);
    let there: BTreeSet<String> = there.into_iter().filter(|path| path != "docs/SUMMARY.md").collect();
    assert_eq!(unique, there, "the table of contents is docs/SUMMARY.md");
}

/// A part of a configuration is completed as its reader would do it: an object of Kubernetes becomes an item of `sandboxes`,
/// servers get their router, and a router gets a server.
fn completed(block: &str) -> String {
    let mut text = block.to_owned();
    if block.starts_with("apiVersion: signpost.dev/") {
        let (_, spec) = block.split_once("\nspec:\n").expect("an object has a spec");
        // The API server says when an object was made.
        let made = if spec.contains("  ttl:") { "  createdAt: 2026-01-31T09:00:00Z\n" } else { "" };
        text = format!("sandboxes:\n- name: example\n{made}{spec}");
    } else if block.starts_with("  servers:") {
        text = format!("routers:\n- protocol: http\n{block}");
    }
    if !text.contains("routers:") {
        text.push_str("routers:\n- protocol: http\n");
    }
    if !text.contains("servers:") {
        text.push_str("  servers: [{port: 4140}]\n");
    }
    text
}

#[test]
fn every_configuration_is_right() {
    let mut read = BTreeMap::new();
    for page in pages() {
        for block in page.blocks().iter().filter(|block| block.language == "yaml") {
            let config = config::read(&page.path, &completed(&block.text))
                .unwrap_or_else(|errors| panic!("{}:\n{errors}\n{}", page.path, block.text));
            assert!(config.warnings.is_empty(), "{}: {:?}\n{}", page.path, config.warnings, block.text);
            *read.entry(page.path.clone()).or_insert(0) += 1;
        }
    }
    assert_eq!(read.get("docs/tls.md"), Some(&7));
    assert!(read.len() >= 10, "{read:?}");
}

#[test]
fn every_dtab_is_right() {
    let mut read = 0;
    for page in pages() {
        for block in page.blocks().iter().filter(|block| block.language == "dtab") {
            let dtab = block.text.parse::<Dtab>();
            assert!(dtab.is_ok_and(|dtab| !dtab.is_empty()), "{}:\n{}", page.path, block.text);
            read += 1;
        }
    }
    assert!(read >= 2, "{read}");
}

/// The languages that a reader here knows. `text` is output.
#[test]
fn every_block_has_a_language() {
    for page in pages() {
        for block in page.blocks() {
            let known = ["dtab", "sh", "text", "yaml"].contains(&block.language.as_str());
            assert!(known, "{}: {:?}:\n{}", page.path, block.language, block.text);
        }
    }
}

#[test]
fn every_shell_block_is_shell() {
    let mut read = 0;
    for page in pages() {
        for block in page.blocks().iter().filter(|block| block.language == "sh") {
            let checked =
                Command::new("sh").args(["-n", "-c", &block.text]).output().expect("there is a shell");
            assert!(checked.status.success(), "{}:\n{}\n{checked:?}", page.path, block.text);
            read += 1;
        }
    }
    assert!(read > 20, "{read}");
}

/// The calls of the program in a line of shell, each as its words; whatever stands in single quotes is `_`.
fn calls(line: &str) -> Vec<Vec<String>> {
    let line = line.split(" # ").next().unwrap_or_default();
    let line = line.split('\'').step_by(2).collect::<Vec<_>>().join("_");
    let mut calls = Vec::new();
    for name in ["signpost ", "cargo run --release -- "] {
        for (at, _) in line.match_indices(name) {
            let before = line[..at].trim_end_matches('"');
            if before.is_empty() || before.ends_with("$(") {
                let rest = &line[at + name.len()..];
                let call = rest.split(['|', '>', '<', '&', ')', ';']).next().unwrap_or_default();
                calls.push(call.split_whitespace().map(str::to_owned).collect());
            }
        }
    }
    calls
}

/// The subcommand that a call names, as words.
fn subcommand(call: &[String]) -> Vec<&str> {
    let own = if ["sandbox", "demo"].contains(&call[0].as_str()) { 2 } else { 1 };
    let is_word = |word: &&str| word.chars().all(|sign| sign.is_ascii_lowercase());
    call.iter().take(own).map(String::as_str).filter(is_word).collect()
}

#[test]
fn calls_are_found() {
    let found =
        calls("sh -c \"$(signpost sandbox curl --entry '/a => /b' --ttl 8h)\" > file # signpost demo");
    assert_eq!(found, [["sandbox", "curl", "--entry", "_", "--ttl", "8h"]]);
    assert_eq!(subcommand(&found[0]), ["sandbox", "curl"]);
    assert_eq!(calls("cargo run --release -- demo"), [["demo"]]);
    assert!(calls("# signpost demo").is_empty());
}

/// Every command of the book has a subcommand and options that the program has.
#[test]
fn every_command_is_one() {
    let mut helps: BTreeMap<String, String> = BTreeMap::new();
    let mut read = 0;
    for page in pages() {
        for block in page.blocks().iter().filter(|block| block.language == "sh") {
            for call in block.text.lines().flat_map(calls) {
                let mut command = subcommand(&call);
                let help = helps.entry(command.join(" ")).or_insert_with(|| {
                    command.push("--help");
                    let (code, stdout, stderr) = run(&command, "");
                    assert_eq!(code, 0, "{}: {call:?}: {stderr}", page.path);
                    stdout
                });
                for option in call.iter().filter(|word| word.starts_with('-') && word.len() > 1) {
                    let known = help.split([' ', ',', '\n', '=']).any(|word| word == option);
                    assert!(known, "{}: {call:?}: there is no {option}", page.path);
                }
                read += 1;
            }
        }
    }
    assert!(read > 15, "{read}");
}
