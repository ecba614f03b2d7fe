//! `examples:` of a rule, checked when the file is loaded.

use crate::condition::restricts;
use crate::diagnostic::{Mistake, Problems};
use crate::facts::{Facts, Shape, View};
use crate::syntax::{Example, File, Rule};
use crate::{Query, facts::VIRTUAL_WORKSPACE};
use jiff::Timestamp;
use kruxos_catalog::{Catalog, Definition, FieldType};
use kruxos_types::{Interface, Object, Principal};
use serde_json::Value;

/// When an example without `at` takes place: Monday, 1 January 2024, 12:00 UTC.
pub(crate) const EXAMPLE_TIME: i64 = 1_704_110_400;

/// Checks every example of a file. An example is a map of inputs, or
/// `{capability, inputs, at, interface, principal_type}`, or a string for the first text input.
pub(crate) fn check(file: &File, catalog: &Catalog, problems: &mut Problems<'_>) {
    let nested = file.entries.iter().flat_map(|entry| &entry.rules);
    for rule in file.rules.iter().chain(nested) {
        for example in &rule.examples {
            if let Err(message) = check_one(rule, example, catalog) {
                problems.fatal(example.place, message.to_string());
            }
        }
    }
}

fn check_one(rule: &Rule, example: &Example, catalog: &Catalog) -> Result<(), Mistake> {
    let case = Case::read(rule, &example.case, catalog)?;
    let query = Query {
        principal: &case.principal,
        definition: case.definition,
        inputs: &case.inputs,
        interface: case.interface,
        now: case.now,
        workspace: VIRTUAL_WORKSPACE,
        touches: &[],
    };
    let shape = Shape::of(case.definition);
    let facts = Facts::new(&query, &shape, None);
    let covered = rule
        .pattern
        .covers(u16::try_from(case.definition.id.index()).unwrap_or(u16::MAX));
    let any_path = restricts(rule.tier, rule.ceiling);
    let mut views = facts
        .views()
        .filter(|view| any_path || *view == View::Whole);
    let holds = covered
        && views.any(|view| {
            facts.look_at(view);
            rule.conditions
                .iter()
                .all(|condition| condition.test.holds(&facts))
        });
    match (holds, example.holds) {
        (false, true) => Err(Mistake::from(format!(
            "the rule does not hold for this example of `match`: {}",
            example.case
        ))),
        (true, false) => Err(Mistake::from(format!(
            "the rule holds for this example of `no_match`: {}",
            example.case
        ))),
        _ => Ok(()),
    }
}

struct Case<'c> {
    definition: &'c Definition,
    inputs: Object,
    principal: Principal,
    interface: Interface,
    now: Timestamp,
}

const CASE_FIELDS: [&str; 5] = ["capability", "inputs", "at", "interface", "principal_type"];

impl<'c> Case<'c> {
    fn read(rule: &Rule, case: &Value, catalog: &'c Catalog) -> Result<Case<'c>, Mistake> {
        let first = rule
            .pattern
            .ids
            .first()
            .and_then(|id| catalog.all().get(usize::from(*id)));
        let first = first.ok_or("the rule matches no capability")?;
        let mut read = Case {
            definition: first,
            inputs: Object::new(),
            principal: Principal::agent("example"),
            interface: Interface::Mcp,
            now: Timestamp::from_second(EXAMPLE_TIME).unwrap_or(Timestamp::UNIX_EPOCH),
        };
        match case {
            Value::String(_) => {
                let is_text = |kind| {
                    matches!(
                        kind,
                        FieldType::String | FieldType::FilesystemPath | FieldType::Url
                    )
                };
                let input = first.inputs.iter().find(|field| is_text(field.kind));
                let input = input.ok_or_else(|| {
                    format!(
                        "`{}` has no text input; write the inputs as a map",
                        first.name
                    )
                })?;
                read.inputs.insert(input.name.clone(), case.clone());
            }
            Value::Object(fields) => {
                let is_case = fields.get("inputs").is_some_and(Value::is_object)
                    && fields.keys().all(|key| CASE_FIELDS.contains(&key.as_str()))
                    && first
                        .inputs
                        .iter()
                        .all(|field| field.name != "inputs" || fields.contains_key("capability"));
                if is_case {
                    read.long_form(fields, catalog)?;
                } else {
                    read.inputs.clone_from(fields);
                    // For a wide pattern, the capability that the inputs belong to.
                    let fits = |definition: &&Definition| {
                        fields
                            .keys()
                            .all(|key| definition.inputs.iter().any(|field| field.name == *key))
                    };
                    let mut covered = rule
                        .pattern
                        .ids
                        .iter()
                        .filter_map(|id| catalog.all().get(usize::from(*id)));
                    read.definition = covered.find(fits).unwrap_or(first);
                }
            }
            _ => {
                return Err(Mistake::from(
                    "an example is a map of inputs or a string".to_owned(),
                ));
            }
        }
        let known = |name: &String| {
            read.definition
                .inputs
                .iter()
                .any(|field| field.name == *name)
        };
        match read.inputs.keys().find(|name| !known(name)) {
            Some(name) => Err(Mistake::from(format!(
                "`{}` has no input `{name}`",
                read.definition.name
            ))),
            None => Ok(read),
        }
    }

    fn long_form(&mut self, fields: &Object, catalog: &'c Catalog) -> Result<(), Mistake> {
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        if let Some(name) = text("capability") {
            let found = catalog
                .all()
                .iter()
                .find(|definition| definition.name == name);
            self.definition = found.ok_or_else(|| format!("unknown capability `{name}`"))?;
        }
        if let Some(Value::Object(inputs)) = fields.get("inputs") {
            self.inputs.clone_from(inputs);
        }
        if let Some(at) = text("at") {
            self.now = at
                .parse()
                .map_err(|_| format!("`{at}` is not a time such as 2024-01-01T12:00:00Z"))?;
        }
        if let Some(name) = text("interface") {
            let found = Interface::ALL
                .into_iter()
                .find(|door| door.as_str() == name);
            self.interface = found.ok_or_else(|| format!("unknown interface `{name}`"))?;
        }
        match text("principal_type") {
            None | Some("agent") => {}
            Some("user") => self.principal = Principal::user("example"),
            Some("system") => self.principal = Principal::system(),
            Some(other) => return Err(Mistake::from(format!("unknown principal type `{other}`"))),
        }
        Ok(())
    }
}
