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
    let Some(first) = runs.first() else { return "no run has been recorded yet\n".to_owned() };
    let several = runs.iter().any(|run| run.project != first.project);
    let header = ["RUN", "WHEN", "CELLS", "TIME", "SENT", "OUTCOME"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for run in runs {
        let mut outcome = outcome(run).to_owned();
        if several {
            let _ = write!(outcome, "  {}", run.project);
        }
        rows.push(vec![
            run.id.clone(),
            minute(run.started, zone),
            format!("{}/{}/{}", run.built, run.current, run.failed),
            took(run).map_or_else(|| "-".to_owned(), brief),
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
    let Some(first) = changes.first() else {
        return "nothing has changed since the history began; --all shows each run\n".to_owned();
    };
    let one = changes.iter().all(|c| (&c.cell.cell, &c.project) == (&first.cell.cell, &first.project));
    let mut text = if one { format!("{} of {}\n\n", first.cell.cell, first.project) } else { String::new() };
    let mut rows = vec![["WHEN", "RUN", "OUTCOME", "DIGEST"].map(str::to_owned).to_vec()];
    for change in changes {
        let cell = &change.cell;
        let digest = cell.digest.filter(|_| matches!(cell.outcome.as_str(), "built" | "current"));
        rows.push(vec![
            minute(change.started, zone),
            change.run.clone(),
            cell.outcome.clone(),
            digests(cell.previous, digest),
        ]);
    }
    let notes = changes.iter().map(|change| {
        let name = (!one).then(|| format!("{} of {}", change.cell.cell, change.project));
        name.into_iter().chain(change.cell.reason.clone()).chain(change.cell.failure.clone()).collect()
    });
    annotated(&mut text, &columns(&rows, &[]), notes);
    text
}

/// The lines of a table, each with its notes beneath it; the first is the header.
fn annotated(text: &mut String, table: &str, notes: impl Iterator<Item = Vec<String>>) {
    for (line, notes) in table.lines().zip(std::iter::once(Vec::new()).chain(notes)) {
        let _ = writeln!(text, "{line}");
        for line in notes.iter().flat_map(|note| note.lines()) {
            let _ = writeln!(text, "    {}", shorten(line, WIDTH - 4));
        }
    }
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
    let notes = steps.iter().map(|step| step.failure.iter().cloned().collect());
    annotated(&mut text, &columns(&rows, &[0, 1, 2]), notes);
    text
}

fn outcome(run: &RunRow) -> &str {
    let open = if run.running { "running" } else { "interrupted or killed" };
    run.outcome.as_deref().unwrap_or(open)
}

fn took(run: &RunRow) -> Option<f64> {
    Some((run.ended? - run.started) as f64 / 1e3)
}

/// A duration that may be a few milliseconds.
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
                line.push_str(&shorten(cell, WIDTH.saturating_sub(used).max(24)));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn zone() -> TimeZone {
        TimeZone::fixed(jiff::tz::offset(2))
    }

    fn row(id: &str, outcome: Option<&str>) -> RunRow {
        RunRow {
            id: id.into(),
            project: "acme".into(),
            started: 1_763_700_000_123,
            ended: outcome.map(|_| 1_763_700_725_123),
            outcome: outcome.map(str::to_owned),
            built: 12,
            current: 10_000,
            failed: 3,
            sent: 302_100_000,
            ..RunRow::default()
        }
    }

    #[test]
    fn runs_stay_within_a_hundred_columns_in_the_given_zone() {
        let rows = [row("20251121T044000Z-419430", Some("failed")), row("20251121T044000Z-31", None)];
        let text = runs(&rows, &zone());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[1],
            "20251121T044000Z-419430  2025-11-21 06:40+02:00  12/10000/3  12 m 05 s  302.1 MB  failed"
        );
        assert_eq!(
            lines[2],
            "20251121T044000Z-31      2025-11-21 06:40+02:00  12/10000/3          -  302.1 MB  interrupted or killed"
        );
        assert!(lines[1].chars().count() <= WIDTH);
    }

    fn change(outcome: &str, previous: Option<&[u8]>, digest: Option<&[u8]>) -> CellChange {
        let cell = crate::store::CellRow {
            cell: "app[n=1]".into(),
            outcome: outcome.into(),
            previous: previous.map(Digest::of),
            digest: digest.map(Digest::of),
            failure: (outcome == "failed").then(|| "first\nsecond".to_owned()),
            ..crate::store::CellRow::default()
        };
        CellChange { run: "r".into(), project: "acme".into(), started: 0, cell }
    }

    #[test]
    fn a_cell_shows_old_and_new_digests_and_why_it_failed() {
        let list = [
            change("failed", Some(b"b"), Some(b"c")),
            change("built", Some(b"a"), Some(b"b")),
            change("built", None, Some(b"a")),
        ];
        let text = changes(&list, &zone());
        let short = |bytes: &[u8]| Digest::of(bytes).short();
        let expected = [
            "app[n=1] of acme".to_owned(),
            String::new(),
            "WHEN                    RUN  OUTCOME  DIGEST".to_owned(),
            format!("1970-01-01 02:00+02:00  r    failed   stays {}", short(b"b")),
            "    first".to_owned(),
            "    second".to_owned(),
            format!("1970-01-01 02:00+02:00  r    built    {} -> {}", short(b"a"), short(b"b")),
            format!("1970-01-01 02:00+02:00  r    built    new {}", short(b"a")),
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
        assert_eq!(changes(&[], &zone()).lines().count(), 1);
    }
}
