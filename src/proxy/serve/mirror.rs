//! The mirror of a service: copies of requests to a second name. Nothing of them comes back to the caller.

use super::Service;
use super::dispatch::Dispatch;
use crate::context::{Context, Peer};
use crate::message::{Framing, Head};
use crate::name::PathBuf;
use crate::proxy::error::Error;
use crate::proxy::exchange::{AttemptTime, Caller, Outcome, Record, Request};
use crate::proxy::limits::PeerRequests;
use crate::proxy::metrics::Counters;
use crate::proxy::upstream::LogicalService;
use crate::proxy::wire::body::Body;
use crate::proxy::wire::replay::{ReplayBuffer, read_ahead};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::timeout;

/// The mark of a copy: its service can tell it from the caller's own request.
const MARK: &[u8] = b"l5d-mirror";

/// How long a copy may take, with its response.
const TIME: Duration = Duration::from_secs(10);

/// How many bytes of the response to a copy are read, so that its connection can be used again.
const RESPONSE: usize = 1 << 20;

/// How many copies of a service's requests are under way at once on a worker. More are left out.
const MOST_UNDER_WAY: usize = 100;

/// A request that is to be copied.
pub(super) struct Mirror {
    service: Service,
    logical: Rc<LogicalService>,
    peer: Peer,
    requests: Rc<PeerRequests>,
    head: Head,
    framing: Framing,
    context: Context,
    grpc: bool,
    /// The part of its body that is kept; `None` without a body.
    body: Option<ReplayBuffer>,
}

impl Mirror {
    /// Begins to copy a request, if its service has a mirror and its share is drawn. Its body is kept from now on.
    ///
    /// The copy has what the request had when it came in, without what steers.
    pub(super) fn begin(
        (service, logical): (&Service, &Rc<LogicalService>),
        peer: &Peer,
        request: &mut Request,
        context: &Context,
    ) -> Option<Self> {
        let mirror = logical.settings.mirror.as_ref()?;
        // A copy is not copied again by the next router, and a tunnel cannot be copied.
        if request.is_tunnel_alone()
            || request.head.find(MARK).is_some()
            || fastrand::f64() * 100.0 >= mirror.percent
        {
            return None;
        }
        let mut head = Head::clone(&request.head);
        service.policy.strip_outward(&mut head, false);
        let body = std::mem::replace(&mut request.body, Body::Empty);
        let kept = (!body.is_done()).then(|| ReplayBuffer::new(body, logical.settings.request_buffer));
        if let Some(body) = kept.as_ref().and_then(ReplayBuffer::reader) {
            request.body = body;
        }
        Some(Self {
            service: service.clone(),
            logical: Rc::clone(logical),
            peer: peer.clone(),
            requests: Rc::clone(&request.peer),
            head,
            framing: request.framing,
            context: context.traced_alike(),
            grpc: request.grpc,
            body: kept,
        })
    }

    /// Sends the copy in a task of its own, now that the request was answered; unless its body has not come to its end or is
    /// larger than the buffer, or too many copies are under way.
    pub(super) fn send(mut self) {
        let under_way = Rc::clone(&self.logical.mirrored);
        let body = match &self.body {
            None => Some(Vec::new()),
            Some(kept) => kept.content(),
        };
        let body = body.filter(|_| Rc::strong_count(&under_way) <= MOST_UNDER_WAY);
        if let Some(counters) = &self.logical.counters {
            counters.mirrored(body.is_some());
        }
        let Some(body) = body else { return };
        if self.body.is_some() {
            self.framing = Framing::Length(body.len() as u64);
            self.head.set_content_length(body.len() as u64);
        }
        tokio::task::spawn_local(async move {
            let _under_way = under_way;
            match timeout(TIME, self.carry(body)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a mirrored request was not carried"),
                Err(_) => tracing::debug!("a mirrored request took too long"),
            }
        });
    }

    /// Carries the copy to the second name, and reads its response.
    async fn carry(mut self, body: Vec<u8>) -> Result<(), Error> {
        let Some(mirror) = &self.logical.settings.mirror else { return Ok(()) };
        let mut name = PathBuf::default();
        name.extend(&mirror.name);
        let bindings = Rc::clone(&self.service.bindings);
        let binding = bindings.bind(&name, &bindings.no_entries()).await?;
        let mut head = self.service.pools.heads.take();
        *head = std::mem::take(&mut self.head);
        let mut request = Request {
            head,
            framing: self.framing,
            body: if body.is_empty() { Body::Empty } else { Body::Text(body) },
            is_body_begun: false,
            caller: Caller::None,
            peer: Rc::clone(&self.requests),
            silent_after: TIME,
            takes_interim: false,
            takes_trailers: self.grpc,
            grpc: self.grpc,
            grant: None,
            upgrade: None,
            time_limit: None,
            attempt_time: AttemptTime::default(),
            timer: Rc::default(),
            // It is no request of a listener.
            record: Record::new(&Rc::<Counters>::default(), None),
        };
        let dispatch = Dispatch::new((&self.service, &binding), binding.logical(), b"", false);
        let route = dispatch.leave(&self.peer, &mut request, &mut self.context, None)?;
        request.upgrade = None;
        request.head.append(MARK, b"1");
        let mut response = match dispatch.send(&mut request, route).await {
            Ok(response) => response,
            Err(error) => {
                request.record.fail(&error);
                return Err(error);
            }
        };
        let status = response.head.status();
        request.record.answered(status);
        request.record.note_response(&response.head);
        let body = std::mem::replace(&mut response.body, Body::Empty);
        let read =
            if body.is_done() { Ok(Some(())) } else { read_ahead(body, RESPONSE, TIME, |_| ()).await.1 };
        match read {
            Ok(Some(())) => response.end(Outcome::Answered(status)),
            _ => response.discard_body(),
        }
        request.record.complete();
        Ok(())
    }
}
