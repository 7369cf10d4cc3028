use super::*;
use crate::sandbox::samples::{group, sandbox, store};
use crate::sandbox::{GroupSpec, ReadItems, SandboxLimits};
use crate::source::node::Document;

fn config(items: &str) -> Config {
    let document = Document::read_list("f", items).unwrap();
    let mut read = ReadItems::default();
    read.read(&document.root(), &SandboxRules::default());
    assert_eq!(read.errors, []);
    Config { items: read.items.into_iter().map(|(item, _)| item).collect(), ..Config::default() }
}

fn keys(table: &SandboxTable) -> Vec<String> {
    let mut keys: Vec<_> = table.entries().map(|entry| entry.id().to_string()).collect();
    keys.sort();
    keys
}

#[tokio::test]
async fn a_configuration_that_did_not_change_keeps_its_table() {
    let registry = Registry::default();
    let none = Sandboxes::new(&ApiClients::default(), &registry, &Handle::current());
    assert!(keys(&none.table().borrow()).is_empty());
    let config = config("- {name: a, dtab: /a => /b}\n- {name: b, dtab: ''}\n- {name: c, all: [a, d]}\n");
    let first = none.reopen(&config, Vec::new()).await.unwrap();
    let revision = |sandboxes: &Sandboxes| sandboxes.table().borrow().revision();
    assert_eq!(keys(&first.table().borrow()), ["a", "b", "c"]);
    assert_eq!((registry.total("sandboxes", &[]), registry.total("sandboxes_not_accepted", &[])), (2, 0));
    let again = first.reopen(&config, Vec::new()).await.unwrap();
    assert_eq!(revision(&again), revision(&first));

    // Other rules judge all of them again; the former table stays as long as it is used.
    let limits =
        SandboxLimits { destinations: Some(vec!["/a".parse().unwrap()]), ..SandboxLimits::default() };
    let limited = Config { overrides: limits, ..config.clone() };
    let limited = again.reopen(&limited, Vec::new()).await.unwrap();
    assert_ne!(revision(&limited), revision(&first));
    let version = |sandboxes: &Sandboxes| match sandboxes.table().borrow().get("a") {
        Some(TableEntry::Sandbox(sandbox)) => sandbox.version(),
        other => panic!("{other:?}"),
    };
    assert_ne!(version(&limited), version(&first));
    drop((first, again));
    tokio::task::yield_now().await;
    assert_eq!(registry.total("sandboxes", &[]), 2, "those of the former table are not counted");
    let emptied = limited.reopen(&Config::default(), Vec::new()).await.unwrap();
    assert!(keys(&emptied.table().borrow()).is_empty());
    drop(limited);
    tokio::task::yield_now().await;
    assert_eq!(registry.total("sandboxes", &[]), 0);
}

#[tokio::test]
async fn the_table_follows_the_stores_and_the_clock() {
    let registry = Registry::default();
    let now = Timestamp::now().as_second();
    let day = 24 * 60 * 60;
    // It ends within this second or the next.
    let ends = sandbox(Some("a"), "ends", now - day + 1, "");
    let bad = sandbox(Some("a"), "bad", now, "x");
    let taken = sandbox(Some("b"), "ends", now, "");
    let members = GroupSpec { any: Some(vec!["bad".to_owned()]), ..GroupSpec::default() };
    let (sender, state) = watch::channel(StoreState::Pending);
    let metrics = SandboxMetrics::new(&registry);
    let mut merger = TableMerger { stores: vec![state], counts: CountShare::new(&metrics) };
    let (tables, mut table) = watch::channel(Arc::new(merger.merge()));
    assert!(table.borrow().unknown().is_some());
    let task = tokio::spawn(merger.publish_tables(tables));
    sender.send_replace(store([&ends, &bad, &taken], [&group("a", "some", members)]));
    let changed = |table: &mut watch::Receiver<Arc<SandboxTable>>| {
        let mut table = table.clone();
        async move {
            timeout(Duration::from_secs(20), table.changed()).await.unwrap().unwrap();
            table
        }
    };
    table = changed(&mut table).await;
    assert_eq!(keys(&table.borrow_and_update()), ["a/bad", "a/ends", "a/some"]);
    assert_eq!((registry.total("sandboxes", &[]), registry.total("sandboxes_not_accepted", &[])), (2, 2));
    // The key is free when its holder has ended.
    table = changed(&mut table).await;
    assert_eq!(keys(&table.borrow_and_update()), ["a/bad", "a/some", "b/ends"]);
    assert_eq!(registry.total("sandboxes_not_accepted", &[]), 1);
    drop(table);
    timeout(Duration::from_secs(20), task).await.expect("it ends with its reader").unwrap();
    assert_eq!(registry.total("sandboxes", &[]), 0);
}
