//! The plan as a document: versioned JSON for other programs.

use std::collections::BTreeMap;

use serde::Serialize;

use super::action::{Action, Actions, critical_path};
use super::step::{Class, Plan};
use crate::matrix::Matrix;
use crate::oci::Digest;

/// Version of the document's schema; raised when a field changes its meaning or goes.
pub const PLAN_SCHEMA: u32 = 1;

/// A plan in the form that `plan --format json` prints; see `docs/plan.schema.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlanDocument {
    /// [`PLAN_SCHEMA`].
    pub schema: u32,
    /// The project's name.
    pub project: String,
    /// `os/architecture`.
    pub platform: String,
    /// The cells, in order of the matrix.
    pub cells: Vec<CellDocument>,
    /// The distinct steps, in an order in which each comes after what it needs.
    pub steps: Vec<StepDocument>,
    /// Sums.
    pub totals: Totals,
    /// Ids of the steps of the longest chain.
    pub critical_path: Vec<u32>,
}

/// A cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CellDocument {
    /// `image[axis=value,…]`.
    pub name: String,
    /// The image's name in the manifest.
    pub image: String,
    /// Axis -> value.
    pub axes: BTreeMap<String, String>,
    /// Repository and tags.
    pub references: Vec<String>,
    /// Content key of the image.
    pub build_id: Digest,
    /// Whether it was asked for, not only needed by others.
    pub chosen: bool,
    /// Id of the step that assembles it.
    pub assemble: u32,
    /// Ids of its placed layers, lowest first.
    pub layers: Vec<u32>,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepDocument {
    /// Its id in this document.
    pub id: u32,
    /// `resolve`, `index`, `artifact`, `setup`, `place`, `assemble`, `abi`, `push`, `load`, `check`,
    /// `tag`.
    pub kind: &'static str,
    /// For people.
    pub label: String,
    /// Content key.
    pub key: Digest,
    /// Whether the key will change because an input is not locked yet.
    pub provisional: bool,
    /// `container`, `transfer` or `cpu`.
    pub class: Class,
    /// Ids of the steps it needs.
    pub needs: Vec<u32>,
    /// How often cells ask for it.
    pub asked: u32,
    /// `run`, `reuse` or `skip`.
    pub action: Action,
}

/// Sums over the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Cells asked for.
    pub cells: usize,
    /// Steps that cells ask for.
    pub asked: u64,
    /// Distinct steps.
    pub steps: usize,
    /// Steps to carry out.
    pub run: usize,
    /// Steps whose result is known.
    pub reuse: usize,
    /// Distinct steps by kind.
    pub by_kind: BTreeMap<&'static str, usize>,
    /// Steps to carry out by kind.
    pub run_by_kind: BTreeMap<&'static str, usize>,
}

impl PlanDocument {
    /// Makes the document.
    pub fn new(matrix: &Matrix, plan: &Plan, actions: &Actions) -> Self {
        let cells = plan
            .cells
            .iter()
            .flatten()
            .map(|steps| {
                let cell = &matrix.cells[steps.cell.0];
                CellDocument {
                    name: cell.name.clone(),
                    image: cell.image.to_string(),
                    axes: cell.coordinates.iter().map(|(a, v)| (a.to_string(), v.to_string())).collect(),
                    references: cell.references.iter().map(ToString::to_string).collect(),
                    build_id: steps.build_id,
                    chosen: steps.chosen,
                    assemble: steps.assemble.0,
                    layers: steps.places.iter().map(|s| s.0).collect(),
                }
            })
            .collect();
        let mut by_kind = BTreeMap::new();
        let mut run_by_kind = BTreeMap::new();
        let steps = plan
            .steps()
            .map(|(id, step)| {
                *by_kind.entry(step.kind.name()).or_default() += 1;
                if actions.of(id) == Action::Run {
                    *run_by_kind.entry(step.kind.name()).or_default() += 1;
                }
                StepDocument {
                    id: id.0,
                    kind: step.kind.name(),
                    label: step.label.clone(),
                    key: step.key,
                    provisional: step.provisional,
                    class: step.class,
                    needs: plan.needs(id).into_iter().map(|n| n.0).collect(),
                    asked: step.asked,
                    action: actions.of(id),
                }
            })
            .collect();
        Self {
            schema: PLAN_SCHEMA,
            project: matrix.project.clone(),
            platform: matrix.platform.to_string(),
            cells,
            steps,
            totals: Totals {
                cells: plan.cells.iter().flatten().filter(|c| c.chosen).count(),
                asked: plan.asked(),
                steps: plan.graph.node_count(),
                run: actions.count(Action::Run),
                reuse: actions.count(Action::Reuse),
                by_kind,
                run_by_kind,
            },
            critical_path: critical_path(plan).into_iter().map(|s| s.0).collect(),
        }
    }
}
