//! What became of mirrored images, and how a CI configuration stands.

use std::fmt::Write as _;

use serde_json::json;

use super::bytes;
use crate::ci_images::{FieldRow, FieldState};
use crate::mirror::{MirrorOutcome, MirrorReport, MirrorTotals};

/// A line an image, and their sum.
pub fn mirrored(reports: &[MirrorReport]) -> String {
    let mut text = String::new();
    for report in reports {
        let mark = match report.outcome {
            MirrorOutcome::Copy => "copy   ",
            MirrorOutcome::Copied => "copied ",
            MirrorOutcome::Current => "current",
            MirrorOutcome::Failed => "FAILED ",
            MirrorOutcome::Skipped => "skipped",
        };
        let digest = report.digest.map(|digest| format!("  {}", digest.short())).unwrap_or_default();
        let _ = write!(text, "{mark}  {} -> {}{digest}", report.name, report.target);
        if report.outcome == MirrorOutcome::Copied {
            let blobs = report.blobs;
            let _ = write!(
                text,
                "  {} ({} sent, {} mounted, {} there)",
                bytes(report.bytes),
                blobs.sent,
                blobs.mounted,
                blobs.existed
            );
        }
        text.push('\n');
        let mut note = |words: &str| {
            let _ = writeln!(text, "         {words}");
        };
        if !report.platforms.is_empty() {
            note(&report.platforms.join(", "));
        }
        if let Some(previous) = report.previous {
            note(&format!("the target had {}", previous.short()));
        }
        if report.referrers > 0 {
            note(&format!("{} referrers copied", report.referrers));
        }
        if let Some(moved) = report.moved {
            let now = moved.now.map_or_else(|| "gone".to_owned(), |now| format!("now {}", now.short()));
            note(&format!(
                "the source's tag has moved: locked {}, {now}; `railyard update {}` takes it",
                moved.pinned.short(),
                report.source
            ));
        }
        if let Some(support) = &report.support {
            note(&support.to_string());
        }
        if let Some(failure) = &report.failure {
            note(failure);
        }
        if let Some(help) = &report.help {
            note(&format!("help: {help}"));
        }
    }
    text + &mirror_totals(reports)
}

/// The sum of images.
fn mirror_totals(reports: &[MirrorReport]) -> String {
    let totals = MirrorTotals::of(reports);
    let mut parts = Vec::new();
    for (count, word) in [
        (totals.copy, "to copy"),
        (totals.copied, "copied"),
        (totals.current, "current"),
        (totals.failed, "failed"),
        (totals.skipped, "skipped"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {word}"));
        }
    }
    format!("\nmirror  {}; {} sent\n", parts.join(", "), bytes(totals.bytes))
}

/// The same for other programs.
pub fn mirrored_json(reports: &[MirrorReport]) -> String {
    let document = json!({ "schema": 1, "images": reports, "totals": MirrorTotals::of(reports) });
    serde_json::to_string_pretty(&document).expect("reports have string keys") + "\n"
}

/// A line a field: what pipelines use, and how that stands.
pub fn ci_images(rows: &[FieldRow], next_publication: Option<jiff::civil::Date>) -> String {
    let mut text = String::new();
    let width = rows.iter().map(|row| row.field.chars().count()).max().unwrap_or(0);
    for row in rows {
        let mark = match row.state {
            FieldState::Default => "default",
            FieldState::Same => "set    ",
            FieldState::Differs => "DIFFERS",
            FieldState::NoDefault => "own    ",
        };
        let words =
            |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let _ = write!(text, "{mark}  {:<width$}  {}", row.field, words(&row.current));
        if row.state == FieldState::Differs
            && let Some(default) = &row.default
        {
            let _ = write!(text, "  (default {})", words(default));
        }
        text.push('\n');
        let mut notes = Vec::new();
        match row.mirrored {
            Some(true) => notes.push("mirrored".to_owned()),
            Some(false) => notes.push("not mirrored".to_owned()),
            None => {}
        }
        if row.state == FieldState::Differs && row.default_mirrored == Some(false) {
            notes.push("its default is not mirrored".to_owned());
        }
        notes.extend(row.support.as_ref().map(ToString::to_string));
        if !row.listed {
            notes.push("a field that railyard's facts do not list".to_owned());
        }
        if !notes.is_empty() {
            let _ = writeln!(text, "         {}", notes.join("; "));
        }
    }
    let count = |state| rows.iter().filter(|row| row.state == state).count();
    let _ = writeln!(
        text,
        "\nfields  {} default, {} set to the default, {} differ, {} without default",
        count(FieldState::Default),
        count(FieldState::Same),
        count(FieldState::Differs),
        count(FieldState::NoDefault)
    );
    if let Some(next) = next_publication {
        let _ = writeln!(text, "next publication by the calendar: {next}");
    }
    text
}
