//! What a step of a pipeline needs beside the build: an engine that may come up late, outputs for
//! later steps, the artifact file.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::BuildArguments;
use super::exit::{Exit, first_of, say};
use crate::engine::Engine;
use crate::event::Summary;
use crate::matrix::{Matrix, fill_run, wants_revision};
use crate::plan::{Action, Actions, Class, Plan, StepKind};
use crate::report::{OutputForm, artifact_file, outputs};

/// Between two attempts to reach the engine.
const PAUSE: Duration = Duration::from_secs(1);
/// How long an attempt may take.
const ATTEMPT: Duration = Duration::from_secs(5);
/// Between two lines that say that it is waited for.
const WORD: Duration = Duration::from_secs(10);

/// Variables that name a file for outputs, with its form.
const FILES: &[(&str, OutputForm)] = &[
    ("DRONE_OUTPUT", OutputForm::Lines),
    ("HARNESS_OUTPUT_FILE", OutputForm::Lines),
    ("GITHUB_OUTPUT", OutputForm::Github),
];

/// Variables that hold the revision of the sources.
const REVISIONS: &[&str] = &["DRONE_COMMIT_SHA", "GITHUB_SHA", "CI_COMMIT_SHA"];

/// Whether something of the plan needs the engine.
pub fn needs_engine(plan: &Plan, actions: &Actions) -> bool {
    plan.steps().any(|(id, step)| {
        actions.of(id) == Action::Run
            && (step.class == Class::Container || matches!(step.kind, StepKind::Load(_)))
    })
}

/// Waits until the engine answers.
///
/// # Errors
/// When it does not within `patience`.
pub async fn wait_for_engine(engine: &dyn Engine, patience: Duration) -> Result<(), Exit> {
    let began = Instant::now();
    let mut said: Option<Instant> = None;
    loop {
        let left = patience.saturating_sub(began.elapsed());
        let why = match tokio::time::timeout(ATTEMPT.min(left.max(PAUSE)), engine.info()).await {
            Ok(Ok(info)) => {
                if said.is_some() {
                    let waited = began.elapsed().as_secs();
                    say(&format!(
                        "the engine at {} answers after {waited} s (Docker {})",
                        info.endpoint, info.version
                    ));
                }
                return Ok(());
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it does not answer".to_owned(),
        };
        if began.elapsed() + PAUSE > patience {
            return Err(Exit::Environment(format!(
                "error: no engine answered within {} s: {why}\n  help: start one before this step (in Harness a Background \
                 step with docker:dind and the shared path /var/run), point DOCKER_HOST at it, or wait longer with --wait-engine",
                patience.as_secs()
            )));
        }
        if said.is_none_or(|at| at.elapsed() >= WORD) {
            let rest = patience.saturating_sub(began.elapsed()).as_secs();
            say(&format!("waiting for the engine, at most {rest} s more: {why}"));
            said = Some(Instant::now());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Appends the outputs of a run to the files that the environment names, and writes the artifact file.
///
/// # Errors
/// When one of them cannot be written; the others are.
pub fn hand_over(build: &BuildArguments, matrix: &Matrix, summary: &Summary) -> Result<(), Exit> {
    let artifact = build.artifact_file.iter().map(|path| {
        let text = serde_json::to_string_pretty(&artifact_file(summary)).expect("a JSON value is printable");
        std::fs::write(path, text + "\n")
            .map_err(|e| Exit::Environment(format!("error: failed to write `{}`: {e}", path.display())))
    });
    first_of(artifact.chain([append_outputs(matrix, summary)]))
}

fn append_outputs(matrix: &Matrix, summary: &Summary) -> Result<(), Exit> {
    let mut files = BTreeMap::new();
    let mut named = BTreeSet::new();
    for (variable, form) in FILES {
        let path = std::env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from);
        if let Some(path) = path.filter(|path| named.insert(path.clone())) {
            files.insert(*variable, (path, *form));
        }
    }
    if files.is_empty() {
        return Ok(());
    }
    let found = outputs(summary, &own_outputs(matrix, summary));
    found.notes.iter().for_each(|note| say(&format!("note: {note}")));
    first_of(files.into_iter().map(|(variable, (path, form))| {
        let mut options = std::fs::OpenOptions::new();
        let file = options.append(true).create(true).open(&path);
        file.and_then(|mut file| file.write_all(found.text(form).as_bytes())).map_err(|e| {
            let path = path.display();
            Exit::Environment(format!(
                "error: failed to append outputs to `{path}`, which {variable} names: {e}"
            ))
        })
    }))
}

/// The outputs that images define, by cell.
fn own_outputs(matrix: &Matrix, summary: &Summary) -> BTreeMap<String, Vec<(String, String)>> {
    let ended: BTreeSet<&str> = summary.cells.iter().map(|cell| cell.cell.as_str()).collect();
    let cells = || matrix.cells.iter().filter(|cell| ended.contains(cell.name.as_str()));
    let timestamp = jiff::Timestamp::now().strftime("%Y%m%d%H%M%S").to_string();
    let revision = match cells().flat_map(|cell| &cell.outputs).any(|(_, value)| wants_revision(value)) {
        true => revision(),
        false => String::new(),
    };
    // A tag with a time, and the outputs beside it, say the same time.
    let stamped = |name: &str| summary.cells.iter().find(|c| c.cell == name)?.timestamp.as_deref();
    let own = |cell: &crate::matrix::Cell| {
        let timestamp = stamped(&cell.name).unwrap_or(&timestamp);
        let outputs = cell.outputs.iter();
        outputs.map(|(key, value)| (key.to_string(), fill_run(value, timestamp, &revision))).collect()
    };
    cells().map(|cell| (cell.name.clone(), own(cell))).collect()
}

/// The revision of the sources: what the pipeline says, else git; empty where neither knows.
fn revision() -> String {
    let set = |name: &&str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    if let Some(revision) = REVISIONS.iter().find_map(set) {
        return revision.trim().to_owned();
    }
    let git = std::process::Command::new("git").args(["rev-parse", "HEAD"]).output();
    match git {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => {
            say("note: the revision of the sources is not known: neither DRONE_COMMIT_SHA nor git says it");
            String::new()
        }
    }
}
