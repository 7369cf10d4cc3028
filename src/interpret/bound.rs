//! The leaves of a namer's tree: bound names and the endpoints behind them.

use crate::name::Path;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use tokio::sync::watch;

/// A leaf of a namer's tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leaf {
    /// A concrete name.
    Bound(Bound),
    /// A path that is not bound: it goes through the whole dtab again.
    Path(Path),
}

/// A concrete name, to which requests can be sent.
///
/// Bound names are equal and ordered by id and residual alone, as Linkerd's `Dst.Bound`: the same name has the same
/// endpoints.
#[derive(Clone, Debug)]
pub struct Bound {
    /// An absolute path that, looked up again, gives the same name: `/#/io.l5d.fs/web`.
    pub id: Path,
    /// The rest of the path, which the namer did not use; the empty path when it used all.
    pub residual: Path,
    /// The endpoints, or the status, behind the name.
    pub target: Target,
}

/// The endpoints, or the status, behind a bound name.
#[derive(Clone, Debug)]
pub enum Target {
    /// Live addresses. A name that has lost all of them is Neg; its last addresses stay here for workers that have not
    /// seen this yet.
    Endpoints(watch::Receiver<EndpointSet>),
    /// `/$/io.buoyant.http.status/<code>`: the router itself answers with this status and an empty body.
    Status(u16),
}

/// The endpoints behind a name at one moment. A change replaces the whole set. Empty by default. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EndpointSet(Arc<[Endpoint]>);

/// One address that can take a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// The address to connect to.
    pub address: SocketAddr,
    /// Its share of traffic among the endpoints of its set: 1.0 unless the source says otherwise; finite, not negative.
    pub weight: f64,
    /// The node it runs on, when the source says so.
    pub node: Option<Arc<str>>,
    /// The zone it runs in, when the source says so.
    pub zone: Option<Arc<str>>,
    /// The zones whose callers are to use it, when the source says so; with commas between them.
    pub for_zones: Option<Arc<str>>,
    /// The protocol it speaks, when the source says so.
    pub hint: Option<Hint>,
    /// Whether it is about to go away; it is then used only when no other endpoint is left.
    pub terminating: bool,
    /// A digest of what has the address, such as the identity of a pod, when the source says so: what is known of the
    /// endpoint does not hold for another one that gets its address.
    pub instance: Option<NonZeroU64>,
}

/// The protocol an endpoint speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Hint {
    /// HTTP/1.1.
    H1,
    /// HTTP/2 with prior knowledge.
    H2c,
    /// WebSocket over HTTP/1.1.
    Ws,
}

impl EndpointSet {
    /// Makes a set of the given endpoints, in their order.
    pub fn new(endpoints: Vec<Endpoint>) -> Self {
        Self(endpoints.into())
    }
}

impl std::ops::Deref for EndpointSet {
    type Target = [Endpoint];

    fn deref(&self) -> &[Endpoint] {
        &self.0
    }
}

impl Endpoint {
    /// Makes an endpoint at `address`, with weight 1.0 and nothing else known.
    pub const fn at(address: SocketAddr) -> Self {
        Self {
            address,
            weight: 1.0,
            node: None,
            zone: None,
            for_zones: None,
            hint: None,
            terminating: false,
            instance: None,
        }
    }

    /// Returns whether the source says that callers of this zone are to use it.
    pub fn is_for(&self, zone: &str) -> bool {
        self.for_zones.as_deref().is_some_and(|zones| zones.split(',').any(|one| one == zone))
    }

    /// Returns the endpoints that take requests: all that are not about to go away, or all of them when every one is.
    pub fn preferred(endpoints: &[Self]) -> impl Iterator<Item = &Self> {
        let all_end = endpoints.iter().all(|endpoint| endpoint.terminating);
        endpoints.iter().filter(move |endpoint| all_end || !endpoint.terminating)
    }
}

impl PartialEq for Bound {
    fn eq(&self, other: &Self) -> bool {
        (&self.id, &self.residual) == (&other.id, &other.residual)
    }
}

impl Eq for Bound {}

impl Ord for Bound {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (&self.id, &self.residual).cmp(&(&other.id, &other.residual))
    }
}

impl PartialOrd for Bound {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(id: &str, residual: &str, target: Target) -> Bound {
        let path = |text: &str| Path::from_elems(text.split('/').filter(|elem| !elem.is_empty()));
        Bound { id: path(id), residual: path(residual), target }
    }

    #[test]
    fn bound_names_are_equal_and_ordered_by_id_and_residual_alone() {
        let web = bound("/#/fs/web", "/a", Target::Status(200));
        assert_eq!(
            web,
            bound("/#/fs/web", "/a", Target::Endpoints(watch::channel(EndpointSet::default()).1))
        );
        assert_ne!(web, bound("/#/fs/web", "/b", Target::Status(200)));
        assert_ne!(web, bound("/#/fs/api", "/a", Target::Status(200)));
        assert!(bound("/#/fs/api", "/z", Target::Status(200)) < web);
        assert!(web < bound("/#/fs/web", "/b", Target::Status(200)));
    }
}
