//! `--plan`: a plan that was kept, held to its inputs.

use std::collections::BTreeMap;
use std::path::Path;

use crate::cli::exit::Exit;
use crate::cli::load::Project;
use crate::cli::{ProjectArguments, mirrors};
use crate::mirror::MirrorImage;
use crate::oci::Digest;
use crate::plan::{Plan, Planned};
use crate::run::External;

/// Reads a plan that was kept, and chooses its cells.
pub(super) fn planned(
    path: &Path,
    arguments: &ProjectArguments,
    project: &mut Project,
) -> Result<Planned, Exit> {
    let name = path.display();
    if !arguments.only.is_empty() {
        return Err(Exit::Usage("error: --only does not go with --plan: the plan says which cells".into()));
    }
    let text = std::fs::read_to_string(path)
        .map_err(|e| Exit::Usage(format!("error: failed to read the plan `{name}`: {e}")))?;
    let planned = Planned::parse(&text).map_err(|e| {
        Exit::Usage(format!(
            "error: the plan `{name}` cannot be used: {e}\n  help: make it with `railyard plan --out {name}`"
        ))
    })?;
    let chosen = planned.chosen();
    project.chosen = project.matrix.cells.iter().map(|cell| chosen.contains(cell.name.as_str())).collect();
    if !planned.mirrors() {
        project.mirrors.clear();
    }
    Ok(planned)
}

/// Refuses steps that take what the lock does not pin, whatever [`External::missing`] says of it: their results
/// would be those of another time.
pub(super) fn refuse_open(project: &Project, plan: &Plan) -> Result<(), Exit> {
    let open: Vec<String> = plan
        .steps()
        .filter(|(id, step)| {
            // What is made of such a step is open only for its sake.
            step.provisional && !plan.needs(*id).iter().any(|need| plan.step(*need).provisional)
        })
        .map(|(_, step)| format!("`{}`", step.label))
        .collect();
    if open.is_empty() {
        return Ok(());
    }
    Err(Exit::Usage(format!(
        "error: --locked: the lock `{}` does not pin all that is taken by {}\n  help: run `railyard build` or `railyard update` without --locked, and commit the lock",
        project.lock_path.display(),
        open.join(", ")
    )))
}

/// Refuses a plan whose inputs are others now.
pub(super) fn refuse_drift(
    planned: &Planned,
    project: &Project,
    plan: &Plan,
    layouts: &BTreeMap<String, Digest>,
    created: Option<&str>,
    mirrored: &[MirrorImage],
) -> Result<(), Exit> {
    let mut inputs = External::of(&project.matrix, &project.chosen).document(&project.lock, layouts, created);
    // Without --push nothing is mirrored, whatever was planned.
    if !mirrored.is_empty() || !planned.mirrors() {
        inputs.mirrors = mirrors::inputs(mirrored);
    } else {
        inputs.mirrors = mirrors::inputs(&mirrors::of(project)?);
    }
    let drift = planned.drift(&project.matrix, plan, &inputs);
    if drift.is_empty() {
        return Ok(());
    }
    Err(Exit::Usage(format!(
        "error: --plan: what was planned is not what would be built now\n  {}\n  help: look at a new plan (`railyard plan --out …`), or restore the inputs; nothing was built",
        drift.join("\n  ")
    )))
}
