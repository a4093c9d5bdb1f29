//! Compiling and rendering templates, each once per distinct set of axis values it mentions.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, ErrorKind, Expression, UndefinedBehavior};

use super::context::{AxisPoint, AxisRows, BaseImage, Scope};
use super::pattern::{self, ParseError};
use super::stamp::Timestamp;
use crate::manifest::{Attribute, Axis, Diagnostic, Diagnostics, Location, Manifest, Sources, Template};

/// A rendering that failed; the diagnostic has been recorded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failed;

/// For each axis of the manifest the position of a value, or [`ABSENT`].
pub(super) type Point = [u16];
/// What templates of tags call the time of the run.
const TIMESTAMP: &str = "timestamp";
/// An axis that a cell does not have.
pub(super) const ABSENT: u16 = u16::MAX;

enum Body<'m> {
    Literal(Arc<str>),
    Template(minijinja::Template<'m, 'm>),
    Condition(Expression<'m, 'm>),
    Broken,
}

struct Compiled<'m> {
    template: &'m Template,
    body: Body<'m>,
    /// Dotted names that the text mentions, e.g. `runtime.base`.
    names: Vec<String>,
    /// Axes mentioned: position and whether only its name is used.
    axes: Vec<(usize, bool)>,
    uses_base: bool,
    uses_item: bool,
}

/// All templates of a manifest, compiled on first use.
pub(super) struct Renderer<'m> {
    environment: &'m Environment<'m>,
    sources: &'m Sources,
    axes: &'m [Axis],
    axis_positions: HashMap<&'m str, usize>,
    points: Vec<Vec<(Arc<str>, Value)>>,
    globals: Vec<(Arc<str>, Value)>,
    compiled: HashMap<Location, Compiled<'m>>,
    memo: HashMap<(Location, Vec<u16>), Result<Arc<str>, Failed>>,
    reported: HashSet<Location>,
    /// Texts that could not be parsed.
    unparsed: HashSet<Location>,
    /// Attributes that could not be rendered: `axis.attribute`.
    broken: HashSet<String>,
    /// `{{ item }}`, while something is rendered that stands once for each item of a list.
    item: Option<Value>,
    /// What went wrong so far.
    pub diagnostics: Diagnostics,
}

/// An environment with railyard's rules: strict undefined, final newlines kept.
pub(super) fn environment<'m>() -> Environment<'m> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_keep_trailing_newline(true);
    // Errors then say which bytes of the template they are about.
    environment.set_debug(true);
    pattern::register(&mut environment);
    environment
}

impl<'m> Renderer<'m> {
    /// Prepares variables and the rows of the axes.
    pub fn new(
        environment: &'m Environment<'m>,
        manifest: &'m Manifest,
        vars: &BTreeMap<String, String>,
    ) -> Self {
        let vars: BTreeMap<String, Value> =
            vars.iter().map(|(k, v)| (k.clone(), Value::from(v.as_str()))).collect();
        let vars = Value::from_iter(vars);
        let os = manifest.project.platform.os.as_str();
        let arch = manifest.project.platform.architecture.as_str();
        let mut renderer = Self {
            environment,
            sources: &manifest.sources,
            axes: &manifest.axes,
            axis_positions: manifest
                .axes
                .iter()
                .enumerate()
                .map(|(i, a)| (a.name.value.as_str(), i))
                .collect(),
            points: Vec::new(),
            globals: vec![
                ("vars".into(), vars),
                ("os".into(), Value::from(os)),
                ("arch".into(), Value::from(arch)),
                ("platform".into(), Value::from(manifest.project.platform.to_string())),
            ],
            compiled: HashMap::new(),
            memo: HashMap::new(),
            reported: HashSet::new(),
            unparsed: HashSet::new(),
            broken: HashSet::new(),
            item: None,
            diagnostics: Diagnostics::default(),
        };
        renderer.build_points();
        renderer
    }

    fn build_points(&mut self) {
        let mut rows = BTreeMap::new();
        for axis in self.axes {
            let mut points = Vec::new();
            let mut by_name = BTreeMap::new();
            for value in &axis.values {
                let mut attributes = BTreeMap::new();
                for (name, attribute) in &value.attributes {
                    match self.attribute(attribute) {
                        Ok(attribute) => {
                            attributes.insert(name.clone(), attribute);
                        }
                        Err(Failed) => {
                            self.broken.insert(format!("{}.{name}", axis.name.value));
                        }
                    }
                }
                let name: Arc<str> = value.name.value.as_str().into();
                let point = Value::from_object(AxisPoint { name: name.clone(), attributes });
                by_name.insert(name.clone(), point.clone());
                points.push((name, point));
            }
            rows.insert(axis.name.value.clone(), Value::from_object(AxisRows(by_name)));
            self.points.push(points);
        }
        self.globals.push(("axes".into(), Value::from_iter(rows)));
    }

    fn attribute(&mut self, attribute: &'m Attribute) -> Result<Value, Failed> {
        Ok(match attribute {
            Attribute::Text(text) => {
                if let Some(axis) = self.axes_of(text).first() {
                    let axis = &self.axes[*axis].name.value;
                    self.diagnostics.push(
                        Diagnostic::new(
                            "axis-in-attribute",
                            self.place_of(text, axis),
                            format!("an attribute of an axis cannot mention an axis, here `{axis}`"),
                        )
                        .help("write the text out; attributes may use `vars`"),
                    );
                    return Err(Failed);
                }
                Value::from(self.render(text, &[], &[])?.to_string())
            }
            Attribute::Literal(text) => Value::from(text.as_str()),
            Attribute::Integer(n) => Value::from(*n),
            Attribute::Float(n) => Value::from(*n),
            Attribute::Bool(b) => Value::from(*b),
            Attribute::List(items) => {
                items.iter().map(|i| self.attribute(i)).collect::<Result<Vec<_>, _>>()?.into()
            }
        })
    }

    /// The name of a value of an axis.
    pub fn value_name(&self, axis: usize, value: u16) -> Arc<str> {
        self.points[axis][usize::from(value)].0.clone()
    }

    /// The name of an axis.
    pub fn axis_name(&self, axis: usize) -> &'m str {
        &self.axes[axis].name.value
    }

    /// Positions of the axes that a template mentions.
    pub fn axes_of(&mut self, template: &'m Template) -> Vec<usize> {
        self.compile(template, false).axes.iter().map(|(axis, _)| *axis).collect()
    }

    /// Positions of the axes that a condition mentions.
    pub fn axes_of_condition(&mut self, condition: &'m Template) -> Vec<usize> {
        self.compile(condition, true).axes.iter().map(|(axis, _)| *axis).collect()
    }

    /// Renders a template at a point, with `extra` names on top.
    pub fn render(
        &mut self,
        template: &'m Template,
        point: &Point,
        extra: &[(Arc<str>, Value)],
    ) -> Result<Arc<str>, Failed> {
        let compiled = self.compile(template, false);
        if let Body::Literal(text) = &compiled.body {
            return Ok(text.clone());
        }
        let at = template.at;
        let key: Vec<u16> =
            compiled.axes.iter().map(|(axis, _)| point.get(*axis).copied().unwrap_or(ABSENT)).collect();
        let lasting = extra.is_empty() && !compiled.uses_item;
        if lasting && let Some(known) = self.memo.get(&(at, key.clone())) {
            return known.clone();
        }
        let result = self.evaluate(at, point, extra).map(|value| Arc::<str>::from(value.to_string()));
        if lasting {
            self.memo.insert((at, key), result.clone());
        }
        result
    }

    /// Renders a template that may mention the time of the run, which is outside every key; see
    /// [`super::fill_timestamp`].
    pub fn render_stamped(&mut self, template: &'m Template, point: &Point) -> Result<Arc<str>, Failed> {
        if !self.compile(template, false).names.iter().any(|name| name == TIMESTAMP) {
            return self.render(template, point, &[]);
        }
        self.render(template, point, &[(TIMESTAMP.into(), Value::from_object(Timestamp))])
    }

    /// Evaluates a condition at a point.
    pub fn holds(&mut self, condition: &'m Template, point: &Point) -> Result<bool, Failed> {
        self.compile(condition, true);
        self.evaluate(condition.at, point, &[]).map(|value| value.is_true())
    }

    /// The items of a list that an expression is at a point.
    pub fn items(&mut self, expression: &'m Template, point: &Point) -> Result<Vec<Value>, Failed> {
        self.compile(expression, true);
        let list = self.evaluate(expression.at, point, &[])?;
        let items = match list.kind() {
            ValueKind::Seq | ValueKind::Iterable => list.try_iter().ok(),
            _ => None,
        };
        let Some(items) = items else {
            if list.is_undefined() {
                let scope = self.scope(expression.at, point, &[]);
                let undefined = minijinja::Error::from(ErrorKind::UndefinedError);
                self.report(expression.at, &undefined, &scope);
                return Err(Failed);
            }
            let problem = Diagnostic::new("no-list", expression.at, "`each` is a list, and this is none")
                .label(format!("is `{list}` here"))
                .help("name a list, e.g. an attribute `tools = [\"a\", \"b\"]` of an axis: `bundle.tools`");
            return Err(self.once(expression.at, problem));
        };
        let items: Vec<Value> = items.collect();
        for (position, item) in items.iter().enumerate() {
            if items[..position].contains(item) {
                let problem =
                    Diagnostic::new("duplicate-item", expression.at, format!("`{item}` is twice in it"))
                        .label("this list")
                        .help("remove one");
                return Err(self.once(expression.at, problem));
            }
        }
        Ok(items)
    }

    /// Records a diagnostic, once a template.
    fn once(&mut self, at: Location, problem: Diagnostic) -> Failed {
        if self.reported.insert(at) {
            self.diagnostics.push(problem);
        }
        Failed
    }

    /// What `{{ item }}` is from now on.
    pub fn set_item(&mut self, item: Option<Value>) {
        self.item = item;
    }

    fn evaluate(
        &mut self,
        at: Location,
        point: &Point,
        extra: &[(Arc<str>, Value)],
    ) -> Result<Value, Failed> {
        let scope = self.scope(at, point, extra);
        let compiled = &self.compiled[&at];
        let result = match &compiled.body {
            Body::Template(template) => template.render(scope.clone()).map(Value::from),
            Body::Condition(expression) => expression.eval(scope.clone()),
            Body::Literal(text) => return Ok(Value::from(text.clone())),
            Body::Broken => return Err(Failed),
        };
        result.map_err(|error| {
            self.report(at, &error, &scope);
            Failed
        })
    }

    /// The names that a template sees at a point.
    fn scope(&self, at: Location, point: &Point, extra: &[(Arc<str>, Value)]) -> Value {
        let compiled = &self.compiled[&at];
        let mut scope = Scope(self.globals.clone());
        if compiled.uses_base {
            scope.0.push(("base".into(), Value::from_object(BaseImage)));
        }
        for (axis, bare) in &compiled.axes {
            let position = point.get(*axis).copied().unwrap_or(ABSENT);
            if position == ABSENT {
                continue;
            }
            let (name, value) = &self.points[*axis][usize::from(position)];
            let value = if *bare { Value::from(name.clone()) } else { value.clone() };
            scope.0.push((self.axes[*axis].name.value.as_str().into(), value));
        }
        scope.0.extend(self.item.iter().map(|item| ("item".into(), item.clone())));
        scope.0.extend_from_slice(extra);
        Value::from_object(scope)
    }

    /// The place of a part of a template; the whole where it has no such part.
    fn place_of(&self, template: &Template, part: &str) -> Location {
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
    fn report(&mut self, at: Location, error: &minijinja::Error, scope: &Value) {
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
    fn unrenderable(&self, template: &Template, error: &minijinja::Error) -> Diagnostic {
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

    fn compile(&mut self, template: &'m Template, condition: bool) -> &Compiled<'m> {
        if !self.compiled.contains_key(&template.at) {
            let compiled = self.compile_new(template, condition);
            self.compiled.insert(template.at, compiled);
        }
        &self.compiled[&template.at]
    }

    fn compile_new(&mut self, template: &'m Template, condition: bool) -> Compiled<'m> {
        if !condition && template.is_literal() {
            return Compiled {
                template,
                body: Body::Literal(template.text.as_str().into()),
                names: Vec::new(),
                axes: Vec::new(),
                uses_base: false,
                uses_item: false,
            };
        }
        let parsed = if condition {
            self.environment
                .compile_expression(&template.text)
                .map(|e| (e.undeclared_variables(true), Body::Condition(e)))
        } else {
            self.environment
                .template_from_str(&template.text)
                .map(|t| (t.undeclared_variables(true), Body::Template(t)))
        };
        let (names, body) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => {
                if self.reported.insert(template.at) {
                    let diagnostic = self.unrenderable(template, &error);
                    self.diagnostics.push(diagnostic);
                }
                let (names, axes) = (Vec::new(), Vec::new());
                let (uses_base, uses_item) = (false, false);
                return Compiled { template, body: Body::Broken, names, axes, uses_base, uses_item };
            }
        };
        let mut names: Vec<String> = names.into_iter().collect();
        names.sort_by_key(|name| (template.text.find(name.as_str()), name.len()));
        let mut axes: BTreeMap<usize, (bool, bool)> = BTreeMap::new();
        for name in &names {
            let root = name.split('.').next().unwrap_or(name);
            if let Some(axis) = self.axis_positions.get(root) {
                let used = axes.entry(*axis).or_default();
                if root == name { used.0 = true } else { used.1 = true }
            }
        }
        for (axis, used) in &axes {
            if condition && *used == (true, true) {
                let name = &self.axes[*axis].name.value;
                self.diagnostics.push(
                    Diagnostic::new(
                        "bare-axis",
                        template.at,
                        format!("this condition uses both `{name}` and an attribute of it"),
                    )
                    .help(format!("write `{name}.name` for the name")),
                );
            }
        }
        let axes = axes.into_iter().map(|(axis, (_, dotted))| (axis, !dotted)).collect();
        let uses = |root: &str| names.iter().any(|name| name.split('.').next() == Some(root));
        let (uses_base, uses_item) = (uses("base"), uses("item"));
        Compiled { template, body, names, axes, uses_base, uses_item }
    }
}

/// A remedy: the known name that is nearest to what was written, where one is near enough.
pub(super) fn did_you_mean<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let near = known.into_iter().map(|name| (strsim::damerau_levenshtein(name, written), name));
    let best = near.filter(|(distance, _)| *distance <= 2).min()?;
    Some(format!("did you mean `{}`?", best.1))
}
