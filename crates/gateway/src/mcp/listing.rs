//! The tool list: what policy lets a principal see, written once for each policy generation.

use super::Peer;
use super::wire::{Fault, INVALID_PARAMS, to_text};
use data_encoding::BASE64URL_NOPAD;
use kruxos_catalog::{Definition, Status};
use kruxos_types::{Principal, Tier};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Tools on one page. More than a gateway without packs has, because some clients read only the
/// first page.
const PAGE_TOOLS: usize = 100;
/// Lists kept; past it all are dropped and written anew when asked for.
const MAX_LISTINGS: usize = 512;

/// A list's key: whose, and of which toolset.
type Key = (Principal, Option<Arc<str>>);

/// Lists by principal and toolset.
#[derive(Debug, Default)]
pub(crate) struct Listings(Mutex<HashMap<Key, Arc<Listing>>>);

/// One principal's list.
#[derive(Debug)]
pub(crate) struct Listing {
    generation: u64,
    /// Tool name and its JSON, in the order of the catalogue.
    tools: Vec<(String, String)>,
}

/// One page: the JSON of its tools without brackets, and where the next begins.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) tools: String,
    pub(crate) next: Option<String>,
}

impl Listings {
    /// The list as policy stands now.
    pub(crate) fn of(&self, peer: &Peer) -> Arc<Listing> {
        let gateway = &peer.mcp.gateway;
        let policy = gateway.policy.current();
        let generation = policy.generation();
        let principal = &peer.session.profile.principal;
        let key = (principal.clone(), peer.toolset.clone());
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listing) = kept
            .get(&key)
            .filter(|listing| listing.generation == generation)
        {
            return listing.clone();
        }
        let patterns = key
            .1
            .as_ref()
            .and_then(|name| gateway.config.server.toolsets.get(&**name));
        let chosen = |definition: &&Definition| {
            patterns.is_none_or(|all| all.iter().any(|pattern| matches(pattern, definition.name)))
        };
        let available = gateway
            .catalog
            .all()
            .iter()
            .filter(|one| one.status == Status::Available);
        let tools = available
            .filter(chosen)
            .filter_map(|definition| {
                let tier = policy.listed_tier(principal, definition)?;
                Some((
                    definition.tool_name.clone(),
                    to_text(&tool(definition, tier)),
                ))
            })
            .collect();
        let listing = Arc::new(Listing { generation, tools });
        if kept.len() >= MAX_LISTINGS {
            kept.clear();
        }
        kept.insert(key, listing.clone());
        listing
    }
}

impl Listing {
    /// The page after `cursor`. A cursor is the last name of the page before, so it stays good when
    /// the list changes in between.
    pub(crate) fn page(&self, cursor: Option<&str>) -> Result<Page, Fault> {
        page(&self.tools, cursor, PAGE_TOOLS)
    }
}

fn page(tools: &[(String, String)], cursor: Option<&str>, size: usize) -> Result<Page, Fault> {
    let start = match cursor {
        None => 0,
        Some(cursor) => {
            let after = read_cursor(cursor)
                .ok_or_else(|| Fault::new(INVALID_PARAMS, "invalid params: unknown cursor"))?;
            tools.partition_point(|(name, _)| *name <= after)
        }
    };
    let rest = tools.get(start..).unwrap_or_default();
    let shown = rest.get(..size).unwrap_or(rest);
    let next = match shown.last() {
        Some((last, _)) if rest.len() > shown.len() => {
            Some(BASE64URL_NOPAD.encode(last.as_bytes()))
        }
        _ => None,
    };
    let tools: Vec<&str> = shown.iter().map(|(_, json)| json.as_str()).collect();
    Ok(Page {
        tools: tools.join(","),
        next,
    })
}

fn read_cursor(cursor: &str) -> Option<String> {
    let bytes = BASE64URL_NOPAD.decode(cursor.as_bytes()).ok()?;
    String::from_utf8(bytes).ok()
}

fn tool(definition: &Definition, tier: Tier) -> Value {
    let hints = definition.annotations;
    json!({
        "name": definition.tool_name,
        "title": title(definition.name),
        "description": definition.description,
        "inputSchema": definition.input_schema,
        "outputSchema": output_schema(&definition.output_schema),
        "annotations": {
            "title": title(definition.name),
            "readOnlyHint": hints.read_only,
            "destructiveHint": hints.destructive,
            "idempotentHint": hints.idempotent,
            "openWorldHint": hints.open_world,
        },
        "_meta": {"kruxos/tier": tier, "kruxos/capability": definition.name},
    })
}

/// `filesystem.search_content` as «Filesystem: search content».
fn title(name: &str) -> String {
    let (category, rest) = name.split_once('.').unwrap_or(("", name));
    let mut letters = category.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    let category: String = first.into_iter().chain(letters).collect();
    format!("{category}: {}", rest.replace(['.', '_'], " "))
}

/// Structured errors are structured content too, and clients check every result against the schema:
/// one that allowed only the success would make some of them throw away what the error says.
fn output_schema(success: &Value) -> Value {
    let error = json!({
        "type": "object",
        "required": ["error_type", "agent_description"],
        "properties": {
            "error_type": {"type": "string"},
            "agent_description": {"type": "string"},
        },
    });
    let mut success = success.clone();
    // `$schema` and `$defs` belong to the root; references in `success` point there.
    let mut root = json!({"type": "object"});
    if let Some(members) = success.as_object_mut() {
        for key in ["$schema", "$defs"] {
            if let Some(value) = members.remove(key) {
                root[key] = value;
            }
        }
    }
    root["anyOf"] = json!([success, error]);
    root
}

/// Whether a name fits a pattern in which `*` stands for any run of characters.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut rest) = name.strip_prefix(head) else {
        return false;
    };
    let mut parts = tail.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    fn tools(count: usize) -> Vec<(String, String)> {
        (0..count)
            .map(|at| (format!("t{at:03}"), format!("{at}")))
            .collect()
    }

    proptest! {
        #[test]
        fn pages_hold_every_tool_once_and_in_order(count in 0usize..60, size in 1usize..20) {
            let all = tools(count);
            let (mut seen, mut cursor) = (Vec::new(), None);
            loop {
                let page = page(&all, cursor.as_deref(), size).unwrap();
                seen.extend(page.tools.split(',').filter(|t| !t.is_empty()).map(str::to_owned));
                match page.next {
                    Some(next) => cursor = Some(next),
                    None => break,
                }
            }
            let expected: Vec<String> = all.iter().map(|(_, json)| json.clone()).collect();
            prop_assert_eq!(seen, expected);
        }
    }

    #[test]
    fn a_made_up_cursor_is_refused_and_a_stale_one_goes_on() {
        assert_eq!(
            page(&tools(3), Some("!!"), 2).unwrap_err().code,
            INVALID_PARAMS
        );
        let gone = BASE64URL_NOPAD.encode(b"t000x");
        assert_eq!(page(&tools(3), Some(&gone), 5).unwrap().tools, "1,2");
    }

    #[test]
    fn patterns_of_toolsets() {
        assert!(matches("filesystem.*", "filesystem.read"));
        assert!(matches("*", "system.time"));
        assert!(matches("*.list", "email.list"));
        assert!(matches("state.*.get", "state.session.get"));
        assert!(matches("system.time", "system.time"));
        assert!(!matches("filesystem.*", "system.time"));
        assert!(!matches("state.*.get", "state.session.set"));
        assert!(!matches("a*a", "a"));
    }

    #[test]
    fn titles_are_words() {
        assert_eq!(
            title("filesystem.search_content"),
            "Filesystem: search content"
        );
        assert_eq!(title("state.session.get"), "State: session get");
    }
}
