use super::format::{self, SnapshotError, WatchIdentity};
use super::{Folder, Snapshot, check};
use crate::kubernetes::object_store::{ObjectRecord, ObjectStore};
use crate::kubernetes::scope::Selector;
use crate::kubernetes::watched_object::sample::Values;
use proptest::prelude::*;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

fn identity(namespace: &str) -> WatchIdentity {
    WatchIdentity::new::<Values>("http://a:1/".into(), Some(namespace.into()), Selector::All)
}

/// Returns a snapshot of so many objects; the last of several cannot be read.
fn snapshot(objects: usize) -> Snapshot<Values> {
    let mut store =
        ObjectStore::<Values>::new(Arc::new(|meta| Some(("ns".into(), meta.name.clone()?.into()))));
    let mut list = store.empty();
    for at in 0..objects {
        let value = if at > 0 && at + 1 == objects { json!(1) } else { json!("v\n") };
        let metadata = json!({ "namespace": "ns", "name": format!("n{at}") });
        let object = json!({ "metadata": metadata, "data": { "k": value } });
        store.add(&mut list, serde_json::from_value(object).unwrap());
    }
    store.replace(list);
    Snapshot { time: "2026-01-02T03:04:05Z".parse().unwrap(), records: sorted(store.records()) }
}

fn sorted(mut records: Vec<ObjectRecord<Values>>) -> Vec<ObjectRecord<Values>> {
    records.sort_by_key(|record| serde_json::to_string(record).unwrap());
    records
}

/// Returns the contents of a snapshot file.
fn written(of: &WatchIdentity, snapshot: &Snapshot<Values>) -> Vec<u8> {
    let mut bytes = Vec::new();
    format::write(&mut bytes, 1 << 20, of, snapshot).unwrap();
    bytes
}

fn read(bytes: &[u8], of: &WatchIdentity) -> Result<Snapshot<Values>, SnapshotError> {
    format::read(bytes, of)
}

/// Returns the names of the files in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_was_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made/when/missing");
    let (here, of) = (Folder::new(path.clone()), identity("prod"));
    assert!(matches!(here.read::<Values>(&of), Ok(None)), "there is none yet");
    for objects in [3, 0, 1] {
        here.write(&of, &snapshot(objects)).unwrap();
        let read = here.read::<Values>(&of).unwrap().unwrap();
        assert_eq!((read.time, sorted(read.records)), (snapshot(objects).time, snapshot(objects).records));
    }
    let names = names(&path);
    assert_eq!(names.len(), 1, "nothing is left aside: {names:?}");
    assert!(names[0].starts_with("configmaps.prod.") && names[0].ends_with(".jsonl"), "{names:?}");
    assert!(matches!(here.read::<Values>(&identity("test")), Ok(None)), "another namespace is another file");
}

#[test]
fn the_file_says_what_it_is() {
    let text = String::from_utf8(written(&identity("prod"), &snapshot(2))).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = json!({
        "server": "http://a:1/", "apiVersion": "v1", "resource": "configmaps", "namespace": "prod", "selector": "all",
    });
    assert_eq!(lines[0], json!({ "format": 2, "of": of, "time": "2026-01-02T03:04:05Z" }));
    let good = json!({ "id": ["ns", "n0"], "place": ["ns", "n0"], "good": ["v\n"] });
    assert_eq!(lines[1], good);
    assert!(lines[2]["unreadable"].is_string() && lines[2]["good"].is_null(), "{text}");
    assert_eq!((lines.len(), lines[3]["digest"].as_str().unwrap().len()), (4, 16));
}

#[test]
fn names_of_files_are_harmless_and_tell_watches_apart() {
    let label = || Selector::Labels("version".into());
    let server = |server: &str| WatchIdentity::new::<Values>(server.into(), None, Selector::All);
    let long = "a".repeat(300);
    let all = [
        identity("prod"),
        identity("../../etc/passwd"),
        identity("..%2f"),
        identity("a/b\0c\n"),
        identity("a_b_c_"),
        identity("PROD"),
        identity("é"),
        identity(&long),
        identity(&long[1..]),
        identity("_all"),
        identity(""),
        server("http://a:1/"),
        server("http://b:1/"),
        WatchIdentity::new::<Values>("http://a:1/".into(), Some("prod".into()), label()),
        WatchIdentity::new::<Values>(
            "http://a:1/".into(),
            Some("prod".into()),
            Selector::Name("version".into()),
        ),
    ];
    let mut names: Vec<_> = all.iter().map(WatchIdentity::file_name).collect();
    for name in &names {
        let harmless =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        assert!(name.bytes().all(harmless) && name.len() < 200, "{name}");
        assert!(name.starts_with("configmaps."), "{name}");
    }
    assert_eq!(names[0], "configmaps.prod.7a26be7ef6e5c901.jsonl", "the same in every version");
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all.len());
}

#[test]
fn what_is_not_wholly_what_was_written_is_not_used() {
    let of = identity("prod");
    let good = written(&of, &snapshot(3));
    let text = String::from_utf8(good.clone()).unwrap();
    let unusable = |bytes: &[u8]| read(bytes, &of).map(|_| ()).unwrap_err().to_string();
    for end in 0..good.len() {
        unusable(&good[..end]);
    }
    assert_eq!(unusable(b""), "it is not a snapshot");
    assert_eq!(unusable(b"\x00\xff"), "it is not a snapshot");
    assert_eq!(unusable(&good[..good.len() - 1]), "it is cut short, or was changed");
    assert_eq!(unusable(text.replace("v\\n", "w\\n").as_bytes()), "it is cut short, or was changed");
    assert_eq!(
        unusable(text.replace("\"format\":2", "\"format\":1").as_bytes()),
        "it has format 1, but this version of the router reads only format 2"
    );
    let other = WatchIdentity::new::<Values>("http://b:1/".into(), Some("prod".into()), Selector::All);
    let error = read(&good, &other).unwrap_err();
    assert_eq!(error.to_string(), "it belongs to another watch, configmaps of http://a:1/");
    // The stored part of the object has another type in this version.
    let error = format::read::<u8>(&good, &of).unwrap_err().to_string();
    assert!(error.starts_with("line 2: invalid type"), "{error}");
}

#[test]
fn what_is_no_file_or_too_long_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let of = identity("prod");
    let small = Folder::with_bounds(folder.path().to_owned(), 600, 10);
    small.write(&of, &snapshot(2)).unwrap();
    let error = small.write(&of, &snapshot(9)).unwrap_err();
    assert_eq!(error.to_string(), "the snapshot is too long");
    assert_eq!(small.read::<Values>(&of).unwrap().unwrap().records.len(), 2, "the old one is still there");
    assert_eq!(names(folder.path()).len(), 1, "and nothing else");
    let file = small.file(&of);
    fs::write(&file, vec![b' '; 601]).unwrap();
    assert!(matches!(small.read::<Values>(&of), Err(SnapshotError::TooLong(600))));
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert!(matches!(small.read::<Values>(&of), Err(SnapshotError::NoSnapshot)));
    assert!(small.write(&of, &snapshot(2)).is_err());
    assert_eq!(names(folder.path()).len(), 1, "what was aside is gone");
}

/// Makes a file look as old as `age`.
fn age(file: &Path, age: Duration) {
    let file = fs::File::options().write(true).open(file).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
}

#[test]
fn files_are_bounded_and_the_oldest_goes() {
    let folder = tempfile::tempdir().unwrap();
    let here = Folder::with_bounds(folder.path().to_owned(), 1 << 20, 4);
    let has = |namespace: &str| here.file(&identity(namespace)).exists();
    fs::write(folder.path().join("configmaps.mine.txt"), "").unwrap();
    fs::write(folder.path().join("services.a.1.jsonl"), "").unwrap();
    for (at, namespace) in ["a", "b", "c", "d"].into_iter().enumerate() {
        here.write(&identity(namespace), &snapshot(1)).unwrap();
        age(&here.file(&identity(namespace)), Duration::from_secs(100 - at as u64));
    }
    here.write(&identity("a"), &snapshot(2)).unwrap();
    assert!(has("b"), "no file is new");
    here.write(&identity("e"), &snapshot(1)).unwrap();
    assert_eq!(["a", "b", "c", "d", "e"].map(has), [true, false, true, true, true]);
    assert_eq!(names(folder.path()).len(), 6, "of other resources, and of others, nothing goes");
}

#[test]
fn what_strangers_ask_for_takes_half_of_the_files_at_most() {
    let folder = tempfile::tempdir().unwrap();
    let here = Folder::with_bounds(folder.path().to_owned(), 1 << 20, 6);
    for at in 0..20 {
        here.write(&identity(&format!("none-{at}")), &snapshot(0)).unwrap();
    }
    assert_eq!(names(folder.path()).len(), 3);
    for at in 0..3 {
        here.write(&identity(&format!("some-{at}")), &snapshot(1)).unwrap();
        here.write(&identity("none-20"), &snapshot(0)).unwrap();
    }
    here.write(&identity("some-0"), &snapshot(0)).unwrap();
    assert!(here.read::<Values>(&identity("some-0")).unwrap().unwrap().records.is_empty(), "no file is new");
    assert!(here.file(&identity("none-0")).exists() && !here.file(&identity("none-20")).exists());
}

#[test]
fn what_was_left_behind_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let here = Folder::new(folder.path().join("a"));
    here.tidy().unwrap();
    here.write(&identity("prod"), &snapshot(1)).unwrap();
    let aside = |name: &str| here.path().join(name);
    for name in [".signpost-old", ".signpost-new", ".other"] {
        fs::write(aside(name), "").unwrap();
    }
    age(&aside(".signpost-old"), Duration::from_secs(2 * 60 * 60));
    age(&aside(".other"), Duration::from_secs(2 * 60 * 60));
    age(&here.file(&identity("prod")), Duration::from_secs(2 * 60 * 60));
    here.tidy().unwrap();
    let left = names(here.path());
    assert_eq!(left, [".other", ".signpost-new", &identity("prod").file_name()]);
}

#[test]
fn a_folder_is_checked_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    check(folder.path()).unwrap();
    check(&folder.path().join("not/there/yet")).unwrap();
    assert!(names(folder.path()).is_empty());
    check(&PathBuf::from("not-there-yet")).unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    for path in ["file", "file/below"] {
        let error = check(&folder.path().join(path)).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NotADirectory, "{path}");
    }
}

proptest! {
    /// A file that was changed anywhere is not used, or says what it said.
    #[test]
    fn no_change_makes_it_say_something_else(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let of = identity("prod");
        let mut bytes = written(&of, &snapshot(3));
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(read) = read(&bytes, &of) {
            let expected = snapshot(3);
            prop_assert_eq!((read.time, read.records), (expected.time, expected.records));
        }
    }

    #[test]
    fn any_bytes_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(read(&bytes, &identity("prod")).is_err());
    }
}
