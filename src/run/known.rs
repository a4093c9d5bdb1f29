//! What is known before a run: records of the local store and of the cache repository.

use std::collections::{HashMap, HashSet};

use futures_util::StreamExt;

use super::blobs::Blobs;
use super::cache::Cache;
use super::error::StepError;
use super::images::Images;
use crate::lock::Lock;
use crate::matrix::{Matrix, Source};
use crate::oci::Digest;
use crate::plan::{Action, Actions, Known, Plan, StepId, StepKind, UsedSource};
use crate::store::{Record, Store};

/// How many records are looked up in the cache repository at a time.
const LOOKUPS: usize = 16;

/// Keys whose results are known and at hand, and those results by step.
///
/// Records that the store lacks are looked for in the cache repository, from the images down: a
/// record is only asked for when nothing above it is known.
pub async fn known_records(
    matrix: &Matrix,
    plan: &Plan,
    lock: &Lock,
    store: &Store,
    images: &Images,
    blobs: &Blobs,
    cache: Option<&Cache>,
) -> Result<(Known, HashMap<StepId, Record>), StepError> {
    register_bases(matrix, plan, lock, store, images).await?;
    let mut known = Known::default();
    let mut records = HashMap::new();
    for (id, step) in plan.steps() {
        if let Some(record) = store.record(&step.key)?
            && usable(&record, lock, &step.kind, &step.key, blobs)
        {
            known.0.insert(step.key);
            records.insert(id, record);
        }
        if let StepKind::Index(source) | StepKind::Resolve(source) = &step.kind
            && listed(source, lock, store, matches!(step.kind, StepKind::Index(_)))?
        {
            known.0.insert(step.key);
        }
    }
    let Some(cache) = cache else { return Ok((known, records)) };
    let mut asked: HashSet<Digest> = HashSet::new();
    loop {
        let actions = Actions::decide(plan, &known);
        let wanted: Vec<StepId> = plan
            .steps()
            .filter(|(id, step)| {
                let shared = match step.kind {
                    StepKind::Assemble(_) | StepKind::Artifact(_) | StepKind::Setup { .. } => true,
                    // What is not made yet has not been checked.
                    StepKind::Abi(_) => plan.needs(*id).iter().all(|n| actions.of(*n) == Action::Reuse),
                    _ => false,
                };
                shared && actions.of(*id) == Action::Run && !asked.contains(&step.key)
            })
            .map(|(id, _)| id)
            .collect();
        // Images first: where one is known nothing beneath is asked for.
        let top: Vec<StepId> = wanted
            .iter()
            .copied()
            .filter(|id| matches!(plan.step(*id).kind, StepKind::Assemble(_)))
            .collect();
        let round = if top.is_empty() { wanted } else { top };
        if round.is_empty() {
            return Ok((known, records));
        }
        let lookups = round.iter().map(|id| async move { (*id, cache.fetch(&plan.step(*id).key).await) });
        let mut results = futures_util::stream::iter(lookups).buffer_unordered(LOOKUPS);
        while let Some((id, record)) = results.next().await {
            let step = plan.step(id);
            asked.insert(step.key);
            if let Some(record) = record?
                && usable(&record, lock, &step.kind, &step.key, blobs)
            {
                known.0.insert(step.key);
                records.insert(id, record);
            }
        }
    }
}

/// Tells `blobs` where the layers of locked bases live, as far as their documents are in the store.
async fn register_bases(
    matrix: &Matrix,
    plan: &Plan,
    lock: &Lock,
    store: &Store,
    images: &Images,
) -> Result<(), StepError> {
    for steps in plan.cells.iter().flatten() {
        let Source::Reference(reference) = &matrix.cells[steps.cell.0].base else { continue };
        let Some(pinned) = lock.images.get(reference) else { continue };
        if store.has_blob(pinned.digest) {
            let source = UsedSource::Reference(reference.clone());
            images.resolve(&source, Some(pinned.digest)).await?;
        }
    }
    Ok(())
}

/// Whether a record's blobs are at hand and it is what the lock says.
fn usable(record: &Record, lock: &Lock, kind: &StepKind, key: &Digest, blobs: &Blobs) -> bool {
    match record {
        Record::Layer(layer) => {
            let locked = lock.outputs.get(key);
            let as_locked = !matches!(kind, StepKind::Artifact(_))
                || locked.is_none()
                || locked == layer.diff_id.as_ref();
            as_locked && layer.blob.as_ref().is_none_or(|blob| blobs.at_hand(blob.digest))
        }
        Record::Image(image) => image.layers.iter().all(|layer| blobs.at_hand(layer.digest)),
        Record::Check(check) => check.passed,
    }
}

/// Whether the store holds an image's documents, and with `files` the indexes of its layers.
fn listed(source: &UsedSource, lock: &Lock, store: &Store, files: bool) -> Result<bool, StepError> {
    let UsedSource::Reference(reference) = source else { return Ok(false) };
    let Some(digest) = lock.images.get(reference).map(|i| i.digest).or(reference.digest) else {
        return Ok(false);
    };
    let Some(bytes) = store.blob(digest)? else { return Ok(false) };
    let Ok(manifest) = serde_json::from_slice::<crate::oci::ImageManifest>(&bytes) else { return Ok(false) };
    if !store.has_blob(manifest.config.digest) {
        return Ok(false);
    }
    if files {
        for layer in &manifest.layers {
            if !store.has_index(&layer.digest)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
