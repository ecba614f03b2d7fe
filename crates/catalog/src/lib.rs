//! The definitions of the 92 capabilities: loading, validation, generated contracts and the
//! admission of arguments. No I/O at run time: the gateway uses the catalogue embedded at build time.

mod admit;
mod definition;

pub use definition::{
    Annotations, CapabilityId, Definition, DeclaredError, Executor, Field, FieldType, SideEffect, Status,
};

use kruxos_types::CallError;

/// Every capability, sorted by name. Ids are positions in that order.
#[derive(Debug)]
pub struct Catalog {
    definitions: Vec<Definition>,
}

impl Catalog {
    /// The catalogue that ships with this build, parsed once.
    #[must_use]
    pub fn builtin() -> &'static Catalog {
        todo!()
    }

    /// All definitions, planned ones too, sorted by name.
    #[must_use]
    pub fn all(&self) -> &[Definition] {
        &self.definitions
    }

    /// The definition with this exact dotted name, planned ones too.
    #[must_use]
    pub fn get(&self, _name: &str) -> Option<&Definition> {
        todo!()
    }

    /// The definition with this id.
    #[must_use]
    pub fn by_id(&self, id: CapabilityId) -> &Definition {
        &self.definitions[id.index()]
    }

    /// Resolves what a client called: the dotted name, `category__name`, or `category_name` where
    /// that is unambiguous. Planned capabilities are not found.
    ///
    /// # Errors
    /// `CapabilityNotFound` with the three nearest names as suggestions.
    pub fn resolve(&self, _name: &str) -> Result<&Definition, CallError> {
        todo!()
    }
}
