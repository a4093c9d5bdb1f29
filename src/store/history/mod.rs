//! Runs, their steps and their cells, recorded for `history` and for estimates.
//!
//! A run's rows are written while it goes on: what a killed one did is there, and its end is missing.

mod read;
mod running;
mod write;

use serde::Serialize;

use crate::oci::Digest;
pub(in crate::store) use running::RunFile;
pub use running::RunGuard;

/// The tables, since format 2. Times of steps are microseconds since the beginning of their run.
pub(super) const TABLES: &str = "
    CREATE TABLE runs (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        project TEXT NOT NULL,
        manifest TEXT NOT NULL,
        version TEXT NOT NULL,
        arguments TEXT NOT NULL,
        estimated INTEGER,
        started INTEGER NOT NULL,
        ended INTEGER,
        outcome TEXT,
        interrupted INTEGER NOT NULL DEFAULT 0,
        cells INTEGER NOT NULL DEFAULT 0,
        built INTEGER NOT NULL DEFAULT 0,
        current INTEGER NOT NULL DEFAULT 0,
        failed INTEGER NOT NULL DEFAULT 0,
        skipped INTEGER NOT NULL DEFAULT 0,
        steps INTEGER NOT NULL DEFAULT 0,
        steps_reused INTEGER NOT NULL DEFAULT 0,
        steps_skipped INTEGER NOT NULL DEFAULT 0,
        sent INTEGER NOT NULL DEFAULT 0,
        fetched INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE run_steps (
        run INTEGER NOT NULL,
        step INTEGER NOT NULL,
        project TEXT NOT NULL,
        key BLOB NOT NULL,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        label TEXT NOT NULL,
        class TEXT NOT NULL,
        outcome TEXT,
        queued INTEGER NOT NULL,
        started INTEGER NOT NULL,
        ended INTEGER,
        sent INTEGER NOT NULL,
        fetched INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        failure TEXT,
        digest BLOB,
        PRIMARY KEY (run, step)
    ) WITHOUT ROWID;
    CREATE INDEX run_steps_key ON run_steps (key, run) WHERE outcome = 'succeeded';
    CREATE INDEX run_steps_group ON run_steps (project, kind, name, run) WHERE outcome = 'succeeded';
    CREATE TABLE run_cells (
        run INTEGER NOT NULL,
        cell TEXT NOT NULL,
        image TEXT NOT NULL,
        outcome TEXT NOT NULL,
        reason TEXT,
        failure TEXT,
        digest BLOB,
        previous BLOB,
        refs TEXT NOT NULL,
        PRIMARY KEY (run, cell)
    ) WITHOUT ROWID;
    CREATE INDEX run_cells_cell ON run_cells (cell, run);
";

/// Position of a run among all that the store has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunNumber(i64);

/// A run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RunRow {
    /// Names it; also the label of its containers and the directory of its logs.
    pub id: String,
    /// The project's name.
    pub project: String,
    /// The manifest's file.
    pub manifest: String,
    /// railyard's version.
    pub version: String,
    /// The arguments that decide what is built, and where it goes.
    pub arguments: Vec<String>,
    /// The wall time that was expected, in microseconds.
    pub estimated: Option<u64>,
    /// Milliseconds since 1970.
    pub started: i64,
    /// Milliseconds since 1970; `None` while it goes on, or when it was killed.
    pub ended: Option<i64>,
    /// `succeeded`, `failed` or `interrupted`; `None` like `ended`.
    pub outcome: Option<String>,
    /// Whether it goes on.
    pub running: bool,
    /// Whether an interrupt came.
    pub interrupted: bool,
    /// Cells asked for.
    pub cells: u64,
    /// Cells built.
    pub built: u64,
    /// Cells that were current.
    pub current: u64,
    /// Cells that failed.
    pub failed: u64,
    /// Cells that were not finished.
    pub skipped: u64,
    /// Steps to carry out.
    pub steps: u64,
    /// Steps whose results were known.
    pub steps_reused: u64,
    /// Steps that were not begun because of a failure or an interrupt.
    pub steps_skipped: u64,
    /// Bytes sent to registries.
    pub sent: u64,
    /// Bytes fetched from registries and servers.
    pub fetched: u64,
}

/// A step that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepRow {
    /// Its position in the run's plan.
    pub step: u32,
    /// Its content key.
    pub key: Digest,
    /// Its kind.
    pub kind: String,
    /// What steps like it have in common; empty where the kind says all.
    pub name: String,
    /// For people.
    pub label: String,
    /// Which limit it counted against.
    pub class: String,
    /// `succeeded`, `failed` or `cancelled`; `None` when the run was killed before its end.
    pub outcome: Option<String>,
    /// When all it needed had ended: microseconds since the beginning of the run.
    pub queued: u64,
    /// Its beginning, likewise.
    pub started: u64,
    /// Its end, likewise.
    pub ended: Option<u64>,
    /// Bytes it sent.
    pub sent: u64,
    /// Bytes it fetched.
    pub fetched: u64,
    /// How often it was begun.
    pub attempts: u32,
    /// Why it failed, without secrets.
    pub failure: Option<String>,
    /// Digest of the layer's blob or of the image's manifest that it made.
    pub digest: Option<Digest>,
}

/// A cell that has ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CellRow {
    /// Its name.
    pub cell: String,
    /// The image's name in the manifest.
    pub image: String,
    /// `built`, `current`, `failed` or `skipped`.
    pub outcome: String,
    /// Why it was built.
    pub reason: Option<String>,
    /// Why it failed, without secrets.
    pub failure: Option<String>,
    /// Digest of its manifest.
    pub digest: Option<Digest>,
    /// What it was before: of its first tag, else of the last run that finished it.
    pub previous: Option<Digest>,
    /// Its references.
    pub references: Vec<String>,
}

/// What happened to a cell in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CellChange {
    /// The run's id.
    pub run: String,
    /// The run's project.
    pub project: String,
    /// The run's beginning, in milliseconds since 1970.
    pub started: i64,
    /// The cell.
    pub cell: CellRow,
}

/// What a step that succeeded took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepCost {
    /// Its duration in microseconds.
    pub micros: u64,
    /// Bytes it sent.
    pub sent: u64,
    /// Bytes it fetched.
    pub fetched: u64,
}
