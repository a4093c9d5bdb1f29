//! How things stand: what every tag has, what it should have, and why the two differ.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt};

use super::error::StepError;
use super::existing;
use super::fresh::with_dependents;
use super::judge::{Judge, Seen};
use super::known::Knowledge;
use super::provenance::{Provenances, is_fallback_tag};
use super::stamp::Stamps;
use crate::matrix::{Cell, Matrix, StampedTag};
use crate::oci::{Digest, Reference, RepositoryName};
use crate::plan::{CellSteps, CellView, Inputs, Plan, Reason, ReasonCode, Status, StepId, StepKind, TagView};
use crate::registry::Registry;
use crate::store::{Record, Store};

/// How many requests are made at a time; the client's budget may make it fewer.
const REQUESTS: usize = 16;

/// Where a survey looks.
pub struct Surveyor<'a> {
    /// The cells.
    pub matrix: &'a Matrix,
    /// Their steps.
    pub plan: &'a Plan,
    /// What the plan was made with.
    pub inputs: &'a Inputs<'a>,
    /// What is known of the steps.
    pub knowledge: &'a Knowledge,
    /// What this machine remembers of tags.
    pub store: &'a Store,
    /// Registries.
    pub registry: Arc<dyn Registry>,
    /// Statements of what went into images.
    pub provenances: &'a Provenances,
}

/// A tag of railyard's that no cell has any more.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Orphan {
    /// The tag.
    pub reference: String,
    /// What it has.
    pub digest: Digest,
    /// The cell that it was made for.
    pub cell: String,
}

/// What a survey finds.
#[derive(Debug, Default)]
pub struct Survey {
    /// By position as [`crate::matrix::CellId`]; `None` for a cell that nobody asked for.
    pub cells: Vec<Option<CellView>>,
    /// Why steps run: of layers and setup steps that were other ones before.
    pub steps: BTreeMap<StepId, Vec<Reason>>,
}

impl Survey {
    /// Deliveries that have nothing to do, because every tag has its image.
    pub fn settled(&self, plan: &Plan) -> Vec<StepId> {
        let current = |position: usize| {
            self.cells.get(position).and_then(Option::as_ref).is_some_and(|c| c.status == Status::Current)
        };
        let idle = |kind: &StepKind| match kind {
            StepKind::Push(cell) | StepKind::Tag(cell) => current(cell.0),
            _ => false,
        };
        plan.steps().filter(|(_, step)| idle(&step.kind)).map(|(id, _)| id).collect()
    }
}

/// A cell with what its tags have.
struct Found<'a> {
    steps: &'a CellSteps,
    cell: &'a Cell,
    expected: Option<Digest>,
    anew: Vec<Reason>,
    tags: Vec<(Reference, Option<Digest>)>,
}

impl Surveyor<'_> {
    /// Looks at every tag of the chosen cells, by HEAD, and reads statements where one is behind.
    ///
    /// # Errors
    /// When a registry or the store cannot be read.
    pub async fn survey(&self) -> Result<Survey, StepError> {
        let chosen: Vec<&CellSteps> = self.plan.cells.iter().flatten().filter(|c| c.chosen).collect();
        let anew = self.anew();
        let stamps = Stamps::new(self.registry.clone());
        let looks = chosen.into_iter().map(|steps| self.look(steps, &anew, &stamps));
        let found: Vec<Found<'_>> =
            futures_util::stream::iter(looks).buffered(REQUESTS).try_collect().await?;
        let seen = values_seen(&found);
        let judged = found.iter().map(|found| self.judge(found, &seen));
        let judged: Vec<(CellView, BTreeMap<StepId, Vec<Reason>>)> =
            futures_util::stream::iter(judged).buffered(REQUESTS).try_collect().await?;
        let mut survey = Survey { cells: vec![None; self.plan.cells.len()], steps: BTreeMap::new() };
        for (found, (view, steps)) in found.iter().zip(judged) {
            survey.cells[found.steps.cell.0] = Some(view);
            for (step, reasons) in steps {
                survey.steps.entry(step).or_insert(reasons);
            }
        }
        Ok(survey)
    }

    /// For each cell's assembly the steps beneath it that run again.
    fn anew(&self) -> BTreeMap<StepId, Vec<Reason>> {
        let mut found: BTreeMap<StepId, Vec<Reason>> = BTreeMap::new();
        for (step, anew) in &self.knowledge.anew {
            let subject = match &self.plan.step(*step).kind {
                StepKind::Artifact(layer) => self.matrix.layers[layer.0].name.clone(),
                _ => self.plan.step(*step).label.clone(),
            };
            for above in with_dependents(self.plan, [*step].into_iter()) {
                found.entry(above).or_default().push(Reason::anew(*anew, &subject));
            }
        }
        found
    }

    async fn look<'s>(
        &'s self,
        steps: &'s CellSteps,
        anew: &BTreeMap<StepId, Vec<Reason>>,
        stamps: &Stamps,
    ) -> Result<Found<'s>, StepError> {
        let cell = &self.matrix.cells[steps.cell.0];
        let expected = match self.knowledge.records.get(&steps.assemble) {
            Some(Record::Image(image)) => Some(image.manifest.digest),
            _ => None,
        };
        let mut tags = Vec::new();
        for reference in cell.references.iter().filter(|_| cell.push) {
            let found = self.registry.head(reference).await?.map(|d| d.digest);
            tags.push((reference.clone(), found));
        }
        if cell.push {
            // A tag with a time is shown by its newest, whatever that has.
            let shown = |tag: &StampedTag, newest: Option<&Reference>| newest.cloned().unwrap_or(tag.shown());
            tags.extend(stamps.tags(cell, expected, shown).await?);
        }
        let anew = anew.get(&steps.assemble).cloned().unwrap_or_default();
        Ok(Found { steps, cell, expected, anew, tags })
    }

    fn judge_of<'j>(&'j self, steps: &'j CellSteps, seen: &'j Seen) -> Judge<'j> {
        Judge {
            matrix: self.matrix,
            plan: self.plan,
            inputs: self.inputs,
            store: self.store,
            provenances: self.provenances,
            steps,
            seen,
        }
    }

    async fn judge(
        &self,
        found: &Found<'_>,
        seen: &Seen,
    ) -> Result<(CellView, BTreeMap<StepId, Vec<Reason>>), StepError> {
        let Found { steps, expected, anew, tags, .. } = found;
        let mut kept = existing::kept(found.cell, tags, *expected).into_iter();
        let behind = tags
            .iter()
            .find(|(_, has)| !kept.next().unwrap_or_default() && (has.is_none() || *has != *expected));
        let mut because = BTreeMap::new();
        let (status, mut reasons) = match behind {
            _ if tags.is_empty() && expected.is_some() => (Status::Current, Vec::new()),
            _ if tags.is_empty() => (Status::Unbuilt, Vec::new()),
            None => (Status::Current, Vec::new()),
            Some((reference, has)) => {
                let verdict = self.judge_of(steps, seen).why(reference, *has, *expected).await?;
                because = verdict.layers;
                (verdict.status, verdict.reasons)
            }
        };
        if expected.is_some() || reasons.iter().any(|reason| reason.code != ReasonCode::Unrecorded) {
            reasons.extend(existing::refused(found.cell, tags, *expected));
        }
        if !anew.is_empty() {
            reasons.retain(|reason| reason.code != ReasonCode::Unrecorded);
            reasons.extend(anew.iter().cloned());
        }
        let tags = tags.iter().map(|(r, d)| TagView { reference: r.to_string(), digest: *d }).collect();
        Ok((CellView { status, expected: *expected, tags, reasons }, because))
    }

    /// Tags of railyard's in the repositories of the matrix that no cell has.
    ///
    /// # Errors
    /// When a registry cannot be read.
    pub async fn orphans(&self) -> Result<Vec<Orphan>, StepError> {
        let mut repositories: BTreeMap<RepositoryName, HashSet<String>> = BTreeMap::new();
        let pushed = || self.matrix.cells.iter().filter(|c| c.push);
        for reference in pushed().flat_map(Cell::shown_references) {
            repositories.entry(reference.name).or_default().extend(reference.tag);
        }
        // Of a tag with a time the earlier ones are not strangers.
        let stamped: Vec<&StampedTag> = pushed().flat_map(|c| &c.stamped).collect();
        let made = |repository: &RepositoryName, tag: &str| {
            stamped.iter().any(|s| s.repository == *repository && s.timestamp_of(tag).is_some())
        };
        let mut strangers = Vec::new();
        for (repository, own) in &repositories {
            let tags = self.registry.tags(repository).await?;
            let others = tags.into_iter().filter(|tag| !own.contains(tag) && !is_fallback_tag(tag));
            let others = others.filter(|tag| !made(repository, tag));
            strangers.extend(others.map(|tag| repository.tag(&tag)));
        }
        let looks = strangers.into_iter().map(|reference| self.orphan(reference));
        let found: Vec<Option<Orphan>> =
            futures_util::stream::iter(looks).buffered(REQUESTS).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn orphan(&self, reference: Reference) -> Result<Option<Orphan>, StepError> {
        let Some(digest) = self.registry.head(&reference).await?.map(|d| d.digest) else { return Ok(None) };
        let made = self.provenances.find(&reference.name, digest, None).await?;
        Ok(made.map(|made| Orphan { reference: reference.to_string(), digest, cell: made.ingredients.cell }))
    }
}

/// For each image and axis the values of cells of which a tag is there.
fn values_seen(found: &[Found<'_>]) -> Seen {
    let mut seen: Seen = BTreeMap::new();
    for found in found.iter().filter(|f| f.tags.iter().any(|(_, has)| has.is_some())) {
        for (axis, value) in &found.cell.coordinates {
            let key = (found.cell.image.to_string(), axis.to_string());
            seen.entry(key).or_default().insert(value.to_string());
        }
    }
    seen
}
