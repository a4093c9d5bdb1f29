//! Why a tag does not have its cell's image.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::error::StepError;
use super::provenance::Provenances;
use crate::matrix::Matrix;
use crate::oci::{Digest, Reference};
use crate::plan::{
    CellSteps, Ingredients, Inputs, Plan, Reason, ReasonCode, Status, StepId, differences, layer_differences,
};
use crate::store::{Record, Store, tag_key};

/// For each image and axis the values of cells of which a tag is there.
pub(super) type Seen = BTreeMap<(String, String), BTreeSet<String>>;

/// What a cell is judged by.
pub(super) struct Judge<'a> {
    pub matrix: &'a Matrix,
    pub plan: &'a Plan,
    pub inputs: &'a Inputs<'a>,
    pub store: &'a Store,
    pub provenances: &'a Provenances,
    pub steps: &'a CellSteps,
    pub seen: &'a Seen,
}

/// How a tag stands.
pub(super) struct Verdict {
    pub status: Status,
    pub reasons: Vec<Reason>,
    /// Why layers are other ones than before.
    pub layers: BTreeMap<StepId, Vec<Reason>>,
}

impl Judge<'_> {
    /// Why a tag that has another image than the expected one, or none, has it.
    ///
    /// # Errors
    /// When the registry or the store cannot be read.
    pub async fn why(
        &self,
        reference: &Reference,
        has: Option<Digest>,
        expected: Option<Digest>,
    ) -> Result<Verdict, StepError> {
        let verdict = |status, reasons| Verdict { status, reasons, layers: BTreeMap::new() };
        let Some(has) = has else { return Ok(verdict(Status::Missing, self.missing(reference)?)) };
        let cell = &self.matrix.cells[self.steps.cell.0];
        let Some(old) = self.provenances.find(&reference.name, has, Some(&cell.name)).await? else {
            let reason = Reason::new(ReasonCode::Foreign, reference.to_string());
            return Ok(verdict(Status::Foreign, vec![reason.moved(Some(has.to_string()), None)]));
        };
        let new = Ingredients::of(self.matrix, self.plan, self.inputs, self.steps);
        Ok(Verdict {
            status: Status::Stale,
            reasons: self.stale(reference, has, expected, &old.ingredients, &new)?,
            layers: self.layers(&old.ingredients, &new),
        })
    }

    fn missing(&self, reference: &Reference) -> Result<Vec<Reason>, StepError> {
        let cell = &self.matrix.cells[self.steps.cell.0];
        if let Some(Record::Tag(last)) = self.store.record(&tag_key(reference))? {
            let reason = Reason::new(ReasonCode::TagDeleted, reference.to_string());
            return Ok(vec![reason.moved(Some(last.to_string()), None)]);
        }
        let new = cell.coordinates.iter().filter(|(axis, value)| {
            let values = self.seen.get(&(cell.image.to_string(), axis.to_string()));
            values.is_some_and(|values| !values.contains(&**value))
        });
        let added: Vec<Reason> = new
            .map(|(axis, value)| Reason::new(ReasonCode::VersionAdded, format!("{axis} {value}")))
            .collect();
        Ok(if added.is_empty() { vec![Reason::new(ReasonCode::NeverBuilt, "")] } else { added })
    }

    fn stale(
        &self,
        reference: &Reference,
        has: Digest,
        expected: Option<Digest>,
        old: &Ingredients,
        new: &Ingredients,
    ) -> Result<Vec<Reason>, StepError> {
        let mut reasons = Vec::new();
        let last = match self.store.record(&tag_key(reference))? {
            Some(Record::Tag(last)) => Some(last),
            _ => None,
        };
        // Another cell's statement is as good where this cell's tag is known to have had the image.
        let elsewhere = last.map_or(old.cell != new.cell, |last| last != has);
        if elsewhere {
            let was = last.map(|d| d.to_string());
            reasons.push(
                Reason::new(ReasonCode::TagMoved, reference.to_string()).moved(was, Some(has.to_string())),
            );
        }
        if old.cell == new.cell || !elsewhere {
            reasons.extend(differences(old, new));
        }
        if reasons.is_empty() {
            let code = if expected.is_some() { ReasonCode::TagMoved } else { ReasonCode::Unrecorded };
            reasons.push(
                Reason::new(code, reference.to_string())
                    .moved(expected.map(|d| d.to_string()), Some(has.to_string())),
            );
        }
        Ok(reasons)
    }

    /// Why the layers of a cell are made.
    fn layers(&self, old: &Ingredients, new: &Ingredients) -> BTreeMap<StepId, Vec<Reason>> {
        let known: HashSet<Digest> = old.layers.iter().map(|layer| layer.key).collect();
        let mut because = BTreeMap::new();
        for (layer, step) in new.layers.iter().zip(&self.steps.artifacts) {
            let was = old.layers.iter().find(|was| was.name == layer.name);
            if let (Some(was), false) = (was, known.contains(&layer.key)) {
                because.insert(*step, layer_differences(was, layer));
            }
        }
        if let Some(step) = self.steps.dockerfile {
            let mut reasons = differences(old, new);
            // Labels are put on later.
            reasons.retain(|reason| reason.code != ReasonCode::ConfigChanged);
            if !reasons.is_empty() {
                because.insert(step, reasons);
            }
        }
        because
    }
}
