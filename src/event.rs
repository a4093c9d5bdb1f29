//! What happens during a run, as data: the whole contract between `run` and its reporters.

use std::time::Duration;

use serde::Serialize;

use crate::oci::Digest;
use crate::plan::{Class, Reason, StepId, named};

/// Something happened. Events of one step come in order: started, lines and bytes, finished.
#[derive(Debug, Clone)]
pub enum Event {
    /// The first event.
    RunStarted {
        /// Cells asked for.
        cells: usize,
        /// Steps that will be carried out.
        steps: usize,
        /// Steps whose results are known.
        reused: usize,
    },
    /// A step begins.
    StepStarted {
        /// Which.
        step: StepId,
        /// Its kind's name.
        kind: &'static str,
        /// What it has in common with steps like it: the name of its layer, setup step or check.
        name: String,
        /// For people.
        label: String,
        /// Its class.
        class: Class,
        /// Its content key.
        key: Digest,
        /// When all it needs had ended, since the beginning of the run.
        queued: Duration,
        /// Now, since the beginning of the run.
        started: Duration,
    },
    /// A line of a container's output.
    StepLine {
        /// Which.
        step: StepId,
        /// The line without its end.
        line: String,
    },
    /// A step failed for a fault that may pass, and is tried again.
    StepRetried {
        /// Which.
        step: StepId,
        /// After this pause.
        pause: Duration,
        /// Why it failed, without secrets.
        why: String,
    },
    /// Bytes moved.
    StepBytes {
        /// Which.
        step: StepId,
        /// Whereto.
        direction: Direction,
        /// How many since the last such event.
        bytes: u64,
    },
    /// A step has ended.
    StepFinished {
        /// Which.
        step: StepId,
        /// How.
        outcome: Outcome,
        /// How long it took.
        duration: Duration,
        /// Why it failed, and where its log is.
        failure: Option<Failure>,
        /// Whether something outside is different now: an image was sent, a tag moved.
        changed: bool,
        /// Digest of the layer's blob or of the image's manifest that it made.
        digest: Option<Digest>,
    },
    /// A cell has ended.
    CellFinished(CellSummary),
    /// Something the user should know that is no failure.
    Notice(String),
    /// The first Ctrl-C: nothing more is started.
    Interrupted,
    /// The last event.
    RunFinished {
        /// Wall time.
        duration: Duration,
        /// Whether it was interrupted.
        interrupted: bool,
        /// Bytes sent to registries.
        bytes_sent: u64,
        /// Bytes fetched from registries and servers.
        bytes_fetched: u64,
    },
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To a registry.
    Sent,
    /// From a registry or another server.
    Fetched,
}

named! {
    /// How a step ended.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
    pub enum Outcome {
        /// It did its work.
        Succeeded = "succeeded",
        /// Its result was known.
        Reused = "reused",
        /// It failed.
        Failed = "failed",
        /// Something it needs failed.
        Skipped = "skipped",
        /// It was interrupted, or not started because of an interruption.
        Cancelled = "cancelled",
    }
}

/// Why a step failed.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    /// The step's label.
    pub step: String,
    /// The error with its causes.
    pub message: String,
    /// What to do next, where that is known.
    pub help: Option<String>,
    /// The last lines of the container's output.
    pub tail: Vec<String>,
    /// The whole output.
    pub log: Option<String>,
}

named! {
    /// How a cell ended.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
    pub enum CellOutcome {
        /// Its image is new where it was sent.
        Built = "built",
        /// Everything was there already.
        Current = "current",
        /// One of its steps failed.
        Failed = "failed",
        /// It was not finished because of an interruption or `--fail-fast`.
        Skipped = "skipped",
    }
}

/// A cell at the end.
#[derive(Debug, Clone, Serialize)]
pub struct CellSummary {
    /// Its name.
    pub cell: String,
    /// The image's name in the manifest.
    pub image: String,
    /// How it ended.
    pub outcome: CellOutcome,
    /// Digest of its manifest.
    pub digest: Option<Digest>,
    /// Its references.
    pub references: Vec<String>,
    /// The time in its tags, `YYYYMMDDHHMMSS`, where they have one: of this run where it wrote them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    /// What its first tag pointed at before, when that was something else.
    pub previous: Option<Digest>,
    /// Why its tags moved.
    pub reasons: Vec<Reason>,
    /// The failed step and its message.
    pub failure: Option<String>,
}

/// A whole run at its end.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The project's name.
    pub project: String,
    /// Cells in order of the matrix.
    pub cells: Vec<CellSummary>,
    /// Images of others that were to be mirrored, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<MirrorSummary>,
    /// Every failure, in order.
    pub failures: Vec<Failure>,
    /// Steps that cells ask for.
    pub steps_asked: u64,
    /// Distinct steps.
    pub steps: usize,
    /// Steps carried out, by kind.
    pub steps_run: std::collections::BTreeMap<&'static str, usize>,
    /// Seconds spent in steps, by kind (steps run side by side).
    pub seconds_by_kind: std::collections::BTreeMap<&'static str, f64>,
    /// Bytes sent to registries.
    pub bytes_sent: u64,
    /// Bytes fetched from registries and servers.
    pub bytes_fetched: u64,
    /// Blobs sent, mounted, and found in place.
    pub blobs: BlobCounts,
    /// Wall time in seconds.
    pub seconds: f64,
    /// Whether it was interrupted.
    pub interrupted: bool,
    /// Things the user should know.
    pub notices: Vec<String>,
}

/// A mirrored image at the end.
#[derive(Debug, Clone, Serialize)]
pub struct MirrorSummary {
    /// The mirror's name.
    pub mirror: String,
    /// The image's name as it is listed.
    pub image: String,
    /// Where it went.
    pub target: String,
    /// `copied`, `current`, `failed` or `skipped`.
    pub outcome: &'static str,
    /// Its digest.
    pub digest: Option<Digest>,
    /// Bytes of blobs sent.
    pub bytes: u64,
    /// Why it failed.
    pub failure: Option<String>,
}

/// What happened to blobs that images need.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct BlobCounts {
    /// Sent.
    pub sent: u64,
    /// Mounted from another repository.
    pub mounted: u64,
    /// There already.
    pub existed: u64,
}

impl Summary {
    /// How many cells ended so.
    pub fn count(&self, outcome: CellOutcome) -> usize {
        self.cells.iter().filter(|c| c.outcome == outcome).count()
    }
}
