//! The gateway's messages, written; `messages.rs` reads them.

use super::messages::{Command, Extras, PROFILES, Target};
use super::wire::Writer;
use crate::spec::{BoxSpec, Identity, Limits, Network, ProgramSpec};
use crate::step::Step;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

fn put_path(to: &mut Writer, path: &Path) {
    to.bytes(path.as_os_str().as_bytes());
}

fn put_optional(to: &mut Writer, value: Option<u64>) {
    to.u8(value.is_some().into());
    to.u64(value.unwrap_or(0));
}

fn put_limits(to: &mut Writer, limits: &Limits) {
    to.u64(limits.processes);
    to.u64(limits.open_files);
    to.u64(limits.file_bytes);
    put_optional(to, limits.memory_bytes);
    put_optional(to, limits.cpu_seconds);
}

fn put_fault(to: &mut Writer, fault: Option<Step>) {
    to.u32(fault.map_or(0, |step| step as u32));
}

pub(crate) fn encode_box(spec: &BoxSpec) -> Vec<u8> {
    let mut to = Writer::default();
    to.bytes(spec.name.as_bytes());
    match spec.identity {
        Identity::Caller => to.u32(0),
        Identity::Own(uid) => to.u32(uid),
    }
    for layer in [
        spec.layers.network,
        spec.layers.ipc,
        spec.layers.landlock,
        spec.layers.seccomp,
    ] {
        to.u8(layer.into());
    }
    put_path(&mut to, &spec.workspace);
    to.u8(spec.trash.is_some().into());
    if let Some(trash) = &spec.trash {
        put_path(&mut to, trash);
    }
    to.u32(spec.mounts.len() as u32);
    for mount in &spec.mounts {
        to.bytes(mount.label.as_bytes());
        put_path(&mut to, &mount.source);
        to.u8(mount.writable.into());
    }
    to.u32(spec.system.len() as u32);
    for place in &spec.system {
        put_path(&mut to, place);
    }
    put_limits(&mut to, &spec.limits);
    to.u64(spec.tmp_bytes);
    to.u64(spec.tmp_inodes);
    put_optional(&mut to, spec.proxy.map(u64::from));
    to.bytes(&spec.worker_setup);
    put_fault(&mut to, spec.fault);
    to.finish()
}

pub(crate) fn encode_program(spec: &ProgramSpec, extras: Extras) -> Vec<u8> {
    let mut to = Writer::default();
    to.u8(extras.stdin.into());
    to.u8(extras.group.into());
    to.u32(spec.arguments.len() as u32);
    for argument in &spec.arguments {
        to.bytes(argument.as_bytes());
    }
    to.u32(spec.environment.len() as u32);
    for (name, value) in &spec.environment {
        to.bytes(name.as_bytes());
        to.bytes(value.as_bytes());
    }
    put_path(&mut to, &spec.working_directory);
    put_limits(&mut to, &spec.limits);
    to.u8((spec.network == Network::Loopback).into());
    let profile = PROFILES.iter().position(|known| *known == spec.profile);
    to.u8(profile.map_or(u8::MAX, |number| number as u8));
    to.u64(spec.output_bytes);
    put_fault(&mut to, spec.fault);
    to.finish()
}

impl Command {
    pub(crate) fn encode(self) -> Vec<u8> {
        let (target, signal) = match self {
            Command::Signal(Target::Program, signal) => (0, signal),
            Command::Signal(Target::Group, signal) => (1, signal),
            Command::Signal(Target::All, signal) => (2, signal),
            Command::Kill => (3, 0),
        };
        let mut to = Writer::default();
        to.u8(target);
        to.u32(signal as u32);
        to.finish()
    }
}
