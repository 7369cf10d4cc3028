//! Diagnosis: the routing of a TRACE request in words, added to its response by each router that it passes.
//!
//! A trusted caller asks for it with `l5d-add-context: true`. The text is Linkerd's (`RouterContext.scala`), with the
//! residual and the fate of the overrides beside it, and a resolution under the overrides, where Linkerd showed none.

use crate::context::Grant;
use crate::interpret::{Delegation, Step};
use crate::message::{Framing, Head};
use crate::proxy::error::Error;
use crate::proxy::exchange::{Record, Response, beside};
use crate::proxy::upstream::Route;
use crate::proxy::wire::body::Body;
use std::fmt::{self, Write as _};
use std::pin::pin;

/// How many bytes of a response's own body are kept: 64 KiB. Among them are the texts of the routers behind this one.
const MOST_OF_BODY: usize = 64 << 10;

/// How many bytes one router adds at most: 8 KiB.
const MOST_OF_TEXT: usize = 8 << 10;

/// How many addresses of a client are named.
const MOST_ADDRESSES: usize = 50;

/// Returns whether a request asks for its diagnosis, and its caller may see it.
pub(super) fn is_wanted(head: &Head, grant: Grant) -> bool {
    grant.is_trusted()
        && head.method() == b"TRACE"
        && head.find(b"l5d-add-context").is_some_and(|value| value.eq_ignore_ascii_case(b"true"))
}

/// The routing of one request by this router, which is displayed as Linkerd's lines.
pub(super) struct Routing<'a> {
    /// The label of the router.
    pub(super) router: &'a str,
    /// The logical name.
    pub(super) service: &'a str,
    pub(super) route: &'a Route,
    pub(super) record: &'a Record,
    /// The evaluation of the name, or the reason why it is not known.
    pub(super) delegation: &'a Result<Delegation, Error>,
}

impl fmt::Display for Routing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { router, service, route, record, delegation } = self;
        writeln!(f, "--- Router: {router} ---")?;
        writeln!(f, "request duration: {} ms", record.began().elapsed().as_millis())?;
        writeln!(f, "service name: {service}\nclient name: {}", route.id())?;
        if let Some(residual) = &route.residual {
            writeln!(f, "residual: {residual}")?;
        }
        writeln!(f, "addresses: [{}]", addresses(route))?;
        if let Some(endpoint) = record.endpoint() {
            writeln!(f, "selected address: {endpoint}")?;
        }
        if let Some(fate) = record.overrides().word() {
            let detail = record.overrides().detail();
            writeln!(f, "overrides: {fate}{}{}", detail.map_or("", |_| ": "), detail.unwrap_or_default())?;
        }
        if let Some(lost) = record.lost() {
            writeln!(f, "lost: {lost}")?;
        }
        writeln!(f, "dtab resolution:")?;
        match delegation {
            Ok(delegation) => {
                let steps = delegation.steps_to(route.id());
                steps.iter().try_for_each(|step| write_step(f, delegation, step))
            }
            Err(error) => writeln!(f, "  {error}"),
        }
    }
}

/// Writes the line of one step: its path, and the entry that led there.
fn write_step(f: &mut fmt::Formatter<'_>, delegation: &Delegation, step: &Step) -> fmt::Result {
    match delegation.dentry(step) {
        Some(dentry) => writeln!(f, "  {} ({dentry:#})", step.path),
        None => writeln!(f, "  {}", step.path),
    }
}

/// Returns the addresses of the client to which a route leads, separated by commas.
fn addresses(route: &Route) -> String {
    let all = route.to.as_ref().map_or_else(|_| Vec::new(), |client| client.addresses());
    let mut shown: Vec<_> = all.iter().take(MOST_ADDRESSES).map(ToString::to_string).collect();
    if all.len() > MOST_ADDRESSES {
        shown.push(format!("{} more", all.len() - MOST_ADDRESSES));
    }
    shown.join(", ")
}

/// Adds the routing of its request to a response, whose body is read first. A response that has switched protocols stays
/// as it is.
///
/// # Errors
///
/// The request's own body could not be read.
pub(super) async fn add(response: &mut Response, routing: String) -> Result<(), Error> {
    if response.framing == Framing::Tunnel {
        return Ok(());
    }
    let mut text = String::new();
    if let Some(encoding) = take_encoding(&mut response.head) {
        response.discard_body();
        // Text cannot be added to it.
        let _ = writeln!(text, "(a body with the content-encoding {encoding} is left out)");
    } else {
        let mut body = Vec::new();
        let is_whole = {
            let reading = pin!(read(&mut response.body, &mut body));
            beside(&mut response.upload, reading).await.map_err(Error::RequestBody)?
        };
        text.push_str(&String::from_utf8_lossy(&body));
        if !is_whole {
            response.discard_body();
            let _ = write!(text, "\n(the rest of the body is left out)");
        }
    }
    if matches!(response.head.status(), 204 | 304) {
        let _ = write!(text, "(the status was {}, which has no body)", response.head.status());
        response.head.set_status(200);
    }
    text.truncate(text.trim_end().len());
    text.push_str(if text.is_empty() { "" } else { "\n\n" });
    text.push_str(routing.get(..routing.floor_char_boundary(MOST_OF_TEXT)).unwrap_or_default());
    response.head.set(b"content-type", b"text/plain; charset=utf-8");
    response.framing = Framing::Length(text.len() as u64);
    response.body = Body::Text(text.into_bytes());
    Ok(())
}

/// Removes the `Content-Encoding` of a response; returns it.
fn take_encoding(head: &mut Head) -> Option<String> {
    let encoding = String::from_utf8_lossy(head.find(b"content-encoding")?).into_owned();
    head.remove_where(|field| field.name.eq_ignore_ascii_case(b"content-encoding"));
    Some(encoding)
}

/// Reads a body as far as it is kept; returns whether that was all of it.
async fn read(body: &mut Body, kept: &mut Vec<u8>) -> bool {
    loop {
        match body.next().await {
            Ok(Some(part)) => {
                let bytes = part.bytes();
                let room = MOST_OF_BODY - kept.len();
                kept.extend(bytes.iter().take(room));
                if bytes.len() > room {
                    return false;
                }
            }
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}
