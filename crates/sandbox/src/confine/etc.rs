//! The small `/etc` of a box: who the agent is, and names that need no network.

use crate::spec::{INSIDE_ID, WORKSPACE};
use crate::step::errno_of;
use rustix::io::Errno;
use std::path::Path;

/// Writes the generated files below `root`.
pub(crate) fn write(root: &Path, host: &str) -> Result<(), Errno> {
    let id = INSIDE_ID;
    let files = [
        (
            "passwd",
            format!(
                "agent:x:{id}:{id}:agent:{WORKSPACE}:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"
            ),
        ),
        ("group", format!("agent:x:{id}:\nnogroup:x:65534:\n")),
        (
            "hosts",
            format!("127.0.0.1 localhost {host}\n::1 localhost {host}\n"),
        ),
        ("hostname", format!("{host}\n")),
        // Nothing listens there: a look-up fails at once instead of waiting for the host's servers.
        (
            "resolv.conf",
            "nameserver 127.0.0.1\noptions attempts:1 timeout:1\n".to_owned(),
        ),
        (
            "nsswitch.conf",
            "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\n"
                .to_owned(),
        ),
    ];
    let etc = root.join("etc");
    std::fs::create_dir_all(&etc).map_err(|error| errno_of(&error))?;
    for (name, text) in files {
        std::fs::write(etc.join(name), text).map_err(|error| errno_of(&error))?;
    }
    Ok(())
}
