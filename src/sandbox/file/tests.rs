use super::*;
use crate::telemetry::Registry;
use std::fs;
use std::time::Duration;
use tempfile::TempDir;

fn gauge() -> Gauge {
    Registry::default().gauge("test", &[])
}

fn in_file(text: &str) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("sandboxes.yaml");
    fs::write(&file, text).unwrap();
    (folder, file)
}

/// Writes by renaming, as editors and mounted ConfigMaps do.
fn write(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, file).unwrap();
}

async fn open(config: EmbeddedConfig, before: Option<&EmbeddedStore>) -> Result<EmbeddedStore, Error> {
    let rules = before.map_or_else(Arc::default, |before| Arc::clone(&before.rules));
    EmbeddedStore::open(config, rules, before, (&gauge(), &Handle::current())).await
}

/// Returns the names of the sandboxes, each with its version.
fn versions(state: &watch::Receiver<StoreState>) -> Vec<(String, u64)> {
    let StoreState::Ready(objects) = &*state.borrow() else { panic!("it is open") };
    objects.sandboxes.iter().map(|sandbox| (sandbox.id.to_string(), sandbox.version())).collect()
}

fn names(state: &watch::Receiver<StoreState>) -> Vec<String> {
    versions(state).into_iter().map(|(name, _)| name).collect()
}

fn items(text: &str) -> Vec<Item> {
    let read = read_items_text("f", text, &[], &SandboxRules::default()).unwrap();
    read.items.into_iter().map(|(item, _)| item).collect()
}

#[tokio::test]
async fn the_file_is_followed_and_what_did_not_change_stays_the_same_object() {
    let (_folder, file) = in_file("- {name: a, dtab: /a => /b}\n- {name: b, dtab: /a => /b}\n");
    let store = open(EmbeddedConfig { items: Vec::new(), file: Some(file.clone()) }, None).await.unwrap();
    let mut state = store.state.clone();
    let first = versions(&state);
    assert_eq!(names(&state), ["a", "b"]);
    state.mark_unchanged();
    write(&file, "items:\n- {name: b, dtab: /a => /c}\n- {name: a, dtab: /a => /b}\n- {name: c, dtab: ''}\n");
    let changed = tokio::time::timeout(Duration::from_secs(20), state.changed()).await;
    changed.expect("in time").expect("it is followed");
    let second = versions(&state);
    assert_eq!(names(&state), ["b", "a", "c"]);
    assert_eq!(second[1], first[0], "it is the same object");
    assert_ne!(second[0], first[1]);

    // A configuration with items of its own takes over the others.
    let items = items("- {name: own, dtab: ''}");
    let reopened = open(EmbeddedConfig { items, file: Some(file) }, Some(&store)).await.unwrap();
    let third = versions(&reopened.state);
    assert_eq!(third[1..], second);
    assert_eq!(third[0].0, "own");
}

#[tokio::test]
async fn a_file_that_is_wrong_or_absent_is_an_error_at_the_start() {
    let refused = async |text: Option<&str>| {
        let (_folder, file) = in_file(text.unwrap_or_default());
        if text.is_none() {
            fs::remove_file(&file).unwrap();
        }
        let name = file.display().to_string();
        let opened = open(EmbeddedConfig { items: Vec::new(), file: Some(file) }, None).await;
        opened.expect_err("it is wrong").to_string().replace(&name, "FILE")
    };
    assert_eq!(
        refused(None).await,
        "FILE: there is no such file. Make the first sandbox with `signpost sandbox create --file FILE`, or write `[]` into it"
    );
    let two = refused(Some("- {name: a, dtab: x}\n- {name: A, dtab: ''}\n")).await;
    assert!(two.contains("FILE:1:19: [0].dtab: not a dtab") && two.contains("FILE:2:10: [1].name"), "{two}");
    assert!(refused(Some("a")).await.contains("FILE:1:1: this is neither a list"));
    assert!(refused(Some("item: []")).await.contains("FILE:1:1: item: unknown key: did you mean `items`?"));
    for empty in ["", "[]", "items: []", "items:\n", "# none yet\n"] {
        let (_folder, file) = in_file(empty);
        let store = open(EmbeddedConfig { items: Vec::new(), file: Some(file) }, None).await;
        assert!(names(&store.unwrap_or_else(|error| panic!("{empty}: {error}")).state).is_empty());
    }
}

#[test]
fn the_file_has_other_names_and_keys_than_the_configuration() {
    let rules = SandboxRules::default();
    let items = items("- {name: a, key: b, dtab: ''}");
    for (text, expected) in [
        ("- {name: a, dtab: ''}", "the name `a` is taken in the configuration (`sandboxes.items`)"),
        ("- {name: b, dtab: ''}", "the key `b` is taken in the configuration (`sandboxes.items`)"),
    ] {
        let error = read_items_text("f", text, &items, &rules).map(drop).expect_err(text).to_string();
        assert!(error.starts_with("f:1:10: [0].name: ") && error.contains(expected), "{error}");
    }
    assert!(read_items_text("f", "- {name: c, dtab: ''}", &items, &rules).is_ok());
}
