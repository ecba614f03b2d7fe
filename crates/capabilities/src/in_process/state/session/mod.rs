//! State that ends with the session.

pub(in crate::in_process) mod clear;
pub(in crate::in_process) mod delete;
pub(in crate::in_process) mod get;
pub(in crate::in_process) mod list;
pub(in crate::in_process) mod set;
