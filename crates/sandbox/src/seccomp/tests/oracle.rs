//! The same rules through `seccompiler`, a linear compiler by other people.

use super::*;
use crate::seccomp::table::Condition;
use libc::sock_filter;
use proptest::collection::{btree_map, vec};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use std::collections::BTreeMap;

/// Our conditions allow sets of values; the other compiler's one value each.
fn expand(condition: &Condition) -> Vec<Vec<SeccompCondition>> {
    let one = |value: u32| {
        let operator = match (condition.is_negated, condition.mask) {
            (true, _) => SeccompCmpOp::Ne,
            (false, u32::MAX) => SeccompCmpOp::Eq,
            (false, mask) => SeccompCmpOp::MaskedEq(mask.into()),
        };
        let length = SeccompCmpArgLen::Dword;
        SeccompCondition::new(condition.argument, length, operator, value.into()).unwrap()
    };
    let all = condition.values.iter().map(|value| one(*value));
    if condition.is_negated {
        assert_eq!(
            condition.mask,
            u32::MAX,
            "the oracle has no masked inequality"
        );
        return vec![all.collect()];
    }
    all.map(|condition| vec![condition]).collect()
}

fn rules_of(alternatives: &[Vec<Condition>]) -> Vec<SeccompRule> {
    let mut rules = Vec::new();
    for alternative in alternatives {
        let mut products: Vec<Vec<SeccompCondition>> = vec![Vec::new()];
        for condition in alternative {
            let choices = expand(condition);
            products = products
                .iter()
                .flat_map(|product| {
                    choices
                        .iter()
                        .map(move |choice| [product.clone(), choice.clone()].concat())
                })
                .collect();
        }
        rules.extend(
            products
                .into_iter()
                .map(|product| SeccompRule::new(product).unwrap()),
        );
    }
    rules
}

/// The oracle knows one answer for all that is not allowed: rules with another one are left out.
fn simplify(table: &Table) -> Table {
    let mut simple = table.clone();
    simple.rules.retain(|_, rule| match rule {
        Rule::Always(action) => *action == Action::Allow,
        Rule::AllowIf { .. } => true,
    });
    for rule in simple.rules.values_mut() {
        if let Rule::AllowIf { otherwise, .. } = rule {
            *otherwise = table.default;
        }
    }
    simple
}

/// `None` for a table that takes the linear compiler more than the kernel's 4,096 instructions.
fn oracle(table: &Table) -> Option<Vec<sock_filter>> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for (number, rule) in &table.rules {
        let rule = match rule {
            Rule::Always(_) => Vec::new(),
            Rule::AllowIf { alternatives, .. } => rules_of(alternatives),
        };
        rules.insert(i64::from(*number), rule);
    }
    let default = match table.default {
        Action::Errno(number) => SeccompAction::Errno(number.into()),
        other => panic!("{other:?}"),
    };
    let architecture = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, default, SeccompAction::Allow, architecture).unwrap();
    let program = match BpfProgram::try_from(filter) {
        Ok(program) => program,
        Err(seccompiler::BackendError::FilterTooLarge(_)) => return None,
        Err(error) => panic!("{error}"),
    };
    let instruction = |i: seccompiler::sock_filter| sock_filter {
        code: i.code,
        jt: i.jt,
        jf: i.jf,
        k: i.k,
    };
    Some(program.into_iter().map(instruction).collect())
}

/// The oracle does not look for x32 numbers; they are compared with the table's meaning only.
fn agree(table: &Table, own: &[sock_filter], other: &[sock_filter], call: &Call) {
    let (own, _) = run(own, call);
    assert_eq!(own, meaning(table, call).value(), "{call:?}");
    let is_x32 = cfg!(target_arch = "x86_64") && call.number >= 0x4000_0000;
    if !is_x32 || call.architecture != compile::ARCHITECTURE {
        assert_eq!(own, run(other, call).0, "{call:?}");
    }
}

fn condition() -> impl Strategy<Value = Condition> {
    let value = || prop_oneof![0_u32..8, any::<u32>()];
    let set = (0_u8..6, vec(value(), 1..4), value()).prop_map(|(argument, values, mask)| {
        let values: Vec<u32> = values.iter().map(|value| value & mask).collect();
        Condition::masked(argument, mask, &values)
    });
    let none = (0_u8..6, vec(value(), 1..4))
        .prop_map(|(argument, values)| Condition::none_of(argument, &values));
    prop_oneof![3 => set, 1 => none]
}

fn table() -> impl Strategy<Value = Table> {
    let asks = vec(vec(condition(), 1..4), 1..4).prop_map(|alternatives| Rule::AllowIf {
        alternatives,
        otherwise: Action::Errno(1),
    });
    let rule = prop_oneof![3 => Just(Rule::Always(Action::Allow)), 1 => asks];
    let number = prop_oneof![8 => 0_u32..500, 1 => 0_u32..0x4000_0000];
    btree_map(number, rule, 0..150).prop_map(|rules| Table {
        rules,
        default: Action::Errno(1),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_table_decides_as_the_oracle_does(
        (table, calls) in table().prop_flat_map(|table| {
            let calls = vec(calls(&table), 100);
            (Just(table), calls)
        })
    ) {
        let own = compile::compile(&table);
        let other = oracle(&table);
        prop_assume!(other.is_some());
        let other = other.unwrap_or_default();
        for call in &calls {
            agree(&table, &own, &other, call);
        }
    }
}

#[test]
fn the_lists_decide_as_the_oracle_does() {
    for table in super::lists::tables() {
        let own = compile::compile(&table);
        let simple = simplify(&table);
        let (own_simple, other) = (compile::compile(&simple), oracle(&simple).unwrap());
        for call in sample(&table, 2_000) {
            agree(&simple, &own_simple, &other, &call);
            let expected = meaning(&table, &call).value();
            assert_eq!(run(&own, &call).0, expected, "{call:?}");
        }
    }
}
