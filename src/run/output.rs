//! Outputs of commands, which the lock pins: which ones a result is or has in it.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::dockerfile::chain_id;
use super::worker::{StepValue, Worker};
use crate::lock::Lock;
use crate::oci::DiffId;
use crate::plan::{Step, StepId};
use crate::store::{ImageRecord, LayerRecord, Outputs, Record};

/// The outputs in a step's result; `None` where its record is of a version that did not keep them.
pub(super) fn outputs<'r>(step: &Step, record: &'r Record) -> Option<Cow<'r, Outputs>> {
    match record {
        Record::Layer(layer) => of_layer(step, layer),
        Record::Image(image) => of_image(step, image),
        Record::Statement(_) | Record::Tag(_) | Record::Check(_) => Some(Cow::default()),
    }
}

fn of_layer<'r>(step: &Step, layer: &'r LayerRecord) -> Option<Cow<'r, Outputs>> {
    if step.is_command() {
        let made = layer.diff_id.unwrap_or_else(DiffId::of_nothing);
        return Some(Cow::Owned(BTreeSet::from([(step.key, made)])));
    }
    layer.outputs.as_ref().map(Cow::Borrowed)
}

fn of_image<'r>(step: &Step, image: &'r ImageRecord) -> Option<Cow<'r, Outputs>> {
    if step.is_command() {
        return Some(Cow::Owned(chain_id(image).into_iter().map(|made| (step.key, made)).collect()));
    }
    image.outputs.as_ref().map(Cow::Borrowed)
}

/// Whether the lock pins one of them as something else.
pub(super) fn contradict(outputs: &Outputs, lock: &Lock) -> bool {
    outputs.iter().any(|(key, made)| lock.outputs.get(key).is_some_and(|locked| locked != made))
}

impl Worker {
    /// The outputs in all that a step is made of.
    pub(super) fn outputs_beneath(&self, id: StepId) -> Outputs {
        let needs = self.plan.needs(id).into_iter();
        needs.filter_map(|need| self.outputs_of(need)).flat_map(Cow::into_owned).collect()
    }

    /// The outputs in a result of this run.
    pub(super) fn outputs_of(&self, id: StepId) -> Option<Cow<'_, Outputs>> {
        let step = self.plan.step(id);
        match self.value(id)? {
            StepValue::Layer(layer) => of_layer(step, layer),
            StepValue::Image(image) => of_image(step, image),
            StepValue::Pushed { .. } | StepValue::Engine(_) => None,
        }
    }

    /// Whether a result has an output in it that the lock pins as something else, and will after this
    /// run: such a result is used in this run and never again.
    pub(super) fn is_unlocked(&self, id: StepId, record: &Record) -> bool {
        let Some(outputs) = outputs(self.plan.step(id), record) else { return false };
        let lasting = outputs.iter().filter(|(key, _)| !self.is_anew(key)).copied().collect();
        contradict(&lasting, &self.lock)
    }

    /// Remembers a result under its step's key, but not one that the lock contradicts.
    pub(super) fn remember(&self, id: StepId, record: &Record) -> Result<(), crate::store::StoreError> {
        if self.is_unlocked(id, record) {
            return Ok(());
        }
        self.store.put_record(&self.plan.step(id).key, record)
    }
}
