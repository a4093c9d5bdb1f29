//! Commands in containers: runs whose kept paths are a layer, setup steps on a base.

use std::fs::File;
use std::io::BufWriter;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::store_blob;
use crate::engine::{Collect, LineSink, RunOutput, RunRequest, TarSink};
use crate::event::Event;
use crate::layer::{
    ArtifactBuilder, ChangesSpec, KeepSpec, LayerBlob, LayerError, NORMALISED_MTIME, Times, TreePath,
    normalise_changes,
};
use crate::matrix::{CellId, ConcreteCommand, ConcreteRun};
use crate::oci::DiffId;
use crate::plan::StepId;
use crate::run::deliver::{blocking, out_of_memory};
use crate::run::error::StepError;
use crate::run::worker::{StepReport, Worker};

impl Worker {
    /// Runs a command in its builder image and takes what it keeps.
    pub(super) async fn run_layer(
        self: &Arc<Self>,
        id: StepId,
        run: &ConcreteRun,
    ) -> Result<LayerBlob, StepError> {
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
                builder.add_tar(tar, &spec).map_err(LayerError::into_io)
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

    /// Runs a setup step on its base and takes all that it changed.
    pub(in crate::run) async fn setup(
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
                let blob = normalise_changes(tar, &spec, out).map_err(LayerError::into_io)?;
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
        let mut report = StepReport::default();
        let diff_id = blob.as_ref().map_or_else(DiffId::of_nothing, |blob| blob.diff_id);
        self.compare_output(id, &self.cell(cell).name, diff_id, &mut report)?;
        self.keep_layer(id, blob, begun).await?;
        self.share_result(id, &mut report).await;
        Ok(report)
    }
}
