use super::Readiness;
use crate::drain;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn ready_between_the_start_and_the_drain() {
    let (drain, guard) = drain::channel();
    let readiness = Readiness::new(drain.stages());
    assert_eq!(readiness.unready_reason(), Some("starting"));
    readiness.serving();
    assert_eq!(readiness.unready_reason(), None);
    drop(guard);
    assert!(
        drain.drain(Duration::ZERO, Duration::ZERO).await,
        "a reader of the stages does not hold up the drain"
    );
    assert_eq!(readiness.unready_reason(), Some("draining"));
}
