//! Files of certificates and keys, read and watched.

use super::client::ClientTls;
use super::error::{TlsError, TlsFault};
use super::expiry::{Expiry, ExpiryGauges, GaugeUse};
use super::files::{ClientTlsFiles, ServerTlsFiles};
use super::server::ServerTls;
use super::supply::{CertificateSupply, Combiner};
use crate::files::Watch;
use crate::telemetry::{Gauge, Registry};
use aws_lc_rs::digest;
use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// The metric of files that are wrong.
const REJECTED: &str = "tls_files_rejected";

/// How often it is looked whether a certificate is about to expire, and then said so.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(12 * 60 * 60);

/// A set of files of which something is made.
pub(super) trait TlsFileSet: Clone + PartialEq + Debug + Send + Sync + 'static {
    /// The thing that is made.
    type Built: Send + Sync + 'static;

    /// Returns the paths of all files.
    fn paths(&self) -> Vec<PathBuf>;

    /// Reads the files. It blocks.
    fn build(&self) -> Result<Self::Built, TlsError>;

    /// Returns the ends of the certificates that are shown to peers.
    fn expiries(built: &Self::Built) -> &[Expiry];
}

/// Something made of files, now and whenever they change. Cheap to clone.
pub struct LiveTls<T>(watch::Receiver<Arc<T>>);

impl<T> LiveTls<T> {
    /// Returns it as it is now. It takes a lock for a moment: for a new connection, not for each request.
    pub fn current(&self) -> Arc<T> {
        Arc::clone(&self.0.borrow())
    }

    /// Returns it as it is now, and counts that as seen.
    pub(super) fn latest(&mut self) -> Arc<T> {
        Arc::clone(&self.0.borrow_and_update())
    }

    /// Waits until it has changed. It does not change any more once nothing follows its files.
    pub(super) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Returns another handle, which has seen the present value.
    pub fn newly_read(&self) -> Self {
        let mut live = self.clone();
        live.0.mark_unchanged();
        live
    }

    /// Returns whether it has changed since the last call, or since this handle was made. One atomic load while it has not.
    pub fn take_change(&mut self) -> bool {
        let has_changed = self.0.has_changed().unwrap_or(false);
        if has_changed {
            self.0.mark_unchanged();
        }
        has_changed
    }
}

impl<T> Clone for LiveTls<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> PartialEq for LiveTls<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.same_channel(&other.0)
    }
}

impl<T> Debug for LiveTls<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveTls").finish_non_exhaustive()
    }
}

impl ServerTlsFiles {
    /// Checks the files, as the start does.
    ///
    /// # Errors
    ///
    /// The first file that is wrong.
    pub fn check(&self) -> Result<Vec<String>, TlsError> {
        check(self)
    }
}

impl ClientTlsFiles {
    /// Checks the files, as the start does.
    ///
    /// # Errors
    ///
    /// The first file that is wrong.
    pub fn check(&self) -> Result<Vec<String>, TlsError> {
        check(self)
    }
}

/// Checks files; returns the warnings.
fn check<F: TlsFileSet>(files: &F) -> Result<Vec<String>, TlsError> {
    let now = SystemTime::now();
    let built = files.build()?;
    Ok(F::expiries(&built).iter().filter_map(|expiry| expiry.warning(now)).collect())
}

/// The files of all listeners and clients, open and followed.
#[derive(Debug)]
pub struct OpenTls {
    servers: OpenSets<ServerTlsFiles>,
    clients: OpenSets<ClientTlsFiles>,
    /// The certificates of files with those of supplies.
    combined: Vec<CombinedServer>,
    opener: TlsOpener,
}

/// The certificates of a listener that come from files and from supplies.
#[derive(Debug)]
struct CombinedServer {
    files: ServerTlsFiles,
    supplies: Vec<CertificateSupply>,
    live: LiveTls<ServerTls>,
}

/// Sets of files, each with what is made of it.
type OpenSets<F> = Vec<(F, LiveTls<<F as TlsFileSet>::Built>)>;

/// The parts that the tasks share which follow files.
#[derive(Clone, Debug)]
struct TlsOpener {
    rejected: Gauge,
    gauges: ExpiryGauges,
    control: Handle,
}

impl OpenTls {
    /// Makes an empty table. The tasks that follow the files run on `control`.
    pub fn new(registry: &Registry, control: &Handle) -> Self {
        registry.describe(
            REJECTED,
            "Sets of files of certificates and keys that are wrong now, so that the last good ones are in use",
        );
        let rejected = registry.gauge(REJECTED, &[]);
        let opener = TlsOpener { rejected, gauges: ExpiryGauges::new(registry), control: control.clone() };
        Self { servers: Vec::new(), clients: Vec::new(), combined: Vec::new(), opener }
    }

    /// Opens the files that are wanted now, those of a listener with its supplies; those that are open already stay open.
    ///
    /// # Errors
    ///
    /// A file that was not open cannot be used.
    pub async fn reopen(
        &self,
        servers: impl Iterator<Item = (&ServerTlsFiles, Vec<CertificateSupply>)>,
        clients: impl Iterator<Item = ClientTlsFiles>,
    ) -> Result<Self, TlsError> {
        let opener = self.opener.clone();
        let servers: Vec<_> = servers.collect();
        let files = opener.reopen(&self.servers, servers.iter().map(|(files, _)| (*files).clone())).await?;
        let clients = opener.reopen(&self.clients, clients).await?;
        let mut combined: Vec<CombinedServer> = Vec::new();
        for (own, supplies) in servers {
            if supplies.is_empty() || find_combined(&combined, own, &supplies).is_some() {
                continue;
            }
            let live = match (find_combined(&self.combined, own, &supplies), find(&files, own)) {
                (Some(live), _) => live,
                (None, Some(files)) => opener.combine(files, supplies.clone(), own)?,
                (None, None) => continue,
            };
            combined.push(CombinedServer { files: own.clone(), supplies, live });
        }
        Ok(Self { servers: files, clients, combined, opener })
    }

    /// Returns the certificates of a listener whose files are open, with those of its supplies.
    pub fn server(
        &self,
        files: &ServerTlsFiles,
        supplies: &[CertificateSupply],
    ) -> Option<LiveTls<ServerTls>> {
        if supplies.is_empty() {
            return find(&self.servers, files);
        }
        find_combined(&self.combined, files, supplies)
    }

    /// Returns the configuration of clients whose files are open.
    pub fn client(&self, files: &ClientTlsFiles) -> Option<LiveTls<ClientTls>> {
        find(&self.clients, files)
    }
}

fn find<F: TlsFileSet>(open: &OpenSets<F>, files: &F) -> Option<LiveTls<F::Built>> {
    open.iter().find(|(open, _)| open == files).map(|(_, live)| live.clone())
}

fn find_combined(
    combined: &[CombinedServer],
    files: &ServerTlsFiles,
    supplies: &[CertificateSupply],
) -> Option<LiveTls<ServerTls>> {
    let found = combined.iter().find(|known| known.files == *files && known.supplies == supplies);
    found.map(|known| known.live.clone())
}

impl TlsOpener {
    /// Puts the certificates of files and of supplies together, now and whenever one changes.
    fn combine(
        &self,
        files: LiveTls<ServerTls>,
        supplies: Vec<CertificateSupply>,
        own: &ServerTlsFiles,
    ) -> Result<LiveTls<ServerTls>, TlsError> {
        let mut combiner = Combiner::new(files, supplies, self.gauges.clone());
        let whole = combiner.combine(None).map_err(|error| {
            let place = own.paths().into_iter().next().unwrap_or_default();
            TlsFault::from(error).in_file(&place)
        })?;
        let (sender, live) = watch::channel(Arc::new(whole));
        self.control.spawn(combiner.run(sender));
        Ok(LiveTls(live))
    }

    async fn reopen<F: TlsFileSet>(
        &self,
        before: &OpenSets<F>,
        wanted: impl Iterator<Item = F>,
    ) -> Result<OpenSets<F>, TlsError> {
        let mut next: OpenSets<F> = Vec::new();
        for files in wanted {
            if find(&next, &files).is_none() {
                let live = match find(before, &files) {
                    Some(live) => live,
                    None => self.open(&files).await?,
                };
                next.push((files, live));
            }
        }
        Ok(next)
    }

    async fn open<F: TlsFileSet>(&self, files: &F) -> Result<LiveTls<F::Built>, TlsError> {
        let watch = Watch::new(&self.control);
        // The watch begins before the files are read, so that no change falls between the two.
        watch.watch_paths(files.paths()).await;
        let ReadSet { built, digest } = read(files).await;
        let built = Arc::new(built?);
        let (sender, live) = watch::channel(Arc::clone(&built));
        let follower = Follower {
            files: files.clone(),
            digest,
            shown: self.gauges.show(F::expiries(&built)),
            gauges: self.gauges.clone(),
            rejection: TlsRejection { reason: None, gauge: self.rejected.clone() },
            sender,
        };
        self.control.spawn(follower.run(watch));
        Ok(LiveTls(live))
    }
}

/// The result of reading a set of files.
struct ReadSet<T> {
    built: Result<T, TlsError>,
    /// The digest of their contents.
    digest: Vec<u8>,
}

/// Reads a set of files, on a thread that may block.
async fn read<F: TlsFileSet>(files: &F) -> ReadSet<F::Built> {
    let files = files.clone();
    let reading = tokio::task::spawn_blocking(move || {
        // Before they are read: a change in between is found by the next look.
        let digest = digest(&files.paths());
        ReadSet { built: files.build(), digest }
    });
    match reading.await {
        Ok(read) => read,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Returns the digest of the contents of files; one that cannot be read has none.
fn digest(paths: &[PathBuf]) -> Vec<u8> {
    let mut context = digest::Context::new(&digest::SHA256);
    for path in paths {
        let content = std::fs::read(path).unwrap_or_default();
        context.update(&(content.len() as u64).to_be_bytes());
        context.update(&content);
    }
    context.finish().as_ref().to_vec()
}

/// A set of files that is wrong now.
struct TlsRejection {
    reason: Option<String>,
    gauge: Gauge,
}

impl TlsRejection {
    /// Records the reason why the files are wrong, or that they are not; a reason is logged once.
    fn set(&mut self, reason: Option<String>) {
        if let Some(reason) = &reason
            && self.reason.as_ref() != Some(reason)
        {
            tracing::warn!("the last good certificates and keys stay in use: {reason}");
        }
        self.gauge.add(i64::from(reason.is_some()) - i64::from(self.reason.is_some()));
        self.reason = reason;
    }
}

impl Drop for TlsRejection {
    fn drop(&mut self) {
        self.set(None);
    }
}

/// The task that follows a set of files.
struct Follower<F: TlsFileSet> {
    files: F,
    digest: Vec<u8>,
    shown: GaugeUse,
    gauges: ExpiryGauges,
    rejection: TlsRejection,
    sender: watch::Sender<Arc<F::Built>>,
}

impl<F: TlsFileSet> Follower<F> {
    /// Publishes each change of the files until nobody uses them any more, and warns before a certificate expires.
    async fn run(mut self, mut watch: Watch) {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = watch.changed() => self.take_change().await,
                _ = look.tick() => self.warn(),
                () = self.sender.closed() => return,
            }
        }
    }

    async fn take_change(&mut self) {
        let ReadSet { built, digest } = read(&self.files).await;
        match built {
            Ok(built) => {
                self.rejection.set(None);
                // A change may be announced without one: then sessions can still be resumed.
                if self.digest != digest {
                    self.shown = self.gauges.show(F::expiries(&built));
                    self.sender.send_replace(Arc::new(built));
                    self.digest = digest;
                    let files: Vec<_> =
                        self.files.paths().iter().map(|path| path.display().to_string()).collect();
                    tracing::info!("certificates and keys have changed: {}", files.join(", "));
                    self.warn();
                }
            }
            Err(error) => self.rejection.set(Some(error.to_string())),
        }
    }

    fn warn(&self) {
        let built = Arc::clone(&self.sender.borrow());
        warn_of(F::expiries(&built));
    }
}

/// Warns of the certificates that are about to expire.
pub(super) fn warn_of(expiries: &[Expiry]) {
    let now = SystemTime::now();
    for warning in expiries.iter().filter_map(|expiry| expiry.warning(now)) {
        tracing::warn!("{warning}");
    }
}
