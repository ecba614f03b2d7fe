//! `kruxos-jail launcher`: started by the gateway, with its socket as standard input.
//! `kruxos-jail diagnose`: prints as JSON which of the kernel's protections work here.

use std::io::Write;
use std::process::ExitCode;

/// As of sysexits.h: called in a way that means nothing.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some(kruxos_sandbox::launcher::ARGUMENT) => kruxos_jail::launch(),
        Some("diagnose") => diagnose(),
        _ => ExitCode::from(USAGE),
    }
}

fn diagnose() -> ExitCode {
    let answered = kruxos_sandbox::probe::run().and_then(|diagnosis| {
        let text = serde_json::to_vec(&diagnosis)?;
        std::io::stdout().lock().write_all(&text)
    });
    match answered {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without a standard error nobody hears why.
            drop(writeln!(std::io::stderr().lock(), "{error}"));
            ExitCode::FAILURE
        }
    }
}
