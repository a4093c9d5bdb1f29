//! Compiling and rendering templates, each once per distinct set of axis values it mentions.

mod compile;
mod explain;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, ErrorKind, UndefinedBehavior};

use self::compile::{Body, Compiled};
pub(super) use self::explain::did_you_mean;
use super::context::{AxisPoint, AxisRows, BaseImage, Scope};
use super::pattern;
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
    /// [`super::stamp::fill_timestamp`].
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

    /// What `{{ item }}` is.
    pub fn item(&self) -> Option<Value> {
        self.item.clone()
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
}
