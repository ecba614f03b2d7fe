//! What can be typed. The texts here are the help, the manual pages and the completions.

pub(crate) mod approve;

use crate::span;
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use std::path::PathBuf;
use std::time::Duration;

/// One gateway between AI agents and this machine: every tool call is authenticated, decided by
/// policy, approved where a person must, executed and audited.
#[derive(Debug, Parser)]
#[command(
    name = "kruxos",
    version,
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Where the gateway keeps everything [default: $XDG_DATA_HOME/kruxos or ~/.local/share/kruxos]
    #[arg(long, global = true, env = "KRUXOS_DATA_DIR", hide_env_values = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) data_dir: Option<PathBuf>,
    /// Configuration file [default: config.yaml in the data directory]
    #[arg(long, global = true, env = "KRUXOS_CONFIG", hide_env_values = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Answer as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print nothing but what was asked for
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// No colours, as with NO_COLOR
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start everything in the foreground, for a first try and for development
    Up(Daemon),
    /// Run as a service: no agent or token is made
    Gateway(Daemon),
    /// Say whether the gateway runs, where, and how it is
    Status,
    /// Check everything that can be checked; fails unless all passes
    Verify,
    /// Print versions
    Version,
    /// Register and manage agents
    #[command(subcommand)]
    Agent(Agent),
    /// Show what happens as it happens
    Watch(Watch),
    /// Answer every call of an agent with «paused» until it is resumed
    Pause(OneAgent),
    /// Let a paused agent go on
    Resume(OneAgent),
    /// End an agent's session now and keep it paused
    Kill(SureAgent),
    /// Decide calls that wait for a person
    #[command(subcommand)]
    Approve(Approve),
    /// See and acknowledge alerts
    Alerts(Alerts),
    /// Ask the audit log, follow it, prove that nobody changed it
    #[command(subcommand)]
    Audit(Audit),
    /// Configuration and policy
    #[command(subcommand)]
    Config(Config),
    /// Try policies: test them, compare them, replay recorded calls under them
    #[command(subcommand)]
    Policy(Policy),
    /// An agent's persistent state
    #[command(subcommand)]
    State(State),
    /// Tokens for people's own clients
    #[command(subcommand)]
    UserToken(UserToken),
    /// Directories of this machine that an agent sees
    #[command(subcommand)]
    Mount(Mount),
    /// What sessions changed in files
    #[command(subcommand)]
    Session(Session),
    /// Take back what a session changed in files
    Undo(Undo),
    /// What agents deleted
    #[command(subcommand)]
    Trash(Trash),
    /// The kernel sandbox
    #[command(subcommand)]
    Sandbox(Sandbox),
    /// Call a capability, through the whole pipeline
    Call(Call),
    /// Drive a running gateway with load and measure it
    Bench(Bench),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page of a command
    Man {
        /// Which command, such as `agent create` [default: kruxos itself]
        #[arg(value_name = "COMMAND")]
        path: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Run policy test files, without a gateway; fails unless every case passes
    Test {
        /// Files with policies, cases and what each case is expected to get
        #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
        files: Vec<PathBuf>,
        /// Write a report for build servers as well (JUnit XML)
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        junit: Option<PathBuf>,
    },
    /// Show which agents get another tier for which capabilities
    Diff {
        /// A policy file, or a directory of them (system.yaml, org.yaml, user.yaml, agents/NAME.yaml)
        #[arg(value_hint = ValueHint::AnyPath)]
        old: PathBuf,
        /// The same as it will be; of two files, the name of the old one tells the layer
        #[arg(value_hint = ValueHint::AnyPath)]
        new: PathBuf,
    },
    /// Decide recorded calls again under other policy files and list what would differ
    Simulate {
        /// A policy file, which takes the place of its namesake, or a directory, which takes all
        #[arg(long, value_name = "NEW", value_hint = ValueHint::AnyPath)]
        policy: PathBuf,
        /// Only this far back
        #[arg(long, value_name = "TIME", value_parser = span::parse, default_value = "7d")]
        last: Duration,
        /// Only this agent; a file whose name tells no layer is then this agent's
        #[arg(long, value_name = "AGENT")]
        agent: Option<String>,
    },
    /// Print the JSON Schema of policy files, for editors
    Schema,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Mount {
    /// Let an agent see a directory
    Add {
        /// The agent's name
        agent: String,
        /// The directory
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        source: PathBuf,
        /// Where the agent sees it: /mnt/LABEL
        #[arg(long, value_name = "/mnt/LABEL")]
        target: String,
        /// It may read and not change it
        #[arg(long)]
        read_only: bool,
    },
    /// List an agent's mounts, or everybody's
    List {
        /// The agent's name
        agent: Option<String>,
    },
    /// Take a directory away from an agent
    Remove {
        /// The agent's name
        agent: String,
        /// The part after /mnt/
        label: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Make a mount read-only, or writable again
    ToggleReadonly {
        /// The agent's name
        agent: String,
        /// The part after /mnt/
        label: String,
    },
    /// Rename a mount
    Relabel {
        /// The agent's name
        agent: String,
        /// The label it has
        old: String,
        /// The label it gets
        new: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Session {
    /// List sessions of which file changes are recorded
    List,
    /// Show what a session changed, from before it to now
    Diff {
        /// The session's id
        session: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Undo {
    /// The session's id; an undo has one too and can be undone
    #[arg(long, value_name = "ID")]
    pub(crate) session: String,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Leave files that changed since and undo the rest; otherwise one of them refuses all
    #[arg(long)]
    pub(crate) skip_changed: bool,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Trash {
    /// List an agent's deleted files
    List {
        /// The agent's name
        #[arg(long, value_name = "NAME")]
        agent: String,
    },
    /// Put a deleted file back, as the agent and through the whole pipeline
    Restore {
        /// The entry's id
        id: String,
        /// The agent's name
        #[arg(long, value_name = "NAME")]
        agent: String,
        /// Replace a file that is there by now
        #[arg(long)]
        overwrite: bool,
    },
    /// Remove what is kept longer than it has to be, as happens every hour
    Cleanup {
        /// Count it, and remove nothing
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Sandbox {
    /// Try each kernel protection and say what works here; fails unless all do
    Diagnose,
}

#[derive(Debug, Args)]
pub(crate) struct Daemon {
    /// TCP port for agents; 0 picks a free one [default: 7700]
    #[arg(long, value_name = "N")]
    pub(crate) port: Option<u16>,
    /// TCP port for health and metrics; 0 picks a free one [default: 7704]
    #[arg(long, value_name = "N")]
    pub(crate) health_port: Option<u16>,
}

#[derive(Debug, Args)]
pub(crate) struct OneAgent {
    /// The agent's name
    #[arg(value_name = "AGENT")]
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct SureAgent {
    /// The agent's name
    #[arg(value_name = "AGENT")]
    pub(crate) name: String,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
}

/// A name as an argument or as `--name`.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct NewName {
    /// The agent's name: a-z, 0-9 and '-', at most 63 characters
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The same as an option
    #[arg(long = "name", value_name = "NAME", id = "name_option")]
    pub(crate) option: Option<String>,
}

impl NewName {
    pub(crate) fn get(&self) -> &str {
        self.name
            .as_deref()
            .or(self.option.as_deref())
            .unwrap_or_default()
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Agent {
    /// Register an agent; prints its token once, and what to paste into its client
    Create {
        #[command(flatten)]
        name: NewName,
        /// What it is for
        #[arg(long, default_value = "", hide_default_value = true)]
        purpose: String,
        /// The policy template it starts from [default: team-moderate]
        #[arg(long, value_name = "TEMPLATE")]
        policy_group: Option<String>,
    },
    /// List agents
    List,
    /// Show an agent with its session, policy group and state
    Show(OneAgent),
    /// Change an agent's purpose or policy group
    #[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
    Edit {
        /// The agent's name
        #[arg(value_name = "AGENT")]
        name: String,
        /// What it is for
        #[arg(long, group = "change")]
        purpose: Option<String>,
        /// The policy template it starts from
        #[arg(long, value_name = "TEMPLATE", group = "change")]
        policy_group: Option<String>,
    },
    /// Give an agent a new token; the old one stops working and its session ends
    Rotate(SureAgent),
    /// Shut an agent out; its session ends
    Revoke(SureAgent),
    /// Let a revoked agent in again, with the token it had
    Restore(OneAgent),
    /// Remove an agent with its token and state; its workspace stays
    Delete(SureAgent),
}

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Only this agent
    #[arg(long, value_name = "AGENT")]
    pub(crate) agent: Option<String>,
    /// Only capabilities of this pattern, such as `filesystem.*`
    #[arg(long, value_name = "PATTERN")]
    pub(crate) capability: Option<String>,
    /// Only these event types, separated by commas
    #[arg(long = "type", value_name = "TYPES")]
    pub(crate) kinds: Option<String>,
    /// Only this session
    #[arg(long, value_name = "ID")]
    pub(crate) session: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum ApprovalState {
    Pending,
    Approved,
    Rejected,
    Expired,
    Cancelled,
    Executing,
    Executed,
    Failed,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Approve {
    /// List requests; those that wait unless told otherwise
    List {
        /// Only requests in this state
        #[arg(long, value_name = "STATE", conflicts_with = "all")]
        state: Option<ApprovalState>,
        /// Requests in every state
        #[arg(long)]
        all: bool,
        /// Only requests of this agent
        #[arg(long, value_name = "AGENT")]
        agent: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
    /// Show a request: who, what, why it waits, and what would change
    Show {
        /// The request, `ap_…`
        id: String,
    },
    /// Let requests run, exactly as they are shown
    Accept(approve::Accept),
    /// Refuse requests
    Reject(approve::Reject),
    /// List approvals given in advance
    Grants {
        /// Only grants of this agent
        #[arg(long, value_name = "AGENT")]
        agent: Option<String>,
        /// Also those that cover nothing any more
        #[arg(long)]
        all: bool,
    },
    /// Take an approval given in advance back
    Revoke {
        /// The grant, `gr_…`
        #[arg(value_name = "GRANT")]
        id: String,
    },
    /// See requests as they come, read what each would change, and decide with a key; with --json
    /// one line for each change
    Watch {
        /// Only requests of this agent
        #[arg(long, value_name = "AGENT")]
        agent: Option<String>,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Severity {
    Info,
    Warning,
    Critical,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Alerts {
    #[command(subcommand)]
    pub(crate) command: Option<AlertsCommand>,
    #[command(flatten)]
    pub(crate) list: AlertList,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AlertsCommand {
    /// List alerts, newest first
    List(AlertList),
    /// Say that an alert was seen
    Ack {
        /// The alert
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AlertList {
    /// Only this far back, such as 24h
    #[arg(long, value_name = "TIME", value_parser = span::parse)]
    pub(crate) last: Option<Duration>,
    /// This severity and worse
    #[arg(long, value_name = "SEVERITY")]
    pub(crate) severity: Option<Severity>,
    /// Acknowledged ones too
    #[arg(long)]
    pub(crate) all: bool,
    /// At most so many
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
    Jsonl,
    Csv,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum AuditStatus {
    Success,
    Denied,
    Error,
    Pending,
    Approved,
    Rejected,
    Expired,
}

#[derive(Debug, Args)]
pub(crate) struct AuditFilter {
    /// Only this agent
    #[arg(long, value_name = "AGENT")]
    pub(crate) agent: Option<String>,
    /// Only this user
    #[arg(long, value_name = "USER", conflicts_with = "agent")]
    pub(crate) user: Option<String>,
    /// Only capabilities of this pattern, such as `filesystem.*`
    #[arg(long, value_name = "PATTERN")]
    pub(crate) capability: Option<String>,
    /// Only entries that ended so
    #[arg(long, visible_alias = "outcome", value_name = "STATUS")]
    pub(crate) status: Option<AuditStatus>,
    /// Only this session
    #[arg(long, value_name = "ID")]
    pub(crate) session: Option<String>,
    /// Only entries of this kind, such as call, decision, session
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Find entries, newest first
    Query {
        #[command(flatten)]
        filter: AuditFilter,
        /// Only this far back, such as 1h or 7d
        #[arg(long, value_name = "TIME", value_parser = span::parse, conflicts_with = "from")]
        last: Option<Duration>,
        /// From this time on (RFC 3339)
        #[arg(long, value_name = "TIME")]
        from: Option<jiff::Timestamp>,
        /// Up to this time (RFC 3339)
        #[arg(long, value_name = "TIME")]
        to: Option<jiff::Timestamp>,
        /// At most so many
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
        /// How entries look
        #[arg(long, value_name = "FORMAT", default_value = "table")]
        format: Format,
    },
    /// Print entries as they are written
    Tail {
        #[command(flatten)]
        filter: AuditFilter,
    },
    /// Show one entry
    Show {
        /// Its id or its sequence number
        id: String,
    },
    /// Counts, latencies by capability, and the state of the chain
    Stats {
        /// Only this far back
        #[arg(long, value_name = "TIME", value_parser = span::parse)]
        last: Option<Duration>,
    },
    /// Check every entry's hash and the chain between them; works without a gateway
    Verify,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Show the configuration in force, one key, or the policy in force
    Show {
        /// A key such as server.port, or `policy`
        #[arg(value_name = "KEY|policy")]
        key: Option<String>,
    },
    /// Set a key in the configuration file, or the policy template of agents
    Set {
        /// A key such as server.port, or `policy`
        #[arg(value_name = "KEY|policy")]
        key: String,
        /// The value, or the name of a template
        value: String,
        /// With `policy`: only this agent
        #[arg(long, value_name = "AGENT")]
        agent: Option<String>,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Check a policy file; works without a gateway
    Validate {
        /// The file; its name tells the layer (system.yaml, org.yaml, user.yaml, else an agent's)
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Say which tier a call would get and which layer decides
    CheckPolicy {
        /// The agent that calls [default: you]
        #[arg(long, value_name = "AGENT")]
        agent: Option<String>,
        /// The capability
        #[arg(long, value_name = "NAME")]
        capability: String,
        /// An input, key=value; may be repeated
        #[arg(long = "input", value_name = "K=V")]
        inputs: Vec<String>,
        /// The door: mcp, rpc, scheduler, autonomous or cli
        #[arg(long, value_name = "NAME")]
        interface: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum State {
    /// List keys
    List {
        /// The agent's name
        agent: String,
        /// Only keys that start so
        #[arg(long, default_value = "", hide_default_value = true)]
        prefix: String,
        /// At most so many
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
    /// Print a value
    Get {
        /// The agent's name
        agent: String,
        /// The key
        key: String,
        /// An earlier version
        #[arg(long, value_name = "N")]
        version: Option<u64>,
    },
    /// Set a value
    Set {
        /// The agent's name
        agent: String,
        /// The key
        key: String,
        /// JSON, or text where it is none
        value: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Delete a key; its history stays
    Delete {
        /// The agent's name
        agent: String,
        /// The key
        key: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Show used and allowed bytes and the largest keys
    Quota {
        /// The agent's name
        agent: String,
    },
    /// List a key's versions
    History {
        /// The agent's name
        agent: String,
        /// The key
        key: String,
        /// At most so many
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserToken {
    /// Make a token; it is shown once
    Create {
        /// What it is called in audit entries
        label: String,
    },
    /// List tokens
    List,
    /// Make a token useless
    Revoke {
        /// Its id or label
        id: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Call {
    /// The capability, such as filesystem.read
    pub(crate) capability: String,
    /// Inputs: key=value, key=@file for a file's text, key=@@text for text that starts with @
    #[arg(value_name = "K=V")]
    pub(crate) inputs: Vec<String>,
    /// Call as this agent [default: as you]
    #[arg(long, value_name = "AGENT")]
    pub(crate) agent: Option<String>,
    /// Inputs as a JSON object, or @file
    #[arg(long, value_name = "JSON")]
    pub(crate) input: Option<String>,
    /// How long to wait if the call needs an approval
    #[arg(long, value_name = "TIME", value_parser = span::parse)]
    pub(crate) wait: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    /// MCP over a WebSocket that stays open
    Ws,
    /// MCP over HTTP with keep-alive
    Http,
}

#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// How many agents call at once, each on a connection of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) agents: u16,
    /// Calls of each agent [default: 1000]
    #[arg(long, value_name = "M", conflicts_with = "duration")]
    pub(crate) calls: Option<u64>,
    /// Call for this long instead
    #[arg(long, value_name = "TIME", value_parser = span::parse)]
    pub(crate) duration: Option<Duration>,
    /// How to connect
    #[arg(long, value_name = "KIND", default_value = "ws")]
    pub(crate) transport: Transport,
    /// What to call
    #[arg(long, value_name = "NAME", default_value = "system.time")]
    pub(crate) capability: String,
    /// Its inputs as a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub(crate) inputs: String,
    /// Where the agents connect [default: what the control socket says]
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// An agent's token; may be repeated. Without one temporary agents are made and removed
    #[arg(long = "token", value_name = "TOKEN")]
    pub(crate) tokens: Vec<String>,
    /// The temporary agents' policy template
    #[arg(long, value_name = "TEMPLATE", default_value = "personal-permissive")]
    pub(crate) policy_group: String,
}
