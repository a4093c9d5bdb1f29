//! A matrix for other programs: Dockerfiles and a bake file for engines, pipelines for Harness and
//! GitHub.
//!
//! Pure: documents out of cells, a lock and a manifest's texts. What a target cannot express is a
//! [`Problem`] where the result would be another image, a comment or a note where it would not.

mod actions;
mod bake;
mod config;
mod dockerfile;
mod harness;
mod jobs;
mod needs;
mod script;
mod stages;
mod text;
mod yaml;

pub use actions::github_actions;
pub use bake::bake;
pub use dockerfile::dockerfiles;
pub use harness::{HarnessSettings, harness_pipeline};
pub use jobs::{Jobs, JobsError, Sources, jobs};
pub use needs::bases_with_users;
pub use stages::Inputs;

/// A file to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportedFile {
    /// Path relative to the directory of the export.
    pub path: String,
    /// Content.
    pub content: String,
    /// Permission bits.
    pub mode: u32,
}

/// What was exported.
#[derive(Debug, Clone, Default)]
pub struct Exported {
    /// The files, in order; the first is the one that others belong to.
    pub files: Vec<ExportedFile>,
    /// What is otherwise in the export, though the images are the same.
    pub notes: Vec<String>,
}

/// Something that the target cannot express.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{cell}` cannot be exported: {why}")]
pub struct Problem {
    /// The cell's name.
    pub cell: String,
    /// What cannot be said.
    pub why: String,
}
