//! Serde for names, in configuration, JSON and snapshots: strings in the exact form.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

use super::{Dentry, Dtab, NameTree, ParseError, Path, Prefix};

/// A visitor that reads a string by `FromStr`; it holds the words for the expected value.
struct TextVisitor<T>(&'static str, PhantomData<T>);

impl<T: FromStr<Err = ParseError>> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// Implements serde for types that are written as text.
macro_rules! as_text {
    ($($type:ty: $what:literal,)*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&format_args!("{self:#}"))
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(TextVisitor($what, PhantomData))
            }
        }
    )*};
}

as_text! {
    Path: "a path such as /svc/users",
    Prefix: "a prefix such as /svc/*",
    NameTree<Path>: "a name tree such as /a | /b",
    Dentry: "an entry such as /svc => /host",
    Dtab: "a dtab such as /svc => /host; /host => /srv",
}
