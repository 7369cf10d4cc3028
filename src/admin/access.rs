//! The callers that the admin server answers, and the names that it may be called by.

use serde::Serialize;
use std::net::IpAddr;

/// The rules of access, which a reload may change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdminAccess {
    /// The names by which requests may call this server, beside `localhost` and IP addresses. In lower case.
    pub hosts: Vec<String>,
    /// The callers that may stop the process.
    pub shutdown: ShutdownAccess,
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
    use super::ShutdownAccess;

    #[test]
    fn a_stop_is_for_those_who_may() {
        let peers = ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "10.0.0.1", "2001:db8::1"];
        let allowed = |access: ShutdownAccess| peers.map(|peer| access.allows(peer.parse().unwrap()));
        assert_eq!(allowed(ShutdownAccess::Loopback), [true, true, true, true, false, false]);
        assert_eq!(allowed(ShutdownAccess::Anybody), [true; 6]);
        assert_eq!(allowed(ShutdownAccess::Nobody), [false; 6]);
    }
}
