//! `status` and `explain`: how cells stand, and why.

use super::exit::{Exit, first_of, print};
use super::prepared::{Preparation, Prepared, prepare};
use super::{DocumentFormat, ProjectArguments};
use crate::manifest::nearest;
use crate::plan::{Ingredients, Status};
use crate::report::{self, CellExplained, LayerExplained, StatusCell, StatusDocument};
use crate::store::Record;

/// `railyard status`.
pub fn status(arguments: &ProjectArguments, format: DocumentFormat, exit_code: bool) -> Result<(), Exit> {
    let whole = arguments.only.is_empty();
    let prepared = prepare(arguments, &Preparation { orphans: whole, ..Preparation::default() })?;
    let document = document(&prepared);
    let printed = match format {
        DocumentFormat::Table => print(&report::status(&document)),
        DocumentFormat::Json => print(&json(&document)),
    };
    let current = document.cells.iter().all(|cell| cell.status == Status::Current);
    let is_good = !exit_code || current && document.orphaned.is_empty();
    first_of([if is_good { Ok(()) } else { Err(Exit::Failed) }, printed])
}

fn json<T: serde::Serialize>(document: &T) -> String {
    format!("{}\n", serde_json::to_string_pretty(document).expect("documents have string keys"))
}

fn document(prepared: &Prepared) -> StatusDocument {
    let matrix = &prepared.project.matrix;
    let cells = prepared.plan.cells.iter().flatten().filter(|cell| cell.chosen).filter_map(|steps| {
        let view = prepared.view.cells.get(steps.cell.0)?.as_ref()?;
        let cell = &matrix.cells[steps.cell.0];
        Some(StatusCell {
            cell: cell.name.clone(),
            image: cell.image.to_string(),
            status: view.status,
            digest: view.expected,
            tags: view.tags.clone(),
            reasons: view.reasons.clone(),
        })
    });
    let orphaned = prepared.orphans.iter().map(|orphan| report::StatusOrphan {
        reference: orphan.reference.clone(),
        digest: orphan.digest,
        cell: orphan.cell.clone(),
    });
    StatusDocument { project: matrix.project.clone(), cells: cells.collect(), orphaned: orphaned.collect() }
}

/// `railyard explain`.
pub fn explain(
    arguments: &ProjectArguments,
    cell: &str,
    offline: bool,
    format: DocumentFormat,
) -> Result<(), Exit> {
    let prepared = prepare(arguments, &Preparation { offline, ..Preparation::default() })?;
    let matrix = &prepared.project.matrix;
    let planned = || prepared.plan.cells.iter().flatten();
    let found = planned().find(|steps| matrix.cells[steps.cell.0].name == cell).or_else(|| {
        // One tag says as much as a cell's name.
        planned().find(|steps| {
            let found = &matrix.cells[steps.cell.0];
            let tag = cell.rsplit_once(':').map_or(cell, |(_, tag)| tag);
            let made =
                found.stamped.iter().filter_map(|stamped| Some(stamped.at(stamped.timestamp_of(tag)?)));
            let mut references = found.shown_references().chain(made);
            references.any(|r| r.tag.as_deref() == Some(cell) || r.to_string() == cell)
        })
    });
    let Some(steps) = found else {
        let names = planned().map(|steps| matrix.cells[steps.cell.0].name.as_str());
        let hint =
            nearest(cell, names).map(|name| format!("\n  help: did you mean `{name}`?")).unwrap_or_default();
        return Err(Exit::Usage(format!("error: there is no cell `{cell}`{hint}")));
    };
    let ingredients = Ingredients::of(matrix, &prepared.plan, &prepared.inputs(), steps);
    // What a Dockerfile makes is shown as one layer.
    let artifacts = steps.artifacts.iter().chain(&steps.dockerfile);
    let places = steps.places.iter().chain(&steps.dockerfile);
    let layers = ingredients.layers.iter().zip(artifacts).zip(places).map(|((layer, artifact), place)| {
        let (blob, size) = match prepared.record(*place).or_else(|| prepared.record(*artifact)) {
            Some(Record::Layer(record)) => record.blob.map(|blob| (blob.digest, blob.size)).unzip(),
            Some(Record::Image(image)) => (None, Some(image.layers.iter().map(|blob| blob.size).sum())),
            _ => (None, None),
        };
        let sharers = planned().filter(|other| {
            other.chosen && (other.artifacts.contains(artifact) || other.dockerfile == Some(*artifact))
        });
        LayerExplained {
            layer: layer.clone(),
            blob,
            size,
            shared_by: sharers
                .map(|other| matrix.cells[other.cell.0].name.clone())
                .filter(|name| *name != ingredients.cell)
                .collect(),
        }
    });
    let view = prepared.view.cells.get(steps.cell.0).and_then(Option::as_ref);
    let document = CellExplained {
        layers: layers.collect(),
        status: view.map(|view| view.status),
        digest: view.and_then(|view| view.expected),
        tags: view.map(|view| view.tags.clone()).unwrap_or_default(),
        reasons: view.map(|view| view.reasons.clone()).unwrap_or_default(),
        references: matrix.cells[steps.cell.0].shown_references().map(|r| r.to_string()).collect(),
        checks: matrix.cells[steps.cell.0].checks.iter().map(|check| check.name.clone()).collect(),
        ingredients,
    };
    match format {
        DocumentFormat::Table => print(&report::explained(&document)),
        DocumentFormat::Json => print(&json(&document)),
    }
}
