use strsim::osa_distance;

/// Returns the sentence that a word is unknown, with the one that was probably meant, and the words that are known:
/// ``unknown key: did you mean `port`? Known here: ip, port``.
pub fn unknown<S: AsRef<str>>(what: &str, word: &str, known: &[S]) -> String {
    let words = known.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    match did_you_mean(word, known) {
        Some(meant) => format!("unknown {what}: did you mean `{meant}`? Known here: {words}"),
        None => format!("unknown {what}; known here: {words}"),
    }
}

/// Returns the word of `known` that `name` was probably meant to be.
///
/// Case, `-` and `_` do not count; up to two letters may be wrong, missing, added or swapped, one in a short name.
pub(super) fn did_you_mean<'a, S: AsRef<str>>(name: &str, known: &'a [S]) -> Option<&'a str> {
    /// The length of the longest name that can be a slip of the finger; no key is as long.
    const MOST: usize = 64;
    if name.len() > MOST {
        return None;
    }
    let name = plain(name);
    let allowed = if name.chars().count() < 5 { 1 } else { 2 };
    let distances = known.iter().map(|known| (osa_distance(&name, &plain(known.as_ref())), known.as_ref()));
    let near = distances.filter(|(distance, _)| *distance <= allowed);
    near.min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

/// Returns a name without the differences that do not count.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect()
}
