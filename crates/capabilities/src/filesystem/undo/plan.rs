//! What taking back a record means: for each of its paths, whether it can be brought back, is so already,
//! or must be left.

use super::record::{Change, Kept, Key, Kind, Loaded, Story};
use super::view::{Content, Thing, Trouble, View};
use std::collections::BTreeSet;

/// What becomes of one change.
#[derive(Debug, Clone)]
pub(crate) enum Verdict {
    /// It is taken back; the content comes from here.
    Undo(Content),
    /// It is as it was before the change.
    Already,
    /// Something else changed it since.
    Refused(String),
    /// The earlier content is not there.
    NotKept(String),
}

/// One change of a record, or the two that are a move.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) index: usize,
    /// Where what was at the path went to: the other change of a move.
    pub(crate) moved_to: Option<usize>,
    pub(crate) verdict: Verdict,
}

/// One record with what becomes of it.
#[derive(Debug)]
pub(crate) struct Step<'s> {
    pub(crate) loaded: &'s Loaded,
    pub(crate) items: Vec<Item>,
}

/// Everything that an undo of a session would do, in order: the last change first. The view is then as the
/// files will be.
pub(crate) fn plan<'s>(story: &'s Story, view: &mut View<'_>) -> Vec<Step<'s>> {
    let mut steps = Vec::new();
    for loaded in story.records.iter().rev() {
        if loaded.failed || loaded.undone {
            continue;
        }
        let items = judge(loaded, view);
        steps.push(Step { loaded, items });
    }
    steps
}

/// What taking this record back means, as the view is; the view is then as it will be after that.
pub(crate) fn judge(loaded: &Loaded, view: &mut View<'_>) -> Vec<Item> {
    let changes = &loaded.record.changes;
    let targets: BTreeSet<usize> = changes
        .iter()
        .filter_map(|change| match change.kept {
            Kept::Moved(to) => Some(to),
            _ => None,
        })
        .collect();
    let mut items = Vec::new();
    for (index, change) in changes.iter().enumerate().rev() {
        let pair = match change.kept {
            Kept::Moved(to) if to != index => changes.get(to).map(|target| (to, target)),
            _ if targets.contains(&index) => continue,
            _ => None,
        };
        let item = match pair {
            Some((to, target)) => judge_move(index, change, to, target, loaded.done, view),
            None => Item {
                index,
                moved_to: None,
                verdict: judge_one(change, loaded.done, view),
            },
        };
        // The next one may depend on it: a directory goes when what was made in it has gone.
        lay(loaded, &item, view);
        items.push(item);
    }
    items
}

fn judge_one(change: &Change, strict: bool, view: &mut View<'_>) -> Verdict {
    let there = match view.look(&change.key) {
        Ok(there) => there,
        Err(trouble) => return Verdict::Refused(trouble),
    };
    if !view.is(there.as_ref(), change.after.as_ref(), strict) {
        if view.is(there.as_ref(), change.before.as_ref(), strict) {
            return Verdict::Already;
        }
        return Verdict::Refused(difference(change, there.as_ref()));
    }
    back(change, there.as_ref(), view)
}

/// Whether and from where what was before can be brought back, what is there being as it should be.
fn back(change: &Change, there: Option<&Thing>, view: &mut View<'_>) -> Verdict {
    let outcome = match &change.before {
        None => may_go(&change.key, there, view).map(|()| Ok(Content::None)),
        Some(_) => has_parent(&change.key, view).map(|()| source(change, there, view)),
    };
    match outcome {
        Ok(Ok(content)) => Verdict::Undo(content),
        Ok(Err(why)) => Verdict::NotKept(why),
        Err(trouble) => Verdict::Refused(trouble),
    }
}

/// A directory goes only if nothing is in it.
fn may_go(key: &Key, there: Option<&Thing>, view: &View<'_>) -> Result<(), Trouble> {
    let is_directory = there.is_some_and(|thing| thing.state.kind == Kind::Directory);
    if is_directory && !view.is_empty(key)? {
        return Err("it holds what the session did not make, or what stays".to_owned());
    }
    Ok(())
}

fn has_parent(key: &Key, view: &View<'_>) -> Result<(), Trouble> {
    let parent = key.parent();
    if parent.path.is_empty() {
        return Ok(());
    }
    match view.look(&parent)? {
        Some(thing) if thing.state.kind == Kind::Directory => Ok(()),
        _ => Err("its directory is gone".to_owned()),
    }
}

fn source(change: &Change, there: Option<&Thing>, view: &View<'_>) -> Result<Content, Trouble> {
    let before = change.before.as_ref();
    let stored = || before.and_then(|before| view.find(before.sha256.as_ref()?));
    match &change.kept {
        Kept::Nothing => Ok(Content::None),
        Kept::Object => stored().ok_or_else(|| "its earlier content is no longer kept".to_owned()),
        Kept::Prefix => match (there, before) {
            (Some(thing), Some(before)) => Ok(Content::Prefix(
                Box::new(thing.content.clone()),
                before.size,
            )),
            _ => Err("it is not there".to_owned()),
        },
        Kept::Trash(id) => {
            if view.files.trash.find(id).is_some() {
                return Ok(Content::Trash(id.clone()));
            }
            if before.is_some_and(|before| before.kind == Kind::Symlink && before.target.is_some())
            {
                return Ok(Content::None);
            }
            stored().ok_or_else(|| "it is no longer in the trash".to_owned())
        }
        // Its move is judged as one; alone it has no source.
        Kept::Moved(_) => Err("where it went is not known".to_owned()),
        Kept::Not(why) => Err(why.clone()),
    }
}

fn judge_move(
    index: usize,
    change: &Change,
    to: usize,
    target: &Change,
    strict: bool,
    view: &mut View<'_>,
) -> Item {
    let both = |verdict: Verdict| Item {
        index,
        moved_to: Some(to),
        verdict,
    };
    let looked = view
        .look(&change.key)
        .and_then(|here| Ok((here, view.look(&target.key)?)));
    let (here, there) = match looked {
        Ok(found) => found,
        Err(trouble) => return both(Verdict::Refused(trouble)),
    };
    let arrived = view.is(there.as_ref(), target.after.as_ref(), strict);
    let left = view.is(here.as_ref(), change.after.as_ref(), strict);
    if arrived && left {
        if let Err(trouble) = has_parent(&change.key, view) {
            return both(Verdict::Refused(trouble));
        }
        // What was overwritten there must come back too.
        if target.before.is_some()
            && let Err(why) = source(target, there.as_ref(), view)
        {
            return both(Verdict::NotKept(why));
        }
        let content = there.map_or(Content::None, |thing| thing.content);
        return both(Verdict::Undo(content));
    }
    let stayed = view.is(here.as_ref(), change.before.as_ref(), strict);
    if stayed && view.is(there.as_ref(), target.before.as_ref(), strict) {
        return both(Verdict::Already);
    }
    // Within a file system a move is one step.
    if stayed && arrived && change.key.mount != target.key.mount {
        // Between two: copied and not yet removed, or put back and the copy not yet removed.
        let verdict = back(target, there.as_ref(), view);
        return Item {
            index: to,
            moved_to: None,
            verdict,
        };
    }
    let why = match left {
        true => difference(target, there.as_ref()),
        false => difference(change, here.as_ref()),
    };
    both(Verdict::Refused(why))
}

fn difference(change: &Change, there: Option<&Thing>) -> String {
    let why = match (&change.after, there) {
        (Some(_), None) => "it is gone",
        (None, Some(_)) => "something is there again",
        (Some(after), Some(thing)) if after.kind != thing.state.kind => {
            "it is something else by now"
        }
        (Some(after), Some(thing))
            if after.mode != thing.state.mode && after.kind != Kind::Symlink =>
        {
            "its permissions changed since"
        }
        _ => "it changed since",
    };
    why.to_owned()
}

/// Lays what a verdict does over the view.
fn lay(loaded: &Loaded, item: &Item, view: &mut View<'_>) {
    let Verdict::Undo(content) = &item.verdict else {
        return;
    };
    let Some(change) = loaded.record.changes.get(item.index) else {
        return;
    };
    let there = view.look(&change.key).unwrap_or(None);
    if let Some(target) = item.moved_to.and_then(|to| loaded.record.changes.get(to)) {
        let Ok(Some(mut thing)) = view.look(&target.key) else {
            return;
        };
        if let Some(thing) = &there {
            view.free(thing);
        }
        if let (true, Some(before)) = (change.key.mount != target.key.mount, &change.before) {
            // It comes back as a copy, with the time that it had.
            thing.state = before.clone();
        }
        let restored = target.before.clone().map(|state| Thing {
            content: source(target, Some(&thing), view).unwrap_or(Content::None),
            state,
        });
        view.rename(&target.key, &change.key, thing);
        view.set(&target.key, restored);
        return;
    }
    if let Some(thing) = &there {
        view.free(thing);
    }
    let restored = change.before.clone().map(|state| Thing {
        state,
        content: content.clone(),
    });
    view.set(&change.key, restored);
}
