//! Policy a second time, as slowly and plainly as possible: spec/policy.md read sentence by sentence over
//! the files as JSON, with its own paths, globs, hosts and windows. It shares no code with the crate, so
//! that the two are wrong together only where both authors misread the same sentence.

use serde_json::Value;
use std::collections::BTreeMap;

/// Tiers by their place in the order of the specification.
pub(crate) const TIERS: [&str; 4] = ["autonomous", "notify", "approval_required", "blocked"];
const BLOCKED: usize = 3;

/// The files of every layer, as JSON.
#[derive(Debug, Default, Clone)]
pub(crate) struct Files {
    pub(crate) data_dir: String,
    pub(crate) system: Option<Value>,
    pub(crate) organisation: Option<Value>,
    pub(crate) agents: BTreeMap<String, Value>,
    pub(crate) user: Option<Value>,
    /// Template by agent; who is not here has `team-moderate`.
    pub(crate) groups: BTreeMap<String, String>,
    pub(crate) templates: BTreeMap<String, Value>,
}

/// One call.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    /// `agent`, `user` or `system`.
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) capability: &'static str,
    /// The tier of its definition.
    pub(crate) definition: usize,
    pub(crate) inputs: BTreeMap<String, Value>,
    pub(crate) interface: &'static str,
    /// Milliseconds since 1970.
    pub(crate) at: i64,
    pub(crate) workspace: String,
}

/// What the evaluator says.
#[derive(Debug, PartialEq)]
pub(crate) struct Said {
    pub(crate) tier: usize,
    pub(crate) winner: &'static str,
    /// By layer, outermost first, for the call as a whole: tier and reason.
    pub(crate) layers: Vec<Option<(usize, Option<String>)>>,
    /// The most restrictive ceiling, 0 without one.
    pub(crate) ceiling: usize,
    pub(crate) limited: bool,
}

/// When calls were counted, by principal and limit.
pub(crate) type Counted = BTreeMap<(String, String), Vec<i64>>;

/// A layer's answer.
#[derive(Debug, Clone)]
struct Reply {
    tier: usize,
    ceiling: bool,
    reason: Option<String>,
    limit: Option<Limit>,
}

#[derive(Debug, Clone)]
struct Limit {
    key: String,
    max: usize,
    window_ms: i64,
    exceeded: Option<usize>,
}

const LAYERS: [&str; 5] = ["built_in", "system", "organisation", "template", "agent"];

impl Files {
    /// Decides; counts the call unless it is refused or blocked.
    pub(crate) fn decide(&self, ask: &Ask, counted: &mut Counted) -> Said {
        let paths = ask.paths();
        // A call with several paths: as a whole, and as if each were its only one.
        let mut views: Vec<Vec<String>> =
            vec![paths.iter().map(|(path, _)| path.clone()).collect()];
        if paths.len() > 1 {
            views.extend(paths.iter().map(|(path, _)| vec![path.clone()]));
        }
        let mut taking: Vec<(usize, Reply)> = Vec::new();
        let mut definition = false;
        let mut whole = Vec::new();
        for (number, view) in views.iter().enumerate() {
            let replies = self.replies(ask, view);
            if number == 0 {
                whole.clone_from(&replies);
            }
            let nearest = (0..replies.len())
                .rev()
                .find(|layer| replies[*layer].as_ref().is_some_and(|reply| !reply.ceiling));
            definition |= nearest.is_none();
            for (layer, reply) in replies.into_iter().enumerate() {
                if let Some(reply) = reply.filter(|reply| reply.ceiling || nearest == Some(layer)) {
                    taking.push((layer, reply));
                }
            }
        }
        let ceiling = taking
            .iter()
            .filter(|(_, reply)| reply.ceiling)
            .map(|(_, reply)| reply.tier)
            .max()
            .unwrap_or(0);
        let strictest = |taking: &[(usize, Reply)]| {
            let rules = taking.iter().map(|(_, reply)| reply.tier);
            rules
                .chain(definition.then_some(ask.definition))
                .max()
                .unwrap_or(BLOCKED)
        };
        let mut limited = false;
        if strictest(&taking) < BLOCKED {
            limited = ask.limit(&mut taking, counted, strictest);
        }
        let tier = strictest(&taking);
        let outermost = taking
            .iter()
            .filter(|(_, reply)| reply.tier == tier)
            .map(|(layer, _)| *layer)
            .min();
        let winner = match outermost {
            Some(4) if ask.kind == "user" => "user",
            Some(layer) => LAYERS[layer],
            None => "definition",
        };
        let layers = whole
            .into_iter()
            .map(|reply| reply.map(|reply| (reply.tier, reply.reason)))
            .collect();
        Said {
            tier,
            winner,
            layers,
            ceiling,
            limited: limited && tier < BLOCKED,
        }
    }

    /// The answer of each layer for a call whose paths are `paths`.
    fn replies(&self, ask: &Ask, paths: &[String]) -> Vec<Option<Reply>> {
        let protections = self.protected(ask).then_some(Reply {
            tier: BLOCKED,
            ceiling: true,
            reason: None,
            limit: None,
        });
        let (system, organisation) = (self.system.as_ref(), self.organisation.as_ref());
        let moderate = "team-moderate".to_owned();
        let template = self
            .templates
            .get(self.groups.get(&ask.name).unwrap_or(&moderate));
        let files = match ask.kind {
            "system" => [None, None, None, None],
            "user" => [system, organisation, None, self.user.as_ref()],
            _ => [system, organisation, template, self.agents.get(&ask.name)],
        };
        let mut replies = vec![protections];
        for (layer, file) in LAYERS.into_iter().skip(1).zip(files) {
            let ceilings = matches!(layer, "system" | "organisation");
            replies.push(file.and_then(|file| reply(file, layer, ceilings, ask, paths)));
        }
        replies
    }

    /// The files with what they extend: what [`Files::decide`] wants.
    pub(crate) fn whole(&self) -> Files {
        let whole = |file: &Option<Value>, ceilings| {
            file.as_ref().map(|file| self.extended(file, ceilings))
        };
        let agents = self.agents.iter();
        Files {
            system: whole(&self.system, true),
            organisation: whole(&self.organisation, true),
            user: whole(&self.user, false),
            agents: agents
                .map(|(name, file)| (name.clone(), self.extended(file, false)))
                .collect(),
            ..self.clone()
        }
    }

    /// The file with what it extends: its own rules first, its own entry where both have the pattern.
    fn extended(&self, file: &Value, ceilings: bool) -> Value {
        let Some(base) = file["extends"]
            .as_str()
            .and_then(|name| self.templates.get(name))
        else {
            return file.clone();
        };
        // A file's own `enforce` is about its own rules.
        let force =
            file["enforce"]
                .as_str()
                .unwrap_or(if ceilings { "ceiling" } else { "baseline" });
        let mut merged = file.clone();
        for rule in merged["rules"].as_array_mut().into_iter().flatten() {
            if rule["enforce"].is_null() {
                rule["enforce"] = force.into();
            }
        }
        for (_, entry) in merged["capabilities"].as_object_mut().into_iter().flatten() {
            if entry["enforce"].is_null() {
                entry["enforce"] = force.into();
            }
        }
        merged["enforce"] = Value::Null;
        let mut rules: Vec<Value> = merged["rules"].as_array().cloned().unwrap_or_default();
        rules.extend(base["rules"].as_array().cloned().unwrap_or_default());
        merged["rules"] = rules.into();
        for (pattern, entry) in base["capabilities"].as_object().into_iter().flatten() {
            if merged["capabilities"][pattern].is_null() {
                merged["capabilities"][pattern] = entry.clone();
            }
        }
        if merged["defaults"].is_null() {
            merged["defaults"] = base["defaults"].clone();
        }
        merged
    }

    /// The built-in protections, as far as the generated calls can meet them.
    fn protected(&self, ask: &Ask) -> bool {
        let category = ask.capability.split('.').next().unwrap_or_default();
        let own = |path: &str| below(path, &ask.workspace);
        let in_data = |path: &str| {
            let Some(rest) =
                (!own(path) && below(path, &self.data_dir)).then(|| &path[self.data_dir.len()..])
            else {
                return false;
            };
            let first = rest.split('/').nth(1).unwrap_or_default();
            matches!(first, "audit" | "policies" | "vault" | "secrets")
                || matches!(category, "process" | "git")
        };
        for (path, written) in ask.paths() {
            if in_data(&path) || (written && !own(&path) && system_path(&path)) {
                return true;
            }
        }
        if ask.capability == "process.run" {
            let words: Vec<String> = ask.words();
            for word in &words {
                if let Some(at) = word.find(&self.data_dir)
                    && in_data(&normal(&ask.workspace, &word[at..]))
                {
                    return true;
                }
            }
            if destroys(&words) {
                return true;
            }
        }
        matches!(category, "network" | "git") && ask.hosts().iter().any(Option::is_none)
    }
}

/// `rm -r /`, `dd of=/dev/…`, `mkfs /dev/…`, a fork bomb: what the generator knows.
fn destroys(words: &[String]) -> bool {
    let name = words
        .first()
        .map(|word| word.rsplit('/').next().unwrap_or_default())
        .unwrap_or_default();
    let rest = words.get(1..).unwrap_or_default();
    let recursive = rest
        .iter()
        .any(|word| matches!(word.as_str(), "-rf" | "-r" | "--recursive"));
    let root = rest
        .iter()
        .any(|word| matches!(word.as_str(), "/" | "/etc" | "/usr/" | "/*" | "~"));
    let has = |wanted: &str| rest.iter().any(|word| word == wanted);
    (name == "rm" && recursive && root)
        || (name == "dd" && has("of=/dev/sda"))
        || (name == "mkfs.ext4" && has("/dev/sda1"))
        || words.concat().starts_with(":(){:|:&};:")
}

fn system_path(path: &str) -> bool {
    let directories = [
        "/etc", "/usr", "/bin", "/sbin", "/boot", "/dev", "/proc", "/sys", "/run", "/root",
        "/var/lib", "/var/log", "/lib", "/lib64",
    ];
    path.is_empty() || directories.iter().any(|directory| below(path, directory))
}

/// The answer of one file.
fn reply(file: &Value, layer: &str, ceilings: bool, ask: &Ask, paths: &[String]) -> Option<Reply> {
    let force =
        |own: &Value, outer: &Value| match (own.as_str(), outer.as_str(), file["enforce"].as_str())
        {
            (Some(word), ..) | (None, Some(word), _) | (None, None, Some(word)) => {
                word == "ceiling"
            }
            _ => ceilings,
        };
    let make = |rule: &Value, ceiling: bool, limit: Option<Limit>| Reply {
        tier: tier(&rule["tier"]),
        ceiling,
        reason: rule["reason"].as_str().map(str::to_owned),
        limit,
    };
    for (number, rule) in rules(&file["rules"]).enumerate() {
        let pattern = [
            &rule["capability"],
            &rule["match"],
            &rule["match"]["capability"],
        ]
        .into_iter()
        .find_map(Value::as_str)?;
        if covers(pattern, ask.capability) && ask.satisfies(rule, paths) {
            let limit = Limit::read(&rule["rate_limit"], format!("{layer}/rules/{number}"));
            return Some(make(rule, force(&rule["enforce"], &Value::Null), limit));
        }
    }
    let entries = file["capabilities"].as_object();
    let mut best: Option<(&String, &Value)> = None;
    for (pattern, entry) in entries.into_iter().flatten() {
        if covers(pattern, ask.capability)
            && best.is_none_or(|(known, _)| weight(pattern) > weight(known))
        {
            best = Some((pattern, entry));
        }
    }
    if let Some((pattern, entry)) = best {
        let shared = || {
            Limit::read(
                &entry["rate_limit"],
                format!("{layer}/capabilities/{pattern}"),
            )
        };
        for (number, rule) in rules(&entry["rules"]).enumerate() {
            if ask.satisfies(rule, paths) {
                let own = Limit::read(
                    &rule["rate_limit"],
                    format!("{layer}/capabilities/{pattern}/{number}"),
                );
                return Some(make(
                    rule,
                    force(&rule["enforce"], &entry["enforce"]),
                    own.or_else(shared),
                ));
            }
        }
        if !entry["tier"].is_null() {
            return Some(make(
                entry,
                force(&entry["enforce"], &Value::Null),
                shared(),
            ));
        }
    }
    let defaults = &file["defaults"];
    (!defaults.is_null()).then(|| make(defaults, false, None))
}

fn rules(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn tier(value: &Value) -> usize {
    TIERS
        .iter()
        .position(|name| value == name)
        .unwrap_or_else(|| panic!("tier {value}"))
}

/// Exact, `category.*` (any depth below) and `*`.
fn covers(pattern: &str, capability: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => capability.starts_with(prefix),
        None => pattern == capability,
    }
}

fn weight(pattern: &str) -> usize {
    if pattern.ends_with('*') {
        pattern.len()
    } else {
        1_000
    }
}

impl Limit {
    fn read(value: &Value, key: String) -> Option<Limit> {
        let fields = value.as_object()?;
        let mut limit = Limit {
            key,
            max: 0,
            window_ms: 0,
            exceeded: None,
        };
        for (name, value) in fields {
            let number = value.as_i64().unwrap_or_default();
            let seconds = match name.as_str() {
                "max_per_second" => 1,
                "max_per_minute" => 60,
                "max_per_hour" => 3_600,
                "max_per_day" => 86_400,
                "max" => {
                    limit.max = number as usize;
                    continue;
                }
                "window" => {
                    limit.window_ms = number * 1_000;
                    continue;
                }
                _ => {
                    limit.exceeded = Some(tier(value));
                    continue;
                }
            };
            limit.max = number as usize;
            limit.window_ms = seconds * 1_000;
        }
        Some(limit)
    }
}

impl Ask {
    /// Applies every limit that takes part; whether one refuses. All count the call or none does.
    fn limit(
        &self,
        taking: &mut [(usize, Reply)],
        counted: &mut Counted,
        strictest: impl Fn(&[(usize, Reply)]) -> usize,
    ) -> bool {
        let who = format!("{}:{}", self.kind, self.name);
        let mut count = Vec::new();
        let mut refused = false;
        for (_, reply) in taking.iter_mut() {
            let Some(limit) = &reply.limit else { continue };
            let key = (who.clone(), limit.key.clone());
            let made = counted.get(&key).map(Vec::as_slice).unwrap_or_default();
            let used = made
                .iter()
                .filter(|made| **made + limit.window_ms > self.at)
                .count();
            if used < limit.max {
                count.push(key);
                continue;
            }
            match limit.exceeded {
                Some(tier) => reply.tier = reply.tier.max(tier),
                None => refused = true,
            }
        }
        if !refused && strictest(taking) < BLOCKED {
            count.sort();
            count.dedup();
            for key in count {
                counted.entry(key).or_default().push(self.at);
            }
        }
        refused
    }

    /// Whether all of a rule's conditions hold, for the paths in view.
    fn satisfies(&self, rule: &Value, paths: &[String]) -> bool {
        [&rule["condition"], &rule["conditions"]]
            .into_iter()
            .all(|conditions| {
                conditions
                    .as_object()
                    .into_iter()
                    .flatten()
                    .all(|(name, value)| self.holds(name, value, paths))
            })
    }

    fn holds(&self, name: &str, value: &Value, paths: &[String]) -> bool {
        let list: Vec<&str> = match value {
            Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
            other => other.as_str().into_iter().collect(),
        };
        let text = |input: &str| self.inputs.get(input).and_then(Value::as_str);
        let ignoring_case = |word: &str| {
            list.iter()
                .any(|one| one.to_lowercase() == word.to_lowercase())
        };
        let every_path =
            |good: &dyn Fn(&str) -> bool| !paths.is_empty() && paths.iter().all(|path| good(path));
        let inputs = |good: &dyn Fn(&Value, &Value) -> bool| {
            let wanted = value.as_object().unwrap_or_else(|| panic!("{name}"));
            wanted.iter().all(|(input, wanted)| {
                self.inputs
                    .get(input)
                    .is_some_and(|given| good(given, wanted))
            })
        };
        let hosts = self.hosts();
        match name {
            "path_prefix" => {
                every_path(&|path| list.iter().any(|prefix| below(path, &self.place(prefix))))
            }
            "path_not_prefix" => {
                every_path(&|path| !list.iter().any(|prefix| below(path, &self.place(prefix))))
            }
            "path_glob" => every_path(&|path| list.iter().any(|glob| self.glob_covers(glob, path))),
            "content_size_lt" => self.size().is_some_and(|size| size < number(value)),
            "content_size_lte" => self.size().is_some_and(|size| size <= number(value)),
            "content_size_gt" => self.size().is_some_and(|size| size > number(value)),
            "content_size_gte" => self.size().is_some_and(|size| size >= number(value)),
            "domain_in" => {
                !hosts.is_empty()
                    && hosts
                        .iter()
                        .all(|host| host.as_ref().is_some_and(|host| domain(&list, host)))
            }
            "domain_not_in" => {
                !hosts.is_empty()
                    && hosts
                        .iter()
                        .all(|host| host.as_ref().is_none_or(|host| !domain(&list, host)))
            }
            "url_scheme_in" => text("url")
                .and_then(plain_url)
                .is_some_and(|(scheme, _)| ignoring_case(&scheme)),
            "method_in" => text("method").is_some_and(ignoring_case),
            "command_in" => text("command").is_some_and(|command| list.contains(&command)),
            "command_matches" => text("command").is_some_and(|command| matches(value, command)),
            "args_match" => {
                self.capability == "process.run" && matches(value, &self.args().join(" "))
            }
            "input_equals" => inputs(&same),
            "input_in" => inputs(&|given, wanted| rules(wanted).any(|one| same(given, one))),
            "input_lt" => {
                inputs(&|given, wanted| given.as_f64().is_some_and(|given| given < number(wanted)))
            }
            "input_gt" => {
                inputs(&|given, wanted| given.as_f64().is_some_and(|given| given > number(wanted)))
            }
            "time_of_day" => list.iter().any(|range| self.is_within(range)),
            "weekday_in" => list
                .iter()
                .any(|day| self.weekday().starts_with(&day.to_lowercase()[..3])),
            "principal_type" => ignoring_case(self.kind),
            "interface_in" => ignoring_case(self.interface),
            other => panic!("condition {other}"),
        }
    }

    /// What a relative path, or one that begins with /workspace, means.
    fn place(&self, path: &str) -> String {
        normal(&self.workspace, path)
    }

    /// The paths of the call and whether it changes what is there.
    pub(crate) fn paths(&self) -> Vec<(String, bool)> {
        let fields: &[(&str, bool)] = match self.capability {
            "filesystem.copy" => &[("source", false), ("destination", true)],
            "filesystem.move" => &[("source", true), ("destination", true)],
            "filesystem.write" | "filesystem.delete" | "git.push" => &[("path", true)],
            "process.run" => &[("working_directory", false)],
            _ => &[("path", false)],
        };
        let path = |(field, written): &(&str, bool)| {
            Some((self.place(self.inputs.get(*field)?.as_str()?), *written))
        };
        fields.iter().filter_map(path).collect()
    }

    /// The host of each address; `None` for one that is not plain.
    fn hosts(&self) -> Vec<Option<String>> {
        let text = |input: &str| self.inputs.get(input).and_then(Value::as_str);
        let url = text("url").map(|url| plain_url(url).map(|(_, host)| host));
        let host = text("hostname").map(plain_host);
        url.into_iter().chain(host).collect()
    }

    fn size(&self) -> Option<f64> {
        let text = ["content", "body"]
            .iter()
            .find_map(|input| self.inputs.get(*input)?.as_str())?;
        Some(text.len() as f64)
    }

    fn args(&self) -> Vec<String> {
        rules(self.inputs.get("args").unwrap_or(&Value::Null))
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    }

    fn words(&self) -> Vec<String> {
        let command = self
            .inputs
            .get("command")
            .and_then(Value::as_str)
            .unwrap_or_default();
        command
            .split_whitespace()
            .map(str::to_owned)
            .chain(self.args())
            .collect()
    }

    /// `08:00-18:00`, the end not in it; from the later to the earlier over midnight.
    fn is_within(&self, range: &str) -> bool {
        let now = jiff::Timestamp::from_millisecond(self.at)
            .unwrap()
            .to_zoned(jiff::tz::TimeZone::UTC)
            .strftime("%H:%M")
            .to_string();
        let (from, to) = range.split_once('-').unwrap();
        if from < to {
            from <= &*now && &*now < to
        } else {
            from <= &*now || &*now < to
        }
    }

    fn weekday(&self) -> String {
        let zoned = jiff::Timestamp::from_millisecond(self.at)
            .unwrap()
            .to_zoned(jiff::tz::TimeZone::UTC);
        zoned.strftime("%A").to_string().to_lowercase()
    }

    /// A glob that begins with `/` is about whole paths, but for /workspace; any other about the workspace.
    fn glob_covers(&self, glob: &str, path: &str) -> bool {
        let glob = glob.strip_prefix("./").unwrap_or(glob);
        let inside = glob
            .strip_prefix("/workspace/")
            .or((!glob.starts_with('/')).then_some(glob));
        match inside {
            Some(glob) => {
                below(path, &self.workspace)
                    && glob_matches(glob, path[self.workspace.len()..].trim_start_matches('/'))
            }
            None => glob_matches(glob, path),
        }
    }
}

/// Without `.`, `..` and doubled slashes; the root is empty. /workspace is the caller's workspace.
fn normal(workspace: &str, path: &str) -> String {
    let whole = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{workspace}/{path}")
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    let folded: String = parts.iter().map(|part| format!("/{part}")).collect();
    match folded.strip_prefix("/workspace") {
        Some(rest) if path.starts_with('/') && (rest.is_empty() || rest.starts_with('/')) => {
            format!("{workspace}{rest}")
        }
        _ => folded,
    }
}

fn below(path: &str, prefix: &str) -> bool {
    let rest = path.strip_prefix(prefix.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// `*` and `?` within a component, `**` over any number of them, `[ab]`, `{a,b}`.
fn glob_matches(glob: &str, path: &str) -> bool {
    if let Some(open) = glob.find('{') {
        let close = open + glob[open..].find('}').unwrap();
        let mut choices = glob[open + 1..close].split(',');
        return choices.any(|choice| {
            glob_matches(
                &format!("{}{choice}{}", &glob[..open], &glob[close + 1..]),
                path,
            )
        });
    }
    let glob: Vec<&str> = glob.split('/').collect();
    let path: Vec<&str> = path.split('/').collect();
    components(&glob, &path)
}

fn components(glob: &[&str], path: &[&str]) -> bool {
    match glob {
        [] => path.is_empty(),
        // At the end it stands for something below; alone for everything.
        ["**"] => !path.is_empty(),
        ["**", rest @ ..] => (0..=path.len()).any(|skipped| components(rest, &path[skipped..])),
        [first, rest @ ..] => match path {
            [] => false,
            [part, others @ ..] => {
                let (first, part): (Vec<char>, Vec<char>) =
                    (first.chars().collect(), part.chars().collect());
                wild(&first, &part) && components(rest, others)
            }
        },
    }
}

fn wild(glob: &[char], text: &[char]) -> bool {
    match glob {
        [] => text.is_empty(),
        ['*', rest @ ..] => (0..=text.len()).any(|skipped| wild(rest, &text[skipped..])),
        ['?', rest @ ..] => !text.is_empty() && wild(rest, &text[1..]),
        ['[', rest @ ..] => {
            let end = rest.iter().position(|c| *c == ']').unwrap();
            text.first().is_some_and(|c| rest[..end].contains(c))
                && wild(&rest[end + 1..], &text[1..])
        }
        [c, rest @ ..] => text.first() == Some(c) && wild(rest, &text[1..]),
    }
}

/// Exact, or `*.suffix`: strictly below it.
fn domain(list: &[&str], host: &str) -> bool {
    list.iter().any(|wanted| {
        let wanted = wanted.to_lowercase();
        match wanted.strip_prefix('*') {
            Some(suffix) => host.ends_with(suffix) && host.len() > suffix.len(),
            None => host == wanted,
        }
    })
}

/// Scheme and host of an address that every client reads alike.
fn plain_url(url: &str) -> Option<(String, String)> {
    if url.chars().any(|c| c.is_control() || c == ' ' || c == '\\') {
        return None;
    }
    let (scheme, rest) = url.split_once("://")?;
    let good = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let authority = rest.split(['/', '?', '#']).next()?;
    let place = authority.rsplit('@').next()?;
    let (host, port) = match place.find(']') {
        Some(end) => place.split_at(end + 1),
        None => place
            .find(':')
            .map_or((place, ""), |colon| place.split_at(colon)),
    };
    let port_good = port.is_empty()
        || (port.starts_with(':')
            && port.len() <= 6
            && port[1..].chars().all(|c| c.is_ascii_digit()));
    (good && port_good)
        .then(|| plain_host(host).map(|host| (scheme.to_lowercase(), host)))
        .flatten()
}

fn plain_host(host: &str) -> Option<String> {
    let host = host.to_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    let host = host
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(host);
    let good = match host.contains(':') {
        true => host
            .chars()
            .all(|c| c.is_ascii_hexdigit() || c == ':' || c == '.'),
        false => host.split('.').all(|label| {
            !label.is_empty()
                && label
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        }),
    };
    (good && !host.is_empty()).then(|| host.to_owned())
}

fn matches(expression: &Value, text: &str) -> bool {
    use std::cell::RefCell;
    thread_local!(static KNOWN: RefCell<BTreeMap<String, regex::Regex>> = const { RefCell::new(BTreeMap::new()) });
    let expression = expression.as_str().unwrap();
    KNOWN.with_borrow_mut(|known| {
        let regex = known
            .entry(expression.to_owned())
            .or_insert_with(|| regex::Regex::new(expression).unwrap());
        regex.is_match(text)
    })
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("number {value}"))
}

/// Equal as JSON values; 1 and 1.0 are one number.
fn same(left: &Value, right: &Value) -> bool {
    match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => left == right,
        _ => left == right,
    }
}
