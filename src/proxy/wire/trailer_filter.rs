//! The trailers of untrusted requests.

use crate::context::TenantHeaders;
use crate::message::{Chunks, KnownField};
use crate::telemetry::Counter;
use http::{HeaderMap, HeaderName};

/// The filter for the trailers of a listener's untrusted requests: it removes those that name a tenant, and counts them.
/// It also counts those that carry other context, which no caller's trailers may.
#[derive(Debug)]
pub(crate) struct TrailerFilter {
    tenants: TenantHeaders,
    removed: Counter,
}

impl TrailerFilter {
    pub(crate) fn new(tenants: TenantHeaders, removed: Counter) -> Self {
        Self { tenants, removed }
    }

    /// Filters the trailers of a chunked body that is over.
    pub(super) fn filter_lines(&self, chunks: &mut Chunks) {
        let mut count = chunks.context_trailers();
        if !self.tenants.is_empty() && !chunks.trailers().is_empty() {
            chunks.retain_trailers(|field| {
                let names_tenant = self.tenants.contains(field.name);
                count += usize::from(names_tenant);
                !names_tenant
            });
        }
        self.count(count);
    }

    /// Filters the trailers of an HTTP/2 stream as they came.
    pub(super) fn filter_fields(&self, trailers: &mut HeaderMap) {
        let carries_context = |name: &HeaderName| KnownField::of(name.as_str().as_bytes()).carries_context();
        let names_tenant = |name: &&HeaderName| self.tenants.contains(name.as_str().as_bytes());
        let mut count = trailers.iter().filter(|(name, _)| carries_context(name)).count();
        let of_tenants: Vec<HeaderName> = trailers.keys().filter(names_tenant).cloned().collect();
        for name in of_tenants {
            count += trailers.get_all(&name).iter().count();
            trailers.remove(name);
        }
        self.count(count);
    }

    fn count(&self, count: usize) {
        if count > 0 {
            self.removed.add(count as u64);
        }
    }
}
