//! Images.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::manifest::{
    Command, Condition, ImageSource, Located, Location, Network, TagRule, Template, VersionTag,
};

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
    /// Its checks; they exist, or are [`ABI_CHECK`](crate::manifest::ABI_CHECK).
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
