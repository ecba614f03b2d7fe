//! Long first-match lists, searched by what makes their rules different from each other.
//!
//! A list of thousands of rules for one capability usually differs in one condition: a path prefix,
//! a command, a host, an input's value. Those rules are found by hash; what remains is tried in
//! order. The answer is the same as by trying all in order: the least position that holds.

use crate::compile::Rule;
use crate::condition::{Condition, Prefix, Test};
use crate::facts::Facts;
use serde_json::Value;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Keys of a path's leading parts, by depth: the empty path first.
type Keys = SmallVec<[u64; 16]>;

/// Lists shorter than this are faster tried in order.
const WORTH_INDEXING: usize = 5;
/// Depths that the mask can tell apart; a deeper prefix stays in the list that is tried in order.
const MAX_DEPTH: usize = 63;

const SEED_ABSOLUTE: u64 = 0x9e37_79b9_7f4a_7c15;
const SEED_INSIDE: u64 = 0xd1b5_4a32_d192_ed03;
const SEED_COMMAND: u64 = 0x94d0_49bb_1331_11eb;
const SEED_HOST: u64 = 0xbf58_476d_1ce4_e5b9;
const SEED_INPUT: u64 = 0x2545_f491_4f6c_dd1d;

/// Positions of rules by what they are about.
#[derive(Debug)]
pub(crate) struct Index {
    groups: HashMap<u64, Box<[u32]>, BuildHasherDefault<Ready>>,
    /// Positions that must be tried in order, each with its rule's gate: most are sorted out by it
    /// without a look at the rule.
    rest: Box<[(u32, u32)]>,
    /// Which depths of path prefixes occur.
    depths_absolute: u64,
    depths_inside: u64,
    commands: bool,
    hosts: bool,
    /// Inputs compared with a string.
    inputs: Box<[Box<str>]>,
}

impl Index {
    /// An index over `list`, where one is worth having.
    pub(crate) fn build(list: &[u32], rules: &[Rule]) -> Option<Index> {
        if list.len() < WORTH_INDEXING {
            return None;
        }
        let mut building = Building::default();
        for (position, rule) in list.iter().enumerate() {
            let position = u32::try_from(position).ok()?;
            building.place(position, rules.get(*rule as usize)?);
        }
        (!building.groups.is_empty()).then(|| building.finish())
    }

    /// The least position for which `holds`.
    pub(crate) fn first(&self, facts: &Facts<'_>, holds: impl Fn(u32) -> bool) -> Option<u32> {
        let mut best = u32::MAX;
        let mut look = |key: u64| {
            let Some(group) = self.groups.get(&key) else {
                return;
            };
            for position in group
                .iter()
                .take_while(|position| **position < best)
                .copied()
            {
                if holds(position) {
                    best = position;
                    break;
                }
            }
        };
        if self.depths_absolute | self.depths_inside != 0
            && let Some(path) = facts.viewed().first()
        {
            each_key(
                path.absolute(),
                SEED_ABSOLUTE,
                self.depths_absolute,
                &mut look,
            );
            if let Some(part) = path.inside() {
                each_key(part, SEED_INSIDE, self.depths_inside, &mut look);
            }
        }
        if self.commands
            && let Some(command) = facts.text("command")
        {
            look(mix(SEED_COMMAND, command.as_bytes()));
        }
        if self.hosts {
            facts
                .hosts()
                .take(1)
                .flatten()
                .for_each(|host| look(mix(SEED_HOST, &host)));
        }
        for input in &self.inputs {
            if let Some(text) = facts.text(input) {
                look(mix(mix(SEED_INPUT, input.as_bytes()), text.as_bytes()));
            }
        }
        for (position, gate) in self.rest.iter().copied() {
            if position >= best {
                break;
            }
            if facts.passes(gate) && holds(position) {
                return Some(position);
            }
        }
        (best != u32::MAX).then_some(best)
    }
}

#[derive(Default)]
struct Building {
    groups: HashMap<u64, Vec<u32>, BuildHasherDefault<Ready>>,
    rest: Vec<(u32, u32)>,
    depths: [u64; 2],
    commands: bool,
    hosts: bool,
    inputs: Vec<Box<str>>,
}

impl Building {
    fn place(&mut self, position: u32, rule: &Rule) {
        let keys = rule
            .conditions
            .iter()
            .find_map(|condition| self.keys(&condition.test));
        match keys {
            Some(keys) => {
                for key in keys {
                    let group = self.groups.entry(key).or_default();
                    if group.last() != Some(&position) {
                        group.push(position);
                    }
                }
            }
            None => self.rest.push((position, gate(&rule.conditions))),
        }
    }

    /// Every key under which a call that satisfies the test can be found; `None` if there is no such
    /// set of keys.
    fn keys(&mut self, test: &Test) -> Option<Vec<u64>> {
        match test {
            Test::PathPrefix(prefixes) => {
                let mut keys = Vec::with_capacity(prefixes.len());
                let mut depths = self.depths;
                for prefix in prefixes {
                    let (part, inside) = match prefix {
                        Prefix::Absolute(part) => (part, false),
                        Prefix::Inside(part) => (part, true),
                    };
                    let of_prefix = path_keys(part, inside);
                    let depth = of_prefix
                        .len()
                        .checked_sub(1)
                        .filter(|depth| *depth < MAX_DEPTH)?;
                    *depths.get_mut(usize::from(inside))? |= 1 << depth;
                    keys.push(*of_prefix.last()?);
                }
                self.depths = depths;
                Some(keys)
            }
            Test::CommandIn(commands) => {
                self.commands = true;
                Some(
                    commands
                        .iter()
                        .map(|command| mix(SEED_COMMAND, command.as_bytes()))
                        .collect(),
                )
            }
            Test::DomainIn(hosts) => {
                let keys = hosts
                    .only_exact()?
                    .iter()
                    .map(|host| mix(SEED_HOST, host))
                    .collect();
                self.hosts = true;
                Some(keys)
            }
            Test::InputEquals(pairs) => {
                let (input, text) = pairs.iter().find_map(|(input, value)| match value {
                    Value::String(text) => Some((input, text)),
                    _ => None,
                })?;
                if !self.inputs.contains(input) {
                    self.inputs.push(input.clone());
                }
                Some(vec![mix(
                    mix(SEED_INPUT, input.as_bytes()),
                    text.as_bytes(),
                )])
            }
            _ => None,
        }
    }

    fn finish(self) -> Index {
        Index {
            groups: self
                .groups
                .into_iter()
                .map(|(key, group)| (key, group.into()))
                .collect(),
            rest: self.rest.into(),
            depths_absolute: self.depths[0],
            depths_inside: self.depths[1],
            commands: self.commands,
            hosts: self.hosts,
            inputs: self.inputs.into(),
        }
    }
}

/// Who, through which door and on which day a rule can hold at all, as bits for [`Facts::passes`].
fn gate(conditions: &[Condition]) -> u32 {
    conditions
        .iter()
        .fold(u32::MAX, |gate, condition| match condition.test {
            Test::WeekdayIn(days) => gate & (!WEEKDAYS | u32::from(days)),
            Test::PrincipalType(kinds) => gate & (!KINDS | (u32::from(kinds) << KIND_SHIFT)),
            Test::InterfaceIn(doors) => gate & (!DOORS | (u32::from(doors) << DOOR_SHIFT)),
            _ => gate,
        })
}

/// Bits of a gate: days of the week, sorts of principal, interfaces.
const WEEKDAYS: u32 = 0xff;
pub(crate) const KIND_SHIFT: u32 = 8;
const KINDS: u32 = 0xff << KIND_SHIFT;
pub(crate) const DOOR_SHIFT: u32 = 16;
const DOORS: u32 = 0xff << DOOR_SHIFT;

/// Calls `look` with the keys of those leading parts of `path` whose depth occurs in `depths`.
fn each_key(path: &[u8], seed: u64, depths: u64, mut look: impl FnMut(u64)) {
    let mut components = path.split(|byte| *byte == b'/').skip(1);
    let (mut key, mut left) = (seed, depths);
    while left != 0 {
        if left & 1 != 0 {
            look(key);
        }
        left >>= 1;
        let Some(component) = components.next() else {
            return;
        };
        key = mix(key, component);
    }
}

/// The keys of `path`'s leading parts: `/a/b` gives those of the root, `/a` and `/a/b`.
fn path_keys(path: &[u8], inside: bool) -> Keys {
    let mut key = if inside { SEED_INSIDE } else { SEED_ABSOLUTE };
    let mut keys = Keys::new();
    keys.push(key);
    for component in path.split(|byte| *byte == b'/').skip(1).take(MAX_DEPTH) {
        key = mix(key, component);
        keys.push(key);
    }
    keys
}

/// A quick mix of eight bytes at a time. Collisions cost time, never an answer: every rule found is
/// checked in full.
fn mix(seed: u64, bytes: &[u8]) -> u64 {
    const ODD: u64 = 0x9fb2_1c65_1e98_df25;
    let step = |hash: u64, word: u64| {
        let mixed = (hash ^ word).wrapping_mul(ODD);
        mixed ^ (mixed >> 32)
    };
    let (words, tail) = bytes.as_chunks::<8>();
    let hash = words
        .iter()
        .fold(seed, |hash, word| step(hash, u64::from_le_bytes(*word)));
    let last = tail.iter().fold(bytes.len() as u64, |word, byte| {
        (word << 8) | u64::from(*byte)
    });
    step(hash, last)
}

/// A hasher for keys that are hashes already, and for names that only the operator chooses.
#[derive(Debug, Default)]
pub(crate) struct Ready(u64);

impl Hasher for Ready {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = mix(self.0, bytes);
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}
