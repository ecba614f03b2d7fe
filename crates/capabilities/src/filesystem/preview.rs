//! What an approver sees before a call runs. Made from the exact inputs and the files as they are.

use super::edit;
use super::fault::type_name;
use super::io::{hash_file, modified, read_whole, size_of};
use super::place::Place;
use super::read::Encoding;
use super::roots::READ;
use super::text::{quote, sha256, unified_diff};
use super::write::decode_base64;
use super::{Files, Scope};
use crate::shapes::arguments;
use kruxos_types::{CallError, Object};
use rustix::fs::{FileType, OFlags, Stat};
use serde_json::{Value, json};

/// Bytes of diff shown to an approver.
const MAX_DIFF: usize = 60 << 10;
/// Bytes of a preview in all: it is stored with the request.
const MAX_PREVIEW: usize = 64 << 10;
/// Larger files are not compared, in bytes.
const MAX_COMPARED: u64 = 8 << 20;
/// Larger targets are not hashed for a preview, in bytes.
const MAX_HASHED: u64 = 64 << 20;
const OPAQUE: &str = "cannot be inspected";

pub(super) fn of(name: &str, inputs: &Object, files: &Files) -> Value {
    let scope = &Scope {
        files,
        capability: name,
        session: None,
    };
    let made = match name {
        "filesystem.write" => content_change(inputs, scope, false),
        "filesystem.append" => content_change(inputs, scope, true),
        "filesystem.edit" => edit_change(inputs, scope),
        "filesystem.delete" => one_path(inputs, scope, "delete", "path"),
        "filesystem.move" => two_paths(inputs, scope, "move"),
        "filesystem.copy" => two_paths(inputs, scope, "copy"),
        _ => Ok(plain(name, inputs)),
    };
    let preview = made.unwrap_or_else(|error| {
        json!({
            "kind": short(name),
            "summary": format!("{} would fail: {}", short(name), error.description()),
            "notes": [OPAQUE],
        })
    });
    if preview.to_string().len() <= MAX_PREVIEW {
        return preview;
    }
    json!({ "kind": short(name), "summary": format!("{}; too large to show", short(name)), "notes": [OPAQUE] })
}

fn short(name: &str) -> &str {
    name.strip_prefix("filesystem.").unwrap_or(name)
}

fn text<'i>(inputs: &'i Object, key: &str) -> &'i str {
    inputs.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A call that changes nothing, or one whose inputs say it all.
fn plain(name: &str, inputs: &Object) -> Value {
    let shown: Vec<String> = ["path", "trash_path", "pattern"]
        .iter()
        .filter_map(|key| inputs.get(*key).and_then(Value::as_str))
        .map(quote)
        .collect();
    json!({ "kind": short(name), "summary": format!("{} {}", short(name), shown.join(" ")), "notes": [] })
}

/// What is at a place now, as facts that a later look can be compared with.
struct Target {
    shown: String,
    stat: Option<Stat>,
    sha256: Option<String>,
    content: Option<Vec<u8>>,
}

impl Target {
    fn look(place: &Place<'_>) -> Result<Target, CallError> {
        let fail = |errno| place.fault(errno, "preview");
        let shown = place.show();
        let mut target = Target {
            shown,
            stat: None,
            sha256: None,
            content: None,
        };
        let handle = match place.open(OFlags::PATH) {
            Ok(handle) => handle,
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(target),
            Err(errno) => return Err(fail(errno)),
        };
        let stat = rustix::fs::fstat(&handle).map_err(fail)?;
        target.stat = Some(stat);
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            && let Ok(file) = place.open(READ)
        {
            target.content = read_whole(&file, size_of(&stat), MAX_COMPARED).map_err(fail)?;
            target.sha256 = match &target.content {
                Some(content) => Some(sha256(content)),
                None => hash_file(&file, MAX_HASHED, None).map_err(fail)?,
            };
        }
        Ok(target)
    }

    fn state(&self) -> Value {
        match &self.stat {
            None => json!({ "exists": false, "size": null, "modified": null, "sha256": null }),
            Some(stat) => json!({
                "exists": true,
                "size": size_of(stat),
                "modified": modified(stat).to_string(),
                "sha256": self.sha256,
            }),
        }
    }

    fn row(&self, role: &str) -> Value {
        let kind = self
            .stat
            .map(|stat| type_name(FileType::from_raw_mode(stat.st_mode)));
        json!({
            "role": role,
            "path": quote(&self.shown),
            "type": kind,
            "size": self.stat.map(|stat| size_of(&stat)),
        })
    }
}

/// `write` and `append`: the difference to the file as it is.
fn content_change(inputs: &Object, scope: &Scope<'_>, appends: bool) -> Result<Value, CallError> {
    let place = scope.files.roots.locate("path", text(inputs, "path"))?;
    let target = Target::look(&place)?;
    let added = match inputs
        .get("encoding")
        .map(|encoding| serde_json::from_value(encoding.clone()))
    {
        Some(Ok(Encoding::Base64)) => decode_base64(text(inputs, "content"))?,
        _ => text(inputs, "content").as_bytes().to_vec(),
    };
    let kind = if appends { "append" } else { "write" };
    let mut notes = Vec::new();
    let old = target
        .content
        .clone()
        .or_else(|| target.stat.is_none().then(Vec::new));
    let mut new = if appends {
        old.clone().unwrap_or_default()
    } else {
        Vec::new()
    };
    new.extend_from_slice(&added);
    let texts = old.map(|old| (String::from_utf8(old), String::from_utf8(new)));
    let diff = match texts {
        Some((Ok(old), Ok(new))) if !old.contains('\0') && !new.contains('\0') => Some(
            unified_diff(&visible(&old), &visible(&new), &target.shown, MAX_DIFF),
        ),
        _ => {
            notes.push(OPAQUE);
            None
        }
    };
    let verb = match (&target.stat, appends) {
        (None, _) => "create",
        (Some(_), true) => "append to",
        (Some(_), false) => "replace",
    };
    let mut preview = json!({
        "kind": kind,
        "summary": format!("{verb} {} ({} bytes)", quote(&target.shown), added.len()),
        "paths": [target.row("target")],
        "restorable": true,
        "notes": notes,
        "target_state": target.state(),
    });
    if let (Some(diff), Some(fields)) = (diff, preview.as_object_mut()) {
        fields.insert("diff".to_owned(), diff.into());
    }
    Ok(preview)
}

/// Text whose hidden and reordering characters can be seen; line breaks and tabs stay.
pub(super) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['\n', '\t']) {
        push_visible(&mut shown, rest.get(..at).unwrap_or_default());
        shown.push_str(rest.get(at..=at).unwrap_or_default());
        rest = rest.get(at + 1..).unwrap_or_default();
    }
    push_visible(&mut shown, rest);
    shown
}

fn push_visible(shown: &mut String, text: &str) {
    // Nearly every line is plain; only others need a look at each character.
    if text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        shown.push_str(text);
        return;
    }
    super::text::push_quoted(shown, text);
}

fn edit_change(inputs: &Object, scope: &Scope<'_>) -> Result<Value, CallError> {
    let args: edit::Args = arguments(inputs.clone())?;
    let plan = edit::plan(&args, scope)?;
    let total: u64 = plan.changes.iter().map(|change| change.count).sum();
    let changed: Vec<&edit::Change<'_>> = plan
        .changes
        .iter()
        .filter(|change| change.old != change.new)
        .collect();
    let rows: Vec<Value> = changed
        .iter()
        .take(200)
        .map(|change| {
            json!({
                "role": "target", "path": quote(&change.shown), "size": change.old.len(),
                "sha256": sha256(change.old.as_bytes()), "replacements": change.count,
            })
        })
        .collect();
    let place = scope.files.roots.locate("path", text(inputs, "path"))?;
    Ok(json!({
        "kind": "edit",
        "summary": format!("{total} replacements in {} files", changed.len()),
        "diff": visible(&edit::diff_of(&changed, MAX_DIFF / 2)),
        "paths": rows,
        "restorable": true,
        "notes": [],
        "target_state": Target::look(&place)?.state(),
    }))
}

fn one_path(
    inputs: &Object,
    scope: &Scope<'_>,
    kind: &str,
    field: &str,
) -> Result<Value, CallError> {
    let place = scope.files.roots.locate(field, text(inputs, field))?;
    let target = Target::look(&place)?;
    let size = target.stat.map_or(0, |stat| size_of(&stat));
    Ok(json!({
        "kind": kind,
        "summary": format!("{kind} {} ({size} bytes)", quote(&target.shown)),
        "paths": [target.row("target")],
        "restorable": true,
        "notes": ["It goes to the trash and can be restored until its time there is over."],
        "target_state": target.state(),
    }))
}

fn two_paths(inputs: &Object, scope: &Scope<'_>, kind: &str) -> Result<Value, CallError> {
    let source = Target::look(&scope.files.roots.locate("source", text(inputs, "source"))?)?;
    let destination = Target::look(
        &scope
            .files
            .roots
            .locate("destination", text(inputs, "destination"))?,
    )?;
    let replaces = destination.stat.is_some();
    let notes: &[&str] = if replaces {
        &["The file at the destination is replaced; it is kept so that a person can undo this."]
    } else {
        &[]
    };
    Ok(json!({
        "kind": kind,
        "summary": format!("{kind} {} to {}", quote(&source.shown), quote(&destination.shown)),
        "paths": [source.row("source"), destination.row("destination")],
        "restorable": true,
        "notes": notes,
        "target_state": source.state(),
    }))
}
