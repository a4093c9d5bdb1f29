//! A list of images: looked up, copied side by side, reported as it goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc::UnboundedSender;

use super::{Copier, MirrorError, MirrorImage, MirrorOutcome, MirrorReport, MirrorTotals, Tally, survey};
use crate::event::{Direction, Event, Outcome};
use crate::oci::Digest;
use crate::plan::{Class, StepId};
use crate::registry::{Progress, Registry};

/// Images on their way at a time.
const IMAGES: usize = 4;
/// Images looked up at a time.
const LOOKUPS: usize = 8;

/// How a list is copied.
#[derive(Debug, Clone, Copy)]
pub struct MirrorSettings {
    /// Blobs on their way at a time.
    pub transfers: usize,
    /// Begin nothing more after the first failure.
    pub fail_fast: bool,
}

/// How every image stands, in order; copies nothing.
pub async fn planned(registry: &dyn Registry, images: &[MirrorImage]) -> Vec<MirrorReport> {
    let looked_up = images.iter().map(|image| async move {
        let report = MirrorReport::new(image);
        match survey(registry, image).await {
            Ok(surveyed) => report.surveyed(&surveyed),
            Err(error) => report.failed(error),
        }
    });
    stream::iter(looked_up).buffered(LOOKUPS).collect().await
}

/// Copies every image that differs, and reports in order. One that fails stops no other, unless the
/// settings say so. Events are those of a run, with a step an image.
pub async fn mirror(
    registry: Arc<dyn Registry>,
    images: &[MirrorImage],
    settings: MirrorSettings,
    events: UnboundedSender<Event>,
) -> Vec<MirrorReport> {
    let run = Run {
        copier: Copier::new(registry, settings.transfers),
        fail_fast: settings.fail_fast,
        has_failed: AtomicBool::new(false),
        events,
        begun: Instant::now(),
    };
    run.send(Event::RunStarted { cells: 0, steps: images.len(), reused: 0 });
    let copies = images.iter().enumerate().map(|(at, image)| run.image(at, image));
    let reports: Vec<MirrorReport> = stream::iter(copies).buffered(IMAGES).collect().await;
    let bytes = MirrorTotals::of(&reports).bytes;
    run.send(Event::RunFinished {
        duration: run.begun.elapsed(),
        interrupted: false,
        bytes_sent: bytes,
        bytes_fetched: bytes,
    });
    reports
}

struct Run {
    copier: Copier,
    fail_fast: bool,
    has_failed: AtomicBool,
    events: UnboundedSender<Event>,
    begun: Instant,
}

impl Run {
    fn send(&self, event: Event) {
        // A reporter that is gone must not stop the run.
        let _ = self.events.send(event);
    }

    async fn image(&self, at: usize, image: &MirrorImage) -> MirrorReport {
        let report = MirrorReport::new(image);
        if self.fail_fast && self.has_failed.load(Ordering::Relaxed) {
            return report;
        }
        let step = StepId(u32::try_from(at).unwrap_or(u32::MAX));
        let started = Instant::now();
        self.send(Event::StepStarted {
            step,
            kind: "mirror",
            name: image.mirror.clone().unwrap_or_else(|| "mirror".into()),
            label: image.listed.clone(),
            class: Class::Transfer,
            key: Digest::of(image.target.to_string().as_bytes()),
            queued: Default::default(),
            started: self.begun.elapsed(),
        });
        let tally = Tally::default();
        let report = self.carry(step, image, report, &tally).await.tally(&tally);
        let failure = report.failure();
        let outcome = match report.outcome {
            MirrorOutcome::Failed => Outcome::Failed,
            MirrorOutcome::Current => Outcome::Reused,
            _ => Outcome::Succeeded,
        };
        self.has_failed.fetch_or(outcome == Outcome::Failed, Ordering::Relaxed);
        self.send(Event::StepFinished {
            step,
            outcome,
            duration: started.elapsed(),
            failure,
            changed: report.outcome == MirrorOutcome::Copied,
            digest: report.digest,
        });
        report
    }

    async fn carry(
        &self,
        step: StepId,
        image: &MirrorImage,
        report: MirrorReport,
        tally: &Tally,
    ) -> MirrorReport {
        let surveyed = match survey(&*self.copier.registry, image).await {
            Ok(surveyed) => surveyed,
            Err(error) => return report.failed(error),
        };
        let mut report = report.surveyed(&surveyed);
        let events = self.events.clone();
        let progress: Progress = Arc::new(move |bytes| {
            let _ = events.send(Event::StepBytes { step, direction: Direction::Sent, bytes });
        });
        let copied = async {
            if !surveyed.is_current() {
                self.copier.copy(image, surveyed.wanted, tally, &progress).await?;
            }
            match image.referrers {
                true => self.copier.copy_referrers(image, surveyed.wanted, tally, &progress).await,
                false => Ok::<_, MirrorError>(0),
            }
        };
        match copied.await {
            Ok(referrers) => {
                report.referrers = referrers;
                if report.outcome == MirrorOutcome::Copy || referrers > 0 {
                    report.outcome = MirrorOutcome::Copied;
                }
                report
            }
            Err(error) => report.failed(error),
        }
    }
}
