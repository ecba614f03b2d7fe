//! One program in the box: git, or one of the system's small ones beside it, with everything about it
//! fixed here: environment from empty, settings that no repository can change, bounds.

use super::{GitCx, Network, WORKSPACE, shield};
use crate::filesystem::quote;
use crate::program::{End, Job, JobLimits, Running, StartError, Stream};
use kruxos_types::{CallError, ErrorType};
use std::path::PathBuf;
use std::time::Duration;

/// For work on this machine: a look at the largest repositories takes seconds.
const LOCAL_TIME: Duration = Duration::from_secs(120);
/// For work with a remote: a clone of gigabytes over a slow line.
const REMOTE_TIME: Duration = Duration::from_secs(1800);
/// Bytes kept of an answer of a few lines.
const SHORT: usize = 64 << 10;
/// Bytes kept of what git says about a failure.
const MAX_STDERR: usize = 16 << 10;
/// Characters of a reason in an error.
const MAX_REASON: usize = 400;
/// Lines of it.
const MAX_REASON_LINES: usize = 3;

/// The environment of every program, whole. `HOME` is nowhere: no `.netrc` and no file of settings,
/// ignores or attributes is read from it.
const ENVIRONMENT: [(&str, &str); 21] = [
    ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ("HOME", "/nonexistent"),
    ("LC_ALL", "C"),
    ("TMPDIR", "/tmp"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_SYSTEM", "/dev/null"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_ATTR_NOSYSTEM", "1"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_EDITOR", "false"),
    ("GIT_SEQUENCE_EDITOR", "false"),
    ("GIT_MERGE_AUTOEDIT", "no"),
    ("GIT_PAGER", "cat"),
    ("GIT_SSH_COMMAND", "false"),
    ("GIT_PROTOCOL_FROM_USER", "0"),
    // A repository that says it is a partial clone would fetch in the middle of a look at it.
    ("GIT_NO_LAZY_FETCH", "1"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    // A remote that sends nothing for two minutes has gone; a living one sends something every five
    // seconds while it works (`uploadpack.keepAlive`). The environment stands over every setting.
    ("GIT_HTTP_LOW_SPEED_LIMIT", "1"),
    ("GIT_HTTP_LOW_SPEED_TIME", "120"),
    ("GIT_LITERAL_PATHSPECS", "1"),
    ("GIT_ADVICE", "0"),
];
/// What `GIT_ALLOW_PROTOCOL` says where no remote may be reached: no transport has this name.
const NO_PROTOCOL: &str = "none";

/// Name and value of a setting of git.
pub(super) type Setting = (String, String);

/// A program to run.
#[derive(Debug)]
pub(super) struct Command<'a> {
    cx: &'a GitCx,
    arguments: Vec<String>,
    /// For errors: `git status`.
    operation: String,
    environment: Vec<(String, String)>,
    settings: Vec<Setting>,
    protocols: String,
    stdin: Vec<u8>,
    timeout: Duration,
    keep: usize,
}

/// What it has done.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) code: i32,
    pub(super) stdout: Vec<u8>,
    /// There was more than was kept of it.
    pub(super) cut: bool,
    stderr: String,
    workspace: String,
}

impl<'a> Command<'a> {
    /// `git <subcommand>` in a directory as the agent sees it.
    pub(super) fn git(cx: &'a GitCx, at: &str, subcommand: &str) -> Self {
        let before = ["git", "--no-pager", "-C", at, subcommand];
        let mut command = Self::program(cx, &before, format!("git {subcommand}"));
        let fixed = shield::SETTINGS.iter();
        command
            .settings
            .extend(fixed.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        command
    }

    /// Another program of the system, in the workspace.
    pub(super) fn tool(cx: &'a GitCx, program: &str) -> Self {
        Self::program(cx, &[program], program.to_owned())
    }

    fn program(cx: &'a GitCx, arguments: &[&str], operation: String) -> Self {
        Self {
            cx,
            arguments: arguments.iter().map(|&text| text.to_owned()).collect(),
            operation,
            environment: Vec::new(),
            settings: Vec::new(),
            protocols: NO_PROTOCOL.to_owned(),
            stdin: Vec::new(),
            timeout: LOCAL_TIME,
            keep: SHORT,
        }
    }

    pub(super) fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    pub(super) fn args<T: Into<String>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Paths among the arguments may begin with magic such as `:(literal)`; each must then.
    pub(super) fn magic_paths(mut self) -> Self {
        self.arguments
            .insert(1, "--no-literal-pathspecs".to_owned());
        self
    }

    pub(super) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Settings over those of the repository.
    pub(super) fn settings(mut self, settings: &[Setting]) -> Self {
        self.settings.extend_from_slice(settings);
        self
    }

    pub(super) fn stdin(mut self, bytes: Vec<u8>) -> Self {
        self.stdin = bytes;
        self
    }

    /// Bytes of its output that are read.
    pub(super) fn keeping(mut self, bytes: usize) -> Self {
        self.keep = bytes;
        self
    }

    /// Lets it talk to remotes.
    pub(super) fn remote(mut self, network: &Network) -> Self {
        self.timeout = REMOTE_TIME;
        self.protocols = network.schemes.join(":");
        let proxy = network.proxy.clone().unwrap_or_default();
        self.settings.push(("http.proxy".to_owned(), proxy));
        self
    }

    /// Who commits: the agent, with `author` (name and address) in its place as the author.
    pub(super) fn committer(self, author: Option<(&str, &str)>) -> Self {
        let own_address = address(&self.cx.agent);
        let name = self.cx.agent.clone();
        let (author_name, author_address) = author.unwrap_or((&name, &own_address));
        self.env("GIT_AUTHOR_NAME", author_name)
            .env("GIT_AUTHOR_EMAIL", author_address)
            .env("GIT_COMMITTER_NAME", &name)
            .env("GIT_COMMITTER_EMAIL", &own_address)
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// It did not run, or did not come to an end of its own. That it failed is no error.
    pub(super) async fn run(self) -> Result<Output, CallError> {
        let (keep, operation, cx) = (self.keep, self.operation.clone(), self.cx);
        let timeout = self.timeout;
        let started = cx.programs.start(self.job()).await;
        let running = started.map_err(not_started)?;
        let code = match running.wait().await {
            End::Exited(code) => code,
            End::Signalled(signal) => 128 + signal,
            End::TimedOut => {
                return Err(CallError::new(ErrorType::Timeout)
                    .with("operation", operation)
                    .with("timeout_seconds", timeout.as_secs()));
            }
            End::Killed => return Err(unavailable("git", "it was ended with its box")),
            End::Limit { resource, limit } => {
                return Err(exhausted(resource, limit).detail(format!(
                    "{operation} took more than one program may have and was ended."
                )));
            }
        };
        let (stdout, cut) = read(&*running, Stream::Stdout, keep)?;
        let (stderr, _) = read(&*running, Stream::Stderr, MAX_STDERR)?;
        Ok(Output {
            code,
            stdout,
            cut,
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
            workspace: cx.workspace.to_string_lossy().into_owned(),
        })
    }

    fn job(self) -> Job {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut environment: Vec<(String, String)> = ENVIRONMENT.iter().map(own).collect();
        let mut add = |name: String, value: String| environment.push((name, value));
        add("GIT_ALLOW_PROTOCOL".to_owned(), self.protocols);
        // A repository is looked for from the given directory up to its root, and not above it.
        let above = self.cx.workspace.parent().unwrap_or(&self.cx.workspace);
        let ceilings = format!("/:/mnt:{}", above.display());
        add("GIT_CEILING_DIRECTORIES".to_owned(), ceilings);
        // Not by `-c`, which splits a name at its first `=`.
        let count = self.settings.len().to_string();
        add("GIT_CONFIG_COUNT".to_owned(), count);
        for (at, (key, value)) in self.settings.into_iter().enumerate() {
            add(format!("GIT_CONFIG_KEY_{at}"), key);
            add(format!("GIT_CONFIG_VALUE_{at}"), value);
        }
        environment.extend(self.environment);
        Job {
            arguments: self.arguments,
            environment,
            directory: PathBuf::from(WORKSPACE),
            stdin: self.stdin,
            timeout: self.timeout,
            limits: JobLimits::default(),
        }
    }
}

/// The address of an agent. The domain is reserved and belongs to nobody (RFC 2606).
pub(super) fn address(agent: &str) -> String {
    format!("{agent}@kruxos.invalid")
}

fn not_started(error: StartError) -> CallError {
    match error {
        StartError::NotFound => {
            unavailable("git", "it is not installed where agents' programs run")
        }
        StartError::NotStarted(reason) => unavailable("git", &reason),
        StartError::TooMany(limit) => exhausted("programs at once", limit as u64),
        StartError::NoBox(reason) => unavailable("sandbox", &reason),
    }
}

fn unavailable(service: &str, reason: &str) -> CallError {
    CallError::new(ErrorType::ServiceUnavailable)
        .with("service", service)
        .with("reason", reason)
}

/// `ResourceExhausted` with the bound that was hit.
pub(super) fn exhausted(resource: &str, limit: u64) -> CallError {
    CallError::new(ErrorType::ResourceExhausted)
        .with("resource", resource)
        .with("limit", limit)
}

/// The first bytes of a stream, and whether there are more.
fn read(running: &dyn Running, stream: Stream, limit: usize) -> Result<(Vec<u8>, bool), CallError> {
    /// What is asked for at once: an answer of the box's own reader may be shorter than asked.
    const STEP: usize = 1 << 20;
    let mut bytes = Vec::new();
    while bytes.len() < limit {
        let step = STEP.min(limit - bytes.len());
        let more = running
            .output(stream, bytes.len() as u64, step)
            .map_err(CallError::internal_failure)?;
        if more.is_empty() {
            break;
        }
        bytes.extend(more);
    }
    let cut = running.printed(stream).total > bytes.len() as u64;
    Ok((bytes, cut))
}

impl Output {
    pub(super) fn succeeded(&self) -> bool {
        self.code == 0
    }

    /// The first line of the output, if it is UTF-8 and there is one.
    pub(super) fn line(&self) -> Option<&str> {
        let line = self.stdout.split(|&byte| byte == b'\n').next()?;
        let line = std::str::from_utf8(line).ok()?;
        (!line.is_empty()).then_some(line)
    }

    /// An object's id, if that is what the output is.
    pub(super) fn hash(&self) -> Option<String> {
        let is_hash = |line: &&str| {
            matches!(line.len(), 40 | 64) && line.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        let line = self.line().filter(is_hash)?;
        self.succeeded().then(|| line.to_owned())
    }

    /// What git said, as it is: for the log, and to tell failures apart.
    pub(super) fn stderr(&self) -> &str {
        &self.stderr
    }

    /// Why it failed, for an error: the lines that say so, without credentials and the workspace's real
    /// path, bounded.
    pub(super) fn reason(&self) -> String {
        reason(&self.stderr, self.code).replace(&self.workspace, WORKSPACE)
    }

    /// `InternalFailure` for what cannot fail in a sound repository.
    pub(super) fn broken(&self, what: &str) -> CallError {
        CallError::new(ErrorType::ServiceUnavailable)
            .with("service", "git")
            .with("reason", format!("{what}: {}", self.reason()))
            .internal(format!("git ended with {}: {}", self.code, self.stderr))
    }
}

fn reason(stderr: &str, code: i32) -> String {
    let told = stderr.lines().filter_map(|line| {
        let line = line.trim();
        let told = ["fatal: ", "error: ", "remote: "]
            .iter()
            .find_map(|prefix| line.strip_prefix(prefix));
        told.map(str::trim).filter(|line| !line.is_empty())
    });
    let mut lines: Vec<&str> = told.take(MAX_REASON_LINES).collect();
    if lines.is_empty() {
        lines.extend(stderr.lines().map(str::trim).rfind(|line| !line.is_empty()));
    }
    if lines.is_empty() {
        return format!("git ended with {code}");
    }
    let text: String = lines.join("; ").chars().take(MAX_REASON).collect();
    let text = text.trim_end_matches(['.', '\n']);
    quote(&without_credentials(text))
}

/// A text with the part between `://` and `@` of URLs in it left out.
pub(super) fn without_credentials(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        clean.push_str(before);
        clean.push_str("://");
        let end = after
            .find(|c: char| matches!(c, '/' | '\'' | '"') || c.is_whitespace())
            .unwrap_or(after.len());
        let (authority, tail) = after.split_at(end);
        let host = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        clean.push_str(host);
        rest = tail;
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_do_not_reach_an_error() {
        for (text, clean) in [
            ("https://a:b@host/x", "https://host/x"),
            ("at 'https://t0ken@host': no", "at 'https://host': no"),
            ("x://a@b@c/ y://d@e", "x://c/ y://e"),
            ("mail a@b.c, see ://", "mail a@b.c, see ://"),
        ] {
            assert_eq!(without_credentials(text), clean);
        }
    }

    #[test]
    fn a_reason_is_what_git_says_is_wrong() {
        let said = "hint: try\nwarning: x\nfatal: no such thing.\n\nhint: y\n";
        assert_eq!(reason(said, 128), "no such thing");
        assert_eq!(reason("odd\n\n", 1), "odd");
        assert_eq!(reason("", 3), "git ended with 3");
        assert!(reason(&"error: x\x1b[2J\n".repeat(9000), 1).len() < 3 * MAX_REASON);
        assert!(!reason("fatal: \x1b[2J", 1).contains('\x1b'));
    }
}
