//! Where definitions and permits come from.

/// SHA-256 as hex, by the system's own library calls made apart from the product.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    data_encoding::HEXLOWER.encode(sha2::Sha256::digest(bytes).as_slice())
}

pub(crate) fn from_base64(text: &str) -> Vec<u8> {
    data_encoding::BASE64.decode(text.as_bytes()).unwrap()
}

/// Sets a file's modification time, in seconds.
pub(crate) fn set_modified(path: &std::path::Path, seconds: i64) {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(CWD, path, &times, AtFlags::empty()).unwrap();
}

// --- gateway side: what a definition is and what mints a permit

use kruxos_audit::{AuditLog, Begun, Kind, Options, Record, Status};
use kruxos_capabilities::Permit;
use kruxos_catalog::{Catalog, Definition};
use kruxos_policy::{PolicySet, Query, RateCounters, Source, Sources};
use kruxos_types::{Interface, Object, Principal, SystemClock, Timestamp};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

pub(crate) fn definition(name: &str) -> &'static Definition {
    Catalog::builtin().get(name).expect("a defined capability")
}

/// What the gateway would refuse to send on.
#[track_caller]
pub(crate) fn check_output(name: &str, answer: &Value) {
    if let Err(error) = definition(name).check_output(answer) {
        panic!("{name} breaks its definition: {error:?}: {answer}");
    }
}

/// A permit for any inputs. The verdict is about harmless ones: policy's own protection of paths would
/// otherwise stand before the handler's, which is what is tested here.
pub(crate) fn permit(name: &str, inputs: Object) -> Permit {
    let verdict = {
        let principal = Principal::agent("tester");
        let harmless = Object::from_iter([("path".to_owned(), Value::from("notes.md"))]);
        let query = Query {
            principal: &principal,
            definition: definition(name),
            inputs: &harmless,
            interface: Interface::Mcp,
            now: Timestamp::UNIX_EPOCH,
            workspace: "/workspace",
        };
        policy()
            .decide(&query, &RateCounters::default())
            .expect("no rate limit")
    };
    thread_local! {
        static BEGUN: Begun = begin();
    }
    BEGUN
        .with(|begun| Permit::by_verdict(&verdict, begun, inputs))
        .expect("the tester may do it")
}

fn policy() -> &'static PolicySet {
    static POLICY: OnceLock<PolicySet> = OnceLock::new();
    POLICY.get_or_init(|| {
        let text =
            "name: tester\nversion: \"1.0\"\ncapabilities:\n  filesystem.*: {tier: autonomous}\n";
        let source = Source {
            file: "tester.yaml".to_owned(),
            text: text.to_owned(),
        };
        let agents = BTreeMap::from([("tester".to_owned(), source)]);
        let sources = Sources {
            agents,
            ..Sources::default()
        };
        PolicySet::compile(&sources, Catalog::builtin(), 1)
            .expect("a valid policy")
            .0
    })
}

fn begin() -> Begun {
    static LOG: OnceLock<AuditLog> = OnceLock::new();
    let log = LOG.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a directory").keep();
        let options = Options {
            include_content: false,
            strict: false,
            segment_bytes: 1 << 20,
        };
        AuditLog::open(&dir, options, Arc::new(SystemClock))
            .expect("a log")
            .0
    });
    let record = Record {
        actor: Principal::agent("tester"),
        session_id: None,
        interface: Some(Interface::Mcp),
        kind: Kind::Call,
        capability: None,
        inputs: None,
        output_summary: None,
        status: Status::Success,
        policy_decision: None,
        duration_us: None,
        resource_usage: None,
        metadata: Object::new(),
    };
    log.begin_read(record).expect("the log takes it")
}
