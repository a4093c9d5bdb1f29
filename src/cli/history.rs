//! `history`: what earlier runs did.

use super::exit::{Exit, print};
use super::prepared::store;
use super::{BuildArguments, DocumentFormat, ProjectArguments};
use crate::manifest::nearest;
use crate::report::{self, RunDocument};
use crate::store::{CellChange, Store, StoreError};

/// Runs and changes that are shown unless a number is given.
const LINES: u32 = 20;

/// `railyard history`.
pub fn history(
    arguments: &ProjectArguments,
    subject: Option<&str>,
    lines: Option<u32>,
    all: bool,
    format: DocumentFormat,
) -> Result<(), Exit> {
    let Some(store) = store(arguments)? else {
        return Err(Exit::Usage(
            "error: nothing has been built with this store yet\n  help: run `railyard build`, or name another store with --store".into(),
        ));
    };
    let failed = |e: StoreError| Exit::Environment(format!("error: {e}"));
    let zone = jiff::tz::TimeZone::system();
    let most = lines.unwrap_or(LINES);
    let text = match subject {
        None => {
            let runs = store.runs(most).map_err(failed)?;
            match format {
                DocumentFormat::Table => report::runs(&runs, &zone),
                DocumentFormat::Json => report::runs_json(&runs),
            }
        }
        Some(subject) => match store.run(subject).map_err(failed)? {
            Some(run) => {
                let mut steps = store.run_steps(subject).map_err(failed)?;
                steps.truncate(lines.map_or(usize::MAX, |lines| lines as usize));
                let document = RunDocument { run, steps };
                match format {
                    DocumentFormat::Table => report::run(&document, &zone),
                    DocumentFormat::Json => report::run_json(&document),
                }
            }
            None => {
                let changes = changes(&store, subject, all, most)?;
                match format {
                    DocumentFormat::Table => report::changes(&changes, &zone),
                    DocumentFormat::Json => report::changes_json(&changes),
                }
            }
        },
    };
    print(&text)
}

/// What happened to the cells that a pattern or an image's name means, newest first.
fn changes(store: &Store, pattern: &str, all: bool, most: u32) -> Result<Vec<CellChange>, Exit> {
    let failed = |e: StoreError| Exit::Environment(format!("error: {e}"));
    let cells = store.recorded_cells().map_err(failed)?;
    let matcher = matcher(pattern)?;
    let wanted: Vec<&str> = cells
        .iter()
        .filter(|(cell, image)| matcher.is_match(cell) || image == pattern)
        .map(|(cell, _)| cell.as_str())
        .collect();
    if wanted.is_empty() {
        return Err(unknown(store, pattern, &cells).map_err(failed)?);
    }
    let mut changes = Vec::new();
    for cell in wanted {
        changes.extend(store.cell_changes(cell, all, most).map_err(failed)?);
    }
    changes.sort_by(|a, b| b.started.cmp(&a.started).then_with(|| b.run.cmp(&a.run)));
    changes.truncate(most as usize);
    Ok(changes)
}

/// Names of cells hold brackets: only `*` and `?` stand for something else.
fn matcher(pattern: &str) -> Result<globset::GlobMatcher, Exit> {
    let literal = |c: char| match c {
        '[' | ']' | '{' | '}' => format!("[{c}]"),
        '\\' => "\\\\".to_owned(),
        c => c.to_string(),
    };
    let glob: String = pattern.chars().map(literal).collect();
    let glob = globset::Glob::new(&glob)
        .map_err(|e| Exit::Usage(format!("error: `{pattern}` is not a glob: {}", e.kind())))?;
    Ok(glob.compile_matcher())
}

fn unknown(store: &Store, name: &str, cells: &[(String, String)]) -> Result<Exit, StoreError> {
    let runs = store.runs(u32::MAX)?;
    let names = cells.iter().flat_map(|(cell, image)| [cell.as_str(), image.as_str()]);
    let known = names.chain(runs.iter().map(|run| run.id.as_str()));
    let help = match nearest(name, known) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => "`railyard history` lists runs; cells are named as in `railyard plan`".to_owned(),
    };
    Ok(Exit::Usage(format!("error: the history has neither a run nor a cell `{name}`\n  help: {help}")))
}

/// The arguments of a build that decide what is made and where it goes.
pub fn recorded_arguments(project: &ProjectArguments, build: &BuildArguments) -> Vec<String> {
    let mut found = Vec::new();
    let flags = [
        ("--push", build.push),
        ("--load", build.load),
        ("--locked", build.locked),
        ("--fail-fast", build.fail_fast),
        ("--no-checks", build.no_checks),
        ("--no-reuse", build.no_reuse),
        ("--no-cache", build.no_cache),
    ];
    found.extend(flags.iter().filter(|(_, set)| *set).map(|(flag, _)| (*flag).to_owned()));
    found.extend(build.jobs.map(|jobs| format!("--jobs={jobs}")));
    found.extend(build.output.iter().map(|output| format!("--output={output}")));
    found.extend(project.only.iter().map(|only| format!("--only={only}")));
    // A value may be a credential, and is nobody else's business.
    let names = project.vars.iter().map(|var| var.split_once('=').map_or(var.as_str(), |(name, _)| name));
    found.extend(names.map(|name| format!("--var={name}")));
    found.extend(project.vars_file.iter().map(|file| format!("--vars={}", file.display())));
    found.extend(project.repository.iter().map(|repository| format!("--repository={repository}")));
    found
}
