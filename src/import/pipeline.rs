//! A Harness pipeline as far as it matters: variables, steps with scripts, what surrounds them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;

use super::build::builds;
use super::yaml::Node;
use super::{Remark, RemarkKind, heredoc};

/// A pipeline.
#[derive(Debug, Clone, Default)]
pub(super) struct Pipeline {
    pub name: String,
    pub variables: Vec<Variable>,
    /// Steps that run a script, in order.
    pub steps: Vec<Step>,
    /// Steps of other types, for people: line, type, name.
    others: Vec<(usize, String, String)>,
    /// Its variables that expressions name anywhere, with their first lines.
    named: BTreeMap<String, usize>,
}

/// A variable of a pipeline.
#[derive(Debug, Clone)]
pub(super) struct Variable {
    pub name: String,
    pub line: usize,
    /// As it is written: a text, an input, an expression.
    pub value: String,
    pub default: Option<String>,
    pub description: String,
}

/// A step that runs a script.
#[derive(Debug, Clone, Default)]
pub(super) struct Step {
    pub name: String,
    pub line: usize,
    /// Lines with their places.
    pub script: Vec<(usize, String)>,
    /// Variables of its environment.
    pub environment: BTreeMap<String, String>,
    /// Outputs that it declares, with the variables that they take.
    pub outputs: Vec<(usize, String, String)>,
    pub memory: Option<String>,
    pub cpu: Option<String>,
    pub timeout: Option<String>,
    /// It is never run.
    pub off: bool,
    /// Line of its condition.
    condition: Option<usize>,
}

static EXPRESSION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"<\+[^<>]*?\bpipeline\.variables\.(\w+)").expect("a pattern"));
static WORD: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\w+").expect("a pattern"));

/// Reads a document.
pub(super) fn read(document: &Node) -> Pipeline {
    let root = document.get("pipeline").unwrap_or(document);
    let mut pipeline = Pipeline {
        name: root.text_at(&["identifier"]).or(root.text_at(&["name"])).unwrap_or("pipeline").to_owned(),
        ..Pipeline::default()
    };
    for node in root.get("variables").map(Node::items).unwrap_or_default() {
        let text = |key: &str| node.text_at(&[key]).map(str::to_owned);
        let Some(name) = text("name") else { continue };
        pipeline.variables.push(Variable {
            name,
            line: node.line,
            value: text("value").unwrap_or_default(),
            default: text("default"),
            description: text("description").unwrap_or_default(),
        });
    }
    if let Some(stages) = root.get("stages") {
        steps(stages, &mut pipeline);
    }
    named(root, &mut pipeline.named);
    pipeline
}

/// Variables that expressions name, wherever they stand.
fn named(node: &Node, found: &mut BTreeMap<String, usize>) {
    for (line, text) in node.lines() {
        for name in EXPRESSION.captures_iter(&text) {
            let first = found.entry(name[1].to_owned()).or_insert(line);
            *first = line.min(*first);
        }
    }
    let inner = node.items().iter().chain(node.pairs().iter().map(|(_, node)| node));
    inner.for_each(|node| named(node, found));
}

/// Steps wherever they are: in groups, side by side, in stages.
fn steps(node: &Node, pipeline: &mut Pipeline) {
    for item in node.items() {
        steps(item, pipeline);
    }
    for (key, value) in node.pairs() {
        if key == "step" {
            step(value, pipeline);
        } else if key == "template"
            && let Some(reference) = value.text_at(&["templateRef"])
        {
            pipeline.others.push((value.line, "template".to_owned(), reference.to_owned()));
        } else {
            steps(value, pipeline);
        }
    }
}

fn step(node: &Node, pipeline: &mut Pipeline) {
    let name = node.text_at(&["name"]).or(node.text_at(&["identifier"])).unwrap_or_default().to_owned();
    let command = node.at(&["spec", "command"]).or(node.at(&["spec", "source", "spec", "script"]));
    let Some(command) = command else {
        let kind = node.text_at(&["type"]).unwrap_or("unknown").to_owned();
        pipeline.others.push((node.line, kind, name));
        return;
    };
    let environment = node.at(&["spec", "envVariables"]).map(Node::pairs).unwrap_or_default();
    let outputs = node.at(&["spec", "outputVariables"]).map(Node::items).unwrap_or_default();
    let limit = |key: &str| node.text_at(&["spec", "resources", "limits", key]).map(str::to_owned);
    let condition = node.at(&["when", "condition"]);
    pipeline.steps.push(Step {
        name,
        line: node.line,
        script: command.lines(),
        environment: environment
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), value.text()?.to_owned())))
            .collect(),
        outputs: outputs
            .iter()
            .filter_map(|output| {
                let name = output.text_at(&["name"])?.to_owned();
                Some((output.line, name, output.text_at(&["value"]).unwrap_or_default().to_owned()))
            })
            .collect(),
        memory: limit("memory"),
        cpu: limit("cpu"),
        timeout: node.text_at(&["timeout"]).map(str::to_owned),
        off: condition.and_then(Node::text).is_some_and(|text| text.trim() == "false"),
        condition: condition.map(|node| node.line),
    });
}

impl Pipeline {
    /// A variable by name.
    pub(super) fn variable(&self, name: &str) -> Option<&Variable> {
        self.variables.iter().find(|variable| variable.name == name)
    }

    /// The step that builds images: the first that is run and calls for a build.
    pub(super) fn builder(&self) -> Option<&Step> {
        let builder = |step: &&Step| step.script.iter().any(|(_, line)| builds(line));
        self.steps.iter().filter(|step| !step.off).find(builder)
    }

    /// What can be said of the pipeline without its scripts.
    pub(super) fn remarks(&self) -> Vec<Remark> {
        let mut remarks = Vec::new();
        let is_own = self.steps.iter().any(|step| heredoc::runs_railyard(&step.script).is_some());
        for (line, kind, name) in &self.others {
            let text = match kind.as_str() {
                // It waits for the engine already.
                "Background" if is_own => continue,
                "Background" => format!(
                    "the step `{name}` starts an engine; `railyard build --wait-engine 60s` waits for it"
                ),
                "template" => format!("the template `{name}`"),
                _ => format!("the step `{name}` of type {kind}"),
            };
            remarks.push(Remark { line: *line, kind: RemarkKind::Left, text });
        }
        for step in self.steps.iter().filter(|step| step.off) {
            let line = step.condition.unwrap_or(step.line);
            let text = format!("the step `{}` is never run: its condition is false", step.name);
            remarks.push(Remark { line, kind: RemarkKind::Fault, text });
        }
        let builder = if is_own { None } else { self.builder() };
        for step in self.steps.iter().filter(|step| !step.off && builder.is_some()) {
            if builder.is_some_and(|builder| !std::ptr::eq(builder, step)) {
                let text = format!("the step `{}`: only the first step that builds is read", step.name);
                remarks.push(Remark { line: step.line, kind: RemarkKind::Left, text });
            } else if let Some(line) = step.condition {
                let text = format!("the condition of the step `{}`", step.name);
                remarks.push(Remark { line, kind: RemarkKind::Left, text });
            }
        }
        let scripts = self.steps.iter().flat_map(|step| step.script.iter());
        let words: BTreeSet<&str> =
            scripts.flat_map(|(_, line)| WORD.find_iter(line).map(|word| word.as_str())).collect();
        for variable in &self.variables {
            if !words.contains(variable.name.as_str()) && !self.named.contains_key(&variable.name) {
                let text = format!("the variable `{}` is used by no step", variable.name);
                remarks.push(Remark { line: variable.line, kind: RemarkKind::Fault, text });
            }
        }
        for (name, line) in self.named.iter().filter(|(name, _)| self.variable(name).is_none()) {
            let text = format!("the variable `{name}`, which the pipeline does not have, is used here");
            remarks.push(Remark { line: *line, kind: RemarkKind::Fault, text });
        }
        remarks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::yaml;

    #[test]
    fn variables_may_be_used_anywhere() {
        let text = "pipeline:\n  variables:\n    - name: A\n      value: x\n    - name: B\n      value: x\n    - name: AB\n      value: x\n\
            \x20 stages:\n    - stage:\n        steps:\n          - step:\n              name: s\n              spec:\n\
            \x20               image: <+pipeline.variables.A>\n                command: echo $AB <+pipeline.variables.C>\n";
        let remarks = read(&yaml::parse(text).unwrap()).remarks();
        let said: Vec<(usize, &str)> = remarks.iter().map(|r| (r.line, r.text.as_str())).collect();
        let expected = [
            (5, "the variable `B` is used by no step"),
            (16, "the variable `C`, which the pipeline does not have, is used here"),
        ];
        assert_eq!(said, expected);
    }
}
