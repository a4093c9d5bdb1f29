//! Blobs between the local store and registries: each fetched once, each sent once a registry.

use std::collections::HashMap;
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::OnceCell;

use super::cache::StandIn;
use super::deliver::{blocking, file_error};
use super::error::StepError;
use super::make::{open, store_blob};
use crate::event::Direction;
use crate::layer::{index_layer, write_restored};
use crate::oci::{Descriptor, Digest, RepositoryName};
use crate::registry::{self, BlobSource, Registry, RegistryErrorKind, Upload};
use crate::store::Store;

/// Called with the direction and the number of bytes moved since the last call.
pub type Progress = Arc<dyn Fn(Direction, u64) + Send + Sync>;

/// Tells nobody.
pub fn silent() -> Progress {
    Arc::new(|_, _| {})
}

/// Makes a blob of this machine's own results again.
pub(super) type Maker = Box<dyn Fn(Digest) -> BoxFuture<'static, Result<(), StepError>> + Send + Sync>;

tokio::task_local! {
    /// The lost blobs that this work is to bring.
    static MAKING: Vec<Digest>;
}

/// Carries out what is to bring a lost blob. Who asks for that blob in it would wait for himself.
async fn making<T>(digest: Digest, work: impl Future<Output = T>) -> T {
    let mut lost = MAKING.try_with(Clone::clone).unwrap_or_default();
    lost.push(digest);
    MAKING.scope(lost, work).await
}

/// Whether this work is to bring a lost blob.
pub(super) fn is_making_again() -> bool {
    MAKING.try_with(|_| ()).is_ok()
}

/// Counters of a run.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Bytes sent.
    pub sent_bytes: AtomicU64,
    /// Bytes fetched.
    pub fetched_bytes: AtomicU64,
    /// Blobs sent.
    pub sent: AtomicU64,
    /// Blobs mounted.
    pub mounted: AtomicU64,
    /// Blobs found in place.
    pub existed: AtomicU64,
}

/// One slot a key, so that concurrent demands for one thing are one piece of work.
pub(super) struct Once<K, V>(Mutex<HashMap<K, Arc<OnceCell<V>>>>);

impl<K, V> Default for Once<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V> Once<K, V> {
    /// The slot of a key.
    pub fn slot(&self, key: K) -> Arc<OnceCell<V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone()
    }
}

/// The blobs of a run.
pub struct Blobs {
    store: Arc<Store>,
    registry: Arc<dyn Registry>,
    /// Repositories known to hold a blob.
    origins: Mutex<HashMap<Digest, Vec<RepositoryName>>>,
    /// Artifacts that can be had from a layer that they were placed as.
    stand_ins: Mutex<HashMap<Digest, StandIn>>,
    /// Files of OCI layouts that blobs were taken from.
    files: Mutex<HashMap<Digest, PathBuf>>,
    maker: OnceLock<Maker>,
    fetches: Once<Digest, ()>,
    pushes: Once<(RepositoryName, Digest), ()>,
    first_pushes: Once<(String, Digest), RepositoryName>,
    /// Counters.
    pub traffic: Arc<Traffic>,
}

impl Blobs {
    /// Over a store and registries.
    pub fn new(store: Arc<Store>, registry: Arc<dyn Registry>) -> Self {
        Self {
            store,
            registry,
            origins: Mutex::default(),
            stand_ins: Mutex::default(),
            files: Mutex::default(),
            maker: OnceLock::new(),
            fetches: Once::default(),
            pushes: Once::default(),
            first_pushes: Once::default(),
            traffic: Arc::default(),
        }
    }

    /// Notes that a repository holds a blob.
    pub fn add_origin(&self, digest: Digest, repository: &RepositoryName) {
        let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        let known = origins.entry(digest).or_default();
        if !known.contains(repository) {
            known.push(repository.clone());
        }
    }

    fn origins(&self, digest: Digest) -> Vec<RepositoryName> {
        let origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        origins.get(&digest).cloned().unwrap_or_default()
    }

    /// Notes that an artifact can be had from a layer that it was placed as.
    pub fn add_stand_in(&self, artifact: Digest, stand_in: StandIn) {
        self.stand_ins.lock().unwrap_or_else(PoisonError::into_inner).insert(artifact, stand_in);
    }

    fn stand_in(&self, artifact: Digest) -> Option<StandIn> {
        self.stand_ins.lock().unwrap_or_else(PoisonError::into_inner).get(&artifact).cloned()
    }

    /// Notes that a file outside has a blob.
    pub(super) fn add_file(&self, digest: Digest, path: PathBuf) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, path);
    }

    /// From now on `maker` makes blobs again that are nowhere else.
    pub(super) fn make_with(&self, maker: Maker) {
        let _ = self.maker.set(maker);
    }

    /// Whether a blob is in the store or can be fetched.
    pub fn at_hand(&self, blob: &Descriptor) -> bool {
        let there = |blob: &Descriptor| self.store.holds(blob) || !self.origins(blob.digest).is_empty();
        there(blob) || self.stand_in(blob.digest).is_some_and(|stand_in| there(&stand_in.blob))
    }

    /// Whether the store has a blob with the content that its name says.
    async fn is_sound(&self, blob: &Descriptor) -> Result<bool, StepError> {
        let (store, blob) = (self.store.clone(), blob.clone());
        blocking(move || Ok(store.holds(&blob) && store.verify(blob.digest)?.is_some())).await
    }

    fn meter(&self, progress: &Progress, direction: Direction) -> registry::Progress {
        let traffic = self.traffic.clone();
        let progress = progress.clone();
        Arc::new(move |bytes| {
            let counter = match direction {
                Direction::Sent => &traffic.sent_bytes,
                Direction::Fetched => &traffic.fetched_bytes,
            };
            counter.fetch_add(bytes, Ordering::Relaxed);
            progress(direction, bytes);
        })
    }

    /// The blob's file in the store, verified; fetched from a repository that holds it, or made again,
    /// where it is missing or damaged.
    pub async fn ensure(&self, descriptor: &Descriptor, progress: &Progress) -> Result<PathBuf, StepError> {
        let path = self.store.blob_path(descriptor.digest);
        if MAKING.try_with(|lost| lost.contains(&descriptor.digest)).unwrap_or(false) {
            let digest = descriptor.digest;
            return Err(StepError::new(format!("the lost blob `{digest}` is needed to make it again"))
                .help("run again with `--no-reuse` to make it anew"));
        }
        let slot = self.fetches.slot(descriptor.digest);
        slot.get_or_try_init(|| async {
            if self.is_sound(descriptor).await? {
                return Ok(());
            }
            let file =
                self.files.lock().unwrap_or_else(PoisonError::into_inner).get(&descriptor.digest).cloned();
            if let Some(file) = file {
                let (store, digest) = (self.store.clone(), descriptor.digest);
                return blocking(move || import_file(&store, &file, digest)).await;
            }
            let mut last = None;
            for repository in self.origins(descriptor.digest) {
                let meter = self.meter(progress, Direction::Fetched);
                // What a kill leaves of it lies where it is swept.
                let temporary = self.store.temporary_file()?.into_temp_path();
                match self.registry.fetch_blob(&repository, descriptor, &temporary, meter).await {
                    Ok(()) => return Ok(self.store.put_path(temporary, descriptor.digest)?),
                    Err(error) => last = Some(error),
                }
            }
            if let Some(stand_in) = self.stand_in(descriptor.digest) {
                return self.restore(descriptor, stand_in, progress).await;
            }
            let mut made = Ok(());
            if let Some(maker) = self.maker.get() {
                made = making(descriptor.digest, maker(descriptor.digest)).await;
                if self.store.holds(descriptor) {
                    return Ok(());
                }
            }
            Err(match (last, made) {
                // A registry that does not give what it has is the cause, whatever was tried instead.
                (Some(error), made) if made.is_ok() || !is_lack(&error.kind) => error.into(),
                (_, Err(error)) => error,
                (_, Ok(())) => StepError::new(format!(
                    "blob `{}` is neither in the store nor in a known repository",
                    descriptor.digest
                ))
                .help("run again with `--no-reuse` to make it anew"),
            })
        })
        .await?;
        Ok(path)
    }

    /// Has an artifact from the layer that stands in for it.
    async fn restore(
        &self,
        artifact: &Descriptor,
        stand_in: StandIn,
        progress: &Progress,
    ) -> Result<(), StepError> {
        let path = Box::pin(self.ensure(&stand_in.blob, progress)).await?;
        let store = self.store.clone();
        let StandIn { blob, restoration, level } = stand_in;
        let stand_in_digest = blob.digest;
        let restored = blocking(move || {
            let (placed, _) = index_layer(open(&path)?, &blob.media_type)?;
            let stored = open(&path)?;
            store_blob(&store, |out| write_restored(stored, &placed, &restoration, out, level))
        })
        .await?;
        if restored.descriptor.digest != artifact.digest {
            return Err(StepError::new(format!(
                "what was restored from `{}` is `{}`, not the artifact `{}`",
                stand_in_digest, restored.descriptor.digest, artifact.digest
            ))
            .help("run again with `--no-reuse` to make it anew"));
        }
        Ok(())
    }

    /// Brings a blob into a repository: found, mounted, or sent from the store (fetched first where
    /// it only lies in another registry). Of several repositories of one registry the first gets
    /// the bytes, the others mount.
    pub async fn push(
        &self,
        repository: &RepositoryName,
        descriptor: &Descriptor,
        progress: &Progress,
    ) -> Result<(), StepError> {
        let slot = self.pushes.slot((repository.clone(), descriptor.digest));
        slot.get_or_try_init(|| async {
            let first = self.first_pushes.slot((repository.registry.clone(), descriptor.digest));
            let mut mine = false;
            let holder = first
                .get_or_try_init(|| async {
                    mine = true;
                    let origin = self
                        .origins(descriptor.digest)
                        .into_iter()
                        .find(|o| o.registry == repository.registry && o != repository);
                    self.push_once(repository, descriptor, origin.as_ref(), progress).await?;
                    Ok::<_, StepError>(repository.clone())
                })
                .await?;
            if !mine && holder != repository {
                self.push_once(repository, descriptor, Some(holder), progress).await?;
            }
            Ok::<_, StepError>(())
        })
        .await?;
        Ok(())
    }

    async fn push_once(
        &self,
        repository: &RepositoryName,
        descriptor: &Descriptor,
        mount_from: Option<&RepositoryName>,
        progress: &Progress,
    ) -> Result<(), StepError> {
        let local = self.store.holds(descriptor);
        let source = local.then(|| BlobSource::File(self.store.blob_path(descriptor.digest)));
        let meter = self.meter(progress, Direction::Sent);
        let result = self.registry.push_blob(repository, descriptor, mount_from, source, meter.clone()).await;
        let is_missing = match &result {
            Err(error) if local => is_about_content(&error.kind) && !self.is_sound(descriptor).await?,
            Err(error) => matches!(error.kind, RegistryErrorKind::NotMounted),
            Ok(_) => false,
        };
        let upload = match result {
            Err(_) if is_missing => {
                let path = self.ensure(descriptor, progress).await?;
                let source = Some(BlobSource::File(path));
                self.registry.push_blob(repository, descriptor, mount_from, source, meter).await?
            }
            other => other?,
        };
        self.count(upload);
        self.add_origin(descriptor.digest, repository);
        Ok(())
    }

    /// Sends a small document as a blob.
    pub async fn push_bytes(
        &self,
        repository: &RepositoryName,
        descriptor: &Descriptor,
        bytes: Bytes,
    ) -> Result<(), StepError> {
        let slot = self.pushes.slot((repository.clone(), descriptor.digest));
        slot.get_or_try_init(|| async {
            let source = Some(BlobSource::Bytes(bytes));
            let meter = self.meter(&silent(), Direction::Sent);
            let upload = self.registry.push_blob(repository, descriptor, None, source, meter).await?;
            self.count(upload);
            Ok::<_, StepError>(())
        })
        .await?;
        Ok(())
    }

    fn count(&self, upload: Upload) {
        let counter = match upload {
            Upload::Existed => &self.traffic.existed,
            Upload::Mounted => &self.traffic.mounted,
            Upload::Sent { .. } => &self.traffic.sent,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whether a registry that refuses a blob may do so for its content: it hashes what it is sent, so that
/// nobody need do so before.
fn is_about_content(kind: &RegistryErrorKind) -> bool {
    use RegistryErrorKind::{Malformed, Mismatch, Status};
    matches!(kind, Malformed(_) | Mismatch { .. } | Status { .. })
}

fn is_lack(kind: &RegistryErrorKind) -> bool {
    matches!(kind, RegistryErrorKind::NotFound)
}

/// Takes a blob out of a file of an OCI layout.
pub(super) fn import_file(store: &Store, path: &Path, digest: Digest) -> Result<(), StepError> {
    let (found, _) = Store::hash_file(path)?;
    if found != digest {
        return Err(StepError::new(format!("`{}` does not have the content its name says", path.display()))
            .help("write the layout anew"));
    }
    let temporary = store.temporary_file()?;
    std::fs::copy(path, temporary.path()).map_err(|e| file_error("copy", path, &e))?;
    Ok(store.put_file(temporary, digest)?)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;
    use crate::registry::{HttpRegistry, RegistryOptions};

    fn files(directory: &Path) -> usize {
        std::fs::read_dir(directory).unwrap().count()
    }

    /// Where a kill would leave what has come of a blob.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_blob_on_its_way_lies_among_the_temporary_files() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(folder.path()).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (half, begun) = std::sync::mpsc::channel();
        let (go, rest) = std::sync::mpsc::channel::<()>();
        let server = std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let _ = client.read(&mut [0; 4096]).unwrap();
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\n";
            client.write_all(head).and_then(|()| client.write_all(b"the ")).unwrap();
            half.send(()).unwrap();
            rest.recv().unwrap();
            client.write_all(b"blob").unwrap();
        });
        let registry = Arc::new(HttpRegistry::new(RegistryOptions::default()));
        let blobs = Arc::new(Blobs::new(store.clone(), registry));
        let blob = Descriptor::new("", Digest::of(b"the blob"), 8);
        blobs.add_origin(blob.digest, &format!("{host}/t/t").parse().unwrap());
        let fetch = {
            let (blobs, blob) = (blobs.clone(), blob.clone());
            tokio::spawn(async move { blobs.ensure(&blob, &silent()).await })
        };
        begun.recv_timeout(Duration::from_secs(30)).unwrap();
        assert_eq!(files(&folder.path().join("blobs/sha256")), 0);
        assert_ne!(files(&store.temporary()), 0);
        go.send(()).unwrap();
        let path = fetch.await.unwrap().unwrap();
        server.join().unwrap();
        assert_eq!(std::fs::read(path).unwrap(), b"the blob");
        assert_eq!(files(&store.temporary()), 0);
    }

    #[tokio::test]
    async fn what_is_needed_to_make_itself_again_is_an_error_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(folder.path()).unwrap());
        let registry = Arc::new(crate::registry::FakeRegistry::new());
        let blobs = Arc::new(Blobs::new(store, registry));
        let blob = Descriptor::new("", Digest::of(b"lost"), 4);
        let (again, lost) = (Arc::downgrade(&blobs), blob.clone());
        blobs.make_with(Box::new(move |_| {
            let (blobs, lost) = (again.upgrade().unwrap(), lost.clone());
            Box::pin(async move { blobs.ensure(&lost, &silent()).await.map(drop) })
        }));
        let work = async { blobs.ensure(&blob, &silent()).await };
        let error = tokio::time::timeout(Duration::from_secs(30), work).await.unwrap().unwrap_err();
        assert!(error.message.contains("is needed to make it again"), "{error}");
    }
}
