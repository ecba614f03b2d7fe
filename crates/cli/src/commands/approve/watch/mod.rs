//! `approve watch`: what waits for a person, live, with the keys to decide it.
//!
//! [`model`] is all state and its changes, [`view`] draws it, [`tui`] is the input and output around both.

mod detail;
mod editor;
mod feed;
mod keys;
mod layout;
mod lines;
mod message;
mod model;
mod popup;
mod request;
mod screen;
mod tui;
mod view;

use crate::commands::Cx;
use crate::failure::Failure;
use std::io::IsTerminal;

pub(super) async fn run(cx: &Cx<'_>, agent: Option<&str>) -> Result<(), Failure> {
    if cx.out.json {
        return Err(tui::print(cx, agent).await);
    }
    if !cx.out.is_terminal() || !std::io::stdin().is_terminal() {
        return Err(
            Failure::usage("`approve watch` needs a terminal for its screen and its keys")
                .hint("Add --json for one JSON object for each change, which works in a pipe.")
                .hint("Or see what waits now: kruxos approve list"),
        );
    }
    tui::run(cx, agent).await
}
