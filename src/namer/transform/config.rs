//! The configuration of transformers.

use crate::interpret::{Leaf, State};
use crate::name::{NameTree, Path};
use crate::namer::address::{is_host_name, literal};
use crate::namer::system::SystemNamer;

/// One entry of `transformers:`, as configured.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(untagged)]
pub enum Transformer {
    /// `io.l5d.localhost`: keeps endpoints at addresses of this machine.
    Localhost,
    /// `io.l5d.specificHost`: keeps endpoints at the addresses of a host.
    SpecificHost {
        /// An address, or a host name, which is looked up again when its time to live is over.
        host: String,
    },
    /// `io.l5d.port`: sends to another port of the same addresses.
    Port {
        /// From 1.
        port: u16,
    },
    /// `io.l5d.const`: whatever is asked for stands for one name.
    Const {
        /// The name, which begins with `/$`.
        path: Path,
    },
    /// `io.l5d.replace`: whatever is bound stands for one name.
    Replace {
        /// The name, which begins with `/$`.
        path: Path,
    },
}

impl Transformer {
    /// Returns its kind, as it is written in the configuration.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Localhost => "io.l5d.localhost",
            Self::SpecificHost { .. } => "io.l5d.specificHost",
            Self::Port { .. } => "io.l5d.port",
            Self::Const { .. } => "io.l5d.const",
            Self::Replace { .. } => "io.l5d.replace",
        }
    }

    /// Returns the key whose value is wrong, and what is wrong with it.
    pub fn wrong(&self) -> Option<(&'static str, String)> {
        match self {
            Self::SpecificHost { host } => {
                let expected = "expected an address such as 10.0.0.7, or a host name";
                let good = literal(host).is_some() || is_host_name(host);
                (!good).then(|| ("host", format!("{expected}, found `{}`", host.escape_debug())))
            }
            Self::Const { path } | Self::Replace { path } => {
                system_path(path).err().map(|reason| ("path", reason))
            }
            Self::Localhost | Self::Port { .. } => None,
        }
    }
}

/// Returns what follows `/$` in a path that stands for what the system namers can bind by themselves, as Linkerd has
/// it for `io.l5d.const` and `io.l5d.replace`: no other namer is asked, and no dtab.
pub(super) fn system_path(path: &Path) -> Result<Path, String> {
    let expected = || "expected a name that begins with `/$`, such as `/$/inet/127.1/4140`".to_owned();
    let rest = path.drop_prefix(&Path::from_elems(["$"])).ok_or_else(expected)?;
    match SystemNamer::immediately(&rest) {
        Some(State::Failed(reason)) => Err(reason.to_string()),
        Some(State::Ready(NameTree::Leaf(Leaf::Path(_)) | NameTree::Neg)) => Err(expected()),
        _ => Ok(rest),
    }
}
