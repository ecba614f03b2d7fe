use crate::errors::ErrorEntry;
use kruxos_catalog::Source;
pub(crate) fn page(_s: &[Source], _e: &[ErrorEntry]) -> String { String::new() }
