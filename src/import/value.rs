//! What a shell variable of a script stands for.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;

use super::assignment::Assignment;
use super::expansion::{CLOSE, OPEN, Operator, Reference, shown, unquoted};
use super::pipeline::{Pipeline, Step};
use super::script::{OTHERWISE, Script};
use super::{Remark, RemarkKind};

/// A piece of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// As it stands.
    Text(String),
    /// A variable of the pipeline.
    Input(String),
    /// A variable of the pipeline, and what stands in its place where it has no value.
    InputOr(String, String),
    /// The runtime of a build image: what stands between `build-` and `:`.
    RuntimeOf(String),
    /// The version in the tag of a build image.
    VersionOf(String),
    /// The time of the run.
    Timestamp,
    /// A variable that nothing sets.
    Unknown(String),
    /// What the shell makes of a variable and is not carried over.
    Lost(String),
}

/// Which assignments count beside those that are always made.
#[derive(Debug, Clone, Copy)]
pub(super) enum Under<'c> {
    /// Those of an `else`: of the first of two images.
    Always,
    /// Those under conditions that hold here.
    These(&'c [String]),
    /// All but those of an `else`: of the second image.
    Any,
}

static EXPRESSION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"<\+pipeline\.variables\.(\w+)>").expect("a pattern"));
static ECHOED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"echo\s+"?\$\{?(\w+)\}?"?\s*\|\s*sed"#).expect("a pattern"));
/// A test whether a variable has no value.
static EMPTY: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"^(?:\[\[?|test)\s+(?:-z\s+"?\$\{?(\w+)(?::?-)?\}?"?|"?\$\{?(\w+)(?::?-)?\}?"?\s+==?\s+(?:""|''))\s*\]?\]?$"#)
        .expect("a pattern")
});

/// The variables of a step's script.
pub(super) struct Values<'p> {
    pub pipeline: &'p Pipeline,
    pub step: &'p Step,
    pub script: &'p Script,
    /// Conditions of the whole Dockerfile.
    common: Vec<String>,
    /// What was found out on the way.
    remarks: RefCell<BTreeSet<Remark>>,
}

impl<'p> Values<'p> {
    /// The variables of a step; `common` are the conditions of its whole Dockerfile.
    pub(super) fn new(
        pipeline: &'p Pipeline,
        step: &'p Step,
        script: &'p Script,
        common: Vec<String>,
    ) -> Self {
        Self { pipeline, step, script, common, remarks: RefCell::default() }
    }

    /// What there is to say of the assignments that were looked at.
    pub(super) fn remarks(&self) -> BTreeSet<Remark> {
        self.remarks.take()
    }

    /// The pieces of a text with marks.
    pub(super) fn pieces(&self, text: &str, under: Under<'_>) -> Vec<Piece> {
        self.expand(text, under, None, 0)
    }

    /// The variable of the pipeline that a shell variable holds, if it is nothing else, with its default.
    pub(super) fn input(&self, name: &str, under: Under<'_>) -> Option<(String, Option<String>)> {
        match self.reference(name, under, None, 0).as_slice() {
            [Piece::Input(input)] => Some((input.clone(), None)),
            [Piece::InputOr(input, default)] => Some((input.clone(), Some(default.clone()))),
            _ => None,
        }
    }

    /// `own` is the assignment that the text is of: in it, its variable has the value from before.
    fn expand(&self, text: &str, under: Under<'_>, own: Option<usize>, depth: usize) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(OPEN) {
            let Some((name, behind)) = after.split_once(CLOSE) else { break };
            push(&mut pieces, before);
            pieces.extend(self.reference(name, under, own, depth + 1));
            rest = behind;
        }
        push(&mut pieces, rest);
        pieces
    }

    /// What stands between marks.
    fn reference(&self, marked: &str, under: Under<'_>, own: Option<usize>, depth: usize) -> Vec<Piece> {
        let Reference { name, operator } = Reference::parse(marked);
        let written = || shown(&format!("{OPEN}{marked}{CLOSE}"));
        if name.is_empty() && operator != Operator::None {
            return vec![Piece::Lost(format!("`{}`", written()))];
        }
        let before = own.filter(|at| self.script.assignments[*at].name == name).unwrap_or(usize::MAX);
        let mut value = self.variable(&name, under, before, depth);
        match operator {
            Operator::None => value,
            Operator::Default(default) => {
                self.or(value, || self.expand(&unquoted(&default), under, own, depth + 1), &written())
            }
            Operator::Instead => vec![Piece::Lost(format!("`{}`", written()))],
            Operator::Changed => {
                value.push(Piece::Lost(format!("`{}`: all of `{name}` stands here", written())));
                value
            }
        }
    }

    /// A value, or another one where it is none.
    fn or(&self, mut value: Vec<Piece>, default: impl Fn() -> Vec<Piece>, written: &str) -> Vec<Piece> {
        match value.as_slice() {
            [] | [Piece::Unknown(_)] => default(),
            [Piece::Input(input)] => match default().as_slice() {
                [Piece::Text(text)] => vec![Piece::InputOr(input.clone(), text.clone())],
                [] => value,
                [Piece::Input(other)] if other == input => value,
                _ => {
                    value.push(Piece::Lost(format!("what stands in the place of `{input}` in `{written}`")));
                    value
                }
            },
            _ => value,
        }
    }

    /// The value of a variable, of the assignments before this one.
    fn variable(&self, name: &str, under: Under<'_>, before: usize, depth: usize) -> Vec<Piece> {
        if depth > 20 {
            return vec![Piece::Unknown(name.to_owned())];
        }
        let assigned: Vec<(usize, &Assignment)> = self
            .script
            .assignments
            .iter()
            .enumerate()
            .take(before)
            // Parameters of a function are set by its callers, from variables of the same name.
            .filter(|(_, assignment)| assignment.name == name && !is_parameter(&assignment.value))
            .collect();
        let last =
            assigned.iter().rposition(|(_, assignment)| self.common.starts_with(&assignment.conditions));
        let later = assigned[last.map_or(0, |at| at + 1)..].iter().copied();
        let (defaults, others): (Vec<_>, Vec<_>) = later.partition(|(_, assignment)| is_default(assignment));
        let is_otherwise = |a: &Assignment| a.conditions.iter().any(|c| c.starts_with(OTHERWISE));
        let chosen = match under {
            Under::Always => others.iter().rfind(|(_, a)| is_otherwise(a)),
            Under::These(conditions) => others.iter().rfind(|(_, a)| conditions.starts_with(&a.conditions)),
            Under::Any => others.iter().rfind(|(_, a)| !is_otherwise(a)),
        };
        if let (Under::Always, Some((_, chosen))) = (under, chosen) {
            let text = format!("`{name}={}` of an `else` stands in the first image", chosen.value);
            self.remark(chosen.line, RemarkKind::Note, text);
        }
        let of = |(at, _): (usize, &Assignment)| self.assigned(at, under, depth);
        let mut value = match (chosen, last) {
            (Some(chosen), _) => of(*chosen),
            (None, Some(at)) => of(assigned[at]),
            (None, None) => self.outside(name),
        };
        if let (Under::These(_), None, Some(newest)) = (under, chosen, others.last()) {
            let is_only = matches!(value.as_slice(), [Piece::Unknown(_)]) && defaults.is_empty();
            for other in others.iter().filter(|other| !is_only || other.0 != newest.0) {
                let text =
                    format!("`{name}={}`, which is only where `{}`", other.1.value, condition(other.1));
                self.remark(other.1.line, RemarkKind::Left, text);
            }
            if is_only {
                let (written, line) = (&newest.1.value, newest.1.line);
                let text = condition(newest.1);
                let text =
                    format!("`{name}={written}` is only where `{text}`, and stands in the manifest always");
                self.remark(line, RemarkKind::Note, text);
                value = of(*newest);
            }
        }
        for (at, default) in defaults {
            let otherwise = value.clone();
            value = self.or(value, || self.assigned(at, under, depth), &default.value);
            if value != otherwise && matches!(value.as_slice(), [Piece::InputOr(..)]) {
                let text =
                    format!("`{name}` is `{}` only where the pipeline gives it no value", default.value);
                self.remark(default.line, RemarkKind::Note, text);
            }
        }
        value
    }

    fn remark(&self, line: usize, kind: RemarkKind, text: String) {
        let text = shown(&text).replace('\n', " ");
        self.remarks.borrow_mut().insert(Remark { line, kind, text });
    }

    /// What the environment of the step says of a variable.
    fn outside(&self, name: &str) -> Vec<Piece> {
        let mut set = Vec::new();
        if let Some(value) = self.step.environment.get(name) {
            push(&mut set, value);
        }
        let is_known = |piece: &Piece| !matches!(piece, Piece::Text(text) if text.contains("<+"));
        if !set.is_empty() && set.iter().all(is_known) {
            return set;
        }
        match self.pipeline.variable(name) {
            Some(variable) => vec![Piece::Input(variable.name.clone())],
            None => vec![Piece::Unknown(name.to_owned())],
        }
    }

    fn assigned(&self, at: usize, under: Under<'_>, depth: usize) -> Vec<Piece> {
        let Assignment { name, value, text, .. } = &self.script.assignments[at];
        if value.starts_with("$(") || value.starts_with('`') {
            if value.contains("date ") {
                return vec![Piece::Timestamp];
            }
            let source =
                ECHOED.captures(value).map(|found| self.reference(&found[1], under, Some(at), depth + 1));
            return match source.as_deref() {
                Some([Piece::Input(source) | Piece::InputOr(source, _)]) if value.contains("build-") => {
                    vec![Piece::RuntimeOf(source.clone())]
                }
                Some([Piece::Input(source) | Piece::InputOr(source, _)]) if value.contains("[0-9]") => {
                    vec![Piece::VersionOf(source.clone())]
                }
                _ => vec![Piece::Unknown(name.clone())],
            };
        }
        self.expand(text, under, Some(at), depth + 1)
    }
}

/// Whether a value is a parameter of a function.
fn is_parameter(value: &str) -> bool {
    let digit = value.strip_prefix("${").or(value.strip_prefix('$')).unwrap_or_default();
    digit.starts_with(|c: char| c.is_ascii_digit() && c != '0')
}

/// Whether a variable is assigned only where it has no value.
fn is_default(assignment: &Assignment) -> bool {
    let tested = assignment.conditions.last().and_then(|condition| EMPTY.captures(condition));
    let name = tested.as_ref().and_then(|found| found.get(1).or(found.get(2)));
    name.is_some_and(|name| name.as_str() == assignment.name)
}

/// The condition of an assignment, for people.
fn condition(assignment: &Assignment) -> &str {
    assignment.conditions.last().map_or("", String::as_str)
}

/// Adds a text, in which expressions name variables of the pipeline.
fn push(pieces: &mut Vec<Piece>, text: &str) {
    let mut end = 0;
    let add = |pieces: &mut Vec<Piece>, text: &str| {
        if !text.is_empty() {
            pieces.push(Piece::Text(text.to_owned()));
        }
    };
    for found in EXPRESSION.captures_iter(text) {
        let whole = found.get(0).expect("it matched");
        add(pieces, &text[end..whole.start()]);
        pieces.push(Piece::Input(found[1].to_owned()));
        end = whole.end();
    }
    add(pieces, &text[end..]);
}

/// The values of a variable of the pipeline: those given, those it may have, its default, the script's, or
/// the example of its description; and where they are from.
pub(super) fn values_of(
    pipeline: &Pipeline,
    name: &str,
    inputs: &BTreeMap<String, String>,
    scripted: Option<&String>,
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
    let scripted = scripted.filter(|default| !default.is_empty());
    let Some(variable) = pipeline.variable(name) else {
        return scripted
            .map_or((Vec::new(), Origin::Missing), |default| (vec![default.clone()], Origin::Written));
    };
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
    if let Some(default) = scripted {
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
