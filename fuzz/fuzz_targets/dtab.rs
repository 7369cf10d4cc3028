//! A text is a value of the notation, or is refused with the place of its fault. A value is printed and read again as
//! the same; a dtab's index finds the same entries as a walk over all of them; simplifying a tree keeps its value.
#![no_main]

use libfuzzer_sys::fuzz_target;
use signpost::name::{Dentry, Dtab, Element, NameTree, Path, Prefix};
use signpost_fuzz::read_back;

/// How many entries of a dtab are looked up: each costs a walk over all of them.
const LOOKUPS: usize = 20;

fuzz_target!(|text: &str| {
    read_back::<Path>(text);
    read_back::<Prefix>(text);
    read_back::<NameTree<Path>>(text);
    read_back::<Dentry>(text);
    let Some(dtab) = read_back::<Dtab>(text) else { return };

    for dentry in dtab.iter().take(LOOKUPS) {
        let path = below(&dentry.prefix);
        let walked = (0..dtab.len()).rev().zip(dtab.iter().rev());
        let walked = walked.filter_map(|(at, entry)| Some((at, entry, entry.prefix.residual(&path)?)));
        assert!(dtab.matches(&path).eq(walked), "the entries that match {path}");
        let tree = dtab.lookup(&path);
        assert_eq!(tree.simplified().eval(), tree.eval(), "{path}");
    }
});

/// Returns a path that a prefix matches, with one more element at its end.
fn below(prefix: &Prefix) -> Path {
    let elems = prefix.elems().map(|elem| match elem {
        Element::Any => b"any".as_slice(),
        Element::Label(label) => label,
    });
    Path::from_elems(elems.chain([b"rest".as_slice()]))
}
