//! Properties of the decoders: each returns, whatever the bytes, and reads back the values that its encoder writes.

use super::baggage::{decode_value, grammatical_value, members, plain_value, value};
use super::steering::SteeringNames;
use super::{
    Deadline, OverrideLimits, OverrideSource, RequestTarget, Tenancy, Trace, count_own_via, count_via,
    decode_overrides, encode_baggage_value,
};
use crate::message::{Head, KnownField};
use crate::name::Dtab;
use proptest::collection::vec;
use proptest::prelude::*;

/// Returns a strategy for bytes of which many are nearly valid.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let near = "[0-9 ,=>/|&!~$*;#.ab+\u{1}\u{2}\\\\x()]{0,80}".prop_map(String::into_bytes);
    prop_oneof![vec(any::<u8>(), 0..200), near]
}

proptest! {
    #[test]
    fn deadlines(timestamp in 0..=i64::MAX as u64, deadline in 0..=i64::MAX as u64, hostile in bytes()) {
        let deadline = Deadline { timestamp, deadline };
        let written = |deadline: Deadline| {
            let mut head = Head::request(b"GET", b"/");
            deadline.append_to(&mut head);
            head.get(KnownField::L5dCtxDeadline).and_then(Deadline::decode)
        };
        prop_assert_eq!(written(deadline), Some(deadline));
        if let Some(decoded) = Deadline::decode(&hostile) {
            prop_assert_eq!(written(decoded), Some(decoded));
        }
    }

    #[test]
    fn traces(ids in any::<[u64; 4]>(), root_high in any::<Option<u64>>(), hostile in bytes()) {
        let [span, parent, root, flags] = ids;
        let trace = Trace { span, parent, root, flags, root_high };
        let mut value = Vec::new();
        trace.encode(&mut value);
        prop_assert_eq!(Trace::decode(&value), Some(trace));
        let _ = Trace::decode(&hostile);
    }

    #[test]
    fn overrides(raw in bytes()) {
        match decode_overrides(&raw, &OverrideLimits::default()) {
            Ok(overrides) => {
                let mut next_hop = overrides.printed().to_vec();
                next_hop.push(OverrideSource::Ctx.end());
                let read = decode_overrides(&next_hop, &OverrideLimits::default()).unwrap();
                let beside: Dtab = overrides.dtab.iter().skip(overrides.count(OverrideSource::Baggage)).cloned().collect();
                prop_assert_eq!(&read.dtab, &beside);
                prop_assert_eq!(read.count(OverrideSource::Ctx), beside.len());
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn values_of_baggage(plain in vec(any::<u8>(), 0..100), hostile in bytes()) {
        let encoded = encode_baggage_value(&plain);
        prop_assert_eq!(decode_value(encoded.as_bytes()), plain);
        let member = format!("key={encoded}");
        prop_assert_eq!(value(member.as_bytes()), Some(encoded.as_bytes()));
        for member in members(&hostile) {
            prop_assert!(!member.contains(&b','));
            prop_assert!(plain_value(member).is_none_or(|plain| grammatical_value(member) == Some(plain)));
            prop_assert!(value(member).is_none_or(|value| decode_value(value).len() <= value.len()));
        }
        let names = SteeringNames::new(&Tenancy::default());
        let _ = (names.of_key(&hostile), names.of_item(&hostile), names.is_tenant_parameter(&hostile));
    }

    #[test]
    fn targets_and_via(target in bytes()) {
        let split = RequestTarget::split(&target);
        let whole = [split.path, if split.query.is_some() { b"?" } else { b"" }, split.query.unwrap_or_default()];
        prop_assert_eq!(whole.concat(), target.clone());
        prop_assert!(split.elems().all(|elem| !elem.is_empty() && !elem.contains(&b'/')));
        let entries = count_via([target.as_slice()].into_iter());
        prop_assert!(entries as usize <= target.len());
        prop_assert!(count_own_via([target.as_slice()].into_iter()) <= entries);
    }
}
