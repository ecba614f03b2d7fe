//! `sandbox diagnose`: which of the kernel's protections work here.

use super::daemon::beside;
use super::{Cx, text};
use crate::failure::{Exit, Failure};
use crate::output::Look;
use http::Method;
use serde_json::Value;

pub(super) async fn diagnose(cx: &Cx<'_>) -> Result<(), Failure> {
    let found = match cx.client.exchange(Method::GET, "/sandbox", None).await {
        Ok(reply) => reply.body,
        // What it would find if it ran.
        Err(failure) if failure.exit == Exit::Unreachable => look()?,
        Err(failure) => return Err(failure),
    };
    if cx.out.json {
        cx.out.value(&found);
    } else {
        show(cx, &found);
    }
    match found["ok"] == true {
        true => Ok(()),
        false => Err(Failure::shown(Exit::Failed)),
    }
}

fn look() -> Result<Value, Failure> {
    #[allow(
        clippy::disallowed_methods,
        reason = "not the gateway: a short look by its own program"
    )]
    let answer = std::process::Command::new(beside()?)
        .arg("diagnose")
        .output()?;
    serde_json::from_slice(&answer.stdout)
        .map_err(|error| Failure::failed(format!("the probe's answer is none: {error}")))
}

fn show(cx: &Cx<'_>, found: &Value) {
    for (name, layer) in found["layers"].as_object().into_iter().flatten() {
        let active = layer["state"] == "active";
        let (look, mark) = match active {
            true => (Look::Good, "active     "),
            false => (Look::Bad, "unavailable"),
        };
        let name = format!("  {name:<11}");
        let detail = text(&layer["detail"]);
        cx.out
            .spans(&[(look, mark), (Look::Plain, &name), (Look::Dim, &detail)]);
        if let Some(remedy) = layer["remedy"].as_str() {
            cx.out.line(&format!("               {remedy}"));
        }
    }
    if found["confined"] != true {
        cx.out.line(
            "Nothing can be confined here: file calls run in the gateway, programs are refused.",
        );
    }
}
