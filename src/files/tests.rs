use super::inotify::{ChangeSubscriber, WriteProgress};
use super::path_walk::{EntryCache, walk};
use super::{Announcing, MAX_DELAY, POLL, PathChange, Watch};
use notify::event::{
    AccessKind, AccessMode, CreateKind, DataChange, EventKind, Flag, MetadataKind, ModifyKind, RemoveKind,
    RenameMode,
};
use notify::{Event, Watcher};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

/// Waits for an announcement; one that does not come within this time never comes.
async fn announced(watch: &mut Watch) -> bool {
    timeout(Duration::from_secs(20), watch.changed()).await.is_ok()
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

/// A case of the table below: the files before, the path that is watched, and two changes one after the other.
type Case = (&'static str, fn(&Path), &'static str, fn(&Path), fn(&Path));

const CASES: &[Case] = &[
    (
        "modified",
        |dir| write(&dir.join("web"), "a"),
        "web",
        |dir| write(&dir.join("web"), "b"),
        |dir| write(&dir.join("web"), "c"),
    ),
    (
        "made and removed",
        |_| {},
        "web",
        |dir| write(&dir.join("web"), "a"),
        |dir| {
            fs::remove_file(dir.join("web")).unwrap();
        },
    ),
    (
        "replaced by rename, twice",
        |dir| write(&dir.join("web"), "a"),
        "web",
        |dir| {
            write(&dir.join("new"), "b");
            fs::rename(dir.join("new"), dir.join("web")).unwrap();
        },
        |dir| {
            write(&dir.join("new"), "c");
            fs::rename(dir.join("new"), dir.join("web")).unwrap();
        },
    ),
    (
        "in a directory that is not there yet",
        |_| {},
        "some/where/web",
        |dir| fs::create_dir_all(dir.join("some/where")).unwrap(),
        |dir| write(&dir.join("some/where/web"), "a"),
    ),
    (
        "in a directory that is removed and made again",
        |dir| {
            fs::create_dir(dir.join("names")).unwrap();
            write(&dir.join("names/web"), "a");
        },
        "names/web",
        |dir| {
            fs::remove_dir_all(dir.join("names")).unwrap();
            fs::create_dir(dir.join("names")).unwrap();
        },
        |dir| write(&dir.join("names/web"), "b"),
    ),
    (
        "below a directory that is replaced by rename",
        |dir| {
            fs::create_dir_all(dir.join("app/names")).unwrap();
            fs::create_dir_all(dir.join("app.new/names")).unwrap();
            write(&dir.join("app/names/web"), "a");
        },
        "app/names/web",
        |dir| {
            fs::rename(dir.join("app"), dir.join("app.old")).unwrap();
            fs::rename(dir.join("app.new"), dir.join("app")).unwrap();
        },
        |dir| write(&dir.join("app/names/web"), "b"),
    ),
    (
        "behind a link that is swapped, as in a ConfigMap mount",
        |dir| {
            for (version, text) in [("..1", "a"), ("..2", "b")] {
                fs::create_dir(dir.join(version)).unwrap();
                write(&dir.join(version).join("web"), text);
            }
            symlink("..1", dir.join("..data")).unwrap();
            symlink("..data/web", dir.join("web")).unwrap();
        },
        "web",
        |dir| {
            symlink("..2", dir.join("..data_tmp")).unwrap();
            fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
        },
        |dir| write(&dir.join("..2/web"), "c"),
    ),
];

#[tokio::test]
async fn announces_every_kind_of_change_and_goes_on_watching() {
    for &(case, before, path, first, second) in CASES {
        let dir = tempfile::tempdir().unwrap();
        before(dir.path());
        let mut watch = Watch::new(&Handle::current());
        watch.watch_paths([dir.path().join(path)]).await;
        first(dir.path());
        assert!(announced(&mut watch).await, "{case}: the first change");
        second(dir.path());
        assert!(announced(&mut watch).await, "{case}: the second change");
    }
}

#[tokio::test]
async fn goes_on_watching_after_an_overflow() {
    let dir = tempfile::tempdir().unwrap();
    let mut watch = Watch::new(&Handle::current());
    watch.watch_paths([dir.path().join("web")]).await;
    watch.subscriber.receive(&Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)));
    assert!(announced(&mut watch).await, "everything may have changed");
    write(&dir.path().join("web"), "a");
    assert!(announced(&mut watch).await);
}

#[tokio::test]
async fn removed_paths_are_watched_no_longer() {
    let dir = tempfile::tempdir().unwrap();
    let watch = Watch::new(&Handle::current());
    let (web, users) = (dir.path().join("web"), dir.path().join("users"));
    watch.watch_paths([web.clone(), web.clone(), users.clone()]).await;
    let changed = |path: &Path| {
        let event = Event::new(EventKind::Modify(ModifyKind::Data(DataChange::Any)));
        watch.subscriber.is_interested(&Ok(event.add_path(fs::canonicalize(dir.path()).unwrap().join(path))))
    };
    assert!(changed(Path::new("web")) && changed(Path::new("users")));
    watch.unwatch_paths(vec![web.clone(), users]).await;
    assert!(changed(Path::new("web")), "it was added twice");
    assert!(!changed(Path::new("users")));
    watch.unwatch_paths(vec![web]).await;
    assert!(!changed(Path::new("web")));
}

#[tokio::test(start_paused = true)]
async fn polls_when_the_system_cannot_report() {
    fn full(_: Arc<ChangeSubscriber>) -> notify::Result<Box<dyn Watcher + Send>> {
        Err(notify::Error::new(notify::ErrorKind::MaxFilesWatch))
    }
    let mut watch = Watch::with(full, Announcing::AfterQuiet, &Handle::current());
    watch.watch_paths([PathBuf::from("/some/where")]).await;
    watch.changed().await;
    for _ in 0..3 {
        let start = Instant::now();
        watch.changed().await;
        let waited = start.elapsed();
        assert!(waited >= POLL && waited < 2 * POLL, "polls and does not spin: {waited:?}");
    }
}

#[test]
fn passes_reports_of_interest_on() {
    let subscriber = ChangeSubscriber::default();
    subscriber.interest("/etc/names", "web");
    let data = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    // Whether the report is passed on, and whether it says that the file has all of its content.
    let (kept, passed, done) = ((false, false), (true, false), (true, true));
    let cases: &[(EventKind, &[&str], (bool, bool))] = &[
        (data, &["/etc/names/web"], passed),
        (data, &["/etc/names/other"], kept),
        (data, &["/etc/web"], kept),
        (EventKind::Create(CreateKind::File), &["/etc/names/web"], passed),
        (EventKind::Remove(RemoveKind::File), &["/etc/names/web"], passed),
        (EventKind::Remove(RemoveKind::Folder), &["/etc/names"], passed),
        (EventKind::Modify(ModifyKind::Name(RenameMode::From)), &["/etc/names"], passed),
        (EventKind::Modify(ModifyKind::Name(RenameMode::From)), &["/etc/names/web"], passed),
        (EventKind::Modify(ModifyKind::Name(RenameMode::To)), &["/etc/names/web"], done),
        (EventKind::Modify(ModifyKind::Name(RenameMode::Both)), &["/etc/names/new", "/etc/names/web"], kept),
        (EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any)), &["/etc/names/web"], passed),
        (EventKind::Access(AccessKind::Close(AccessMode::Write)), &["/etc/names/web"], done),
        (EventKind::Access(AccessKind::Open(AccessMode::Any)), &["/etc/names/web"], kept),
        (EventKind::Access(AccessKind::Close(AccessMode::Read)), &["/etc/names/web"], kept),
        (EventKind::Access(AccessKind::Open(AccessMode::Any)), &["/etc/names"], kept),
    ];
    for (kind, paths, (interesting, is_done)) in cases {
        // The report before says the opposite.
        let before = if *is_done { data } else { EventKind::Access(AccessKind::Close(AccessMode::Write)) };
        subscriber.receive(&Ok(Event::new(before).add_path("/etc/names/web".into())));
        let event = paths.iter().fold(Event::new(*kind), |event, path| event.add_path(PathBuf::from(path)));
        assert_eq!(subscriber.is_interested(&Ok(event)), *interesting, "{kind:?} {paths:?}");
        assert_eq!(
            *interesting && subscriber.progress() != WriteProgress::Underway,
            *is_done,
            "{kind:?} {paths:?}"
        );
    }
    assert!(subscriber.is_interested(&Err(notify::Error::generic("lost"))));
    assert!(subscriber.is_interested(&Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan))));
}

/// A watcher that never reports: the reports of a test are its own.
fn silent(_: Arc<ChangeSubscriber>) -> notify::Result<Box<dyn Watcher + Send>> {
    Ok(Box::new(notify::NullWatcher))
}

/// A case of the test below: the reports of files, the watch, the time since the last announcement, and how soon it announces.
type AnnouncementCase<'a> = (&'a [(EventKind, &'a str)], Announcing, Duration, Duration);

#[tokio::test(start_paused = true)]
async fn the_change_of_one_file_is_announced_at_once_when_none_was_for_a_while() {
    let data = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
    let moved = |mode| EventKind::Modify(ModifyKind::Name(mode));
    let (at_once, done, quiet) = (Duration::ZERO, Duration::from_millis(5), Duration::from_millis(20));
    let (single, together) = (Announcing::AtOnce, Announcing::AfterQuiet);
    let cases: &[AnnouncementCase<'_>] = &[
        (&[(data, "web"), (closed, "web")], single, MAX_DELAY, at_once),
        (&[(moved(RenameMode::To), "web")], single, MAX_DELAY, at_once),
        (&[(EventKind::Remove(RemoveKind::File), "web"), (closed, "web")], single, MAX_DELAY, at_once),
        (&[(data, "web"), (closed, "web")], together, MAX_DELAY, done),
        (&[(data, "web"), (closed, "web")], single, MAX_DELAY / 2, done),
        // Two files that take each other's places.
        (&[(moved(RenameMode::From), "web"), (moved(RenameMode::To), "users")], single, MAX_DELAY, done),
        (&[(data, "web")], single, MAX_DELAY, quiet),
        (&[(EventKind::Remove(RemoveKind::File), "web")], single, MAX_DELAY, quiet),
    ];
    for (reports, announcing, after, expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        let dir = fs::canonicalize(dir.path()).unwrap();
        let mut watch = Watch::with(silent, *announcing, &Handle::current());
        watch.watch_paths(["web", "users"].map(|file| dir.join(file))).await;
        watch.subscriber.receive(&Ok(Event::new(data).add_path(dir.join("users"))));
        watch.changed().await;
        tokio::time::sleep(*after).await;
        assert_eq!(watch.take_change(), None);
        let start = Instant::now();
        for (kind, file) in *reports {
            watch.subscriber.receive(&Ok(Event::new(*kind).add_path(dir.join(file))));
        }
        let change = watch.changed().await;
        let is_one = reports.iter().all(|(_, file)| *file == reports[0].1);
        let one = PathChange::One(dir.join(reports[0].1));
        assert_eq!(change, if is_one { one } else { PathChange::Any }, "{reports:?}");
        assert_eq!(start.elapsed(), *expected, "{reports:?} {announcing:?} {after:?}");
        assert_eq!(watch.take_change(), None, "{reports:?}: announced once");
    }
}

/// A path, and the steps along it: directory, entry, and whether the entry is only passed.
type WalkCase = (&'static str, &'static [(&'static str, &'static str, bool)]);

#[test]
fn walks_through_links_as_far_as_the_path_exists() {
    let dir = tempfile::tempdir().unwrap();
    let root = fs::canonicalize(dir.path()).unwrap();
    fs::create_dir_all(root.join("real/deep")).unwrap();
    write(&root.join("real/web"), "");
    symlink("real", root.join("relative")).unwrap();
    symlink(root.join("real"), root.join("absolute")).unwrap();
    symlink("../web", root.join("real/deep/up")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    let cases: &[WalkCase] = &[
        ("real/web", &[("", "real", true), ("real", "web", false)]),
        ("real/deep", &[("", "real", true), ("real", "deep", false)]),
        ("real/web/beyond", &[("", "real", true), ("real", "web", false)]),
        ("missing/web", &[("", "missing", false)]),
        ("relative/web", &[("", "relative", false), ("", "real", true), ("real", "web", false)]),
        ("absolute/web", &[("", "absolute", false), ("", "real", true), ("real", "web", false)]),
        (
            "real/deep/up",
            &[("", "real", true), ("real", "deep", true), ("real/deep", "up", false), ("real", "web", false)],
        ),
    ];
    for (path, expected) in cases {
        let steps = walk(&root.join(path), &mut EntryCache::default());
        let found: Vec<_> = steps
            .iter()
            .filter_map(|step| {
                let below = step.directory.strip_prefix(&root).ok()?.to_str()?;
                Some((below, step.entry.to_str()?, step.passing))
            })
            .collect();
        assert_eq!(found, *expected, "{path}");
    }
    assert!(walk(&root.join("loop"), &mut EntryCache::default()).len() < 100, "a loop of links ends");
}
