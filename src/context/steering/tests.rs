use super::*;
use Steering::{Dtab, Tenant};

/// Returns the default names, and more.
fn names() -> SteeringNames {
    let mut tenancy = Tenancy::default();
    tenancy.keys.push("My_Tenant".into());
    tenancy.headers = vec!["X-Tenant".into(), "x_space".into()];
    tenancy.query_parameter = Some("tenant".into());
    SteeringNames::new(&tenancy)
}

#[test]
fn keys_that_may_be_taken_for_a_steering_one() {
    let steering_key = |key: &[u8]| names().of_key(key);
    for (key, steering) in
        [("dtab", Some(Dtab)), ("sd-routing-key", Some(Tenant)), ("My_Tenant", Some(Tenant))]
    {
        assert_eq!(steering_key(key.as_bytes()), steering);
        assert_eq!(steering_key(key.to_ascii_uppercase().as_bytes()), steering);
        let mut encoded: String = key.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for _ in 0..5 {
            assert_eq!(steering_key(encoded.as_bytes()), steering, "{encoded}");
            encoded = encoded.replace('%', "%25");
        }
    }
    let taken = [
        "d%74ab",
        "%44TAB",
        "d%7%34ab",
        "+dtab",
        "dtab%20",
        "%09dtab",
        "%2Bdtab",
        "dta%00b",
        "dtab%ff",
        "%C2%A0dtab",
        "dtab%EF%BB%BF",
        "\u{a0}dtab",
    ];
    for key in taken {
        assert_eq!(steering_key(key.as_bytes()), Some(Dtab), "{key}");
    }
    // The Kelvin sign and the long s.
    assert_eq!(steering_key(b"o%E2%84%AAteto-divert"), Some(Tenant));
    assert_eq!(steering_key(b"%c5%bfd-sandbox"), Some(Tenant));
    for key in [
        "",
        "dtabs",
        "xdtab",
        "d-tab",
        "sd_sandbox",
        "my-tenant",
        "okteto-divert2",
        "dtab%",
        "dtab%2",
        "%zzdtab",
        "%2564%25",
        "tenant",
        "a%20b",
    ] {
        assert_eq!(steering_key(key.as_bytes()), None, "{key}");
    }
}

/// A key that is encoded a thousand times over costs one step for each of its bytes.
#[test]
fn a_key_of_escapes_is_read_in_one_pass() {
    let steering_key = |key: &[u8]| names().of_key(key);
    let key = format!("%{}64tab", "25".repeat(1_000_000));
    assert_eq!(steering_key(key.as_bytes()), Some(Dtab));
    assert_eq!(fully_decoded("%".repeat(1_000_000).as_bytes()).len(), 1_000_000);
}

#[test]
fn fields_of_members_headers_and_parameters() {
    let names = names();
    for (name, steering) in [
        ("ot-baggage-dtab", Some(Dtab)),
        ("OT_Baggage_DTAB", Some(Dtab)),
        ("uberctx-sd_sandbox", Some(Tenant)),
        ("Uberctx-My-Tenant", Some(Tenant)),
        ("uberctx-my%5ftenant", Some(Tenant)),
        ("ot-baggage-%64tab", Some(Dtab)),
        ("ot-baggage-", None),
        ("uberctx-user", None),
    ] {
        assert_eq!(names.of_item(name.as_bytes()), steering, "{name}");
    }
    for (name, carries) in [
        ("x-tenant", true),
        ("X_TENANT", true),
        ("X-Space", true),
        ("x-tenants", false),
        ("x-tenanT-", false),
        ("", false),
    ] {
        assert_eq!(names.headers().contains(name.as_bytes()), carries, "{name}");
    }
    for (name, carries) in [
        ("tenant", true),
        ("Tenant", true),
        ("ten%61nt", true),
        ("%2574enant", true),
        ("+tenant%20", true),
        ("tenants", false),
        ("", false),
    ] {
        assert_eq!(names.is_tenant_parameter(name.as_bytes()), carries, "{name}");
    }
    assert!(names.is_tenant_key(b"My_Tenant") && !names.is_tenant_key(b"my_tenant"));
}

#[test]
fn without_names_nothing_but_a_dtab_steers() {
    let none = SteeringNames::new(&Tenancy { keys: Vec::new(), ..Tenancy::default() });
    assert_eq!((none.of_key(b"sd-sandbox"), none.of_key(b"dtab")), (None, Some(Dtab)));
    assert!(
        !none.headers().contains(b"")
            && none.headers().is_empty()
            && !none.is_tenant_parameter(b"")
            && !none.has_parameter()
    );
}

/// Names of 63 bytes and more share one bit.
#[test]
fn long_names_are_told_apart() {
    let long = |length| "k".repeat(length);
    let names = SteeringNames::new(&Tenancy { keys: vec![long(63), long(100)], ..Tenancy::default() });
    for (length, steers) in [(62, false), (63, true), (64, false), (99, false), (100, true)] {
        assert_eq!(names.of_key(long(length).as_bytes()).is_some(), steers, "{length}");
    }
}

/// Whole members go, from the end, and never the tenant.
#[test]
fn a_tenant_has_its_room_in_a_full_list() {
    let written_as = |keys: &[&str], lines: &[String]| {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        let tenancy = Tenancy { keys, ..Tenancy::default() };
        let mut head = Head::request(b"GET", b"/");
        lines.iter().for_each(|line| head.append_known(KnownField::Baggage, line.as_bytes()));
        SteeringNames::new(&tenancy).set_tenant(&mut head, "pr-17", &mut Vec::new());
        head.get_all(KnownField::Baggage)
            .map(|line| String::from_utf8(line.to_vec()).unwrap())
            .collect::<Vec<_>>()
    };
    let written = |lines: &[String]| written_as(&["sd-routing-key", "sd-sandbox"], lines);
    let tenant = "sd-routing-key=pr-17".to_owned();
    let many = |count: usize| (0..count).map(|at| format!("m{at}=a")).collect::<Vec<_>>().join(",");
    assert_eq!(written(&[many(63)]), [many(63), tenant.clone()]);
    assert_eq!(written(&[many(40), many(30)]), [many(40), many(23), tenant.clone()]);
    let long = |bytes: usize| format!("a={}", "b".repeat(bytes - 2));
    let left = 8192 - tenant.len() - 1;
    assert_eq!(written(&[long(left)]), [long(left), tenant.clone()]);
    assert_eq!(written(&[long(left + 1), "c=d".into()]), ["c=d".to_owned(), tenant]);
    let own = written_as(&["tenant"], &["a=b,Tenant=x,sd-sandbox=y".into()]);
    assert_eq!(own, ["a=b,sd-sandbox=y", "tenant=pr-17"], "the first key, in place of those that count");
}
