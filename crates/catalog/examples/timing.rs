use kruxos_catalog::Catalog;
use std::time::Instant;
fn main() {
    let t = Instant::now();
    let c = Catalog::builtin();
    println!("builtin {:?}", t.elapsed());
    for (n, a) in [("filesystem.read", serde_json::json!({"path":"notes/todo.md"})), ("system.time", serde_json::json!({})), ("filesystem.search", serde_json::json!({"path": ".", "pattern": "*", "aggregate": {"by": "extension"}}))] {
        let d = c.get(n).unwrap();
        let args: Vec<_> = (0..20000).map(|_| a.clone()).collect();
        let t = Instant::now();
        for x in args { std::hint::black_box(d.admit(x).unwrap()); }
        println!("{n} {:?}", t.elapsed() / 20000);
    }
    let t = Instant::now();
    for _ in 0..100000 { std::hint::black_box(c.resolve("filesystem__read").unwrap()); }
    println!("resolve {:?}", t.elapsed() / 100000);
}
