/// Returns the sentence that a word is none of those that are known, with them, and with the one it was probably
/// meant to be: `unknown key; known here: ip, port (did you mean `port`?)`.
pub fn unknown<S: AsRef<str>>(what: &str, word: &str, known: &[S]) -> String {
    let words = known.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    let guess = did_you_mean(word, known).map(|guess| format!(" (did you mean `{guess}`?)"));
    format!("unknown {what}; known here: {words}{}", guess.unwrap_or_default())
}

/// Returns the one of `known` that `name` was probably meant to be.
///
/// Case, `-` and `_` do not count; up to two letters may be wrong, missing, added or swapped, one in a short name.
pub(super) fn did_you_mean<'a, S: AsRef<str>>(name: &str, known: &'a [S]) -> Option<&'a str> {
    /// Longer than any key: what is longer still is no slip of the finger.
    const MOST: usize = 64;
    if name.len() > MOST {
        return None;
    }
    let name = plain(name);
    let allowed = if name.len() < 5 { 1 } else { 2 };
    let distances = known.iter().map(|known| (distance(&name, &plain(known.as_ref())), known.as_ref()));
    let near = distances.filter(|(distance, _)| *distance <= allowed);
    near.min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

fn plain(name: &str) -> Vec<char> {
    name.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect()
}

/// The optimal string alignment distance: insertions, deletions, substitutions and swaps of neighbours.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = changed.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}
