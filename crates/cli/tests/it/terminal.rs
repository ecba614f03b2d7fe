//! A program in a pseudo-terminal, and what is on its screen.

use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};
use rustix::fs::{Mode, OFlags};
use rustix::termios::LocalModes;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// What a test waits for takes milliseconds; this only says where it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the terminal has received.
struct Seen {
    parser: vt100::Parser,
    bytes: Vec<u8>,
}

/// A terminal with one program in it.
pub(crate) struct Terminal {
    master: Box<dyn MasterPty + Send>,
    keyboard: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    /// The terminal itself stays open, so that its modes can be read when the program has gone.
    tty: OwnedFd,
    seen: Arc<(Mutex<Seen>, Condvar)>,
}

impl Terminal {
    /// `kruxos` on a data directory.
    pub(crate) fn kruxos(
        data_dir: &Path,
        (columns, rows): (u16, u16),
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Terminal {
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_kruxos"));
        command.env_clear();
        command.env("HOME", data_dir);
        command.env("TERM", "xterm-256color");
        for (name, value) in environment {
            command.env(name, value);
        }
        command.arg("--data-dir");
        command.arg(data_dir);
        command.args(arguments);
        Terminal::start(command, columns, rows)
    }

    fn start(command: CommandBuilder, columns: u16, rows: u16) -> Terminal {
        let pair = native_pty_system().openpty(size(columns, rows)).unwrap();
        let name = pair.master.tty_name().unwrap();
        let tty = rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let mut output = pair.master.try_clone_reader().unwrap();
        let parser = vt100::Parser::new(rows, columns, 0);
        let bytes = Vec::new();
        let seen = Arc::new((Mutex::new(Seen { parser, bytes }), Condvar::new()));
        let shared = seen.clone();
        drop(std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                let mut seen = shared.0.lock().unwrap();
                seen.parser.process(&buffer[..count]);
                seen.bytes.extend_from_slice(&buffer[..count]);
                shared.1.notify_all();
            }
        }));
        Terminal {
            keyboard: pair.master.take_writer().unwrap(),
            master: pair.master,
            child,
            tty,
            seen,
        }
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        let mut seen = self.seen.0.lock().unwrap();
        seen.parser.screen_mut().set_size(rows, columns);
        self.master.resize(size(columns, rows)).unwrap();
    }

    /// Waits until the screen is as wanted.
    pub(crate) fn until<T>(
        &self,
        what: &str,
        mut wanted: impl FnMut(&vt100::Screen) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = self.seen.0.lock().unwrap();
        loop {
            if let Some(found) = wanted(seen.parser.screen()) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "{what} is not on the screen:\n{}",
                seen.parser.screen().contents()
            );
            seen = self.seen.1.wait_timeout(seen, left).unwrap().0;
        }
    }

    /// Waits until a text is on the screen; the whole screen then.
    pub(crate) fn shows(&self, text: &str) -> String {
        self.until(text, |screen| {
            Some(screen.contents()).filter(|all| all.contains(text))
        })
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.seen.0.lock().unwrap().bytes.clone()
    }

    /// Whether lines are edited and echoed by the terminal, as a shell left it.
    pub(crate) fn is_cooked(&self) -> bool {
        let modes = rustix::termios::tcgetattr(&self.tty).unwrap().local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = i32::try_from(self.child.process_id().unwrap()).unwrap();
        let id = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// Waits for the program's end; it must leave the terminal as it was.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let status = self.child.wait().unwrap();
        assert!(self.is_cooked(), "the terminal was left raw");
        self.until("the usual screen", |screen| {
            (!screen.alternate_screen() && !screen.hide_cursor() && !screen.bracketed_paste())
                .then_some(())
        });
        status
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Already gone where a test went well.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn size(columns: u16, rows: u16) -> PtySize {
    PtySize {
        rows,
        cols: columns,
        pixel_width: 0,
        pixel_height: 0,
    }
}
