//! What steps took in earlier runs, as data: looked for, found, and given to each step of a plan.

use std::collections::{BTreeSet, HashMap};

use super::action::{Action, Actions};
use super::builder::last_line;
use super::step::{Plan, StepId, StepKind};
use crate::matrix::{ConcreteCommand, ConcreteContent, Matrix};
use crate::oci::Digest;

/// What a step that succeeded took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Measure {
    /// Its duration in microseconds.
    pub micros: u64,
    /// Bytes it sent.
    pub sent: u64,
    /// Bytes it fetched.
    pub fetched: u64,
}

impl Measure {
    /// The median duration and the mean bytes of several; `None` of none. The mean, because of many
    /// steps that need one blob a single one moves it.
    pub fn typical(sample: &[Self]) -> Option<Self> {
        let count = sample.len() as u64;
        let mut micros: Vec<u64> = sample.iter().map(|m| m.micros).collect();
        micros.sort_unstable();
        let upper = *micros.get(micros.len() / 2)?;
        let lower = micros[(micros.len() - 1) / 2];
        Some(Self {
            micros: lower.midpoint(upper),
            sent: sample.iter().map(|m| m.sent).sum::<u64>() / count,
            fetched: sample.iter().map(|m| m.fetched).sum::<u64>() / count,
        })
    }
}

/// Steps that are like each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group {
    /// Name of their kind.
    pub kind: &'static str,
    /// Name of their layer, setup step or check; [`delivery_name`] of pushes and tags; empty for
    /// other kinds.
    pub name: String,
}

/// What a plan wants to know of earlier runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Content keys.
    pub keys: BTreeSet<Digest>,
    /// Groups.
    pub groups: BTreeSet<Group>,
}

/// What earlier runs say about that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Measured {
    /// The last success under a key.
    pub keys: HashMap<Digest, Measure>,
    /// What is typical of a group.
    pub groups: HashMap<Group, Measure>,
}

/// For each step of a plan what it took before, where that is known. The default knows nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Durations(Vec<Option<Measure>>);

impl Wanted {
    /// What the steps to run want to know.
    pub fn of(matrix: &Matrix, plan: &Plan, actions: &Actions) -> Self {
        let mut wanted = Self::default();
        for (id, step) in plan.steps().filter(|(id, _)| actions.of(*id) == Action::Run) {
            if !step.provisional && !per_cell(&step.kind) {
                wanted.keys.insert(step.key);
            }
            wanted.groups.insert(group(matrix, plan, actions, id));
        }
        wanted
    }
}

impl Durations {
    /// Gives each step to run what its key took last, else what is typical of its group.
    pub fn new(matrix: &Matrix, plan: &Plan, actions: &Actions, measured: &Measured) -> Self {
        let measure = |id: StepId| {
            let by_key = || measured.keys.get(&plan.step(id).key).copied();
            let by_group = || measured.groups.get(&group(matrix, plan, actions, id)).copied();
            (actions.of(id) == Action::Run).then(|| by_key().or_else(by_group)).flatten()
        };
        if *measured == Measured::default() {
            return Self::default();
        }
        Self(plan.steps().map(|(id, _)| measure(id)).collect())
    }

    /// Of measures in order of the plan's steps.
    pub fn of_steps(measures: Vec<Option<Measure>>) -> Self {
        Self(measures)
    }

    /// What a step took before.
    pub fn of(&self, id: StepId) -> Option<Measure> {
        self.0.get(id.0 as usize).copied().flatten()
    }
}

/// Whether the key of such a step only names its cell.
fn per_cell(kind: &StepKind) -> bool {
    matches!(kind, StepKind::Push(_) | StepKind::Load(_) | StepKind::Tag(_))
}

fn group(matrix: &Matrix, plan: &Plan, actions: &Actions, id: StepId) -> Group {
    let kind = &plan.step(id).kind;
    let name = match kind {
        StepKind::Push(cell) | StepKind::Tag(cell) => {
            let steps = plan.cells[cell.0].as_ref();
            delivery_name(steps.is_some_and(|steps| actions.of(steps.assemble) == Action::Run))
        }
        _ => step_name(matrix, kind),
    };
    Group { kind: kind.name(), name: name.to_owned() }
}

/// What pushes and tags are grouped by: to find that nothing changed costs little.
pub fn delivery_name(changed: bool) -> &'static str {
    if changed { "changed" } else { "unchanged" }
}

/// What a step has in common with steps like it: the name of its layer or check, the last line of a
/// setup step's script; empty for other kinds.
pub fn step_name<'m>(matrix: &'m Matrix, kind: &StepKind) -> &'m str {
    match kind {
        StepKind::Dockerfile(made) => &matrix.dockerfiles[made.0].spec.context,
        StepKind::Artifact(layer) => &matrix.layers[layer.0].name,
        StepKind::Place { cell, position } => &matrix.layers[matrix.cells[cell.0].layers[*position].0].name,
        StepKind::Setup { cell, position } => last_line(&matrix.cells[cell.0].setup[*position].script),
        StepKind::Check { cell, position } => &matrix.cells[cell.0].checks[*position].name,
        _ => "",
    }
}

/// The command that a step runs in a container.
pub(super) fn step_command<'m>(matrix: &'m Matrix, kind: &StepKind) -> Option<&'m ConcreteCommand> {
    match kind {
        StepKind::Artifact(layer) => match &matrix.layers[layer.0].content {
            ConcreteContent::Run(run) => Some(&run.command),
            ConcreteContent::Parts(_) => None,
        },
        StepKind::Setup { cell, position } => Some(&matrix.cells[cell.0].setup[*position]),
        StepKind::Check { cell, position } => matrix.cells[cell.0].checks[*position].command.as_ref(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(micros: u64, sent: u64) -> Measure {
        Measure { micros, sent, fetched: 0 }
    }

    #[test]
    fn typical_is_the_median_duration_and_the_mean_of_bytes() {
        assert_eq!(Measure::typical(&[]), None);
        assert_eq!(Measure::typical(&[measure(7, 3)]), Some(measure(7, 3)));
        let even = [measure(10, 0), measure(1, 100), measure(4, 0), measure(1000, 0)];
        assert_eq!(Measure::typical(&even), Some(measure(7, 25)));
        assert_eq!(Measure::typical(&even[..3]), Some(measure(4, 33)));
    }
}
