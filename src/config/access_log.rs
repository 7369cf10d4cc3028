//! Reads the keys of access logs, which begin with the protocol of their router: `httpAccessLog`, `h2AccessLog`.

use super::reader::{MAX_INT, Reader};
use super::resolved::AccessLogConfig;
use crate::proxy::AccessFormat;
use crate::source::node::Place;
use crate::telemetry::{LogFile, LogTarget, RollPolicy};
use std::path::PathBuf;

/// The endings of the keys for the log's file, behind the key of the log itself, such as `httpAccessLog`.
const FILE_ENDINGS: [&str; 3] = ["RollPolicy", "Append", "RotateCount"];

/// Reads the access log of a router of that protocol, with the path of keys to it and its place.
pub(super) fn access_log(
    router: &mut Reader<'_, '_>,
    protocol: &str,
) -> Option<(AccessLogConfig, (String, Place))> {
    let key = |rest: &str| format!("{protocol}AccessLog{rest}");
    let path = router.text(&key("")).unwrap_or_default();
    // Read even if they have no effect: a wrong value is an error all the same.
    let (format, file) = (format(router, &key("Format")), file(router, key, path.into()));
    let Some(log) = router.get(&key("")) else {
        let why = format!("there is no access log without `{}`", key(""));
        warn_without_effect(router, FILE_ENDINGS.iter().chain(&["Format"]).map(|rest| key(rest)), &why);
        return None;
    };
    let target = match path {
        "-" | "/dev/stdout" => {
            warn_without_effect(
                router,
                FILE_ENDINGS.iter().map(|rest| key(rest)),
                "the standard output is not a file that is rolled here",
            );
            LogTarget::StandardOutput
        }
        "" => {
            // A value that is no text has been reported.
            let error =
                log.text().ok().map(|_| log.unexpected("the path of a file, or `-` for the standard output"));
            router.report().errors(error);
            return None;
        }
        _ => LogTarget::File(file),
    };
    Some((AccessLogConfig { target, format }, (log.key().to_owned(), log.place())))
}

/// Warns of each of these keys that is there.
fn warn_without_effect(router: &mut Reader<'_, '_>, keys: impl Iterator<Item = String>, why: &str) {
    for key in keys {
        if let Some(value) = router.get(&key) {
            router.report().warn(value.place(), value.key(), format!("`{key}` has no effect: {why}"));
        }
    }
}

/// Reads the format of the lines.
fn format(router: &mut Reader<'_, '_>, key: &str) -> AccessFormat {
    match router.text(key) {
        None | Some("linkerd") => AccessFormat::Linkerd,
        Some("json") => AccessFormat::Json,
        Some(_) => {
            let error = router.get(key).map(|value| value.unexpected("`linkerd` or `json`"));
            router.report().errors(error);
            AccessFormat::Linkerd
        }
    }
}

/// Reads the settings of the log's file.
fn file(router: &mut Reader<'_, '_>, key: impl Fn(&str) -> String, path: PathBuf) -> LogFile {
    let [roll_key, append_key, keep_key] = FILE_ENDINGS.map(key);
    let roll = router.text(&roll_key).map_or(Ok(RollPolicy::default()), str::parse);
    if let Err(expected) = &roll {
        let error = router.get(&roll_key).map(|value| value.unexpected(&expected.to_string()));
        router.report().errors(error);
    }
    let keeps_all = router.get(&keep_key).is_none_or(|value| value.text() == Ok("-1"));
    LogFile {
        path,
        roll: roll.unwrap_or_default(),
        append: router.flag(&append_key).unwrap_or(true),
        keep: if keeps_all { None } else { router.number(&keep_key, 0..=MAX_INT) },
    }
}
