//! Adds one rule to the text of a policy file, in front of its list of rules, and leaves every other byte
//! as a person wrote it.

use kruxos_types::CallError;
use serde_json::Value;

/// The file's text with `rule` in front of its `rules:`, so that it is tried first; a new file where there
/// is none. The rule is written as JSON, which YAML is a superset of.
///
/// # Errors
/// The file writes its rules in a way that a line cannot be added to.
pub(super) fn with_rule(text: Option<&str>, name: &str, rule: &Value) -> Result<String, CallError> {
    let Some(text) = text else {
        return Ok(format!(
            "name: {name}\nversion: \"1.0\"\nrules:\n  - {rule}\n"
        ));
    };
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    let Some(at) = lines.iter().position(|line| line.starts_with("rules:")) else {
        let end = if text.is_empty() || text.ends_with('\n') {
            ""
        } else {
            "\n"
        };
        return Ok(format!("{text}{end}rules:\n  - {rule}\n"));
    };
    let rest = lines
        .get(at)
        .and_then(|line| line.get("rules:".len()..))
        .unwrap_or_default()
        .trim();
    let is_block = rest.is_empty() || rest.starts_with('#');
    if !is_block && rest != "[]" {
        let why = "its `rules` are written in one line";
        return Err(super::remember::unextendable("the policy file", why));
    }
    let heading = if is_block { None } else { Some("rules:\n") };
    if let (Some(heading), Some(line)) = (heading, lines.get_mut(at)) {
        *line = heading;
    }
    let indent = lines
        .iter()
        .skip(at + 1)
        .find(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
        .and_then(|line| line.split_once('-').map(|(indent, _)| indent))
        .filter(|indent| indent.chars().all(|character| character == ' '))
        .unwrap_or("  ");
    let added = format!("{indent}- {rule}\n");
    let mut extended = String::with_capacity(text.len() + added.len());
    for (number, line) in lines.iter().enumerate() {
        extended.push_str(line);
        if number == at {
            if !line.ends_with('\n') {
                extended.push('\n');
            }
            extended.push_str(&added);
        }
    }
    Ok(extended)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use serde_json::json;

    fn extended(text: Option<&str>) -> String {
        with_rule(text, "coder", &json!({"tier": "autonomous"})).unwrap()
    }

    #[test]
    fn the_rule_comes_first_and_the_rest_stays_as_it_was() {
        let rule = "- {\"tier\":\"autonomous\"}\n";
        let list =
            "# mine\nrules:  # tried in order\n\n    # the first\n    - {tier: notify}\nname: x\n";
        let expected = list.replace("tried in order\n", &format!("tried in order\n    {rule}"));
        assert_eq!(extended(Some(list)), expected);
        assert_eq!(
            extended(Some("rules:\n- tier: notify\n")),
            format!("rules:\n{rule}- tier: notify\n")
        );
        assert_eq!(extended(Some("rules: []\n")), format!("rules:\n  {rule}"));
        assert_eq!(
            extended(Some("name: x")),
            format!("name: x\nrules:\n  {rule}")
        );
        assert_eq!(extended(Some("rules:")), format!("rules:\n  {rule}"));
        assert!(extended(None).ends_with(&format!("rules:\n  {rule}")));
        with_rule(Some("rules: [{tier: notify}]\n"), "coder", &json!({})).unwrap_err();
    }
}
