//! `export`: the matrix for other programs.

mod carried;
mod dockerfiles;
mod written;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use self::carried::texts;
use self::dockerfiles::docker;
use self::written::single;
use super::ProjectArguments;
use super::exit::{Exit, say};
use super::load::{Project, load, variables};
use crate::export::{HarnessSettings, JobsError, github_actions, harness_pipeline, jobs};
use crate::matrix::CellId;

/// What is exported.
#[derive(Debug, Subcommand)]
pub enum ExportTarget {
    /// A Dockerfile that makes the same image, for each cell.
    Dockerfile(DockerfileOptions),
    /// docker-bake.json with a target for each cell, over one Dockerfile with shared stages.
    Bake(DockerfileOptions),
    /// A Harness CI pipeline that builds the cells, a job for each value of an axis.
    HarnessPipeline {
        #[command(flatten)]
        jobs: JobOptions,
        /// Clone the codebase and use its manifest, instead of carrying the manifest along.
        #[arg(long)]
        codebase: bool,
    },
    /// A GitHub Actions workflow that builds the cells, a job for each value of an axis.
    GithubActions {
        #[command(flatten)]
        jobs: JobOptions,
    },
}

/// Options of Dockerfiles.
#[derive(Debug, Args)]
pub struct DockerfileOptions {
    /// Only these cells: a cell's name, one of its tags, an image's name, or a glob for cells.
    cells: Vec<String>,
    /// The directory to write to; a single Dockerfile without files goes to standard output otherwise.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Copy with `--link`, which needs a frontend of 2022 or later.
    #[arg(long)]
    link: bool,
    /// Write over files that are not an earlier export's.
    #[arg(long)]
    force: bool,
}

/// Options of pipelines.
#[derive(Debug, Args)]
pub struct JobOptions {
    /// The axis that jobs are divided by; may be given several times. The one with the most values
    /// that most cells have unless given.
    #[arg(long = "axis", value_name = "AXIS")]
    axes: Vec<String>,
    /// Jobs at a time.
    #[arg(long, value_name = "N", default_value_t = 4)]
    concurrency: u64,
    /// The file to write to instead of standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write over a file that is not an earlier export.
    #[arg(long)]
    force: bool,
}

/// `railyard export`.
pub fn export(arguments: &ProjectArguments, target: &ExportTarget) -> Result<(), Exit> {
    match target {
        ExportTarget::Dockerfile(options) => docker(arguments, options, false),
        ExportTarget::Bake(options) => docker(arguments, options, true),
        ExportTarget::HarnessPipeline { jobs, codebase } => {
            let project = load(arguments)?;
            let divided = divided(&project, jobs, arguments)?;
            let sources = if *codebase { None } else { Some(texts(&project, arguments)?) };
            let manifest = match &sources {
                Some(sources) => sources.files[0].0.clone(),
                None => arguments.file.display().to_string(),
            };
            let settings = HarnessSettings { concurrency: jobs.concurrency, sources, manifest };
            single(jobs.out.as_deref(), jobs.force, &harness_pipeline(&divided, &settings))
        }
        ExportTarget::GithubActions { jobs } => {
            let project = load(arguments)?;
            let manifest = arguments.file.display().to_string();
            let divided = divided(&project, jobs, arguments)?;
            let text = github_actions(&divided, &manifest, jobs.concurrency).map_err(|e| undivided(&e))?;
            single(jobs.out.as_deref(), jobs.force, &text)
        }
    }
}

/// The chosen cells, of which `names` narrow the choice.
fn chosen(project: &Project, names: &[String]) -> Result<Vec<CellId>, Exit> {
    let matrix = &project.matrix;
    let all: Vec<CellId> = (0..matrix.cells.len()).filter(|at| project.chosen[*at]).map(CellId).collect();
    if names.is_empty() {
        return Ok(all);
    }
    let mut found = Vec::new();
    for name in names {
        let glob = globset::Glob::new(&globset::escape(name).replace("[*]", "*").replace("[?]", "?"))
            .map_err(|e| Exit::Usage(format!("error: `{name}` is not a glob: {}", e.kind())))?
            .compile_matcher();
        let fits = |id: &&CellId| {
            let cell = &matrix.cells[id.0];
            let tagged = || cell.references.iter().any(|reference| reference.to_string() == *name);
            *cell.image == **name || glob.is_match(&cell.name) || tagged()
        };
        let before = found.len();
        found.extend(all.iter().filter(fits).copied());
        if found.len() == before {
            return Err(Exit::Usage(format!(
                "error: no cell is named `{name}`\n  help: `railyard plan --offline` lists the cells"
            )));
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn divided(
    project: &Project,
    options: &JobOptions,
    arguments: &ProjectArguments,
) -> Result<crate::export::Jobs, Exit> {
    let cells = chosen(project, &[])?;
    let set = variables(arguments)?;
    if !set.is_empty() {
        let names: Vec<String> = set.keys().map(|name| format!("`{name}`")).collect();
        say(&format!(
            "note: values from outside may be secret and stay out of the pipeline, where the manifest's are the defaults: {}",
            names.join(", ")
        ));
    }
    jobs(&project.manifest, &project.matrix, &cells, &options.axes).map_err(|error| undivided(&error))
}

fn undivided(error: &JobsError) -> Exit {
    let help = match error {
        JobsError::UnknownAxis(_) => "name an axis of the images that are chosen",
        JobsError::ReservedAxis(_) | JobsError::Value(..) => "divide by another axis with --axis",
        JobsError::Choice { .. } => "choose whole images, or by the axes that the jobs are divided by",
        JobsError::TooMany { .. } => {
            "divide by fewer axes with --axis, or export several workflows, each with its --only"
        }
    };
    Exit::Usage(format!("error: {error}\n  help: {help}"))
}
