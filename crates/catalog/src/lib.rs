//! The definitions of the 92 capabilities: loading, validation, generated contracts and the
//! admission of arguments. No I/O at run time: the gateway uses the catalogue embedded at build time.

mod admit;
mod check;
mod compile;
mod definition;
mod formats;
pub mod load;
mod nearest;
mod rules;
mod schema;
mod shape;
mod source;
mod yaml;

pub use compile::{BadSource, MAX_DESCRIPTION_CHARS, MAX_TOOL_NAME_CHARS};
pub use definition::{
    Annotations, CapabilityId, DeclaredError, Definition, Example, Executor, Field, FieldType,
    SideEffect, Status,
};
pub use source::{ErrorSource, FieldSource, FieldSpec, RecoverySource, Source};

use kruxos_types::{CallError, ErrorType, Object, RecoveryAction};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;

/// What `cargo xtask gen` made of `definitions/`.
const EMBEDDED: &str = include_str!("generated/catalog.json");

/// How much of a name that does not exist is repeated back.
const MAX_ECHO_CHARS: usize = 128;

/// Every capability, sorted by name. Ids are positions in that order.
#[derive(Debug)]
pub struct Catalog {
    definitions: Vec<Definition>,
    /// Every spelling that a client may use; `None` where one spelling means two capabilities.
    spellings: HashMap<String, Option<CapabilityId>>,
}

impl Catalog {
    /// The catalogue that ships with this build, parsed once.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "embedded at build time; a test parses it, and nothing runs without it"
    )]
    pub fn builtin() -> &'static Catalog {
        static BUILTIN: OnceLock<Catalog> = OnceLock::new();
        BUILTIN.get_or_init(|| {
            let sources =
                serde_json::from_str(EMBEDDED).expect("the embedded catalogue is valid JSON");
            Catalog::from_sources(sources).expect("the embedded catalogue was validated")
        })
    }

    /// A catalogue of these definitions, in any order.
    ///
    /// # Errors
    /// [`BadSource`] for the first definition that names an unknown error, has constraints that make no
    /// sense, or whose name is there twice. [`load`] finds the same and more, with the place in the file.
    pub fn from_sources(mut sources: Vec<Source>) -> Result<Catalog, BadSource> {
        sources.sort_by(|a, b| a.name.cmp(&b.name));
        let mut definitions: Vec<Definition> = Vec::with_capacity(sources.len());
        for source in sources {
            let refuse = |problem: &str| {
                Err(BadSource {
                    capability: source.name.clone(),
                    problem: problem.to_owned(),
                })
            };
            if definitions
                .last()
                .is_some_and(|last| last.name == source.name)
            {
                return refuse("it is there twice");
            }
            let Ok(position) = u16::try_from(definitions.len()) else {
                return refuse("there are more than 65,536 capabilities");
            };
            definitions.push(compile::definition(source, CapabilityId(position))?);
        }
        let spellings = spellings(&definitions);
        Ok(Catalog {
            definitions,
            spellings,
        })
    }

    /// All definitions, planned ones too, sorted by name.
    #[must_use]
    pub fn all(&self) -> &[Definition] {
        &self.definitions
    }

    /// The definition with this exact dotted name, planned ones too.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Definition> {
        self.spelled(name)
            .filter(|definition| definition.name == name)
    }

    /// The definition with this id, which must come from this catalogue.
    #[must_use]
    pub fn by_id(&self, id: CapabilityId) -> &Definition {
        &self.definitions[id.index()]
    }

    /// Resolves what a client called: the dotted name, `category__name`, or `category_name` where
    /// that is unambiguous. Planned capabilities are not found.
    ///
    /// # Errors
    /// `CapabilityNotFound` with the three nearest names as suggestions.
    pub fn resolve(&self, name: &str) -> Result<&Definition, CallError> {
        self.spelled(name)
            .filter(|definition| definition.status == Status::Available)
            .ok_or_else(|| self.not_found(name))
    }

    fn spelled(&self, name: &str) -> Option<&Definition> {
        let id = (*self.spellings.get(name)?)?;
        self.definitions.get(id.index())
    }

    fn not_found(&self, name: &str) -> CallError {
        let available = || {
            self.definitions
                .iter()
                .filter(|d| d.status == Status::Available)
        };
        let near = nearest::names(name, available().map(|definition| definition.name));
        let description = match near.as_slice() {
            [] => "See which capabilities there are.".to_owned(),
            near => format!(
                "Nearest names: {}. See which capabilities there are.",
                near.join(", ")
            ),
        };
        let category = name.split(['.', '_']).next().unwrap_or_default();
        let known = available().any(|definition| definition.category == category);
        let inputs: Object = known
            .then(|| ("category".to_owned(), category.into()))
            .into_iter()
            .collect();
        let echoed: String = name.chars().take(MAX_ECHO_CHARS).collect();
        CallError::new(ErrorType::CapabilityNotFound)
            .with("capability", echoed)
            .with("suggestions", near)
            .recover_by(vec![RecoveryAction {
                action: Cow::Borrowed("list_capabilities"),
                description: Cow::Owned(description),
                capability: Some(Cow::Borrowed("agent.capabilities")),
                inputs: Some(inputs),
            }])
    }
}

/// The dotted name, the tool name, and the name with single underscores where only one capability has
/// it.
fn spellings(definitions: &[Definition]) -> HashMap<String, Option<CapabilityId>> {
    let mut spellings: HashMap<String, Option<CapabilityId>> = HashMap::new();
    for definition in definitions {
        let single = definition.name.replace('.', "_");
        spellings
            .entry(single)
            .and_modify(|known| *known = None)
            .or_insert(Some(definition.id));
    }
    for definition in definitions {
        spellings.insert(definition.tool_name.clone(), Some(definition.id));
        spellings.insert(definition.name.to_owned(), Some(definition.id));
    }
    spellings
}
