//! What a call that changes files says before it does: [`Draft`] gathers it, [`Draft::begin`] writes it.

use super::super::io::{digest_of, size_of};
use super::super::place::Slot;
use super::super::{Files, Scope};
use super::journal::{Area, Journal};
use super::record::{
    Change, Kept, Key, Kind, Line, Parent, Record, State, Time, Undoes, modified_at,
};
use super::store::{self, Held};
use super::tree;
use rustix::fs::Stat;
use rustix::io::Errno;
use std::sync::Arc;

/// A record in the making. Without a session nothing is recorded and nothing kept.
pub(crate) struct Draft<'a> {
    files: &'a Files,
    capability: &'a str,
    session: Option<&'a str>,
    changes: Vec<Change>,
    parents: Vec<Parent>,
    held: Vec<Held>,
    undoes: Option<Undoes>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(scope: &Scope<'a>) -> Draft<'a> {
        Draft {
            files: scope.files,
            capability: scope.capability,
            session: scope.session,
            changes: Vec::new(),
            parents: Vec::new(),
            held: Vec::new(),
            undoes: None,
        }
    }

    pub(crate) fn undoing(mut self, session: &str, seq: u64) -> Draft<'a> {
        self.undoes = Some(Undoes {
            session: session.to_owned(),
            seq,
        });
        self
    }

    /// Notes the time of the slot's directory; before anything is made in it, a temporary file too.
    pub(crate) fn around(&mut self, slot: &Slot<'_>) -> Result<(), Errno> {
        if self.session.is_none() {
            return Ok(());
        }
        let key = tree::key(slot).parent();
        let before = modified_at(&rustix::fs::fstat(&slot.dir)?);
        self.around_key(key, before);
        Ok(())
    }

    /// [`Draft::around`] for a directory whose time is known.
    pub(crate) fn around_key(&mut self, key: Key, before: Time) {
        if self.session.is_some() && self.parents.iter().all(|parent| parent.key != key) {
            self.parents.push(Parent {
                key,
                before,
                after: None,
            });
        }
    }

    /// Keeps what is at the slot and notes that it becomes `after`. The lock is held.
    pub(crate) fn replace(
        &mut self,
        slot: &Slot<'_>,
        stat: Option<&Stat>,
        after: Option<State>,
    ) -> Result<(), Errno> {
        self.keep(slot, stat, after, false)
    }

    /// [`Draft::replace`] for a file that will be changed in place.
    pub(crate) fn change_in_place(
        &mut self,
        slot: &Slot<'_>,
        stat: Option<&Stat>,
        after: Option<State>,
    ) -> Result<(), Errno> {
        self.keep(slot, stat, after, true)
    }

    fn keep(
        &mut self,
        slot: &Slot<'_>,
        stat: Option<&Stat>,
        after: Option<State>,
        in_place: bool,
    ) -> Result<(), Errno> {
        if self.session.is_none() {
            return Ok(());
        }
        let Some(stat) = stat else {
            self.note(slot, None, after, Kept::Nothing);
            return Ok(());
        };
        let mut before = tree::state(slot, stat)?;
        let mut kept = Kept::Nothing;
        if before.kind == Kind::File {
            let area = self.area()?;
            let held = store::keep(
                &area.objects,
                slot,
                stat,
                self.files.journal.quota,
                in_place,
            )?;
            before.sha256 = held.sha256.clone();
            kept = held.kept.clone();
            self.held.push(held);
        } else if before.kind == Kind::Other {
            kept = Kept::Not("it was no file, directory or link".to_owned());
        } else if before.kind == Kind::Symlink && before.target.is_none() {
            kept = Kept::Not("its target was not UTF-8".to_owned());
        }
        self.note(slot, Some(before), after, kept);
        Ok(())
    }

    /// Notes a change; answers its index.
    pub(crate) fn note(
        &mut self,
        slot: &Slot<'_>,
        before: Option<State>,
        after: Option<State>,
        kept: Kept,
    ) -> usize {
        self.note_key(tree::key(slot), before, after, kept)
    }

    /// [`Draft::note`] for a path that has no slot yet.
    pub(crate) fn note_key(
        &mut self,
        key: Key,
        before: Option<State>,
        after: Option<State>,
        kept: Kept,
    ) -> usize {
        if self.session.is_some() {
            self.changes.push(Change {
                key,
                before,
                after,
                kept,
            });
        }
        self.changes.len().saturating_sub(1)
    }

    /// What the last change removes goes to the trash, since nothing else keeps it.
    pub(crate) fn last_goes_to_trash(&mut self, id: &str) {
        if let Some(change) = self.changes.last_mut() {
            change.kept = Kept::Trash(id.to_owned());
        }
    }

    /// The digest of what moves to the change noted last, known by now.
    pub(crate) fn moved_to_last(&mut self, sha256: &str) {
        for change in &mut self.changes {
            if let (Kept::Moved(_), Some(before)) = (&change.kept, &mut change.before) {
                before.sha256 = Some(sha256.to_owned());
            }
        }
    }

    /// The changes so far; what keeps nothing has none.
    pub(crate) fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Whether anything will be recorded.
    pub(crate) fn records(&self) -> bool {
        self.session.is_some()
    }

    fn area(&self) -> Result<Arc<Area>, Errno> {
        self.files.journal.area(self.files.trash.directory())
    }

    /// Writes the record. The change comes next, under the same lock; [`Begun::done`] ends it. What
    /// follows neither `done` nor `failed` is found out by looking at the files.
    pub(crate) fn begin(self) -> Result<Begun<'a>, Errno> {
        let mut begun = Begun {
            files: self.files,
            written: None,
            parents: self.parents,
            held: self.held,
            states: Vec::new(),
        };
        let (Some(session), false) = (self.session, self.changes.is_empty()) else {
            return Ok(begun);
        };
        let area = self.files.journal.area(self.files.trash.directory())?;
        let record = Record {
            seq: 0,
            at: self.files.clock.now(),
            capability: self.capability.to_owned(),
            changes: self.changes,
            parents: begun.parents.clone(),
            undoes: self.undoes,
        };
        if let Some(seq) = self.files.journal.begin(&area, session, record)? {
            begun.written = Some((area, session, seq));
        }
        super::crash::at("after the intent");
        Ok(begun)
    }
}

/// A record that is written; its change is being made.
pub(crate) struct Begun<'a> {
    files: &'a Files,
    /// Where, in which session, and its number; nothing where nothing is recorded.
    written: Option<(Arc<Area>, &'a str, u64)>,
    parents: Vec<Parent>,
    held: Vec<Held>,
    states: Vec<(usize, State)>,
}

impl Begun<'_> {
    /// Notes what a path has become, where that was not known before.
    pub(crate) fn became(&mut self, index: usize, state: State) {
        self.states.push((index, state));
    }

    /// The change is made. What cannot be noted any more is only logged: the files have it.
    pub(crate) fn done(self) {
        super::crash::at("after the change");
        let Some((area, session, seq)) = self.written else {
            return;
        };
        let parents = self
            .parents
            .iter()
            .map(|parent| tree::time_of(self.files, &parent.key));
        let line = Line::Done {
            seq,
            parents: parents.collect(),
            states: self.states,
        };
        let journal: &Journal = &self.files.journal;
        let mut outcome = journal.mark(&area, session, &line);
        for held in &self.held {
            store::settle(&area.objects, held);
            if held.kept == Kept::Object && outcome.is_ok() {
                outcome = journal.count(&area, session, held.added);
            }
        }
        if let Err(errno) = outcome {
            tracing::error!(%errno, session, "the journal of changes does not say that one is done");
        }
    }

    /// Nothing was changed, or all of it taken back.
    pub(crate) fn failed(self) {
        let Some((area, session, seq)) = self.written else {
            return;
        };
        for held in &self.held {
            store::unlink(&area.objects, held);
        }
        if let Err(errno) = self
            .files
            .journal
            .mark(&area, session, &Line::Failed { seq })
        {
            tracing::error!(%errno, session, "the journal of changes does not say that one failed");
        }
    }

    /// [`Begun::failed`], with the error that it failed with.
    pub(crate) fn failed_with<E>(self, error: E) -> E {
        self.failed();
        error
    }

    /// Gives the directories around the change their earlier times, all of it having been taken back.
    pub(crate) fn put_times_back(&self, files: &Files) {
        for parent in &self.parents {
            // As far as that goes: the content is what counts.
            let _left = tree::set_time(files, &parent.key, parent.before);
        }
    }

    /// [`Begun::done`] or [`Begun::failed`], as the change went.
    pub(crate) fn end<T, E>(self, outcome: Result<T, E>) -> Result<T, E> {
        match outcome {
            Ok(value) => {
                self.done();
                Ok(value)
            }
            Err(error) => {
                self.failed();
                Err(error)
            }
        }
    }
}

/// An append: how long the file was and the digests of its beginning and of the whole.
pub(crate) fn grow(
    draft: &mut Draft<'_>,
    slot: &Slot<'_>,
    stat: &Stat,
    content: &[u8],
) -> Result<Option<Appending>, Errno> {
    if !draft.records() {
        return Ok(None);
    }
    let hash = match draft.files.journal.grown.of(stat, || slot.open()) {
        Ok(hash) => hash,
        Err(Errno::ACCESS | Errno::PERM) => None,
        Err(errno) => return Err(errno),
    };
    let before = State::of(stat).with_sha256(hash.as_ref().map(digest_of));
    let mut whole = hash;
    if let Some(whole) = &mut whole {
        sha2::Digest::update(whole, content);
    }
    let mut after = State::of(stat).with_sha256(whole.as_ref().map(digest_of));
    after.size = size_of(stat).saturating_add(content.len() as u64);
    let index = draft.note(slot, Some(before), Some(after.clone()), Kept::Prefix);
    Ok(Some(Appending {
        index,
        after,
        whole,
    }))
}

/// See [`grow`].
pub(crate) struct Appending {
    index: usize,
    after: State,
    whole: Option<sha2::Sha256>,
}

impl Appending {
    /// The file has grown and is now as `stat` says.
    pub(crate) fn done(self, begun: &mut Begun<'_>, stat: &Stat) {
        let after = State {
            mtime: modified_at(stat),
            ..self.after
        };
        if let Some(whole) = self.whole.filter(|_| size_of(stat) == after.size) {
            begun.files.journal.grown.remember(stat, whole);
        }
        begun.became(self.index, after);
    }
}
