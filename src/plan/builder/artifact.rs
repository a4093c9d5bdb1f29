//! Layers without what is beneath them.

use super::{Builder, last_line, local_name};
use crate::matrix::{ConcreteContent, ConcretePart, ConcreteRun, LayerId, Source};
use crate::plan::key::{self, Identity};
use crate::plan::step::*;

impl Builder<'_> {
    pub(super) fn artifact(&mut self, id: LayerId) -> StepId {
        if let Some(step) = self.artifacts[id.0] {
            self.ask_again(step);
            return step;
        }
        let matrix = self.matrix;
        let layer = &matrix.layers[id.0];
        let mut key = self.key("artifact");
        let mut needs = Vec::new();
        let mut provisional = false;
        let (class, label) = match &layer.content {
            ConcreteContent::Run(run) => {
                let builder = self.builder_identity(run, &mut needs);
                provisional = builder.provisional;
                key::run(&mut key, run, &builder);
                (Class::Container, format!("{}: {}", layer.name, last_line(&run.command.script)))
            }
            ConcreteContent::Parts(parts) => {
                let mut class = Class::Transfer;
                for part in parts {
                    let identity = self.part_identity(part, &mut needs);
                    provisional |= identity.provisional;
                    key::part(&mut key, part, &identity);
                    if matches!(part, ConcretePart::Copy(_)) {
                        class = Class::Cpu;
                    }
                }
                (class, format!("{}: {}", layer.name, parts_label(parts)))
            }
        };
        let step = self.step(key.finish(), StepKind::Artifact(id), class, provisional, &needs, || label);
        self.artifacts[id.0] = Some(step);
        step
    }

    fn part_identity(&mut self, part: &ConcretePart, needs: &mut Vec<StepId>) -> Identity {
        match part {
            ConcretePart::Copy(copy) => {
                let identity = self.identity(&copy.from);
                needs.extend(self.listed(&copy.from, &identity));
                match (&copy.from, key::copied_text(self.inputs.lock, &self.matrix.platform, copy)) {
                    (_, Some(text)) => Identity::fixed(text),
                    (Source::Cell(cell), None) => {
                        let steps = self.cell(*cell, false);
                        Identity { text: key::files_text(&self.graph, &steps), ..identity }
                    }
                    (_, None) => identity,
                }
            }
            ConcretePart::Download(download) => {
                let digest = key::download_digest(self.inputs.lock, download);
                Identity::new(digest, || format!("unlocked:{}", download.shown))
            }
            ConcretePart::Local { source, .. } => {
                let digest = self.inputs.layouts.get(&local_name(source)).copied();
                Identity::new(digest, || format!("unread:{source}"))
            }
            ConcretePart::File { .. } | ConcretePart::Dir { .. } => Identity::fixed(""),
        }
    }

    /// The builder's digest, or with `reads` the digests of what is read of it, where the lock has them.
    fn builder_identity(&mut self, run: &ConcreteRun, needs: &mut Vec<StepId>) -> Identity {
        let identity = self.identity(&run.image);
        needs.extend(self.known(&run.image, &identity));
        key::read_text(self.inputs.lock, &self.matrix.platform, run).map_or(identity, Identity::fixed)
    }
}

fn parts_label(parts: &[ConcretePart]) -> String {
    let labels: Vec<String> = parts
        .iter()
        .map(|part| match part {
            ConcretePart::Copy(copy) => {
                let from = match &copy.from {
                    Source::Reference(reference) => {
                        let repository = &reference.name.repository;
                        repository.rsplit('/').next().unwrap_or(repository).to_owned()
                    }
                    Source::Layout(directory) => directory.clone(),
                    Source::Cell(_) | Source::Dockerfile(_) => "the matrix".into(),
                    Source::Scratch => "scratch".into(),
                };
                format!("copy {} from {from}", copy.paths.join(" "))
            }
            ConcretePart::Download(download) => format!("download {}", download.name),
            ConcretePart::File { path, .. } | ConcretePart::Local { path, .. } => format!("file {path}"),
            ConcretePart::Dir { path, .. } => format!("dir {path}"),
        })
        .collect();
    labels.join(", ")
}
