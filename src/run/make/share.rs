//! Results for the cache repository.

use std::sync::PoisonError;

use crate::layer::Restoration;
use crate::oci::{Descriptor, Digest};
use crate::plan::StepId;
use crate::run::cache::StandIn;
use crate::run::worker::{StepReport, StepValue, Worker};
use crate::store::Record;

impl Worker {
    /// Puts a step's result into the cache repository.
    pub(in crate::run) async fn share_result(&self, id: StepId, report: &mut StepReport) {
        let record = match self.value(id) {
            Some(StepValue::Layer(layer)) => Record::Layer(layer.clone()),
            Some(StepValue::Image(image)) => Record::Image(image.clone()),
            _ => return,
        };
        self.share(id, &self.plan.step(id).key, &record, report).await;
    }

    /// Puts an artifact that this run made into the cache repository, once: as what it was placed as where
    /// it can be had from that, so that it is not sent beside it.
    pub(super) async fn share_artifact(
        &self,
        id: StepId,
        placed: Option<(Descriptor, Restoration)>,
        report: &mut StepReport,
    ) {
        if !self.unshared.lock().unwrap_or_else(PoisonError::into_inner).remove(&id) {
            return;
        }
        let Some(StepValue::Layer(layer)) = self.value(id) else { return };
        let level = self.settings.level;
        let stand_in = placed.map(|(blob, restoration)| StandIn { blob, restoration, level });
        let record = Record::Layer(layer.clone());
        self.publish(id, &self.plan.step(id).key, &record, stand_in.as_ref(), report).await;
    }

    /// Puts a record into the cache repository, unless the lock contradicts it; a failure is worth a notice,
    /// not the build.
    pub(in crate::run) async fn share(
        &self,
        id: StepId,
        key: &Digest,
        record: &Record,
        report: &mut StepReport,
    ) {
        self.publish(id, key, record, None, report).await;
    }

    async fn publish(
        &self,
        id: StepId,
        key: &Digest,
        record: &Record,
        stand_in: Option<&StandIn>,
        report: &mut StepReport,
    ) {
        let Some(cache) = self.cache.as_ref().filter(|_| !self.is_unlocked(id, record)) else { return };
        if let Err(error) = cache.publish(key, record, stand_in, &self.progress(id)).await {
            report.notices.push(format!("not shared in the cache repository: {error}"));
        }
    }
}
