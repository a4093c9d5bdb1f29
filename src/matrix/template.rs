//! Compiling and rendering templates, each once per distinct set of axis values it mentions.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use minijinja::value::Value;
use minijinja::{Environment, ErrorKind, Expression, UndefinedBehavior};

use super::context::{AxisPoint, AxisRows, BaseImage, Scope};
use crate::manifest::{Attribute, Axis, Diagnostic, Diagnostics, Location, Manifest, Template};

/// A rendering that failed; the diagnostic has been recorded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failed;

/// For each axis of the manifest the position of a value, or [`ABSENT`].
pub(super) type Point = [u16];
/// An axis that a cell does not have.
pub(super) const ABSENT: u16 = u16::MAX;

enum Body<'m> {
    Literal(Arc<str>),
    Template(minijinja::Template<'m, 'm>),
    Condition(Expression<'m, 'm>),
    Broken,
}

struct Compiled<'m> {
    body: Body<'m>,
    /// Axes mentioned: position and whether only its name is used.
    axes: Vec<(usize, bool)>,
    uses_base: bool,
}

/// All templates of a manifest, compiled on first use.
pub(super) struct Renderer<'m> {
    environment: &'m Environment<'m>,
    axes: &'m [Axis],
    axis_positions: HashMap<&'m str, usize>,
    points: Vec<Vec<(Arc<str>, Value)>>,
    globals: Vec<(Arc<str>, Value)>,
    compiled: HashMap<Location, Compiled<'m>>,
    memo: HashMap<(Location, Vec<u16>), Result<Arc<str>, Failed>>,
    reported: HashSet<(Location, &'static str)>,
    /// What went wrong so far.
    pub diagnostics: Diagnostics,
}

/// An environment with railyard's rules: strict undefined, final newlines kept.
pub(super) fn environment<'m>() -> Environment<'m> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_keep_trailing_newline(true);
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
                let attributes = value
                    .attributes
                    .iter()
                    .map(|(name, attribute)| (name.clone(), self.attribute(attribute)))
                    .collect();
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

    fn attribute(&mut self, attribute: &'m Attribute) -> Value {
        match attribute {
            Attribute::Text(text) => {
                self.render(text, &[], &[]).map_or(Value::UNDEFINED, |text| Value::from(text.to_string()))
            }
            Attribute::Integer(n) => Value::from(*n),
            Attribute::Float(n) => Value::from(*n),
            Attribute::Bool(b) => Value::from(*b),
            Attribute::List(items) => items.iter().map(|i| self.attribute(i)).collect(),
        }
    }

    /// The name of a value of an axis.
    pub fn value_name(&self, axis: usize, value: u16) -> Arc<str> {
        self.points[axis][usize::from(value)].0.clone()
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
        if extra.is_empty()
            && let Some(known) = self.memo.get(&(at, key.clone()))
        {
            return known.clone();
        }
        let result = self.evaluate(at, point, extra).map(|value| Arc::<str>::from(value.to_string()));
        if extra.is_empty() {
            self.memo.insert((at, key), result.clone());
        }
        result
    }

    /// Evaluates a condition at a point.
    pub fn holds(&mut self, condition: &'m Template, point: &Point) -> Result<bool, Failed> {
        self.compile(condition, true);
        self.evaluate(condition.at, point, &[]).map(|value| value.is_true())
    }

    fn evaluate(
        &mut self,
        at: Location,
        point: &Point,
        extra: &[(Arc<str>, Value)],
    ) -> Result<Value, Failed> {
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
        scope.0.extend_from_slice(extra);
        let scope = Value::from_object(scope);
        let result = match &compiled.body {
            Body::Template(template) => template.render(scope).map(Value::from),
            Body::Condition(expression) => expression.eval(scope),
            Body::Literal(text) => return Ok(Value::from(text.clone())),
            Body::Broken => return Err(Failed),
        };
        result.map_err(|error| {
            let missing = self.missing_axis(at, point);
            self.report(at, &error, missing);
            Failed
        })
    }

    /// The first axis that a template mentions and the point lacks.
    fn missing_axis(&self, at: Location, point: &Point) -> Option<String> {
        let mentioned = &self.compiled[&at].axes;
        let missing = mentioned.iter().find(|(a, _)| point.get(*a).copied().unwrap_or(ABSENT) == ABSENT);
        missing.map(|(axis, _)| self.axes[*axis].name.value.clone())
    }

    fn report(&mut self, at: Location, error: &minijinja::Error, missing_axis: Option<String>) {
        if !self.reported.insert((at, "template")) {
            return;
        }
        let detail = error.detail().map(str::to_owned).unwrap_or_else(|| error.kind().to_string());
        let diagnostic = match (error.kind(), missing_axis) {
            (ErrorKind::UndefinedError, Some(axis)) => Diagnostic::new(
                "missing-axis",
                at,
                format!(
                    "this template mentions the axis `{axis}`, which the image that uses it does not have"
                ),
            )
            .help(format!("add `{axis}` to the image's `axes`, or take it out of the template")),
            (ErrorKind::UndefinedError, None) => {
                let mut names: Vec<&str> = self.axes.iter().map(|a| a.name.value.as_str()).collect();
                names.extend(["axes", "vars", "os", "arch", "platform", "base.env"]);
                Diagnostic::new("undefined", at, format!("a name in this template is not defined: {detail}"))
                    .help(format!("defined are: {}", names.join(", ")))
            }
            _ => Diagnostic::new("template", at, format!("this template cannot be rendered: {detail}"))
                .help("templates are Jinja: `{{ axis }}`, `{{ axis.attribute }}`, `{{ vars.name }}`"),
        };
        self.diagnostics.push(diagnostic);
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
                body: Body::Literal(template.text.as_str().into()),
                axes: Vec::new(),
                uses_base: false,
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
                self.report(template.at, &error, None);
                return Compiled { body: Body::Broken, axes: Vec::new(), uses_base: false };
            }
        };
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
        let uses_base = names.iter().any(|n| n == "base" || n.starts_with("base."));
        Compiled { body, axes, uses_base }
    }
}
