//! A delegation in the shape of Linkerd's `delegator.json`.

mod size;

pub use size::cut;

use super::super::share::shares_left;
use super::super::{
    AnswerTable, Bound, Delegation, DelegationOutcome, Endpoint, Step, StepKind, Target, percent,
};
use super::outcome_text;
use crate::name::{Dentry, Path};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use size::{CountedBuffer, SizeLimit};
use std::cell::Cell;
use std::collections::BTreeMap;

/// How many bytes of a path are said where a step is left out.
const PATH_OF_CUT: usize = 128;

/// How many bytes of an entry's destination are said at most, where the JSON has a limit.
const LONGEST_DESTINATION: usize = 64 << 10;

/// How many bytes the line of the outcome has at most.
const LONGEST_OUTCOME: usize = 64 << 10;

/// Returns a delegation in the shape of Linkerd 1's `delegator.json`, to be serialized.
pub fn json(delegation: &Delegation) -> DelegationJson<'_> {
    let dentries = delegation.dtab.iter().collect();
    let step = &delegation.step;
    let limit = SizeLimit::default();
    DelegationJson { dentries, origins: &[], step, outcome: None, answers: None, overriding: None, limit }
}

/// A delegation as JSON: the answer of Linkerd 1.7.5 at `/delegator.json`, with the members in its order.
///
/// Beyond Linkerd: each node has `taken`; a branch of a union has, as `percent`, the share that it takes among the branches
/// that are left, 0 when it is not; and two types are added where Linkerd waits or does not end: `pending` and
/// `unexplored`. Endpoints are those known at this moment. An endpoint's `meta` has `nodeName`, `zone`
/// and `endpoint_addr_weight` when they are known and not the default. A name that the router itself answers has its
/// `status` in the `meta` of its address.
#[derive(Debug)]
pub struct DelegationJson<'a> {
    dentries: Vec<&'a Dentry>,
    origins: &'a [Option<String>],
    step: &'a Step,
    outcome: Option<&'a DelegationOutcome>,
    answers: Option<&'a AnswerTable>,
    overriding: Option<OverrideReport>,
    limit: SizeLimit,
}

/// The facts about an override that are told beside the tree of a delegation.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OverrideReport {
    /// How many entries of the dtab are the base's; all others are the override's.
    pub base_entries: usize,
    /// The reasons to doubt the override, in words.
    pub warnings: Vec<String>,
    /// Each listener, with whether it would follow the override, in words.
    pub listeners: Vec<String>,
}

impl<'a> DelegationJson<'a> {
    /// Adds the member `staleSeconds` to each node whose name a namer could not ask for since so many seconds: the answer
    /// is the last good one. `answers` are those that the delegation rests on.
    pub const fn with_staleness(mut self, answers: &'a AnswerTable) -> Self {
        self.answers = Some(answers);
        self
    }

    /// Adds the member `origin` to each node with a `dentry` that has one, in words. They stand in the order of the dtab.
    pub const fn with_origins(mut self, origins: &'a [Option<String>]) -> Self {
        self.origins = origins;
        self
    }

    /// Adds one more member at the root, `outcome`: the outcome as one line of text for people. Each node with a `dentry`
    /// has its position in the dtab, `entry`, too: equal entries are told apart.
    pub const fn with_outcome(mut self, delegation: &'a Delegation) -> Self {
        self.outcome = Some(&delegation.outcome);
        self
    }

    /// Writes the JSON in at most about `limit` bytes: what the root has beside its tree comes on top. Each entry is said once, at the
    /// first node that it led to; later ones have its position alone, as `entry`, which
    /// [`with_outcome`](Self::with_outcome) adds.
    ///
    /// The rest is left out where that is not enough: a node of the type `cut` stands in the place of a step with all below
    /// it, and of the steps after it in its list, whose number is `left`. The addresses of a name are counted as `left`, and
    /// the characters of an entry's destination.
    ///
    /// # Errors
    ///
    /// Those of the serializer: none is known.
    pub fn to_bytes(&self, limit: usize) -> serde_json::Result<Vec<u8>> {
        let mut buffer = CountedBuffer::new(self.limit.begin(limit));
        serde_json::to_writer(&mut buffer, self)?;
        Ok(buffer.into_bytes())
    }

    /// Adds one more member at the root, `override`.
    #[must_use]
    pub fn with_override(self, report: OverrideReport) -> Self {
        Self { overriding: Some(report), ..self }
    }
}

impl Serialize for DelegationJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let step = self.step;
        let root = JsonNode { all: self, step, dentry: step.dentry, within: &step.path, is_root: true };
        root.past_paths_of_namers().serialize(serializer)
    }
}

/// One node of the JSON tree.
struct JsonNode<'a> {
    all: &'a DelegationJson<'a>,
    step: &'a Step,
    /// The position of the entry that led here, also through the tree of a namer.
    dentry: Option<usize>,
    /// The path whose lookup led here.
    within: &'a Path,
    is_root: bool,
}

impl<'a> JsonNode<'a> {
    /// Returns the node of a step below this one.
    fn below(&self, step: &'a Step) -> Self {
        let dentry = step.dentry.or(self.dentry);
        let node = Self { all: self.all, step, dentry, within: &self.step.path, is_root: false };
        node.past_paths_of_namers()
    }

    /// Returns the node of the path with which a namer answers this one, if one does: in Linkerd it takes its place.
    fn past_paths_of_namers(mut self) -> Self {
        while let StepKind::Delegate(step) = &self.step.kind
            && step.dentry.is_none()
        {
            self.step = step;
        }
        self
    }

    /// Returns the alternates. Nested alternates of the same path stand in the place of their group.
    fn alternates(&self, arms: &'a [Step]) -> Vec<Self> {
        let mut spliced = Vec::with_capacity(arms.len());
        for arm in arms {
            match &arm.kind {
                StepKind::Alt(arms) if arm.path == self.step.path => spliced.extend(self.alternates(arms)),
                _ => spliced.push(self.below(arm)),
            }
        }
        spliced
    }

    /// Returns Linkerd's word for the kind of the step.
    fn kind(&self) -> &'static str {
        match &self.step.kind {
            StepKind::Delegate(_) => "delegate",
            StepKind::Alt(_) => "alt",
            StepKind::Union(_) => "union",
            StepKind::Leaf(_) => "leaf",
            StepKind::Neg => "neg",
            StepKind::Fail => "fail",
            StepKind::Empty => "empty",
            StepKind::Pending => "pending",
            StepKind::Failed(_) => "exception",
            StepKind::Unexplored => "unexplored",
        }
    }

    /// Returns the path as Linkerd writes it: a `~` or `!` of an entry as such, and a `$` as the path it stands for.
    fn path(&self) -> String {
        let path = &self.step.path;
        match self.step.kind {
            StepKind::Neg if path.is_empty() => "~".into(),
            StepKind::Fail if !path.elems().take(2).eq([&b"$"[..], b"fail"]) => "!".into(),
            StepKind::Empty if path.is_empty() => self.within.to_string(),
            _ => path.to_string(),
        }
    }
}

impl JsonNode<'_> {
    /// Returns about how many bytes the node takes without those below it.
    fn size(&self) -> usize {
        let path = self.step.path.as_encoded().len();
        let bound = match &self.step.kind {
            StepKind::Leaf(bound) => bound.id.as_encoded().len() + bound.residual.as_encoded().len(),
            _ => 0,
        };
        path + bound
    }

    /// Returns whether there is no room for the node.
    fn is_left_out(&self) -> bool {
        !self.is_root && self.all.limit.is_reached(self.size())
    }

    /// Writes the entry that led here: all of it, or its position when it was said before.
    fn serialize_entry<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let found = self.dentry.and_then(|at| Some((at, self.all.dentries.get(at)?)));
        let Some((at, dentry)) = found else { return Ok(()) };
        let is_new = self.all.limit.is_new(at);
        if is_new {
            map.serialize_entry("dentry", &JsonDentry { dentry, limit: &self.all.limit })?;
        }
        if self.all.outcome.is_some() {
            map.serialize_entry("entry", &at)?;
        }
        match self.all.origins.get(at) {
            Some(Some(origin)) if is_new => map.serialize_entry("origin", origin),
            _ => Ok(()),
        }
    }

    /// Writes the steps below.
    fn serialize_below<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        match &self.step.kind {
            StepKind::Delegate(step) => map.serialize_entry("delegate", &self.below(step)),
            StepKind::Alt(arms) => {
                let arms: Vec<_> = self.alternates(arms).into_iter().map(JsonBranch::of_alternate).collect();
                map.serialize_entry("alt", &JsonList(&arms))
            }
            StepKind::Union(branches) => {
                let shares = shares_left(branches).unwrap_or_default();
                let branches = branches.iter().enumerate().map(|(at, (weight, step))| JsonBranch {
                    weight: Some(*weight),
                    share: shares.get(at).copied().map(percent),
                    tree: self.below(step),
                });
                map.serialize_entry("union", &JsonList(&branches.collect::<Vec<_>>()))
            }
            StepKind::Leaf(bound) => {
                map.serialize_entry("bound", &JsonLeaf { bound, limit: &self.all.limit })
            }
            StepKind::Failed(failure) => map.serialize_entry("message", &failure.to_string()),
            StepKind::Neg | StepKind::Fail | StepKind::Empty | StepKind::Pending | StepKind::Unexplored => {
                Ok(())
            }
        }
    }

    /// Writes what stands in the place of the node when it is left out, with the number of steps after it.
    fn serialize_cut<S: Serializer>(&self, serializer: S, after: usize) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", "cut")?;
        map.serialize_entry("path", &cut(self.path(), PATH_OF_CUT))?;
        map.serialize_entry("taken", &self.step.taken)?;
        if after > 0 {
            map.serialize_entry("left", &after)?;
        }
        map.end()
    }
}

impl Serialize for JsonNode<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_left_out() {
            return self.serialize_cut(serializer, 0);
        }
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", self.kind())?;
        map.serialize_entry("path", &self.path())?;
        self.serialize_entry(&mut map)?;
        map.serialize_entry("taken", &self.step.taken)?;
        if let Some(since) = self.all.answers.and_then(|answers| answers.stale_since(&self.step.path)) {
            map.serialize_entry("staleSeconds", &since.elapsed().as_secs_f64())?;
        }
        self.serialize_below(&mut map)?;
        if let (true, Some(report)) = (self.is_root, &self.all.overriding) {
            map.serialize_entry("override", report)?;
        }
        if let (true, Some(outcome)) = (self.is_root, self.all.outcome) {
            map.serialize_entry("outcome", &cut(outcome_text(outcome), LONGEST_OUTCOME))?;
        }
        map.end()
    }
}

/// The members of a list of steps, up to the limit.
struct JsonList<'a>(&'a [JsonBranch<'a>]);

impl Serialize for JsonList<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for (at, branch) in self.0.iter().enumerate() {
            if branch.tree.is_left_out() {
                list.serialize_element(&JsonCut { branch, after: self.0.len() - at - 1 })?;
                break;
            }
            list.serialize_element(branch)?;
        }
        list.end()
    }
}

/// The place in a list at which the rest is left out.
struct JsonCut<'a> {
    branch: &'a JsonBranch<'a>,
    /// How many steps of the list come after it.
    after: usize,
}

impl Serialize for JsonCut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Tree<'a>(&'a JsonCut<'a>);

        impl Serialize for Tree<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.branch.tree.serialize_cut(serializer, self.0.after)
            }
        }

        let Some(weight) = self.branch.weight else { return Tree(self).serialize(serializer) };
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("weight", &weight)?;
        map.serialize_entry("tree", &Tree(self))?;
        map.end()
    }
}

/// One branch of a union, or one alternate.
struct JsonBranch<'a> {
    /// None for an alternate.
    weight: Option<f64>,
    /// The share that it takes in percent; None in a union of which no branch is left.
    share: Option<f64>,
    tree: JsonNode<'a>,
}

impl<'a> JsonBranch<'a> {
    const fn of_alternate(tree: JsonNode<'a>) -> Self {
        Self { weight: None, share: None, tree }
    }
}

impl Serialize for JsonBranch<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(weight) = self.weight else { return self.tree.serialize(serializer) };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("weight", &weight)?;
        if let Some(share) = self.share {
            map.serialize_entry("percent", &share)?;
        }
        map.serialize_entry("tree", &self.tree)?;
        map.end()
    }
}

/// A dtab entry.
struct JsonDentry<'a> {
    dentry: &'a Dentry,
    limit: &'a SizeLimit,
}

impl Serialize for JsonDentry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("prefix", &self.dentry.prefix.to_string())?;
        let dst = format!("{:#}", self.dentry.dst);
        if dst.len() <= LONGEST_DESTINATION || !self.limit.is_set() {
            map.serialize_entry("dst", &dst)?;
        } else {
            let left = dst.chars().count() - cut(dst.clone(), LONGEST_DESTINATION).chars().count();
            map.serialize_entry("dst", &cut(dst, LONGEST_DESTINATION))?;
            map.serialize_entry("left", &left)?;
        }
        map.end()
    }
}

/// A bound name.
struct JsonLeaf<'a> {
    bound: &'a Bound,
    limit: &'a SizeLimit,
}

impl Serialize for JsonLeaf<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("addr", &JsonAddress { target: &self.bound.target, limit: self.limit })?;
        map.serialize_entry("id", &self.bound.id.to_string())?;
        map.serialize_entry("path", &self.bound.residual.to_string())?;
        map.end()
    }
}

/// The endpoints, or the status, behind a bound name.
struct JsonAddress<'a> {
    target: &'a Target,
    limit: &'a SizeLimit,
}

impl Serialize for JsonAddress<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut meta = BTreeMap::new();
        let mut endpoints = Vec::new();
        match self.target {
            Target::Endpoints(set) => endpoints.extend(Endpoint::preferred(&set.borrow()).cloned()),
            Target::Status(status) => {
                meta.insert("status", status);
            }
        }
        let list = JsonEndpoints { endpoints: &endpoints, limit: self.limit, left: Cell::new(0) };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", "bound")?;
        map.serialize_entry("addrs", &list)?;
        map.serialize_entry("meta", &meta)?;
        if list.left.get() > 0 {
            map.serialize_entry("left", &list.left.get())?;
        }
        map.end()
    }
}

/// The endpoints of a name, up to the limit.
struct JsonEndpoints<'a> {
    endpoints: &'a [Endpoint],
    limit: &'a SizeLimit,
    /// How many are left out.
    left: Cell<usize>,
}

impl Serialize for JsonEndpoints<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for (at, endpoint) in self.endpoints.iter().enumerate() {
            if self.limit.is_reached(0) {
                self.left.set(self.endpoints.len() - at);
                break;
            }
            list.serialize_element(&JsonEndpoint(endpoint))?;
        }
        list.end()
    }
}

/// One endpoint.
struct JsonEndpoint<'a>(&'a Endpoint);

impl Serialize for JsonEndpoint<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("ip", &self.0.address.ip())?;
        map.serialize_entry("port", &self.0.address.port())?;
        map.serialize_entry("meta", &JsonMetadata(self.0))?;
        map.end()
    }
}

/// The metadata of one endpoint.
struct JsonMetadata<'a>(&'a Endpoint);

impl Serialize for JsonMetadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Endpoint { weight, node, zone, .. } = self.0;
        let mut map = serializer.serialize_map(None)?;
        if *weight != 1.0 {
            map.serialize_entry("endpoint_addr_weight", weight)?;
        }
        if let Some(node) = node {
            map.serialize_entry("nodeName", &**node)?;
        }
        if let Some(zone) = zone {
            map.serialize_entry("zone", &**zone)?;
        }
        map.end()
    }
}
