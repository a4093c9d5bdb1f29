//! Artifacts on what lies beneath them.

use std::sync::Arc;
use std::time::Instant;

use super::{open, store_blob};
use crate::layer::{Restoration, place, write_placed};
use crate::matrix::CellId;
use crate::plan::StepId;
use crate::run::deliver::blocking;
use crate::run::error::StepError;
use crate::run::worker::{StepReport, Worker};
use crate::store::{LayerRecord, Record};

impl Worker {
    /// Puts an artifact onto what is beneath it.
    pub(in crate::run) async fn place(
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
            let mut record = LayerRecord::new(Some((artifact, diff_id)), begun.elapsed());
            record.outputs = Some(self.outputs_beneath(id));
            self.keep_layer_record(id, record)?;
            self.share_artifact(artifact_step, None, &mut report).await;
            return Ok(report);
        }
        let restoration = Restoration::of(&index, &placement);
        // Cells whose trees call for the same difference share one blob.
        let key = placement.key(artifact.digest);
        let slot = self.placements.slot(key);
        let mut record = slot
            .get_or_try_init(|| async {
                if let Some(Record::Layer(known)) = self.store.record(&key)?
                    && known.blob.as_ref().is_some_and(|blob| self.store.holds(blob))
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
        record.outputs = Some(self.outputs_beneath(id));
        let placed = record.blob.clone().zip(restoration);
        self.keep_layer_record(id, record)?;
        self.share_artifact(artifact_step, placed, &mut report).await;
        Ok(report)
    }
}
