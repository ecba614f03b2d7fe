//! Who the caller is and what it may do. Everything comes from the session, nothing from arguments.

pub(super) mod capabilities;
pub(super) mod policy;
pub(super) mod session;
pub(super) mod whoami;
