//! A registry in memory, for tests of what uses one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::Deserialize;

use super::{BlobSource, Progress, Registry, RegistryError, RegistryErrorKind, Upload};
use crate::oci::{
    Descriptor, DiffId, Digest, ImageConfig, ImageManifest, MEDIA_CONFIG, MEDIA_LAYER, MEDIA_MANIFEST,
    Reference, RepositoryName, to_canonical_json,
};

/// Registries in memory, every host in one value. Refuses what a real one refuses: manifests whose
/// blobs are missing, and blobs that are not what their digest says. Records every request.
#[derive(Default)]
pub struct FakeRegistry {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    repositories: BTreeMap<RepositoryName, Repository>,
    blobs: BTreeMap<Digest, Bytes>,
    requests: Vec<String>,
    faults: Vec<(Predicate, RegistryErrorKind)>,
    refuses_mounts: bool,
    bytes_sent: u64,
}

#[derive(Default)]
struct Repository {
    blobs: BTreeSet<Digest>,
    manifests: BTreeMap<Digest, (String, Bytes)>,
    tags: BTreeMap<String, Digest>,
}

type Predicate = Box<dyn Fn(&str) -> bool + Send>;

impl FakeRegistry {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts an image there, made of a configuration and uncompressed layers (tars), lowest first.
    /// The configuration's diff IDs are set from the layers. Returns the manifest's descriptor.
    pub fn insert_image(
        &self,
        reference: &Reference,
        mut config: ImageConfig,
        layers: &[Bytes],
    ) -> Descriptor {
        config.rootfs.kind = "layers".into();
        config.rootfs.diff_ids = layers.iter().map(|layer| DiffId(Digest::of(layer))).collect();
        let name = &reference.name;
        let layers = layers.iter().map(|layer| self.insert_blob(name, MEDIA_LAYER, layer.clone())).collect();
        let config = self.insert_blob(name, MEDIA_CONFIG, to_canonical_json(&config).into());
        let manifest = ImageManifest::image(config, layers);
        let media_type = manifest.media_type.clone().unwrap_or_default();
        self.insert_manifest(reference, &media_type, to_canonical_json(&manifest).into())
    }

    /// Puts any manifest or index there, by tag or digest, without looking at what it refers to.
    pub fn insert_manifest(&self, reference: &Reference, media_type: &str, bytes: Bytes) -> Descriptor {
        let descriptor = Descriptor::new(media_type, Digest::of(&bytes), bytes.len() as u64);
        self.state().put(reference, media_type, bytes);
        descriptor
    }

    /// Puts a blob into a repository.
    pub fn insert_blob(&self, repository: &RepositoryName, media_type: &str, bytes: Bytes) -> Descriptor {
        let descriptor = Descriptor::new(media_type, Digest::of(&bytes), bytes.len() as u64);
        let mut state = self.state();
        state.repositories.entry(repository.clone()).or_default().blobs.insert(descriptor.digest);
        state.blobs.insert(descriptor.digest, bytes);
        descriptor
    }

    /// The digest a tag points at.
    pub fn tagged(&self, reference: &Reference) -> Option<Digest> {
        self.state().find(reference).map(|(descriptor, _)| descriptor.digest)
    }

    /// The bytes of a blob or manifest that some repository has.
    pub fn content(&self, digest: Digest) -> Option<Bytes> {
        let state = self.state();
        let manifests = state.repositories.values().find_map(|repository| repository.manifests.get(&digest));
        state.blobs.get(&digest).or(manifests.map(|(_, bytes)| bytes)).cloned()
    }

    /// Removes a tag, as an operator would.
    pub fn remove_tag(&self, reference: &Reference) {
        if let Some(repository) = self.state().repositories.get_mut(&reference.name) {
            repository.tags.remove(&reference.selector());
        }
    }

    /// Every request so far, in order: `HEAD manifest REFERENCE`, `GET manifest REFERENCE`,
    /// `PUT manifest REFERENCE`, `HEAD blob REPOSITORY DIGEST`, `GET blob REPOSITORY DIGEST`,
    /// `MOUNT blob REPOSITORY DIGEST from REPOSITORY`, `PUT blob REPOSITORY DIGEST` and
    /// `LIST tags REPOSITORY`.
    pub fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }

    /// How many requests start with `kind`, e.g. `PUT blob`.
    pub fn count(&self, kind: &str) -> usize {
        self.state().requests.iter().filter(|request| request.starts_with(kind)).count()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.state().requests.clear();
    }

    /// Bytes of blobs sent by uploads.
    pub fn bytes_sent(&self) -> u64 {
        self.state().bytes_sent
    }

    /// Fails the next request (its text as in [`FakeRegistry::requests`]) that `matches`, once.
    pub fn fail_next(&self, matches: impl Fn(&str) -> bool + Send + 'static, kind: RegistryErrorKind) {
        self.state().faults.push((Box::new(matches), kind));
    }

    /// Whether mounts are refused, as registries do between repositories with other encryption.
    pub fn refuse_mounts(&self, refuse: bool) {
        self.state().refuses_mounts = refuse;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(
        &self,
        repository: &RepositoryName,
        descriptor: &Descriptor,
        mount_from: Option<&RepositoryName>,
        source: Option<BlobSource>,
        progress: &Progress,
    ) -> Result<Upload, RegistryErrorKind> {
        let digest = descriptor.digest;
        let mut state = self.state();
        state.record(format!("HEAD blob {repository} {digest}"))?;
        if state.has_blob(repository, digest) {
            return Ok(Upload::Existed);
        }
        if let Some(from) = mount_from.filter(|from| from.registry == repository.registry) {
            state.record(format!("MOUNT blob {repository} {digest} from {from}"))?;
            if !state.refuses_mounts && state.has_blob(from, digest) {
                state.repositories.entry(repository.clone()).or_default().blobs.insert(digest);
                return Ok(Upload::Mounted);
            }
        }
        let bytes = match source {
            None => return Err(RegistryErrorKind::NotMounted),
            Some(BlobSource::Bytes(bytes)) => bytes,
            Some(BlobSource::Stream(_)) => return Err(RegistryErrorKind::NotMounted),
            Some(BlobSource::File(path)) => {
                std::fs::read(&path).map_err(|error| RegistryErrorKind::file(&path, error))?.into()
            }
        };
        state.record(format!("PUT blob {repository} {digest}"))?;
        verify(descriptor, &bytes)?;
        state.repositories.entry(repository.clone()).or_default().blobs.insert(digest);
        state.bytes_sent += descriptor.size;
        state.blobs.insert(digest, bytes);
        drop(state);
        progress(descriptor.size);
        Ok(Upload::Sent { bytes: descriptor.size })
    }

    fn get_blob(
        &self,
        repository: &RepositoryName,
        descriptor: &Descriptor,
    ) -> Result<Bytes, RegistryErrorKind> {
        let digest = descriptor.digest;
        let mut state = self.state();
        state.record(format!("GET blob {repository} {digest}"))?;
        if !state.has_blob(repository, digest) {
            return Err(RegistryErrorKind::NotFound);
        }
        let bytes = state.blobs.get(&digest).cloned().ok_or(RegistryErrorKind::NotFound)?;
        verify(descriptor, &bytes)?;
        Ok(bytes)
    }

    fn put(&self, reference: &Reference, media_type: &str, bytes: Bytes) -> Result<(), RegistryErrorKind> {
        #[derive(Deserialize)]
        struct Pointers {
            config: Option<Descriptor>,
            #[serde(default)]
            layers: Vec<Descriptor>,
            #[serde(default)]
            manifests: Vec<serde_json::Value>,
        }
        let mut state = self.state();
        state.record(format!("PUT manifest {reference}"))?;
        let got = Digest::of(&bytes);
        if let Some(wanted) = reference.digest.filter(|wanted| *wanted != got) {
            return Err(RegistryErrorKind::Mismatch { wanted, got });
        }
        let pointers: Pointers = serde_json::from_slice(&bytes)
            .map_err(|error| RegistryErrorKind::Malformed(format!("manifest: {error}")))?;
        let unknown = |what: &str, digest: Digest| RegistryErrorKind::Status {
            status: 404,
            message: format!("MANIFEST_BLOB_UNKNOWN: {what} `{digest}` unknown to registry"),
        };
        for blob in pointers.config.iter().chain(&pointers.layers) {
            if !state.has_blob(&reference.name, blob.digest) {
                return Err(unknown("blob", blob.digest));
            }
        }
        // As registries do, it keeps entries of other digests without looking.
        let known = |entry: &serde_json::Value| Descriptor::deserialize(entry).ok();
        for manifest in pointers.manifests.iter().filter_map(known) {
            if state.find(&reference.name.digest(manifest.digest)).is_none() {
                return Err(unknown("manifest", manifest.digest));
            }
        }
        state.put(reference, media_type, bytes);
        Ok(())
    }
}

impl State {
    /// Notes a request, and fails it where a fault was planned for it.
    fn record(&mut self, request: String) -> Result<(), RegistryErrorKind> {
        let fault = self.faults.iter().position(|(matches, _)| matches(&request));
        self.requests.push(request);
        fault.map_or(Ok(()), |at| Err(self.faults.remove(at).1))
    }

    fn has_blob(&self, repository: &RepositoryName, digest: Digest) -> bool {
        self.repositories.get(repository).is_some_and(|found| found.blobs.contains(&digest))
    }

    fn find(&self, reference: &Reference) -> Option<(Descriptor, Bytes)> {
        let repository = self.repositories.get(&reference.name)?;
        let digest = match reference.digest {
            Some(digest) => digest,
            None => *repository.tags.get(&reference.selector())?,
        };
        let (media_type, bytes) = repository.manifests.get(&digest)?;
        Some((Descriptor::new(media_type, digest, bytes.len() as u64), bytes.clone()))
    }

    fn put(&mut self, reference: &Reference, media_type: &str, bytes: Bytes) {
        let digest = Digest::of(&bytes);
        let repository = self.repositories.entry(reference.name.clone()).or_default();
        repository.manifests.insert(digest, (media_type.to_owned(), bytes));
        if reference.tag.is_some() || reference.digest.is_none() {
            let tag = reference.tag.clone().unwrap_or_else(|| "latest".into());
            repository.tags.insert(tag, digest);
        }
    }
}

fn verify(descriptor: &Descriptor, bytes: &Bytes) -> Result<(), RegistryErrorKind> {
    let got = Digest::of(bytes);
    if got != descriptor.digest {
        return Err(RegistryErrorKind::Mismatch { wanted: descriptor.digest, got });
    }
    if bytes.len() as u64 != descriptor.size {
        let (got, wanted) = (bytes.len(), descriptor.size);
        let message = format!("the blob has {got} bytes, its descriptor says {wanted}");
        return Err(RegistryErrorKind::Malformed(message));
    }
    Ok(())
}

/// Runs `act` when polled, not before, as real requests do.
fn later<'a, T: 'a>(
    action: impl FnOnce() -> String + Send + 'a,
    act: impl FnOnce() -> Result<T, RegistryErrorKind> + Send + 'a,
) -> BoxFuture<'a, Result<T, RegistryError>> {
    Box::pin(async move {
        tokio::task::yield_now().await;
        act().map_err(|kind| kind.during(action()))
    })
}

impl Registry for FakeRegistry {
    fn head<'a>(
        &'a self,
        reference: &'a Reference,
    ) -> BoxFuture<'a, Result<Option<Descriptor>, RegistryError>> {
        later(
            move || format!("look up manifest `{reference}`"),
            move || {
                let mut state = self.state();
                state.record(format!("HEAD manifest {reference}"))?;
                Ok(state.find(reference).map(|(descriptor, _)| descriptor))
            },
        )
    }

    fn manifest<'a>(
        &'a self,
        reference: &'a Reference,
    ) -> BoxFuture<'a, Result<Option<(Descriptor, Bytes)>, RegistryError>> {
        later(
            move || format!("fetch manifest `{reference}`"),
            move || {
                let mut state = self.state();
                state.record(format!("GET manifest {reference}"))?;
                Ok(state.find(reference))
            },
        )
    }

    fn put_manifest<'a>(
        &'a self,
        reference: &'a Reference,
        media_type: &'a str,
        bytes: Bytes,
    ) -> BoxFuture<'a, Result<(), RegistryError>> {
        later(move || format!("push manifest `{reference}`"), move || self.put(reference, media_type, bytes))
    }

    fn has_blob<'a>(
        &'a self,
        repository: &'a RepositoryName,
        digest: Digest,
    ) -> BoxFuture<'a, Result<bool, RegistryError>> {
        later(
            move || format!("look up blob `{digest}` in `{repository}`"),
            move || {
                let mut state = self.state();
                state.record(format!("HEAD blob {repository} {digest}"))?;
                Ok(state.has_blob(repository, digest))
            },
        )
    }

    fn push_blob<'a>(
        &'a self,
        repository: &'a RepositoryName,
        descriptor: &'a Descriptor,
        mount_from: Option<&'a RepositoryName>,
        source: Option<BlobSource>,
        progress: Progress,
    ) -> BoxFuture<'a, Result<Upload, RegistryError>> {
        later(
            move || format!("push blob `{}` to `{repository}`", descriptor.digest),
            move || self.push(repository, descriptor, mount_from, source, &progress),
        )
    }

    fn copy_blob<'a>(
        &'a self,
        from: &'a RepositoryName,
        to: &'a RepositoryName,
        descriptor: &'a Descriptor,
        mount_from: Option<&'a RepositoryName>,
        progress: Progress,
    ) -> BoxFuture<'a, Result<Upload, RegistryError>> {
        later(
            move || format!("copy blob `{}` from `{from}` to `{to}`", descriptor.digest),
            move || {
                let mount_from = mount_from.or(Some(from));
                match self.push(to, descriptor, mount_from, None, &progress) {
                    Err(RegistryErrorKind::NotMounted) => {}
                    done => return done,
                }
                let bytes = self.get_blob(from, descriptor)?;
                self.push(to, descriptor, None, Some(BlobSource::Bytes(bytes)), &progress)
            },
        )
    }

    fn fetch_blob<'a>(
        &'a self,
        repository: &'a RepositoryName,
        descriptor: &'a Descriptor,
        target: &'a Path,
        progress: Progress,
    ) -> BoxFuture<'a, Result<(), RegistryError>> {
        later(
            move || format!("fetch blob `{}` from `{repository}`", descriptor.digest),
            move || {
                let bytes = self.get_blob(repository, descriptor)?;
                std::fs::write(target, &bytes).map_err(|error| RegistryErrorKind::file(target, error))?;
                progress(descriptor.size);
                Ok(())
            },
        )
    }

    fn blob_bytes<'a>(
        &'a self,
        repository: &'a RepositoryName,
        descriptor: &'a Descriptor,
    ) -> BoxFuture<'a, Result<Bytes, RegistryError>> {
        later(
            move || format!("fetch blob `{}` from `{repository}`", descriptor.digest),
            move || self.get_blob(repository, descriptor),
        )
    }

    fn tags<'a>(
        &'a self,
        repository: &'a RepositoryName,
    ) -> BoxFuture<'a, Result<Vec<String>, RegistryError>> {
        later(
            move || format!("list the tags of `{repository}`"),
            move || {
                let mut state = self.state();
                state.record(format!("LIST tags {repository}"))?;
                let found = state.repositories.get(repository);
                Ok(found.map(|found| found.tags.keys().cloned().collect()).unwrap_or_default())
            },
        )
    }

    fn put_referrer<'a>(
        &'a self,
        repository: &'a RepositoryName,
        bytes: Bytes,
    ) -> BoxFuture<'a, Result<bool, RegistryError>> {
        Box::pin(async move {
            let reference = repository.digest(Digest::of(&bytes));
            self.put_manifest(&reference, MEDIA_MANIFEST, bytes).await.map(|()| false)
        })
    }

    /// As a registry without the API.
    fn referrers<'a>(
        &'a self,
        _: &'a RepositoryName,
        _: Digest,
        _: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Option<Vec<Descriptor>>, RegistryError>> {
        Box::pin(async { Ok(None) })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::oci::MEDIA_MANIFEST;

    fn silent() -> Progress {
        Arc::new(|_| {})
    }

    fn name(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn it_mounts_sends_and_records() {
        let fake = FakeRegistry::new();
        let (a, b) = (name("localhost:5000/a"), name("localhost:5000/b"));
        let image = fake.insert_image(&a.tag("v1"), ImageConfig::default(), &[Bytes::from_static(b"tar")]);
        let (found, bytes) = fake.manifest(&a.tag("v1")).await.unwrap().unwrap();
        assert_eq!((&found, fake.tagged(&a.tag("v1"))), (&image, Some(image.digest)));
        let manifest: ImageManifest = serde_json::from_slice(&bytes).unwrap();
        let refused = fake.put_manifest(&b.tag("v1"), MEDIA_MANIFEST, bytes.clone()).await.unwrap_err();
        assert!(refused.to_string().contains("MANIFEST_BLOB_UNKNOWN"));

        let layer = &manifest.layers[0];
        assert_eq!(fake.push_blob(&b, layer, Some(&a), None, silent()).await.unwrap(), Upload::Mounted);
        assert_eq!(fake.push_blob(&b, layer, None, None, silent()).await.unwrap(), Upload::Existed);
        fake.refuse_mounts(true);
        let config = fake.push_blob(&b, &manifest.config, Some(&a), None, silent()).await.unwrap_err();
        assert!(matches!(config.kind, RegistryErrorKind::NotMounted));
        let source = BlobSource::Bytes(fake.content(manifest.config.digest).unwrap());
        fake.push_blob(&b, &manifest.config, Some(&a), Some(source), silent()).await.unwrap();
        assert_eq!(fake.bytes_sent(), manifest.config.size);
        fake.put_manifest(&b.tag("v1"), MEDIA_MANIFEST, bytes).await.unwrap();
        assert_eq!(fake.tags(&b).await.unwrap(), ["v1"]);
        assert_eq!((fake.count("PUT blob"), fake.count("MOUNT blob"), fake.count("PUT manifest")), (1, 3, 2));
    }

    #[tokio::test]
    async fn planned_faults_hit_one_request() {
        let fake = FakeRegistry::new();
        let a = name("localhost:5000/a");
        let reset = RegistryErrorKind::Transport("reset".into());
        fake.fail_next(|request| request.starts_with("HEAD manifest") && request.ends_with(":v2"), reset);
        assert!(fake.head(&a.tag("v1")).await.unwrap().is_none());
        assert!(fake.head(&a.tag("v2")).await.is_err());
        assert!(fake.head(&a.tag("v2")).await.unwrap().is_none());
        assert_eq!(fake.requests()[0], "HEAD manifest localhost:5000/a:v1");
    }
}
