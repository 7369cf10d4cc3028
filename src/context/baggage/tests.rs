use super::*;

/// Returns the keys and decoded values of a line; the value of a malformed member is `None`.
fn read(line: &str) -> Vec<(String, Option<String>)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let value = |member| value(member).map(|value| text(&decode_value(value)));
    members(line.as_bytes()).map(|member| (text(key(member)), value(member))).collect()
}

/// The cases of `test/test_baggage.py` in the repository of W3C's Baggage. Its properties are read over here.
#[test]
fn the_cases_of_w3c() {
    let encoded = "%09%20%22%27%3B%3Dasdf%21%40%23%24%25%5E%26%2A%28%29";
    let decoded = "\t \"';=asdf!@#$%^&*()";
    let (encoded_member, blanks) = (format!("SomeKey={encoded}"), format!("SomeKey \t = \t {encoded} \t "));
    let one = [("SomeKey", "SomeValue")];
    let two = [("SomeKey", "SomeValue"), ("SomeKey2", "SomeValue2")];
    let table: [(&str, &[(&str, &str)]); 15] = [
        ("", &[]),
        ("SomeKey=SomeValue", &one),
        ("SomeKey=SomeValue;SomeProp,SomeKey2=SomeValue2;ValueProp=PropVal", &two),
        (
            "SomeKey \t = \t SomeValue \t ; \t SomeProp \t , \t SomeKey2 \t = \t SomeValue2 \t ; \t ValueProp \t = \t PropVal",
            &two,
        ),
        ("SomeKey=SomeValue;SomePropKey=SomePropValue,SomeKey2=SomeValue2;SomePropKey2=SomePropValue2", &two),
        (
            "SomeKey \t = \t SomeValue \t ; \t SomePropKey=SomePropValue \t , \t SomeKey2 \t = \t SomeValue2 \t ; \t SomePropKey2 \t = \t SomePropValue2",
            &two,
        ),
        ("SomeKey=SomeValue=equals", &[("SomeKey", "SomeValue=equals")]),
        (&encoded_member, &[("SomeKey", decoded)]),
        ("SomeKey=SomeValue;SomeProp", &one),
        ("SomeKey=SomeValue;SomeProp;SecondProp=PropValue", &one),
        ("SomeKey=SomeValue;SomePropKey=SomePropValue", &one),
        ("SomeKey \t = \t SomeValue \t ", &one),
        (&blanks, &[("SomeKey", decoded)]),
        ("SomeKey \t = \t SomeValue \t ; \t SomeProp \t ; \t SecondProp \t = \t PropValue", &one),
        ("SomeKey \t = \t SomeValue \t ; \t SomePropKey \t = \t SomePropValue", &one),
    ];
    for (line, expected) in table {
        let expected: Vec<_> =
            expected.iter().map(|(key, value)| ((*key).to_owned(), Some((*value).to_owned()))).collect();
        assert_eq!(read(line), expected, "{line:?}");
    }
    assert_eq!(encode_baggage_value(decoded.as_bytes()), encoded);
}

#[test]
fn what_is_malformed_has_no_value() {
    for member in
        ["a", "=", "=b", "a b=c", "a=b c", "a=\"b\"", "a=b\\c", "a=b;", "a=b;;c", "a=b;c=\"d\"", "a=ä"]
    {
        assert_eq!(value(member.as_bytes()), None, "{member}");
    }
    let odd = ["a=", " a = ", "a==", "a=%", "a=%zz;b=;c", "!#$%&'*+-.^_`|~=!", "a=b;c=d=e"];
    for member in odd {
        assert!(value(member.as_bytes()).is_some(), "{member}");
    }
    assert_eq!(members(b", ,\t,a=b,, c=d ,").collect::<Vec<_>>(), [b"a=b".as_slice(), b" c=d "]);
    for (member, expected) in [("a", "a"), (" a ;b=c", "a"), ("=a", ""), ("a =b;c", "a"), ("a b=c", "a b")] {
        assert_eq!(key(member.as_bytes()), expected.as_bytes(), "{member}");
    }
}

#[test]
fn values_are_decoded_once() {
    for (encoded, decoded) in [
        ("", ""),
        ("%2Fa%3d%3E/b", "/a=>/b"),
        ("a+b", "a+b"),
        ("%", "%"),
        ("%2", "%2"),
        ("%2g%%41", "%2g%A"),
        ("%2541", "%41"),
    ] {
        assert_eq!(decode_value(encoded.as_bytes()), decoded.as_bytes(), "{encoded}");
    }
    let all: Vec<u8> = (0..=255).collect();
    let encoded = encode_baggage_value(&all);
    assert_eq!(decode_value(encoded.as_bytes()), all);
    assert_eq!(value(format!("a={encoded}").as_bytes()), Some(encoded.as_bytes()));
}

#[test]
fn the_room_is_for_whole_members() {
    let mut room = ListRoom::default();
    assert!((0..64).all(|_| room.take(b"a=b")) && !room.take(b"a=b"));
    let mut room = ListRoom::default();
    assert!(!room.take(&[b'a'; 8193]) && room.take(&[b'a'; 8190]), "one that is too long takes nothing");
    assert!(!room.take(b"ab") && room.take(b"a") && !room.take(b""), "a comma takes a byte");
}

#[test]
fn octets_are_those_of_the_standard() {
    for byte in 0..=u8::MAX {
        let allowed = byte.is_ascii_graphic() && !b"\",;\\".contains(&byte);
        assert_eq!(is_octet(byte), allowed, "{:?}", char::from(byte));
    }
}
