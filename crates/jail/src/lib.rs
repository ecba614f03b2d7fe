//! What runs inside a box: the worker that answers an agent's file calls. The program `kruxos-jail` is
//! the launcher; the gateway starts it and speaks to it by `kruxos_sandbox::client`.

use kruxos_capabilities::filesystem::confined::{Setup, serve};
use kruxos_capabilities::filesystem::{Files, FilesMount, FilesOptions};
use kruxos_catalog::Catalog;
use kruxos_sandbox::spec::{MOUNTS, TRASH};
use kruxos_sandbox::worker::{Confined, Handler};
use kruxos_types::SystemClock;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The launcher; see `kruxos_sandbox::launcher::run`.
#[must_use]
pub fn launch() -> std::process::ExitCode {
    // Read once, shared by every worker's memory.
    let _shared = Catalog::builtin();
    kruxos_sandbox::launcher::run(open)
}

fn open(_: &Confined, setup: &[u8]) -> io::Result<Box<dyn Handler>> {
    let setup: Setup = serde_json::from_slice(setup).map_err(io::Error::other)?;
    let options = FilesOptions {
        principal: setup.principal,
        workspace: setup.workspace,
        trash: TRASH.into(),
        trash_keep: Duration::from_secs(setup.trash_keep_seconds),
        undo_quota: setup.undo_quota,
        // A worker does not live as long as a watch: they stay with the gateway.
        max_watches: 0,
        mounts: setup.mounts.into_iter().map(mount).collect(),
    };
    let files = Files::open(options, Arc::new(SystemClock), Arc::new(|_| {}))?;
    Ok(Box::new(Worker { files }))
}

/// The box has each where the agent sees it.
fn mount(label: String) -> FilesMount {
    let source = Path::new(MOUNTS).join(&label);
    FilesMount { label, source }
}

/// Answers file calls.
struct Worker {
    files: Files,
}

impl Handler for Worker {
    fn call(&mut self, confined: &Confined, request: &[u8]) -> Vec<u8> {
        serve(confined, Catalog::builtin(), &self.files, request)
    }
}
