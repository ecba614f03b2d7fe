//! What the kernel answers, as errors of the catalogue.

use super::text::quote;
use kruxos_types::{CallError, ErrorType};
use rustix::fs::FileType;
use rustix::io::Errno;

/// An error about a path, which is quoted as the agent wrote it.
pub(super) fn of(error: ErrorType, given: &str) -> CallError {
    CallError::new(error).with("path", quote(given))
}

/// `PermissionDenied`.
pub(super) fn permission(given: &str, operation: &'static str) -> CallError {
    of(ErrorType::PermissionDenied, given).with("operation", operation)
}

/// `InvalidInput` about a path.
pub(super) fn bad_path(given: &str, reason: &str, expected: &str) -> CallError {
    CallError::invalid_input("path", reason, expected).with("path", quote(given))
}

/// `ResourceExhausted` with the bound that was hit.
pub(super) fn exhausted(resource: &str, limit: u64, current: u64) -> CallError {
    CallError::new(ErrorType::ResourceExhausted)
        .with("resource", resource)
        .with("limit", limit)
        .with("current", current)
}

/// `ConflictError`: something changed between two steps of one call.
pub(super) fn changed_meanwhile(given: &str) -> CallError {
    CallError::new(ErrorType::ConflictError)
        .with("resource", quote(given))
        .with("path", quote(given))
        .detail("It changed while the call ran; nothing was written.")
}

/// What `filesystem.read` and others say to something that is not a regular file.
pub(super) fn not_regular(given: &str, kind: FileType) -> CallError {
    let reason = match kind {
        FileType::Directory => "it is a directory",
        FileType::Fifo => "it is a named pipe",
        FileType::Socket => "it is a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "it is a device",
        FileType::Symlink => "it is a symbolic link",
        _ => "it is not a regular file",
    };
    bad_path(given, reason, "the path of a regular file")
}

/// The name of a file's type in results.
pub(super) fn type_name(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "file",
        FileType::Directory => "directory",
        FileType::Symlink => "symlink",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
        FileType::CharacterDevice | FileType::BlockDevice => "device",
        FileType::Unknown => "unknown",
    }
}

/// A failed system call. `EXDEV` is not for here: only [`super::roots::Place::fault`] knows that it
/// means an escape, and a rename across file systems means something else.
pub(super) fn from_errno(errno: Errno, operation: &'static str, given: &str) -> CallError {
    let cause = |error: CallError| error.internal(format!("{operation}: {errno}"));
    match errno {
        Errno::NOENT => of(ErrorType::FileNotFound, given),
        Errno::NOTDIR => {
            of(ErrorType::FileNotFound, given).detail("A part of the path is not a directory.")
        }
        Errno::ACCESS | Errno::PERM => cause(permission(given, operation)),
        Errno::ROFS => permission(given, operation).detail("The file system is read-only."),
        Errno::ISDIR => not_regular(given, FileType::Directory),
        // What opening a socket, or a pipe that nobody reads, answers.
        Errno::NXIO => bad_path(
            given,
            "it is a socket, pipe or device",
            "the path of a regular file",
        ),
        Errno::LOOP => bad_path(
            given,
            "it leads through too many symbolic links",
            "a path without a loop",
        ),
        Errno::NAMETOOLONG => bad_path(
            given,
            "a name in it is too long",
            "names of at most 255 bytes",
        ),
        Errno::INVAL | Errno::ILSEQ => cause(bad_path(
            given,
            "the file system does not accept it",
            "a path that the file system can hold",
        )),
        Errno::AGAIN => changed_meanwhile(given),
        Errno::NOSPC | Errno::DQUOT => CallError::new(ErrorType::ResourceExhausted)
            .with("path", quote(given))
            .with("resource", "disk space")
            .internal(errno),
        Errno::FBIG => CallError::new(ErrorType::ResourceExhausted)
            .with("path", quote(given))
            .with("resource", "file size"),
        Errno::MFILE | Errno::NFILE => CallError::new(ErrorType::ResourceExhausted)
            .with("resource", "open files")
            .internal(errno),
        other => {
            CallError::internal_failure(format!("{operation}: {other}")).with("path", quote(given))
        }
    }
}

/// Turns «no space» into `DiskFull`, for the capabilities that declare it.
pub(super) fn disk_full(error: CallError) -> CallError {
    let is_space = error.error_type() == ErrorType::ResourceExhausted
        && error
            .context()
            .get("resource")
            .is_some_and(|resource| resource == "disk space");
    if !is_space {
        return error;
    }
    let mut full = CallError::new(ErrorType::DiskFull);
    if let Some(path) = error.context().get("path") {
        full = full.with("path", path.clone());
    }
    full
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_as_such() {
        for errno in [Errno::NOSPC, Errno::DQUOT] {
            let error = from_errno(errno, "write", "a.txt");
            assert_eq!(error.error_type(), ErrorType::ResourceExhausted);
            let error = disk_full(error);
            assert_eq!(error.error_type(), ErrorType::DiskFull);
            assert_eq!(
                error.context().get("path").and_then(|path| path.as_str()),
                Some("a.txt")
            );
        }
        assert_eq!(
            disk_full(from_errno(Errno::MFILE, "write", "a")).error_type(),
            ErrorType::ResourceExhausted
        );
    }

    #[test]
    fn every_number_of_the_kernel_has_an_error() {
        for raw in 1..134 {
            let error = from_errno(Errno::from_raw_os_error(raw), "read", "a\n.txt");
            assert!(!error.to_json().to_string().contains('\n'));
        }
    }
}
