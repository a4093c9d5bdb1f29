//! What goes into an image, in words that can be compared later: the reason for every rebuild.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::builder::{Inputs, cell_text};
use super::key::{self, Identity, Key};
use super::step::{CellSteps, Plan};
use crate::matrix::{ConcreteContent, ConcretePart, ConfigSpec, DockerfileId, Matrix, NetworkName, Source};
use crate::oci::Digest;

/// What goes into a cell's image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ingredients {
    /// The cell's name.
    pub cell: String,
    /// The image's name in the manifest.
    pub image: String,
    /// Axis -> value.
    pub axes: BTreeMap<String, String>,
    /// Content key of the image.
    pub build_id: Digest,
    /// What it is built on; `None` for scratch.
    pub base: Option<Input>,
    /// The steps on the base, in order.
    pub setup: Vec<SetupIngredient>,
    /// The layers, lowest first.
    pub layers: Vec<LayerIngredient>,
    /// What the manifest says of the configuration: `env.NAME`, `path`, `label.NAME` … -> value.
    pub config: BTreeMap<String, String>,
}

/// A step on the base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetupIngredient {
    /// Hash of the command.
    pub definition: Digest,
    /// Its script.
    pub script: String,
}

/// A layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerIngredient {
    /// Its name in the manifest.
    pub name: String,
    /// Content key.
    pub key: Digest,
    /// Hash of what the manifest says of it, without its inputs.
    pub definition: Digest,
    /// What it is made of.
    pub inputs: Vec<Input>,
}

/// Something from outside a layer or image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// What it is.
    pub kind: InputKind,
    /// Reference, directory, cell, or a download's name.
    pub name: String,
    /// Where a download comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Its digest (of a cell: its build id); `None` where it is not locked yet.
    pub digest: Option<Digest>,
    /// Hash of what of it counts: of an image whose trees are copied or read, of those trees.
    pub identity: Digest,
}

/// Kinds of inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputKind {
    /// An image in a registry.
    Image,
    /// An image in an OCI layout.
    Layout,
    /// A cell of the matrix.
    Cell,
    /// A download.
    Download,
}

impl Ingredients {
    /// Of a planned cell; `inputs` are those that it was planned with.
    pub fn of(matrix: &Matrix, plan: &Plan, inputs: &Inputs<'_>, steps: &CellSteps) -> Self {
        let view = View { matrix, plan, inputs };
        let cell = &matrix.cells[steps.cell.0];
        let setup = cell.setup.iter().map(|command| {
            let mut key = Key::new("definition", &matrix.platform);
            key::command(&mut key, command);
            SetupIngredient { definition: key.finish(), script: command.script.trim().to_owned() }
        });
        let layers = cell.layers.iter().zip(&steps.artifacts).map(|(layer, artifact)| {
            let layer = &matrix.layers[layer.0];
            let (definition, inputs) = view.layer(&layer.content);
            LayerIngredient { name: layer.name.clone(), key: plan.step(*artifact).key, definition, inputs }
        });
        let mut layers: Vec<LayerIngredient> = layers.collect();
        let mut config = flat(&cell.config);
        let mut base = &cell.base;
        if let Source::Dockerfile(id) = &cell.base {
            base = matrix.recipe(*id).base();
            layers.push(view.dockerfile(*id));
            config.extend(dockerfile_fields(matrix, *id));
        }
        config.extend(inputs.created.map(|created| ("created".to_owned(), created.to_owned())));
        Self {
            cell: cell.name.clone(),
            image: cell.image.to_string(),
            axes: cell.coordinates.iter().map(|(a, v)| (a.to_string(), v.to_string())).collect(),
            build_id: steps.build_id,
            base: view.source(base, None),
            setup: setup.collect(),
            layers,
            config,
        }
    }

    /// Every input, the base first.
    pub fn inputs(&self) -> impl Iterator<Item = &Input> {
        self.base.iter().chain(self.layers.iter().flat_map(|layer| &layer.inputs))
    }
}

struct View<'a> {
    matrix: &'a Matrix,
    plan: &'a Plan,
    inputs: &'a Inputs<'a>,
}

impl View<'_> {
    fn layer(&self, content: &ConcreteContent) -> (Digest, Vec<Input>) {
        let mut key = Key::new("definition", &self.matrix.platform);
        let blank = Identity::fixed("");
        let mut inputs = Vec::new();
        match content {
            ConcreteContent::Run(run) => {
                key::run(&mut key, run, &blank);
                key.list(run.reads.iter().map(String::as_str));
                let counts = match run.image {
                    Source::Cell(cell) => self.plan.cells[cell.0].as_ref().map(cell_text),
                    _ => key::read_text(self.inputs.lock, &self.matrix.platform, run),
                };
                inputs.extend(self.source(&run.image, counts));
            }
            ConcreteContent::Parts(parts) => {
                for part in parts {
                    key::part(&mut key, part, &blank);
                    inputs.extend(self.part(part));
                }
            }
        }
        (key.finish(), inputs)
    }

    /// What a Dockerfile takes from beside what it begins with.
    fn dockerfile(&self, id: DockerfileId) -> LayerIngredient {
        let recipe = self.matrix.recipe(id);
        let sources = recipe.distinct_sources().into_iter().filter(|source| *source != recipe.base());
        let inputs: Vec<Input> = sources.filter_map(|source| self.source(source, None)).collect();
        let mut key = Key::new("sources", &self.matrix.platform);
        inputs.iter().for_each(|input| {
            key.digest(&input.identity);
        });
        let definition = Key::new("definition", &self.matrix.platform).finish();
        LayerIngredient { name: "Dockerfile".into(), key: key.finish(), definition, inputs }
    }

    fn part(&self, part: &ConcretePart) -> Option<Input> {
        match part {
            ConcretePart::Copy(copy) => {
                let files = match copy.from {
                    Source::Cell(cell) => self.plan.cells[cell.0].as_ref(),
                    _ => None,
                };
                let files = files.map(|steps| key::files_text(&self.plan.graph, steps));
                self.source(
                    &copy.from,
                    files.or_else(|| key::copied_text(self.inputs.lock, &self.matrix.platform, copy)),
                )
            }
            ConcretePart::Download(download) => {
                let digest = key::download_digest(self.inputs.lock, download);
                let identity = digest.map_or_else(|| download.shown.clone(), |d| d.to_string());
                Some(Input {
                    kind: InputKind::Download,
                    name: download.name.clone(),
                    url: Some(download.shown.clone()),
                    digest,
                    identity: Digest::of(identity.as_bytes()),
                })
            }
            ConcretePart::Local { path, source, .. } => {
                let digest = self.inputs.layouts.get(&super::local_name(source)).copied();
                // Where it lies here is nobody else's business.
                let identity = digest.map_or_else(|| path.clone(), |digest| digest.to_string());
                Some(Input {
                    kind: InputKind::Download,
                    name: path.clone(),
                    url: None,
                    digest,
                    identity: Digest::of(identity.as_bytes()),
                })
            }
            ConcretePart::File { .. } | ConcretePart::Dir { .. } => None,
        }
    }

    /// An image; `narrowed` is what of it counts.
    fn source(&self, source: &Source, narrowed: Option<String>) -> Option<Input> {
        let (kind, name, digest) = match source {
            Source::Scratch => return None,
            Source::Reference(reference) => {
                let digest = key::image_digest(self.inputs.lock, &self.matrix.platform, reference);
                (InputKind::Image, reference.to_string(), digest)
            }
            Source::Layout(directory) => {
                (InputKind::Layout, format!("oci:{directory}"), self.inputs.layouts.get(directory).copied())
            }
            Source::Cell(cell) => {
                let digest = self.plan.cells[cell.0].as_ref().map(|steps| steps.build_id);
                (InputKind::Cell, self.matrix.cells[cell.0].name.clone(), digest)
            }
            Source::Dockerfile(id) => return self.source(self.matrix.recipe(*id).base(), None),
        };
        let identity = narrowed.or(digest.map(|d| d.to_string())).unwrap_or_else(|| name.clone());
        Some(Input { kind, name, url: None, digest, identity: Digest::of(identity.as_bytes()) })
    }
}

/// Begins the fields that are about a Dockerfile.
pub(super) const DOCKERFILE_FIELD: &str = "dockerfile.";

fn dockerfile_fields(matrix: &Matrix, id: DockerfileId) -> BTreeMap<String, String> {
    let (spec, recipe) = (&matrix.dockerfiles[id.0].spec, matrix.recipe(id));
    let network = spec.network.filter(|network| *network == NetworkName::None).map(|_| "none".to_owned());
    let fields = [
        ("file", Some(Digest::of(recipe.dockerfile.text.as_bytes()).to_string())),
        ("context", Some(recipe.context.digest.to_string())),
        ("target", spec.target.clone()),
        ("network", network),
    ];
    let args = spec.args.iter().map(|(name, value)| (format!("args.{name}"), Some(value.clone())));
    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(args);
    fields.filter_map(|(name, value)| Some((format!("{DOCKERFILE_FIELD}{name}"), value?))).collect()
}

fn flat(spec: &ConfigSpec) -> BTreeMap<String, String> {
    let mut config = BTreeMap::new();
    for (name, value) in &spec.env {
        config.insert(format!("env.{name}"), value.clone());
    }
    for (name, value) in &spec.labels {
        config.insert(format!("label.{name}"), value.clone());
    }
    let list = |items: &Vec<String>| format!("{items:?}");
    let fields = [
        ("path", (!spec.path.is_empty()).then(|| spec.path.join(":"))),
        ("user", spec.user.clone()),
        ("workdir", spec.workdir.clone()),
        ("entrypoint", spec.entrypoint.as_ref().map(list)),
        ("cmd", spec.cmd.as_ref().map(list)),
    ];
    config.extend(fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    for value in config.values_mut() {
        *value = crate::matrix::show_base_env(value);
    }
    config
}
