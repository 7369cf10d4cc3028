//! Answers for the tests of what is read out of a delegation.

use super::{AnswerState, Answers, Bound, Leaf, Target};
use crate::name::{NameTree, Path};

/// Binds every path under `/#/up`, leads `/#/alias` to `/svc/b`, has no answer yet under `/#/pending`, and fails under
/// `/#/failed`.
pub(super) struct TestAnswers;

impl Answers for TestAnswers {
    fn answer(&mut self, path: &Path) -> AnswerState {
        let leaf = |leaf| AnswerState::Ready(NameTree::Leaf(leaf));
        match &*path.take(2).to_string() {
            "/#/up" => leaf(Leaf::Bound(Bound {
                id: path.clone(),
                residual: Path::empty(),
                target: Target::Status(200),
            })),
            "/#/alias" => leaf(Leaf::Path("/svc/b".parse().unwrap())),
            "/#/pending" => AnswerState::Pending,
            "/#/failed" => AnswerState::Failed("it is down".into()),
            _ => AnswerState::Ready(NameTree::Neg),
        }
    }
}
