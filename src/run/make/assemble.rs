//! Configuration and manifest of a cell.

use std::sync::Arc;

use crate::matrix::{CellId, Source};
use crate::plan::StepId;
use crate::run::assemble::{Base, StackedLayer, assemble};
use crate::run::error::StepError;
use crate::run::worker::{StepReport, Worker, used};

impl Worker {
    /// Configuration and manifest of a cell.
    pub(in crate::run) async fn assemble(
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
        self.keep_assembled(id, image).await
    }
}
