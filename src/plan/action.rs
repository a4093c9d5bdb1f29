//! What of a plan has to be done, given what is known already; in which order.

use std::collections::HashSet;

use petgraph::visit::{Topo, Walker};
use serde::Serialize;

use super::durations::Durations;
use super::step::*;
use crate::oci::Digest;

/// What happens to a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is carried out.
    Run,
    /// Its result is known.
    Reuse,
    /// Nothing needs it.
    Skip,
}

/// Keys whose results are known and at hand.
#[derive(Debug, Clone, Default)]
pub struct Known(pub HashSet<Digest>);

/// Why a step runs again though its result is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anew {
    /// It was asked for.
    Forced,
    /// The result is older than it may be, in seconds.
    TooOld {
        /// Its age; `None` where its record is lost.
        age: Option<u64>,
        /// The age it may have.
        max_age: u64,
    },
}

/// For each step of a plan what happens to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actions(Vec<Action>);

impl Actions {
    /// Walks back from the cells that were asked for: a known result ends the walk.
    pub fn decide(plan: &Plan, known: &Known) -> Self {
        let mut actions = vec![Action::Skip; plan.graph.node_count()];
        let mut stack: Vec<StepId> =
            plan.cells.iter().flatten().filter(|c| c.chosen).flat_map(|c| c.last.iter().copied()).collect();
        while let Some(id) = stack.pop() {
            let slot = &mut actions[id.0 as usize];
            if *slot != Action::Skip {
                continue;
            }
            let step = plan.step(id);
            let reusable = !matches!(step.kind, StepKind::Push(_) | StepKind::Tag(_) | StepKind::Load(_));
            if reusable && known.0.contains(&step.key) {
                *slot = Action::Reuse;
            } else {
                *slot = Action::Run;
                stack.extend(plan.needs(id));
            }
        }
        Self(actions)
    }

    /// Takes deliveries out that have nothing to do.
    pub fn settle(&mut self, steps: &[StepId]) {
        for id in steps {
            self.0[id.0 as usize] = Action::Skip;
        }
    }

    /// What happens to a step.
    pub fn of(&self, id: StepId) -> Action {
        self.0[id.0 as usize]
    }

    /// How many steps have this action.
    pub fn count(&self, action: Action) -> usize {
        self.0.iter().filter(|a| **a == action).count()
    }
}

/// Nominal seconds of a step, used to order work where nothing has been measured.
fn nominal(step: &Step) -> u64 {
    match (&step.kind, step.class) {
        (StepKind::Artifact(_) | StepKind::Setup { .. } | StepKind::Dockerfile(_), Class::Container) => 60,
        (StepKind::Check { .. }, _) => 5,
        (StepKind::Index(_), _) => 4,
        (StepKind::Artifact(_), _) => 3,
        _ => 1,
    }
}

/// For each step the length of the longest path from it to the end, itself included; 0 for steps
/// that are not `included`, where paths end.
fn lengths(plan: &Plan, included: impl Fn(StepId) -> bool, weight: impl Fn(StepId) -> u64) -> Vec<u64> {
    let mut lengths = vec![0u64; plan.graph.node_count()];
    let order: Vec<_> = Topo::new(&plan.graph).iter(&plan.graph).collect();
    for node in order.into_iter().rev().filter(|node| included((*node).into())) {
        let above = plan.graph.neighbors(node).map(|n| lengths[n.index()]).max().unwrap_or(0);
        lengths[node.index()] = above + weight(node.into());
    }
    lengths
}

/// The longest chain of steps with these lengths, such as [`priorities`]; of equal ones the first in
/// order of the plan.
pub fn longest_path(plan: &Plan, lengths: &[u64]) -> Vec<StepId> {
    let longest = |ids: &mut dyn Iterator<Item = StepId>| {
        ids.filter(|id| lengths[id.0 as usize] > 0)
            .max_by_key(|id| (lengths[id.0 as usize], std::cmp::Reverse(*id)))
    };
    let mut path = Vec::new();
    let mut next = longest(&mut plan.steps().map(|(id, _)| id));
    while let Some(id) = next {
        path.push(id);
        next = longest(&mut plan.dependents(id).into_iter());
    }
    path
}

/// For each step to run the microseconds of the longest path of such steps from it to the end: as
/// measured before, else nominal.
pub(super) fn priorities(plan: &Plan, actions: &Actions, durations: &Durations) -> Vec<u64> {
    let nominal = |id| nominal(plan.step(id)) * 1_000_000;
    let weight = |id| durations.of(id).map_or_else(|| nominal(id), |m| m.micros.max(1));
    lengths(plan, |id| actions.of(id) == Action::Run, weight)
}

/// The longest chain of steps, known or not, first to last, by nominal lengths.
pub fn critical_path(plan: &Plan) -> Vec<StepId> {
    longest_path(plan, &lengths(plan, |_| true, |id| nominal(plan.step(id))))
}
