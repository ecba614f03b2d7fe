//! Names of unfinished files. They are told from every other name by a check over themselves, so that
//! nothing of a user's is hidden or swept because it happens to begin alike.

use super::text::hex;
use kruxos_types::random_base32;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// What such a name starts with; the dot keeps it out of plain listings.
const PREFIX: &str = ".kruxos-tmp-";
/// Characters that tell this process from all others, 40 bits.
const PROCESS: usize = 8;
/// Characters that tell its files apart, 80 bits.
const SERIAL: usize = 16;
/// Bytes of the check, as hex: one of four thousand million names that look alike passes by accident.
const CHECK: usize = 4;
const LENGTH: usize = PREFIX.len() + PROCESS + SERIAL + 2 * CHECK;

/// This process, as its names say it.
static OWN: LazyLock<String> = LazyLock::new(|| random_base32(PROCESS));

/// A new name: prefix, process, serial, check.
pub(super) fn name() -> String {
    let mut name = String::with_capacity(LENGTH);
    name.push_str(PREFIX);
    name.push_str(&OWN);
    name.push_str(&random_base32(SERIAL));
    name.push_str(&check(name.as_bytes()));
    name
}

/// Whether a raw name is one that [`name`] made, in whichever process.
pub(super) fn is_temporary(name: &[u8]) -> bool {
    name.starts_with(PREFIX.as_bytes())
        && name.len() == LENGTH
        && name
            .split_at_checked(LENGTH - 2 * CHECK)
            .is_some_and(|(named, tail)| check(named).as_bytes() == tail)
}

/// Whether a temporary name was made by this process, which may still be at work on it.
pub(super) fn is_own(name: &[u8]) -> bool {
    name.get(PREFIX.len()..)
        .is_some_and(|rest| rest.starts_with(OWN.as_bytes()))
}

fn check(named: &[u8]) -> String {
    let digest = Sha256::digest(named);
    hex(digest.as_slice().get(..CHECK).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_name_is_known_and_one_that_looks_alike_is_not() {
        let made = name();
        assert!(is_temporary(made.as_bytes()) && is_own(made.as_bytes()));
        assert_ne!(made, name());
        for at in PREFIX.len()..LENGTH {
            let mut other = made.clone().into_bytes();
            other[at] = if other[at] == b'7' { b'6' } else { b'7' };
            assert!(!is_temporary(&other), "{at}");
        }
        let alike = format!("{PREFIX}{}", random_base32(LENGTH - PREFIX.len()));
        for users in [
            PREFIX,
            ".kruxos-tmp-notes",
            alike.as_str(),
            &format!("{made}~"),
            "",
        ] {
            assert!(!is_temporary(users.as_bytes()), "{users}");
        }
    }
}
