//! Rules to tables: one first-match list for each layer and capability.

use crate::builtin::{PROTECTIONS, normal_data_dir};
use crate::condition::{Condition, Test};
use crate::diagnostic::{Diagnostic, Place, nearest};
use crate::facts::{Facts, Shape};
use crate::index::Index;
use crate::load::{Input, Inputs, load};
use crate::pattern::Pattern;
use crate::sections::{NetworkSection, Sandbox};
use crate::shadow::Shadow;
use crate::syntax::{self, File};
use crate::template::{DEFAULT_TEMPLATE, SAFEST_TEMPLATE, TEMPLATES, file_of, template_text};
use crate::{AgentLayers, PolicyLayer, PolicySet, Source, Sources, validate};
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
    /// Of a file in shadow mode: counted beside the limits that are enforced.
    pub(crate) shadow: bool,
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
    pub(crate) shadow: bool,
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
            shadow: file.shadow,
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
                shadow: self.shadow,
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

/// Compiles one file after the other and keeps every problem.
struct Compiler<'a> {
    catalog: &'a Catalog,
    sources: &'a Sources,
    found: Vec<Diagnostic>,
    shadow: Shadow,
}

impl Compiler<'_> {
    fn table(&mut self, input: &Input<'_>, layer: PolicyLayer) -> Table {
        let (file, found) = load(input, layer, self.catalog, Some(self.sources));
        self.found.extend(found);
        Table::build(layer, file, self.catalog.all().len())
    }

    /// The table of a layer or of an agent, if it is enforced; one in shadow mode is put aside.
    fn enforced(
        &mut self,
        input: Option<&Input<'_>>,
        layer: PolicyLayer,
        agent: &str,
    ) -> Option<Table> {
        let table = self.table(input?, layer);
        match table.shadow {
            true => self.shadow.add(table, agent),
            false => Some(table),
        }
    }

    fn templates(&mut self) -> BTreeMap<&'static str, Arc<Table>> {
        let mut templates = BTreeMap::new();
        for name in TEMPLATES {
            let source = Source {
                file: file_of(name),
                text: template_text(name).unwrap_or_default().to_owned(),
            };
            let table = self.table(&Input::from(&source), PolicyLayer::Template);
            templates.insert(name, Arc::new(table));
        }
        templates
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
        Self::compile_inputs(&Inputs::from(sources), catalog, generation)
    }

    /// [`PolicySet::compile`] of files of which some are parts of others.
    pub(crate) fn compile_inputs(
        inputs: &Inputs<'_>,
        catalog: &Catalog,
        generation: u64,
    ) -> Result<(PolicySet, Vec<Diagnostic>), Vec<Diagnostic>> {
        let sources = inputs.rest;
        let mut compiler = Compiler {
            catalog,
            sources,
            found: Vec::new(),
            shadow: Shadow::default(),
        };
        let shapes: Vec<Shape> = catalog.all().iter().map(Shape::of).collect();
        let data_dir = sources.data_dir.as_deref().and_then(normal_data_dir);
        let templates = compiler.templates();
        let system = compiler.enforced(inputs.system.as_ref(), PolicyLayer::System, "");
        let organisation =
            compiler.enforced(inputs.organisation.as_ref(), PolicyLayer::Organisation, "");
        let user = compiler.enforced(inputs.user.as_ref(), PolicyLayer::User, "");
        let mut agents = HashMap::default();
        let named = sources.groups.keys().map(String::as_str);
        for name in inputs.agents.keys().copied().chain(named) {
            if agents.contains_key(name) {
                continue;
            }
            let own = compiler.enforced(inputs.agents.get(name), PolicyLayer::Agent, name);
            let template = compiler.template(name, sources.groups.get(name).map(String::as_str));
            let template = templates
                .get(template)
                .or_else(|| templates.get(SAFEST_TEMPLATE))
                .cloned();
            if let Some(template) = template {
                agents.insert(name.into(), AgentLayers { template, own });
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
            shadow: compiler.shadow.if_any(),
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
