//! A box that is none: programs run here, with `/workspace` standing for a directory.
#![allow(
    clippy::disallowed_methods,
    reason = "tests start programs themselves; the product's are started by the sandbox"
)]

use async_trait::async_trait;
use kruxos_capabilities::program::{
    End, Job, Printed, Programs, Running, StartError, Stream, Usage,
};
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// No program of a test takes longer: one that waits for ever is a failure, not a hang.
const LONGEST: Duration = Duration::from_secs(20);

/// What is to go wrong with the next program that has this argument.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// It runs, and is said to have ended like this.
    Ends(End),
    /// It is not started.
    NotFound,
    TooMany,
    NoBox,
}

#[derive(Debug)]
pub(crate) struct Local {
    workspace: PathBuf,
    pub(crate) faults: Mutex<Vec<(String, Fault)>>,
    /// Everything that was started.
    pub(crate) jobs: Mutex<Vec<Job>>,
}

impl Local {
    pub(crate) fn new(workspace: &Path) -> Local {
        Local {
            workspace: workspace.to_path_buf(),
            faults: Mutex::default(),
            jobs: Mutex::default(),
        }
    }

    fn fault(&self, job: &Job) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let at = faults
            .iter()
            .position(|(argument, _)| job.arguments.contains(argument))?;
        Some(faults.remove(at).1)
    }
}

#[async_trait]
impl Programs for Local {
    async fn start(&self, job: Job) -> Result<Arc<dyn Running>, StartError> {
        self.jobs.lock().unwrap().push(job.clone());
        let forced = match self.fault(&job) {
            Some(Fault::NotFound) => return Err(StartError::NotFound),
            Some(Fault::TooMany) => return Err(StartError::TooMany(7)),
            Some(Fault::NoBox) => return Err(StartError::NoBox("gone".to_owned())),
            Some(Fault::Ends(end)) => Some(end),
            None => None,
        };
        let below = job.directory.strip_prefix("/workspace").unwrap();
        let mut command = Command::new(&job.arguments[0]);
        command
            .args(&job.arguments[1..])
            .process_group(0)
            .env_clear()
            .envs(job.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.workspace.join(below))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StartError::NotFound,
            _ => StartError::NotStarted(error.to_string()),
        })?;
        let mut stdin = child.stdin.take().unwrap();
        let bytes = job.stdin;
        let writer = std::thread::spawn(move || drop(stdin.write_all(&bytes)));
        let ended = Watch::over(&child, job.timeout.min(LONGEST));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        let end = match (output.status.code(), output.status.signal()) {
            _ if ended.was_late() => End::TimedOut,
            (Some(code), _) => End::Exited(code),
            (None, signal) => End::Signalled(signal.unwrap()),
        };
        Ok(Arc::new(Done {
            end: forced.unwrap_or(end),
            stdout: output.stdout,
            stderr: output.stderr,
        }))
    }
}

/// Ends a program that takes too long, with all its children, as the box does.
struct Watch {
    over: mpsc::Sender<()>,
    thread: std::thread::JoinHandle<bool>,
}

impl Watch {
    fn over(child: &Child, time: Duration) -> Watch {
        let (over, ended) = mpsc::channel();
        let group = Pid::from_child(child);
        let thread = std::thread::spawn(move || {
            let late = ended.recv_timeout(time) == Err(mpsc::RecvTimeoutError::Timeout);
            if late {
                kill_process_group(group, Signal::KILL).unwrap();
            }
            late
        });
        Watch { over, thread }
    }

    fn was_late(self) -> bool {
        drop(self.over);
        self.thread.join().unwrap()
    }
}

/// One that has ended.
#[derive(Debug)]
struct Done {
    end: End,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Done {
    fn bytes(&self, stream: Stream) -> &[u8] {
        match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        }
    }
}

#[async_trait]
impl Running for Done {
    fn ended(&self) -> Option<End> {
        Some(self.end.clone())
    }

    async fn wait(&self) -> End {
        self.end.clone()
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }

    fn duration(&self) -> Duration {
        Duration::ZERO
    }

    fn printed(&self, stream: Stream) -> Printed {
        let size = self.bytes(stream).len() as u64;
        Printed {
            total: size,
            kept: size,
        }
    }

    /// Shorter than asked, as a reader may be.
    fn output(&self, stream: Stream, offset: u64, limit: usize) -> io::Result<Vec<u8>> {
        let rest = self.bytes(stream).iter().skip(offset as usize);
        Ok(rest.take(limit.min(100_000)).copied().collect())
    }

    async fn signal(&self, _: i32) -> io::Result<()> {
        Ok(())
    }
}
