//! What the screen is about and how it changes: no terminal, no gateway, no clock.

use super::detail::{self, Detail};
use super::editor::Editor;
use super::feed::Change;
use super::keys::{Focus, Wish, wish};
use super::layout::{self, Areas};
use super::message::{Answer, Effect, Message, Mode, Mood, Outcome};
use super::request::Request;
use crossterm::event::KeyEvent;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeSet;

#[derive(Debug)]
pub(super) struct Model {
    pub(super) requests: Vec<Request>,
    pub(super) selected: Option<String>,
    pub(super) mode: Mode,
    /// First line of the detail pane.
    pub(super) top: usize,
    /// Lines from the first on that were on the screen.
    seen: usize,
    /// The selection moved by itself, so a key may have been meant for another request.
    moved: bool,
    /// Why the gateway cannot be reached.
    pub(super) away: Option<String>,
    /// Whether the first list has arrived.
    pub(super) ready: bool,
    pub(super) notice: Option<(Mood, String)>,
    /// Decisions that the gateway has not answered.
    pub(super) deciding: BTreeSet<String>,
    pub(super) now: Timestamp,
    size: (u16, u16),
}

impl Model {
    pub(super) fn new(now: Timestamp, size: (u16, u16)) -> Self {
        Self {
            requests: Vec::new(),
            selected: None,
            mode: Mode::Browse,
            top: 0,
            seen: 0,
            moved: false,
            away: None,
            ready: false,
            notice: None,
            deciding: BTreeSet::new(),
            now,
            size,
        }
    }

    pub(super) fn update(&mut self, message: Message) -> Option<Effect> {
        match message {
            Message::Key(key) => return self.key(key),
            Message::Paste(text) => {
                if let Mode::Reason { editor, .. } = &mut self.mode {
                    editor.insert(&text);
                }
            }
            Message::Resize(width, height) => {
                // Other lines are on the screen now, and each may hold other text.
                self.seen = 0;
                self.size = (width, height);
            }
            Message::Tick(now) => self.tick(now),
            Message::Feed(change) => self.change(change),
            Message::Decided(answer) => self.decided(answer),
        }
        self.top = self.top.min(self.last_top());
        None
    }

    /// Called after what the model says was really drawn: only that counts as seen.
    pub(super) fn drawn(&mut self) {
        let in_front = self.mode == Mode::Browse && !self.areas().is_too_small();
        if in_front && self.top <= self.seen {
            let height = usize::from(self.areas().detail.height);
            self.seen = self.seen.max(self.top + height);
        }
    }

    /// The terminal's size, in columns and rows, that everything is laid out for.
    pub(super) fn size(&self) -> (u16, u16) {
        self.size
    }

    pub(super) fn areas(&self) -> Areas {
        layout::areas(self.size.0, self.size.1, self.requests.len())
    }

    pub(super) fn current(&self) -> Option<&Request> {
        let id = self.selected.as_ref()?;
        self.requests.iter().find(|one| one.id == *id)
    }

    pub(super) fn request(&self, id: &str) -> Option<&Request> {
        self.requests.iter().find(|one| one.id == id)
    }

    /// Everything about the selected request, wrapped for the pane.
    pub(super) fn detail(&self) -> Detail {
        let width = usize::from(self.areas().detail.width);
        let current = self.current();
        current.map_or_else(Detail::default, |one| detail::page(one, self.now, width))
    }

    /// Lines about what the selected request would do that were not on the screen yet.
    pub(super) fn unseen(&self) -> usize {
        self.detail().matter.saturating_sub(self.seen)
    }

    fn last_top(&self) -> usize {
        let height = usize::from(self.areas().detail.height.max(1));
        self.detail().lines.len().saturating_sub(height)
    }

    fn key(&mut self, key: KeyEvent) -> Option<Effect> {
        let focus = match self.mode {
            Mode::Browse => Focus::List,
            Mode::Confirm { .. } => Focus::Question,
            Mode::Reason { .. } => Focus::Prompt,
            Mode::Help => Focus::Help,
        };
        match wish(focus, key)? {
            Wish::Quit => return Some(Effect::Quit),
            Wish::Move(by) => self.step(by),
            Wish::First => self.step(isize::MIN),
            Wish::Last => self.step(isize::MAX),
            Wish::Scroll(pages) => self.scroll(pages),
            Wish::Approve => return self.approve(),
            Wish::Reject => self.reject(),
            Wish::Help => self.mode = Mode::Help,
            Wish::Back => self.mode = Mode::Browse,
            Wish::Yes => return self.confirmed(),
            Wish::Edit(edit) => {
                if let Mode::Reason { editor, .. } = &mut self.mode {
                    editor.apply(edit);
                }
            }
            Wish::Send => return self.send_reason(),
        }
        None
    }

    fn step(&mut self, by: isize) {
        let Some(last) = self.requests.len().checked_sub(1) else {
            return;
        };
        let to = self.position().saturating_add_signed(by).min(last);
        self.moved = false;
        self.notice = None;
        self.select(to);
    }

    fn position(&self) -> usize {
        let selected = |one: &Request| Some(&one.id) == self.selected.as_ref();
        self.requests.iter().position(selected).unwrap_or(0)
    }

    fn select(&mut self, at: usize) {
        let id = self.requests.get(at).map(|one| one.id.clone());
        if id != self.selected {
            self.selected = id;
            self.top = 0;
            self.seen = 0;
        }
    }

    fn scroll(&mut self, pages: isize) {
        // One line stays, so that the eye finds its place.
        let page = isize::try_from(self.areas().detail.height.saturating_sub(1).max(1));
        let by = pages.saturating_mul(page.unwrap_or(1));
        self.top = self.top.saturating_add_signed(by).min(self.last_top());
    }

    fn approve(&mut self) -> Option<Effect> {
        let id = self.free()?;
        let request = self.current()?;
        let ask = self.moved || self.unseen() > 0 || request.is_stale() || request.is_opaque();
        if ask {
            self.mode = Mode::Confirm { id };
            return None;
        }
        self.accept(id)
    }

    fn confirmed(&mut self) -> Option<Effect> {
        match std::mem::replace(&mut self.mode, Mode::Browse) {
            Mode::Confirm { id } => self.accept(id),
            _ => None,
        }
    }

    fn accept(&mut self, id: String) -> Option<Effect> {
        self.notice = Some((Mood::Neutral, format!("{id}: approving …")));
        self.deciding.insert(id.clone());
        Some(Effect::Accept { id })
    }

    fn reject(&mut self) {
        if let Some(id) = self.free() {
            let editor = Editor::default();
            self.mode = Mode::Reason { id, editor };
        }
    }

    fn send_reason(&mut self) -> Option<Effect> {
        let Mode::Reason { id, editor } = std::mem::replace(&mut self.mode, Mode::Browse) else {
            return None;
        };
        let reason = editor.text().trim().to_owned();
        self.notice = Some((Mood::Neutral, format!("{id}: rejecting …")));
        self.deciding.insert(id.clone());
        Some(Effect::Reject {
            id,
            reason: (!reason.is_empty()).then_some(reason),
        })
    }

    /// The selected request, if it can be read here, is not being decided, and the gateway is there.
    fn free(&mut self) -> Option<String> {
        let id = self.selected.clone()?;
        let refusal = if self.away.is_some() {
            "nothing can be decided while the gateway is away"
        } else if self.areas().is_too_small() {
            "make the terminal larger: a request must be read before it is decided"
        } else if self.deciding.contains(&id) {
            return None;
        } else {
            return Some(id);
        };
        self.notice = Some((Mood::Bad, refusal.to_owned()));
        None
    }

    fn tick(&mut self, now: Timestamp) {
        self.now = now;
        let expired = self.requests.iter().filter(|one| one.has_expired(now));
        let expired: Vec<String> = expired.map(|one| one.id.clone()).collect();
        for id in expired {
            self.remove(&id, Mood::Neutral, "has expired");
        }
    }

    fn change(&mut self, change: Change) {
        if !matches!(change, Change::Away(_)) && self.away.take().is_some() {
            self.notice = Some((Mood::Good, "the gateway is back".to_owned()));
        }
        match change {
            Change::All(all) => {
                self.ready = true;
                self.replace(&all);
            }
            Change::Requested(document) => self.add(&document),
            Change::Resolved(document) => self.resolved(&document),
            Change::Away(why) => {
                // A decision that was on its way is known again when the gateway is back.
                self.deciding.clear();
                self.away = Some(why);
            }
        }
    }

    fn replace(&mut self, all: &[Value]) {
        let at = self.position();
        self.requests = all.iter().filter_map(Request::read).collect();
        if self.current().is_none() {
            self.settle(at);
        }
        self.drop_orphan();
    }

    fn add(&mut self, document: &Value) {
        let Some(new) = Request::read(document) else {
            return;
        };
        match self.requests.iter_mut().find(|one| one.id == new.id) {
            Some(known) => {
                if known.document != new.document && self.selected.as_ref() == Some(&new.id) {
                    // What was read is not what there is now.
                    self.seen = 0;
                    self.moved = true;
                }
                *known = new;
            }
            None => self.requests.push(new),
        }
        if self.selected.is_none() {
            self.select(0);
        }
    }

    fn resolved(&mut self, document: &Value) {
        let Some(request) = Request::read(document) else {
            return;
        };
        let state = document["state"].as_str().unwrap_or_default();
        let by = document["decided_by"].as_str();
        let (mood, words) = match (state, by) {
            ("approved", Some(by)) => (Mood::Good, format!("approved by {by}, runs now")),
            ("rejected", Some(by)) => (Mood::Neutral, format!("rejected by {by}")),
            ("executed", _) => (Mood::Good, "ran".to_owned()),
            ("failed", _) => (Mood::Bad, "ran and failed".to_owned()),
            ("expired", _) => (Mood::Neutral, "has expired".to_owned()),
            ("cancelled", _) => (Mood::Neutral, "was withdrawn".to_owned()),
            (state, _) => (Mood::Neutral, format!("is {state}")),
        };
        let capability = request.capability;
        self.remove(&request.id, mood, &format!("{words} ({capability})"));
    }

    fn decided(&mut self, answer: Answer) {
        let id = answer.id;
        self.deciding.remove(&id);
        match answer.outcome {
            Outcome::Done(state) => {
                let (mood, words) = match state.as_str() {
                    "rejected" => (Mood::Good, "is rejected".to_owned()),
                    _ => (Mood::Good, format!("is {state}")),
                };
                // The event may have come first, and says more.
                if self.request(&id).is_some() {
                    self.remove(&id, mood, &words);
                }
            }
            Outcome::Late { state, by } => {
                let by = by.map_or_else(String::new, |by| format!(" by {by}"));
                let words = format!("was {state}{by} already; your decision does not count");
                self.remove(&id, Mood::Bad, &words);
            }
            Outcome::Gone => self.remove(&id, Mood::Bad, "does not exist any more"),
            Outcome::Failed(why) => self.notice = Some((Mood::Bad, format!("{id}: {why}"))),
        }
    }

    fn remove(&mut self, id: &str, mood: Mood, why: &str) {
        self.notice = Some((mood, format!("{id} {why}")));
        self.deciding.remove(id);
        let at = self.position();
        self.requests.retain(|one| one.id != id);
        if self.current().is_none() {
            self.settle(at);
        }
        self.drop_orphan();
    }

    /// Selects what took the place of a request that went.
    fn settle(&mut self, at: usize) {
        let had_one = self.selected.is_some();
        self.selected = None;
        self.select(at.min(self.requests.len().saturating_sub(1)));
        (self.top, self.seen) = (0, 0);
        self.moved = had_one && self.selected.is_some();
    }

    /// Closes what asks about a request that is not there any more.
    fn drop_orphan(&mut self) {
        let (Mode::Confirm { id } | Mode::Reason { id, .. }) = &self.mode else {
            return;
        };
        if self.request(id).is_none() {
            self.mode = Mode::Browse;
        }
    }
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
