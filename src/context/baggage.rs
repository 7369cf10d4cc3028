//! The members of `baggage`: their keys and their values.
//!
//! The value of the header is a list, over all of its lines: `key=value;property;property=value, key=value` (W3C
//! Baggage, 3.3). Blanks may stand around every part. Values are percent-encoded, keys are compared with their case. A
//! key may come again; the members count in order.
//!
//! Nothing here changes a member. A list is only ever written with fewer of them, each as it came, or with a tenant
//! behind them.

use crate::message::{Head, KnownField, is_token_byte};
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while, take_while1};
use nom::combinator::{all_consuming, map_opt, opt};
use nom::multi::{fold_many0, many0_count};
use nom::number::complete::be_u8;
use nom::sequence::{delimited, preceded};
use nom::{IResult, Parser};
use std::fmt::Write as _;
use std::iter;

/// The key of the member that holds a dtab.
pub(super) const DTAB: &str = "dtab";

/// The most of a baggage that has to be passed on (W3C Baggage, 3.3.2): members, and bytes with the commas between
/// them.
const MAX_MEMBERS: usize = 64;
const MAX_BYTES: usize = 8192;

/// Returns the members of one line, each with the blanks around it, without empty ones.
pub(super) fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    let next = move || {
        let line = rest?;
        let end = memchr::memchr(b',', line).unwrap_or(line.len());
        rest = line.get(end + 1..);
        line.get(..end)
    };
    iter::from_fn(next).filter(|member| !member.trim_ascii().is_empty())
}

/// Returns the key of a member, which may be malformed: all that stands before the first `=` or `;`.
pub(super) fn key(member: &[u8]) -> &[u8] {
    let end = memchr::memchr2(b'=', b';', member).unwrap_or(member.len());
    member.get(..end).unwrap_or_default().trim_ascii()
}

/// Returns the value of a member, still percent-encoded; `None` when the member is malformed.
pub(super) fn value(member: &[u8]) -> Option<&[u8]> {
    // Nearly every member of a stranger is seen to be well-formed without its grammar, at half the cost.
    plain_value(member).or_else(|| grammatical_value(member))
}

/// Returns the value of a well-formed member that has no property, and no blank inside.
pub(super) fn plain_value(member: &[u8]) -> Option<&[u8]> {
    let member = trim_blanks(member);
    let key = member.iter().position(|&byte| !is_token_byte(byte)).filter(|&key| key > 0)?;
    let value = member.get(key..)?.strip_prefix(b"=")?;
    // Without a branch for each byte, so that several are looked at at once.
    value.iter().fold(true, |all, &byte| all & is_octet(byte)).then_some(value)
}

fn trim_blanks(mut member: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = member {
        member = rest;
    }
    member
}

/// Returns the value of a well-formed member.
pub(super) fn grammatical_value(member: &[u8]) -> Option<&[u8]> {
    let (_, value) = all_consuming(delimited(blanks, well_formed, blanks)).parse(member).ok()?;
    Some(value)
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

    /// Removes from a list, over all of its lines, the members that may not stay and those for which there is no room,
    /// each as a whole. A line that loses none stays as it came.
    pub(super) fn retain(&mut self, head: &mut Head, known: KnownField, stays: impl Fn(&[u8]) -> bool) {
        head.replace_values(known, |line| {
            let stay = members(line).filter(|member| stays(member));
            let kept: Vec<&[u8]> = stay.filter(|member| self.take(member)).collect();
            (kept.len() < members(line).count()).then(|| kept.join(b",".as_slice()))
        });
    }
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
    let mut decoded = Vec::with_capacity(value.len());
    decode_onto(value, &mut decoded);
    decoded
}

/// Appends a value, percent-decoded as [`decode_value`] does.
pub(super) fn decode_onto(value: &[u8], out: &mut Vec<u8>) {
    let mut bytes = fold_many0(alt((escaped, be_u8)), || (), |(), byte| out.push(byte));
    // Every byte is read, as one that stands for itself if need be.
    let _ = bytes.parse(value);
}

/// Percent-decodes a key as often as there is something to decode: the bytes behind a `%` may be encoded themselves.
pub(super) fn fully_decoded(key: &[u8]) -> Vec<u8> {
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
    let property = (blanks, tag(";"), blanks, take_while1(is_token_byte), opt(assigned()));
    delimited(take_while1(is_token_byte), assigned(), many0_count(property)).parse(input)
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
    matches!(byte, b'!' | b'#'..=b'+' | b'-'..=b':' | b'<'..=b'[' | b']'..=b'~')
}

#[cfg(test)]
mod tests;
