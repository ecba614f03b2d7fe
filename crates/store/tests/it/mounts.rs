use crate::bed::{Bed, name, new_agent};
use kruxos_store::{MAX_MOUNTS, MountPatch, StoreError};

#[tokio::test]
async fn mounts_are_one_agents_bounded_and_go_with_it() {
    let bed = Bed::new();
    let store = &bed.store;
    let coder = name("coder");
    let early = store.add_mount(&coder, "data", "/srv", true).await;
    assert!(matches!(early, Err(StoreError::NotFound(_))), "{early:?}");
    store.create_agent(new_agent("coder", 1)).await.unwrap();
    store.create_agent(new_agent("other", 2)).await.unwrap();
    store.add_mount(&coder, "data", "/srv", true).await.unwrap();
    let twice = store.add_mount(&coder, "data", "/opt", true).await;
    assert!(matches!(twice, Err(StoreError::Exists(_))), "{twice:?}");
    store
        .add_mount(&coder, "docs", "/opt", false)
        .await
        .unwrap();
    let taken = MountPatch {
        label: Some("docs".to_owned()),
        ..MountPatch::default()
    };
    let clash = store.edit_mount(&coder, "data", taken).await;
    assert!(matches!(clash, Err(StoreError::Exists(_))), "{clash:?}");
    let patch = MountPatch {
        label: Some("stuff".to_owned()),
        writable: Some(false),
    };
    let edited = store.edit_mount(&coder, "data", patch).await.unwrap();
    assert_eq!((edited.label.as_str(), edited.writable), ("stuff", false));
    assert_eq!(edited.source, "/srv");
    let labels = |mounts: Vec<kruxos_store::Mount>| -> Vec<String> {
        mounts.into_iter().map(|mount| mount.label).collect()
    };
    assert_eq!(
        labels(store.mounts_of(&coder).await.unwrap()),
        ["docs", "stuff"]
    );
    assert!(store.mounts_of(&name("other")).await.unwrap().is_empty());
    store.remove_mount(&coder, "docs").await.unwrap();
    let gone = store.remove_mount(&coder, "docs").await;
    assert!(matches!(gone, Err(StoreError::NotFound(_))), "{gone:?}");
    for number in 1..MAX_MOUNTS {
        let label = format!("m{number}");
        store.add_mount(&coder, &label, "/srv", true).await.unwrap();
    }
    let full = store.add_mount(&coder, "more", "/srv", true).await;
    assert!(matches!(full, Err(StoreError::Limit { .. })), "{full:?}");
    store.delete_agent(&coder).await.unwrap();
    store.create_agent(new_agent("coder", 3)).await.unwrap();
    assert!(
        store.mounts_of(&coder).await.unwrap().is_empty(),
        "a namesake"
    );
}
