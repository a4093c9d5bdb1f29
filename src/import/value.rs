//! What a shell variable of a script stands for.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

use super::pipeline::{Pipeline, Step};
use super::script::{CLOSE, OPEN, Script, marked};

/// A piece of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// As it stands.
    Text(String),
    /// A variable of the pipeline.
    Input(String),
    /// The runtime of a build image: what stands between `build-` and `:`.
    RuntimeOf(String),
    /// The version in the tag of a build image.
    VersionOf(String),
    /// The time of the run.
    Timestamp,
    /// A variable that nothing sets.
    Unknown(String),
}

static EXPRESSION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"<\+pipeline\.variables\.(\w+)>").expect("a pattern"));
static ECHOED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"echo\s+"?\$\{?(\w+)\}?"?\s*\|\s*sed"#).expect("a pattern"));

/// The variables of a step's script.
pub(super) struct Values<'p> {
    pub pipeline: &'p Pipeline,
    pub step: &'p Step,
    pub script: &'p Script,
}

impl Values<'_> {
    /// The pieces of a text with marks; `conditional` takes assignments under conditions too.
    pub(super) fn pieces(&self, text: &str, conditional: bool) -> Vec<Piece> {
        self.expand(text, conditional, 0)
    }

    /// The variable of the pipeline that a shell variable holds, if it is nothing else.
    pub(super) fn input(&self, name: &str) -> Option<String> {
        match self.variable(name, true, 0).as_slice() {
            [Piece::Input(input)] => Some(input.clone()),
            _ => None,
        }
    }

    fn expand(&self, text: &str, conditional: bool, depth: usize) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(OPEN) {
            let Some((name, behind)) = after.split_once(CLOSE) else { break };
            push(&mut pieces, before);
            pieces.extend(self.variable(name, conditional, depth + 1));
            rest = behind;
        }
        push(&mut pieces, rest);
        pieces
    }

    fn variable(&self, name: &str, conditional: bool, depth: usize) -> Vec<Piece> {
        let unknown = || vec![Piece::Unknown(name.to_owned())];
        if depth > 20 {
            return unknown();
        }
        let own =
            |value: &str| value.contains(&format!("${{{name}:-")) || value.contains(&format!("${{{name}-"));
        let mut assigned = self.script.assignments.iter().filter(|assignment| {
            // Parameters of a function are set by its callers, from variables of the same name.
            assignment.name == name
                && !assignment.value.starts_with("$1")
                && !assignment.value.starts_with("$2")
                && (conditional || assignment.conditions.is_empty())
        });
        let Some(assignment) = assigned.next_back() else {
            let set = self.step.environment.get(name).map(String::as_str);
            let set = set.and_then(|value| Some(EXPRESSION.captures(value)?[1].to_owned()));
            let input = set.or_else(|| self.pipeline.variable(name).map(|variable| variable.name.clone()));
            return input.map_or_else(unknown, |input| vec![Piece::Input(input)]);
        };
        let value = assignment.value.as_str();
        if let Some(found) = EXPRESSION.captures(value) {
            return vec![Piece::Input(found[1].to_owned())];
        }
        if value.starts_with("$(") || value.starts_with('`') {
            if value.contains("date ") {
                return vec![Piece::Timestamp];
            }
            let source = ECHOED.captures(value).and_then(|found| self.input(&found[1]));
            return match source {
                Some(source) if value.contains("build-") => vec![Piece::RuntimeOf(source)],
                Some(source) if value.contains("[0-9]") => vec![Piece::VersionOf(source)],
                _ => unknown(),
            };
        }
        if own(value) {
            let default = value.split_once('-').map(|(_, default)| default.trim_end_matches('}').to_owned());
            return default.map_or_else(unknown, |default| vec![Piece::Text(default)]);
        }
        self.expand(&marked(value), conditional, depth + 1)
    }
}

fn push(pieces: &mut Vec<Piece>, text: &str) {
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
}

/// The values of a variable of the pipeline: those given, those it may have, its default, or the
/// example of its description; and where they are from.
pub(super) fn values_of(
    pipeline: &Pipeline,
    name: &str,
    inputs: &BTreeMap<String, String>,
) -> (Vec<String>, Origin) {
    let list = |text: &str| -> Vec<String> {
        let mut values: Vec<String> = Vec::new();
        for value in text.split(',').map(str::trim) {
            if !value.is_empty() && !values.iter().any(|known| known == value) {
                values.push(value.to_owned());
            }
        }
        values
    };
    if let Some(value) = inputs.get(name).map(|value| list(value)).filter(|values| !values.is_empty()) {
        return (value, Origin::Given);
    }
    let Some(variable) = pipeline.variable(name) else { return (Vec::new(), Origin::Missing) };
    if !variable.value.starts_with("<+") && !variable.value.is_empty() {
        return (vec![variable.value.clone()], Origin::Written);
    }
    static ALLOWED: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"\.(?:allowedValues|selectOneFrom|selectManyFrom|default)\(([^)]*)\)").expect("a pattern")
    });
    static EXAMPLE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"e\.g\.,?\s+([^\s)]+)").expect("a pattern"));
    let allowed = ALLOWED.captures(&variable.value).map(|found| list(&found[1]));
    if let Some(allowed) = allowed.filter(|values| !values.is_empty()) {
        return (allowed, Origin::Written);
    }
    if let Some(default) = variable.default.as_ref().filter(|default| !default.is_empty()) {
        return (vec![default.clone()], Origin::Written);
    }
    match EXAMPLE.captures(&variable.description) {
        Some(found) => (vec![found[1].to_owned()], Origin::Example),
        None => (Vec::new(), Origin::Missing),
    }
}

/// Where a value is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The command line.
    Given,
    /// The pipeline.
    Written,
    /// An example in its description.
    Example,
    /// Nowhere.
    Missing,
}
