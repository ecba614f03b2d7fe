//! Privileges: none are left, and none come back.

use crate::sys;
use rustix::io::Errno;
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, capabilities,
    clear_ambient_capability_set, set_capabilities, set_capabilities_secure_bits,
};

pub(crate) use rustix::thread::{no_new_privs, set_no_new_privs};

/// No exec gains anything; checked, since everything after relies on it.
pub(crate) fn give_up_gains() -> Result<(), Errno> {
    set_no_new_privs(true)?;
    if no_new_privs()? {
        Ok(())
    } else {
        Err(Errno::PERM)
    }
}

/// Empties the bounding set, so that no file's capabilities count, and the ambient set, so that none are
/// handed on.
pub(crate) fn empty_bounding_set() -> Result<(), Errno> {
    clear_ambient_capability_set()?;
    // The kernel has at most 64; it answers EINVAL above its last.
    for capability in 0..64 {
        match sys::drop_bounding(capability) {
            Ok(()) => {}
            Err(Errno::INVAL) if capability > 0 => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Being or becoming uid 0 means nothing.
pub(crate) fn lock_secure_bits() -> Result<(), Errno> {
    set_capabilities_secure_bits(
        CapabilitiesSecureBits::NO_ROOT
            | CapabilitiesSecureBits::NO_ROOT_LOCKED
            | CapabilitiesSecureBits::NO_SETUID_FIXUP
            | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
            | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
            | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
            | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED,
    )
}

/// Drops all capabilities, and looks whether they are gone. The ambient set was emptied and locked with
/// the bounding set.
pub(crate) fn drop_capabilities() -> Result<(), Errno> {
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none)?;
    if capabilities(None)? == none {
        Ok(())
    } else {
        Err(Errno::PERM)
    }
}
