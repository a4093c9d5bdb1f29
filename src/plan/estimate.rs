//! What a run will cost, by what its steps took before: its schedule, driven with simulated time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use serde::Serialize;

use super::action::{Action, Actions, longest_path};
use super::durations::{Durations, step_command};
use super::schedule::{Limits, Schedule};
use super::step::{Class, Plan, StepId};
use crate::matrix::Matrix;

/// What a run will cost. Steps without history count nothing towards seconds and bytes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// Wall time; missing where nothing is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Time in steps, by kind; steps run side by side.
    pub step_seconds: BTreeMap<&'static str, f64>,
    /// The longest chain of steps to run, first to last.
    pub critical_path: Vec<PathStep>,
    /// Sum over the critical path.
    pub critical_path_seconds: f64,
    /// Steps that run a container.
    pub containers: usize,
    /// The most of them at a time.
    pub containers_at_once: usize,
    /// The largest sum of the memory limits of containers that run at a time, in bytes.
    pub memory_at_once: u64,
    /// Containers without a memory limit.
    pub containers_without_memory_limit: usize,
    /// Bytes sent to registries.
    pub bytes_sent: u64,
    /// Bytes fetched from registries and servers.
    pub bytes_fetched: u64,
    /// Steps to run.
    pub steps: usize,
    /// Steps to run of which nothing is known, by kind.
    pub without_history: BTreeMap<&'static str, usize>,
}

/// A step of a critical path.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PathStep {
    /// Its id in the plan.
    pub id: u32,
    /// What it took before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

impl Estimate {
    /// Simulates the run of what `actions` leave to do.
    pub fn new(
        matrix: &Matrix,
        plan: &Plan,
        actions: &Actions,
        limits: Limits,
        durations: &Durations,
    ) -> Self {
        let mut sums = Sums::default();
        for (id, step) in plan.steps().filter(|(id, _)| actions.of(*id) == Action::Run) {
            let limit = step_command(matrix, &step.kind).and_then(|c| c.limits.memory);
            sums.containers += usize::from(step.class == Class::Container);
            sums.unlimited += usize::from(step.class == Class::Container && limit.is_none());
            sums.steps += 1;
            let Some(measure) = durations.of(id) else {
                *sums.unknown.entry(step.kind.name()).or_default() += 1;
                continue;
            };
            *sums.micros.entry(step.kind.name()).or_default() += measure.micros;
            sums.sent += measure.sent;
            sums.fetched += measure.fetched;
        }
        let schedule = Schedule::new(plan, actions, limits, durations);
        let path = longest_path(plan, schedule.priorities());
        let path_micros = path.iter().filter_map(|id| durations.of(*id)).map(|m| m.micros).sum();
        let simulated = simulate(matrix, plan, schedule, durations);
        let known = sums.steps == 0 || sums.unknown.values().sum::<usize>() < sums.steps;
        Self {
            seconds: known.then(|| seconds(simulated.micros)),
            step_seconds: sums.micros.into_iter().map(|(kind, micros)| (kind, seconds(micros))).collect(),
            critical_path: path
                .into_iter()
                .map(|id| PathStep { id: id.0, seconds: durations.of(id).map(|m| seconds(m.micros)) })
                .collect(),
            critical_path_seconds: seconds(path_micros),
            containers: sums.containers,
            containers_at_once: simulated.containers,
            memory_at_once: simulated.memory,
            containers_without_memory_limit: sums.unlimited,
            bytes_sent: sums.sent,
            bytes_fetched: sums.fetched,
            steps: sums.steps,
            without_history: sums.unknown,
        }
    }

    /// How many steps to run have no history.
    pub fn unknown(&self) -> usize {
        self.without_history.values().sum()
    }
}

#[derive(Default)]
struct Sums {
    steps: usize,
    containers: usize,
    unlimited: usize,
    unknown: BTreeMap<&'static str, usize>,
    micros: BTreeMap<&'static str, u64>,
    sent: u64,
    fetched: u64,
}

/// The end of a simulated run and its peaks.
#[derive(Default)]
struct Simulated {
    micros: u64,
    containers: usize,
    memory: u64,
}

fn simulate(matrix: &Matrix, plan: &Plan, mut schedule: Schedule<'_>, durations: &Durations) -> Simulated {
    let memory = |id: StepId| {
        step_command(matrix, &plan.step(id).kind).and_then(|command| command.limits.memory).unwrap_or(0)
    };
    let container = |id: StepId| plan.step(id).class == Class::Container;
    let mut peak = Simulated::default();
    let (mut containers, mut in_use) = (0, 0);
    let mut running: BinaryHeap<Reverse<(u64, StepId)>> = BinaryHeap::new();
    loop {
        while let Some(id) = schedule.start() {
            let micros = durations.of(id).map_or(0, |measure| measure.micros);
            running.push(Reverse((peak.micros + micros, id)));
            if container(id) {
                containers += 1;
                in_use += memory(id);
                peak.containers = peak.containers.max(containers);
                peak.memory = peak.memory.max(in_use);
            }
        }
        let Some(Reverse((now, _))) = running.peek().copied() else { return peak };
        peak.micros = now;
        // All that ends at this moment ends before anything starts.
        while let Some(Reverse((end, id))) = running.peek().copied()
            && end == now
        {
            running.pop();
            schedule.finish(id, true);
            if container(id) {
                containers -= 1;
                in_use -= memory(id);
            }
        }
    }
}
