//! What goes into the model, what comes out, and what it can be in.

use super::editor::Editor;
use super::feed::Change;
use crossterm::event::KeyEvent;
use jiff::Timestamp;

/// What happens to the model.
#[derive(Debug, Clone)]
pub(super) enum Message {
    Key(KeyEvent),
    Paste(String),
    Resize(u16, u16),
    Tick(Timestamp),
    Feed(Change),
    /// The gateway's answer to a decision.
    Decided(Answer),
}

/// What came of a decision that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) id: String,
    pub(super) outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It counts; how the state is called now.
    Done(String),
    /// Somebody or something was faster.
    Late {
        state: String,
        by: Option<String>,
    },
    /// There is no such request any more.
    Gone,
    Failed(String),
}

/// What is to be done outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    Accept { id: String },
    Reject { id: String, reason: Option<String> },
    Quit,
}

/// What is in front of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mode {
    Browse,
    /// Whether this request shall really run.
    Confirm {
        id: String,
    },
    /// Why this request is refused.
    Reason {
        id: String,
        editor: Editor,
    },
    Help,
}

/// How a notice looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Good,
    Bad,
    Neutral,
}
