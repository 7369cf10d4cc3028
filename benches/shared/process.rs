//! What benches share: processes, as the kernel sees them, and the runtime of their parts.

use std::fs;

/// Whatever goes wrong ends a bench.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// The resident memory of a process in bytes.
pub(crate) fn resident(process: u32) -> Result<u64, Error> {
    status(process, "VmRSS:")
}

/// The most it has had of it so far, in bytes.
pub(crate) fn most_resident(process: u32) -> Result<u64, Error> {
    status(process, "VmHWM:")
}

/// A number of kilobytes that the kernel says of a process, in bytes.
fn status(process: u32, name: &str) -> Result<u64, Error> {
    let text = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).ok_or("/proc has an unknown form")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}

/// Runs a part on one thread.
pub(crate) fn on_one_thread(work: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    use tokio::runtime::{Builder, LocalOptions};
    Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?.block_on(work)
}
