//! `service`: the settings of logical names.

use super::by_prefix::{ByPrefix, Sections, Settings, by_prefix};
use super::client::replace;
use super::errors::Report;
use super::json::{is_default, some_millis};
use super::reader::{MAX_INT, Reader};
use super::resolved::Protocol;
use super::retries::{BackoffConfig, BudgetConfig, backoff, budget};
use crate::name::Path;
use crate::proxy::{
    Classifier, GrpcClassifier, MirrorSettings, RetriedMethods, ServiceSettings, StatusCodes, UNAVAILABLE,
};
use crate::source::node::Node;
use serde::Serialize;
use std::time::Duration;

/// The settings of the services of a router. The proxy has defaults for those that are none.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceConfig {
    /// `totalTimeoutMs`: how long a request may take until the head of its response, with all its attempts; unlimited by
    /// default.
    #[serde(
        rename = "totalTimeoutMs",
        serialize_with = "some_millis",
        skip_serializing_if = "Option::is_none"
    )]
    pub total_timeout: Option<Duration>,
    /// `responseClassifier`: `io.l5d.http.nonRetryable5XX` by default, or `io.l5d.h2.nonRetryable5XX`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_classifier: Option<ClassifierConfig>,
    /// `mirror`: the name to which requests are copied; none by default. Not in Linkerd 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<MirrorConfig>,
    /// `retries`.
    #[serde(skip_serializing_if = "is_default")]
    pub retries: RetriesConfig,
    /// `classificationTimeoutMs`: how long the trailers are awaited by which a response is judged; 100 ms by default. `h2`
    /// alone.
    #[serde(
        rename = "classificationTimeoutMs",
        serialize_with = "some_millis",
        skip_serializing_if = "Option::is_none"
    )]
    pub classification_timeout: Option<Duration>,
    /// `retryBufferSize`: `h2` alone.
    #[serde(skip_serializing_if = "is_default")]
    pub retry_buffer_size: RetryBufferConfig,
}

/// `mirror`: the name to which a share of the requests is copied.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct MirrorConfig {
    /// `name`: the logical name, such as `/svc/shadow`.
    pub name: Path,
    /// `percent`: how many of a hundred requests; all by default.
    pub percent: f64,
}

/// `retries`: how many retries there may be, and the pauses before them.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct RetriesConfig {
    /// `budget`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetConfig>,
    /// `backoff`: no pause by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<BackoffConfig>,
}

/// `retryBufferSize`: how much of a body is kept for a retry.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RetryBufferConfig {
    /// `requestBytes`: 16,383 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_bytes: Option<usize>,
    /// `responseBytes`: 16,383 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_bytes: Option<usize>,
}

/// `responseClassifier`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClassifierConfig {
    /// `kind`.
    pub kind: &'static str,
    /// `successStatusCodes`: the codes of gRPC that are no failure; 0 alone by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_status_codes: Option<Vec<u32>>,
    /// `retryableStatusCodes`: the codes after which `io.l5d.h2.grpc.retryableStatusCodes` retries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retryable_status_codes: Option<Vec<u32>>,
}

/// The rule of a kind of classifier.
#[derive(Clone, Copy)]
enum ClassifierRule {
    Status(Classifier),
    /// It retries these codes, or those of `retryableStatusCodes`; the flag says whether it is the compliant one.
    Grpc(Option<StatusCodes>, bool),
}

const fn by_status(retried: RetriedMethods) -> ClassifierRule {
    ClassifierRule::Status(Classifier::Status { judges: true, retried })
}

const ALL_SUCCESSFUL: ClassifierRule =
    ClassifierRule::Status(Classifier::Status { judges: false, retried: RetriedMethods::None });

/// The rule of each kind.
fn rules() -> [(&'static str, ClassifierRule); 15] {
    use RetriedMethods::{All, Idempotent, None as Nothing, Read};
    let unavailable = Some(StatusCodes::of([UNAVAILABLE]));
    [
        ("io.l5d.http.nonRetryable5XX", by_status(Nothing)),
        ("io.l5d.http.retryableRead5XX", by_status(Read)),
        ("io.l5d.http.retryableIdempotent5XX", by_status(Idempotent)),
        ("io.l5d.http.retryableAll5XX", by_status(All)),
        ("io.l5d.http.allSuccessful", ALL_SUCCESSFUL),
        ("io.l5d.h2.nonRetryable5XX", by_status(Nothing)),
        ("io.l5d.h2.retryableRead5XX", by_status(Read)),
        ("io.l5d.h2.retryableIdempotent5XX", by_status(Idempotent)),
        ("io.l5d.h2.retryableAll5XX", by_status(All)),
        ("io.l5d.h2.allSuccessful", ALL_SUCCESSFUL),
        ("io.l5d.h2.grpc.default", ClassifierRule::Grpc(unavailable, false)),
        // In Linkerd this kind was read as the default one.
        ("io.l5d.h2.grpc.compliant", ClassifierRule::Grpc(unavailable, true)),
        ("io.l5d.h2.grpc.alwaysRetryable", ClassifierRule::Grpc(Some(StatusCodes::ALL), false)),
        ("io.l5d.h2.grpc.neverRetryable", ClassifierRule::Grpc(Some(StatusCodes::default()), false)),
        ("io.l5d.h2.grpc.retryableStatusCodes", ClassifierRule::Grpc(None, false)),
    ]
}

impl ClassifierConfig {
    /// Returns the rule of the proxy.
    fn classifier(&self) -> Classifier {
        let rule = rules().into_iter().find(|(kind, _)| *kind == self.kind).map(|(_, rule)| rule);
        let codes = |codes: &Option<Vec<u32>>| codes.iter().flatten().copied().collect::<Vec<_>>();
        match rule {
            None => Classifier::default(),
            Some(ClassifierRule::Status(classifier)) => classifier,
            Some(ClassifierRule::Grpc(retried, is_compliant)) => Classifier::Grpc(GrpcClassifier {
                success: StatusCodes::of(self.success_status_codes.as_ref().map_or(vec![0], Clone::clone)),
                retried: retried.unwrap_or_else(|| StatusCodes::of(codes(&self.retryable_status_codes))),
                is_compliant,
            }),
        }
    }
}

impl ServiceConfig {
    /// Returns the settings of the proxy.
    pub(crate) fn settings(&self, believes_retryable: bool) -> ServiceSettings {
        let usual = ServiceSettings::default();
        let classifier = self.response_classifier.as_ref();
        let RetryBufferConfig { request_bytes, response_bytes } = &self.retry_buffer_size;
        ServiceSettings {
            total_timeout: self.total_timeout,
            classifier: classifier.map_or(usual.classifier, ClassifierConfig::classifier),
            believes_retryable,
            mirror: self
                .mirror
                .as_ref()
                .map(|mirror| MirrorSettings { name: mirror.name.clone(), percent: mirror.percent }),
            retry_budget: self.retries.budget.map_or(usual.retry_budget, BudgetConfig::settings),
            retry_backoff: self.retries.backoff.map_or(usual.retry_backoff, BackoffConfig::settings),
            request_buffer: request_bytes.unwrap_or(usual.request_buffer),
            response_buffer: response_bytes.unwrap_or(usual.response_buffer),
            classification_timeout: self.classification_timeout.unwrap_or(usual.classification_timeout),
        }
    }
}

impl Settings for ServiceConfig {
    fn merge(&mut self, later: &Self) {
        // Taken apart by name, so that a new key cannot be forgotten here.
        let Self {
            total_timeout,
            response_classifier,
            mirror,
            retries: RetriesConfig { budget, backoff },
            classification_timeout,
            retry_buffer_size: RetryBufferConfig { request_bytes, response_bytes },
        } = later;
        replace(&mut self.total_timeout, total_timeout);
        replace(&mut self.response_classifier, response_classifier);
        replace(&mut self.mirror, mirror);
        replace(&mut self.retries.budget, budget);
        replace(&mut self.retries.backoff, backoff);
        replace(&mut self.classification_timeout, classification_timeout);
        replace(&mut self.retry_buffer_size.request_bytes, request_bytes);
        replace(&mut self.retry_buffer_size.response_bytes, response_bytes);
    }
}

const SECTIONS: Sections =
    Sections { key: "service", by_prefix: &["service io.l5d.static"], entry: &["service of a prefix"] };

/// Reads `service`.
pub(super) fn service(router: &mut Reader<'_, '_>, protocol: Protocol) -> ByPrefix<ServiceConfig> {
    by_prefix(router, &SECTIONS, |node, _, report| settings(node, protocol, report))
}

/// Reads the settings of one mapping.
fn settings(node: &Node<'_>, protocol: Protocol, report: &mut Report) -> ServiceConfig {
    let mut service = Reader::new(node, &["service io.l5d.global"], report);
    let read = ServiceConfig {
        total_timeout: service.millis("totalTimeoutMs"),
        response_classifier: classifier(&mut service, protocol),
        mirror: mirror(&mut service),
        retries: retries(&mut service),
        ..ServiceConfig::default()
    };
    match protocol {
        Protocol::Http => read,
        Protocol::H2 => {
            let mut service = Reader::new(node, &["service io.l5d.global h2"], report);
            ServiceConfig {
                classification_timeout: service.millis("classificationTimeoutMs"),
                retry_buffer_size: retry_buffer(&mut service),
                ..read
            }
        }
    }
}

/// Reads `mirror`.
fn mirror(service: &mut Reader<'_, '_>) -> Option<MirrorConfig> {
    let node = service.get("mirror")?;
    let mut mirror = Reader::new(&node, &["mirror"], service.report());
    mirror.require("name");
    let percent = mirror.decimal("percent", 0.0..=100.0).unwrap_or(100.0);
    Some(MirrorConfig { name: mirror.path("name")?, percent })
}

/// Reads `retries`.
fn retries(service: &mut Reader<'_, '_>) -> RetriesConfig {
    let Some(node) = service.get("retries") else { return RetriesConfig::default() };
    let mut retries = Reader::new(&node, &["retries"], service.report());
    RetriesConfig { budget: budget(&mut retries, "budget"), backoff: backoff(&mut retries) }
}

/// Reads `retryBufferSize`.
fn retry_buffer(service: &mut Reader<'_, '_>) -> RetryBufferConfig {
    /// More would be kept for each request that is under way.
    const MOST: u64 = 1 << 24;
    let Some(node) = service.get("retryBufferSize") else { return RetryBufferConfig::default() };
    let mut sizes = Reader::new(&node, &["retry buffer size"], service.report());
    RetryBufferConfig {
        request_bytes: sizes.number("requestBytes", 0..=MOST),
        response_bytes: sizes.number("responseBytes", 0..=MOST),
    }
}

/// Reads `responseClassifier`. The validation has checked its kind, but for the protocol.
fn classifier(service: &mut Reader<'_, '_>, protocol: Protocol) -> Option<ClassifierConfig> {
    let node = service.get("responseClassifier")?;
    let kind_node = node.get("kind")?;
    let text = kind_node.text().ok()?;
    let (kind, rule) = rules().into_iter().find(|(kind, _)| *kind == text)?;
    let own = if protocol == Protocol::Http { "io.l5d.http." } else { "io.l5d.h2." };
    if !kind.starts_with(own) {
        let message = format!(
            "`{kind}` is not for a router of `protocol: {}`: its classifiers begin with `{own}`",
            protocol.name()
        );
        service.error(Some(&kind_node), message);
    }
    let mut read = ClassifierConfig { kind, success_status_codes: None, retryable_status_codes: None };
    if let ClassifierRule::Grpc(retried, _) = rule {
        let sections: &[&str] = if retried.is_none() {
            &["grpc classifier", "response classifier io.l5d.h2.grpc.retryableStatusCodes"]
        } else {
            &["grpc classifier"]
        };
        let mut keys = Reader::new(&node, sections, service.report());
        read.success_status_codes = codes(&mut keys, "successStatusCodes");
        if retried.is_none() {
            read.retryable_status_codes = codes(&mut keys, "retryableStatusCodes");
            keys.require("retryableStatusCodes");
        }
    }
    Some(read)
}

/// Reads a list of codes of gRPC, from 0 to 16.
fn codes(reader: &mut Reader<'_, '_>, key: &str) -> Option<Vec<u32>> {
    let list = reader.get(key)?;
    let nodes = reader.report().check(list.list())?;
    Some(reader.report().each(&nodes, |node, report| {
        let code = report.check(node.number(0..=16))?;
        u32::try_from(code.min(MAX_INT)).ok()
    }))
}
