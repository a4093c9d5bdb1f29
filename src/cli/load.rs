//! From files and arguments to a matrix and a lock.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::ProjectArguments;
use super::exit::{Exit, colour, say};
use crate::lock::Lock;
use crate::manifest::{Diagnostics, Manifest, Sources, imports, parse, render, render_plain};
use crate::matrix::{Matrix, Overrides, Selection, expand};

/// A project as it was read.
pub struct Project {
    /// The manifest.
    pub manifest: Manifest,
    /// Its cells.
    pub matrix: Matrix,
    /// For each cell whether it was chosen.
    pub chosen: Vec<bool>,
    /// Where the lock is.
    pub lock_path: PathBuf,
    /// The lock; empty where there is none.
    pub lock: Lock,
}

/// Reads the manifest with its imports and expands it.
///
/// # Errors
/// Every mistake, rendered.
pub fn load(arguments: &ProjectArguments) -> Result<Project, Exit> {
    load_as(arguments, false)
}

/// [`load`], with mistakes as plain lines where `plain` is set.
pub fn load_as(arguments: &ProjectArguments, plain: bool) -> Result<Project, Exit> {
    let sources = read_sources(&arguments.file)?;
    let manifest = parse(sources).map_err(|(sources, found)| mistakes(&sources, &found, plain))?;
    let overrides = Overrides { vars: variables(arguments)?, repository: arguments.repository.clone() };
    let matrix = expand(&manifest, &overrides).map_err(|found| mistakes(&manifest.sources, &found, plain))?;
    let usage = |e: crate::matrix::SelectionError| Exit::Usage(format!("error: --only: {e}"));
    let chosen =
        Selection::parse(&arguments.only).and_then(|selection| selection.choose(&matrix)).map_err(usage)?;
    let lock_path = arguments.lock.clone().unwrap_or_else(|| arguments.file.with_file_name("builds.lock"));
    let lock = read_lock(&lock_path)?;
    Ok(Project { manifest, matrix, chosen, lock_path, lock })
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
        let more = match cells.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let named = cells.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
        say(&format!("warning: {}\n  in {named}{more}", warning.text));
    }
}

fn mistakes(sources: &Sources, found: &Diagnostics, plain: bool) -> Exit {
    let text = if plain { render_plain(sources, found) } else { render(sources, found, colour(), 100) };
    let count = match found.0.len() {
        1 => "1 mistake".to_owned(),
        n => format!("{n} mistakes"),
    };
    Exit::Usage(format!("{}\n{count} in the manifest", text.trim_end()))
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

fn variables(arguments: &ProjectArguments) -> Result<BTreeMap<String, String>, Exit> {
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

fn read_lock(path: &Path) -> Result<Lock, Exit> {
    match std::fs::read_to_string(path) {
        Ok(text) => Lock::parse(&text).map_err(|error| {
            Exit::Usage(format!(
                "error: the lock `{}` cannot be used: {error}\n  help: restore it from version control, or remove it to pin everything anew; it was not changed",
                path.display()
            ))
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Lock::default()),
        Err(error) => Err(Exit::Usage(format!("error: failed to read the lock `{}`: {error}", path.display()))),
    }
}

/// Writes the lock, whole or not at all.
///
/// # Errors
/// When the file cannot be written.
pub fn write_lock(path: &Path, lock: &Lock) -> Result<(), Exit> {
    use std::io::Write;
    let fail = |e: std::io::Error| {
        Exit::Environment(format!("error: failed to write the lock `{}`: {e}", path.display()))
    };
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(fail)?;
    file.write_all(lock.render().as_bytes()).map_err(fail)?;
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(readable).map_err(fail)?;
    file.persist(path).map_err(|e| fail(e.error))?;
    Ok(())
}
