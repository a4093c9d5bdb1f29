//! From files and arguments to a matrix and a lock.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::ProjectArguments;
use super::exit::{Exit, colour, say};
use super::lock_file::read_lock;
use super::recipes::read_recipes;
use crate::lock::Lock;
use crate::manifest::{Diagnostic, Diagnostics, Manifest, Sources, imports, parse, render, render_plain};
use crate::matrix::{ConcreteMirror, Matrix, Overrides, Query, Selection, expand, mirrors, queries};

/// A project as it was read.
pub struct Project {
    /// The manifest.
    pub manifest: Manifest,
    /// Its cells.
    pub matrix: Matrix,
    /// For each cell whether it was chosen.
    pub chosen: Vec<bool>,
    /// Its mirrors; none where cells were chosen.
    pub mirrors: Vec<ConcreteMirror>,
    /// The manifest's directory.
    pub directory: PathBuf,
    /// Where the lock is.
    pub lock_path: PathBuf,
    /// The lock; empty where there is none.
    pub lock: Lock,
}

/// What was read, before the cells are known: discovered axes may lack their values.
pub struct Loaded {
    /// The manifest.
    pub manifest: Manifest,
    /// What it wants looked up.
    pub queries: Vec<Query>,
    /// Its mirrors.
    pub mirrors: Vec<ConcreteMirror>,
    /// The manifest's directory.
    pub directory: PathBuf,
    /// Where the lock is.
    pub lock_path: PathBuf,
    /// The lock; empty where there is none.
    pub lock: Lock,
    overrides: Overrides,
    only: Vec<String>,
    plain: bool,
}

/// Reads the manifest with its imports, and the lock.
///
/// # Errors
/// Every mistake, rendered.
pub fn open(arguments: &ProjectArguments) -> Result<Loaded, Exit> {
    open_as(arguments, false)
}

fn open_as(arguments: &ProjectArguments, plain: bool) -> Result<Loaded, Exit> {
    let sources = read_sources(&arguments.file)?;
    let manifest = parse(sources).map_err(|(sources, found)| mistakes(&sources, &found, plain))?;
    let overrides = Overrides { vars: variables(arguments)?, repository: arguments.repository.clone() };
    let queries =
        queries(&manifest, &overrides).map_err(|found| mistakes(&manifest.sources, &found, plain))?;
    let mirrors =
        mirrors(&manifest, &overrides).map_err(|found| mistakes(&manifest.sources, &found, plain))?;
    let lock_path = arguments.lock.clone().unwrap_or_else(|| arguments.file.with_file_name("builds.lock"));
    let lock = read_lock(&lock_path, plain)?;
    let directory = arguments.file.parent().unwrap_or(Path::new("")).to_owned();
    let only = arguments.only.clone();
    Ok(Loaded { manifest, queries, mirrors, directory, lock_path, lock, overrides, only, plain })
}

/// Reads a project and expands it, with what the lock knows of discovered versions.
///
/// # Errors
/// Every mistake, rendered; discovered versions that the lock lacks.
pub fn load(arguments: &ProjectArguments) -> Result<Project, Exit> {
    load_as(arguments, false)
}

/// [`load`], with mistakes as plain lines where `plain` is set.
pub fn load_as(arguments: &ProjectArguments, plain: bool) -> Result<Project, Exit> {
    let loaded = open_as(arguments, plain)?;
    let missing = loaded.missing();
    if missing.is_empty() { loaded.expand() } else { Err(loaded.refuse(&missing)) }
}

impl Loaded {
    /// The queries that the lock does not answer.
    pub fn missing(&self) -> Vec<Query> {
        let answers = |query: &&Query| {
            self.lock.versions.get(&query.key).is_some_and(|locked| locked.query == query.to_string())
        };
        self.queries.iter().filter(|query| !answers(query)).cloned().collect()
    }

    /// Makes the cells, with the discovered versions that the lock has.
    ///
    /// # Errors
    /// Every mistake that only rendering finds.
    pub fn expand(self) -> Result<Project, Exit> {
        let Self { mut manifest, overrides, lock, lock_path, only, plain, mirrors, directory, .. } = self;
        let found = lock.versions.iter().map(|(key, versions)| (key.clone(), versions.found.clone()));
        manifest.resolve(&found.collect()).map_err(|found| mistakes(&manifest.sources, &found, plain))?;
        let mut matrix =
            expand(&manifest, &overrides).map_err(|found| mistakes(&manifest.sources, &found, plain))?;
        read_recipes(&mut matrix, &mut manifest.sources, &directory)
            .map_err(|found| mistakes(&manifest.sources, &found, plain))?;
        let usage = |e: crate::matrix::SelectionError| Exit::Usage(format!("error: --only: {e}"));
        let chosen =
            Selection::parse(&only).and_then(|selection| selection.choose(&matrix)).map_err(usage)?;
        let mirrors = if only.is_empty() { mirrors } else { Vec::new() };
        Ok(Project { manifest, matrix, chosen, mirrors, directory, lock_path, lock })
    }

    /// The cells that an earlier lock stood for, where it still fits the manifest.
    pub fn expand_earlier(&self, lock: &Lock) -> Option<Matrix> {
        let mut manifest = self.manifest.clone();
        let found = lock.versions.iter().map(|(key, versions)| (key.clone(), versions.found.clone()));
        manifest.resolve(&found.collect()).ok()?;
        let mut matrix = expand(&manifest, &self.overrides).ok()?;
        read_recipes(&mut matrix, &mut manifest.sources, &self.directory).ok()?;
        Some(matrix)
    }

    /// What is said where nobody may be asked.
    fn refuse(&self, missing: &[Query]) -> Exit {
        let lock = self.lock_path.display();
        let problems = missing.iter().map(|query| {
            let (label, verb) = match self.lock.versions.get(&query.key) {
                Some(locked) => (format!("the lock answers `{}`", locked.query), "has not these"),
                None => ("never looked up".to_owned(), "has no"),
            };
            let message = format!("the lock `{lock}` {verb} versions for {}", query.subject());
            Diagnostic::new("versions-not-locked", query.at, message)
                .label(label)
                .help(format!("run `railyard update {}`, and commit the lock", query.name()))
        });
        let found = Diagnostics(problems.collect());
        Exit::Usage(shown(&self.manifest.sources, &found, self.plain))
    }
}

/// How many cells a warning names.
const NAMED: usize = 5;

/// Says what rules warn of, as far as it is about chosen cells.
pub fn warn(project: &Project) {
    for warning in &project.matrix.warnings {
        let cells: Vec<&str> = warning
            .cells
            .iter()
            .filter(|cell| project.chosen[cell.0])
            .map(|cell| project.matrix.cells[cell.0].name.as_str())
            .collect();
        if cells.is_empty() {
            continue;
        }
        say(&format!("warning: {}\n  in {}", warning.text, named(cells.into_iter())));
    }
}

/// The first names, and how many more there are.
pub fn named<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = match names.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let named = names.take(NAMED).collect::<Vec<_>>().join(", ");
    format!("{named}{more}")
}

fn mistakes(sources: &Sources, found: &Diagnostics, plain: bool) -> Exit {
    let count = match found.0.len() {
        1 => "1 mistake".to_owned(),
        n => format!("{n} mistakes"),
    };
    Exit::Usage(format!("{}\n{count} in the manifest", shown(sources, found, plain)))
}

/// Mistakes as text for people.
pub fn shown(sources: &Sources, found: &Diagnostics, plain: bool) -> String {
    let text = if plain { render_plain(sources, found) } else { render(sources, found, colour(), 100) };
    text.trim_end().to_owned()
}

fn read_sources(main: &Path) -> Result<Sources, Exit> {
    let text = std::fs::read_to_string(main).map_err(|error| {
        let hint = if error.kind() == std::io::ErrorKind::NotFound {
            "\n  help: run this in the directory that has a builds.toml, or name it with --file"
        } else {
            ""
        };
        Exit::Usage(format!("error: failed to read `{}`: {error}{hint}", main.display()))
    })?;
    let mut sources = Sources::default();
    let base = main.parent().unwrap_or(Path::new(""));
    let patterns = imports(&text);
    sources.add(main.display().to_string(), text);
    let mut seen = vec![main.to_owned()];
    for pattern in patterns {
        let files = matching(base, &pattern.value)?;
        if files.is_empty() {
            return Err(Exit::Usage(format!(
                "error: `import` of `{}`: no file matches `{pattern}`\n  help: correct the path, it is relative to the manifest",
                main.display(),
                pattern = pattern.value
            )));
        }
        for file in files {
            if seen.contains(&file) {
                continue;
            }
            let text = std::fs::read_to_string(&file)
                .map_err(|e| Exit::Usage(format!("error: failed to read `{}`: {e}", file.display())))?;
            sources.add(file.display().to_string(), text);
            seen.push(file);
        }
    }
    Ok(sources)
}

/// Files that match a glob whose last component alone may hold wildcards, sorted.
fn matching(base: &Path, pattern: &str) -> Result<Vec<PathBuf>, Exit> {
    let path = base.join(pattern);
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    if !name.contains(['*', '?', '[', '{']) {
        return Ok(if path.is_file() { vec![path] } else { Vec::new() });
    }
    let glob = globset::Glob::new(&name)
        .map_err(|e| Exit::Usage(format!("error: `import`: `{pattern}` is not a glob: {}", e.kind())))?
        .compile_matcher();
    let directory = path.parent().unwrap_or(Path::new("."));
    let listing = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let mut files: Vec<PathBuf> = std::fs::read_dir(listing)
        .map_err(|e| Exit::Usage(format!("error: `import`: failed to list `{}`: {e}", listing.display())))?
        .filter_map(Result::ok)
        .filter(|entry| glob.is_match(entry.file_name()) && entry.path().is_file())
        .map(|entry| directory.join(entry.file_name()))
        .collect();
    files.sort();
    Ok(files)
}

/// The variables that the command line sets.
///
/// # Errors
/// A file or text of another form.
pub fn variables(arguments: &ProjectArguments) -> Result<BTreeMap<String, String>, Exit> {
    let mut vars = BTreeMap::new();
    if let Some(path) = &arguments.vars_file {
        let name = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|e| Exit::Usage(format!("error: failed to read `{name}`: {e}")))?;
        let table: BTreeMap<String, String> = toml::from_str(&text).map_err(|e| {
            Exit::Usage(format!("error: `{name}` is no file of `name = \"value\"` lines: {e}"))
        })?;
        vars.extend(table);
    }
    for pair in &arguments.vars {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| Exit::Usage(format!("error: `--var {pair}` is not NAME=VALUE")))?;
        vars.insert(name.to_owned(), value.to_owned());
    }
    Ok(vars)
}
