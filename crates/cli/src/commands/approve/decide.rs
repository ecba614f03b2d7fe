//! `approve accept` and `approve reject`.

use crate::args::approve::{Accept, Reject, Scope};
use crate::client::Url;
use crate::commands::{Cx, items, text, text_or};
use crate::failure::{Exit, Failure};
use crate::inputs;
use crate::output::Look;
use serde_json::{Map, Value, json};

pub(super) async fn accept(cx: &Cx<'_>, accept: &Accept) -> Result<(), Failure> {
    let is_plain = accept.scope == Scope::Once
        && accept.set.is_empty()
        && accept.open.is_empty()
        && accept.conditions.is_empty();
    let [id] = accept.decision.ids.as_slice() else {
        if is_plain {
            return all(cx, &accept.decision, "accept").await;
        }
        return Err(Failure::usage(
            "a scope or other inputs are for one request at a time",
        ));
    };
    let mut wanted = wish(cx, id, accept).await?;
    if accept.scope != Scope::Once {
        let plan = Url::new(&["approvals", id, "plan"]);
        let plan = cx.client.post(plan.as_str(), wanted.clone()).await?;
        show(cx, &plan["remember"]);
        let question = format!("Accept {id} and remember this?");
        cx.out.confirm(&question, accept.yes)?;
        wanted["seen"] = plan["seen"].clone();
    }
    wanted["reason"] = json!(accept.decision.reason);
    let url = Url::new(&["approvals", id, "accept"]);
    let decided = cx.client.post(url.as_str(), wanted).await?;
    let done = format!("{id} is approved and runs now.{}", remembered(&decided));
    crate::commands::agent::said(cx, &decided, &done);
    match decided["policy"]["written"] {
        Value::Bool(false) => Err(Failure::failed(format!(
            "the call was approved once; the rule was not written: {}",
            text(&decided["policy"]["why_not"])
        ))),
        _ => Ok(()),
    }
}

pub(super) async fn reject(cx: &Cx<'_>, reject: &Reject) -> Result<(), Failure> {
    let [id] = reject.ids.as_slice() else {
        return all(cx, reject, "reject").await;
    };
    let url = Url::new(&["approvals", id, "reject"]);
    let body = json!({"reason": reject.reason});
    let decided = cx.client.post(url.as_str(), body).await?;
    crate::commands::agent::said(cx, &decided, &format!("{id} is rejected."));
    Ok(())
}

/// What the options ask for, as the gateway takes it.
async fn wish(cx: &Cx<'_>, id: &str, accept: &Accept) -> Result<Value, Failure> {
    let conditions = inputs::build(&accept.conditions, None, &Value::Null)?;
    let mut wanted = json!({
        "scope": accept.scope.as_str(),
        "open": accept.open,
        "conditions": conditions,
        "uses": accept.uses,
        "expires_in_seconds": accept.time.map(|time| time.as_secs()),
    });
    if !accept.set.is_empty() {
        wanted["set"] = Value::Object(edits(cx, id, &accept.set).await?);
    }
    Ok(wanted)
}

/// Inputs by the schema of the capability that was asked for.
async fn edits(cx: &Cx<'_>, id: &str, pairs: &[String]) -> Result<Map<String, Value>, Failure> {
    let approval = cx.client.get(Url::new(&["approvals", id]).as_str()).await?;
    let capability = text(&approval["capability"]);
    let definition = Url::new(&["capabilities", &capability]);
    let definition = cx.client.get(definition.as_str()).await?;
    inputs::build(pairs, None, &definition["input_schema"])
}

/// What is about to be remembered.
fn show(cx: &Cx<'_>, plan: &Value) {
    if cx.out.json {
        return;
    }
    cx.out.spans(&[(Look::Bold, "To be remembered")]);
    let row = |name: &str, value: &str| {
        cx.out
            .spans(&[(Look::Dim, &format!("  {name:<12}")), (Look::Plain, value)]);
    };
    row("scope", &text(&plan["scope"]));
    row("capability", &text(&plan["capability"]));
    if plan["scope"] != "always" {
        row("uses", &text_or(&plan["uses"], "any number"));
        row(
            "until",
            &text_or(&plan["expires_at"], "the end of the session"),
        );
    }
    cx.out.spans(&[(Look::Dim, "  for calls with")]);
    cx.out.pretty(&plan["conditions"]);
    let history = &plan["history"];
    cx.out.line(&format!(
        "It would have covered {} of {} calls of the last {} days.",
        text(&history["covered"]),
        text(&history["calls"]),
        text(&history["days"]),
    ));
    if let Some(diff) = plan["diff"].as_str() {
        cx.out.diff(diff);
    }
    if let Some(why) = plan["why_not"].as_str() {
        cx.out
            .spans(&[(Look::Warn, &format!("It would have no effect: {why}"))]);
    }
}

fn remembered(decided: &Value) -> String {
    match (
        decided["remembered"]["grant_id"].as_str(),
        decided["policy"]["file"].as_str(),
    ) {
        (Some(grant), _) => format!(" Take the grant back with:  kruxos approve revoke {grant}"),
        (None, Some(file)) => format!(" The rule is in {file}."),
        (None, None) => String::new(),
    }
}

/// Several at once; fails if one could not be decided.
async fn all(cx: &Cx<'_>, decision: &Reject, verb: &str) -> Result<(), Failure> {
    let body = json!({"ids": decision.ids, "reason": decision.reason});
    let url = Url::new(&["approvals", verb]);
    let answer = cx.client.post(url.as_str(), body).await?;
    let failed = items(&answer["decided"]).any(|one| !one["error"].is_null());
    if cx.out.json {
        cx.out.value(&answer);
    } else {
        for one in items(&answer["decided"]) {
            let id = text(&one["id"]);
            match one["error"].as_str() {
                Some(error) => cx
                    .out
                    .spans(&[(Look::Plain, &format!("{id}  ")), (Look::Warn, error)]),
                None => cx.out.line(&format!("{id}  {}", text(&one["state"]))),
            }
        }
    }
    match failed {
        true => Err(Failure::shown(Exit::Refused)),
        false => Ok(()),
    }
}
