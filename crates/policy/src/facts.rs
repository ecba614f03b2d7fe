//! What conditions look at, worked out at most once for each decision and without allocation for
//! inputs of ordinary length.

use crate::Query;
use crate::builtin::{self, DataParts};
use crate::index::{DOOR_SHIFT, KIND_SHIFT};
use crate::url::{Host, Unreadable, plain_host, split_url};
use kruxos_catalog::{Definition, FieldType};
use serde_json::Value;
use smallvec::SmallVec;
use std::cell::{Cell, OnceCell};

/// How the sandbox shows an agent its own workspace.
pub(crate) const VIRTUAL_WORKSPACE: &str = "/workspace";

/// Which inputs of a capability are paths, addresses and content.
#[derive(Debug, Default)]
pub(crate) struct Shape {
    pub(crate) paths: Box<[PathInput]>,
    pub(crate) urls: Box<[Box<str>]>,
    pub(crate) hosts: Box<[Box<str>]>,
    pub(crate) content: Option<Box<str>>,
    pub(crate) command: bool,
    pub(crate) args: bool,
    pub(crate) method: bool,
}

/// An input that holds a path.
#[derive(Debug)]
pub(crate) struct PathInput {
    pub(crate) name: Box<str>,
    /// Whether the capability changes what is there.
    pub(crate) written: bool,
    /// It only names something whose path is told otherwise.
    is_id: bool,
}

/// Inputs that `content_size_*` measures, first one that a capability has.
const CONTENT_INPUTS: [&str; 4] = ["content", "body", "message", "text"];

impl Shape {
    pub(crate) fn of(definition: &Definition) -> Shape {
        let names = |wanted: &dyn Fn(&kruxos_catalog::Field) -> bool| -> Box<[Box<str>]> {
            definition
                .inputs
                .iter()
                .filter(|field| wanted(field))
                .map(|field| field.name.as_str().into())
                .collect()
        };
        let is_path = |field: &kruxos_catalog::Field| {
            field.kind == FieldType::FilesystemPath
                || (field.name == "path" && field.kind == FieldType::String)
        };
        let changes = !definition.annotations.read_only && definition.category != "process";
        let paths = names(&is_path).into_iter().map(|name| {
            // A copy reads its source; everything else that changes files changes every path it takes.
            let written = changes && !(definition.name == "filesystem.copy" && &*name == "source");
            // An entry of the trash is named by its id, in either spelling; where it goes is what policy
            // looks at (`Query::touches`).
            let is_id = &*name == "trash_path";
            PathInput {
                name,
                written,
                is_id,
            }
        });
        let has = |name: &str| definition.inputs.iter().any(|field| field.name == name);
        Shape {
            paths: paths.collect(),
            urls: names(&|field| field.kind == FieldType::Url),
            hosts: names(&|field| matches!(field.name.as_str(), "host" | "hostname" | "domain")),
            content: CONTENT_INPUTS
                .into_iter()
                .find(|name| has(name))
                .map(Into::into),
            command: has("command"),
            args: has("args"),
            method: has("method"),
        }
    }
}

impl Shape {
    /// What the path at a slot is called: see [`NormalPath::slot`].
    pub(crate) fn name_of(&self, query: &Query<'_>, slot: u8) -> Option<&str> {
        let inputs = self.paths.iter().map(|input| &*input.name);
        let touches = query.touches.iter().map(|touched| touched.name);
        inputs.chain(touches).nth(usize::from(slot))
    }
}

/// An absolute path without `.`, `..`, empty components and trailing slash; the root is empty.
#[derive(Debug)]
pub(crate) struct NormalPath {
    bytes: SmallVec<[u8; 128]>,
    /// Where the part below the workspace begins.
    inside: Option<usize>,
    pub(crate) written: bool,
    /// Its position among the path inputs of the definition, given or not, and behind them what the
    /// call touches: the same for every call of a capability.
    pub(crate) slot: u8,
}

impl NormalPath {
    /// Folds `input` relative to `workspace`. `/workspace/…` and the real path of the workspace are
    /// the same place.
    pub(crate) fn new(workspace: &str, input: &str, written: bool) -> NormalPath {
        let workspace = match workspace.trim_end_matches('/') {
            "" => VIRTUAL_WORKSPACE,
            real => real,
        };
        let mut bytes = SmallVec::new();
        if input.starts_with('/') {
            fold(&mut bytes, input);
            if !is_below(&bytes, workspace.as_bytes())
                && is_below(&bytes, VIRTUAL_WORKSPACE.as_bytes())
            {
                let mut real: SmallVec<[u8; 128]> = SmallVec::from_slice(workspace.as_bytes());
                real.extend_from_slice(bytes.get(VIRTUAL_WORKSPACE.len()..).unwrap_or_default());
                bytes = real;
            }
        } else {
            bytes.extend_from_slice(workspace.as_bytes());
            fold(&mut bytes, input);
        }
        let inside = is_below(&bytes, workspace.as_bytes()).then_some(workspace.len());
        NormalPath {
            bytes,
            inside,
            written,
            slot: 0,
        }
    }

    fn at(self, slot: usize) -> NormalPath {
        // A definition has a handful of inputs, so the bound is never met.
        let slot = u8::try_from(slot).unwrap_or(u8::MAX);
        NormalPath { slot, ..self }
    }

    /// The whole path.
    pub(crate) fn absolute(&self) -> &[u8] {
        &self.bytes
    }

    /// The part below the workspace, with its leading slash; empty for the workspace itself.
    pub(crate) fn inside(&self) -> Option<&[u8]> {
        self.inside
            .map(|start| self.bytes.get(start..).unwrap_or_default())
    }
}

/// Appends the components of `path` to `bytes`, `..` taking one away and never leaving the root.
pub(crate) fn fold<const N: usize>(bytes: &mut SmallVec<[u8; N]>, path: &str)
where
    [u8; N]: smallvec::Array<Item = u8>,
{
    if is_folded(path) {
        if !path.is_empty() && !path.starts_with('/') {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(path.as_bytes());
        return;
    }
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => {
                let end = bytes.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                bytes.truncate(end);
            }
            name => {
                bytes.push(b'/');
                bytes.extend_from_slice(name.as_bytes());
            }
        }
    }
}

/// Whether folding would change nothing. Says no to some that it would not change, such as `.git`.
fn is_folded(path: &str) -> bool {
    let bytes = path.as_bytes();
    let following = bytes.get(1..).unwrap_or_default();
    // Without early exit, so that it is done many bytes at a time.
    let odd = bytes
        .iter()
        .zip(following)
        .fold(false, |odd, (byte, next)| {
            odd | ((*byte == b'/') & ((*next == b'/') | (*next == b'.')))
        });
    !odd && !path.starts_with('.') && !path.ends_with('/')
}

/// Whether `path` is `prefix` or below it, by whole components.
pub(crate) fn is_below(path: &[u8], prefix: &[u8]) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| prefix.is_empty() || rest.is_empty() || rest.first() == Some(&b'/'))
}

/// What path conditions look at: every path of a call together, or one of them by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// Conditions must hold for all paths.
    Whole,
    /// By position among [`Facts::paths`].
    Path(usize),
}

/// One call's facts. Made anew for each decision, never shared.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) query: &'a Query<'a>,
    pub(crate) shape: &'a Shape,
    pub(crate) data_dir: Option<&'a str>,
    /// One bit each for the day, the sort of principal and the interface.
    ambient: u32,
    view: Cell<View>,
    paths: OnceCell<SmallVec<[NormalPath; 2]>>,
    args: OnceCell<Option<SmallVec<[u8; 128]>>>,
    data_parts: OnceCell<DataParts>,
}

impl<'a> Facts<'a> {
    pub(crate) fn new(query: &'a Query<'a>, shape: &'a Shape, data_dir: Option<&'a str>) -> Self {
        let mut facts = Facts {
            query,
            shape,
            data_dir,
            ambient: 0,
            view: Cell::new(View::Whole),
            paths: OnceCell::new(),
            args: OnceCell::new(),
            data_parts: OnceCell::new(),
        };
        facts.ambient = (1 << facts.weekday())
            | (1 << (KIND_SHIFT + query.principal.kind as u32))
            | (1 << (DOOR_SHIFT + query.interface as u32));
        facts
    }

    /// Whether a rule with this gate can hold.
    pub(crate) fn passes(&self, gate: u32) -> bool {
        gate & self.ambient == self.ambient
    }

    /// The parts of the gateway's data directory that the call reaches for.
    pub(crate) fn data_parts(&self) -> DataParts {
        let reached = || {
            self.data_dir
                .map(|dir| builtin::reached(self, dir))
                .unwrap_or_default()
        };
        *self.data_parts.get_or_init(reached)
    }

    pub(crate) fn text(&self, input: &str) -> Option<&'a str> {
        self.query.inputs.get(input).and_then(Value::as_str)
    }

    /// The call's paths: its inputs in the order of the definition, those left out are not there, and
    /// what it touches beside them.
    pub(crate) fn paths(&self) -> &[NormalPath] {
        self.paths.get_or_init(|| {
            let normal = |text, written| NormalPath::new(self.query.workspace, text, written);
            let mut paths = SmallVec::new();
            let inputs = self.shape.paths.iter().enumerate();
            for (slot, input) in inputs.filter(|(_, input)| !input.is_id) {
                if let Some(text) = self.text(&input.name) {
                    paths.push(normal(text, input.written).at(slot));
                }
            }
            let slots = self.shape.paths.len()..;
            for (slot, touched) in slots.zip(self.query.touches) {
                paths.push(normal(&touched.path, true).at(slot));
            }
            paths
        })
    }

    /// The paths that path conditions look at now.
    pub(crate) fn viewed(&self) -> &[NormalPath] {
        let paths = self.paths();
        match self.view.get() {
            View::Whole => paths,
            View::Path(position) => paths.get(position..=position).unwrap_or_default(),
        }
    }

    /// The slot of the one path in view; nothing for the call as a whole.
    pub(crate) fn slot(&self) -> Option<u8> {
        match self.view.get() {
            View::Whole => None,
            View::Path(_) => self.viewed().first().map(|path| path.slot),
        }
    }

    /// Chooses what path conditions look at from now on.
    pub(crate) fn look_at(&self, view: View) {
        self.view.set(view);
    }

    /// The call as a whole and, if it has several paths, each of them.
    pub(crate) fn views(&self) -> impl Iterator<Item = View> + use<> {
        let several = Some(self.paths().len()).filter(|count| *count > 1);
        let each = (0..several.unwrap_or(0)).map(View::Path);
        std::iter::once(View::Whole).chain(each)
    }

    /// Hosts of every address input. `Err` for one that cannot be read.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = Result<Host, Unreadable>> + '_ {
        let urls = self.shape.urls.iter().filter_map(|input| self.text(input));
        let hosts = self.shape.hosts.iter().filter_map(|input| self.text(input));
        urls.map(|url| split_url(url).map(|(_, host)| host))
            .chain(hosts.map(plain_host))
    }

    /// Schemes of every URL input.
    pub(crate) fn schemes(&self) -> impl Iterator<Item = Result<&'a str, Unreadable>> + '_ {
        let urls = self.shape.urls.iter().filter_map(|input| self.text(input));
        urls.map(|url| split_url(url).map(|(scheme, _)| scheme))
    }

    /// Bytes of the content input.
    pub(crate) fn content_size(&self) -> Option<u64> {
        let text = self.text(self.shape.content.as_deref()?)?;
        u64::try_from(text.len()).ok()
    }

    /// `args` joined by single spaces; empty without any. `None` if one is not a string.
    pub(crate) fn joined_args(&self) -> Option<&str> {
        let joined = self.args.get_or_init(|| {
            let mut joined = SmallVec::new();
            for (position, arg) in self.args().enumerate() {
                if position > 0 {
                    joined.push(b' ');
                }
                joined.extend_from_slice(arg.as_str()?.as_bytes());
            }
            Some(joined)
        });
        std::str::from_utf8(joined.as_ref()?).ok()
    }

    pub(crate) fn args(&self) -> impl Iterator<Item = &'a Value> + '_ {
        self.query
            .inputs
            .get("args")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    }

    /// Minutes since midnight, UTC.
    pub(crate) fn minute_of_day(&self) -> u32 {
        u32::try_from(self.query.now.as_second().rem_euclid(86_400) / 60).unwrap_or(0)
    }

    /// Days since Monday, UTC.
    pub(crate) fn weekday(&self) -> u32 {
        // 1970-01-01 was a Thursday.
        u32::try_from((self.query.now.as_second().div_euclid(86_400) + 3).rem_euclid(7))
            .unwrap_or(0)
    }
}
