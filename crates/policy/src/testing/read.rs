//! A test file as cases.

use super::{Case, Open, Policies};
use crate::diagnostic::{Diagnostic, Place, Problems, nearest, suggestion};
use crate::examples::EXAMPLE_TIME;
use crate::syntax::Reader;
use crate::yaml::{self, At, Key, Node};
use crate::{Source, Sources, TEMPLATES};
use jiff::Timestamp;
use kruxos_catalog::{Catalog, Definition};
use kruxos_types::{Interface, Object, Principal, Tier};

/// Cases of one file.
const MAX_CASES: usize = 10_000;
/// Calls of one case: more than any limit that a test would count out.
const MAX_REPEAT: i64 = 10_000;
/// Agents of one file, with a policy or a template.
const MAX_AGENTS: usize = 1_000;

/// What a case expects whose call a rate limit refuses.
pub(super) const RATE_LIMITED: &str = "rate_limited";

const FIELDS: [&str; 4] = ["name", "description", "policies", "cases"];
const POLICY_FIELDS: [&str; 6] = ["system", "org", "agents", "user", "templates", "shared"];
const CASE_FIELDS: [&str; 9] = [
    "name",
    "description",
    "principal",
    "capability",
    "inputs",
    "at",
    "interface",
    "repeat",
    "expect",
];

/// Whose policy it is.
#[derive(Debug)]
pub(super) enum Owner {
    System,
    Organisation,
    User,
    Agent(String),
}

/// A tier or [`RATE_LIMITED`], and where it is written.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) name: &'static str,
    pub(super) place: Place,
}

/// Reads the file and the policies that it names.
pub(super) fn test_file<'c>(
    source: &Source,
    open: &mut Open<'_>,
    catalog: &'c Catalog,
) -> Result<(Policies, Vec<Case<'c>>), Vec<Diagnostic>> {
    let mut problems = Problems::new(&source.file);
    let mut policies = Policies::default();
    let mut cases = Vec::new();
    if let Some(root) = yaml::parse(&source.text, &mut problems) {
        let mut reader = Reader {
            problems: &mut problems,
            catalog,
            expressions: 0,
            rules: 0,
        };
        let pairs = reader.pairs(&root, "a policy test file");
        if !pairs.iter().any(|(key, _)| key.name == "cases") && matches!(root.node, Node::Map(_)) {
            reader
                .problems
                .fatal(root.place, "a policy test file needs `cases`");
        }
        for (key, at) in pairs {
            match key.name.as_str() {
                "name" | "description" => drop(reader.text(at, &key.name)),
                "policies" => policies = read_policies(&mut reader, at, open),
                "cases" => cases = read_cases(&mut reader, at, catalog),
                _ => reader.unknown_key(key, "a policy test file", &FIELDS),
            }
        }
    }
    match problems.any_fatal() {
        true => Err(problems.into_vec()),
        false => Ok((policies, cases)),
    }
}

fn read_policies(reader: &mut Reader<'_, '_>, at: &At, open: &mut Open<'_>) -> Policies {
    let mut policies = Policies::default();
    for (key, at) in reader.pairs(at, "policies") {
        match key.name.as_str() {
            "system" => add(reader, &mut policies, Owner::System, at, open),
            "org" => add(reader, &mut policies, Owner::Organisation, at, open),
            "user" => add(reader, &mut policies, Owner::User, at, open),
            "agents" => {
                let pairs = reader.pairs(at, "agents");
                if too_many(reader, at, pairs.len()) {
                    continue;
                }
                for (name, at) in pairs {
                    let owner = Owner::Agent(name.name.clone());
                    add(reader, &mut policies, owner, at, open);
                }
            }
            "templates" => read_templates(reader, &mut policies.files, at),
            "shared" => {
                for (name, at) in reader.pairs(at, "shared") {
                    if let Some(file) = opened(reader, at, open) {
                        // `extends` names it by this.
                        let source = Source {
                            file: name.name.clone(),
                            text: file.text,
                        };
                        policies.files.shared.insert(name.name.clone(), source);
                    }
                }
            }
            _ => reader.unknown_key(key, "`policies`", &POLICY_FIELDS),
        }
    }
    policies
}

fn too_many(reader: &mut Reader<'_, '_>, at: &At, agents: usize) -> bool {
    if agents > MAX_AGENTS {
        let message = format!("a policy test file may name {MAX_AGENTS} agents, not {agents}");
        reader.problems.fatal(at.place, message);
    }
    agents > MAX_AGENTS
}

/// Which template an agent starts from.
fn read_templates(reader: &mut Reader<'_, '_>, files: &mut Sources, at: &At) {
    let pairs = reader.pairs(at, "templates");
    if too_many(reader, at, pairs.len()) {
        return;
    }
    let names = TEMPLATES.map(|name| (name, name));
    for (agent, at) in pairs {
        let text = reader.text(at, "template");
        let found = text.and_then(|text| reader.choice(text, at.place, "template", &names));
        if let Some(template) = found {
            files.groups.insert(agent.name.clone(), template.to_owned());
        }
    }
}

/// A policy: a mapping is one itself, a string names a file.
fn add(
    reader: &mut Reader<'_, '_>,
    policies: &mut Policies,
    owner: Owner,
    at: &At,
    open: &mut Open<'_>,
) {
    if matches!(at.node, Node::Map(_)) {
        policies.inline.push((owner, at.clone()));
        return;
    }
    let Some(source) = opened(reader, at, open) else {
        return;
    };
    match owner {
        Owner::System => policies.files.system = Some(source),
        Owner::Organisation => policies.files.organisation = Some(source),
        Owner::User => policies.files.user = Some(source),
        Owner::Agent(name) => drop(policies.files.agents.insert(name, source)),
    }
}

fn opened(reader: &mut Reader<'_, '_>, at: &At, open: &mut Open<'_>) -> Option<Source> {
    if matches!(at.node, Node::Seq(_) | Node::Null) {
        let message = format!("must be the name of a file or a policy, not {}", at.kind());
        reader.problems.fatal(at.place, message);
        return None;
    }
    let name = reader.text(at, "the name of a policy file")?;
    match open(name) {
        Ok(source) => Some(source),
        Err(why) => {
            reader.problems.fatal(at.place, why.to_string());
            None
        }
    }
}

fn read_cases<'c>(reader: &mut Reader<'_, '_>, at: &At, catalog: &'c Catalog) -> Vec<Case<'c>> {
    let items = reader.items(at, "cases");
    if items.len() > MAX_CASES {
        let message = format!(
            "a policy test file may have {MAX_CASES} cases, not {}",
            items.len()
        );
        reader.problems.fatal(at.place, message);
        return Vec::new();
    }
    items
        .iter()
        .filter_map(|item| read_case(reader, item, catalog))
        .collect()
}

/// The fields of a case, as far as they are there and right.
#[derive(Default)]
struct Parts<'n, 'c> {
    name: Option<&'n str>,
    principal: Option<Principal>,
    definition: Option<&'c Definition>,
    inputs: Option<(Object, &'n At)>,
    at: Option<Timestamp>,
    interface: Option<Interface>,
    repeat: Option<u64>,
    expected: Option<Expected>,
}

fn read_case<'c>(reader: &mut Reader<'_, '_>, item: &At, catalog: &'c Catalog) -> Option<Case<'c>> {
    let pairs = reader.pairs(item, "a case");
    let mut parts = Parts::default();
    for (key, at) in pairs {
        match key.name.as_str() {
            "name" => parts.name = reader.text(at, "name"),
            "description" => drop(reader.text(at, "description")),
            "principal" => parts.principal = principal(reader, at),
            "capability" => parts.definition = capability(reader, at, catalog),
            "inputs" => {
                reader.pairs(at, "inputs");
                if let serde_json::Value::Object(inputs) = at.to_json() {
                    parts.inputs = Some((inputs, at));
                }
            }
            "at" => parts.at = time(reader, at),
            "interface" => {
                let doors = Interface::ALL.map(|door| (door.as_str(), door));
                let text = reader.text(at, "interface");
                parts.interface =
                    text.and_then(|text| reader.choice(text, at.place, "interface", &doors));
            }
            "repeat" => parts.repeat = reader.integer(at, "repeat", 1..=MAX_REPEAT),
            "expect" => parts.expected = expected(reader, at),
            _ => reader.unknown_key(key, "a case", &CASE_FIELDS),
        }
    }
    for field in ["name", "principal", "capability", "expect"] {
        if matches!(item.node, Node::Map(_)) && !pairs.iter().any(|(key, _)| key.name == field) {
            reader
                .problems
                .fatal(item.place, format!("a case needs `{field}`"));
        }
    }
    let definition = parts.definition?;
    let inputs = admitted(reader, definition, parts.inputs)?;
    Some(Case {
        name: parts.name?.to_owned(),
        principal: parts.principal?,
        definition,
        inputs,
        at: parts
            .at
            .or_else(|| Timestamp::from_second(EXAMPLE_TIME).ok())?,
        interface: parts.interface.unwrap_or(Interface::Mcp),
        repeat: parts.repeat.unwrap_or(1),
        expected: parts.expected?,
    })
}

/// Inputs as the gateway would admit them: with defaults, and refused where they are wrong. What is left
/// out stays out, so that a case need not say what its rules do not look at.
fn admitted(
    reader: &mut Reader<'_, '_>,
    definition: &Definition,
    inputs: Option<(Object, &At)>,
) -> Option<Object> {
    let place = inputs.as_ref().map(|(_, at)| *at);
    let inputs = inputs.map(|(inputs, _)| inputs).unwrap_or_default();
    match definition.admit_partly(inputs) {
        Ok(inputs) => Some(inputs),
        Err(error) => {
            let field = error
                .context()
                .get("field")
                .and_then(|field| field.as_str());
            let name = field.unwrap_or_default();
            let at = place.map_or(Place::START, |at| place_of(at, name));
            reader.problems.fatal(
                at,
                format!("`{}`: {}", definition.name, error.description()),
            );
            None
        }
    }
}

/// Where the input that `field` names, such as `aggregate.by`, begins.
fn place_of(inputs: &At, field: &str) -> Place {
    let name = field.split(['.', '[']).next().unwrap_or_default();
    let Node::Map(pairs) = &inputs.node else {
        return inputs.place;
    };
    let found = pairs.iter().find(|(key, _)| key.name == name);
    found.map_or(inputs.place, |(key, _)| key.place)
}

fn principal(reader: &mut Reader<'_, '_>, at: &At) -> Option<Principal> {
    let Node::Map(pairs) = &at.node else {
        let text = reader.text(at, "principal")?;
        let found = (text == "user").then(|| Principal::user("user"));
        if found.is_none() {
            let message =
                format!("unknown principal `{text}`; write `user` or `{{agent: {text}}}`");
            reader.problems.fatal(at.place, message);
        }
        return found;
    };
    let known = |(key, _): &(Key, At)| key.name == "agent";
    for (key, _) in pairs.iter().filter(|pair| !known(pair)) {
        reader.unknown_key(key, "`principal`", &["agent"]);
    }
    let Some((_, name)) = pairs.iter().find(|pair| known(pair)) else {
        if pairs.is_empty() {
            reader
                .problems
                .fatal(at.place, "`principal` is `user` or `{agent: NAME}`");
        }
        return None;
    };
    reader.text(name, "agent").map(Principal::agent)
}

fn capability<'c>(
    reader: &mut Reader<'_, '_>,
    at: &At,
    catalog: &'c Catalog,
) -> Option<&'c Definition> {
    let name = reader.text(at, "capability")?;
    let found = catalog
        .all()
        .iter()
        .find(|definition| definition.name == name);
    if found.is_none() {
        let near = nearest(name, catalog.all().iter().map(|definition| definition.name))
            .map(|near| format!("; did you mean `{near}`?"))
            .unwrap_or_default();
        let message = format!("unknown capability `{name}`{near}");
        reader.problems.fatal(at.place, message);
    }
    found
}

fn time(reader: &mut Reader<'_, '_>, at: &At) -> Option<Timestamp> {
    let text = reader.text(at, "at")?;
    let found = text.parse().ok();
    if found.is_none() {
        let message = format!("`{text}` is not a time such as 2026-03-04T12:00:00Z");
        reader.problems.fatal(at.place, message);
    }
    found
}

fn expected(reader: &mut Reader<'_, '_>, at: &At) -> Option<Expected> {
    let text = reader.text(at, "expect")?;
    let mut names = Tier::ALL.map(Tier::as_str).to_vec();
    names.push(RATE_LIMITED);
    let Some(name) = names.iter().find(|name| **name == text) else {
        let message = format!("unknown expectation `{text}`{}", suggestion(text, &names));
        reader.problems.fatal(at.place, message);
        return None;
    };
    Some(Expected {
        name,
        place: at.place,
    })
}
