//! The namers: implementations of [`Namer`] for files, rewriting, addresses, and the utility namers of Linkerd 1.

mod address;
mod fs;
mod hosts;
mod pattern;
mod rewrite;
mod system;
mod utility;

#[cfg(test)]
mod tests;

pub use self::fs::{BadLine, FileState, FsNamer};
pub use self::pattern::{Captures, PathMatcher, PatternError, Template};

use self::rewrite::RewriteNamer;
use self::system::SystemNamer;
use crate::interpret::{Namer, Namers};
use crate::name::Path;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::runtime::Handle;

/// One entry of `namers:`, as configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Under which prefix it answers, without the leading `/#`; its kind unless the configuration says otherwise.
    pub prefix: Path,
    /// What it is.
    pub kind: Kind,
}

/// The kinds of namers, each with its own keys.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(untagged)]
pub enum Kind {
    /// `io.l5d.fs`: names are files.
    Fs(Fs),
    /// `io.l5d.rewrite`: names are made of other names.
    Rewrite(Rewrite),
}

impl Kind {
    /// Returns its name, as it is written in the configuration.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Fs(_) => "io.l5d.fs",
            Self::Rewrite(_) => "io.l5d.rewrite",
        }
    }
}

/// The keys of `io.l5d.fs`.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Fs {
    /// The directory whose files are the names; one that is not there yet may come later.
    pub root_dir: PathBuf,
}

/// The keys of `io.l5d.rewrite`.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Rewrite {
    /// What a path must begin with: see [`PathMatcher`].
    pub pattern: String,
    /// What takes its place: see [`Template`].
    pub name: String,
}

/// Why a namer cannot be made of its configuration.
#[derive(Debug, thiserror::Error)]
#[error("namer /#{prefix}: {cause}")]
pub struct Error {
    /// Its position in the configuration, from 0.
    pub at: usize,
    /// Its prefix, without the leading `/#`.
    pub prefix: Path,
    /// What is wrong.
    pub cause: Cause,
}

/// What is wrong with the configuration of a namer.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// `rootDir` is empty, or relative while there is no working directory.
    #[error("rootDir: {0}")]
    RootDir(std::io::Error),
    /// `pattern` is not a pattern.
    #[error("pattern: {0}")]
    Pattern(PatternError),
    /// `name` is not a template for the pattern.
    #[error("name: {0}")]
    Name(PatternError),
}

/// Makes the namers of a configuration, in its order, after the system namers at `/$`; `control` runs their watches.
///
/// # Errors
///
/// Says which namer cannot be made, and why.
pub fn build(configs: &[Config], control: &Handle) -> Result<Namers, Error> {
    let system: Arc<dyn Namer> = Arc::new(SystemNamer::new(control));
    let mut namers = vec![(Path::from_elems([b"$"]), system)];
    for (at, Config { prefix, kind }) in configs.iter().enumerate() {
        let full = Path::from_elems([b"#"]).concat(prefix);
        let namer =
            build_one(&full, kind, control).map_err(|cause| Error { at, prefix: prefix.clone(), cause })?;
        namers.push((full, namer));
    }
    Ok(Namers::new(namers))
}

fn build_one(prefix: &Path, kind: &Kind, control: &Handle) -> Result<Arc<dyn Namer>, Cause> {
    Ok(match kind {
        Kind::Fs(Fs { root_dir }) => {
            let root = std::path::absolute(root_dir).map_err(Cause::RootDir)?;
            Arc::new(FsNamer::new(prefix.clone(), root, control))
        }
        Kind::Rewrite(Rewrite { pattern, name }) => {
            let matcher = pattern.parse().map_err(Cause::Pattern)?;
            let template = Template::compile(name, &matcher).map_err(Cause::Name)?;
            Arc::new(RewriteNamer::new(matcher, template))
        }
    })
}
