//! An agent that exchanges paths while its calls resolve them.

use crate::bed::{modes, shell};
use crate::setting::Setting;
use kruxos_types::ErrorType;
use serde_json::json;

/// Few enough for every test run; the battery does 100,000.
const ROUNDS: u32 = 2_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_changes_under_the_call_never_leads_out() {
    for mode in modes() {
        let setting = Setting::new(mode);
        let script = r#"
import ctypes, os
libc = ctypes.CDLL(None)
os.makedirs("swap/dir"); open("swap/dir/file", "w").write("inside")
os.symlink("/etc", "swap/evil"); os.symlink("/etc/passwd", "swap/link"); open("swap/plain", "w").write("inside")
print("ready", flush=True)
while True:
    libc.syscall(316, -100, b"swap/dir", -100, b"swap/evil", 2)
    libc.syscall(316, -100, b"swap/link", -100, b"swap/plain", 2)
"#;
        let mut program = shell("exec /usr/bin/python3 -");
        program.stdin = script.as_bytes().to_vec();
        let running = setting.agent.run(program).await.unwrap();
        crate::bed::until_printed(&running, "ready").await;
        let mut inside = 0;
        for round in 0..ROUNDS {
            let path = ["swap/dir/file", "swap/plain", "swap/link"][round as usize % 3];
            match setting.call("filesystem.read", json!({"path": path})).await {
                Ok(read) => {
                    assert_eq!(read["content"], "inside", "{path}");
                    inside += 1;
                }
                Err(error) => {
                    let expected = [
                        ErrorType::PathOutOfScope,
                        ErrorType::FileNotFound,
                        ErrorType::ConflictError,
                    ];
                    assert!(expected.contains(&error.error_type()), "{path}: {error}");
                }
            }
        }
        assert!(inside > 0, "the honest half is served");
        assert!(running.ended().is_none(), "the attacker ran all the time");
    }
}
