//! The endpoint's side, from a bound name to a response: a client, one of its endpoints, a connection, and the client
//! halves of HTTP/1 and HTTP/2.

mod backoff;
mod balancer;
mod client;
mod connect;
mod dial_guard;
mod endpoint;
mod http1;
mod http2;
mod http2_pool;
mod logical_service;
mod pool;
mod retry_budget;
mod route;
mod settings;
mod uploads;
mod waiters;

pub use self::backoff::BackoffSettings;
pub(super) use self::backoff::RetryPauses;
pub(super) use self::client::{Client, ClientTarget, ObjectPools};
pub use self::dial_guard::DialGuard;
pub(super) use self::endpoint::BudgetOwner;
pub use self::endpoint::EndpointRegistry;
pub(super) use self::logical_service::LogicalService;
pub use self::retry_budget::BudgetSettings;
pub use self::route::Route;
pub(super) use self::route::Routes;
pub use self::settings::{ClientSettings, ServiceSettings, SettingsTable};
