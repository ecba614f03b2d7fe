//! The part of the hierarchy that is this product's.

use super::files::{Directory, failure};
use super::group::{KILL_PATIENCE, enable, end, members};
use super::{Agent, CgroupError, Controller, Limits};
use rustix::io::Errno;
use std::fs;
use std::path::{Path, PathBuf};

/// Where gateway and launcher go, for a group with limited children may hold no processes itself.
const SUPERVISOR: &str = "supervisor";
/// What the groups of agents begin with; everything so called is ours to remove.
const AGENT: &str = "agent-";
/// The longest name of an agent; a directory's name has at most 255 bytes.
const MAX_NAME: usize = 128;
/// Levels of groups that a clean-up goes down. We make two below an agent's; nothing inside a box can
/// make more.
const MAX_DEPTH: usize = 4;

/// The group that this process was given, or made its own.
#[derive(Debug)]
pub struct Subtree {
    directory: Directory,
    controllers: Vec<Controller>,
}

/// This process's group, by `/proc/self/cgroup` and the mounted file system. Inside the group that
/// [`Subtree::claim`] moves us to, it is the one above.
///
/// # Errors
/// [`CgroupError::NotMounted`], [`CgroupError::NotInside`], or what could not be read.
pub fn locate() -> Result<PathBuf, CgroupError> {
    let read = |path: &str| {
        let error =
            |error: std::io::Error| failure(path.into(), "read", super::files::errno(&error));
        fs::read_to_string(path).map_err(error)
    };
    let (mounts, groups) = (read("/proc/self/mountinfo")?, read("/proc/self/cgroup")?);
    let path = locate_in(&mounts, &groups)?;
    match path.file_name() {
        Some(name) if name == SUPERVISOR => Ok(path.parent().unwrap_or(&path).to_owned()),
        _ => Ok(path),
    }
}

/// `mountinfo`: `36 25 0:31 /root/of/mount /mounted/at … - cgroup2 …`; `cgroup`: `0::/our/group`.
fn locate_in(mounts: &str, groups: &str) -> Result<PathBuf, CgroupError> {
    let group = groups.lines().find_map(|line| line.strip_prefix("0::"));
    let group = Path::new(group.ok_or(CgroupError::NotMounted)?);
    let mut is_mounted = false;
    for line in mounts.lines() {
        let Some((head, tail)) = line.split_once(" - ") else {
            continue;
        };
        let mut fields = head.split(' ').skip(3);
        let (Some(root), Some(at)) = (fields.next(), fields.next()) else {
            continue;
        };
        if tail.split(' ').next() != Some("cgroup2") {
            continue;
        }
        is_mounted = true;
        let below = group.strip_prefix(unescape(root));
        // A group above the mount's root is shown as `/..`.
        if let Ok(below) = below
            && below
                .components()
                .all(|part| matches!(part, std::path::Component::Normal(_)))
        {
            let at = PathBuf::from(unescape(at));
            return Ok(if below.as_os_str().is_empty() {
                at
            } else {
                at.join(below)
            });
        }
    }
    match is_mounted {
        true => Err(CgroupError::NotInside),
        false => Err(CgroupError::NotMounted),
    }
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(text: &str) -> String {
    let escapes = [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ];
    let replace = |text: String, (from, to): (&str, &str)| text.replace(from, to);
    escapes.into_iter().fold(text.to_owned(), replace)
}

impl Subtree {
    /// Finds this process's group and makes its children limitable. Where the product's processes are in
    /// the group they are moved to a child first.
    ///
    /// # Errors
    /// [`CgroupError::NoControllers`] where there are none to use, [`CgroupError::Shared`] where other
    /// processes are in the group and systemd did not delegate it; what the kernel refuses, most often
    /// because the group was not delegated.
    pub fn claim() -> Result<Subtree, CgroupError> {
        Subtree::claim_at(&locate()?)
    }

    /// As [`Subtree::claim`], for a group that the operator names.
    ///
    /// # Errors
    /// As [`Subtree::claim`].
    pub fn claim_at(path: &Path) -> Result<Subtree, CgroupError> {
        let directory = Directory::open(path)?;
        let controllers = Controller::parse(&directory.read("cgroup.controllers")?);
        if controllers.is_empty() {
            return Err(CgroupError::NoControllers {
                path: path.to_owned(),
            });
        }
        match enable(&directory, &controllers) {
            Err(error) if error.errno() == Some(Errno::BUSY) => {
                move_all(&directory)?;
                enable(&directory, &controllers)?;
            }
            done => done?,
        }
        Ok(Subtree {
            directory,
            controllers,
        })
    }

    /// The controllers that limits are set by.
    #[must_use]
    pub fn controllers(&self) -> &[Controller] {
        &self.controllers
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.directory.path
    }

    /// Removes what an earlier run left, and kills what still runs in it. Answers how many agents'
    /// groups that were.
    ///
    /// # Errors
    /// [`CgroupError::Populated`] if a process does not end; what the kernel refuses.
    pub fn sweep(&self) -> Result<usize, CgroupError> {
        let mut count = 0;
        for name in self.directory.children()? {
            if name.starts_with(AGENT) {
                self.remove(&name)?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Makes an agent's group with its limits. `owner` is the host uid that its zygote runs as, if it is
    /// not this process's own. What an earlier zygote of the agent's left is removed.
    ///
    /// # Errors
    /// [`CgroupError::Name`]; what the kernel refuses.
    pub fn agent(
        &self,
        name: &str,
        owner: Option<u32>,
        limits: &Limits,
    ) -> Result<Agent, CgroupError> {
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(is_plain) {
            return Err(CgroupError::Name {
                name: name.chars().take(MAX_NAME).collect(),
            });
        }
        let name = format!("{AGENT}{name}");
        match self.directory.child(&name) {
            Ok(_) => self.remove(&name)?,
            Err(error) if error.errno() == Some(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
        let directory = self.directory.make_new(&name)?;
        Agent::make(directory, &self.controllers, owner, limits).inspect_err(|_| {
            // What hinders the removal of half a group is less telling than what came first.
            let _removed = self.directory.remove(&name);
        })
    }

    /// Removes an agent's group with all below it; what still runs is killed.
    ///
    /// # Errors
    /// [`CgroupError::Populated`] if a process does not end; what the kernel refuses.
    pub fn remove_agent(&self, agent: Agent) -> Result<(), CgroupError> {
        self.remove(&agent.name())
    }

    fn remove(&self, name: &str) -> Result<(), CgroupError> {
        let group = self.directory.child(name)?;
        end(&group, KILL_PATIENCE)?;
        remove_below(&group, MAX_DEPTH)?;
        self.directory.remove(name)
    }
}

fn remove_below(directory: &Directory, depth: usize) -> Result<(), CgroupError> {
    for name in directory.children()? {
        if depth > 0 {
            remove_below(&directory.child(&name)?, depth - 1)?;
        }
        directory.remove(&name)?;
    }
    Ok(())
}

/// Moves every process of a group to its child [`SUPERVISOR`]: of a group that was delegated to us
/// whatever is in it, of another one only if all are ours, for it could be a person's session.
fn move_all(directory: &Directory) -> Result<(), CgroupError> {
    let members = members(directory)?;
    if !is_delegated(directory)
        && let Some(process) = members.iter().find(|process| !is_ours(process))
    {
        let name = process_name(process).unwrap_or_default();
        return Err(CgroupError::Shared {
            path: directory.path.clone(),
            process: format!("{name} ({process})"),
        });
    }
    let supervisor = directory.make(SUPERVISOR)?;
    for process in members {
        match supervisor.write("cgroup.procs", &process) {
            // It ended meanwhile.
            Err(error) if error.errno() == Some(Errno::SRCH) => {}
            done => done?,
        }
    }
    Ok(())
}

/// systemd marks the groups that it delegates.
fn is_delegated(directory: &Directory) -> bool {
    let is_marked = |name: &str| {
        let mut value = [0; 8];
        let read = rustix::fs::fgetxattr(&directory.handle, name, &mut value[..]);
        read.is_ok_and(|length| value.get(..length) == Some(b"1"))
    };
    is_marked("user.delegate") || is_marked("trusted.delegate")
}

/// Whether a process in our own group is one of the product's programs.
fn is_ours(process: &str) -> bool {
    let own = rustix::process::getpid().as_raw_nonzero().to_string();
    process == own || process_name(process).is_some_and(|name| name.starts_with("kruxos"))
}

fn process_name(process: &str) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{process}/comm")).ok()?;
    Some(name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const UNIFIED: &str = "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
    const BOTH: &str = "\
        30 25 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        31 25 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn the_own_group_is_found() {
        for (mounts, groups, expected) in [
            (
                UNIFIED,
                "0::/system.slice/kruxos.service\n",
                "/sys/fs/cgroup/system.slice/kruxos.service",
            ),
            (UNIFIED, "0::/\n", "/sys/fs/cgroup"),
            (BOTH, "4:memory:/a\n0::/b\n", "/sys/fs/cgroup/unified/b"),
            (
                "1 2 0:3 /x/y /mnt\\040a rw - cgroup2 c rw\n",
                "0::/x/y/z\n",
                "/mnt a/z",
            ),
        ] {
            assert_eq!(locate_in(mounts, groups).unwrap(), Path::new(expected));
        }
    }

    #[test]
    fn what_is_not_there_is_said() {
        let answer = |mounts, groups| locate_in(mounts, groups).unwrap_err();
        assert!(matches!(answer("", "0::/\n"), CgroupError::NotMounted));
        assert!(matches!(
            answer(UNIFIED, "4:memory:/\n"),
            CgroupError::NotMounted
        ));
        assert!(matches!(
            answer(UNIFIED, "0::/../other\n"),
            CgroupError::NotInside
        ));
        let other_root = "1 2 0:3 /x /mnt rw - cgroup2 c rw\n";
        assert!(matches!(
            answer(other_root, "0::/y\n"),
            CgroupError::NotInside
        ));
    }
}
