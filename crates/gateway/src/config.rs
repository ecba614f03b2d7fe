//! Configuration: one table of keys, read from a YAML file, the environment and flags, in that order.
//!
//! Unknown keys are refused with the nearest name. The environment spells `server.port` as
//! `KRUXOS_SERVER__PORT`.

mod sandbox;
mod undo;
mod webhooks;

pub use sandbox::Sandbox;
pub use undo::Undo;
pub use webhooks::{Secret, UrlError, WebUrl, Webhook};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// One row of the configuration table: what `kruxos config show` and the documentation list.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Key {
    /// Dotted path.
    pub path: &'static str,
    /// What it does, with unit and bounds.
    pub doc: &'static str,
    /// Whether a running gateway takes a change without a restart.
    pub live: bool,
}

const fn key(path: &'static str, live: bool, doc: &'static str) -> Key {
    Key { path, doc, live }
}

/// Every key there is. A test compares it with [`Config`].
pub const KEYS: &[Key] = &[
    key(
        "server.host",
        false,
        "Address that the agent port binds. Default 127.0.0.1.",
    ),
    key(
        "server.port",
        false,
        "TCP port for agents: MCP and JSON-RPC. 0 picks a free one. Default 7700.",
    ),
    key(
        "server.health_port",
        false,
        "TCP port for /health and /metrics, loopback only. 0 picks a free one. Default 7704.",
    ),
    key(
        "server.allowed_origins",
        false,
        "Browser origins that may call the agent port besides its own.",
    ),
    key(
        "server.allowed_hosts",
        false,
        "Host header values accepted besides the bind address and loopback names.",
    ),
    key(
        "server.allow_query_token",
        false,
        "Accept ?token= on the agent port. It ends up in logs. Default false.",
    ),
    key(
        "server.max_message_bytes",
        false,
        "Largest message on any transport, in bytes. Default 16777216.",
    ),
    key(
        "server.max_connections",
        false,
        "Open connections on the agent port. Default 1024.",
    ),
    key(
        "server.head_timeout_seconds",
        false,
        "A request's head must arrive within this; an idle connection is closed after it. On every listener. Default 30.",
    ),
    key(
        "server.body_timeout_seconds",
        false,
        "A request's body must arrive within this. On every listener. Default 60.",
    ),
    key(
        "server.write_timeout_seconds",
        false,
        "A client that takes nothing of what it is sent for this long is disconnected. Default 10.",
    ),
    key(
        "server.ping_seconds",
        false,
        "A WebSocket that was silent for this long is pinged. Default 30.",
    ),
    key(
        "server.pong_seconds",
        false,
        "A WebSocket that does not answer a ping within this is closed. Default 10.",
    ),
    key(
        "server.max_calls_per_session",
        false,
        "Calls at work at once for one agent session. Default 64.",
    ),
    key(
        "server.toolsets",
        false,
        "Named lists of capability patterns, chosen by ?toolset=NAME.",
    ),
    key(
        "session.idle_timeout_seconds",
        false,
        "An agent session ends after this long without a request. Default 1800.",
    ),
    key(
        "session.on_conflict",
        false,
        "A second long connection of one agent: replace, reject or share. Default replace.",
    ),
    key(
        "approval.hold_seconds",
        false,
        "How long a call is held for an approver before the pending answer. Default 45.",
    ),
    key(
        "approval.user_hold_seconds",
        false,
        "The same for User sessions. Default 86400.",
    ),
    key(
        "approval.expire_after_seconds",
        false,
        "A request expires after this long; 0 never. Default 86400.",
    ),
    key(
        "approval.max_pending_per_agent",
        false,
        "Open requests of one agent. Default 5.",
    ),
    key(
        "approval.webhooks",
        false,
        "Who is told of requests and decisions: a list of {url, secret}, at most 8. https, or http to this machine; signed with HMAC-SHA256 by the secret.",
    ),
    key(
        "approval.base_url",
        false,
        "Address of the page where a person decides; webhooks carry <base_url>/approvals/<id>. Default none.",
    ),
    key(
        "audit.durability",
        false,
        "soon (reads within 10 ms, effects before the answer) or strict (every call waits).",
    ),
    key(
        "audit.include_content",
        false,
        "Store file contents and bodies instead of size and SHA-256. Default false.",
    ),
    key(
        "audit.segment_bytes",
        false,
        "Size of one log segment in bytes. Default 67108864.",
    ),
    key(
        "state.persistent.quota_mb",
        false,
        "Persistent state of one agent, all versions, in MB. Default 100.",
    ),
    key(
        "state.persistent.versions",
        false,
        "Versions kept of each key. Default 100.",
    ),
    key(
        "trash.agent_hours",
        false,
        "How long an agent's deleted files are kept. Default 24.",
    ),
    key(
        "trash.user_hours",
        false,
        "The same for a User. Default 168.",
    ),
    key(
        "undo.quota_mb",
        false,
        "Earlier content of changed files kept for each principal so that a session can be undone, in MB; the oldest sessions go first. Default 1024.",
    ),
    key(
        "undo.keep_hours",
        false,
        "How long a session's file changes can be undone after the last of them. Default 168.",
    ),
    key(
        "watch.max_per_agent",
        false,
        "File watches of one agent at once. Default 32.",
    ),
    key(
        "sandbox.require",
        false,
        "Kernel protections without which the gateway does not start: any of landlock, seccomp, user_ns, pid_ns, net_ns, mount_ns, cgroup_v2, nftables. Default landlock, seccomp, user_ns for the service, none for `kruxos up`.",
    ),
    key(
        "sandbox.memory_mb",
        false,
        "Memory of one program with all that it starts, in MB. Default 512.",
    ),
    key(
        "sandbox.cpu_percent",
        false,
        "Processor time of one program, in percent of one core. Default 50.",
    ),
    key(
        "sandbox.pids",
        false,
        "Processes and threads of one program. Default 100.",
    ),
    key(
        "sandbox.read_mb_per_second",
        false,
        "Reading of one program from disk, in MB a second, where control groups work. Default 50.",
    ),
    key(
        "sandbox.write_mb_per_second",
        false,
        "The same for writing. Default 25.",
    ),
    key(
        "sandbox.tmp_mb",
        false,
        "Size of each agent's /tmp, in MB of memory. Default 100.",
    ),
    key(
        "sandbox.workspace_mb",
        false,
        "What an agent's workspace may hold, in MB; 0 for no bound. Default 10240.",
    ),
    key(
        "sandbox.call_timeout_seconds",
        false,
        "A file call that takes longer is ended with its worker. Default 300.",
    ),
    key(
        "sandbox.idle_seconds",
        false,
        "An agent's unused processes end after this long. Default 300.",
    ),
    key(
        "sandbox.read_only_directories",
        false,
        "Directories of the host that every agent sees read-only, besides the system's own, such as /opt/toolchain. None of them may hold sockets.",
    ),
    key(
        "workspace_root",
        false,
        "Directory that holds the agents' workspaces. Default <data_dir>/workspaces.",
    ),
    key(
        "run_dir",
        false,
        "Directory of the control socket. Default <data_dir>/run.",
    ),
    key(
        "log.format",
        false,
        "Log lines on stderr: text or json. Default text.",
    ),
    key(
        "log.filter",
        false,
        "tracing filter, such as info or kruxos_gateway=debug. Default info.",
    ),
];

/// Environment variables with a meaning of their own; every other `KRUXOS_*` must be a key.
const OTHER_VARIABLES: &[&str] = &[
    "KRUXOS_DATA_DIR",
    "KRUXOS_CONFIG",
    "KRUXOS_ENDPOINT",
    "KRUXOS_AGENT_NAME",
    "KRUXOS_AGENT_TOKEN",
    "KRUXOS_API_KEY",
];

/// The whole configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "each field is a row of KEYS, which documents it"
)]
pub struct Config {
    pub server: Server,
    pub session: Session,
    pub approval: Approval,
    pub audit: Audit,
    pub state: State,
    pub trash: Trash,
    pub undo: Undo,
    pub watch: Watch,
    pub sandbox: Sandbox,
    pub workspace_root: Option<PathBuf>,
    pub run_dir: Option<PathBuf>,
    pub log: Log,
    /// The file it was read from, where `kruxos config set` writes; not a key.
    #[serde(skip)]
    pub file: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "each field is a row of KEYS, which documents it"
)]
pub struct Server {
    pub host: IpAddr,
    pub port: u16,
    pub health_port: u16,
    pub allowed_origins: Vec<String>,
    pub allowed_hosts: Vec<String>,
    pub allow_query_token: bool,
    pub max_message_bytes: usize,
    pub max_connections: usize,
    pub head_timeout_seconds: u64,
    pub body_timeout_seconds: u64,
    pub write_timeout_seconds: u64,
    pub ping_seconds: u64,
    pub pong_seconds: u64,
    pub max_calls_per_session: usize,
    pub toolsets: BTreeMap<String, Vec<String>>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            host: IpAddr::from([127, 0, 0, 1]),
            port: 7700,
            health_port: 7704,
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            allow_query_token: false,
            max_message_bytes: 16 * 1024 * 1024,
            max_connections: 1024,
            head_timeout_seconds: 30,
            body_timeout_seconds: 60,
            write_timeout_seconds: 10,
            ping_seconds: 30,
            pong_seconds: 10,
            max_calls_per_session: 64,
            toolsets: BTreeMap::new(),
        }
    }
}

/// What happens when a second client opens a long connection as the same agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// The older connection ends.
    Replace,
    /// The newer is refused.
    Reject,
    /// Both stay.
    Share,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "each field is a row of KEYS, which documents it"
)]
pub struct Session {
    pub idle_timeout_seconds: u64,
    pub on_conflict: OnConflict,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            idle_timeout_seconds: 1800,
            on_conflict: OnConflict::Replace,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "each field is a row of KEYS, which documents it"
)]
pub struct Approval {
    pub hold_seconds: u64,
    pub user_hold_seconds: u64,
    pub expire_after_seconds: u64,
    pub max_pending_per_agent: u64,
    pub webhooks: Vec<Webhook>,
    pub base_url: Option<WebUrl>,
}

impl Default for Approval {
    fn default() -> Self {
        Self {
            hold_seconds: 45,
            user_hold_seconds: 86_400,
            expire_after_seconds: 86_400,
            max_pending_per_agent: 5,
            webhooks: Vec::new(),
            base_url: None,
        }
    }
}

/// Which calls wait for the disk before they are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Calls with side effects.
    Soon,
    /// Every call.
    Strict,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "each field is a row of KEYS, which documents it"
)]
pub struct Audit {
    pub durability: Durability,
    pub include_content: bool,
    pub segment_bytes: u64,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            durability: Durability::Soon,
            include_content: false,
            segment_bytes: 64 * 1024 * 1024,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "each field is a row of KEYS, which documents it"
)]
pub struct State {
    pub persistent: Persistent,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "each field is a row of KEYS, which documents it"
)]
pub struct Persistent {
    pub quota_mb: u64,
    pub versions: u32,
}

impl Default for Persistent {
    fn default() -> Self {
        Self {
            quota_mb: 100,
            versions: 100,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "each field is a row of KEYS, which documents it"
)]
pub struct Trash {
    pub agent_hours: u64,
    pub user_hours: u64,
}

impl Default for Trash {
    fn default() -> Self {
        Self {
            agent_hours: 24,
            user_hours: 168,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "each field is a row of KEYS, which documents it"
)]
pub struct Watch {
    pub max_per_agent: usize,
}

impl Default for Watch {
    fn default() -> Self {
        Self { max_per_agent: 32 }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "each field is a row of KEYS, which documents it"
)]
pub struct Log {
    pub format: LogFormat,
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info".to_owned(),
        }
    }
}

/// Why a configuration was refused. Every message says where.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {file}: {source}")]
    Read {
        /// Which file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// Not YAML, an unknown key, a wrong type.
    #[error("{place}: {message}{hint}")]
    Invalid {
        /// The file or environment variable.
        place: String,
        /// The parser's message.
        message: String,
        /// The nearest key, or nothing.
        hint: String,
    },
}

/// Longest timeout of a connection: an hour. A client that needs more is not there any more.
const MAX_TIMEOUT_SECONDS: u64 = 3600;

/// A configuration file is a page of text; a larger one is a mistake.
const MAX_FILE_BYTES: u64 = 256 * 1024;

impl Config {
    /// Reads the file (if any), then overrides from environment variables, then `flags`.
    ///
    /// # Errors
    /// [`ConfigError`] names the place and, for an unknown key, the nearest one.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[(&str, String)],
    ) -> Result<Config, ConfigError> {
        let mut config = match file {
            Some(path) => Self::from_file(path)?,
            None => Config::default(),
        };
        let mut variables: Vec<_> = environment
            .into_iter()
            .filter(|(name, _)| {
                name.starts_with("KRUXOS_") && !OTHER_VARIABLES.contains(&name.as_str())
            })
            .collect();
        variables.sort();
        for (name, value) in variables {
            let path = name
                .trim_start_matches("KRUXOS_")
                .to_lowercase()
                .replace("__", ".");
            config = config.with(&path, &value, &name)?;
        }
        for (path, value) in flags {
            config = config.with(path, value, path)?;
        }
        config.file = file.map(Path::to_owned);
        config.check()
    }

    fn from_file(path: &Path) -> Result<Config, ConfigError> {
        let file = path.display().to_string();
        let read = |source| ConfigError::Read {
            file: file.clone(),
            source,
        };
        if std::fs::metadata(path).map_err(read)?.len() > MAX_FILE_BYTES {
            return Err(invalid(
                &file,
                format!("larger than {MAX_FILE_BYTES} bytes"),
            ));
        }
        let text = std::fs::read_to_string(path).map_err(read)?;
        if text.trim().is_empty() {
            return Ok(Config::default());
        }
        parse_file(&file, &text)
    }

    /// The same configuration with one key set from text; `place` is named in the error.
    ///
    /// # Errors
    /// The key does not exist or the value does not fit it.
    pub fn with(&self, path: &str, text: &str, place: &str) -> Result<Config, ConfigError> {
        if !KEYS.iter().any(|key| key.path == path) {
            return Err(ConfigError::Invalid {
                place: place.to_owned(),
                message: format!("there is no key '{path}'"),
                hint: nearest_key(path)
                    .map_or_else(String::new, |near| format!("; did you mean '{near}'?")),
            });
        }
        let mut document = serde_json::to_value(self).map_err(|e| invalid(place, e.to_string()))?;
        let mut slot = &mut document;
        for part in path.split('.') {
            slot = &mut slot[part];
        }
        let as_text = Value::String(text.to_owned());
        *slot = serde_json::from_str(text).unwrap_or_else(|_| as_text.clone());
        let parsed = serde_json::from_value::<Config>(document.clone()).or_else(|first| {
            let mut slot = &mut document;
            for part in path.split('.') {
                slot = &mut slot[part];
            }
            *slot = as_text;
            serde_json::from_value::<Config>(document.clone()).map_err(|_| first)
        });
        parsed
            .map_err(|error| invalid(place, error.to_string()))?
            .check()
    }

    /// One key as JSON, as it may be shown: secrets are hidden.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<Value> {
        match path {
            "approval.webhooks" => Some(webhooks::shown(&self.approval.webhooks)),
            _ => self.secret_value(path),
        }
    }

    /// One key as JSON, as it is written into a file.
    pub(crate) fn secret_value(&self, path: &str) -> Option<Value> {
        KEYS.iter().find(|key| key.path == path)?;
        let document = serde_json::to_value(self).ok()?;
        path.split('.').try_fold(document, |mut value, part| {
            value.get_mut(part).map(Value::take)
        })
    }

    fn check(self) -> Result<Config, ConfigError> {
        let refuse = |path: &str, message: &str| Err(invalid(path, message.to_owned()));
        if !(64 * 1024..=64 * 1024 * 1024).contains(&self.server.max_message_bytes) {
            return refuse("server.max_message_bytes", "must be 65536 to 67108864");
        }
        if self.server.max_connections == 0 || self.server.max_calls_per_session == 0 {
            return refuse("server.max_connections", "limits must be at least 1");
        }
        for (path, seconds) in [
            (
                "server.head_timeout_seconds",
                self.server.head_timeout_seconds,
            ),
            (
                "server.body_timeout_seconds",
                self.server.body_timeout_seconds,
            ),
            (
                "server.write_timeout_seconds",
                self.server.write_timeout_seconds,
            ),
            ("server.ping_seconds", self.server.ping_seconds),
            ("server.pong_seconds", self.server.pong_seconds),
        ] {
            if !(1..=MAX_TIMEOUT_SECONDS).contains(&seconds) {
                return refuse(path, &format!("must be 1 to {MAX_TIMEOUT_SECONDS}"));
            }
        }
        if !(64 * 1024..=1024 * 1024 * 1024).contains(&self.audit.segment_bytes) {
            return refuse("audit.segment_bytes", "must be 65536 to 1073741824");
        }
        if self.state.persistent.versions == 0 {
            return refuse("state.persistent.versions", "must be at least 1");
        }
        if let Some(message) = webhooks::check(&self.approval.webhooks) {
            return refuse("approval.webhooks", &message);
        }
        if let Err((name, message)) = self.undo.check() {
            return refuse(&format!("undo.{name}"), &message);
        }
        if let Err((name, message)) = self.sandbox.check() {
            return refuse(&format!("sandbox.{name}"), &message);
        }
        Ok(self)
    }
}

/// The file's text as a configuration. A tag that nobody reads, such as `!env`, is refused: to whoever
/// wrote it the file means something else than to us.
fn parse_file(file: &str, text: &str) -> Result<Config, ConfigError> {
    let mut options = serde_saphyr::Options::default();
    options.reject_unsupported_tags = true;
    options.reject_tagged_field_names = true;
    options.with_snippet = false;
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let place = error.location().map_or_else(
            || file.to_owned(),
            |at| format!("{file}:{}:{}", at.line(), at.column()),
        );
        let message = error.to_string();
        // The place stands in front of the message already.
        let message = message.split(" at line ").next().unwrap_or_default();
        invalid(&place, message.to_owned())
    })
}

fn invalid(place: &str, message: String) -> ConfigError {
    ConfigError::Invalid {
        place: place.to_owned(),
        message,
        hint: String::new(),
    }
}

fn nearest_key(path: &str) -> Option<&'static str> {
    let distance = |key: &&Key| strsim::damerau_levenshtein(key.path, path);
    let near = KEYS.iter().min_by_key(distance)?;
    (distance(&near) <= near.path.len() / 2).then_some(near.path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn leaves(value: &Value, path: String, out: &mut Vec<String>) {
        match value {
            Value::Object(map) if !map.is_empty() => {
                for (name, inner) in map {
                    let path = if path.is_empty() {
                        name.clone()
                    } else {
                        format!("{path}.{name}")
                    };
                    leaves(inner, path, out);
                }
            }
            _ => out.push(path),
        }
    }

    #[test]
    fn the_table_and_the_struct_have_the_same_keys() {
        let mut found = Vec::new();
        leaves(
            &serde_json::to_value(Config::default()).unwrap(),
            String::new(),
            &mut found,
        );
        let mut table: Vec<_> = KEYS.iter().map(|key| key.path.to_owned()).collect();
        found.sort();
        table.sort();
        assert_eq!(found, table);
    }

    #[test]
    fn an_unknown_variable_names_the_nearest_key() {
        let environment = [("KRUXOS_SERVER__PROT".to_owned(), "1".to_owned())];
        let error = Config::load(None, environment, &[])
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "KRUXOS_SERVER__PROT: there is no key 'server.prot'; did you mean 'server.port'?"
        );
    }

    #[test]
    fn later_sources_win_and_types_are_checked() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("c.yaml");
        std::fs::write(&file, "server: {port: 1}\nsession: {on_conflict: share}\n").unwrap();
        let environment = [("KRUXOS_SERVER__PORT".to_owned(), "2".to_owned())];
        let config = Config::load(
            Some(&file),
            environment.clone(),
            &[("server.port", "3".into())],
        )
        .unwrap();
        assert_eq!(
            (config.server.port, config.session.on_conflict),
            (3, OnConflict::Share)
        );
        assert_eq!(
            Config::load(Some(&file), environment, &[])
                .unwrap()
                .server
                .port,
            2
        );
        assert!(Config::default().with("server.port", "70000", "x").is_err());
        assert!(
            Config::default().with("log.filter", "true", "x").is_ok(),
            "text that looks like JSON"
        );
        std::fs::write(&file, "server: {prot: 1}\n").unwrap();
        let error = Config::load(Some(&file), [], &[]).unwrap_err().to_string();
        assert!(
            error.contains("prot") && error.contains("c.yaml:1:10: "),
            "{error}"
        );
    }

    #[test]
    fn a_tag_that_nobody_reads_is_refused_with_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("c.yaml");
        for text in [
            "server:\n  port: !env PORT\n",
            "server:\n  host: !!python/object/apply:os.system 127.0.0.1\n",
            "server:\n  !foo port: 1\n",
            "server:\n  !foo\n  port: 1\n",
        ] {
            std::fs::write(&file, text).unwrap();
            let error = Config::load(Some(&file), [], &[]).unwrap_err().to_string();
            let place = format!("{}:", file.display());
            let rest = error
                .strip_prefix(&place)
                .unwrap_or_else(|| panic!("{error}"));
            let mut numbers = rest.split(':').map(|part| part.parse::<u32>().ok());
            let line = numbers.next().flatten();
            assert!(matches!(line, Some(2 | 3)), "{error}");
            assert!(numbers.next().flatten().is_some(), "{error}");
            assert!(error.contains("tag"), "{error}");
        }
    }
}
