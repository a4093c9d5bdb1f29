//! Layers and what makes them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::manifest::{Chmod, Condition, Download, Located, Location, Owner, StepLimits, Template};

/// `[layers.NAME]`: files made without a base (`copy`, `tools`, `downloads`, `files`, `dirs`, put
/// together in this order), or by a `run`; never both.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Its name.
    pub name: Located<String>,
    /// Left out of a cell where it is false.
    pub when: Option<Condition>,
    /// A list that it stands once for each item of; its templates then have `item`.
    pub each: Option<Condition>,
    /// A run runs again when its result is older.
    pub max_age: Option<Duration>,
    /// What makes it.
    pub content: LayerContent,
}

/// What makes a layer.
#[derive(Debug, Clone)]
pub enum LayerContent {
    /// In-process parts.
    Parts(Vec<Part>),
    /// A command in a container of a builder image.
    Run(Box<Run>),
}

/// One in-process part of a layer.
#[derive(Debug, Clone)]
pub enum Part {
    /// `copy = [{ … }]`.
    Copy(Copy),
    /// `tools = ["name", { tool = "name", version = "…" }]`.
    Tool(ToolUse),
    /// `downloads = [{ … }]`.
    Download(Download),
    /// `files = [{ path, content, mode, owner }]`.
    File(FileEntry),
    /// `dirs = [{ path, mode, owner }]`.
    Dir(DirEntry),
}

/// Files of an image.
#[derive(Debug, Clone)]
pub struct Copy {
    /// Where it stands.
    pub at: Location,
    /// The image.
    pub from: ImageSource,
    /// Absolute paths. A trailing `/` is allowed on directories, which are copied with their content.
    pub paths: Vec<Template>,
    /// Destination; only with one path, or ending with `/`. The same path unless set.
    pub to: Option<Template>,
    /// Change of the permission bits of files and directories copied.
    pub chmod: Option<Located<Chmod>>,
    /// New owner; kept unless set.
    pub owner: Option<Located<Owner>>,
    /// Left out of a cell where it is false.
    pub when: Option<Condition>,
}

/// An image that something is taken from, run in or built on.
#[derive(Debug, Clone)]
pub enum ImageSource {
    /// A reference, or `oci:DIR`.
    Reference(Template),
    /// An image of the matrix by its name; cells are matched on the axes they share.
    Matrix(Located<String>),
    /// Nothing at all (`base = "scratch"`).
    Scratch,
}

/// A tool in a layer.
#[derive(Debug, Clone)]
pub struct ToolUse {
    /// The tool's name, alone; it exists where it is no template. What a template renders to may
    /// be `name@version`.
    pub tool: Template,
    /// Another version than the tool's own.
    pub version: Option<Template>,
    /// Left out of a cell where it is false.
    pub when: Option<Condition>,
}

/// A file given in the manifest, or beside it.
#[derive(Debug, Clone)]
pub struct FileEntry {
    /// Absolute path.
    pub path: Template,
    /// Content; empty where there is a source.
    pub content: Template,
    /// The file that holds the content, relative to the manifest.
    pub source: Option<Template>,
    /// Octal mode, 0644 unless set.
    pub mode: Option<Located<Chmod>>,
    /// Owner, 0:0 unless set.
    pub owner: Option<Located<Owner>>,
}

/// A directory given in the manifest; it gets this mode and owner even where the base has it.
#[derive(Debug, Clone)]
pub struct DirEntry {
    /// Absolute path.
    pub path: Template,
    /// Octal mode, 0755 unless set.
    pub mode: Option<Located<Chmod>>,
    /// Owner, 0:0 unless set.
    pub owner: Option<Located<Owner>>,
}

/// A command in a container of a builder image whose kept paths become the layer.
#[derive(Debug, Clone)]
pub struct Run {
    /// Where it stands.
    pub at: Location,
    /// The builder image.
    pub image: ImageSource,
    /// Absolute paths that become the layer; at least one.
    pub keep: Vec<Template>,
    /// Narrows the key from the builder's digest to these trees.
    pub reads: Vec<Template>,
    /// The command.
    pub command: Command,
}

/// A shell script and how it is run.
#[derive(Debug, Clone)]
pub struct Command {
    /// Where it stands.
    pub at: Location,
    /// Of setup steps: left out of a cell where it is false.
    pub when: Option<Condition>,
    /// Text given to `/bin/sh -e` (or to `shell`).
    pub script: Template,
    /// The shell, `["/bin/sh", "-ec"]` unless set.
    pub shell: Option<Vec<String>>,
    /// Environment beside the image's.
    pub env: BTreeMap<String, Template>,
    /// User; the image's unless set.
    pub user: Option<Template>,
    /// Working directory; the image's unless set.
    pub workdir: Option<Template>,
    /// Directories kept between runs, outside key and layer.
    pub cache: Vec<Template>,
    /// Secrets: file name under `/run/secrets` -> name of the environment variable of railyard's
    /// that holds the value. Outside key, layer and log.
    pub secrets: BTreeMap<String, Located<String>>,
    /// Limits.
    pub limits: StepLimits,
}
