//! What a run leaves: `--output`, `--report`, the closing words.

use std::path::PathBuf;

use crate::cli::BuildArguments;
use crate::cli::exit::{Exit, first_of, print, say};
use crate::cli::world::World;
use crate::event::{CellOutcome, Summary};
use crate::matrix::CellId;
use crate::oci::Reference;
use crate::plan::Estimate;
use crate::report;
use crate::run::{RunEnd, StepError, Worker, write_docker_archive, write_layout};
use crate::store::ImageRecord;

/// Where `--output` writes.
pub(super) enum Output {
    Layout(PathBuf),
    Archive(PathBuf),
}

/// Where `--report` writes.
pub(super) enum Report {
    Json(PathBuf),
    Junit(PathBuf),
}

pub(super) fn outputs(arguments: &BuildArguments) -> Result<Vec<Output>, Exit> {
    let parse = |text: &String| match text.split_once(':') {
        Some(("oci", path)) if !path.is_empty() => Ok(Output::Layout(path.into())),
        Some(("docker-archive", path)) if !path.is_empty() => Ok(Output::Archive(path.into())),
        _ => Err(Exit::Usage(format!(
            "error: `--output {text}` is neither `oci:DIR` nor `docker-archive:FILE`"
        ))),
    };
    arguments.output.iter().map(parse).collect()
}

pub(super) fn reports(arguments: &BuildArguments) -> Result<Vec<Report>, Exit> {
    let parse = |text: &String| match text.split_once(':') {
        Some(("json", path)) if !path.is_empty() => Ok(Report::Json(path.into())),
        Some(("junit", path)) if !path.is_empty() => Ok(Report::Junit(path.into())),
        _ => Err(Exit::Usage(format!("error: `--report {text}` is neither `json:FILE` nor `junit:FILE`"))),
    };
    arguments.report.iter().map(parse).collect()
}

/// Writes `--output`s out of the store.
pub(super) async fn deliver(
    worker: &Worker,
    world: &World,
    plan: &crate::plan::Plan,
    outputs: &[Output],
    end: &RunEnd,
) -> Result<(), Exit> {
    if outputs.is_empty() || end.summary.interrupted {
        return Ok(());
    }
    let good: Vec<&str> = end
        .summary
        .cells
        .iter()
        .filter(|c| matches!(c.outcome, CellOutcome::Built | CellOutcome::Current))
        .map(|c| c.cell.as_str())
        .collect();
    let images: Vec<(ImageRecord, Vec<Reference>)> = plan
        .cells
        .iter()
        .flatten()
        .filter(|c| c.chosen)
        .filter_map(|c| worker.deliverable(CellId(c.cell.0)))
        .filter(|(name, ..)| good.contains(&name.as_str()))
        .map(|(_, image, references)| (image, references))
        .collect();
    let progress = crate::run::silent();
    for layer in images.iter().flat_map(|(image, _)| &image.layers) {
        let ensured = world.blobs.ensure(layer, &progress).await;
        worker.dropped_blobs().iter().for_each(|notice| say(&format!("note: {notice}")));
        ensured.map_err(|e| Exit::steps(&[e]))?;
    }
    for output in outputs {
        let result = match output {
            Output::Layout(path) => write_layout(&world.store, path, &images),
            Output::Archive(path) => write_docker_archive(&world.store, path, &images),
        };
        result.map_err(|e: StepError| Exit::steps(&[e]))?;
    }
    Ok(())
}

/// Writes `--report`s.
pub(super) fn write_reports(reports: &[Report], summary: &Summary) -> Result<(), Exit> {
    first_of(reports.iter().map(|report| {
        let (path, text) = match report {
            Report::Json(path) => {
                (path, serde_json::to_string_pretty(summary).expect("summaries have string keys"))
            }
            Report::Junit(path) => (path, report::junit(summary)),
        };
        std::fs::write(path, text)
            .map_err(|e| Exit::Environment(format!("error: failed to write `{}`: {e}", path.display())))
    }))
}

/// Says how the run ended; the code tells it even where nobody reads.
pub(super) fn conclude(
    build: &BuildArguments,
    outputs: &[Output],
    end: &RunEnd,
    estimate: &Estimate,
) -> Result<(), Exit> {
    let summary = &end.summary;
    let text = report::summary(summary) + &report::against_estimate(summary, estimate);
    let printed = print(&text);
    let failures = report::failures(&summary.failures);
    if !failures.is_empty() {
        say(failures.trim_end());
    }
    if !build.push && !build.load && outputs.is_empty() {
        say("the images stay in railyard's store; give --push, --load or --output to deliver them");
    }
    first_of([verdict(end), printed])
}

fn verdict(end: &RunEnd) -> Result<(), Exit> {
    let summary = &end.summary;
    if summary.interrupted {
        return Err(Exit::Interrupted);
    }
    if summary.failures.is_empty() {
        return Ok(());
    }
    if end.environment { Err(Exit::Environment(environment_words(summary))) } else { Err(Exit::Failed) }
}

fn environment_words(summary: &Summary) -> String {
    let failed = summary.count(CellOutcome::Failed);
    let images = summary.mirrors.iter().filter(|image| image.outcome == "failed").count();
    let images = if images > 0 { format!(" and {images} mirrored images") } else { String::new() };
    format!(
        "{failed} cells{images} failed because of the environment; run again once it is mended, nothing is lost"
    )
}
