//! Why a template cannot be rendered, with its place and a remedy.

use minijinja::ErrorKind;
use minijinja::value::Value;

use super::{Renderer, TIMESTAMP};
use crate::manifest::{Attribute, Diagnostic, Location, Template};
use crate::matrix::pattern::ParseError;

impl Renderer<'_> {
    /// The place of a part of a template; the whole where it has no such part.
    pub(super) fn place_of(&self, template: &Template, part: &str) -> Location {
        let name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let whole = |start: &usize| {
            let before = template.text[..*start].chars().next_back();
            let after = template.text[start + part.len()..].chars().next();
            !before.is_some_and(|c| name(c) || c == '.') && !after.is_some_and(name)
        };
        match template.text.match_indices(part).map(|(start, _)| start).find(whole) {
            Some(start) => template.place(self.sources, start..start + part.len()),
            None => template.at,
        }
    }

    /// Records why a template cannot be rendered; once a template.
    pub(super) fn report(&mut self, at: Location, error: &minijinja::Error, scope: &Value) {
        if let Some(parse) = ParseError::of(error) {
            return self.report_parse(at, error, parse);
        }
        if !self.reported.insert(at) {
            return;
        }
        let template = self.compiled[&at].template;
        let explained = match error.kind() {
            ErrorKind::UndefinedError => {
                let names = self.compiled[&at].names.clone();
                if names.iter().any(|name| self.is_broken(name)) {
                    return;
                }
                let undefined = names.iter().find_map(|name| self.undefined(template, name, scope));
                undefined.or_else(|| self.lookup(template, scope))
            }
            _ => None,
        };
        let diagnostic = explained.unwrap_or_else(|| self.unrenderable(template, error));
        self.diagnostics.push(diagnostic);
    }

    /// Records why the filter `parse` failed: once a text, where the text is an attribute of an axis.
    fn report_parse(&mut self, at: Location, error: &minijinja::Error, parse: &ParseError) {
        let template = self.compiled[&at].template;
        let place = error.range().map_or(at, |range| template.place(self.sources, range));
        let message = parse.to_string();
        let diagnostic = match parse {
            ParseError::Unmatched { text, missing, pattern, .. } => {
                let label = missing.as_ref().map(|group| format!("`{group}` is missing"));
                let label = label.unwrap_or_else(|| "does not fit".to_owned());
                let help = format!("correct the text, or the pattern: `{pattern}`");
                let found = self.attribute_place(text);
                if !self.unparsed.insert(found.unwrap_or(place)) {
                    return;
                }
                let problem = Diagnostic::new("unparsed-text", found.unwrap_or(place), message);
                let problem = problem.label(label).help(help);
                if found.is_some() { problem.also(place, "taken apart here") } else { problem }
            }
            ParseError::Malformed { .. } | ParseError::Nameless { .. } => {
                if !self.reported.insert(at) {
                    return;
                }
                Diagnostic::new("malformed-pattern", place, message)
                    .help("write a regular expression with named groups, e.g. `.+:(?<version>\\d+\\.\\d+)`")
            }
        };
        self.diagnostics.push(diagnostic);
    }

    /// Where the first attribute of an axis stands that is this text.
    fn attribute_place(&self, text: &str) -> Option<Location> {
        for (axis, points) in self.axes.iter().zip(&self.points) {
            for (value, (_, point)) in axis.values.iter().zip(points) {
                for (name, attribute) in &value.attributes {
                    let Attribute::Text(template) = attribute else { continue };
                    if point.get_attr(name).is_ok_and(|value| value.as_str() == Some(text)) {
                        return Some(template.at);
                    }
                }
            }
        }
        None
    }

    fn is_broken(&self, name: &str) -> bool {
        self.broken
            .iter()
            .any(|b| name == b || name.strip_prefix(b).is_some_and(|rest| rest.starts_with('.')))
    }

    /// Any other error, in the words of the template engine.
    pub(super) fn unrenderable(&self, template: &Template, error: &minijinja::Error) -> Diagnostic {
        let at = error.range().map_or(template.at, |range| template.place(self.sources, range));
        let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
        let (code, message, help) = match error.kind() {
            ErrorKind::UndefinedError if template.text.contains("parse(") => (
                "undefined",
                "this part of the template has no value".to_owned(),
                "`parse` gives the named groups of its pattern that took part, and no others",
            ),
            ErrorKind::UndefinedError => (
                "undefined",
                "this part of the template has no value".to_owned(),
                "give a value in every case, e.g. `{{ x if x is defined else 'other' }}`",
            ),
            ErrorKind::UnknownFilter => {
                ("template", detail, "filters are Jinja's, e.g. `lower`, `upper`, `replace`, `default`")
            }
            ErrorKind::UnknownFunction => (
                "template",
                detail,
                "a template gives the same text each time: take what it needs from `vars`",
            ),
            _ => (
                "template",
                format!("this template cannot be rendered: {detail}"),
                "templates are Jinja: `{{ axis }}`, `{{ axis.attribute }}`, `{{ vars.name }}`",
            ),
        };
        Diagnostic::new(code, at, message).help(help)
    }

    /// Explains a dotted name that leads nowhere.
    fn undefined(&self, template: &Template, name: &str, scope: &Value) -> Option<Diagnostic> {
        let mut value = scope.clone();
        let mut seen = String::new();
        for part in name.split('.') {
            let before = value.clone();
            value = value.get_attr(part).unwrap_or(Value::UNDEFINED);
            let owner = std::mem::take(&mut seen);
            seen = if owner.is_empty() { part.to_owned() } else { format!("{owner}.{part}") };
            if value.is_undefined() {
                let at = self.place_of(template, &seen);
                return Some(self.nowhere(at, &owner, part, &before));
            }
        }
        None
    }

    fn nowhere(&self, at: Location, owner: &str, part: &str, value: &Value) -> Diagnostic {
        let axes = || self.axes.iter().map(|a| a.name.value.as_str());
        let keys =
            || -> Vec<String> { value.try_iter().into_iter().flatten().map(|k| k.to_string()).collect() };
        let proposed = |keys: &[String], otherwise: &str| {
            did_you_mean(part, keys.iter().map(String::as_str)).unwrap_or_else(|| otherwise.to_owned())
        };
        match owner {
            "" if self.axis_positions.contains_key(part) => Diagnostic::new(
                "missing-axis",
                at,
                format!("this mentions the axis `{part}`, which the image that uses it does not have"),
            )
            .help(format!("add `{part}` to the image's `axes`, or take it out of the template")),
            "" if part == TIMESTAMP => {
                Diagnostic::new("undefined", at, "`timestamp` is not defined here: it is outside every key")
                    .help("write it in `tags` or `outputs`")
            }
            "" if part == "item" => Diagnostic::new("undefined", at, "`item` is not defined here").help(
                "it is what a layer or an entry of `path` with `each` stands for: write `each`, or take it out",
            ),
            "" if part == "version" => Diagnostic::new("undefined", at, "the tool has no `version`")
                .help("give the tool a `version`, or write one where the layer lists it"),
            "" => {
                let mut names: Vec<&str> = axes().collect();
                names.extend(["axes", "vars", "os", "arch", "platform", "base"]);
                let help = did_you_mean(part, names.iter().copied())
                    .unwrap_or_else(|| format!("defined are: {}", names.join(", ")));
                Diagnostic::new("undefined", at, format!("`{part}` is not defined")).help(help)
            }
            "vars" => Diagnostic::new("undefined", at, format!("there is no variable `{part}`"))
                .help(proposed(&keys(), "declare it under `[vars]`")),
            "axes" => Diagnostic::new("undefined", at, format!("there is no axis `{part}`"))
                .help(proposed(&keys(), "declare it under `[axes]`")),
            axis if self.axis_positions.contains_key(axis) => Diagnostic::new(
                "undefined",
                at,
                format!("`{axis}` has no attribute `{part}` where it is `{value}`"),
            )
            .help(proposed(
                &keys(),
                &format!("give every value of the axis one, or ask `{axis}.{part} is defined`"),
            )),
            _ => Diagnostic::new("undefined", at, format!("`{owner}` is `{value}`, which has no `{part}`"))
                .help(format!("write `{owner}` alone")),
        }
    }

    /// Explains a lookup in an axis, `axes.NAME[KEY].ATTRIBUTE`, that finds nothing.
    fn lookup(&self, template: &Template, scope: &Value) -> Option<Diagnostic> {
        for (start, _) in template.text.match_indices("axes.") {
            let rest = &template.text[start + "axes.".len()..];
            let Some((axis, rest)) = rest.split_once('[') else { continue };
            let Some(position) = self.axis_positions.get(axis) else { continue };
            let Some((key, after)) = rest.split_once(']') else { continue };
            let Ok(value) = self.environment.compile_expression(key).and_then(|e| e.eval(scope)) else {
                continue;
            };
            let begin = template.text.len() - rest.len();
            let at = template.place(self.sources, begin..begin + key.len());
            let name = value.to_string();
            let Some((_, row)) = self.points[*position].iter().find(|(known, _)| **known == *name) else {
                let known: Vec<&str> = self.points[*position].iter().map(|(name, _)| &**name).collect();
                let help = did_you_mean(&name, known.iter().copied())
                    .unwrap_or_else(|| format!("its values are: {}", known.join(", ")));
                let message = format!("the axis `{axis}` has no value `{name}`, which `{key}` is here");
                return Some(Diagnostic::new("undefined", at, message).help(help));
            };
            let attribute = after.strip_prefix('.').unwrap_or("");
            let end =
                attribute.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(attribute.len());
            let attribute = &attribute[..end];
            if !attribute.is_empty() && row.get_attr(attribute).is_ok_and(|v| v.is_undefined()) {
                if self.broken.contains(&format!("{axis}.{attribute}")) {
                    continue;
                }
                let message =
                    format!("the value `{name}` of the axis `{axis}` has no attribute `{attribute}`");
                return Some(
                    Diagnostic::new("undefined", at, message)
                        .help("give every value of the axis that attribute"),
                );
            }
        }
        None
    }
}

/// A remedy: the known name that is nearest to what was written, where one is near enough.
pub(in crate::matrix) fn did_you_mean<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let near = known.into_iter().map(|name| (strsim::damerau_levenshtein(name, written), name));
    let best = near.filter(|(distance, _)| *distance <= 2).min()?;
    Some(format!("did you mean `{}`?", best.1))
}
