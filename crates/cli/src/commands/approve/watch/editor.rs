//! One line of text being typed.

use crate::clean;
use unicode_width::UnicodeWidthChar;

/// Longest reason, in bytes: what the gateway takes.
const MAX_BYTES: usize = 4096;

/// What a key does to the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edit {
    Insert(char),
    Backspace,
    Delete,
    Left,
    Right,
    Home,
    End,
    /// The word before the cursor.
    CutWord,
    /// Everything before the cursor.
    CutToStart,
    /// Everything behind the cursor.
    CutToEnd,
}

/// The line and the cursor in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Editor {
    characters: Vec<char>,
    cursor: usize,
}

impl Editor {
    pub(super) fn text(&self) -> String {
        self.characters.iter().collect()
    }

    pub(super) fn apply(&mut self, edit: Edit) {
        let (at, end) = (self.cursor, self.characters.len());
        match edit {
            Edit::Insert(character) => self.insert(&character.to_string()),
            Edit::Backspace if at > 0 => self.cut(at - 1, at),
            Edit::Delete if at < end => self.cut(at, at + 1),
            Edit::Backspace | Edit::Delete => {}
            Edit::Left => self.cursor = at.saturating_sub(1),
            Edit::Right => self.cursor = (at + 1).min(end),
            Edit::Home => self.cursor = 0,
            Edit::End => self.cursor = end,
            Edit::CutWord => self.cut(self.word_start(), at),
            Edit::CutToStart => self.cut(0, at),
            Edit::CutToEnd => self.cut(at, end),
        }
    }

    /// Typed or pasted text: one line, nothing invisible, no more than the gateway takes.
    pub(super) fn insert(&mut self, text: &str) {
        let mut left = MAX_BYTES.saturating_sub(self.text().len());
        for character in clean::line(text).chars() {
            let Some(rest) = left.checked_sub(character.len_utf8()) else {
                return;
            };
            left = rest;
            self.characters.insert(self.cursor, character);
            self.cursor += 1;
        }
    }

    fn cut(&mut self, from: usize, to: usize) {
        self.characters.drain(from..to);
        self.cursor = from;
    }

    fn word_start(&self) -> usize {
        let before = self.characters.get(..self.cursor).unwrap_or_default();
        let word = before.iter().rposition(|c| !c.is_whitespace());
        let Some(last) = word else { return 0 };
        let gap = before.iter().take(last).rposition(|c| c.is_whitespace());
        gap.map_or(0, |gap| gap + 1)
    }

    /// The part around the cursor that fits in `width` columns, and the cursor's column in it.
    pub(super) fn window(&self, width: usize) -> (String, usize) {
        let columns = |characters: &[char]| -> usize {
            characters.iter().map(|c| c.width().unwrap_or(0)).sum()
        };
        let before = self.characters.get(..self.cursor).unwrap_or_default();
        let mut from = 0;
        // One column is the cursor's own behind the last character.
        while columns(before.get(from..).unwrap_or_default()) >= width.max(1) {
            from += 1;
        }
        let column = columns(before.get(from..).unwrap_or_default());
        let (mut shown, mut used) = (String::new(), 0);
        for character in self.characters.iter().skip(from) {
            used += character.width().unwrap_or(0);
            if used > width {
                break;
            }
            shown.push(*character);
        }
        (shown, column)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    fn typed(text: &str) -> Editor {
        let mut editor = Editor::default();
        editor.insert(text);
        editor
    }

    #[test]
    fn a_line_is_edited_as_in_a_shell() {
        let mut editor = typed("not the right  file");
        editor.apply(Edit::CutWord);
        assert_eq!(editor.text(), "not the right  ");
        editor.apply(Edit::CutWord);
        assert_eq!(editor.text(), "not the ");
        editor.apply(Edit::Home);
        editor.apply(Edit::Delete);
        editor.apply(Edit::Insert('N'));
        assert_eq!(editor.text(), "Not the ");
        editor.apply(Edit::Right);
        editor.apply(Edit::CutToEnd);
        assert_eq!(editor.text(), "No");
        editor.apply(Edit::Left);
        editor.apply(Edit::CutToStart);
        editor.apply(Edit::Backspace);
        assert_eq!(editor.text(), "o");
    }

    #[test]
    fn what_is_pasted_is_one_visible_line_of_bounded_length() {
        assert_eq!(typed("a\nb\u{202e}\u{1b}[31mc").text(), "a bc");
        assert_eq!(typed(&"ż".repeat(5000)).text().len(), MAX_BYTES);
    }

    #[test]
    fn the_cursor_stays_in_sight() {
        let mut editor = typed("0123456789日本");
        assert_eq!(editor.window(6), ("9日本".to_owned(), 5));
        editor.apply(Edit::Home);
        assert_eq!(editor.window(6), ("012345".to_owned(), 0));
        assert_eq!(typed("ab").window(10), ("ab".to_owned(), 2));
    }

    proptest! {
        #[test]
        fn no_order_of_keys_leaves_the_line(edits in proptest::collection::vec(0..11u8, 0..60), width in 1..20usize) {
            let mut editor = typed("ab cd 日本");
            for edit in edits {
                editor.apply(match edit {
                    0 => Edit::Insert('x'), 1 => Edit::Backspace, 2 => Edit::Delete, 3 => Edit::Left,
                    4 => Edit::Right, 5 => Edit::Home, 6 => Edit::End, 7 => Edit::CutWord,
                    8 => Edit::CutToStart, 9 => Edit::CutToEnd, _ => Edit::Insert(' '),
                });
                prop_assert!(editor.cursor <= editor.characters.len());
                prop_assert!(editor.window(width).1 < width.max(2));
            }
        }
    }
}
