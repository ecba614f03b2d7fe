//! Taking records back, one after the other: each is looked at again, written to the undo's own journal as
//! a change like any other, and then done.

use super::super::atomic::{Publish, Staged, sync_directory};
use super::super::io::{Pass, hash_each, write_all};
use super::super::place::Slot;
use super::super::roots::{DIRECTORY, open_beneath};
use super::super::trash::{MAX_COPIED, Sidecar};
use super::super::{Files, Scope, temporary};
use super::draft::Draft;
use super::journal::{Area, Journal};
use super::plan::{Item, Step, Verdict, judge};
use super::record::{Change, Kept, Key, Kind, Line, Loaded, State, Story, Time};
use super::view::{Content, View, trouble};
use super::{store, tree};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::sync::Arc;

/// Undos of undos of undos that are followed to say whether the first is in force again.
const MAX_CHAIN: usize = 16;
/// A change that has no end in the journal came within this of its beginning, in seconds, if the process
/// that made it died then.
const DIED_WITHIN: i64 = 2;

/// Who undoes what.
pub(crate) struct Undoing<'a> {
    pub(crate) files: &'a Files,
    pub(crate) area: Arc<Area>,
    /// Whose changes.
    pub(crate) session: &'a str,
    /// In whose journal the undo is itself recorded.
    pub(crate) recorded_as: &'a str,
    /// Journals of sessions that were undone, by name.
    pub(crate) stories: HashMap<String, Story>,
}

/// A path at which an undo stopped, and why.
pub(crate) struct Stopped {
    pub(crate) index: usize,
    pub(crate) why: String,
}

/// What to do at a slot, with what it takes.
struct Job<'s, 'f> {
    change: &'s Change,
    slot: Slot<'f>,
    stat: Option<Stat>,
    content: Content,
    /// Where it moved to, and what is to come back there.
    from: Option<(Slot<'f>, &'s Change, Content)>,
    /// Where what cannot be kept otherwise goes when it is removed.
    trash: Option<Sidecar>,
}

/// A directory around a record's changes.
struct Around {
    key: Key,
    /// Nothing but the change has been in it.
    ours: bool,
    now: Option<Time>,
    /// Its time when all is taken back.
    last: Time,
}

impl Undoing<'_> {
    /// Takes one record back, as far as its plan says. Answers how many paths it brought back.
    pub(crate) fn step(&mut self, step: &Step<'_>) -> Result<usize, Stopped> {
        let loaded = step.loaded;
        let items = self.confirm(step)?;
        let around = self.around(loaded);
        let stop = |index: usize, errno: Errno| Stopped {
            index,
            why: trouble(errno),
        };
        let undoing = Line::Undoing {
            seq: loaded.record.seq,
            parents: around
                .iter()
                .take(loaded.record.parents.len())
                .map(|around| around.ours)
                .collect(),
        };
        let first = items.first().map_or(0, |item| item.index);
        let marked = self.files.journal.mark(&self.area, self.session, &undoing);
        marked.map_err(|errno| stop(first, errno))?;
        let to_do = |item: &&Item| matches!(item.verdict, Verdict::Undo(_));
        let last = items.iter().rfind(to_do).map(|item| item.index);
        let mut restored = 0;
        for item in items.iter().filter(to_do) {
            let is_last = Some(item.index) == last;
            let outcome = self.one(loaded, item, &around, is_last);
            outcome.map_err(|errno| stop(item.index, errno))?;
            restored += 1;
        }
        for item in items.iter().filter(|item| !to_do(item)) {
            self.finish_times(loaded, item);
        }
        if last.is_none() {
            self.set_times(&around, true);
        }
        let all = |item: &Item| matches!(item.verdict, Verdict::Undo(_) | Verdict::Already);
        if step.items.iter().all(all) {
            self.say_undone(loaded)
                .map_err(|errno| stop(first, errno))?;
        }
        Ok(restored)
    }

    /// Takes back one change, as a record of its own: what comes next may need it.
    fn one(
        &self,
        loaded: &Loaded,
        item: &Item,
        around: &[Around],
        is_last: bool,
    ) -> Result<(), Errno> {
        let scope = &Scope {
            files: self.files,
            capability: "undo",
            session: Some(self.recorded_as),
        };
        let mut draft = Draft::new(scope).undoing(self.session, loaded.record.seq);
        for around in around {
            if let Some(now) = tree::time_of(self.files, &around.key) {
                draft.around_key(around.key.clone(), now);
            }
        }
        let Some(job) = self.prepare(loaded, item, &mut draft, scope)? else {
            return Ok(());
        };
        let begun = draft.begin()?;
        self.run(job)?;
        super::crash::at("after an undo's change");
        self.set_times(around, is_last);
        begun.done();
        Ok(())
    }

    /// The directories around a record's changes with the times that they will have.
    fn around(&self, loaded: &Loaded) -> Vec<Around> {
        let mut found: Vec<Around> = Vec::new();
        for (index, parent) in loaded.record.parents.iter().enumerate() {
            let now = tree::time_of(self.files, &parent.key);
            found.push(Around {
                key: parent.key.clone(),
                ours: now.is_some() && self.is_time_of(loaded, index, now),
                now,
                last: parent.before,
            });
        }
        for change in &loaded.record.changes {
            // The change did not move its time, as an append does not; what takes it back may.
            let key = change.key.parent();
            if found.iter().all(|around| around.key != key)
                && let Some(now) = tree::time_of(self.files, &key)
            {
                found.push(Around {
                    key,
                    ours: true,
                    now: Some(now),
                    last: now,
                });
            }
        }
        found
    }

    /// Gives directories the times from before the change, or before all of it is taken back the ones that
    /// they had a moment ago; where something else has been in them since, neither.
    fn set_times(&self, around: &[Around], is_last: bool) {
        for around in around.iter().filter(|around| around.ours) {
            let time = if is_last {
                Some(around.last)
            } else {
                around.now
            };
            if let Some(time) = time {
                // A directory that has gone by now has no time.
                let _gone = tree::set_time(self.files, &around.key, time);
            }
        }
    }

    /// Looks again: what is to be taken back must still be so.
    fn confirm(&self, step: &Step<'_>) -> Result<Vec<Item>, Stopped> {
        let mut view = View::new(self.files, self.area.clone());
        let wanted = |index: usize| {
            let planned = step.items.iter().find(|planned| planned.index == index);
            planned.is_some_and(|planned| {
                matches!(planned.verdict, Verdict::Undo(_) | Verdict::Already)
            })
        };
        let mut items = judge(step.loaded, &mut view);
        items.retain(|item| wanted(item.index));
        for item in &items {
            if let Verdict::Refused(why) | Verdict::NotKept(why) = &item.verdict {
                return Err(Stopped {
                    index: item.index,
                    why: why.clone(),
                });
            }
        }
        Ok(items)
    }

    /// Whether a directory's time is what the change made it, so that nothing else has been in it since.
    fn is_time_of(&self, loaded: &Loaded, index: usize, now: Option<Time>) -> bool {
        if let Some(before) = &loaded.undoing {
            return before.get(index).copied().unwrap_or(false);
        }
        match loaded
            .record
            .parents
            .get(index)
            .and_then(|parent| parent.after)
        {
            Some(after) => now == Some(after),
            // It died before it could say.
            None => now.is_some_and(|now| {
                !loaded.done && now.0.saturating_sub(loaded.record.at.as_second()) <= DIED_WITHIN
            }),
        }
    }

    /// Keeps what is there and notes what it becomes.
    fn prepare<'s>(
        &self,
        loaded: &'s Loaded,
        item: &Item,
        draft: &mut Draft<'_>,
        scope: &Scope<'_>,
    ) -> Result<Option<Job<'s, '_>>, Errno> {
        let Verdict::Undo(content) = &item.verdict else {
            return Ok(None);
        };
        let changes = &loaded.record.changes;
        let change = changes.get(item.index).ok_or(Errno::INVAL)?;
        let slot = tree::slot(self.files, &change.key)?;
        let stat = slot.stat()?;
        let mut from = None;
        let mut entry = None;
        if let Some(target) = item.moved_to.and_then(|to| changes.get(to)) {
            let there = tree::slot(self.files, &target.key)?;
            let there_stat = there.stat()?.ok_or(Errno::AGAIN)?;
            let before = tree::state(&there, &there_stat)?.with_sha256(known_digest(target));
            let next = draft.changes().len() + 1;
            draft.note(
                &there,
                Some(before),
                target.before.clone(),
                Kept::Moved(next),
            );
            draft.replace(&slot, stat.as_ref(), target.after.clone())?;
            let back = match &target.kept {
                Kept::Object => target
                    .before
                    .as_ref()
                    .and_then(|state| state.sha256.clone()),
                _ => None,
            };
            from = Some((there, target, back.map_or(Content::None, Content::Object)));
        } else {
            let before = change.before.clone();
            match content {
                Content::Prefix(..) => draft.change_in_place(&slot, stat.as_ref(), before)?,
                _ => draft.replace(&slot, stat.as_ref(), before)?,
            }
            let unkept = draft
                .changes()
                .last()
                .is_some_and(|noted| matches!(noted.kept, Kept::Not(_)));
            if let (true, None, Some(stat)) = (unkept, &change.before, &stat) {
                let made = self.files.trash.entry(&slot, stat, scope.by());
                draft.last_goes_to_trash(&made.id);
                entry = Some(made);
            }
        }
        Ok(Some(Job {
            change,
            slot,
            stat,
            content: content.clone(),
            from,
            trash: entry,
        }))
    }

    fn run(&self, job: Job<'_, '_>) -> Result<(), Errno> {
        let Some((there, target, back)) = &job.from else {
            return self.bring(&job.slot, &job, job.change.before.as_ref(), &job.content);
        };
        let flags = match &job.stat {
            Some(_) => RenameFlags::empty(),
            None => RenameFlags::NOREPLACE,
        };
        let (from, to) = (there.name.as_str(), job.slot.name.as_str());
        match rustix::fs::renameat_with(&there.dir, from, &job.slot.dir, to, flags) {
            Ok(()) => {}
            Err(Errno::XDEV) => {
                let before = job.change.before.as_ref().ok_or(Errno::INVAL)?;
                let content = Content::Here(target.key.clone());
                self.put_file(&job.slot, job.stat.as_ref(), before, &content)?;
                rustix::fs::unlinkat(&there.dir, from, AtFlags::empty())?;
            }
            Err(errno) => return Err(errno),
        }
        sync_directory(&job.slot.dir)?;
        if let Some(before) = &target.before {
            self.make(there, None, before, back)?;
        }
        sync_directory(&there.dir)
    }

    /// Makes a path what it was.
    fn bring(
        &self,
        slot: &Slot<'_>,
        job: &Job<'_, '_>,
        before: Option<&State>,
        content: &Content,
    ) -> Result<(), Errno> {
        if let Some(before) = before {
            return self.make(slot, job.stat.as_ref(), before, content);
        }
        let stat = job.stat.as_ref().ok_or(Errno::AGAIN)?;
        if let Some(entry) = &job.trash {
            return self.files.trash.take(entry, slot, stat);
        }
        let flags = match State::of(stat).kind {
            Kind::Directory => AtFlags::REMOVEDIR,
            _ => AtFlags::empty(),
        };
        rustix::fs::unlinkat(&slot.dir, slot.name.as_str(), flags)?;
        sync_directory(&slot.dir)
    }

    fn make(
        &self,
        slot: &Slot<'_>,
        there: Option<&Stat>,
        before: &State,
        content: &Content,
    ) -> Result<(), Errno> {
        let name = slot.name.as_str();
        if let (Content::Trash(id), None) = (content, there)
            && let Some(entry) = self.files.trash.find(id)
        {
            self.files.trash.put(&entry, slot, false)?;
            return tree::touch(&slot.dir, name, before.mtime);
        }
        match before.kind {
            Kind::File => self.put_file(slot, there, before, content),
            Kind::Directory => {
                rustix::fs::mkdirat(&slot.dir, name, Mode::from_raw_mode(0o700))?;
                let made =
                    open_beneath(slot.dir.as_fd(), name, DIRECTORY, ResolveFlags::NO_SYMLINKS)?;
                set_mode(&made, before.mode)?;
                rustix::fs::futimens(&made, &tree::modified(before.mtime))?;
                sync_directory(&slot.dir)
            }
            Kind::Symlink => {
                let target = before.target.as_deref().ok_or(Errno::NOENT)?;
                let temp = temporary::name();
                rustix::fs::symlinkat(target, &slot.dir, temp.as_str())?;
                let placed = tree::touch(&slot.dir, &temp, before.mtime)
                    .and_then(|()| rustix::fs::renameat(&slot.dir, temp.as_str(), &slot.dir, name));
                if placed.is_err() {
                    super::super::atomic::discard(&slot.dir, &temp);
                }
                placed?;
                sync_directory(&slot.dir)
            }
            Kind::Other => Err(Errno::OPNOTSUPP),
        }
    }

    /// A file with its content, permissions and time, in one visible step; a shorter one in place.
    fn put_file(
        &self,
        slot: &Slot<'_>,
        there: Option<&Stat>,
        before: &State,
        content: &Content,
    ) -> Result<(), Errno> {
        let alone = there.is_some_and(|stat| stat.st_nlink == 1);
        if let (Content::Prefix(_, length), true) = (content, alone) {
            let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
            let name = slot.name.as_str();
            let file = open_beneath(slot.dir.as_fd(), name, flags, ResolveFlags::NO_SYMLINKS)?;
            rustix::fs::ftruncate(&file, *length)?;
            rustix::fs::futimens(&file, &tree::modified(before.mtime))?;
            return rustix::fs::fsync(&file);
        }
        let from = self.open(slot, content)?;
        let staged = Staged::begin(&slot.dir, None)?;
        let mut left = before.size;
        let pass = hash_each(&from, MAX_COPIED, None, |chunk| {
            // Of a file that grew only the beginning comes back.
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
            left -= wanted as u64;
            write_all(&staged.file, chunk.get(..wanted).unwrap_or_default())
        })?;
        let whole = !matches!(content, Content::Prefix(..));
        match (pass, &before.sha256) {
            // What is kept is not what was: it was changed through a name or handle that stayed open.
            (Pass::Whole { sha256, .. }, Some(said)) if whole && sha256 != *said => {
                return Err(Errno::BADMSG);
            }
            (Pass::Whole { .. }, _) if left == 0 => {}
            _ => return Err(Errno::BADMSG),
        }
        set_mode(&staged.file, before.mode)?;
        rustix::fs::futimens(&staged.file, &tree::modified(before.mtime))?;
        rustix::fs::fsync(&staged.file)?;
        let how = match there {
            Some(_) => Publish::Replace,
            None => Publish::New,
        };
        staged.publish(&slot.name, how)
    }

    fn open(&self, slot: &Slot<'_>, content: &Content) -> Result<OwnedFd, Errno> {
        match content {
            Content::Object(sha256) => store::open(&self.area.objects, sha256),
            Content::Here(key) => tree::slot(self.files, key)?.open(),
            Content::Trash(id) => self.files.trash.open_content(id),
            Content::Prefix(..) => slot.open(),
            Content::None => Err(Errno::NOENT),
        }
    }

    /// An undo that died before this one may have brought the content back and not the time.
    fn finish_times(&self, loaded: &Loaded, item: &Item) {
        let Some(change) = loaded.record.changes.get(item.index) else {
            return;
        };
        if let (Some(_), Some(before)) = (&loaded.undoing, &change.before)
            && let Ok(slot) = tree::slot(self.files, &change.key)
        {
            // As far as that goes: the content is what counts.
            let _left = tree::touch(&slot.dir, &slot.name, before.mtime);
        }
    }

    /// Marks a record as taken back, and what it took back itself as in force again, and so on.
    fn say_undone(&mut self, loaded: &Loaded) -> Result<(), Errno> {
        let journal: &Journal = &self.files.journal;
        let seq = loaded.record.seq;
        journal.mark(&self.area, self.session, &Line::Undone { seq })?;
        let mut next = loaded.record.undoes.clone();
        for round in 0..MAX_CHAIN {
            let Some(undoes) = next else { break };
            let seq = undoes.seq;
            let line = match round % 2 {
                0 => Line::Redone { seq },
                _ => Line::Undone { seq },
            };
            if !self.stories.contains_key(&undoes.session) {
                let Some(story) = self.area.story(&undoes.session)? else {
                    break;
                };
                self.stories.insert(undoes.session.clone(), story);
            }
            journal.mark(&self.area, &undoes.session, &line)?;
            next = self.stories.get(&undoes.session).and_then(|story| {
                let found = story.records.iter().find(|loaded| loaded.record.seq == seq);
                found.and_then(|loaded| loaded.record.undoes.clone())
            });
        }
        Ok(())
    }
}

fn known_digest(change: &Change) -> Option<String> {
    change.after.as_ref().and_then(|state| state.sha256.clone())
}

/// All of a file's permissions; without setuid and setgid where the sandbox forbids those.
fn set_mode(file: &OwnedFd, mode: u32) -> Result<(), Errno> {
    match rustix::fs::fchmod(file, Mode::from_raw_mode(mode & 0o7777)) {
        Err(Errno::PERM) if mode & 0o6000 != 0 => {
            rustix::fs::fchmod(file, Mode::from_raw_mode(mode & 0o1777))
        }
        other => other,
    }
}
