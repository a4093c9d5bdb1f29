//! `export`: the matrix for other programs.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use clap::{Args, Subcommand};

use super::ProjectArguments;
use super::exit::{Exit, print, say};
use super::interrupt::interruptible;
use super::load::{Project, load, open, variables};
use super::world::{LockUse, World, complete_lock, runtime, world};
use super::{build, versions};
use crate::dockerfile::{Context, ContextKind};
use crate::export::{
    Exported, ExportedFile, HarnessSettings, Inputs, JobsError, Problem, Sources, bake, bases_with_users,
    dockerfiles, github_actions, harness_pipeline, jobs,
};
use crate::matrix::CellId;
use crate::oci::Reference;
use crate::plan::UsedSource;
use crate::run::External;

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

/// What an export begins with.
const MARK: &str = "# Written by railyard";

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
            single(jobs, harness_pipeline(&divided, &settings))
        }
        ExportTarget::GithubActions { jobs } => {
            let project = load(arguments)?;
            let manifest = arguments.file.display().to_string();
            single(jobs, github_actions(&divided(&project, jobs, arguments)?, &manifest, jobs.concurrency))
        }
    }
}

fn docker(arguments: &ProjectArguments, options: &DockerfileOptions, is_bake: bool) -> Result<(), Exit> {
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        let mut loaded = open(arguments)?;
        versions::borrow(&mut loaded).await?;
        let mut project = loaded.expand()?;
        let cells = chosen(&project, &options.cells)?;
        let mut marks = vec![false; project.matrix.cells.len()];
        cells.iter().for_each(|id| marks[id.0] = true);
        project.chosen = marks;
        let world = world(arguments, &project.manifest)?;
        let transfers = build::limits(&project, None).transfers;
        complete_lock(&mut project, &world, LockUse::Borrow, transfers).await?;
        let users = interruptible(users(&project, &world, &cells)).await?;
        Ok((project, cells, users))
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    let (project, cells, users) = result?;
    let inputs = Inputs { lock: &project.lock, users: &users, link: options.link };
    let exported = match is_bake {
        true => bake(&project.matrix, &cells, inputs),
        false => dockerfiles(&project.matrix, &cells, inputs),
    };
    let Exported { files, notes } = exported.map_err(|problems| refused(&problems))?;
    notes.iter().for_each(|note| say(&format!("note: {note}")));
    let Some(out) = &options.out else {
        if let ([file], false) = (files.as_slice(), is_bake) {
            return print(&file.content);
        }
        return Err(Exit::Usage(format!(
            "error: the export has {} files\n  help: say where with --out DIR, or choose one cell that needs no files",
            files.len()
        )));
    };
    write(out, &files, options.force)?;
    let command = match is_bake {
        true => format!("docker buildx bake --file {0}/docker-bake.json, run in {0}", out.display()),
        false => format!("docker build {}", out.display()),
    };
    say(&format!("{} files written to `{}`; build them with {command}", files.len(), out.display()));
    Ok(())
}

fn refused(problems: &[Problem]) -> Exit {
    let lines: Vec<String> = problems.iter().map(|problem| format!("error: {problem}")).collect();
    Exit::Usage(format!("{}\n  help: leave these cells out with --only", lines.join("\n")))
}

/// The users of bases that setup steps leave and come back to.
async fn users(
    project: &Project,
    world: &World,
    cells: &[CellId],
) -> Result<BTreeMap<Reference, String>, Exit> {
    let mut users = BTreeMap::new();
    for reference in bases_with_users(&project.matrix, cells) {
        let pinned = project.lock.image(&reference, &project.matrix.platform).map(|image| image.digest);
        let image = world.images.resolve(&UsedSource::Reference(reference.clone()), pinned).await;
        let image = image.map_err(|e| Exit::steps(&[e]))?;
        users.insert(reference, image.config.config.user.clone().unwrap_or_default());
    }
    Ok(users)
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
    jobs(&project.manifest, &project.matrix, &cells, &options.axes, &variables(arguments)?).map_err(|error| {
        let help = match error {
            JobsError::UnknownAxis(_) => "name an axis of the images that are chosen",
            JobsError::ReservedAxis(_) | JobsError::Value(..) => "divide by another axis with --axis",
            JobsError::Choice { .. } => "choose whole images, or by the axes that the jobs are divided by",
        };
        Exit::Usage(format!("error: {error}\n  help: {help}"))
    })
}

/// The manifest with its imports, and the lock where there is one.
fn texts(project: &Project, arguments: &ProjectArguments) -> Result<Sources, Exit> {
    let external = External::of(&project.matrix, &project.chosen);
    let beside =
        external.files.iter().cloned().chain(external.layouts.iter().map(|dir| format!("oci:{dir}")));
    let beside: Vec<String> = beside.map(|name| format!("`{name}`")).collect();
    if !beside.is_empty() {
        return Err(Exit::Usage(format!(
            "error: the cells use {}, which a pipeline cannot carry along\n  help: export with --codebase",
            beside.join(", ")
        )));
    }
    let base = arguments.file.parent().unwrap_or(Path::new(""));
    let mut sources = Sources::default();
    let read = &project.manifest.sources;
    for (name, text) in read.ids().map(|id| (read.name(id), read.text(id))) {
        let path = Path::new(name).strip_prefix(base).unwrap_or(Path::new(name));
        let below = path.components().all(|part| matches!(part, Component::Normal(_)));
        if !below || name.contains('\'') {
            return Err(Exit::Usage(format!(
                "error: `{name}` lies outside the manifest's directory, so the pipeline cannot carry it along\n  \
                 help: export with --codebase"
            )));
        }
        sources.files.push((path.display().to_string(), text.to_owned()));
    }
    for made in &project.matrix.dockerfiles {
        let Some(recipe) = &made.recipe else { continue };
        for (name, text) in context_texts(&made.spec.context, &recipe.context)? {
            if !sources.files.iter().any(|(known, _)| *known == name) {
                sources.files.push((name, text));
            }
        }
    }
    if let Ok(text) = std::fs::read_to_string(&project.lock_path) {
        let beside = arguments.file.with_file_name("builds.lock");
        let name = beside.strip_prefix(base).unwrap_or(&beside).display().to_string();
        sources.files.push((name, text));
    }
    Ok(sources)
}

/// The files of a Dockerfile's context, as far as they are texts that a pipeline can write again.
fn context_texts(directory: &str, context: &Context) -> Result<Vec<(String, String)>, Exit> {
    let mut files = Vec::new();
    let ignored = context.root.join(".dockerignore");
    if let Ok(text) = std::fs::read_to_string(&ignored) {
        files.push((format!("{directory}/.dockerignore"), text));
    }
    for entry in &context.entries {
        let name = format!("{directory}/{}", entry.path);
        let text = match &entry.kind {
            ContextKind::Directory if entry.mode == 0o755 => continue,
            ContextKind::File { .. } => std::fs::read_to_string(context.root.join(&entry.path)).ok(),
            ContextKind::Directory | ContextKind::Link(_) => None,
        };
        // Scripts are made executable again, other files are not.
        let mode = |text: &String| if text.starts_with("#!") { 0o755 } else { 0o644 };
        let whole = |text: &String| text.ends_with('\n') && !text.ends_with("\n\n") && !name.contains('\'');
        match text.filter(|text| entry.mode == mode(text) && whole(text)) {
            Some(text) => files.push((name, text)),
            None => {
                return Err(Exit::Usage(format!(
                    "error: `{name}` is no plain text or script, so the pipeline cannot carry it along\n  \
                     help: export with --codebase"
                )));
            }
        }
    }
    Ok(files)
}

fn single(options: &JobOptions, text: String) -> Result<(), Exit> {
    let Some(path) = &options.out else { return print(&text) };
    let old = std::fs::read_to_string(path);
    if old.is_ok_and(|old| !old.starts_with(MARK)) && !options.force {
        return Err(Exit::Usage(format!(
            "error: `{}` is there and is no earlier export\n  help: write elsewhere, or over it with --force",
            path.display()
        )));
    }
    put(path, &text, 0o644)?;
    say(&format!("written to `{}`", path.display()));
    Ok(())
}

/// Writes the files of an export; over others only where they are an earlier export's.
fn write(out: &Path, files: &[ExportedFile], force: bool) -> Result<(), Exit> {
    let read = |file: &ExportedFile| std::fs::read(out.join(&file.path)).ok();
    let earlier = files.iter().any(|file| read(file).is_some_and(|old| old.starts_with(MARK.as_bytes())));
    if !force && !earlier {
        let other = |file: &&ExportedFile| read(file).is_some_and(|old| old != file.content.as_bytes());
        if let Some(file) = files.iter().find(other) {
            return Err(Exit::Usage(format!(
                "error: `{}` is there and is no earlier export\n  help: choose another directory, or write over it with --force",
                out.join(&file.path).display()
            )));
        }
    }
    files.iter().try_for_each(|file| put(&out.join(&file.path), &file.content, file.mode))
}

fn put(path: &Path, text: &str, mode: u32) -> Result<(), Exit> {
    use std::os::unix::fs::PermissionsExt;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let made = parent.map_or(Ok(()), std::fs::create_dir_all);
    made.and_then(|()| std::fs::write(path, text))
        .and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)))
        .map_err(|e| Exit::Environment(format!("error: failed to write `{}`: {e}", path.display())))
}
