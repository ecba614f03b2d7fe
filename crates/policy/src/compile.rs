//! Rules to tables: one first-match list for each layer and capability.

use crate::builtin::{PROTECTIONS, normal_data_dir};
use crate::condition::{Condition, Test};
use crate::diagnostic::{Diagnostic, Place, Problems, nearest};
use crate::facts::{Facts, Shape};
use crate::index::Index;
use crate::pattern::Pattern;
use crate::sections::{NetworkSection, Sandbox};
use crate::syntax::{self, Extends, File};
use crate::template::{DEFAULT_TEMPLATE, SAFEST_TEMPLATE, TEMPLATES, file_of, template_text};
use crate::{AgentLayers, PolicyLayer, PolicySet, Source, Sources, examples, validate};
use kruxos_catalog::Catalog;
use kruxos_types::Tier;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A rule as it is evaluated.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) tier: Tier,
    pub(crate) ceiling: bool,
    pub(crate) conditions: Box<[Condition]>,
    pub(crate) rate: Option<Rate>,
    pub(crate) origin: Arc<Origin>,
}

/// Where a rule stands and why.
#[derive(Debug)]
pub(crate) struct Origin {
    /// Empty for built-in protections and the definition.
    pub(crate) file: Arc<str>,
    pub(crate) place: Place,
    pub(crate) name: Box<str>,
    pub(crate) pattern: Box<str>,
    pub(crate) reason: Option<Box<str>>,
}

/// A compiled rate limit.
#[derive(Debug)]
pub(crate) struct Rate {
    pub(crate) key: Arc<str>,
    pub(crate) max: u32,
    pub(crate) window_ms: i64,
    pub(crate) on_exceed: Option<Tier>,
}

/// The rules of one capability in the order in which they are tried.
#[derive(Debug, Default)]
pub(crate) struct List {
    pub(crate) order: Box<[u32]>,
    index: Option<Index>,
    /// Whether a rule has conditions on paths, so that each path of a call is worth a look.
    by_path: bool,
}

/// One layer.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) layer: PolicyLayer,
    pub(crate) rules: Vec<Rule>,
    /// By capability.
    pub(crate) lists: Vec<List>,
    pub(crate) network: NetworkSection,
    pub(crate) sandbox: Sandbox,
    pub(crate) defaults: Option<Tier>,
}

impl Rule {
    pub(crate) fn holds(&self, facts: &Facts<'_>) -> bool {
        self.conditions
            .iter()
            .all(|condition| condition.test.holds(facts))
    }
}

impl Table {
    /// The layer's answer: the first rule that holds.
    pub(crate) fn answer(&self, capability: usize, facts: &Facts<'_>) -> Option<(u32, &Rule)> {
        let list = self.lists.get(capability)?;
        let at = |position: u32| {
            let number = *list.order.get(position as usize)?;
            Some((number, self.rules.get(number as usize)?))
        };
        match &list.index {
            Some(index) => {
                let holds = |position| at(position).is_some_and(|(_, rule)| rule.holds(facts));
                at(index.first(facts, holds)?)
            }
            None => {
                let mut rules = list
                    .order
                    .iter()
                    .filter_map(|number| Some((*number, self.rules.get(*number as usize)?)));
                rules.find(|(_, rule)| rule.holds(facts))
            }
        }
    }

    /// Whether the answer for a capability can depend on which path is looked at.
    pub(crate) fn is_by_path(&self, capability: usize) -> bool {
        self.lists.get(capability).is_some_and(|list| list.by_path)
    }

    pub(crate) fn rules_of(&self, capability: usize) -> impl Iterator<Item = &Rule> {
        let list = self
            .lists
            .get(capability)
            .into_iter()
            .flat_map(|list| list.order.iter());
        list.filter_map(|number| self.rules.get(*number as usize))
    }

    /// Compiles a file's rules.
    pub(crate) fn build(layer: PolicyLayer, file: File, capabilities: usize) -> Table {
        let defaults = file.defaults.as_ref().map(|rule| rule.tier);
        let mut table = Table {
            layer,
            rules: Vec::new(),
            lists: Vec::new(),
            network: file.network,
            sandbox: file.sandbox.0,
            defaults,
        };
        let mut orders: Vec<Vec<u32>> = vec![Vec::new(); capabilities];
        for rule in file.rules {
            let pattern = rule.pattern.clone();
            let number = table.add(rule);
            for id in &pattern.ids {
                if let Some(order) = orders.get_mut(usize::from(*id)) {
                    order.push(number);
                }
            }
        }
        let chosen = most_specific(&file.entries, capabilities);
        for (position, entry) in file.entries.into_iter().enumerate() {
            let numbers: Vec<u32> = entry
                .rules
                .into_iter()
                .map(|rule| table.add(rule))
                .collect();
            for (order, best) in orders.iter_mut().zip(&chosen) {
                if *best == Some(position) {
                    order.extend(&numbers);
                }
            }
        }
        if let Some(rule) = file.defaults {
            let number = table.add(rule);
            orders.iter_mut().for_each(|order| order.push(number));
        }
        table.lists = orders.into_iter().map(|order| table.list(order)).collect();
        table
    }

    fn add(&mut self, rule: syntax::Rule) -> u32 {
        let number = u32::try_from(self.rules.len()).unwrap_or(u32::MAX);
        let window_ms =
            |seconds: u64| i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX);
        self.rules.push(Rule {
            tier: rule.tier,
            ceiling: rule.ceiling,
            conditions: rule.conditions.into(),
            rate: rule.rate.map(|rate| Rate {
                key: rate.key,
                max: rate.max,
                window_ms: window_ms(rate.window_seconds),
                on_exceed: rate.on_exceed,
            }),
            origin: Arc::new(Origin {
                file: rule.file,
                place: rule.place,
                name: rule.name,
                pattern: rule.pattern.text.clone(),
                reason: rule.reason,
            }),
        });
        number
    }

    /// Ends the list at the first rule that always holds, since nothing behind it is ever tried.
    fn list(&self, mut order: Vec<u32>) -> List {
        let always = |number: &u32| {
            self.rules
                .get(*number as usize)
                .is_some_and(|rule| rule.conditions.is_empty())
        };
        if let Some(last) = order.iter().position(always) {
            order.truncate(last + 1);
        }
        let index = Index::build(&order, &self.rules);
        let mut rules = order
            .iter()
            .filter_map(|number| self.rules.get(*number as usize));
        let about_paths = |condition: &Condition| condition.test.is_about_paths();
        let by_path = rules.any(|rule| rule.conditions.iter().any(about_paths));
        List {
            order: order.into(),
            index,
            by_path,
        }
    }

    /// The protections that no file can take away.
    fn built_in(catalog: &Catalog, shapes: &[Shape], data_dir: bool) -> Table {
        let mut file = File::default();
        for protection in PROTECTIONS {
            for text in protection.capabilities {
                // A capability that only a pack could bring is not in the catalogue.
                let Ok(mut pattern) = Pattern::parse(text, catalog) else {
                    continue;
                };
                let concerns = |id: &u16| {
                    shapes
                        .get(usize::from(*id))
                        .is_some_and(|shape| protection.hazard.concerns(shape, data_dir))
                };
                pattern.ids.retain(concerns);
                let test = Test::Hazard(protection.hazard);
                file.rules.push(syntax::Rule {
                    file: "".into(),
                    place: Place::START,
                    name: format!("built_in.{}", protection.name).into(),
                    pattern: Arc::new(pattern),
                    conditions: vec![Condition {
                        test,
                        text: protection.name.into(),
                    }],
                    tier: Tier::Blocked,
                    ceiling: true,
                    rate: None,
                    reason: Some(protection.reason.into()),
                    examples: Vec::new(),
                });
            }
        }
        Table::build(PolicyLayer::BuiltIn, file, shapes.len())
    }
}

/// For each capability, the entry whose pattern says most about it.
pub(crate) fn most_specific(entries: &[syntax::Entry], capabilities: usize) -> Vec<Option<usize>> {
    let mut best: Vec<Option<(usize, usize)>> = vec![None; capabilities];
    for (position, entry) in entries.iter().enumerate() {
        for id in &entry.pattern.ids {
            if let Some(slot) = best.get_mut(usize::from(*id))
                && slot.is_none_or(|(specificity, _)| specificity < entry.pattern.specificity)
            {
                *slot = Some((entry.pattern.specificity, position));
            }
        }
    }
    best.into_iter()
        .map(|slot| slot.map(|(_, position)| position))
        .collect()
}

/// Files that extend each other, one below the other: more cannot be kept in mind.
const MAX_EXTENDS: usize = 8;

/// Reads a file and, below it, what it extends. `among` has the other files that it may extend; without
/// them, what such a file would add is left out with a warning.
pub(crate) fn load(
    source: &Source,
    layer: PolicyLayer,
    catalog: &Catalog,
    among: Option<&Sources>,
) -> (File, Vec<Diagnostic>) {
    let mut problems = Problems::new(&source.file);
    let mut file = syntax::read(&source.file, &source.text, layer, catalog, &mut problems);
    if !problems.any_fatal() {
        examples::check(&file, catalog, &mut problems);
        validate::reachability(&file, catalog, &mut problems);
    }
    let mut found = problems.into_vec();
    let mut chain = vec![source.file.clone()];
    let mut next = file.extends.take();
    while let Some(extends) = next.take() {
        let user = chain.last().cloned().unwrap_or_default();
        let below = match below(extends, &user, &chain, among) {
            Ok(below) => below,
            Err(problem) => {
                found.push(problem);
                break;
            }
        };
        let mut problems = Problems::new(&below.file);
        let mut base = syntax::read(&below.file, &below.text, layer, catalog, &mut problems);
        found.extend(problems.into_vec());
        next = base.extends.take();
        file.extend_from(base);
        chain.push(below.file);
    }
    (file, found)
}

/// What the last file of the chain extends.
fn below(
    extends: Extends,
    user: &str,
    chain: &[String],
    among: Option<&Sources>,
) -> Result<Source, Diagnostic> {
    let (name, place) = match extends {
        Extends::Template(name) => {
            return Ok(Source {
                file: file_of(name),
                text: template_text(name).unwrap_or_default().to_owned(),
            });
        }
        Extends::File(name, place) => (name, place),
    };
    let problem = |message: String, fatal| Diagnostic {
        file: user.to_owned(),
        line: place.line as usize,
        column: place.column as usize,
        message,
        fatal,
    };
    if chain.iter().any(|file| **file == *name) {
        let way = chain.join("` extends `");
        return Err(problem(
            format!("files extend each other in a circle: `{way}` extends `{name}`"),
            true,
        ));
    }
    if chain.len() > MAX_EXTENDS {
        let message = format!("more than {MAX_EXTENDS} files extend each other");
        return Err(problem(message, true));
    }
    let Some(among) = among else {
        let message =
            format!("`{name}` is not looked at here; what this file takes from it is not checked");
        return Err(problem(message, false));
    };
    among.named(&name).cloned().ok_or_else(|| {
        let message = format!(
            "there is no policy file `{name}`; it is named from the directory of policy files, such as `base.yaml` or `agents/coder.yaml`"
        );
        problem(message, true)
    })
}

impl File {
    /// What this file leaves open, its base answers: rules behind its own, entries whose patterns it
    /// does not have, defaults if it has none.
    fn extend_from(&mut self, base: File) {
        self.rules.extend(base.rules);
        for entry in base.entries {
            if !self
                .entries
                .iter()
                .any(|own| own.pattern.text == entry.pattern.text)
            {
                self.entries.push(entry);
            }
        }
        self.defaults = self.defaults.take().or(base.defaults);
        self.network.allow.extend(base.network.allow);
        self.network.deny.extend(base.network.deny);
        self.sandbox.0 = self.sandbox.0.tightened_by(base.sandbox.0);
    }
}

/// Compiles one source after the other and keeps every problem.
struct Compiler<'a> {
    catalog: &'a Catalog,
    sources: &'a Sources,
    found: Vec<Diagnostic>,
}

impl Compiler<'_> {
    fn table(&mut self, source: &Source, layer: PolicyLayer) -> Table {
        let (file, found) = load(source, layer, self.catalog, Some(self.sources));
        self.found.extend(found);
        Table::build(layer, file, self.catalog.all().len())
    }
}

impl PolicySet {
    /// Compiles every layer. On fatal problems there is no set; warnings come beside it.
    ///
    /// # Errors
    /// Every fatal problem found, with file, line, column and the nearest valid name.
    pub fn compile(
        sources: &Sources,
        catalog: &Catalog,
        generation: u64,
    ) -> Result<(PolicySet, Vec<Diagnostic>), Vec<Diagnostic>> {
        let mut compiler = Compiler {
            catalog,
            sources,
            found: Vec::new(),
        };
        let shapes: Vec<Shape> = catalog.all().iter().map(Shape::of).collect();
        let data_dir = sources.data_dir.as_deref().and_then(normal_data_dir);
        let mut templates: BTreeMap<&'static str, Arc<Table>> = BTreeMap::new();
        for name in TEMPLATES {
            let text = template_text(name).unwrap_or_default().to_owned();
            let table = compiler.table(
                &Source {
                    file: file_of(name),
                    text,
                },
                PolicyLayer::Template,
            );
            templates.insert(name, Arc::new(table));
        }
        let system = sources
            .system
            .as_ref()
            .map(|source| compiler.table(source, PolicyLayer::System));
        let organisation = sources
            .organisation
            .as_ref()
            .map(|source| compiler.table(source, PolicyLayer::Organisation));
        let user = sources
            .user
            .as_ref()
            .map(|source| compiler.table(source, PolicyLayer::User));
        let mut agents = HashMap::default();
        for name in sources.agents.keys().chain(sources.groups.keys()) {
            if agents.contains_key(name.as_str()) {
                continue;
            }
            let own = sources
                .agents
                .get(name)
                .map(|source| compiler.table(source, PolicyLayer::Agent));
            let template = compiler.template(name, sources.groups.get(name).map(String::as_str));
            let template = templates
                .get(template)
                .or_else(|| templates.get(SAFEST_TEMPLATE))
                .cloned();
            if let Some(template) = template {
                agents.insert(name.as_str().into(), AgentLayers { template, own });
            }
        }
        let mut found = compiler.found;
        if found.iter().any(|diagnostic| diagnostic.fatal) {
            found.retain(|diagnostic| diagnostic.fatal);
            return Err(found);
        }
        let built_in = Table::built_in(catalog, &shapes, data_dir.is_some());
        let set = PolicySet {
            generation,
            shapes,
            data_dir,
            built_in,
            system,
            organisation,
            templates,
            agents,
            user,
        };
        found.extend(validate::without_effect(&set, catalog));
        Ok((set, found))
    }
}

impl Compiler<'_> {
    /// The template of an agent's policy group.
    fn template(&mut self, agent: &str, group: Option<&str>) -> &'static str {
        let Some(group) = group else {
            return DEFAULT_TEMPLATE;
        };
        if let Some(name) = TEMPLATES.into_iter().find(|name| *name == group) {
            return name;
        }
        let near = nearest(group, TEMPLATES)
            .map(|near| format!("; did you mean `{near}`?"))
            .unwrap_or_default();
        self.found.push(Diagnostic {
            file: format!("agent {agent}"),
            line: 1,
            column: 1,
            message: format!(
                "unknown template `{group}`{near} Until then `{SAFEST_TEMPLATE}` is in force."
            ),
            fatal: false,
        });
        SAFEST_TEMPLATE
    }
}
