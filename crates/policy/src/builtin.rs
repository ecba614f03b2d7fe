//! The protections that hold with every file deleted: one table, one reason each.

use crate::command::Run;
use crate::facts::{Facts, NormalPath, fold, is_below};
use kruxos_types::PrincipalKind;
use serde_json::Value;
use smallvec::SmallVec;

/// A protection: where it is asked, what it looks for, and what it tells the caller.
#[derive(Debug)]
pub(crate) struct Protection {
    pub(crate) name: &'static str,
    /// Capabilities, as a pattern of the policy language; one that the catalogue lacks is skipped.
    pub(crate) capabilities: &'static [&'static str],
    pub(crate) hazard: Hazard,
    pub(crate) reason: &'static str,
}

/// What a protection looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hazard {
    /// A write or delete below a system directory.
    SystemPath,
    /// A path or argument in a part of the gateway's data directory.
    DataDir(DataPart),
    /// A capability whose whole purpose is to hand out a secret's value.
    Always,
    /// An agent that names another agent.
    OtherAgent,
    /// A command of mass destruction.
    Destruction,
    /// An address that clients read differently.
    UnreadableHost,
}

/// Parts of the data directory, each with a reason of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DataPart {
    Audit,
    Policies,
    Vault,
    Rest,
}

/// The table. Order matters only for which reason is shown.
pub(crate) const PROTECTIONS: &[Protection] = &[
    Protection {
        name: "secrets",
        capabilities: &[
            "secrets.read",
            "secrets.get",
            "secrets.export",
            "secrets.reveal",
        ],
        hazard: Hazard::Always,
        reason: "Secrets are used by name; their values are never handed out.",
    },
    Protection {
        name: "secret_files",
        capabilities: &["*"],
        hazard: Hazard::DataDir(DataPart::Vault),
        reason: "The vault's files hold raw secrets; nothing reads or exports them.",
    },
    Protection {
        name: "audit_log",
        capabilities: &["*"],
        hazard: Hazard::DataDir(DataPart::Audit),
        reason: "The audit log is written by the gateway alone.",
    },
    Protection {
        name: "policy_files",
        capabilities: &["*"],
        hazard: Hazard::DataDir(DataPart::Policies),
        reason: "Policy is changed by the operator, never through a capability.",
    },
    Protection {
        name: "gateway_data",
        // Programs read what they like; `filesystem.*` cannot leave its roots, and says so itself.
        capabilities: &["process.*", "git.*"],
        hazard: Hazard::DataDir(DataPart::Rest),
        reason: "The gateway's data and other agents' workspaces are out of reach.",
    },
    Protection {
        name: "system_paths",
        capabilities: &["*"],
        hazard: Hazard::SystemPath,
        reason: "System directories are never written or deleted.",
    },
    Protection {
        name: "mass_destruction",
        capabilities: &["process.run"],
        hazard: Hazard::Destruction,
        reason: "The command would destroy a whole directory tree, a device or the process table.",
    },
    Protection {
        name: "other_agents_state",
        capabilities: &["state.*"],
        hazard: Hazard::OtherAgent,
        reason: "An agent's private state is its own.",
    },
    Protection {
        name: "unreadable_host",
        capabilities: &["network.*", "git.*"],
        hazard: Hazard::UnreadableHost,
        reason: "The address is not in plain form, so rules and clients could read different hosts; \
                 write it as scheme://host, international names in their xn-- form.",
    },
];

/// Directories of the system, by their first components.
const SYSTEM_DIRECTORIES: [&[u8]; 12] = [
    b"/etc",
    b"/usr",
    b"/bin",
    b"/sbin",
    b"/boot",
    b"/dev",
    b"/proc",
    b"/sys",
    b"/run",
    b"/root",
    b"/var/lib",
    b"/var/log",
];

impl Hazard {
    /// Whether it can concern a call of this shape at all: what cannot is not compiled in.
    pub(crate) fn concerns(self, shape: &crate::facts::Shape, data_dir: bool) -> bool {
        match self {
            Hazard::SystemPath => shape.paths.iter().any(|path| path.written),
            Hazard::DataDir(_) => data_dir && (!shape.paths.is_empty() || shape.command),
            Hazard::UnreadableHost => !shape.urls.is_empty() || !shape.hosts.is_empty(),
            Hazard::Always | Hazard::OtherAgent | Hazard::Destruction => true,
        }
    }

    pub(crate) fn threatens(self, facts: &Facts<'_>) -> bool {
        match self {
            Hazard::Always => true,
            Hazard::SystemPath => facts
                .paths()
                .iter()
                .any(|path| path.written && is_system(path)),
            Hazard::DataDir(part) => facts.data_parts().contains(part),
            Hazard::OtherAgent => {
                let caller = facts.query.principal;
                caller.kind == PrincipalKind::Agent
                    && facts
                        .text("agent")
                        .is_some_and(|agent| *agent != *caller.name)
            }
            Hazard::Destruction => {
                let Some(command) = facts.text("command") else {
                    return false;
                };
                let run = Run {
                    workspace: facts.query.workspace,
                    directory: facts.text("working_directory"),
                };
                run.destroys(
                    command,
                    facts.args().filter_map(Value::as_str),
                    facts.text("stdin"),
                )
            }
            Hazard::UnreadableHost => facts.hosts().any(|host| host.is_err()),
        }
    }
}

fn is_system(path: &NormalPath) -> bool {
    if path.inside().is_some() {
        return false;
    }
    let path = path.absolute();
    let in_lib = || {
        path.strip_prefix(b"/lib").is_some_and(|rest| {
            // /lib, /lib32, /lib64, /libx32, …
            let name = rest.split(|byte| *byte == b'/').next().unwrap_or_default();
            name.iter()
                .all(|byte| byte.is_ascii_digit() || *byte == b'x')
        })
    };
    path.is_empty()
        || SYSTEM_DIRECTORIES
            .into_iter()
            .any(|system| is_below(path, system))
        || in_lib()
}

/// The data directory as paths are compared with it; `None` for one that would cover everything.
pub(crate) fn normal_data_dir(data_dir: &str) -> Option<Box<str>> {
    let mut root: SmallVec<[u8; 128]> = SmallVec::new();
    fold(&mut root, data_dir);
    if root.is_empty() {
        return None;
    }
    String::from_utf8(root.to_vec())
        .ok()
        .map(String::into_boxed_str)
}

/// Parts of the data directory, as bits by [`DataPart`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct DataParts(u8);

impl DataParts {
    pub(crate) fn contains(self, part: DataPart) -> bool {
        self.0 & (1 << part as u8) != 0
    }

    fn with(self, part: DataPart) -> Self {
        DataParts(self.0 | (1 << part as u8))
    }
}

/// Every part of the data directory that a path input, or a word of the command, lies in, outside the
/// caller's own workspace: a move out of a harmless part must not hide that it ends in another.
pub(crate) fn reached(facts: &Facts<'_>, data_dir: &str) -> DataParts {
    let part = |path: &NormalPath| {
        if path.inside().is_some() {
            return None;
        }
        DataPart::of(path.absolute().strip_prefix(data_dir.as_bytes())?)
    };
    let by_path = facts
        .paths()
        .iter()
        .filter_map(part)
        .fold(DataParts::default(), DataParts::with);
    if !facts.shape.command {
        return by_path;
    }
    let args = facts.args().filter_map(Value::as_str);
    let texts = facts
        .text("command")
        .into_iter()
        .chain(args)
        .chain(facts.text("stdin"));
    let long_enough = texts.filter(|text| text.len() >= data_dir.len());
    let words = long_enough.flat_map(|text| {
        text.match_indices(data_dir).map(|(at, _)| {
            let word = text.get(at..).unwrap_or_default();
            let ends = |c: char| c.is_whitespace() || "'\"`;|&<>()".contains(c);
            word.split(ends).next().unwrap_or_default()
        })
    });
    words
        .filter_map(|word| part(&NormalPath::new(facts.query.workspace, word, false)))
        .fold(by_path, DataParts::with)
}

impl DataPart {
    /// The part that `rest`, a path below the data directory with its leading slash, is in.
    fn of(rest: &[u8]) -> Option<DataPart> {
        if !(rest.is_empty() || rest.starts_with(b"/")) {
            return None;
        }
        Some(
            match rest.split(|byte| *byte == b'/').nth(1).unwrap_or_default() {
                b"audit" => DataPart::Audit,
                b"policies" => DataPart::Policies,
                b"vault" | b"secrets" => DataPart::Vault,
                _ => DataPart::Rest,
            },
        )
    }
}
