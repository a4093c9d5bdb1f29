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
use crate::dockerfile::ContextKind;
use crate::export::{
    Exported, ExportedFile, HarnessSettings, Inputs, JobsError, Problem, Sources, bake, bases_with_users,
    dockerfiles, github_actions, harness_pipeline, jobs,
};
use crate::matrix::{CellId, Recipe};
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
            let divided = divided(&project, jobs, arguments)?;
            single(jobs, github_actions(&divided, &manifest, jobs.concurrency).map_err(|e| undivided(&e))?)
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
        sources.files.push((carried(path)?, text.to_owned()));
    }
    for made in &project.matrix.dockerfiles {
        let Some(recipe) = &made.recipe else { continue };
        for (name, text) in context_texts(&made.spec.context, recipe)? {
            if !sources.files.iter().any(|(known, _)| *known == name) {
                sources.files.push((name, text));
            }
        }
    }
    if let Ok(text) = std::fs::read_to_string(&project.lock_path) {
        let beside = arguments.file.with_file_name("builds.lock");
        let name = carried(beside.strip_prefix(base).unwrap_or(&beside))?;
        // A context may have it too.
        let (same, other) = sources.files.into_iter().partition(|(known, _)| *known == name);
        sources.files = other;
        let same: Vec<(String, String)> = same;
        if same.iter().any(|(_, known)| *known != text) {
            return Err(not_carried(&name, "is part of a context, and another lock is given"));
        }
        sources.files.push((name, text));
    }
    Ok(sources)
}

/// A path below the manifest's directory as the pipeline writes it, without `.`.
fn carried(path: &Path) -> Result<String, Exit> {
    let mut name = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => name.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                let why = "lies outside the manifest's directory or is reached over `..`";
                return Err(not_carried(&path.display().to_string(), why));
            }
        }
    }
    let name = name.display().to_string();
    match name.contains(|c: char| c == '\'' || c.is_control()) {
        true => Err(not_carried(&name, "has a quote or a control character in its name")),
        false => Ok(name),
    }
}

fn not_carried(name: &str, why: &str) -> Exit {
    Exit::Usage(format!(
        "error: `{name}` {why}, so the pipeline cannot carry it along\n  help: export with --codebase"
    ))
}

/// The files of a Dockerfile's context, as far as they are texts that a pipeline can write again.
fn context_texts(directory: &str, recipe: &Recipe) -> Result<Vec<(String, String)>, Exit> {
    let (context, directory) = (&recipe.context, Path::new(directory));
    let mut files = Vec::new();
    if let Some(path) = &recipe.ignore {
        let text = std::fs::read_to_string(path)
            .map_err(|e| Exit::Environment(format!("error: failed to read `{}`: {e}", path.display())))?;
        let name = path.strip_prefix(&context.root).map_or(path.clone(), |below| directory.join(below));
        files.push((carried(&name)?, text));
    }
    for (at, entry) in context.entries.iter().enumerate() {
        let name = carried(&directory.join(&entry.path))?;
        // Directories are made for what is in them.
        let below = context.entries.get(at + 1).and_then(|next| next.path.strip_prefix(&entry.path));
        let text = match &entry.kind {
            ContextKind::Directory if entry.mode == 0o755 && below.is_some_and(|b| b.starts_with('/')) => {
                continue;
            }
            ContextKind::File { .. } => std::fs::read_to_string(context.root.join(&entry.path)).ok(),
            ContextKind::Directory | ContextKind::Link(_) => None,
        };
        // Scripts are made executable again, other files are not.
        let mode = |text: &String| if text.starts_with("#!") { 0o755 } else { 0o644 };
        let whole = |text: &String| text.ends_with('\n') && !text.ends_with("\n\n");
        match text.filter(|text| entry.mode == mode(text) && whole(text)) {
            Some(text) => files.push((name, text)),
            None => {
                return Err(not_carried(&name, "is no plain text or script"));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;

    fn project(directory: &Path) -> Project {
        load(&arguments(directory)).unwrap_or_else(|_| panic!("{} is a project", directory.display()))
    }

    fn arguments(directory: &Path) -> ProjectArguments {
        ProjectArguments {
            file: directory.join("builds.toml"),
            vars: Vec::new(),
            vars_file: None,
            repository: None,
            lock: None,
            store: None,
            only: Vec::new(),
        }
    }

    /// A project with one Dockerfile, its context and further files.
    fn written(context: &str, files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let manifest = format!(
            "schema = 1\n[project]\nname = \"p\"\nrepository = \"localhost:5000/p\"\n\
             [images.app]\ntags = [\"1\"]\ndockerfile = {{ context = \"{context}\" }}\n"
        );
        for (path, text) in [("builds.toml", manifest.as_str())].iter().chain(files) {
            put(&directory.path().join(path), text, 0o644).unwrap_or_else(|_| panic!("{path} is written"));
        }
        directory
    }

    /// The names that a pipeline carries, with the context before and after.
    fn there_and_back(directory: &Path) -> (Vec<String>, [Digest; 2]) {
        let before = project(directory);
        let carried = texts(&before, &arguments(directory)).unwrap_or_else(|_| panic!("it can be carried"));
        let other = tempfile::tempdir().unwrap();
        for (path, text) in &carried.files {
            put(&other.path().join(path), text, 0o644).unwrap_or_else(|_| panic!("{path} is written"));
        }
        let context = |p: &Project| p.matrix.dockerfiles[0].recipe.as_ref().unwrap().context.digest;
        let digests = [context(&before), context(&project(other.path()))];
        (carried.files.into_iter().map(|(path, _)| path).collect(), digests)
    }

    #[test]
    fn the_ignore_file_that_was_used_is_carried_also_where_it_names_itself() {
        let directory = written(
            "ctx",
            &[
                ("ctx/Dockerfile", "FROM scratch\nCOPY keep.txt /\n"),
                ("ctx/Dockerfile.dockerignore", "*\n!keep.txt\n"),
                ("ctx/.dockerignore", "keep.txt\n"),
                ("ctx/keep.txt", "x\n"),
                ("ctx/drop.txt", "x\n"),
            ],
        );
        let (names, [before, after]) = there_and_back(directory.path());
        assert_eq!(names, ["builds.toml", "ctx/Dockerfile", "ctx/Dockerfile.dockerignore", "ctx/keep.txt"]);
        assert_eq!(before, after);
    }

    #[test]
    fn paths_with_dots_are_the_same_files() {
        let dockerfile = "FROM scratch\nCOPY a /\n";
        for (context, below) in [(".", ""), ("./ctx", "ctx/"), ("ctx/.", "ctx/")] {
            let files = [(format!("{below}Dockerfile"), dockerfile), (format!("{below}a"), "x\n")];
            let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
            let directory = written(context, &files);
            let (names, [before, after]) = there_and_back(directory.path());
            assert_eq!(names, ["builds.toml".to_owned(), format!("{below}Dockerfile"), format!("{below}a")]);
            assert_eq!(before, after, "{context}");
        }
    }

    #[test]
    fn what_cannot_be_written_again_is_refused() {
        let directory =
            written("ctx/../ctx", &[("ctx/Dockerfile", "FROM scratch\nCOPY a /\n"), ("ctx/a", "x\n")]);
        assert!(texts(&project(directory.path()), &arguments(directory.path())).is_err());
        let directory = written("ctx", &[("ctx/Dockerfile", "FROM scratch\nCOPY a /\n"), ("ctx/a", "x\n")]);
        std::fs::create_dir(directory.path().join("ctx/empty")).unwrap();
        assert!(texts(&project(directory.path()), &arguments(directory.path())).is_err());
    }
}
