/// The templates that ship, by name.
pub const TEMPLATES: [&str; 3] = [
    "personal-permissive",
    "team-moderate",
    "enterprise-restrictive",
];

/// What an agent gets whose policy group names no template.
pub const DEFAULT_TEMPLATE: &str = "team-moderate";

/// What an agent gets whose policy group names a template that does not exist: a mistake must not
/// give more than was meant.
pub(crate) const SAFEST_TEMPLATE: &str = "enterprise-restrictive";

/// The text of a template, for showing and copying.
#[must_use]
pub fn template_text(name: &str) -> Option<&'static str> {
    match name {
        "personal-permissive" => Some(include_str!("../../../policies/personal-permissive.yaml")),
        "team-moderate" => Some(include_str!("../../../policies/team-moderate.yaml")),
        "enterprise-restrictive" => Some(include_str!(
            "../../../policies/enterprise-restrictive.yaml"
        )),
        _ => None,
    }
}

/// The name that messages show for a template.
pub(crate) fn file_of(name: &str) -> String {
    format!("policies/{name}.yaml")
}
