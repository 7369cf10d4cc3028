//! The leaves of a bound name: a request draws one by weight, which leads to a client.

use super::client::Client;
use crate::context::{OverrideLimits, UpstreamNames};
use crate::interpret::Sampler;
use std::rc::Rc;

/// The leaves of a bound name.
#[derive(Debug)]
pub(crate) struct Routes(Sampler<Route>);

/// One leaf of a bound name.
#[derive(Debug)]
pub struct Route {
    /// The bound id as text. Leaves of one client share it.
    pub(crate) id: Rc<str>,
    /// The residual as text, unless it is empty. Leaves with the same residual share it.
    pub(crate) residual: Option<Rc<str>>,
    /// The client, or the status of a response that the router makes itself.
    pub(crate) to: Result<Rc<Client>, u16>,
    /// The limits of the override that leads here, if one of the caller does.
    pub(crate) limits: Option<OverrideLimits>,
}

impl Routes {
    pub(crate) fn new(sampler: Sampler<Route>) -> Self {
        Self(sampler)
    }

    /// Returns the clients of the leaves that have one.
    pub(crate) fn clients(&self) -> impl Iterator<Item = &Rc<Client>> {
        self.0.leaves().iter().filter_map(|route| route.to.as_ref().ok())
    }

    /// Returns about how many bytes the leaves take, without their clients.
    pub(crate) fn bytes(&self) -> usize {
        let text = |route: &Route| {
            // Those of clients are theirs.
            let id = if route.to.is_ok() { 0 } else { route.id.len() };
            id + route.residual.as_ref().map_or(0, |text| text.len())
        };
        self.0.bytes() + self.0.leaves().iter().map(text).sum::<usize>()
    }

    /// Draws a leaf by weight; None when the share of an empty branch was drawn.
    pub(crate) fn draw(&self) -> Option<&Route> {
        let at = self.0.pick(&mut fastrand::f64)?;
        self.0.leaves().get(at)
    }
}

impl Route {
    /// Returns the bound id as text, such as `/#/io.l5d.fs/web`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the names that the request's headers tell the endpoint.
    pub(crate) fn leaving<'a>(&'a self, service: &'a str, overrides: &'a [u8]) -> UpstreamNames<'a> {
        UpstreamNames {
            service: service.as_bytes(),
            client: self.id.as_bytes(),
            residual: self.residual.as_deref().map(str::as_bytes),
            overrides,
            named_by: &[],
        }
    }
}
