use super::*;
use std::time::Duration;
use tempfile::TempDir;

fn in_file(text: &str) -> (TempDir, Config) {
    let folder = TempDir::new().unwrap();
    let dtab_file = folder.path().join("dtab");
    fs::write(&dtab_file, text).unwrap();
    (folder, Config::Fs(Fs { dtab_file }))
}

fn write(config: &Config, text: &str) {
    let Config::Fs(Fs { dtab_file }) = config;
    // Replaced by renaming, as editors and mounted ConfigMaps do.
    let new = dtab_file.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, dtab_file).unwrap();
}

async fn next(dtab: &mut watch::Receiver<Dtab>) -> String {
    tokio::time::timeout(Duration::from_secs(20), dtab.changed())
        .await
        .expect("in time")
        .expect("it is followed");
    dtab.borrow_and_update().to_string()
}

#[tokio::test]
async fn a_store_follows_its_file() {
    let (_folder, config) = in_file("# The first.\n/svc => /a;\n");
    let mut dtab = open(&config, &Handle::current()).await.unwrap();
    assert_eq!(dtab.borrow_and_update().to_string(), "/svc=>/a");
    write(&config, "/svc => /b");
    assert_eq!(next(&mut dtab).await, "/svc=>/b");
    write(&config, "/svc = /c");
    write(&config, "/svc => /d");
    assert_eq!(next(&mut dtab).await, "/svc=>/d", "what is no dtab was passed over");
}

#[tokio::test]
async fn a_bad_edit_keeps_the_last_good_one() {
    let (_folder, config) = in_file("/svc => /a");
    let mut dtab = open(&config, &Handle::current()).await.unwrap();
    write(&config, "/svc = /b");
    let error = read(&config).unwrap_err().to_string();
    assert!(error.contains("dtab:1:6: expected '=>', found '='\n"), "{error}");
    write(&config, "/svc => /c");
    assert_eq!(next(&mut dtab).await, "/svc=>/c", "what was wrong was never published");
}

#[tokio::test]
async fn there_must_be_a_good_one_to_begin_with() {
    let (folder, config) = in_file("/svc => ");
    assert!(open(&config, &Handle::current()).await.unwrap_err().to_string().contains(":1:"));
    drop(folder);
    let error = open(&config, &Handle::current()).await.unwrap_err().to_string();
    assert!(error.contains("cannot be read"), "{error}");
}
