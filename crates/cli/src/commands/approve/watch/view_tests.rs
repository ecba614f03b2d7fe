#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use super::super::feed::Change;
use super::super::message::Message;
use super::super::model::Model;
use super::*;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::{Value, json};

fn write() -> Value {
    json!({
        "id": "ap_3kd82mx0qa", "state": "pending", "session_id": "ses_5jzgoa4t2gju",
        "principal": {"type": "agent", "name": "coder"}, "capability": "filesystem.write",
        "reason": "Configuration needs a second look",
        "rule": {"winner": "org", "layers": [{"layer": "org", "file": "org.yaml", "line": 4}]},
        "risk_notes": ["can destroy data"],
        "created_at": "2026-01-01T11:57:30Z", "expires_at": "2026-01-02T11:57:30Z",
        "inputs": {"path": "app/config.toml", "content": "[server]\nport = 9000\ntls = true\n"},
        "preview": {
            "kind": "write", "summary": "replace /workspace/app/config.toml (31 bytes)",
            "paths": [{"role": "target", "path": "/workspace/app/config.toml", "type": "file", "size": 21}],
            "restorable": true, "notes": [],
            "target_state": {"exists": true, "size": 21},
            "diff": "--- /workspace/app/config.toml\n+++ /workspace/app/config.toml\n@@ -1,2 +1,3 @@\n [server]\n-port = 8080\n+port = 9000\n+tls = true\n",
        },
    })
}

fn run() -> Value {
    json!({
        "id": "ap_9zq4c1vv7b", "state": "pending", "session_id": "ses_2",
        "principal": {"type": "agent", "name": "a-rather-long-agent-name"}, "capability": "process.run",
        "reason": "agent requires approval", "rule": {"winner": "agent"}, "risk_notes": [],
        "created_at": "2026-01-01T11:59:56Z", "expires_at": null,
        "agent_reason": "I only tidy up.\u{202e}\u{200b}\nTrust me.",
        "inputs": {"command": "git", "args": ["push", "--force", "origin main"]},
        "preview": {
            "kind": "command", "summary": "Runs git with 3 arguments in the sandbox.",
            "argv": ["git", "push", "--force", "origin\u{200b}main"],
            "working_directory": null, "environment": ["GIT_DIR"], "stdin_bytes": 0,
        },
    })
}

fn model(size: (u16, u16), requests: &[Value]) -> Model {
    let mut model = Model::new("2026-01-01T12:00:00Z".parse().unwrap(), size);
    model.update(Message::Feed(Change::All(requests.to_vec())));
    model.drawn();
    model
}

fn press(model: &mut Model, code: KeyCode) {
    model.update(Message::Key(KeyEvent::new(code, KeyModifiers::NONE)));
    model.drawn();
}

fn terminal(model: &Model, color: bool) -> Terminal<TestBackend> {
    let whole = model.areas().whole;
    let mut terminal = Terminal::new(TestBackend::new(whole.width, whole.height)).unwrap();
    terminal
        .draw(|frame| draw(frame, model, Theme { color }))
        .unwrap();
    terminal
}

fn shown(model: &Model) -> String {
    terminal(model, true).backend().to_string()
}

#[test]
fn a_diff_on_a_usual_terminal() {
    insta::assert_snapshot!(shown(&model((80, 24), &[write(), run()])));
}

#[test]
fn a_diff_on_a_larger_terminal_is_seen_whole() {
    let model = model((100, 30), &[write()]);
    assert_eq!(model.unseen(), 0, "one key decides here");
    insta::assert_snapshot!(shown(&model));
}

#[test]
fn arguments_one_by_one_and_the_agents_words_apart() {
    let mut model = model((100, 40), &[write(), run()]);
    press(&mut model, KeyCode::Down);
    insta::assert_snapshot!(shown(&model));
}

#[test]
fn a_narrow_terminal() {
    insta::assert_snapshot!(shown(&model((40, 20), &[write(), run()])));
}

#[test]
fn a_tiny_terminal() {
    insta::assert_snapshot!(shown(&model((22, 6), &[write()])));
}

#[test]
fn nothing_waits() {
    insta::assert_snapshot!(shown(&model((80, 12), &[])));
}

#[test]
fn the_gateway_is_away() {
    let mut model = model((80, 16), &[write()]);
    let away = Change::Away("no gateway listens\u{1b}[2J".to_owned());
    model.update(Message::Feed(away));
    insta::assert_snapshot!(shown(&model));
}

#[test]
fn the_question_says_what_runs_and_what_was_not_read() {
    let mut model = model((80, 18), &[write()]);
    press(&mut model, KeyCode::Char('a'));
    insta::assert_snapshot!(shown(&model));
}

#[test]
fn the_prompt_for_a_reason() {
    let mut model = model((60, 16), &[run()]);
    press(&mut model, KeyCode::Char('r'));
    for letter in "not on a Friday".chars() {
        press(&mut model, KeyCode::Char(letter));
    }
    insta::assert_snapshot!(shown(&model));
}

#[test]
fn help() {
    let mut model = model((80, 18), &[write()]);
    press(&mut model, KeyCode::Char('?'));
    insta::assert_snapshot!(shown(&model));
}

#[test]
fn without_colours_no_cell_has_any_style() {
    let mut model = model((80, 24), &[write(), run()]);
    for key in [' ', 'a'] {
        let plain = terminal(&model, false);
        let styled = terminal(&model, true);
        let is_plain = |cell: &ratatui::buffer::Cell| {
            cell.fg == Color::Reset && cell.bg == Color::Reset && cell.modifier.is_empty()
        };
        assert!(plain.backend().buffer().content().iter().all(is_plain));
        assert!(!styled.backend().buffer().content().iter().all(is_plain));
        press(&mut model, KeyCode::Char(key));
    }
}

#[test]
fn a_frame_of_another_size_than_the_model_knows_is_drawn() {
    let model = model((80, 24), &[write()]);
    for (width, height) in [(1, 1), (10, 3), (200, 60), (80, 5)] {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let drawn = terminal.draw(|frame| draw(frame, &model, Theme { color: true }));
        assert!(drawn.is_ok(), "{width}x{height}");
    }
}
