//! Content keys: what decides the bytes of a step, hashed.

use std::fmt::Write as _;

use petgraph::graph::{DiGraph, NodeIndex};

use super::step::{CellSteps, Step};
use crate::lock::Lock;
use crate::manifest::{Chmod, FileKind, Network};
use crate::matrix::{
    ArchiveName, ConcreteCheck, ConcreteCommand, ConcreteCopy, ConcreteDownload, ConcreteFileCheck,
    ConcretePart, ConcreteRun, ConfigSpec, DockerfileSpec, NetworkName, Recipe, Source,
};
use crate::oci::{Digest, Hasher, Platform, Reference};

/// Changes when the making of layers changes their bytes: part of every key.
pub(super) const KEY_VERSION: u32 = 1;

/// Changes when the built-in check `abi` judges otherwise: part of its keys.
pub(super) const ABI_VERSION: u32 = 1;

/// A hash of labelled fields.
#[derive(Clone)]
pub(super) struct Key(Hasher);

impl Key {
    pub fn new(kind: &str, platform: &Platform) -> Self {
        let mut key = Self(Hasher::new());
        key.text("railyard").text(kind).number(u64::from(KEY_VERSION)).text(&platform.to_string());
        key
    }

    pub fn text(&mut self, text: &str) -> &mut Self {
        self.0.field(text.as_bytes());
        self
    }

    pub fn digest(&mut self, digest: &Digest) -> &mut Self {
        self.0.field(digest.as_bytes());
        self
    }

    pub fn number(&mut self, number: u64) -> &mut Self {
        self.0.field(&number.to_le_bytes());
        self
    }

    pub fn optional(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            None => self.number(0),
            Some(text) => self.number(1).text(text),
        }
    }

    pub fn list<'a>(&mut self, items: impl ExactSizeIterator<Item = &'a str>) -> &mut Self {
        self.number(items.len() as u64);
        for item in items {
            self.text(item);
        }
        self
    }

    pub fn pairs(&mut self, items: &[(String, String)]) -> &mut Self {
        self.number(items.len() as u64);
        for (name, value) in items {
            self.text(name).text(value);
        }
        self
    }

    pub fn finish(self) -> Digest {
        self.0.finish()
    }
}

/// What identifies the content of a source or a download in a key.
pub(super) struct Identity {
    pub text: String,
    /// Not pinned: the identity is only a name.
    pub provisional: bool,
}

impl Identity {
    /// What has a digest is its digest; what has none yet is only a name.
    pub fn new(digest: Option<Digest>, name: impl FnOnce() -> String) -> Self {
        match digest {
            Some(digest) => Self { text: digest.to_string(), provisional: false },
            None => Self { text: name(), provisional: true },
        }
    }

    /// What is identified by a text for good.
    pub fn fixed(text: impl Into<String>) -> Self {
        Self { text: text.into(), provisional: false }
    }
}

/// Digest of an image in a registry: the lock's, else its own.
pub(super) fn image_digest(lock: &Lock, platform: &Platform, reference: &Reference) -> Option<Digest> {
    lock.image(reference, platform).map(|image| image.digest).or(reference.digest)
}

/// sha256 of a download: the manifest's, else the lock's.
pub(super) fn download_digest(lock: &Lock, download: &ConcreteDownload) -> Option<Digest> {
    download.sha256.or_else(|| lock.downloads.get(&download.shown).map(|locked| locked.sha256))
}

/// What is copied out of an image, where the lock has the digests of all of it.
pub(super) fn copied_text(lock: &Lock, platform: &Platform, copy: &ConcreteCopy) -> Option<String> {
    let Source::Reference(reference) = &copy.from else { return None };
    let image = lock.image(reference, platform)?;
    let mut text = String::from("copies");
    for path in &copy.paths {
        let _ = write!(text, ";{path}={}", image.copies.get(path)?);
    }
    Some(text)
}

/// The files of a cell's image, whatever its configuration: what lies on top decides all beneath.
pub(super) fn files_text(graph: &DiGraph<Step, ()>, steps: &CellSteps) -> String {
    let top = steps.places.last().or(steps.setup.last());
    let key = top.map_or(steps.identity, |step| graph[NodeIndex::from(*step)].key);
    format!("files:{key}")
}

/// What a run reads of its builder, where it says so and the lock has the digests of all of it.
pub(super) fn read_text(lock: &Lock, platform: &Platform, run: &ConcreteRun) -> Option<String> {
    let Source::Reference(reference) = &run.image else { return None };
    let image = lock.image(reference, platform).filter(|_| !run.reads.is_empty())?;
    let mut text = format!("reads:{}", image.environment?);
    for path in &run.reads {
        let _ = write!(text, ";{path}={}", image.trees.get(path)?);
    }
    Some(text)
}

/// A part of a layer; `identity` is the copied image's or the download's.
pub(super) fn part(key: &mut Key, part: &ConcretePart, identity: &Identity) {
    match part {
        ConcretePart::Copy(copy) => {
            key.text("copy").text(&identity.text).list(copy.paths.iter().map(String::as_str));
            key.optional(copy.to.as_deref());
            chmod(key, copy.chmod.as_ref());
            match copy.owner {
                None => key.number(0),
                Some(owner) => key.number(1).number(owner.uid).number(owner.gid),
            };
        }
        ConcretePart::Download(download) => download_fields(key, download, identity),
        ConcretePart::File { path, content, mode, owner } => {
            key.text("file").text(path).text(content).number(u64::from(*mode));
            key.number(owner.uid).number(owner.gid);
        }
        ConcretePart::Local { path, mode, owner, .. } => {
            key.text("local").text(path).text(&identity.text).number(u64::from(*mode));
            key.number(owner.uid).number(owner.gid);
        }
        ConcretePart::Dir { path, mode, owner } => {
            key.text("dir").text(path).number(u64::from(*mode)).number(owner.uid).number(owner.gid);
        }
    }
}

fn download_fields(key: &mut Key, download: &ConcreteDownload, identity: &Identity) {
    key.text("download").text(&identity.text).text(&download.path);
    key.optional(download.mode.map(|m| format!("{m:o}")).as_deref());
    key.number(download.owner.0).number(download.owner.1);
    match &download.extract {
        None => {
            key.number(0);
        }
        Some(extract) => {
            let format = match extract.format {
                ArchiveName::Tar => "tar",
                ArchiveName::TarGz => "tar.gz",
                ArchiveName::Zip => "zip",
            };
            key.number(1).text(format).number(extract.strip as u64);
            key.list(extract.members.iter().map(String::as_str));
        }
    }
}

fn chmod(key: &mut Key, chmod: Option<&Chmod>) {
    match chmod {
        None => key.number(0),
        Some(Chmod::Octal(bits)) => key.number(1).number(u64::from(*bits)),
        Some(Chmod::Symbolic(clauses)) => {
            key.number(2).number(clauses.len() as u64);
            for clause in clauses {
                key.text(&format!("{}{}{}{}", clause.who, clause.op, clause.bits, clause.execute_if_any));
            }
            key
        }
    };
}

/// A command: what it does, not how long or with how much memory it may.
pub(super) fn command(key: &mut Key, command: &ConcreteCommand) {
    key.list(command.shell.iter().map(String::as_str)).text(&command.script).pairs(&command.env);
    key.optional(command.user.as_deref()).optional(command.workdir.as_deref());
    key.number(u64::from(command.limits.network == Some(Network::None)));
}

/// A run; `builder` is the builder image's identity or what of it is read.
pub(super) fn run(key: &mut Key, run: &ConcreteRun, builder: &Identity) {
    key.text("run").text(&builder.text).list(run.keep.iter().map(String::as_str));
    command(key, &run.command);
}

/// Changes when the building of Dockerfiles changes their images: part of their keys.
const DOCKERFILE_VERSION: u32 = 1;

/// A Dockerfile without its sources: what it does and with which files.
pub(super) fn dockerfile(key: &mut Key, spec: &DockerfileSpec, recipe: &Recipe) {
    key.number(u64::from(DOCKERFILE_VERSION)).text(&recipe.dockerfile.text).digest(&recipe.context.digest);
    key.optional(spec.target.as_deref()).pairs(&spec.args);
    key.number(u64::from(spec.network == Some(NetworkName::None)));
}

/// An image's configuration.
pub(super) fn config(key: &mut Key, spec: &ConfigSpec) {
    key.pairs(&spec.env).list(spec.path.iter().map(String::as_str)).pairs(&spec.labels);
    key.optional(spec.user.as_deref()).optional(spec.workdir.as_deref());
    for argv in [&spec.entrypoint, &spec.cmd] {
        match argv {
            None => key.number(0),
            Some(argv) => key.number(1).list(argv.iter().map(String::as_str)),
        };
    }
}

/// The key of a check's result: decided by the image it was run in.
pub fn check_result(image: &Digest, check: &ConcreteCheck, platform: &Platform) -> Digest {
    let mut key = Key::new("check result", platform);
    key.digest(image);
    self::check(&mut key, check);
    key.finish()
}

/// The key of the result of the built-in check `abi`: decided by the image and how it is judged.
pub fn abi_result(image: &Digest, platform: &Platform) -> Digest {
    let mut key = Key::new("abi result", platform);
    key.digest(image).number(u64::from(ABI_VERSION));
    key.finish()
}

/// A check.
pub(super) fn check(key: &mut Key, check: &ConcreteCheck) {
    key.text(&check.name).number(check.exit as u64).optional(check.expect.as_deref());
    match &check.command {
        Some(own) => command(key, own),
        None => drop(key.text("no command")),
    }
    // What a check does not have is not in its key: those of earlier versions stay.
    if !check.files.is_empty() {
        key.text("files").number(check.files.len() as u64);
        check.files.iter().for_each(|file| file_check(key, file));
    }
    if !check.size.is_empty() {
        key.text("size");
        for limit in [check.size.image, check.size.added] {
            key.optional(limit.map(|bytes| bytes.to_string()).as_deref());
        }
    }
}

fn file_check(key: &mut Key, file: &ConcreteFileCheck) {
    key.text(&file.path).number(u64::from(file.absent));
    key.optional(file.kind.map(FileKind::name));
    key.optional(file.mode.map(|mode| format!("{mode:o}")).as_deref());
    key.optional(file.owner.map(|owner| format!("{}:{}", owner.uid, owner.gid)).as_deref());
}
