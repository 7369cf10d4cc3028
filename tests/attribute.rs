//! Attributes of sources that are read as syntax, for the tests that do so.

use syn::{Attribute, Expr, ExprLit, Lit, Meta};

/// Returns the text of `#[name = "text"]`.
pub(crate) fn text(attribute: &Attribute, name: &str) -> Option<String> {
    match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident(name) => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}
