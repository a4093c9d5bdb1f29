//! The rest of a model: limits, outputs, values of variables, axes and names of images.

use std::collections::BTreeMap;

use super::images::{Builder, Role};
use super::model::{Content, Row};
use super::script::{CLOSE, OPEN};
use super::value::{Origin, Piece, values_of};
use super::{Remark, RemarkKind};

impl Builder<'_, '_> {
    /// Limits and outputs of the step.
    pub(super) fn surroundings(&mut self) {
        let step = self.values.step;
        self.model.memory = step
            .memory
            .as_ref()
            .map(|memory| memory.replace("Gi", "GiB").replace("Mi", "MiB").replace("BB", "B"));
        self.model.cpus =
            step.cpu.as_ref().map(|cpu| match cpu.strip_suffix('m').and_then(|m| m.parse::<f64>().ok()) {
                Some(thousandths) => format!("{}", thousandths / 1000.0),
                None => cpu.clone(),
            });
        self.model.timeout.clone_from(&step.timeout);
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
            let pieces = self.values.pieces(&format!("{OPEN}{variable}{CLOSE}"), true);
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
                _ => self.render(*line, &format!("{OPEN}{variable}{CLOSE}"), true),
            };
            self.model.outputs.push((name.clone(), value));
        }
    }

    /// Values for all variables, and the axes of the images.
    pub(super) fn resolve(&mut self, inputs: &BTreeMap<String, String>) {
        let pipeline = self.values.pipeline;
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (input, role) in self.roles.clone() {
            let (found, origin) = values_of(pipeline, &input, inputs);
            let line = pipeline.variable(&input).map_or(1, |variable| variable.line);
            match origin {
                Origin::Example => self.remark(line, RemarkKind::Note, format!("`{input}` has the value of its description's example; give others with --set {input}=VALUE,…")),
                Origin::Missing => self.remark(line, RemarkKind::Left, format!("`{input}` has no value; give one with --set {input}=VALUE")),
                Origin::Given | Origin::Written => {}
            }
            let found = if found.is_empty() { vec![missing(&role)] } else { found };
            values.insert(input, found);
        }
        let uses_build = |text: &str| text.contains("runtime.build");
        let build = self.model.images.iter().any(|image| uses_build(&image.tag))
            || self.model.outputs.iter().any(|(_, value)| uses_build(value));
        for (at, base) in values[&self.model.base.clone()].clone().iter().enumerate() {
            let row = self.row(at, base, build, &values);
            self.model.rows.push(row);
        }
        for (input, role) in &self.roles {
            match role {
                Role::Axis(name) => self.model.axes.push((name.clone(), values[input].clone())),
                Role::Var(name) => self.model.vars.push((name.clone(), values[input][0].clone())),
                Role::Repository => self.model.repository.clone_from(&values[input][0]),
                Role::Base | Role::Attribute(_) => {}
            }
        }
        let (repository, image) = match self.model.repository.rsplit_once('/') {
            Some((repository, image)) => (repository.to_owned(), image.to_owned()),
            None => ("localhost:5000/acme".to_owned(), "plugin".to_owned()),
        };
        self.model.repository = repository;
        self.model.image = image;
        self.name_images();
    }

    fn row(&mut self, at: usize, base: &str, build: bool, values: &BTreeMap<String, Vec<String>>) -> Row {
        let (repository, tag) = base.rsplit_once(':').unwrap_or((base, ""));
        let runtime = repository.rsplit_once("/build-").map(|(_, runtime)| runtime.to_owned());
        let runtime =
            runtime.unwrap_or_else(|| repository.rsplit('/').next().unwrap_or("runtime").to_owned());
        let mut row = Row { name: runtime, base: base.to_owned(), attributes: Vec::new() };
        if build {
            let version = tag.split('-').next().unwrap_or_default();
            row.attributes.push(("build".into(), version.to_owned()));
        }
        for (input, role) in &self.roles {
            if let Role::Attribute(name) = role {
                // Lists of equal length go together; a single value is everybody's.
                let given = &values[input];
                row.attributes.push((name.clone(), given.get(at).unwrap_or(&given[0]).clone()));
            }
        }
        row
    }

    /// Names, and the axes that the tags and layers mention.
    fn name_images(&mut self) {
        let axes: Vec<String> = self.model.axes.iter().map(|(name, _)| name.clone()).collect();
        let several = self.model.images.len() > 1;
        let model = &mut self.model;
        for (at, image) in model.images.iter_mut().enumerate() {
            let mut text = image.tag.clone();
            image.env.iter().for_each(|(_, value)| text += value);
            for layer in model.layers.iter().filter(|layer| at == 1 || !layer.extended) {
                if let Content::Run { script, .. } = &layer.content {
                    text += script;
                }
            }
            let mentioned = axes.iter().filter(|axis| text.contains(&format!("{{{{ {axis} }}}}")));
            image.axes = std::iter::once("runtime".to_owned()).chain(mentioned.cloned()).collect();
            let name = model.image.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_', "-");
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
