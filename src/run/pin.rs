//! Completing the lock: what a plan needs pinned and is not yet.
//!
//! `build` adds entries, only `update` moves one: an entry that is there is never touched here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::StreamExt;

use super::blobs::silent;
use super::download::Downloads;
use super::error::StepError;
use super::images::{ImageFiles, Images, ResolvedImage, layout_digest};
use crate::layer::{copy_digest, find_libraries, tree_digest};
use crate::lock::{Lock, LockedDownload, LockedImage};
use crate::matrix::{CellId, ConcreteContent, ConcretePart, Matrix, Source};
use crate::oci::{Digest, Hasher, Platform, Reference};
use crate::plan::{InputsDocument, UsedSource, local_name};
use crate::store::Store;

/// Everything that chosen cells take from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct External {
    /// The platform that images are taken for.
    pub platform: Platform,
    /// Images, with what is taken of them.
    pub images: BTreeMap<Reference, Taken>,
    /// Images in OCI layouts.
    pub layouts: BTreeSet<String>,
    /// Files of this machine.
    pub files: BTreeSet<String>,
    /// Downloads by their URL as it is shown.
    pub downloads: BTreeMap<String, Fetched>,
}

/// A download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Mirrors, in order.
    pub urls: Vec<String>,
    /// What the manifest demands: `None` where one of its users demands nothing, and takes what the lock has.
    pub sha256: Option<Digest>,
}

/// What is taken of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// Trees that runs read.
    pub reads: BTreeSet<String>,
    /// Trees that are copied.
    pub copies: BTreeSet<String>,
}

impl Taken {
    /// Whether an image's entry in a lock has all of it.
    fn is_pinned(&self, image: &LockedImage) -> bool {
        let reads = self.reads.is_empty()
            || image.environment.is_some() && self.reads.iter().all(|path| image.trees.contains_key(path));
        reads && self.copies.iter().all(|path| image.copies.contains_key(path))
    }
}

impl External {
    /// Walks the chosen cells and the cells that they need.
    pub fn of(matrix: &Matrix, chosen: &[bool]) -> Self {
        let chosen = chosen.iter().enumerate().filter(|(_, chosen)| **chosen);
        Self::from(matrix, chosen.map(|(position, _)| CellId(position)).collect())
    }

    /// Walks one cell and the cells that it needs.
    pub fn of_cell(matrix: &Matrix, cell: CellId) -> Self {
        Self::from(matrix, vec![cell])
    }

    fn from(matrix: &Matrix, mut stack: Vec<CellId>) -> Self {
        let mut external = Self {
            platform: matrix.platform.clone(),
            images: BTreeMap::new(),
            layouts: BTreeSet::new(),
            files: BTreeSet::new(),
            downloads: BTreeMap::new(),
        };
        let mut seen = vec![false; matrix.cells.len()];
        let mut seen_layers = vec![false; matrix.layers.len()];
        while let Some(id) = stack.pop() {
            if std::mem::replace(&mut seen[id.0], true) {
                continue;
            }
            let cell = &matrix.cells[id.0];
            match &cell.base {
                Source::Dockerfile(made) => {
                    for source in &matrix.recipe(*made).sources {
                        external.source(source, &[], &[], &mut stack);
                    }
                }
                base => external.source(base, &[], &[], &mut stack),
            }
            for layer in &cell.layers {
                if std::mem::replace(&mut seen_layers[layer.0], true) {
                    continue;
                }
                match &matrix.layers[layer.0].content {
                    ConcreteContent::Run(run) => external.source(&run.image, &run.reads, &[], &mut stack),
                    ConcreteContent::Parts(parts) => {
                        for part in parts {
                            external.part(part, &mut stack);
                        }
                    }
                }
            }
        }
        external
    }

    fn part(&mut self, part: &ConcretePart, stack: &mut Vec<CellId>) {
        match part {
            ConcretePart::Copy(copy) => self.source(&copy.from, &[], &copy.paths, stack),
            ConcretePart::Download(download) => {
                let fetched = Fetched { urls: download.urls.clone(), sha256: download.sha256 };
                let known = self.downloads.entry(download.shown.clone()).or_insert(fetched);
                known.sha256 = known.sha256.filter(|_| download.sha256.is_some());
            }
            ConcretePart::Local { source, .. } => {
                self.files.insert(source.clone());
            }
            ConcretePart::File { .. } | ConcretePart::Dir { .. } => {}
        }
    }

    fn source(&mut self, source: &Source, reads: &[String], copies: &[String], stack: &mut Vec<CellId>) {
        match source {
            Source::Scratch => {}
            Source::Reference(reference) => {
                let taken = self.images.entry(reference.clone()).or_default();
                taken.reads.extend(reads.iter().cloned());
                taken.copies.extend(copies.iter().cloned());
            }
            Source::Layout(directory) => {
                self.layouts.insert(directory.clone());
            }
            Source::Cell(cell) => stack.push(*cell),
            // Only a cell's base, which is looked into there.
            Source::Dockerfile(_) => {}
        }
    }

    /// All of it with what a lock pins it to.
    pub fn document(
        &self,
        lock: &Lock,
        layouts: &BTreeMap<String, Digest>,
        created: Option<&str>,
    ) -> InputsDocument {
        let images = self.images.keys().map(|reference| {
            let locked = lock.image(reference, &self.platform).map(|image| image.digest);
            let digest = locked.or(reference.digest);
            (reference.to_string(), digest)
        });
        let directories = self.layouts.iter().map(|dir| (format!("oci:{dir}"), layouts.get(dir).copied()));
        let downloads = self.downloads.iter().map(|(url, fetched)| {
            (url.clone(), fetched.sha256.or_else(|| lock.downloads.get(url).map(|d| d.sha256)))
        });
        let files = self.files.iter().map(|path| {
            let name = local_name(path);
            let digest = layouts.get(&name).copied();
            (name, digest)
        });
        InputsDocument {
            images: images.chain(directories).collect(),
            downloads: downloads.chain(files).collect(),
            mirrors: BTreeMap::new(),
            created: created.map(str::to_owned),
        }
    }

    /// What of this a lock does not pin, for people.
    pub fn missing(&self, lock: &Lock) -> Vec<String> {
        let images = self.images.iter().filter_map(|(reference, taken)| match lock.images.get(reference) {
            None => Some(format!("image `{reference}`")),
            Some(image) if image.platform != self.platform => Some(format!(
                "image `{reference}` for {} (it has the one for {})",
                self.platform, image.platform
            )),
            Some(image) if !taken.is_pinned(image) => {
                Some(format!("trees that are read or copied of `{reference}`"))
            }
            Some(_) => None,
        });
        let downloads = self.open_downloads(lock).map(|(url, _)| format!("download `{url}`"));
        images.chain(downloads).collect()
    }

    /// The downloads that neither the manifest nor a lock pins.
    fn open_downloads(&self, lock: &Lock) -> impl Iterator<Item = (&String, &Fetched)> {
        let is_open =
            |url: &String, fetched: &Fetched| fetched.sha256.is_none() && !lock.downloads.contains_key(url);
        self.downloads.iter().filter(move |(url, fetched)| is_open(url, fetched))
    }
}

/// What pins.
pub struct Pinner {
    /// Images.
    pub images: Arc<Images>,
    /// Downloads.
    pub downloads: Arc<Downloads>,
    /// Transfers at a time.
    pub transfers: usize,
}

impl Pinner {
    /// Adds to the lock what is missing; returns what was added, for people.
    ///
    /// # Errors
    /// All inputs that cannot be pinned, at once.
    pub async fn complete(
        &self,
        external: &External,
        lock: &mut Lock,
    ) -> Result<Vec<String>, Vec<StepError>> {
        let platform = &external.platform;
        let mut added = Vec::new();
        let mut errors = Vec::new();
        let images = external.images.iter().filter(|(reference, taken)| {
            !lock.image(reference, platform).is_some_and(|image| taken.is_pinned(image))
        });
        let pinned = images.map(|(reference, taken)| {
            let known = lock.image(reference, platform).cloned();
            let place = lock.places.image(reference).map(str::to_owned);
            async move { (reference, self.image(reference, taken, known, place.as_deref(), platform).await) }
        });
        let results: Vec<_> =
            futures_util::stream::iter(pinned).buffer_unordered(self.transfers).collect().await;
        for (reference, result) in results {
            match result {
                Ok(image) => {
                    match lock.images.get(reference) {
                        None => added.push(format!("{reference} -> {}", image.digest)),
                        Some(known) if known.platform != *platform => added.push(format!(
                            "{reference} -> {} for {platform} (was for {})",
                            image.digest, known.platform
                        )),
                        Some(_) => {}
                    }
                    lock.images.insert(reference.clone(), image);
                }
                Err(error) => errors.push(error),
            }
        }
        let downloads = external.open_downloads(lock).map(|(url, fetched)| async move {
            (url, self.downloads.get(&fetched.urls, None, &silent()).await)
        });
        let results: Vec<_> =
            futures_util::stream::iter(downloads).buffer_unordered(self.transfers).collect().await;
        for (url, result) in results {
            match result {
                Ok((sha256, size)) => {
                    added.push(format!("{url} -> {sha256}"));
                    lock.downloads.insert(url.clone(), LockedDownload { sha256, size });
                }
                Err(error) => errors.push(error),
            }
        }
        added.sort();
        if errors.is_empty() { Ok(added) } else { Err(errors) }
    }

    async fn image(
        &self,
        reference: &Reference,
        taken: &Taken,
        known: Option<LockedImage>,
        place: Option<&str>,
        platform: &Platform,
    ) -> Result<LockedImage, StepError> {
        let source = UsedSource::Reference(reference.clone());
        let image = self
            .images
            .resolve(&source, known.as_ref().map(|known| known.digest))
            .await
            .map_err(|error| error.pinned_at(place, reference))?;
        let mut locked = known.unwrap_or_else(|| LockedImage {
            platform: platform.clone(),
            digest: image.digest,
            trees: BTreeMap::new(),
            copies: BTreeMap::new(),
            environment: None,
        });
        if taken.is_pinned(&locked) {
            return Ok(locked);
        }
        let files = self.images.files(&image, &silent()).await?;
        let named = |e| StepError::new(format!("`{reference}`: {e}"));
        for path in &taken.reads {
            if !locked.trees.contains_key(path) {
                let digest = tree_digest(&files.tree, std::slice::from_ref(path)).map_err(named)?;
                locked.trees.insert(path.clone(), digest);
            }
        }
        for path in &taken.copies {
            if !locked.copies.contains_key(path) {
                locked.copies.insert(path.clone(), copy_digest(&files.tree, path).map_err(named)?);
            }
        }
        if !taken.reads.is_empty() && locked.environment.is_none() {
            locked.environment = Some(environment_digest(&image, &files));
        }
        Ok(locked)
    }
}

/// What a run takes from its builder beside trees (decision 7).
fn environment_digest(image: &ResolvedImage, files: &ImageFiles) -> Digest {
    let config = &image.config.config;
    let mut hasher = Hasher::new();
    for entry in config.env.iter().flatten() {
        hasher.field(entry.as_bytes());
    }
    hasher.field(config.user.as_deref().unwrap_or("").as_bytes());
    hasher.field(config.working_dir.as_deref().unwrap_or("").as_bytes());
    let libraries = find_libraries(&files.tree);
    for library in [libraries.libc, libraries.libstdcxx] {
        hasher.field(library.map(|l| l.name).unwrap_or_default().as_bytes());
    }
    hasher.finish()
}

/// Digests of the images in layouts, and of files of this machine.
///
/// # Errors
/// Every layout and every file that cannot be read.
pub fn pin_layouts(
    external: &External,
    platform: &crate::oci::Platform,
) -> Result<BTreeMap<String, Digest>, Vec<StepError>> {
    let mut digests = BTreeMap::new();
    let mut errors = Vec::new();
    for directory in &external.layouts {
        match layout_digest(std::path::Path::new(directory), platform) {
            Ok(digest) => {
                digests.insert(directory.clone(), digest);
            }
            Err(error) => errors.push(error),
        }
    }
    for path in &external.files {
        match local_digest(path) {
            Ok(digest) => {
                digests.insert(local_name(path), digest);
            }
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(digests) } else { Err(errors) }
}

/// The hash of a file of this machine.
fn local_digest(path: &str) -> Result<Digest, StepError> {
    let hashed = Store::hash_file(std::path::Path::new(path));
    hashed.map(|(digest, _)| digest).map_err(|error| {
        StepError::new(error.to_string()).help(
            "`source` of `files` names a file relative to the manifest: make it first, or correct the path",
        )
    })
}
