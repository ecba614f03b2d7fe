//! Undo of what a session changed in files, as an operator asks for it: found, audited, done in a box of
//! the agent's, audited.

use crate::gateway::Gateway;
use crate::operator::Operator;
use kruxos_audit::{Kind, Query};
use kruxos_capabilities::filesystem::{
    self, Files, UndoOptions, UndoReport, has_recorded, recorded_sessions,
};
use kruxos_catalog::SideEffect;
use kruxos_types::{CallError, Principal, PrincipalKind, random_base32};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Sessions that a list shows, the newest.
const MAX_SESSIONS: usize = 1_000;
/// Entries of the log looked at for programs that a session ran, of each sort.
const MAX_PROGRAM_ENTRIES: usize = 1_000;
/// Paths that an entry of the log names.
const MAX_AUDITED_PATHS: usize = 100;
/// Characters of the random part of an undo's name, as a session's id has.
const UNDO_ID: usize = 26;

/// What an operator asks.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct UndoRequest {
    pub(crate) dry_run: bool,
    pub(crate) skip_changed: bool,
    /// The diff from before the session to now.
    pub(crate) forward: bool,
}

/// An undo with what the worker cannot know.
#[derive(Debug, Serialize)]
pub(crate) struct SessionChanges {
    #[serde(flatten)]
    pub(crate) report: UndoReport,
    /// Whose files.
    pub(crate) principal: String,
    /// Programs that the session ran; what they changed is not recorded.
    pub(crate) programs: Vec<String>,
}

/// A session of which changes are recorded.
#[derive(Debug, Serialize)]
pub(crate) struct ChangedSession {
    principal: String,
    #[serde(flatten)]
    recorded: filesystem::RecordedSession,
}

impl Gateway {
    /// Looks at a session's changes or takes them back; `None` if nothing is recorded of it.
    pub(crate) async fn undo_session(
        &self,
        session: &str,
        request: UndoRequest,
        by: &Operator,
    ) -> Result<Option<SessionChanges>, CallError> {
        let Some(principal) = self.changed_by(session).await? else {
            return Ok(None);
        };
        let programs = self.programs_of(session).await?;
        let options = UndoOptions {
            session: session.to_owned(),
            recorded_as: (!request.dry_run).then(|| format!("undo_{}", random_base32(UNDO_ID))),
            skip_changed: request.skip_changed,
            forward: request.forward,
        };
        let facts = json!({
            "session": session,
            "principal": principal.to_string(),
            "recorded_as": options.recorded_as,
            "skip_changed": request.skip_changed,
        });
        if !request.dry_run {
            self.audit_admin(by, "undo begun", facts.clone()).await?;
        }
        let outcome = self.undo_files(&principal, options).await;
        if !request.dry_run {
            self.audit_undo(by, facts, &outcome).await?;
        }
        Ok(Some(SessionChanges {
            report: outcome?,
            principal: principal.to_string(),
            programs,
        }))
    }

    async fn audit_undo(
        &self,
        by: &Operator,
        mut facts: Value,
        outcome: &Result<UndoReport, CallError>,
    ) -> Result<(), CallError> {
        let event = match outcome {
            Ok(report) => {
                let undone = report.changes.iter().filter(|row| row.verdict == "undo");
                let paths: Vec<&str> = undone
                    .map(|row| row.path.as_str())
                    .take(MAX_AUDITED_PATHS)
                    .collect();
                facts["paths"] = json!(paths);
                facts["undone"] = report.undo.into();
                facts["left"] = (report.refused + report.not_kept).into();
                "undo done"
            }
            Err(error) => {
                facts["error"] = error.to_json();
                "undo failed"
            }
        };
        self.audit_admin(by, event, facts).await
    }

    async fn undo_files(
        &self,
        principal: &Principal,
        options: UndoOptions,
    ) -> Result<UndoReport, CallError> {
        let session = self.session_of(principal).await?;
        if self.has_boxes() {
            return self.undo_in_box(&session, &options).await;
        }
        let work = move |files: &Files| filesystem::undo(&options, files);
        self.with_files(&session, work).await?
    }

    /// Whose session this is, going by the journals there are.
    async fn changed_by(&self, session: &str) -> Result<Option<Principal>, CallError> {
        let wanted = session.to_owned();
        let found = move |trash: &PathBuf| has_recorded(trash, &wanted);
        let trashes = self.trashes();
        tokio::task::spawn_blocking(move || {
            let trash = trashes.into_iter().find(|(_, trash)| found(trash));
            trash.map(|(principal, _)| principal)
        })
        .await
        .map_err(CallError::internal_failure)
    }

    /// Every session of which changes are recorded, the newest first, and how many more there are.
    pub(crate) async fn changed_sessions(&self) -> Result<(Vec<ChangedSession>, usize), CallError> {
        let trashes = self.trashes();
        let listed = tokio::task::spawn_blocking(move || {
            let mut all = Vec::new();
            for (principal, trash) in trashes {
                for recorded in recorded_sessions(&trash)? {
                    let principal = principal.to_string();
                    all.push(ChangedSession {
                        principal,
                        recorded,
                    });
                }
            }
            all.sort_by_key(|one| std::cmp::Reverse(one.recorded.last_change));
            Ok::<_, std::io::Error>(all)
        });
        let mut all = listed
            .await
            .map_err(CallError::internal_failure)?
            .map_err(CallError::internal_failure)?;
        let more = all.len().saturating_sub(MAX_SESSIONS);
        all.truncate(MAX_SESSIONS);
        Ok((all, more))
    }

    /// The trash of every principal that has one, also of agents that were deleted since.
    pub(crate) fn trashes(&self) -> Vec<(Principal, PathBuf)> {
        let parent = self.layout.data_dir.join("trash");
        let directories = crate::housekeeping::directories(&parent).into_iter();
        directories
            .filter_map(|path| Some((owner(path.file_name()?.to_str()?)?, path)))
            .collect()
    }

    /// Programs with effects that a session ran: what they changed is in no journal.
    async fn programs_of(&self, session: &str) -> Result<Vec<String>, CallError> {
        let (log, session) = (self.audit.clone(), session.to_owned());
        let looked = tokio::task::spawn_blocking(move || {
            let mut names = BTreeSet::new();
            for pattern in ["process.*", "git.*"] {
                let page = log.query(&Query {
                    capability: Some(pattern.to_owned()),
                    session: Some(session.clone()),
                    kind: Some(Kind::Call),
                    limit: MAX_PROGRAM_ENTRIES,
                    newest_first: true,
                    ..Query::default()
                })?;
                names.extend(
                    page.entries
                        .into_iter()
                        .filter_map(|entry| entry.capability),
                );
            }
            Ok::<_, kruxos_audit::AuditError>(names)
        });
        let names = looked
            .await
            .map_err(CallError::internal_failure)?
            .map_err(CallError::internal_failure)?;
        let changes = |name: &String| {
            self.catalog
                .get(name)
                .is_none_or(|found| found.side_effect != SideEffect::None)
        };
        Ok(names.into_iter().filter(changes).collect())
    }
}

/// `Layout::trash` names a trash by the kind and name of its owner.
fn owner(name: &str) -> Option<Principal> {
    let (kind, name) = name.split_once('-')?;
    let all = [
        PrincipalKind::Agent,
        PrincipalKind::User,
        PrincipalKind::System,
    ];
    match all.into_iter().find(|known| known.as_str() == kind)? {
        PrincipalKind::Agent => Some(Principal::agent(name)),
        PrincipalKind::User => Some(Principal::user(name)),
        PrincipalKind::System => Some(Principal::system()),
    }
}
