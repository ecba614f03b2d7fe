//! Other programs read the log.
#![allow(clippy::disallowed_methods, clippy::print_stderr)]

use crate::support::{World, effect, filled, frames, record, run};
use kruxos_audit::verify;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

fn verifier() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/verify_audit.py")
}

/// Python with cbor2: `KRUXOS_TEST_PYTHON`, or the system's.
fn python() -> Option<String> {
    let python = std::env::var("KRUXOS_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let works = Command::new(&python)
        .args(["-c", "import cbor2"])
        .output()
        .is_ok_and(|output| output.status.success());
    works.then_some(python)
}

#[test]
fn the_independent_verifier_agrees() {
    let Some(python) = python() else {
        eprintln!(
            "not run: python3 with the package cbor2 is not installed (KRUXOS_TEST_PYTHON names another)"
        );
        return;
    };
    let check = |dir: &Path| {
        let output = Command::new(&python)
            .arg(verifier())
            .arg(dir)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text)
    };
    let world = World::new();
    let log = world.open();
    run(async {
        let mut odd = record("state.session.set");
        odd.inputs = Some(json!({
            "key": "x", "zz": -1, "a": 1.5, "b": 1.1, "c": 1e300, "d": 100_000.0, "e": 5.960_464_477_539_063e-8,
            "f": u64::MAX, "g": i64::MIN, "h": [null, true, "ä", {"": {}}], "i": 3.4e38, "j": -0.0,
        }));
        effect(&log, odd).await;
        for number in 0..3_500 {
            log.append(
                crate::support::bulky(number),
                kruxos_audit::Durability::Soon,
            )
            .await
            .unwrap();
        }
    });
    drop(log);
    assert!(world.segments().len() > 2);
    let (code, text) = check(&world.dir());
    assert_eq!(code, Some(0), "{text}");
    let path = world.segments()[1].clone();
    let original = std::fs::read(&path).unwrap();
    let (start, length) = frames(&original)[7];
    for at in [
        start + 1,
        start + 5,
        start + 8,
        start + 30,
        start + 8 + length / 2,
        start + 8 + length - 1,
    ] {
        let mut bytes = original.clone();
        bytes[at] ^= 2;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(
            (check(&world.dir()).0, verify(&world.dir()).unwrap().ok),
            (Some(1), false),
            "byte {at}"
        );
    }
    let mut bytes = original.clone();
    bytes.drain(start..start + 8 + length);
    std::fs::write(&path, &bytes).unwrap();
    let (code, text) = check(&world.dir());
    assert_eq!(code, Some(1), "{text}");
}

#[test]
fn a_sealed_segment_holds_frames_and_nothing_else() {
    let world = World::new();
    filled(&world, 3_500);
    let sealed = std::fs::read(&world.segments()[0]).unwrap();
    let (start, length) = *frames(&sealed).last().unwrap();
    assert_eq!(start + 8 + length, sealed.len());
    let active = std::fs::read(world.segments().last().unwrap()).unwrap();
    let (start, length) = *frames(&active).last().unwrap();
    assert!(active[start + 8 + length..].iter().all(|byte| *byte == 0));
    assert!(world.dir().join("spare.tmp").exists() || active.len() > start);
}
