//! How much undo keeps for one principal, and what goes when it is too much: the oldest sessions' journals
//! with the content that only they refer to, then the oldest content of what is left.

use super::super::io::{nanoseconds, size_of};
use super::super::temporary::is_temporary;
use super::journal::{Area, is_session, lock};
use super::record::{Kept, Story};
use super::store;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType, Stat};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

/// Contents kept for one principal: files, so that small ones have a bound too.
const MAX_OBJECTS: usize = 50_000;
/// What a file costs beside its bytes: the rest of its last block, on average, and its inode.
const EACH: u64 = 2 << 10;

/// What one process knows of the use. Other workers of the principal add to it too, so it is looked at
/// anew before an eighth of the quota has been added here.
#[derive(Default)]
pub(crate) struct Used(Mutex<Option<Known>>);

#[derive(Clone, Copy)]
struct Known {
    bytes: u64,
    objects: usize,
    since_look: u64,
}

impl Used {
    pub(crate) fn add(
        &self,
        area: &Area,
        bytes: u64,
        quota: u64,
        current: &str,
    ) -> Result<(), Errno> {
        let mut known = lock(&self.0);
        if let Some(used) = &mut *known {
            let more = bytes.saturating_add(EACH);
            used.bytes = used.bytes.saturating_add(more);
            used.since_look = used.since_look.saturating_add(more);
            used.objects += 1;
            if used.bytes <= quota && used.objects <= MAX_OBJECTS && used.since_look <= quota / 8 {
                return Ok(());
            }
        }
        let held = make_room(area, quota, Some(current))?;
        *known = Some(Known {
            bytes: held.bytes(),
            objects: held.objects.len(),
            since_look: 0,
        });
        Ok(())
    }
}

/// One file of the area.
#[derive(Debug, Clone)]
struct File {
    size: u64,
    /// Seconds and nanoseconds of its last change: for an object when it was kept.
    changed: (i64, i64),
}

/// What an area holds.
pub(crate) struct Holding {
    sessions: BTreeMap<String, File>,
    objects: BTreeMap<String, File>,
}

impl Holding {
    pub(crate) fn look(area: &Area) -> Result<Holding, Errno> {
        Ok(Holding {
            sessions: files(&area.sessions, is_session)?,
            objects: files(&area.objects, store::is_digest)?,
        })
    }

    /// Each session's journal: its last change, seconds and nanoseconds, and its bytes.
    pub(crate) fn sessions(&self) -> impl Iterator<Item = (&str, (i64, i64), u64)> {
        let all = self.sessions.iter();
        all.map(|(name, file)| (name.as_str(), file.changed, file.size))
    }

    /// How many files there are.
    pub(crate) fn files(&self) -> u64 {
        (self.sessions.len() + self.objects.len()) as u64
    }

    fn bytes(&self) -> u64 {
        let all = self.sessions.values().chain(self.objects.values());
        all.fold(0, |sum, file| {
            sum.saturating_add(file.size).saturating_add(EACH)
        })
    }

    fn is_within(&self, quota: u64, objects: usize) -> bool {
        self.bytes() <= quota && self.objects.len() <= objects
    }

    /// Sessions, the one that wrote last at the end.
    fn by_age(&self) -> Vec<String> {
        let mut names: Vec<(&(i64, i64), &String)> = self
            .sessions
            .iter()
            .map(|(name, file)| (&file.changed, name))
            .collect();
        names.sort();
        names.into_iter().map(|(_, name)| name.clone()).collect()
    }

    fn drop_session(&mut self, area: &Area, name: &str) {
        if remove(&area.sessions, name) {
            self.sessions.remove(name);
        }
    }

    fn drop_object(&mut self, area: &Area, name: &str) {
        if remove(&area.objects, name) {
            self.objects.remove(name);
        }
    }

    /// Sessions that have written nothing since this second; answers how many went.
    pub(crate) fn drop_older(&mut self, area: &Area, second: i64) -> u64 {
        let old: Vec<String> = self
            .by_age()
            .into_iter()
            .filter(|name| {
                self.sessions
                    .get(name)
                    .is_some_and(|file| file.changed.0 < second)
            })
            .collect();
        for name in &old {
            self.drop_session(area, name);
        }
        old.len() as u64
    }

    /// Content that no journal refers to; answers how much went.
    pub(crate) fn drop_unreferenced(&mut self, area: &Area) -> Result<u64, Errno> {
        let mut wanted = BTreeSet::new();
        for name in self.sessions.keys() {
            if let Some(story) = area.story(name)? {
                wanted.extend(references(&story));
            }
        }
        let orphans: Vec<String> = self
            .objects
            .keys()
            .filter(|name| !wanted.contains(*name))
            .cloned()
            .collect();
        for name in &orphans {
            self.drop_object(area, name);
        }
        Ok(orphans.len() as u64)
    }
}

/// Pushes out what is too much; an eighth of the quota is made free then, so that not every change from
/// then on reads everything. `current` is the session that writes: it keeps its journal.
pub(crate) fn make_room(area: &Area, quota: u64, current: Option<&str>) -> Result<Holding, Errno> {
    let mut held = Holding::look(area)?;
    if held.is_within(quota, MAX_OBJECTS) {
        return Ok(held);
    }
    let (quota, objects) = (quota - quota / 8, MAX_OBJECTS - MAX_OBJECTS / 8);
    held.drop_unreferenced(area)?;
    let mut stories = Vec::new();
    for name in held.by_age() {
        let story = area.story(&name)?.unwrap_or_default();
        stories.push((name, references(&story)));
    }
    let mut uses: BTreeMap<String, usize> = BTreeMap::new();
    for sha256 in stories.iter().flat_map(|(_, all)| all) {
        *uses.entry(sha256.clone()).or_default() += 1;
    }
    for (name, refers) in stories {
        if held.is_within(quota, objects) {
            break;
        }
        if current == Some(name.as_str()) {
            continue;
        }
        held.drop_session(area, &name);
        for sha256 in refers {
            let left = uses.entry(sha256.clone()).or_default();
            *left = left.saturating_sub(1);
            if *left == 0 {
                held.drop_object(area, &sha256);
            }
        }
    }
    let mut oldest: Vec<((i64, i64), String)> = held
        .objects
        .iter()
        .map(|(name, file)| (file.changed, name.clone()))
        .collect();
    oldest.sort();
    // The newest stays: it was kept a moment ago for a change that is about to be made.
    oldest.pop();
    for (_, name) in oldest {
        if held.is_within(quota, objects) {
            break;
        }
        held.drop_object(area, &name);
    }
    Ok(held)
}

/// Digests that a journal's changes come back from.
fn references(story: &Story) -> BTreeSet<String> {
    let changes = story
        .records
        .iter()
        .flat_map(|loaded| &loaded.record.changes);
    changes
        .filter(|change| change.kept == Kept::Object)
        .filter_map(|change| change.before.as_ref()?.sha256.clone())
        .collect()
}

/// The files of a directory whose names fit; what is half written and old goes.
fn files(dir: &OwnedFd, fits: fn(&str) -> bool) -> Result<BTreeMap<String, File>, Errno> {
    let mut found = BTreeMap::new();
    for entry in rustix::fs::Dir::read_from(dir)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else {
            continue;
        };
        if !fits(name) {
            continue;
        }
        let stat = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => stat,
            _ => continue,
        };
        let file = File {
            size: size_of(&stat),
            changed: changed(&stat),
        };
        found.insert(name.to_owned(), file);
    }
    Ok(found)
}

fn changed(stat: &Stat) -> (i64, i64) {
    (stat.st_ctime, nanoseconds(stat.st_ctime_nsec))
}

/// Removes what a crash left half written in the store before this second.
pub(crate) fn drop_unfinished(area: &Area, second: i64) -> Result<(), Errno> {
    let left = files(&area.objects, |name| is_temporary(name.as_bytes()))?;
    for (name, file) in left {
        if file.changed.0 < second {
            remove(&area.objects, &name);
        }
    }
    Ok(())
}

fn remove(dir: &OwnedFd, name: &str) -> bool {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => true,
        Err(errno) => {
            tracing::warn!(%errno, name, "what undo kept stays");
            false
        }
    }
}
