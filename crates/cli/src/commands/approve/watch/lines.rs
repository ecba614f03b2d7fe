//! For programs: one JSON object for each change, on one line.

use super::feed::Change;
use crate::output::Out;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Turns changes into lines, and remembers what was told so that a new connection tells only what is new.
#[derive(Debug, Default)]
pub(super) struct Lines {
    waiting: BTreeSet<String>,
    away: bool,
}

impl Lines {
    pub(super) fn print(&mut self, out: &Out, change: Change) {
        for line in self.of(change) {
            out.value(&line);
        }
    }

    fn of(&mut self, change: Change) -> Vec<Value> {
        let mut lines = Vec::new();
        if !matches!(change, Change::Away(_)) && std::mem::take(&mut self.away) {
            lines.push(json!({"change": "gateway_back"}));
        }
        match change {
            Change::All(all) => {
                let before = std::mem::take(&mut self.waiting);
                for request in all {
                    let id = id(&request);
                    if !before.contains(&id) {
                        lines.push(json!({"change": "requested", "approval": request}));
                    }
                    self.waiting.insert(id);
                }
                for id in before.difference(&self.waiting) {
                    lines.push(json!({"change": "gone", "id": id}));
                }
            }
            Change::Requested(request) => {
                if self.waiting.insert(id(&request)) {
                    lines.push(json!({"change": "requested", "approval": request}));
                }
            }
            Change::Resolved(request) => {
                self.waiting.remove(&id(&request));
                lines.push(json!({"change": "resolved", "approval": request}));
            }
            Change::Away(why) => {
                if !std::mem::replace(&mut self.away, true) {
                    lines.push(json!({"change": "gateway_away", "reason": why}));
                }
            }
        }
        lines
    }
}

fn id(request: &Value) -> String {
    request["id"].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn each_change_is_told_once_and_a_new_connection_tells_the_difference() {
        let mut lines = Lines::default();
        let one = json!({"id": "ap_1", "state": "pending"});
        let two = json!({"id": "ap_2", "state": "pending"});
        let first = lines.of(Change::All(vec![one.clone()]));
        assert_eq!(first, [json!({"change": "requested", "approval": one})]);
        assert!(lines.of(Change::Requested(one.clone())).is_empty());
        assert_eq!(lines.of(Change::Away("x".into())).len(), 1);
        assert!(lines.of(Change::Away("x".into())).is_empty());
        assert_eq!(
            lines.of(Change::All(vec![two.clone()])),
            [
                json!({"change": "gateway_back"}),
                json!({"change": "requested", "approval": two}),
                json!({"change": "gone", "id": "ap_1"}),
            ]
        );
        let done = json!({"id": "ap_2", "state": "rejected"});
        let told = lines.of(Change::Resolved(done.clone()));
        assert_eq!(told, [json!({"change": "resolved", "approval": done})]);
    }
}
