//! The levels of the log, as `SIGNPOST_LOG` sets them.

use tracing_subscriber::filter::{LevelFilter, Targets};

/// The words that are levels, the least first.
const LEVELS: [(&str, LevelFilter); 6] = [
    ("off", LevelFilter::OFF),
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];

/// A text in `SIGNPOST_LOG` that is not read as levels.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "SIGNPOST_LOG: expected a level (off, error, warn, info, debug or trace), or `module=level`, several with commas \
     between them; found `{0}`"
)]
pub struct LevelError(String);

/// Returns the filter of a text: a level, `module=level`, or several of both with commas between them; the last that fits a
/// module counts. An empty text is `info`.
///
/// A module is one of this crate (`kubernetes`, `proxy::upstream`) or of a library (`hyper`). The client of the Kubernetes
/// API warns of every connection that ends, and the module that made the request logs the consequences: it is at `error`
/// unless it is named.
pub(super) fn parse_levels(text: &str) -> Result<Targets, LevelError> {
    let mut targets =
        Targets::new().with_default(LevelFilter::INFO).with_target("kube_client", LevelFilter::ERROR);
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let error = || LevelError(part.to_owned());
        targets = match part.split_once('=') {
            None => targets.with_default(level(part).ok_or_else(error)?),
            Some((module, word)) => {
                let (module, level) = (module.trim(), level(word).ok_or_else(error)?);
                if module.is_empty() {
                    return Err(error());
                }
                targets.with_target(module, level).with_target(format!("signpost::{module}"), level)
            }
        };
    }
    Ok(targets)
}

/// Returns the level of a word, in any case.
fn level(word: &str) -> Option<LevelFilter> {
    let known = LEVELS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word.trim()));
    known.map(|(_, level)| *level)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn levels_hold_for_all_modules_or_for_those_named() {
        // The text, then the greatest level at which two modules log.
        for (text, kubernetes, client) in [
            ("", Some(Level::INFO), Some(Level::ERROR)),
            (" , ", Some(Level::INFO), Some(Level::ERROR)),
            ("debug", Some(Level::DEBUG), Some(Level::ERROR)),
            (" WARN ", Some(Level::WARN), Some(Level::ERROR)),
            ("off", None, Some(Level::ERROR)),
            ("kubernetes=trace", Some(Level::TRACE), Some(Level::ERROR)),
            ("signpost::kubernetes=debug, warn", Some(Level::DEBUG), Some(Level::ERROR)),
            ("error,kube_client=warn", Some(Level::ERROR), Some(Level::WARN)),
        ] {
            let filter = parse_levels(text).expect(text);
            let most = |target: &str| {
                let levels = [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR];
                levels.into_iter().find(|level| filter.would_enable(target, level))
            };
            let found = (most("signpost::kubernetes::watch_task"), most("kube_client::client"));
            assert_eq!(found, (kubernetes, client), "{text:?}");
        }
    }

    #[test]
    fn a_word_that_is_no_level_is_an_error_that_lists_them() {
        for (text, found) in [
            ("warning", "warning"),
            ("info,verbose", "verbose"),
            ("proxy=loud", "proxy=loud"),
            ("=debug", "=debug"),
            ("proxy=", "proxy="),
            ("proxy", "proxy"),
        ] {
            let error = parse_levels(text).expect_err(text).to_string();
            assert!(error.contains("off, error, warn, info, debug or trace"), "{error}");
            assert!(error.ends_with(&format!("found `{found}`")), "{error}");
        }
    }
}
