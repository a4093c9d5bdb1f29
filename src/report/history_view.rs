//! Views of past runs: tables of at most about a hundred columns, and JSON.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::{bytes, seconds};
use crate::oci::Digest;
use crate::store::{CellChange, RunRow, StepRow};

/// Columns that a line may have.
const WIDTH: usize = 100;

/// A run and those of its steps that are shown.
#[derive(Debug, Clone)]
pub struct RunDocument {
    /// The run.
    pub run: RunRow,
    /// Steps in order of their beginning.
    pub steps: Vec<StepRow>,
}

/// Runs, newest first.
pub fn runs(runs: &[RunRow], zone: &TimeZone) -> String {
    let several = runs.iter().any(|run| run.project != runs[0].project);
    let mut rows = vec![
        vec!["RUN", "WHEN", "CELLS", "TIME", "SENT", "OUTCOME"].into_iter().map(str::to_owned).collect(),
    ];
    for run in runs {
        let mut outcome = outcome(run).to_owned();
        if several {
            let _ = write!(outcome, "  {}", run.project);
        }
        rows.push(vec![
            run.id.clone(),
            minute(run.started, zone),
            format!("{}/{}/{}", run.built, run.current, run.failed),
            took(run).map_or_else(|| "-".to_owned(), seconds),
            bytes(run.sent),
            outcome,
        ]);
    }
    let mut text = columns(&rows, &[2, 3, 4]);
    let _ =
        writeln!(text, "\nCELLS are built/current/failed; `railyard history RUN` shows the steps of a run");
    text
}

/// Changes of cells, newest first.
pub fn changes(changes: &[CellChange], zone: &TimeZone) -> String {
    let mut text = String::new();
    if changes.is_empty() {
        text.push_str("nothing has changed since the history began; --all shows each run\n");
    }
    let one = changes.iter().all(|change| change.cell.cell == changes[0].cell.cell);
    if let (true, Some(change)) = (one, changes.first()) {
        let _ = writeln!(text, "{} of {}\n", change.cell.cell, change.project);
    }
    let header = ["WHEN", "RUN", "OUTCOME", "DIGEST"];
    let mut rows = vec![header.iter().map(|title| (*title).to_owned()).collect::<Vec<_>>()];
    for change in changes {
        let cell = &change.cell;
        rows.push(vec![
            minute(change.started, zone),
            change.run.clone(),
            cell.outcome.clone(),
            digests(
                cell.previous,
                cell.digest.filter(|_| matches!(cell.outcome.as_str(), "built" | "current")),
            ),
        ]);
    }
    let table = columns(&rows, &[]);
    let mut lines = table.lines();
    for line in lines.next().filter(|_| !changes.is_empty()).into_iter() {
        let _ = writeln!(text, "{line}");
    }
    for (line, change) in lines.zip(changes) {
        let _ = writeln!(text, "{line}");
        let cell = &change.cell;
        if !one {
            let _ = writeln!(text, "    {}", shorten(&cell.cell, WIDTH - 4));
        }
        for note in [&cell.reason, &cell.failure].into_iter().flatten() {
            indented(&mut text, note);
        }
    }
    text
}

/// A run: its sums and its steps.
pub fn run(document: &RunDocument, zone: &TimeZone) -> String {
    let RunDocument { run, steps } = document;
    let mut text = String::new();
    let _ = writeln!(text, "{} of {} ({}), railyard {}", run.id, run.project, run.manifest, run.version);
    let _ = write!(text, "{}  {}", second(run.started, zone), outcome(run));
    if let Some(took) = took(run) {
        let _ = write!(text, " after {}", seconds(took));
    }
    if let Some(estimated) = run.estimated {
        let _ = write!(text, ", estimated {}", seconds(estimated as f64 / 1e6));
    }
    text.push('\n');
    if !run.arguments.is_empty() {
        let _ = writeln!(text, "arguments  {}", run.arguments.join(" "));
    }
    let _ = writeln!(
        text,
        "cells      {} built, {} current, {} failed, {} skipped, {} asked for",
        run.built, run.current, run.failed, run.skipped, run.cells
    );
    let _ = writeln!(
        text,
        "steps      {} to run, {} reused, {} skipped",
        run.steps, run.steps_reused, run.steps_skipped
    );
    let _ = writeln!(text, "bytes      {} sent, {} fetched", bytes(run.sent), bytes(run.fetched));
    if steps.is_empty() {
        return text;
    }
    let mut rows = vec![["AT", "TIME", "MOVED", "OUTCOME", "STEP"].map(str::to_owned).to_vec()];
    for step in steps {
        let moved = step.sent + step.fetched;
        rows.push(vec![
            seconds(step.started as f64 / 1e6),
            step.ended.map_or_else(|| "-".to_owned(), |ended| brief((ended - step.started) as f64 / 1e6)),
            if moved == 0 { String::new() } else { bytes(moved) },
            step.outcome
                .clone()
                .unwrap_or_else(|| if run.running { "running" } else { "not ended" }.to_owned()),
            format!("{} {}", step.kind, step.label),
        ]);
    }
    text.push('\n');
    let table = columns(&rows, &[0, 1, 2]);
    let mut lines = table.lines();
    text.extend(lines.next().map(|line| format!("{line}\n")));
    for (line, step) in lines.zip(steps) {
        let _ = writeln!(text, "{line}");
        if let Some(failure) = &step.failure {
            indented(&mut text, failure);
        }
    }
    text
}

fn outcome(run: &RunRow) -> &str {
    let open = if run.running { "running" } else { "interrupted or killed" };
    run.outcome.as_deref().unwrap_or(open)
}

fn took(run: &RunRow) -> Option<f64> {
    Some((run.ended? - run.started) as f64 / 1e3)
}

/// A step's duration: many are shorter than what is worth saying of a run.
fn brief(duration: f64) -> String {
    if duration < 0.05 { format!("{:.0} ms", duration * 1e3) } else { seconds(duration) }
}

fn digests(previous: Option<Digest>, digest: Option<Digest>) -> String {
    match (previous, digest) {
        (Some(old), Some(new)) if old == new => format!("{} as before", new.short()),
        (Some(old), Some(new)) => format!("{} -> {}", old.short(), new.short()),
        (None, Some(new)) => format!("new {}", new.short()),
        (Some(old), None) => format!("stays {}", old.short()),
        (None, None) => "-".to_owned(),
    }
}

fn indented(text: &mut String, note: &str) {
    for line in note.lines() {
        let _ = writeln!(text, "    {}", shorten(line, WIDTH - 4));
    }
}

/// Rows of cells under each other, those of `right` at the right; the last column is cut at the edge.
fn columns(rows: &[Vec<String>], right: &[usize]) -> String {
    let count = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            if column + 1 == count {
                let used = line.chars().count();
                line.push_str(&shorten(cell, WIDTH.saturating_sub(used).max(20)));
            } else if right.contains(&column) {
                let _ = write!(line, "{cell:>width$}  ");
            } else {
                let _ = write!(line, "{cell:<width$}  ");
            }
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

fn at(millis: i64, zone: &TimeZone) -> jiff::Zoned {
    Timestamp::from_millisecond(millis).unwrap_or_default().to_zoned(zone.clone())
}

fn minute(millis: i64, zone: &TimeZone) -> String {
    at(millis, zone).strftime("%Y-%m-%d %H:%M%:z").to_string()
}

fn second(millis: i64, zone: &TimeZone) -> String {
    at(millis, zone).strftime("%Y-%m-%d %H:%M:%S%:z").to_string()
}

/// Runs for other programs.
pub fn runs_json(runs: &[RunRow]) -> String {
    pretty(&Value::Array(runs.iter().map(run_value).collect()))
}

/// A run with its steps for other programs.
pub fn run_json(document: &RunDocument) -> String {
    let mut value = run_value(&document.run);
    value["steps_begun"] = document.steps.iter().map(step_value).collect();
    pretty(&value)
}

/// Changes of cells for other programs.
pub fn changes_json(changes: &[CellChange]) -> String {
    let value = |change: &CellChange| {
        let mut value = json!(change.cell);
        value["run"] = json!(change.run);
        value["project"] = json!(change.project);
        value["started"] = json!(instant(change.started));
        value
    };
    pretty(&changes.iter().map(value).collect())
}

fn run_value(run: &RunRow) -> Value {
    let mut value = json!(run);
    value["started"] = json!(instant(run.started));
    value["ended"] = json!(run.ended.map(instant));
    value["estimated"] = json!(run.estimated.map(|micros| micros as f64 / 1e6));
    value["seconds"] = json!(took(run));
    value
}

fn step_value(step: &StepRow) -> Value {
    let mut value = json!(step);
    for (field, micros) in
        [("queued", Some(step.queued)), ("started", Some(step.started)), ("ended", step.ended)]
    {
        value[field] = json!(micros.map(|micros| micros as f64 / 1e6));
    }
    value
}

fn instant(millis: i64) -> String {
    Timestamp::from_millisecond(millis).unwrap_or_default().to_string()
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("JSON values are printable") + "\n"
}
