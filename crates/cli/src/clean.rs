//! Text from agents and servers, made safe for a terminal: nothing that moves the cursor, changes
//! colours or the window, reorders characters or hides them.

use std::fmt::Write;

/// Whether a character can change how other text appears, or hides.
fn is_dangerous(c: char) -> bool {
    matches!(c,
        // Controls of Unicode's Cc, C1 included: escape sequences start here.
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{ad}'
        // Bidirectional marks, embeddings, overrides and isolates (UAX #9).
        | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        // Line and paragraph separators, zero-width and invisible operators.
        | '\u{2028}' | '\u{2029}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}'
        | '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{180e}'
        | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}'
        // Joiners, vowels and format characters without a shape, variation selectors.
        | '\u{34f}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180d}' | '\u{180f}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{fe00}'..='\u{fe0f}'
        // Tags and more variation selectors: text that no font shows.
        | '\u{e0000}'..='\u{e0fff}')
}

/// One line: escape sequences and invisible characters go, line breaks and tabs become spaces.
pub(crate) fn line(text: &str) -> String {
    filter(text, false)
}

/// Several lines: as [`line`], but line breaks stay and tabs become four spaces.
pub(crate) fn lines(text: &str) -> String {
    filter(text, true)
}

fn filter(text: &str, several: bool) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => skip_sequence(&mut rest),
            '\u{9b}' => skip_csi(&mut rest),
            '\n' if several => clean.push('\n'),
            '\t' if several => clean.push_str("    "),
            '\n' | '\t' => clean.push(' '),
            c if is_dangerous(c) => {}
            c => clean.push(c),
        }
    }
    clean
}

type Rest<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// An escape sequence's own letters would be left as litter; ECMA-48 says where it ends.
fn skip_sequence(rest: &mut Rest<'_>) {
    match rest.peek() {
        Some('[') => {
            rest.next();
            skip_csi(rest);
        }
        // Strings (OSC, DCS, SOS, PM, APC) end with BEL or ST. An unfinished one eats only its line.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(c) = rest.next_if(|c| *c != '\n') {
                match c {
                    '\u{7}' | '\u{9c}' => return,
                    '\u{1b}' => {
                        rest.next_if_eq(&'\\');
                        return;
                    }
                    _ => {}
                }
            }
        }
        Some(' '..='/') => {
            while rest.next_if(|c| (' '..='/').contains(c)).is_some() {}
            rest.next_if(|c| ('0'..='~').contains(c));
        }
        Some('0'..='~') => {
            rest.next();
        }
        _ => {}
    }
}

fn skip_csi(rest: &mut Rest<'_>) {
    while rest.next_if(|c| (' '..='?').contains(c)).is_some() {}
    rest.next_if(|c| ('@'..='~').contains(c));
}

/// JSON text with every such character as an escape: the same value, safe to show.
pub(crate) fn json(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '\n' && is_dangerous(c) {
            let mut units = [0u16; 2];
            for unit in c.encode_utf16(&mut units) {
                // Writing to a String cannot fail.
                let _ = write!(safe, "\\u{unit:04x}");
            }
        } else {
            safe.push(c);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escape_sequences_go_whole() {
        assert_eq!(line("a\u{1b}[31;1mred\u{1b}[0m b"), "ared b");
        assert_eq!(line("x\u{1b}]0;title\u{7}y"), "xy");
        assert_eq!(line("x\u{1b}]8;;http://evil\u{1b}\\link"), "xlink");
        assert_eq!(line("x\u{9b}2Jy"), "xy");
        assert_eq!(line("up\u{1b}Mup\u{1b}(0q"), "upupq");
        assert_eq!(line("a\r\nb\tc\u{8}"), "a b c");
        assert_eq!(lines("a\r\nb\tc"), "a\nb    c");
    }

    #[test]
    fn text_that_reads_otherwise_than_it_is_loses_its_tricks() {
        assert_eq!(line("safe\u{202e}txt.exe"), "safetxt.exe");
        assert_eq!(line("a\u{200b}b\u{2066}c\u{e0041}d\u{feff}"), "abcd");
        assert_eq!(line("x\u{fe0f}\u{e0100}\u{34f}y"), "xy");
        assert_eq!(line("żółć 日本 🙂"), "żółć 日本 🙂");
    }

    #[test]
    fn an_unfinished_string_sequence_cannot_hide_the_next_line() {
        assert_eq!(lines("\u{1b}]0;hidden\nshown"), "\nshown");
    }

    proptest! {
        #[test]
        fn nothing_dangerous_is_left(text in any::<String>()) {
            prop_assert!(!line(&text).chars().any(is_dangerous));
            prop_assert!(!lines(&text).chars().any(|c| c != '\n' && is_dangerous(c)));
        }

        #[test]
        fn sequences_in_the_middle_leave_nothing(a in "[ -~]{0,8}", b in "\u{1b}[\\[\\]PX_^()#-~]{0,6}", c in any::<String>()) {
            let shown = line(&format!("{a}{b}{c}"));
            prop_assert!(!shown.chars().any(is_dangerous));
        }

        #[test]
        fn json_keeps_its_value(text in any::<String>()) {
            let value = serde_json::json!({"k": text});
            let safe = json(&value.to_string());
            prop_assert!(!safe.chars().any(is_dangerous));
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
        }
    }
}
