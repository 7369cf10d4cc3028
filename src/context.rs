//! The context of a request: its peer, and the header fields that are decoded, checked, removed and encoded again.
//!
//! A listener has one [`Policy`], with three steps. [`Policy::enter`] decides whether the caller is trusted, removes
//! the fields that an untrusted caller may not send, and such members of `baggage` and `tracestate`, and reads the rest
//! into a [`Context`]. [`Policy::leave`] writes the fields for the upstream. [`Policy::answer`] removes the fields that
//! the caller must not see.
//!
//! [`token`] has the signed overrides, which a listener grants to any caller that presents them.
//!
//! Nothing here knows where a request goes.

#![warn(clippy::indexing_slicing, clippy::string_slice)]

mod baggage;
mod deadline;
mod error;
mod forwarded;
mod forwarding;
mod grant;
mod hosts;
mod inject;
mod override_limits;
mod overrides;
mod peer;
mod policy;
#[cfg(test)]
mod properties;
mod removals;
mod request_context;
mod request_target;
mod sandbox_keys;
mod steering;
mod tenancy;
pub mod token;
mod trace;
mod trust;
mod untrusted;
mod via;
#[cfg(test)]
mod w3c;

pub use self::baggage::encode_baggage_value;
pub use self::deadline::{Deadline, Timestamp};
pub use self::error::{MAX_ERROR, encode_error, encode_grpc_message};
pub use self::forwarded::{Forwarded, HostParameter, Labeler};
pub use self::forwarding::ForwardedFrom;
pub use self::grant::Grant;
pub use self::hosts::{HostPattern, host_without_dot, host_without_port};
pub use self::inject::{Glob, InjectCondition, InjectRule, Percent, PercentBy, Secret};
pub use self::override_limits::{AddressRules, Destination, OverrideLimits, OverrideRules};
pub use self::overrides::{OverrideError, OverrideSource, Overrides, decode_overrides};
pub use self::peer::Peer;
pub use self::policy::{Config, Policy, Refusal, ResponseFindings, UpstreamNames};
pub use self::removals::{RemovalKind, Removals};
pub use self::request_context::Context;
pub use self::request_target::RequestTarget;
pub use self::steering::TenantHeaders;
pub use self::tenancy::{Tenancy, is_sandbox_key};
pub use self::trace::Trace;
pub use self::trust::{IdentityTrust, Range, RangeError, Requirement, SignedTrust, Trust};
pub use self::untrusted::is_removed;
pub use self::via::{count_own_via, count_via};
