//! Namers, interpreters, transformers.

use super::Support::{NoEffect, NotYet, Refused, Works};
use super::{CONSUL, Section, key, kinds, list, section};

/// The reason for `experimental`, a key of many mappings.
pub(super) const NO_EXPERIMENT: &str = "every feature may be used without it";

/// The reason for `hostNetwork`, without which Linkerd compared the first 24 bits of addresses.
const BY_NODE: &str = "nodes are told apart by their names where `NODE_NAME` is there, whether or not pods use the network of their host";

const ZOOKEEPER: &str = "ZooKeeper is not asked for names: write them to files for `io.l5d.fs`";
const SCHEDULER: &str = "this scheduler is not asked for names: write them to files for `io.l5d.fs`";
const ISTIO: &str = "the Istio of Linkerd 1 is gone: use `io.l5d.k8s`";
const NAMERD: &str = "namerd is not asked: keep the dtab in the router's `dtab`";
const ISTIO_INTERPRETER: &str = "the Istio of Linkerd 1 is gone: keep the dtab in the router's `dtab`";

pub(super) const SECTIONS: &[Section] = &[
    kinds(
        "namer",
        &[
            key("prefix", Works),
            key("experimental", NoEffect(NO_EXPERIMENT)),
            list("transformers", Works, "transformer"),
        ],
    ),
    section(
        "namer kind",
        &[
            key("io.l5d.fs", Works),
            key("io.l5d.rewrite", Works),
            key("io.l5d.k8s", Works),
            key("io.l5d.k8s.ns", Works),
            key("io.l5d.k8s.external", Works),
            key("io.l5d.consul", NotYet(CONSUL)),
            key("io.l5d.dnssrv", Works),
            key("io.l5d.serversets", Refused(ZOOKEEPER)),
            key("io.l5d.zkLeader", Refused(ZOOKEEPER)),
            key("io.l5d.curator", Refused(ZOOKEEPER)),
            key("io.l5d.marathon", Refused(SCHEDULER)),
            key("io.l5d.rancher", Refused(SCHEDULER)),
            key("io.l5d.k8s.istio", Refused(ISTIO)),
        ],
    ),
    section("namer io.l5d.fs", &[key("rootDir", Works)]),
    section("namer io.l5d.rewrite", &[key("pattern", Works), key("name", Works)]),
    section("namer io.l5d.k8s", &[key("endpoints", Works)]).with(&["kubernetes names"]),
    section("namer io.l5d.k8s.ns", &[key("envVar", Works), key("endpoints", Works)])
        .with(&["kubernetes names"]),
    section("namer io.l5d.k8s.external", &[]).with(&["kubernetes names"]),
    section(
        "kubernetes names",
        &[key("watch", Works), key("labelSelector", Works), key("externalNames", Works)],
    )
    .with(&["kubernetes client"]),
    section(
        "kubernetes client",
        &[
            key("host", Works),
            key("port", Works),
            key("kubeconfig", Works),
            key("context", Works),
            key("snapshot", Works),
        ],
    ),
    section(
        "namer io.l5d.dnssrv",
        &[key("refreshIntervalSeconds", Works), key("dnsHosts", Works), key("domain", Works)],
    ),
    kinds(
        "interpreter",
        &[key("experimental", NoEffect(NO_EXPERIMENT)), list("transformers", Works, "transformer")],
    )
    .defaults_to("default"),
    section(
        "interpreter kind",
        &[
            key("default", Works),
            key("io.l5d.fs", Works),
            key("io.l5d.k8s.configMap", Works),
            key("io.l5d.k8s.dtab", Works),
            key("io.l5d.consul.interpreter", NotYet(CONSUL)),
            key("io.l5d.namerd", Refused(NAMERD)),
            key("io.l5d.namerd.http", Refused(NAMERD)),
            key("io.l5d.mesh", Refused(NAMERD)),
            key("io.l5d.k8s.istio", Refused(ISTIO_INTERPRETER)),
        ],
    ),
    section("interpreter io.l5d.fs", &[key("dtabFile", Works)]),
    section(
        "interpreter io.l5d.k8s.configMap",
        &[key("namespace", Works), key("name", Works), key("filename", Works)],
    )
    .with(&["kubernetes client"]),
    section(
        "interpreter io.l5d.k8s.dtab",
        &[key("namespace", Works), key("name", Works), key("apiVersion", Works)],
    )
    .with(&["kubernetes client"]),
    kinds("transformer", &[]),
    section(
        "transformer kind",
        &[
            key("io.l5d.localhost", Works),
            key("io.l5d.specificHost", Works),
            key("io.l5d.port", Works),
            key("io.l5d.k8s.daemonset", Works),
            key("io.l5d.k8s.localnode", Works),
            key("io.l5d.replace", Works),
            key("io.l5d.const", Works),
        ],
    ),
    section("transformer io.l5d.specificHost", &[key("host", Works)]),
    section("transformer io.l5d.port", &[key("port", Works)]),
    section(
        "transformer io.l5d.k8s.daemonset",
        &[
            key("k8sHost", Works),
            key("k8sPort", Works),
            key("kubeconfig", Works),
            key("context", Works),
            key("namespace", Works),
            key("service", Works),
            key("port", Works),
            key("snapshot", Works),
            key("hostNetwork", NoEffect(BY_NODE)),
        ],
    ),
    section(
        "transformer io.l5d.k8s.localnode",
        &[key("envVar", Works), key("hostNetwork", NoEffect(BY_NODE))],
    ),
    section("transformer io.l5d.replace", &[key("path", Works)]),
    section("transformer io.l5d.const", &[key("path", Works)]),
];
