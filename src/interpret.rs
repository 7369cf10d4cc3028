//! Turns a path and a dtab into a live tree of bound names, with its trace; owns the `Namer` and `Transformer` traits.
//!
//! The idea is *evaluate, remember, wait*. [`delegate()`] is one pure function: whenever it needs a namer's answer, it
//! takes the present one from its [`Answers`], which remember the question. A worker uses an [`AnswerTable`]: a result
//! rests on exactly the answers that its evaluation used, and the worker evaluates again when one of them changes. Only
//! an answer that the worker does not hold yet is asked of the [`NamerRegistry`], the one task on control that talks to
//! namers, through a [`NamerHandle`]. [`settle`] does all of this and waits for the answers.
//!
//! A namer's answers can go through a [`Transformer`]. A [`TransformedNamer`] is a namer like any other, with answers
//! like any others.
//!
//! The same steps that route also explain: [`Explore::All`] adds the steps that binding would have left out, and
//! [`render`] draws them. A [`Sampler`] picks a leaf of the outcome by weight.
//!
//! Absent: a cache of delegations. The router keeps the outcomes that it needs, with the answers they rest on.

mod answer;
mod answer_table;
mod bound;
mod delegate;
mod delegation;
mod namer;
mod registry;
pub mod render;
mod sampler;
mod share;
mod steered;
#[cfg(test)]
mod test_answers;
mod transformer;
mod unbound;

pub use self::answer::{Answer, AnswerSnapshot, AnswerState, AnswerWriter, DEMAND_PACE};
pub use self::answer_table::{AnswerTable, MAX_TABLE_ANSWERS, any_changed, settle, settle_query};
pub use self::bound::{Bound, Endpoint, EndpointSet, Hint, Leaf, Target};
pub use self::delegate::{Answers, DEFAULT_OVERRIDE_LOOKUPS, Explore, NameQuery, delegate};
pub use self::delegation::{Delegation, DelegationOutcome, Failure, MAX_DEPTH, MAX_LOOKUPS, Step, StepKind};
pub use self::namer::{Namer, Namers, Naming};
pub use self::registry::{MAX_IDLE_BYTES, MAX_IDLE_NEGATIVE_BYTES, NamerHandle, NamerRegistry, Question};
pub use self::sampler::Sampler;
pub use self::share::{LostShare, lost_shares, percent};
pub use self::steered::{SteeredLeaves, steered_leaves};
pub use self::transformer::{TransformedNamer, Transformer};
pub use self::unbound::unbound_entry;
