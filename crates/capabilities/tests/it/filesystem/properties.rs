//! Properties of paths and contents, over arbitrary ones.

use super::bed::Bed;
use proptest::prelude::*;
use serde_json::json;
use std::os::unix::fs::symlink;

/// A workspace with ways out of it, and a canary outside that must stay as it is.
fn trap() -> Bed {
    let bed = Bed::new();
    bed.put_outside("canary", "alive");
    bed.put("a/b/file", "inside");
    symlink(bed.outside(""), bed.path("out")).unwrap();
    symlink("../../outside", bed.path("a/up")).unwrap();
    symlink("b", bed.path("a/in")).unwrap();
    symlink("/proc/self/root", bed.path("magic")).unwrap();
    bed
}

/// Paths out of pieces that matter, and plain noise.
fn path() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("..".to_owned()),
        Just(".".to_owned()),
        Just(String::new()),
        Just("a".to_owned()),
        Just("b".to_owned()),
        Just("in".to_owned()),
        Just("out".to_owned()),
        Just("up".to_owned()),
        Just("canary".to_owned()),
        Just("outside".to_owned()),
        Just("workspace".to_owned()),
        Just("magic".to_owned()),
        Just("proc".to_owned()),
        Just("file".to_owned()),
        "[a-z]{1,3}",
        "\\PC{0,8}",
        any::<String>(),
    ];
    let joined = prop::collection::vec(piece, 0..7).prop_map(|pieces| pieces.join("/"));
    (any::<bool>(), joined)
        .prop_map(|(absolute, path)| if absolute { format!("/{path}") } else { path })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_path_leads_outside(paths in prop::collection::vec(path(), 1..6)) {
        let bed = trap();
        for path in &paths {
            for (name, inputs) in [
                ("stat", json!({"path": path})),
                ("list", json!({"path": path})),
                ("read", json!({"path": path})),
                ("append", json!({"path": path, "content": "x"})),
                ("write", json!({"path": path, "content": "x", "create_parents": true})),
                ("copy", json!({"source": "a/b/file", "destination": path, "overwrite": true})),
                ("move", json!({"source": path, "destination": "a/moved", "overwrite": true})),
                ("delete", json!({"path": path})),
            ] {
                match bed.call(name, inputs) {
                    Ok(answer) => prop_assert!(!answer.to_string().contains("alive"), "{} {:?}", name, path),
                    Err(error) => prop_assert!(error.error_type() != kruxos_types::ErrorType::Internal, "{} {:?} {:?}", name, path, error),
                }
            }
        }
        prop_assert_eq!(bed.get_outside("canary"), "alive");
        let outside: Vec<_> = std::fs::read_dir(bed.outside("")).unwrap().collect();
        prop_assert_eq!(outside.len(), 1);
    }

    #[test]
    fn what_is_written_is_read(content in any::<String>()) {
        let bed = Bed::new();
        bed.ok("write", json!({"path": "t", "content": content}));
        let answer = bed.ok("read", json!({"path": "t", "limit": 10 << 20}));
        prop_assert_eq!(answer["content"].as_str(), Some(content.as_str()));
    }

    #[test]
    fn deleting_and_restoring_changes_nothing(content in prop::collection::vec(any::<u8>(), 0..200), mode in 0u32..0o1000, time in 0i64..4_000_000_000) {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let bed = Bed::new();
        bed.put_bytes("t", &content);
        std::fs::set_permissions(bed.path("t"), std::fs::Permissions::from_mode(mode)).unwrap();
        super::bed::data::set_modified(&bed.path("t"), time);
        let trash_path = bed.ok("delete", json!({"path": "t"}))["trash_path"].clone();
        prop_assert!(!bed.path("t").exists());
        bed.ok("restore", json!({"trash_path": trash_path}));
        let facts = std::fs::metadata(bed.path("t")).unwrap();
        prop_assert_eq!((facts.mode() & 0o7777, facts.mtime()), (mode, time));
        std::fs::set_permissions(bed.path("t"), std::fs::Permissions::from_mode(0o600)).unwrap();
        prop_assert_eq!(std::fs::read(bed.path("t")).unwrap(), content);
    }

    #[test]
    fn patterns_never_panic(pattern in any::<String>(), regex in any::<bool>()) {
        let bed = trap();
        for (name, inputs) in [
            ("search", json!({"path": ".", "pattern": pattern})),
            ("search_content", json!({"path": ".", "pattern": pattern, "regex": regex})),
            ("edit", json!({"path": "a/b/file", "pattern": pattern, "replace": "x", "regex": regex})),
        ] {
            if let Err(error) = bed.call(name, inputs) {
                prop_assert!(error.error_type() != kruxos_types::ErrorType::Internal, "{:?}", error);
            }
        }
    }
}
