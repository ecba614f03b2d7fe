//! What a key means, by what is on the screen.

use super::editor::Edit;
use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// What has the keyboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Focus {
    List,
    /// A yes or no.
    Question,
    /// A line is typed.
    Prompt,
    Help,
}

/// What the person wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Quit,
    /// So many requests down, or up where negative.
    Move(isize),
    First,
    Last,
    /// So many pages of the detail pane down, or up where negative.
    Scroll(isize),
    Approve,
    Reject,
    Help,
    Yes,
    /// Back to the list; nothing is decided.
    Back,
    Edit(Edit),
    Send,
}

/// The wish behind a key; `None` for a key without a meaning here.
pub(super) fn wish(focus: Focus, key: KeyEvent) -> Option<Wish> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    if control && key.code == KeyCode::Char('c') {
        return Some(Wish::Quit);
    }
    if key.modifiers.contains(KeyModifiers::ALT) {
        return None;
    }
    match focus {
        Focus::List => list(key.code, control),
        Focus::Question => question(key.code, control),
        Focus::Prompt => prompt(key.code, control),
        Focus::Help => Some(Wish::Back),
    }
}

fn list(code: KeyCode, control: bool) -> Option<Wish> {
    Some(match (code, control) {
        (KeyCode::Down, _) | (KeyCode::Char('j'), false) => Wish::Move(1),
        (KeyCode::Up, _) | (KeyCode::Char('k'), false) => Wish::Move(-1),
        (KeyCode::Home, _) | (KeyCode::Char('g'), false) => Wish::First,
        (KeyCode::End, _) | (KeyCode::Char('G'), false) => Wish::Last,
        (KeyCode::PageDown, _) | (KeyCode::Char(' '), false) | (KeyCode::Char('d'), true) => {
            Wish::Scroll(1)
        }
        (KeyCode::PageUp, _) | (KeyCode::Char('u'), true) => Wish::Scroll(-1),
        (KeyCode::Char('a'), false) => Wish::Approve,
        (KeyCode::Char('r'), false) => Wish::Reject,
        (KeyCode::Char('?'), false) => Wish::Help,
        (KeyCode::Char('q'), false) => Wish::Quit,
        _ => return None,
    })
}

fn question(code: KeyCode, control: bool) -> Option<Wish> {
    match (code, control) {
        (KeyCode::Char('y' | 'Y'), false) => Some(Wish::Yes),
        (KeyCode::Char('n' | 'N' | 'q'), false) | (KeyCode::Esc, _) => Some(Wish::Back),
        _ => None,
    }
}

fn prompt(code: KeyCode, control: bool) -> Option<Wish> {
    let edit = match (code, control) {
        (KeyCode::Esc, _) => return Some(Wish::Back),
        (KeyCode::Enter, _) => return Some(Wish::Send),
        (KeyCode::Backspace, _) | (KeyCode::Char('h'), true) => Edit::Backspace,
        (KeyCode::Delete, _) => Edit::Delete,
        (KeyCode::Left, _) | (KeyCode::Char('b'), true) => Edit::Left,
        (KeyCode::Right, _) | (KeyCode::Char('f'), true) => Edit::Right,
        (KeyCode::Home, _) | (KeyCode::Char('a'), true) => Edit::Home,
        (KeyCode::End, _) | (KeyCode::Char('e'), true) => Edit::End,
        (KeyCode::Char('w'), true) => Edit::CutWord,
        (KeyCode::Char('u'), true) => Edit::CutToStart,
        (KeyCode::Char('k'), true) => Edit::CutToEnd,
        (KeyCode::Char(character), false) => Edit::Insert(character),
        _ => return None,
    };
    Some(Wish::Edit(edit))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn press(focus: Focus, code: KeyCode, modifiers: KeyModifiers) -> Option<Wish> {
        wish(focus, KeyEvent::new(code, modifiers))
    }

    #[test]
    fn control_c_quits_everywhere() {
        for focus in [Focus::List, Focus::Question, Focus::Prompt, Focus::Help] {
            let wish = press(focus, KeyCode::Char('c'), KeyModifiers::CONTROL);
            assert_eq!(wish, Some(Wish::Quit), "{focus:?}");
        }
    }

    #[test]
    fn letters_that_decide_are_text_in_a_prompt_and_nothing_in_a_question() {
        let plain = KeyModifiers::NONE;
        for letter in ['a', 'r', 'q', 'y', '?'] {
            let key = KeyCode::Char(letter);
            let typed = Some(Wish::Edit(Edit::Insert(letter)));
            assert_eq!(press(Focus::Prompt, key, plain), typed);
        }
        assert_eq!(press(Focus::Question, KeyCode::Char('a'), plain), None);
        assert_eq!(press(Focus::Question, KeyCode::Enter, plain), None);
        assert_eq!(press(Focus::List, KeyCode::Char('y'), plain), None);
        assert_eq!(
            press(Focus::List, KeyCode::Char('a'), KeyModifiers::CONTROL),
            None
        );
        assert_eq!(
            press(Focus::List, KeyCode::Char('a'), KeyModifiers::ALT),
            None
        );
    }

    #[test]
    fn a_key_that_is_let_go_does_nothing_more() {
        let mut key = KeyEvent::new(KeyCode::Char('a'), KeyModifiers::NONE);
        key.kind = KeyEventKind::Release;
        assert_eq!(wish(Focus::List, key), None);
    }
}
