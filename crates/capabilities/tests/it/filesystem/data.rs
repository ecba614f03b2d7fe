//! Facts made apart from the product, to compare its answers with.

/// SHA-256 as hex, by the system's own library calls made apart from the product.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    data_encoding::HEXLOWER.encode(sha2::Sha256::digest(bytes).as_slice())
}

pub(crate) fn from_base64(text: &str) -> Vec<u8> {
    data_encoding::BASE64.decode(text.as_bytes()).unwrap()
}

/// Sets a file's modification time, in seconds.
pub(crate) fn set_modified(path: &std::path::Path, seconds: i64) {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(CWD, path, &times, AtFlags::empty()).unwrap();
}

/// What the gateway would refuse to send on.
#[track_caller]
pub(crate) fn check_output(name: &str, answer: &serde_json::Value) {
    if let Err(error) = crate::permits::definition(name).check_output(answer) {
        panic!("{name} breaks its definition: {error:?}: {answer}");
    }
}
