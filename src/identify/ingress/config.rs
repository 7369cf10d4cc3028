use crate::kubernetes;
use serde::Serialize;

/// `io.l5d.ingress`: what the Ingress resources of a cluster say, `/svc/<namespace>/<port>/<service>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ingress {
    /// `host` and `port`, or `kubeconfig` and `context`, or none of them: where the API server is; and `snapshot`.
    #[serde(flatten)]
    pub client: kubernetes::Config,
    /// The namespace whose ingresses are used; those of all namespaces unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// `ingressClassAnnotation`: the class of the ingresses that are used; `linkerd` unless given.
    ///
    /// An ingress says its class in the annotation `kubernetes.io/ingress.class`, which decides where it is given, or in
    /// `ingressClassName`. One that says none is used, as in Linkerd.
    #[serde(rename = "ingressClassAnnotation")]
    pub class: String,
    /// Whether the default backends of ingresses are left out, so that what no rule names stays without a name; they
    /// are used unless said otherwise.
    pub ignore_default_backends: bool,
}

impl Ingress {
    /// The class of the ingresses that are used unless the configuration says otherwise: as in Linkerd.
    pub const CLASS: &str = "linkerd";
}
