//! The part of a changed configuration that waits for a restart.

use crate::config::{Config, Warning};

/// Returns the configuration to run from now on: `new`, but for the number of workers, which stays. If that differs, it
/// comes back as a warning with its place.
pub(super) fn keep_workers(running: &Config, new: Config) -> (Config, Vec<Warning>) {
    if running.workers == new.workers {
        return (new, Vec::new());
    }
    let warning = Warning {
        file: new.file.clone(),
        place: new.places.workers,
        key: "workers".to_owned(),
        code: "restart-needed",
        message: "the number of workers stays until a restart".to_owned(),
    };
    (Config { workers: running.workers, ..new }, vec![warning])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::read;

    const ROUTERS: &str = "routers: [{protocol: http, servers: [{port: 4140}]}]\n";

    #[test]
    fn the_number_of_workers_alone_waits_for_a_restart() {
        let running = read("old", &format!("workers: 2\n{ROUTERS}")).unwrap();
        let other = "workers: 2\nrouters: [{protocol: h2, label: other, servers: [{port: 4141}]}]\n";
        let (config, left) = keep_workers(&running, read("new", other).unwrap());
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(config, read("new", other).unwrap());
        let (config, left) = keep_workers(&running, read("new", &format!("workers: 3\n{ROUTERS}")).unwrap());
        let said: Vec<_> = left.iter().map(ToString::to_string).collect();
        assert_eq!(said, ["new:1:10: workers: the number of workers stays until a restart"]);
        assert_eq!(config.workers, Some(2));
    }
}
