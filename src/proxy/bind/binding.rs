//! A binding: the routes of one name under the entries of a request.

use super::client_cache::ReleasedClients;
use super::request_dtab::RequestDtab;
use super::texts::empty_branch_text;
use crate::interpret::Answer;
use crate::proxy::error::Error;
use crate::proxy::upstream::{Client, LogicalService, Route, Routes};
use crate::sandbox::SandboxTable;
use crate::telemetry::Gauge;
use std::cell::RefCell;
use std::rc::Rc;
use tokio::time::Instant;

/// The routes of one name under one set of overrides.
#[derive(Debug)]
pub struct Binding {
    /// The routes of requests for the name, or the reason why there are none.
    pub(super) routes: Result<Routes, BindFailure>,
    /// The logical name as text.
    pub(crate) service: Box<str>,
    /// The service of the name; a reload replaces it.
    pub(super) logical: RefCell<Rc<LogicalService>>,
    /// The override entry that was evaluated but did not bind: requests go elsewhere.
    pub(crate) unbound: Option<Box<str>>,
    /// The entry of a sandbox that was evaluated but did not bind, after the key of the sandbox.
    pub(crate) fallback: Option<Rc<str>>,
    /// The override entries of which a share is lost, each after the share in percent.
    pub(crate) lost: Option<Rc<str>>,
    /// Its count among the names that lose a share by the base dtab alone, while it is cached.
    pub(super) _losing: Option<LosingName>,
    /// The entries under which it was bound.
    pub(super) dtab: Rc<RequestDtab>,
    /// The answers on which the routes depend.
    pub(super) answers: Vec<Answer>,
    /// The time of the last sweep before it was evaluated.
    pub(super) evaluated: Instant,
    /// The list of clients that no binding uses any longer.
    pub(super) released: ReleasedClients,
}

/// A name of which the base dtab loses a share, counted until it is dropped.
#[derive(Debug)]
pub(super) struct LosingName(Gauge);

impl LosingName {
    pub(super) fn new(gauge: &Gauge) -> Self {
        gauge.add(1);
        Self(gauge.clone())
    }
}

impl Drop for LosingName {
    fn drop(&mut self) {
        self.0.add(-1);
    }
}

/// The reason why a name has no routes.
#[derive(Clone, Debug)]
pub(super) enum BindFailure {
    /// The name is Neg, Fail or Empty.
    Unroutable(Box<str>),
    /// A namer failed, or a bound of delegation was reached.
    Failed(Box<str>),
    /// An entry of the caller leads to a destination that its listener does not allow.
    Refused(Box<str>),
    /// The overrides add more lookups than are allowed.
    TooManyLookups(Box<str>),
}

/// The bytes of an answer that a binding depends on, besides the pointer to it in the binding: its entry in the tables of
/// the worker and of control, and the namer's own state. Measured with `io.l5d.fs` (dhat): 1,670.
const ANSWER_BYTES: usize = 1_600;

/// The bytes of the service of a name that leads somewhere: its counters and its budget.
const SERVICE_BYTES: usize = 1_200;

impl Binding {
    /// Returns the clients to which the routes lead.
    pub(super) fn clients(&self) -> impl Iterator<Item = &Rc<Client>> {
        self.routes.iter().flat_map(Routes::clients)
    }

    /// Returns whether its routes are still those of the name. A failure may be for want of room, which no answer tells:
    /// it is evaluated again after the next sweep.
    pub(super) fn is_current(&self, last_sweep: Instant) -> bool {
        if matches!(self.routes, Err(BindFailure::Failed(_))) && self.evaluated < last_sweep {
            return false;
        }
        !self.answers.iter().any(Answer::has_changed)
    }

    /// Returns whether all sandboxes under which it was bound are in use as they were then.
    pub(super) fn is_of(&self, table: &SandboxTable) -> bool {
        self.dtab.is_current(table)
    }

    /// Returns about how many bytes it takes, with the answers that it depends on. What several bindings share counts for
    /// each.
    pub(super) fn bytes(&self) -> usize {
        let routes = match &self.routes {
            Ok(routes) => SERVICE_BYTES + routes.bytes(),
            Err(failure) => failure.text().len(),
        };
        let texts = [&self.lost, &self.fallback].into_iter().flatten().map(|text| text.len()).sum::<usize>();
        let unbound = self.unbound.as_ref().map_or(0, |text| text.len());
        let answers = self.answers.len() * (size_of::<Answer>() + ANSWER_BYTES);
        // The name stands in its text, in the keys of answers, and in the bound ids.
        let names = self.service.len() * (1 + self.answers.len());
        size_of::<Self>() + routes + texts + unbound + answers + names + self.dtab.bytes()
    }

    /// Returns whether the name leads somewhere.
    pub(crate) fn is_routable(&self) -> bool {
        self.routes.is_ok()
    }

    /// Returns the service of the name, with its present settings.
    pub(crate) fn logical(&self) -> Rc<LogicalService> {
        Rc::clone(&self.logical.borrow())
    }

    /// Draws one of the routes by weight.
    ///
    /// # Errors
    ///
    /// The name leads nowhere, a namer failed, or the share of an empty branch was drawn.
    pub fn draw(&self) -> Result<&Route, Error> {
        let routes = self.routes.as_ref().map_err(BindFailure::to_error)?;
        routes.draw().ok_or_else(|| Error::Unroutable(empty_branch_text(&self.service)))
    }
}

impl Drop for Binding {
    fn drop(&mut self) {
        self.released.extend(self.routes.iter().flat_map(Routes::clients));
    }
}

impl BindFailure {
    fn text(&self) -> &str {
        match self {
            Self::Unroutable(text)
            | Self::Failed(text)
            | Self::Refused(text)
            | Self::TooManyLookups(text) => text,
        }
    }

    /// Makes the error of one request.
    fn to_error(&self) -> Error {
        match self {
            Self::Unroutable(text) => Error::Unroutable(text.clone().into()),
            Self::Failed(text) => Error::Naming(text.clone().into()),
            Self::Refused(text) => Error::OverrideRefused(text.clone().into()),
            Self::TooManyLookups(text) => Error::OverrideLookups(text.clone().into()),
        }
    }
}
