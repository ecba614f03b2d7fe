//! What a session has started, newest last.

use crate::program::{Running, Stream};
use jiff::Timestamp;
use std::collections::VecDeque;
use std::sync::Arc;

/// Programs that run at once in one session; the box has its own bound on processes.
pub(super) const MAX_RUNNING: usize = 32;
/// Programs that have ended and whose output can still be read.
const MAX_ENDED: usize = 100;
/// Bytes of output kept for those that have ended; the newest always stays.
const MAX_OUTPUT: u64 = 512 << 20;
/// Characters of a command that are shown.
const SHOWN: usize = 200;

/// One of them. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Process {
    pub(super) id: Arc<str>,
    /// The command line, for people; cut where it is long.
    pub(super) command: Arc<str>,
    pub(super) started_at: Timestamp,
    pub(super) running: Arc<dyn Running>,
}

impl Process {
    pub(super) fn new(arguments: &[String], at: Timestamp, running: Arc<dyn Running>) -> Self {
        let mut command: String = arguments.join(" ").chars().take(SHOWN + 1).collect();
        if command.chars().count() > SHOWN {
            command = command.chars().take(SHOWN).chain(['…']).collect();
        }
        Self {
            id: format!("proc_{}", kruxos_types::random_base32(10)).into(),
            command: command.into(),
            started_at: at,
            running,
        }
    }

    fn has_ended(&self) -> bool {
        self.running.ended().is_some()
    }

    fn kept_bytes(&self) -> u64 {
        let kept = |stream| self.running.printed(stream).kept;
        kept(Stream::Stdout) + kept(Stream::Stderr)
    }
}

#[derive(Debug, Default)]
pub(super) struct Table {
    processes: VecDeque<Process>,
    /// Being started, and not among them yet.
    pub(super) starting: usize,
}

impl Table {
    pub(super) fn get(&self, id: &str) -> Option<Process> {
        let found = self.processes.iter().find(|process| &*process.id == id);
        found.cloned()
    }

    /// All, newest first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = &Process> {
        self.processes.iter().rev()
    }

    pub(super) fn running(&self) -> usize {
        let running = self.processes.iter();
        running.filter(|process| !process.has_ended()).count()
    }

    /// Adds one and lets go of the oldest that have ended and are too many.
    pub(super) fn add(&mut self, process: Process) {
        self.processes.push_back(process);
        let (mut ended, mut bytes) = (0, 0);
        let mut kept = VecDeque::with_capacity(self.processes.len());
        for process in self.processes.drain(..).rev() {
            if process.has_ended() {
                let size = process.kept_bytes();
                if ended == MAX_ENDED || (ended > 0 && bytes + size > MAX_OUTPUT) {
                    continue;
                }
                ended += 1;
                bytes += size;
            }
            kept.push_front(process);
        }
        self.processes = kept;
    }
}
