//! The endpoint's side, from a bound name to a response: a client, one of its endpoints, a connection, and the client
//! halves of HTTP/1 and HTTP/2.

mod accrual;
mod backoff;
mod balancer;
mod client;
mod connect;
mod dial_guard;
mod endpoint;
mod endpoint_state;
mod http1;
mod http2;
mod http2_pool;
mod latency;
mod logical_service;
mod pings;
mod pool;
mod registry;
mod retry_budget;
mod route;
mod settings;
mod waiters;

pub use self::accrual::{AccrualBackoff, AccrualPolicy, AccrualSettings};
pub use self::backoff::BackoffSettings;
pub(super) use self::backoff::RetryPauses;
pub use self::balancer::{ApertureSettings, BalancerAlgorithm, BalancerSettings};
pub(super) use self::client::{Client, ClientTarget, ObjectPools};
pub use self::dial_guard::DialGuard;
pub(super) use self::logical_service::LogicalService;
pub(super) use self::registry::BudgetOwner;
pub use self::registry::{ClientHealth, EndpointHealth, EndpointRegistry};
pub use self::retry_budget::BudgetSettings;
pub use self::route::Route;
pub(super) use self::route::Routes;
pub use self::settings::{
    ClientSettings, Egress, EndpointTls, MirrorSettings, ServiceSettings, SettingsTable,
};
