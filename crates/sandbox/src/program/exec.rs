//! The last steps of a program's own process, up to its exec.

use crate::confine::limits;
use crate::seccomp::{Profile, STRICT_EXEC_FD};
use crate::spec::ProgramSpec;
use crate::step::{Failure, Plan, Step};
use crate::sys::{self, Vector};
use crate::zygote::Zygote;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;

/// Where programs are looked for when the environment has no `PATH`.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A program ready to be executed: between fork and exec nothing is allocated or dropped, for the memory
/// is still pid 1's.
pub(super) struct Image {
    /// Where the program may be, in order.
    candidates: Vec<CString>,
    arguments: Vector,
    environment: Vector,
    directory: CString,
}

fn c_string(text: &OsStr) -> Result<CString, Errno> {
    CString::new(text.as_bytes()).map_err(|_| Errno::INVAL)
}

impl Image {
    pub(super) fn of(spec: &ProgramSpec) -> Result<Image, Errno> {
        let program = spec.arguments.first().ok_or(Errno::INVAL)?;
        let candidates = if program.as_bytes().contains(&b'/') {
            vec![c_string(program)?]
        } else {
            let named = spec.environment.iter().find(|(name, _)| name == "PATH");
            let path = named.map_or(OsStr::new(PATH), |(_, path)| path);
            let mut candidates = Vec::new();
            // An empty element would mean the working directory; it is left out.
            for directory in path.as_bytes().split(|byte| *byte == b':') {
                if !directory.is_empty() {
                    let joined = [directory, b"/", program.as_bytes()].concat();
                    candidates.push(CString::new(joined).map_err(|_| Errno::INVAL)?);
                }
            }
            candidates
        };
        let arguments: Result<Vec<_>, _> = spec.arguments.iter().map(|one| c_string(one)).collect();
        let environment: Result<Vec<_>, Errno> = spec
            .environment
            .iter()
            .map(|(name, value)| {
                let joined = [name.as_bytes(), b"=", value.as_bytes()].concat();
                CString::new(joined).map_err(|_| Errno::INVAL)
            })
            .collect();
        Ok(Image {
            candidates,
            arguments: Vector::new(arguments?),
            environment: Vector::new(environment?),
            directory: c_string(spec.working_directory.as_os_str())?,
        })
    }
}

/// The ends a program gets as its standard streams.
pub(super) struct Streams<'a> {
    pub(super) stdin: &'a OwnedFd,
    pub(super) stdout: &'a OwnedFd,
    pub(super) stderr: &'a OwnedFd,
}

/// Becomes the program. Comes back only with a failure.
pub(super) fn become_program(
    zygote: &Zygote<'_>,
    plan: Plan,
    spec: &ProgramSpec,
    image: &Image,
    streams: &Streams<'_>,
) -> Failure {
    match last_steps(zygote, plan, spec, image, streams) {
        Ok(never) => match never {},
        Err(failure) => failure,
    }
}

fn last_steps(
    zygote: &Zygote<'_>,
    plan: Plan,
    spec: &ProgramSpec,
    image: &Image,
    streams: &Streams<'_>,
) -> Result<std::convert::Infallible, Failure> {
    plan.run(Step::Session, || {
        rustix::process::setsid()?;
        sys::set_stream(streams.stdin.as_fd(), 0)?;
        sys::set_stream(streams.stdout.as_fd(), 1)?;
        sys::set_stream(streams.stderr.as_fd(), 2)?;
        for signal in [libc::SIGCHLD, libc::SIGPIPE, libc::SIGXFSZ] {
            sys::set_signal(signal, false);
        }
        sys::block_signal(libc::SIGCHLD, false)?;
        rustix::process::umask(Mode::from_raw_mode(0o022));
        Ok(())
    })?;
    plan.run(Step::WorkingDirectory, || {
        rustix::process::chdir(image.directory.as_c_str())
    })?;
    let strict = spec.profile == Profile::Strict;
    plan.run(Step::Descriptors, || {
        sys::close_on_exec_from(3)?;
        if strict {
            open_at_strict(image)?;
        }
        let count = zygote.spec.limits.open_files.min(spec.limits.open_files);
        // The strict profile relies on this bound: see there.
        limits::set_open_files(count.min(STRICT_EXEC_FD as u64))
    })?;
    plan.run(Step::Filter, || zygote.filter(spec.profile))?;
    plan.run(Step::Exec, || {
        if strict {
            return Err(sys::execute_open(
                STRICT_EXEC_FD,
                &image.arguments,
                &image.environment,
            ));
        }
        let mut answer = Errno::NOENT;
        for candidate in &image.candidates {
            match sys::execute(candidate, &image.arguments, &image.environment) {
                // As execvp(3): one that may not be run is told only if no other is found.
                Errno::NOENT | Errno::NOTDIR => {}
                Errno::ACCESS => answer = Errno::ACCESS,
                errno => return Err(errno),
            }
        }
        Err(answer)
    })
}

/// Opens the first candidate that is there on the descriptor the strict profile starts from.
fn open_at_strict(image: &Image) -> Result<(), Errno> {
    let mut answer = Errno::NOENT;
    for candidate in &image.candidates {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        match rustix::fs::openat(CWD, candidate.as_c_str(), flags, Mode::empty()) {
            Ok(opened) => return sys::move_to(opened, STRICT_EXEC_FD),
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(errno) => answer = errno,
        }
    }
    Err(answer)
}
