//! The schedule of steps over random plans: order, limits, failures, the end.

use std::collections::BTreeSet;

use petgraph::graph::DiGraph;
use proptest::prelude::*;
use railyard::matrix::LayerId;
use railyard::oci::Digest;
use railyard::plan::{
    Actions, CellSteps, Class, Durations, Known, Limits, Plan, Schedule, Step, StepId, StepKind,
};

/// A plan whose steps need earlier ones; its one cell asks for every step.
fn plan(steps: &[(u8, Vec<prop::sample::Index>)]) -> Plan {
    let mut graph = DiGraph::new();
    for (position, (class, needs)) in steps.iter().enumerate() {
        let class = [Class::Container, Class::Transfer, Class::Cpu][usize::from(*class % 3)];
        let key = Digest::of(&position.to_le_bytes());
        let kind = StepKind::Artifact(LayerId(position));
        let node = graph.add_node(Step {
            kind,
            label: position.to_string(),
            key,
            provisional: false,
            class,
            asked: 1,
        });
        if position > 0 {
            for need in needs {
                graph.update_edge(petgraph::graph::NodeIndex::new(need.index(position)), node, ());
            }
        }
    }
    let last: Vec<StepId> = graph.node_indices().map(StepId::from).collect();
    let cell = CellSteps {
        cell: railyard::matrix::CellId(0),
        chosen: true,
        build_id: Digest::of(b"cell"),
        identity: Digest::of(b"cell"),
        dockerfile: None,
        setup: Vec::new(),
        places: Vec::new(),
        artifacts: Vec::new(),
        assemble: last[0],
        last,
    };
    Plan { graph, cells: vec![Some(cell)] }
}

fn steps() -> impl Strategy<Value = Vec<(u8, Vec<prop::sample::Index>)>> {
    prop::collection::vec((any::<u8>(), prop::collection::vec(any::<prop::sample::Index>(), 0..4)), 1..40)
}

/// Everything that depends on a step, by definition.
fn behind(plan: &Plan, id: StepId) -> BTreeSet<StepId> {
    let mut found = BTreeSet::new();
    let mut stack = plan.dependents(id);
    while let Some(next) = stack.pop() {
        if found.insert(next) {
            stack.extend(plan.dependents(next));
        }
    }
    found
}

fn of(limits: Limits, class: Class) -> usize {
    match class {
        Class::Container => limits.containers,
        Class::Transfer => limits.transfers,
        Class::Cpu => limits.cpu,
    }
}

proptest! {
    #[test]
    fn every_step_runs_in_order_within_limits_or_is_lost_for_a_reason(
        steps in steps(),
        (containers, transfers, cpu) in (1usize..4, 1usize..4, 1usize..4),
        failing in prop::collection::btree_set(0u32..40, 0..5),
        known in prop::collection::btree_set(0usize..40, 0..5),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 40),
        stop_after in prop::option::of(0usize..40),
        releasing in prop::collection::btree_set(0u32..40, 0..8),
    ) {
        let plan = plan(&steps);
        let known = Known(known.iter().map(|n| Digest::of(&n.to_le_bytes())).collect());
        let actions = Actions::decide(&plan, &known);
        let to_run: BTreeSet<StepId> = plan
            .steps()
            .filter(|(_, step)| !known.0.contains(&step.key))
            .map(|(id, _)| id)
            .collect();
        let limits = Limits { containers, transfers, cpu };
        let mut schedule = Schedule::new(&plan, &actions, limits, &Durations::default());
        let mut running: Vec<StepId> = Vec::new();
        let (mut ended, mut failed, mut lost) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut stopped = false;
        for pick in picks.iter().cycle() {
            while let Some(id) = schedule.start() {
                prop_assert!(!stopped, "{id:?} was started after the stop");
                prop_assert!(to_run.contains(&id) && !ended.contains(&id) && !lost.contains(&id));
                for need in plan.needs(id).into_iter().filter(|n| to_run.contains(n)) {
                    prop_assert!(ended.contains(&need) && !failed.contains(&need), "{id:?} before {need:?}");
                }
                running.push(id);
                if releasing.contains(&id.0) {
                    // Once is as good as twice.
                    schedule.release(id);
                    schedule.release(id);
                }
            }
            for class in [Class::Container, Class::Transfer, Class::Cpu] {
                let holds = |id: &&StepId| plan.step(**id).class == class && !releasing.contains(&id.0);
                let count = running.iter().filter(holds).count();
                prop_assert!(count <= of(limits, class), "{count} of {class:?}");
                // Nothing that could run waits while there is room.
                let waiting = to_run.iter().filter(|id| {
                    plan.step(**id).class == class
                        && !running.contains(id) && !ended.contains(*id) && !lost.contains(*id)
                        && plan.needs(**id).iter().all(|n| !to_run.contains(n) || ended.contains(n))
                });
                prop_assert!(stopped || count == of(limits, class) || waiting.count() == 0);
            }
            if running.is_empty() {
                break;
            }
            prop_assert!(!schedule.is_over());
            let id = running.remove(pick.index(running.len()));
            let success = !failing.contains(&id.0);
            let gone: BTreeSet<StepId> = schedule.finish(id, success).into_iter().collect();
            ended.insert(id);
            if success {
                prop_assert!(gone.is_empty());
            } else {
                failed.insert(id);
                let expected: BTreeSet<StepId> = behind(&plan, id)
                    .into_iter()
                    .filter(|d| to_run.contains(d) && !lost.contains(d))
                    .collect();
                // A known result between the two keeps what is behind it.
                let expected: BTreeSet<StepId> = expected
                    .into_iter()
                    .filter(|d| reaches(&plan, &to_run, id, *d))
                    .collect();
                prop_assert_eq!(&gone, &expected);
                lost.extend(gone);
            }
            if stop_after == Some(ended.len()) {
                schedule.stop();
                stopped = true;
            }
        }
        prop_assert!(schedule.is_over());
        let unstarted: BTreeSet<StepId> = schedule.unstarted().into_iter().collect();
        let mut all = ended.clone();
        all.extend(&lost);
        prop_assert!(all.is_disjoint(&unstarted));
        prop_assert!(stopped || unstarted.is_empty());
        all.extend(&unstarted);
        prop_assert_eq!(all, to_run);
    }
}

/// Whether a step depends on another by steps that are all to be run.
fn reaches(plan: &Plan, to_run: &BTreeSet<StepId>, from: StepId, to: StepId) -> bool {
    plan.dependents(from)
        .into_iter()
        .any(|next| to_run.contains(&next) && (next == to || reaches(plan, to_run, next, to)))
}
