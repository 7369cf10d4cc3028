use super::*;
use tempfile::TempDir;

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// A log in a folder of its own.
struct Scene {
    folder: TempDir,
    log: LogFile,
}

impl Scene {
    fn new(roll: &str, keep: Option<usize>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("logs/access.log");
        Self { log: LogFile { path, roll: roll.parse().expect("a policy"), append: true, keep }, folder }
    }

    fn open(&self, now: &str) -> RollingFile {
        RollingFile::open(self.log.clone(), time(now)).expect("it opens")
    }

    /// Makes a file beside the log.
    fn put(&self, name: &str) {
        fs::create_dir_all(self.folder.path().join("logs")).expect("a folder");
        fs::write(self.folder.path().join("logs").join(name), name).expect("a file");
    }

    /// The names and contents of all files, by name.
    fn files(&self) -> Vec<(String, String)> {
        let entries = fs::read_dir(self.folder.path().join("logs")).expect("the folder is made");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let mut files: Vec<_> = paths
            .map(|path| {
                let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
                (name, fs::read_to_string(path).expect("a text"))
            })
            .collect();
        files.sort();
        files
    }

    #[track_caller]
    fn assert_files(&self, expected: &[(&str, &str)]) {
        let files = self.files();
        let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        assert_eq!(files, expected);
    }
}

/// Writes a line as the writer does.
fn line(file: &mut RollingFile, line: &str, now: &str) {
    if file.is_due(0, line.len(), time(now)) {
        file.roll(time(now)).expect("it rolls");
    }
    file.write(line.as_bytes()).expect("it is written");
}

#[test]
fn a_size_is_never_passed_and_names_do_not_collide() {
    let scene = Scene::new("10.bytes", None);
    let mut file = scene.open("2026-11-21T10:00:00Z");
    for text in ["one\n", "two\n", "three\n", "4\n", "longer than ten bytes\n", "six\n"] {
        line(&mut file, text, "2026-11-21T10:00:00Z");
    }
    scene.assert_files(&[
        ("access-20261121-100000.1.log", "three\n4\n"),
        ("access-20261121-100000.2.log", "longer than ten bytes\n"),
        ("access-20261121-100000.log", "one\ntwo\n"),
        ("access.log", "six\n"),
    ]);
}

#[test]
fn old_and_waiting_bytes_count() {
    let scene = Scene::new("10.bytes", None);
    scene.put("access.log");
    let file = scene.open("2026-11-21T10:00:00Z");
    assert!(file.is_due(0, 1, time("2026-11-21T10:00:00Z")), "the file is full already");
    let empty = Scene::new("10.bytes", None);
    let file = empty.open("2026-11-21T10:00:00Z");
    let is_due = |waiting, line| file.is_due(waiting, line, time("2026-11-21T10:00:00Z"));
    assert!(!is_due(0, 11) && !is_due(5, 5) && is_due(5, 6));
}

#[test]
fn only_so_many_are_kept_and_nothing_else_is_removed() {
    let scene = Scene::new("hourly", Some(2));
    let others =
        ["access-h2.log", "access-2026.log", "access-20261121-09.log.gz", "access2.log", "access-x.log"];
    others.iter().for_each(|name| scene.put(name));
    for older in ["access-20261121-08.2.log", "access-20261121-08.10.log", "access-20261120.log"] {
        scene.put(older);
    }
    let mut file = scene.open("2026-11-21T10:59:59Z");
    line(&mut file, "ten\n", "2026-11-21T10:59:59.999Z");
    line(&mut file, "eleven\n", "2026-11-21T11:00:00Z");
    line(&mut file, "noon\n", "2026-11-21T12:30:00Z");
    let names: Vec<_> = scene.files().into_iter().map(|(name, _)| name).collect();
    let kept = ["access-20261121-10.log", "access-20261121-11.log", "access.log"];
    let mut expected: Vec<_> = others.iter().chain(&kept).map(|name| (*name).to_owned()).collect();
    expected.sort();
    assert_eq!(names, expected);
}

#[test]
fn none_is_kept_when_that_is_said() {
    let scene = Scene::new("daily", Some(0));
    let mut file = scene.open("2026-11-21T10:00:00Z");
    line(&mut file, "a\n", "2026-11-21T10:00:00Z");
    line(&mut file, "b\n", "2026-11-22T00:00:00Z");
    scene.assert_files(&[("access.log", "b\n")]);
}

/// The day of a file's last line is known from the file, also after a restart.
#[test]
fn a_file_of_another_day_is_moved_aside_after_a_restart() {
    let scene = Scene::new("daily", None);
    scene.put("access.log");
    let yesterday = time("2026-11-20T23:00:00Z");
    let file = File::options().append(true).open(&scene.log.path).expect("it is there");
    file.set_modified(yesterday.into()).expect("the time can be set");
    let mut file = scene.open("2026-11-21T10:00:00Z");
    line(&mut file, "today\n", "2026-11-21T10:00:00Z");
    scene.assert_files(&[("access-20261120.log", "access.log"), ("access.log", "today\n")]);
}

#[test]
fn a_file_is_emptied_only_at_the_start() {
    let mut scene = Scene::new("never", None);
    scene.put("access.log");
    scene.log.append = false;
    let mut file = scene.open("2026-11-21T10:00:00Z");
    line(&mut file, "a\n", "2026-11-21T10:00:00Z");
    file.reopen(time("2026-11-21T11:00:00Z")).expect("it opens");
    line(&mut file, "b\n", "2036-11-21T11:00:00Z");
    scene.assert_files(&[("access.log", "a\nb\n")]);
}

#[test]
fn a_file_that_was_moved_is_replaced_when_it_is_opened_anew() {
    let scene = Scene::new("never", None);
    let mut file = scene.open("2026-11-21T10:00:00Z");
    line(&mut file, "a\n", "2026-11-21T10:00:00Z");
    let moved = scene.log.path.with_extension("log.1");
    fs::rename(&scene.log.path, &moved).expect("it moves");
    line(&mut file, "b\n", "2026-11-21T10:00:00Z");
    file.reopen(time("2026-11-21T11:00:00Z")).expect("it opens");
    line(&mut file, "c\n", "2026-11-21T11:00:00Z");
    scene.assert_files(&[("access.log", "c\n"), ("access.log.1", "a\nb\n")]);
}

/// A file that cannot be moved aside is written on.
#[test]
fn a_roll_that_fails_loses_nothing() {
    let scene = Scene::new("daily", None);
    let mut file = scene.open("2026-11-21T10:00:00Z");
    line(&mut file, "a\n", "2026-11-21T10:00:00Z");
    let moved = scene.log.path.with_extension("moved");
    fs::rename(&scene.log.path, &moved).expect("it moves");
    assert!(file.is_due(0, 2, time("2026-11-22T00:00:00Z")));
    file.roll(time("2026-11-22T00:00:00Z")).expect_err("there is nothing to move");
    assert!(!file.is_due(0, 2, time("2026-11-22T00:00:00Z")), "it is tried again tomorrow");
    line(&mut file, "b\n", "2026-11-22T00:00:00Z");
    scene.assert_files(&[("access.moved", "a\nb\n")]);
}

#[test]
fn a_device_is_written_and_never_moved() {
    let null = LogFile { path: "/dev/null".into(), roll: RollPolicy::Size(1), append: false, keep: Some(0) };
    let mut file = RollingFile::open(null, time("2026-11-21T10:00:00Z")).expect("it opens");
    file.write(b"a\n").expect("it is written");
    assert!(!file.is_due(0, 2, time("2026-11-21T10:00:00Z")));
}

#[test]
fn a_folder_is_no_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = LogFile { path: folder.path().to_owned(), roll: RollPolicy::Never, append: true, keep: None };
    assert!(RollingFile::open(log, Timestamp::now()).is_err());
}
