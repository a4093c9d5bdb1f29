//! `check`, `schema` and `plan`: nothing is built.

use std::collections::BTreeMap;

use super::exit::{Exit, print};
use super::load::{Project, load, load_as};
use super::settings::store_path;
use super::{PlanFormat, ProjectArguments};
use crate::lock::Lock;
use crate::oci::Digest;
use crate::plan::{
    Actions, Delivery, Durations, Estimate, Inputs, Known, Plan, PlanDocument, StepKind, Wanted,
};
use crate::store::{Store, StoreError};
use crate::{report, run};

/// `railyard check`.
pub fn check(arguments: &ProjectArguments, plain: bool) -> Result<(), Exit> {
    let project = load_as(arguments, plain)?;
    print(&format!(
        "{}: {} images, {} cells, no mistakes\n",
        arguments.file.display(),
        project.manifest.images.len(),
        project.matrix.cells.len()
    ))
}

/// `railyard schema`.
pub fn schema() -> Result<(), Exit> {
    let schema = crate::manifest::json_schema();
    let text = serde_json::to_string_pretty(&schema).expect("a JSON value is printable");
    print(&format!("{text}\n"))
}

/// `railyard plan`.
pub fn plan(arguments: &ProjectArguments, offline: bool, format: PlanFormat) -> Result<(), Exit> {
    let project = load(arguments)?;
    let layouts = layouts(&project)?;
    let created = super::settings::created()?;
    let inputs = Inputs {
        lock: &project.lock,
        layouts: &layouts,
        created: created.as_deref(),
        delivery: Delivery { push: true, load: false, checks: true },
    };
    let plan = crate::plan::plan(&project.matrix, &project.chosen, inputs);
    let store = store(arguments)?;
    let known = match &store {
        Some(store) if !offline => known(store, &plan, &project.lock)?,
        _ => Known::default(),
    };
    let actions = Actions::decide(&plan, &known);
    let estimate = estimate(&project, store.as_ref(), &plan, &actions)?;
    let document = PlanDocument::new(&project.matrix, &plan, &actions, estimate);
    let text = match format {
        PlanFormat::Table => report::table(&document),
        PlanFormat::Json => {
            let text = serde_json::to_string_pretty(&document).expect("plans have string keys");
            format!("{text}\n")
        }
        PlanFormat::Dot => report::dot(&document),
        PlanFormat::Mermaid => report::mermaid(&document),
    };
    print(&text)
}

/// The local store, where there is one.
pub fn store(arguments: &ProjectArguments) -> Result<Option<Store>, Exit> {
    let path = store_path(arguments)?;
    if !path.join("store.sqlite").exists() {
        return Ok(None);
    }
    Store::open(&path).map(Some).map_err(|e| failed(&e))
}

fn failed(error: &StoreError) -> Exit {
    Exit::Environment(format!("error: {error}"))
}

/// What the run of a plan will cost, by what the store remembers.
fn estimate(
    project: &Project,
    store: Option<&Store>,
    plan: &Plan,
    actions: &Actions,
) -> Result<Estimate, Exit> {
    let matrix = &project.matrix;
    let durations = match store {
        Some(store) => {
            let wanted = Wanted::of(matrix, plan, actions);
            let found = run::measured(store, &matrix.project, &wanted).map_err(|e| failed(&e))?;
            Durations::new(matrix, plan, actions, &found)
        }
        None => Durations::default(),
    };
    Ok(Estimate::new(matrix, plan, actions, super::build::limits(project, None), &durations))
}

/// Keys whose results the store holds.
fn known(store: &Store, plan: &Plan, lock: &Lock) -> Result<Known, Exit> {
    let mut known = Known::default();
    for (_, step) in plan.steps().filter(|(_, step)| !step.provisional) {
        let record = store.record(&step.key).map_err(|e| failed(&e))?;
        let files = matches!(step.kind, StepKind::Index(_));
        let listed = match &step.kind {
            StepKind::Index(source) | StepKind::Resolve(source) => {
                run::listed(source, lock, store, files).map_err(|e| Exit::steps(&[e]))?
            }
            _ => false,
        };
        if listed || record.is_some() {
            known.0.insert(step.key);
        }
    }
    Ok(known)
}

/// Digests of the images in OCI layouts that the chosen cells use.
pub fn layouts(project: &Project) -> Result<BTreeMap<String, Digest>, Exit> {
    let external = run::External::of(&project.matrix, &project.chosen);
    run::pin_layouts(&external, &project.matrix.platform).map_err(|errors| Exit::steps(&errors))
}
