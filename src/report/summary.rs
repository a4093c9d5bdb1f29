//! The closing table and the failures.

use std::fmt::Write as _;

use super::{bytes, seconds};
use crate::event::{CellOutcome, Failure, Summary};
use crate::plan::ReasonCode;

/// What failed, with the end of its log and what to do next.
pub fn failures(failures: &[Failure]) -> String {
    let mut text = String::new();
    for failure in failures {
        let _ = writeln!(text, "error: {}", failure.step);
        let _ = writeln!(text, "  {}", failure.message);
        for line in &failure.tail {
            let _ = writeln!(text, "  | {line}");
        }
        if let Some(log) = &failure.log {
            let _ = writeln!(text, "  log: {log}");
        }
        if let Some(help) = &failure.help {
            let _ = writeln!(text, "  help: {help}");
        }
    }
    text
}

/// Cells, steps, bytes and time of a run.
pub fn summary(summary: &Summary) -> String {
    let mut text = String::new();
    for cell in &summary.cells {
        let mark = match cell.outcome {
            CellOutcome::Built => "built  ",
            CellOutcome::Current => "current",
            CellOutcome::Failed => "FAILED ",
            CellOutcome::Skipped => "skipped",
        };
        let digest = cell.digest.map(|d| format!("  {}", d.short())).unwrap_or_default();
        let note = match (&cell.failure, cell.previous, cell.outcome) {
            (Some(failure), ..) => format!("  {}", failure.lines().next().unwrap_or("")),
            (None, Some(previous), CellOutcome::Built) => format!("  was {}", previous.short()),
            _ => String::new(),
        };
        let _ = writeln!(text, "{mark}  {}{digest}{note}", cell.cell);
        for reason in cell.reasons.iter().filter(|_| cell.outcome == CellOutcome::Built) {
            if reason.code != ReasonCode::NeverBuilt {
                let _ = writeln!(text, "         {reason}");
            }
        }
    }
    let count = |outcome| summary.count(outcome);
    let _ = writeln!(
        text,
        "\ncells   {} built, {} current, {} failed, {} skipped",
        count(CellOutcome::Built),
        count(CellOutcome::Current),
        count(CellOutcome::Failed),
        count(CellOutcome::Skipped)
    );
    let run: usize = summary.steps_run.values().sum();
    let kinds: Vec<String> = summary.steps_run.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
    let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
    let _ = writeln!(
        text,
        "steps   {run} run{kinds}, {} distinct, {} asked for",
        summary.steps, summary.steps_asked
    );
    let _ = writeln!(
        text,
        "bytes   {} sent, {} fetched; blobs: {} sent, {} mounted, {} already there",
        bytes(summary.bytes_sent),
        bytes(summary.bytes_fetched),
        summary.blobs.sent,
        summary.blobs.mounted,
        summary.blobs.existed
    );
    let mut spent: Vec<(&str, f64)> = summary.seconds_by_kind.iter().map(|(k, s)| (*k, *s)).collect();
    spent.sort_by(|a, b| b.1.total_cmp(&a.1));
    let spent: Vec<String> = spent
        .iter()
        .filter(|(_, s)| *s >= 0.05)
        .take(5)
        .map(|(kind, s)| format!("{kind} {}", seconds(*s)))
        .collect();
    let spent = if spent.is_empty() { String::new() } else { format!(" (in steps: {})", spent.join(", ")) };
    let _ = writeln!(text, "time    {}{spent}", seconds(summary.seconds));
    text
}
