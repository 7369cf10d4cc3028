//! The node that the process runs on, as the environment tells it.

use super::addresses::retained;
use crate::interpret::Endpoint;
use crate::namer::Cause;
use std::env;
use std::net::{IpAddr, Ipv4Addr};

/// The variable that holds the address of the pod, as Linkerd 1's manifests set it.
const POD_IP: &str = "POD_IP";

/// The node that the process runs on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum OwnNode {
    /// Its name.
    Named(String),
    /// The node of the pod with this address. The API server knows its name.
    OfPod(IpAddr),
}

impl OwnNode {
    /// Finds the node by a variable that holds its name. Where the usual one is not there, `POD_IP` takes its place. With
    /// `asks`, an API server can be asked for the node of that pod; without one the address must tell its
    /// [network](network_of).
    ///
    /// # Errors
    ///
    /// Neither variable is there, or the name is none.
    pub(super) fn find(name: &str, is_usual: bool, asks: bool) -> Result<Self, Cause> {
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.trim().is_empty());
        Self::from_values(variable(name), is_usual.then(|| variable(POD_IP)).flatten())
            .filter(|node| asks || !matches!(node, Self::OfPod(address) if network_of(*address).is_none()))
            .ok_or_else(|| Cause::NodeName(name.to_owned()))
    }

    /// Finds the node by the values of both variables.
    fn from_values(name: Option<String>, pod: Option<String>) -> Option<Self> {
        match name {
            Some(name) => node_name(&name).map(|name| Self::Named(name.to_owned())),
            None => pod?.trim().parse().ok().map(Self::OfPod),
        }
    }

    /// Returns what is doubtful about it, if anything is. With `asks`, an API server is asked for it.
    pub(super) fn doubt(&self, asks: bool) -> Option<NodeDoubt> {
        let &Self::OfPod(address) = self else { return None };
        let network = network_of(address);
        let counts = network
            .map_or("no endpoint counts".to_owned(), |network| format!("endpoints of {network}/24 count"));
        let set = "set `NODE_NAME` from `spec.nodeName` in the pod's manifest";
        Some(if asks {
            NodeDoubt::Asked(format!(
                "io.l5d.k8s.localnode: `NODE_NAME` is not there, so the API server is asked for the node of the pod at \
                 `{POD_IP}`. While it does not tell, {counts} as those of this node, and the log warns: {set}"
            ))
        } else {
            NodeDoubt::Guessed(format!(
                "io.l5d.k8s.localnode: `NODE_NAME` is not there, so {counts} as those of this node, by `{POD_IP}`. \
                 That is wrong where nodes have networks of another length: {set}"
            ))
        })
    }
}

/// A doubt about the node that the process runs on, for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NodeDoubt {
    /// The API server is asked for it, and may not tell.
    Asked(String),
    /// It is guessed from an address.
    Guessed(String),
}

/// Returns the first 24 bits of the address of a pod: in many clusters those of all pods of its node, and of no others, as
/// Linkerd assumes. `None` for an IPv6 address, where networks of nodes have other lengths.
pub(super) fn network_of(address: IpAddr) -> Option<Ipv4Addr> {
    match address.to_canonical() {
        IpAddr::V4(address) => Some(Ipv4Addr::from_bits(address.to_bits() & !0xff)),
        IpAddr::V6(_) => None,
    }
}

/// Returns the endpoints on the node of a pod: by the name of the node where it is known, else by the pod's network.
pub(super) fn beside_pod(endpoints: &[Endpoint], pod: &[Endpoint]) -> Vec<Endpoint> {
    let Some(pod) = pod.first() else { return Vec::new() };
    let network = network_of(pod.address.ip());
    retained(endpoints, |endpoint| match &pod.node {
        Some(node) => endpoint.node.as_ref() == Some(node),
        None => network.is_some() && network_of(endpoint.address.ip()) == network,
    })
}

/// Reads the value of a variable as the name of a node, without the blanks or the line end around it; `None` when it
/// cannot be one.
pub(super) fn node_name(value: &str) -> Option<&str> {
    let name = value.trim();
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    ((1..=253).contains(&name.len()) && name.bytes().all(inside)).then_some(name)
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
            ("", " 10.244.1.7\n", Some("10.244.1.7")),
            ("", "fd00::7", Some("fd00::7")),
            ("", "none", None),
            ("", "", None),
        ] {
            let node = OwnNode::from_values(text(name), text(pod));
            let node = node.map(|node| match node {
                OwnNode::Named(name) => name,
                OwnNode::OfPod(address) => address.to_string(),
            });
            assert_eq!(node.as_deref(), found, "{name:?} {pod:?}");
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
        let own = |node: Option<&str>| {
            let address = "10.244.1.7:0".parse().expect("an address");
            [Endpoint { node: node.map(Into::into), ..Endpoint::at(address) }]
        };
        for (address, node, by_name, by_network) in [
            ("10.244.1.255:80", Some("node-1"), true, true),
            ("10.244.2.1:80", Some("node-1"), true, false),
            ("[::ffff:10.244.1.1]:80", Some("node-2"), false, true),
            ("10.244.1.1:80", None, false, true),
            ("[fd00::1]:80", None, false, false),
        ] {
            let address: SocketAddr = address.parse().expect("an address");
            let endpoint = Endpoint { node: node.map(Into::into), ..Endpoint::at(address) };
            let all = [endpoint];
            let left = [Some("node-1"), None].map(|node| beside_pod(&all, &own(node)).len() == 1);
            assert_eq!(left, [by_name, by_network], "{address}");
            assert!(beside_pod(&all, &[]).is_empty(), "{address}");
        }
    }

    #[test]
    fn a_node_that_only_the_api_server_knows_is_doubtful() {
        let named = OwnNode::Named("node-1".to_owned());
        let of_pod = |address: &str| OwnNode::OfPod(address.parse().expect("an address"));
        for (node, asks, words) in [
            (&named, false, &[][..]),
            (&of_pod("10.244.1.7"), false, &["so endpoints of 10.244.1.0/24 count", "NODE_NAME"]),
            (&of_pod("10.244.1.7"), true, &["is asked", "endpoints of 10.244.1.0/24 count", "NODE_NAME"]),
            (&of_pod("fd00::7"), true, &["is asked", "no endpoint counts"]),
        ] {
            match node.doubt(asks) {
                None => assert!(words.is_empty(), "{node:?}"),
                Some(NodeDoubt::Asked(text) | NodeDoubt::Guessed(text)) => {
                    assert!(!words.is_empty() && words.iter().all(|word| text.contains(word)), "{text}");
                }
            }
        }
        assert!(matches!(of_pod("10.244.1.7").doubt(true), Some(NodeDoubt::Asked(_))));
        assert!(matches!(of_pod("10.244.1.7").doubt(false), Some(NodeDoubt::Guessed(_))));
    }
}
