//! The rest of a model: limits, outputs, values of variables, axes and names of images.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

use super::expansion::{CLOSE, OPEN};
use super::images::{Builder, Role, fresh, literal, slug};
use super::model::{Content, Row};
use super::value::{Origin, Piece, Under, values_of};
use super::{Remark, RemarkKind};

static DURATION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^(?:[1-9]\d{0,5}[dhms])$|^\d{1,3}h\d{1,3}m$").expect("a pattern"));
static SIZE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^([1-9]\d{0,8}(?:\.\d+)?)([KMGT]i?)B?$").expect("a pattern"));

/// An amount of Kubernetes as a manifest's.
fn size(text: &str) -> Option<String> {
    SIZE.captures(text.trim()).map(|found| format!("{}{}B", &found[1], &found[2]))
}

/// CPUs of Kubernetes, thousandths too, as a number.
fn cpus(text: &str) -> Option<String> {
    let number = match text.trim().strip_suffix('m') {
        Some(thousandths) => thousandths.parse::<f64>().ok()? / 1000.0,
        None => text.trim().parse().ok()?,
    };
    (number > 0.0 && number < 1e6).then(|| format!("{number}"))
}

impl Builder<'_, '_> {
    /// Limits and outputs of the step.
    pub(super) fn surroundings(&mut self) {
        let step = self.values.step;
        let (memory, cpu, timeout) = (step.memory.as_deref(), step.cpu.as_deref(), step.timeout.as_deref());
        self.model.memory = memory.and_then(size);
        self.model.cpus = cpu.and_then(cpus);
        self.model.timeout = timeout.map(|time| time.replace(' ', "")).filter(|time| DURATION.is_match(time));
        let limits = [
            ("memory", memory, &self.model.memory),
            ("CPUs", cpu, &self.model.cpus),
            ("time", timeout, &self.model.timeout),
        ];
        let left: Vec<String> = limits
            .into_iter()
            .filter(|(_, _, carried)| carried.is_none())
            .filter_map(|(what, given, _)| Some(format!("the limit of {what}: `{}`", given?)))
            .collect();
        left.into_iter().for_each(|text| self.remark(step.line, RemarkKind::Left, text));
        for assignment in &self.values.script.assignments {
            let toggle = |state: &str| assignment.value == format!("${{{}:-{state}}}", assignment.name);
            if toggle("true") || toggle("false") {
                let text = format!(
                    "the toggle `{}`: choose images with `--only image=NAME` instead",
                    assignment.name
                );
                self.remarks.push(Remark { line: assignment.line, kind: RemarkKind::Left, text });
            }
        }
        for (line, text) in &step.script {
            let text = match text.trim() {
                text if text.contains("docker login") => {
                    "signing in: railyard uses the configuration of Docker's clients"
                }
                text if text.starts_with("for ")
                    && step.script.iter().any(|(_, line)| line.contains("docker.sock")) =>
                {
                    "the loop that waits for the engine: `railyard build --wait-engine 60s`"
                }
                _ => continue,
            };
            self.remark(*line, RemarkKind::Left, text);
        }
        for (line, name, variable) in &step.outputs {
            let variable = if variable.is_empty() { name } else { variable };
            let pieces = self.values.pieces(&format!("{OPEN}{variable}{CLOSE}"), Under::Any);
            let value = match pieces.as_slice() {
                [Piece::Unknown(_)] if name.contains("VCS") || name.contains("COMMIT") => {
                    self.remark(
                        *line,
                        RemarkKind::Fault,
                        format!("the script never sets the output `{name}`; the manifest does"),
                    );
                    "{{ revision }}".to_owned()
                }
                [Piece::Unknown(_)] => {
                    self.remark(
                        *line,
                        RemarkKind::Left,
                        format!("the output `{name}`, which the script never sets"),
                    );
                    continue;
                }
                _ => self.rendered(*line, &pieces),
            };
            if !self.model.outputs.iter().any(|(known, _)| known == name) {
                self.model.outputs.push((name.clone(), value));
            }
        }
    }

    /// Values for all variables, and the axes of the images.
    pub(super) fn resolve(&mut self) {
        let pipeline = self.values.pipeline;
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (input, role) in self.roles.clone() {
            let (found, origin) = values_of(pipeline, &input, self.inputs, self.defaults.get(&input));
            let line = pipeline.variable(&input).map_or(1, |variable| variable.line);
            match origin {
                Origin::Example => self.remark(line, RemarkKind::Note, format!("`{input}` has the value of its description's example; give others with --set {input}=VALUE,…")),
                Origin::Missing => self.remark(line, RemarkKind::Left, format!("`{input}` has no value; give one with --set {input}=VALUE")),
                Origin::Given | Origin::Written => {}
            }
            if let (Role::Var(_) | Role::Repository, [_, others @ ..]) = (&role, found.as_slice())
                && !others.is_empty()
            {
                let text = format!("the other values of `{input}`: `{}`", others.join(","));
                self.remark(line, RemarkKind::Left, text);
            }
            let found = if found.is_empty() { vec![missing(&role)] } else { found };
            values.insert(input, found);
        }
        let text = self.mentions(self.model.images.len(), true);
        let build = text.contains("runtime.build");
        let bases = values[&self.model.base].clone();
        for (input, role) in self.roles.clone() {
            if matches!(role, Role::Attribute(_)) && ![1, bases.len()].contains(&values[&input].len()) {
                let line = pipeline.variable(&input).map_or(1, |variable| variable.line);
                let text = format!(
                    "`{input}` and `{}` have lists of other lengths: what is missing is its first value",
                    self.model.base
                );
                self.remark(line, RemarkKind::Note, text);
            }
        }
        for (at, base) in bases.iter().enumerate() {
            let mut row = self.row(at, base, build, &values);
            let rows = &self.model.rows;
            row.name = fresh(&row.name, '-', |name| rows.iter().any(|row| row.name == name));
            self.model.rows.push(row);
        }
        for (input, role) in &self.roles {
            match role {
                Role::Axis(name) => self.model.axes.push((name.clone(), values[input].clone())),
                Role::Var(name) => self.model.vars.push((name.clone(), values[input][0].clone())),
                Role::Repository | Role::Base | Role::Attribute(_) => {}
            }
        }
        self.repository();
        self.name_images();
    }

    /// Takes the repository apart, and gives one where there is none.
    fn repository(&mut self) {
        let line = self.values.script.build.as_ref().map_or(1, |build| build.line);
        let mut whole = std::mem::take(&mut self.model.repository);
        // A variable may hold the whole reference.
        if let Some((repository, tag)) =
            whole.clone().rsplit_once(':').filter(|(_, tag)| !tag.contains(['/', '}']))
        {
            let images = self.model.images.iter_mut().filter(|image| image.tag == "latest");
            images.for_each(|image| image.tag = tag.to_owned());
            whole = repository.to_owned();
        }
        let (repository, image) =
            match whole.rsplit_once('/').filter(|(repository, _)| !repository.is_empty()) {
                Some((repository, image)) => (repository.to_owned(), image.to_owned()),
                None => {
                    let text = "the tag names no repository; `localhost:5000/acme` stands in its place";
                    self.remark(line, RemarkKind::Left, text);
                    ("localhost:5000/acme".to_owned(), whole.trim_matches('/').to_owned())
                }
            };
        self.model.repository = repository;
        self.model.image = if image.is_empty() { "plugin".to_owned() } else { image };
    }

    fn row(&mut self, at: usize, base: &str, build: bool, values: &BTreeMap<String, Vec<String>>) -> Row {
        let (repository, tag) = base.rsplit_once(':').unwrap_or((base, ""));
        let runtime = repository.rsplit_once("/build-").map(|(_, runtime)| runtime.to_owned());
        let runtime =
            runtime.unwrap_or_else(|| repository.rsplit('/').next().unwrap_or("runtime").to_owned());
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let runtime =
            if !runtime.is_empty() && runtime.chars().all(is_name) { runtime } else { slug(&runtime) };
        let mut row = Row { name: runtime, base: literal(base), attributes: Vec::new() };
        if build {
            let version = tag.split('-').next().unwrap_or_default();
            if version.is_empty() {
                let text = format!("the base `{base}` has no version that the tag can take");
                self.remark(1, RemarkKind::Left, text);
            }
            row.attributes.push(("build".into(), version.to_owned()));
        }
        for (input, role) in &self.roles {
            if let Role::Attribute(name) = role {
                // Lists of equal length go together; a single value is everybody's.
                let given = &values[input];
                row.attributes.push((name.clone(), literal(given.get(at).unwrap_or(&given[0]))));
            }
        }
        row
    }

    /// All templates of an image, and of those that it extends.
    fn mentions(&self, at: usize, with_outputs: bool) -> String {
        let model = &self.model;
        let mut texts: Vec<&str> = vec![&model.image];
        for image in model.images.iter().take(at + 1) {
            texts.push(&image.tag);
            texts.extend(image.env.iter().map(|(_, value)| value.as_str()));
            texts.extend(image.path.iter().map(String::as_str));
            texts.extend(image.user.as_deref().into_iter().chain(image.entrypoint.as_deref()));
        }
        for setup in model.setup.iter().filter(|setup| at > 0 || !setup.extended) {
            texts.push(&setup.script);
            texts.extend(setup.env.iter().map(|(_, value)| value.as_str()));
        }
        for layer in model.layers.iter().filter(|layer| at > 0 || !layer.extended) {
            match &layer.content {
                Content::Copy { from, paths, .. } => {
                    texts.push(from);
                    texts.extend(paths.iter().map(String::as_str));
                }
                Content::Tool(name) => {
                    for tool in model.tools.iter().filter(|tool| tool.name == *name) {
                        texts.extend(tool.urls.iter().chain(&tool.member).map(String::as_str));
                        texts.push(&tool.path);
                    }
                }
                Content::Directories(paths) => texts.extend(paths.iter().map(|(path, _)| path.as_str())),
                Content::Run { image, script, keep, .. } => {
                    texts.extend([image.as_str(), script]);
                    texts.extend(keep.iter().map(String::as_str));
                }
            }
        }
        if with_outputs {
            texts.extend(model.outputs.iter().map(|(_, value)| value.as_str()));
        }
        texts.join("\n")
    }

    /// Names, and the axes that the images mention.
    fn name_images(&mut self) {
        let several = self.model.images.len() > 1;
        for at in 0..self.model.images.len() {
            // An image that another one extends passes its outputs on.
            let text = self.mentions(at, true);
            let axes = self.model.axes.iter().map(|(axis, _)| axis.clone());
            let mentioned = axes.filter(|axis| text.contains(&format!("{{{{ {axis} }}}}")));
            let axes = std::iter::once("runtime".to_owned()).chain(mentioned).collect();
            let name = slug(&self.model.image);
            let image = &mut self.model.images[at];
            image.axes = axes;
            image.id = if several && at == 0 { format!("{name}-base") } else { name };
        }
    }
}

/// A value that shows that one is missing.
fn missing(role: &Role) -> String {
    match role {
        Role::Base | Role::Attribute(_) => "registry.example.com/sam/build-runtime:0.0.0".into(),
        Role::Var(_) => "registry.example.com/plugin:0.0.0".into(),
        Role::Axis(_) => "0.0.0".into(),
        Role::Repository => "localhost:5000/acme/plugin".into(),
    }
}
