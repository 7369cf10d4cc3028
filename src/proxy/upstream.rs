//! The endpoint's side, from a bound name to a response: a client, one of its endpoints, a connection, and the client
//! halves of HTTP/1 and HTTP/2.

mod balancer;
mod client;
mod connect;
mod dial_guard;
mod endpoint;
mod http1;
mod http2;
mod http2_pool;
mod pool;
mod retry_budget;
mod route;
mod settings;
mod uploads;

pub(super) use self::client::{Client, ClientTarget, ObjectPools};
pub use self::dial_guard::DialGuard;
pub use self::endpoint::EndpointRegistry;
pub use self::retry_budget::BudgetSettings;
pub use self::route::Route;
pub(super) use self::route::Routes;
pub use self::settings::ClientSettings;
pub(super) use self::settings::SettingsTable;
