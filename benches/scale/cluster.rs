//! The cluster: its objects as the API server would send them, with everything in them that a real one puts there.

use serde_json::{Value, json};
use std::net::Ipv4Addr;

/// How large it is.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) namespaces: usize,
    /// In all namespaces together.
    pub(crate) services: usize,
}

/// Endpoints of each service, all in one slice.
pub(crate) const ENDPOINTS: usize = 10;

/// Services that change, each in a namespace of its own.
pub(crate) const CHANGING: usize = 8;

const NODES: usize = 500;

impl Size {
    /// How many services each namespace has.
    pub(crate) const fn in_each(self) -> usize {
        self.services / self.namespaces
    }

    /// The number of a service among all that changes: the first one of its namespace.
    pub(crate) const fn changing(self, at: usize) -> usize {
        at * self.in_each()
    }
}

/// One service with its slice.
#[derive(Clone, Copy)]
pub(crate) struct Service {
    pub(crate) number: usize,
    pub(crate) size: Size,
    /// The port of all pods.
    pub(crate) port: u16,
}

impl Service {
    pub(crate) fn namespace(self) -> String {
        format!("team-{}-production", self.number / self.size.in_each())
    }

    pub(crate) fn name(self) -> String {
        format!("checkout-backend-{}", self.number)
    }

    /// The Service, at a version of the cluster.
    pub(crate) fn service(self, version: u64) -> Value {
        let name = self.name();
        json!({
            "kind": "Service",
            "apiVersion": "v1",
            "metadata": {
                "name": name,
                "namespace": self.namespace(),
                "uid": uid(1, self.number),
                "resourceVersion": version.to_string(),
                "creationTimestamp": "2026-01-05T10:11:12Z",
                "labels": {
                    "app.kubernetes.io/name": name,
                    "app.kubernetes.io/managed-by": "Helm",
                    "helm.sh/chart": "checkout-backend-1.24.3",
                },
                "annotations": {
                    "meta.helm.sh/release-name": name,
                    "meta.helm.sh/release-namespace": self.namespace(),
                },
                "managedFields": [{
                    "manager": "helm",
                    "operation": "Update",
                    "apiVersion": "v1",
                    "time": "2026-01-05T10:11:12Z",
                    "fieldsType": "FieldsV1",
                    "fieldsV1": {
                        "f:metadata": {
                            "f:annotations": {
                                ".": {},
                                "f:meta.helm.sh/release-name": {},
                                "f:meta.helm.sh/release-namespace": {},
                            },
                            "f:labels": {
                                ".": {},
                                "f:app.kubernetes.io/managed-by": {},
                                "f:app.kubernetes.io/name": {},
                                "f:helm.sh/chart": {},
                            },
                        },
                        "f:spec": {
                            "f:internalTrafficPolicy": {},
                            "f:ports": {
                                ".": {},
                                "k:{\"port\":80,\"protocol\":\"TCP\"}": {
                                    ".": {}, "f:name": {}, "f:port": {}, "f:protocol": {}, "f:targetPort": {},
                                },
                            },
                            "f:selector": {},
                            "f:sessionAffinity": {},
                            "f:type": {},
                        },
                    },
                }],
            },
            "spec": {
                "ports": [{ "name": "http", "protocol": "TCP", "port": 80, "targetPort": "http" }],
                "selector": { "app.kubernetes.io/name": name },
                "clusterIP": Ipv4Addr::from_bits(0x0a60_0000 + self.number as u32),
                "clusterIPs": [Ipv4Addr::from_bits(0x0a60_0000 + self.number as u32)],
                "type": "ClusterIP",
                "sessionAffinity": "None",
                "ipFamilies": ["IPv4"],
                "ipFamilyPolicy": "SingleStack",
                "internalTrafficPolicy": "Cluster",
            },
            "status": { "loadBalancer": {} },
        })
    }

    /// Its EndpointSlice, at a version of the cluster.
    ///
    /// In generation 0 every endpoint is ready. Later one alone is, at an address that no generation had before.
    pub(crate) fn slice(self, version: u64, generation: u16) -> Value {
        let name = self.name();
        let endpoints = (0..ENDPOINTS).map(|at| self.endpoint(at, generation)).collect::<Vec<_>>();
        json!({
            "kind": "EndpointSlice",
            "apiVersion": "discovery.k8s.io/v1",
            "metadata": {
                "name": format!("{name}-x7k2p"),
                "generateName": format!("{name}-"),
                "namespace": self.namespace(),
                "uid": uid(2, self.number),
                "resourceVersion": version.to_string(),
                "generation": version,
                "creationTimestamp": "2026-01-05T10:11:12Z",
                "labels": {
                    "app.kubernetes.io/managed-by": "Helm",
                    "app.kubernetes.io/name": name,
                    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                    "helm.sh/chart": "checkout-backend-1.24.3",
                    "kubernetes.io/service-name": name,
                },
                "annotations": { "endpoints.kubernetes.io/last-change-trigger-time": "2026-01-05T10:11:12Z" },
                "ownerReferences": [{
                    "apiVersion": "v1",
                    "kind": "Service",
                    "name": name,
                    "uid": uid(1, self.number),
                    "controller": true,
                    "blockOwnerDeletion": true,
                }],
                "managedFields": [{
                    "manager": "kube-controller-manager",
                    "operation": "Update",
                    "apiVersion": "discovery.k8s.io/v1",
                    "time": "2026-01-05T10:11:12Z",
                    "fieldsType": "FieldsV1",
                    "fieldsV1": {
                        "f:addressType": {},
                        "f:endpoints": {},
                        "f:metadata": {
                            "f:annotations": {
                                ".": {}, "f:endpoints.kubernetes.io/last-change-trigger-time": {},
                            },
                            "f:generateName": {},
                            "f:labels": {
                                ".": {},
                                "f:app.kubernetes.io/managed-by": {},
                                "f:app.kubernetes.io/name": {},
                                "f:endpointslice.kubernetes.io/managed-by": {},
                                "f:helm.sh/chart": {},
                                "f:kubernetes.io/service-name": {},
                            },
                            "f:ownerReferences": { ".": {}, format!("k:{{\"uid\":\"{}\"}}", uid(1, self.number)): {} },
                        },
                        "f:ports": {},
                    },
                }],
            },
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": [{ "name": "http", "port": self.port, "protocol": "TCP" }],
        })
    }

    fn endpoint(self, at: usize, generation: u16) -> Value {
        let number = self.number * ENDPOINTS + at;
        let (node, ready) = (number % NODES, generation == 0 || at == 0);
        let address = if generation > 0 && at == 0 { self.moved(generation) } else { first(number) };
        json!({
            "addresses": [address],
            "conditions": { "ready": ready, "serving": ready, "terminating": false },
            "nodeName": format!("ip-10-0-{}-{}.eu-west-1.compute.internal", node / 256, node % 256),
            "zone": format!("eu-west-1{}", ["a", "b", "c"][node % 3]),
            "targetRef": {
                "kind": "Pod",
                "namespace": self.namespace(),
                "name": format!("{}-{:010x}-{:05x}", self.name(), self.number * 0x00c0_ffee, number),
                "uid": uid(3, number),
            },
        })
    }

    /// Where the one endpoint is in a later generation.
    fn moved(self, generation: u16) -> Ipv4Addr {
        let at = self.number / self.size.in_each();
        let [high, low] = generation.to_be_bytes();
        Ipv4Addr::new(127, MOVED + at as u8, high, low)
    }
}

/// The second byte of the addresses of the first service that moves; the others' follow.
const MOVED: u8 = 200;

/// The generation that an address belongs to; 0 if it is not one of a service that moved.
pub(crate) fn generation_at(address: Ipv4Addr) -> u16 {
    match address.octets() {
        [127, at, high, low] if at >= MOVED => u16::from_be_bytes([high, low]),
        _ => 0,
    }
}

/// The address that an endpoint has at first: all of 127.0.0.0/8 is this machine.
fn first(number: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x7f01_0000 + number as u32)
}

fn uid(kind: usize, number: usize) -> String {
    format!("{kind:08x}-7a3c-4f1e-9b2d-{number:012x}")
}
