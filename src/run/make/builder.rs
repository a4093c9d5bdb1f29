//! Images in the engine that commands run in.

use std::collections::HashSet;
use std::sync::Arc;

use crate::matrix::{ConcreteContent, Source};
use crate::oci::Reference;
use crate::plan::{StepId, StepKind, UsedSource};
use crate::run::assemble::{Base, StackedLayer, assemble};
use crate::run::error::StepError;
use crate::run::worker::{Worker, used};

impl Worker {
    async fn pull_source(&self, reference: &Reference) -> Result<String, StepError> {
        let digest = self.resolved(&UsedSource::Reference(reference.clone())).await?.digest;
        self.pull(&Reference { tag: None, ..reference.name.digest(digest) }).await
    }

    /// Has the engine pull the builder images of the runs to come, one after the other, while the first
    /// ones run. A failure is the step's to report.
    pub(in crate::run) async fn pull_builders(&self, runs: Vec<StepId>) {
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
    pub(in crate::run) async fn engine_image(
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
        self.load_image(id, &image, &[]).await
    }
}
