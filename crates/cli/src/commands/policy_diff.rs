//! `policy diff`: who gets another tier for what.

use super::Cx;
use super::policy_files::{named, show};
use crate::failure::Failure;
use kruxos_catalog::Catalog;
use kruxos_policy::diff::{Difference, Side, compare};
use serde_json::json;
use std::path::Path;

pub(super) fn run(cx: &Cx<'_>, old: &Path, new: &Path) -> Result<(), Failure> {
    // Of two files the old one's name tells what both are; two agents' files are about one agent.
    let agent = old
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or("agent");
    let mut before = named(cx, old, old, agent)?;
    let after = named(cx, new, if new.is_dir() { new } else { old }, agent)?;
    if before.whole != after.whole {
        return Err(Failure::usage(
            "compare two files or two directories, not one with the other",
        ));
    }
    let diff = match compare(&before.sources, &after.sources, Catalog::builtin()) {
        Ok(diff) => diff,
        Err(problems) => {
            // For showing the lines of either.
            before.sources.shared.extend(
                super::policy_files::all(&after.sources)
                    .into_iter()
                    .map(|source| (source.file.clone(), source.clone())),
            );
            return Err(show(cx, &problems, &before.sources));
        }
    };
    if cx.out.json {
        cx.out.value(&json!(diff));
        return Ok(());
    }
    let rows = diff.differences.iter().map(|one| {
        vec![
            one.principal.clone(),
            one.capability.to_owned(),
            side(&one.old),
            side(&one.new),
            place(&one.old),
            place(&one.new),
            example(one),
        ]
    });
    let header = [
        "who",
        "capability",
        "old",
        "new",
        "by (old)",
        "by (new)",
        "for example",
    ];
    cx.out.table(&header, rows.collect());
    let count = diff.differences.len() + diff.left_out;
    cx.out.note(&format!(
        "{count} differences, {} calls compared",
        diff.probes
    ));
    if diff.left_out > 0 {
        cx.out
            .note(&format!("{} differences are not shown", diff.left_out));
    }
    if diff.rules_not_reached > 0 {
        let line = format!(
            "For {} rules no call was found that meets all their conditions; they were not compared.",
            diff.rules_not_reached
        );
        cx.out.note(&line);
    }
    Ok(())
}

fn side(side: &Side) -> String {
    match side.limit {
        Some((max, window)) => format!("{}, {max} in {window} s", side.tier),
        None => side.tier.to_string(),
    }
}

fn place(side: &Side) -> String {
    let rule = side.rule.as_deref().unwrap_or(side.winner);
    match (&side.file, side.line) {
        (Some(file), Some(line)) => format!("{file}:{line} {rule}"),
        _ => rule.to_owned(),
    }
}

/// The call that shows it, as far as it says anything.
fn example(one: &Difference) -> String {
    let Some(example) = &one.example else {
        return String::new();
    };
    let mut parts: Vec<String> = example
        .inputs
        .iter()
        .map(|(name, value)| match value.as_str() {
            Some(text) => format!("{name}={text}"),
            None => format!("{name}={value}"),
        })
        .collect();
    parts.push(format!("by {} at {}", example.interface, example.at));
    parts.join(" ")
}
