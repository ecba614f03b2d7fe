//! Everything that reaches the terminal goes through here, cleaned. Answers on stdout, everything
//! else on stderr.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is this module's whole purpose; no other module of the crate prints"
)]

use crate::clean;
use crate::failure::{Exit, Failure};
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

/// How a piece of text looks where colour is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    Plain,
    Bold,
    Dim,
    Good,
    Bad,
    Warn,
    Accent,
}

impl Look {
    /// SGR parameters (ECMA-48).
    fn code(self) -> &'static str {
        match self {
            Look::Plain => "",
            Look::Bold => "1",
            Look::Dim => "2",
            Look::Good => "32",
            Look::Bad => "31",
            Look::Warn => "33",
            Look::Accent => "36",
        }
    }
}

/// Where and how a command prints.
#[derive(Debug)]
pub(crate) struct Out {
    pub(crate) json: bool,
    quiet: bool,
    color: bool,
    error_color: bool,
    terminal: bool,
}

impl Out {
    pub(crate) fn new(json: bool, quiet: bool, no_color: bool) -> Self {
        #[allow(
            clippy::disallowed_methods,
            reason = "the no-color.org convention, read once here"
        )]
        let forbidden = no_color || std::env::var("NO_COLOR").is_ok_and(|value| !value.is_empty());
        let terminal = std::io::stdout().is_terminal();
        Self {
            json,
            quiet,
            color: terminal && !forbidden,
            error_color: std::io::stderr().is_terminal() && !forbidden,
            terminal,
        }
    }

    /// Whether colours may be used on standard output.
    pub(crate) fn color(&self) -> bool {
        self.color
    }

    /// Whether standard output is a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// A line of the answer.
    pub(crate) fn line(&self, text: &str) {
        self.spans(&[(Look::Plain, text)]);
    }

    /// A line of the answer in several looks.
    pub(crate) fn spans(&self, parts: &[(Look, &str)]) {
        if self.quiet {
            return;
        }
        let mut shown = String::new();
        for (look, text) in parts {
            push(&mut shown, *look, &clean::line(text), self.color);
        }
        write_out(format!("{shown}\n"));
    }

    /// Text of several lines, such as a policy file. Shown even when quiet: it is the answer.
    pub(crate) fn text(&self, text: &str) {
        let clean = clean::lines(text);
        let end = if clean.ends_with('\n') { "" } else { "\n" };
        write_out(format!("{clean}{end}"));
    }

    /// Bytes that must stay exactly as they are: completions and manual pages.
    pub(crate) fn raw(&self, bytes: &[u8]) {
        write_out(bytes);
    }

    /// The answer as JSON on one line. Shown even when quiet: it was asked for.
    pub(crate) fn value(&self, value: &Value) {
        write_out(format!("{}\n", clean::json(&value.to_string())));
    }

    /// The answer as JSON for a person to read.
    pub(crate) fn pretty(&self, value: &Value) {
        let text = serde_json::to_string_pretty(value).unwrap_or_default();
        write_out(format!("{}\n", clean::json(&text)));
    }

    /// A unified diff, added and removed lines coloured.
    pub(crate) fn diff(&self, diff: &str) {
        for line in diff.lines() {
            let look = match line.as_bytes().first() {
                Some(b'+') => Look::Good,
                Some(b'-') => Look::Bad,
                Some(b'@') => Look::Accent,
                _ => Look::Plain,
            };
            self.spans(&[(look, line)]);
        }
    }

    /// A table on a terminal, tab-separated columns elsewhere.
    pub(crate) fn table(&self, header: &[&str], rows: Vec<Vec<String>>) {
        if self.quiet {
            return;
        }
        if !self.terminal {
            write_out(format!("{}\n", header.join("\t")));
            for row in rows {
                let cells: Vec<String> = row.iter().map(|cell| clean::line(cell)).collect();
                write_out(format!("{}\n", cells.join("\t")));
            }
            return;
        }
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic);
        let width = rustix::termios::tcgetwinsize(std::io::stdout()).map_or(0, |size| size.ws_col);
        table.set_width(if width == 0 { 100 } else { width });
        table.set_header(header.iter().map(|name| name.to_uppercase()));
        for row in rows {
            table.add_row(row.iter().map(|cell| clean::line(cell)));
        }
        let shown: Vec<String> = table
            .lines()
            .map(|line| line.trim_end().to_owned())
            .collect();
        write_out(format!("{}\n", shown.join("\n")));
    }

    /// Something beside the answer: a warning, progress.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            eprintln!("{}", clean::line(text));
        }
    }

    /// Asks on the terminal; `yes` answers for the person. Without either nothing is done.
    pub(crate) fn confirm(&self, question: &str, yes: bool) -> Result<(), Failure> {
        if yes {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() {
            return Err(
                Failure::refused(format!("not done: {}", clean::line(question)))
                    .hint("Nobody can be asked here; add --yes to go on without a question."),
            );
        }
        eprint!("{} [y/N] ", clean::line(question));
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(Failure::refused("not done")),
        }
    }

    /// Says why a command failed and what to do next; the structured error where JSON was asked for.
    pub(crate) fn failure(&self, failure: &Failure) {
        if failure.silent {
            return;
        }
        if let (true, Some(error)) = (self.json, &failure.error) {
            eprintln!("{}", clean::json(&error.to_string()));
            return;
        }
        let mut shown = String::new();
        push(&mut shown, Look::Bad, "error", self.error_color);
        eprintln!("{shown}: {}", clean::lines(&failure.message));
        for hint in &failure.hints {
            eprintln!("  {}", clean::lines(hint));
        }
    }
}

fn push(shown: &mut String, look: Look, text: &str, color: bool) {
    if !color || look == Look::Plain || text.is_empty() {
        shown.push_str(text);
        return;
    }
    for part in ["\u{1b}[", look.code(), "m", text, "\u{1b}[0m"] {
        shown.push_str(part);
    }
}

fn write_out(text: impl AsRef<[u8]>) {
    let mut stdout = std::io::stdout().lock();
    let written = stdout
        .write_all(text.as_ref())
        .and_then(|()| stdout.flush());
    if let Err(error) = written {
        // `kruxos … | head` closes the pipe: the reader has what it wanted.
        let wanted_no_more = error.kind() == std::io::ErrorKind::BrokenPipe;
        std::process::exit(if wanted_no_more {
            0
        } else {
            Exit::Failed as i32
        });
    }
}

/// What clap has to say: help and version on stdout, mistakes on stderr with exit code 2.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    // Without a terminal to print on there is nobody to tell.
    drop(error.print());
    match error.use_stderr() {
        true => ExitCode::from(Exit::Usage as u8),
        false => ExitCode::SUCCESS,
    }
}
