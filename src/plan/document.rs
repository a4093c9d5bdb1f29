//! The plan as a document: versioned JSON for other programs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::action::{Action, Actions, critical_path};
use super::estimate::Estimate;
use super::named::named;
use super::reason::{CellView, Reason, Status, TagView};
use super::step::{Class, Plan, Step, StepId, StepKind};
use crate::matrix::Matrix;
use crate::oci::Digest;

/// Version of the document's schema; raised when a field changes its meaning or goes.
pub const PLAN_SCHEMA: u32 = 1;

/// A plan in the form that `plan --format json` prints; see `docs/plan.schema.json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
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
    /// What the steps to run will cost, by earlier runs.
    pub estimate: Estimate,
    /// What comes from outside.
    pub inputs: InputsDocument,
    /// Images of others that are copied into a registry.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<MirrorDocument>,
    /// What was supposed, and what it touches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what_if: Option<WhatIf>,
}

/// What a plan takes from outside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputsDocument {
    /// Reference or `oci:DIR` -> digest; none where it is not locked.
    pub images: BTreeMap<String, Option<Digest>>,
    /// First URL -> sha256; none where it is not locked.
    pub downloads: BTreeMap<String, Option<Digest>>,
    /// Source of a mirrored image -> digest, all platforms; none where it is not locked.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mirrors: BTreeMap<String, Option<Digest>>,
    /// Time of creation of every image, where SOURCE_DATE_EPOCH sets one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
}

named! {
    /// What happens to a mirrored image.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
    pub enum MirrorAction {
        /// It is copied.
        Copy = "copy",
        /// The target has it.
        Current = "current",
        /// It could not be told.
        Unknown = "unknown",
    }
}

/// An image of others that is copied into a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MirrorDocument {
    /// The mirror's name in the manifest.
    pub mirror: String,
    /// The image's name as it is listed.
    pub image: String,
    /// Where it comes from.
    pub source: String,
    /// Where it goes.
    pub target: String,
    /// The digest that the target is to have, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// `copy`, `current` or `unknown`.
    pub action: MirrorAction,
    /// What else there is to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What supposed changes touch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct WhatIf {
    /// The changes.
    pub changes: Vec<String>,
    /// Cells that would be other images.
    pub changed: Vec<String>,
    /// Cells that would come.
    pub added: Vec<String>,
    /// Cells that would go.
    pub removed: Vec<String>,
    /// Cells that would stay as they are.
    pub untouched: usize,
}

impl WhatIf {
    /// Compares the cells of two plans.
    pub fn compare(changes: Vec<String>, before: (&Matrix, &Plan), after: (&Matrix, &Plan)) -> Self {
        let ids = |(matrix, plan): (&Matrix, &Plan)| -> BTreeMap<String, Digest> {
            let chosen = plan.cells.iter().flatten().filter(|c| c.chosen);
            chosen.map(|c| (matrix.cells[c.cell.0].name.clone(), c.build_id)).collect()
        };
        let (old, new) = (ids(before), ids(after));
        let order = after.1.cells.iter().flatten().filter(|c| c.chosen);
        let names: Vec<&String> = order.map(|c| &after.0.cells[c.cell.0].name).collect();
        let pick = |wanted: &dyn Fn(&String) -> bool| {
            names.iter().filter(|name| wanted(name)).map(|name| (*name).clone()).collect::<Vec<_>>()
        };
        let changed = pick(&|name| old.get(name).is_some_and(|was| *was != new[name]));
        let added = pick(&|name| !old.contains_key(name));
        let removed = old.keys().filter(|name| !new.contains_key(*name)).cloned().collect();
        let untouched = names.len() - changed.len() - added.len();
        Self { changes, changed, added, removed, untouched }
    }
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
    /// `current`, `stale`, `missing`, `foreign` or `unbuilt`; none when nobody was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Digest of the image it should have, where that is known without building.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// What its tags have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<TagView>,
    /// Why it is not current.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
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
    /// `resolve`, `index`, `artifact`, `dockerfile`, `setup`, `place`, `assemble`, `abi`, `push`, `load`,
    /// `check`, `tag`.
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
    /// Why.
    pub reason: String,
}

/// What was found out about a plan by asking registries and records; empty where nobody was asked.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// By position as [`crate::matrix::CellId`].
    pub cells: Vec<Option<CellView>>,
    /// Why steps run.
    pub steps: BTreeMap<StepId, Vec<Reason>>,
    /// Deliveries that have nothing to do, in order.
    pub settled: Vec<StepId>,
    /// What comes from outside.
    pub inputs: InputsDocument,
    /// How mirrored images stand.
    pub mirrors: Vec<MirrorDocument>,
    /// What was supposed.
    pub what_if: Option<WhatIf>,
}

/// Why a step runs of which nothing more is known.
pub const UNRECORDED: &str = "no result of these inputs is recorded";

/// Why a step is run, reused or skipped.
fn reason(id: StepId, step: &Step, action: Action, view: &View) -> String {
    match action {
        Action::Skip if view.settled.binary_search(&id).is_ok() => "every tag has the image".into(),
        Action::Skip => "nothing needs it".into(),
        Action::Reuse => "its result is recorded".into(),
        Action::Run if step.provisional => "an input is not locked yet".into(),
        Action::Run => match (view.steps.get(&id), &step.kind) {
            (Some(reasons), _) if !reasons.is_empty() => {
                reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
            }
            (_, StepKind::Push(_) | StepKind::Load(_) | StepKind::Tag(_)) => "delivery".into(),
            _ => UNRECORDED.into(),
        },
    }
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
    pub fn new(matrix: &Matrix, plan: &Plan, actions: &Actions, estimate: Estimate, view: &View) -> Self {
        let cells = plan
            .cells
            .iter()
            .flatten()
            .map(|steps| {
                let cell = &matrix.cells[steps.cell.0];
                let seen = view.cells.get(steps.cell.0).and_then(Option::as_ref);
                CellDocument {
                    name: cell.name.clone(),
                    image: cell.image.to_string(),
                    axes: cell.coordinates.iter().map(|(a, v)| (a.to_string(), v.to_string())).collect(),
                    references: cell.shown_references().map(|r| r.to_string()).collect(),
                    build_id: steps.build_id,
                    chosen: steps.chosen,
                    status: seen.map(|seen| seen.status),
                    digest: seen.and_then(|seen| seen.expected),
                    tags: seen.map(|seen| seen.tags.clone()).unwrap_or_default(),
                    reasons: seen.map(|seen| seen.reasons.clone()).unwrap_or_default(),
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
                    reason: reason(id, step, actions.of(id), view),
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
            inputs: view.inputs.clone(),
            mirrors: view.mirrors.clone(),
            what_if: view.what_if.clone(),
            estimate,
        }
    }
}
