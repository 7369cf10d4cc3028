//! `signpost keys`: makes a key that signs tokens.

use super::Exit;
use super::run::fail;
use crate::context::token::{GeneratedKey, KeyKind};
use clap::ValueEnum;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The command line of `signpost keys`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  signpost keys --private team.key > team.pem           a key pair: `keys: [team.pem]` in the router's file
  signpost keys --private team.key --jwks > keys.json   the same with the public key as a JWKS: `jwks: keys.json`
  signpost keys --algorithm hs256 --private keys.json   a secret, which the router needs as well: `jwks: keys.json`

The private key is written to its file, which only its owner may read, and nowhere else. A file that is there already is
left as it is.")]
pub(super) struct Arguments {
    /// The file of the private key, which must not exist
    #[arg(long, value_name = "FILE")]
    private: PathBuf,
    /// The kind of key
    #[arg(long, value_enum, default_value_t = AlgorithmName::Ed25519)]
    algorithm: AlgorithmName,
    /// Print the public key as a JWKS, which names it by its `kid`, instead of PEM
    #[arg(long)]
    jwks: bool,
}

/// A kind of key, as it is named on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum AlgorithmName {
    /// A key pair for EdDSA
    Ed25519,
    /// A key pair of P-256 for ES256, where EdDSA is not at hand
    Es256,
    /// A secret for HS256: a router that verifies can sign as well
    Hs256,
}

/// Makes a key; prints its public part.
pub(super) fn run(arguments: &Arguments) -> Exit {
    let kind = match arguments.algorithm {
        AlgorithmName::Ed25519 => KeyKind::Ed25519,
        AlgorithmName::Es256 => KeyKind::Es256,
        AlgorithmName::Hs256 => KeyKind::Hs256,
    };
    let Some(key) = GeneratedKey::new(kind) else {
        return fail(&"no key can be made: the system has no random numbers");
    };
    let file = &arguments.private;
    if let Err(error) = write_private(file, &key.private) {
        return fail(&format_args!("{}: cannot be written: {}", file.display(), describe(&error)));
    }
    match if arguments.jwks { key.jwks } else { key.public } {
        Some(public) => print!("{public}"),
        None => eprintln!(
            "signpost: {} holds the secret that signs, and the router needs it as well: `jwks: {}`",
            file.display(),
            file.display()
        ),
    }
    Exit::Done
}

/// Writes a new file that only its owner may read.
fn write_private(file: &Path, content: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    file.write_all(content.as_bytes())
}

fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AlreadyExists => "it is there already, and a key is never overwritten".to_owned(),
        _ => error.to_string(),
    }
}
