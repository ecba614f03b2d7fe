//! A file with everything that it extends, read and checked.

use crate::diagnostic::{Diagnostic, Problems};
use crate::syntax::{self, Extends, File};
use crate::template::{file_of, template_text};
use crate::yaml::At;
use crate::{PolicyLayer, Source, Sources, examples, validate};
use kruxos_catalog::Catalog;
use std::collections::BTreeMap;

/// What a file says.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Body<'a> {
    Text(&'a str),
    /// Part of another file that was read already.
    Tree(&'a At),
}

/// A file to be compiled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a> {
    /// Shown in messages.
    pub(crate) file: &'a str,
    pub(crate) body: Body<'a>,
}

impl<'a> Input<'a> {
    /// A mapping of the file `file` that is a policy.
    pub(crate) fn tree(file: &'a str, tree: &'a At) -> Self {
        Input {
            file,
            body: Body::Tree(tree),
        }
    }
}

impl<'a> From<&'a Source> for Input<'a> {
    fn from(source: &'a Source) -> Self {
        Input {
            file: &source.file,
            body: Body::Text(&source.text),
        }
    }
}

/// Everything that one generation is compiled from.
#[derive(Debug)]
pub(crate) struct Inputs<'a> {
    pub(crate) system: Option<Input<'a>>,
    pub(crate) organisation: Option<Input<'a>>,
    pub(crate) agents: BTreeMap<&'a str, Input<'a>>,
    pub(crate) user: Option<Input<'a>>,
    /// Templates by agent, data directory and what may be extended.
    pub(crate) rest: &'a Sources,
}

impl<'a> From<&'a Sources> for Inputs<'a> {
    fn from(sources: &'a Sources) -> Self {
        let input = |source: &'a Option<Source>| source.as_ref().map(Input::from);
        let agents = sources.agents.iter();
        Inputs {
            system: input(&sources.system),
            organisation: input(&sources.organisation),
            agents: agents
                .map(|(name, source)| (name.as_str(), Input::from(source)))
                .collect(),
            user: input(&sources.user),
            rest: sources,
        }
    }
}

/// Files that extend each other, one below the other: more cannot be kept in mind.
const MAX_EXTENDS: usize = 8;

/// Reads a file and, below it, what it extends. `among` has the other files that it may extend; without
/// them, what such a file would add is left out with a warning.
pub(crate) fn load(
    source: &Input<'_>,
    layer: PolicyLayer,
    catalog: &Catalog,
    among: Option<&Sources>,
) -> (File, Vec<Diagnostic>) {
    let mut problems = Problems::new(source.file);
    let mut file = syntax::read(source.file, source.body, layer, catalog, &mut problems);
    if !problems.any_fatal() {
        examples::check(&file, catalog, &mut problems);
        validate::reachability(&file, catalog, &mut problems);
    }
    let mut found = problems.into_vec();
    let mut chain = vec![source.file.to_owned()];
    let mut next = file.extends.take();
    while let Some(extends) = next.take() {
        let user = chain.last().cloned().unwrap_or_default();
        let place = extends.place();
        let below = match below(extends, &user, &chain, among) {
            Ok(below) => below,
            Err(problem) => {
                found.push(problem);
                break;
            }
        };
        let mut problems = Problems::new(&below.file);
        let mut base = syntax::read(
            &below.file,
            Body::Text(&below.text),
            layer,
            catalog,
            &mut problems,
        );
        found.extend(problems.into_vec());
        next = base.extends.take();
        if base.shadow && !file.shadow {
            found.push(Diagnostic {
                file: user,
                line: place.line as usize,
                column: place.column as usize,
                message: format!(
                    "`{}` is in shadow mode; a file that is enforced cannot extend it",
                    below.file
                ),
                fatal: true,
            });
            break;
        }
        file.extend_from(base);
        chain.push(below.file);
    }
    (file, found)
}

/// What the last file of the chain extends.
fn below(
    extends: Extends,
    user: &str,
    chain: &[String],
    among: Option<&Sources>,
) -> Result<Source, Diagnostic> {
    let (name, place) = match extends {
        Extends::Template(name, _) => {
            return Ok(Source {
                file: file_of(name),
                text: template_text(name).unwrap_or_default().to_owned(),
            });
        }
        Extends::File(name, place) => (name, place),
    };
    let problem = |message: String, fatal| Diagnostic {
        file: user.to_owned(),
        line: place.line as usize,
        column: place.column as usize,
        message,
        fatal,
    };
    if chain.iter().any(|file| **file == *name) {
        let way = chain.join("` extends `");
        return Err(problem(
            format!("files extend each other in a circle: `{way}` extends `{name}`"),
            true,
        ));
    }
    if chain.len() > MAX_EXTENDS {
        let message = format!("more than {MAX_EXTENDS} files extend each other");
        return Err(problem(message, true));
    }
    let Some(among) = among else {
        let message =
            format!("`{name}` is not looked at here; what this file takes from it is not checked");
        return Err(problem(message, false));
    };
    among.named(&name).cloned().ok_or_else(|| {
        let message = format!(
            "there is no policy file `{name}`; it is named from the directory of policy files, such as `base.yaml` or `agents/coder.yaml`"
        );
        problem(message, true)
    })
}

impl File {
    /// What this file leaves open, its base answers: rules behind its own, entries whose patterns it
    /// does not have, defaults if it has none.
    fn extend_from(&mut self, base: File) {
        self.rules.extend(base.rules);
        for entry in base.entries {
            if !self
                .entries
                .iter()
                .any(|own| own.pattern.text == entry.pattern.text)
            {
                self.entries.push(entry);
            }
        }
        self.defaults = self.defaults.take().or(base.defaults);
        self.network.allow.extend(base.network.allow);
        self.network.deny.extend(base.network.deny);
        self.sandbox.0 = self.sandbox.0.tightened_by(base.sandbox.0);
    }
}
