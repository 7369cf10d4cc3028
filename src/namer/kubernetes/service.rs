//! The kept part of a Service.

use super::service_name::Port;
use crate::kubernetes::WatchedObject;
use crate::namer::address::{is_host_name, literal};
use k8s_openapi::api::core::v1 as core;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::sync::Arc;

/// The kept part of a Service.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct KubernetesService {
    /// The TCP ports.
    ports: Vec<ServicePort>,
    labels: Box<[(Box<str>, Box<str>)]>,
    /// The addresses of its load balancer.
    pub(super) ingress: Vec<LoadBalancerAddress>,
    /// The host that it stands for in place of pods, in lower case, if its type is `ExternalName`. Its slices, if there
    /// are any, are those of an earlier type: the controllers do not remove them.
    pub(super) external_name: Option<Arc<str>>,
}

/// A port of a Service.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct ServicePort {
    /// Empty for the only port of a service, which needs no name.
    name: String,
    number: u16,
}

/// One address of a load balancer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum LoadBalancerAddress {
    Address(IpAddr),
    /// A host name, in lower case.
    Host(Arc<str>),
}

impl KubernetesService {
    /// Returns the name of the port with this number, which is also its name in slices.
    pub(super) fn name_of(&self, number: u16) -> Option<&str> {
        self.ports.iter().find(|port| port.number == number).map(|port| port.name.as_str())
    }

    /// Returns the number of a port.
    pub(super) fn number_of(&self, wanted: &Port) -> Option<u16> {
        let found = self.ports.iter().find(|port| match wanted {
            Port::Number(number) => port.number == *number,
            Port::Name(name) => port.name.eq_ignore_ascii_case(name),
        });
        found.map(|port| port.number)
    }

    /// Returns the number of a port of its external name: one of its own ports or, if it lists none, any.
    pub(super) fn external_number_of(&self, wanted: &Port) -> Option<u16> {
        match wanted {
            Port::Number(number) if self.ports.is_empty() => Some(*number),
            _ => self.number_of(wanted),
        }
    }

    /// Returns whether a label has this value; case does not count, because names are in lower case.
    pub(super) fn has_label(&self, key: &str, value: &str) -> bool {
        self.labels.iter().any(|(known, label)| **known == *key && label.eq_ignore_ascii_case(value))
    }
}

/// Returns whether a port is a TCP port. Without a protocol it is one.
pub(super) fn is_tcp(protocol: Option<&str>) -> bool {
    protocol.is_none_or(|protocol| protocol.is_empty() || protocol == "TCP")
}

impl WatchedObject for KubernetesService {
    type ApiObject = core::Service;

    fn from_api(service: core::Service) -> Self {
        let port = |port: core::ServicePort| {
            let number = u16::try_from(port.port).ok().filter(|_| is_tcp(port.protocol.as_deref()))?;
            Some(ServicePort { name: port.name.unwrap_or_default(), number })
        };
        let spec = service.spec.unwrap_or_default();
        let external_name = (spec.type_.as_deref() == Some("ExternalName"))
            .then(|| spec.external_name.unwrap_or_default().to_ascii_lowercase().into());
        let ports = spec.ports.unwrap_or_default();
        let balancer = service.status.and_then(|status| status.load_balancer);
        let ingress = balancer.and_then(|balancer| balancer.ingress).unwrap_or_default();
        let labels = service.metadata.labels.unwrap_or_default();
        Self {
            ports: ports.into_iter().filter_map(port).collect(),
            labels: labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
            ingress: ingress.into_iter().filter_map(|ingress| balancer_address(&ingress)).collect(),
            external_name,
        }
    }
}

/// Reads one address of a load balancer.
fn balancer_address(ingress: &core::LoadBalancerIngress) -> Option<LoadBalancerAddress> {
    let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    if let Some(address) = text(&ingress.ip).and_then(|ip| ip.parse().ok()) {
        return Some(LoadBalancerAddress::Address(address));
    }
    let host = text(&ingress.hostname)?;
    match literal(&host) {
        Some(address) => Some(LoadBalancerAddress::Address(address)),
        None => is_host_name(&host).then(|| LoadBalancerAddress::Host(host.to_ascii_lowercase().into())),
    }
}

#[cfg(test)]
mod tests {
    use super::{KubernetesService, LoadBalancerAddress, Port};
    use crate::kubernetes::WatchedObject as _;
    use serde_json::json;

    #[test]
    fn what_is_kept() {
        let service = json!({
            "metadata": { "name": "dns", "labels": { "version": "V2" } },
            "spec": { "ports": [
                { "name": "dns", "port": 53, "protocol": "UDP" },
                { "name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": "x" },
                { "port": 80 },
                { "name": "wrong", "port": 70000 },
            ] },
            "status": { "loadBalancer": { "ingress": [
                { "ip": "10.0.0.1" }, { "hostname": "LB.example.org" }, { "ip": "::1", "hostname": "x" },
                { "hostname": "10.0.0.2" }, { "hostname": "a b" }, {},
            ] } },
        });
        let service = KubernetesService::from_api(serde_json::from_value(service).unwrap());
        let saved = serde_json::to_value(&service).unwrap();
        assert_eq!(
            serde_json::from_value::<KubernetesService>(saved).unwrap(),
            service,
            "in a snapshot, too"
        );
        assert_eq!(
            (service.name_of(53), service.name_of(80), service.name_of(81)),
            (Some("dns-tcp"), Some(""), None)
        );
        let number = |port: Port| service.number_of(&port);
        assert_eq!(
            (number(Port::Name("dns-tcp".into())), number(Port::Name("dns".into()))),
            (Some(53), None)
        );
        assert_eq!((number(Port::Number(80)), number(Port::Number(81))), (Some(80), None));
        assert!(service.has_label("version", "v2") && !service.has_label("version", "v1"));
        let address = |text: &str| LoadBalancerAddress::Address(text.parse().unwrap());
        let host = LoadBalancerAddress::Host("lb.example.org".into());
        assert_eq!(service.ingress, [address("10.0.0.1"), host, address("::1"), address("10.0.0.2")]);
    }

    #[test]
    fn external_names() {
        for (spec, name, ports) in [
            (
                json!({ "type": "ExternalName", "externalName": "WWW.example.org" }),
                Some("www.example.org"),
                [Some(80), None],
            ),
            (
                json!({ "type": "ExternalName", "externalName": "a", "ports": [{ "name": "http", "port": 81 }] }),
                Some("a"),
                [None, Some(81)],
            ),
            (json!({ "type": "ExternalName" }), Some(""), [Some(80), None]),
            (json!({ "type": "ClusterIP", "externalName": "left.behind" }), None, [Some(80), None]),
        ] {
            let said = spec.to_string();
            let service =
                KubernetesService::from_api(serde_json::from_value(json!({ "spec": spec })).unwrap());
            assert_eq!(service.external_name.as_deref(), name, "{said}");
            let found =
                [Port::Number(80), Port::Name("http".into())].map(|port| service.external_number_of(&port));
            assert_eq!(found, ports, "{said}");
        }
    }

    #[test]
    fn everything_may_be_absent_or_null() {
        for text in [
            "{}",
            r#"{"spec": null, "status": null}"#,
            r#"{"spec": {"ports": null}, "status": {"loadBalancer": null}}"#,
            r#"{"metadata": {"labels": null}, "status": {"loadBalancer": {"ingress": null}}}"#,
        ] {
            let service = KubernetesService::from_api(
                serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}")),
            );
            assert_eq!(service, KubernetesService::default(), "{text}");
        }
    }
}
