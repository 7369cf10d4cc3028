//! The node that the process runs on, as the environment tells it.

use crate::interpret::Endpoint;
use crate::namer::Cause;
use std::env;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// The variable that holds the address of the pod, as Linkerd 1's manifests set it.
const POD_IP: &str = "POD_IP";

/// The node that the process runs on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum OwnNode {
    /// Its name.
    Named(String),
    /// The first 24 bits of the address of a pod on it: in many clusters those of all pods of the node, and of no others.
    Network(Ipv4Addr),
}

impl OwnNode {
    /// Finds the node by a variable that holds its name. Where the usual one is not there, `POD_IP` takes its place: the
    /// first 24 bits of an IPv4 address are the node's, as in Linkerd.
    ///
    /// # Errors
    ///
    /// Neither variable is there, or the name is none.
    pub(super) fn find(name: &str, is_usual: bool) -> Result<Self, Cause> {
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.trim().is_empty());
        Self::from_values(variable(name), is_usual.then(|| variable(POD_IP)).flatten())
            .ok_or_else(|| Cause::NodeName(name.to_owned()))
    }

    /// Finds the node by the values of both variables.
    fn from_values(name: Option<String>, pod: Option<String>) -> Option<Self> {
        let network = || match pod?.trim().parse().ok()? {
            IpAddr::V4(address) => Some(Self::Network(Ipv4Addr::from_bits(address.to_bits() & !0xff))),
            // Networks of nodes have other lengths there.
            IpAddr::V6(_) => None,
        };
        match name {
            Some(name) => node_name(&name).map(|name| Self::Named(name.to_owned())),
            None => network(),
        }
    }

    /// Returns whether an endpoint is on this node.
    pub(super) fn has(&self, endpoint: &Endpoint) -> bool {
        match (self, endpoint.address.ip().to_canonical()) {
            (Self::Named(name), _) => endpoint.node.as_deref() == Some(name),
            (Self::Network(network), IpAddr::V4(address)) => address.to_bits() & !0xff == network.to_bits(),
            (Self::Network(_), IpAddr::V6(_)) => false,
        }
    }

    /// Returns what is doubtful about it, if anything is.
    pub(super) fn doubt(&self) -> Option<String> {
        let Self::Network(_) = self else { return None };
        Some(format!(
            "io.l5d.k8s.localnode: `NODE_NAME` is not there, so endpoints of {self} count as those of this node, by `{POD_IP}`. \
             That is wrong where nodes have networks of another length: set `NODE_NAME` from `spec.nodeName` in the pod's manifest"
        ))
    }
}

/// Reads the value of a variable as the name of a node, without the blanks or the line end around it; `None` when it
/// cannot be one.
fn node_name(value: &str) -> Option<&str> {
    let name = value.trim();
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    ((1..=253).contains(&name.len()) && name.bytes().all(inside)).then_some(name)
}

impl fmt::Display for OwnNode {
    /// Writes the name, or the network.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Network(network) => write!(f, "{network}/24"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    #[test]
    fn the_name_counts_and_then_the_address_of_the_pod() {
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        for (name, pod, found) in [
            ("node-1", "10.244.1.7", Some("node-1")),
            ("node-1\n", "", Some("node-1")),
            ("", "10.244.1.7", Some("10.244.1.0/24")),
            ("", "fd00::7", None),
            ("", "none", None),
            ("", "", None),
        ] {
            let node = OwnNode::from_values(text(name), text(pod));
            assert_eq!(node.map(|node| node.to_string()).as_deref(), found, "{name:?} {pod:?}");
        }
    }

    #[test]
    fn the_name_of_a_node_is_read_without_what_is_around_it() {
        for (value, expected) in [
            ("node-1.example.org", Some("node-1.example.org")),
            ("node-1\n", Some("node-1")),
            ("\t node-1\r\n", Some("node-1")),
            ("", None),
            (" \n", None),
            ("node 1", None),
            ("node-1\nnode-2", None),
            ("$(NODE_NAME)", None),
        ] {
            assert_eq!(node_name(value), expected, "{value:?}");
        }
    }

    #[test]
    fn endpoints_are_told_apart_by_name_or_by_network() {
        let named = OwnNode::Named("node-1".to_owned());
        let network = OwnNode::Network(Ipv4Addr::new(10, 244, 1, 0));
        for (address, node, by_name, by_network) in [
            ("10.244.1.255:80", Some("node-1"), true, true),
            ("10.244.2.1:80", Some("node-1"), true, false),
            ("[::ffff:10.244.1.1]:80", Some("node-2"), false, true),
            ("10.244.1.1:80", None, false, true),
            ("[fd00::1]:80", None, false, false),
        ] {
            let address: SocketAddr = address.parse().expect("an address");
            let endpoint = Endpoint { node: node.map(Into::into), ..Endpoint::at(address) };
            assert_eq!((named.has(&endpoint), network.has(&endpoint)), (by_name, by_network), "{address}");
        }
        assert!(named.doubt().is_none());
        assert!(
            network
                .doubt()
                .is_some_and(|doubt| doubt.contains("10.244.1.0/24") && doubt.contains("NODE_NAME"))
        );
    }
}
