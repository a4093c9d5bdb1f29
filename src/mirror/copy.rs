//! One image into one repository: children first, the tag last, only what is missing.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::Semaphore;

use super::document::{Pointers, platform, read};
use super::{MirrorError, MirrorImage};
use crate::event::BlobCounts;
use crate::oci::{Descriptor, Digest, Reference, RepositoryName};
use crate::registry::{Progress, Registry, Upload};

/// Indexes in indexes that are followed.
const DEPTH: usize = 4;
/// Manifests of one index, and blobs of one manifest, that are looked at at a time.
const SIDE_BY_SIDE: usize = 4;

/// What was moved for one image, counted as it happens.
#[derive(Debug, Default)]
pub struct Tally {
    /// Bytes of blobs sent, broken tries not counted twice.
    pub bytes: AtomicU64,
    sent: AtomicU64,
    mounted: AtomicU64,
    existed: AtomicU64,
    manifests: AtomicU64,
    platforms: Mutex<BTreeSet<String>>,
}

impl Tally {
    /// Blobs sent, mounted and found in place.
    pub fn blobs(&self) -> BlobCounts {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        BlobCounts { sent: count(&self.sent), mounted: count(&self.mounted), existed: count(&self.existed) }
    }

    /// Manifests and indexes that were put.
    pub fn manifests(&self) -> u64 {
        self.manifests.load(Ordering::Relaxed)
    }

    /// The platforms of the image's index, sorted.
    pub fn platforms(&self) -> Vec<String> {
        self.platforms.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn upload(&self, upload: Upload) {
        let counter = match upload {
            Upload::Existed => &self.existed,
            Upload::Mounted => &self.mounted,
            Upload::Sent { .. } => &self.sent,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// The repository of a registry that is known to have a blob. Whoever brings it there holds the
/// lock, so that images that share it do not all send it.
type Holder = Arc<tokio::sync::Mutex<Option<RepositoryName>>>;

/// Copies images; one value for all of a run, as it knows which blobs are where.
pub struct Copier {
    pub(super) registry: Arc<dyn Registry>,
    transfers: Semaphore,
    holders: Mutex<HashMap<(String, Digest), Holder>>,
}

/// From one repository to another, for one image.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) from: &'a RepositoryName,
    pub(super) to: &'a RepositoryName,
    pub(super) tally: &'a Tally,
    pub(super) progress: &'a Progress,
}

impl Copier {
    /// Over registries, with at most so many blobs on their way at a time.
    pub fn new(registry: Arc<dyn Registry>, transfers: usize) -> Self {
        Self { registry, transfers: Semaphore::new(transfers.max(1)), holders: Mutex::default() }
    }

    /// Copies an image whose digest is known, with what refers to it where that is wanted, and moves the
    /// target's tag last: whoever meets the tag finds all of it. Returns how many referrers were missing.
    ///
    /// # Errors
    /// When something of it is not there or cannot be moved. What was sent stays, and the tag.
    pub async fn copy(
        &self,
        image: &MirrorImage,
        digest: Digest,
        tally: &Tally,
        progress: &Progress,
    ) -> Result<u64, MirrorError> {
        let way = Way { from: &image.source.name, to: &image.target.name, tally, progress };
        let (descriptor, bytes) = self.beneath(way, digest, 0).await?;
        let mut referrers = 0;
        if image.referrers {
            self.put(way, &way.to.digest(digest), &descriptor, bytes.clone()).await?;
            referrers = self.copy_referrers(image, digest, tally, progress).await?;
        }
        if !image.referrers {
            self.put(way, &image.target, &descriptor, bytes).await?;
        } else if image.target.digest.is_none() {
            self.registry.put_manifest(&image.target, &descriptor.media_type, bytes).await?;
        }
        Ok(referrers)
    }

    /// Copies a manifest with all beneath it, and puts it as `target`.
    pub(super) async fn copy_to(
        &self,
        way: Way<'_>,
        digest: Digest,
        target: &Reference,
    ) -> Result<(), MirrorError> {
        let (descriptor, bytes) = self.beneath(way, digest, 0).await?;
        self.put(way, target, &descriptor, bytes).await
    }

    /// Puts a manifest whose parts are there.
    async fn put(
        &self,
        way: Way<'_>,
        target: &Reference,
        descriptor: &Descriptor,
        bytes: Bytes,
    ) -> Result<(), MirrorError> {
        self.registry.put_manifest(target, &descriptor.media_type, bytes).await?;
        way.tally.manifests.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Brings all that a manifest points at, and gives the manifest itself.
    pub(super) fn beneath<'a>(
        &'a self,
        way: Way<'a>,
        digest: Digest,
        depth: usize,
    ) -> BoxFuture<'a, Result<(Descriptor, Bytes), MirrorError>> {
        Box::pin(async move {
            let source = way.from.digest(digest);
            let Some((descriptor, bytes)) = self.registry.manifest(&source).await? else {
                return Err(MirrorError::new(format!("the registry has no `{source}`"))
                    .help("the tag may have moved and its old image be gone: run `railyard update`, or list the image anew"));
            };
            match read(&bytes, &source)? {
                Pointers::Index(_) if depth == DEPTH => {
                    let message = format!("`{source}` lies in more than {DEPTH} indexes");
                    return Err(MirrorError::new(message));
                }
                Pointers::Index(entries) => {
                    if depth == 0 {
                        let mut platforms =
                            way.tally.platforms.lock().unwrap_or_else(PoisonError::into_inner);
                        platforms.extend(entries.iter().filter_map(platform));
                    }
                    let entries = stream::iter(entries).map(Ok::<_, MirrorError>);
                    entries
                        .try_for_each_concurrent(SIDE_BY_SIDE, |entry| self.child(way, entry.digest, depth))
                        .await?;
                }
                Pointers::Image(blobs) => {
                    let blobs = stream::iter(blobs).map(Ok::<_, MirrorError>);
                    blobs
                        .try_for_each_concurrent(
                            SIDE_BY_SIDE,
                            |blob| async move { self.blob(way, &blob).await },
                        )
                        .await?;
                }
            }
            Ok((descriptor, bytes))
        })
    }

    /// An index's entry, unless the target has it: then it has all beneath it too.
    async fn child(&self, way: Way<'_>, digest: Digest, depth: usize) -> Result<(), MirrorError> {
        let target = way.to.digest(digest);
        if self.registry.head(&target).await?.is_some() {
            return Ok(());
        }
        let (descriptor, bytes) = self.beneath(way, digest, depth + 1).await?;
        self.put(way, &target, &descriptor, bytes).await
    }

    async fn blob(&self, way: Way<'_>, descriptor: &Descriptor) -> Result<(), MirrorError> {
        let holder = {
            let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
            holders.entry((way.to.registry.clone(), descriptor.digest)).or_default().clone()
        };
        let mut holder = holder.lock().await;
        let _permit = self.transfers.acquire().await.expect("the semaphore is never closed");
        let mount_from = holder.as_ref().filter(|known| *known != way.to);
        let copied =
            self.registry.copy_blob(way.from, way.to, descriptor, mount_from, way.progress.clone()).await?;
        if let Upload::Sent { bytes } = copied {
            way.tally.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        way.tally.upload(copied);
        *holder = Some(way.to.clone());
        Ok(())
    }
}
