//! The messages themselves.

use super::wire::{Malformed, Reader, Writer};
use crate::seccomp::Profile;
use crate::spec::{BoxSpec, Identity, Layers, Limits, Mount, Network, ProgramSpec};
use crate::step::{Failure, Step};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// What a packet is.
pub(crate) mod kind {
    /// Gateway to launcher: a [`super::BoxSpec`], the box's control socket, and perhaps a control group.
    pub(crate) const OPEN_BOX: u32 = 1;
    /// Box to gateway: built, with a pidfd and, where it was asked for, the listening socket of
    /// [`super::BoxSpec::proxy`]; see [`super::BoxReport`].
    pub(crate) const BOX_READY: u32 = 2;
    /// Any process of a box to the gateway: a step failed.
    pub(crate) const FAILED: u32 = 3;
    /// Gateway to box: start a worker on this stream socket.
    pub(crate) const START_WORKER: u32 = 4;
    /// Gateway to box: a [`super::ProgramSpec`] and its descriptors.
    pub(crate) const START_PROGRAM: u32 = 5;
    /// Program's first process to gateway: executed, with a pidfd.
    pub(crate) const STARTED: u32 = 6;
    /// Program's first process to gateway: [`super::Exit`].
    pub(crate) const EXITED: u32 = 7;
    /// Gateway to a program's first process: a [`super::Command`].
    pub(crate) const COMMAND: u32 = 8;
}

/// Longest path, in bytes: `PATH_MAX`.
const MAX_PATH: usize = 4096;
/// Host directories and mounts of one box: each costs a little in every program's start.
const MAX_MOUNTS: usize = 256;
/// What a worker's handler is opened with, in bytes.
const MAX_SETUP: usize = 64 << 10;
/// One argument or variable, in bytes: the kernel's `MAX_ARG_STRLEN`.
const MAX_ARGUMENT: usize = 128 << 10;
/// Arguments or variables of one program.
const MAX_ARGUMENTS: usize = 32 << 10;

fn path(from: &mut Reader<'_>) -> Result<PathBuf, Malformed> {
    let path = Path::new(OsStr::from_bytes(from.bytes(MAX_PATH)?));
    let mut parts = path.components().skip(1).peekable();
    // The root itself is nothing to mount or to work in.
    let plain = parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)));
    if !path.is_absolute() || !plain || path.as_os_str().as_bytes().contains(&0) {
        return Err(Malformed);
    }
    Ok(path.to_owned())
}

fn text(from: &mut Reader<'_>, max: usize) -> Result<String, Malformed> {
    let text = std::str::from_utf8(from.bytes(max)?).map_err(|_| Malformed)?;
    Ok(text.to_owned())
}

/// A string for the kernel.
fn argument(from: &mut Reader<'_>) -> Result<OsString, Malformed> {
    let bytes = from.bytes(MAX_ARGUMENT)?;
    if bytes.contains(&0) {
        return Err(Malformed);
    }
    Ok(OsString::from_vec(bytes.to_vec()))
}

fn optional(from: &mut Reader<'_>) -> Result<Option<u64>, Malformed> {
    let present = from.flag()?;
    let value = from.u64()?;
    Ok(present.then_some(value))
}

fn port(from: &mut Reader<'_>) -> Result<Option<u16>, Malformed> {
    match optional(from)?.map(u16::try_from) {
        None => Ok(None),
        // 0 would be any port, which nobody inside knows.
        Some(Ok(0) | Err(_)) => Err(Malformed),
        Some(Ok(port)) => Ok(Some(port)),
    }
}

fn limits(from: &mut Reader<'_>) -> Result<Limits, Malformed> {
    Ok(Limits {
        processes: from.u64()?,
        open_files: from.u64()?,
        file_bytes: from.u64()?,
        memory_bytes: optional(from)?,
        cpu_seconds: optional(from)?,
    })
}

fn fault(from: &mut Reader<'_>) -> Result<Option<Step>, Malformed> {
    match from.u32()? {
        0 => Ok(None),
        number => Step::from_number(number).map(Some).ok_or(Malformed),
    }
}

pub(crate) fn decode_box(bytes: &[u8]) -> Result<BoxSpec, Malformed> {
    let from = &mut Reader::new(bytes);
    let name = text(from, 64)?;
    let identity = match from.u32()? {
        0 => Identity::Caller,
        uid => Identity::Own(uid),
    };
    let layers = Layers {
        network: from.flag()?,
        ipc: from.flag()?,
        landlock: from.flag()?,
        seccomp: from.flag()?,
    };
    let workspace = path(from)?;
    let trash = if from.flag()? {
        Some(path(from)?)
    } else {
        None
    };
    let mut mounts = Vec::new();
    for _ in 0..from.count(MAX_MOUNTS, 9)? {
        let label = text(from, 64)?;
        if label.is_empty() || label.starts_with('.') || label.contains(['/', '\0']) {
            return Err(Malformed);
        }
        mounts.push(Mount {
            label,
            source: path(from)?,
            writable: from.flag()?,
        });
    }
    let mut system = Vec::new();
    for _ in 0..from.count(MAX_MOUNTS, 4)? {
        system.push(path(from)?);
    }
    let spec = BoxSpec {
        name,
        identity,
        layers,
        workspace,
        trash,
        mounts,
        system,
        limits: limits(from)?,
        tmp_bytes: from.u64()?,
        tmp_inodes: from.u64()?,
        proxy: port(from)?,
        worker_setup: from.bytes(MAX_SETUP)?.to_vec(),
        fault: fault(from)?,
    };
    from.end()?;
    Ok(spec)
}

/// What comes with a program besides its control socket and its two output files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extras {
    /// A descriptor to read from; `/dev/null` without.
    pub(crate) stdin: bool,
    /// A control group to be cloned into.
    pub(crate) group: bool,
}

/// Programs' filters by their numbers in messages.
pub(super) const PROFILES: [Profile; 3] = [Profile::Default, Profile::Memfd, Profile::Strict];

pub(crate) fn decode_program(bytes: &[u8]) -> Result<(ProgramSpec, Extras), Malformed> {
    let from = &mut Reader::new(bytes);
    let extras = Extras {
        stdin: from.flag()?,
        group: from.flag()?,
    };
    let mut arguments = Vec::new();
    for _ in 0..from.count(MAX_ARGUMENTS, 4)? {
        arguments.push(argument(from)?);
    }
    if arguments.first().is_none_or(|program| program.is_empty()) {
        return Err(Malformed);
    }
    let mut environment = Vec::new();
    for _ in 0..from.count(MAX_ARGUMENTS, 8)? {
        let name = argument(from)?;
        if name.is_empty() || name.as_bytes().contains(&b'=') {
            return Err(Malformed);
        }
        environment.push((name, argument(from)?));
    }
    let spec = ProgramSpec {
        arguments,
        environment,
        working_directory: path(from)?,
        limits: limits(from)?,
        network: if from.flag()? {
            Network::Loopback
        } else {
            Network::None
        },
        profile: *PROFILES.get(from.u8()? as usize).ok_or(Malformed)?,
        output_bytes: from.u64()?,
        fault: fault(from)?,
    };
    from.end()?;
    Ok((spec, extras))
}

/// What a box says of itself once it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoxReport {
    /// The Landlock ABI in force; 0 without.
    pub landlock_abi: u32,
}

impl BoxReport {
    pub(crate) fn encode(self) -> Vec<u8> {
        self.landlock_abi.to_le_bytes().to_vec()
    }

    #[cfg(feature = "client")]
    pub(crate) fn decode(bytes: &[u8]) -> Result<BoxReport, Malformed> {
        let mut from = Reader::new(bytes);
        let landlock_abi = from.u32()?;
        from.end()?;
        Ok(BoxReport { landlock_abi })
    }
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedBy {
    /// It returned this code.
    Code(i32),
    /// This signal.
    Signal(i32),
}

/// The end of a program, with what it and everything it started used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Code or signal of the program itself.
    pub by: EndedBy,
    /// CPU time in user mode, in microseconds.
    pub user_micros: u64,
    /// CPU time in the kernel, in microseconds.
    pub system_micros: u64,
    /// Largest resident memory of one process, in bytes.
    pub max_resident: u64,
    /// 512-byte blocks read from disk.
    pub blocks_read: u64,
    /// 512-byte blocks written to disk.
    pub blocks_written: u64,
    /// Bytes the program wrote to standard output; those above the bound were dropped.
    pub stdout_bytes: u64,
    /// Bytes the program wrote to standard error.
    pub stderr_bytes: u64,
}

impl Exit {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut to = Writer::default();
        let (by, value) = match self.by {
            EndedBy::Code(code) => (0, code),
            EndedBy::Signal(signal) => (1, signal),
        };
        to.u8(by);
        to.u32(value as u32);
        for number in [
            self.user_micros,
            self.system_micros,
            self.max_resident,
            self.blocks_read,
            self.blocks_written,
            self.stdout_bytes,
            self.stderr_bytes,
        ] {
            to.u64(number);
        }
        to.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Exit, Malformed> {
        let mut from = Reader::new(bytes);
        let by = from.flag()?;
        let value = from.u32()? as i32;
        let exit = Exit {
            by: if by {
                EndedBy::Signal(value)
            } else {
                EndedBy::Code(value)
            },
            user_micros: from.u64()?,
            system_micros: from.u64()?,
            max_resident: from.u64()?,
            blocks_read: from.u64()?,
            blocks_written: from.u64()?,
            stdout_bytes: from.u64()?,
            stderr_bytes: from.u64()?,
        };
        from.end()?;
        Ok(exit)
    }
}

/// What a program's first process tells the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Failed(Failure),
    Started,
    Exited(Exit),
}

impl Event {
    pub(crate) fn failure(failure: Failure) -> Vec<u8> {
        let mut to = Writer::default();
        to.u32(failure.step as u32);
        to.u32(failure.errno.raw_os_error() as u32);
        to.finish()
    }

    pub(crate) fn decode(kind: u32, body: &[u8]) -> Result<Event, Malformed> {
        match kind {
            kind::FAILED => {
                let mut from = Reader::new(body);
                let step = Step::from_number(from.u32()?).ok_or(Malformed)?;
                let number = from.u32()?;
                from.end()?;
                // The kernel's error numbers end at 4095.
                let number = i32::try_from(number).ok().filter(|n| (1..4096).contains(n));
                let errno = Errno::from_raw_os_error(number.ok_or(Malformed)?);
                Ok(Event::Failed(Failure { step, errno }))
            }
            kind::STARTED if body.is_empty() => Ok(Event::Started),
            kind::EXITED => Ok(Event::Exited(Exit::decode(body)?)),
            _ => Err(Malformed),
        }
    }
}

/// To whom a signal goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// The program itself.
    Program,
    /// Its process group: what a terminal's Ctrl-C reaches.
    Group,
    /// Everything the call started.
    All,
}

/// What the gateway asks of a program's first process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    Signal(Target, i32),
    /// Ends everything and reports.
    Kill,
}

impl Command {
    pub(crate) fn decode(bytes: &[u8]) -> Result<Command, Malformed> {
        let mut from = Reader::new(bytes);
        let target = from.u8()?;
        let signal = from.u32()?;
        from.end()?;
        // 64 is the last real-time signal.
        let signal = i32::try_from(signal).ok().filter(|n| (0..=64).contains(n));
        let signal = signal.ok_or(Malformed)?;
        match target {
            0 => Ok(Command::Signal(Target::Program, signal)),
            1 => Ok(Command::Signal(Target::Group, signal)),
            2 => Ok(Command::Signal(Target::All, signal)),
            3 => Ok(Command::Kill),
            _ => Err(Malformed),
        }
    }
}
