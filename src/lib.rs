//! Signpost: a standalone HTTP router that decides by *names* where a request goes.
//!
//! A request gets a logical name such as `/svc/world`. A delegation table, the *dtab*, rewrites that name step by step;
//! *namers* turn the last step into live addresses; a balancer picks one. A request can carry dtab entries of its own,
//! so that one request goes through `world-v2` while all others stay on `world-v1`. The notation is described in
//! `grammar/README.md`, the program in `README.md` and the book in `docs/`. This page is the map of the code.
//!
//! # The life of a request
//!
//! It is one function of [`proxy`], `serve`, to be read, or stepped through, from top to bottom. The page of [`proxy`] lists
//! every function on the way, from the accepted socket to the pooled connection, file by file.
//!
//! | step | its input | its module | its result |
//! |---|---|---|---|
//! | accept | a socket | [`proxy`] | the peer's address, a permit, a guard that a drain waits for |
//! | read | head and body | [`proxy`], [`message`] | the head, found in one scan |
//! | context | context and head | [`context`] | trust; overrides, deadline, request id; the headers of an untrusted caller are gone |
//! | identify | a path, `/svc/world` | [`identify`] | the logical name |
//! | bind | a tree of bound names | [`interpret`], over the answers of [`namer`] | concrete names, live |
//! | route | a bound name | [`proxy`] | one leaf, drawn by weight; its client |
//! | balance | an endpoint | [`proxy`] | the less loaded of two |
//! | connect | a connection | [`proxy`] | a live socket, from the pool or new |
//! | respond | a response | [`context`], [`proxy`] | headers for the caller, a status for each fault |
//!
//! Context comes before identification because identifiers read headers: trust must be decided first. A request begins
//! and ends on the worker that accepted it. Each worker is a current-thread runtime, one per core, and the request path
//! takes no lock; namers, reload and the admin server live on one more runtime, *control*. Their results reach the
//! workers as values that are swapped whole.
//!
//! # The house
//!
//! A module imports from lower floors only, and modules on one floor do not see each other. `tests/downhill.rs` checks
//! the sources for it, and this table too.
//!
//! | floor | module | its duty | must never know |
//! |---|---|---|---|
//! | 0 | [`source`] | Places in texts: spans, carets, configuration nodes with their place. | the meaning of a text |
//! | 0 | [`fault`] | The three answers of every error: the party to blame, whether a retry is safe, the status for the caller. | any concrete error |
//! | 0 | [`drain`] | Stop accepting, wait for the guards, then force. | the kind of task that is drained |
//! | 0 | [`telemetry`] | Logging, the metric registry, the writing of logs to files. | the meaning of metrics and lines |
//! | 0 | [`files`] | Watch a file for change through its directory, debounced. | the contents of the file |
//! | 0 | [`machine`] | The addresses of this machine and the descriptors of this process, as the system knows them. | the use of an address |
//! | 1 | [`name`] | Paths, name trees and dtabs as values: parse, print, look up. | async, sockets, config |
//! | 1 | [`tls`] | Certificates and keys as rustls configurations: by SNI, verified, reloaded; the stream that encrypts. | who listens or connects |
//! | 1 | [`message`] | A message head as its bytes plus edits, from HTTP/1 and HTTP/2 and to either; HTTP/1 framing rules as pure functions. | sockets, the meaning of a field |
//! | 2 | [`kubernetes`] | One client; watches with state, backoff, staleness and snapshot. | the meaning of a resource |
//! | 2 | [`context`] | The context of a request: its peer, and header fields decoded, checked, removed, encoded again. | routing |
//! | 2 | [`interpret`] | Turn a path and a dtab into a live tree of bound names, with its trace; owns the `Namer` and `Transformer` traits. | the namers there are; HTTP |
//! | 3 | [`identify`] | Name a request: head in, path out. | the meaning of the path |
//! | 3 | [`sandbox`] | Named sets of dtab entries, which requests select by a key: their stores, their table, their limits. | the route of a request |
//! | 3 | [`namer`] | Implementations of `Namer` and `Transformer`, and the one place that names them all. | dtabs, HTTP routing |
//! | 3 | [`store`] | The stores of live dtabs: file, ConfigMap, custom resource. | their users |
//! | 4 | [`proxy`] | Carry a request to an endpoint and back. | config files, concrete namers |
//! | 4 | [`controller`] | Write what a cluster is told of its sandboxes: verdicts, ends, deletions; one elected process. | the route of a request; config files, concrete namers |
//! | 5 | [`admin`] | Show the state, which it gets as values. | how to change routing |
//! | 6 | [`config`] | Read, check and split the configuration file. | the running of the parts |
//! | 7 | [`app`] | The only place that knows every part: build all, bind all, run. | argv |
//! | 8 | [`command`] | `run`, `controller`, `check`, `delegate`, `fmt`, `demo`, `probe`, `keys`, `sign` and `sandbox`, one file each. | |
//!
//! The consumer owns the trait: [`interpret::Namer`] and [`interpret::Transformer`] live with the interpreter,
//! [`namer`] implements them, and only [`app`] sees both. Each module owns its configuration, its metrics and its
//! errors; there is no central error type.
//!
//! # The idea at the centre: evaluate, remember, wait
//!
//! [`interpret::delegate()`] is one pure function without async. Each time it needs a namer's answer it takes the
//! current one (pending, ready or failed) and notes that it was read. With [`Explore::Deciding`](interpret::Explore::Deciding)
//! it stops where binding stops: that routes. With [`Explore::All`](interpret::Explore::All) it goes on and marks the
//! steps that it added: that explains. The other steps are the same, so the explanation is the routing.
//!
//! A worker evaluates by itself: a new name or a new override costs one call over answers that already exist, and no
//! connection. Only an answer that no worker holds yet is requested from control and awaited. A binding remembers the
//! answers that it read, and is evaluated again when one of them has changed.
//!
//! # What always holds
//!
//! 1. [`name`] is pure: no async, no I/O, no global.
//! 2. Delegation is one function; the explanation is the routing.
//! 3. No header that steers requests passes [`context`] when its sender is not trusted.
//! 4. Every decoder of outside bytes is total: it returns, it never panics, and it is fuzzed.
//! 5. Concrete namers are named in [`namer`] only; nothing but [`config`] reads the configuration file.
//! 6. Every cache, queue, tree and table that outside input can grow has a bound, and a test of that bound. A bound
//!    that is reached is a failure and never "no such name": it must not fall back to production in silence.
//!
//! # Habits
//!
//! * A small state machine is a task: the program counter is its state.
//! * One writer, many readers, swapped whole. A guard's drop is the signal.
//! * Text has spans, errors have carets, delegation keeps its trace.
//! * Configuration as written and as resolved are different types.
//! * Time is `tokio::time` only. Tests start the real app on port 0 and demand a clean stop; time is paused, never
//!   slept.
//! * Comments give reasons, and documentation names the things that are absent.
//!
//! # A new configuration key
//!
//! | file | what to add there |
//! |---|---|
//! | `src/config/schema/*.rs` | A row in the section of its mapping: its name, and `Works`. |
//! | `src/config/resolved.rs` | A field, with its default in the documentation. The admin server shows it by its serde attributes. |
//! | `src/config/server.rs`, `router.rs`, `process.rs` | A line that reads it, with its bounds and its default. |
//! | `src/app/settings.rs` | A line that hands the field to a setting of [`proxy`]. |
//! | `src/app/reload.rs` | A line that says whether a reload may change it; the compiler asks for it. |
//! | `docs/*.md` | Its documentation, on the page of its subject. |
//!
//! A key of a kind (of a namer, an identifier, a store or a transformer) needs the row, a field of the kind's type in its
//! own module, and the page of its kind in `docs/`. A type that is not deserialized is read in `src/config/naming/*.rs`. The tests of
//! [`config`] fail for a row whose key is not read or whose name is not shown, and for a key that is read and has no row.
//!
//! # Features
//!
//! | feature | contents |
//! |---|---|
//! | `router` (default) | everything |
//! | `consumer` | [`name`] and [`source`] alone, without any of the router's dependencies |

pub mod name;
pub mod source;

#[cfg(feature = "router")]
pub mod admin;
#[cfg(feature = "router")]
pub mod app;
#[cfg(feature = "router")]
pub mod command;
#[cfg(feature = "router")]
pub mod config;
#[cfg(feature = "router")]
pub mod context;
#[cfg(feature = "router")]
pub mod controller;
#[cfg(feature = "router")]
pub mod drain;
#[cfg(feature = "router")]
pub mod fault;
#[cfg(feature = "router")]
pub mod files;
#[cfg(feature = "router")]
pub mod identify;
#[cfg(feature = "router")]
pub mod interpret;
#[cfg(feature = "router")]
pub mod kubernetes;
#[cfg(feature = "router")]
pub mod machine;
#[cfg(feature = "router")]
pub mod message;
#[cfg(feature = "router")]
pub mod namer;
#[cfg(feature = "router")]
pub mod proxy;
#[cfg(feature = "router")]
pub mod sandbox;
#[cfg(feature = "router")]
pub mod store;
#[cfg(feature = "router")]
pub mod telemetry;
#[cfg(feature = "router")]
pub mod tls;
