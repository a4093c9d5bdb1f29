//! Results of this machine whose blobs are gone or damaged, made again while the run goes on.

use std::sync::Arc;

use crate::oci::Digest;
use crate::plan::{Step, StepId, StepKind};
use crate::run::error::StepError;
use crate::run::worker::{StepValue, Worker};
use crate::store::Record;

impl Worker {
    /// From now on blobs that only this machine had are made again where they are needed.
    pub(in crate::run) fn make_good(self: &Arc<Self>) {
        let worker = Arc::downgrade(self);
        self.blobs.make_with(Box::new(move |digest| {
            let worker = worker.upgrade();
            Box::pin(async move {
                match worker {
                    Some(worker) => worker.make_again(digest).await,
                    None => Ok(()),
                }
            })
        }));
    }

    /// Carries the step out again that made a blob; nothing where no step of the plan did.
    async fn make_again(self: &Arc<Self>, digest: Digest) -> Result<(), StepError> {
        for (id, step) in self.plan.steps() {
            self.recall(id, step, digest)?;
        }
        // A layer that is its artifact as it is has the artifact's blob.
        let is_place = |step: &Step| matches!(step.kind, StepKind::Place { .. });
        let mut makers: Vec<(StepId, &Step)> =
            self.plan.steps().filter(|(id, step)| self.made(*id, step, digest)).collect();
        makers.sort_by_key(|(_, step)| is_place(step));
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

    fn made(&self, id: StepId, step: &Step, digest: Digest) -> bool {
        match (self.value(id), &step.kind) {
            (Some(StepValue::Layer(layer)), _) => {
                layer.blob.as_ref().is_some_and(|blob| blob.digest == digest)
            }
            (Some(StepValue::Image(image)), StepKind::Dockerfile(_)) => {
                image.layers.iter().any(|layer| layer.digest == digest)
            }
            _ => false,
        }
    }

    /// Takes what is known of a step that this run did not look at, as the steps above it are known. What
    /// is to run in this run is left to it.
    fn recall(&self, id: StepId, step: &Step, lost: Digest) -> Result<(), StepError> {
        if self.value(id).is_some() || self.settings.no_reuse || self.is_anew(&step.key) {
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
