//! What a box is made of, opened before its root is: every mount as a detached copy of a host
//! directory or file, already with its final flags.

use super::identity::give;
use super::idmap;
use crate::spec::{BoxSpec, Identity, MOUNTS, TRASH, WORKSPACE};
use crate::step::errno_of;
use crate::sys;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Regular files up to this size are copied into the root: a mount costs every program's start.
const COPIED: u64 = 16 << 10;
/// Device nodes of a box.
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
const WRITABLE: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
const DEVICE: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;

/// One thing to put into the root.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) target: PathBuf,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    /// A symbolic link like the host's, for instance `/bin` to `usr/bin`.
    Link(PathBuf),
    /// A small file.
    Copy(Vec<u8>),
    /// A mount.
    Tree { tree: OwnedFd, directory: bool },
}

/// Everything of one box.
#[derive(Debug)]
pub(crate) struct Sources {
    pub(crate) system: Vec<Source>,
    pub(crate) devices: Vec<Source>,
    /// The workspace, twice, and the mounts.
    pub(crate) data: Vec<Source>,
    pub(crate) trash: Option<Source>,
}

impl Sources {
    /// Opens all of them. With host privilege this runs in the host's mount namespace, so that
    /// directories closed to the agent's uid can be on the way; without, it runs in the box's own.
    pub(crate) fn open(spec: &BoxSpec, privileged: bool) -> Result<Sources, Errno> {
        // Copied mounts of another user's namespace cannot be taken apart.
        let recursive = !privileged;
        let mut system = Vec::new();
        for path in &spec.system {
            system.extend(system_source(path, recursive)?);
        }
        let mut devices = Vec::new();
        for name in DEVICES {
            let path = Path::new("/dev").join(name);
            devices.push(tree(&path, &path, DEVICE, recursive)?);
        }
        let mut data = vec![tree(
            &spec.workspace,
            Path::new(WORKSPACE),
            WRITABLE,
            recursive,
        )?];
        if spec.workspace != Path::new(WORKSPACE) {
            data.push(tree(&spec.workspace, &spec.workspace, WRITABLE, recursive)?);
        }
        for mount in &spec.mounts {
            let flags = if mount.writable { WRITABLE } else { READ_ONLY };
            let target = Path::new(MOUNTS).join(&mount.label);
            let source = tree_without_links(&mount.source, &target, flags, recursive)?;
            if let (What::Tree { tree, .. }, Identity::Own(id)) = (&source.what, spec.identity) {
                let _mapped = idmap::to_owner(tree.as_fd(), id)?;
            }
            data.push(source);
        }
        let trash = match &spec.trash {
            Some(path) => Some(tree(path, Path::new(TRASH), WRITABLE, recursive)?),
            None => None,
        };
        Ok(Sources {
            system,
            devices,
            data,
            trash,
        })
    }
}

impl Sources {
    /// Gives workspace and trash to the agent's own uid.
    pub(crate) fn give(&self, identity: Identity) -> Result<(), Errno> {
        for source in self.data.iter().take(1).chain(&self.trash) {
            if let What::Tree { tree, .. } = &source.what {
                give(tree.as_fd(), identity)?;
            }
        }
        Ok(())
    }
}

/// A host directory or file to be seen read-only; nothing where the host has nothing.
fn system_source(path: &Path, recursive: bool) -> Result<Option<Source>, Errno> {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(errno_of(&error)),
    };
    // A link among the system's own directories is kept as one. Others, such as /etc/localtime, may
    // lead to where a box has nothing: there the content counts.
    if metadata.is_symlink() && std::fs::metadata(path).is_ok_and(|target| target.is_dir()) {
        let to = std::fs::read_link(path).map_err(|error| errno_of(&error))?;
        return Ok(Some(Source {
            target: path.to_owned(),
            what: What::Link(to),
        }));
    }
    let Ok(metadata) = std::fs::metadata(path) else {
        return Ok(None);
    };
    if metadata.is_file() && metadata.len() <= COPIED {
        let mut bytes = Vec::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(COPIED).read_to_end(&mut bytes))
            .map_err(|error| errno_of(&error))?;
        return Ok(Some(Source {
            target: path.to_owned(),
            what: What::Copy(bytes),
        }));
    }
    tree(path, path, READ_ONLY, recursive).map(Some)
}

/// [`tree`] of a directory by a path that holds no link at all. An agent that may write around it could have
/// put one there since the path was looked at, to anywhere on the host.
fn tree_without_links(
    from: &Path,
    target: &Path,
    flags: u64,
    recursive: bool,
) -> Result<Source, Errno> {
    let no_links = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let how = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat2(CWD, from, how, Mode::empty(), no_links)?;
    clone_of(directory.as_fd(), Path::new(""), target, flags, recursive)
}

/// A detached copy of a mount, cut off from what happens to the original.
fn tree(from: &Path, target: &Path, flags: u64, recursive: bool) -> Result<Source, Errno> {
    clone_of(CWD, from, target, flags, recursive)
}

fn clone_of(
    at: BorrowedFd<'_>,
    from: &Path,
    target: &Path,
    flags: u64,
    recursive: bool,
) -> Result<Source, Errno> {
    let mut how = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        how |= OpenTreeFlags::AT_RECURSIVE;
    }
    let tree = open_tree(at, from, how)?;
    sys::set_mount(tree.as_fd(), recursive, flags, libc::MS_PRIVATE)?;
    let directory =
        FileType::from_raw_mode(rustix::fs::fstat(&tree)?.st_mode) == FileType::Directory;
    Ok(Source {
        target: target.to_owned(),
        what: What::Tree { tree, directory },
    })
}
