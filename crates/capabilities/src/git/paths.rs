//! Names in git's output.

use crate::filesystem::quote;

/// A path as git prints it with `-z`, for an answer: as it is if it is UTF-8, else as far as it can be
/// shown, like in listings of files.
pub(super) fn show(raw: &[u8]) -> String {
    match std::str::from_utf8(raw) {
        Ok(path) => path.to_owned(),
        Err(_) => quote(&String::from_utf8_lossy(raw)),
    }
}

/// The parts of a list whose parts end in NUL.
pub(super) fn ended_by_nul(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&byte| byte == 0)
        .filter(|part| !part.is_empty())
}
