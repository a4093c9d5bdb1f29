//! What became of each image, as data.

use serde::Serialize;

use super::{MirrorError, MirrorImage, Moved, Support, Surveyed, Tally};
use crate::event::{BlobCounts, Failure, MirrorSummary};
use crate::oci::{Digest, Reference};
use crate::plan::{MirrorAction, MirrorDocument};

/// What became, or would become, of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MirrorOutcome {
    /// It would be copied.
    Copy,
    /// Something was copied.
    Copied,
    /// The target had all of it.
    Current,
    /// It could not be copied; its tag is where it was.
    Failed,
    /// It was not looked at after an earlier failure, or not finished before an interrupt.
    Skipped,
}

impl MirrorOutcome {
    /// Its name in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Copied => "copied",
            Self::Current => "current",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// An image at the end, or as it was found.
#[derive(Debug, Clone, Serialize)]
pub struct MirrorReport {
    /// The mirror of the manifest that lists it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<String>,
    /// Its name as it was listed.
    pub name: String,
    /// Where it comes from.
    pub source: Reference,
    /// Where it goes.
    pub target: Reference,
    /// What became of it.
    pub outcome: MirrorOutcome,
    /// The digest that the target is to have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// What the target had before, where that was something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
    /// Where the source's tag is another than it was pinned to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moved: Option<Moved>,
    /// The platforms that were copied, where it is an index.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<String>,
    /// Bytes of blobs sent.
    pub bytes: u64,
    /// What happened to blobs.
    pub blobs: BlobCounts,
    /// Signatures and the like that were copied.
    #[serde(skip_serializing_if = "is_zero")]
    pub referrers: u64,
    /// How its version stands, where its publisher supports the latest releases only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub support: Option<Support>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Whether a registry or credentials are at fault.
    #[serde(skip)]
    pub environment: bool,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl MirrorReport {
    /// As a part of a run's summary.
    pub fn summary(&self) -> MirrorSummary {
        MirrorSummary {
            mirror: self.mirror.clone().unwrap_or_default(),
            image: self.name.clone(),
            target: self.target.to_string(),
            outcome: self.outcome.name(),
            digest: self.digest,
            bytes: self.bytes,
            failure: self.failure.clone(),
        }
    }

    /// As a part of a plan.
    pub fn document(&self) -> MirrorDocument {
        let moved = self.moved.map(|moved| match moved.now {
            Some(now) => format!("the source's tag has moved to {now}; the lock stays at {}", moved.pinned),
            None => format!("the source's tag is gone; the lock stays at {}", moved.pinned),
        });
        MirrorDocument {
            mirror: self.mirror.clone().unwrap_or_default(),
            image: self.name.clone(),
            source: self.source.to_string(),
            target: self.target.to_string(),
            digest: self.digest,
            action: match self.outcome {
                MirrorOutcome::Copy | MirrorOutcome::Copied => MirrorAction::Copy,
                MirrorOutcome::Current => MirrorAction::Current,
                MirrorOutcome::Failed | MirrorOutcome::Skipped => MirrorAction::Unknown,
            },
            reason: self.failure.clone().or(moved),
        }
    }

    /// Why it failed, as a run says it.
    pub fn failure(&self) -> Option<Failure> {
        Some(Failure {
            step: format!("mirror {}", self.name),
            message: self.failure.clone()?,
            help: self.help.clone(),
            tail: Vec::new(),
            log: None,
        })
    }

    /// An image that was not looked at.
    pub fn new(image: &MirrorImage) -> Self {
        Self {
            mirror: image.mirror.clone(),
            name: image.listed.clone(),
            source: image.source.clone(),
            target: image.target.clone(),
            outcome: MirrorOutcome::Skipped,
            digest: image.digest(),
            previous: None,
            moved: None,
            platforms: Vec::new(),
            bytes: 0,
            blobs: BlobCounts::default(),
            referrers: 0,
            support: None,
            failure: None,
            help: None,
            environment: false,
        }
    }

    pub(super) fn surveyed(mut self, surveyed: &Surveyed) -> Self {
        self.digest = Some(surveyed.wanted);
        self.previous = surveyed.found.filter(|found| *found != surveyed.wanted);
        self.moved = surveyed.moved;
        self.outcome = if surveyed.is_current() { MirrorOutcome::Current } else { MirrorOutcome::Copy };
        self
    }

    pub(super) fn tally(mut self, tally: &Tally) -> Self {
        self.bytes = tally.bytes.load(std::sync::atomic::Ordering::Relaxed);
        self.blobs = tally.blobs();
        self.platforms = tally.platforms();
        self
    }

    pub(super) fn failed(mut self, error: MirrorError) -> Self {
        self.outcome = MirrorOutcome::Failed;
        self.failure = Some(error.message);
        self.help = error.help;
        self.environment = error.environment;
        self
    }
}

/// Sums over images.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct MirrorTotals {
    /// Images that would be copied.
    pub copy: usize,
    /// Images copied.
    pub copied: usize,
    /// Images that were current.
    pub current: usize,
    /// Images that failed.
    pub failed: usize,
    /// Images not looked at.
    pub skipped: usize,
    /// Bytes of blobs sent.
    pub bytes: u64,
}

impl MirrorTotals {
    /// The sums of these.
    pub fn of(reports: &[MirrorReport]) -> Self {
        let count = |outcome| reports.iter().filter(|report| report.outcome == outcome).count();
        Self {
            copy: count(MirrorOutcome::Copy),
            copied: count(MirrorOutcome::Copied),
            current: count(MirrorOutcome::Current),
            failed: count(MirrorOutcome::Failed),
            skipped: count(MirrorOutcome::Skipped),
            bytes: reports.iter().map(|report| report.bytes).sum(),
        }
    }
}
