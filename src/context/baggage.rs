//! The members of `baggage`: their keys, their values, and the keys that steer a request.
//!
//! The value of the header is a list, over all of its lines: `key=value;property;property=value, key=value` (W3C
//! Baggage, 3.3). Blanks may stand around every part. Values are percent-encoded, keys are compared with their case. A
//! key may come again; the members count in order.
//!
//! Nothing here changes a member. A list is only ever written with fewer of them, each as it came, or with a tenant
//! behind them.

use super::forwarded::is_token;
use crate::message::{Head, KnownField};
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while, take_while1};
use nom::combinator::{all_consuming, map_opt, opt};
use nom::multi::{fold_many0, many0_count};
use nom::number::complete::be_u8;
use nom::sequence::{delimited, preceded};
use nom::{IResult, Parser};
use std::fmt::Write as _;

/// The key of the member that holds a dtab.
pub(super) const DTAB: &str = "dtab";

/// The keys that steer a request: the dtab's, and those by which Signadot, Okteto and mirrord choose a tenant.
const STEERING_KEYS: [&str; 5] = [DTAB, "sd-routing-key", "sd-sandbox", "okteto-divert", "mirrord-session"];

/// The key under which a tenant is written: the first of those that choose one.
fn first_tenancy_key() -> &'static str {
    "sd-routing-key"
}

/// Returns whether a member chooses a tenant.
fn is_tenancy(member: &[u8]) -> bool {
    steering_key(key(member)).is_some_and(|steering| steering != DTAB)
}

/// The most of a baggage that has to be passed on (W3C Baggage, 3.3.2): members, and bytes with the commas between
/// them.
const MAX_MEMBERS: usize = 64;
const MAX_BYTES: usize = 8192;

/// Returns the members of one line, each with the blanks around it, without empty ones.
pub(super) fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&byte| byte == b',').filter(|member| !member.trim_ascii().is_empty())
}

/// Returns the key of a member, which may be malformed: all that stands before the first `=` or `;`.
pub(super) fn key(member: &[u8]) -> &[u8] {
    member.split(|byte| matches!(byte, b'=' | b';')).next().unwrap_or_default().trim_ascii()
}

/// Returns the value of a member, still percent-encoded; `None` when the member is malformed.
pub(super) fn value(member: &[u8]) -> Option<&[u8]> {
    let (_, value) = all_consuming(delimited(blanks, well_formed, blanks)).parse(member).ok()?;
    Some(value)
}

/// Returns the values of the members of one line that hold a dtab, still percent-encoded; `None` for one that is
/// malformed.
pub(super) fn dtab_values(line: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    members(line).filter(|member| key(member) == DTAB.as_bytes()).map(value)
}

/// Returns the steering key that a key is, or that a service or proxy behind the router may take it for.
///
/// Libraries differ from the standard: some percent-decode keys, read `+` as a blank, drop bytes that are not text, or
/// ignore the case. So all of that makes no difference here, however often a key is encoded.
pub(super) fn steering_key(key: &[u8]) -> Option<&'static str> {
    if key.iter().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'%' | b'+')) {
        return STEERING_KEYS.into_iter().find(|steering| key.eq_ignore_ascii_case(steering.as_bytes()));
    }
    // A letter beyond ASCII may have the upper or lower case of one that is in it.
    let read: String = String::from_utf8_lossy(&fully_decoded(key))
        .chars()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .filter(|letter| letter.is_ascii_graphic() && *letter != '+')
        .collect();
    STEERING_KEYS.into_iter().find(|steering| read == *steering)
}

/// The room that is left in a list that is written here.
#[derive(Debug)]
pub(super) struct ListRoom {
    members: usize,
    bytes: usize,
}

impl Default for ListRoom {
    fn default() -> Self {
        // The first member has no comma before it.
        Self { members: MAX_MEMBERS, bytes: MAX_BYTES + 1 }
    }
}

impl ListRoom {
    /// Takes the room for a member, unless it does not fit as a whole.
    pub(super) fn take(&mut self, member: &[u8]) -> bool {
        let left = (self.members.checked_sub(1), self.bytes.checked_sub(member.len() + 1));
        let (Some(members), Some(bytes)) = left else { return false };
        *self = Self { members, bytes };
        true
    }
}

/// Writes a tenant into `baggage`, in place of every member that chooses one; `value` is percent-encoded.
///
/// The other members stay as they came, as many as there is room for beside it.
pub(super) fn set_tenant(head: &mut Head, value: &str, scratch: &mut Vec<u8>) {
    scratch.clear();
    for part in [first_tenancy_key(), "=", value] {
        scratch.extend_from_slice(part.as_bytes());
    }
    let mut room = ListRoom::default();
    room.take(scratch);
    head.replace_values(KnownField::Baggage, |line| {
        let others = members(line).filter(|member| !is_tenancy(member));
        let kept: Vec<&[u8]> = others.filter(|member| room.take(member)).collect();
        (kept.len() < members(line).count()).then(|| kept.join(b",".as_slice()))
    });
    head.append_known(KnownField::Baggage, scratch);
}

/// Percent-encodes a value of baggage: all bytes but ASCII letters, digits and `-._~`, as JavaScript and Python do.
pub fn encode_baggage_value(value: &[u8]) -> String {
    let mut encoded = String::with_capacity(3 * value.len());
    for &byte in value {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Percent-decodes a value; a `%` without two hexadecimal digits behind it stands for itself.
pub(super) fn decode_value(value: &[u8]) -> Vec<u8> {
    let room = || Vec::with_capacity(value.len());
    let mut bytes = fold_many0(alt((escaped, be_u8)), room, |mut decoded, byte| {
        decoded.push(byte);
        decoded
    });
    // Every byte is read, as one that stands for itself if need be.
    bytes.parse(value).map_or_else(|_| Vec::new(), |(_, decoded)| decoded)
}

/// Percent-decodes a key as often as there is something to decode: the bytes behind a `%` may be encoded themselves.
fn fully_decoded(key: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(key.len());
    for &byte in key {
        decoded.push(byte);
        while let Some((rest, last)) = decoded.split_last_chunk::<3>()
            && let Ok((_, byte)) = escaped(last)
        {
            decoded.truncate(rest.len());
            decoded.push(byte);
        }
    }
    decoded
}

/// Reads a member without the blanks around it; returns its value.
fn well_formed(input: &[u8]) -> IResult<&[u8], &[u8], ()> {
    let assigned = || preceded((blanks, tag("="), blanks), take_while(is_octet));
    let property = (blanks, tag(";"), blanks, take_while1(is_token), opt(assigned()));
    delimited(take_while1(is_token), assigned(), many0_count(property)).parse(input)
}

fn blanks(input: &[u8]) -> IResult<&[u8], &[u8], ()> {
    take_while(|byte| matches!(byte, b' ' | b'\t')).parse(input)
}

/// Reads a percent-encoded byte.
fn escaped(input: &[u8]) -> IResult<&[u8], u8, ()> {
    let digit = || map_opt(be_u8, |byte| char::from(byte).to_digit(16));
    let mut byte = (tag("%"), digit(), digit()).map(|(_, high, low)| (16 * high + low) as u8);
    byte.parse(input)
}

/// Returns whether a byte may stand in a value: visible ASCII but `"`, `,`, `;` and `\`.
fn is_octet(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\')
}

#[cfg(test)]
mod tests;
