//! `state.session.clear`.

use crate::Cx;
use kruxos_types::CallError;
use serde_json::{Value, json};

pub(crate) fn run(cx: &Cx) -> Result<Value, CallError> {
    Ok(json!({"removed_count": cx.state.clear()}))
}
