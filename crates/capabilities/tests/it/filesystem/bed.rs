//! A workspace, what lies outside it, and calls the way the gateway makes them.

use crate::permits;
use kruxos_capabilities::filesystem::{
    EventSink, FileEvent, Files, FilesOptions, UndoOptions, UndoReport, clean_trash, run, undo,
};
use kruxos_types::{CallError, Clock, FakeClock, Principal};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) struct Bed {
    dir: tempfile::TempDir,
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) events: Mutex<Receiver<FileEvent>>,
    pub(crate) files: Files,
}

/// Nothing here takes long; a test that hangs should end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// How long the beds keep their trash.
pub(crate) const KEEP: Duration = Duration::from_secs(24 * 3600);

fn options(dir: &Path) -> FilesOptions {
    FilesOptions {
        principal: Principal::agent(permits::TESTER),
        workspace: dir.join("ws"),
        trash: dir.join("trash"),
        trash_keep: KEEP,
        undo_quota: 1 << 30,
        max_watches: 3,
        mounts: Vec::new(),
    }
}

impl Bed {
    pub(crate) fn new() -> Bed {
        Bed::with_trash(None)
    }

    /// The trash elsewhere, for instance on another file system.
    pub(crate) fn with_trash(elsewhere: Option<&Path>) -> Bed {
        Bed::with(|options| {
            if let Some(elsewhere) = elsewhere {
                options.trash = elsewhere.to_path_buf();
            }
        })
    }

    /// With other options than usual.
    pub(crate) fn with(change: impl FnOnce(&mut FilesOptions)) -> Bed {
        Bed::within(&std::env::temp_dir(), change)
    }

    /// All of it below this directory.
    pub(crate) fn within(parent: &Path, change: impl FnOnce(&mut FilesOptions)) -> Bed {
        let dir = tempfile::tempdir_in(parent).unwrap();
        std::fs::create_dir(dir.path().join("outside")).unwrap();
        let clock = Arc::new(FakeClock::new("2030-01-02T03:04:05Z".parse().unwrap()));
        let (send, events) = channel();
        let mut options = options(dir.path());
        change(&mut options);
        let sink = Arc::new(move |event| drop(send.send(event)));
        let files = Files::open(options, clock.clone(), sink).unwrap();
        Bed {
            dir,
            clock,
            events: Mutex::new(events),
            files,
        }
    }

    /// With a sink of its own for what watches see; [`Bed::event`] then has nothing.
    pub(crate) fn with_sink(sink: EventSink) -> Bed {
        let bed = Bed::new();
        let files = Files::open(options(bed.dir.path()), bed.clock.clone(), sink).unwrap();
        Bed { files, ..bed }
    }

    pub(crate) fn in_session(self, session: &str) -> Bed {
        Bed {
            files: self.files.in_session(session),
            ..self
        }
    }

    /// An undo, recorded in a journal of its own.
    pub(crate) fn undo(
        &self,
        session: &str,
        recorded_as: &str,
        skip_changed: bool,
    ) -> Result<UndoReport, CallError> {
        let options = UndoOptions {
            session: session.to_owned(),
            recorded_as: Some(recorded_as.to_owned()),
            skip_changed,
            forward: false,
        };
        undo(&options, &self.files)
    }

    /// What an undo would do, or with `forward` what the session did.
    pub(crate) fn look(&self, session: &str, forward: bool) -> UndoReport {
        let options = UndoOptions {
            session: session.to_owned(),
            recorded_as: None,
            skip_changed: false,
            forward,
        };
        undo(&options, &self.files).unwrap()
    }

    /// One call of `filesystem.<name>`; the way a result or an error leaves the product.
    pub(crate) fn call(&self, name: &str, inputs: Value) -> Result<Value, CallError> {
        let name = format!("filesystem.{name}");
        let Value::Object(inputs) = inputs else {
            panic!("inputs are an object")
        };
        let definition = permits::definition(&name);
        run(definition, permits::permit(definition, inputs), &self.files)
    }

    #[track_caller]
    pub(crate) fn ok(&self, name: &str, inputs: Value) -> Value {
        let answer = self
            .call(name, inputs)
            .unwrap_or_else(|error| panic!("{name}: {error:?}"));
        data::check_output(&format!("filesystem.{name}"), &answer);
        answer
    }

    /// The JSON of the error that a call must end in.
    #[track_caller]
    pub(crate) fn fail(&self, name: &str, inputs: Value, error_type: &str) -> Value {
        match self.call(name, inputs) {
            Ok(answer) => panic!("{name} should fail with {error_type}: {answer}"),
            Err(error) => {
                let json = error.to_json();
                assert_eq!(json["error_type"], error_type, "{error:?}");
                assert!(!json["agent_description"].as_str().unwrap().is_empty());
                json
            }
        }
    }

    pub(crate) fn preview(&self, name: &str, inputs: Value) -> Value {
        let Value::Object(inputs) = inputs else {
            panic!("inputs are an object")
        };
        let definition = permits::definition(&format!("filesystem.{name}"));
        kruxos_capabilities::filesystem::preview(definition, &inputs, &self.files)
    }

    pub(crate) fn path(&self, rel: &str) -> PathBuf {
        self.dir.path().join("ws").join(rel)
    }

    pub(crate) fn outside(&self, rel: &str) -> PathBuf {
        self.dir.path().join("outside").join(rel)
    }

    pub(crate) fn trash(&self) -> PathBuf {
        self.dir.path().join("trash")
    }

    /// What the gateway's timer does.
    pub(crate) fn clean_trash(&self) -> u64 {
        clean_trash(&self.trash(), KEEP, self.clock.now(), false, &|| false).unwrap()
    }

    pub(crate) fn put(&self, rel: &str, content: &str) {
        self.put_bytes(rel, content.as_bytes());
    }

    pub(crate) fn put_bytes(&self, rel: &str, content: &[u8]) {
        let path = self.path(rel);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub(crate) fn put_outside(&self, rel: &str, content: &str) {
        std::fs::write(self.outside(rel), content).unwrap();
    }

    pub(crate) fn make_dir(&self, rel: &str) {
        std::fs::create_dir_all(self.path(rel)).unwrap();
    }

    pub(crate) fn get(&self, rel: &str) -> String {
        std::fs::read_to_string(self.path(rel)).unwrap()
    }

    pub(crate) fn get_outside(&self, rel: &str) -> String {
        std::fs::read_to_string(self.outside(rel)).unwrap()
    }

    /// Names in a directory of the workspace, hidden ones too.
    pub(crate) fn entries(&self, rel: &str) -> Vec<String> {
        sorted_names(&self.path(rel))
    }

    pub(crate) fn trash_entries(&self) -> Vec<String> {
        sorted_names(&self.trash())
    }

    /// The one sidecar whose cause this is.
    pub(crate) fn sidecar(&self, cause: &str) -> Value {
        let sidecars: Vec<Value> = self
            .trash_entries()
            .iter()
            .filter(|name| name.ends_with(".json"))
            .map(|name| {
                serde_json::from_slice(&std::fs::read(self.trash().join(name)).unwrap()).unwrap()
            })
            .filter(|sidecar: &Value| sidecar["cause"] == cause)
            .collect();
        assert_eq!(sidecars.len(), 1, "{sidecars:?}");
        sidecars.into_iter().next().unwrap()
    }

    /// The next event, which must come.
    pub(crate) fn event(&self) -> FileEvent {
        let events = self.events.lock().unwrap();
        events.recv_timeout(PATIENCE).expect("an event")
    }
}

fn sorted_names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The `name`s of a listing's entries.
pub(crate) fn names(entries: &Value) -> Vec<String> {
    entries
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["name"].as_str().unwrap().to_owned())
        .collect()
}

/// The `path`s of a search's matches, below the workspace.
pub(crate) fn paths(matches: &Value) -> Vec<String> {
    let below = |entry: &Value| {
        entry["path"]
            .as_str()
            .unwrap()
            .trim_start_matches("/workspace/")
            .to_owned()
    };
    matches.as_array().unwrap().iter().map(below).collect()
}

#[path = "data.rs"]
pub(crate) mod data;
