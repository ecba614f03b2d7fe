//! Pid 1 of a program's pid namespace.

use super::exec::{self, Image, Streams};
use super::output::{CHUNK, Output};
use crate::protocol::{self, Command, EndedBy, Event, Exit, Target, kind};
use crate::spec::ProgramSpec;
use crate::step::{Failure, Plan, Step};
use crate::sys;
use crate::zygote::Zygote;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{PidfdFlags, pidfd_open};

/// Pid 1, with a program that was executed.
pub(super) struct Init {
    children: OwnedFd,
    stdout: Output,
    stderr: Output,
    program: i32,
    buffer: Vec<u8>,
}

impl Init {
    /// Starts the program; when this returns well it was executed, and the gateway knows.
    pub(super) fn start(
        zygote: &Zygote<'_>,
        plan: Plan,
        spec: &ProgramSpec,
        control: &OwnedFd,
        files: [OwnedFd; 2],
        stdin: Option<OwnedFd>,
    ) -> Result<Init, Failure> {
        let image = plan.run(Step::Pipes, || Image::of(spec))?;
        let pipes = plan.run(Step::Pipes, Pipes::open)?;
        let children = plan.run(Step::Pipes, || {
            // Ours again: the zygote leaves its children to the kernel.
            sys::set_signal(libc::SIGCHLD, false);
            sys::block_signal(libc::SIGCHLD, true)?;
            // An output file at the limit is a full one.
            sys::set_signal(libc::SIGXFSZ, true);
            sys::signal_fd(libc::SIGCHLD)
        })?;
        let streams = Streams {
            stdin: stdin.as_ref().unwrap_or(&zygote.heritage.null),
            stdout: &pipes.stdout.1,
            stderr: &pipes.stderr.1,
        };
        let program = plan.run(Step::Fork, || {
            sys::fork_borrowing(&mut || {
                let failure = exec::become_program(zygote, plan, spec, &image, &streams);
                let _told = rustix::io::write(&pipes.status.1, &Event::failure(failure));
                1
            })
        })?;
        let Pipes {
            stdout,
            stderr,
            status,
        } = pipes;
        drop((stdout.1, stderr.1, status.1, stdin));
        wait_for_exec(&status.0)?;
        plan.run(Step::Started, || {
            let own = pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
            protocol::send(control, kind::STARTED, &[], &[own.as_fd()])
        })?;
        let [stdout_file, stderr_file] = files;
        Ok(Init {
            children,
            stdout: Output::new(stdout.0, stdout_file, spec.output_bytes),
            stderr: Output::new(stderr.0, stderr_file, spec.output_bytes),
            program,
            // Only what is used of it costs memory.
            buffer: Vec::with_capacity(CHUNK),
        })
    }

    /// Serves the program until it ends, then ends everything else and reports.
    pub(super) fn run(mut self, control: &OwnedFd) -> ! {
        let by = loop {
            match self.turn(control) {
                Turn::Goes => {}
                Turn::Ended(by) => break by,
                // Nobody is left to report to; with this process everything ends.
                Turn::Abandoned => sys::exit(0),
            }
        };
        let exit = self.finish(by);
        let _told = protocol::send(control, kind::EXITED, &exit.encode(), &[]);
        sys::exit(0)
    }

    /// Waits for something to happen and handles it.
    fn turn(&mut self, control: &OwnedFd) -> Turn {
        let mut waited = vec![
            PollFd::new(control, PollFlags::IN),
            PollFd::new(&self.children, PollFlags::IN),
        ];
        let outputs = [&self.stdout, &self.stderr];
        for pipe in outputs.iter().filter_map(|output| output.pipe.as_ref()) {
            waited.push(PollFd::new(pipe, PollFlags::IN));
        }
        match poll(&mut waited, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return Turn::Abandoned,
        }
        let mut ready = waited.iter().map(|fd| !fd.revents().is_empty());
        let (commanded, children) = (ready.next(), ready.next());
        drop(waited);
        self.stdout.pump(&mut self.buffer);
        self.stderr.pump(&mut self.buffer);
        if children == Some(true)
            && let Some(by) = self.reap()
        {
            return Turn::Ended(by);
        }
        if commanded == Some(true) {
            return self.obey(control);
        }
        Turn::Goes
    }

    /// Reaps what has ended; answers how the program did, if it was among it.
    fn reap(&mut self) -> Option<EndedBy> {
        let mut information = [0; 128];
        // Only to make it unreadable again: several children may be one signal.
        let _read = rustix::io::read(&self.children, &mut information);
        let mut ended = None;
        while let Ok(Some(reaped)) = sys::reap(false) {
            if reaped.pid == self.program {
                ended = Some(ended_by(reaped.status));
            }
        }
        ended
    }

    /// One command of the gateway's.
    fn obey(&mut self, control: &OwnedFd) -> Turn {
        let packet = match protocol::receive(control) {
            Ok(Some(packet)) if packet.kind == kind::COMMAND => packet,
            Err(Errno::AGAIN) => return Turn::Goes,
            _ => return Turn::Abandoned,
        };
        // A process that has gone meanwhile needs no signal.
        match Command::decode(&packet.body) {
            Ok(Command::Signal(target, signal)) => {
                let whom = match target {
                    Target::Program => self.program,
                    Target::Group => -self.program,
                    Target::All => -1,
                };
                let _sent = sys::kill(whom, signal);
                Turn::Goes
            }
            Ok(Command::Kill) => {
                let _sent = sys::kill(-1, libc::SIGKILL);
                Turn::Goes
            }
            Err(_) => Turn::Abandoned,
        }
    }

    /// Ends what the program has left behind and reads what is left in the pipes.
    fn finish(&mut self, by: EndedBy) -> Exit {
        // Until none is left: one that is being forked right now may have missed the signal.
        while sys::kill(-1, libc::SIGKILL).is_ok() {
            match sys::reap(true) {
                Ok(_) => {}
                Err(_) => break,
            }
        }
        while sys::reap(true).is_ok() {}
        // No writer in this namespace is left. One elsewhere, to whom the pipe was passed over a socket,
        // is not waited for.
        for output in [&mut self.stdout, &mut self.stderr] {
            // What fits a pipe: a writer elsewhere may go on for ever.
            for _ in 0..32 {
                if !output.pump(&mut self.buffer) {
                    break;
                }
            }
        }
        self.report(by)
    }

    fn report(&self, by: EndedBy) -> Exit {
        let usage = sys::children_usage();
        let micros = |time: libc::timeval| {
            let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
            seconds * 1_000_000 + u64::try_from(time.tv_usec).unwrap_or(0)
        };
        let number = |value: libc::c_long| u64::try_from(value).unwrap_or(0);
        Exit {
            by,
            user_micros: micros(usage.ru_utime),
            system_micros: micros(usage.ru_stime),
            max_resident: number(usage.ru_maxrss) * 1024,
            blocks_read: number(usage.ru_inblock),
            blocks_written: number(usage.ru_oublock),
            stdout_bytes: self.stdout.total,
            stderr_bytes: self.stderr.total,
        }
    }
}

/// What one turn of the loop came to.
enum Turn {
    Goes,
    Ended(EndedBy),
    /// The gateway has closed its end, or says what it never says.
    Abandoned,
}

/// The pipes between pid 1 and the program, each its reading and its writing end.
struct Pipes {
    stdout: (OwnedFd, OwnedFd),
    stderr: (OwnedFd, OwnedFd),
    /// Closed by the exec; what comes through it before is a failure.
    status: (OwnedFd, OwnedFd),
}

impl Pipes {
    fn open() -> Result<Pipes, Errno> {
        let pipes = Pipes {
            stdout: pipe_with(PipeFlags::CLOEXEC)?,
            stderr: pipe_with(PipeFlags::CLOEXEC)?,
            status: pipe_with(PipeFlags::CLOEXEC)?,
        };
        // Our ends only: a program may not expect that its streams do not block.
        rustix::io::ioctl_fionbio(&pipes.stdout.0, true)?;
        rustix::io::ioctl_fionbio(&pipes.stderr.0, true)?;
        Ok(pipes)
    }
}

/// Reads how the program's process fared: nothing once it was executed, or its failure.
fn wait_for_exec(status: &OwnedFd) -> Result<(), Failure> {
    let mut bytes = [0; 8];
    let failed = |errno| Failure {
        step: Step::Exec,
        errno,
    };
    let count = loop {
        match rustix::io::read(status, &mut bytes) {
            Err(Errno::INTR) => {}
            other => break other.map_err(failed)?,
        }
    };
    if count == 0 {
        return Ok(());
    }
    match Event::decode(kind::FAILED, bytes.get(..count).unwrap_or_default()) {
        Ok(Event::Failed(failure)) => Err(failure),
        _ => Err(failed(Errno::BADMSG)),
    }
}

/// A wait status, read.
fn ended_by(status: i32) -> EndedBy {
    if libc::WIFSIGNALED(status) {
        EndedBy::Signal(libc::WTERMSIG(status))
    } else {
        EndedBy::Code(libc::WEXITSTATUS(status))
    }
}
