//! The configuration of `io.l5d.ingress`.

use crate::kubernetes;
use serde::Serialize;

/// `io.l5d.ingress`: the backend by the Ingress resources of a cluster, `/svc/<namespace>/<port>/<service>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ingress {
    /// `host` and `port`, or `kubeconfig` and `context`, or none of them: the API server; and `snapshot`.
    #[serde(flatten)]
    pub client: kubernetes::Config,
    /// The namespace of the ingresses that are used; all namespaces unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// `ingressClassAnnotation`: the class of the ingresses that are used; `linkerd` unless given.
    ///
    /// An ingress names its class in the annotation `kubernetes.io/ingress.class`, which decides if it is present, or
    /// in `ingressClassName`. An ingress without a class is used, as in Linkerd.
    #[serde(rename = "ingressClassAnnotation")]
    pub class: String,
    /// Whether the default backends of ingresses are ignored, so that a request without a rule has no name; they are
    /// used unless said otherwise.
    pub ignore_default_backends: bool,
}

impl Ingress {
    /// The class of the ingresses that are used unless the configuration says otherwise: as in Linkerd.
    pub const CLASS: &str = "linkerd";
}
