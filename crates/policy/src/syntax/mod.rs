//! From the tree to rules: both spellings of the language become the same thing here.

pub(crate) mod conditions;
mod reader;
pub(crate) mod rule;

pub(crate) use reader::{MAX_LIST, Reader};
pub(crate) use rule::{Entry, Example, Rule};

use crate::PolicyLayer;
use crate::diagnostic::{Place, Problems, suggestion};
use crate::load::Body;
use crate::sections::{NetworkSection, SandboxSection};
use crate::template::TEMPLATES;
use crate::yaml::{self, At, Node};
use kruxos_catalog::Catalog;
use std::collections::HashMap;
use std::sync::Arc;

/// Rules of one file.
pub(crate) const MAX_RULES: usize = 20_000;

/// A file as rules.
#[derive(Debug, Default)]
pub(crate) struct File {
    /// Evaluated and told, never enforced.
    pub(crate) shadow: bool,
    pub(crate) extends: Option<Extends>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) defaults: Option<Rule>,
    pub(crate) network: NetworkSection,
    pub(crate) sandbox: SandboxSection,
}

/// What a file takes its remaining answers from.
#[derive(Debug)]
pub(crate) enum Extends {
    Template(&'static str, Place),
    /// By its name below the directory of policy files.
    File(Box<str>, Place),
}

impl Extends {
    pub(crate) fn place(&self) -> Place {
        match self {
            Extends::Template(_, place) | Extends::File(_, place) => *place,
        }
    }
}

/// Fields of a file.
pub(crate) const FIELDS: [&str; 11] = [
    "name",
    "version",
    "description",
    "extends",
    "mode",
    "enforce",
    "defaults",
    "capabilities",
    "rules",
    "network",
    "sandbox",
];

/// What every rule of a file shares.
pub(crate) struct Context {
    pub(crate) file: Arc<str>,
    pub(crate) layer: PolicyLayer,
    /// Whether rules without `enforce` are ceilings.
    pub(crate) ceilings: bool,
}

/// Reads a whole file. Problems go to `problems`; the result is good only if none is fatal.
pub(crate) fn read(
    name: &str,
    body: Body<'_>,
    layer: PolicyLayer,
    catalog: &Catalog,
    problems: &mut Problems<'_>,
) -> File {
    let mut file = File::default();
    let parsed;
    let root = match body {
        Body::Tree(root) => root,
        Body::Text(text) => {
            parsed = yaml::parse(text, problems);
            let Some(root) = &parsed else { return file };
            root
        }
    };
    if matches!(root.node, Node::Null) {
        return file;
    }
    let mut reader = Reader {
        problems,
        catalog,
        expressions: 0,
        rules: 0,
    };
    let pairs = reader.pairs(root, "a policy file");
    let mut context = Context {
        file: name.into(),
        layer,
        ceilings: layer.sets_ceilings(),
    };
    // What rules of the file take over has to be known before the first rule.
    for (_, at) in pairs.iter().filter(|(key, _)| key.name == "enforce") {
        if let Some(ceilings) = enforce(&mut reader, at, layer) {
            context.ceilings = ceilings;
        }
    }
    for (key, at) in pairs {
        match key.name.as_str() {
            "name" | "description" => drop(reader.text(at, &key.name)),
            "version" => version(&mut reader, at),
            "extends" => file.extends = extends(&mut reader, at),
            "mode" => file.shadow = is_shadow(&mut reader, at),
            "enforce" => {}
            "defaults" => file.defaults = rule::defaults(&mut reader, &context, at),
            "capabilities" => file.entries = capabilities(&mut reader, &context, at),
            "rules" => file.rules = rules(&mut reader, &context, at),
            "network" => file.network = NetworkSection::read(&mut reader, layer, at),
            "sandbox" => file.sandbox = SandboxSection::read(&mut reader, at),
            _ => reader.unknown_key(key, "a policy file", &FIELDS),
        }
    }
    file
}

fn version(reader: &mut Reader<'_, '_>, at: &At) {
    // `version: 1.0` without quotes is a number to YAML and plain enough to accept.
    if !matches!(at.node, Node::Int(_) | Node::Float(_)) {
        reader.text(at, "version");
    }
}

fn extends(reader: &mut Reader<'_, '_>, at: &At) -> Option<Extends> {
    let text = reader.text(at, "extends")?;
    if text.ends_with(".yaml") {
        return Some(Extends::File(text.into(), at.place));
    }
    let found = TEMPLATES.into_iter().find(|name| *name == text);
    if found.is_none() {
        let message = format!(
            "unknown template `{text}`{}; another policy file is named with its ending, such as `base.yaml`",
            suggestion(text, &TEMPLATES)
        );
        reader.problems.fatal(at.place, message);
    }
    found.map(|name| Extends::Template(name, at.place))
}

fn is_shadow(reader: &mut Reader<'_, '_>, at: &At) -> bool {
    let modes = [("enforce", false), ("shadow", true)];
    reader
        .text(at, "mode")
        .and_then(|text| reader.choice(text, at.place, "mode", &modes))
        .unwrap_or_default()
}

/// `enforce: ceiling` is `Some(true)`.
pub(crate) fn enforce(reader: &mut Reader<'_, '_>, at: &At, layer: PolicyLayer) -> Option<bool> {
    let text = reader.text(at, "enforce")?;
    let ceiling = reader.choice(
        text,
        at.place,
        "value of `enforce`",
        &[("baseline", false), ("ceiling", true)],
    )?;
    if ceiling && !layer.sets_ceilings() {
        let message = format!(
            "rules of the {} layer are baselines; only the system's and the organisation's \
            files can enforce a ceiling",
            layer.as_str()
        );
        reader.problems.fatal(at.place, message);
    }
    Some(ceiling)
}

fn capabilities(reader: &mut Reader<'_, '_>, context: &Context, at: &At) -> Vec<Entry> {
    let pairs = reader.pairs(at, "capabilities");
    pairs
        .iter()
        .filter_map(|(key, at)| rule::entry(reader, context, key, at))
        .collect()
}

fn rules(reader: &mut Reader<'_, '_>, context: &Context, at: &At) -> Vec<Rule> {
    let mut seen: HashMap<Box<str>, usize> = HashMap::new();
    let mut rules = Vec::new();
    for item in reader.items(at, "rules") {
        if let Some(mut rule) = rule::ordered(reader, context, item) {
            // Named by pattern, not by position: a rule put above keeps the counters of those below.
            let count = seen.entry(rule.pattern.text.clone()).or_insert(0);
            *count += 1;
            rule.rename(
                context,
                match *count {
                    1 => format!("rules[{}]", rule.pattern.text),
                    nth => format!("rules[{}#{nth}]", rule.pattern.text),
                },
            );
            rules.push(rule);
        }
    }
    rules
}

impl Reader<'_, '_> {
    /// Counts a rule; `false` once there are too many.
    pub(crate) fn count_rule(&mut self, place: Place) -> bool {
        self.rules += 1;
        if self.rules == MAX_RULES + 1 {
            self.problems
                .fatal(place, format!("more than {MAX_RULES} rules in one file"));
        }
        self.rules <= MAX_RULES
    }
}
