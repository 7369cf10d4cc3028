//! What a configuration means, in words.

use super::Config;
use crate::context::Trust;
use std::fmt;

/// What one listener does, in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// The sentence, with its place.
    pub text: String,
    /// Whether it should be seen even by those who want to see only warnings.
    pub is_surprising: bool,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Config {
    /// Returns a sentence for each listener: where it is and whom it trusts.
    ///
    /// `linkerd.yaml:7:5: router in, 0.0.0.0:4140: trusts nobody: nothing is said and 0.0.0.0 is not loopback`
    /// A note is marked when a listener trusts nobody though nobody said so: in Linkerd it would trust its callers.
    pub fn notes(&self) -> Vec<Note> {
        let routers = self.routers.iter().zip(&self.places.routers);
        let listeners = routers.flat_map(|(router, places)| {
            router.servers.iter().zip(&places.servers).map(move |(server, place)| (router, server, place))
        });
        let note = |(router, server, place): (&super::Router, &super::Server, &_)| {
            let (file, label, address) = (&self.file, &router.label, server.address());
            Note {
                text: format!("{file}:{place}: router {label}, {address}: {}", server.trust_reason),
                is_surprising: server.trust == Trust::Nobody && !server.trust_is_said,
            }
        };
        listeners.map(note).collect()
    }
}
