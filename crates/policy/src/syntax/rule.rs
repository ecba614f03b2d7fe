use super::conditions;
use super::{Context, Reader, enforce};
use crate::condition::Condition;
use crate::diagnostic::Place;
use crate::pattern::Pattern;
use crate::yaml::{At, Key, Node};
use kruxos_types::Tier;
use serde_json::Value;
use std::sync::Arc;

/// Seconds of the longest window: 31 days.
pub(crate) const MAX_WINDOW: i64 = 31 * 86_400;
/// Calls of the largest limit; counters stay small whatever it is.
pub(crate) const MAX_LIMIT: i64 = 1_000_000;
/// Examples of one rule.
pub(crate) const MAX_EXAMPLES: usize = 50;
/// Characters of a reason: it is in every audit entry that the rule decides.
pub(crate) const MAX_REASON: usize = 500;

/// One rule, whichever spelling it had.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) file: Arc<str>,
    pub(crate) place: Place,
    /// Its path in the file, stable when other rules come and go.
    pub(crate) name: Box<str>,
    pub(crate) pattern: Arc<Pattern>,
    /// All must hold; cheap ones first.
    pub(crate) conditions: Vec<Condition>,
    pub(crate) tier: Tier,
    pub(crate) ceiling: bool,
    pub(crate) rate: Option<RuleRate>,
    pub(crate) reason: Option<Box<str>>,
    pub(crate) examples: Vec<Example>,
}

/// A rule's rate limit.
#[derive(Debug, Clone)]
pub(crate) struct RuleRate {
    /// Layer, file and rule: what counters are kept by.
    pub(crate) key: Arc<str>,
    pub(crate) max: u32,
    pub(crate) window_seconds: u64,
    pub(crate) on_exceed: Option<Tier>,
    pub(crate) place: Place,
}

/// Inputs that a rule says it holds for, or not.
#[derive(Debug, Clone)]
pub(crate) struct Example {
    pub(crate) place: Place,
    pub(crate) holds: bool,
    pub(crate) case: Value,
}

/// An entry of the `capabilities` map: its own rules in order, then its tier.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) pattern: Arc<Pattern>,
    pub(crate) rules: Vec<Rule>,
}

impl Rule {
    pub(crate) fn rename(&mut self, context: &Context, name: String) {
        if let Some(rate) = &mut self.rate {
            rate.key = rate_key(context, &name);
        }
        self.name = name.into();
    }
}

fn rate_key(context: &Context, name: &str) -> Arc<str> {
    format!("{}:{}:{name}", context.layer.as_str(), context.file).into()
}

/// The fields that rules of every spelling share.
#[derive(Default)]
struct Parts {
    conditions: Vec<Condition>,
    tier: Option<Tier>,
    /// A tier is there, right or wrong.
    tier_given: bool,
    ceiling: Option<bool>,
    rate: Option<RuleRate>,
    reason: Option<Box<str>>,
    examples: Vec<Example>,
}

pub(crate) const RULE_FIELDS: [&str; 9] = [
    "match",
    "capability",
    "condition",
    "conditions",
    "tier",
    "rate_limit",
    "reason",
    "enforce",
    "examples",
];
pub(crate) const NESTED_FIELDS: [&str; 7] = [
    "condition",
    "conditions",
    "tier",
    "rate_limit",
    "reason",
    "enforce",
    "examples",
];
pub(crate) const ENTRY_FIELDS: [&str; 5] = ["tier", "rules", "rate_limit", "reason", "enforce"];

impl Parts {
    /// Takes a field. `false` if it is not one of a rule's.
    fn take(
        &mut self,
        reader: &mut Reader<'_, '_>,
        context: &Context,
        pattern: Option<&Pattern>,
        key: &Key,
        at: &At,
    ) -> bool {
        match key.name.as_str() {
            "tier" => {
                self.tier = reader.tier(at, "tier");
                self.tier_given = true;
            }
            "rate_limit" => self.rate = rate_limit(reader, at),
            "reason" => self.reason = reason(reader, at),
            "enforce" => self.ceiling = enforce(reader, at, context.layer),
            "condition" | "conditions" => {
                if !self.conditions.is_empty() {
                    reader.problems.fatal(
                        key.place,
                        "`condition` and `conditions` are the same; use one",
                    );
                }
                self.conditions = conditions::read(reader, pattern, at);
            }
            "examples" => self.examples = examples(reader, at),
            _ => return false,
        }
        true
    }

    fn build(
        self,
        context: &Context,
        place: Place,
        pattern: Arc<Pattern>,
        name: String,
        tier: Tier,
    ) -> Rule {
        let rate = self.rate.map(|rate| RuleRate {
            key: rate_key(context, &name),
            ..rate
        });
        Rule {
            file: context.file.clone(),
            place,
            name: name.into(),
            pattern,
            conditions: self.conditions,
            tier,
            ceiling: self.ceiling.unwrap_or(context.ceilings),
            rate,
            reason: self.reason,
            examples: self.examples,
        }
    }
}

/// Warns of limits that change nothing and refuses those that would loosen.
fn check_rate(reader: &mut Reader<'_, '_>, rate: Option<&RuleRate>, tier: Tier) {
    let Some(rate) = rate else { return };
    if let Some(exceeded) = rate.on_exceed
        && exceeded <= tier
    {
        let message = format!(
            "exceeding the limit must be more restrictive than the rule's tier `{tier}`, and `{exceeded}` is not"
        );
        reader.problems.fatal(rate.place, message);
    }
    if tier == Tier::Blocked {
        reader
            .problems
            .warn(rate.place, "the rule blocks; its rate limit has no effect");
    }
}

/// A rule of the ordered list.
pub(crate) fn ordered(reader: &mut Reader<'_, '_>, context: &Context, at: &At) -> Option<Rule> {
    if !reader.count_rule(at.place) {
        return None;
    }
    let pairs = reader.pairs(at, "a rule");
    let written: Vec<&At> = pairs
        .iter()
        .filter_map(|(key, at)| match key.name.as_str() {
            "capability" | "match" => Some(at),
            _ => None,
        })
        .collect();
    let pattern = match written.as_slice() {
        [one] => match_pattern(reader, one),
        [] if pairs.is_empty() => None,
        [] => {
            reader.problems.fatal(
                at.place,
                "a rule needs `match: {capability: …}` or `capability: …`",
            );
            None
        }
        _ => {
            reader
                .problems
                .fatal(at.place, "`match` and `capability` say the same; use one");
            None
        }
    };
    let mut parts = Parts::default();
    for (key, value) in pairs {
        if matches!(key.name.as_str(), "match" | "capability") {
            continue;
        }
        if !parts.take(reader, context, pattern.as_ref(), key, value) {
            reader.unknown_key(key, "a rule", &RULE_FIELDS);
        }
    }
    finish(
        reader,
        context,
        at.place,
        parts,
        pattern.map(Arc::new),
        String::new(),
    )
}

fn finish(
    reader: &mut Reader<'_, '_>,
    context: &Context,
    place: Place,
    parts: Parts,
    pattern: Option<Arc<Pattern>>,
    name: String,
) -> Option<Rule> {
    let Some(tier) = parts.tier else {
        if !parts.tier_given {
            reader.problems.fatal(place, "a rule needs a `tier`");
        }
        return None;
    };
    check_rate(reader, parts.rate.as_ref(), tier);
    Some(parts.build(context, place, pattern?, name, tier))
}

fn match_pattern(reader: &mut Reader<'_, '_>, at: &At) -> Option<Pattern> {
    let Node::Map(pairs) = &at.node else {
        let text = reader.text(at, "capability")?;
        return pattern(reader, text, at.place);
    };
    let mut found = None;
    for (key, value) in pairs {
        match key.name.as_str() {
            "capability" => {
                let text = reader.text(value, "capability")?;
                found = pattern(reader, text, value.place);
            }
            _ => reader.unknown_key(key, "`match`", &["capability"]),
        }
    }
    if found.is_none() && pairs.is_empty() {
        reader
            .problems
            .fatal(at.place, "`match` needs `capability`");
    }
    found
}

fn pattern(reader: &mut Reader<'_, '_>, text: &str, place: Place) -> Option<Pattern> {
    if reader.problems.is_full() {
        return None;
    }
    match Pattern::parse(text, reader.catalog) {
        Ok(pattern) => Some(pattern),
        Err(message) => {
            reader.problems.fatal(place, message.to_string());
            None
        }
    }
}

/// An entry of the `capabilities` map.
pub(crate) fn entry(
    reader: &mut Reader<'_, '_>,
    context: &Context,
    key: &Key,
    at: &At,
) -> Option<Entry> {
    let pattern = Arc::new(pattern(reader, &key.name, key.place)?);
    let pairs = reader.pairs(at, &key.name);
    let name = format!("capabilities.{}", key.name);
    let mut own = Parts::default();
    let mut nested: Option<&At> = None;
    for (field, value) in pairs {
        match field.name.as_str() {
            "rules" => nested = Some(value),
            name if !ENTRY_FIELDS.contains(&name) => {
                reader.unknown_key(field, "a capability's entry", &ENTRY_FIELDS)
            }
            _ => drop(own.take(reader, context, Some(&pattern), field, value)),
        }
    }
    let mut rules = Vec::new();
    let items = nested
        .map(|at| reader.items(at, "rules"))
        .unwrap_or_default();
    for (position, item) in items.iter().enumerate() {
        let name = format!("{name}.rules[{position}]");
        rules.extend(nested_rule(reader, context, &pattern, item, name, &own));
    }
    if !own.tier_given && nested.is_none() {
        reader.problems.fatal(
            key.place,
            format!("`{}` needs a `tier` or `rules`", key.name),
        );
    }
    if let Some(rate) = &own.rate {
        // One counter for the whole entry, whichever of its rules answers.
        let shared = RuleRate {
            key: rate_key(context, &name),
            ..rate.clone()
        };
        for rule in rules
            .iter_mut()
            .filter(|rule| rule.rate.is_none() && rule.tier < Tier::Blocked)
        {
            rule.rate = Some(shared.clone());
        }
    }
    if let Some(tier) = own.tier
        && reader.count_rule(key.place)
    {
        check_rate(reader, own.rate.as_ref(), tier);
        rules.push(own.build(context, key.place, pattern.clone(), name, tier));
    }
    Some(Entry { pattern, rules })
}

fn nested_rule(
    reader: &mut Reader<'_, '_>,
    context: &Context,
    pattern: &Arc<Pattern>,
    at: &At,
    name: String,
    entry: &Parts,
) -> Option<Rule> {
    if !reader.count_rule(at.place) {
        return None;
    }
    let mut parts = Parts {
        ceiling: entry.ceiling,
        ..Parts::default()
    };
    for (key, value) in reader.pairs(at, "a rule") {
        if !parts.take(reader, context, Some(pattern), key, value) {
            reader.unknown_key(key, "a rule of a capability's entry", &NESTED_FIELDS);
        }
    }
    finish(
        reader,
        context,
        at.place,
        parts,
        Some(pattern.clone()),
        name,
    )
}

/// The `defaults` of a file: a baseline in every layer.
pub(crate) fn defaults(reader: &mut Reader<'_, '_>, context: &Context, at: &At) -> Option<Rule> {
    let mut parts = Parts {
        ceiling: Some(false),
        ..Parts::default()
    };
    for (key, value) in reader.pairs(at, "defaults") {
        match key.name.as_str() {
            "tier" => {
                parts.tier = reader.tier(value, "tier");
                parts.tier_given = true;
            }
            "reason" => parts.reason = reason(reader, value),
            _ => reader.unknown_key(key, "`defaults`", &["tier", "reason"]),
        }
    }
    let everything = pattern(reader, "*", at.place)?;
    finish(
        reader,
        context,
        at.place,
        parts,
        Some(Arc::new(everything)),
        "defaults".to_owned(),
    )
}

fn reason(reader: &mut Reader<'_, '_>, at: &At) -> Option<Box<str>> {
    let text = reader.text(at, "reason")?;
    if text.chars().count() > MAX_REASON {
        reader.problems.fatal(
            at.place,
            format!("`reason` may have {MAX_REASON} characters"),
        );
    }
    Some(text.into())
}

pub(crate) const RATE_FIELDS: [&str; 8] = [
    "max",
    "window",
    "max_per_second",
    "max_per_minute",
    "max_per_hour",
    "max_per_day",
    "on_exceed",
    "escalate_to",
];

fn rate_limit(reader: &mut Reader<'_, '_>, at: &At) -> Option<RuleRate> {
    let (mut max, mut window, mut on_exceed) = (None, None, None);
    let mut window_given = false;
    let mut spellings = 0;
    let mut escalations = 0;
    for (key, value) in reader.pairs(at, "rate_limit") {
        let seconds = match key.name.as_str() {
            "max" => {
                max = reader.integer(value, "max", 1..=MAX_LIMIT);
                spellings += 1;
                continue;
            }
            "window" => {
                window = reader.integer(value, "window", 1..=MAX_WINDOW);
                if std::mem::replace(&mut window_given, true) {
                    reader.problems.fatal(
                        key.place,
                        "the limit names its window already; remove `window`",
                    );
                }
                continue;
            }
            "on_exceed" | "escalate_to" => {
                on_exceed = reader.tier(value, &key.name);
                escalations += 1;
                continue;
            }
            "max_per_second" => 1,
            "max_per_minute" => 60,
            "max_per_hour" => 3_600,
            "max_per_day" => 86_400,
            _ => {
                reader.unknown_key(key, "`rate_limit`", &RATE_FIELDS);
                continue;
            }
        };
        max = reader.integer(value, &key.name, 1..=MAX_LIMIT);
        spellings += 1;
        if std::mem::replace(&mut window_given, true) {
            reader.problems.fatal(
                key.place,
                format!("`{}` names its window already; remove `window`", key.name),
            );
        }
        window = Some(seconds);
    }
    if spellings > 1 || escalations > 1 {
        reader.problems.fatal(
            at.place,
            "`rate_limit` says the same thing twice; use one spelling",
        );
    }
    let (Some(max), Some(window_seconds)) = (max.and_then(|max| u32::try_from(max).ok()), window)
    else {
        if spellings == 0 || !window_given {
            reader.problems.fatal(
                at.place,
                "`rate_limit` needs `max` and `window` (seconds), or `max_per_hour`",
            );
        }
        return None;
    };
    Some(RuleRate {
        key: "".into(),
        max,
        window_seconds,
        on_exceed,
        place: at.place,
    })
}

fn examples(reader: &mut Reader<'_, '_>, at: &At) -> Vec<Example> {
    let mut found = Vec::new();
    for (key, list) in reader.pairs(at, "examples") {
        let holds = match key.name.as_str() {
            "match" => true,
            "no_match" => false,
            _ => {
                reader.unknown_key(key, "`examples`", &["match", "no_match"]);
                continue;
            }
        };
        let items = reader.items(list, &key.name);
        found.extend(items.iter().map(|item| Example {
            place: item.place,
            holds,
            case: item.to_json(),
        }));
    }
    if found.len() > MAX_EXAMPLES {
        reader
            .problems
            .fatal(at.place, format!("a rule may have {MAX_EXAMPLES} examples"));
    }
    found
}
