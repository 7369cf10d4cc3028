//! A delegation in the shape of Linkerd's `delegator.json`.

use super::super::share::shares_left;
use super::super::{
    AnswerTable, Bound, Delegation, DelegationOutcome, Endpoint, Step, StepKind, Target, percent,
};
use super::outcome_text;
use crate::name::{Dentry, Path};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::collections::BTreeMap;

/// Returns a delegation in the shape of Linkerd 1's `delegator.json`, to be serialized.
pub fn json(delegation: &Delegation) -> DelegationJson<'_> {
    let dentries = delegation.dtab.iter().collect();
    let step = &delegation.step;
    DelegationJson { dentries, origins: &[], step, outcome: None, answers: None, overriding: None }
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

impl Serialize for JsonNode<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", self.kind())?;
        map.serialize_entry("path", &self.path())?;
        if let Some((at, dentry)) = self.dentry.and_then(|at| Some((at, self.all.dentries.get(at)?))) {
            map.serialize_entry("dentry", &JsonDentry(dentry))?;
            if self.all.outcome.is_some() {
                map.serialize_entry("entry", &at)?;
            }
            if let Some(Some(origin)) = self.all.origins.get(at) {
                map.serialize_entry("origin", origin)?;
            }
        }
        map.serialize_entry("taken", &self.step.taken)?;
        if let Some(since) = self.all.answers.and_then(|answers| answers.stale_since(&self.step.path)) {
            map.serialize_entry("staleSeconds", &since.elapsed().as_secs_f64())?;
        }
        match &self.step.kind {
            StepKind::Delegate(step) => map.serialize_entry("delegate", &self.below(step))?,
            StepKind::Alt(arms) => map.serialize_entry("alt", &self.alternates(arms))?,
            StepKind::Union(branches) => {
                let shares = shares_left(branches).unwrap_or_default();
                let branches = branches.iter().enumerate().map(|(at, (weight, step))| JsonBranch {
                    weight: *weight,
                    share: shares.get(at).copied().map(percent),
                    tree: self.below(step),
                });
                let branches: Vec<_> = branches.collect();
                map.serialize_entry("union", &branches)?;
            }
            StepKind::Leaf(bound) => map.serialize_entry("bound", &JsonLeaf(bound))?,
            StepKind::Failed(failure) => map.serialize_entry("message", &failure.to_string())?,
            StepKind::Neg | StepKind::Fail | StepKind::Empty | StepKind::Pending | StepKind::Unexplored => {}
        }
        if let (true, Some(report)) = (self.is_root, &self.all.overriding) {
            map.serialize_entry("override", report)?;
        }
        if let (true, Some(outcome)) = (self.is_root, self.all.outcome) {
            map.serialize_entry("outcome", &outcome_text(outcome))?;
        }
        map.end()
    }
}

/// One branch of a union.
struct JsonBranch<'a> {
    weight: f64,
    /// The share that it takes in percent; None in a union of which no branch is left.
    share: Option<f64>,
    tree: JsonNode<'a>,
}

impl Serialize for JsonBranch<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("weight", &self.weight)?;
        if let Some(share) = self.share {
            map.serialize_entry("percent", &share)?;
        }
        map.serialize_entry("tree", &self.tree)?;
        map.end()
    }
}

/// A dtab entry.
struct JsonDentry<'a>(&'a Dentry);

impl Serialize for JsonDentry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("prefix", &self.0.prefix.to_string())?;
        map.serialize_entry("dst", &format!("{:#}", self.0.dst))?;
        map.end()
    }
}

/// A bound name.
struct JsonLeaf<'a>(&'a Bound);

impl Serialize for JsonLeaf<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("addr", &JsonAddress(&self.0.target))?;
        map.serialize_entry("id", &self.0.id.to_string())?;
        map.serialize_entry("path", &self.0.residual.to_string())?;
        map.end()
    }
}

/// The endpoints, or the status, behind a bound name.
struct JsonAddress<'a>(&'a Target);

impl Serialize for JsonAddress<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut meta = BTreeMap::new();
        let mut endpoints = Vec::new();
        match self.0 {
            Target::Endpoints(set) => endpoints.extend(Endpoint::preferred(&set.borrow()).cloned()),
            Target::Status(status) => {
                meta.insert("status", status);
            }
        }
        let addrs: Vec<_> = endpoints.iter().map(JsonEndpoint).collect();
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("type", "bound")?;
        map.serialize_entry("addrs", &addrs)?;
        map.serialize_entry("meta", &meta)?;
        map.end()
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
