//! What never reaches the disk: secrets, recognised by the name of their field or by their shape, and
//! contents, of which size and SHA-256 stay.
//!
//! Which inputs and outputs of a capability are content, its definition says; whoever makes the record
//! puts [`content_summary`] in their place. The few names that this module knows are a net below that,
//! for objects that no definition describes.

use data_encoding::HEXLOWER;
use kruxos_types::Object;
use regex::Regex;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::sync::LazyLock;

/// A field is secret when its name contains one of these, ignoring case, `_`, `-`, `.` and spaces.
/// The flag says whether numbers under it are secret too: `max_tokens: 500` is not.
const SECRET_NAMES: &[(&str, bool)] = &[
    ("apikey", true),
    ("token", false),
    ("password", true),
    ("secret", true),
    ("credential", true),
    ("authorization", true),
    ("privatekey", true),
    ("accesskey", true),
    ("refreshtoken", true),
    ("clientsecret", true),
    ("passphrase", true),
    ("cookie", true),
];
/// Fields that hold content wherever they are, such as in the arguments of a call inside another.
const CONTENT_NAMES: [&str; 3] = ["content", "body", "stdin"];
/// Fields whose 64 hex digits are a digest, not a token.
const DIGEST_NAMES: [&str; 7] = [
    "sha256",
    "hash",
    "checksum",
    "digest",
    "etag",
    "previous_hash",
    "entry_hash",
];
/// Shapes of known credentials. Each alternative starts with a literal, so that the search can skip
/// text that holds none.
const SHAPES: &str = concat!(
    r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
    r"|AKIA[0-9A-Z]{16}|ASIA[0-9A-Z]{16}",
    r"|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{22,}",
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}",
    r"|krx_user_[A-Za-z0-9_-]+",
    r"|-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\z)",
);
/// No shape above is shorter than a `krx_user_` token with one character.
const SHORTEST_SHAPE: usize = 10;
/// An agent token: 32 bytes in hex.
const HEX_TOKEN: usize = 64;
/// Longest name that is looked at; a longer one is cut.
const MAX_NAME: usize = 128;

static SHAPE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(SHAPES).ok());

/// A copy of `json` without secrets: `[REDACTED:field]` stands where one was. Contents of files stay,
/// for a person who decides about them.
#[must_use]
pub fn redact(json: &Value) -> Value {
    value(json, true).unwrap_or_else(|| json.clone())
}

/// The redacted copy, or `None` when nothing has to change.
pub(crate) fn value(json: &Value, include_content: bool) -> Option<Value> {
    Redactor { include_content }.value(json, "value")
}

/// The redacted copy of an object, or `None` when nothing has to change.
pub(crate) fn object(json: &Object, include_content: bool) -> Option<Object> {
    Redactor { include_content }.object(json)
}

struct Redactor {
    include_content: bool,
}

impl Redactor {
    fn value(&self, json: &Value, field: &str) -> Option<Value> {
        match json {
            Value::String(text) => scrub(text, field).map(Value::String),
            Value::Array(items) => self.array(items, field),
            Value::Object(map) => self.object(map).map(Value::Object),
            Value::Null | Value::Bool(_) | Value::Number(_) => None,
        }
    }

    fn array(&self, items: &[Value], field: &str) -> Option<Value> {
        let mut changed: Option<Vec<Value>> = None;
        for (at, item) in items.iter().enumerate() {
            let new = self.value(item, field);
            match (&mut changed, new) {
                (Some(done), new) => done.push(new.unwrap_or_else(|| item.clone())),
                (None, Some(new)) => {
                    let mut done: Vec<Value> = items.iter().take(at).cloned().collect();
                    done.push(new);
                    changed = Some(done);
                }
                (None, None) => {}
            }
        }
        changed.map(Value::Array)
    }

    fn object(&self, map: &Object) -> Option<Object> {
        // `{name: "Authorization", value: …}` names its field in a value.
        let named = ["name", "key"]
            .iter()
            .find_map(|at| map.get(*at).and_then(Value::as_str));
        let mut changed: Vec<(&String, Value)> = Vec::new();
        let mut renamed: Vec<(&String, String)> = Vec::new();
        for (name, item) in map {
            if let Some(clean) = scrub(name, "key") {
                renamed.push((name, clean));
            }
            let field = match named {
                Some(named) if name == "value" => named,
                _ => name,
            };
            if is_secret(field, item) || (field != name && is_secret(name, item)) {
                changed.push((name, Value::String(marker(field))));
            } else if !self.include_content && CONTENT_NAMES.contains(&name.as_str()) {
                if !is_summary(item) {
                    changed.push((name, content_summary(item)));
                }
            } else if let Some(new) = self.value(item, field) {
                changed.push((name, new));
            }
        }
        if changed.is_empty() && renamed.is_empty() {
            return None;
        }
        let mut out = Object::new();
        let mut changed = changed.into_iter().peekable();
        for (name, item) in map {
            let item = match changed.next_if(|(at, _)| *at == name) {
                Some((_, new)) => new,
                None => item.clone(),
            };
            let name = renamed
                .iter()
                .find(|(at, _)| *at == name)
                .map_or(name, |(_, clean)| clean);
            out.insert(name.clone(), item);
        }
        Some(out)
    }
}

fn marker(field: &str) -> String {
    let short = field
        .get(..field.floor_char_boundary(MAX_NAME))
        .unwrap_or(field);
    let short = scrub(short, "key").map_or(Cow::Borrowed(short), Cow::Owned);
    format!("[REDACTED:{short}]")
}

/// Whether the field's name says that what it holds is secret.
fn is_secret(field: &str, item: &Value) -> bool {
    let number = match item {
        Value::Null | Value::Bool(_) => return false,
        Value::Number(_) => true,
        _ => false,
    };
    let Some(secret_numbers) = secret_name(field) else {
        return false;
    };
    secret_numbers || !number
}

/// Looks the name up in [`SECRET_NAMES`]; the answer is the flag found there.
fn secret_name(name: &str) -> Option<bool> {
    let mut plain = [0u8; MAX_NAME];
    let mut length = 0usize;
    for byte in name.bytes() {
        if matches!(byte, b'_' | b'-' | b'.' | b' ') {
            continue;
        }
        let Some(place) = plain.get_mut(length) else {
            break;
        };
        *place = byte.to_ascii_lowercase();
        length += 1;
    }
    let mut rest = plain.get(..length).unwrap_or_default();
    let mut found = None;
    while let Some(first) = rest.first() {
        if matches!(first, b'a' | b't' | b'p' | b's' | b'c' | b'r') {
            for (term, numbers) in SECRET_NAMES {
                if rest.starts_with(term.as_bytes()) {
                    found = Some(*numbers || found.unwrap_or(false));
                }
            }
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    found
}

/// What the log keeps of content: `{size, sha256}` of a text's bytes, or of the compact JSON of anything
/// else. Null is no content and stays.
#[must_use]
pub fn content_summary(item: &Value) -> Value {
    let mut bytes = Summed::default();
    match item {
        Value::Null => return Value::Null,
        Value::String(text) => bytes.add(text.as_bytes()),
        other => {
            // Neither the sink nor a value that was made of JSON fails.
            if let Err(error) = serde_json::to_writer(&mut bytes, other) {
                tracing::error!(%error, "content could not be summed up whole");
            }
        }
    }
    let mut summary = Object::new();
    summary.insert("size".to_owned(), Value::from(bytes.size));
    let digest = HEXLOWER.encode(&bytes.hash.finalize());
    summary.insert("sha256".to_owned(), Value::from(digest));
    Value::Object(summary)
}

/// Whether there is nothing left to sum up.
fn is_summary(item: &Value) -> bool {
    match item {
        Value::Null => true,
        Value::Object(map) => {
            let digest = map.get("sha256").and_then(Value::as_str);
            map.len() == 2
                && map.get("size").is_some_and(Value::is_u64)
                && digest.is_some_and(|hex| hex.len() == HEX_TOKEN)
        }
        _ => false,
    }
}

/// Size and hash of what is written to it.
#[derive(Default)]
struct Summed {
    size: u64,
    hash: Sha256,
}

impl Summed {
    fn add(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.hash.update(bytes);
    }
}

impl std::io::Write for Summed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.add(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The text without what looks like a credential, or `None` when it holds none.
fn scrub(text: &str, field: &str) -> Option<String> {
    if text.len() < SHORTEST_SHAPE {
        return None;
    }
    let mut clean = Cow::Borrowed(text);
    match &*SHAPE {
        Some(shape) => {
            if let Cow::Owned(new) = shape.replace_all(text, regex::NoExpand(&format_marker(field)))
            {
                clean = Cow::Owned(new);
            }
        }
        // A table that does not compile is caught by a test; until then nothing passes.
        None => return Some(format_marker(field).into_owned()),
    }
    if !DIGEST_NAMES.contains(&field)
        && let Some(new) = without_hex_tokens(&clean, field)
    {
        clean = Cow::Owned(new);
    }
    match clean {
        Cow::Owned(new) => Some(new),
        Cow::Borrowed(_) => None,
    }
}

/// Made anew for each field but the most common ones, which most text is searched under.
fn format_marker(field: &str) -> Cow<'static, str> {
    match field {
        "path" => Cow::Borrowed("[REDACTED:path]"),
        "value" => Cow::Borrowed("[REDACTED:value]"),
        _ => {
            let short = field
                .get(..field.floor_char_boundary(MAX_NAME))
                .unwrap_or(field);
            Cow::Owned(format!("[REDACTED:{short}]"))
        }
    }
}

/// Replaces runs of exactly 64 hex digits. A run that long covers a multiple of 64 in the text, so most
/// text is passed over in steps of 64 bytes.
fn without_hex_tokens(text: &str, field: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let is_hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    let mut clean = String::new();
    let mut copied = 0usize;
    let mut probe = HEX_TOKEN - 1;
    while probe < bytes.len() {
        if !is_hex(probe) {
            probe += HEX_TOKEN;
            continue;
        }
        let mut start = probe;
        while start > copied && is_hex(start - 1) {
            start -= 1;
        }
        let mut end = probe + 1;
        while is_hex(end) {
            end += 1;
        }
        if end - start == HEX_TOKEN {
            clean.push_str(text.get(copied..start).unwrap_or_default());
            clean.push_str(&format_marker(field));
            copied = end;
        }
        probe = end + HEX_TOKEN - 1;
    }
    if copied == 0 {
        return None;
    }
    clean.push_str(text.get(copied..).unwrap_or_default());
    Some(clean)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn every_secret_name_is_found_at_any_depth_and_in_any_spelling() {
        for name in [
            "api_key",
            "apiKey",
            "X-Api-Key",
            "token",
            "access_token",
            "Password",
            "db.password",
            "client_secret",
            "secret",
            "credentials",
            "Authorization",
            "private_key",
            "AWS_ACCESS_KEY_ID",
            "refresh_token",
            "passphrase",
            "Set-Cookie",
            "secret_access_key",
        ] {
            let json = json!({"a": [{"headers": {name: "hunter2 and more"}}], "path": "x"});
            let text = redact(&json).to_string();
            assert!(!text.contains("hunter2"), "{name}: {text}");
            assert!(text.contains(&format!("[REDACTED:{name}]")), "{text}");
            assert!(text.contains("\"path\":\"x\""), "{text}");
        }
        let nested = redact(&json!({"secrets": {"a": "one", "b": ["two"]}, "password": 1234}));
        assert_eq!(
            nested,
            json!({"secrets": "[REDACTED:secrets]", "password": "[REDACTED:password]"})
        );
    }

    #[test]
    fn harmless_fields_stay() {
        let json = json!({
            "path": "notes/tokyo.md", "author": "x", "key": "greeting", "value": "hello", "max_tokens": 512,
            "keyword": "pass", "has_password": true, "sha256": "a".repeat(64), "seq": 9, "list": ["a", null, 1.5],
            "content": "a file's text",
        });
        assert_eq!(redact(&json), json);
    }

    #[test]
    fn known_shapes_are_cut_out_of_longer_text() {
        let hex = "0123456789abcdef".repeat(4);
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl";
        let github = format!("ghp_{}", "a1B2".repeat(9));
        let user = format!("krx_user_{}", "Ab-_".repeat(10));
        let pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----";
        for secret in [
            &hex,
            jwt,
            "AKIAIOSFODNN7EXAMPLE",
            &github,
            "xoxb-1234567890-abc",
            &user,
            pem,
        ] {
            let json = json!({"args": [format!("run --with {secret} now")]});
            assert_eq!(
                redact(&json),
                json!({"args": ["run --with [REDACTED:args] now"]}),
                "{secret}"
            );
            assert!(!redact(&json!({secret: 1})).to_string().contains(secret));
        }
        let two = redact(&json!(format!("{hex} {hex}")));
        assert_eq!(two, json!("[REDACTED:value] [REDACTED:value]"));
        let longer = json!("f".repeat(65));
        assert_eq!(redact(&longer), longer);
        let open_pem = redact(&json!("x -----BEGIN PRIVATE KEY-----\nMIIE"));
        assert_eq!(open_pem, json!("x [REDACTED:value]"));
    }

    #[test]
    fn a_pair_of_name_and_value_is_one_field() {
        let pair = json!({"key": "github_token", "value": {"a": "s3cret"}});
        assert_eq!(
            redact(&pair),
            json!({"key": "github_token", "value": "[REDACTED:github_token]"})
        );
        let header = json!([{"name": "Cookie", "value": "id=1"}]);
        assert_eq!(
            redact(&header),
            json!([{"name": "Cookie", "value": "[REDACTED:Cookie]"}])
        );
    }

    #[test]
    fn contents_become_size_and_digest_unless_asked_for() {
        let json = json!({"path": "a", "content": "abc", "body": {"a": 1}, "stdin": null});
        let stored = value(&json, false).unwrap();
        assert_eq!(stored["content"]["size"], 3);
        assert_eq!(
            stored["content"]["sha256"],
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(stored["body"]["size"], 7);
        assert_eq!(stored["stdin"], Value::Null);
        assert_eq!(value(&stored, false), None, "summaries stay as they are");
        // What only looks like one is content, and a summary of a secret says too much of it.
        let posed = json!({"body": {"size": "hunter2", "sha256": "hunter2"}});
        assert!(
            !value(&posed, false)
                .unwrap()
                .to_string()
                .contains("hunter2")
        );
        let pair = json!({"key": "db_password", "value": content_summary(&json!("hunter2"))});
        assert_eq!(
            value(&pair, false).unwrap()["value"],
            "[REDACTED:db_password]"
        );
        assert_eq!(value(&json, true), None);
    }

    #[test]
    fn a_summary_is_of_the_text_or_of_compact_json() {
        let of = |json: Value| content_summary(&json);
        assert_eq!(of(json!(null)), json!(null));
        assert_eq!(of(json!("äb"))["size"], 3);
        let list = of(json!({"b": [1, "x"], "a": null}));
        let compact = of(json!(r#"{"a":null,"b":[1,"x"]}"#));
        assert_eq!(list, compact);
    }

    proptest! {
        #[test]
        fn a_token_never_survives_wherever_it_stands(before in ".{0,80}", after in ".{0,80}", depth in 0usize..6) {
            let secret = "0123456789abcdef".repeat(4);
            let mut json = json!(format!("{before} {secret} {after}"));
            for _ in 0..depth {
                json = json!({"a": [json]});
            }
            prop_assert!(!redact(&json).to_string().contains(&secret));
        }

        #[test]
        fn redacting_twice_changes_nothing_more(text in "[ -~]{0,120}") {
            let once = redact(&json!({"x": text}));
            prop_assert_eq!(redact(&once), once);
        }
    }
}
