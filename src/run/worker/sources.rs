//! What images hold: external ones, those of cells, and what lies beneath a layer.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::Worker;
use crate::matrix::{CellId, Source};
use crate::oci::ImageConfig;
use crate::plan::{StepId, UsedSource};
use crate::run::blobs::Progress;
use crate::run::error::StepError;
use crate::run::images::{ImageFiles, ResolvedImage};

impl Worker {
    /// The pinned documents of an external image.
    pub(in crate::run) async fn resolved(
        &self,
        source: &UsedSource,
    ) -> Result<Arc<ResolvedImage>, StepError> {
        let pinned = match source {
            UsedSource::Reference(reference) => {
                self.lock.image(reference, &self.matrix.platform).map(|image| image.digest)
            }
            UsedSource::Layout(_) => None,
        };
        self.images.resolve(source, pinned).await.map_err(|error| match source {
            UsedSource::Reference(reference) => error.pinned_at(self.lock.places.image(reference), reference),
            UsedSource::Layout(_) => error,
        })
    }

    /// The files of an image that something is taken from or built on.
    pub(in crate::run) fn source_files<'a>(
        self: &'a Arc<Self>,
        source: &'a Source,
        progress: &'a Progress,
    ) -> BoxFuture<'a, Result<ImageFiles, StepError>> {
        Box::pin(async move {
            match source {
                Source::Scratch | Source::Dockerfile(_) => {
                    Ok(ImageFiles { tree: Default::default(), layers: Vec::new() })
                }
                Source::Cell(cell) if matches!(self.cell(*cell).base, Source::Dockerfile(_)) => {
                    self.images.stack(&self.image(*cell)?.layers, progress).await
                }
                Source::Cell(cell) => {
                    let count = self.cell(*cell).layers.len();
                    self.files_beneath(*cell, count, progress).await
                }
                Source::Reference(_) | Source::Layout(_) => {
                    let image = self.resolved(&used(source)).await?;
                    self.images.files(&image, progress).await
                }
            }
        })
    }

    /// The configuration of an image that something is built on; `None` for scratch.
    pub(in crate::run) async fn source_config(
        &self,
        source: &Source,
    ) -> Result<Option<ImageConfig>, StepError> {
        match source {
            Source::Scratch | Source::Dockerfile(_) => Ok(None),
            Source::Cell(cell) => {
                let text = &self.image(*cell)?.config_json;
                let config = serde_json::from_str(text)
                    .map_err(|e| StepError::new(format!("a recorded configuration is malformed: {e}")))?;
                Ok(Some(config))
            }
            Source::Reference(_) | Source::Layout(_) => {
                Ok(Some(self.resolved(&used(source)).await?.config.clone()))
            }
        }
    }

    /// What lies beneath the layer at `position` of a cell: base, setup steps and lower layers.
    pub(in crate::run) async fn files_beneath(
        self: &Arc<Self>,
        cell: CellId,
        position: usize,
        progress: &Progress,
    ) -> Result<ImageFiles, StepError> {
        let steps = self.steps(cell).clone();
        let chain: Vec<StepId> = steps.setup.iter().chain(&steps.places[..position]).copied().collect();
        self.files_of_chain(&self.cell(cell).base, &chain, progress).await
    }

    /// A base's files with the layers of these steps on top.
    pub(in crate::run) async fn files_of_chain(
        self: &Arc<Self>,
        base: &Source,
        chain: &[StepId],
        progress: &Progress,
    ) -> Result<ImageFiles, StepError> {
        let mut files = self.source_files(base, progress).await?;
        for id in chain {
            let beneath = files;
            files = self.files[id.0 as usize]
                .get_or_try_init(|| async {
                    let mut files = beneath;
                    if let Some(blob) = &self.layer(*id)?.blob {
                        files.tree = files.tree.push(self.images.index(blob, progress).await?);
                        files.layers.push(blob.clone());
                    }
                    Ok::<_, StepError>(files)
                })
                .await?
                .clone();
        }
        Ok(files)
    }
}

/// An external source as the plan names it.
pub(in crate::run) fn used(source: &Source) -> UsedSource {
    match source {
        Source::Reference(reference) => UsedSource::Reference(reference.clone()),
        Source::Layout(directory) => UsedSource::Layout(directory.clone()),
        Source::Scratch | Source::Cell(_) | Source::Dockerfile(_) => {
            unreachable!("only external sources are resolved")
        }
    }
}
