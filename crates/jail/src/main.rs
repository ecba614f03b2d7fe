//! `kruxos-jail launcher`: started by the gateway, with its socket as standard input.

use std::process::ExitCode;

/// As of sysexits.h: called in a way that means nothing.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some(kruxos_sandbox::launcher::ARGUMENT) => kruxos_jail::launch(),
        _ => ExitCode::from(USAGE),
    }
}
