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
/// settings say so; when `stop` is ready, what has not been finished is given up and said to be skipped.
/// Events are those of a run, with a step an image.
pub async fn mirror(
    registry: Arc<dyn Registry>,
    images: &[MirrorImage],
    settings: MirrorSettings,
    events: UnboundedSender<Event>,
    stop: impl Future<Output = ()>,
) -> Mirrored {
    let run = Run {
        copier: Copier::new(registry, settings.transfers),
        fail_fast: settings.fail_fast,
        has_failed: AtomicBool::new(false),
        events,
        begun: Instant::now(),
    };
    run.send(Event::RunStarted { cells: 0, steps: images.len(), reused: 0 });
    let mut reports: Vec<MirrorReport> = images.iter().map(MirrorReport::new).collect();
    let copies = images.iter().enumerate().map(|(at, image)| {
        let run = &run;
        async move { (at, run.image(at, image).await) }
    });
    let mut copies = stream::iter(copies).buffer_unordered(IMAGES);
    let mut stop = std::pin::pin!(stop);
    let interrupted = loop {
        tokio::select! {
            biased;
            () = &mut stop => break true,
            next = copies.next() => match next {
                Some((at, report)) => reports[at] = report,
                None => break false,
            },
        }
    };
    let bytes = MirrorTotals::of(&reports).bytes;
    run.send(Event::RunFinished {
        duration: run.begun.elapsed(),
        interrupted,
        bytes_sent: bytes,
        bytes_fetched: bytes,
    });
    Mirrored { reports, interrupted }
}

/// What became of a list.
#[derive(Debug)]
pub struct Mirrored {
    /// Every image, in order.
    pub reports: Vec<MirrorReport>,
    /// Whether it was stopped before all were finished.
    pub interrupted: bool,
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
            match (surveyed.is_current(), image.referrers) {
                (false, _) => self.copier.copy(image, surveyed.wanted, tally, &progress).await,
                (true, true) => self.copier.copy_referrers(image, surveyed.wanted, tally, &progress).await,
                (true, false) => Ok::<_, MirrorError>(0),
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::sync::mpsc;

    use super::*;
    use crate::oci::{Descriptor, ImageConfig, ImageIndex, MEDIA_INDEX, RepositoryName, to_canonical_json};
    use crate::registry::FakeRegistry;

    /// An index of two images under `a.example/up/app:1`.
    fn source(fake: &FakeRegistry) -> Descriptor {
        let name: RepositoryName = "a.example/up/app".parse().unwrap();
        let image = |arch: &str| {
            let config = ImageConfig { architecture: arch.into(), ..ImageConfig::default() };
            let layers = [Bytes::from_static(b"shared"), Bytes::from(arch.to_owned())];
            fake.insert_image(&name.tag(arch), config, &layers)
        };
        let index = ImageIndex {
            schema_version: 2,
            media_type: Some(MEDIA_INDEX.into()),
            manifests: vec![image("amd64"), image("arm64")],
            annotations: Default::default(),
        };
        fake.insert_manifest(&name.tag("1"), MEDIA_INDEX, to_canonical_json(&index).into())
    }

    async fn run(fake: &Arc<FakeRegistry>, image: &MirrorImage) -> MirrorReport {
        let settings = MirrorSettings { transfers: 2, fail_fast: false };
        let (events, _receiver) = mpsc::unbounded_channel();
        let never = std::future::pending();
        mirror(fake.clone(), std::slice::from_ref(image), settings, events, never).await.reports.remove(0)
    }

    #[tokio::test]
    async fn children_go_first_and_the_tag_last() {
        let fake = Arc::new(FakeRegistry::new());
        let index = source(&fake);
        let image = MirrorImage::new("app:1", Some("a.example/up"), "b.example/acme").unwrap();
        let report = run(&fake, &image).await;
        assert_eq!((report.outcome, report.digest), (MirrorOutcome::Copied, Some(index.digest)));
        assert_eq!(fake.content(index.digest).map(|bytes| bytes.len() as u64), Some(index.size));
        let puts: Vec<String> =
            fake.requests().into_iter().filter(|request| request.starts_with("PUT")).collect();
        assert_eq!(puts.iter().filter(|put| put.starts_with("PUT blob")).count(), 5, "the layer is shared");
        assert_eq!(puts.last().unwrap(), "PUT manifest b.example/acme/app:1");
        assert!(puts[puts.len() - 2].contains("PUT manifest b.example/acme/app@sha256:"));
        fake.clear_requests();
        assert_eq!(run(&fake, &image).await.outcome, MirrorOutcome::Current);
        assert_eq!(fake.requests().len(), 2, "one HEAD at each end");
    }

    #[tokio::test]
    async fn what_is_finished_when_it_is_stopped_is_told() {
        let fake = Arc::new(FakeRegistry::new());
        source(&fake);
        let images =
            ["b.example", "c.example"].map(|to| MirrorImage::new("app:1", Some("a.example/up"), to).unwrap());
        let settings = MirrorSettings { transfers: 2, fail_fast: false };
        let (events, mut receiver) = mpsc::unbounded_channel();
        let stop = async {
            while let Some(event) = receiver.recv().await {
                if matches!(event, Event::StepFinished { .. }) {
                    break;
                }
            }
        };
        let mirrored = mirror(fake.clone(), &images, settings, events, stop).await;
        let outcomes: Vec<MirrorOutcome> = mirrored.reports.iter().map(|report| report.outcome).collect();
        assert_eq!(outcomes, [MirrorOutcome::Copied, MirrorOutcome::Skipped]);
        assert!(mirrored.interrupted);
        assert_eq!(fake.tagged(&images[1].target), None);
    }

    #[tokio::test]
    async fn a_failure_leaves_the_tag_and_the_next_run_goes_on() {
        let fake = Arc::new(FakeRegistry::new());
        source(&fake);
        let image = MirrorImage::new("app:1", Some("a.example/up"), "b.example/acme").unwrap();
        let refusal = crate::registry::RegistryErrorKind::Denied("no".into());
        fake.fail_next(|request| request == "PUT manifest b.example/acme/app:1", refusal);
        let report = run(&fake, &image).await;
        assert_eq!((report.outcome, report.environment), (MirrorOutcome::Failed, true));
        assert_eq!(fake.tagged(&image.target), None);
        let sent = fake.bytes_sent();
        assert_eq!(run(&fake, &image).await.outcome, MirrorOutcome::Copied);
        assert_eq!(fake.bytes_sent(), sent);
    }

    /// A signature of an image under its fallback tag, as a registry without the API has it.
    fn signature(fake: &FakeRegistry, image: Digest) -> Descriptor {
        let name: RepositoryName = "a.example/up/app".parse().unwrap();
        let config = ImageConfig { architecture: "signature".into(), ..ImageConfig::default() };
        let signature = fake.insert_image(&name.tag("signature"), config, &[]);
        let list = ImageIndex {
            schema_version: 2,
            media_type: Some(MEDIA_INDEX.into()),
            manifests: vec![signature.clone()],
            annotations: Default::default(),
        };
        let tag = name.tag(&format!("sha256-{}", image.hex()));
        fake.insert_manifest(&tag, MEDIA_INDEX, to_canonical_json(&list).into());
        signature
    }

    fn with_referrers() -> MirrorImage {
        let image = MirrorImage::new("app:1", Some("a.example/up"), "b.example/acme").unwrap();
        MirrorImage { referrers: true, ..image }
    }

    #[tokio::test]
    async fn referrers_go_before_the_tag() {
        let fake = Arc::new(FakeRegistry::new());
        let index = source(&fake);
        let signature = signature(&fake, index.digest);
        let image = with_referrers();
        let wanted = format!("GET manifest a.example/up/app@{}", signature.digest);
        fake.fail_next(move |request| request == wanted, crate::registry::RegistryErrorKind::NotFound);
        let report = run(&fake, &image).await;
        assert_eq!(report.outcome, MirrorOutcome::Failed);
        assert_eq!(fake.tagged(&image.target), None, "the tag is where it was");
        let failure = report.failure().unwrap();
        let named = format!("the referrer `a.example/up/app@{}` was not copied", signature.digest);
        assert!(failure.message.contains(&named), "{}", failure.message);
        assert!(failure.help.unwrap().contains("mirror without referrers"));

        fake.clear_requests();
        let report = run(&fake, &image).await;
        assert_eq!((report.outcome, report.referrers), (MirrorOutcome::Copied, 1));
        assert_eq!(fake.requests().last().unwrap(), "PUT manifest b.example/acme/app:1");
        assert_eq!(run(&fake, &image).await.outcome, MirrorOutcome::Current);
    }

    #[tokio::test]
    async fn lists_of_referrers_keep_what_is_in_them() {
        let fake = Arc::new(FakeRegistry::new());
        let index = source(&fake);
        signature(&fake, index.digest);
        let image = with_referrers();
        let list = image.target.name.tag(&format!("sha256-{}", index.digest.hex()));
        let before = fake.insert_manifest(&list, MEDIA_INDEX, "no JSON".into());
        let report = run(&fake, &image).await;
        assert_eq!((report.outcome, fake.tagged(&list)), (MirrorOutcome::Failed, Some(before.digest)));
        let message = report.failure().unwrap().message;
        assert!(message.contains(&format!("the list of referrers `{list}` cannot be read")), "{message}");

        let other = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"m","digest":"sha512:{}","size":1}}],"annotations":{{"a":"b"}}}}"#,
            "0".repeat(128)
        );
        fake.insert_manifest(&list, MEDIA_INDEX, other.into());
        assert_eq!(run(&fake, &image).await.outcome, MirrorOutcome::Copied);
        let now = fake.content(fake.tagged(&list).unwrap()).unwrap();
        let now: serde_json::Value = serde_json::from_slice(&now).unwrap();
        assert_eq!(now["annotations"]["a"], "b");
        assert_eq!(now["manifests"].as_array().unwrap().len(), 2, "{now:#}");
    }

    #[tokio::test]
    async fn pinned_images_need_no_tag_at_their_source() {
        let fake = Arc::new(FakeRegistry::new());
        let index = source(&fake);
        let mut image = MirrorImage::new("app:1", Some("a.example/up"), "b.example/acme").unwrap();
        image.pinned = Some(index.digest);
        fake.remove_tag(&image.source);
        let report = run(&fake, &image).await;
        assert_eq!(report.outcome, MirrorOutcome::Copied);
        assert_eq!(report.moved.map(|moved| moved.now), Some(None));
    }
}
