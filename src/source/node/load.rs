use super::error::shown;
use super::{Document, Error, MAX_BYTES, MAX_INDENT, Node, Place, VARIABLES, is_variable};
use marked_yaml::loader::{DuplicateKeyInner, LoadError, LoaderOptions, parse_yaml_with_options};
use marked_yaml::types::MarkedMappingNode;
use marked_yaml::{Marker, Span};

/// The value that a text may be as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Top {
    /// A mapping.
    Mapping,
    /// A list, or a mapping.
    List,
}

/// Reads a text into a document.
pub(super) fn read(file: &str, text: &str, top: Top) -> Result<Document, Error> {
    if text.len() > MAX_BYTES {
        return Err(Error::of_file(file, format!("longer than {MAX_BYTES} bytes")));
    }
    // The byte order mark is no part of the first key.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).to_owned();
    let lines = line_starts(&text);
    let root = MarkedMappingNode::new_empty(Span::new_blank()).into();
    let mut document = Document { file: file.to_owned(), ascii: text.is_ascii(), text, lines, root };
    check_characters(&document)?;
    check_depth(&document)?;
    match parse(&document.text, top, true) {
        Ok(root) => document.root = root,
        Err(LoadError::DuplicateKey(keys)) => return Err(duplicate(document, &keys, top)),
        Err(error) => return Err(translate(&document, &error, top)),
    }
    check_end(&document)?;
    Ok(document)
}

/// Parses a text. A key that stands twice is an error, or the last one counts.
fn parse(text: &str, top: Top, refuse_duplicates: bool) -> Result<marked_yaml::Node, LoadError> {
    let options = || LoaderOptions::default().error_on_duplicate_keys(refuse_duplicates);
    let parsed = parse_yaml_with_options(0, text, options());
    match (&parsed, top) {
        // The parser reads one of the two, and an empty text as a mapping.
        (Err(LoadError::TopLevelMustBeMapping(_)), Top::List) => {
            parse_yaml_with_options(0, text, options().toplevel_sequence())
        }
        _ => parsed,
    }
}

/// Returns the byte offset of each line's beginning; a line ends with LF, CR LF or CR (YAML 1.2, 5.4).
fn line_starts(text: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let ends = |at: usize| bytes[at] == b'\n' || (bytes[at] == b'\r' && bytes.get(at + 1) != Some(&b'\n'));
    std::iter::once(0).chain((0..bytes.len()).filter(|at| ends(*at)).map(|at| at + 1)).collect()
}

/// Refuses a NUL: the parser would take it for the end of the text and ignore the rest.
fn check_characters(document: &Document) -> Result<(), Error> {
    let Some(at) = document.text.find('\0') else { return Ok(()) };
    Err(document.error(document.place_at(at), "", "a NUL byte: this is not a text"))
}

/// Refuses a line that begins far to the right. The parser recurses once per level, and a level of a block needs an
/// indentation of its own (`- - -` on one line counts as such), so this bounds its stack.
fn check_depth(document: &Document) -> Result<(), Error> {
    let far = |line: &str| {
        let line = line.trim_end();
        let begin = line.find(|c| !matches!(c, ' ' | '\t' | '-' | '?' | ':'));
        begin.unwrap_or(line.len()) > MAX_INDENT
    };
    let found = (1..=document.lines.len()).find(|number| far(document.line(*number)));
    let Some(line) = found else { return Ok(()) };
    let message = format!("nested too deep: this line begins beyond column {MAX_INDENT}");
    Err(document.error(Place { line, column: MAX_INDENT + 1 }, "", message))
}

/// Refuses text behind the end of the document, which the parser ignores.
fn check_end(document: &Document) -> Result<(), Error> {
    let Some(end) = document.root.span().end() else { return Ok(()) };
    let mut place = Place { line: end.line(), column: end.column() };
    // The end of a mapping in braces is its closing brace, and that of a list in brackets its bracket.
    if document.from(place).starts_with(['}', ']']) {
        place.column += 1;
    }
    let lines = (place.line..=document.lines.len()).map(|number| {
        let from = if number == place.line { place } else { Place { line: number, column: 1 } };
        (from, document.from(from).lines().next().unwrap_or_default())
    });
    for (mut place, line) in lines {
        let content = line.split('#').next().unwrap_or_default().trim();
        if !matches!(content, "" | "...") {
            place.column += line.chars().take_while(|c| c.is_whitespace()).count();
            let message = "the configuration has ended before this: a file holds one document";
            return Err(document.error(place, "", message));
        }
    }
    Ok(())
}

/// Returns the error about a key that stands twice, with both places.
fn duplicate(mut document: Document, keys: &DuplicateKeyInner, top: Top) -> Error {
    let [first, second] = [&keys.prev_key, &keys.key].map(|key| Place::of(key.span()));
    let name = keys.key.as_str();
    let message = format!("the key `{}` stands here a second time; the first is at {first}", shown(name));
    // The parser gave up and did not name the mapping; when the last of two keys may win, it reads on and finds it.
    if let Ok(root) = parse(&document.text, top, false) {
        document.root = root;
    }
    let path = path_of(&document.root(), [first, second]).unwrap_or_else(|| name.to_owned());
    document.error(second, &path, message)
}

/// Returns the path of the key that stands at one of two places.
fn path_of(node: &Node<'_>, places: [Place; 2]) -> Option<String> {
    let entries = node.mapping().unwrap_or_default();
    if let Some(entry) = entries.iter().find(|entry| places.contains(&entry.place)) {
        return Some(entry.value.key().to_owned());
    }
    let values = entries.into_iter().map(|entry| entry.value).chain(node.list().unwrap_or_default());
    values.into_iter().find_map(|value| path_of(&value, places))
}

/// Puts the parser's error into words that help.
fn translate(document: &Document, error: &LoadError, top: Top) -> Error {
    let (place, message) = match error {
        LoadError::TopLevelMustBeMapping(mark) | LoadError::TopLevelMustBeSequence(mark) => (
            place(mark),
            match top {
                Top::Mapping => "a configuration begins with keys such as `routers:`; this is something else",
                Top::List => "this is neither a list (`- name: a`) nor a mapping (`key: value`)",
            }
            .into(),
        ),
        LoadError::UnexpectedAnchor(mark) => (
            before(document, mark, '&'),
            "anchors (`&name`) and aliases (`*name`) are not read: write the value where it is used".into(),
        ),
        LoadError::UnexpectedTag(mark) => {
            (before(document, mark, '!'), "tags (`!name`) are not read: write the value without one".into())
        }
        LoadError::MappingKeyMustBeScalar(mark) => (place(mark), "a key must be a text".into()),
        LoadError::DuplicateKey(keys) => (Place::of(keys.key.span()), "this key stands here twice".into()),
        LoadError::ScanError(mark, scan) if scan.info().contains("unknown anchor") => (
            place(mark),
            "aliases (`*name`) are not read: write the value out, in quotes if it begins with `*`".into(),
        ),
        LoadError::ScanError(mark, scan) if scan.info().contains("recursion limit") => {
            (place(mark), "nested too deep".into())
        }
        LoadError::ScanError(mark, scan) if scan.info().contains("tab") => {
            (tab(document, mark), "not YAML: a tab cannot indent a line, only blanks can".into())
        }
        LoadError::ScanError(mark, _) if is_variable(document.line(mark.line())) => {
            (place(mark), VARIABLES.to_owned())
        }
        LoadError::ScanError(mark, scan) => match open_bracket(document, mark) {
            Some((opened, bracket)) if scan.info().contains("flow") || is_end(document, mark) => {
                (opened, format!("not YAML: this `{bracket}` is not closed ({})", scan.info()))
            }
            _ => (place(mark), format!("not YAML: {}{}", scan.info(), hint(scan.info()))),
        },
    };
    document.error(place, "", message).coded("invalid-yaml")
}

/// Returns the place of a mark of the parser.
fn place(mark: &Marker) -> Place {
    Place { line: mark.line(), column: mark.column() }
}

/// Returns whether nothing but white space follows a mark.
fn is_end(document: &Document, mark: &Marker) -> bool {
    document.from(place(mark)).trim().is_empty()
}

/// Returns the innermost bracket or brace that is open at a mark, as far as it can be told without the parser: those in
/// quotes and in comments do not count, nor do those inside of a word.
fn open_bracket(document: &Document, mark: &Marker) -> Option<(Place, char)> {
    let end = document.text.len() - document.from(place(mark)).len();
    let (mut open, mut quote, mut before) = (Vec::new(), None, ' ');
    let mut chars = document.text.get(..end)?.char_indices();
    while let Some((at, now)) = chars.next() {
        let is_first = before.is_whitespace() || matches!(before, '[' | '{' | ',' | ':');
        match (quote, now) {
            (Some(begun), _) if begun == now => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') if is_first => quote = Some(now),
            (None, '#') if before.is_whitespace() => drop(chars.find(|(_, now)| *now == '\n')),
            (None, '[' | '{') if is_first => open.push((at, now)),
            (None, ']' | '}') => drop(open.pop()),
            _ => {}
        }
        before = now;
    }
    open.pop().map(|(at, bracket)| (document.place_at(at), bracket))
}

/// Returns the usual reason for this error of the parser.
fn hint(info: &str) -> &'static str {
    let indented = ["did not find expected key", "mapping values are not allowed", "indentation"];
    if indented.iter().any(|words| info.contains(words)) {
        " (is this line indented as those around it? does a text need quotes?)"
    } else {
        ""
    }
}

/// Returns the place of the tab that the parser refused: it stands before the mark or after it.
fn tab(document: &Document, mark: &Marker) -> Place {
    let rest = document.from(place(mark));
    let here = document.text.len() - rest.len();
    let line = document.place_at(here).line;
    let start = document.lines.get(line - 1).copied().unwrap_or_default();
    let before = document.text.get(start..here).and_then(|before| before.find('\t'));
    let at = before.map(|at| start + at).or_else(|| rest.find('\t').map(|at| here + at));
    at.map_or_else(|| place(mark), |at| document.place_at(at))
}

/// Returns the place of the sign of an anchor or a tag: the parser marks what follows it.
fn before(document: &Document, mark: &Marker, sign: char) -> Place {
    let text = &document.text;
    let here = text.char_indices().nth(mark.character()).map_or(text.len(), |(at, _)| at);
    let at = text.get(..here).and_then(|text| text.rfind(sign));
    at.map_or_else(|| place(mark), |at| document.place_at(at))
}
