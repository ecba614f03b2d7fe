//! `filesystem.watch`: inotify on handles. One thread and one inotify instance for each principal that
//! watches anything, started with its first watch.

use super::list::directory_fault;
use super::pattern::Glob;
use super::roots::{DIRECTORY, open_beneath, show_name};
use super::temporary::is_temporary;
use super::walk::join;
use super::{EventSink, FileEvent, Scope, fault};
use kruxos_types::{CallError, Clock, ErrorType, random_base32};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::fs::{Dir, FileType, ResolveFlags};
use rustix::io::Errno;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

const DO: &str = "watch";
/// Directories watched for one principal, in all its watches: the kernel counts them for each user.
const MAX_DIRECTORIES: usize = 4_096;
/// Bytes of events read at once.
const BUFFER: usize = 16 << 10;
/// How long the second half of a move may take to follow the first: the kernel queues them together.
const MOVE_PAIR: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 10_000_000,
};
/// Events taken from the kernel before they are told: a workspace that never rests must not keep them
/// from being told, nor fill memory, and looking for repetitions stays cheap.
const MAX_BATCH: usize = 1_024;
/// Entries of a new directory told as created in one go. It was filled before it could be watched; an
/// unpacked archive is told in full up to here.
const MAX_INSIDE: usize = 10_000;
/// The thread only reads and passes on.
const STACK: usize = 256 << 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    path: String,
    #[serde(default)]
    recursive: bool,
    event_types: Option<Vec<Event>>,
    pattern: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Event {
    Created,
    Modified,
    Deleted,
    Renamed,
}

impl Event {
    fn name(self) -> &'static str {
        match self {
            Event::Created => "created",
            Event::Modified => "modified",
            Event::Deleted => "deleted",
            Event::Renamed => "renamed",
        }
    }
}

/// The watches of one principal.
pub(super) struct Watches {
    max: usize,
    events: EventSink,
    clock: Arc<dyn Clock>,
    /// Of the running thread. Held for moments only, never while directories are walked: ending
    /// must not wait for them.
    running: Mutex<Option<Arc<Shared>>>,
}

/// What the thread and its owner share; the kernel lets go of all watches when both are gone.
struct Shared {
    inotify: OwnedFd,
    wake: OwnedFd,
    /// Nothing more is told, whatever is still waiting.
    ended: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    watches: HashMap<String, Arc<Watch>>,
    /// What each kernel watch stands for: the same directory may be in several watches.
    directories: HashMap<i32, Vec<Watched>>,
}

/// A watch and a directory below its start.
type Watched = (Arc<Watch>, Vec<u8>);

struct Watch {
    id: String,
    start: OwnedFd,
    /// The watched directory as the agent sees it.
    shown: String,
    recursive: bool,
    types: Option<HashSet<Event>>,
    glob: Option<Glob>,
}

pub(super) fn run(args: Args, scope: &Scope<'_>) -> Result<Value, CallError> {
    let glob = args
        .pattern
        .as_deref()
        .map(Glob::new)
        .transpose()
        .map_err(|error| {
            // The definition of this capability declares no InvalidPattern.
            let reason = error
                .context()
                .get("reason")
                .and_then(Value::as_str)
                .unwrap_or("not a glob");
            CallError::invalid_input("pattern", reason, "a glob such as *.md")
        })?;
    let place = scope.files.roots.locate("path", &args.path)?;
    let start = place.open_directory().map_err(|errno| {
        let error = directory_fault(&place, errno);
        if error.error_type() == ErrorType::NotADirectory {
            return fault::bad_path(
                &args.path,
                "it is not a directory",
                "a directory; pattern picks files in it",
            );
        }
        error
    })?;
    let watch = Watch {
        id: format!("wat_{}", random_base32(16)),
        start,
        shown: place.show(),
        recursive: args.recursive,
        types: args.event_types.map(|types| types.into_iter().collect()),
        glob,
    };
    let answer = json!({ "watch_id": watch.id, "path": watch.shown, "recursive": watch.recursive });
    scope
        .files
        .watches
        .add(watch)
        .map_err(|refused| match refused {
            Refused::TooMany { limit, current } => fault::of(ErrorType::TooManyWatches, &args.path)
                .with("limit", limit)
                .with("current", current),
            Refused::Errno(errno) => place.fault(errno, DO),
        })?;
    Ok(answer)
}

enum Refused {
    TooMany { limit: usize, current: usize },
    Errno(Errno),
}

impl Watches {
    pub(super) fn new(max: usize, events: EventSink, clock: Arc<dyn Clock>) -> Watches {
        Watches {
            max,
            events,
            clock,
            running: Mutex::new(None),
        }
    }

    fn add(&self, watch: Watch) -> Result<(), Refused> {
        let shared = self.running().map_err(Refused::Errno)?;
        let mut state = lock(&shared.state);
        if state.watches.len() >= self.max {
            return Err(Refused::TooMany {
                limit: self.max,
                current: state.watches.len(),
            });
        }
        let watch = Arc::new(watch);
        state.watches.insert(watch.id.clone(), Arc::clone(&watch));
        let added = shared.watch_tree(&mut state, &watch, Vec::new(), &mut |_| {});
        if added.is_err() {
            shared.remove(&mut state, &watch.id);
        }
        added
    }

    /// The thread's other end; starts it with the first watch.
    fn running(&self) -> Result<Arc<Shared>, Errno> {
        let mut running = lock(&self.running);
        if let Some(shared) = running.as_ref() {
            return Ok(Arc::clone(shared));
        }
        let shared = Arc::new(Shared {
            inotify: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?,
            wake: eventfd(0, EventfdFlags::CLOEXEC)?,
            ended: AtomicBool::new(false),
            state: Mutex::default(),
        });
        let (events, clock) = (Arc::clone(&self.events), Arc::clone(&self.clock));
        let worker = Arc::clone(&shared);
        // Nobody waits for the thread's end: it is told to end, and then touches nothing but its own.
        let _detached = std::thread::Builder::new()
            .name("file-watch".to_owned())
            .stack_size(STACK)
            .spawn(move || worker.pump(&events, clock.as_ref()))
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))?;
        *running = Some(Arc::clone(&shared));
        Ok(shared)
    }

    /// Ends every watch. Does not wait for the thread, so it may be called where nothing may block;
    /// at most one event that is being told at this moment still arrives.
    pub(super) fn end(&self) {
        let Some(shared) = lock(&self.running).take() else {
            return;
        };
        shared.ended.store(true, Ordering::Release);
        if let Err(errno) = rustix::io::write(&shared.wake, &1u64.to_ne_bytes()) {
            tracing::error!(%errno, "the file watcher cannot be woken");
        }
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        self.end();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A change before it is told: which watch, what, where below the watch.
type Seen = (Arc<Watch>, Event, Vec<u8>);

impl Shared {
    /// Watches a directory of a watch, and those below it where it is recursive. `each` sees what is
    /// already there.
    fn watch_tree(
        &self,
        state: &mut State,
        watch: &Arc<Watch>,
        rel: Vec<u8>,
        each: &mut dyn FnMut(Vec<u8>),
    ) -> Result<(), Refused> {
        let mut waiting = vec![rel];
        while let Some(rel) = waiting.pop() {
            let current = state.directories.len();
            if current >= MAX_DIRECTORIES {
                return Err(Refused::TooMany {
                    limit: MAX_DIRECTORIES,
                    current,
                });
            }
            let path = if rel.is_empty() {
                b".".as_slice()
            } else {
                &rel
            };
            let directory = match open_beneath(
                watch.start.as_fd(),
                path,
                DIRECTORY,
                ResolveFlags::NO_SYMLINKS,
            ) {
                Ok(directory) => directory,
                // Below the start things may go away while we look.
                Err(_) if !rel.is_empty() => continue,
                Err(errno) => return Err(Refused::Errno(errno)),
            };
            let flags = WatchFlags::CREATE
                | WatchFlags::MODIFY
                | WatchFlags::DELETE
                | WatchFlags::MOVED_FROM
                | WatchFlags::MOVED_TO
                | WatchFlags::ONLYDIR;
            // By the handle, so that it is this directory and no other of its name.
            let handle = format!("/proc/self/fd/{}", directory.as_raw_fd());
            let number =
                inotify::add_watch(&self.inotify, handle, flags).map_err(|errno| match errno {
                    Errno::NOSPC => Refused::TooMany {
                        limit: current,
                        current,
                    },
                    other => Refused::Errno(other),
                })?;
            let known = state.directories.entry(number).or_default();
            // In one watch a directory has one place: after a move within it, the new one.
            known.retain(|(other, _)| !Arc::ptr_eq(other, watch));
            known.push((Arc::clone(watch), rel.clone()));
            if watch.recursive {
                let entries = Dir::new(directory).map_err(Refused::Errno)?;
                for entry in entries.flatten() {
                    let name = entry.file_name().to_bytes();
                    if name == b"." || name == b".." || is_temporary(name) {
                        continue;
                    }
                    let path = join(&rel, name);
                    each(path.clone());
                    if entry.file_type() == FileType::Directory {
                        // Each that waits will be watched, so more than may be watched need not wait.
                        let wanted = state.directories.len() + waiting.len();
                        if wanted >= MAX_DIRECTORIES {
                            return Err(Refused::TooMany {
                                limit: MAX_DIRECTORIES,
                                current: wanted,
                            });
                        }
                        waiting.push(path);
                    }
                }
            }
        }
        Ok(())
    }

    fn remove(&self, state: &mut State, id: &str) {
        state.watches.remove(id);
        state.directories.retain(|number, known| {
            known.retain(|(watch, _)| watch.id != id);
            if known.is_empty() {
                // The kernel has let go of it already if the directory is gone.
                let _gone = inotify::remove_watch(&self.inotify, *number);
            }
            !known.is_empty()
        });
    }

    /// The thread: waits for events until it is woken to end.
    fn pump(&self, events: &EventSink, clock: &dyn Clock) {
        let mut buffer = vec![MaybeUninit::uninit(); BUFFER];
        loop {
            let mut ready = [
                PollFd::new(&self.inotify, PollFlags::IN),
                PollFd::new(&self.wake, PollFlags::IN),
            ];
            match poll(&mut ready, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => {
                    tracing::error!(%errno, "the file watcher ends");
                    return;
                }
            }
            if self.ended.load(Ordering::Acquire) {
                return;
            }
            for (watch, event, rel) in self.read(&mut buffer) {
                if self.ended.load(Ordering::Acquire) {
                    return;
                }
                if watch
                    .types
                    .as_ref()
                    .is_some_and(|types| !types.contains(&event))
                    || watch.glob.as_ref().is_some_and(|glob| !glob.matches(&rel))
                {
                    continue;
                }
                events(FileEvent {
                    watch_id: watch.id.clone(),
                    event: event.name(),
                    path: format!("{}/{}", watch.shown, show_name(&rel).0),
                    at: clock.now(),
                });
            }
        }
    }

    /// What is waiting, up to [`MAX_BATCH`] events, each modification of a file once.
    fn read(&self, buffer: &mut [MaybeUninit<u8>]) -> Vec<Seen> {
        let (mut seen, mut left) = (Batch::default(), Vec::new());
        self.drain(buffer, &mut left, &mut seen);
        if !left.is_empty() {
            // The two halves of a move come one after the other, but need not come in one read.
            let mut ready = [PollFd::new(&self.inotify, PollFlags::IN)];
            if poll(&mut ready, Some(&MOVE_PAIR)).is_ok() {
                self.drain(buffer, &mut left, &mut seen);
            }
        }
        // What left for nowhere that is watched is gone from here.
        for gone in left.into_iter().filter(|gone| !gone.temporary) {
            seen.add(gone.changes);
        }
        seen.changes
    }

    fn drain(&self, buffer: &mut [MaybeUninit<u8>], left: &mut Vec<Left>, seen: &mut Batch) {
        let mut state = lock(&self.state);
        let mut reader = Reader::new(&self.inotify, buffer);
        let mut taken = 0;
        // What the reader has taken from the kernel and not given out would be lost.
        while taken < MAX_BATCH || !reader.is_buffer_empty() {
            taken += 1;
            // `AGAIN` when all is read; anything else comes again with the next poll.
            let Ok(event) = reader.next() else { break };
            let flags = event.events();
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                tracing::warn!("file events were lost: the kernel's queue was full");
                continue;
            }
            if flags.contains(ReadFlags::IGNORED) {
                state.directories.remove(&event.wd());
                continue;
            }
            let Some(name) = event.file_name().map(std::ffi::CStr::to_bytes) else {
                continue;
            };
            let Some(known) = state.directories.get(&event.wd()) else {
                continue;
            };
            let at = |event| -> Vec<Seen> {
                known
                    .iter()
                    .map(|(watch, rel)| (Arc::clone(watch), event, join(rel, name)))
                    .collect()
            };
            let temporary = is_temporary(name);
            if flags.contains(ReadFlags::MOVED_FROM) {
                left.push(Left {
                    cookie: event.cookie(),
                    temporary,
                    changes: at(Event::Deleted),
                });
                continue;
            }
            if temporary {
                continue;
            }
            let what = meaning(flags, event.cookie(), left);
            let changes = at(what);
            seen.add(changes.clone());
            if flags.contains(ReadFlags::ISDIR) && matches!(what, Event::Created | Event::Renamed) {
                self.follow_new(&mut state, &changes, seen);
            }
        }
    }

    /// Watches a directory that is new in a recursive watch. What came into it before it was watched is
    /// told; what merely moved with it is not.
    fn follow_new(&self, state: &mut State, changes: &[Seen], seen: &mut Batch) {
        for (watch, event, rel) in changes.iter().filter(|(watch, ..)| watch.recursive) {
            let mut inside = Vec::new();
            let tell = *event == Event::Created;
            let followed = self.watch_tree(state, watch, rel.clone(), &mut |path| {
                if tell && inside.len() < MAX_INSIDE {
                    inside.push((Arc::clone(watch), Event::Created, path));
                }
            });
            if followed.is_err() {
                tracing::warn!("a new directory is not watched: too many are");
            }
            if inside.len() == MAX_INSIDE {
                tracing::warn!(limit = MAX_INSIDE, "a new directory is not told in full");
            }
            seen.add(inside);
        }
    }
}

/// The first half of a move.
struct Left {
    cookie: u32,
    temporary: bool,
    changes: Vec<Seen>,
}

/// What an event that is no first half of a move tells.
fn meaning(flags: ReadFlags, cookie: u32, left: &mut Vec<Left>) -> Event {
    if flags.contains(ReadFlags::MOVED_TO) {
        return match left.iter().position(|half| half.cookie == cookie) {
            // The product's own way to replace a file.
            Some(from) if left.swap_remove(from).temporary => Event::Modified,
            Some(_) => Event::Renamed,
            None => Event::Created,
        };
    }
    if flags.contains(ReadFlags::CREATE) {
        Event::Created
    } else if flags.contains(ReadFlags::DELETE) {
        Event::Deleted
    } else {
        Event::Modified
    }
}

/// Changes that are told in one go.
#[derive(Default)]
struct Batch {
    changes: Vec<Seen>,
    /// The last change of each path in each watch, which is told by its address.
    last: HashMap<(*const Watch, Vec<u8>), Event>,
}

impl Batch {
    /// Adds changes, but no second «created» or «modified» of the same file.
    fn add(&mut self, changes: Vec<Seen>) {
        for change in changes {
            let (watch, event, rel) = &change;
            let file = (Arc::as_ptr(watch), rel.clone());
            let repeats = matches!(
                (self.last.get(&file), event),
                (Some(Event::Created), Event::Created | Event::Modified)
                    | (Some(Event::Modified), Event::Modified)
            );
            if !repeats {
                self.last.insert(file, *event);
                self.changes.push(change);
            }
        }
    }
}
