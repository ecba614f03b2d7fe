//! Where tests end the process, to see what undo makes of a journal that stops there.

/// The point at which this process ends, if its test named one.
#[cfg(test)]
pub(crate) static POINT: std::sync::OnceLock<String> = std::sync::OnceLock::new();

/// Ends the process here if its test says so.
#[cfg(test)]
pub(crate) fn at(point: &str) {
    if POINT.get().is_some_and(|wanted| wanted == point) {
        std::process::abort();
    }
}

/// Nothing, outside tests.
#[cfg(not(test))]
pub(crate) fn at(_: &str) {}
