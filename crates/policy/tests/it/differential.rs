//! The compiled evaluator against the naive one on 200,000 random pairs of policy and call, and what must
//! hold between the layers of every one of them.
#![allow(clippy::print_stdout, clippy::cast_precision_loss)]

use crate::naive::{Ask, Counted, Files, TIERS};
use crate::world::{compile, definition};
use jiff::Timestamp;
use kruxos_policy::{PolicySet, Query, RateCounters, Source, Sources, TEMPLATES, template_text};
use kruxos_types::{Interface, Object, Principal, Tier};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};

const POLICIES: u64 = 250;
const CALLS: usize = 800;
/// What the issue asks for.
const PAIRS: usize = 200_000;
/// Another one by `KRUXOS_SEED`.
const SEED: u64 = 0x6b72_7578_6f73_0004;

const DATA_DIR: &str = "/srv/kruxos";
const AGENTS: [&str; 2] = ["alice", "bob"];

const PATHS: [&str; 30] = [
    "a",
    "a/b",
    "a/b/c",
    "a/bx",
    "a//b/./c",
    "x/../a/b",
    "/workspace/a",
    "/workspace",
    "/workspace/../etc/x",
    ".",
    "",
    "notes.md",
    "src/main.rs",
    ".git/config",
    "a/.b/c.rs",
    "/srv/kruxos/workspaces/alice/a/b",
    "/srv/kruxos/workspaces/bob/a",
    "/mnt/x",
    "/mnt/x/y.rs",
    "/mntx",
    "/",
    "/etc/passwd",
    "/srv/kruxos/audit/log",
    "/srv/kruxos/policies",
    "/srv/kruxos/state.db",
    "/srv/kruxosx/a",
    "../../../../etc/x",
    "/usr/bin/../share",
    "/a/b",
    "/var/lib/x",
];
const PREFIXES: [&str; 13] = [
    "a",
    "a/",
    "a/b",
    "./a//b",
    "/workspace",
    "/workspace/a/b/c",
    "/mnt",
    "/mnt/x",
    "/",
    "/srv/kruxos/workspaces/alice",
    "src",
    ".git",
    "/workspace/../mnt",
];
const GLOBS: [&str; 14] = [
    "**",
    "*",
    "*.md",
    "**/*.rs",
    "a/**",
    "a/**/c",
    "a/*",
    "**/.b/**",
    "/mnt/**",
    "/workspace/src/*.rs",
    "[an]*",
    "{a,src}/*",
    "a/b?",
    "/**/passwd",
];
const HOSTS: [&str; 5] = [
    "api.example.com",
    "Example.ORG",
    "*.example.com",
    "*.org",
    "::1",
];
const URLS: [&str; 16] = [
    "https://api.example.com/v1",
    "HTTP://API.EXAMPLE.COM:8080/?x",
    "https://example.com",
    "https://user@example.org/",
    "https://www.example.org./x",
    "ftp://a.b.example.com",
    "https://[::1]:443/",
    "http://a\\@example.com",
    "example.org",
    "https://ex%61mple.com",
    "https://a b.com",
    "https://",
    "https://example.org:99999999/",
    "https://badexample.com",
    "https://a..b/",
    "git+ssh://example.org/x",
];
const COMMANDS: [&str; 9] = [
    "ls",
    "/bin/ls",
    "cat",
    "git status",
    "rm",
    "dd",
    "mkfs.ext4",
    "make",
    ":(){ :|:& };:",
];
const ARGS: [&str; 12] = [
    "-l",
    "-rf",
    "/",
    "a",
    "/srv/kruxos/audit/x",
    "--file=/srv/kruxos/state.db",
    "/srv/kruxos/workspaces/alice/x",
    "/srv/kruxosx",
    "of=/dev/sda",
    "-r",
    "/etc",
    "/dev/sda1",
];
const EXPRESSIONS: [&str; 7] = [
    "^(ls|cat)$",
    "l",
    "^/bin/",
    "[[:space:]]",
    "^$",
    "-rf",
    "^git (status|log)",
];
const METHODS: [&str; 4] = ["GET", "post", "HEAD", "delete"];

/// Each capability of the calls with its inputs.
const CAPABILITIES: [(&str, &[&str]); 14] = [
    ("filesystem.read", &["path", "encoding", "limit", "offset"]),
    ("filesystem.write", &["path", "content", "create_parents"]),
    ("filesystem.copy", &["source", "destination", "overwrite"]),
    ("filesystem.move", &["source", "destination", "overwrite"]),
    ("filesystem.delete", &["path"]),
    ("filesystem.search", &["path", "max_results"]),
    (
        "process.run",
        &["command", "args", "working_directory", "timeout"],
    ),
    ("process.list", &[]),
    (
        "network.http_request",
        &["url", "method", "body", "timeout"],
    ),
    ("network.dns_lookup", &["hostname"]),
    ("git.push", &["path", "remote", "branch"]),
    ("email.send", &["to", "body"]),
    ("state.persistent.get", &["key", "version"]),
    ("system.time", &["timezone"]),
];
const PATTERNS: [&str; 20] = [
    "*",
    "filesystem.*",
    "process.*",
    "network.*",
    "state.*",
    "state.persistent.*",
    "filesystem.read",
    "filesystem.read",
    "filesystem.write",
    "filesystem.write",
    "filesystem.copy",
    "filesystem.move",
    "filesystem.delete",
    "process.run",
    "process.run",
    "network.http_request",
    "network.http_request",
    "network.dns_lookup",
    "git.push",
    "email.send",
];

/// SplitMix64: a few lines, the same on every machine.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    fn pick<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }

    /// One, or a list of one to three.
    fn some(&mut self, list: &[&str]) -> Value {
        match self.below(3) {
            0 => json!(self.pick(list)),
            count => (0..=count).map(|_| json!(self.pick(list))).collect(),
        }
    }

    fn input(&mut self, name: &str) -> Value {
        match name {
            "path" | "source" | "destination" | "working_directory" => json!(self.pick(&PATHS)),
            "content" | "body" => json!("äx".repeat(self.below(5))),
            "command" => json!(self.pick(&COMMANDS)),
            "args" => (0..self.below(4))
                .map(|_| json!(self.pick(&ARGS)))
                .collect(),
            "url" => json!(self.pick(&URLS)),
            "hostname" => json!(self.pick(&[
                "api.example.com",
                "Example.org.",
                "a/b",
                "www.org",
                "::1",
                ""
            ])),
            "method" => json!(self.pick(&METHODS)),
            "overwrite" | "create_parents" => json!(self.one_in(2)),
            "limit" | "offset" | "timeout" | "version" | "max_results" => match self.one_in(4) {
                true => json!(self.below(8) as f64 / 2.0),
                false => json!(self.below(5)),
            },
            _ => json!(self.pick(&["x", "y", "origin", "utf-8"])),
        }
    }

    fn call(&mut self, at: i64) -> Ask {
        let (capability, inputs) = CAPABILITIES[self.below(CAPABILITIES.len())];
        let kind = self.pick(&["agent", "agent", "agent", "agent", "user", "system"]);
        let name = match kind {
            "agent" => self.pick(&["alice", "alice", "bob", "carol"]),
            "user" => "operator",
            _ => "gateway",
        };
        let mut given = std::collections::BTreeMap::new();
        for input in inputs {
            if !self.one_in(6) {
                given.insert((*input).to_owned(), self.input(input));
            }
        }
        Ask {
            kind,
            name: name.to_owned(),
            capability,
            definition: definition(capability).tier as usize,
            inputs: given,
            interface: self.pick(&["mcp", "rpc", "scheduler", "autonomous", "cli"]),
            at,
            workspace: format!("{DATA_DIR}/workspaces/{name}"),
        }
    }

    fn condition(&mut self, pattern: &str) -> (&'static str, Value) {
        let bound = self.below(12);
        match self.below(26) {
            0..=4 => ("path_prefix", self.some(&PREFIXES)),
            5 => ("path_not_prefix", self.some(&PREFIXES)),
            6 | 7 => ("path_glob", self.some(&GLOBS)),
            8 => (
                self.pick_static(&[
                    "content_size_lt",
                    "content_size_lte",
                    "content_size_gt",
                    "content_size_gte",
                ]),
                json!(bound),
            ),
            9 | 10 => ("domain_in", self.some(&HOSTS)),
            11 => ("domain_not_in", self.some(&HOSTS)),
            12 => (
                "url_scheme_in",
                self.some(&["https", "HTTP", "ftp", "git+ssh"]),
            ),
            13 => ("method_in", self.some(&METHODS)),
            14 | 15 => ("command_in", self.some(&COMMANDS)),
            16 => ("command_matches", json!(self.pick(&EXPRESSIONS))),
            17 => ("args_match", json!(self.pick(&EXPRESSIONS))),
            18 => (
                "time_of_day",
                self.some(&["08:00-18:00", "22:00-06:30", "00:00-24:00", "12:00-12:01"]),
            ),
            19 => (
                "weekday_in",
                self.some(&["mon", "Tuesday", "WED", "thu", "friday", "sat", "sunday"]),
            ),
            20 => ("principal_type", self.some(&["agent", "user", "system"])),
            21 => (
                "interface_in",
                self.some(&["mcp", "rpc", "scheduler", "autonomous", "cli"]),
            ),
            kind => self.about_inputs(pattern, kind),
        }
    }

    fn pick_static(&mut self, list: &[&'static str]) -> &'static str {
        list[self.below(list.len())]
    }

    /// A condition on an input that some capability of the pattern has.
    fn about_inputs(&mut self, pattern: &str, kind: usize) -> (&'static str, Value) {
        let covered = |name: &str| {
            pattern
                .strip_suffix('*')
                .map_or(name == pattern, |prefix| name.starts_with(prefix))
        };
        let inputs: Vec<&str> = CAPABILITIES
            .iter()
            .filter(|(name, _)| covered(name))
            .flat_map(|(_, inputs)| inputs.iter().copied())
            .collect();
        if inputs.is_empty() {
            return ("interface_in", json!("mcp"));
        }
        let input = inputs[self.below(inputs.len())];
        match kind {
            22 => ("input_equals", json!({ input: self.input(input) })),
            23 => (
                "input_in",
                json!({ input: [self.input(input), self.input(input)] }),
            ),
            24 => ("input_lt", json!({ input: self.below(6) })),
            _ => ("input_gt", json!({ input: self.below(6) as f64 / 2.0 })),
        }
    }

    /// Tier, conditions, limit and the rest of a rule, in either spelling.
    fn rule(&mut self, pattern: &str, ceilings: bool, limits: bool, number: &mut usize) -> Value {
        let tier = self.below(4);
        *number += 1;
        let mut rule = json!({"tier": TIERS[tier], "reason": format!("r{number}")});
        let mut conditions = json!({});
        for _ in 0..self.below(3) + usize::from(!self.one_in(6)) {
            let (name, value) = self.condition(pattern);
            conditions[name] = value;
        }
        if conditions
            .as_object()
            .is_some_and(|fields| !fields.is_empty())
        {
            rule[self.pick_static(&["condition", "conditions"])] = conditions;
        }
        if limits && tier < 3 && self.one_in(3) {
            rule["rate_limit"] = self.limit(tier);
        }
        if self.one_in(6) {
            let force = if ceilings && self.one_in(2) {
                "ceiling"
            } else {
                "baseline"
            };
            rule["enforce"] = json!(force);
        }
        rule
    }

    fn limit(&mut self, tier: usize) -> Value {
        let max = 1 + self.below(4);
        let mut limit = match self.below(3) {
            0 => json!({"max_per_minute": max}),
            1 => json!({"max_per_hour": max}),
            _ => json!({"max": max, "window": 1 + self.below(400)}),
        };
        if !self.one_in(3) {
            let name = self.pick_static(&["on_exceed", "escalate_to"]);
            limit[name] = json!(TIERS[tier + 1 + self.below(3 - tier)]);
        }
        limit
    }

    fn file(&mut self, ceilings: bool, number: &mut usize) -> Value {
        let limits = self.one_in(3);
        // Long lists have an index.
        let length = [2, 6, 40][self.below(3)];
        let mut rules = Vec::new();
        for _ in 0..self.below(length) {
            let pattern = self.pick(&PATTERNS);
            let mut rule = self.rule(pattern, ceilings, limits, number);
            match self.below(3) {
                0 => rule["capability"] = json!(pattern),
                1 => rule["match"] = json!({ "capability": pattern }),
                _ => rule["match"] = json!(pattern),
            }
            rules.push(rule);
        }
        let mut file = json!({"name": "x", "rules": rules});
        for _ in 0..self.below(8) {
            let pattern = self.pick(&PATTERNS);
            let nested: Vec<Value> = (0..self.below(4))
                .map(|_| self.rule(pattern, ceilings, limits, number))
                .collect();
            let mut entry = match nested.is_empty() {
                true => json!({}),
                false => json!({ "rules": nested }),
            };
            if nested.is_empty() || self.one_in(2) {
                let tier = self.below(4);
                *number += 1;
                entry["tier"] = json!(TIERS[tier]);
                entry["reason"] = json!(format!("r{number}"));
                if limits && tier < 3 && self.one_in(3) {
                    entry["rate_limit"] = self.limit(tier);
                }
            }
            file["capabilities"][pattern] = entry;
        }
        if self.one_in(3) {
            *number += 1;
            file["defaults"] =
                json!({"tier": TIERS[self.below(4)], "reason": format!("r{number}")});
        }
        if ceilings && self.one_in(6) {
            file["enforce"] = json!("baseline");
        }
        if self.one_in(6) {
            file["extends"] = json!(self.pick(&TEMPLATES));
        }
        file
    }

    fn files(&mut self) -> Files {
        let mut number = 0;
        let mut files = Files {
            data_dir: DATA_DIR.to_owned(),
            ..Files::default()
        };
        if !self.one_in(3) {
            files.system = Some(self.file(true, &mut number));
        }
        if !self.one_in(3) {
            files.organisation = Some(self.file(true, &mut number));
        }
        if !self.one_in(4) {
            files.user = Some(self.file(false, &mut number));
        }
        for agent in AGENTS {
            if !self.one_in(4) {
                files
                    .agents
                    .insert(agent.to_owned(), self.file(false, &mut number));
            }
            if !self.one_in(3) {
                files
                    .groups
                    .insert(agent.to_owned(), self.pick(&TEMPLATES).to_owned());
            }
        }
        for name in TEMPLATES {
            files.templates.insert(
                name.to_owned(),
                serde_saphyr::from_str(template_text(name).unwrap()).unwrap(),
            );
        }
        files
    }

    /// The same files with one more ceiling: a whole layer of ceilings where there was none, or a rule that
    /// blocks before all others of a layer. (A milder rule before others of the same layer may answer in
    /// their place: the first that holds is the layer's answer.)
    fn with_a_ceiling(&mut self, files: &Files) -> Files {
        let mut files = files.clone();
        let number = &mut 10_000;
        let outer = if self.one_in(2) {
            &mut files.system
        } else {
            &mut files.organisation
        };
        let pattern = self.pick(&PATTERNS);
        let mut rule = self.rule(pattern, true, false, number);
        rule["capability"] = json!(pattern);
        rule["enforce"] = json!("ceiling");
        match outer {
            None => *outer = Some(json!({ "rules": [rule] })),
            Some(file) => {
                rule["tier"] = json!("blocked");
                if let Some(rules) = file["rules"].as_array_mut() {
                    rules.insert(0, rule);
                }
            }
        }
        files
    }
}

/// JSON is YAML.
fn sources(files: &Files) -> Sources {
    let source = |name: &str, file: &Value| Source {
        file: name.to_owned(),
        text: file.to_string(),
    };
    Sources {
        system: files
            .system
            .as_ref()
            .map(|file| source("system.yaml", file)),
        organisation: files
            .organisation
            .as_ref()
            .map(|file| source("org.yaml", file)),
        agents: files
            .agents
            .iter()
            .map(|(name, file)| (name.clone(), source(&format!("agents/{name}.yaml"), file)))
            .collect(),
        user: files.user.as_ref().map(|file| source("user.yaml", file)),
        groups: files.groups.clone(),
        data_dir: Some(DATA_DIR.to_owned()),
        ..Sources::default()
    }
}

fn compiled(files: &Files) -> PolicySet {
    compile(&sources(files))
        .unwrap_or_else(|found| panic!("{found:#?}\n{files:#?}"))
        .0
}

/// A call in the crate's own terms.
struct Asked {
    principal: Principal,
    inputs: Object,
    interface: Interface,
    now: Timestamp,
}

impl Asked {
    fn new(ask: &Ask) -> Asked {
        Asked {
            principal: match ask.kind {
                "agent" => Principal::agent(&ask.name),
                "user" => Principal::user(&ask.name),
                _ => Principal::system(),
            },
            inputs: ask.inputs.clone().into_iter().collect(),
            interface: Interface::ALL
                .into_iter()
                .find(|door| door.as_str() == ask.interface)
                .unwrap(),
            now: Timestamp::from_millisecond(ask.at).unwrap(),
        }
    }

    fn query<'a>(&'a self, ask: &'a Ask) -> Query<'a> {
        Query {
            principal: &self.principal,
            definition: definition(ask.capability),
            inputs: &self.inputs,
            interface: self.interface,
            now: self.now,
            workspace: &ask.workspace,
            touches: &[],
        }
    }
}

/// Where a disagreement stands, so that it can be looked at alone.
struct Here<'a> {
    seed: u64,
    policy: u64,
    files: &'a Files,
    ask: &'a Ask,
}

impl std::fmt::Display for Here<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Files {
            system,
            organisation,
            agents,
            user,
            groups,
            ..
        } = self.files;
        write!(
            f,
            "seed {:#x}, policy {}\ncall {:?}\n",
            self.seed, self.policy, self.ask
        )?;
        let shown = |file: &Option<Value>| file.as_ref().map(Value::to_string).unwrap_or_default();
        write!(
            f,
            "system {}\norg {}\nagents {}\nuser {}\ngroups {groups:?}",
            shown(system),
            shown(organisation),
            json!(agents),
            shown(user)
        )
    }
}

/// Compares one policy on [`CALLS`] calls; answers how many.
fn compare(seed: u64, policy: u64) -> usize {
    let mut dice = Dice(seed ^ policy.wrapping_mul(0xff51_afd7_ed55_8ccd));
    let files = dice.files();
    let tighter = dice.with_a_ceiling(&files);
    let (set, tighter_set) = (compiled(&files), compiled(&tighter));
    let whole = files.whole();
    let rates = RateCounters::default();
    let mut counted = Counted::new();
    // Some day of 2026.
    let mut at = 1_767_225_600_000 + (dice.below(365 * 86_400) as i64) * 1_000;
    for _ in 0..CALLS {
        at += dice.below(40_000) as i64;
        let ask = dice.call(at);
        let here = Here {
            seed,
            policy,
            files: &files,
            ask: &ask,
        };
        let asked = Asked::new(&ask);
        let query = asked.query(&ask);
        let said = whole.decide(&ask, &mut counted);
        let told = set.explain(&query, &rates);
        match set.decide(&query, &rates) {
            Ok(verdict) => {
                let decided = (verdict.tier().as_str(), verdict.winner().as_str(), false);
                assert_eq!(
                    decided,
                    (TIERS[said.tier], said.winner, said.limited),
                    "decide and naive differ: {here}\n{said:?}\n{told:#?}"
                );
                assert_eq!(
                    told.tier,
                    verdict.tier(),
                    "explain and decide differ: {here}"
                );
            }
            Err(refusal) => assert!(
                said.limited && refusal.retry_after_seconds > 0,
                "refused: {here}\n{said:?}"
            ),
        }
        assert_eq!(told.refusal.is_some(), said.limited, "{here}");
        if ask.paths().len() < 2 && !said.limited {
            let layers: Vec<_> = told
                .layers
                .iter()
                .take(5)
                .map(|layer| layer.tier.map(|_| layer.reason.clone()))
                .collect();
            let naive: Vec<_> = said
                .layers
                .iter()
                .map(|layer| layer.as_ref().map(|(_, reason)| reason.clone()))
                .collect();
            assert_eq!(layers[1..], naive[1..], "layers differ: {here}\n{told:#?}");
            assert_eq!(
                layers[0].is_some(),
                naive[0].is_some(),
                "protections differ: {here}\n{told:#?}"
            );
        }
        // With nothing counted yet, so that limits do not blur what the rules say.
        let fresh = |set: &PolicySet| set.decide(&query, &RateCounters::default()).unwrap().tier();
        let tier = fresh(&set);
        assert!(
            tier as usize >= said.ceiling.min(Tier::Blocked as usize),
            "below a ceiling: {here}\n{said:?}"
        );
        assert!(
            fresh(&tighter_set) >= tier,
            "a further ceiling loosened {tier}: {here}\nwith {:?} {:?}",
            tighter.system,
            tighter.organisation
        );
    }
    CALLS
}

#[test]
fn the_compiled_evaluator_agrees_with_a_naive_one_on_200_000_pairs() {
    #[expect(
        clippy::disallowed_methods,
        reason = "whoever looks for a failure sets it"
    )]
    let seed = std::env::var("KRUXOS_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(SEED);
    println!("seed {seed:#x} (another by KRUXOS_SEED)");
    let (next, pairs) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism()
            .map_or(2, usize::from)
            .min(8)
        {
            scope.spawn(|| {
                loop {
                    let policy = next.fetch_add(1, Ordering::Relaxed) as u64;
                    if policy >= POLICIES {
                        return;
                    }
                    pairs.fetch_add(compare(seed, policy), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(pairs.into_inner(), PAIRS);
}
