#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use super::*;
use crossterm::event::{KeyCode, KeyModifiers};
use proptest::prelude::*;
use serde_json::json;

const NOW: &str = "2026-01-01T12:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A request whose page is about `lines` lines longer than its facts.
fn request(id: &str, lines: usize) -> Value {
    json!({
        "id": id, "state": "pending", "capability": "filesystem.write",
        "principal": {"type": "agent", "name": "coder"},
        "created_at": "2026-01-01T11:00:00Z", "expires_at": "2026-01-01T13:00:00Z",
        "inputs": {}, "preview": {"summary": "write x", "diff": "+x\n".repeat(lines)},
    })
}

fn model(requests: &[Value]) -> Model {
    let mut model = Model::new(at(NOW), (80, 40));
    model.update(Message::Feed(Change::All(requests.to_vec())));
    model.drawn();
    model
}

fn press(model: &mut Model, key: char) -> Option<Effect> {
    key_of(model, KeyCode::Char(key))
}

fn key_of(model: &mut Model, code: KeyCode) -> Option<Effect> {
    let effect = model.update(Message::Key(KeyEvent::new(code, KeyModifiers::NONE)));
    model.drawn();
    effect
}

fn told(model: &Model) -> &str {
    model.notice.as_ref().map_or("", |(_, words)| words)
}

fn accepted(id: &str) -> Option<Effect> {
    Some(Effect::Accept { id: id.to_owned() })
}

#[test]
fn what_was_read_whole_is_approved_by_one_key() {
    let mut model = model(&[request("ap_1", 3)]);
    assert_eq!(press(&mut model, 'a'), accepted("ap_1"));
    assert_eq!(
        press(&mut model, 'a'),
        None,
        "it is on its way, not sent twice"
    );
}

#[test]
fn what_was_not_read_to_its_end_is_asked_about() {
    let mut model = model(&[request("ap_1", 100)]);
    assert_eq!(press(&mut model, 'a'), None);
    assert_eq!(model.mode, Mode::Confirm { id: "ap_1".into() });
    assert_eq!(press(&mut model, 'a'), None, "a second a is no yes");
    assert_eq!(press(&mut model, 'n'), None);
    assert_eq!(model.mode, Mode::Browse);
    press(&mut model, 'a');
    assert_eq!(press(&mut model, 'y'), accepted("ap_1"));
}

#[test]
fn reading_to_the_end_takes_the_question_away_and_a_resize_brings_it_back() {
    let mut model = model(&[request("ap_1", 100)]);
    for _ in 0..10 {
        key_of(&mut model, KeyCode::PageDown);
    }
    assert_eq!(model.unseen(), 0);
    model.update(Message::Resize(60, 30));
    model.drawn();
    assert!(model.unseen() > 0);
    assert_eq!(press(&mut model, 'a'), None);
    assert!(matches!(model.mode, Mode::Confirm { .. }));
}

#[test]
fn lines_count_as_seen_only_once_they_were_drawn() {
    let mut model = model(&[request("ap_1", 100)]);
    for _ in 0..10 {
        let page = KeyEvent::new(KeyCode::PageDown, KeyModifiers::NONE);
        model.update(Message::Key(page));
    }
    model.drawn();
    assert!(model.unseen() > 0, "the pages between were never on screen");
}

#[test]
fn a_request_that_takes_the_place_of_another_is_not_approved_by_a_key_meant_for_that() {
    let mut model = model(&[request("ap_1", 1), request("ap_2", 1)]);
    let gone = json!({"id": "ap_1", "state": "expired"});
    model.update(Message::Feed(Change::Resolved(gone)));
    model.drawn();
    assert_eq!(model.selected.as_deref(), Some("ap_2"));
    assert_eq!(press(&mut model, 'a'), None);
    assert!(matches!(model.mode, Mode::Confirm { .. }));
    press(&mut model, 'n');
    press(&mut model, 'j');
    assert_eq!(
        press(&mut model, 'a'),
        accepted("ap_2"),
        "chosen by hand now"
    );
}

#[test]
fn a_stale_or_opaque_request_is_always_asked_about() {
    for (field, value) in [
        ("stale", json!(true)),
        ("kind", json!("error")),
        ("notes", json!(["cannot be inspected"])),
    ] {
        let mut one = request("ap_1", 1);
        one["preview"][field] = value;
        let mut model = model(&[one]);
        assert_eq!(press(&mut model, 'a'), None, "{field}");
        assert!(matches!(model.mode, Mode::Confirm { .. }), "{field}");
    }
}

#[test]
fn a_reason_is_typed_sent_or_thrown_away() {
    let mut model = model(&[request("ap_1", 1)]);
    press(&mut model, 'r');
    for letter in "no q".chars() {
        assert_eq!(press(&mut model, letter), None);
    }
    assert_eq!(key_of(&mut model, KeyCode::Esc), None);
    assert_eq!(model.mode, Mode::Browse);
    press(&mut model, 'r');
    model.update(Message::Paste("not now\n".to_owned()));
    let sent = key_of(&mut model, KeyCode::Enter);
    let reason = Some("not now".to_owned());
    let id = "ap_1".to_owned();
    assert_eq!(sent, Some(Effect::Reject { id, reason }));
}

#[test]
fn pasted_text_decides_nothing() {
    let mut model = model(&[request("ap_1", 1)]);
    assert_eq!(model.update(Message::Paste("ay".to_owned())), None);
    assert_eq!(model.mode, Mode::Browse);
    assert!(model.deciding.is_empty());
}

#[test]
fn a_lost_race_says_who_decided_and_moves_on() {
    let mut model = model(&[request("ap_1", 1), request("ap_2", 1)]);
    press(&mut model, 'a');
    model.update(Message::Decided(Answer {
        id: "ap_1".into(),
        outcome: Outcome::Late {
            state: "rejected".into(),
            by: Some("alice".into()),
        },
    }));
    assert_eq!(
        told(&model),
        "ap_1 was rejected by alice already; your decision does not count"
    );
    assert_eq!(model.selected.as_deref(), Some("ap_2"));
    assert_eq!(model.requests.len(), 1);
}

#[test]
fn an_expired_request_goes_with_the_question_about_it() {
    let mut model = model(&[request("ap_1", 200)]);
    press(&mut model, 'a');
    model.update(Message::Tick(at("2026-01-01T12:59:59Z")));
    assert!(matches!(model.mode, Mode::Confirm { .. }));
    model.update(Message::Tick(at("2026-01-01T13:00:00Z")));
    assert_eq!((&model.mode, model.requests.len()), (&Mode::Browse, 0));
    assert_eq!(told(&model), "ap_1 has expired");
    assert_eq!(press(&mut model, 'y'), None);
}

#[test]
fn while_the_gateway_is_away_nothing_is_decided_and_its_return_is_told() {
    let mut model = model(&[request("ap_1", 1)]);
    model.update(Message::Feed(Change::Away("gone".into())));
    assert_eq!(press(&mut model, 'a'), None);
    assert_eq!(press(&mut model, 'r'), None);
    assert_eq!(model.mode, Mode::Browse);
    model.update(Message::Feed(Change::All(vec![request("ap_1", 1)])));
    assert_eq!(told(&model), "the gateway is back");
    model.drawn();
    assert_eq!(press(&mut model, 'a'), accepted("ap_1"));
}

#[test]
fn a_request_that_changed_under_the_cursor_must_be_read_again() {
    let mut model = model(&[request("ap_1", 1)]);
    model.update(Message::Feed(Change::Requested(request("ap_1", 2))));
    model.drawn();
    assert_eq!(press(&mut model, 'a'), None);
    assert!(matches!(model.mode, Mode::Confirm { .. }));
}

#[test]
fn where_nothing_can_be_read_nothing_can_be_decided() {
    let mut model = model(&[request("ap_1", 1)]);
    model.update(Message::Resize(20, 6));
    model.drawn();
    assert_eq!(press(&mut model, 'a'), None);
    assert_eq!(model.mode, Mode::Browse);
    assert!(told(&model).contains("larger"));
}

/// Anything that can happen.
fn anything() -> impl Strategy<Value = Message> {
    let id = || (0..5u8).prop_map(|n| format!("ap_{n}"));
    let all = proptest::collection::vec((id(), 0..60usize), 0..5).prop_map(|all| {
        let mut all: Vec<Value> = all.iter().map(|(id, n)| request(id, *n)).collect();
        all.sort_by_key(|one| one["id"].to_string());
        all.dedup_by_key(|one| one["id"].to_string());
        Message::Feed(Change::All(all))
    });
    let keys = "jkgGarynq? x".chars().collect::<Vec<_>>();
    let key = proptest::sample::select(keys).prop_map(KeyCode::Char);
    let other = [
        KeyCode::PageDown,
        KeyCode::PageUp,
        KeyCode::Esc,
        KeyCode::Enter,
    ];
    let code = prop_oneof![3 => key, 2 => proptest::sample::select(other.to_vec())];
    prop_oneof![
        6 => code.prop_map(|code| Message::Key(KeyEvent::new(code, KeyModifiers::NONE))),
        1 => all,
        2 => (id(), 0..60usize).prop_map(|(id, n)| Message::Feed(Change::Requested(request(&id, n)))),
        1 => id().prop_map(|id| Message::Feed(Change::Resolved(json!({"id": id, "state": "rejected"})))),
        1 => Just(Message::Feed(Change::Away("x".into()))),
        1 => (0..200u16, 0..60u16).prop_map(|(w, h)| Message::Resize(w, h)),
        1 => (0..90i64).prop_map(|minutes| Message::Tick(at(NOW) + std::time::Duration::from_secs(60 * minutes.unsigned_abs()))),
        1 => id().prop_map(|id| Message::Decided(Answer { id, outcome: Outcome::Done("approved".into()) })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    /// Whatever happens, in any order: only a request that is listed, chosen or asked about is approved, and
    /// only if all of it was on the screen or the person said yes.
    #[test]
    fn nothing_is_approved_unread_or_unasked(messages in proptest::collection::vec(anything(), 0..60)) {
        let mut model = Model::new(at(NOW), (80, 24));
        for message in messages {
            let before = (model.selected.clone(), model.mode.clone(), model.unseen());
            let effect = model.update(message);
            if let Some(Effect::Accept { id }) = effect {
                prop_assert!(model.request(&id).is_some());
                let (selected, mode, unseen) = before;
                match mode {
                    Mode::Browse => prop_assert!(selected == Some(id) && unseen == 0),
                    Mode::Confirm { id: asked } => prop_assert_eq!(asked, id),
                    _ => prop_assert!(false, "approved in {:?}", mode),
                }
            }
            model.drawn();
            prop_assert!(model.requests.is_empty() == model.selected.is_none());
            prop_assert!(model.selected.is_none() || model.current().is_some());
            prop_assert!(model.top < model.detail().lines.len().max(1));
        }
    }
}
