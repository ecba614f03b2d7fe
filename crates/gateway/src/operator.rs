//! Who acts outside any call.

use kruxos_types::{Interface, Principal};

/// Somebody who manages the gateway, proved by the door through which they came: the control socket's
/// peer, later a session or a User token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// Who.
    pub principal: Principal,
    /// The door; none for the gateway itself.
    pub interface: Option<Interface>,
}

impl Operator {
    /// A person behind a door.
    #[must_use]
    pub fn person(name: &str, interface: Interface) -> Self {
        Self {
            principal: Principal::user(name),
            interface: Some(interface),
        }
    }

    /// The gateway itself, as when it makes what a first start needs.
    #[must_use]
    pub fn gateway() -> Self {
        Self {
            principal: Principal::system(),
            interface: None,
        }
    }
}
