use super::*;
use crate::kubernetes::ApiClients;
use crate::telemetry::Registry;
use std::fs;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::watch;

fn in_file(text: &str) -> (TempDir, Config) {
    let folder = TempDir::new().unwrap();
    let dtab_file = folder.path().join("dtab");
    fs::write(&dtab_file, text).unwrap();
    (folder, Config::Fs(FileStoreConfig { dtab_file }))
}

fn write(config: &Config, text: &str) {
    let Config::Fs(FileStoreConfig { dtab_file }) = config else { panic!("a file") };
    // Replaced by renaming, as editors and mounted ConfigMaps do.
    let new = dtab_file.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, dtab_file).unwrap();
}

fn stores() -> DtabStores {
    DtabStores::new(&ApiClients::default(), &Registry::default(), &Handle::current())
}

fn dtab(stored: &StoredDtab) -> String {
    let StoredDtab::Dtab(dtab) = stored else { panic!("{stored:?}") };
    dtab.to_string()
}

async fn next(stored: &mut watch::Receiver<StoredDtab>) -> String {
    tokio::time::timeout(Duration::from_secs(20), stored.changed())
        .await
        .expect("in time")
        .expect("it is followed");
    dtab(&stored.borrow_and_update())
}

#[tokio::test]
async fn a_file_is_read_beside_the_thread_that_waits_for_it() {
    let (folder, config) = in_file("");
    let Config::Fs(FileStoreConfig { dtab_file }) = &config else { panic!("a file") };
    fs::remove_file(dtab_file).unwrap();
    let made = std::process::Command::new("mkfifo").arg(dtab_file).status().unwrap();
    assert!(made.success());
    // The pipe is open for writing once it is read; then this thread must still get to say that the text may come.
    let (opened, mut is_open) = tokio::sync::oneshot::channel();
    let (go, may_write) = std::sync::mpsc::channel();
    let dtab_file = dtab_file.clone();
    let writer = std::thread::spawn(move || {
        let mut pipe = fs::File::create(dtab_file).unwrap();
        opened.send(()).unwrap();
        let was_told = may_write.recv_timeout(Duration::from_secs(20)).is_ok();
        std::io::Write::write_all(&mut pipe, b"/svc => /a").unwrap();
        was_told
    });
    let stores = stores();
    let telling = async { (&mut is_open).await.map(|()| go.send(())) };
    let (store, told) = tokio::join!(stores.open(&config), telling);
    told.unwrap().unwrap();
    assert!(writer.join().unwrap(), "the thread goes on while the file is read");
    assert_eq!(dtab(&store.unwrap().stored().borrow()), "/svc=>/a");
    drop(folder);
}

#[tokio::test]
async fn a_store_follows_its_file() {
    let (_folder, config) = in_file("# The first.\n/svc => /a;\n");
    let store = stores().open(&config).await.unwrap();
    let mut stored = store.stored();
    assert_eq!(dtab(&stored.borrow_and_update()), "/svc=>/a");
    write(&config, "/svc => /b");
    assert_eq!(next(&mut stored).await, "/svc=>/b");
    write(&config, "/svc = /c");
    write(&config, "/svc => /d");
    assert_eq!(next(&mut stored).await, "/svc=>/d", "the text that is no dtab was passed over");
}

#[tokio::test]
async fn a_bad_edit_keeps_the_last_good_one_and_is_shown() {
    let (_folder, config) = in_file("/svc => /a");
    let store = stores().open(&config).await.unwrap();
    let mut stored = store.stored();
    assert_eq!(dtab(&stored.borrow_and_update()), "/svc=>/a");
    assert!(store.state()["rejected"].is_null());
    write(&config, "/svc = /b");
    let error = config.check().unwrap_err().to_string();
    assert!(error.contains("dtab:1:6: expected '=>', found '='\n"), "{error}");
    let shown = async || {
        while store.state()["rejected"].is_null() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), shown()).await.expect("in time");
    let state = store.state();
    assert_eq!((&state["rejected"]["line"], &state["rejected"]["column"]), (&1.into(), &6.into()));
    assert_eq!((&state["state"], &state["entries"]), (&"ready".into(), &1.into()));
    write(&config, "/svc => /c");
    assert_eq!(next(&mut stored).await, "/svc=>/c", "the wrong text was never published");
    assert!(store.state()["rejected"].is_null());
}

#[tokio::test]
async fn there_must_be_a_good_one_to_begin_with() {
    let (folder, config) = in_file("/svc => ");
    assert!(stores().open(&config).await.unwrap_err().to_string().contains(":1:"));
    drop(folder);
    let error = stores().open(&config).await.unwrap_err().to_string();
    assert!(error.contains("cannot be read"), "{error}");
}

#[tokio::test]
async fn stores_that_are_configured_alike_are_one() {
    let (_folder, config) = in_file("/svc => /a");
    let (_other_folder, other) = in_file("/svc => /b");
    let stores = stores();
    let (first, second) = (stores.open(&config).await.unwrap(), stores.open(&config).await.unwrap());
    assert!(first.stored().same_channel(&second.stored()));
    assert!(!first.stored().same_channel(&stores.open(&other).await.unwrap().stored()));
    let gone = first.stored();
    drop((first, second));
    let anew = stores.open(&config).await.unwrap();
    assert!(!gone.same_channel(&anew.stored()), "a store without users is opened anew");
}
