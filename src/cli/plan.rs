//! `check`, `schema` and `plan`: nothing is built.

use std::path::Path;

use super::exit::{Exit, print, say};
use super::load::{load_as, warn};
use super::prepared::{Preparation, prepare};
use super::{PlanArguments, PlanFormat, ProjectArguments, needed};
use crate::plan::PlanDocument;
use crate::report;

/// `railyard check`.
pub fn check(arguments: &ProjectArguments, plain: bool) -> Result<(), Exit> {
    let project = load_as(arguments, plain)?;
    super::mirrors::of(&project)?;
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
pub fn plan(arguments: &ProjectArguments, options: &PlanArguments) -> Result<(), Exit> {
    let parse =
        |text: &String| text.parse().map_err(|e: String| Exit::Usage(format!("error: --if {text}: {e}")));
    let preparation = Preparation {
        offline: options.offline,
        orphans: false,
        mirrors: true,
        force: options.force.clone(),
        suppositions: options.suppositions.iter().map(parse).collect::<Result<_, _>>()?,
    };
    let prepared = prepare(arguments, &preparation)?;
    warn(&prepared.project);
    // Offline it is not known which steps will run.
    let notes =
        (!options.offline).then(|| needed::notes(&prepared.project, &prepared.plan, &prepared.actions));
    for note in notes.into_iter().flatten() {
        say(&note);
    }
    let document = prepared.document()?;
    if let Some(path) = &options.out {
        keep(path, &document)?;
    }
    match options.format {
        PlanFormat::Table => print(&report::table(&document)),
        PlanFormat::Json => print(&json(&document)),
        PlanFormat::Dot => print(&report::dot(&document)),
        PlanFormat::Mermaid => print(&report::mermaid(&document)),
        PlanFormat::Html => print(&report::html(&document)),
    }
}

fn json(document: &PlanDocument) -> String {
    let text = serde_json::to_string_pretty(document).expect("plans have string keys");
    format!("{text}\n")
}

fn keep(path: &Path, document: &PlanDocument) -> Result<(), Exit> {
    std::fs::write(path, json(document))
        .map_err(|e| Exit::Environment(format!("error: failed to write `{}`: {e}", path.display())))?;
    say(&format!("plan kept in `{0}`; build it with `railyard build --plan {0}`", path.display()));
    Ok(())
}
