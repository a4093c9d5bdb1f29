//! Steps that make layers, and the assembly of a cell.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::archive::write_docker_archive;
use super::assemble::{Base, StackedLayer, assemble};
use super::cache::StandIn;
use super::deliver::{blocking, file_error, out_of_memory};
use super::error::StepError;
use super::images::ImageFiles;
use super::worker::{StepReport, StepValue, Worker, used};
use crate::engine::{Collect, LineSink, RunOutput, RunRequest, TarSink};
use crate::event::Event;
use crate::layer::{
    Archive, ArtifactBuilder, ChangesSpec, CopySpec, ExtractSpec, KeepSpec, LayerBlob, LayerError, Meta,
    NORMALISED_MTIME, Restoration, Times, TreePath, normalise_changes, place, write_placed,
};
use crate::manifest::Owner;
use crate::matrix::{
    ArchiveName, CellId, ConcreteCommand, ConcreteContent, ConcreteDownload, ConcretePart, ConcreteRun,
    LayerId, Source,
};
use crate::oci::{Descriptor, DiffId, Digest, Reference};
use crate::plan::{StepId, StepKind, UsedSource};
use crate::store::{LayerRecord, Record, Store};

impl From<LayerError> for StepError {
    fn from(error: LayerError) -> Self {
        let help = match &error {
            LayerError::NotFound { .. } => Some("correct the path, or the image it is taken from"),
            LayerError::Conflict { .. } => Some("a layer cannot put one over the other: use another path"),
            LayerError::Dangling { .. } => Some("keep what the link leads to as well"),
            LayerError::NoMember { .. } => Some("correct `members`: they are named as in the archive"),
            _ => None,
        };
        let step = StepError::new(error.to_string());
        match help {
            Some(help) => step.help(help),
            None => step,
        }
    }
}

/// What goes into an artifact, with its files at hand.
enum Ingredient {
    Copy { files: ImageFiles, image: String, copy: crate::matrix::ConcreteCopy },
    Download { download: ConcreteDownload, blob: Digest },
    File { path: String, content: String, mode: u32, owner: Owner },
    Local { path: String, source: String, digest: Option<Digest>, mode: u32, owner: Owner },
    Dir { path: String, mode: u32, owner: Owner },
}

impl Worker {
    /// Makes a layer's files.
    pub(super) async fn artifact(
        self: &Arc<Self>,
        id: StepId,
        layer: LayerId,
    ) -> Result<StepReport, StepError> {
        let begun = Instant::now();
        let matrix = self.matrix.clone();
        let mut report = StepReport::default();
        let blob = match &matrix.layers[layer.0].content {
            ConcreteContent::Parts(parts) => self.parts(id, parts).await?,
            ConcreteContent::Run(run) => {
                let blob = self.run_layer(id, run).await?;
                self.compare_output(id, &matrix.layers[layer.0].name, blob.diff_id, &mut report)?;
                blob
            }
        };
        self.keep_layer(id, Some(blob), begun).await?;
        self.unshared.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        Ok(report)
    }

    /// Names a run whose output is not what the lock says.
    pub(super) fn compare_output(
        &self,
        id: StepId,
        layer: &str,
        diff_id: DiffId,
        report: &mut StepReport,
    ) -> Result<(), StepError> {
        let key = self.plan.step(id).key;
        if let Some(locked) = self.lock.outputs.get(&key)
            && *locked != diff_id
        {
            let anew = self.settings.anew.contains_key(&key);
            let message = format!(
                "the output of `{layer}` ({}) is {}, the lock {} {locked}",
                self.plan.step(id).label,
                diff_id,
                if anew { "said" } else { "says" }
            );
            if self.settings.locked {
                return Err(StepError::new(message)
                    .help("the step is not reproducible: share its output through `[cache]`, or run `railyard update`"));
            }
            report.notices.push(message);
        }
        self.note_output(key, diff_id);
        Ok(())
    }

    /// Remembers a layer that was made; `None` for one without changes.
    async fn keep_layer(&self, id: StepId, blob: Option<LayerBlob>, begun: Instant) -> Result<(), StepError> {
        let made = blob.as_ref().map(|blob| (blob.descriptor.clone(), blob.diff_id));
        let record = LayerRecord::new(made, begun.elapsed());
        if let Some(blob) = blob {
            self.images.remember(blob.descriptor.digest, blob.diff_id, Arc::new(blob.index))?;
        }
        self.store.put_record(&self.plan.step(id).key, &Record::Layer(Box::new(record.clone())))?;
        self.set(id, StepValue::Layer(Box::new(record)));
        Ok(())
    }

    /// Puts a step's result into the cache repository.
    async fn share_result(&self, id: StepId, report: &mut StepReport) {
        let record = match self.value(id) {
            Some(StepValue::Layer(layer)) => Record::Layer(layer.clone()),
            Some(StepValue::Image(image)) => Record::Image(image.clone()),
            _ => return,
        };
        self.share(id, &self.plan.step(id).key, &record, report).await;
    }

    /// Puts an artifact that this run made into the cache repository, once: as what it was placed as where
    /// it can be had from that, so that it is not sent beside it.
    async fn share_artifact(
        &self,
        id: StepId,
        placed: Option<(Descriptor, Restoration)>,
        report: &mut StepReport,
    ) {
        if !self.unshared.lock().unwrap_or_else(PoisonError::into_inner).remove(&id) {
            return;
        }
        let Some(StepValue::Layer(layer)) = self.value(id) else { return };
        let level = self.settings.level;
        let stand_in = placed.map(|(blob, restoration)| StandIn { blob, restoration, level });
        let record = Record::Layer(layer.clone());
        self.publish(id, &self.plan.step(id).key, &record, stand_in.as_ref(), report).await;
    }

    /// Puts a record into the cache repository; a failure is worth a notice, not the build.
    pub(super) async fn share(&self, id: StepId, key: &Digest, record: &Record, report: &mut StepReport) {
        self.publish(id, key, record, None, report).await;
    }

    async fn publish(
        &self,
        id: StepId,
        key: &Digest,
        record: &Record,
        stand_in: Option<&StandIn>,
        report: &mut StepReport,
    ) {
        let Some(cache) = &self.cache else { return };
        if let Err(error) = cache.publish(key, record, stand_in, &self.progress(id)).await {
            report.notices.push(format!("not shared in the cache repository: {error}"));
        }
    }

    async fn parts(self: &Arc<Self>, id: StepId, parts: &[ConcretePart]) -> Result<LayerBlob, StepError> {
        let progress = self.progress(id);
        let mut ingredients = Vec::new();
        for part in parts {
            ingredients.push(match part {
                ConcretePart::Copy(copy) => {
                    let files = self.source_files(&copy.from, &progress).await?;
                    let ensured = files.layers.iter().map(|layer| self.blobs.ensure(layer, &progress));
                    futures_util::future::try_join_all(ensured).await?;
                    Ingredient::Copy { files, image: self.source_name(&copy.from), copy: copy.clone() }
                }
                ConcretePart::Download(download) => {
                    let locked = self.lock.downloads.get(&download.urls[0]).map(|d| d.sha256);
                    let wanted = download.sha256.or(locked);
                    let (blob, _) =
                        self.downloads.get(&download.urls, wanted, &progress).await.map_err(|error| {
                            let url = &download.urls[0];
                            let locked = self.lock.places.download(url);
                            error.pinned_at(locked.filter(|_| download.sha256.is_none()), url)
                        })?;
                    Ingredient::Download { download: download.clone(), blob }
                }
                ConcretePart::File { path, content, mode, owner } => Ingredient::File {
                    path: path.clone(),
                    content: content.clone(),
                    mode: *mode,
                    owner: *owner,
                },
                ConcretePart::Local { path, source, mode, owner } => Ingredient::Local {
                    path: path.clone(),
                    source: source.clone(),
                    digest: self.settings.layouts.get(&crate::plan::local_name(source)).copied(),
                    mode: *mode,
                    owner: *owner,
                },
                ConcretePart::Dir { path, mode, owner } => {
                    Ingredient::Dir { path: path.clone(), mode: *mode, owner: *owner }
                }
            });
        }
        let (store, level) = (self.store.clone(), self.settings.level);
        blocking(move || {
            let mut builder = ArtifactBuilder::new(&store.temporary())?;
            for ingredient in &ingredients {
                add(&mut builder, &store, ingredient)?;
            }
            store_blob(&store, |out| builder.finish(out, level))
        })
        .await
    }

    pub(super) fn source_name(&self, source: &Source) -> String {
        match source {
            Source::Scratch => "scratch".into(),
            Source::Cell(cell) => self.cell(*cell).name.clone(),
            Source::Dockerfile(made) => self.matrix.dockerfiles[made.0].spec.label(),
            Source::Reference(_) | Source::Layout(_) => used(source).to_string(),
        }
    }

    /// Runs a command in its builder image and takes what it keeps.
    async fn run_layer(self: &Arc<Self>, id: StepId, run: &ConcreteRun) -> Result<LayerBlob, StepError> {
        let image = self.engine_image(id, &run.image, &[]).await?;
        let request = self.request(image, &run.command, Collect::Paths(run.keep.clone()))?;
        let builder = Arc::new(Mutex::new(ArtifactBuilder::new(&self.store.temporary())?));
        let keep = run.keep.iter().map(TreePath::parse).collect::<Result<Vec<_>, _>>()?;
        let sink: TarSink = {
            let (builder, implied) = (builder.clone(), keep.clone());
            Box::new(move |tar| {
                let rename = |name: &[u8]| TreePath::parse(name).ok();
                let spec = KeepSpec {
                    rename: &rename,
                    times: Times::Normalise(NORMALISED_MTIME),
                    implied: &implied,
                };
                let mut builder = builder.lock().unwrap_or_else(PoisonError::into_inner);
                builder.add_tar(tar, &spec).map_err(std::io::Error::other)
            })
        };
        let output = self.container(id, request, sink).await?;
        self.judge(&output, &run.command)?;
        self.release(id);
        let builder = std::mem::replace(
            &mut *builder.lock().unwrap_or_else(PoisonError::into_inner),
            ArtifactBuilder::new(&self.store.temporary())?,
        );
        let beneath = match builder.check_kept(&keep, None) {
            // Only a link out of what is kept needs the builder image's own files.
            Err(LayerError::Dangling { .. }) => {
                Some(self.source_files(&run.image, &self.progress(id)).await?.tree)
            }
            other => {
                other?;
                None
            }
        };
        let (store, level) = (self.store.clone(), self.settings.level);
        blocking(move || {
            if let Some(tree) = &beneath {
                builder.check_kept(&keep, Some(tree))?;
            }
            store_blob(&store, |out| builder.finish(out, level))
        })
        .await
    }

    fn judge(&self, output: &RunOutput, command: &ConcreteCommand) -> Result<(), StepError> {
        if output.out_of_memory {
            return Err(out_of_memory(command));
        }
        if output.exit_code != 0 {
            return Err(StepError::new(format!("the command ended with exit code {}", output.exit_code))
                .help("see the end of its output, and the whole of it in the log"));
        }
        Ok(())
    }

    /// Runs a container with its output going to the step's log and to the reporters.
    async fn container(
        &self,
        id: StepId,
        request: RunRequest,
        sink: TarSink,
    ) -> Result<RunOutput, StepError> {
        let (log, events) = (self.log(id), self.emit());
        let lines: LineSink = Box::new(move |line| {
            let line = log.line(line);
            let _ = events.send(Event::StepLine { step: id, line });
        });
        Ok(self.engine.run(request, lines, sink).await?)
    }

    async fn pull_source(&self, reference: &Reference) -> Result<String, StepError> {
        let digest = self.resolved(&UsedSource::Reference(reference.clone())).await?.digest;
        self.pull(&Reference { tag: None, ..reference.name.digest(digest) }).await
    }

    /// Has the engine pull the builder images of the runs to come, one after the other, while the first
    /// ones run. A failure is the step's to report.
    pub(super) async fn pull_builders(&self, runs: Vec<StepId>) {
        let mut pulled = HashSet::new();
        for id in runs {
            let StepKind::Artifact(layer) = self.plan.step(id).kind else { continue };
            let ConcreteContent::Run(run) = &self.matrix.layers[layer.0].content else { continue };
            if let Source::Reference(reference) = &run.image
                && pulled.insert(reference)
                && self.pull_source(reference).await.is_err()
            {
                return;
            }
        }
    }

    /// The engine's id of a base or builder with the layers of setup steps on top.
    pub(super) async fn engine_image(
        self: &Arc<Self>,
        id: StepId,
        source: &Source,
        setup: &[StepId],
    ) -> Result<String, StepError> {
        let mut stacked = Vec::new();
        for step in setup {
            let layer = self.layer(*step)?;
            if let (Some(blob), Some(diff_id)) = (&layer.blob, layer.diff_id) {
                stacked.push(StackedLayer { blob: blob.clone(), diff_id, created_by: "setup".into() });
            }
        }
        if let (Source::Reference(reference), true) = (source, stacked.is_empty()) {
            return self.pull_source(reference).await;
        }
        let layers = match source {
            // What a Dockerfile makes is only ever the base of its own cell.
            Source::Scratch | Source::Dockerfile(_) => Vec::new(),
            Source::Cell(cell) => self.image(*cell)?.layers.clone(),
            Source::Reference(_) | Source::Layout(_) => self.resolved(&used(source)).await?.layers.clone(),
        };
        let base = Base { config: self.source_config(source).await?, layers };
        let image = assemble(&base, &stacked, &Default::default(), &self.matrix.platform, None)
            .map_err(|e| StepError::new(e.to_string()))?;
        let progress = self.progress(id);
        let ensured = image.layers.iter().map(|layer| self.blobs.ensure(layer, &progress));
        futures_util::future::try_join_all(ensured).await?;
        let archive = self.store.temporary_file()?;
        let path = archive.path().to_owned();
        let (store, config) = (self.store.clone(), image.config.digest);
        blocking(move || write_docker_archive(&store, &path, &[(image, Vec::new())])).await?;
        let id = self.engine.load(archive.path(), config).await?;
        self.engine_answered.store(true, Ordering::Relaxed);
        Ok(id)
    }

    /// Runs a setup step on its base and takes all that it changed.
    pub(super) async fn setup(
        self: &Arc<Self>,
        id: StepId,
        cell: CellId,
        position: usize,
    ) -> Result<StepReport, StepError> {
        let begun = Instant::now();
        let command = self.cell(cell).setup[position].clone();
        let before = self.steps(cell).setup[..position].to_vec();
        let base = self.cell(cell).base.clone();
        let image = self.engine_image(id, &base, &before).await?;
        let beneath = self.files_of_chain(&base, &before, &self.progress(id)).await?.tree;
        let mut mounts = command.cache.iter().map(TreePath::parse).collect::<Result<Vec<_>, _>>()?;
        mounts.push(TreePath::parse("/run/secrets")?);
        let request = self.request(image, &command, Collect::Changes)?;
        let made: Arc<Mutex<Option<LayerBlob>>> = Arc::default();
        let temporary = self.store.temporary_file()?;
        let sink: TarSink = {
            let (made, spool_dir, path) = (made.clone(), self.store.temporary(), temporary.path().to_owned());
            let level = self.settings.level;
            Box::new(move |tar| {
                let out = BufWriter::new(File::create(&path)?);
                let spec = ChangesSpec {
                    beneath: &beneath,
                    mounts: &mounts,
                    spool_dir: &spool_dir,
                    level,
                    keep_until: None,
                };
                let blob = normalise_changes(tar, &spec, out).map_err(std::io::Error::other)?;
                *made.lock().unwrap_or_else(PoisonError::into_inner) = Some(blob);
                Ok(())
            })
        };
        let output = self.container(id, request, sink).await?;
        self.judge(&output, &command)?;
        let blob = made.lock().unwrap_or_else(PoisonError::into_inner).take();
        let blob = blob.filter(|blob| !blob.index.is_empty());
        if let Some(blob) = &blob {
            self.store.put_file(temporary, blob.descriptor.digest)?;
        }
        self.keep_layer(id, blob, begun).await?;
        let mut report = StepReport::default();
        self.share_result(id, &mut report).await;
        Ok(report)
    }

    /// Puts an artifact onto what is beneath it.
    pub(super) async fn place(
        self: &Arc<Self>,
        id: StepId,
        cell: CellId,
        position: usize,
    ) -> Result<StepReport, StepError> {
        let begun = Instant::now();
        let mut report = StepReport::default();
        let progress = self.progress(id);
        let artifact_step = self.steps(cell).artifacts[position];
        let record = self.layer(artifact_step)?.clone();
        let (Some(artifact), Some(diff_id)) = (record.blob, record.diff_id) else {
            return Err(StepError::new("the artifact of this layer is missing"));
        };
        let index = self.images.index(&artifact, &progress).await?;
        let beneath = self.files_beneath(cell, position, &progress).await?.tree;
        let placement = place(&index, &beneath)?;
        if placement.is_identity() {
            let record = LayerRecord::new(Some((artifact, diff_id)), begun.elapsed());
            self.store.put_record(&self.plan.step(id).key, &Record::Layer(Box::new(record.clone())))?;
            self.set(id, StepValue::Layer(Box::new(record)));
            self.share_artifact(artifact_step, None, &mut report).await;
            return Ok(report);
        }
        let restoration = Restoration::of(&index, &placement);
        // Cells whose trees call for the same difference share one blob.
        let key = placement.key(artifact.digest);
        let slot = self.placements.slot(key);
        let record = slot
            .get_or_try_init(|| async {
                if let Some(Record::Layer(known)) = self.store.record(&key)?
                    && known.blob.as_ref().is_some_and(|blob| self.store.has_blob(blob.digest))
                {
                    return Ok(*known);
                }
                let path = self.blobs.ensure(&artifact, &progress).await?;
                let (store, level) = (self.store.clone(), self.settings.level);
                let blob = blocking(move || {
                    let stored = open(&path)?;
                    let spool = store.temporary();
                    store_blob(&store, |out| write_placed(stored, &index, &placement, &spool, out, level))
                })
                .await?;
                let record = LayerRecord::new(Some((blob.descriptor.clone(), blob.diff_id)), begun.elapsed());
                self.images.remember(blob.descriptor.digest, blob.diff_id, Arc::new(blob.index))?;
                self.store.put_record(&key, &Record::Layer(Box::new(record.clone())))?;
                Ok::<_, StepError>(record)
            })
            .await?
            .clone();
        self.store.put_record(&self.plan.step(id).key, &Record::Layer(Box::new(record.clone())))?;
        let placed = record.blob.clone().zip(restoration);
        self.set(id, StepValue::Layer(Box::new(record)));
        self.share_artifact(artifact_step, placed, &mut report).await;
        Ok(report)
    }

    /// Configuration and manifest of a cell.
    pub(super) async fn assemble(
        self: &Arc<Self>,
        id: StepId,
        cell: CellId,
    ) -> Result<StepReport, StepError> {
        let source = self.cell(cell).base.clone();
        let layers = match &source {
            Source::Dockerfile(_) => return self.assemble_built(id, cell).await,
            Source::Scratch => Vec::new(),
            Source::Cell(upstream) => self.image(*upstream)?.layers.clone(),
            Source::Reference(_) | Source::Layout(_) => self.resolved(&used(&source)).await?.layers.clone(),
        };
        let base = Base { config: self.source_config(&source).await?, layers };
        let steps = self.steps(cell).clone();
        let names =
            self.cell(cell).layers.iter().map(|l| format!("railyard layer {}", self.matrix.layers[l.0].name));
        let labels = steps.setup.iter().map(|_| "railyard setup".to_owned()).chain(names);
        let mut stacked = Vec::new();
        for (step, created_by) in steps.setup.iter().chain(&steps.places).zip(labels) {
            let layer = self.layer(*step)?;
            if let (Some(blob), Some(diff_id)) = (&layer.blob, layer.diff_id) {
                stacked.push(StackedLayer { blob: blob.clone(), diff_id, created_by });
            }
        }
        let created = self.settings.created.as_deref();
        let image = assemble(&base, &stacked, &self.cell(cell).config, &self.matrix.platform, created)
            .map_err(|e| StepError::new(format!("`{}`: {e}", self.cell(cell).name)))?;
        self.store.put_bytes(image.config_json.as_bytes())?;
        self.store.put_bytes(image.manifest_json.as_bytes())?;
        self.store.put_record(&self.plan.step(id).key, &Record::Image(Box::new(image.clone())))?;
        self.set(id, StepValue::Image(Box::new(image)));
        let mut report = StepReport { changed: true, ..StepReport::default() };
        self.share_result(id, &mut report).await;
        Ok(report)
    }
}

/// Writes a layer blob to the store.
pub(super) fn store_blob(
    store: &Store,
    write: impl FnOnce(&mut BufWriter<&File>) -> Result<LayerBlob, LayerError>,
) -> Result<LayerBlob, StepError> {
    let temporary = store.temporary_file()?;
    let mut out = BufWriter::with_capacity(1 << 18, temporary.as_file());
    let blob = write(&mut out)?;
    std::io::Write::flush(&mut out).map_err(|e| file_error("write", temporary.path(), &e))?;
    drop(out);
    store.put_file(temporary, blob.descriptor.digest)?;
    Ok(blob)
}

pub(super) fn open(path: &Path) -> Result<BufReader<File>, StepError> {
    let file = File::open(path).map_err(|e| file_error("open", path, &e))?;
    Ok(BufReader::with_capacity(1 << 18, file))
}

fn add(builder: &mut ArtifactBuilder, store: &Store, ingredient: &Ingredient) -> Result<(), StepError> {
    match ingredient {
        Ingredient::Copy { files, image, copy } => {
            builder.part(&format!("copy from `{image}`"));
            let chmod = copy.chmod.clone();
            let change = chmod.map(|chmod| move |mode: u32, dir: bool| chmod.apply(mode, dir));
            let spec = CopySpec {
                image,
                paths: &copy.paths,
                to: copy.to.as_deref(),
                chmod: change.as_ref().map(|c| c as &dyn Fn(u32, bool) -> u32),
                owner: copy.owner.map(|o| (o.uid, o.gid)),
                parents_mode: None,
            };
            let open_layer = |position: usize| open_blob(store, &files.layers[position]);
            builder.copy(&files.tree, open_layer, &spec)?;
        }
        Ingredient::Download { download, blob } => {
            builder.part(&format!("download `{}`", download.name));
            let path = store.blob_path(*blob);
            let file = open(&path)?;
            let (uid, gid) = download.owner;
            match &download.extract {
                None => {
                    let target = match download.path.strip_suffix('/') {
                        Some(directory) => {
                            let name = download.urls[0].rsplit('/').next().unwrap_or(&download.name);
                            format!("{directory}/{name}")
                        }
                        None => download.path.clone(),
                    };
                    builder.file(&target, file, Meta::new(download.mode.unwrap_or(0o644), uid, gid))?;
                }
                Some(extract) => {
                    let mode = download.mode;
                    let change = move |own: u32, dir: bool| match mode {
                        Some(mode) if !dir => mode,
                        _ => own,
                    };
                    let format = match extract.format {
                        ArchiveName::Tar | ArchiveName::TarGz => Archive::Tar,
                        ArchiveName::Zip => Archive::Zip,
                    };
                    builder.extract(
                        file,
                        &ExtractSpec {
                            format,
                            members: &extract.members,
                            strip: extract.strip,
                            path: &download.path,
                            mode: mode.map(|_| &change as &dyn Fn(u32, bool) -> u32),
                            owner: download.owner,
                        },
                    )?;
                }
            }
        }
        Ingredient::File { path, content, mode, owner } => {
            builder.part("files");
            builder.file(path, content.as_bytes(), Meta::new(*mode, owner.uid, owner.gid))?;
        }
        Ingredient::Local { path, source, digest, mode, owner } => {
            builder.part("files");
            let content = std::fs::read(source)
                .map_err(|e| StepError::new(format!("failed to read `{source}`: {e}")))?;
            if digest.is_some_and(|digest| digest != Digest::of(&content)) {
                return Err(
                    StepError::new(format!("`{source}` was changed during the run")).help("build again")
                );
            }
            builder.file(path, content.as_slice(), Meta::new(*mode, owner.uid, owner.gid))?;
        }
        Ingredient::Dir { path, mode, owner } => {
            builder.part("dirs");
            builder.dir(path, Meta::new(*mode, owner.uid, owner.gid))?;
        }
    }
    Ok(())
}

fn open_blob(store: &Store, layer: &Descriptor) -> Result<Box<dyn Read>, LayerError> {
    let path = store.blob_path(layer.digest);
    let file = File::open(&path).map_err(|e| LayerError::io(format!("open `{}`", path.display()), e))?;
    Ok(Box::new(BufReader::with_capacity(1 << 18, file)))
}
