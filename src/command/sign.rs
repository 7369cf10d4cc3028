//! `signpost sign`: signs a token.

use super::Exit;
use super::run::fail;
use crate::context::token::{MAX_TOKEN, SigningKey, TokenRequest, is_tenant_key};
use crate::name::Dtab;
use jiff::SignedDuration;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// How many bytes a private key file may have.
const MAX_BYTES: u64 = 64 * 1024;

/// The command line of `signpost sign`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  signpost sign --key team.key --audience edge-eu --dtab '/host/world => /srv/world-v2'
  signpost sign --key team.key --audience edge-eu --sandbox pr-17 --expires-in 8h
  curl -H \"l5d-dtab-token: $(signpost sign --key team.key --audience http --sandbox pr-17)\" http://edge/

The token is printed, and nothing else; its `jti`, by which `revoked` refuses it, is told on standard error.")]
pub(super) struct Arguments {
    /// The file of the private key, as `signpost keys` writes it
    #[arg(long, value_name = "FILE")]
    pub(super) key: PathBuf,
    /// A router that accepts the token: its label, unless `audience` in its file says otherwise; may be repeated
    #[arg(long, value_name = "AUDIENCE", required = true)]
    pub(super) audience: Vec<String>,
    /// The dtab entries that the token grants
    #[arg(long, required_unless_present = "sandbox")]
    pub(super) dtab: Option<String>,
    /// The tenant key that the token grants; several are joined by +
    #[arg(long, value_name = "KEY")]
    pub(super) sandbox: Option<String>,
    /// The path of URLs at or below which it is good; one in a query needs it
    #[arg(long, value_name = "PATH")]
    pub(super) path: Option<String>,
    /// The time until it expires, such as 90s, 30m, 8h or 1d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_time)]
    pub(super) expires_in: u64,
    /// The time until it becomes valid
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(super) not_before: Option<u64>,
}

/// Signs a token and prints it.
pub(super) fn run(arguments: &Arguments) -> Exit {
    match sign(arguments) {
        Ok(token) => {
            println!("{token}");
            Exit::Done
        }
        Err(error) => fail(&error),
    }
}

/// Signs a token; its `jti` is told on standard error.
pub(super) fn sign(arguments: &Arguments) -> Result<String, String> {
    let claims = claims(arguments)?;
    let file = &arguments.key;
    let key = read_private(file).map_err(|error| format!("{}: cannot be read: {error}", file.display()))?;
    let key = SigningKey::read(&key).map_err(|fault| format!("{}: {fault}", file.display()))?;
    let token = key.sign(&claims).ok_or_else(|| format!("{}: the key cannot sign", file.display()))?;
    if token.len() > MAX_TOKEN {
        return Err(format!(
            "the token would have {} bytes, and routers read {MAX_TOKEN}: grant less",
            token.len()
        ));
    }
    eprintln!("signpost: the jti is {}", claims.jti);
    Ok(token)
}

/// Returns the claims, checked as a router checks them.
fn claims(arguments: &Arguments) -> Result<TokenRequest, String> {
    if let Some(Err(error)) = arguments.dtab.as_ref().map(|dtab| dtab.parse::<Dtab>()) {
        return Err(format!("--dtab: {error}"));
    }
    if let Some(sandbox) = arguments.sandbox.as_ref().filter(|sandbox| !is_tenant_key(sandbox)) {
        return Err(format!(
            "--sandbox: `{sandbox}` is not a tenant key: lower-case letters, digits, `-` and `.`, 63 at most, with a \
             letter or digit at both ends; several keys are joined by `+`"
        ));
    }
    if arguments.path.as_ref().is_some_and(|path| !path.starts_with('/') || path.contains(['?', '#', ' '])) {
        return Err("--path: the path of a URL begins with `/`, and has no query".to_owned());
    }
    if arguments.not_before.is_some_and(|begins| begins >= arguments.expires_in) {
        return Err("--not-before: the token would expire before it becomes valid".to_owned());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Ok(TokenRequest {
        aud: arguments.audience.clone(),
        exp: now.saturating_add(arguments.expires_in),
        nbf: arguments.not_before.map(|begins| now.saturating_add(begins)),
        jti: TokenRequest::new_id().ok_or("no jti can be made: the system has no random numbers")?,
        dtab: arguments.dtab.clone(),
        sandbox: arguments.sandbox.clone(),
        path: arguments.path.clone(),
    })
}

/// Reads the file of a private key; warns when others may read it too.
fn read_private(file: &Path) -> io::Result<Vec<u8>> {
    let open = File::open(file)?;
    if open.metadata()?.permissions().mode() & 0o077 != 0 {
        eprintln!(
            "signpost: {}: others may read this private key: chmod 600 would keep it private",
            file.display()
        );
    }
    let mut content = Vec::new();
    open.take(MAX_BYTES).read_to_end(&mut content)?;
    Ok(content)
}

/// Reads a time in words, such as `90s` or `1h 30m`; returns the seconds.
pub(super) fn parse_time(text: &str) -> Result<u64, String> {
    // The library's times have no days: here one is 24 hours.
    let days = text.strip_suffix('d').and_then(|days| days.parse::<i64>().ok()?.checked_mul(86_400));
    let time = days.map(SignedDuration::from_secs).or_else(|| text.parse().ok());
    let time = time.filter(|time| *time >= SignedDuration::from_secs(1));
    let seconds = time.and_then(|time| time.as_secs().try_into().ok());
    seconds.ok_or_else(|| "a time such as 90s, 30m, 8h or 1d is expected".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_words() {
        for (text, seconds) in [
            ("90s", Some(90)),
            ("30m", Some(1800)),
            ("8h", Some(28_800)),
            ("2d", Some(172_800)),
            ("1h 30m", Some(5400)),
        ] {
            assert_eq!(parse_time(text).ok(), seconds, "{text}");
        }
        for text in ["", "1", "0s", "-1h", "h", "1x", "999999999999999999999d", "99999999999999999d"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }
}
