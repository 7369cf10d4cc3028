//! Turns a path and a dtab into a live tree of bound names, with its trace; owns the `Namer` and `Transformer` traits.
//!
//! The idea is *evaluate, remember, wait*. [`delegate()`] is one pure function: whenever it needs a namer's answer it
//! takes the one there is now, from whoever implements [`Answers`], which remembers what was asked. A worker does that
//! with [`Held`]: the result is bound to exactly the answers it looked at, and it is evaluated again when one of them
//! changes. Only an answer that nobody holds yet is asked of the [`Keeper`], the one task on control that talks to
//! namers, through an [`Asker`]. [`settle`] does all of it and waits, for those who have the time.
//!
//! What a namer says can go through a [`Transformer`]. A [`Transformed`] namer is one like any other, and what it says
//! is an answer like any other, so that all of this holds for it, too.
//!
//! The same steps that route also explain: [`Explore::All`] adds what binding would not have looked at, and
//! [`show`] draws it. A [`Sampler`] picks a leaf of the outcome by weight.
//!
//! Absent: a cache of delegations. Whoever routes keeps the outcomes it needs, with the answers they rest on.

mod answer;
mod bound;
mod delegate;
mod delegation;
mod held;
mod keeper;
mod namer;
mod sample;
pub mod show;
mod transform;
mod unbound;

pub use self::answer::{Answer, Current, State, Writer};
pub use self::bound::{Bound, Endpoint, EndpointSet, Hint, Leaf, Target};
pub use self::delegate::{Answers, Explore, delegate};
pub use self::delegation::{Delegation, Failure, MAX_DEPTH, MAX_LOOKUPS, Outcome, Step, StepKind};
pub use self::held::{Held, MAX_HELD, any_changed, settle};
pub use self::keeper::{Asker, Keeper, MAX_KEPT, Question};
pub use self::namer::{Namer, Namers, Naming};
pub use self::sample::Sampler;
pub use self::transform::{Transformed, Transformer};
pub use self::unbound::unbound_override;
