//! The policy of a listener.

use super::baggage::{DTAB, key, members, value};
use super::forwarding::write_anew;
use super::grant::Grant;
use super::hosts::{host_without_port, is_address_or_localhost};
use super::inject::InjectRule;
use super::sandbox_keys::collect_keys;
use super::steering::SteeringNames;
use super::token::{TokenKeys, TokenRefusal, TokenVerifier, take_claims};
use super::untrusted::{drop_steering, names_tenant};
use super::via::via_entry;
use super::{
    Context, Deadline, Forwarded, ForwardedFrom, HostPattern, OverrideLimits, OverrideSource, Peer, Tenancy,
    TenantHeaders, Timestamp, Trace, Trust, count_own_via, count_via,
};
use crate::message::{Head, HopByHopFields, KnownField};
use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The fields of a request that the router itself writes: those received are never passed on.
const WRITTEN_HERE: [KnownField; 4] =
    [KnownField::L5dDstService, KnownField::L5dDstClient, KnownField::L5dDstResidual, KnownField::L5dReqid];

/// The settings of one listener for the context of its requests.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// The callers that it trusts.
    pub trust: Trust,
    /// The hosts whose overrides hold on a listener that trusts by being on loopback, beside addresses and `localhost`.
    pub hosts: Vec<HostPattern>,
    /// The keys of the tokens that it accepts; without them it accepts none.
    pub token_keys: Option<TokenKeys>,
    /// The names by which requests carry a tenant. The first of its keys is the one that a router writes.
    pub tenancy: Tenancy,
    /// The router's label, for `Forwarded`.
    pub router: String,
    /// How many proxies a request may have passed.
    pub max_call_depth: u32,
    /// The limits on overrides, of trusted callers too.
    pub overrides: OverrideLimits,
    /// The rules by which requests get overrides that they do not carry, in their order.
    pub inject: Arc<[InjectRule]>,
    /// The peers whose fields about the hops before them are kept, whether they are trusted or not.
    pub forwarded_from: ForwardedFrom,
    /// The element of `Forwarded` that is added, if any.
    pub forwarded: Option<Forwarded>,
    /// The name of a field that gets the time in milliseconds since 1970 when the request has no such field.
    pub timestamp_header: Option<String>,
}

impl Default for Config {
    /// Returns settings that trust no caller and end a loop after 100 calls, where Linkerd allows 1,000.
    fn default() -> Self {
        Self {
            trust: Trust::Nobody,
            hosts: Vec::new(),
            token_keys: None,
            tenancy: Tenancy::default(),
            router: "http".into(),
            max_call_depth: 100,
            overrides: OverrideLimits::default(),
            inject: Arc::new([]),
            forwarded_from: ForwardedFrom::Trusted,
            forwarded: None,
            timestamp_header: None,
        }
    }
}

/// The policy of one listener: it decides which callers are trusted, and reads and writes the context of requests.
#[derive(Clone, Debug)]
pub struct Policy {
    config: Config,
    /// The verifier of tokens, when the listener accepts any.
    verifier: Option<Rc<TokenVerifier>>,
    names: SteeringNames,
}

/// The names that are sent to the upstream, as printed paths.
#[derive(Clone, Copy, Debug)]
pub struct UpstreamNames<'a> {
    /// The logical name.
    pub service: &'a [u8],
    /// The bound id.
    pub client: &'a [u8],
    /// The rest of the name after the bound id; nothing is sent when it is absent or empty.
    pub residual: Option<&'a [u8]>,
    /// [`Overrides::printed`](super::Overrides::printed); nothing is sent when it is empty.
    pub overrides: &'a [u8],
    /// The names of the header fields by which the request may have been named: the next router reads them as well, so
    /// `Connection` cannot remove them.
    pub named_by: &'a [Box<str>],
}

/// The findings of [`Policy::answer`] about a response, for the proxy to act on.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub struct ResponseFindings {
    /// The facts in the hop-by-hop fields of the response, which were removed.
    pub hop_by_hop: HopByHopFields,
    /// Whether the body was made by a router and is for an untrusted caller: it may name internals, so it must be
    /// replaced by an empty one.
    pub blank_body: bool,
}

/// The reason why a request is not carried any further; the text is the body of the response.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// The override values are too long: 400.
    #[error(
        "The headers l5d-ctx-dtab and l5d-dtab, the dtab of a token and the member dtab of baggage have more than \
         {limit} bytes. Send fewer or shorter entries."
    )]
    OverrideTooLarge {
        /// How many bytes are allowed.
        limit: usize,
    },
    /// A member of `baggage` that holds a dtab or names a tenant is malformed: 400.
    #[error(
        "The member {key} of the header baggage is malformed. Percent-encode its value: %20 stands for a blank, \
         %3B for a semicolon, %2C for a comma, %25 for a percent sign."
    )]
    MalformedMember {
        /// Its key.
        key: String,
    },
    /// The request selects too many sandboxes: 400.
    #[error("The request selects more than {limit} sandboxes. Name a group of them instead.")]
    TooManySandboxes {
        /// How many are allowed.
        limit: usize,
    },
    /// The request has passed too many proxies: 400.
    #[error(
        "Maximum number of calls ({limit}) has been exceeded. Please check for proxy loops: Via names {passed} proxies, \
         {own} of them signpost. A request passes the same router again and again when its name leads to a listener of \
         that router."
    )]
    CallDepth {
        /// How many are allowed.
        limit: u32,
        /// How many `Via` names.
        passed: u32,
        /// How many of them are routers of this program.
        own: u32,
    },
    /// The caller has already stopped waiting: 504.
    #[error("The deadline in l5d-ctx-deadline has passed.")]
    DeadlinePassed,
    /// The token is refused: 403, or 503 when it was not looked at.
    #[error(transparent)]
    Token(#[from] TokenRefusal),
}

impl Policy {
    /// Makes the policy of one listener. It remembers the tokens that it has verified, and its clones share them.
    pub fn new(config: Config) -> Self {
        let signed = config.trust.signed().zip(config.token_keys.as_ref());
        let verifier = signed.map(|(trust, keys)| Rc::new(TokenVerifier::new(trust, keys)));
        Self { names: SteeringNames::new(&config.tenancy), config, verifier }
    }

    /// Returns the settings, to make another policy of them.
    #[cfg(test)]
    pub(super) fn into_config(self) -> Config {
        self.config
    }

    /// Returns the label of the router.
    pub fn router(&self) -> &str {
        &self.config.router
    }

    /// Returns the limits for [`decode_overrides`](super::decode_overrides).
    pub fn override_limits(&self) -> &OverrideLimits {
        &self.config.overrides
    }

    /// Returns the headers that carry a tenant, for the trailers of untrusted requests.
    pub fn tenant_headers(&self) -> &TenantHeaders {
        self.names.headers()
    }

    /// Returns the grant of a caller whose request has not entered, by its connection alone: for answers to bytes that
    /// are not a request, or to one that is refused before.
    ///
    /// The address of the connection decides, not a field such as `Forwarded`.
    pub fn grant(&self, peer: &Peer) -> Grant {
        Grant::new(self.config.trust.includes(peer))
    }

    /// Checks a request that came in and moves its context into `context`, which is cleared first.
    ///
    /// The steering fields of an untrusted caller are removed unread, so they cannot even be malformed. From `baggage`
    /// the members that steer are removed, and the malformed ones, which another reader may take for such a member; the
    /// others stay as they came. With a `tracestate` in which a member steers, its whole trace is left behind. From the
    /// target the query parameter that names a tenant is removed.
    ///
    /// The word of a peer about the hops before it is replaced by its address, unless it may say so. That is asked of its
    /// address, and neither a token nor a grant changes anything in it.
    ///
    /// A token is taken out of every request. Its claims are added to a request whose caller may use one, trusted or
    /// not, and change nothing beside.
    ///
    /// The grant holds for the answer too, also when the request must not be carried any further, which is the second
    /// value.
    pub fn enter(&self, peer: &Peer, head: &mut Head, context: &mut Context) -> (Grant, Result<(), Refusal>) {
        let grant = self.grant(peer);
        (grant, self.read(grant, peer, head, context))
    }

    /// Moves the context of a request into `context`, as far as its caller's grant allows.
    fn read(&self, grant: Grant, peer: &Peer, head: &mut Head, context: &mut Context) -> Result<(), Refusal> {
        context.clear();
        // Before `inject`, whose conditions may read the fields.
        if !self.config.forwarded_from.includes(peer, &self.config.trust) {
            write_anew(head, peer, context);
        }
        let claims = take_claims(self.verifier.as_deref(), &self.names, peer, grant, head)?;
        if grant.is_trusted() {
            self.take_overrides(head, context)?;
            context.from_caller = context.overrides.len();
            // Asked for by the rule for browsers alone; before `inject`, which may write a tenant.
            context.names_tenant = self.config.trust.is_by_loopback() && names_tenant(head, &self.names);
            take_deadline(head, context);
            take_trace(head, context);
            for known in WRITTEN_HERE {
                head.remove(known);
            }
        } else {
            drop_steering(head, &self.names, context);
            context.trace = Trace::begin();
        }
        if let Some(claims) = claims {
            claims.grant_dtab(context, self.config.overrides.rules().max_bytes)?;
            if let Some(tenant) = claims.tenant() {
                self.set_tenant(head, tenant, context);
            }
        }
        self.inject(peer, head, context);
        collect_keys(head, &self.names, context)?;
        context.call_depth = count_via(head.get_all(KnownField::Via));
        let (passed, limit) = (context.call_depth, self.config.max_call_depth);
        if passed > limit {
            let own = count_own_via(head.get_all(KnownField::Via));
            return Err(Refusal::CallDepth { limit, passed, own });
        }
        // The clock is read only for the few requests that have a deadline.
        match context.deadline {
            Some(deadline) if deadline.remaining(Timestamp::now()).is_none() => Err(Refusal::DeadlinePassed),
            _ => Ok(()),
        }
    }

    /// Gives a request what every rule of `inject` says whose condition holds, in the order of the rules.
    ///
    /// It is asked after what steers was removed from the request of an untrusted caller. A tenant is written unless the
    /// request has one: from a trusted caller, a token, or an earlier rule.
    fn inject(&self, peer: &Peer, head: &mut Head, context: &mut Context) {
        for (position, rule) in self.config.inject.iter().enumerate() {
            if rule.when.holds(peer, head) {
                rule.grant_dtab(context);
                if context.tenant_rule.is_none() && rule.tenant().is_some() {
                    context.tenant_rule = Some(position);
                }
            }
        }
        self.inject_tenant(head, context);
    }

    /// Writes the tenant that a rule of `inject` gives, unless the request has one.
    fn inject_tenant(&self, head: &mut Head, context: &mut Context) {
        let rule = context.tenant_rule.and_then(|position| self.config.inject.get(position));
        if let Some(tenant) = rule.and_then(InjectRule::tenant)
            && !self.names.has_tenant(head)
        {
            self.set_tenant(head, tenant, context);
        }
    }

    /// Writes a tenant into `baggage`; `value` is percent-encoded.
    fn set_tenant(&self, head: &mut Head, value: &str, context: &mut Context) {
        self.names.set_tenant(head, value, &mut context.scratch);
        context.has_tenant_member = true;
    }

    /// Returns the host of a request, without its port, if it does not show that its overrides may hold: a browser may
    /// have sent it for a page whose name was bound to loopback by its owner.
    ///
    /// It is `None` on a listener that trusts in another way than by being on loopback, and for a host that is an
    /// address, `localhost`, below that, or among [`Config::hosts`]. It is `None` without a host as well, as in HTTP/1.0:
    /// every browser sends one.
    pub fn doubtful_host<'a>(&self, head: &'a Head) -> Option<&'a [u8]> {
        if !self.config.trust.is_by_loopback() {
            return None;
        }
        let host = host_without_port(head.get(KnownField::Host)?);
        let is_known = host.is_empty()
            || is_address_or_localhost(host)
            || self.config.hosts.iter().any(|pattern| pattern.includes(host));
        (!is_known).then_some(host)
    }

    /// Drops what a trusted caller steers by: its overrides, and its tenant. The rest of the way, the request is that of
    /// an untrusted one. What `inject` gives it stays.
    ///
    /// # Errors
    ///
    /// It selects too many sandboxes by what is left.
    pub fn drop_overrides(&self, head: &mut Head, context: &mut Context) -> Result<(), Refusal> {
        context.overrides.drain(..std::mem::take(&mut context.from_caller));
        drop_steering(head, &self.names, context);
        context.has_tenant_member = false;
        self.inject_tenant(head, context);
        collect_keys(head, &self.names, context)
    }

    /// Prepares a request for its upstream, once per request.
    ///
    /// The fields about the caller's connection are removed first, so that its `Connection` field cannot remove a field
    /// of the router. The facts in them are returned: the proxy adds an upgrade again when it passes it on. The version
    /// must still be the one the request came in, for `Via` has it.
    pub fn leave(
        &self,
        peer: &Peer,
        head: &mut Head,
        context: &mut Context,
        names: &UpstreamNames<'_>,
    ) -> HopByHopFields {
        let hop_by_hop = head.strip_hop_by_hop_but(|name| {
            let is_named_by = |field: &str| field.as_bytes().eq_ignore_ascii_case(name);
            self.tenant_headers().contains(name) || names.named_by.iter().any(|field| is_named_by(field))
        });
        head.append_element(KnownField::Via, via_entry(head.version()));
        head.append_known(KnownField::L5dDstService, names.service);
        self.name_client(head, names.client, names.residual);
        if !names.overrides.is_empty() {
            head.append_known(KnownField::L5dCtxDtab, names.overrides);
        }
        let scratch = &mut context.scratch;
        if let Some(deadline) = context.deadline {
            deadline.append_to(head);
        }
        head.append_known(KnownField::L5dCtxTrace, written(scratch, |out| context.trace.encode(out)));
        head.append_known(KnownField::L5dReqid, written(scratch, |out| context.trace.encode_root(out)));
        if let Some(forwarded) = &self.config.forwarded {
            let host = head.get(KnownField::Host);
            let value = written(scratch, |out| forwarded.encode(peer, &self.config.router, host, out));
            head.append_known(KnownField::Forwarded, value);
        }
        if let Some(name) = &self.config.timestamp_header
            && head.find(name.as_bytes()).is_none()
        {
            head.append(name.as_bytes(), written(scratch, push_milliseconds));
        }
        hop_by_hop
    }

    /// Writes the client that a request goes to, in place of an earlier one: each attempt may draw another leaf.
    pub fn name_client(&self, head: &mut Head, client: &[u8], residual: Option<&[u8]>) {
        head.remove(KnownField::L5dDstClient);
        head.append_known(KnownField::L5dDstClient, client);
        head.remove(KnownField::L5dDstResidual);
        if let Some(residual) = residual.filter(|residual| !residual.is_empty()) {
            head.append_known(KnownField::L5dDstResidual, residual);
        }
    }

    /// Removes what steers from a request that goes outside: what the request of an untrusted caller loses when it comes.
    /// `Via` stays. With `removes_baggage`, nothing of `baggage` goes either.
    pub fn strip_outward(&self, head: &mut Head, removes_baggage: bool) {
        // What is removed here is not counted as removed from a caller's request.
        drop_steering(head, &self.names, &mut Context::default());
        if removes_baggage {
            head.remove(KnownField::Baggage);
        }
    }

    /// Removes what steers from a response that comes from outside: nothing in it is believed.
    pub fn strip_inward(&self, head: &mut Head) {
        head.remove_where(|field| field.known.is_steering());
    }

    /// Prepares a response for its caller; also one that the router made. The version must still be the one the
    /// response came in.
    pub fn answer(&self, head: &mut Head, grant: Grant) -> ResponseFindings {
        let blank_body = !grant.is_trusted() && head.contains(KnownField::L5dErr);
        let hop_by_hop = head.strip_hop_by_hop();
        head.append_element(KnownField::Via, via_entry(head.version()));
        if !grant.is_trusted() {
            head.remove_where(|field| {
                field.known.is_steering() || (blank_body && describes_a_failed_call(field.name))
            });
        }
        ResponseFindings { hop_by_hop, blank_body }
    }

    /// Moves the override values into `context`: those of `baggage`, which stay in the head as well, then those of
    /// `l5d-ctx-dtab`, then those of `l5d-dtab`.
    fn take_overrides(&self, head: &mut Head, context: &mut Context) -> Result<(), Refusal> {
        let limit = self.config.overrides.rules().max_bytes;
        let mut left = limit;
        let mut take = |value: &[u8], source: OverrideSource| -> Result<(), Refusal> {
            // An empty value is an empty dtab, so it leaves the key as it is.
            if !value.is_empty() {
                left = left.checked_sub(value.len()).ok_or(Refusal::OverrideTooLarge { limit })?;
                context.overrides.extend_from_slice(value);
                context.overrides.push(source.end());
            }
            Ok(())
        };
        for member in head.get_all(KnownField::Baggage).flat_map(members) {
            let key = key(member);
            let is_dtab = key == DTAB.as_bytes();
            if is_dtab || self.names.is_tenant_key(key) {
                let value = value(member).ok_or_else(|| malformed(key))?;
                context.has_tenant_member |= !is_dtab;
                take(if is_dtab { value } else { b"" }, OverrideSource::Baggage)?;
            }
        }
        let sources =
            [(KnownField::L5dCtxDtab, OverrideSource::Ctx), (KnownField::L5dDtab, OverrideSource::User)];
        for (known, source) in sources {
            head.get_all(known).try_for_each(|value| take(value, source))?;
            head.remove(known);
        }
        Ok(())
    }
}

fn malformed(key: &[u8]) -> Refusal {
    Refusal::MalformedMember { key: String::from_utf8_lossy(key).into_owned() }
}

/// Returns whether a field has the text of a failed gRPC call: it stands for the body, and may name internals.
fn describes_a_failed_call(name: &[u8]) -> bool {
    [b"grpc-message".as_slice(), b"grpc-status-details-bin"]
        .iter()
        .any(|field| name.eq_ignore_ascii_case(field))
}

/// Moves the deadline into `context`; a malformed value is removed too, where Linkerd passed it on.
fn take_deadline(head: &mut Head, context: &mut Context) {
    context.deadline = Deadline::decode_all(head.get_all(KnownField::L5dCtxDeadline));
    head.remove(KnownField::L5dCtxDeadline);
}

/// Continues the caller's trace, or starts one. A requested sampling rate is removed: nothing here samples.
fn take_trace(head: &mut Head, context: &mut Context) {
    let caller = head.get(KnownField::L5dCtxTrace).and_then(Trace::decode);
    context.trace = caller.map_or_else(Trace::begin, |caller| caller.child());
    head.remove(KnownField::L5dCtxTrace);
    head.remove(KnownField::L5dSample);
}

/// Returns a value written into a buffer that is used again.
pub(super) fn written(scratch: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
    scratch.clear();
    write(scratch);
    scratch
}

/// Appends the time since 1970 in milliseconds.
fn push_milliseconds(out: &mut Vec<u8>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Writing to memory does not fail.
    let _ = write!(out, "{}", now.as_millis());
}

#[cfg(test)]
mod tests;
