//! The last steps of a cell: push, load, check, tags.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;

use super::archive::write_archive;
use super::error::StepError;
use super::existing;
use super::judge::{Judge, Seen};
use super::leftovers::TIMEOUT_LABEL;
use super::provenance::{Made, Provenance};
use super::worker::{StepReport, StepValue, Worker};
use crate::engine::{Collect, LineSink, RunRequest};
use crate::event::Event;
use crate::manifest::{ExistingTags, Network};
use crate::matrix::{CellId, ConcreteCheck, ConcreteCommand};
use crate::oci::{Digest, MEDIA_MANIFEST, Reference, RepositoryName};
use crate::plan::{Delivery, Ingredients, Inputs, Reason, ReasonCode, StepId, check_result};
use crate::store::{CheckRecord, ImageRecord, Record, tag_key};

impl Worker {
    /// Blobs, configuration and manifest by digest; nothing where every tag has the image already.
    pub(super) async fn push(&self, id: StepId, cell: CellId) -> Result<StepReport, StepError> {
        let image = self.image(cell)?;
        let digest = image.manifest.digest;
        let own = self.cell(cell);
        let mut tags = Vec::new();
        for reference in &own.references {
            let found = self.registry.head(reference).await?.map(|d| d.digest);
            tags.push((reference.clone(), found));
        }
        let timestamp = &self.settings.timestamp;
        tags.extend(self.stamps.tags(own, Some(digest), |tag, _| tag.at(timestamp)).await?);
        let behind = existing::behind(own, &tags, digest)?;
        let mut report = StepReport {
            changed: !behind.is_empty(),
            previous: behind.first().and_then(|(_, found)| *found),
            notices: existing::notices(own, &tags, digest),
            references: tags.iter().map(|(reference, _)| reference.clone()).collect(),
            ..StepReport::default()
        };
        if let Some((reference, has)) = behind.first() {
            report.reasons = self.why(cell, reference, *has, digest).await;
            let mut repositories: Vec<RepositoryName> = Vec::new();
            for (reference, _) in &behind {
                if !repositories.contains(&reference.name) {
                    repositories.push(reference.name.clone());
                }
            }
            self.upload(id, cell, image, &repositories).await?;
            self.explain(cell, image, &report, &repositories).await?;
        }
        self.set(id, StepValue::Pushed { tags, behind });
        Ok(report)
    }

    async fn upload(
        &self,
        id: StepId,
        cell: CellId,
        image: &ImageRecord,
        repositories: &[RepositoryName],
    ) -> Result<(), StepError> {
        for reference in self.matrix.bases(cell) {
            // The base's own blobs may have to be mounted or fetched from where it lives.
            self.resolved(&crate::plan::UsedSource::Reference(reference.clone())).await?;
        }
        let progress = self.progress(id);
        for repository in repositories {
            let layers = image.layers.iter().map(|layer| self.blobs.push(repository, layer, &progress));
            futures_util::future::try_join_all(layers).await?;
            let config = Bytes::from(image.config_json.clone());
            self.blobs.push_bytes(repository, &image.config, config).await?;
            let reference = repository.digest(image.manifest.digest);
            let manifest = Bytes::from(image.manifest_json.clone());
            self.registry.put_manifest(&reference, MEDIA_MANIFEST, manifest).await?;
        }
        Ok(())
    }

    /// What the plan was made with, but for the delivery.
    fn inputs(&self) -> Inputs<'_> {
        Inputs {
            lock: &self.lock,
            layouts: &self.settings.layouts,
            created: self.settings.created.as_deref(),
            delivery: Delivery::default(),
        }
    }

    /// Why a tag that has something else is moved to an image; nothing where that cannot be found out.
    async fn why(
        &self,
        cell: CellId,
        reference: &Reference,
        has: Option<Digest>,
        image: Digest,
    ) -> Vec<Reason> {
        let steps = self.steps(cell);
        let judge = Judge {
            matrix: &self.matrix,
            plan: &self.plan,
            inputs: &self.inputs(),
            store: &self.store,
            provenances: &self.provenances,
            steps,
            seen: &Seen::new(),
        };
        let verdict = judge.why(reference, has, Some(image)).await;
        let mut reasons = verdict.map(|verdict| verdict.reasons).unwrap_or_default();
        let mut anew = Vec::new();
        for step in steps.setup.iter().chain(&steps.artifacts) {
            let step = self.plan.step(*step);
            anew.extend(self.settings.anew.get(&step.key).map(|why| Reason::anew(*why, &step.label)));
        }
        if !anew.is_empty() {
            reasons.retain(|reason| reason.code != ReasonCode::TagMoved);
            reasons.extend(anew);
        }
        reasons
    }

    /// Says in the repositories what went into the image.
    async fn explain(
        &self,
        cell: CellId,
        image: &ImageRecord,
        report: &StepReport,
        repositories: &[RepositoryName],
    ) -> Result<(), StepError> {
        let ingredients = Ingredients::of(&self.matrix, &self.plan, &self.inputs(), self.steps(cell));
        let finished = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let made = Made {
            run: self.settings.run_id.clone(),
            finished,
            previous: report.previous,
            reasons: report.reasons.clone(),
        };
        let provenance = Provenance { ingredients, made };
        for repository in repositories {
            self.provenances.attach(repository, &image.manifest, &provenance).await?;
        }
        Ok(())
    }

    /// Moves the tags that do not point at the image.
    ///
    /// Checks may have taken long since the push looked, and another run may have moved tags meanwhile:
    /// those that must not move, or keep what they have, are looked at again. Registries have no
    /// conditional PUT, so that the moment between this look and the PUT remains.
    pub(super) async fn tag(&self, cell: CellId) -> Result<StepReport, StepError> {
        let image = self.image(cell)?;
        let (own, digest) = (self.cell(cell), image.manifest.digest);
        let push = self.steps(cell).last.iter().find_map(|step| match self.value(*step) {
            Some(StepValue::Pushed { tags, behind }) => Some((tags.clone(), behind.clone())),
            _ => None,
        });
        let Some((mut tags, pushed)) = push.filter(|(_, behind)| !behind.is_empty()) else {
            return Ok(StepReport::default());
        };
        let said = existing::notices(own, &tags, digest);
        for ((reference, has), tag) in tags.iter_mut().zip(&own.tags) {
            if tag.existing != ExistingTags::Move {
                *has = self.registry.head(reference).await?.map(|found| found.digest);
            }
        }
        let mut behind = existing::behind(own, &tags, digest)?;
        // Only those repositories have the image.
        behind.retain(|(reference, _)| pushed.iter().any(|(known, _)| known == reference));
        let mut notices = existing::notices(own, &tags, digest);
        notices.retain(|notice| !said.contains(notice));
        let report = StepReport { changed: !behind.is_empty(), notices, ..StepReport::default() };
        for (reference, _) in &behind {
            let manifest = Bytes::from(image.manifest_json.clone());
            self.registry.put_manifest(reference, MEDIA_MANIFEST, manifest).await?;
            self.store.put_record(&tag_key(reference), &Record::Tag(image.manifest.digest))?;
        }
        Ok(report)
    }

    /// The image into the engine, under its references.
    pub(super) async fn load(self: &Arc<Self>, id: StepId, cell: CellId) -> Result<StepReport, StepError> {
        let image = self.image(cell)?.clone();
        let references = self.cell(cell).references.clone();
        let engine_id = self.load_image(id, &image, &references).await?;
        self.set(id, StepValue::Engine(engine_id));
        Ok(StepReport { changed: false, ..StepReport::default() })
    }

    pub(super) async fn load_image(
        &self,
        id: StepId,
        image: &ImageRecord,
        references: &[Reference],
    ) -> Result<String, StepError> {
        let progress = self.progress(id);
        let ensured = image.layers.iter().map(|layer| self.blobs.ensure(layer, &progress));
        futures_util::future::try_join_all(ensured).await?;
        let archive = self.store.temporary_file()?;
        let (store, parts) = (self.store.clone(), vec![(image.clone(), references.to_vec())]);
        let archive = blocking(move || {
            write_archive(&store, archive.as_file(), archive.path(), &parts)?;
            Ok(archive)
        })
        .await?;
        let id = self.engine.load(archive.path(), image.config.digest).await?;
        self.engine_answered.store(true, Ordering::Relaxed);
        Ok(id)
    }

    /// The engine's id of a finished image.
    async fn engine_image_of(&self, id: StepId, cell: CellId) -> Result<String, StepError> {
        let steps = self.steps(cell);
        for step in &steps.last {
            match self.value(*step) {
                Some(StepValue::Engine(engine_id)) => return Ok(engine_id.clone()),
                Some(StepValue::Pushed { behind, .. }) => {
                    let own = self.cell(cell);
                    // A repository whose tags are kept need not have the image.
                    let moves = || own.tags.iter().position(|tag| tag.existing != ExistingTags::Keep);
                    let first = behind.first().map(|(reference, _)| &reference.name);
                    let moved = first.or_else(|| Some(&own.references[moves()?].name));
                    if let Some(name) = moved.or_else(|| own.stamped.first().map(|tag| &tag.repository)) {
                        return self.pull(&name.digest(self.image(cell)?.manifest.digest)).await;
                    }
                }
                _ => {}
            }
        }
        let image = self.image(cell)?.clone();
        self.load_image(id, &image, &[]).await
    }

    pub(super) async fn pull(&self, reference: &Reference) -> Result<String, StepError> {
        let slot = self.pulls.slot(reference.clone());
        let id = slot.get_or_try_init(|| async {
            let credentials = (self.settings.credentials)(reference.name.to_string()).await;
            // Without it the engine would only say that the image is not there.
            let credentials =
                credentials.map_err(|error| StepError { environment: true, ..StepError::from(error) })?;
            Ok::<_, StepError>(self.engine.pull(reference, &self.matrix.platform, credentials).await?)
        });
        let id = id.await?.clone();
        self.engine_answered.store(true, Ordering::Relaxed);
        Ok(id)
    }

    /// Judges a finished image by a check of the manifest.
    pub(super) async fn check(
        self: &Arc<Self>,
        id: StepId,
        cell: CellId,
        position: usize,
    ) -> Result<StepReport, StepError> {
        let check = self.cell(cell).checks[position].clone();
        let key = check_result(&self.image(cell)?.manifest.digest, &check, &self.matrix.platform);
        if let Some(Record::Check(known)) = self.store.record(&key)?
            && known.passed
            && !self.settings.no_reuse
        {
            return Ok(StepReport::default());
        }
        // Cells with equal images wait for the first one's result; a failure may be of its repository alone.
        let slot = self.checks.slot(key);
        let mut report = StepReport::default();
        slot.get_or_try_init(|| async {
            let begun = Instant::now();
            self.contents(id, cell, &check).await?;
            if let Some(command) = &check.command {
                self.run_check(id, cell, &check, command).await?;
            }
            let record = Record::Check(CheckRecord { passed: true, seconds: begun.elapsed().as_secs_f64() });
            self.store.put_record(&key, &record)?;
            self.share(id, &key, &record, &mut report).await;
            Ok::<_, StepError>(())
        })
        .await?;
        Ok(report)
    }

    /// Runs a check's command in the finished image.
    async fn run_check(
        &self,
        id: StepId,
        cell: CellId,
        check: &ConcreteCheck,
        command: &ConcreteCommand,
    ) -> Result<(), StepError> {
        let image = self.engine_image_of(id, cell).await?;
        let log = self.log(id);
        let output = Arc::new(std::sync::Mutex::new(String::new()));
        let request = self.request(image, command, Collect::Nothing)?;
        let (events, seen) = (self.emit(), output.clone());
        let lines: LineSink = Box::new(move |line| {
            // As it was printed: a secret may stand in what is expected, or be a part of its words.
            if let Ok(mut seen) = seen.lock() {
                seen.push_str(line);
                seen.push('\n');
            }
            let line = log.line(line);
            let _ = events.send(Event::StepLine { step: id, line });
        });
        let run = self.engine.run(request, lines, Box::new(|_| Ok(()))).await?;
        if run.out_of_memory {
            return Err(out_of_memory(command));
        }
        if run.exit_code != check.exit {
            return Err(StepError::new(format!(
                "check `{}` ended with exit code {}, wanted is {}",
                check.name, run.exit_code, check.exit
            ))
            .help("the image's tags were not moved; see the check's output"));
        }
        if let Some(expect) = &check.expect {
            let output = output.lock().map(|o| o.clone()).unwrap_or_default();
            if !output.contains(expect.as_str()) {
                return Err(StepError::new(format!("check `{}` did not print `{expect}`", check.name))
                    .help("the image's tags were not moved; see the check's output"));
            }
        }
        Ok(())
    }

    /// A container request for a command, with its limits and secrets.
    pub(super) fn request(
        &self,
        image: String,
        command: &ConcreteCommand,
        collect: Collect,
    ) -> Result<RunRequest, StepError> {
        let mut secrets = std::collections::BTreeMap::new();
        for (file, variable) in &command.secrets {
            let value = self.settings.secrets.get(&variable.value).ok_or_else(|| {
                StepError::new(format!("the secret `{file}` is not set"))
                    .help(format!("set the environment variable `{}`", variable.value))
            })?;
            secrets.insert(file.clone(), value.clone());
        }
        let mut argv = command.shell.clone();
        argv.push(command.script.clone());
        let network = match command.limits.network {
            None | Some(Network::Bridge) => "bridge",
            Some(Network::Host) => "host",
            Some(Network::None) => "none",
        };
        let limit = command.limits.timeout;
        let limit = limit.map(|limit| (TIMEOUT_LABEL.to_owned(), limit.as_secs().to_string()));
        Ok(RunRequest {
            image,
            command: argv,
            env: command.env.clone(),
            user: command.user.clone(),
            workdir: command.workdir.clone(),
            memory: command.limits.memory,
            cpus: command.limits.cpus,
            network: network.into(),
            timeout: command.limits.timeout,
            caches: command.cache.iter().map(|dir| (dir.clone(), self.cache_volume(dir))).collect(),
            secrets,
            collect,
            labels: self.labels().into_iter().chain(limit).collect(),
        })
    }

    fn cache_volume(&self, directory: &str) -> String {
        let name = format!("{}\n{directory}", self.matrix.project);
        format!("railyard-cache-{}", Digest::of(name.as_bytes()).short())
    }

    /// The labels of this run's containers.
    pub fn labels(&self) -> std::collections::BTreeMap<String, String> {
        self.settings.labels.clone()
    }
}

pub(super) fn out_of_memory(command: &ConcreteCommand) -> StepError {
    let limit = command.limits.memory.map(|m| format!(" of {} MiB", m >> 20)).unwrap_or_default();
    StepError::new(format!("the command was killed at its memory limit{limit}"))
        .help("raise `memory` of the step or under `[limits]`")
}

/// Runs CPU or file work off the async threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StepError> + Send + 'static,
) -> Result<T, StepError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| StepError::new(format!("a worker thread ended early: {e}")))?
}

pub(super) fn file_error(action: &str, path: &Path, error: &std::io::Error) -> StepError {
    StepError::of_file(format!("failed to {action} `{}`: {error}", path.display()), error)
}
