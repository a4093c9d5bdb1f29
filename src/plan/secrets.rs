//! Which secrets the steps to run need, for which cells, and where the manifest asks for them.

use std::collections::{BTreeMap, HashSet};

use super::action::{Action, Actions};
use super::step::{Plan, StepId, StepKind};
use crate::manifest::Location;
use crate::matrix::{CellId, ConcreteContent, Matrix};

/// A secret that a run will hand to steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeededSecret {
    /// The environment variable of railyard's that holds it.
    pub variable: String,
    /// What the step knows it by: a file under `/run/secrets`, or an id of a Dockerfile's.
    pub name: String,
    /// Where the manifest asks for it.
    pub at: Location,
    /// The steps that get it, in order of the plan.
    pub steps: Vec<StepId>,
    /// The cells that were asked for and need these steps, in order.
    pub cells: Vec<CellId>,
}

/// The secrets of the steps to run, in the order of their places. Steps whose results are known need none.
pub fn needed_secrets(matrix: &Matrix, plan: &Plan, actions: &Actions) -> Vec<NeededSecret> {
    let mut found: BTreeMap<(Location, &str, &str), Vec<StepId>> = BTreeMap::new();
    for (id, step) in plan.steps().filter(|(id, _)| actions.of(*id) == Action::Run) {
        for (name, variable, at) in secrets_of(matrix, &step.kind) {
            found.entry((at, name, variable)).or_default().push(id);
        }
    }
    let needed = found.into_iter().map(|((at, name, variable), steps)| {
        let cells = cells_behind(plan, actions, &steps);
        NeededSecret { variable: variable.to_owned(), name: name.to_owned(), at, steps, cells }
    });
    needed.collect()
}

/// The cells that were asked for and wait for one of these steps, in order.
pub fn cells_behind(plan: &Plan, actions: &Actions, steps: &[StepId]) -> Vec<CellId> {
    let mut reached: HashSet<StepId> = steps.iter().copied().collect();
    let mut stack = steps.to_vec();
    while let Some(id) = stack.pop() {
        for next in plan.dependents(id).into_iter().filter(|id| actions.of(*id) == Action::Run) {
            if reached.insert(next) {
                stack.push(next);
            }
        }
    }
    let waits = |cell: &&super::CellSteps| cell.last.iter().any(|step| reached.contains(step));
    plan.cells.iter().flatten().filter(|cell| cell.chosen).filter(waits).map(|cell| cell.cell).collect()
}

/// Name, variable and place of what a step gets.
fn secrets_of<'m>(matrix: &'m Matrix, kind: &StepKind) -> Vec<(&'m str, &'m str, Location)> {
    let command = match kind {
        StepKind::Artifact(layer) => match &matrix.layers[layer.0].content {
            ConcreteContent::Run(run) => Some(&run.command),
            ConcreteContent::Parts(_) => None,
        },
        StepKind::Setup { cell, position } => Some(&*matrix.cells[cell.0].setup[*position]),
        StepKind::Check { cell, position } => matrix.cells[cell.0].checks[*position].command.as_ref(),
        StepKind::Dockerfile(made) => {
            let made = &matrix.dockerfiles[made.0];
            let secrets = made.spec.secrets.iter().zip(&made.secrets_at);
            return secrets.map(|((id, variable), at)| (id.as_str(), variable.as_str(), *at)).collect();
        }
        _ => None,
    };
    let secrets = command.into_iter().flat_map(|command| &command.secrets);
    secrets.map(|(file, variable)| (file.as_str(), variable.value.as_str(), variable.at)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::Lock;
    use crate::manifest::{Sources, parse};
    use crate::matrix::expand;
    use crate::oci::Digest;
    use crate::plan::{Delivery, Inputs, Known, plan};

    const MANIFEST: &str = r#"
schema = 1
[project]
name = "p"
repository = "r.example/p"
[axes.n]
values = ["1", "2"]
[layers.made]
run = { image = "r.example/b:1", script = "x", keep = ["/x"], secrets = { a = "A" } }
[layers.own]
run = { image = "r.example/b:1", script = "y {{ n }}", keep = ["/y"], secrets = { b = "B" } }
[images.lower]
base = "scratch"
layers = ["made"]
tags = ["l"]
[images.upper]
axes = ["n"]
base = { image = "lower" }
setup = [{ script = "z", secrets = { c = "C" } }]
layers = ["own"]
tags = ["{{ n }}"]
"#;

    /// Variable, line, number of steps, cells.
    type Row = (String, usize, usize, Vec<usize>);

    fn needed(chosen: [bool; 3], known: &[&str]) -> Vec<Row> {
        let mut sources = Sources::default();
        sources.add("builds.toml", MANIFEST);
        let manifest = parse(sources).unwrap_or_else(|(_, found)| panic!("{found:?}"));
        let matrix = expand(&manifest, &Default::default()).unwrap();
        let delivery = Delivery { push: true, load: false, checks: true };
        let layouts = Default::default();
        let inputs = Inputs { lock: &Lock::default(), layouts: &layouts, created: None, delivery };
        let plan = plan(&matrix, &chosen, inputs);
        let keys: Vec<Digest> =
            plan.steps().filter(|(_, s)| known.contains(&s.kind.name())).map(|(_, s)| s.key).collect();
        let actions = Actions::decide(&plan, &Known(keys.into_iter().collect()));
        let found = needed_secrets(&matrix, &plan, &actions).into_iter().map(|secret| {
            let (line, _) = manifest.sources.line_column(secret.at);
            (secret.variable, line, secret.steps.len(), secret.cells.iter().map(|c| c.0).collect())
        });
        found.collect()
    }

    fn row(variable: &str, line: usize, steps: usize, cells: &[usize]) -> Row {
        (variable.to_owned(), line, steps, cells.to_vec())
    }

    #[test]
    fn each_secret_has_its_place_and_the_cells_that_wait_for_it() {
        let all = [row("A", 9, 1, &[0, 1, 2]), row("B", 11, 2, &[1, 2]), row("C", 19, 1, &[1, 2])];
        assert_eq!(needed([true; 3], &[]), all);
    }

    #[test]
    fn what_is_not_asked_for_or_known_needs_no_secret() {
        // Of an upstream only what the chosen cell needs, and not in its name.
        let second = [row("A", 9, 1, &[2]), row("B", 11, 1, &[2]), row("C", 19, 1, &[2])];
        assert_eq!(needed([false, false, true], &[]), second);
        assert_eq!(needed([true, false, false], &[]), [row("A", 9, 1, &[0])]);
        assert_eq!(needed([true; 3], &["artifact"]), [row("C", 19, 1, &[1, 2])]);
        assert_eq!(needed([true; 3], &["assemble"]), []);
    }
}
