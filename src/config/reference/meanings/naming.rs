//! Namers, interpreters, transformers.

use super::SectionMeanings;

pub(super) const MEANINGS: &[SectionMeanings] = &[
    (
        "namer",
        &[
            ("prefix", "The path below `/#` of its names; by default its kind"),
            ("transformers", "Transformers of the names that it binds, in order"),
        ],
    ),
    (
        "namer kind",
        &[
            ("io.l5d.fs", "Names are files, with an address in each line"),
            ("io.l5d.rewrite", "Names that match a pattern become other names"),
            ("io.l5d.k8s", "Names are services of Kubernetes: `/<namespace>/<port>/<service>`"),
            ("io.l5d.k8s.ns", "The same in one namespace: `/<port>/<service>`"),
            ("io.l5d.k8s.external", "Names are the load balancers of services of Kubernetes"),
            ("io.l5d.dnssrv", "Names are SRV records of DNS"),
        ],
    ),
    ("namer io.l5d.fs", &[("rootDir", "The folder of the files")]),
    (
        "namer io.l5d.rewrite",
        &[
            ("pattern", "The names that are rewritten; `{name}` is any text within an element"),
            ("name", "The name that takes their place, with what the pattern found"),
        ],
    ),
    ("namer io.l5d.k8s", &[("endpoints", ENDPOINTS)]),
    (
        "namer io.l5d.k8s.ns",
        &[("envVar", "The variable of the environment that holds the namespace"), ("endpoints", ENDPOINTS)],
    ),
    (
        "kubernetes names",
        &[
            ("watch", "`namespace` watches each namespace in use, `cluster` all at once"),
            ("labelSelector", "A label whose value stands behind the service in names"),
            ("externalNames", "Whether a service of type `ExternalName` stands for its external name"),
        ],
    ),
    (
        "kubernetes client",
        &[
            (
                "host",
                "The host of the API server, over plain HTTP; by default `localhost` if `port` is given",
            ),
            ("port", "The port of the API server, over plain HTTP; by default 8001 if `host` is given"),
            ("kubeconfig", KUBECONFIG),
            ("context", CONTEXT),
            ("snapshot", SNAPSHOT),
        ],
    ),
    (
        "namer io.l5d.dnssrv",
        &[
            ("refreshIntervalSeconds", "How often records are asked for again"),
            ("dnsHosts", "The DNS servers, `host` or `host:port`; by default those of the system"),
            ("domain", "A domain that is put behind names; by default names are complete"),
        ],
    ),
    ("interpreter", &[("transformers", "Transformers of all bound names, in order")]),
    (
        "interpreter kind",
        &[
            ("default", "The router's own `dtab` is all"),
            ("io.l5d.fs", "More of the dtab is in a file"),
            ("io.l5d.k8s.configMap", "More of the dtab is in a ConfigMap"),
            ("io.l5d.k8s.dtab", "More of the dtab is in a custom resource"),
        ],
    ),
    ("interpreter io.l5d.fs", &[("dtabFile", "The file, which is followed live")]),
    (
        "interpreter io.l5d.k8s.configMap",
        &[
            ("namespace", "The namespace of the ConfigMap"),
            ("name", "The name of the ConfigMap"),
            ("filename", "The key whose value is the dtab"),
        ],
    ),
    (
        "interpreter io.l5d.k8s.dtab",
        &[
            ("namespace", "The namespace of the object"),
            ("name", "The name of the object"),
            ("apiVersion", "`l5d.io/v1alpha1` reads the `DTab` of Linkerd's namerd"),
        ],
    ),
    (
        "transformer kind",
        &[
            ("io.l5d.localhost", "Keeps endpoints at addresses of this machine"),
            ("io.l5d.specificHost", "Keeps endpoints at the addresses of a host"),
            ("io.l5d.port", "Sends to another port of the same addresses"),
            ("io.l5d.k8s.daemonset", "Sends to the pods of a daemon set on the nodes where endpoints are"),
            ("io.l5d.k8s.localnode", "Keeps endpoints on the node that the process runs on"),
            ("io.l5d.replace", "Puts a name in the place of every bound one"),
            ("io.l5d.const", "Puts a name in the place of whatever is asked"),
        ],
    ),
    ("transformer io.l5d.specificHost", &[("host", "An address, or the name of a host")]),
    ("transformer io.l5d.port", &[("port", "The port")]),
    (
        "transformer io.l5d.k8s.daemonset",
        &[
            ("k8sHost", "The host of the API server, over plain HTTP"),
            ("k8sPort", "The port of the API server, over plain HTTP"),
            ("kubeconfig", KUBECONFIG),
            ("context", CONTEXT),
            ("namespace", "The namespace of the daemon set's service"),
            ("service", "The service of the daemon set"),
            ("port", "The port of that service"),
            ("snapshot", SNAPSHOT),
        ],
    ),
    (
        "transformer io.l5d.k8s.localnode",
        &[("envVar", "The variable of the environment that holds the name of the node")],
    ),
    ("transformer io.l5d.replace", &[("path", "The name, below `/$`")]),
    ("transformer io.l5d.const", &[("path", "The name, below `/$`")]),
];

const ENDPOINTS: &str = "`discovery.k8s.io/v1` reads EndpointSlices, `v1` Endpoints";
const KUBECONFIG: &str =
    "A kubeconfig that says where the API server is; in a pod by default its service account";
const CONTEXT: &str = "A context of the kubeconfig; by default its current one";
const SNAPSHOT: &str = "A folder that keeps the last good answers for a start without the API server";
