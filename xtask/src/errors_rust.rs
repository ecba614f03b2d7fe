use crate::errors::ErrorEntry;
pub(crate) fn module(_e: &[ErrorEntry]) -> String { include_str!("../../crates/types/src/error_type.rs").to_owned() }
