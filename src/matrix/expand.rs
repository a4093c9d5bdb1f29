//! Manifest -> matrix.

mod config;
mod downloads;
mod elision;
mod layers;
mod mentions;
mod references;
mod source;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::str::FromStr;
use std::sync::Arc;

use minijinja::value::Value;

use self::references::{Destinations, References};
use super::address;
use super::cell::*;
use super::product::{OwnedPoint, cell_name, coordinates, points};
use super::recipe::{ConcreteDockerfile, DockerfileSpec};
use super::rules;
use super::tags::{ExistingRules, Written, settle};
use super::template::{Failed, Point, Renderer, environment};
use crate::manifest::{ABI_CHECK, Diagnostic, Diagnostics, Image, Location, Manifest, Template};
use crate::oci::RepositoryName;

/// What the command line and the environment change.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--var NAME=VALUE`, over `[vars]`.
    pub vars: BTreeMap<String, String>,
    /// `--repository`, over `project.repository`.
    pub repository: Option<String>,
}

impl Overrides {
    /// The variables of a manifest, with the names of what is set from outside in the place of its values;
    /// `None` where nothing is.
    pub(super) fn masked(&self, manifest: &Manifest) -> Option<BTreeMap<String, String>> {
        let masks = address::masks(self.vars.keys());
        (!masks.is_empty()).then(|| Self { vars: masks, ..Self::default() }.variables(manifest))
    }

    /// The variables of a manifest, with what is set from outside.
    pub(super) fn variables(&self, manifest: &Manifest) -> BTreeMap<String, String> {
        let own = manifest.vars.iter().map(|(name, value)| (name.clone(), value.value.clone()));
        own.chain(self.vars.clone()).collect()
    }
}

/// Expands a manifest into cells.
///
/// # Errors
/// Every template that cannot be rendered, every malformed result, every reference that two cells
/// share, every upstream cell that is missing, every cell that a rule rejects; all at once.
pub fn expand(manifest: &Manifest, overrides: &Overrides) -> Result<Matrix, Diagnostics> {
    let environment = environment();
    let vars = overrides.variables(manifest);
    let mut unknown = Diagnostics::default();
    for name in overrides.vars.keys() {
        if !manifest.vars.contains_key(name) {
            unknown.push(Diagnostic {
                code: "unknown-variable",
                message: format!("`{name}` is set from outside but is no variable of the manifest"),
                labels: Vec::new(),
                help: Some("declare it under `[vars]`, or take it out of `--var` and `--vars`".into()),
            });
        }
    }
    let renderer = Renderer::new(&environment, manifest, &vars);
    let mut expansion = Expansion::new(manifest, renderer);
    expansion.masked = overrides.masked(manifest).map(|vars| Renderer::new(&environment, manifest, &vars));
    let matrix = expansion.run(overrides);
    let mut diagnostics = expansion.renderer.diagnostics;
    diagnostics.0.extend(unknown.0);
    diagnostics.sort();
    match matrix {
        Some(matrix) if diagnostics.is_empty() => Ok(matrix),
        _ => Err(diagnostics),
    }
}

/// A layer, the values of the axes that decide it, what is elided of it, its item.
type LayerKey = (usize, Vec<u16>, Vec<bool>, Option<String>);
type Items = Arc<[Value]>;
type Memo = HashMap<LayerKey, Result<Option<LayerId>, Failed>>;

struct Expansion<'m> {
    manifest: &'m Manifest,
    renderer: Renderer<'m>,
    /// Renders what is shown of URLs; `None` where nothing is set from outside. Its diagnostics are nobody's.
    masked: Option<Renderer<'m>>,
    image_positions: HashMap<&'m str, usize>,
    layer_positions: HashMap<&'m str, usize>,
    cell_of: HashMap<(usize, OwnedPoint), CellId>,
    layer_axes: HashMap<usize, Vec<usize>>,
    memo: Memo,
    commands: HashMap<(Location, Vec<u16>), Arc<ConcreteCommand>>,
    /// The lists of `each`.
    lists: HashMap<(Location, Vec<u16>), Result<Items, Failed>>,
    layers: Vec<ConcreteLayer>,
    dockerfiles: Vec<ConcreteDockerfile>,
    dockerfile_of: HashMap<DockerfileSpec, DockerfileId>,
    /// Malformed results of a template, of which one diagnostic is made.
    malformed: BTreeMap<(Location, &'static str), (Diagnostic, Vec<String>)>,
    /// Tags that have been reported as repeated.
    repeated: HashSet<Location>,
    /// Floating tags that have been reported.
    floating: HashSet<Location>,
    /// What registries say of tags that are there.
    existing: ExistingRules<'m>,
    /// Of the references of the last cell.
    written: Written,
}

impl<'m> Expansion<'m> {
    fn new(manifest: &'m Manifest, renderer: Renderer<'m>) -> Self {
        let images = manifest.images.iter().enumerate();
        let layers = manifest.layers.iter().enumerate();
        Self {
            manifest,
            renderer,
            masked: None,
            image_positions: images.map(|(i, image)| (image.id.value.as_str(), i)).collect(),
            layer_positions: layers.map(|(i, layer)| (layer.name.value.as_str(), i)).collect(),
            cell_of: HashMap::new(),
            layer_axes: HashMap::new(),
            memo: HashMap::new(),
            commands: HashMap::new(),
            lists: HashMap::new(),
            layers: Vec::new(),
            dockerfiles: Vec::new(),
            dockerfile_of: HashMap::new(),
            malformed: BTreeMap::new(),
            repeated: HashSet::new(),
            floating: HashSet::new(),
            existing: ExistingRules::new(manifest),
            written: Written::default(),
        }
    }

    fn error(&mut self, diagnostic: Diagnostic) -> Failed {
        self.renderer.diagnostics.push(diagnostic);
        Failed
    }

    /// A text that a template renders to and that cannot be used; one diagnostic a template.
    fn malformed(
        &mut self,
        template: &Template,
        text: &str,
        code: &'static str,
        why: String,
        help: &str,
    ) -> Failed {
        let key = (template.at, code);
        let diagnostic = || Diagnostic::new(code, template.at, why).help(help);
        let (_, texts) = self.malformed.entry(key).or_insert_with(|| (diagnostic(), Vec::new()));
        if !template.is_literal() && !texts.iter().any(|known| known == text) {
            texts.push(text.to_owned());
        }
        Failed
    }

    /// Makes the diagnostics of [`Self::malformed`] final.
    fn report_malformed(&mut self) {
        for (diagnostic, texts) in std::mem::take(&mut self.malformed).into_values() {
            let shown: Vec<String> = texts.iter().take(3).map(|text| format!("`{text}`")).collect();
            let more = if texts.len() > 3 { format!(" and {} more", texts.len() - 3) } else { String::new() };
            self.renderer.diagnostics.push(match shown.is_empty() {
                true => diagnostic,
                false => diagnostic.label(format!("renders to {}{more}", shown.join(", "))),
            });
        }
    }

    fn run(&mut self, overrides: &Overrides) -> Option<Matrix> {
        let manifest = self.manifest;
        let mut all: Vec<(usize, OwnedPoint)> = Vec::new();
        for (position, image) in manifest.images.iter().enumerate() {
            let points = points(manifest, image, &mut self.renderer);
            for point in points {
                self.cell_of.insert((position, point.clone()), CellId(all.len()));
                all.push((position, point));
            }
        }
        let destinations = self.destinations(overrides);
        let named = destinations.prefixes.is_ok();
        let cache = manifest.cache.as_ref().and_then(|template| {
            let text = self.renderer.render(template, &[], &[]).ok()?;
            self.parse::<RepositoryName>(&text, template, "malformed-repository").ok()
        });
        let mut cells = Vec::with_capacity(all.len());
        let mut written = Vec::with_capacity(all.len());
        for (position, point) in &all {
            if let Ok(cell) = self.cell(*position, point, &destinations) {
                cells.push(cell);
                written.push(std::mem::take(&mut self.written));
            }
        }
        settle(&mut cells, &mut written);
        let complete = cells.len() == all.len();
        self.report_malformed();
        self.duplicates(&cells, &written);
        let places: Vec<_> = all.iter().map(|(image, point)| (*image, point.as_slice())).collect();
        let warnings = rules::judge(manifest, &mut self.renderer, &places);
        (complete && named).then(|| Matrix {
            project: manifest.project.name.value.clone(),
            platform: manifest.project.platform.clone(),
            cache,
            cells,
            layers: std::mem::take(&mut self.layers),
            dockerfiles: std::mem::take(&mut self.dockerfiles),
            warnings,
        })
    }

    fn parse<T: FromStr>(&mut self, text: &str, template: &Template, code: &'static str) -> Result<T, Failed>
    where
        T::Err: std::fmt::Display,
    {
        text.parse().map_err(|error: T::Err| {
            self.malformed(
                template,
                text,
                code,
                error.to_string(),
                "check the template and the values that it takes",
            )
        })
    }

    fn cell(&mut self, position: usize, point: &Point, destinations: &Destinations) -> Result<Cell, Failed> {
        let image = &self.manifest.images[position];
        let coordinates = coordinates(self.manifest, &self.renderer, image, point);
        let references = self.references(image, point, destinations);
        let base = match &image.dockerfile {
            Some(made) => self.dockerfile(made, point, image),
            None => self.source(&image.base, image.base_at, point, image),
        };
        let mut setup = Ok(Vec::new());
        for command in &image.setup {
            let step = match self.wanted(command.when.as_ref(), point) {
                Ok(true) => self.shared_command(command, point),
                Ok(false) => continue,
                Err(Failed) => Err(Failed),
            };
            setup = setup.and_then(|mut steps: Vec<_>| {
                steps.push(step?);
                Ok(steps)
            });
        }
        let config = self.config(image, point);
        let outputs = self.outputs(image, point);
        let checks: Result<Vec<_>, Failed> =
            named_checks(image).map(|name| self.check(name, point)).collect();
        let base = base?;
        let elide = setup.as_ref().is_ok_and(Vec::is_empty).then_some(&base);
        let mut layers = Vec::new();
        let mut failed = false;
        for name in &image.layers {
            let Some(layer) = self.layer_positions.get(name.value.as_str()) else { return Err(Failed) };
            failed |= self.layers(*layer, point, elide, image, &mut layers).is_err();
        }
        if failed {
            return Err(Failed);
        }
        let References { references, tags, stamped } = references?;
        Ok(Cell {
            name: cell_name(&image.id.value, &coordinates),
            image: image.id.value.as_str().into(),
            coordinates,
            references,
            tags,
            stamped,
            push: image.push,
            base,
            setup: setup?,
            layers,
            config: Arc::new(config?),
            checks: checks?,
            max_age: image.max_age,
            abi: image.checks.iter().any(|check| check.value == ABI_CHECK),
            outputs: outputs?,
        })
    }
}

/// The checks of an image that the manifest defines.
fn named_checks(image: &Image) -> impl Iterator<Item = &str> {
    image.checks.iter().map(|check| check.value.as_str()).filter(|name| *name != ABI_CHECK)
}
