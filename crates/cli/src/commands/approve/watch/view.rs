//! The model on a screen. Everything that is drawn was cleaned before, in [`super::detail`] and
//! [`super::request`], or is cleaned here.

use super::detail::{self, Tone};
use super::message::Mood;
use super::model::Model;
use super::popup;
use super::request::Request;
use crate::{clean, span};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Colours, or none of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Theme {
    pub(super) color: bool,
}

impl Theme {
    pub(super) fn tone(self, tone: Tone) -> Style {
        match tone {
            Tone::Plain => Style::new(),
            Tone::Title => self.bold(),
            Tone::Dim | Tone::Quoted => self.with(Style::new().add_modifier(Modifier::DIM)),
            Tone::Warn => self.with(Style::new().fg(Color::Yellow)),
            Tone::Added => self.with(Style::new().fg(Color::Green)),
            Tone::Removed => self.with(Style::new().fg(Color::Red)),
            Tone::Hunk => self.with(Style::new().fg(Color::Cyan)),
        }
    }

    pub(super) fn bold(self) -> Style {
        self.with(Style::new().add_modifier(Modifier::BOLD))
    }

    fn chosen(self) -> Style {
        self.with(Style::new().add_modifier(Modifier::REVERSED))
    }

    fn mood(self, mood: Mood) -> Style {
        self.tone(match mood {
            Mood::Good => Tone::Added,
            Mood::Bad => Tone::Removed,
            Mood::Neutral => Tone::Plain,
        })
    }

    fn with(self, style: Style) -> Style {
        if self.color { style } else { Style::new() }
    }
}

/// Draws the whole screen.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, theme: Theme) {
    let areas = model.areas();
    // A resize can come between the model's size and the frame's.
    let clip = |area: Rect| area.intersection(frame.area());
    let (title, list, rule) = (clip(areas.title), clip(areas.list), clip(areas.rule));
    let (detail, notice, keys) = (clip(areas.detail), clip(areas.notice), clip(areas.keys));
    put(frame, title, title_line(model, theme, title.width));
    if areas.is_too_small() {
        let words = "This terminal is too small. q quits.";
        frame.render_widget(Paragraph::new(words).wrap(Default::default()), list);
        return;
    }
    if model.requests.is_empty() {
        empty(frame, model, theme, list.union(detail));
    } else {
        draw_list(frame, model, theme, list);
        put(frame, rule, rule_line(model, theme, rule.width));
        draw_detail(frame, model, theme, detail);
    }
    put(frame, notice, notice_line(model, theme));
    put(frame, keys, keys_line(model, theme, keys.width));
    popup::draw(frame, model, theme);
}

fn put(frame: &mut Frame<'_>, area: Rect, line: Line<'_>) {
    frame.render_widget(line, area);
}

/// Left and right, with what is between them; the right part goes first where both do not fit.
fn apart(left: Span<'static>, right: Span<'static>, width: u16) -> Line<'static> {
    let used = left.width() + right.width();
    match usize::from(width).checked_sub(used) {
        None => Line::from(left),
        Some(gap) => Line::from(vec![left, Span::raw(" ".repeat(gap)), right]),
    }
}

fn title_line(model: &Model, theme: Theme, width: u16) -> Line<'static> {
    let count = model.requests.len();
    let left = match count {
        0 => " kruxos approvals".to_owned(),
        1 => " kruxos approvals   1 waits".to_owned(),
        _ => format!(" kruxos approvals   {count} wait"),
    };
    let right = match (&model.away, model.ready) {
        (Some(_), _) => Span::styled("away ", theme.tone(Tone::Removed)),
        (None, true) => Span::styled("live ", theme.tone(Tone::Added)),
        (None, false) => Span::styled("connecting ", theme.tone(Tone::Dim)),
    };
    apart(Span::styled(left, theme.bold()), right, width)
}

fn rule_line(model: &Model, theme: Theme, width: u16) -> Line<'static> {
    let Some(request) = model.current() else {
        return Line::default();
    };
    let name = format!("── {} {} ", request.id, request.capability);
    let below = model.detail().lines.len();
    let height = usize::from(model.areas().detail.height);
    let shown = (model.top + height).min(below);
    let place = if below > height {
        format!(" {shown}/{below} ──")
    } else {
        String::new()
    };
    let name = cut(&name, usize::from(width).saturating_sub(place.width()));
    let gap = usize::from(width).saturating_sub(name.width() + place.width());
    Line::styled(name + &"─".repeat(gap) + &place, theme.tone(Tone::Dim))
}

fn notice_line(model: &Model, theme: Theme) -> Line<'static> {
    if let Some(why) = &model.away {
        let words = format!(" gateway away, trying again ({})", clean::line(why));
        return Line::styled(words, theme.tone(Tone::Removed));
    }
    match &model.notice {
        Some((mood, words)) => Line::styled(format!(" {}", clean::line(words)), theme.mood(*mood)),
        None => Line::default(),
    }
}

fn keys_line(model: &Model, theme: Theme, width: u16) -> Line<'static> {
    let all = if model.requests.is_empty() {
        " ? help  q quit"
    } else if width < 64 {
        " a approve  r reject  ? help  q quit"
    } else {
        " ↑↓ choose  PgUp PgDn read  a approve  r reject  ? help  q quit"
    };
    Line::styled(all, theme.tone(Tone::Dim))
}

fn empty(frame: &mut Frame<'_>, model: &Model, theme: Theme, area: Rect) {
    let words = match (&model.away, model.ready) {
        (None, false) => ["Asking the gateway …", ""],
        _ => [
            "Nothing waits for you.",
            "A request appears here the moment an agent makes one.",
        ],
    };
    let lines = vec![
        Line::styled(words[0], theme.bold()),
        Line::styled(words[1], theme.tone(Tone::Dim)),
    ];
    let top = area.height / 3;
    let middle = Rect {
        y: area.y + top,
        height: area.height - top,
        ..area
    };
    let words = Paragraph::new(lines).centered().wrap(Default::default());
    frame.render_widget(words, middle);
}

/// Widths of the list's columns on this screen; 0 for those that are left out.
struct Columns {
    id: usize,
    agent: usize,
    capability: usize,
    age: usize,
    left: usize,
}

/// Columns of what stands before the first: whether it is chosen, and whether it is risky.
const MARKS: usize = 4;

impl Columns {
    fn of(width: u16) -> Columns {
        let width = usize::from(width);
        let mut columns = Columns {
            id: if width >= 76 { 15 } else { 0 },
            agent: if width >= 56 { 18 } else { 0 },
            capability: 0,
            age: if width >= 56 { 8 } else { 0 },
            left: 8,
        };
        let fixed = columns.id + columns.agent + columns.age + columns.left + MARKS;
        columns.capability = width.saturating_sub(fixed);
        columns
    }

    fn row(&self, cells: [&str; 5]) -> String {
        let [id, agent, capability, age, left] = cells;
        let widths = [
            (id, self.id),
            (agent, self.agent),
            (capability, self.capability),
            (age, self.age),
            (left, self.left),
        ];
        let mut row = String::new();
        for (text, width) in widths.into_iter().filter(|(_, width)| *width > 0) {
            // The last column of each is a gap.
            let text = cut(text, width.saturating_sub(1));
            let gap = width.saturating_sub(text.width());
            row.push_str(&text);
            row.push_str(&" ".repeat(gap));
        }
        row
    }
}

fn draw_list(frame: &mut Frame<'_>, model: &Model, theme: Theme, area: Rect) {
    let columns = Columns::of(area.width);
    let names = columns.row(["ID", "AGENT", "CAPABILITY", "AGE", "EXPIRES"]);
    let mut lines = vec![Line::styled(format!("    {names}"), theme.tone(Tone::Dim))];
    let rows = model.areas().rows();
    let chosen = |one: &Request| Some(&one.id) == model.selected.as_ref();
    let at = model.requests.iter().position(chosen).unwrap_or(0);
    let first = at.saturating_sub(rows.saturating_sub(1));
    for request in model.requests.iter().skip(first).take(rows) {
        lines.push(row(model, theme, request, &columns));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

fn row(model: &Model, theme: Theme, request: &Request, columns: &Columns) -> Line<'static> {
    let chosen = Some(&request.id) == model.selected.as_ref();
    let age = span::show(request.age(model.now));
    let left = match request.left(model.now) {
        None => "never".to_owned(),
        Some(left) => span::show(left),
    };
    let busy = model.deciding.contains(&request.id);
    let left = if busy { "…" } else { left.as_str() };
    let cells = columns.row([&request.id, &request.agent, &request.capability, &age, left]);
    let pointer = if chosen { "> " } else { "  " };
    let risk = if request.is_risky() { "! " } else { "  " };
    let style = if chosen { theme.chosen() } else { Style::new() };
    Line::from(vec![
        Span::styled(pointer, style),
        Span::styled(risk, style.patch(theme.tone(Tone::Warn))),
        Span::styled(cells, style),
    ])
}

fn draw_detail(frame: &mut Frame<'_>, model: &Model, theme: Theme, area: Rect) {
    let lines = model.detail().lines.into_iter().skip(model.top);
    let shown: Vec<Line<'_>> = lines
        .take(usize::from(area.height))
        .map(|detail::Line { tone, text }| Line::styled(text, theme.tone(tone)))
        .collect();
    frame.render_widget(Paragraph::new(shown), area);
}

/// At most so many columns, with a mark where something is left out.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let (mut shown, mut used) = (String::new(), 0);
    for character in text.chars() {
        used += character.width().unwrap_or(0);
        if used + 1 > width {
            break;
        }
        shown.push(character);
    }
    if width > 0 {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
