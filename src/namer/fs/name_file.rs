//! A name file, with the endpoints behind its leaves.

use super::FileState;
use super::file::FileEndpoints;
use super::scan::Reading;
use crate::interpret::EndpointSet;
use crate::namer::dns::HostSet;
use std::sync::Arc;
use tokio::sync::watch;

/// A file behind a name in use, or with endpoints in use.
pub(super) struct NameFile {
    pub(super) endpoints: watch::Sender<EndpointSet>,
    pub(super) reading: Reading,
    /// The number of the scan that read it last.
    pub(super) scan: u64,
    /// Whether its last endpoints still hold.
    pub(super) good: bool,
    /// Whether there may be endpoints once host names are looked up.
    pub(super) pending: bool,
    /// The reason why its endpoints are not known, or out of date: it cannot be read, or a host name cannot be looked
    /// up.
    pub(super) trouble: Option<Arc<str>>,
    /// The first of its host names that have no address.
    without_address: Vec<Arc<str>>,
}

impl NameFile {
    /// Makes a file that has not been read yet.
    pub(super) fn new() -> Self {
        Self {
            endpoints: watch::Sender::default(),
            reading: Reading::Missing,
            scan: 0,
            good: false,
            pending: false,
            trouble: None,
            without_address: Vec::new(),
        }
    }

    /// Updates the endpoints from the lines and from the addresses of the hosts in them.
    pub(super) fn update_endpoints(&mut self, hosts: &HostSet) {
        let found = match &self.reading {
            Reading::Content(content) => match content.garbage() {
                Some(reason) => FileEndpoints { trouble: Some(reason.into()), ..FileEndpoints::default() },
                None => content.endpoints(|name| hosts.known(name)),
            },
            Reading::Missing => {
                self.good = false;
                FileEndpoints::default()
            }
            // The last good endpoints stay.
            Reading::Unreadable(reason) => {
                FileEndpoints { trouble: Some(reason.as_str().into()), ..FileEndpoints::default() }
            }
        };
        let FileEndpoints { endpoints, pending, trouble, without_address } = found;
        if !endpoints.is_empty() {
            self.good = true;
            self.set_endpoints(endpoints);
        } else if !pending && trouble.is_none() {
            self.good = false;
        }
        (self.pending, self.trouble, self.without_address) = (pending, trouble, without_address);
    }

    /// Replaces the endpoints, if they differ.
    fn set_endpoints(&self, new: EndpointSet) {
        self.endpoints.send_if_modified(|endpoints| {
            let changed = *endpoints != new;
            *endpoints = new;
            changed
        });
    }

    /// Returns the state of the file.
    pub(super) fn state(&self) -> FileState {
        // Endpoints of a file that is gone stay for requests that are on the way.
        let endpoints = if self.good { self.endpoints.borrow().len() } else { 0 };
        let (bad_lines, bad, unreadable) = match &self.reading {
            Reading::Missing => (Vec::new(), 0, None),
            Reading::Content(content) => (content.bad_lines.clone(), content.bad, None),
            Reading::Unreadable(reason) => (Vec::new(), 0, Some(reason.clone())),
        };
        FileState { endpoints, bad_lines, bad, without_address: self.without_address.clone(), unreadable }
    }
}
