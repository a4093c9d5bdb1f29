//! Results of this machine whose blobs are gone or damaged, made again while the run goes on.

use std::collections::HashSet;
use std::sync::Arc;

use crate::matrix::{DockerfileId, Source};
use crate::oci::Digest;
use crate::plan::{Action, Actions, Step, StepId, StepKind};
use crate::run::error::StepError;
use crate::run::worker::{StepValue, Worker, used};
use crate::store::Record;

impl Worker {
    /// From now on blobs that only this machine had are made again where they are needed.
    pub(in crate::run) fn make_good(self: &Arc<Self>, actions: &Actions) {
        let worker = Arc::downgrade(self);
        let runs = self.plan.steps().map(|(id, _)| id).filter(|id| actions.of(*id) == Action::Run);
        let runs: Arc<HashSet<StepId>> = Arc::new(runs.collect());
        self.blobs.make_with(Box::new(move |digest| {
            let (worker, runs) = (worker.upgrade(), runs.clone());
            Box::pin(async move {
                match worker {
                    Some(worker) => worker.make_again(digest, &runs).await,
                    None => Ok(()),
                }
            })
        }));
    }

    /// Carries the step out again that made a blob; nothing where no step of the plan did.
    async fn make_again(self: &Arc<Self>, digest: Digest, runs: &HashSet<StepId>) -> Result<(), StepError> {
        // What is to run in this run is left to it: what an earlier one made of it may be refused now.
        for (id, step) in self.plan.steps().filter(|(id, _)| !runs.contains(id)) {
            self.recall(id, step, digest)?;
        }
        let mut makers: Vec<(StepId, &Step)> = Vec::new();
        for (id, step) in self.plan.steps() {
            if self.made(id, step, digest).await? {
                makers.push((id, step));
            }
        }
        for (id, step) in &makers {
            match &step.kind {
                StepKind::Artifact(layer) => self.artifact(*id, *layer).await?,
                StepKind::Setup { cell, position } => self.setup(*id, *cell, *position).await?,
                StepKind::Place { cell, position } => self.place(*id, *cell, *position).await?,
                StepKind::Dockerfile(made) => self.build_dockerfile(*id, *made).await?,
                _ => continue,
            };
            if self.store.has_blob(digest) {
                return Ok(());
            }
        }
        match makers.first() {
            None => Ok(()),
            Some((_, step)) => Err(StepError::new(format!(
                "the blob `{digest}` of `{}` was lost, and what was made again is another",
                step.label
            ))
            .help("run again: what is made now is taken then")),
        }
    }

    /// Whether a step made a blob, and did not take it from what it is made of.
    async fn made(&self, id: StepId, step: &Step, digest: Digest) -> Result<bool, StepError> {
        Ok(match (self.value(id), &step.kind) {
            (Some(StepValue::Layer(_)), StepKind::Place { cell, position }) => {
                // A layer that is its artifact as it is has the artifact's blob.
                let artifact = self.steps(*cell).artifacts[*position];
                self.result_digest(id) == Some(digest) && self.result_digest(artifact) != Some(digest)
            }
            (Some(StepValue::Layer(_)), _) => self.result_digest(id) == Some(digest),
            (Some(StepValue::Image(image)), StepKind::Dockerfile(made)) => {
                image.layers.iter().any(|layer| layer.digest == digest)
                    && !self.is_of_sources(*made, digest).await?
            }
            _ => false,
        })
    }

    /// Whether a layer is one of the images that a Dockerfile takes from.
    async fn is_of_sources(&self, made: DockerfileId, digest: Digest) -> Result<bool, StepError> {
        for source in self.matrix.recipe(made).distinct_sources() {
            let is_its = match source {
                Source::Cell(cell) => self.image(*cell)?.layers.iter().any(|layer| layer.digest == digest),
                source => {
                    self.resolved(&used(source)).await?.layers.iter().any(|layer| layer.digest == digest)
                }
            };
            if is_its {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes what is known of a step that this run did not look at, as the steps above it are known.
    fn recall(&self, id: StepId, step: &Step, lost: Digest) -> Result<(), StepError> {
        if self.value(id).is_some() || self.settings.no_reuse {
            return Ok(());
        }
        let there = |blob: &crate::oci::Descriptor| blob.digest == lost || self.blobs.at_hand(blob);
        match self.store.record(&step.key)? {
            Some(Record::Layer(layer)) if layer.blob.iter().all(there) => {
                self.set(id, StepValue::Layer(layer))
            }
            Some(Record::Image(image)) if image.layers.iter().all(there) => {
                self.set(id, StepValue::Image(image));
            }
            _ => {}
        }
        Ok(())
    }
}
