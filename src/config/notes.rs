//! What a configuration means, in words.

use super::Config;

impl Config {
    /// Returns a sentence for each listener: where it is and whom it trusts.
    ///
    /// `linkerd.yaml:7:5: router in, 0.0.0.0:4140: trusts nobody: nothing is said and 0.0.0.0 is not loopback`
    pub fn notes(&self) -> Vec<String> {
        let routers = self.routers.iter().zip(&self.places.routers);
        let listeners = routers.flat_map(|(router, places)| {
            router.servers.iter().zip(&places.servers).map(move |(server, place)| (router, server, place))
        });
        let note = |(router, server, place): (&super::Router, &super::Server, &_)| {
            let (file, label, address) = (&self.file, &router.label, server.address());
            format!("{file}:{place}: router {label}, {address}: {}", server.trust_reason)
        };
        listeners.map(note).collect()
    }
}
