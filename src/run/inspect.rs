//! Facts of files by their content: from the store, else read out of the layers that have them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::BufReader;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::blobs::{Blobs, Once, Progress};
use super::deliver::{blocking, file_error};
use super::error::StepError;
use crate::layer::{Examined, Facts, KnownFacts, LayerIndex, TreeFile, elf_candidates, examine};
use crate::oci::{Descriptor, Digest};
use crate::store::Store;

/// Examines files; each layer is read by one step at a time, so that none is read twice.
pub(super) struct Inspector {
    store: Arc<Store>,
    blobs: Arc<Blobs>,
    reading: Once<Digest, Arc<Mutex<()>>>,
    programs: Once<Digest, Arc<KnownFacts>>,
}

impl Inspector {
    pub fn new(store: Arc<Store>, blobs: Arc<Blobs>) -> Self {
        Self { store, blobs, reading: Once::default(), programs: Once::default() }
    }

    /// The ELF files of a layer.
    pub async fn programs(
        &self,
        layer: &Descriptor,
        index: &LayerIndex,
        progress: &Progress,
    ) -> Result<Arc<KnownFacts>, StepError> {
        let slot = self.programs.slot(layer.digest);
        let programs = slot
            .get_or_try_init(|| async {
                let mut facts = self.of_layer(layer, elf_candidates(index), progress).await?;
                facts.retain(|_, facts| matches!(facts, Facts::Elf(_)));
                Ok::<_, StepError>(Arc::new(facts))
            })
            .await?;
        Ok(programs.clone())
    }

    /// Facts of files of a tree whose layers are `layers`.
    pub async fn facts(
        &self,
        layers: &[Descriptor],
        files: impl IntoIterator<Item = &TreeFile>,
        progress: &Progress,
    ) -> Result<KnownFacts, StepError> {
        let mut by_layer: BTreeMap<usize, Vec<Examined>> = BTreeMap::new();
        for file in files {
            by_layer.entry(file.layer).or_default().push(file.examined);
        }
        let mut facts = KnownFacts::new();
        for (layer, files) in by_layer {
            facts.extend(self.of_layer(&layers[layer], files, progress).await?);
        }
        Ok(facts)
    }

    /// Whether the facts of files can be told without fetching anything.
    pub fn at_hand(&self, layers: &[Descriptor], files: &[TreeFile]) -> Result<bool, StepError> {
        let absent: Vec<Examined> = files
            .iter()
            .filter(|file| !self.store.holds(&layers[file.layer]))
            .map(|file| file.examined)
            .collect();
        Ok(unknown(&absent, &recall(&self.store, &absent)?).is_empty())
    }

    async fn of_layer(
        &self,
        layer: &Descriptor,
        files: Vec<Examined>,
        progress: &Progress,
    ) -> Result<KnownFacts, StepError> {
        let lock = self.reading.slot(layer.digest);
        let lock = lock.get_or_init(|| async { Arc::default() }).await.clone();
        let _alone = lock.lock().await;
        let store = self.store.clone();
        let (files, mut known) = blocking(move || {
            let known = recall(&store, &files)?;
            Ok((files, known))
        })
        .await?;
        let missing = unknown(&files, &known);
        if missing.is_empty() {
            return Ok(known);
        }
        let path = self.blobs.ensure(layer, progress).await?;
        let (store, digest) = (self.store.clone(), layer.digest);
        let found = blocking(move || {
            let stored = File::open(&path).map_err(|e| file_error("open", &path, &e))?;
            let stored = BufReader::with_capacity(1 << 18, stored);
            let found = examine(stored, missing, &store.temporary())
                .map_err(|e| StepError::new(format!("layer `{digest}`: {e}")))?;
            remember(&store, &found)?;
            Ok(found)
        })
        .await?;
        known.extend(found);
        Ok(known)
    }
}

/// The files, each content once, of which what is known is no answer.
fn unknown(files: &[Examined], known: &KnownFacts) -> Vec<Examined> {
    let mut seen = HashSet::new();
    let answered = |file: &Examined| match known.get(&file.sha256) {
        Some(Facts::Text(_)) => true,
        Some(Facts::Elf(_) | Facts::Other) => !file.text,
        None => false,
    };
    files.iter().filter(|file| !answered(file) && seen.insert(file.sha256)).copied().collect()
}

fn recall(store: &Store, files: &[Examined]) -> Result<KnownFacts, StepError> {
    let contents: Vec<Digest> = files.iter().map(|file| file.sha256).collect();
    let facts = store.facts(&contents)?.into_iter();
    // What another version wrote in another form is not known.
    let facts = facts.filter_map(|(content, value)| Some((content, postcard::from_bytes(&value).ok()?)));
    Ok(facts.collect::<HashMap<_, _>>())
}

fn remember(store: &Store, found: &[(Digest, Facts)]) -> Result<(), StepError> {
    let encode = |facts: &Facts| {
        postcard::to_stdvec(facts)
            .map_err(|e| StepError::new(format!("failed to encode what is known of a file: {e}")))
    };
    let encoded = found.iter().map(|(content, facts)| Ok((*content, encode(facts)?)));
    Ok(store.put_facts(&encoded.collect::<Result<Vec<_>, StepError>>()?)?)
}
