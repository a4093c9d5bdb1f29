//! Manifest -> matrix.

mod references;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::str::FromStr;
use std::sync::Arc;

use minijinja::value::Value;

use self::references::{Destinations, References};
use super::cell::*;
use super::outputs::{mentions_run, run_placeholders};
use super::product::{OwnedPoint, cell_name, coordinates, points};
use super::recipe::{ConcreteDockerfile, DockerfileSpec, NetworkName};
use super::rules;
use super::tags::{ExistingRules, Written, settle};
use super::template::{ABSENT, Failed, Point, Renderer, did_you_mean, environment};
use crate::manifest::{
    ABI_CHECK, Check, Chmod, Command, Copy, Diagnostic, Diagnostics, DockerfileBuild, Download, FileEntry,
    Image, ImageSource, Layer, LayerContent, Location, Manifest, Owner, Part, StepLimits, Template, Tool,
    ToolUse, parse_sha256,
};
use crate::oci::{Reference, RepositoryName};

/// What the command line and the environment change.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--var NAME=VALUE`, over `[vars]`.
    pub vars: BTreeMap<String, String>,
    /// `--repository`, over `project.repository`.
    pub repository: Option<String>,
}

impl Overrides {
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
            match self.layers(*layer, point, elide, image) {
                Ok(ids) => layers.extend(ids),
                Err(Failed) => failed = true,
            }
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
            at: image.id.at,
        })
    }

    fn source(
        &mut self,
        source: &'m ImageSource,
        at: Location,
        point: &Point,
        user: &'m Image,
    ) -> Result<Source, Failed> {
        match source {
            ImageSource::Scratch => Ok(Source::Scratch),
            ImageSource::Reference(template) => {
                let text = self.renderer.render(template, point, &[])?;
                if let Some(directory) = text.strip_prefix("oci:") {
                    return Ok(Source::Layout(directory.to_owned()));
                }
                self.parse::<Reference>(&text, template, "malformed-reference").map(Source::Reference)
            }
            ImageSource::Matrix(name) => self.upstream(name.value.as_str(), at, point, user),
        }
    }

    /// The Dockerfile of a cell, with everything rendered.
    fn dockerfile(
        &mut self,
        made: &'m DockerfileBuild,
        point: &Point,
        user: &'m Image,
    ) -> Result<Source, Failed> {
        let mut args = Vec::new();
        for (name, value) in &made.args {
            args.push((name.value.clone(), self.renderer.render(value, point, &[])?.to_string()));
        }
        let mut contexts = Vec::new();
        for (name, source) in &made.contexts {
            contexts.push((name.value.clone(), self.source(source, name.at, point, user)?));
        }
        let context = self.renderer.render(&made.context, point, &[])?.to_string();
        let file = self.optional(made.file.as_ref(), point)?;
        let spec = DockerfileSpec {
            context,
            file: file.unwrap_or_else(|| "Dockerfile".to_owned()),
            target: self.optional(made.target.as_ref(), point)?,
            args,
            contexts,
            secrets: made.secrets.iter().map(|(id, variable)| (id.clone(), variable.value.clone())).collect(),
            network: NetworkName::of(made.network),
        };
        if let Some(known) = self.dockerfile_of.get(&spec) {
            return Ok(Source::Dockerfile(*known));
        }
        let id = DockerfileId(self.dockerfiles.len());
        self.dockerfiles.push(ConcreteDockerfile { spec: spec.clone(), at: made.at, recipe: None });
        self.dockerfile_of.insert(spec, id);
        Ok(Source::Dockerfile(id))
    }

    /// The cell of an upstream image at the axes that it shares with the point.
    fn upstream(
        &mut self,
        name: &str,
        at: Location,
        point: &Point,
        user: &'m Image,
    ) -> Result<Source, Failed> {
        let Some(position) = self.image_positions.get(name).copied() else { return Err(Failed) };
        let upstream = &self.manifest.images[position];
        let mut projected = vec![ABSENT; point.len()];
        for axis in &upstream.axes {
            let Some(index) = self.manifest.axes.iter().position(|a| a.name.value == axis.value) else {
                return Err(Failed);
            };
            if point[index] == ABSENT {
                let diagnostic = Diagnostic::new(
                    "upstream-axis",
                    at,
                    format!(
                        "`{name}` has the axis `{}`, which `{}` does not have",
                        axis.value, user.id.value
                    ),
                )
                .also(axis.at, "the axis of the image taken from")
                .help(format!("add `{}` to the axes of `{}`", axis.value, user.id.value));
                return Err(self.error(diagnostic));
            }
            projected[index] = point[index];
        }
        match self.cell_of.get(&(position, projected)) {
            Some(cell) => Ok(Source::Cell(*cell)),
            None => {
                let values: Vec<String> = upstream
                    .axes
                    .iter()
                    .filter_map(|axis| {
                        let at = self.manifest.axes.iter().position(|a| a.name.value == axis.value)?;
                        Some(format!("{}={}", axis.value, self.renderer.value_name(at, point[at])))
                    })
                    .collect();
                let diagnostic = Diagnostic::new(
                    "upstream-cell",
                    at,
                    format!(
                        "`{}` takes from `{name}[{}]`, which the matrix does not have",
                        user.id.value,
                        values.join(",")
                    ),
                )
                .also(upstream.id.at, "its rows leave that cell out")
                .help("exclude the cell here too, or include it there");
                Err(self.error(diagnostic))
            }
        }
    }

    /// Axes that decide a layer: those of its templates, its conditions and its upstream images.
    fn axes_of_layer(&mut self, position: usize) -> Vec<usize> {
        if let Some(axes) = self.layer_axes.get(&position) {
            return axes.clone();
        }
        let layer = &self.manifest.layers[position];
        let mut collector = AxisCollector { expansion: self, axes: Vec::new() };
        collector.layer(layer);
        let mut axes = collector.axes;
        axes.sort_unstable();
        axes.dedup();
        self.layer_axes.insert(position, axes.clone());
        axes
    }

    /// A layer of a cell: none where it is left out, several where it stands for items of a list.
    fn layers(
        &mut self,
        position: usize,
        point: &Point,
        base: Option<&Source>,
        user: &'m Image,
    ) -> Result<Vec<LayerId>, Failed> {
        let Some(each) = &self.manifest.layers[position].each else {
            return Ok(self.layer(position, point, base, user, None)?.into_iter().collect());
        };
        let items = self.items(each, point)?;
        let mut layers = Vec::with_capacity(items.len());
        let mut failed = false;
        for item in items.iter() {
            self.renderer.set_item(Some(item.clone()));
            match self.layer(position, point, base, user, Some(item.to_string())) {
                Ok(layer) => layers.extend(layer),
                Err(Failed) => failed = true,
            }
        }
        self.renderer.set_item(None);
        if failed { Err(Failed) } else { Ok(layers) }
    }

    /// The items of a list at a point, each list evaluated once.
    fn items(&mut self, each: &'m Template, point: &Point) -> Result<Items, Failed> {
        let axes = self.renderer.axes_of_condition(each);
        let key = (each.at, axes.iter().map(|axis| point[*axis]).collect::<Vec<_>>());
        if let Some(known) = self.lists.get(&key) {
            return known.clone();
        }
        let items = self.renderer.items(each, point).map(Arc::from);
        self.lists.insert(key, items.clone());
        items
    }

    fn layer(
        &mut self,
        position: usize,
        point: &Point,
        base: Option<&Source>,
        user: &'m Image,
        item: Option<String>,
    ) -> Result<Option<LayerId>, Failed> {
        let layer = &self.manifest.layers[position];
        let axes = self.axes_of_layer(position);
        let projected: Vec<u16> = axes.iter().map(|axis| point[*axis]).collect();
        let elided = self.elided(layer, point, base, user)?;
        let key = (position, projected, elided, item);
        if let Some(known) = self.memo.get(&key) {
            return *known;
        }
        let name = match &key.3 {
            Some(item) => format!("{}[{item}]", layer.name.value),
            None => layer.name.value.clone(),
        };
        let result = self.concrete_layer(layer, name, point, &key.2, user);
        let result = result.map(|layer| {
            layer.map(|layer| {
                self.layers.push(layer);
                LayerId(self.layers.len() - 1)
            })
        });
        self.memo.insert(key, result);
        result
    }

    /// For each part whether it copies from the cell's own base to the same path.
    fn elided(
        &mut self,
        layer: &'m Layer,
        point: &Point,
        base: Option<&Source>,
        user: &'m Image,
    ) -> Result<Vec<bool>, Failed> {
        let LayerContent::Parts(parts) = &layer.content else { return Ok(Vec::new()) };
        if !self.wanted(layer.when.as_ref(), point)? {
            return Ok(Vec::new());
        }
        let mut elided = Vec::with_capacity(parts.len());
        for part in parts {
            let hit = match (part, base) {
                (Part::Copy(copy), Some(base))
                    if copy.to.is_none()
                        && copy.chmod.is_none()
                        && copy.owner.is_none()
                        && self.wanted(copy.when.as_ref(), point)? =>
                {
                    self.source(&copy.from, copy.at, point, user)? == *base
                }
                _ => false,
            };
            elided.push(hit);
        }
        Ok(elided)
    }

    /// Whether a condition holds; where there is none it does.
    fn wanted(&mut self, condition: Option<&'m Template>, point: &Point) -> Result<bool, Failed> {
        condition.map_or(Ok(true), |condition| self.renderer.holds(condition, point))
    }

    fn concrete_layer(
        &mut self,
        layer: &'m Layer,
        name: String,
        point: &Point,
        elided: &[bool],
        user: &'m Image,
    ) -> Result<Option<ConcreteLayer>, Failed> {
        if !self.wanted(layer.when.as_ref(), point)? {
            return Ok(None);
        }
        let max_age = layer.max_age;
        let parts = match &layer.content {
            LayerContent::Parts(parts) => parts,
            LayerContent::Run(run) => {
                let image = self.source(&run.image, run.at, point, user);
                let keep = self.texts(&run.keep, point);
                let reads = self.texts(&run.reads, point);
                let command = self.command(&run.command, point)?;
                let run = ConcreteRun { image: image?, keep: keep?, reads: reads?, command };
                let content = ConcreteContent::Run(Box::new(run));
                return Ok(Some(ConcreteLayer { name, max_age, content }));
            }
        };
        let mut concrete = Vec::new();
        let mut failed = false;
        for (part, elided) in parts.iter().zip(elided) {
            if *elided {
                continue;
            }
            match self.part(part, &name, point, user) {
                Ok(Some(part)) => concrete.push(part),
                Ok(None) => {}
                Err(Failed) => failed = true,
            }
        }
        if failed {
            return Err(Failed);
        }
        Ok((!concrete.is_empty()).then_some(ConcreteLayer {
            name,
            max_age,
            content: ConcreteContent::Parts(concrete),
        }))
    }

    fn part(
        &mut self,
        part: &'m Part,
        layer: &str,
        point: &Point,
        user: &'m Image,
    ) -> Result<Option<ConcretePart>, Failed> {
        Ok(Some(match part {
            Part::Copy(copy) => match self.copy(copy, point, user)? {
                Some(copy) => ConcretePart::Copy(copy),
                None => return Ok(None),
            },
            Part::Tool(tool) => match self.tool(tool, point)? {
                Some(download) => ConcretePart::Download(download),
                None => return Ok(None),
            },
            Part::Download(download) => {
                ConcretePart::Download(self.download(download, layer, 0o644, point, &[])?)
            }
            Part::File(FileEntry { source: Some(source), path, mode, owner, .. }) => ConcretePart::Local {
                path: self.path(path, point, &[])?,
                source: self.beside_manifest(source, point)?,
                mode: octal(mode.as_ref().map(|m| &m.value), 0o644),
                owner: owner.as_ref().map_or(ROOT, |o| o.value),
            },
            Part::File(file) => ConcretePart::File {
                path: self.path(&file.path, point, &[])?,
                content: self.renderer.render(&file.content, point, &[])?.to_string(),
                mode: octal(file.mode.as_ref().map(|m| &m.value), 0o644),
                owner: file.owner.as_ref().map_or(ROOT, |o| o.value),
            },
            Part::Dir(dir) => ConcretePart::Dir {
                path: self.path(&dir.path, point, &[])?,
                mode: octal(dir.mode.as_ref().map(|m| &m.value), 0o755),
                owner: dir.owner.as_ref().map_or(ROOT, |o| o.value),
            },
        }))
    }

    /// A path relative to the manifest as one of this machine.
    fn beside_manifest(&mut self, source: &'m Template, point: &Point) -> Result<String, Failed> {
        let text = self.renderer.render(source, point, &[])?;
        let main = self.manifest.sources.ids().next().map(|file| self.manifest.sources.name(file));
        let directory = main.and_then(|main| std::path::Path::new(main).parent());
        Ok(directory.unwrap_or(std::path::Path::new("")).join(&*text).display().to_string())
    }

    fn copy(
        &mut self,
        copy: &'m Copy,
        point: &Point,
        user: &'m Image,
    ) -> Result<Option<ConcreteCopy>, Failed> {
        if !self.wanted(copy.when.as_ref(), point)? {
            return Ok(None);
        }
        let from = self.source(&copy.from, copy.at, point, user);
        let mut paths = Vec::new();
        for path in &copy.paths {
            paths.push(self.path(path, point, &[])?);
        }
        let to = copy.to.as_ref().map(|to| self.path(to, point, &[])).transpose()?;
        Ok(Some(ConcreteCopy {
            from: from?,
            paths,
            to,
            chmod: copy.chmod.as_ref().map(|c| c.value.clone()),
            owner: copy.owner.as_ref().map(|o| o.value),
        }))
    }

    fn tool(&mut self, tool_use: &'m ToolUse, point: &Point) -> Result<Option<ConcreteDownload>, Failed> {
        if !self.wanted(tool_use.when.as_ref(), point)? {
            return Ok(None);
        }
        let (tool, own) = self.named_tool(tool_use, point)?;
        let mut extra: Vec<(Arc<str>, Value)> = vec![("tool".into(), Value::from(tool.name.value.as_str()))];
        let version = match own {
            Some(text) => Some((&tool_use.tool, text)),
            None => match tool_use.version.as_ref().or(tool.version.as_ref()) {
                Some(version) => Some((version, self.renderer.render(version, point, &[])?)),
                None => None,
            },
        };
        if let Some((version, text)) = version {
            if !is_version(&text) {
                let why = format!("`{text}` is not a version");
                let help = "use letters, digits, `.`, `_`, `+`, `-` and `~`, e.g. `v1.24.3`";
                return Err(self.malformed(version, &text, "malformed-version", why, help));
            }
            extra.push(("version".into(), Value::from(text.to_string())));
        }
        self.download(&tool.download, &tool.name.value, 0o755, point, &extra).map(Some)
    }

    /// The tool that a layer names, and the version where a template gives `name@version`.
    fn named_tool(
        &mut self,
        tool_use: &'m ToolUse,
        point: &Point,
    ) -> Result<(&'m Tool, Option<Arc<str>>), Failed> {
        let written = &tool_use.tool;
        let manifest = self.manifest;
        let text: Arc<str> = match written.is_literal() {
            true => written.text.as_str().into(),
            false => self.renderer.render(written, point, &[])?,
        };
        let (name, version) = match text.split_once('@') {
            Some((name, version)) => (name, Some(Arc::from(version))),
            None => (&*text, None),
        };
        let Some(tool) = manifest.tools.iter().find(|tool| tool.name.value == name) else {
            let known = manifest.tools.iter().map(|tool| tool.name.value.as_str());
            let help = did_you_mean(name, known).unwrap_or_else(|| "define it under `[tools]`".to_owned());
            return Err(self.malformed(
                written,
                &text,
                "unknown-tool",
                format!("there is no tool `{name}`"),
                &help,
            ));
        };
        if version.is_some() && tool_use.version.is_some() {
            let why = format!("`{text}` has a version, and `version` is written too");
            return Err(self.malformed(written, &text, "exclusive-keys", why, "keep one of them"));
        }
        if tool.download.urls.is_empty() || tool.download.path.text.is_empty() {
            let why = format!("`{name}` has no URL or no `path`: it is only what other tools extend");
            let help = "name one of the tools that extend it, or complete it";
            return Err(self.malformed(written, &text, "missing-key", why, help));
        }
        Ok((tool, version))
    }

    fn download(
        &mut self,
        download: &'m Download,
        name: &str,
        default_mode: u32,
        point: &Point,
        extra: &[(Arc<str>, Value)],
    ) -> Result<ConcreteDownload, Failed> {
        let mut urls = Vec::new();
        for url in &download.urls {
            let text = self.renderer.render(url, point, extra)?;
            let parsed = url::Url::parse(&text);
            if !parsed.is_ok_and(|u| matches!(u.scheme(), "http" | "https") && u.has_host()) {
                let why = format!("`{text}` is not an http or https URL");
                return Err(self.malformed(
                    url,
                    &text,
                    "malformed-url",
                    why,
                    "write e.g. `https://host/path`",
                ));
            }
            urls.push(text.to_string());
        }
        let sha256 = match &download.sha256 {
            None => None,
            Some(template) => {
                let text = self.renderer.render(template, point, extra)?;
                Some(parse_sha256(&text).map_err(|_| {
                    let why = format!("`{text}` is not a sha256");
                    let help = "write its 64 lower-case hexadecimal digits";
                    self.malformed(template, &text, "malformed-sha256", why, help)
                })?)
            }
        };
        let extract = match &download.extract {
            None => None,
            Some(extract) => {
                let members: Result<Vec<String>, Failed> = extract
                    .members
                    .iter()
                    .map(|m| self.renderer.render(m, point, extra).map(|text| text.to_string()))
                    .collect();
                Some(ConcreteExtract {
                    format: extract.format.into(),
                    members: members?,
                    strip: extract.strip,
                })
            }
        };
        let mode = match (&download.mode, &extract) {
            (Some(mode), _) => Some(octal(Some(&mode.value), default_mode)),
            (None, None) => Some(default_mode),
            (None, Some(_)) => None,
        };
        let owner = download.owner.as_ref().map_or(ROOT, |o| o.value);
        Ok(ConcreteDownload {
            name: name.to_owned(),
            urls,
            sha256,
            path: self.path(&download.path, point, extra)?,
            extract,
            mode,
            owner: (owner.uid, owner.gid),
        })
    }

    fn path(
        &mut self,
        template: &'m Template,
        point: &Point,
        extra: &[(Arc<str>, Value)],
    ) -> Result<String, Failed> {
        let text = self.renderer.render(template, point, extra)?;
        let clean = (text.starts_with('/') || starts_with_base_env(&text))
            && !text.split('/').any(|part| part == "..")
            && !text.contains('\0');
        if clean {
            return Ok(text.to_string());
        }
        let why = format!("`{text}` is not an absolute path without `..`");
        Err(self.malformed(template, &text, "relative-path", why, "paths in images start with `/`"))
    }

    fn texts(&mut self, templates: &'m [Template], point: &Point) -> Result<Vec<String>, Failed> {
        templates.iter().map(|t| self.path(t, point, &[])).collect()
    }

    fn optional(&mut self, template: Option<&'m Template>, point: &Point) -> Result<Option<String>, Failed> {
        template.map(|t| self.renderer.render(t, point, &[]).map(|text| text.to_string())).transpose()
    }

    fn shared_command(
        &mut self,
        command: &'m Command,
        point: &Point,
    ) -> Result<Arc<ConcreteCommand>, Failed> {
        let mut collector = AxisCollector { expansion: self, axes: Vec::new() };
        collector.command(command);
        let key = (command.at, collector.axes.iter().map(|axis| point[*axis]).collect::<Vec<_>>());
        if let Some(known) = self.commands.get(&key) {
            return Ok(known.clone());
        }
        let concrete = Arc::new(self.command(command, point)?);
        self.commands.insert(key, concrete.clone());
        Ok(concrete)
    }

    fn command(&mut self, command: &'m Command, point: &Point) -> Result<ConcreteCommand, Failed> {
        let mut env = Vec::new();
        for (name, value) in &command.env {
            env.push((name.clone(), self.renderer.render(value, point, &[])?.to_string()));
        }
        let defaults = &self.manifest.limits.step;
        let own = &command.limits;
        let limits = StepLimits {
            memory: own.memory.or(defaults.memory),
            cpus: own.cpus.or(defaults.cpus),
            timeout: own.timeout.or(defaults.timeout),
            network: own.network.or(defaults.network),
        };
        Ok(ConcreteCommand {
            shell: command.shell.clone().unwrap_or_else(|| vec!["/bin/sh".into(), "-ec".into()]),
            script: self.renderer.render(&command.script, point, &[])?.to_string(),
            env,
            user: self.optional(command.user.as_ref(), point)?,
            workdir: command.workdir.as_ref().map(|w| self.path(w, point, &[])).transpose()?,
            cache: self.texts(&command.cache, point)?,
            secrets: command.secrets.iter().map(|(file, var)| (file.clone(), var.value.clone())).collect(),
            limits,
        })
    }

    fn check(&mut self, name: &str, point: &Point) -> Result<Arc<ConcreteCheck>, Failed> {
        let check: &'m Check = self.manifest.checks.iter().find(|c| c.name.value == name).ok_or(Failed)?;
        let command = check.command.as_ref().map(|command| self.shared_command(command, point));
        let mut files = Vec::with_capacity(check.files.len());
        for file in &check.files {
            files.push(ConcreteFileCheck {
                path: self.path(&file.path, point, &[])?,
                kind: file.kind,
                mode: file.mode,
                owner: file.owner,
                absent: file.absent,
            });
        }
        Ok(Arc::new(ConcreteCheck {
            name: name.to_owned(),
            command: command.transpose()?.map(|command| (*command).clone()),
            exit: check.exit,
            expect: self.optional(check.expect.as_ref(), point)?,
            files,
            size: check.size,
        }))
    }

    fn config(&mut self, image: &'m Image, point: &Point) -> Result<ConfigSpec, Failed> {
        let mut spec = ConfigSpec::default();
        for (name, value) in &image.env {
            spec.env.push((name.clone(), self.renderer.render(value, point, &[])?.to_string()));
        }
        for (name, value) in &image.labels {
            spec.labels.push((name.clone(), self.renderer.render(value, point, &[])?.to_string()));
        }
        for entry in &image.path {
            let Some(each) = &entry.each else {
                spec.path.push(self.path(&entry.path, point, &[])?);
                continue;
            };
            let mut paths = Vec::new();
            for item in self.items(each, point)?.iter() {
                self.renderer.set_item(Some(item.clone()));
                paths.push(self.path(&entry.path, point, &[]));
            }
            self.renderer.set_item(None);
            for path in paths {
                let path = path?;
                // Of several items in one directory the first counts.
                if !spec.path.contains(&path) {
                    spec.path.push(path);
                }
            }
        }
        spec.user = self.optional(image.user.as_ref(), point)?;
        spec.workdir = image.workdir.as_ref().map(|w| self.path(w, point, &[])).transpose()?;
        spec.entrypoint = self.argv(image.entrypoint.as_deref(), point)?;
        spec.cmd = self.argv(image.cmd.as_deref(), point)?;
        Ok(spec)
    }

    fn outputs(&mut self, image: &'m Image, point: &Point) -> Result<Vec<Output>, Failed> {
        if image.outputs.is_empty() {
            return Ok(Vec::new());
        }
        let extra = run_placeholders();
        let rendered = image.outputs.iter().map(|(key, value)| {
            let extra = if mentions_run(&value.text) { &extra[..] } else { &[] };
            Ok((key.as_str().into(), self.renderer.render(value, point, extra)?))
        });
        rendered.collect()
    }

    fn argv(&mut self, argv: Option<&'m [Template]>, point: &Point) -> Result<Option<Vec<String>>, Failed> {
        let render =
            |this: &mut Self, t: &'m Template| this.renderer.render(t, point, &[]).map(|s| s.to_string());
        argv.map(|items| items.iter().map(|item| render(self, item)).collect()).transpose()
    }

    fn duplicates(&mut self, cells: &[Cell], written: &[Written]) {
        let mut owners: HashMap<&Reference, (&Cell, Location)> = HashMap::new();
        let mut reported = HashSet::new();
        for (cell, written) in cells.iter().zip(written).filter(|(cell, _)| cell.push) {
            for (reference, at) in written.all(&cell.references) {
                let Some((other, before)) = owners.insert(reference, (cell, at)) else { continue };
                if !reported.insert((before, at)) {
                    continue;
                }
                let message =
                    format!("`{}` and `{}` both have the reference `{reference}`", other.name, cell.name);
                let mut diagnostic = Diagnostic::new("duplicate-reference", at, message)
                    .label("this tag")
                    .help("mention every axis of the image in its tags or its name");
                if before != at {
                    diagnostic =
                        diagnostic.also(before, "and this one").help("give one of them another tag or name");
                }
                self.renderer.diagnostics.push(diagnostic);
            }
        }
    }
}

/// Where the tags of a cell stand, as they are shown.
/// The checks of an image that the manifest defines.
fn named_checks(image: &Image) -> impl Iterator<Item = &str> {
    image.checks.iter().map(|check| check.value.as_str()).filter(|name| *name != ABI_CHECK)
}

/// As the manifest's own check of a version that is no template.
fn is_version(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'+' | b'-' | b'~'))
}

const ROOT: Owner = Owner { uid: 0, gid: 0 };

fn octal(mode: Option<&Chmod>, default: u32) -> u32 {
    match mode {
        Some(mode) => mode.apply(default, false),
        None => default,
    }
}

/// Walks a layer for the axes that decide it.
struct AxisCollector<'a, 'm> {
    expansion: &'a mut Expansion<'m>,
    axes: Vec<usize>,
}

impl<'m> AxisCollector<'_, 'm> {
    fn template(&mut self, template: &'m Template) {
        let axes = self.expansion.renderer.axes_of(template);
        self.axes.extend(axes);
    }

    fn condition(&mut self, condition: Option<&'m Template>) {
        if let Some(condition) = condition {
            let axes = self.expansion.renderer.axes_of_condition(condition);
            self.axes.extend(axes);
        }
    }

    fn all<'t>(&mut self, templates: impl IntoIterator<Item = &'m Template>)
    where
        'm: 't,
    {
        for template in templates {
            self.template(template);
        }
    }

    fn source(&mut self, source: &'m ImageSource) {
        match source {
            ImageSource::Scratch => {}
            ImageSource::Reference(template) => self.template(template),
            ImageSource::Matrix(name) => {
                let manifest = self.expansion.manifest;
                let Some(position) = self.expansion.image_positions.get(name.value.as_str()) else { return };
                let axes = &manifest.images[*position].axes;
                self.axes.extend(
                    axes.iter().filter_map(|a| manifest.axes.iter().position(|x| x.name.value == a.value)),
                );
            }
        }
    }

    fn command(&mut self, command: &'m Command) {
        self.template(&command.script);
        self.all(command.env.values());
        self.all(&command.user);
        self.all(&command.workdir);
        self.all(&command.cache);
    }

    fn download(&mut self, download: &'m Download) {
        self.all(&download.urls);
        self.all(&download.sha256);
        self.template(&download.path);
        if let Some(extract) = &download.extract {
            self.all(&extract.members);
        }
    }

    fn layer(&mut self, layer: &'m Layer) {
        self.condition(layer.when.as_ref());
        match &layer.content {
            LayerContent::Run(run) => {
                self.source(&run.image);
                self.all(&run.keep);
                self.all(&run.reads);
                self.command(&run.command);
            }
            LayerContent::Parts(parts) => parts.iter().for_each(|part| self.part(part)),
        }
    }

    fn part(&mut self, part: &'m Part) {
        match part {
            Part::Copy(copy) => {
                self.condition(copy.when.as_ref());
                self.source(&copy.from);
                self.all(&copy.paths);
                self.all(&copy.to);
            }
            Part::Tool(tool_use) => {
                self.condition(tool_use.when.as_ref());
                self.all(&tool_use.version);
                let named = tool_use.tool.is_literal();
                if !named {
                    self.template(&tool_use.tool);
                }
                // Which one a template names is not known yet: it may be any.
                let manifest = self.expansion.manifest;
                for tool in manifest.tools.iter().filter(|t| !named || t.name.value == tool_use.tool.text) {
                    self.all(&tool.version);
                    self.download(&tool.download);
                }
            }
            Part::Download(download) => self.download(download),
            Part::File(file) => {
                self.template(&file.path);
                self.template(&file.content);
                self.all(&file.source);
            }
            Part::Dir(dir) => self.template(&dir.path),
        }
    }
}
