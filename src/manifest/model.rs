//! The manifest as it is written: names resolved, templates not yet rendered.

use std::collections::BTreeMap;
use std::time::Duration;

use semver::VersionReq;

use super::{Located, Location, RegistryAccess, Sources, TagRule, VersionTag};
use crate::oci::{Digest, Platform};

/// A text that may hold `{{ … }}`; rendered once per distinct set of axis values it mentions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The text as written.
    pub text: String,
    /// Where the string stands (with its quotes).
    pub at: Location,
}

impl Template {
    /// Whether the text has nothing to render.
    pub fn is_literal(&self) -> bool {
        !self.text.contains("{{") && !self.text.contains("{%") && !self.text.contains("{#")
    }
}

/// A condition: a template expression without braces, e.g. `runtime.family == "node"`.
pub type Condition = Template;

/// Everything that `builds.toml` and its imports say.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The texts, for diagnostics.
    pub sources: Sources,
    /// `[project]`.
    pub project: Project,
    /// `[cache]`: where records and blobs of steps are shared between machines; may use `vars`.
    pub cache: Option<Template>,
    /// `[vars]`: `{{ vars.NAME }}` in every template; `--var` and `--vars` override.
    pub vars: BTreeMap<String, Located<String>>,
    /// `[registries."host"]`.
    pub registries: BTreeMap<String, RegistrySettings>,
    /// `[limits]`.
    pub limits: Limits,
    /// `[axes.*]` in order of declaration.
    pub axes: Vec<Axis>,
    /// `[tools.*]` in order of declaration.
    pub tools: Vec<Tool>,
    /// `[layers.*]` in order of declaration.
    pub layers: Vec<Layer>,
    /// `[images.*]` in order of declaration, `extends` and `"..."` already applied.
    pub images: Vec<Image>,
    /// `[checks.*]` in order of declaration.
    pub checks: Vec<Check>,
    /// `[[rules]]` in order of declaration.
    pub rules: Vec<Rule>,
    /// `[mirrors.*]` in order of declaration.
    pub mirrors: Vec<Mirror>,
}

/// `[mirrors.NAME]`: images of others that are copied into a registry; templates may use `vars`.
#[derive(Debug, Clone)]
pub struct Mirror {
    /// Its name.
    pub name: Located<String>,
    /// References; one that names no registry comes from `from`.
    pub images: Vec<Template>,
    /// A file with a reference a line, relative to the manifest.
    pub file: Option<Template>,
    /// Where images that name no registry come from; `docker.io` unless written.
    pub from: Option<Template>,
    /// What the names are put behind.
    pub to: Template,
    /// Whether signatures and other referrers are copied too.
    pub referrers: bool,
}

/// `[project]`.
#[derive(Debug, Clone)]
pub struct Project {
    /// A name for people.
    pub name: Located<String>,
    /// Push prefix (registry and path), may use `vars`; an image's repository is `{repository}/{name}`.
    pub repository: Option<Template>,
    /// Further push prefixes, which may use `vars`.
    pub destinations: Vec<Template>,
    /// The one platform that is built; `linux/amd64` unless written.
    pub platform: Platform,
}

/// `[registries."host"]` or `[registries."host/path"]`.
#[derive(Debug, Clone, Default)]
pub struct RegistrySettings {
    /// Plain HTTP; loopback needs no mark.
    pub insecure: bool,
    /// Requests a second, at most.
    pub requests_per_second: Option<f64>,
    /// Concurrent requests, at most.
    pub concurrency: Option<usize>,
    /// A PEM file with authorities of certificates, relative to the manifest.
    pub ca: Option<String>,
    /// Whether any certificate is taken.
    pub skip_tls_verify: bool,
    /// Who railyard is there.
    pub credentials: Option<RegistryAccess>,
    /// Who railyard is there for reading, where that differs.
    pub pull: Option<RegistryAccess>,
    /// What happens to tags that are there.
    pub existing_tags: Option<TagRule>,
    /// Whether missing ECR repositories are created.
    pub create: bool,
    /// A file with a lifecycle policy for ECR repositories, relative to the manifest.
    pub lifecycle_policy: Option<String>,
}

/// `[limits]`; of `memory`, `cpus`, `timeout` and `network` a step's own value wins.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// Containers at a time.
    pub containers: Option<usize>,
    /// Transfers at a time.
    pub transfers: Option<usize>,
    /// CPU-bound tasks at a time.
    pub cpu: Option<usize>,
    /// Defaults of container steps.
    pub step: StepLimits,
}

/// Limits of one container step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StepLimits {
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// CPUs, e.g. 1.5.
    pub cpus: Option<f64>,
    /// Longest run time.
    pub timeout: Option<Duration>,
    /// Network of the container.
    pub network: Option<Network>,
}

/// Network mode of a container step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// The engine's default bridge.
    Bridge,
    /// The engine's own network.
    Host,
    /// None.
    None,
}

/// `[axes.NAME]`.
#[derive(Debug, Clone)]
pub struct Axis {
    /// Its name, an identifier.
    pub name: Located<String>,
    /// Its values, in order, names distinct; empty only where they are discovered and not resolved yet.
    pub values: Vec<AxisValue>,
    /// Where its values come from, unless they are written.
    pub discovery: Option<Discovery>,
}

/// Versions that are looked up instead of written; the lock holds what was found.
#[derive(Debug, Clone)]
pub struct Discovery {
    /// Where it stands: the requirement, else the table.
    pub at: Location,
    /// What a version must fulfil.
    pub requirement: VersionReq,
    /// Only the newest so many.
    pub newest: Option<usize>,
    /// Whether every pre-release counts, not only those that the requirement names.
    pub prereleases: bool,
    /// Who lists the versions.
    pub source: VersionSource,
}

/// Who lists versions; templates may use `vars`.
#[derive(Debug, Clone)]
pub enum VersionSource {
    /// The versions of an npm package.
    Npm {
        /// The package's name.
        package: Located<String>,
        /// An image that has npm, for machines without.
        image: Option<Template>,
    },
    /// The tags of a repository.
    Tags {
        /// The repository.
        repository: Template,
        /// A regular expression for whole tags, whose group `version` is the version.
        pattern: Option<Located<String>>,
    },
    /// A document on a server.
    Url(Template),
    /// A file, relative to the manifest.
    File(Template),
}

/// A point on an axis: a name and attributes. `"x"` is short for `{ name = "x" }`.
#[derive(Debug, Clone)]
pub struct AxisValue {
    /// `{{ axis }}`.
    pub name: Located<String>,
    /// `{{ axis.attribute }}`; texts may use `vars`.
    pub attributes: BTreeMap<String, Attribute>,
}

/// An attribute's value.
#[derive(Debug, Clone)]
pub enum Attribute {
    /// Text, which may use `vars`.
    Text(Template),
    /// Text that is taken as it stands.
    Literal(String),
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A list.
    List(Vec<Attribute>),
}

/// `[tools.NAME]`: a versioned download.
#[derive(Debug, Clone)]
pub struct Tool {
    /// Its name.
    pub name: Located<String>,
    /// `{{ version }}` in the other templates; a layer's use may give another. `None` where it is
    /// discovered and not resolved yet.
    pub version: Option<Template>,
    /// Where its version comes from, unless it is written.
    pub discovery: Option<Discovery>,
    /// What is downloaded and where it goes.
    pub download: Download,
}

/// A download: mirrors in order of preference, one judge (sha256), one place.
#[derive(Debug, Clone)]
pub struct Download {
    /// Where it stands.
    pub at: Location,
    /// The mirrors, tried in order; at least one. `{{ version }}`, `{{ arch }}` and `{{ os }}` are defined.
    pub urls: Vec<Template>,
    /// 64 hexadecimal digits (with or without `sha256:`) of what is downloaded.
    pub sha256: Option<Template>,
    /// Absolute path in the image: of the file, or of the directory that an archive is extracted into.
    pub path: Template,
    /// Set when the download is an archive.
    pub extract: Option<Extract>,
    /// Permission bits of a file that is not extracted (default 0755 for tools, 0644 for downloads),
    /// or of everything extracted.
    pub mode: Option<Located<Chmod>>,
    /// Owner of all files; 0:0 unless set.
    pub owner: Option<Located<Owner>>,
}

/// What to take out of an archive.
#[derive(Debug, Clone)]
pub struct Extract {
    /// The archive's format.
    pub format: ArchiveFormat,
    /// Members to take (files or directories); all when empty. With exactly one file, `path` is
    /// that file's place unless it ends with `/`.
    pub members: Vec<Template>,
    /// Leading path components to drop.
    pub strip: usize,
}

/// Formats of archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveFormat {
    /// tar, plain.
    Tar,
    /// tar with gzip.
    TarGz,
    /// zip.
    Zip,
}

/// A change of permission bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chmod {
    /// Octal bits, replaced.
    Octal(u32),
    /// Symbolic clauses as in chmod(1), e.g. `u+x,go+rx`, in order.
    Symbolic(Vec<ChmodClause>),
}

/// One clause of a symbolic mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChmodClause {
    /// Bits 4 (user), 2 (group), 1 (others).
    pub who: u8,
    /// `+`, `-` or `=`.
    pub op: char,
    /// Bits 4 (read), 2 (write), 1 (execute).
    pub bits: u8,
    /// `X`: execute for directories and what is executable for somebody.
    pub execute_if_any: bool,
}

impl Chmod {
    /// The permission bits (lowest 12) after the change, as `COPY --chmod` of BuildKit has them:
    /// `X` looks at the bits before any clause, `u=` takes set-user-ID away and `g=` set-group-ID.
    pub fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        let clauses = match self {
            Self::Octal(bits) => return *bits,
            Self::Symbolic(clauses) => clauses,
        };
        let executable = is_dir || mode & 0o111 != 0;
        clauses.iter().fold(mode & 0o7777, |mode, clause| {
            let mut bits = u32::from(clause.bits);
            if clause.execute_if_any && executable {
                bits |= 1;
            }
            let spread = |bits: u32| {
                [(4u8, 6u32), (2, 3), (1, 0)]
                    .into_iter()
                    .filter(|(who, _)| clause.who & who != 0)
                    .fold(0, |all, (_, shift)| all | bits << shift)
            };
            match clause.op {
                '+' => mode | spread(bits),
                '-' => mode & !spread(bits),
                _ => mode & !spread(7) & !(u32::from(clause.who & 6) << 9) | spread(bits),
            }
        })
    }
}

/// Numeric owner and group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub uid: u64,
    /// Group id.
    pub gid: u64,
}

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

/// `[images.NAME]`, with all that it inherits.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its name in the manifest.
    pub id: Located<String>,
    /// The axes of its cells, in order; they exist.
    pub axes: Vec<Located<String>>,
    /// Last part of the repository; the id unless set.
    pub name: Template,
    /// Its tags; at least one of these or `version_tags` when it is pushed.
    pub tags: Vec<Template>,
    /// Versions that become tags.
    pub version_tags: Vec<VersionTag>,
    /// Push prefixes instead of the project's, for which `...` stands.
    pub destinations: Option<Vec<Template>>,
    /// What happens to tags that are there, over what registries say.
    pub existing_tags: Option<TagRule>,
    /// What it is built on.
    pub base: ImageSource,
    /// Where `base` stands.
    pub base_at: Location,
    /// The Dockerfile that makes it, instead of base, setup steps, layers and configuration.
    pub dockerfile: Option<DockerfileBuild>,
    /// Run steps on the base itself, chained.
    pub setup: Vec<Command>,
    /// Its layers, lowest first; they exist.
    pub layers: Vec<Located<String>>,
    /// Environment; `None` removes nothing (there is no unset in Dockerfile either).
    pub env: Vec<(String, Template)>,
    /// Put before the base's PATH.
    pub path: Vec<PathEntry>,
    /// User.
    pub user: Option<Template>,
    /// Working directory.
    pub workdir: Option<Template>,
    /// Entrypoint; setting it clears an inherited CMD.
    pub entrypoint: Option<Vec<Template>>,
    /// CMD.
    pub cmd: Option<Vec<Template>>,
    /// Labels.
    pub labels: Vec<(String, Template)>,
    /// Rows added to the product: axis -> value name.
    pub include: Vec<Row>,
    /// Rows removed: cells that have all these values.
    pub exclude: Vec<Row>,
    /// Groups of axes that advance together instead of multiplying.
    pub zip: Vec<Vec<Located<String>>>,
    /// No cell where it is false.
    pub when: Option<Condition>,
    /// Its checks; they exist, or are [`ABI_CHECK`].
    pub checks: Vec<Located<String>>,
    /// Its setup steps and the runs of its layers run again when their result is older.
    pub max_age: Option<Duration>,
    /// Whether its cells are pushed; false for images that only others use.
    pub push: bool,
    /// What later steps of a pipeline are told: key -> value.
    pub outputs: Vec<(String, Template)>,
}

/// `dockerfile = { … }` of an image.
#[derive(Debug, Clone)]
pub struct DockerfileBuild {
    /// Where it stands.
    pub at: Location,
    /// The directory, relative to the manifest.
    pub context: Template,
    /// The Dockerfile, relative to the context; `Dockerfile` unless set.
    pub file: Option<Template>,
    /// The stage; the last unless set.
    pub target: Option<Template>,
    /// Build arguments.
    pub args: Vec<(Located<String>, Template)>,
    /// Images that FROM, COPY --from and RUN --mount=from= may name.
    pub contexts: Vec<(Located<String>, ImageSource)>,
    /// Secret id -> name of the environment variable of railyard's that holds the value. Outside key,
    /// layer and log.
    pub secrets: BTreeMap<String, Located<String>>,
    /// Network of its RUN instructions.
    pub network: Option<Network>,
}

/// An entry of an image's `path`.
#[derive(Debug, Clone)]
pub struct PathEntry {
    /// A list that it stands once for each item of; the template then has `item`.
    pub each: Option<Condition>,
    /// The directory.
    pub path: Template,
}

/// A row of `include` or `exclude`.
#[derive(Debug, Clone)]
pub struct Row {
    /// Where it stands.
    pub at: Location,
    /// Axis -> name of a value (a glob in `exclude`).
    pub values: BTreeMap<String, Located<String>>,
}

/// `[checks.NAME]`: what a finished image must pass: a command, files, a size; at least one of them.
#[derive(Debug, Clone)]
pub struct Check {
    /// Its name.
    pub name: Located<String>,
    /// The command, run with the image's own environment.
    pub command: Option<Command>,
    /// Exit code that is success.
    pub exit: i64,
    /// Text that standard output and error must contain.
    pub expect: Option<Template>,
    /// What its files must be, judged without a container.
    pub files: Vec<FileCheck>,
    /// How large it may be, judged without a container.
    pub size: SizeBudget,
}

/// What a path of a finished image must be. What is not said may be anything.
#[derive(Debug, Clone)]
pub struct FileCheck {
    /// Absolute path. Symbolic links before its last component are followed, that one is not.
    pub path: Template,
    /// What it is.
    pub kind: Option<FileKind>,
    /// Its permission bits (lowest 12).
    pub mode: Option<u32>,
    /// Its owner.
    pub owner: Option<Owner>,
    /// Whether nothing may be there instead.
    pub absent: bool,
}

/// Kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
}

impl FileKind {
    /// Its name in the manifest.
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Link => "link",
        }
    }
}

/// How many bytes an image may have, compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct SizeBudget {
    /// Of all its layers.
    pub image: Option<u64>,
    /// Of the layers above its base.
    pub added: Option<u64>,
}

impl SizeBudget {
    /// Whether there is no limit.
    pub fn is_empty(&self) -> bool {
        self.image.is_none() && self.added.is_none()
    }
}

/// The name of the built-in check, which compares programs with the libraries of their base.
pub const ABI_CHECK: &str = "abi";

/// `[[rules]]`: what is said of cells for which a condition is true.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Where it stands.
    pub at: Location,
    /// The images it is about; they exist. `None`: all that have the axes it mentions.
    pub images: Option<Vec<Located<String>>>,
    /// Of which cells it speaks: those where this is true.
    pub when: Condition,
    /// What it does.
    pub level: RuleLevel,
    /// What it says.
    pub message: Template,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleLevel {
    /// Prints its message.
    Warn,
    /// Makes the cell a mistake.
    Reject,
}

/// A duration as written in a manifest: `90s`, `30m`, `1h30m`.
///
/// # Errors
/// What is wrong with it, and what to write.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    super::values::duration(text).map_err(|fault| format!("{}; {}", fault.message, fault.help))
}

/// A literal sha256 as written in a manifest: bare digits or with `sha256:`.
///
/// # Errors
/// When it is neither.
pub fn parse_sha256(text: &str) -> Result<Digest, crate::oci::DigestError> {
    Digest::from_hex(text.strip_prefix("sha256:").unwrap_or(text))
}
