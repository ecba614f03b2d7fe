//! `/policies` and `/check-policy`: the files, who may change them and how, and why a call gets
//! the tier it gets.

use super::Operator;
use super::agents::known;
use super::error::{Answer, ApiError};
use super::extract::{Body, By, agent_name};
use crate::agents::GROUPS;
use crate::gateway::Gateway;
use crate::layout::write_private;
use crate::policy_files::{Reload, read_policy_file};
use axum::extract::{Path, State};
use axum::http::header::{ETAG, IF_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use data_encoding::HEXLOWER;
use kruxos_policy::{PolicyLayer, Query, Source, layer_of, validate_among};
use kruxos_store::AgentPatch;
use kruxos_types::{
    CallError, ErrorType, Interface, Object, Principal, PrincipalKind, RecoveryAction,
};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::sync::{Mutex, PoisonError};

/// Text of a policy file through the API.
const MAX_POLICY_BYTES: usize = 1024 * 1024;

pub(super) fn routes() -> Router<Gateway> {
    Router::new()
        .route("/policies", get(list))
        .route("/policies/validate", post(check_text))
        .route("/policies/template", put(choose_template))
        .route("/policies/templates/{name}", get(template))
        .route("/policies/files/{layer}", get(read_layer).put(write_layer))
        .route(
            "/policies/files/agents/{name}",
            get(read_agent).put(write_agent),
        )
        .route("/check-policy", post(check_policy))
}

/// A file of the policy directory.
pub(super) struct PolicyFile {
    /// Relative to the policy directory.
    name: String,
    layer: PolicyLayer,
}

pub(super) fn layer_file(layer: &str) -> Result<PolicyFile, ApiError> {
    let (name, layer) = match layer {
        "system" => ("system.yaml", PolicyLayer::System),
        "org" => ("org.yaml", PolicyLayer::Organisation),
        "user" => ("user.yaml", PolicyLayer::User),
        other => {
            return Err(ApiError::not_found(
                "layer",
                other,
                "system, org, user or agents/NAME",
            ));
        }
    };
    Ok(PolicyFile {
        name: name.to_owned(),
        layer,
    })
}

pub(super) fn agent_file(name: &str) -> Result<PolicyFile, ApiError> {
    let name = format!("agents/{}.yaml", agent_name(name)?);
    Ok(PolicyFile {
        name,
        layer: PolicyLayer::Agent,
    })
}

impl PolicyFile {
    /// The text, or nothing where there is no file.
    fn text(&self, directory: &std::path::Path) -> Result<Option<String>, ApiError> {
        let path = directory.join(&self.name);
        match read_policy_file(&path) {
            Ok(bytes) => match Source::from_bytes(&self.name, &bytes) {
                Ok(source) => Ok(Some(source.text)),
                Err(problem) => Err(unreadable(&path, &problem.message)),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(&path, &error.to_string())),
        }
    }

    /// [`PolicyFile::text`] from async code.
    async fn read(self, gateway: &Gateway) -> Result<(PolicyFile, Option<String>), ApiError> {
        let directory = gateway.policy.directory().to_owned();
        blocking(move || self.text(&directory).map(|text| (self, text))).await?
    }
}

/// A policy file that is there and cannot be read as text: which one, and what helps.
fn unreadable(path: &std::path::Path, why: &str) -> ApiError {
    let shown = path.display();
    let mend = RecoveryAction {
        action: "mend_file".into(),
        description: format!(
            "Make {shown} a text file (UTF-8 YAML) that the gateway's user may read, or delete it."
        )
        .into(),
        capability: None,
        inputs: None,
    };
    CallError::new(ErrorType::IoError)
        .with(
            "operation",
            format!("reading the policy file {shown}: {why}"),
        )
        .with("path", shown.to_string())
        .detail("Until it is mended or deleted, its last good version stays in force.")
        .recover_by(vec![mend])
        .into()
}

pub(super) fn etag(text: &str) -> String {
    format!("\"{}\"", HEXLOWER.encode(&Sha256::digest(text.as_bytes())))
}

async fn list(By(_): By, State(gateway): State<Gateway>) -> Answer {
    let mut files = vec![
        layer_file("system")?,
        layer_file("org")?,
        layer_file("user")?,
    ];
    let agents = gateway.agents.all();
    for agent in &agents {
        files.push(agent_file(agent.name.as_str())?);
    }
    let mut shown = Vec::new();
    for file in files {
        let (name, layer) = (file.name.clone(), file.layer);
        match file.read(&gateway).await {
            Ok((_, None)) => {}
            Ok((_, Some(text))) => shown.push(json!({
                "file": name,
                "layer": layer,
                "bytes": text.len(),
                "etag": etag(&text),
            })),
            Err(refusal) => shown.push(json!({
                "file": name,
                "layer": layer,
                "error": refusal.description(),
            })),
        }
    }
    let (problems, warnings) = gateway.policy.diagnostics();
    Ok(Json(json!({
        "directory": gateway.policy.directory(),
        "generation": gateway.policy.mark().0,
        "files": shown,
        "templates": GROUPS,
        "agents": gateway.policy.groups(),
        "problems": problems,
        "warnings": warnings,
    })))
}

async fn template(By(_): By, Path(name): Path<String>) -> Answer {
    let text = kruxos_policy::template_text(&name)
        .ok_or_else(|| ApiError::not_found("template", &name, &GROUPS.join(", ")))?;
    Ok(Json(json!({"name": name, "text": text})))
}

async fn read_layer(
    By(_): By,
    State(gateway): State<Gateway>,
    Path(layer): Path<String>,
) -> Answer<Response> {
    read(&gateway, layer_file(&layer)?).await
}

async fn read_agent(
    By(_): By,
    State(gateway): State<Gateway>,
    Path(name): Path<String>,
) -> Answer<Response> {
    read(&gateway, agent_file(&name)?).await
}

async fn read(gateway: &Gateway, file: PolicyFile) -> Answer<Response> {
    let (file, text) = file.read(gateway).await?;
    let text = text.ok_or_else(|| ApiError::not_found("file", &file.name, "a written file"))?;
    let body = json!({"file": file.name, "layer": file.layer, "text": text});
    Ok(([(ETAG, etag(&text))], Json(body)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewText {
    text: String,
}

async fn write_layer(
    By(by): By,
    State(gateway): State<Gateway>,
    Path(layer): Path<String>,
    headers: HeaderMap,
    Body(NewText { text }): Body<NewText>,
) -> Answer<Response> {
    write(&gateway, &by, layer_file(&layer)?, seen(&headers), text).await
}

async fn write_agent(
    By(by): By,
    State(gateway): State<Gateway>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Body(NewText { text }): Body<NewText>,
) -> Answer<Response> {
    known(&gateway, &name)?;
    write(&gateway, &by, agent_file(&name)?, seen(&headers), text).await
}

/// The ETag of the text that a writer has seen.
fn seen(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(IF_MATCH)?.to_str().ok()?;
    Some(value.to_owned())
}

/// Writes a file that compiles, unless somebody changed it since the writer read it.
pub(super) async fn write(
    gateway: &Gateway,
    by: &Operator,
    file: PolicyFile,
    seen: Option<String>,
    text: String,
) -> Answer<Response> {
    let source = bounded_source(&file.name, text)?;
    let checked = source.clone();
    let layer = file.layer;
    let others = gateway.policy.sources();
    let catalog = gateway.catalog;
    let found = blocking(move || validate_among(&checked, layer, catalog, &others)).await?;
    if found.iter().any(|diagnostic| diagnostic.fatal) {
        let first = found.iter().find(|diagnostic| diagnostic.fatal);
        let reason = first.map(ToString::to_string).unwrap_or_default();
        let refusal = ApiError::invalid("text", &reason, "a policy file that compiles");
        return Err(refusal.with("diagnostics", json!(found)));
    }
    let tag = etag(&source.text);
    let name = file.name.clone();
    let directory = gateway.policy.directory().to_owned();
    let earlier =
        blocking(move || replace(&directory, &file, seen.as_deref(), &source.text)).await??;
    let outcome = gateway.reload_policy().await;
    let facts = json!({"file": name, "etag": tag});
    gateway
        .audit_admin(by, "policy file written", facts)
        .await?;
    let problems = match outcome {
        Reload::Kept { problems, .. } => problems,
        Reload::Unchanged | Reload::Applied { .. } => Vec::new(),
    };
    let body = json!({
        "file": name,
        "generation": gateway.policy.mark().0,
        "diagnostics": found,
        "problems": problems,
    });
    let status = if earlier.is_some() {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    Ok((status, [(ETAG, tag)], Json(body)).into_response())
}

/// Files and compilation, off the threads that serve connections.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CallError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(CallError::internal_failure)
}

/// Compares and replaces under one lock; answers the earlier text.
fn replace(
    directory: &std::path::Path,
    file: &PolicyFile,
    seen: Option<&str>,
    text: &str,
) -> Result<Option<String>, ApiError> {
    static WRITING: Mutex<()> = Mutex::new(());
    let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let earlier = file.text(directory)?;
    check_etag(earlier.as_deref(), seen)?;
    let path = directory.join(&file.name);
    write_private(&path, text.as_bytes()).map_err(|error| unwritable(&path, &error))?;
    Ok(earlier)
}

fn unwritable(path: &std::path::Path, error: &std::io::Error) -> ApiError {
    CallError::new(ErrorType::IoError)
        .with(
            "operation",
            format!("writing the policy file {}: {error}", path.display()),
        )
        .with("path", path.display().to_string())
        .detail("Nothing was changed.")
        .into()
}

/// A file that exists is replaced only by who has seen its present text.
fn check_etag(earlier: Option<&str>, sent: Option<&str>) -> Result<(), ApiError> {
    match (earlier.map(etag), sent) {
        (None, None) => Ok(()),
        (Some(now), Some(seen)) if now == seen => Ok(()),
        (Some(_), None) => {
            let reason = "the file exists; send the ETag that you read";
            let error = CallError::invalid_input("If-Match", reason, "the ETag of the file");
            Err(ApiError::new(StatusCode::PRECONDITION_REQUIRED, error))
        }
        (now, _) => {
            let error = CallError::new(ErrorType::ConflictError)
                .with("resource", "policy file")
                .with("expected_version", sent.unwrap_or_default())
                .with("actual_version", now.unwrap_or_default());
            Err(ApiError::new(StatusCode::PRECONDITION_FAILED, error))
        }
    }
}

fn bounded_source(file: &str, text: String) -> Result<Source, ApiError> {
    if text.len() > MAX_POLICY_BYTES {
        let expected = format!("at most {MAX_POLICY_BYTES} bytes");
        return Err(ApiError::invalid("text", "is too long", &expected));
    }
    Ok(Source {
        file: file.to_owned(),
        text,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TextToCheck {
    /// Shown in messages; tells the layer.
    file: String,
    text: String,
}

async fn check_text(
    By(_): By,
    State(gateway): State<Gateway>,
    Body(TextToCheck { file, text }): Body<TextToCheck>,
) -> Answer {
    super::extract::bounded("file", &file)?;
    let source = bounded_source(&file, text)?;
    let others = gateway.policy.sources();
    let catalog = gateway.catalog;
    let check = move || validate_among(&source, layer_of(&source), catalog, &others);
    let found = blocking(check).await?;
    let ok = !found.iter().any(|diagnostic| diagnostic.fatal);
    Ok(Json(json!({"ok": ok, "diagnostics": found})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Choice {
    template: String,
    /// One agent; every agent when absent.
    agent: Option<String>,
}

/// Sets the template that an agent, or every agent, starts from.
async fn choose_template(
    By(by): By,
    State(gateway): State<Gateway>,
    Body(Choice { template, agent }): Body<Choice>,
) -> Answer {
    if !GROUPS.contains(&template.as_str()) {
        return Err(ApiError::not_found(
            "template",
            &template,
            &GROUPS.join(", "),
        ));
    }
    let agents = match agent {
        Some(name) => vec![known(&gateway, &name)?],
        None => gateway.agents.all(),
    };
    let mut changed = Vec::new();
    for agent in agents.iter().filter(|agent| agent.policy_group != template) {
        let patch = AgentPatch {
            policy_group: Some(template.clone()),
            ..AgentPatch::default()
        };
        gateway.edit_agent(&agent.name, patch, &by).await?;
        changed.push(agent.name.clone());
    }
    Ok(Json(json!({
        "template": template,
        "changed": changed,
        "generation": gateway.policy.mark().0,
    })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    capability: String,
    /// An agent; the operator as a User when absent.
    agent: Option<String>,
    #[serde(default)]
    inputs: Object,
    interface: Option<Interface>,
}

/// The decision that a call would get now, with its reasons; counts nothing. Inputs may be left
/// out: then conditions on them do not hold.
async fn check_policy(
    By(by): By,
    State(gateway): State<Gateway>,
    Body(question): Body<Question>,
) -> Answer {
    let definition = gateway
        .catalog
        .resolve(&question.capability)
        .map_err(|error| ApiError::new(StatusCode::NOT_FOUND, error))?;
    let (principal, workspace) = match &question.agent {
        Some(name) => {
            let agent = known(&gateway, name)?;
            (Principal::agent(agent.name.as_str()), agent.workspace)
        }
        None => {
            let workspace = workspace_of(&gateway, &by.principal);
            (by.principal, workspace)
        }
    };
    let inputs = definition.admit_partly(question.inputs)?;
    // What is left out of a restore leaves its place out too, as it does with every other input.
    let touches = match inputs.contains_key("trash_path") {
        true => {
            gateway
                .would_touch(&principal, &workspace, definition, &inputs)
                .await?
        }
        false => Vec::new(),
    };
    let query = Query {
        principal: &principal,
        definition,
        inputs: &inputs,
        interface: question.interface.unwrap_or(Interface::Mcp),
        now: gateway.clock.now(),
        workspace: &workspace,
        touches: &touches,
    };
    Ok(Json(json!(
        gateway.policy.current().explain(&query, &gateway.rates)
    )))
}

/// Where a principal's relative paths start.
pub(super) fn workspace_of(gateway: &Gateway, principal: &Principal) -> String {
    let agent = match principal.kind {
        PrincipalKind::Agent => gateway.agents.get(&principal.name),
        PrincipalKind::User | PrincipalKind::System => None,
    };
    agent.map_or_else(
        || {
            let workspace = gateway.layout.workspace_root.join("user");
            workspace.display().to_string()
        },
        |agent| agent.workspace,
    )
}
