//! Steps that make layers, and the assembly of a cell.

mod again;
mod assemble;
mod builder;
mod container;
mod parts;
mod place;
mod share;

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::deliver::file_error;
use super::error::StepError;
use super::worker::{StepReport, StepValue, Worker, used};
use crate::layer::{LayerBlob, LayerError};
use crate::matrix::{ConcreteContent, LayerId, Source};
use crate::oci::DiffId;
use crate::plan::StepId;
use crate::store::{ImageRecord, LayerRecord, Record, Store};

impl From<LayerError> for StepError {
    fn from(error: LayerError) -> Self {
        let help = match &error {
            LayerError::Io { source, .. } => return Self::of_file(error.to_string(), source),
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

    /// Names a command whose output is not what the lock says; `of` is the layer, cell or Dockerfile.
    pub(super) fn compare_output(
        &self,
        id: StepId,
        of: &str,
        diff_id: DiffId,
        report: &mut StepReport,
    ) -> Result<(), StepError> {
        let key = self.plan.step(id).key;
        if let Some(locked) = self.lock.outputs.get(&key)
            && *locked != diff_id
        {
            let anew = self.settings.anew.contains_key(&key);
            let message = format!(
                "the output of `{of}` ({}) is {}, the lock {} {locked}",
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
        let mut record = LayerRecord::new(made, begun.elapsed());
        if !self.plan.step(id).is_command() {
            record.outputs = Some(self.outputs_beneath(id));
        }
        if let Some(blob) = blob {
            self.images.remember(blob.descriptor.digest, blob.diff_id, Arc::new(blob.index))?;
        }
        self.keep_layer_record(id, record)
    }

    fn keep_layer_record(&self, id: StepId, record: LayerRecord) -> Result<(), StepError> {
        self.remember(id, &Record::Layer(Box::new(record.clone())))?;
        self.set(id, StepValue::Layer(Box::new(record)));
        Ok(())
    }

    /// Remembers an image that was made.
    pub(super) fn keep_image(&self, id: StepId, image: ImageRecord) -> Result<(), StepError> {
        self.remember(id, &Record::Image(Box::new(image.clone())))?;
        self.set(id, StepValue::Image(Box::new(image)));
        Ok(())
    }

    /// Keeps and shares a cell's image.
    pub(super) async fn keep_assembled(
        &self,
        id: StepId,
        mut image: ImageRecord,
    ) -> Result<StepReport, StepError> {
        image.outputs = Some(self.outputs_beneath(id));
        self.store.put_bytes(image.config_json.as_bytes())?;
        self.store.put_bytes(image.manifest_json.as_bytes())?;
        self.keep_image(id, image)?;
        let mut report = StepReport { changed: true, ..StepReport::default() };
        self.share_result(id, &mut report).await;
        Ok(report)
    }

    pub(super) fn source_name(&self, source: &Source) -> String {
        match source {
            Source::Scratch => "scratch".into(),
            Source::Cell(cell) => self.cell(*cell).name.clone(),
            Source::Dockerfile(made) => self.matrix.dockerfiles[made.0].spec.label(),
            Source::Reference(_) | Source::Layout(_) => used(source).to_string(),
        }
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
