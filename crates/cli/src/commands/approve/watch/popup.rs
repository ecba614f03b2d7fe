//! What stands in front of the list: the question, the prompt, the help.

use super::detail::{self, Tone};
use super::editor::Editor;
use super::message::Mode;
use super::model::Model;
use super::request::Request;
use super::view::{Theme, cut};
use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph};

/// Widest box, in columns: longer lines are hard to read.
const MAX_WIDTH: u16 = 84;

const HELP: [(&str, &str); 9] = [
    ("↑ ↓ j k", "choose a request"),
    ("Home End g G", "the first, the last"),
    ("PgDn Space", "read on"),
    ("PgUp", "read back"),
    ("a", "approve: it runs exactly as shown"),
    ("r", "reject, with a reason for the agent"),
    ("q Ctrl-C", "quit; nothing is decided by that"),
    ("!", "can destroy data or reaches outside"),
    ("Esc", "back"),
];

pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, theme: Theme) {
    match &model.mode {
        Mode::Browse => {}
        Mode::Help => help(frame, theme),
        Mode::Confirm { id } => {
            if let Some(request) = model.request(id) {
                confirm(frame, model, theme, request);
            }
        }
        Mode::Reason { id, editor } => {
            if let Some(request) = model.request(id) {
                reason(frame, theme, request, editor);
            }
        }
    }
}

/// A box of that many lines in the middle; answers what is inside.
fn open(frame: &mut Frame<'_>, theme: Theme, title: &str, lines: usize) -> Rect {
    let whole = frame.area();
    let width = whole
        .width
        .saturating_sub(4)
        .min(MAX_WIDTH)
        .max(whole.width.min(36));
    let height = u16::try_from(lines + 2)
        .unwrap_or(u16::MAX)
        .min(whole.height);
    let area = Rect {
        x: (whole.width - width) / 2,
        y: (whole.height - height) / 2,
        width,
        height,
    };
    let title = cut(&format!(" {title} "), usize::from(width.saturating_sub(2)));
    let block = Block::bordered().title(Line::styled(title, theme.bold()));
    let inside = block.inner(area);
    frame.render_widget(Clear, area);
    frame.render_widget(block, area);
    inside
}

fn inner_width(frame: &Frame<'_>) -> usize {
    let whole = frame.area().width;
    usize::from(
        whole
            .saturating_sub(4)
            .min(MAX_WIDTH)
            .max(whole.min(36))
            .saturating_sub(2),
    )
}

fn help(frame: &mut Frame<'_>, theme: Theme) {
    let inside = open(frame, theme, "Keys", HELP.len());
    let lines = HELP.map(|(keys, what)| Line::raw(format!(" {keys:<13} {what}")));
    frame.render_widget(Paragraph::new(lines.to_vec()), inside);
}

/// What exactly runs, as far as it fits, and how much of it was never on the screen.
fn confirm(frame: &mut Frame<'_>, model: &Model, theme: Theme, request: &Request) {
    let width = inner_width(frame);
    let room = usize::from(frame.area().height).saturating_sub(8).max(1);
    let mut what = detail::essence(request, width);
    let hidden = what.len().saturating_sub(room);
    if hidden > 0 {
        what.truncate(room.saturating_sub(1));
        what.push(detail::Line {
            tone: Tone::Warn,
            text: cut(&format!("… {} more lines", hidden + 1), width),
        });
    }
    let unseen = model.unseen();
    let mut lines: Vec<Line<'_>> = vec![Line::raw(cut(
        &format!("{} by {}", request.capability, request.who()),
        width,
    ))];
    lines.extend(
        what.into_iter()
            .map(|line| Line::styled(line.text, theme.tone(line.tone))),
    );
    let warnings = [
        (
            unseen > 0,
            format!("{unseen} lines about it were not on the screen."),
        ),
        (
            request.is_stale(),
            "Its target has changed since the preview.".to_owned(),
        ),
        (
            request.is_opaque(),
            "Not all of it can be inspected.".to_owned(),
        ),
    ];
    for (_, words) in warnings.into_iter().filter(|(holds, _)| *holds) {
        lines.push(Line::styled(cut(&words, width), theme.tone(Tone::Warn)));
    }
    lines.push(Line::styled("y approve   n back", theme.bold()));
    let inside = open(
        frame,
        theme,
        &format!("Approve {}?", request.id),
        lines.len(),
    );
    frame.render_widget(Paragraph::new(lines), inside);
}

fn reason(frame: &mut Frame<'_>, theme: Theme, request: &Request, editor: &Editor) {
    let inside = open(frame, theme, &format!("Reject {}", request.id), 4);
    let width = usize::from(inside.width);
    let (typed, column) = editor.window(width.saturating_sub(2));
    let lines = vec![
        Line::raw(cut(
            &format!("{} by {}", request.capability, request.who()),
            width,
        )),
        Line::raw(cut("Why? The agent reads it; it may be empty.", width)),
        Line::raw(format!("> {typed}")),
        Line::styled(cut("Enter reject   Esc back", width), theme.bold()),
    ];
    frame.render_widget(Paragraph::new(lines), inside);
    let column = u16::try_from(column + 2).unwrap_or(u16::MAX);
    let x = inside
        .x
        .saturating_add(column)
        .min(inside.right().saturating_sub(1));
    frame.set_cursor_position(Position::new(x, inside.y + 2));
}
