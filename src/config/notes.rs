//! Notes: the meaning of a configuration, in words.

use super::Config;
use crate::context::Trust;
use std::fmt;

/// A sentence about one listener.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// The sentence, with its place.
    pub text: String,
    /// Whether it is logged as a warning: the listener does something else than in Linkerd.
    pub is_surprising: bool,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Config {
    /// Returns a sentence for each listener: its address and the callers that it trusts.
    ///
    /// ``linkerd.yaml:7:5: router in, 0.0.0.0:4140: trusts nobody: no `trust` is set and 0.0.0.0 is not loopback``
    ///
    /// A note is surprising when a listener trusts no caller and no key of the file decides that: in Linkerd it would
    /// trust its callers.
    pub fn notes(&self) -> Vec<Note> {
        let routers = self.routers.iter().zip(&self.places.routers);
        let listeners = routers.flat_map(|(router, places)| {
            router.servers.iter().zip(&places.servers).map(move |(server, place)| (router, server, place))
        });
        let note = |(router, server, place): (&super::Router, &super::Server, &_)| {
            let (file, label, address) = (&self.file, &router.label, server.address());
            Note {
                text: format!("{file}:{place}: router {label}, {address}: {}", server.trust_reason),
                is_surprising: server.trust == Trust::Nobody && !server.trust_is_set,
            }
        };
        listeners.map(note).collect()
    }
}
