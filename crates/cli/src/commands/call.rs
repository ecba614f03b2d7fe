//! `call`: a capability through the whole pipeline.

use super::{Cx, text};
use crate::args::Call;
use crate::client::Url;
use crate::failure::{Exit, Failure};
use crate::inputs;
use http::Method;
use serde_json::json;

pub(super) async fn run(cx: &Cx<'_>, call: Call) -> Result<(), Failure> {
    let definition = cx
        .client
        .get(Url::new(&["capabilities", &call.capability]).as_str())
        .await?;
    let inputs = inputs::build(
        &call.inputs,
        call.input.as_deref(),
        &definition["input_schema"],
    )?;
    let mut body = json!({
        "capability": definition["name"],
        "inputs": inputs,
        "wait_seconds": call.wait.map_or(0, |wait| wait.as_secs()),
    });
    if let (Some(agent), Some(fields)) = (call.agent, body.as_object_mut()) {
        fields.insert("agent".to_owned(), json!(agent));
    }
    // A held call takes as long as it was allowed to.
    let reply = cx
        .client
        .exchange(Method::POST, "/call", Some(body))
        .await?;
    if reply.status == 202 {
        return Err(pending(cx, &reply.body));
    }
    if cx.out.json {
        cx.out.value(&reply.body["result"]);
    } else {
        cx.out.pretty(&reply.body["result"]);
    }
    Ok(())
}

/// Nothing ran yet, so this is no success.
fn pending(cx: &Cx<'_>, body: &serde_json::Value) -> Failure {
    let id = text(&body["request_id"]);
    if cx.out.json {
        cx.out.value(body);
        return Failure::shown(Exit::Refused);
    }
    Failure::refused(format!("the call waits for approval {id}"))
        .hint(format!("See it:  kruxos approve show {id}"))
        .hint(format!("Decide:  kruxos approve accept {id}   or   kruxos approve reject {id}"))
        .hint("Then make the same call again within 10 minutes for its result, or wait with --wait 10m.")
}
