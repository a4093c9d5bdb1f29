//! A pipeline's variables, script and Dockerfile -> [`Model`].

use std::collections::BTreeMap;

use super::dockerfile::{Action, Instruction, actions, instructions};
use super::model::{Content, Image, Layer, Model, Tool};
use super::pipeline::Pipeline;
use super::script::{self, CLOSE, OPEN};
use super::value::{Piece, Values};
use super::{Remark, RemarkKind};

/// What a variable of the pipeline becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    Base,
    Attribute(String),
    Var(String),
    Axis(String),
    Repository,
}

/// The usual name of the variable that holds the repository.
const TARGET: &str = "TARGET_REPO";

pub(super) struct Builder<'p, 'r> {
    pub(super) values: Values<'p>,
    pub(super) roles: BTreeMap<String, Role>,
    pub(super) remarks: &'r mut Vec<Remark>,
    pub(super) model: Model,
}

/// Reads the images out of a pipeline's first step that builds some.
pub(super) fn build(
    pipeline: &Pipeline,
    inputs: &BTreeMap<String, String>,
    remarks: &mut Vec<Remark>,
) -> Option<Model> {
    let Some(step) = pipeline.builder() else {
        let text = "no step has a script with `docker build`".to_owned();
        remarks.push(Remark { line: 1, kind: RemarkKind::Left, text });
        return None;
    };
    let script = script::read(&step.script);
    let Some(lines) = script.files.get("Dockerfile") else {
        let text = format!("the step `{}` builds a Dockerfile that the pipeline does not hold", step.name);
        remarks.push(Remark { line: step.line, kind: RemarkKind::Left, text });
        return None;
    };
    let found = instructions(lines);
    let values = Values { pipeline, step, script: &script };
    let model = Model { name: pipeline.name.clone(), ..Model::default() };
    let mut builder = Builder { values, roles: BTreeMap::new(), remarks, model };
    builder.bases(&found)?;
    builder.tags();
    builder.body(&found);
    builder.surroundings();
    builder.resolve(inputs);
    Some(builder.model)
}

fn is_extended(instruction: &Instruction) -> bool {
    !instruction.conditions.is_empty()
}

/// The name of a shell variable that a text is, and nothing else.
fn sole(text: &str) -> Option<&str> {
    text.trim_matches('"').strip_prefix(OPEN)?.strip_suffix(CLOSE).filter(|name| !name.contains(CLOSE))
}

/// A name for templates: lower-case letters, digits and `_`.
fn name_of(text: &str) -> String {
    text.to_ascii_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

impl Builder<'_, '_> {
    pub(super) fn remark(&mut self, line: usize, kind: RemarkKind, text: impl Into<String>) {
        self.remarks.push(Remark { line, kind, text: text.into() });
    }

    /// FROM and COPY --from: what the variables that they use are.
    fn bases(&mut self, found: &[Instruction]) -> Option<()> {
        let arguments: Vec<&str> =
            found.iter().filter(|i| i.keyword == "ARG").map(|i| i.rest.as_str()).collect();
        let from: Vec<(&Instruction, String, Option<String>)> = found
            .iter()
            .filter(|i| i.keyword == "FROM")
            .map(|i| {
                let words: Vec<&str> = i.rest.split_whitespace().collect();
                let image = words.first().copied().unwrap_or_default();
                // `${NAME}` of an ARG is what --build-arg of the same name holds.
                let named = image.trim_start_matches("${").trim_start_matches('$').trim_end_matches('}');
                let image = if arguments.contains(&named) {
                    format!("{OPEN}{named}{CLOSE}")
                } else {
                    image.to_owned()
                };
                (i, image, words.get(2).map(|name| (*name).to_owned()))
            })
            .collect();
        let (last, stages) = from.split_last()?;
        let base = sole(&last.1).and_then(|name| self.values.input(name));
        let Some(base) = base else {
            self.remark(
                last.0.line,
                RemarkKind::Left,
                "the base of the image is no variable of the pipeline",
            );
            return None;
        };
        self.model.base.clone_from(&base);
        self.roles.insert(base, Role::Base);
        for (instruction, image, alias) in stages {
            match (sole(image).and_then(|name| self.values.input(name)), alias) {
                (Some(input), Some(alias)) => {
                    self.roles.entry(input).or_insert(Role::Attribute(name_of(alias)));
                }
                _ => self.remark(
                    instruction.line,
                    RemarkKind::Left,
                    format!("the stage `{}`", instruction.rest),
                ),
            }
        }
        for instruction in found.iter().filter(|i| i.keyword == "COPY") {
            let from = instruction.rest.split_whitespace().find_map(|word| word.strip_prefix("--from="));
            if let Some(input) = from.and_then(sole).and_then(|name| self.values.input(name)) {
                self.roles.entry(input.clone()).or_insert(Role::Var(name_of(&input)));
            }
        }
        Some(())
    }

    /// The name that a variable has in templates.
    fn template(&mut self, input: &str) -> String {
        let role = self.roles.entry(input.to_owned()).or_insert_with(|| {
            let name = name_of(input);
            let name = name.strip_suffix("_version").unwrap_or(&name);
            // The version of the plugin; `version` means a tool's in templates.
            Role::Axis(if name == "version" { "harness".to_owned() } else { name.to_owned() })
        });
        match role {
            Role::Base => "{{ runtime.base }}".into(),
            Role::Attribute(name) => format!("{{{{ runtime.{name} }}}}"),
            Role::Var(name) => format!("{{{{ vars.{name} }}}}"),
            Role::Axis(name) => format!("{{{{ {name} }}}}"),
            Role::Repository => String::new(),
        }
    }

    /// A text with marks as a template.
    pub(super) fn render(&mut self, line: usize, text: &str, extended: bool) -> String {
        let mut rendered = String::new();
        for piece in self.values.pieces(text, extended) {
            match piece {
                Piece::Text(text) => rendered += &text,
                Piece::Input(input) => rendered += &self.template(&input),
                Piece::RuntimeOf(_) => rendered += "{{ runtime }}",
                Piece::VersionOf(_) => rendered += "{{ runtime.build }}",
                Piece::Timestamp => rendered += "{{ timestamp }}",
                Piece::Unknown(name) => {
                    self.remark(
                        line,
                        RemarkKind::Fault,
                        format!("nothing sets the variable `{name}` that is used here"),
                    );
                }
            }
        }
        rendered
    }

    /// The repository and the tags.
    fn tags(&mut self) {
        let Some((line, text)) = self.values.script.tag.clone() else { return };
        let conditional =
            self.values.script.files["Dockerfile"].iter().any(|line| !line.conditions.is_empty());
        let pieces = self.values.pieces(&text, false);
        let given = match pieces.first() {
            Some(Piece::Input(input)) => Some(input.clone()),
            _ => self
                .values
                .pipeline
                .variables
                .iter()
                .map(|variable| variable.name.clone())
                .find(|name| name == TARGET),
        };
        if let Some(input) = given {
            self.roles.insert(input, Role::Repository);
        }
        let tag = |text: &str| {
            text.rsplit_once(':').map(|(_, tag)| tag.to_owned()).unwrap_or_else(|| "latest".into())
        };
        let without_time = |text: String| text.replace("-{{ timestamp }}", "");
        // A colon within an expression is none of the reference's.
        let base = self.render(line, &text, false);
        if base.contains("{{ timestamp }}") {
            self.remark(
                line,
                RemarkKind::Left,
                "the time in the tag: the same content keeps its tag and is not built again",
            );
        }
        if let Some((repository, _)) =
            base.rsplit_once(':').filter(|(repository, _)| repository.contains('/'))
        {
            self.model.repository = repository.to_owned();
        }
        let first = Image { tag: without_time(tag(&base)), ..Image::default() };
        self.model.images.push(first);
        if conditional {
            let extended = self.render(line, &text, true);
            self.model.images.push(Image { tag: without_time(tag(&extended)), ..Image::default() });
        }
    }

    fn body(&mut self, found: &[Instruction]) {
        let mut constants: Vec<(String, String)> = Vec::new();
        for instruction in found {
            let extended = is_extended(instruction);
            let at = usize::from(extended && self.model.images.len() > 1);
            let line = instruction.line;
            match instruction.keyword.as_str() {
                "FROM" | "ARG" => {}
                "ENV" => self.env(instruction, at, &mut constants),
                "USER" => self.model.images[at].user = Some(instruction.rest.clone()),
                "ENTRYPOINT" => self.model.images[at].entrypoint = Some(instruction.rest.clone()),
                "COPY" => self.copy(instruction, at == 1),
                "RUN" => self.run(instruction, at == 1, &constants),
                keyword => self.remark(line, RemarkKind::Left, format!("`{keyword} {}`", instruction.rest)),
            }
        }
    }

    fn env(&mut self, instruction: &Instruction, at: usize, constants: &mut Vec<(String, String)>) {
        let Some((name, value)) = instruction.rest.split_once('=') else { return };
        let value = value.trim().trim_matches('"');
        if name == "PATH" {
            let entries = value.split(':').filter(|entry| entry.starts_with('/'));
            self.model.images[at].path = entries.map(str::to_owned).collect();
            return;
        }
        let value = self.render(instruction.line, value, true);
        constants.push((name.to_owned(), value.clone()));
        self.model.images[at].env.push((name.to_owned(), value));
    }

    fn copy(&mut self, instruction: &Instruction, extended: bool) {
        let words: Vec<&str> = instruction.rest.split_whitespace().collect();
        let from = words.iter().find_map(|word| word.strip_prefix("--from="));
        let paths: Vec<&str> = words.iter().filter(|word| !word.starts_with("--")).copied().collect();
        let ([source, target], Some(from)) = (paths.as_slice(), from) else {
            self.remark(instruction.line, RemarkKind::Left, format!("`COPY {}`", instruction.rest));
            return;
        };
        if source.trim_end_matches('/') != target.trim_end_matches('/') {
            self.remark(
                instruction.line,
                RemarkKind::Left,
                format!("a copy to another place: `COPY {}`", instruction.rest),
            );
            return;
        }
        let (name, from) = match sole(from).and_then(|name| self.values.input(name)) {
            Some(input) => ("plugin".to_owned(), self.template(&input)),
            None => (name_of(from).replace('_', "-"), format!("{{{{ runtime.{} }}}}", name_of(from))),
        };
        let layers = &mut self.model.layers;
        let known = layers.iter_mut().find(|layer| layer.name == name);
        if let Some(Layer { content: Content::Copy { paths, .. }, .. }) = known {
            paths.push((*source).to_owned());
            return;
        }
        let content = Content::Copy { from, paths: vec![(*source).to_owned()], executable: false };
        layers.push(Layer { name, content, extended });
    }

    fn run(&mut self, instruction: &Instruction, extended: bool, constants: &[(String, String)]) {
        let line = instruction.line;
        let text = constants.iter().fold(instruction.rest.clone(), |text, (name, value)| {
            text.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value)
        });
        let Some(mut actions) = actions(&text) else {
            let script = self.render(line, &instruction.rest, true);
            self.model.setup.push((line, script));
            self.remark(
                line,
                RemarkKind::Note,
                "a command taken over as it is, as a setup step: it runs on the base, before the layers",
            );
            return;
        };
        // What is downloaded is known before its mode is changed.
        actions.sort_by_key(|action| !matches!(action, Action::Download { .. }));
        for action in actions {
            self.action(line, action, extended);
        }
    }

    fn action(&mut self, line: usize, action: Action, extended: bool) {
        let add = |layers: &mut Vec<Layer>, name: &str, content| {
            layers.push(Layer { name: name.to_owned(), content, extended });
        };
        match action {
            Action::Directories { mode, paths } => {
                let made =
                    paths.into_iter().map(|path| (path.trim_end_matches('/').to_owned(), mode.clone()));
                let known = self.model.layers.iter_mut().find(|layer| layer.name == "directories");
                match known {
                    Some(Layer { content: Content::Directories(directories), .. }) => {
                        directories.extend(made)
                    }
                    _ => add(&mut self.model.layers, "directories", Content::Directories(made.collect())),
                }
            }
            Action::Modes { mode, paths } => self.modes(line, &mode, &paths),
            Action::Download { urls, path, member } => {
                let name = path.rsplit('/').next().unwrap_or("tool").to_owned();
                let urls: Vec<String> = urls.iter().map(|url| self.render(line, url, true)).collect();
                let tool = Tool { name: name.clone(), urls, path, member };
                if self.model.tools.contains(&tool) {
                    return;
                }
                self.remark(
                    line,
                    RemarkKind::Note,
                    format!("`{name}` is a tool now: downloaded once, its sha256 pinned by the lock"),
                );
                self.model.tools.push(tool);
                add(&mut self.model.layers, &name.clone(), Content::Tool(name));
            }
            Action::Npm { package, version, settings } => {
                let version = self.render(line, &version, true);
                let mut script = settings;
                script.push(format!("npm install -g --no-audit --no-fund {package}@{version}"));
                // Where Node.js is copied from is where npm can run, once for all images.
                let builder = self.roles.values().find_map(|role| match role {
                    Role::Attribute(name) => Some(format!("{{{{ runtime.{name} }}}}")),
                    _ => None,
                });
                let prefix = self.model.images[0]
                    .path
                    .first()
                    .and_then(|path| path.strip_suffix("/bin"))
                    .unwrap_or("/usr/local");
                let programs =
                    if package == "serverless" { vec!["serverless", "sls"] } else { vec![package.as_str()] };
                let mut keep = vec![format!("{prefix}/lib/node_modules/{package}")];
                keep.extend(programs.iter().map(|program| format!("{prefix}/bin/{program}")));
                let reads = Some(prefix.to_owned());
                self.remark(
                    line,
                    RemarkKind::Note,
                    format!("`{package}` is installed once for each Node.js and version; check `keep`"),
                );
                let image = builder.unwrap_or_else(|| "{{ runtime.base }}".into());
                let content = Content::Run { image, script: script.join("\n"), keep, reads };
                add(&mut self.model.layers, &package, content);
            }
            Action::Check(command) => {
                let name = command.split_whitespace().next().unwrap_or("smoke").to_owned();
                if !self.model.checks.iter().any(|(known, ..)| *known == name) {
                    self.model.checks.push((name, command, None));
                }
            }
        }
    }

    fn modes(&mut self, line: usize, mode: &str, paths: &[String]) {
        for path in paths {
            // A tool is executable anyway.
            if mode.ends_with("+x") && self.model.tools.iter().any(|tool| tool.path == *path) {
                continue;
            }
            // Of copies that hold the path the innermost.
            let depth = |paths: &[String]| {
                paths.iter().filter(|copied| path.starts_with(copied.as_str())).map(String::len).max()
            };
            let layers = self.model.layers.iter_mut().filter_map(|layer| match &mut layer.content {
                Content::Copy { paths, executable, .. } => Some((depth(paths)?, executable)),
                _ => None,
            });
            let copied = layers.max_by_key(|(depth, _)| *depth).map(|(_, executable)| executable);
            match copied {
                Some(executable) if mode.ends_with("+x") => *executable = true,
                _ => self.remark(line, RemarkKind::Left, format!("`chmod {mode} {path}`")),
            }
        }
    }
}
