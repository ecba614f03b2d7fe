//! How much of one kind a trash holds, and what goes when it is too much.

use super::{forget, ids};
use rustix::fd::OwnedFd;
use rustix::fs::AtFlags;
use rustix::io::Errno;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What an entry costs beside its content, in bytes: the block of its sidecar.
const SIDECAR: u64 = 4_096;

/// The bounds of one kind of entries, and what is there as far as is known.
pub(super) struct Room {
    /// First letters of the ids that count.
    letters: &'static [char],
    max: Held,
    /// `None` before the first look. Entries that leave by themselves are not taken off: before anything
    /// is pushed out, the directory itself is asked. What another session of the principal adds at the
    /// same time is seen then too, or by the next one to open the trash.
    held: Mutex<Option<Held>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Held {
    bytes: u64,
    entries: usize,
}

impl Held {
    fn with(self, bytes: u64) -> Held {
        Held {
            bytes: self.bytes.saturating_add(bytes),
            entries: self.entries + 1,
        }
    }

    fn without(self, bytes: u64) -> Held {
        Held {
            bytes: self.bytes.saturating_sub(bytes),
            entries: self.entries.saturating_sub(1),
        }
    }

    fn is_within(self, max: Held) -> bool {
        self.bytes <= max.bytes && self.entries <= max.entries
    }
}

impl Room {
    pub(super) fn new(letters: &'static [char], bytes: u64, entries: usize) -> Room {
        Room {
            letters,
            max: Held { bytes, entries },
            held: Mutex::new(None),
        }
    }

    /// Counts a new entry and pushes the oldest out while there is too much. The new one stays,
    /// however large it is.
    pub(super) fn add(&self, dir: &OwnedFd, id: &str) -> Result<(), Errno> {
        let mut held = self.lock();
        if let Some(known) = *held {
            let now = known.with(cost(dir, id));
            *held = Some(now);
            if now.is_within(self.max) {
                return Ok(());
            }
        }
        *held = Some(self.look_and_push_out(dir, id)?);
        Ok(())
    }

    /// Once something has to go, an eighth of the room is made free, so that not every entry from
    /// then on reads the whole directory.
    fn look_and_push_out(&self, dir: &OwnedFd, newest: &str) -> Result<Held, Errno> {
        let mut entries: Vec<(String, u64)> = ids(dir)?
            .into_iter()
            .filter(|id| id.starts_with(self.letters))
            .map(|id| {
                let bytes = cost(dir, &id);
                (id, bytes)
            })
            .collect();
        let mut held = entries
            .iter()
            .fold(Held::default(), |held, (_, bytes)| held.with(*bytes));
        if held.is_within(self.max) {
            return Ok(held);
        }
        let goal = Held {
            bytes: self.max.bytes - self.max.bytes / 8,
            entries: self.max.entries - self.max.entries / 8,
        };
        // Behind the letter an id begins with its time.
        entries.sort_by(|(one, _), (other, _)| one.get(1..).cmp(&other.get(1..)));
        for (id, bytes) in entries.iter().filter(|(id, _)| id != newest) {
            if held.is_within(goal) {
                break;
            }
            forget(dir, id);
            held = held.without(*bytes);
        }
        Ok(held)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes an entry takes on disk; an empty or missing content costs its sidecar all the same.
fn cost(dir: &OwnedFd, id: &str) -> u64 {
    /// stat(2): `st_blocks` counts these.
    const BLOCK: u64 = 512;
    let stat = rustix::fs::statat(dir, id, AtFlags::SYMLINK_NOFOLLOW);
    let blocks = stat.map_or(0, |stat| u64::try_from(stat.st_blocks).unwrap_or(0));
    blocks.saturating_mul(BLOCK).saturating_add(SIDECAR)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use rustix::fs::{Mode, OFlags};
    use std::path::Path;

    fn open(path: &Path) -> OwnedFd {
        rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap()
    }

    /// An entry made at this millisecond, with content of a few blocks.
    fn put(path: &Path, letter: char, at: u64) -> String {
        let id = format!("{letter}{at:011x}-abcdef");
        std::fs::write(path.join(&id), vec![b'x'; 64 << 10]).unwrap();
        std::fs::write(path.join(format!("{id}.json")), "{}").unwrap();
        id
    }

    fn there(path: &Path, id: &str) -> bool {
        let both = [id.to_owned(), format!("{id}.json")].map(|name| path.join(name).exists());
        assert_eq!(both[0], both[1], "half of {id}");
        both[0]
    }

    #[test]
    fn the_oldest_of_its_kind_goes_first_and_the_newest_never() {
        let temp = tempfile::tempdir().unwrap();
        let (path, dir) = (temp.path(), open(temp.path()));
        let each = 64 << 10;
        let room = Room::new(&['d'], 4 * (each + SIDECAR), 100);
        let other = put(path, 'o', 1);
        // Two were there before this process began to count.
        let mut all = vec![put(path, 'd', 2), put(path, 'd', 3)];
        for at in 4..7 {
            all.push(put(path, 'd', at));
            room.add(&dir, all.last().unwrap()).unwrap();
        }
        assert!(there(path, &other), "another kind");
        assert!(!there(path, &all[0]));
        assert!(there(path, &all[3]) && there(path, &all[4]));

        let alone = Room::new(&['d'], 1, 100);
        let huge = put(path, 'd', 7);
        alone.add(&dir, &huge).unwrap();
        let left: Vec<&String> = all.iter().filter(|id| there(path, id)).collect();
        assert!(left.is_empty(), "{left:?}");
        assert!(there(path, &huge));
    }

    #[test]
    fn entries_are_bounded_even_if_they_are_empty() {
        let temp = tempfile::tempdir().unwrap();
        let (path, dir) = (temp.path(), open(temp.path()));
        let room = Room::new(&['d'], u64::MAX, 16);
        for at in 0..40 {
            let id = format!("d{at:011x}-abcdef");
            std::fs::write(path.join(format!("{id}.json")), "{}").unwrap();
            room.add(&dir, &id).unwrap();
            assert!(std::fs::read_dir(path).unwrap().count() <= 16);
        }
    }

    #[test]
    fn what_left_by_itself_makes_room() {
        let temp = tempfile::tempdir().unwrap();
        let (path, dir) = (temp.path(), open(temp.path()));
        let room = Room::new(&['d'], u64::MAX, 2);
        let kept = put(path, 'd', 1);
        room.add(&dir, &kept).unwrap();
        for at in 2..20 {
            let restored = put(path, 'd', at);
            room.add(&dir, &restored).unwrap();
            forget(&dir, &restored);
        }
        assert!(there(path, &kept));
    }
}
