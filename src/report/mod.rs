//! What people and other programs see: progress, the closing table, reports, views of a plan and
//! of past runs.
//!
//! Reporters consume [`Event`]s; nothing here decides anything.

mod bars;
mod estimate_view;
mod history_view;
mod html_view;
mod junit;
mod mirror_view;
mod outputs;
mod plain;
mod plan_view;
mod status_view;
mod summary;

pub use bars::Bars;
pub use estimate_view::{against_estimate, estimate};
pub use history_view::{RunDocument, changes, changes_json, run, run_json, runs, runs_json};
pub use html_view::html;
pub use junit::junit;
pub use mirror_view::{ci_images, mirrored, mirrored_json};
pub use outputs::{OutputForm, Outputs, artifact_file, outputs};
pub use plain::Plain;
pub use plan_view::{dot, mermaid, table};
pub use status_view::{
    CellExplained, LayerExplained, StatusCell, StatusDocument, StatusOrphan, explained, status,
};
pub use summary::{failures, summary};

use crate::event::Event;

/// Shows a run as it goes, on standard error.
pub trait Reporter: Send {
    /// Takes one event, in order.
    fn event(&mut self, event: &Event);
    /// Clears what is only there while the run goes on.
    fn finish(&mut self);
}

/// Shows nothing.
pub struct Quiet;

impl Reporter for Quiet {
    fn event(&mut self, _: &Event) {}
    fn finish(&mut self) {}
}

/// Bytes for people: `12.3 MB`.
pub fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", count as f64 / 1e6),
        _ => format!("{:.2} GB", count as f64 / 1e9),
    }
}

/// A duration for people: `0.3 s`, `48 s`, `2 m 05 s`.
pub fn seconds(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    if whole < 60 { format!("{whole} s") } else { format!("{} m {:02} s", whole / 60, whole % 60) }
}
