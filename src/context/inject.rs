//! Rules by which a listener gives overrides to requests that do not carry them: `inject`.

mod condition;

pub use self::condition::{Glob, InjectCondition, Percent, PercentBy, Secret};

use super::{Context, OverrideSource, Peer};
use crate::message::Head;
use crate::name::Dtab;
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

/// A rule of `inject`: the entries that a request gets when the whole condition holds.
#[derive(Clone, Debug, PartialEq)]
pub struct InjectRule {
    /// `when`: the condition; without any part it holds for every request.
    pub when: InjectCondition,
    /// `dtab`: the entries. They are the configuration's, so the limits on overrides do not hold for them.
    pub dtab: Dtab,
    /// The entries in their exact printed form, as they are read for each request.
    printed: String,
}

impl InjectRule {
    /// Makes a rule.
    pub fn new(when: InjectCondition, dtab: Dtab) -> Self {
        let printed = format!("{dtab:#}");
        Self { when, dtab, printed }
    }
}

impl Serialize for InjectRule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rule = serializer.serialize_struct("InjectRule", 2)?;
        rule.serialize_field("when", &self.when)?;
        rule.serialize_field("dtab", &self.dtab)?;
        rule.end()
    }
}

/// Adds the entries of every rule whose condition holds to the overrides of a request, in the order of the rules.
///
/// It is asked after the fields of an untrusted caller that steer were removed.
pub(super) fn inject(rules: &[InjectRule], peer: &Peer, head: &Head, context: &mut Context) {
    for rule in rules.iter().filter(|rule| rule.when.holds(peer, head)) {
        if !rule.printed.is_empty() {
            context.overrides.extend_from_slice(rule.printed.as_bytes());
            context.overrides.push(OverrideSource::Inject.end());
        }
    }
}
