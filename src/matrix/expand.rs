//! Manifest -> matrix.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::str::FromStr;
use std::sync::Arc;

use minijinja::value::Value;

use super::cell::*;
use super::outputs::{mentions_run, run_placeholders};
use super::product::{OwnedPoint, cell_name, coordinates, points};
use super::rules;
use super::template::{ABSENT, Failed, Point, Renderer, environment};
use crate::manifest::{
    ABI_CHECK, Check, Chmod, Command, Copy, Diagnostic, Diagnostics, Download, FileEntry, Image, ImageSource,
    Layer, LayerContent, Location, Manifest, Owner, Part, StepLimits, Template, ToolUse, parse_sha256,
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

type Memo = HashMap<(usize, Vec<u16>, Vec<bool>), Result<Option<LayerId>, Failed>>;

struct Expansion<'m> {
    manifest: &'m Manifest,
    renderer: Renderer<'m>,
    image_positions: HashMap<&'m str, usize>,
    layer_positions: HashMap<&'m str, usize>,
    cell_of: HashMap<(usize, OwnedPoint), CellId>,
    layer_axes: HashMap<usize, Vec<usize>>,
    memo: Memo,
    commands: HashMap<(Location, Vec<u16>), Arc<ConcreteCommand>>,
    layers: Vec<ConcreteLayer>,
    /// Malformed results of a template, of which one diagnostic is made.
    malformed: BTreeMap<(Location, &'static str), (Diagnostic, Vec<String>)>,
    /// Tags that have been reported as repeated.
    repeated: HashSet<Location>,
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
            layers: Vec::new(),
            malformed: BTreeMap::new(),
            repeated: HashSet::new(),
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
        let prefix = self.repository(overrides);
        let named = prefix.is_ok();
        let cache = manifest.cache.as_ref().and_then(|template| {
            let text = self.renderer.render(template, &[], &[]).ok()?;
            self.parse::<RepositoryName>(&text, template, "malformed-repository").ok()
        });
        let mut cells = Vec::with_capacity(all.len());
        for (position, point) in &all {
            if let Ok(cell) = self.cell(*position, point, &prefix) {
                cells.push(cell);
            }
        }
        let complete = cells.len() == all.len();
        self.report_malformed();
        self.duplicates(&cells);
        let places: Vec<_> = all.iter().map(|(image, point)| (*image, point.as_slice())).collect();
        let warnings = rules::judge(manifest, &mut self.renderer, &places);
        (complete && named).then(|| Matrix {
            project: manifest.project.name.value.clone(),
            platform: manifest.project.platform.clone(),
            cache,
            cells,
            layers: std::mem::take(&mut self.layers),
            warnings,
        })
    }

    fn repository(&mut self, overrides: &Overrides) -> Result<Option<String>, Failed> {
        if let Some(text) = &overrides.repository {
            return match RepositoryName::from_str(text) {
                Ok(_) => Ok(Some(text.clone())),
                Err(error) => Err(self.error(Diagnostic {
                    code: "malformed-repository",
                    message: format!("the repository given from outside cannot be used: {error}"),
                    labels: Vec::new(),
                    help: Some("give a registry and a path, e.g. `localhost:5000/acme`".into()),
                })),
            };
        }
        let Some(template) = self.manifest.project.repository.as_ref() else { return Ok(None) };
        let text = self.renderer.render(template, &[], &[])?;
        // A registry alone is a prefix too.
        if format!("{text}/x").parse::<RepositoryName>().is_err() {
            self.parse::<RepositoryName>(&text, template, "malformed-repository")?;
        }
        Ok(Some(text.to_string()))
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

    fn cell(
        &mut self,
        position: usize,
        point: &Point,
        prefix: &Result<Option<String>, Failed>,
    ) -> Result<Cell, Failed> {
        let image = &self.manifest.images[position];
        let coordinates = coordinates(self.manifest, &self.renderer, image, point);
        let references = self.references(image, point, prefix);
        let base = self.source(&image.base, image.base_at, point, image);
        let setup: Result<Vec<_>, Failed> =
            image.setup.iter().map(|command| self.shared_command(command, point)).collect();
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
            match self.layer(*layer, point, elide, image) {
                Ok(Some(id)) => layers.push(id),
                Ok(None) => {}
                Err(Failed) => failed = true,
            }
        }
        if failed {
            return Err(Failed);
        }
        Ok(Cell {
            name: cell_name(&image.id.value, &coordinates),
            image: image.id.value.as_str().into(),
            coordinates,
            references: references?,
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

    fn references(
        &mut self,
        image: &'m Image,
        point: &Point,
        prefix: &Result<Option<String>, Failed>,
    ) -> Result<Vec<Reference>, Failed> {
        let name = self.renderer.render(&image.name, point, &[])?;
        let repository = match prefix {
            Ok(Some(prefix)) => format!("{prefix}/{name}"),
            Ok(None) => format!("{}/{name}", self.manifest.project.name.value),
            // The prefix has been reported; what follows it can still be looked at.
            Err(Failed) => format!("localhost/{name}"),
        };
        let repository = self.parse::<RepositoryName>(&repository, &image.name, "malformed-name");
        let mut references: Vec<Reference> = Vec::new();
        let mut failed = repository.is_err();
        for (position, tag) in image.tags.iter().enumerate() {
            let Ok(text) = self.renderer.render(tag, point, &[]) else {
                failed = true;
                continue;
            };
            let parsed = format!("x:{text}").parse::<Reference>();
            if !parsed.is_ok_and(|r| r.tag.as_deref() == Some(&text) && r.digest.is_none()) {
                let help =
                    "a tag has up to 128 letters, digits, `_`, `.` or `-` and starts with no `.` or `-`";
                self.malformed(tag, &text, "malformed-tag", format!("`{text}` is not a tag"), help);
                failed = true;
                continue;
            }
            let Ok(repository) = &repository else { continue };
            let reference = repository.tag(&text);
            if let Some(first) = references.iter().position(|r| *r == reference) {
                if self.repeated.insert(tag.at) {
                    let message = format!("this tag is `{text}`, which the image has already");
                    let diagnostic = Diagnostic::new("duplicate-reference", tag.at, message)
                        .also(image.tags[first.min(position)].at, "the first")
                        .help("take one of them out");
                    self.error(diagnostic);
                }
                failed = true;
                continue;
            }
            references.push(reference);
        }
        if failed { Err(Failed) } else { Ok(references) }
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

    fn layer(
        &mut self,
        position: usize,
        point: &Point,
        base: Option<&Source>,
        user: &'m Image,
    ) -> Result<Option<LayerId>, Failed> {
        let layer = &self.manifest.layers[position];
        let axes = self.axes_of_layer(position);
        let projected: Vec<u16> = axes.iter().map(|axis| point[*axis]).collect();
        let elided = self.elided(layer, point, base, user)?;
        let key = (position, projected, elided);
        if let Some(known) = self.memo.get(&key) {
            return *known;
        }
        let result = self.concrete_layer(layer, point, &key.2, user);
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
        point: &Point,
        elided: &[bool],
        user: &'m Image,
    ) -> Result<Option<ConcreteLayer>, Failed> {
        if !self.wanted(layer.when.as_ref(), point)? {
            return Ok(None);
        }
        let (name, max_age) = (layer.name.value.clone(), layer.max_age);
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
        let tool = self.manifest.tools.iter().find(|t| t.name.value == tool_use.tool.value).ok_or(Failed)?;
        let version = tool_use.version.as_ref().or(tool.version.as_ref());
        let mut extra: Vec<(Arc<str>, Value)> = vec![("tool".into(), Value::from(tool.name.value.as_str()))];
        if let Some(version) = version {
            let text = self.renderer.render(version, point, &[])?;
            if !is_version(&text) {
                let why = format!("`{text}` is not a version");
                let help = "use letters, digits, `.`, `_`, `+`, `-` and `~`, e.g. `v1.24.3`";
                return Err(self.malformed(version, &text, "malformed-version", why, help));
            }
            extra.push(("version".into(), Value::from(text.to_string())));
        }
        self.download(&tool.download, &tool.name.value, 0o755, point, &extra).map(Some)
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
        let command = self.shared_command(&check.command, point)?;
        Ok(Arc::new(ConcreteCheck {
            name: name.to_owned(),
            command: (*command).clone(),
            exit: check.exit,
            expect: self.optional(check.expect.as_ref(), point)?,
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
            spec.path.push(self.path(entry, point, &[])?);
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

    fn duplicates(&mut self, cells: &[Cell]) {
        let mut owners: HashMap<&Reference, (&Cell, Location)> = HashMap::new();
        let mut reported = HashSet::new();
        for cell in cells.iter().filter(|c| c.push) {
            let Some(image) = self.image_positions.get(&*cell.image) else { continue };
            for (reference, tag) in cell.references.iter().zip(&self.manifest.images[*image].tags) {
                let Some((other, before)) = owners.insert(reference, (cell, tag.at)) else { continue };
                if !reported.insert((before, tag.at)) {
                    continue;
                }
                let message =
                    format!("`{}` and `{}` both have the reference `{reference}`", other.name, cell.name);
                let mut diagnostic = Diagnostic::new("duplicate-reference", tag.at, message)
                    .label("this tag")
                    .help("mention every axis of the image in its tags or its name");
                if before != tag.at {
                    diagnostic =
                        diagnostic.also(before, "and this one").help("give one of them another tag or name");
                }
                self.renderer.diagnostics.push(diagnostic);
            }
        }
    }
}

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
                let manifest = self.expansion.manifest;
                if let Some(tool) = manifest.tools.iter().find(|t| t.name.value == tool_use.tool.value) {
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
