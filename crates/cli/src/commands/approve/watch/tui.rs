//! The screen's loop: keys, the gateway's changes, answers, signals and the clock into the model, and what
//! it wants out of it.

use super::feed::{self, Change};
use super::message::{Answer, Effect, Message, Outcome};
use super::model::Model;
use super::screen::Screen;
use super::view::{self, Theme};
use crate::client::{Client, Url};
use crate::commands::Cx;
use crate::failure::{Exit, Failure};
use crossterm::event::{Event, EventStream};
use futures_util::stream::{FuturesUnordered, StreamExt};
use kruxos_types::{Clock, SystemClock};
use serde_json::{Value, json};
use std::pin::pin;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// Changes that wait while the screen is drawn.
const CHANGES: usize = 64;
/// How often ages and countdowns move on.
const TICK: Duration = Duration::from_secs(1);

/// Runs until the person quits, a signal ends it, or the gateway cannot be reached in the first place.
pub(super) async fn run(cx: &Cx<'_>, agent: Option<&str>) -> Result<(), Failure> {
    let (changes, mut changed) = mpsc::channel(CHANGES);
    let mut feed = pin!(feed::follow(&cx.client, agent, changes));
    // The first list comes before the screen: a gateway that is not there is an ordinary error.
    let first = tokio::select! {
        ended = &mut feed => return Err(ended),
        first = changed.recv() => first,
    };
    let mut signals = Signals::new()?;
    // Only wakes the loop: the size itself is looked at before each drawing.
    let mut resized = signal(SignalKind::window_change())?;
    let theme = Theme {
        color: cx.out.color(),
    };
    let mut screen = Screen::open()?;
    let size = screen.terminal.size()?;
    let mut model = Model::new(SystemClock.now(), (size.width, size.height));
    let mut keys = EventStream::new();
    let mut answers = FuturesUnordered::new();
    let mut ticks = tokio::time::interval(TICK);
    let mut next = first.map(Message::Feed);
    loop {
        if let Some(message) = next.take() {
            match model.update(message) {
                Some(Effect::Quit) => return Ok(()),
                Some(effect) => answers.push(decide(&cx.client, effect)),
                None => {}
            }
        }
        let size = screen.terminal.size()?;
        if model.size() != (size.width, size.height) {
            model.update(Message::Resize(size.width, size.height));
        }
        screen
            .terminal
            .draw(|frame| view::draw(frame, &model, theme))?;
        model.drawn();
        next = tokio::select! {
            ended = &mut feed => return Err(ended),
            change = changed.recv() => change.map(Message::Feed),
            answer = answers.next(), if !answers.is_empty() => answer.map(Message::Decided),
            event = keys.next() => match event {
                Some(event) => heard(event?),
                None => return Err(Failure::failed("the terminal is gone")),
            },
            _ = resized.recv() => None,
            _ = ticks.tick() => Some(Message::Tick(SystemClock.now())),
            () = signals.any() => {
                drop(screen);
                return Err(Failure::shown(Exit::Terminated));
            }
        };
    }
}

fn heard(event: Event) -> Option<Message> {
    match event {
        Event::Key(key) => Some(Message::Key(key)),
        Event::Paste(text) => Some(Message::Paste(text)),
        Event::Resize(..) | Event::FocusGained | Event::FocusLost | Event::Mouse(_) => None,
    }
}

/// The signals that end a program.
struct Signals([Signal; 3]);

impl Signals {
    fn new() -> Result<Signals, Failure> {
        Ok(Signals([
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    async fn any(&mut self) {
        let [terminate, interrupt, hangup] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// Sends a decision.
async fn decide(client: &Client, effect: Effect) -> Answer {
    let (id, verb, reason) = match effect {
        Effect::Accept { id } => (id, "accept", None),
        Effect::Reject { id, reason } => (id, "reject", reason),
        Effect::Quit => (String::new(), "", None),
    };
    let url = Url::new(&["approvals", &id, verb]);
    let answer = client.post(url.as_str(), json!({"reason": reason})).await;
    let outcome = match answer {
        Ok(decided) => Outcome::Done(crate::commands::text(&decided["state"])),
        Err(failure) => refused(failure),
    };
    Answer { id, outcome }
}

fn refused(failure: Failure) -> Outcome {
    let error = failure.error.unwrap_or(Value::Null);
    // Only a decision that came too late carries the state that there is (HTTP 409).
    if let Some(state) = error["status"].as_str() {
        return Outcome::Late {
            state: state.to_owned(),
            by: error["decided_by"].as_str().map(str::to_owned),
        };
    }
    match failure.exit {
        Exit::NotFound => Outcome::Gone,
        _ => Outcome::Failed(failure.message),
    }
}

/// Prints each change as a line of JSON, for ever.
pub(super) async fn print(cx: &Cx<'_>, agent: Option<&str>) -> Failure {
    let (changes, mut changed) = mpsc::channel::<Change>(CHANGES);
    let mut feed = pin!(feed::follow(&cx.client, agent, changes));
    let mut lines = super::lines::Lines::default();
    loop {
        tokio::select! {
            ended = &mut feed => return ended,
            Some(change) = changed.recv() => lines.print(cx.out, change),
        }
    }
}
