//! The callers that the admin server answers, and the names that it may be called by.

use regex::Regex;
use serde::{Serialize, Serializer};
use std::net::IpAddr;

/// The rules of access, which a reload may change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdminAccess {
    /// The names by which requests may call this server, beside `localhost` and IP addresses. In lower case.
    pub hosts: Vec<String>,
    /// The callers that may stop the process.
    pub shutdown: ShutdownAccess,
    /// The pages that there are.
    pub security: AdminSecurity,
}

/// The pages that there are, as Linkerd's `security` says: for all callers alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AdminSecurity {
    /// `uiEnabled`: whether there are pages for people, and what they are made of.
    #[serde(rename = "uiEnabled")]
    pub has_ui: bool,
    /// `diagnosticsEnabled`: whether there are the others, but for `/admin/shutdown`.
    #[serde(rename = "diagnosticsEnabled")]
    pub has_diagnostics: bool,
    /// `pathWhitelist`: pages that are there in any case.
    #[serde(rename = "pathWhitelist", skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<PathPattern>,
    /// `pathBlacklist`: pages that are in no case.
    #[serde(rename = "pathBlacklist", skip_serializing_if = "Vec::is_empty")]
    pub denied: Vec<PathPattern>,
}

impl Default for AdminSecurity {
    fn default() -> Self {
        Self { has_ui: true, has_diagnostics: true, allowed: Vec::new(), denied: Vec::new() }
    }
}

/// The paths of Linkerd's pages for people, and of ours. Those below `/files` and `/admin/files` are as well.
const UI: [&str; 13] = [
    "/",
    "/admin",
    "/config.json",
    "/metrics.json",
    "/admin/metrics.json",
    "/admin/metrics",
    "/delegator",
    "/delegator.json",
    "/delegator.css",
    "/delegator.js",
    "/routers.json",
    "/logging",
    "/help",
];

impl AdminSecurity {
    /// Returns whether there is a page at this path. One that stops the process has a rule of its own.
    pub(super) fn has(&self, path: &str) -> bool {
        let matches = |patterns: &[PathPattern]| patterns.iter().any(|pattern| pattern.matches(path));
        if matches(&self.denied) {
            return false;
        }
        let is_ui = UI.contains(&path) || path.starts_with("/files/") || path.starts_with("/admin/files/");
        let is_there = match path {
            "/admin/shutdown" => true,
            _ if is_ui => self.has_ui,
            _ => self.has_diagnostics,
        };
        is_there || matches(&self.allowed)
    }
}

/// A regular expression for a whole path.
#[derive(Clone, Debug)]
pub struct PathPattern {
    text: Box<str>,
    pattern: Regex,
}

impl PathPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// It is not a regular expression.
    pub fn new(text: &str) -> Result<Self, regex::Error> {
        // Its own groups and alternatives stay within it.
        Ok(Self { text: text.into(), pattern: Regex::new(&format!("^(?:{text})$"))? })
    }

    fn matches(&self, path: &str) -> bool {
        self.pattern.is_match(path)
    }
}

impl PartialEq for PathPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for PathPattern {}

impl Serialize for PathPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// The callers that may stop the process with `/admin/shutdown`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ShutdownAccess {
    /// Callers on this machine, over loopback. The default.
    #[default]
    Loopback,
    /// All callers.
    Anybody,
    /// No caller.
    Nobody,
}

impl ShutdownAccess {
    /// All of them, as they are written in the configuration.
    pub const ALL: [(&str, Self); 3] =
        [("loopback", Self::Loopback), ("anybody", Self::Anybody), ("nobody", Self::Nobody)];

    /// Returns whether a caller may stop the process.
    pub(super) fn allows(self, peer: IpAddr) -> bool {
        match self {
            Self::Loopback => peer.to_canonical().is_loopback(),
            Self::Anybody => true,
            Self::Nobody => false,
        }
    }
}

/// The pages of one listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageSet {
    /// Every page.
    All,
    /// Metrics, and what probes ask for.
    Metrics,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_there_as_linkerd_says() {
        let patterns = |texts: &[&str]| texts.iter().map(|text| PathPattern::new(text).unwrap()).collect();
        let rules = |has_ui, has_diagnostics, allowed: &[&str], denied: &[&str]| AdminSecurity {
            has_ui,
            has_diagnostics,
            allowed: patterns(allowed),
            denied: patterns(denied),
        };
        // The playground, a metric, a probe, the stop.
        let paths = ["/delegator", "/admin/metrics/prometheus", "/admin/ping", "/admin/shutdown"];
        for (security, there) in [
            (AdminSecurity::default(), [true, true, true, true]),
            (rules(false, true, &[], &[]), [false, true, true, true]),
            (rules(true, false, &[], &[]), [true, false, false, true]),
            (rules(false, false, &["/admin/ping|/nothing"], &[]), [false, false, true, true]),
            // A whole path, not a part of one.
            (rules(false, false, &["/admin", "/deleg"], &[]), [false, false, false, true]),
            (rules(true, true, &["/.*"], &["/admin/.*"]), [true, false, false, false]),
        ] {
            assert_eq!(paths.map(|path| security.has(path)), there, "{security:?}");
        }
        assert!(PathPattern::new("(").is_err());
    }

    #[test]
    fn a_stop_is_for_those_who_may() {
        let peers = ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "10.0.0.1", "2001:db8::1"];
        let allowed = |access: ShutdownAccess| peers.map(|peer| access.allows(peer.parse().unwrap()));
        assert_eq!(allowed(ShutdownAccess::Loopback), [true, true, true, true, false, false]);
        assert_eq!(allowed(ShutdownAccess::Anybody), [true; 6]);
        assert_eq!(allowed(ShutdownAccess::Nobody), [false; 6]);
    }
}
