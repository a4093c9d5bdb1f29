//! Cells and the concrete layers, commands and checks they list.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::recipe::ConcreteDockerfile;
use super::stamp::StampedTag;
use crate::manifest::{ArchiveFormat, Chmod, ExistingTags, FileKind, Located, Owner, SizeBudget, StepLimits};
use crate::oci::{Digest, Platform, Reference, RepositoryName};

/// Everything to build, rendered.
#[derive(Debug, Clone)]
pub struct Matrix {
    /// The project's name.
    pub project: String,
    /// The platform of every image.
    pub platform: Platform,
    /// Where records and blobs are shared, if anywhere.
    pub cache: Option<RepositoryName>,
    /// The cells, by image in order of declaration, then with the last axis varying fastest.
    pub cells: Vec<Cell>,
    /// The distinct layers that cells list.
    pub layers: Vec<ConcreteLayer>,
    /// The distinct Dockerfiles that cells are made by.
    pub dockerfiles: Vec<ConcreteDockerfile>,
    /// What rules of level `warn` say, in the order of the rules.
    pub warnings: Vec<Warning>,
}

/// What a rule says of some cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The message.
    pub text: String,
    /// The cells that it is about, in order.
    pub cells: Vec<CellId>,
}

/// Position of a cell in [`Matrix::cells`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct CellId(pub usize);

/// Position of a layer in [`Matrix::layers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct LayerId(pub usize);

/// Position of a Dockerfile in [`Matrix::dockerfiles`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct DockerfileId(pub usize);

/// One combination: an image at a point of its axes.
#[derive(Debug, Clone)]
pub struct Cell {
    /// `image[axis=value,…]`, or `image` without axes.
    pub name: String,
    /// The image's name in the manifest.
    pub image: Arc<str>,
    /// Axis and value, in the image's order of axes.
    pub coordinates: Vec<(Arc<str>, Arc<str>)>,
    /// Repositories and tags: of the first destination, then of the others.
    pub references: Vec<Reference>,
    /// What is done with each of them.
    pub tags: Vec<TagUse>,
    /// Tags with the time of the run that writes them.
    pub stamped: Vec<StampedTag>,
    /// Whether the image is meant to be pushed (`push = false` otherwise).
    pub push: bool,
    /// What it is built on.
    pub base: Source,
    /// Steps on the base itself.
    pub setup: Vec<Arc<ConcreteCommand>>,
    /// Layers, lowest first.
    pub layers: Vec<LayerId>,
    /// Configuration, with placeholders for `base.env`.
    pub config: Arc<ConfigSpec>,
    /// Checks of the finished image.
    pub checks: Vec<Arc<ConcreteCheck>>,
    /// Its setup steps and the runs of its layers run again when their result is older.
    pub max_age: Option<Duration>,
    /// Whether it has the built-in check `abi`.
    pub abi: bool,
    /// What later steps of a pipeline are told, see [`fill_run`](super::fill_run); part of no key.
    pub outputs: Vec<Output>,
}

impl Cell {
    /// The repositories that it is pushed to, each once, in order of its tags.
    pub fn repositories(&self) -> Vec<RepositoryName> {
        let mut repositories: Vec<RepositoryName> = Vec::new();
        let names = self.references.iter().map(|reference| &reference.name);
        for name in names.chain(self.stamped.iter().map(|tag| &tag.repository)) {
            if !repositories.contains(name) {
                repositories.push(name.clone());
            }
        }
        repositories
    }

    /// Its references, those with a time in them as they are shown to people.
    pub fn shown_references(&self) -> impl Iterator<Item = Reference> + '_ {
        self.references.iter().cloned().chain(self.stamped.iter().map(StampedTag::shown))
    }
}

/// What is done with a tag.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TagUse {
    /// What happens where it is there and has another image.
    pub existing: ExistingTags,
    /// Whether it was shortened from a version, and moves with every new one.
    pub floating: bool,
}

/// An output: its key, and its value.
pub type Output = (Arc<str>, Arc<str>);

/// An image to take from, run in or build on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// Nothing.
    Scratch,
    /// An image in a registry.
    Reference(Reference),
    /// An OCI image layout in a directory.
    Layout(String),
    /// A cell of this matrix.
    Cell(CellId),
    /// What a Dockerfile makes: the base of the cells made by it, and of nothing else.
    Dockerfile(DockerfileId),
}

/// A layer with everything rendered.
#[derive(Debug, Clone)]
pub struct ConcreteLayer {
    /// The layer's name in the manifest.
    pub name: String,
    /// A run runs again when its result is older.
    pub max_age: Option<Duration>,
    /// What makes it.
    pub content: ConcreteContent,
}

/// What makes a concrete layer.
#[derive(Debug, Clone)]
pub enum ConcreteContent {
    /// In-process parts, in order; never empty.
    Parts(Vec<ConcretePart>),
    /// A command in a builder image.
    Run(Box<ConcreteRun>),
}

/// One in-process part.
#[derive(Debug, Clone)]
pub enum ConcretePart {
    /// Files of an image.
    Copy(ConcreteCopy),
    /// A download.
    Download(ConcreteDownload),
    /// A file.
    File {
        /// Absolute path.
        path: String,
        /// Content.
        content: String,
        /// Permission bits.
        mode: u32,
        /// Owner.
        owner: Owner,
    },
    /// A file of this machine.
    Local {
        /// Absolute path in the image.
        path: String,
        /// Where it lies on this machine.
        source: String,
        /// Permission bits.
        mode: u32,
        /// Owner.
        owner: Owner,
    },
    /// A directory.
    Dir {
        /// Absolute path.
        path: String,
        /// Permission bits.
        mode: u32,
        /// Owner.
        owner: Owner,
    },
}

/// Files of an image.
#[derive(Debug, Clone)]
pub struct ConcreteCopy {
    /// The image.
    pub from: Source,
    /// Absolute paths.
    pub paths: Vec<String>,
    /// Destination, if not the same path.
    pub to: Option<String>,
    /// Change of permission bits.
    pub chmod: Option<Chmod>,
    /// New owner.
    pub owner: Option<Owner>,
}

/// A download.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConcreteDownload {
    /// The tool's name, or the layer's.
    pub name: String,
    /// Mirrors, in order.
    pub urls: Vec<String>,
    /// The first one as it is shown, recorded and locked: in the place of what the command line gives for its
    /// query, which may be a credential, are the names of the variables.
    pub shown: String,
    /// Digest that the manifest demands.
    pub sha256: Option<Digest>,
    /// Where it goes: the file itself; of an archive that is extracted the directory too, with a `/` at
    /// its end.
    pub path: String,
    /// What is taken out of an archive.
    pub extract: Option<ConcreteExtract>,
    /// Permission bits; an archive's own where it is extracted and this is `None`.
    pub mode: Option<u32>,
    /// Owner.
    pub owner: (u64, u64),
}

/// What is taken out of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConcreteExtract {
    /// Format, as text for keys: `tar`, `tar.gz` or `zip`.
    pub format: ArchiveName,
    /// Members; all when empty.
    pub members: Vec<String>,
    /// Leading components to drop.
    pub strip: usize,
}

/// [`ArchiveFormat`] that can be hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ArchiveName {
    /// tar, plain.
    Tar,
    /// tar with gzip.
    TarGz,
    /// zip.
    Zip,
}

impl From<ArchiveFormat> for ArchiveName {
    fn from(format: ArchiveFormat) -> Self {
        match format {
            ArchiveFormat::Tar => Self::Tar,
            ArchiveFormat::TarGz => Self::TarGz,
            ArchiveFormat::Zip => Self::Zip,
        }
    }
}

/// A command whose kept paths become a layer.
#[derive(Debug, Clone)]
pub struct ConcreteRun {
    /// The builder image.
    pub image: Source,
    /// Absolute paths that become the layer.
    pub keep: Vec<String>,
    /// Trees that narrow the key.
    pub reads: Vec<String>,
    /// The command.
    pub command: ConcreteCommand,
}

/// A command with everything rendered.
#[derive(Debug, Clone)]
pub struct ConcreteCommand {
    /// Shell and its options.
    pub shell: Vec<String>,
    /// The script.
    pub script: String,
    /// Environment.
    pub env: Vec<(String, String)>,
    /// User.
    pub user: Option<String>,
    /// Working directory.
    pub workdir: Option<String>,
    /// Cache directories.
    pub cache: Vec<String>,
    /// File under `/run/secrets` -> environment variable of railyard's.
    pub secrets: Vec<(String, Located<String>)>,
    /// Limits, the project's defaults applied.
    pub limits: StepLimits,
}

/// A check with everything rendered.
#[derive(Debug, Clone)]
pub struct ConcreteCheck {
    /// Its name.
    pub name: String,
    /// The command, where it has one.
    pub command: Option<ConcreteCommand>,
    /// Exit code that is success.
    pub exit: i64,
    /// Text that the output must contain.
    pub expect: Option<String>,
    /// What files must be.
    pub files: Vec<ConcreteFileCheck>,
    /// How large the image may be.
    pub size: SizeBudget,
}

/// What a path must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConcreteFileCheck {
    /// Absolute path.
    pub path: String,
    /// What it is, if that counts.
    pub kind: Option<FileKind>,
    /// Its permission bits, if they count.
    pub mode: Option<u32>,
    /// Its owner, if that counts.
    pub owner: Option<Owner>,
    /// Whether nothing may be there instead.
    pub absent: bool,
}

/// What the manifest says of an image's configuration.
///
/// Texts may hold placeholders for the base's environment, see [`fill_base_env`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ConfigSpec {
    /// Variables, in order.
    pub env: Vec<(String, String)>,
    /// Put before PATH, in order.
    pub path: Vec<String>,
    /// User.
    pub user: Option<String>,
    /// Working directory.
    pub workdir: Option<String>,
    /// Entrypoint.
    pub entrypoint: Option<Vec<String>>,
    /// CMD.
    pub cmd: Option<Vec<String>>,
    /// Labels.
    pub labels: Vec<(String, String)>,
}

const OPEN: char = '\u{1}';
const CLOSE: char = '\u{2}';

/// The text that stands for `{{ base.env.NAME }}` until assembly.
pub(super) fn base_env_placeholder(name: &str) -> String {
    format!("{OPEN}{name}{CLOSE}")
}

/// Whether a text refers to the base's environment.
pub fn mentions_base_env(text: &str) -> bool {
    text.contains(OPEN)
}

/// The text as it was written, for people: placeholders as templates again.
pub fn show_base_env(text: &str) -> String {
    text.replace(OPEN, "{{ base.env.").replace(CLOSE, " }}")
}

/// Whether a text begins with a variable of the base, so that its beginning is not known yet.
pub(super) fn starts_with_base_env(text: &str) -> bool {
    text.starts_with(OPEN)
}

/// Replaces what stands for `{{ base.env.NAME }}` by the variable of the base.
///
/// # Errors
/// The name of a variable that the base does not have.
pub fn fill_base_env(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(OPEN) {
        let (name, behind) = after.split_once(CLOSE).expect("placeholders are written whole");
        filled.push_str(before);
        filled.push_str(&lookup(name).ok_or_else(|| name.to_owned())?);
        rest = behind;
    }
    filled.push_str(rest);
    Ok(filled)
}
