//! The layers, one file each. They are put on in this order (spec/attacks.md): user namespace, mounts,
//! `pivot_root`, read-only root, limits, `no_new_privs`, capabilities, Landlock, seccomp, descriptors,
//! exec. [`crate::zygote`], [`crate::worker`] and [`crate::program`] call them.

pub(crate) mod etc;
pub(crate) mod identity;
mod idmap;
pub(crate) mod landlock;
pub(crate) mod limits;
pub(crate) mod namespaces;
pub(crate) mod privileges;
pub(crate) mod proxy;
pub(crate) mod root;
pub(crate) mod sources;
