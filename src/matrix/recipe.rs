//! Dockerfiles with everything rendered, and what they were found to be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::cell::{CellId, Matrix, Source};
use crate::dockerfile::{Context, Dockerfile, UseKind};
use crate::manifest::{Location, Network};
use crate::oci::Reference;

/// What a `dockerfile` of the manifest says, rendered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DockerfileSpec {
    /// The directory, relative to the manifest.
    pub context: String,
    /// The Dockerfile, relative to the context.
    pub file: String,
    /// The stage to build; the last unless set.
    pub target: Option<String>,
    /// Build arguments, in order.
    pub args: Vec<(String, String)>,
    /// Names that the Dockerfile may use, and what they mean.
    pub contexts: Vec<(String, Source)>,
    /// Secret id -> environment variable of railyard's.
    pub secrets: Vec<(String, String)>,
    /// Network of its RUN instructions.
    pub network: Option<NetworkName>,
}

/// [`Network`] that can be hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NetworkName {
    /// The engine's own.
    Host,
    /// None.
    None,
}

impl NetworkName {
    /// Of a network that is not the usual one.
    pub fn of(network: Option<Network>) -> Option<Self> {
        match network? {
            Network::Bridge => None,
            Network::Host => Some(Self::Host),
            Network::None => Some(Self::None),
        }
    }
}

/// A Dockerfile that cells are made by.
#[derive(Debug, Clone)]
pub struct ConcreteDockerfile {
    /// What the manifest says.
    pub spec: DockerfileSpec,
    /// Where it stands.
    pub at: Location,
    /// Where its secrets stand, in their order.
    pub secrets_at: Vec<Location>,
    /// What was found in its directory; it is there in every matrix that is planned.
    pub recipe: Option<Arc<Recipe>>,
}

/// A Dockerfile and its context, read.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// The Dockerfile.
    pub dockerfile: Dockerfile,
    /// Its context.
    pub context: Arc<Context>,
    /// The file that says what of the directory is no part of the context.
    pub ignore: Option<PathBuf>,
    /// What each of the Dockerfile's names means.
    pub sources: Vec<Source>,
}

impl Recipe {
    /// What the stage that is built begins with; [`Source::Scratch`] where it is nothing.
    pub fn base(&self) -> &Source {
        self.dockerfile.base.map_or(&Source::Scratch, |base| &self.sources[base])
    }

    /// Whether a stage begins with a source.
    pub fn begins_with(&self, source: &Source) -> bool {
        let names = self.dockerfile.names.iter().zip(&self.sources);
        names.filter(|(name, _)| name.kind == UseKind::From).any(|(_, known)| known == source)
    }

    /// Its distinct sources, in order of the file.
    pub fn distinct_sources(&self) -> Vec<&Source> {
        let mut distinct: Vec<&Source> = Vec::new();
        for source in &self.sources {
            if !distinct.contains(&source) {
                distinct.push(source);
            }
        }
        distinct
    }
}

impl DockerfileSpec {
    /// For people: file and stage.
    pub fn label(&self) -> String {
        let path = std::path::Path::new(&self.context).join(&self.file);
        let target = self.target.as_ref().map(|target| format!(" to {target}"));
        format!("{}{}", path.display(), target.unwrap_or_default())
    }

    /// The build arguments by name.
    pub fn arguments(&self) -> BTreeMap<String, String> {
        self.args.iter().cloned().collect()
    }

    /// The names that it gives to images.
    pub fn context_names(&self) -> BTreeSet<String> {
        self.contexts.iter().map(|(name, _)| name.clone()).collect()
    }

    /// What a name in the Dockerfile means.
    ///
    /// # Errors
    /// A name that is neither a context nor a reference.
    pub fn source(&self, name: &str) -> Result<Source, crate::oci::ReferenceError> {
        match self.contexts.iter().find(|(known, _)| known == name) {
            Some((_, source)) => Ok(source.clone()),
            None => name.parse::<Reference>().map(Source::Reference),
        }
    }
}

impl Matrix {
    /// The images in registries whose layers a cell's image may begin with.
    pub fn bases(&self, cell: CellId) -> Vec<&Reference> {
        fn reference(source: &Source) -> Option<&Reference> {
            match source {
                Source::Reference(reference) => Some(reference),
                _ => None,
            }
        }
        match &self.cells[cell.0].base {
            Source::Dockerfile(made) => {
                self.recipe(*made).distinct_sources().into_iter().filter_map(reference).collect()
            }
            base => reference(base).into_iter().collect(),
        }
    }

    /// What a Dockerfile was found to be.
    ///
    /// # Panics
    /// When it was not read.
    pub fn recipe(&self, id: super::DockerfileId) -> &Arc<Recipe> {
        self.dockerfiles[id.0].recipe.as_ref().expect("Dockerfiles are read before anything is planned")
    }
}
