//! Notes: the meaning of a configuration, in words.

use super::resolved::{RouterPlaces, Server};
use super::{Config, Router, Warning};
use crate::context::{Range, Trust};
use crate::machine::source_address;
use crate::source::node::Place;
use std::fmt;
use std::net::IpAddr;

/// A sentence about one listener.
///
/// Display prints `file:line:column: message`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// The file's name.
    pub file: String,
    /// The place of the listener.
    pub place: Place,
    /// The path of keys to it, such as `routers[0].servers[0]`.
    pub key: String,
    /// The sentence.
    pub message: String,
    /// Whether it is logged as a warning: the listener does something else than in Linkerd.
    pub is_surprising: bool,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.place, self.message)
    }
}

impl Config {
    /// Returns a note for each listener: the callers that it trusts and the reason, what follows from it, and what to
    /// write for the other choice.
    ///
    /// ``linkerd.yaml:7:5: router in, 0.0.0.0:4140: trusts nobody: no `trust` is set and 0.0.0.0 is not loopback. ...``
    ///
    /// A note is surprising when a listener trusts no caller and no key of the file decides that: in Linkerd it would
    /// trust its callers.
    ///
    /// A listener with rules of `inject` that every caller can meet at will has another note, which says which these are.
    pub fn notes(&self) -> Vec<Note> {
        let notes = |listener: ConfiguredListener<'_>| {
            let ConfiguredListener { router, server, place, places, at } = listener;
            let (label, address) = (&router.label, server.address());
            let note = |text: String, is_surprising| Note {
                file: self.file.clone(),
                place,
                key: format!("{}.servers[{at}]", places.key),
                message: format!("router {label}, {address}: {text}"),
                is_surprising,
            };
            let trust = note(
                format!("{}. {}{}", server.trust_reason, meaning(&server.trust), limits_text(server)),
                server.trust == Trust::Nobody && !server.trust_is_set,
            );
            [Some(trust), rules_met_at_will(server).map(|text| note(text, false))]
        };
        self.listeners().flat_map(notes).flatten().collect()
    }

    /// Returns a warning for each range of trusted callers that holds an address of this machine, unless it is of
    /// loopback: where callers from outside are masqueraded, that is the address they come from.
    ///
    /// The machine is asked where it would send from, to the addresses that gateways usually have in the range. So an
    /// unusual address may be overlooked; and another machine, on which the file is checked, knows only its own.
    pub fn masquerade_warnings(&self) -> Vec<Warning> {
        self.warn_of_own_addresses(source_address)
    }

    fn warn_of_own_addresses(&self, source: impl Fn(IpAddr) -> Option<IpAddr>) -> Vec<Warning> {
        let own_address = |range: &Range| {
            let mut own = range.usual_gateways().filter_map(&source);
            own.find(|own| !own.is_loopback() && range.contains(*own))
        };
        let mut warnings = Vec::new();
        for ConfiguredListener { server, place, places, at, .. } in self.listeners() {
            for (range, own) in
                server.trust.ranges().iter().filter_map(|range| Some((range, own_address(range)?)))
            {
                warnings.push(Warning {
                    file: self.file.clone(),
                    place,
                    key: format!("{}.servers[{at}].trust.from", places.key),
                    code: "masqueraded",
                    message: masquerade_text(range, own),
                });
            }
        }
        warnings
    }

    /// Returns every listener with its router and its place.
    fn listeners(&self) -> impl Iterator<Item = ConfiguredListener<'_>> {
        self.routers.iter().zip(&self.places.routers).flat_map(|(router, places)| {
            let servers = router.servers.iter().zip(&places.servers).enumerate();
            servers.map(move |(at, (server, place))| ConfiguredListener {
                router,
                places,
                server,
                place: *place,
                at,
            })
        })
    }
}

/// A listener of a configuration.
struct ConfiguredListener<'a> {
    router: &'a Router,
    places: &'a RouterPlaces,
    server: &'a Server,
    place: Place,
    /// Its position among the servers of its router, from 0.
    at: usize,
}

/// Returns what follows from the trust of a listener, and what to write for the other choice.
fn meaning(trust: &Trust) -> &'static str {
    match trust {
        Trust::Nobody => {
            "Overrides of its callers are removed, errors name nothing internal, and what they say of the hops before them \
             (`X-Forwarded-For`) is replaced, unless `forwardedFrom` names them. To follow overrides, write \
             `trust: {from: [10.244.0.0/16]}` with the addresses of your callers, or `trust: everybody`"
        }
        Trust::Everybody => {
            "Every caller decides where its requests go, to any address that this router reaches. To remove overrides, \
             write `trust: nobody`; to follow those of some callers, `trust: {from: [10.244.0.0/16]}` with their addresses"
        }
        Trust::Loopback => {
            "Every program of this machine decides where its requests go, but a page in a browser only at a host that is \
             known. To follow overrides at other hosts too, name these in `hosts`, or write `trust: everybody`; to remove \
             overrides, write `trust: nobody`"
        }
        Trust::From(_) => {
            "Callers from there decide where their requests go, and so do those whose address is translated to one of \
             these on the way; overrides of all others are removed. To remove all, write `trust: nobody`"
        }
        Trust::Identities(_) => {
            "Callers with such a certificate, which `caCertPath` of `tls` has to have issued, decide where their requests go; \
             overrides of all others are removed. To remove all, write `trust: nobody`"
        }
        Trust::Signed(_) => {
            "A token decides where the requests that bring it go, and nothing else; overrides of callers that are not \
             trusted are removed. To follow what callers send by themselves, name their addresses in `from`, with \
             `require: any`; to accept no token, remove `signed`"
        }
    }
}

/// Returns a sentence about the limits of overrides; nothing when there are none but the default ones.
fn limits_text(server: &Server) -> &'static str {
    let rules = server.overrides.rules();
    if rules.prefixes.is_none() && rules.destinations.is_none() {
        return "";
    }
    ". What an override may change, and where it may lead, is limited by `overrides`"
}

/// Returns which rules of `inject` every caller can meet by what it sends, a cookie for example.
fn rules_met_at_will(server: &Server) -> Option<String> {
    let rules = (1..).zip(&*server.inject).filter(|(_, rule)| rule.when.can_be_met_at_will());
    let rules: Vec<_> = rules.map(|(number, _)| number.to_string()).collect();
    let (noun, numbers) = match &*rules {
        [] => return None,
        [one] => ("rule", one.clone()),
        several => ("rules", several.join(", ")),
    };
    Some(format!(
        "every caller can meet the conditions of {noun} {numbers} of `inject` at will, trusted or not, by what it sends. \
         Where that must not be, add `from`, or `percent` with `by: peer`"
    ))
}

/// Returns the warning about a range that holds an address of this machine.
fn masquerade_text(range: &Range, own: IpAddr) -> String {
    format!(
        "{range} holds {own}, an address of this machine: callers from outside that are masqueraded come from such an \
         address, and are trusted. Keep their own addresses (`externalTrafficPolicy: Local` at a Service, a network \
         plugin whose host ports do not masquerade), or trust narrower ranges"
    )
}

#[cfg(test)]
mod tests {
    use crate::config::read;
    use std::net::IpAddr;

    #[test]
    fn rules_that_every_caller_can_meet_are_named() {
        let yaml = "routers:\n- protocol: http\n  servers:\n  - inject: [RULES]\n";
        let at_will = "{when: {cookie: {a: b}}, dtab: /a => /b}";
        let by_address = "{when: {cookie: {a: b}, from: [10.0.0.0/8]}, dtab: /a => /b}";
        for (rules, expected) in [
            (vec![at_will], Some("the conditions of rule 1 of `inject` at will")),
            (vec![by_address], None),
            (vec![], None),
            (vec![at_will, by_address, at_will], Some("the conditions of rules 1, 3 of `inject` at will")),
        ] {
            let notes = read("f", &yaml.replace("RULES", &rules.join(", "))).unwrap().notes();
            let found = notes.get(1).map(|note| note.message.as_str());
            assert_eq!(notes.len(), 1 + usize::from(expected.is_some()));
            assert!(found.is_none_or(|found| found.contains(expected.unwrap())), "{found:?}");
        }
    }

    #[test]
    fn limits_on_overrides_are_mentioned() {
        for (limits, expected) in
            [("destinations: [/a]", true), ("prefixes: [/a]", true), ("maxEntries: 1", false)]
        {
            let yaml = format!("routers:\n- protocol: http\n  servers:\n  - overrides: {{{limits}}}\n");
            let notes = read("f", &yaml).unwrap().notes();
            assert_eq!(notes[0].message.ends_with("is limited by `overrides`"), expected, "{limits}");
        }
    }

    #[test]
    fn ranges_with_an_address_of_this_machine_are_warned_of() {
        let yaml =
            "routers:\n- protocol: http\n  servers:\n  - {port: 1}\n  - {port: 2, trust: {from: [RANGES]}}\n";
        for (ranges, own, expected) in [
            (
                "10.244.0.0/16",
                "10.244.7.1",
                Some("10.244.0.0/16 holds 10.244.7.1, an address of this machine"),
            ),
            ("10.0.0.0/8, 10.244.7.0/24", "10.244.7.1", Some("10.244.7.0/24 holds 10.244.7.1")),
            ("10.244.7.1", "10.244.7.1", Some("10.244.7.1/32 holds 10.244.7.1")),
            ("'fd00:1::/48'", "fd00:1:0:9::1", Some("fd00:1::/48 holds fd00:1:0:9::1")),
            ("10.244.0.0/16", "10.245.7.1", None),
            ("127.0.0.0/8", "127.0.0.1", None),
        ] {
            let own: IpAddr = own.parse().unwrap();
            let config = read("f", &yaml.replace("RANGES", ranges)).unwrap();
            // As a machine does that has this address, and a way to everywhere.
            let elsewhere: IpAddr = "203.0.113.7".parse().unwrap();
            let warnings = config.warn_of_own_addresses(|to| Some(if to == own { own } else { elsewhere }));
            let texts: Vec<_> = warnings.iter().map(ToString::to_string).collect();
            match expected {
                Some(expected) => {
                    let begin = format!("f:5:5: routers[0].servers[1].trust.from: {expected}");
                    assert!(texts.len() == 1 && texts[0].starts_with(&begin), "{texts:?}");
                }
                None => assert!(texts.is_empty(), "{texts:?}"),
            }
        }
    }

    #[test]
    fn an_address_from_which_the_range_is_reached_counts() {
        let yaml = "routers:\n- protocol: http\n  servers: [{port: 1, trust: {from: [172.17.0.0/16]}}]\n";
        let config = read("f", yaml).unwrap();
        let bridge = "172.17.0.9".parse().unwrap();
        assert_eq!(config.warn_of_own_addresses(|_| Some(bridge)).len(), 1);
        assert!(config.warn_of_own_addresses(|_| None).is_empty());
    }
}
