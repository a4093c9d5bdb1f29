//! Templates compiled, and which names and axes they mention.

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::Expression;

use super::Renderer;
use crate::manifest::{Diagnostic, Template};

pub(super) enum Body<'m> {
    Literal(Arc<str>),
    Template(minijinja::Template<'m, 'm>),
    Condition(Expression<'m, 'm>),
    Broken,
}

pub(super) struct Compiled<'m> {
    pub template: &'m Template,
    pub body: Body<'m>,
    /// Dotted names that the text mentions, e.g. `runtime.base`.
    pub names: Vec<String>,
    /// Axes mentioned: position and whether only its name is used.
    pub axes: Vec<(usize, bool)>,
    pub uses_base: bool,
    pub uses_item: bool,
}

impl<'m> Renderer<'m> {
    pub(super) fn compile(&mut self, template: &'m Template, condition: bool) -> &Compiled<'m> {
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
