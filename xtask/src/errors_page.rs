use crate::errors::ErrorEntry;
use kruxos_catalog::Source;
pub(crate) fn page(_e: &[ErrorEntry], _s: &[Source]) -> String { String::new() }
