//! The stage that is built, and what it needs.

use std::collections::BTreeSet;

use super::{Base, Dockerfile, DockerfileError, Name, Parser, UseKind};
use crate::dockerfile::lines::{Lines, Word};

impl Parser<'_> {
    pub(super) fn finish(
        mut self,
        text: &str,
        lines: &Lines,
        syntax: Option<Word>,
    ) -> Result<Dockerfile, Vec<DockerfileError>> {
        if self.stages.is_empty() && self.errors.is_empty() {
            let end = lines.instructions.last().map_or(0..0, |instruction| instruction.at.clone());
            self.error(&end, "the file has no FROM", "begin with `FROM image`");
        }
        let last = self.stages.len().checked_sub(1);
        let target = match self.settings.target {
            None => last,
            Some(target) => {
                let numbered = target.parse::<usize>().ok().filter(|n| *n < self.stages.len());
                self.stage(target).or(numbered)
            }
        };
        let (Some(target), true) = (target, self.errors.is_empty()) else {
            if self.errors.is_empty() {
                let names: Vec<&str> = self.stages.iter().filter_map(|stage| stage.name.as_deref()).collect();
                let help = match names[..] {
                    [] => "no stage has a name: write `FROM image AS name`".to_owned(),
                    _ => format!("stages are {}", names.join(", ")),
                };
                let target = self.settings.target.unwrap_or_default();
                self.error(&(0..0), format!("there is no stage `{target}`, which is the target"), help);
            }
            self.errors.sort_by_key(|error| error.at.start);
            return Err(self.errors);
        };
        let needed = self.needed(target);
        let mut foot = target;
        while let Base::Stage(stage) = self.stages[foot].base {
            foot = stage;
        }
        let base_at = match &self.stages[foot].base {
            Base::Outside(name) => Some(name.at.clone()),
            _ => None,
        };
        let mut names: Vec<Name> = syntax
            .map(|word| Name { text: word.text, at: word.at, kind: UseKind::Syntax })
            .into_iter()
            .collect();
        for (_, stage) in self.stages.into_iter().enumerate().filter(|(index, _)| needed.contains(index)) {
            let uses = std::iter::once(stage.base).chain(stage.uses);
            names.extend(uses.filter_map(|used| match used {
                Base::Outside(name) => Some(name),
                Base::Scratch | Base::Stage(_) => None,
            }));
        }
        names.sort_by_key(|name| name.at.start);
        let base = names.iter().position(|name| Some(&name.at) == base_at.as_ref());
        Ok(Dockerfile { text: text.to_owned(), names, base, args: self.args })
    }

    /// The stages that one needs, itself included.
    fn needed(&self, target: usize) -> BTreeSet<usize> {
        let mut needed = BTreeSet::new();
        let mut stack = vec![target];
        while let Some(stage) = stack.pop() {
            if !needed.insert(stage) {
                continue;
            }
            let stage = &self.stages[stage];
            stack.extend(std::iter::once(&stage.base).chain(&stage.uses).filter_map(|used| match used {
                Base::Stage(stage) => Some(*stage),
                _ => None,
            }));
        }
        needed
    }
}
