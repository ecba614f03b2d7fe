//! What `config validate` says beyond errors: rules that can never answer, and what nothing covers.

use crate::compile::{Table, most_specific};
use crate::diagnostic::{Diagnostic, Problems};
use crate::load::{Input, load};
use crate::syntax::{File, Rule};
use crate::{PolicyLayer, PolicySet, Source, Sources};
use kruxos_catalog::Catalog;
use std::collections::HashMap;

/// Names shown in a coverage warning.
const MAX_NAMES: usize = 8;

/// Checks one file by itself: every error, rules that cannot be reached, and capabilities that
/// neither a rule nor `defaults` covers. The layer is told from the file's name (`system.yaml`,
/// `org.yaml`, `user.yaml`); any other file is an agent's.
#[must_use]
pub fn validate(source: &Source, catalog: &Catalog) -> Vec<Diagnostic> {
    validate_as(source, layer_of(source), catalog)
}

/// The layer that a file's name tells.
#[must_use]
pub fn layer_of(source: &Source) -> PolicyLayer {
    let name = source.file.rsplit(['/', '\\']).next().unwrap_or_default();
    match name.rsplit_once('.').map_or(name, |(stem, _)| stem) {
        _ if source.file.contains("agents/") => PolicyLayer::Agent,
        "system" => PolicyLayer::System,
        "org" | "organisation" | "organization" => PolicyLayer::Organisation,
        "user" => PolicyLayer::User,
        _ => PolicyLayer::Agent,
    }
}

/// [`validate`] for a layer that is known.
#[must_use]
pub fn validate_as(source: &Source, layer: PolicyLayer, catalog: &Catalog) -> Vec<Diagnostic> {
    check(source, layer, catalog, None)
}

/// [`validate_as`] with the other files, which this one may extend and which may enforce what it would
/// loosen.
#[must_use]
pub fn validate_among(
    source: &Source,
    layer: PolicyLayer,
    catalog: &Catalog,
    others: &Sources,
) -> Vec<Diagnostic> {
    let mut found = check(source, layer, catalog, Some(others));
    if found.iter().any(|diagnostic| diagnostic.fatal) {
        return found;
    }
    let mut all = others.clone();
    match layer {
        PolicyLayer::System => all.system = Some(source.clone()),
        PolicyLayer::Organisation => all.organisation = Some(source.clone()),
        PolicyLayer::User => all.user = Some(source.clone()),
        _ => {
            let name = agent_of(source).to_owned();
            all.agents.insert(name, source.clone());
        }
    }
    // Other files that do not compile are reported where they are loaded.
    if let Ok((_, warnings)) = PolicySet::compile(&all, catalog, 0) {
        let mine = warnings
            .into_iter()
            .filter(|warning| warning.file == source.file);
        let more: Vec<_> = mine.filter(|warning| !found.contains(warning)).collect();
        found.extend(more);
    }
    found
}

/// The agent whose file it is, by its name.
fn agent_of(source: &Source) -> &str {
    let name = source.file.rsplit(['/', '\\']).next().unwrap_or_default();
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

fn check(
    source: &Source,
    layer: PolicyLayer,
    catalog: &Catalog,
    others: Option<&Sources>,
) -> Vec<Diagnostic> {
    let (file, mut found) = load(&Input::from(source), layer, catalog, others);
    if found.iter().any(|diagnostic| diagnostic.fatal) {
        return found;
    }
    if file.defaults.is_none() {
        let mut covered = vec![false; catalog.all().len()];
        let patterns = file
            .rules
            .iter()
            .map(|rule| &rule.pattern)
            .chain(file.entries.iter().map(|entry| &entry.pattern));
        for id in patterns.flat_map(|pattern| &pattern.ids) {
            covered
                .get_mut(usize::from(*id))
                .into_iter()
                .for_each(|covered| *covered = true);
        }
        let open: Vec<&str> = catalog
            .all()
            .iter()
            .zip(&covered)
            .filter(|(_, covered)| !**covered)
            .map(|(definition, _)| definition.name)
            .collect();
        if !open.is_empty() && open.len() < catalog.all().len() {
            let names = open
                .iter()
                .take(MAX_NAMES)
                .copied()
                .collect::<Vec<_>>()
                .join(", ");
            let more = match open.len().saturating_sub(MAX_NAMES) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            found.push(Diagnostic {
                file: source.file.clone(),
                line: 1,
                column: 1,
                message: format!(
                    "{} of {} capabilities are named by no rule and there are no `defaults`: {names}{more}",
                    open.len(),
                    catalog.all().len()
                ),
                fatal: false,
            });
        }
    }
    found
}

/// Warns of rules and entries that never answer, because others always answer before them.
pub(crate) fn reachability(file: &File, catalog: &Catalog, problems: &mut Problems<'_>) {
    let capabilities = catalog.all().len();
    let mut seen = Seen::new(capabilities);
    for rule in &file.rules {
        if let Some(line) = seen.shadowed(rule) {
            let message = format!(
                "this rule is never reached: the rule at line {line} holds whenever it would, and comes first"
            );
            problems.warn(rule.place, message);
        }
        seen.add(rule);
    }
    let chosen = most_specific(&file.entries, capabilities);
    let mut answered: Vec<bool> = seen.always.iter().map(Option::is_some).collect();
    for (position, entry) in file.entries.iter().enumerate() {
        let Some(first) = entry.rules.first() else {
            continue;
        };
        let mine = |id: &&u16| chosen.get(usize::from(**id)) == Some(&Some(position));
        if !entry.pattern.ids.iter().any(|id| mine(&id)) {
            let message = format!(
                "`{}` has no effect: more specific entries cover all it matches",
                entry.pattern.text
            );
            problems.warn(first.place, message);
            continue;
        }
        let open = |id: &&u16| {
            seen.always
                .get(usize::from(**id))
                .is_some_and(|line| line.is_none())
        };
        if !entry.pattern.ids.iter().filter(mine).any(|id| open(&id)) {
            let message = format!(
                "`{}` is never reached: the ordered `rules` answer all it matches",
                entry.pattern.text
            );
            problems.warn(first.place, message);
            continue;
        }
        for id in entry.pattern.ids.iter().filter(mine) {
            if entry.rules.iter().any(|rule| rule.conditions.is_empty())
                && let Some(slot) = answered.get_mut(usize::from(*id))
            {
                *slot = true;
            }
        }
        let mut within = Seen::new(capabilities);
        for rule in &entry.rules {
            if let Some(line) = within.shadowed(rule) {
                problems.warn(
                    rule.place,
                    format!("this rule is never reached: the rule at line {line} comes first"),
                );
            }
            within.add(rule);
        }
    }
    if let Some(defaults) = &file.defaults
        && answered.iter().all(|answered| *answered)
    {
        let message = "`defaults` are never reached: rules and entries answer everything";
        problems.warn(defaults.place, message);
    }
}

/// What the rules before one already answer.
struct Seen<'r> {
    /// By capability: the line of a rule that always holds.
    always: Vec<Option<u32>>,
    /// By a rule's conditions: the rules that have just these.
    conditions: HashMap<Vec<&'r str>, Vec<&'r Rule>>,
}

impl<'r> Seen<'r> {
    fn new(capabilities: usize) -> Self {
        Self {
            always: vec![None; capabilities],
            conditions: HashMap::new(),
        }
    }

    /// The line of the rule that makes this one unreachable.
    fn shadowed(&self, rule: &Rule) -> Option<u32> {
        let lines = rule
            .pattern
            .ids
            .iter()
            .map(|id| self.always.get(usize::from(*id)).copied().flatten());
        let mut line = None;
        let mut all = true;
        for found in lines {
            all &= found.is_some();
            line = line.or(found);
        }
        if all && line.is_some() {
            return line;
        }
        // A rule with fewer of the same conditions holds whenever this one does.
        let texts = texts(rule);
        let subsets = texts
            .iter()
            .map(|text| vec![*text])
            .chain((texts.len() > 1).then(|| texts.clone()));
        for subset in subsets {
            let before = self.conditions.get(&subset).into_iter().flatten();
            for earlier in before {
                if rule
                    .pattern
                    .ids
                    .iter()
                    .all(|id| earlier.pattern.covers(*id))
                {
                    return Some(earlier.place.line);
                }
            }
        }
        None
    }

    fn add(&mut self, rule: &'r Rule) {
        if rule.conditions.is_empty() {
            for id in &rule.pattern.ids {
                if let Some(slot) = self.always.get_mut(usize::from(*id)) {
                    slot.get_or_insert(rule.place.line);
                }
            }
            return;
        }
        let same = self.conditions.entry(texts(rule)).or_default();
        // A few are enough to find a rule that covers the next; the bound keeps this linear.
        if same.len() < 16 {
            same.push(rule);
        }
    }
}

fn texts(rule: &Rule) -> Vec<&str> {
    let mut texts: Vec<&str> = rule
        .conditions
        .iter()
        .map(|condition| &*condition.text)
        .collect();
    texts.sort_unstable();
    texts
}

/// Warns of rules that would loosen what an outer layer enforces for every call.
pub(crate) fn without_effect(set: &PolicySet, catalog: &Catalog) -> Vec<Diagnostic> {
    let outer: Vec<&Table> = [set.system.as_ref(), set.organisation.as_ref()]
        .into_iter()
        .flatten()
        .collect();
    let mut found = Vec::new();
    let own = set.agents.values().filter_map(|agent| agent.own.as_ref());
    // A file in shadow mode is held against what is enforced, and never the other way round.
    let shadow = set.shadow.iter().flat_map(|shadow| shadow.tables());
    let tables = outer.iter().copied().chain(own).chain(set.user.as_ref());
    for table in tables.chain(shadow) {
        let above: Vec<&Table> = outer
            .iter()
            .copied()
            .filter(|above| above.layer < table.layer)
            .collect();
        found.extend(loosening(table, &above, catalog));
    }
    found.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    found
}

fn loosening(table: &Table, above: &[&Table], catalog: &Catalog) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    // By rule: whether it has an effect somewhere, and one ceiling that takes it away.
    let mut effect: HashMap<u32, (bool, Option<String>)> = HashMap::new();
    for capability in 0..catalog.all().len() {
        let ceiling = above
            .iter()
            .filter_map(|table| always_enforced(table, capability))
            .max_by_key(|rule| rule.tier);
        for number in table
            .lists
            .get(capability)
            .into_iter()
            .flat_map(|list| list.order.iter())
        {
            let Some(rule) = table.rules.get(*number as usize) else {
                continue;
            };
            let slot = effect.entry(*number).or_insert((false, None));
            match ceiling {
                Some(enforced) if enforced.tier > rule.tier && rule.rate.is_none() => {
                    slot.1.get_or_insert_with(|| {
                        let origin = &enforced.origin;
                        format!(
                            "{}:{} enforces `{}`",
                            origin.file, origin.place.line, enforced.tier
                        )
                    });
                }
                _ => slot.0 = true,
            }
        }
    }
    for (number, slot) in effect {
        let (Some(rule), (false, Some(enforced))) = (table.rules.get(number as usize), slot) else {
            continue;
        };
        found.push(Diagnostic {
            file: rule.origin.file.to_string(),
            line: rule.origin.place.line as usize,
            column: rule.origin.place.column as usize,
            message: format!(
                "`{}` has no effect: {enforced}, and `{}` cannot loosen it",
                rule.origin.name, rule.tier
            ),
            fatal: false,
        });
    }
    found
}

/// The ceiling that a layer sets for every call of a capability.
fn always_enforced(table: &Table, capability: usize) -> Option<&crate::compile::Rule> {
    let rules: Vec<_> = table.rules_of(capability).collect();
    let certain = rules.last().is_some_and(|rule| rule.conditions.is_empty());
    if !certain || rules.iter().any(|rule| !rule.ceiling) {
        return None;
    }
    // Whichever of them answers, the call gets at least this.
    rules.into_iter().min_by_key(|rule| rule.tier)
}
