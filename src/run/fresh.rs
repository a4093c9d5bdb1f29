//! Steps that run again though their result is known: forced ones, and those whose result is too old.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use globset::{Glob, GlobSet, GlobSetBuilder};

use crate::matrix::{ConcreteContent, Matrix};
use crate::plan::{Anew, Plan, StepId, StepKind};
use crate::store::Record;

/// Which known results are not good enough.
#[derive(Debug, Clone, Default)]
pub struct Freshness {
    /// Seconds since the epoch.
    pub now: u64,
    /// Whether `max_age` counts: not where a lock must explain everything.
    pub max_age: bool,
    /// Layers and cells (by name, or by their image's name) whose commands run again.
    pub force: GlobSet,
}

/// Makes the globs of `--force`.
///
/// # Errors
/// A pattern that is no glob, or that neither a layer nor a chosen cell has.
pub fn force_patterns(patterns: &[String], matrix: &Matrix, chosen: &[bool]) -> Result<GlobSet, String> {
    let mut globs = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = Glob::new(&escape_brackets(pattern))
            .map_err(|e| format!("`{pattern}` is not a glob: {}", e.kind()))?;
        let matcher = glob.compile_matcher();
        let cells = matrix.cells.iter().zip(chosen).filter(|(_, chosen)| **chosen);
        let found = matrix.layers.iter().any(|layer| names(&layer.name).any(|name| matcher.is_match(name)))
            || cells
                .into_iter()
                .any(|(cell, _)| matcher.is_match(&cell.name) || matcher.is_match(&*cell.image));
        if !found {
            return Err(format!("no layer, image or cell is named `{pattern}`"));
        }
        globs.add(glob);
    }
    globs.build().map_err(|e| e.to_string())
}

/// A cell's name has brackets, which globs take for a class of letters.
fn escape_brackets(pattern: &str) -> String {
    pattern.replace('[', "[[]")
}

/// What a layer is called by: its whole name, and that of the layer which stands for several items.
fn names(layer: &str) -> impl Iterator<Item = &str> {
    std::iter::once(layer).chain(layer.split_once('[').map(|(name, _)| name))
}

impl Freshness {
    /// Container steps whose commands may have to run again, with the age from which they must.
    pub(super) fn candidates(&self, matrix: &Matrix, plan: &Plan) -> BTreeMap<StepId, Candidate> {
        let mut found: BTreeMap<StepId, Candidate> = BTreeMap::new();
        for steps in plan.cells.iter().flatten() {
            let cell = &matrix.cells[steps.cell.0];
            let forced = self.force.is_match(&cell.name) || self.force.is_match(&*cell.image);
            for step in steps.setup.iter().chain(&steps.dockerfile) {
                found.entry(*step).or_default().add(forced, cell.max_age.filter(|_| self.max_age));
            }
            for step in &steps.artifacts {
                let StepKind::Artifact(layer) = plan.step(*step).kind else { continue };
                let layer = &matrix.layers[layer.0];
                if !matches!(layer.content, ConcreteContent::Run(_)) {
                    continue;
                }
                let forced = forced || names(&layer.name).any(|name| self.force.is_match(name));
                let max_age = layer.max_age.into_iter().chain(cell.max_age).min();
                found.entry(*step).or_default().add(forced, max_age.filter(|_| self.max_age));
            }
        }
        found.retain(|_, candidate| candidate.forced || candidate.max_age.is_some());
        found
    }

    /// Why a known result is not good enough; `None` where it is.
    pub(super) fn judge(&self, candidate: &Candidate, record: Option<&Record>) -> Option<Anew> {
        if candidate.forced {
            return Some(Anew::Forced);
        }
        let max_age = candidate.max_age?.as_secs();
        let made = match record {
            Some(Record::Layer(layer)) if layer.made > 0 => Some(layer.made),
            Some(Record::Image(image)) if image.made > 0 => Some(image.made),
            _ => None,
        };
        let age = made.map(|made| self.now.saturating_sub(made));
        age.is_none_or(|age| age > max_age).then_some(Anew::TooOld { age, max_age })
    }
}

/// A step that may have to run again.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Candidate {
    forced: bool,
    max_age: Option<Duration>,
}

impl Candidate {
    fn add(&mut self, forced: bool, max_age: Option<Duration>) {
        self.forced |= forced;
        self.max_age = self.max_age.into_iter().chain(max_age).min();
    }
}

/// Steps and all that is made of their results, but for deliveries.
pub(super) fn with_dependents(plan: &Plan, steps: impl Iterator<Item = StepId>) -> HashSet<StepId> {
    let mut found = HashSet::new();
    let mut stack: Vec<StepId> = steps.collect();
    while let Some(id) = stack.pop() {
        if found.insert(id) {
            stack.extend(plan.dependents(id));
        }
    }
    found
}
