#![allow(missing_docs, clippy::all, clippy::unwrap_used)]
use kruxos_store::*;
use kruxos_types::*;
use std::time::Instant;
fn main() {
    let dir = tempfile::tempdir_in("/work/main/target/tmp").unwrap();
    let p = dir.path().join("s.db");
    let o = Options {
        persistent_quota_bytes: 1 << 40,
        versions_kept: 100,
        approval_key: [7; 32],
    };
    let store = Store::open(&p, o, std::sync::Arc::new(SystemClock)).unwrap();
    let a = AgentName::new("bench").unwrap();
    let rt = tokio::runtime::Runtime::new().unwrap();
    rt.block_on(async {
        for n in 0..1000 { store.state_set(&a, &format!("key{n:04}"), serde_json::json!({"n": n, "text": "a value of usual size, about a hundred bytes"})).await.unwrap(); }
        let t = Instant::now();
        for _ in 0..20000 { std::hint::black_box(store.state_get(&a, "key0500", None).await.unwrap()); }
        println!("get {:.2} us", t.elapsed().as_secs_f64() * 1e6 / 20000.0);
        let t = Instant::now();
        for _ in 0..20000 { std::hint::black_box(store.fact("x").await.unwrap()); }
        println!("fact {:.2} us", t.elapsed().as_secs_f64() * 1e6 / 20000.0);
        let pr = Principal::agent("bench");
        let t = Instant::now();
        for _ in 0..20000 { std::hint::black_box(store.matching_approval(&pr, "d", Timestamp::MIN).await.unwrap()); }
        println!("matching {:.2} us", t.elapsed().as_secs_f64() * 1e6 / 20000.0);
        let t = Instant::now();
        for _ in 0..20000 { std::hint::black_box(store.agent(&a).await.unwrap()); }
        println!("agent {:.2} us", t.elapsed().as_secs_f64() * 1e6 / 20000.0);
    });
}
