//! Dtabs for people.

use super::super::{Dtab, format};

#[test]
fn comments_stay_with_their_entries() {
    for (text, expected) in [
        ("", ""),
        (" \n\n", ""),
        ("/a=>/b", "/a => /b ;\n"),
        ("/a=>/b;/long/prefix=>0.125*/c&/d", "/a           => /b ;\n/long/prefix => 0.125*/c & /d ;\n"),
        ("# only\n#that", "# only\n#that\n"),
        ("# first\n/a=>/b;", "# first\n/a => /b ;\n"),
        ("/a=>/b # here\n", "/a => /b ; # here\n"),
        ("/a=>/b ; # here  \r\n# next\n/c=>/d", "/a => /b ; # here\n# next\n/c => /d ;\n"),
        // A comment in the middle moves before its entry.
        ("/a # why\n => # what\n /b # here\n;", "# why\n# what\n/a => /b ; # here\n"),
        ("/a=>\n\n# b\n/b", "# b\n/a => /b ;\n"),
        // What touches a label is part of it.
        ("/#/a=>/b#c", "/#/a => /b#c ;\n"),
        // Between an entry and its semicolon.
        ("/a=>/b\n# x\n;# y\n/c=>/d", "/a => /b ;\n# x\n# y\n/c => /d ;\n"),
        ("/a=>/b # x\n;# y\n", "/a => /b ; # x # y\n"),
        // Groups stay apart.
        ("\n\n# a\n\n\n/a=>/b;\n\n \n/c=>/d;\n/e=>/f\n\n", "# a\n\n/a => /b ;\n\n/c => /d ;\n/e => /f ;\n"),
    ] {
        let once = format(text).unwrap();
        assert_eq!(once, expected, "{text:?}");
        assert_eq!(format(&once).unwrap(), once, "{text:?} twice");
        assert_eq!(once.parse::<Dtab>(), text.parse(), "{text:?} means the same");
    }
}

#[test]
fn one_long_prefix_does_not_widen_every_line() {
    let long = "/x".repeat(30);
    let dtab: Dtab = format!("/a=>/b;/abc=>/d;{long}=>~").parse().unwrap();
    assert_eq!(dtab.pretty().to_string(), format!("/a   => /b ;\n/abc => /d ;\n{long} => ~ ;"));
}

#[test]
fn refuses_what_is_no_dtab() {
    assert_eq!(format("/a => /b\n/c => /d").unwrap_err().line, 2);
}
