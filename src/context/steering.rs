//! The names of the parts of a request that steer it, found in any spelling.

use super::Tenancy;
use super::baggage::{DTAB, ListRoom, fully_decoded, key, members};
use crate::message::{Head, KnownField};

/// The effect of a part of a request that steers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Steering {
    /// It holds dtab entries.
    Dtab,
    /// It names a tenant.
    Tenant,
}

/// The names of the parts of a request that steer it, of one listener.
///
/// A part without any such name costs one test of its length.
#[derive(Clone, Debug)]
pub(super) struct SteeringNames {
    /// The key under which a tenant is written.
    first_key: Box<str>,
    keys: NameSet,
    headers: TenantHeaders,
    parameter: NameSet,
}

impl SteeringNames {
    pub(super) fn new(tenancy: &Tenancy) -> Self {
        Self {
            first_key: tenancy.first_key().unwrap_or_default().into(),
            keys: NameSet::new(&tenancy.keys),
            headers: TenantHeaders(NameSet::new(&tenancy.headers)),
            parameter: NameSet::new(tenancy.query_parameter.as_slice()),
        }
    }

    /// Returns the effect of a member of a list by its key, as a service or proxy behind the router may read that.
    ///
    /// Libraries differ from the standard: some percent-decode keys, read `+` as a blank, drop bytes that are not text,
    /// or ignore the case. So all of that makes no difference here, however often a key is encoded.
    pub(super) fn of_key(&self, key: &[u8]) -> Option<Steering> {
        read_laxly(key, |key| self.of_read_key(key, is_same_letter))
    }

    /// Returns the effect of a field that holds one member of baggage, by its name: `ot-baggage-<key>` or
    /// `uberctx-<key>`. It is read like [a key](Self::of_key), and a CGI gateway takes `_` for `-`.
    pub(super) fn of_item(&self, name: &[u8]) -> Option<Steering> {
        let is_opentracing = name.first().is_some_and(|first| first.eq_ignore_ascii_case(&b'o'));
        let prefix = if is_opentracing { "ot-baggage-" } else { "uberctx-" };
        let key = name.get(prefix.len()..).unwrap_or_default();
        read_laxly(key, |key| self.of_read_key(key, is_same_in_name))
    }

    fn of_read_key(&self, key: &[u8], is_same: fn(u8, u8) -> bool) -> Option<Steering> {
        if key.eq_ignore_ascii_case(DTAB.as_bytes()) {
            return Some(Steering::Dtab);
        }
        self.keys.contains(key, is_same).then_some(Steering::Tenant)
    }

    /// Returns whether a key is that of a tenant, spelt exactly so.
    pub(super) fn is_tenant_key(&self, key: &[u8]) -> bool {
        self.keys.contains(key, |got, wanted| got == wanted)
    }

    /// Returns the headers that carry a tenant.
    pub(super) fn headers(&self) -> &TenantHeaders {
        &self.headers
    }

    /// Returns whether a query parameter carries a tenant, by its name, which is read like [a key](Self::of_key).
    pub(super) fn is_tenant_parameter(&self, name: &[u8]) -> bool {
        read_laxly(name, |name| self.parameter.contains(name, is_same_letter))
    }

    /// Returns whether a member of `baggage` names a tenant.
    pub(super) fn has_tenant(&self, head: &Head) -> bool {
        head.get_all(KnownField::Baggage).flat_map(members).any(|member| self.names_tenant(member))
    }

    /// Writes a tenant into `baggage`, in place of every member that names one; `value` is percent-encoded.
    ///
    /// The other members stay as they came, as many as there is room for beside it.
    pub(super) fn set_tenant(&self, head: &mut Head, value: &str, scratch: &mut Vec<u8>) {
        scratch.clear();
        for part in [&*self.first_key, "=", value] {
            scratch.extend_from_slice(part.as_bytes());
        }
        let mut room = ListRoom::default();
        room.take(scratch);
        room.retain(head, KnownField::Baggage, |member| !self.names_tenant(member));
        head.append_known(KnownField::Baggage, scratch);
    }

    fn names_tenant(&self, member: &[u8]) -> bool {
        self.of_key(key(member)) == Some(Steering::Tenant)
    }

    /// Returns whether any query parameter carries a tenant.
    pub(super) fn has_parameter(&self) -> bool {
        !self.parameter.is_empty()
    }
}

/// The configured names of header fields that carry a tenant.
#[derive(Clone, Debug)]
pub struct TenantHeaders(NameSet);

impl TenantHeaders {
    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether the field of this name carries a tenant. Its case makes no difference, and a CGI gateway takes `_`
    /// for `-`.
    pub fn contains(&self, name: &[u8]) -> bool {
        self.0.contains(name, is_same_in_name)
    }
}

/// A set of names.
#[derive(Clone, Debug)]
struct NameSet {
    names: Vec<Box<[u8]>>,
    /// The bits of the lengths that the names have.
    lengths: u64,
}

impl NameSet {
    fn new(names: &[String]) -> Self {
        let names: Vec<Box<[u8]>> = names.iter().map(|name| name.as_bytes().into()).collect();
        let lengths = names.iter().fold(0, |lengths, name| lengths | length_bit(name));
        Self { names, lengths }
    }

    fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    fn contains(&self, name: &[u8], is_same: fn(u8, u8) -> bool) -> bool {
        let is_named = |wanted: &[u8]| {
            wanted.len() == name.len()
                && std::iter::zip(name, wanted).all(|(&got, &wanted)| is_same(got, wanted))
        };
        self.lengths & length_bit(name) != 0 && self.names.iter().any(|wanted| is_named(wanted))
    }
}

/// Returns the bit of a name's length; the long ones share the last.
fn length_bit(name: &[u8]) -> u64 {
    1 << name.len().min(63)
}

fn is_same_letter(got: u8, wanted: u8) -> bool {
    got.eq_ignore_ascii_case(&wanted)
}

fn is_same_in_name(got: u8, wanted: u8) -> bool {
    let hyphen = |byte| if byte == b'_' { b'-' } else { byte };
    is_same_letter(hyphen(got), hyphen(wanted))
}

/// Reads a name as the laxest reader does, and hands it to `read`.
///
/// It is percent-decoded as often as possible. Bytes that are no visible ASCII do not count, and neither does `+`.
/// Nothing is allocated for a name without any of that.
fn read_laxly<T>(name: &[u8], read: impl Fn(&[u8]) -> T) -> T {
    if name.iter().fold(true, |all, byte| all & (byte.is_ascii_graphic() && !matches!(byte, b'%' | b'+'))) {
        return read(name);
    }
    // A letter beyond ASCII may have the upper or lower case of one that is in it.
    let plain: String = String::from_utf8_lossy(&fully_decoded(name))
        .chars()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .filter(|letter| letter.is_ascii_graphic() && *letter != '+')
        .collect();
    read(plain.as_bytes())
}

#[cfg(test)]
mod tests;
