//! What images are taken from: their identities in keys, and the steps after which they are known.

use super::Builder;
use crate::matrix::Source;
use crate::plan::key::{self, Identity};
use crate::plan::step::*;

/// What counts of a cell where its files and configuration do.
pub(in crate::plan) fn cell_text(steps: &CellSteps) -> String {
    format!("cell:{}", steps.identity)
}

impl Builder<'_> {
    pub(super) fn identity(&mut self, source: &Source) -> Identity {
        match source {
            Source::Scratch => Identity::fixed("scratch"),
            Source::Reference(reference) => {
                let digest = key::image_digest(self.inputs.lock, &self.matrix.platform, reference);
                Identity::new(digest, || format!("unlocked:{reference}"))
            }
            Source::Layout(directory) => {
                let digest = self.inputs.layouts.get(directory).copied();
                Identity::new(digest, || format!("unlocked:oci:{directory}"))
            }
            Source::Cell(cell) => {
                let steps = self.cell(*cell, false);
                let provisional = self.provisional(steps.assemble);
                Identity { text: cell_text(&steps), provisional }
            }
            Source::Dockerfile(id) => {
                let step = self.dockerfile(*id);
                let node = &self.graph[petgraph::graph::NodeIndex::from(step)];
                Identity { text: format!("dockerfile:{}", node.key), provisional: node.provisional }
            }
        }
    }

    fn resolve(&mut self, source: &UsedSource, identity: &Identity) -> StepId {
        let mut key = self.key("resolve");
        key.text(&identity.text);
        let label = || source.to_string();
        self.step(
            key.finish(),
            StepKind::Resolve(source.clone()),
            Class::Transfer,
            identity.provisional,
            &[],
            label,
        )
    }

    fn index(&mut self, source: &UsedSource, identity: &Identity) -> StepId {
        let resolve = self.resolve(source, identity);
        let mut key = self.key("index");
        key.text(&identity.text);
        let label = || source.to_string();
        let kind = StepKind::Index(source.clone());
        self.step(key.finish(), kind, Class::Cpu, identity.provisional, &[resolve], label)
    }

    /// The step after which a source's files are listed.
    pub(super) fn listed(&mut self, source: &Source, identity: &Identity) -> Option<StepId> {
        match source {
            Source::Scratch => None,
            Source::Reference(reference) => {
                Some(self.index(&UsedSource::Reference(reference.clone()), identity))
            }
            Source::Layout(directory) => Some(self.index(&UsedSource::Layout(directory.clone()), identity)),
            Source::Cell(cell) => Some(self.cell(*cell, false).assemble),
            Source::Dockerfile(id) => Some(self.dockerfile(*id)),
        }
    }

    /// The step after which a source can be named to the engine.
    pub(super) fn known(&mut self, source: &Source, identity: &Identity) -> Option<StepId> {
        match source {
            Source::Scratch => None,
            Source::Reference(reference) => {
                Some(self.resolve(&UsedSource::Reference(reference.clone()), identity))
            }
            Source::Layout(directory) => Some(self.resolve(&UsedSource::Layout(directory.clone()), identity)),
            Source::Cell(cell) => Some(self.cell(*cell, false).assemble),
            Source::Dockerfile(id) => Some(self.dockerfile(*id)),
        }
    }
}
