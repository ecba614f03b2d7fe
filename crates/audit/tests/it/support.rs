use kruxos_audit::{
    AuditLog, Begun, Finished, Kind, MIN_SEGMENT_BYTES, Options, Record, Recovery, Status,
};
use kruxos_types::{Clock, FakeClock, Interface, Object, Principal};
use serde_json::{Value, json};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// An empty directory, a clock that the test moves, and small segments.
pub(crate) struct World {
    pub(crate) root: tempfile::TempDir,
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) options: Options,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            root: tempfile::tempdir().unwrap(),
            clock: Arc::new(FakeClock::new(
                "2026-03-01T12:00:00.000001Z".parse().unwrap(),
            )),
            options: Options {
                segment_bytes: MIN_SEGMENT_BYTES,
                ..Options::default()
            },
        }
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.root.path().join("audit")
    }

    pub(crate) fn open(&self) -> AuditLog {
        self.open_with_report().0
    }

    pub(crate) fn open_with_report(&self) -> (AuditLog, Recovery) {
        self.open_at(&self.dir())
    }

    pub(crate) fn open_at(&self, dir: &Path) -> (AuditLog, Recovery) {
        AuditLog::open(
            dir,
            self.options.clone(),
            Arc::clone(&self.clock) as Arc<dyn Clock>,
        )
        .unwrap()
    }

    /// The segments, oldest first.
    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        segments(&self.dir())
    }
}

pub(crate) fn segments(dir: &Path) -> Vec<PathBuf> {
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "log");
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(is_segment)
        .collect();
    files.sort();
    files
}

/// Copies a log while nobody, or somebody, writes to it: a state that a crash could leave. Read from
/// back to front, because a reader from the front may see a later write without an earlier one.
pub(crate) fn copy_log(from: &Path, to: &Path) {
    use std::os::unix::fs::FileExt;
    const PAGE: usize = 4096;
    std::fs::create_dir_all(to).unwrap();
    for path in segments(from).iter().rev() {
        let file = std::fs::File::open(path).unwrap();
        let copy = std::fs::File::create(to.join(path.file_name().unwrap())).unwrap();
        let length = file.metadata().unwrap().len();
        copy.set_len(length).unwrap();
        for page in (0..length.div_ceil(PAGE as u64)).rev() {
            let at = page * PAGE as u64;
            let read = || {
                let mut bytes = vec![0; PAGE];
                let count = file.read_at(&mut bytes, at).unwrap();
                bytes.truncate(count);
                bytes
            };
            let mut bytes = read();
            // A page that is being written is read again.
            loop {
                let again = read();
                if again == bytes {
                    break;
                }
                bytes = again;
            }
            if bytes.iter().any(|byte| *byte != 0) {
                copy.write_all_at(&bytes, at).unwrap();
            }
        }
        // Sealed meanwhile: what lay behind its end was zeros.
    }
}

pub(crate) fn record(capability: &str) -> Record {
    Record {
        session_id: Some("ses_one".to_owned()),
        interface: Some(Interface::Mcp),
        capability: Some(capability.to_owned()),
        inputs: Some(json!({"path": "notes/todo.md", "limit": 10})),
        policy_decision: Some(json!({"tier": "autonomous", "layers": []}).into()),
        ..Record::new(Kind::Call, Principal::agent("tester"), Status::Success)
    }
}

pub(crate) fn numbered(number: u64) -> Record {
    let mut record = record("filesystem.read");
    record.inputs = Some(json!({"number": number}));
    record
}

/// Large enough that some thousand fill several segments.
pub(crate) fn bulky(number: u64) -> Record {
    let mut record = record("filesystem.read");
    record.inputs = Some(json!({"number": number, "pattern": "x".repeat(500)}));
    record
}

pub(crate) fn success(duration_us: u64) -> Finished {
    Finished {
        status: Status::Success,
        output_summary: Some(json!({"bytes": 12})),
        duration_us,
        resource_usage: None,
        metadata: Object::new(),
    }
}

pub(crate) async fn effect(log: &AuditLog, record: Record) -> u64 {
    let mut begun: Begun = log.begin_effect(record).unwrap();
    begun.durable().await.unwrap();
    begun.finish(success(5)).await.unwrap().seq
}

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(60), future)
            .await
            .expect("took too long")
    })
}

/// `count` entries on disk, and the log closed.
pub(crate) fn filled(world: &World, count: u64) {
    let log = world.open();
    run(async {
        for number in 0..count {
            log.append(bulky(number), kruxos_audit::Durability::Soon)
                .await
                .unwrap();
        }
        log.flush().await.unwrap();
    });
}

/// Start and payload length of every frame, read as the format document says.
pub(crate) fn frames(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at + 8 <= bytes.len() {
        let length = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        if length == 0 {
            break;
        }
        found.push((at, length));
        at += 8 + length;
    }
    found
}

pub(crate) fn kinds(report: &kruxos_audit::Report) -> Vec<&str> {
    report
        .breaks
        .iter()
        .map(|found| found.kind.as_str())
        .collect()
}

pub(crate) fn numbers(entries: &[kruxos_audit::Entry]) -> Vec<Value> {
    entries
        .iter()
        .filter_map(|entry| entry.inputs.as_ref())
        .map(|inputs| inputs["number"].clone())
        .collect()
}
