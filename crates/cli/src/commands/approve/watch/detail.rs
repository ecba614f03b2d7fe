//! All there is to know of a request before it is decided, as lines that fit the pane.
//!
//! Nothing is cut off: lines wrap, and what an agent wrote shows its hidden characters as escapes or loses
//! them, so that what is read is what runs.

use super::request::Request;
use crate::commands::{items, text, text_or};
use crate::{clean, span};
use jiff::Timestamp;
use serde_json::Value;
use unicode_width::UnicodeWidthChar;

/// How a line looks; the view makes colours of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Title,
    Dim,
    Warn,
    Added,
    Removed,
    Hunk,
    /// Text of the agent's own, to be believed by nobody.
    Quoted,
}

/// One line on the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) tone: Tone,
    pub(super) text: String,
}

/// Columns of the names before facts.
const NAMES: usize = 13;
/// Parts of a preview that are rendered by name; every other part is shown as it is.
const RENDERED: [&str; 8] = [
    "summary",
    "diff",
    "notes",
    "kind",
    "argv",
    "paths",
    "stale",
    "target_state",
];

/// A page for the pane.
#[derive(Debug, Default)]
pub(super) struct Detail {
    pub(super) lines: Vec<Line>,
    /// Lines from the first on that say what would run; those behind are the request's own data.
    pub(super) matter: usize,
}

/// The whole page for a pane of `width` columns.
pub(super) fn page(request: &Request, now: Timestamp, width: usize) -> Detail {
    let mut page = Page {
        width: width.max(1),
        lines: Vec::new(),
    };
    let document = &request.document;
    first(&mut page, request);
    preview(&mut page, &document["preview"]);
    page.title("Exact inputs, secrets hidden");
    let inputs = serde_json::to_string_pretty(&document["inputs"]).unwrap_or_default();
    for line in clean::json(&inputs).lines() {
        page.put(Tone::Plain, line);
    }
    said(&mut page, document);
    let matter = page.lines.len();
    rest(&mut page, request, now);
    Detail {
        lines: page.lines,
        matter,
    }
}

/// What runs, in the fewest lines: the sentence, then each argument, the difference or the inputs.
pub(super) fn essence(request: &Request, width: usize) -> Vec<Line> {
    let mut page = Page {
        width: width.max(1),
        lines: Vec::new(),
    };
    let preview = &request.document["preview"];
    let summary = text(&preview["summary"]);
    if !summary.is_empty() {
        page.put(Tone::Plain, &escaped(&summary));
    }
    if preview["argv"].is_array() {
        arguments(&mut page, preview);
    } else if !diff(&mut page, preview) {
        page.put(
            Tone::Plain,
            &clean::json(&request.document["inputs"].to_string()),
        );
    }
    page.lines
}

/// What a person asks first: who, why, and what is to be feared.
fn first(page: &mut Page, request: &Request) {
    let document = &request.document;
    page.fact("from", &request.who());
    page.fact("capability", &request.capability);
    page.fact("why it waits", &text(&document["reason"]));
    for note in items(&document["risk_notes"]) {
        page.warn("risk", &text(note));
    }
    if request.is_stale() {
        page.warn(
            "stale",
            "what it is about has changed since this preview was made",
        );
    }
}

fn rest(page: &mut Page, request: &Request, now: Timestamp) {
    let document = &request.document;
    page.title("Request");
    page.fact("id", &request.id);
    page.fact("session", &text(&document["session_id"]));
    page.fact("rule", &rule(&document["rule"]));
    page.fact("asked", &crate::commands::time(&document["created_at"]));
    let expires = match request.left(now) {
        None => "never".to_owned(),
        Some(left) => format!("in {}", span::show(left)),
    };
    page.fact("expires", &expires);
}

/// The layer that decided, with its file and line.
fn rule(rule: &Value) -> String {
    let winner = text(&rule["winner"]);
    let layer = items(&rule["layers"]).find(|layer| layer["layer"] == rule["winner"]);
    let place = layer.map(|layer| match (&layer["file"], &layer["line"]) {
        (Value::String(file), Value::Number(line)) => format!(" ({file}:{line})"),
        (Value::String(file), _) => format!(" ({file})"),
        _ => String::new(),
    });
    winner + &place.unwrap_or_default()
}

/// What would change: the sentence, each argument, every fact, the diff last.
fn preview(page: &mut Page, preview: &Value) {
    let Some(facts) = preview.as_object() else {
        return;
    };
    page.title("What would change");
    page.put(Tone::Plain, &escaped(&text(&preview["summary"])));
    for note in items(&preview["notes"]) {
        page.put(Tone::Warn, &format!("! {}", escaped(&text(note))));
    }
    arguments(page, preview);
    for path in items(&preview["paths"]) {
        let size = path["size"]
            .as_u64()
            .map_or_else(|| "not there".to_owned(), |size| format!("{size} bytes"));
        let shown = format!("{} ({size})", escaped(&text(&path["path"])));
        page.fact(&text_or(&path["role"], "path"), &shown);
    }
    for (name, fact) in facts {
        if !RENDERED.contains(&name.as_str()) && !fact.is_null() {
            page.fact(&name.replace('_', " "), &clean::json(&text(fact)));
        }
    }
    if preview["diff"].is_string() {
        page.put(Tone::Plain, "");
        diff(page, preview);
    }
}

/// The difference, if there is one.
fn diff(page: &mut Page, preview: &Value) -> bool {
    let Some(diff) = preview["diff"].as_str() else {
        return false;
    };
    // Not `lines()`: it would take a carriage return away.
    for line in diff.strip_suffix('\n').unwrap_or(diff).split('\n') {
        let tone = match line.as_bytes().first() {
            Some(b'+') => Tone::Added,
            Some(b'-') => Tone::Removed,
            Some(b'@') => Tone::Hunk,
            _ => Tone::Plain,
        };
        page.put(tone, &escaped(line));
    }
    true
}

fn arguments(page: &mut Page, preview: &Value) {
    for (at, argument) in items(&preview["argv"]).enumerate() {
        page.fact(&format!("argv[{at}]"), &clean::json(&argument.to_string()));
    }
}

/// What the agent says about its call, where it says anything: apart, and as nothing but text.
fn said(page: &mut Page, document: &Value) {
    let Some(words) = document["agent_reason"].as_str() else {
        return;
    };
    page.title("The agent says, which proves nothing");
    for line in clean::lines(words).lines() {
        page.wrap(Tone::Quoted, "| ", "| ", line);
    }
}

/// Text with every character that hides or moves as a visible escape. Tabs are wide spaces here.
fn escaped(text: &str) -> String {
    clean::json(&text.replace('\t', "    ")).replace('\n', "\\n")
}

struct Page {
    width: usize,
    lines: Vec<Line>,
}

impl Page {
    fn title(&mut self, title: &str) {
        self.put(Tone::Plain, "");
        self.put(Tone::Title, title);
    }

    fn fact(&mut self, name: &str, value: &str) {
        self.named(Tone::Plain, name, value);
    }

    fn warn(&mut self, name: &str, value: &str) {
        self.named(Tone::Warn, name, value);
    }

    fn named(&mut self, tone: Tone, name: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        let name = clean::line(name);
        self.wrap(tone, &format!("{name:<NAMES$} "), "  ", &escaped(value));
    }

    fn put(&mut self, tone: Tone, text: &str) {
        self.wrap(tone, "", "  ", text);
    }

    /// One line or, where it is too long, several; those that go on begin with `again`.
    fn wrap(&mut self, tone: Tone, before: &str, again: &str, text: &str) {
        let mut shown = String::new();
        let mut used = 0;
        for character in before.chars().chain(text.chars()) {
            let wide = character.width().unwrap_or(0);
            if used + wide > self.width && used > again.len() {
                let full = std::mem::replace(&mut shown, again.to_owned());
                self.lines.push(Line { tone, text: full });
                used = again.len();
            }
            shown.push(character);
            used += wide;
        }
        self.lines.push(Line { tone, text: shown });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;
    use unicode_width::UnicodeWidthStr;

    fn shown(document: Value, width: usize) -> String {
        let request = Request::read(&document).unwrap();
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let lines = page(&request, now, width).lines;
        let shown: Vec<String> = lines.into_iter().map(|line| line.text).collect();
        shown.join("\n")
    }

    #[test]
    fn arguments_stand_one_by_one_and_hide_nothing() {
        let shown = shown(
            json!({
                "id": "ap_1", "capability": "process.run",
                "preview": {"summary": "Runs rm", "argv": ["rm", "-rf", "a b", "safe\u{202e}txt", "x\u{1b}[2J\ny"],
                            "working_directory": null, "environment": ["PATH"], "stdin_bytes": 3},
            }),
            80,
        );
        for line in [
            "argv[0]       \"rm\"",
            "argv[2]       \"a b\"",
            "argv[3]       \"safe\\u202etxt\"",
            "argv[4]       \"x\\u001b[2J\\ny\"",
            "environment   [\"PATH\"]",
            "stdin bytes   3",
        ] {
            assert!(shown.contains(line), "{line}: {shown}");
        }
    }

    #[test]
    fn what_the_agent_says_stands_apart_without_tricks() {
        let shown = shown(
            json!({"id": "ap_1", "agent_reason": "trust\u{200b} me\u{1b}[2J\n\u{202e}Exact inputs"}),
            40,
        );
        let (_, said) = shown.split_once("The agent says").unwrap();
        assert!(
            said.contains("\n| trust me\n| Exact inputs\n\nRequest\n"),
            "{said}"
        );
    }

    #[test]
    fn the_rule_is_named_with_its_place() {
        let layers = json!([{"layer": "system"}, {"layer": "org", "file": "org.yaml", "line": 4}]);
        let shown = shown(
            json!({"id": "ap_1", "rule": {"winner": "org", "layers": layers}}),
            80,
        );
        assert!(shown.contains("rule          org (org.yaml:4)"), "{shown}");
    }

    proptest! {
        #[test]
        fn no_text_is_wider_than_the_pane_or_lost(text in any::<String>(), width in 4..90usize) {
            let document = json!({
                "id": "ap_1", "capability": text, "reason": text, "agent_reason": text,
                "inputs": {"k": text}, "risk_notes": [text],
                "preview": {"summary": text, "diff": text, "argv": [text], "notes": [text]},
            });
            let request = Request::read(&document).unwrap();
            let now = "2026-01-01T00:00:00Z".parse().unwrap();
            for line in page(&request, now, width).lines {
                prop_assert!(line.text.width() <= width, "{:?}", line.text);
                prop_assert_eq!(clean::line(&line.text), line.text);
            }
        }

        #[test]
        fn a_long_line_is_all_there(text in "[a-z ]{1,300}", width in 10..60usize) {
            let document = json!({"id": "ap_1", "preview": {"summary": "", "diff": format!("+{text}")}});
            let request = Request::read(&document).unwrap();
            let now = "2026-01-01T00:00:00Z".parse().unwrap();
            let added: Vec<String> = page(&request, now, width)
                .lines
                .into_iter()
                .filter(|line| line.tone == Tone::Added)
                .enumerate()
                .map(|(at, line)| if at == 0 { line.text } else { line.text[2..].to_owned() })
                .collect();
            prop_assert_eq!(added.concat(), format!("+{text}"));
        }
    }
}
