//! The answer of the probe.

use crate::cgroup::Controller;
use serde::{Deserialize, Serialize};

macro_rules! primitives {
    ($($(#[$doc:meta])* $name:ident $field:ident,)*) => {
        /// A protection of the kernel's.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Primitive { $($(#[$doc])* $name,)* }

        impl Primitive {
            /// Every one, in the order in which they are reported.
            pub const ALL: &[Primitive] = &[$(Primitive::$name,)*];

            /// The name in `sandbox.require`, in health and in the diagnosis.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Primitive::$name => stringify!($field),)* }
            }
        }

        /// What was found of each protection.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Diagnosis { $($(#[$doc])* pub $field: Finding,)* }

        impl Diagnosis {
            /// What was found of one.
            #[must_use]
            pub fn of(&self, primitive: Primitive) -> &Finding {
                match primitive { $(Primitive::$name => &self.$field,)* }
            }
        }
    };
}

primitives! {
    /// Rules for files, TCP and signals that no process can take back.
    Landlock landlock,
    /// Filters of system calls.
    Seccomp seccomp,
    /// User namespaces: ids and capabilities that count only inside.
    UserNs user_ns,
    /// Pid namespaces with a `/proc` of their own.
    PidNs pid_ns,
    /// Network namespaces with only a loopback.
    NetNs net_ns,
    /// Mount namespaces with a root of their own.
    MountNs mount_ns,
    /// Control groups that limit memory, processes and processor time.
    CgroupV2 cgroup_v2,
    /// Packet filtering by uid.
    Nftables nftables,
}

impl Primitive {
    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Primitive> {
        let mut all = Primitive::ALL.iter().copied();
        all.find(|primitive| primitive.name() == name)
    }
}

impl Diagnosis {
    /// Those that are missing, in order.
    #[must_use]
    pub fn missing(&self) -> Vec<Primitive> {
        let all = Primitive::ALL.iter().copied();
        all.filter(|primitive| !self.of(*primitive).is_active())
            .collect()
    }
}

/// Whether a protection works here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Status {
    /// It was tried and it held.
    Active,
    /// It does not work here.
    Unavailable {
        /// What was tried and what the kernel said.
        reason: String,
        /// What to do about it.
        remedy: String,
    },
}

/// What was found of one protection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Whether it works.
    #[serde(flatten)]
    pub status: Status,
    /// Landlock only: the version of the kernel's interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abi: Option<u32>,
    /// Control groups only: what can be limited, also if that is not enough to be active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controllers: Option<Vec<Controller>>,
}

impl Finding {
    /// It works.
    #[must_use]
    pub fn active() -> Finding {
        Finding {
            status: Status::Active,
            abi: None,
            controllers: None,
        }
    }

    /// It does not work.
    #[must_use]
    pub fn unavailable(reason: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding {
            status: Status::Unavailable {
                reason: reason.into(),
                remedy: remedy.into(),
            },
            ..Finding::active()
        }
    }

    /// Whether it works.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.status == Status::Active
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn the_diagnosis_reads_as_documented() {
        let finding = Finding {
            abi: Some(7),
            ..Finding::active()
        };
        let text = serde_json::to_value(&finding).unwrap();
        assert_eq!(text, json!({"status": "active", "abi": 7}));
        let finding = Finding {
            controllers: Some(vec![Controller::Memory, Controller::Pids]),
            ..Finding::unavailable("no cpu", "delegate it")
        };
        let text = serde_json::to_value(&finding).unwrap();
        assert_eq!(
            text,
            json!({"status": "unavailable", "reason": "no cpu", "remedy": "delegate it",
                   "controllers": ["memory", "pids"]})
        );
        assert_eq!(serde_json::from_value::<Finding>(text).unwrap(), finding);
    }

    #[test]
    fn names_are_those_of_the_specification() {
        let names: Vec<&str> = Primitive::ALL.iter().map(|one| one.name()).collect();
        let expected = "landlock seccomp user_ns pid_ns net_ns mount_ns cgroup_v2 nftables";
        assert_eq!(names.join(" "), expected);
        for primitive in Primitive::ALL {
            assert_eq!(Primitive::named(primitive.name()), Some(*primitive));
            let name = serde_json::to_value(primitive).unwrap();
            assert_eq!(name, primitive.name());
        }
    }
}
