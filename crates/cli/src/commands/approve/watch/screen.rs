//! The terminal as a screen, and back as it was, whatever ends the program.

use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use crossterm::terminal::{self, EnterAlternateScreen, LeaveAlternateScreen};
use crossterm::{cursor, execute};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use std::io::{Stdout, Write, stdout};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether this process has changed the terminal.
static CHANGED: AtomicBool = AtomicBool::new(false);
static HOOK: Once = Once::new();

/// The alternate screen in raw mode. Dropping it gives the terminal back.
pub(super) struct Screen {
    pub(super) terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    pub(super) fn open() -> std::io::Result<Screen> {
        HOOK.call_once(|| {
            let print = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                // First, or the message would go to the screen that vanishes.
                restore();
                print(info);
            }));
        });
        CHANGED.store(true, Ordering::SeqCst);
        let opened = terminal::enable_raw_mode().and_then(|()| {
            execute!(stdout(), EnterAlternateScreen, EnableBracketedPaste)?;
            Terminal::new(CrosstermBackend::new(stdout()))
        });
        match opened {
            Ok(terminal) => Ok(Screen { terminal }),
            Err(error) => {
                restore();
                Err(error)
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back, once. What fails here fails because the terminal is gone.
fn restore() {
    if !CHANGED.swap(false, Ordering::SeqCst) {
        return;
    }
    let mut out = stdout();
    drop(execute!(
        out,
        DisableBracketedPaste,
        LeaveAlternateScreen,
        cursor::Show
    ));
    drop(terminal::disable_raw_mode());
    drop(out.flush());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use portable_pty::{CommandBuilder, PtySize, native_pty_system};
    use std::io::Read;

    const NAME: &str = "commands::approve::watch::screen::tests::a_panic_gives_the_terminal_back";
    const CHILD: &str = "KRUXOS_TEST_PANICS";

    /// Runs itself again in a pseudo-terminal, where it panics with the screen open.
    #[test]
    fn a_panic_gives_the_terminal_back() {
        if std::env::var_os(CHILD).is_some() {
            let _screen = Screen::open().unwrap();
            panic!("on purpose");
        }
        let pair = native_pty_system().openpty(PtySize::default()).unwrap();
        let mut output = pair.master.try_clone_reader().unwrap();
        let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
        command.args(["--exact", NAME, "--nocapture"]);
        command.env(CHILD, "1");
        let mut child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let mut bytes = Vec::new();
        // Linux ends it with an error once nobody has the terminal open.
        drop(output.read_to_end(&mut bytes));
        assert!(!child.wait().unwrap().success());
        let shown = String::from_utf8_lossy(&bytes);
        let left = shown.find("\u{1b}[?1049l").expect("the screen was left");
        let said = shown.find("on purpose").expect("the message was printed");
        assert!(shown.contains("\u{1b}[?1049h") && left < said, "{shown:?}");
        assert_eq!(shown.matches("\u{1b}[?1049l").count(), 1, "once is enough");
    }
}
