//! Messages to the operator. An agent sees and closes its own; a person sees all.

pub(super) mod acknowledge;
pub(super) mod list;
pub(super) mod send;

use crate::Cx;
use kruxos_types::PrincipalKind;

/// What alerts of the caller carry: `agent:<name>`.
fn source(cx: &Cx) -> String {
    cx.principal.to_string()
}

/// The source that the caller is confined to.
fn scope(cx: &Cx) -> Option<String> {
    (cx.principal.kind == PrincipalKind::Agent).then(|| source(cx))
}
