//! Where tests end the process, to see what undo makes of a journal that stops there.

/// Ends the process here if its test says so.
#[cfg(test)]
pub(crate) fn at(point: &str) {
    if std::env::var("KRUXOS_TEST_CRASH").is_ok_and(|wanted| wanted == point) {
        std::process::abort();
    }
}

/// Nothing, outside tests.
#[cfg(not(test))]
pub(crate) fn at(_: &str) {}
