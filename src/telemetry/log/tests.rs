use super::*;
use std::fs;

fn file(path: &Path) -> LogTarget {
    LogTarget::File(LogFile { path: path.to_owned(), roll: RollPolicy::Never, append: true, keep: None })
}

#[tokio::test]
async fn all_that_was_handed_over_is_written_in_order_before_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.log");
    let mut logs = Logs::default();
    let lines = logs.open(&file(&path), &Registry::default()).expect("it opens");
    let expected: String = (0..10_000).map(|number| format!("line {number}\n")).collect();
    for line in expected.split_inclusive('\n') {
        assert!(lines.write(line.into()));
    }
    drop(lines);
    logs.ended().await;
    assert!(fs::read_to_string(&path).expect("a text") == expected);
}

#[tokio::test]
async fn one_file_has_one_writer() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.log");
    let mut logs = Logs::default();
    let registry = Registry::default();
    let one = logs.open(&file(&path), &registry).expect("it opens");
    let same = logs.open(&file(&folder.path().join("./a.log")), &registry).expect("it is open");
    let other = logs.open(&file(&folder.path().join("b.log")), &registry).expect("it opens");
    assert_eq!(logs.0.len(), 2);
    assert!(one.write(b"one\n".into()) && same.write(b"two\n".into()) && other.write(b"other\n".into()));
    drop((one, same, other));
    logs.ended().await;
    assert_eq!(fs::read_to_string(&path).expect("a text"), "one\ntwo\n");
}

/// Whoever began with a log ends with it, and finds its writer even if the log was given up meanwhile.
#[tokio::test]
async fn a_log_that_is_not_kept_ends_with_its_last_handle() {
    let folder = tempfile::tempdir().expect("a folder");
    let [a, b] = ["a.log", "b.log"].map(|name| folder.path().join(name));
    let mut logs = Logs::default();
    let registry = Registry::default();
    let (first, other) = (logs.open(&file(&a), &registry), logs.open(&file(&b), &registry));
    let (first, other) = (first.expect("it opens"), other.expect("it opens"));
    logs.keep(&[&file(&b)]);
    assert!(first.write(b"under way\n".into()));
    let again = logs.open(&file(&a), &registry).expect("it runs still");
    assert!(again.is_same_writer(&first));
    logs.keep(&[&file(&b)]);
    assert_eq!((logs.0.len(), registry.series_count()), (2, 2));
    drop((first, again));
    while !matches!(logs.0[0].ended.try_recv(), Err(oneshot::error::TryRecvError::Closed)) {
        std::thread::yield_now();
    }
    assert_eq!(fs::read_to_string(&a).expect("a text"), "under way\n");
    logs.keep(&[&file(&b)]);
    assert_eq!((logs.0.len(), registry.series_count()), (1, 1), "nothing of it is left");
    let anew = logs.open(&file(&a), &registry).expect("it opens again");
    assert!(anew.write(b"new\n".into()));
    drop((anew, other));
    logs.keep(&[&file(&b)]);
    logs.ended().await;
    assert_eq!(fs::read_to_string(&a).expect("a text"), "under way\nnew\n");
}

#[tokio::test]
async fn the_settings_of_a_log_change_while_it_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.log");
    let mut logs = Logs::default();
    let lines = logs.open(&file(&path), &Registry::default()).expect("it opens");
    assert!(lines.write(b"first\n".into()));
    // To empty it is for the start only.
    let settings = LogFile { path, roll: RollPolicy::Size(8), append: false, keep: Some(1) };
    logs.keep(&[&LogTarget::File(settings)]);
    for line in ["second\n", "third\n"] {
        assert!(lines.write(line.into()));
    }
    drop(lines);
    logs.ended().await;
    let mut texts: Vec<_> = fs::read_dir(folder.path())
        .expect("it is there")
        .map(|entry| fs::read_to_string(entry.expect("an entry").path()).expect("a text"))
        .collect();
    texts.sort();
    assert_eq!(texts, ["second\n", "third\n"], "the first was the second file aside");
}

/// The queue has a bound in bytes: a worker that reaches it loses lines and never waits.
#[test]
fn a_full_queue_drops_lines() {
    let (sender, mut messages) = mpsc::unbounded_channel();
    let lines = LogHandle { sender, queued: Arc::default() };
    let line = || vec![b'x'; 1 << 20];
    let taken = (0..100).take_while(|_| lines.write(line())).count();
    assert_eq!(taken, 7, "with their overhead eight would be more than 8 MiB");
    assert!(lines.write(b"a short one\n".into()));
    assert!(!lines.write(line()));
    let folder = tempfile::tempdir().expect("a folder");
    let LogTarget::File(log) = file(&folder.path().join("a.log")) else { panic!("a file") };
    let output = LogOutput::File(RollingFile::open(log, Timestamp::now()).expect("it opens"));
    let mut writer = LogWriter::new("a".to_owned(), output, SharedCounter::default());
    writer.take(messages.try_recv().expect("a line waits"), &lines.queued);
    assert!(lines.write(line()), "there is room again");
    drop(messages);
    let before = lines.queued.load(Relaxed);
    assert!(!lines.write(b"never written\n".into()));
    assert_eq!(lines.queued.load(Relaxed), before);
}

// Other systems have no such device.
#[cfg(target_os = "linux")]
#[test]
fn lines_that_cannot_be_written_are_counted() {
    let log = LogFile { path: "/dev/full".into(), roll: RollPolicy::Never, append: true, keep: None };
    let output = LogOutput::File(RollingFile::open(log, Timestamp::now()).expect("it opens"));
    let registry = Registry::default();
    let mut writer = LogWriter::new("full".to_owned(), output, registry.shared_counter(UNWRITTEN.0, &[]));
    for _ in 0..2 {
        writer.add(b"one\n", Timestamp::now());
        writer.add(b"two\n", Timestamp::now());
        writer.flush();
    }
    assert_eq!(registry.total(UNWRITTEN.0, &[]), 4);
}
