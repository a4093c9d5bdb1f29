//! What is known before a run: records of the local store and of the cache repository.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures_util::{StreamExt, TryStreamExt};

use super::blobs::Blobs;
use super::cache::Cache;
use super::error::StepError;
use super::fresh::{Freshness, with_dependents};
use super::images::Images;
use super::output::{contradict, outputs};
use crate::lock::Lock;
use crate::matrix::Matrix;
use crate::oci::{Digest, Platform};
use crate::plan::{
    Action, Actions, Anew, Known, Plan, Step, StepId, StepKind, UsedSource, abi_result, check_result,
};
use crate::store::{Record, Store};

/// How many records are looked up in the cache repository at a time.
const LOOKUPS: usize = 16;

/// What is known of a plan's steps.
#[derive(Debug, Default)]
pub struct Knowledge {
    /// Keys whose results are known and good enough.
    pub known: Known,
    /// Those results by step.
    pub records: HashMap<StepId, Record>,
    /// Steps that run again though their result is known.
    pub anew: BTreeMap<StepId, Anew>,
}

/// Where results are looked up.
pub struct Sources<'a> {
    /// The cells.
    pub matrix: &'a Matrix,
    /// The plan.
    pub plan: &'a Plan,
    /// The lock that it was made with.
    pub lock: &'a Lock,
    /// Local records.
    pub store: &'a Store,
    /// External images.
    pub images: &'a Images,
    /// Blobs.
    pub blobs: &'a Blobs,
    /// Shared records.
    pub cache: Option<&'a Cache>,
}

impl Sources<'_> {
    /// Looks results up. Records that the store lacks are looked for in the cache repository, from
    /// the images down: a record is only asked for when nothing above it is known.
    ///
    /// # Errors
    /// When the store or the cache repository cannot be read.
    pub async fn look_up(&self, freshness: &Freshness) -> Result<Knowledge, StepError> {
        register_bases(self).await?;
        let mut found = Knowledge::default();
        let mut asked: HashSet<Digest> = HashSet::new();
        let pinned = pinned_beneath(self.plan, self.lock);
        let (unfit, shared) = self.unfit(freshness, &mut found, &mut asked).await?;
        for (id, record) in shared.into_iter().filter(|(id, _)| !unfit.contains(id)) {
            self.adopt(&mut found, &pinned, id, self.plan.step(id).key, record)?;
        }
        for (id, step) in self.plan.steps().filter(|(id, _)| !unfit.contains(id)) {
            match &step.kind {
                StepKind::Index(source) | StepKind::Resolve(source) => {
                    let files = matches!(step.kind, StepKind::Index(_));
                    if listed(source, self.lock, &self.matrix.platform, self.store, files)? {
                        found.known.0.insert(step.key);
                    }
                }
                StepKind::Abi(_) | StepKind::Check { .. } => {}
                _ => {
                    if let Some(record) = self.store.record(&step.key)? {
                        self.take(&mut found, &pinned, id, record);
                    }
                }
            }
        }
        while let Some(wanted) = self.unasked(&found.known, &unfit, &asked) {
            asked.extend(wanted.iter().map(|id| self.plan.step(*id).key));
            let keys = wanted.into_iter().map(|id| (id, self.plan.step(id).key)).collect();
            for (id, key, record) in self.fetch(keys).await? {
                self.adopt(&mut found, &pinned, id, key, record)?;
            }
        }
        self.checks(&mut found, &pinned).await?;
        Ok(found)
    }

    /// Steps that run again, and all that is made of their results; the records that were fetched to tell.
    async fn unfit(
        &self,
        freshness: &Freshness,
        found: &mut Knowledge,
        asked: &mut HashSet<Digest>,
    ) -> Result<(HashSet<StepId>, HashMap<StepId, Record>), StepError> {
        let candidates = freshness.candidates(self.matrix, self.plan);
        let mut missing = Vec::new();
        let mut records = HashMap::new();
        for id in candidates.keys() {
            let key = self.plan.step(*id).key;
            match self.store.record(&key)? {
                Some(record) => drop(records.insert(*id, record)),
                None => missing.push((*id, key)),
            }
        }
        asked.extend(missing.iter().map(|(_, key)| *key));
        let shared = self.fetch(missing).await?;
        let shared: HashMap<StepId, Record> =
            shared.into_iter().map(|(id, _, record)| (id, record)).collect();
        for (id, candidate) in &candidates {
            if let Some(anew) = freshness.judge(candidate, records.get(id).or(shared.get(id))) {
                found.anew.insert(*id, anew);
            }
        }
        Ok((with_dependents(self.plan, found.anew.keys().copied()), shared))
    }

    /// Takes a record that is good here; says whether it is.
    fn take(&self, found: &mut Knowledge, pinned: &[bool], id: StepId, record: Record) -> bool {
        let step = self.plan.step(id);
        let is_good = as_locked(&record, self.lock, step, pinned[id.0 as usize])
            && is_whole(&record, step)
            && at_hand(&record, self.blobs);
        if is_good {
            found.known.0.insert(step.key);
            found.records.insert(id, record);
        }
        is_good
    }

    /// Takes a record of the cache repository, and keeps it where it is good here.
    fn adopt(
        &self,
        found: &mut Knowledge,
        pinned: &[bool],
        id: StepId,
        key: Digest,
        record: Record,
    ) -> Result<(), StepError> {
        if self.take(found, pinned, id, record.clone()) {
            self.store.put_record(&key, &record)?;
        }
        Ok(())
    }

    /// What the cache repository is asked for next; images first: where one is known nothing
    /// beneath is asked for.
    fn unasked(
        &self,
        known: &Known,
        unfit: &HashSet<StepId>,
        asked: &HashSet<Digest>,
    ) -> Option<Vec<StepId>> {
        self.cache?;
        let actions = Actions::decide(self.plan, known);
        let wanted: Vec<StepId> = self
            .plan
            .steps()
            .filter(|(id, step)| {
                let shared = matches!(
                    step.kind,
                    StepKind::Assemble(_)
                        | StepKind::Artifact(_)
                        | StepKind::Setup { .. }
                        | StepKind::Dockerfile(_)
                );
                shared && actions.of(*id) == Action::Run && !unfit.contains(id) && !asked.contains(&step.key)
            })
            .map(|(id, _)| id)
            .collect();
        let is_image = |id: &&StepId| matches!(self.plan.step(**id).kind, StepKind::Assemble(_));
        let images: Vec<StepId> = wanted.iter().filter(is_image).copied().collect();
        let round = if images.is_empty() { wanted } else { images };
        (!round.is_empty()).then_some(round)
    }

    /// What the cache repository has under these keys.
    async fn fetch(&self, keys: Vec<(StepId, Digest)>) -> Result<Vec<(StepId, Digest, Record)>, StepError> {
        let Some(cache) = self.cache else { return Ok(Vec::new()) };
        let lookups = keys.into_iter().map(|(id, key)| async move {
            Ok::<_, StepError>(cache.fetch(&key).await?.map(|record| (id, key, record)))
        });
        let found = futures_util::stream::iter(lookups).buffer_unordered(LOOKUPS);
        found.try_filter_map(|found| async move { Ok(found) }).try_collect().await
    }

    /// Checks are known by the image that they were run in.
    async fn checks(&self, found: &mut Knowledge, pinned: &[bool]) -> Result<(), StepError> {
        let mut missing = Vec::new();
        for (id, step) in self.plan.steps() {
            let (StepKind::Abi(cell) | StepKind::Check { cell, .. }) = step.kind else { continue };
            let assemble = self.plan.cells[cell.0].as_ref().expect("steps belong to planned cells").assemble;
            let Some(Record::Image(image)) = found.records.get(&assemble) else { continue };
            let (digest, platform) = (&image.manifest.digest, &self.matrix.platform);
            let key = match step.kind {
                StepKind::Check { position, .. } => {
                    check_result(digest, &self.matrix.cells[cell.0].checks[position], platform)
                }
                _ => abi_result(digest, platform),
            };
            match self.store.record(&key)? {
                Some(record) => {
                    self.take(found, pinned, id, record);
                }
                None => missing.push((id, key)),
            }
        }
        for (id, key, record) in self.fetch(missing).await? {
            self.adopt(found, pinned, id, key, record)?;
        }
        Ok(())
    }
}

/// Tells `blobs` where the layers of locked bases live, as far as their documents are in the store.
async fn register_bases(sources: &Sources<'_>) -> Result<(), StepError> {
    for steps in sources.plan.cells.iter().flatten() {
        for reference in sources.matrix.bases(steps.cell) {
            let Some(pinned) = sources.lock.image(reference, &sources.matrix.platform) else { continue };
            if sources.store.has_blob(pinned.digest) {
                let source = UsedSource::Reference(reference.clone());
                sources.images.resolve(&source, Some(pinned.digest)).await?;
            }
        }
    }
    Ok(())
}

/// For each step whether the lock pins an output of what it is made of.
fn pinned_beneath(plan: &Plan, lock: &Lock) -> Vec<bool> {
    let mut beneath = vec![false; plan.graph.node_count()];
    // Steps stand behind those that they need.
    for (id, _) in plan.steps() {
        let pinned =
            |need: &StepId| beneath[need.0 as usize] || lock.outputs.contains_key(&plan.step(*need).key);
        beneath[id.0 as usize] = plan.needs(id).iter().any(pinned);
    }
    beneath
}

/// Whether a record has nothing in it that the lock pins as something else. Of those that do not say what
/// is in them the ones are trusted beneath which nothing is pinned.
fn as_locked(record: &Record, lock: &Lock, step: &Step, pinned_beneath: bool) -> bool {
    match outputs(step, record) {
        Some(outputs) => !contradict(&outputs, lock),
        None => !pinned_beneath,
    }
}

/// Whether a record says all that is needed of it: those of Dockerfiles' builds of earlier versions do not
/// tell the base's history from their own.
fn is_whole(record: &Record, step: &Step) -> bool {
    match record {
        Record::Image(image) => image.inherited.is_some() || !matches!(step.kind, StepKind::Dockerfile(_)),
        _ => true,
    }
}

/// Whether a record is of something good whose blobs are at hand.
fn at_hand(record: &Record, blobs: &Blobs) -> bool {
    match record {
        Record::Layer(layer) => layer.blob.as_ref().is_none_or(|blob| blobs.at_hand(blob)),
        Record::Image(image) => image.layers.iter().all(|layer| blobs.at_hand(layer)),
        Record::Check(check) => check.passed,
        Record::Statement(_) | Record::Tag(_) => false,
    }
}

/// Whether the store holds an image's documents, and with `files` the indexes of its layers.
///
/// # Errors
/// When the store fails.
pub fn listed(
    source: &UsedSource,
    lock: &Lock,
    platform: &Platform,
    store: &Store,
    files: bool,
) -> Result<bool, StepError> {
    let UsedSource::Reference(reference) = source else { return Ok(false) };
    let locked = lock.image(reference, platform).map(|image| image.digest);
    let Some(digest) = locked.or(reference.digest) else { return Ok(false) };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::LayerId;
    use crate::oci::DiffId;
    use crate::plan::Class;
    use crate::store::{LayerRecord, Outputs};

    fn step(class: Class) -> Step {
        let (kind, key) = (StepKind::Artifact(LayerId(0)), Digest::of(b"key"));
        Step { kind, label: String::new(), key, provisional: false, class, asked: 1 }
    }

    fn record(made: &[u8], outputs: Option<Outputs>) -> Record {
        let diff_id = Some(DiffId(Digest::of(made)));
        Record::Layer(Box::new(LayerRecord { blob: None, diff_id, millis: 0, made: 0, outputs }))
    }

    fn locked(output: &[u8]) -> Lock {
        let mut lock = Lock::default();
        lock.outputs.insert(Digest::of(b"key"), DiffId(Digest::of(output)));
        lock
    }

    #[test]
    fn a_commands_result_is_what_the_lock_says() {
        let (step, record) = (step(Class::Container), record(b"one", None));
        assert!(as_locked(&record, &locked(b"one"), &step, true));
        assert!(!as_locked(&record, &locked(b"two"), &step, false));
        assert!(as_locked(&record, &Lock::default(), &step, false));
    }

    #[test]
    fn a_result_with_outputs_in_it_is_made_of_those_that_the_lock_says() {
        let with = |made: &[&[u8]]| {
            let outputs = made.iter().map(|made| (Digest::of(b"key"), DiffId(Digest::of(made))));
            record(b"placed", Some(outputs.collect()))
        };
        let step = step(Class::Cpu);
        assert!(as_locked(&with(&[b"one"]), &locked(b"one"), &step, true));
        assert!(!as_locked(&with(&[b"one"]), &locked(b"two"), &step, true));
        assert!(!as_locked(&with(&[b"one", b"two"]), &locked(b"one"), &step, true), "it is of both");
        assert!(as_locked(&with(&[]), &locked(b"one"), &step, true));
    }

    #[test]
    fn a_result_that_does_not_say_what_is_in_it_is_trusted_where_nothing_is_pinned() {
        let (step, record) = (step(Class::Cpu), record(b"placed", None));
        assert!(as_locked(&record, &locked(b"one"), &step, false));
        assert!(!as_locked(&record, &locked(b"one"), &step, true));
    }

    const MANIFEST: &str = r#"
schema = 1
[project]
name = "p"
repository = "r.example/p"
[layers.made]
run = { image = "r.example/b:1", script = "x", keep = ["/x"] }
[images.app]
base = "scratch"
layers = ["made"]
tags = ["1"]
"#;

    /// Whether a record that the cache repository has of a command is known, and kept in the store.
    async fn shared(locked: &[u8]) -> (bool, bool) {
        let mut sources = crate::manifest::Sources::default();
        sources.add("builds.toml", MANIFEST);
        let manifest = crate::manifest::parse(sources).unwrap_or_else(|(_, found)| panic!("{found:?}"));
        let matrix = crate::matrix::expand(&manifest, &Default::default()).unwrap();
        let layouts = Default::default();
        let mut lock = Lock::default();
        let planned = |lock: &Lock| {
            let delivery = crate::plan::Delivery { push: true, load: false, checks: true };
            let inputs = crate::plan::Inputs { lock, layouts: &layouts, created: None, delivery };
            crate::plan::plan(&matrix, &[true], inputs)
        };
        let plan = planned(&lock);
        let (_, step) = plan.steps().find(|(_, step)| step.is_command()).unwrap();
        lock.outputs.insert(step.key, DiffId(Digest::of(locked)));
        let folder = tempfile::tempdir().unwrap();
        let store = std::sync::Arc::new(Store::open(folder.path()).unwrap());
        let registry = std::sync::Arc::new(crate::registry::FakeRegistry::new());
        let blobs = std::sync::Arc::new(Blobs::new(store.clone(), registry.clone()));
        let platform = matrix.platform.clone();
        let images = Images::new(store.clone(), registry.clone(), blobs.clone(), platform);
        let cache = Cache::new("r.example/cache".parse().unwrap(), registry, blobs.clone());
        let silent = super::super::blobs::silent();
        cache.publish(&step.key, &record(b"one", None), None, &silent).await.unwrap();
        let looked_up = super::Sources {
            matrix: &matrix,
            plan: &plan,
            lock: &lock,
            store: &store,
            images: &images,
            blobs: &blobs,
            cache: Some(&cache),
        };
        let found = looked_up.look_up(&Freshness::default()).await.unwrap();
        (found.known.0.contains(&step.key), store.record(&step.key).unwrap().is_some())
    }

    #[tokio::test]
    async fn a_shared_record_that_the_lock_contradicts_is_not_kept() {
        assert_eq!(shared(b"one").await, (true, true));
        assert_eq!(shared(b"two").await, (false, false));
    }
}
