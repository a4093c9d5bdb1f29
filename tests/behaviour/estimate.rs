//! Estimates of known plans, to the microsecond.

use petgraph::graph::{DiGraph, NodeIndex};
use railyard::manifest::StepLimits;
use railyard::matrix::{
    CellId, ConcreteCommand, ConcreteContent, ConcreteLayer, ConcreteRun, LayerId, Matrix, Source,
};
use railyard::oci::{Digest, Platform};
use railyard::plan::{
    Actions, CellSteps, Class, Durations, Estimate, Group, Known, Limits, Measure, Measured, Plan, Schedule,
    Step, StepId, StepKind, Wanted,
};

const GIB: u64 = 1 << 30;
const SECOND: u64 = 1_000_000;

/// Steps `(class, memory limit in GiB, needs)`, each the artifact of a layer of its own.
fn plan(steps: &[(Class, Option<u64>, &[usize])]) -> (Matrix, Plan) {
    let mut graph = DiGraph::new();
    let mut layers = Vec::new();
    for (position, (class, memory, needs)) in steps.iter().enumerate() {
        layers.push(layer(position, memory.map(|gib| gib * GIB)));
        let node = graph.add_node(Step {
            kind: StepKind::Artifact(LayerId(position)),
            label: position.to_string(),
            key: key(position),
            provisional: false,
            class: *class,
            asked: 1,
        });
        for need in *needs {
            graph.add_edge(NodeIndex::new(*need), node, ());
        }
    }
    let last: Vec<StepId> = graph.node_indices().map(StepId::from).collect();
    let cell = CellSteps {
        cell: CellId(0),
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
    let platform: Platform = "linux/amd64".parse().unwrap();
    let matrix = Matrix {
        dockerfiles: Vec::new(),
        project: "t".into(),
        platform,
        cache: None,
        cells: Vec::new(),
        layers,
        warnings: Vec::new(),
    };
    (matrix, Plan { graph, cells: vec![Some(cell)] })
}

fn key(position: usize) -> Digest {
    Digest::of(&position.to_le_bytes())
}

fn layer(position: usize, memory: Option<u64>) -> ConcreteLayer {
    let command = ConcreteCommand {
        shell: Vec::new(),
        script: String::new(),
        env: Vec::new(),
        user: None,
        workdir: None,
        cache: Vec::new(),
        secrets: Vec::new(),
        limits: StepLimits { memory, ..StepLimits::default() },
    };
    let run = ConcreteRun { image: Source::Scratch, keep: Vec::new(), reads: Vec::new(), command };
    ConcreteLayer {
        name: format!("layer-{position}"),
        max_age: None,
        content: ConcreteContent::Run(Box::new(run)),
    }
}

fn limits(containers: usize) -> Limits {
    Limits { containers, transfers: 4, cpu: 4 }
}

fn seconds(all: &[u64]) -> Durations {
    let measure = |s: &u64| Some(Measure { micros: s * SECOND, sent: 10, fetched: 1 });
    Durations::of_steps(all.iter().map(measure).collect())
}

fn known(positions: &[usize]) -> Known {
    Known(positions.iter().map(|p| key(*p)).collect())
}

fn ids(estimate: &Estimate) -> Vec<u32> {
    estimate.critical_path.iter().map(|step| step.id).collect()
}

/// 0 and 1 first, 2 after 0, 3 after 1 and 2.
const FORK: &[(Class, Option<u64>, &[usize])] = &[
    (Class::Container, Some(1), &[]),
    (Class::Container, Some(2), &[]),
    (Class::Container, Some(4), &[0]),
    (Class::Cpu, None, &[1, 2]),
];

#[test]
fn a_known_fork_takes_its_longest_path_where_there_is_room() {
    let (matrix, plan) = plan(FORK);
    let actions = Actions::decide(&plan, &Known::default());
    let durations = seconds(&[10, 20, 5, 1]);
    let estimate = Estimate::new(&matrix, &plan, &actions, limits(2), &durations);
    // 0 and 1 at 0, 2 at 10, 3 at 20.
    assert_eq!(estimate.seconds, Some(21.0));
    assert_eq!((ids(&estimate), estimate.critical_path_seconds), (vec![1, 3], 21.0));
    assert_eq!((estimate.containers, estimate.containers_at_once), (3, 2));
    assert_eq!(estimate.memory_at_once, 6 * GIB, "1 and 2 run together");
    assert_eq!((estimate.bytes_sent, estimate.bytes_fetched), (40, 4));
    assert_eq!((estimate.steps, estimate.unknown()), (4, 0));
    assert_eq!(estimate.step_seconds["artifact"], 36.0);
    assert_eq!(estimate.containers_without_memory_limit, 0);
}

#[test]
fn limits_lengthen_a_run_and_lower_its_peak() {
    let (matrix, plan) = plan(FORK);
    let actions = Actions::decide(&plan, &Known::default());
    let durations = seconds(&[10, 20, 5, 1]);
    let estimate = Estimate::new(&matrix, &plan, &actions, limits(1), &durations);
    assert_eq!((estimate.seconds, estimate.critical_path_seconds), (Some(36.0), 21.0));
    assert_eq!((estimate.containers_at_once, estimate.memory_at_once), (1, 4 * GIB));
}

#[test]
fn what_is_known_costs_nothing_and_what_has_no_history_is_counted() {
    let (matrix, plan) = plan(FORK);
    let actions = Actions::decide(&plan, &known(&[1]));
    let mut measures = vec![None; 4];
    measures[2] = Some(Measure { micros: 2_500_000, sent: 0, fetched: 7 });
    let durations = Durations::of_steps(measures);
    let estimate = Estimate::new(&matrix, &plan, &actions, limits(2), &durations);
    assert_eq!(estimate.seconds, Some(2.5));
    assert_eq!((estimate.steps, estimate.unknown(), estimate.without_history["artifact"]), (3, 2, 2));
    assert_eq!(ids(&estimate), [0, 2, 3]);
    assert_eq!((estimate.critical_path[0].seconds, estimate.critical_path[1].seconds), (None, Some(2.5)));
    assert_eq!(estimate.bytes_fetched, 7);

    let nothing = Estimate::new(&matrix, &plan, &actions, limits(2), &Durations::default());
    assert_eq!((nothing.seconds, nothing.unknown(), nothing.containers), (None, 3, 2));
    let done = Actions::decide(&plan, &known(&[0, 1, 2, 3]));
    let done = Estimate::new(&matrix, &plan, &done, limits(2), &Durations::default());
    assert_eq!((done.seconds, done.steps, done.containers_at_once), (Some(0.0), 0, 0));
}

#[test]
fn measured_seconds_decide_what_starts_first() {
    let independent: &[(Class, Option<u64>, &[usize])] =
        &[(Class::Container, None, &[]), (Class::Container, None, &[]), (Class::Container, None, &[])];
    let (_, plan) = plan(independent);
    let actions = Actions::decide(&plan, &Known::default());
    let order = |durations: &Durations| -> Vec<u32> {
        let mut schedule = Schedule::new(&plan, &actions, limits(1), durations);
        std::iter::from_fn(|| {
            let id = schedule.start()?;
            schedule.finish(id, true);
            Some(id.0)
        })
        .collect()
    };
    assert_eq!(order(&Durations::default()), [0, 1, 2]);
    assert_eq!(order(&seconds(&[5, 7, 6])), [1, 2, 0]);
    // A container without history counts as a minute.
    let measure = |s: u64| Some(Measure { micros: s * SECOND, ..Measure::default() });
    assert_eq!(order(&Durations::of_steps(vec![measure(59), None, measure(61)])), [2, 1, 0]);
}

#[test]
fn a_key_says_more_than_its_group() {
    let (matrix, plan) = plan(&FORK[..2]);
    let actions = Actions::decide(&plan, &Known::default());
    let wanted = Wanted::of(&matrix, &plan, &actions);
    let group = |name: &str| Group { kind: "artifact", name: name.into() };
    assert_eq!(wanted.keys.len(), 2);
    assert_eq!(wanted.groups.iter().cloned().collect::<Vec<_>>(), [group("layer-0"), group("layer-1")]);
    let measure = |micros| Measure { micros, ..Measure::default() };
    let measured = Measured {
        keys: [(key(1), measure(1))].into(),
        groups: [(group("layer-0"), measure(2)), (group("layer-1"), measure(3))].into(),
    };
    let durations = Durations::new(&matrix, &plan, &actions, &measured);
    assert_eq!((durations.of(StepId(0)), durations.of(StepId(1))), (Some(measure(2)), Some(measure(1))));
}
