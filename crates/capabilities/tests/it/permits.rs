//! What a call needs before it runs, made the way the gateway makes it: a verdict of a policy that
//! allows everything and a record begun in a real log. The benches use this file too.

use kruxos_audit::{AuditLog, Begun, Kind, Options, Record, Status};
use kruxos_capabilities::Permit;
use kruxos_catalog::{Catalog, Definition};
use kruxos_policy::{PolicySet, Query, RateCounters, Source, Sources};
use kruxos_types::{Interface, Object, Principal, SystemClock, Timestamp};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// The one agent of all tests.
pub(crate) const TESTER: &str = "tester";

pub(crate) fn definition(name: &str) -> &'static Definition {
    Catalog::builtin().get(name).expect("a defined capability")
}

/// A permit for any inputs. The verdict is about harmless ones: policy's own protection of paths would
/// otherwise stand before the handler's, which is what is tested here.
pub(crate) fn permit(definition: &Definition, inputs: Object) -> Permit {
    static ALLOWED: OnceLock<PolicySet> = OnceLock::new();
    thread_local! {
        static BEGUN: Entry = Entry::begin();
    }
    let principal = Principal::agent(TESTER);
    let harmless = Object::from_iter([("path".to_owned(), Value::from("notes.md"))]);
    let query = Query {
        principal: &principal,
        definition,
        inputs: &harmless,
        interface: Interface::Mcp,
        now: Timestamp::UNIX_EPOCH,
        workspace: "/workspace",
        touches: &[],
    };
    let verdict = ALLOWED
        .get_or_init(|| policy("  \"*\": {tier: autonomous}\n"))
        .decide(&query, &RateCounters::default())
        .expect("no rate limit");
    BEGUN
        .with(|entry| Permit::by_verdict(&verdict, &entry.begun, inputs))
        .expect("the tester may do it")
}

/// The policy of an agent `tester` with these rules.
pub(crate) fn policy(rules: &str) -> PolicySet {
    let source = Source {
        file: "tester.yaml".to_owned(),
        text: format!("name: tester\nversion: \"1.0\"\ncapabilities:\n{rules}"),
    };
    let sources = Sources {
        agents: BTreeMap::from([(TESTER.to_owned(), source)]),
        ..Sources::default()
    };
    PolicySet::compile(&sources, Catalog::builtin(), 1)
        .expect("a valid policy")
        .0
}

/// A begun record, and the log it is in; both go with the test's thread.
struct Entry {
    begun: Begun,
    _log: AuditLog,
    _dir: tempfile::TempDir,
}

impl Entry {
    fn begin() -> Entry {
        let dir = tempfile::tempdir().expect("a directory");
        let options = Options {
            include_content: false,
            strict: false,
            segment_bytes: 1 << 20,
        };
        let log = AuditLog::open(dir.path(), options, Arc::new(SystemClock))
            .expect("a log")
            .0;
        let record = Record {
            interface: Some(Interface::Mcp),
            ..Record::new(Kind::Call, Principal::agent(TESTER), Status::Success)
        };
        Entry {
            begun: log.begin_read(record).expect("the log takes it"),
            _log: log,
            _dir: dir,
        }
    }
}
