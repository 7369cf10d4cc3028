//! `signpost sandbox url` and `signpost sandbox curl`: print the request that selects a sandbox.

use super::{CommandError, sandboxes_config};
use crate::command::sign;
use crate::context::token::is_tenant_key;
use std::path::PathBuf;

/// The command line of `signpost sandbox url`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  signpost sandbox url --config linkerd.yaml anna-world http://localhost:4140/
  signpost sandbox url --parameter sandbox anna-world+anna-users https://shop.example/cart
  signpost sandbox url --config edge.yaml --key-file team.key --audience edge pr-17 https://shop.example/hooks/paid

A key counts where the listener trusts its callers: a stranger's is removed. A token counts where the listener has `trust.signed`, at
or below the path of the URL, until it expires: for a webhook, whose sender can set no header. Whoever has the URL can use it.")]
pub(super) struct UrlArguments {
    /// The key of the sandbox, or several joined by +
    key: String,
    /// The URL to which it is added
    #[arg(default_value = "http://localhost:4140/")]
    url: String,
    /// The configuration of the router, for `sandboxes.queryParameter`
    #[arg(long, value_name = "FILE", required_unless_present = "parameter")]
    config: Option<PathBuf>,
    /// The name of the query parameter
    #[arg(long, value_name = "NAME")]
    parameter: Option<String>,
    /// The file of a private key, as `signpost keys` writes it: a token takes the place of the key
    #[arg(long, value_name = "FILE", requires = "audience")]
    key_file: Option<PathBuf>,
    /// A router that accepts the token: its label, unless `audience` in its file says otherwise; may be repeated
    #[arg(long, value_name = "AUDIENCE", requires = "key_file")]
    audience: Vec<String>,
    /// The path at or below which the token is good; that of the URL unless given
    #[arg(long, value_name = "PATH", requires = "key_file")]
    path: Option<String>,
    /// The time until the token expires, such as 90s, 30m, 8h or 1d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = sign::parse_time)]
    expires_in: u64,
}

/// The command line of `signpost sandbox curl`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  signpost sandbox curl anna-world
  signpost sandbox curl --config linkerd.yaml --host world anna-world http://localhost:4140/
  sh -c \"$(signpost sandbox curl --host world anna-world)\"")]
pub(super) struct CurlArguments {
    /// The key of the sandbox, or several joined by +
    key: String,
    /// The URL to ask
    #[arg(default_value = "http://localhost:4140/")]
    url: String,
    /// The host that the request is for, where it is another than that of the URL
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// The configuration of the router, for the first of `sandboxes.keys`
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Prints the URL.
pub(super) fn url(arguments: &UrlArguments) -> Result<(), CommandError> {
    check_key(&arguments.key)?;
    let config = sandboxes_config(arguments.config.as_ref())?;
    let parameter = arguments.parameter.clone().or(config.tenancy.query_parameter).ok_or_else(|| {
        "the configuration has no `sandboxes.queryParameter`: add it, or use `signpost sandbox curl`"
            .to_owned()
    })?;
    let value = match &arguments.key_file {
        Some(file) => sign::sign(&sign::Arguments {
            key: file.clone(),
            audience: arguments.audience.clone(),
            dtab: None,
            sandbox: Some(arguments.key.clone()),
            path: Some(arguments.path.clone().unwrap_or_else(|| path_of(&arguments.url))),
            expires_in: arguments.expires_in,
            not_before: None,
        })?,
        None => arguments.key.clone(),
    };
    println!("{}", with_parameter(&arguments.url, &parameter, &value));
    Ok(())
}

/// Returns the path of an URL.
fn path_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/").to_owned()
}

/// Adds a query parameter to an URL, before its fragment.
fn with_parameter(url: &str, parameter: &str, key: &str) -> String {
    let (url, fragment) = url.find('#').map_or((url, ""), |at| url.split_at(at));
    let separator = match url.split_once('?') {
        None => "?",
        Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
        Some(_) => "&",
    };
    let value: String = form_urlencoded::byte_serialize(key.as_bytes()).collect();
    format!("{url}{separator}{parameter}={value}{fragment}")
}

/// Prints the curl command.
pub(super) fn curl(arguments: &CurlArguments) -> Result<(), CommandError> {
    check_key(&arguments.key)?;
    let config = sandboxes_config(arguments.config.as_ref())?;
    let member = config.tenancy.first_key().unwrap_or_default();
    let mut command = format!("curl --header {}", quoted(&format!("baggage: {member}={}", arguments.key)));
    if let Some(host) = &arguments.host {
        command.push_str(&format!(" --header {}", quoted(&format!("Host: {host}"))));
    }
    println!("{command} {}", quoted(&arguments.url));
    Ok(())
}

fn check_key(key: &str) -> Result<(), CommandError> {
    if is_tenant_key(key) {
        return Ok(());
    }
    Err(CommandError::Wrong(format!(
        "`{key}` is no key: it has lower-case letters, digits, `-` and `.`, 63 at most, with a letter or a digit at both ends; \
         several are joined by `+`"
    )))
}

/// Returns a text as one word of a shell.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._/:@%+=".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_added_to_the_query() {
        for (url, expected) in [
            ("http://a/", "http://a/?s=x%2By"),
            ("http://a/?", "http://a/?s=x%2By"),
            ("http://a/?b=c#d?e", "http://a/?b=c&s=x%2By#d?e"),
            ("http://a/#", "http://a/?s=x%2By#"),
        ] {
            assert_eq!(with_parameter(url, "s", "x+y"), expected);
        }
    }

    #[test]
    fn a_token_is_good_at_the_path_of_the_url() {
        for (url, path) in [
            ("http://a", "/"),
            ("http://a?b=/c", "/"),
            ("https://a:1/b/c?d#e", "/b/c"),
            ("http://a/#/b", "/"),
            ("a/b", "/b"),
        ] {
            assert_eq!(path_of(url), path, "{url}");
        }
    }

    #[test]
    fn words_of_a_shell_are_quoted() {
        assert_eq!(quoted("http://a/?b=c"), "'http://a/?b=c'");
        assert_eq!(quoted("http://a/b"), "http://a/b");
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}
