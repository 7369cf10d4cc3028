//! Rules by which a listener gives overrides to requests that do not carry them: `inject`.

mod condition;

pub use self::condition::{Glob, InjectCondition, Percent, PercentBy, Secret};

use super::{Context, OverrideSource, encode_baggage_value};
use crate::name::Dtab;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

/// A rule of `inject`: what a request gets when the whole condition holds.
#[derive(Clone, Debug, PartialEq)]
pub struct InjectRule {
    /// `when`: the condition; without any part it holds for every request.
    pub when: InjectCondition,
    /// `dtab`: entries. They are the configuration's, so the limits on overrides do not hold for them.
    pub dtab: Dtab,
    /// `sandbox`: a tenant key, or several joined by `+`, for requests that have none.
    pub sandbox: Option<String>,
    /// The entries in their exact printed form, as they are read for each request.
    printed: String,
    /// The tenant key as a value of baggage.
    tenant: Option<String>,
}

impl InjectRule {
    /// Makes a rule.
    pub fn new(when: InjectCondition, dtab: Dtab, sandbox: Option<String>) -> Self {
        let printed = format!("{dtab:#}");
        let tenant = sandbox.as_ref().map(|sandbox| encode_baggage_value(sandbox.as_bytes()));
        Self { when, dtab, sandbox, printed, tenant }
    }

    /// Adds the entries to the overrides of a request.
    pub(super) fn grant_dtab(&self, context: &mut Context) {
        if !self.printed.is_empty() {
            context.overrides.extend_from_slice(self.printed.as_bytes());
            context.overrides.push(OverrideSource::Inject.end());
        }
    }

    /// Returns the tenant key, percent-encoded for `baggage`.
    pub(super) fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }
}

impl Serialize for InjectRule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rule = serializer.serialize_map(None)?;
        rule.serialize_entry("when", &self.when)?;
        if !self.dtab.is_empty() {
            rule.serialize_entry("dtab", &self.dtab)?;
        }
        if let Some(sandbox) = &self.sandbox {
            rule.serialize_entry("sandbox", sandbox)?;
        }
        rule.end()
    }
}
