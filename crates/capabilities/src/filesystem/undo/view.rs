//! The files as they will be once later changes are taken back: what is there now, with what an undo would
//! do laid over it. Nothing is touched.

use super::super::Files;
use super::super::io::hash_file;
use super::super::roots::DIRECTORY;
use super::super::trash::MAX_COPIED;
use super::journal::Area;
use super::record::{Key, Kind, State};
use super::{store, tree};
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, ResolveFlags};
use rustix::io::Errno;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Entries looked at to see whether a directory will be empty.
const MAX_ENTRIES: usize = 20_000;

/// Where the content of a file will come from.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// It has none of its own: a directory, or a link.
    None,
    /// A file that is there now.
    Here(Key),
    Object(String),
    Trash(String),
    /// The beginning of another.
    Prefix(Box<Content>, u64),
}

/// Something at a path.
#[derive(Debug, Clone)]
pub(crate) struct Thing {
    pub(crate) state: State,
    pub(crate) content: Content,
}

/// Why a path cannot be looked at.
pub(crate) type Trouble = String;

pub(crate) struct View<'f> {
    pub(crate) files: &'f Files,
    pub(crate) area: Arc<Area>,
    overlay: BTreeMap<Key, Option<Thing>>,
    /// Directories that will have been moved back: where each is now (or was, in the step after), and where
    /// it will be; in the order in which they will move.
    moves: Vec<(Key, Key)>,
    digests: HashMap<Key, Option<String>>,
    /// Content that an undo will have put into the store, and where it is now.
    freed: HashMap<String, Content>,
}

impl<'f> View<'f> {
    pub(crate) fn new(files: &'f Files, area: Arc<Area>) -> View<'f> {
        View {
            files,
            area,
            overlay: BTreeMap::new(),
            moves: Vec::new(),
            digests: HashMap::new(),
            freed: HashMap::new(),
        }
    }

    /// What is at a path.
    pub(crate) fn look(&self, key: &Key) -> Result<Option<Thing>, Trouble> {
        if let Some(found) = self.overlay.get(key) {
            return Ok(found.clone());
        }
        let mut above = key.parent();
        while !above.path.is_empty() {
            if let Some(None) = self.overlay.get(&above) {
                return Ok(None);
            }
            above = above.parent();
        }
        match self.now(key) {
            Some(now) => look_now(self.files, &now),
            None => Ok(None),
        }
    }

    /// Where what will be at a path is now; `None` where nothing of now will be.
    pub(crate) fn now(&self, key: &Key) -> Option<Key> {
        let mut key = key.clone();
        for (from, to) in self.moves.iter().rev() {
            if let Some(rest) = key.below(to) {
                key = Key {
                    mount: from.mount.clone(),
                    path: format!("{}{rest}", from.path),
                };
            } else if key.below(from).is_some() {
                return None;
            }
        }
        Some(key)
    }

    /// Says that this will be at a path.
    pub(crate) fn set(&mut self, key: &Key, thing: Option<Thing>) {
        self.overlay.insert(key.clone(), thing);
    }

    /// Says that what is at `from` will be at `to`.
    pub(crate) fn rename(&mut self, from: &Key, to: &Key, thing: Thing) {
        let is_directory = thing.state.kind == Kind::Directory;
        if !is_directory {
            self.set(to, Some(thing));
            self.set(from, None);
            return;
        }
        // What was said of the destination is over: nothing was there.
        self.overlay.retain(|key, _| key.below(to).is_none());
        let below: Vec<Key> = self
            .overlay
            .keys()
            .filter(|key| key.below(from).is_some())
            .cloned()
            .collect();
        for key in below {
            if let (Some(found), Some(rest)) = (self.overlay.remove(&key), key.below(from)) {
                let moved = Key {
                    mount: to.mount.clone(),
                    path: format!("{}{rest}", to.path),
                };
                self.overlay.insert(moved, found);
            }
        }
        self.moves.push((from.clone(), to.clone()));
        self.set(from, None);
    }

    /// Says that this content will be in the store.
    pub(crate) fn free(&mut self, thing: &Thing) {
        let quota = self.files.journal.quota.min(MAX_COPIED);
        if let (Some(sha256), true) = (self.digest(thing), thing.state.size <= quota) {
            self.freed.insert(sha256, thing.content.clone());
        }
    }

    /// Where content with this digest can be had.
    pub(crate) fn find(&self, sha256: &str) -> Option<Content> {
        if store::open(&self.area.objects, sha256).is_ok() {
            return Some(Content::Object(sha256.to_owned()));
        }
        self.freed.get(sha256).cloned()
    }

    /// The digest of a file's content; `None` where there is none to be had.
    pub(crate) fn digest(&mut self, thing: &Thing) -> Option<String> {
        if thing.state.kind != Kind::File || thing.state.sha256.is_some() {
            return thing.state.sha256.clone();
        }
        let Content::Here(key) = &thing.content else {
            return None;
        };
        if let Some(known) = self.digests.get(key) {
            return known.clone();
        }
        let file = tree::slot(self.files, key).and_then(|slot| slot.open());
        let sha256 = file
            .and_then(|file| hash_file(&file, MAX_COPIED, None))
            .unwrap_or(None);
        self.digests.insert(key.clone(), sha256.clone());
        sha256
    }

    /// Whether what is at a path is what a record says. Without `strict` a directory's permissions do not
    /// matter: a record that never ended does not know them.
    pub(crate) fn is(&mut self, there: Option<&Thing>, said: Option<&State>, strict: bool) -> bool {
        let (thing, said) = match (there, said) {
            (None, None) => return true,
            (Some(thing), Some(said)) => (thing, said),
            _ => return false,
        };
        let state = &thing.state;
        if state.kind != said.kind {
            return false;
        }
        match said.kind {
            Kind::Directory => !strict || state.mode == said.mode,
            Kind::Symlink => state.target == said.target && state.size == said.size,
            Kind::Other => state.mode == said.mode,
            Kind::File if (state.size, state.mode) != (said.size, said.mode) => false,
            Kind::File => match &said.sha256 {
                Some(sha256) => self.digest(thing).as_ref() == Some(sha256),
                None => state.mtime == said.mtime,
            },
        }
    }

    /// Whether a directory will be empty.
    pub(crate) fn is_empty(&self, key: &Key) -> Result<bool, Trouble> {
        let known = |(inner, thing): (&Key, &Option<Thing>)| {
            inner.parent() == *key && inner != key && thing.is_some()
        };
        if self.overlay.iter().any(known) {
            return Ok(false);
        }
        let Some(now) = self.now(key) else {
            return Ok(true);
        };
        let dir = match directory(self.files, &now) {
            Ok(dir) => dir,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(true),
            Err(errno) => return Err(trouble(errno)),
        };
        let entries = rustix::fs::Dir::read_from(&dir).map_err(trouble)?;
        for (count, entry) in entries.enumerate() {
            let entry = entry.map_err(trouble)?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let Ok(name) = std::str::from_utf8(name) else {
                return Ok(false);
            };
            let inner = Key {
                mount: key.mount.clone(),
                path: format!("{}/{name}", key.path),
            };
            if count > MAX_ENTRIES || self.look(&inner)?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// All that is said to be other than now, by path.
    pub(crate) fn said(&self) -> impl Iterator<Item = (&Key, Option<&Thing>)> {
        self.overlay
            .iter()
            .map(|(key, thing)| (key, thing.as_ref()))
    }

    /// Directories that will be elsewhere: from, to.
    pub(crate) fn moves(&self) -> &[(Key, Key)] {
        &self.moves
    }
}

/// What is at a path now.
pub(crate) fn look_now(files: &Files, key: &Key) -> Result<Option<Thing>, Trouble> {
    let slot = match tree::slot(files, key) {
        Ok(slot) => slot,
        Err(Errno::NOENT | Errno::NOTDIR) if files.roots.by_label(&key.mount).is_some() => {
            return Ok(None);
        }
        Err(Errno::NOENT) => return Err("its mount is gone".to_owned()),
        Err(errno) => return Err(trouble(errno)),
    };
    let Some(stat) = slot.stat().map_err(trouble)? else {
        return Ok(None);
    };
    let state = tree::state(&slot, &stat).map_err(trouble)?;
    let content = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Content::Here(key.clone()),
        _ => Content::None,
    };
    Ok(Some(Thing { state, content }))
}

fn directory(files: &Files, key: &Key) -> Result<OwnedFd, Errno> {
    use rustix::fd::AsFd;
    let slot = tree::slot(files, key)?;
    super::super::roots::open_beneath(
        slot.dir.as_fd(),
        slot.name.as_str(),
        DIRECTORY,
        ResolveFlags::NO_SYMLINKS,
    )
}

/// A system call's failure as a reason.
pub(crate) fn trouble(errno: Errno) -> Trouble {
    match errno {
        Errno::LOOP => "a link stands where a directory was".to_owned(),
        Errno::ACCESS | Errno::PERM => "it may not be read or changed".to_owned(),
        errno => format!("the system says: {errno}"),
    }
}
