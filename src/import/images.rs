//! A pipeline's variables, script and Dockerfile -> [`Model`].

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

use super::dockerfile::{DOLLAR, Instruction, arguments, instructions};
use super::expansion::{CLOSE, OPEN, shown};
use super::model::{Image, Model};
use super::pipeline::Pipeline;
use super::script::{self, OTHERWISE};
use super::value::{Piece, Under, Values, values_of};
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
/// Names that axes cannot have, or that one has already.
const TAKEN_AXES: [&str; 10] =
    ["axes", "vars", "base", "version", "arch", "os", "platform", "timestamp", "item", "runtime"];
/// Attributes that every row may have.
const TAKEN_ATTRIBUTES: [&str; 3] = ["name", "base", "build"];

pub(super) struct Builder<'p, 'r> {
    pub(super) values: Values<'p>,
    pub(super) inputs: &'p BTreeMap<String, String>,
    pub(super) roles: BTreeMap<String, Role>,
    pub(super) remarks: &'r mut Vec<Remark>,
    pub(super) model: Model,
    /// Stages of the Dockerfile, by name and number: what they are, if that is known.
    pub(super) stages: BTreeMap<String, Option<String>>,
    /// Variables of the Dockerfile with their values, in which shell variables are between marks.
    pub(super) constants: BTreeMap<String, String>,
    /// Those of before the first FROM.
    globals: BTreeMap<String, String>,
    /// The user of the next instruction, if one is set.
    pub(super) user: Option<String>,
    /// Conditions of the script around the instruction that is read.
    pub(super) within: Vec<String>,
    /// What the script takes where a variable of the pipeline has no value.
    pub(super) defaults: BTreeMap<String, String>,
}

/// Reads the images out of a pipeline's first step that builds some.
pub(super) fn build(
    pipeline: &Pipeline,
    inputs: &BTreeMap<String, String>,
    remarks: &mut Vec<Remark>,
) -> Option<Model> {
    let mut left = |line, text: String| remarks.push(Remark { line, kind: RemarkKind::Left, text });
    let Some(step) = pipeline.builder() else {
        left(1, "no step has a script with `docker build`".to_owned());
        return None;
    };
    let script = script::read(&step.script);
    script.left.iter().for_each(|(line, text)| left(*line, text.clone()));
    let Some(lines) = script.dockerfile().filter(|_| script.build.is_some()) else {
        left(
            step.line,
            format!("the step `{}` builds a Dockerfile that the pipeline does not hold", step.name),
        );
        return None;
    };
    let found = instructions(lines);
    let from = found.iter().rfind(|instruction| instruction.keyword == "FROM");
    let common = from.map(|from| from.within.clone()).unwrap_or_default();
    let values = Values::new(pipeline, step, &script, common);
    let mut builder = Builder {
        values,
        inputs,
        roles: BTreeMap::new(),
        remarks,
        model: Model { name: pipeline.name.clone(), ..Model::default() },
        stages: BTreeMap::new(),
        constants: BTreeMap::new(),
        globals: BTreeMap::new(),
        user: None,
        within: Vec::new(),
        defaults: BTreeMap::new(),
    };
    let mut body = builder.bases(&found)?;
    builder.conditions(&mut body);
    builder.tags(&mut body);
    builder.body(&body);
    builder.surroundings();
    builder.resolve();
    let said = builder.values.remarks();
    let model = builder.model;
    remarks.extend(said);
    Some(model)
}

/// The name of a shell variable that a text is, and nothing else.
pub(super) fn sole(text: &str) -> Option<&str> {
    text.trim_matches('"').strip_prefix(OPEN)?.strip_suffix(CLOSE).filter(|name| !name.contains(CLOSE))
}

/// A name for templates: lower-case letters, digits and `_`.
fn name_of(text: &str) -> String {
    let name: String =
        text.to_ascii_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    match name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        true => name,
        false => format!("_{name}"),
    }
}

/// The name of a table: letters, digits, `_` and `-`.
pub(super) fn slug(text: &str) -> String {
    let plain: String = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '-' })
        .collect();
    let plain = plain.trim_start_matches(['-', '_']).trim_end_matches('-');
    if plain.is_empty() { "part".to_owned() } else { plain.to_owned() }
}

/// A name that is not taken yet.
pub(super) fn fresh(name: &str, separator: char, is_taken: impl Fn(&str) -> bool) -> String {
    let mut fresh = name.to_owned();
    let mut number = 2;
    while is_taken(&fresh) {
        fresh = format!("{name}{separator}{number}");
        number += 1;
    }
    fresh
}

/// A text without anything that templates would take for theirs.
pub(super) fn literal(text: &str) -> String {
    static MARKUP: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\{[{%#]").expect("a pattern"));
    MARKUP.replace_all(text, |found: &regex::Captures<'_>| format!("{{{{ '{}' }}}}", &found[0])).into_owned()
}

static VARIABLE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))").expect("a pattern"));

impl Builder<'_, '_> {
    pub(super) fn remark(&mut self, line: usize, kind: RemarkKind, text: impl Into<String>) {
        // No marks where people read.
        let text = shown(&text.into()).replace(DOLLAR, "$").replace('\n', " ");
        self.remarks.push(Remark { line, kind, text });
    }

    /// An instruction that is not carried over.
    pub(super) fn left(&mut self, instruction: &Instruction) {
        let Instruction { line, keyword, rest, .. } = instruction;
        self.remark(*line, RemarkKind::Left, format!("`{keyword} {rest}`"));
    }

    /// A text of the Dockerfile with the values of its variables, as far as they are known.
    pub(super) fn with_constants(&self, text: &str) -> String {
        let value = |found: &regex::Captures<'_>| {
            let name = found.get(1).or(found.get(2)).map_or("", |name| name.as_str());
            self.constants.get(name).cloned().unwrap_or_else(|| found[0].to_owned())
        };
        VARIABLE.replace_all(text, value).into_owned()
    }

    /// Takes over the values of an ARG: those of the command line, its defaults, or those of before FROM.
    pub(super) fn arguments(&mut self, instruction: &Instruction) {
        let Some(found) = arguments(&instruction.rest) else { return self.left(instruction) };
        for (name, default) in found {
            let given = self.values.script.build.as_ref().and_then(|build| {
                build.arguments.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
            });
            let default = default.map(|default| self.with_constants(&default));
            // An ENV of this name counts more.
            if self.model.images.iter().any(|image| image.env.iter().any(|(known, _)| *known == name)) {
                continue;
            }
            match given.or(default).or_else(|| self.globals.get(&name).cloned()) {
                Some(value) if !value.contains('$') => {
                    self.constants.insert(name, value.replace(DOLLAR, "$"));
                }
                Some(value) => {
                    self.remark(instruction.line, RemarkKind::Left, format!("`ARG {name}={value}`"));
                }
                None => self.remark(instruction.line, RemarkKind::Left, format!("`ARG {name}`")),
            }
        }
    }

    /// The variable of the pipeline that a shell variable holds, if it is nothing else.
    pub(super) fn input(&mut self, name: &str) -> Option<String> {
        let (input, default) = self.values.input(name, Under::These(&self.within))?;
        if let Some(default) = default {
            self.defaults.insert(input.clone(), default);
        }
        Some(input)
    }

    /// FROM and COPY --from: what the variables that they use are. Gives what follows the last FROM.
    fn bases(&mut self, found: &[Instruction]) -> Option<Vec<Instruction>> {
        let at = found.iter().rposition(|i| i.keyword == "FROM");
        let Some(at) = at else {
            self.remark(1, RemarkKind::Left, "the Dockerfile has no FROM");
            return None;
        };
        let build = self.values.script.build.clone().unwrap_or_default();
        if let Some(target) = build.target {
            self.remark(build.line, RemarkKind::Left, format!("`--target {target}`: the last stage is read"));
        }
        let mut number = 0;
        let mut is_in_stage = false;
        for (n, instruction) in found[..=at].iter().enumerate() {
            let line = instruction.line;
            self.within.clone_from(&instruction.within);
            match instruction.keyword.as_str() {
                "ARG" if !is_in_stage => self.arguments(instruction),
                "FROM" => {
                    is_in_stage = true;
                    let words: Vec<&str> =
                        instruction.rest.split_whitespace().filter(|word| !word.starts_with("--")).collect();
                    let image = self.with_constants(words.first().copied().unwrap_or_default());
                    let input = sole(&image).and_then(|name| self.input(name));
                    if n == at {
                        let Some(input) = input else {
                            let text = "the base of the image is no variable of the pipeline";
                            self.remark(line, RemarkKind::Left, text);
                            return None;
                        };
                        self.model.base.clone_from(&input);
                        self.roles.insert(input, Role::Base);
                        break;
                    }
                    let alias = words.get(2).map(|name| (*name).to_owned());
                    if input.is_none() {
                        self.remark(line, RemarkKind::Left, format!("the stage `{}`", instruction.rest));
                    }
                    for name in [Some(number.to_string()), alias].into_iter().flatten() {
                        self.stages.insert(name, input.clone());
                    }
                    number += 1;
                }
                _ if is_in_stage => {
                    let text = format!("of a stage: `{} {}`", instruction.keyword, instruction.rest);
                    self.remark(line, RemarkKind::Left, text);
                }
                _ => self.left(instruction),
            }
        }
        // ARGs before FROM are known behind it where another one asks for them.
        self.globals = std::mem::take(&mut self.constants);
        let named: Vec<(String, Option<String>)> = self
            .stages
            .iter()
            .filter(|(name, _)| !is_number(name))
            .map(|(n, i)| (n.clone(), i.clone()))
            .collect();
        let numbered = self.stages.iter().filter(|(name, _)| is_number(name));
        let numbered: Vec<(String, Option<String>)> =
            numbered.map(|(n, i)| (format!("stage_{n}"), i.clone())).collect();
        for (name, input) in named.into_iter().chain(numbered) {
            let Some(input) = input.filter(|input| !self.roles.contains_key(input)) else { continue };
            let name = fresh(&name_of(&name), '_', |name| {
                TAKEN_ATTRIBUTES.contains(&name)
                    || self.roles.values().any(|r| *r == Role::Attribute(name.into()))
            });
            self.roles.insert(input, Role::Attribute(name));
        }
        let body = found[at..].to_vec();
        for instruction in body.iter().filter(|i| i.keyword == "COPY") {
            let from = instruction.rest.split_whitespace().find_map(|word| word.strip_prefix("--from="));
            self.within.clone_from(&instruction.within);
            let input = from.and_then(sole).and_then(|name| self.input(name));
            if let Some(input) = input.filter(|input| !self.roles.contains_key(input)) {
                let name = fresh(&name_of(&input), '_', |name| {
                    self.roles.values().any(|role| *role == Role::Var(name.into()))
                });
                self.roles.insert(input, Role::Var(name));
            }
        }
        Some(body)
    }

    /// Leaves conditions that hold for the whole file, and instructions of an `else`.
    fn conditions(&mut self, body: &mut Vec<Instruction>) {
        let common = body.first().map(|from| from.conditions.clone()).unwrap_or_default();
        let mut known: Option<Vec<String>> = None;
        for instruction in std::mem::take(body) {
            let mut instruction = instruction;
            if instruction.conditions.starts_with(&common) {
                instruction.conditions.drain(..common.len());
            }
            if instruction.conditions.iter().any(|condition| condition.starts_with(OTHERWISE)) {
                let text = format!("of an `else`: `{} {}`", instruction.keyword, instruction.rest);
                self.remark(instruction.line, RemarkKind::Left, text);
                continue;
            }
            if !instruction.conditions.is_empty() {
                let first = known.get_or_insert_with(|| instruction.conditions.clone());
                if *first != instruction.conditions {
                    let text = "this has a condition of its own; the second image has all that has one";
                    self.remark(instruction.line, RemarkKind::Note, text);
                }
            }
            body.push(instruction);
        }
    }

    /// The name that a variable has in templates.
    pub(super) fn template(&mut self, input: &str) -> String {
        if !self.roles.contains_key(input) {
            let name = name_of(input);
            let name = name.strip_suffix("_version").filter(|name| !name.is_empty()).unwrap_or(&name);
            // The version of the plugin; `version` means a tool's in templates.
            let name = if name == "version" { "harness" } else { name };
            let name = fresh(name, '_', |name| {
                TAKEN_AXES.contains(&name) || self.roles.values().any(|role| *role == Role::Axis(name.into()))
            });
            self.roles.insert(input.to_owned(), Role::Axis(name));
        }
        match &self.roles[input] {
            Role::Base => "{{ runtime.base }}".into(),
            Role::Attribute(name) => format!("{{{{ runtime.{name} }}}}"),
            Role::Var(name) => format!("{{{{ vars.{name} }}}}"),
            Role::Axis(name) => format!("{{{{ {name} }}}}"),
            Role::Repository => literal(&self.value(input)),
        }
    }

    /// The first value of an input.
    pub(super) fn value(&self, input: &str) -> String {
        let (values, _) = values_of(self.values.pipeline, input, self.inputs, self.defaults.get(input));
        values.into_iter().next().unwrap_or_default()
    }

    /// A text with marks as a template.
    pub(super) fn render(&mut self, line: usize, text: &str) -> String {
        let pieces = self.values.pieces(text, Under::These(&self.within));
        self.rendered(line, &pieces)
    }

    pub(super) fn rendered(&mut self, line: usize, pieces: &[Piece]) -> String {
        let mut rendered = String::new();
        for piece in pieces {
            let template = match piece {
                Piece::Text(text) => {
                    rendered += &literal(text);
                    continue;
                }
                Piece::Input(input) => self.template(input),
                Piece::InputOr(input, default) => {
                    self.defaults.insert(input.clone(), default.clone());
                    self.template(input)
                }
                Piece::RuntimeOf(_) => "{{ runtime }}".to_owned(),
                Piece::VersionOf(_) => "{{ runtime.build }}".to_owned(),
                Piece::Timestamp => "{{ timestamp }}".to_owned(),
                Piece::Unknown(name) => {
                    let text = format!("nothing sets the variable `{name}` that is used here");
                    self.remark(line, RemarkKind::Fault, text);
                    continue;
                }
                Piece::Lost(what) => {
                    self.remark(line, RemarkKind::Left, what.clone());
                    continue;
                }
            };
            // A brace before it would open it.
            if rendered.ends_with('{') {
                rendered.pop();
                rendered += "{{ '{' }}";
            }
            rendered += &template;
        }
        rendered
    }

    /// The repository and the tags.
    fn tags(&mut self, body: &mut [Instruction]) {
        let build = self.values.script.build.clone().unwrap_or_default();
        let line = build.line;
        for other in build.tags.iter().skip(1) {
            self.remark(line, RemarkKind::Left, format!("another tag: `-t {other}`"));
        }
        let Some(text) = build.tags.first() else {
            let text =
                "`docker build` has no `-t` here: the image is `plugin:latest` at `localhost:5000/acme`";
            self.remark(line, RemarkKind::Left, text);
            self.model.images.push(Image { tag: "latest".into(), ..Image::default() });
            body.iter_mut().for_each(|instruction| instruction.conditions.clear());
            return;
        };
        let is_one = body.iter().all(|instruction| instruction.conditions.is_empty());
        self.within = body.first().map(|from| from.within.clone()).unwrap_or_default();
        let under = if is_one { Under::These(&self.within) } else { Under::Always };
        let pieces = self.values.pieces(text, under);
        let (mut repository, tag) = split(&pieces);
        if !repository.iter().any(|piece| matches!(piece, Piece::Input(_) | Piece::InputOr(..)))
            && self.values.pipeline.variable(TARGET).is_some()
            && !self.roles.contains_key(TARGET)
        {
            let written = self.rendered(line, &repository);
            let text = format!("images go to the repository of `{TARGET}`, not to `{written}`");
            self.remark(line, RemarkKind::Note, text);
            repository = vec![Piece::Input(TARGET.into())];
        }
        for piece in &repository {
            if let Piece::Input(input) | Piece::InputOr(input, _) = piece {
                self.roles.entry(input.clone()).or_insert(Role::Repository);
            }
        }
        self.model.repository = self.rendered(line, &repository);
        let base = self.tag(line, &tag);
        self.model.images.push(Image { tag: base.clone(), ..Image::default() });
        if is_one {
            return;
        }
        let (_, tag) = split(&self.values.pieces(text, Under::Any));
        let extended = self.tag(line, &tag);
        if extended != base {
            self.model.images.push(Image { tag: extended, ..Image::default() });
            return;
        }
        // One image, with or without what has a condition.
        for instruction in body {
            if !std::mem::take(&mut instruction.conditions).is_empty() {
                let text = "this has a condition, but the tag is the same: it is in the image";
                self.remark(instruction.line, RemarkKind::Note, text);
            }
        }
    }

    /// A tag; the time in it is left out.
    fn tag(&mut self, line: usize, pieces: &[Piece]) -> String {
        if pieces.is_empty() {
            return "latest".to_owned();
        }
        let tag = self.rendered(line, pieces);
        let without = tag.replace("-{{ timestamp }}", "").replace("{{ timestamp }}-", "");
        if without != tag {
            let text = "the time in the tag: the same content keeps its tag and is not built again";
            self.remark(line, RemarkKind::Left, text);
        }
        without
    }
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

/// The repository and the tag of a reference; no tag where there is none.
fn split(pieces: &[Piece]) -> (Vec<Piece>, Vec<Piece>) {
    for (at, piece) in pieces.iter().enumerate().rev() {
        let Piece::Text(text) = piece else { continue };
        let Some((before, after)) = text.rsplit_once(':').filter(|(_, after)| !after.contains('/')) else {
            if text.contains('/') {
                break;
            }
            continue;
        };
        let text = |text: &str| (!text.is_empty()).then(|| Piece::Text(text.to_owned()));
        let repository = pieces[..at].iter().cloned().chain(text(before)).collect();
        return (repository, text(after).into_iter().chain(pieces[at + 1..].iter().cloned()).collect());
    }
    (pieces.to_vec(), Vec::new())
}
