//! The fields that the router knows by name.

/// One field line of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name as it was sent: its case is kept.
    pub name: &'a [u8],
    /// The value without the blanks around it.
    pub value: &'a [u8],
    /// The known field that it is.
    pub known: KnownField,
}

/// A field that the router treats specially, recognised by its name once, when the head is read.
///
/// The names are compared without regard to case. An underscore counts as a hyphen only where a name could steer the
/// router, or where a CGI gateway, which folds the two, could frame a message by it. So `l5d_dtab` does not slip past a
/// trust policy, and a request with `Content_Length` is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum KnownField {
    /// Any field that is not listed below.
    Other,
    /// `Host`
    Host,
    /// `Connection`
    Connection,
    /// `Keep-Alive`
    KeepAlive,
    /// `Proxy-Connection`
    ProxyConnection,
    /// `Proxy-Authenticate`
    ProxyAuthenticate,
    /// `Proxy-Authorization`
    ProxyAuthorization,
    /// `TE`
    Te,
    /// `Trailer`
    Trailer,
    /// `Transfer-Encoding`
    TransferEncoding,
    /// `Upgrade`
    Upgrade,
    /// `Content-Length`
    ContentLength,
    /// `Expect`
    Expect,
    /// `Via`
    Via,
    /// `Forwarded`
    Forwarded,
    /// Every name that begins with `x-forwarded-`, and those by which other proxies name the caller's address:
    /// `x-real-ip`, `x-client-ip`, `x-cluster-client-ip` and `true-client-ip`. Also spelt with underscores.
    XForwarded,
    /// `Max-Forwards`
    MaxForwards,
    /// `Date`
    Date,
    /// `baggage`
    Baggage,
    /// Every name that begins with `ot-baggage-` or `uberctx-`: a member of the baggage of OpenTracing or Jaeger, which
    /// have a field for each. Also spelt with underscores.
    BaggageItem,
    /// `Correlation-Context` and `jaeger-baggage`: .NET and Jaeger's libraries read them as `baggage`, where that is absent
    /// or beside it, and send it on as such. Also spelt with underscores.
    BaggageAlias,
    /// `tracestate`
    Tracestate,
    /// `l5d-dtab`, spelt exactly so but for its case.
    L5dDtab,
    /// `l5d-ctx-dtab`
    L5dCtxDtab,
    /// `l5d-dtab-token`, also spelt with underscores: no spelling of it may bring a token to a service.
    L5dDtabToken,
    /// `l5d-ctx-deadline`
    L5dCtxDeadline,
    /// `l5d-ctx-trace`
    L5dCtxTrace,
    /// `l5d-sample`
    L5dSample,
    /// `l5d-reqid`
    L5dReqid,
    /// `l5d-dst-service`
    L5dDstService,
    /// `l5d-dst-client`
    L5dDstClient,
    /// `l5d-dst-residual`
    L5dDstResidual,
    /// `l5d-err`
    L5dErr,
    /// `l5d-retryable`
    L5dRetryable,
    /// `l5d`, and any other name that begins with `l5d-` or `l5d_`, thus also the names above spelt with underscores.
    L5dOther,
    /// `Content-Length` or `Transfer-Encoding` with underscores: it frames nothing here, but may at the next hop.
    FramingLookalike,
    /// `dtab-local`, `x-dtab`, and every name that begins with `dtab-local-` or `x-dtab-`, also spelt with underscores.
    DtabLocal,
}

impl KnownField {
    /// Returns the known field of this name; the case of the name does not matter.
    pub fn of(name: &[u8]) -> Self {
        let Some(first) = name.first() else { return Self::Other };
        match first.to_ascii_lowercase() {
            b'b' => one_of(name, &[Self::Baggage]),
            b'c' => match one_of(name, &[Self::Connection, Self::ContentLength]) {
                Self::Other if is(name, "content-length") => Self::FramingLookalike,
                Self::Other if is(name, "correlation-context") => Self::BaggageAlias,
                known => known,
            },
            b'd' if is(name, "dtab-local") || begins(name, "dtab-local-") => Self::DtabLocal,
            b'd' => one_of(name, &[Self::Date]),
            b'e' => one_of(name, &[Self::Expect]),
            b'f' => one_of(name, &[Self::Forwarded]),
            b'h' => one_of(name, &[Self::Host]),
            b'j' if is(name, "jaeger-baggage") => Self::BaggageAlias,
            b'k' => one_of(name, &[Self::KeepAlive]),
            b'l' if begins(name, "l5d-") => match one_of(name, &L5D) {
                Self::Other if is(name, "l5d-dtab-token") => Self::L5dDtabToken,
                Self::Other => Self::L5dOther,
                known => known,
            },
            b'l' if is(name, "l5d") => Self::L5dOther,
            b'm' => one_of(name, &[Self::MaxForwards]),
            b'o' if begins(name, "ot-baggage-") => Self::BaggageItem,
            b'p' => one_of(name, &PROXY),
            b't' => match one_of(name, &WITH_T) {
                Self::Other if is(name, "transfer-encoding") => Self::FramingLookalike,
                Self::Other if is(name, "true-client-ip") => Self::XForwarded,
                known => known,
            },
            b'u' if begins(name, "uberctx-") => Self::BaggageItem,
            b'u' => one_of(name, &[Self::Upgrade]),
            b'v' => one_of(name, &[Self::Via]),
            b'x' if is(name, "x-dtab") || begins(name, "x-dtab-") => Self::DtabLocal,
            b'x' if begins(name, "x-forwarded-") || ADDRESSES.iter().any(|field| is(name, field)) => {
                Self::XForwarded
            }
            _ => Self::Other,
        }
    }

    /// Returns the known field of a trailer's name. An underscore counts as a hyphen in every name: a CGI gateway that
    /// folds the two may read the trailers as fields.
    pub(super) fn of_trailer(name: &[u8]) -> Self {
        if name.contains(&b'_') { Self::of(&hyphenated(name)) } else { Self::of(name) }
    }

    /// Returns the name as the router writes it; empty for a variant that stands for several names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Other
            | Self::L5dOther
            | Self::DtabLocal
            | Self::FramingLookalike
            | Self::BaggageItem
            | Self::BaggageAlias
            | Self::XForwarded => "",
            Self::Host => "Host",
            Self::Connection => "Connection",
            Self::KeepAlive => "Keep-Alive",
            Self::ProxyConnection => "Proxy-Connection",
            Self::ProxyAuthenticate => "Proxy-Authenticate",
            Self::ProxyAuthorization => "Proxy-Authorization",
            Self::Te => "TE",
            Self::Trailer => "Trailer",
            Self::TransferEncoding => "Transfer-Encoding",
            Self::Upgrade => "Upgrade",
            Self::ContentLength => "Content-Length",
            Self::Expect => "Expect",
            Self::Via => "Via",
            Self::Forwarded => "Forwarded",
            Self::MaxForwards => "Max-Forwards",
            Self::Date => "Date",
            Self::Baggage => "baggage",
            Self::Tracestate => "tracestate",
            Self::L5dDtab => "l5d-dtab",
            Self::L5dCtxDtab => "l5d-ctx-dtab",
            Self::L5dDtabToken => "l5d-dtab-token",
            Self::L5dCtxDeadline => "l5d-ctx-deadline",
            Self::L5dCtxTrace => "l5d-ctx-trace",
            Self::L5dSample => "l5d-sample",
            Self::L5dReqid => "l5d-reqid",
            Self::L5dDstService => "l5d-dst-service",
            Self::L5dDstClient => "l5d-dst-client",
            Self::L5dDstResidual => "l5d-dst-residual",
            Self::L5dErr => "l5d-err",
            Self::L5dRetryable => "l5d-retryable",
        }
    }

    /// Returns whether the field carries context from hop to hop, or may: such a field comes before the body alone, for
    /// behind it a trust policy would come too late.
    pub fn carries_context(self) -> bool {
        self.is_steering()
            || matches!(
                self,
                Self::Baggage
                    | Self::BaggageItem
                    | Self::BaggageAlias
                    | Self::Tracestate
                    | Self::Forwarded
                    | Self::XForwarded
            )
    }

    /// Returns whether an untrusted caller may not send the field: every `l5d` and dtab spelling.
    ///
    /// `baggage`, `tracestate` and the fields of OpenTracing's baggage are not among them: some of their members steer,
    /// and the others are the caller's.
    pub fn is_steering(self) -> bool {
        matches!(
            self,
            Self::L5dDtab
                | Self::L5dCtxDtab
                | Self::L5dDtabToken
                | Self::L5dCtxDeadline
                | Self::L5dCtxTrace
                | Self::L5dSample
                | Self::L5dReqid
                | Self::L5dDstService
                | Self::L5dDstClient
                | Self::L5dDstResidual
                | Self::L5dErr
                | Self::L5dRetryable
                | Self::L5dOther
                | Self::DtabLocal
        )
    }

    /// Returns whether the field is about one connection only and is never forwarded (RFC 9110 7.6.1).
    ///
    /// `Proxy-Authenticate` and `Proxy-Authorization` count as such although RFC 9110 lets a chain of proxies
    /// share them: the router asks no caller for proxy credentials and must not hand them to a service.
    pub fn is_hop_by_hop(self) -> bool {
        self.bit() & Self::HOP_BY_HOP != 0
    }

    /// The bits of the fields that are hop by hop.
    pub(super) const HOP_BY_HOP: u64 = Self::Connection.bit()
        | Self::KeepAlive.bit()
        | Self::ProxyConnection.bit()
        | Self::ProxyAuthenticate.bit()
        | Self::ProxyAuthorization.bit()
        | Self::Te.bit()
        | Self::Trailer.bit()
        | Self::TransferEncoding.bit()
        | Self::Upgrade.bit();

    /// Returns the field's bit in a head's set of the fields that are there.
    pub(super) const fn bit(self) -> u64 {
        1 << self as u8
    }
}

const L5D: [KnownField; 11] = [
    KnownField::L5dDtab,
    KnownField::L5dCtxDtab,
    KnownField::L5dCtxDeadline,
    KnownField::L5dCtxTrace,
    KnownField::L5dSample,
    KnownField::L5dReqid,
    KnownField::L5dDstService,
    KnownField::L5dDstClient,
    KnownField::L5dDstResidual,
    KnownField::L5dErr,
    KnownField::L5dRetryable,
];

/// Names that begin with `x-` and stand for the address of the caller.
const ADDRESSES: [&str; 3] = ["x-real-ip", "x-client-ip", "x-cluster-client-ip"];

const PROXY: [KnownField; 3] =
    [KnownField::ProxyConnection, KnownField::ProxyAuthenticate, KnownField::ProxyAuthorization];

const WITH_T: [KnownField; 4] =
    [KnownField::Te, KnownField::Trailer, KnownField::TransferEncoding, KnownField::Tracestate];

/// Returns the candidate with this name, or [`KnownField::Other`].
///
/// Inlined, so that the names are constants at the call: it is called for every field that comes in.
#[inline]
fn one_of<const N: usize>(name: &[u8], candidates: &[KnownField; N]) -> KnownField {
    let is_named = |known: &&KnownField| name.eq_ignore_ascii_case(known.name().as_bytes());
    candidates.iter().find(is_named).copied().unwrap_or(KnownField::Other)
}

/// Returns whether `name` begins with `prefix` (lower-case); an underscore counts as a hyphen.
fn begins(name: &[u8], prefix: &str) -> bool {
    name.len() >= prefix.len()
        && name
            .iter()
            .zip(prefix.as_bytes())
            .all(|(&byte, &wanted)| byte.to_ascii_lowercase() == wanted || (byte == b'_' && wanted == b'-'))
}

/// Returns a name with a hyphen in place of each underscore.
fn hyphenated(name: &[u8]) -> Vec<u8> {
    name.iter().map(|&byte| if byte == b'_' { b'-' } else { byte }).collect()
}

/// Returns whether `name` is `wanted` (lower-case); an underscore counts as a hyphen.
pub(super) fn is(name: &[u8], wanted: &str) -> bool {
    name.len() == wanted.len() && begins(name, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names() {
        let table = [
            ("", KnownField::Other),
            ("Host", KnownField::Host),
            ("hOsT", KnownField::Host),
            ("Hos", KnownField::Other),
            ("Hosts", KnownField::Other),
            ("CONNECTION", KnownField::Connection),
            ("content-length", KnownField::ContentLength),
            ("Content_Length", KnownField::FramingLookalike),
            ("content__length", KnownField::Other),
            ("Content-Type", KnownField::Other),
            ("keep-alive", KnownField::KeepAlive),
            ("Proxy-Connection", KnownField::ProxyConnection),
            ("proxy-authenticate", KnownField::ProxyAuthenticate),
            ("Proxy-Authorization", KnownField::ProxyAuthorization),
            ("te", KnownField::Te),
            ("TE", KnownField::Te),
            ("Trailer", KnownField::Trailer),
            ("Transfer-Encoding", KnownField::TransferEncoding),
            ("transfer_encoding", KnownField::FramingLookalike),
            ("Upgrade", KnownField::Upgrade),
            ("User-Agent", KnownField::Other),
            ("expect", KnownField::Expect),
            ("Via", KnownField::Via),
            ("Forwarded", KnownField::Forwarded),
            ("X-Forwarded-For", KnownField::XForwarded),
            ("x_forwarded-proto", KnownField::XForwarded),
            ("X-Forwarded-Client-Cert", KnownField::XForwarded),
            ("x-forwarded-", KnownField::XForwarded),
            ("x-forwarded", KnownField::Other),
            ("X-Real-IP", KnownField::XForwarded),
            ("x_real_ip", KnownField::XForwarded),
            ("x-real-ips", KnownField::Other),
            ("X-Client-IP", KnownField::XForwarded),
            ("X-Cluster-Client-Ip", KnownField::XForwarded),
            ("True-Client-IP", KnownField::XForwarded),
            ("true-client-ips", KnownField::Other),
            ("Max-Forwards", KnownField::MaxForwards),
            ("Date", KnownField::Date),
            ("baggage", KnownField::Baggage),
            ("Baggage", KnownField::Baggage),
            ("bag_gage", KnownField::Other),
            ("Correlation-Context", KnownField::BaggageAlias),
            ("correlation_context", KnownField::BaggageAlias),
            ("Jaeger-Baggage", KnownField::BaggageAlias),
            ("jaeger_baggage", KnownField::BaggageAlias),
            ("correlation-contexts", KnownField::Other),
            ("jaeger-debug-id", KnownField::Other),
            ("ot-baggage-dtab", KnownField::BaggageItem),
            ("OT_Baggage_Dtab", KnownField::BaggageItem),
            ("ot-baggage", KnownField::Other),
            ("uberctx-dtab", KnownField::BaggageItem),
            ("Uberctx_", KnownField::BaggageItem),
            ("uberctx", KnownField::Other),
            ("uber-trace-id", KnownField::Other),
            ("tracestate", KnownField::Tracestate),
            ("TraceState", KnownField::Tracestate),
            ("traceparent", KnownField::Other),
            ("l5d-dtab", KnownField::L5dDtab),
            ("L5D-DTAB", KnownField::L5dDtab),
            ("l5d_dtab", KnownField::L5dOther),
            ("L5d_Dtab", KnownField::L5dOther),
            ("l5d-ctx_dtab", KnownField::L5dOther),
            ("l5d-ctx-dtab", KnownField::L5dCtxDtab),
            ("l5d-dtab-token", KnownField::L5dDtabToken),
            ("L5D_Dtab-TOKEN", KnownField::L5dDtabToken),
            ("l5d-dtab-tokens", KnownField::L5dOther),
            ("l5d-ctx-deadline", KnownField::L5dCtxDeadline),
            ("l5d-ctx-trace", KnownField::L5dCtxTrace),
            ("l5d-sample", KnownField::L5dSample),
            ("l5d-reqid", KnownField::L5dReqid),
            ("l5d-dst-service", KnownField::L5dDstService),
            ("l5d-dst-client", KnownField::L5dDstClient),
            ("l5d-dst-residual", KnownField::L5dDstResidual),
            ("l5d-err", KnownField::L5dErr),
            ("l5d-retryable", KnownField::L5dRetryable),
            ("l5d-", KnownField::L5dOther),
            ("l5d-anything", KnownField::L5dOther),
            ("l5d", KnownField::L5dOther),
            ("L5D", KnownField::L5dOther),
            ("l5dx", KnownField::Other),
            ("Dtab-Local", KnownField::DtabLocal),
            ("Dtab_Local", KnownField::DtabLocal),
            ("dtab-locals", KnownField::Other),
            ("dtab-local-x", KnownField::DtabLocal),
            ("Dtab_Local_", KnownField::DtabLocal),
            ("x-dtab", KnownField::DtabLocal),
            ("X_Dtab", KnownField::DtabLocal),
            ("x-dta", KnownField::Other),
            ("X-Dtab-01-A", KnownField::DtabLocal),
            ("x_dtab_01_b", KnownField::DtabLocal),
            ("x-dtab_", KnownField::DtabLocal),
            ("x-dtable", KnownField::Other),
            ("-host", KnownField::Other),
        ];
        for (name, known) in table {
            assert_eq!(KnownField::of(name.as_bytes()), known, "{name:?}");
        }
    }

    #[test]
    fn names_the_router_writes_are_known() {
        for name in ["Host", "Via", "Content-Length", "TE", "baggage", "l5d-dtab-token", "l5d-reqid"] {
            assert_eq!(KnownField::of(name.as_bytes()).name(), name);
        }
        for known in L5D.into_iter().chain(PROXY).chain(WITH_T) {
            assert_eq!(KnownField::of(known.name().as_bytes()), known);
        }
        assert_eq!(KnownField::of(b"l5d-x").name(), "");
    }

    #[test]
    fn steering_and_hop_by_hop_are_apart() {
        for name in [
            "l5d-dtab",
            "l5d_dtab",
            "l5d-dtab-token",
            "l5d-x",
            "dtab-local",
            "x-dtab-00-a",
            "l5d-reqid",
            "l5d-err",
        ] {
            let known = KnownField::of(name.as_bytes());
            assert!(known.is_steering() && !known.is_hop_by_hop(), "{name}");
        }
        for name in
            ["connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "proxy-connection"]
        {
            let known = KnownField::of(name.as_bytes());
            assert!(known.is_hop_by_hop() && !known.is_steering(), "{name}");
        }
        for name in ["host", "content-length", "baggage", "ot-baggage-x", "tracestate", "via", "accept"] {
            let known = KnownField::of(name.as_bytes());
            assert!(!known.is_hop_by_hop() && !known.is_steering(), "{name}");
        }
    }
}
