//! Reading and writing the kernel's small files below a directory handle.

use super::CgroupError;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// The longest file that is read; the kernel's are a few hundred bytes, `io.stat` a line for each
/// device, `cgroup.procs` a line for each process.
const MAX_BYTES: u64 = 1 << 20;

/// A group's directory, held open so that no path is walked twice.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) handle: OwnedFd,
    pub(super) path: PathBuf,
}

impl Directory {
    pub(super) fn open(path: &Path) -> Result<Directory, CgroupError> {
        Directory::open_at(CWD, path, path.to_owned())
    }

    fn open_at(parent: impl AsFd, name: &Path, path: PathBuf) -> Result<Directory, CgroupError> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match openat(parent, name, flags, Mode::empty()) {
            Ok(handle) => Ok(Directory { handle, path }),
            Err(source) => Err(failure(path, "open", source)),
        }
    }

    /// A child that is there.
    pub(super) fn child(&self, name: &str) -> Result<Directory, CgroupError> {
        Directory::open_at(&self.handle, Path::new(name), self.path.join(name))
    }

    /// A child, made if it is not there.
    pub(super) fn make(&self, name: &str) -> Result<Directory, CgroupError> {
        match self.make_new(name) {
            Err(error) if error.errno() == Some(Errno::EXIST) => self.child(name),
            made => made,
        }
    }

    /// A child that was not there.
    pub(super) fn make_new(&self, name: &str) -> Result<Directory, CgroupError> {
        let mode = Mode::RWXU | Mode::RGRP | Mode::XGRP | Mode::ROTH | Mode::XOTH;
        rustix::fs::mkdirat(&self.handle, name, mode)
            .map_err(|source| failure(self.path.join(name), "create", source))?;
        self.child(name)
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), CgroupError> {
        rustix::fs::unlinkat(&self.handle, name, rustix::fs::AtFlags::REMOVEDIR)
            .map_err(|source| failure(self.path.join(name), "remove", source))
    }

    pub(super) fn file(&self, name: &str, flags: OFlags) -> Result<File, CgroupError> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match openat(&self.handle, name, flags, Mode::empty()) {
            Ok(handle) => Ok(File::from(handle)),
            Err(source) => Err(failure(self.path.join(name), "open", source)),
        }
    }

    /// One write: the kernel takes each as a whole value.
    pub(super) fn write(&self, name: &str, value: &str) -> Result<(), CgroupError> {
        let mut file = self.file(name, OFlags::WRONLY)?;
        file.write_all(value.as_bytes())
            .map_err(|error| failure(self.path.join(name), "write", errno(&error)))
    }

    pub(super) fn read(&self, name: &str) -> Result<String, CgroupError> {
        let file = self.file(name, OFlags::RDONLY)?;
        let mut text = String::new();
        file.take(MAX_BYTES)
            .read_to_string(&mut text)
            .map_err(|error| failure(self.path.join(name), "read", errno(&error)))?;
        Ok(text)
    }

    /// As [`Directory::read`]; `None` where this kernel has no such file.
    pub(super) fn read_optional(&self, name: &str) -> Result<Option<String>, CgroupError> {
        match self.read(name) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.errno() == Some(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The number after a key, in files with a `key number` on each line.
    pub(super) fn keyed(&self, name: &str, key: &str) -> Result<u64, CgroupError> {
        match self.read_optional(name)? {
            Some(text) => value_of(&text, key).map_or(Ok(0), |value| self.number(name, value)),
            None => Ok(0),
        }
    }

    pub(super) fn number(&self, name: &str, text: &str) -> Result<u64, CgroupError> {
        let number = text.trim().parse();
        number.map_err(|_| self.not_understood(name, text))
    }

    pub(super) fn not_understood(&self, name: &str, text: &str) -> CgroupError {
        CgroupError::Content {
            path: self.path.join(name),
            text: text.chars().take(100).collect(),
        }
    }

    /// The groups below, not deeper.
    pub(super) fn children(&self) -> Result<Vec<String>, CgroupError> {
        let fail = |source| failure(self.path.clone(), "list", source);
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.handle).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let is_group = entry.file_type() == rustix::fs::FileType::Directory;
            match entry.file_name().to_str() {
                Ok(name) if is_group && name != "." && name != ".." => names.push(name.to_owned()),
                _ => {}
            }
        }
        Ok(names)
    }
}

/// The value after a key in `key value` lines.
pub(super) fn value_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let lines = text.lines();
    let mut pairs = lines.filter_map(|line| line.split_once(' '));
    pairs.find(|(name, _)| *name == key).map(|(_, value)| value)
}

pub(super) fn failure(path: PathBuf, what: &'static str, source: Errno) -> CgroupError {
    CgroupError::File { path, what, source }
}

/// The error number in an error of the standard library's.
pub(super) fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
