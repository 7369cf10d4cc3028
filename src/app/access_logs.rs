//! The access logs of the routers.

use super::Error;
use crate::config::{AccessLogConfig, Config};
use crate::proxy::AccessLog;
use crate::telemetry::{Logs, Registry};

/// Opens the access logs of the routers, in their order; logs to one file share one writer. [`keep`] has to follow, also
/// after an error: those that are open stay open until then.
///
/// # Errors
///
/// One of them cannot be opened.
pub(super) fn open(
    config: &Config,
    logs: &mut Logs,
    registry: &Registry,
) -> Result<Vec<Option<AccessLog>>, Error> {
    let mut opened = Vec::new();
    for (router, places) in config.routers.iter().zip(&config.places.routers) {
        let open = |log: &AccessLogConfig| match logs.open(&log.target, registry) {
            Ok(lines) => Ok(AccessLog { lines, format: log.format }),
            Err(source) => {
                let (key, place) = &places.access_log;
                let what = format!("{}:{place}: {key}: router {}", config.file, router.label);
                Err(Error::AccessLog { what, source })
            }
        };
        opened.push(router.access_log.as_ref().map(open).transpose()?);
    }
    Ok(opened)
}

/// Keeps the access logs of a configuration, with its settings. The others end when their last line is written.
pub(super) fn keep(config: &Config, logs: &mut Logs) {
    let targets = config.routers.iter().filter_map(|router| Some(&router.access_log.as_ref()?.target));
    logs.keep(&targets.collect::<Vec<_>>());
}
