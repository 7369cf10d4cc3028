//! Reads `trust.signed`: the tokens that a listener accepts.

use super::reader::{MAX_INT, Reader};
use crate::context::token::{KeyFiles, MAX_KEY_FILES, SignedOverrides};

/// How far ahead a token may expire by default: one day, in seconds.
const MAX_LIFETIME: u64 = 86_400;

/// Reads `signed` of a mapping `trust`; `router` is the router's label.
pub(super) fn signed(trust: &mut Reader<'_, '_>, router: &str) -> Option<SignedOverrides> {
    let node = trust.get("signed")?;
    let mut reader = Reader::new(&node, &["signed overrides"], trust.report());
    let keys = reader.get("keys");
    let pem = texts(&mut reader, "keys").unwrap_or_default();
    if pem.len() > MAX_KEY_FILES {
        let message =
            format!("there are more than {MAX_KEY_FILES} files of keys: put the keys into one JWKS (`jwks`)");
        reader.error(keys.as_ref(), message);
    }
    let jwks = reader.non_empty("jwks");
    if keys.is_none() && reader.get("jwks").is_none() {
        reader.error(None, "there are no keys: name files of public keys (`keys`), or a JWKS (`jwks`)");
    }
    Some(SignedOverrides {
        files: KeyFiles { pem: pem.into_iter().map(Into::into).collect(), jwks: jwks.map(Into::into) },
        audience: texts(&mut reader, "audience").unwrap_or_else(|| vec![router.to_owned()]),
        max_lifetime: reader.number("maxLifetimeSeconds", 1..=MAX_INT).unwrap_or(MAX_LIFETIME),
        revoked: texts(&mut reader, "revoked").unwrap_or_default(),
    })
}

/// Reads a list of texts. Only `revoked` may be empty.
fn texts(reader: &mut Reader<'_, '_>, key: &str) -> Option<Vec<String>> {
    let list = reader.get(key)?;
    let nodes = reader.report().check(list.list())?;
    if nodes.is_empty() && key != "revoked" {
        reader.error(Some(&list), "this list is empty: no token would be accepted");
    }
    let texts = reader.report().each(&nodes, |node, report| {
        let text = report.check(node.text())?;
        let text = if text.trim().is_empty() { Err(node.unexpected("a text")) } else { Ok(text.to_owned()) };
        report.check(text)
    });
    Some(texts)
}
