//! A Harness pipeline as far as it matters: variables, steps with scripts, what surrounds them.

use std::collections::BTreeMap;

use super::yaml::Node;
use super::{Remark, RemarkKind};

/// A pipeline.
#[derive(Debug, Clone, Default)]
pub(super) struct Pipeline {
    pub name: String,
    pub variables: Vec<Variable>,
    /// Steps that run a script, in order.
    pub steps: Vec<Step>,
    /// Steps of other types, for people: line, type, name.
    others: Vec<(usize, String, String)>,
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
    pipeline
}

/// Steps wherever they are: in groups, side by side, in stages.
fn steps(node: &Node, pipeline: &mut Pipeline) {
    for item in node.items() {
        steps(item, pipeline);
    }
    for (key, value) in node.pairs() {
        if key == "step" {
            step(value, pipeline);
        } else {
            steps(value, pipeline);
        }
    }
}

fn step(node: &Node, pipeline: &mut Pipeline) {
    let name = node.text_at(&["name"]).or(node.text_at(&["identifier"])).unwrap_or_default().to_owned();
    let Some(command) = node.at(&["spec", "command"]) else {
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
        let builds = |step: &&Step| step.script.iter().any(|(_, line)| line.contains("docker build"));
        self.steps.iter().filter(|step| !step.off).find(builds)
    }

    /// What can be said of the pipeline without its scripts.
    pub(super) fn remarks(&self) -> Vec<Remark> {
        let mut remarks = Vec::new();
        for (line, kind, name) in &self.others {
            let text = match kind.as_str() {
                "Background" => format!(
                    "the step `{name}` starts an engine; `railyard build --wait-engine 60s` waits for it"
                ),
                _ => format!("the step `{name}` of type {kind}"),
            };
            remarks.push(Remark { line: *line, kind: RemarkKind::Left, text });
        }
        for step in self.steps.iter().filter(|step| step.off) {
            let line = step.condition.unwrap_or(step.line);
            let text = format!("the step `{}` is never run: its condition is false", step.name);
            remarks.push(Remark { line, kind: RemarkKind::Fault, text });
        }
        let all: String = self
            .steps
            .iter()
            .flat_map(|step| step.script.iter())
            .map(|(_, line)| format!("{line}\n"))
            .collect();
        for variable in &self.variables {
            let used = all.contains(&variable.name)
                || self.steps.iter().any(|step| {
                    step.environment
                        .values()
                        .any(|value| value.contains(&format!("variables.{}>", variable.name)))
                });
            if !used {
                let text = format!("the variable `{}` is used by no step", variable.name);
                remarks.push(Remark { line: variable.line, kind: RemarkKind::Fault, text });
            }
        }
        for step in &self.steps {
            for value in step.environment.values() {
                let Some(name) =
                    value.strip_prefix("<+pipeline.variables.").and_then(|v| v.strip_suffix('>'))
                else {
                    continue;
                };
                if self.variable(name).is_none() {
                    let text = format!(
                        "the step `{}` uses the variable `{name}`, which the pipeline does not have",
                        step.name
                    );
                    remarks.push(Remark { line: step.line, kind: RemarkKind::Fault, text });
                }
            }
        }
        remarks
    }
}
