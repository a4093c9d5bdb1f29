//! `check`, `schema` and `plan`: nothing is built.

use std::collections::BTreeMap;

use super::exit::{Exit, print};
use super::load::{Project, load, load_as, warn};
use super::settings::store_path;
use super::{PlanFormat, ProjectArguments};
use crate::oci::Digest;
use crate::plan::{Actions, Delivery, Inputs, Known, PlanDocument};
use crate::store::Store;
use crate::{report, run};

/// `railyard check`.
pub fn check(arguments: &ProjectArguments, plain: bool) -> Result<(), Exit> {
    let project = load_as(arguments, plain)?;
    warn(&project);
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
    warn(&project);
    let layouts = layouts(&project)?;
    let created = super::settings::created()?;
    let inputs = Inputs {
        lock: &project.lock,
        layouts: &layouts,
        created: created.as_deref(),
        delivery: Delivery { push: true, load: false, checks: true },
    };
    let plan = crate::plan::plan(&project.matrix, &project.chosen, inputs);
    let known = if offline { Known::default() } else { known(arguments, &plan)? };
    let actions = Actions::decide(&plan, &known);
    let document = PlanDocument::new(&project.matrix, &plan, &actions);
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

/// Keys whose results the local store holds.
fn known(arguments: &ProjectArguments, plan: &crate::plan::Plan) -> Result<Known, Exit> {
    let path = store_path(arguments)?;
    if !path.join("store.sqlite").exists() {
        return Ok(Known::default());
    }
    let store = Store::open(&path).map_err(|e| Exit::Environment(format!("error: {e}")))?;
    let mut known = Known::default();
    for (_, step) in plan.steps().filter(|(_, step)| !step.provisional) {
        let record = store.record(&step.key).map_err(|e| Exit::Environment(format!("error: {e}")))?;
        if record.is_some() {
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
