//! Images from outside the matrix: resolved to digest and configuration, their files listed.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use super::blobs::{Blobs, Once, Progress, import_file};
use super::error::StepError;
use crate::layer::{LayerIndex, Tree, index_layer};
use crate::oci::{
    Descriptor, DiffId, Digest, ImageConfig, ImageIndex, ImageManifest, MEDIA_DOCKER_INDEX, MEDIA_INDEX,
    Platform, Reference,
};
use crate::plan::UsedSource;
use crate::registry::Registry;
use crate::store::Store;

/// An image whose documents are known.
#[derive(Debug, Clone)]
pub struct ResolvedImage {
    /// Digest of its platform's manifest.
    pub digest: Digest,
    /// Its configuration.
    pub config: ImageConfig,
    /// Its layer blobs, lowest first.
    pub layers: Vec<Descriptor>,
}

/// An image's files: the merged tree and the blobs that hold their content.
#[derive(Clone)]
pub struct ImageFiles {
    /// The merged tree; its layers are in the order of `layers`.
    pub tree: Tree,
    /// The blobs, lowest first.
    pub layers: Vec<Descriptor>,
}

/// Resolves and lists images, each once.
pub struct Images {
    store: Arc<Store>,
    registry: Arc<dyn Registry>,
    blobs: Arc<Blobs>,
    platform: Platform,
    resolved: Once<(UsedSource, Option<Digest>), Arc<ResolvedImage>>,
    listed: Once<Digest, ImageFiles>,
    indexes: Mutex<std::collections::HashMap<Digest, Arc<OnceCell<Arc<LayerIndex>>>>>,
}

impl Images {
    /// Over a store and registries, for one platform.
    pub fn new(
        store: Arc<Store>,
        registry: Arc<dyn Registry>,
        blobs: Arc<Blobs>,
        platform: Platform,
    ) -> Self {
        Self {
            store,
            registry,
            blobs,
            platform,
            resolved: Once::default(),
            listed: Once::default(),
            indexes: Mutex::default(),
        }
    }

    /// The documents of an image; by `pinned` where the lock has a digest, else what its tag says now.
    pub async fn resolve(
        &self,
        source: &UsedSource,
        pinned: Option<Digest>,
    ) -> Result<Arc<ResolvedImage>, StepError> {
        let slot = self.resolved.slot((source.clone(), pinned));
        let image = slot
            .get_or_try_init(|| async {
                let image = match source {
                    UsedSource::Reference(reference) => {
                        self.fetch_documents(source, reference, pinned).await?
                    }
                    UsedSource::Layout(directory) => self.import_layout(source, directory)?,
                };
                if let UsedSource::Reference(reference) = source {
                    for layer in &image.layers {
                        self.blobs.add_origin(layer.digest, &reference.name);
                    }
                }
                Ok::<_, StepError>(Arc::new(image))
            })
            .await?;
        Ok(image.clone())
    }

    async fn fetch_documents(
        &self,
        source: &UsedSource,
        reference: &Reference,
        pinned: Option<Digest>,
    ) -> Result<ResolvedImage, StepError> {
        let pinned = pinned.or(reference.digest);
        if let Some(digest) = pinned
            && let Some(bytes) = self.store.blob(digest)?
            && let Ok(manifest) = serde_json::from_slice::<ImageManifest>(&bytes)
            && let Some(config) = self.store.blob(manifest.config.digest)?
        {
            return image(source, digest, &manifest, &config);
        }
        let mut wanted = match pinned {
            Some(digest) => reference.name.digest(digest),
            None => reference.clone(),
        };
        for _ in 0..2 {
            let found = self.registry.manifest(&wanted).await?;
            let Some((descriptor, bytes)) = found else {
                if reference.digest.is_none() && pinned.is_some() {
                    let message =
                        format!("the registry has no `{wanted}`, which the lock pins for `{reference}`");
                    return Err(StepError { contradicts_lock: true, ..StepError::new(message) }
                        .help(format!("run `railyard update {reference}`, or put the image back")));
                }
                return Err(StepError::new(format!("there is no image `{wanted}`"))
                    .help("correct the reference, or run `railyard update` if the tag was moved"));
            };
            if is_index(&descriptor.media_type, &bytes) {
                let index: ImageIndex = document(&bytes, &wanted.to_string())?;
                wanted = reference.name.digest(self.choose(&index, reference)?);
                continue;
            }
            let manifest: ImageManifest = document(&bytes, &wanted.to_string())?;
            let config = self.registry.blob_bytes(&reference.name, &manifest.config).await?;
            self.store.put_bytes(&config)?;
            let digest = self.store.put_bytes(&bytes)?;
            return image(source, digest, &manifest, &config);
        }
        Err(StepError::new(format!("`{reference}` is an index of indexes, which is not supported")))
    }

    fn choose(&self, index: &ImageIndex, reference: &Reference) -> Result<Digest, StepError> {
        let fits = |p: &Platform| {
            p.os == self.platform.os
                && p.architecture == self.platform.architecture
                && (self.platform.variant.is_none() || p.variant == self.platform.variant)
        };
        let found = index.manifests.iter().find(|m| m.platform.as_ref().is_some_and(fits));
        found.map(|m| m.digest).ok_or_else(|| {
            let has: Vec<String> =
                index.manifests.iter().filter_map(|m| m.platform.as_ref()).map(ToString::to_string).collect();
            StepError::new(format!(
                "`{reference}` has no image for `{}`, only for {}",
                self.platform,
                has.join(", ")
            ))
        })
    }

    /// Takes an image out of an OCI layout: its blobs are linked or copied into the store.
    fn import_layout(&self, source: &UsedSource, directory: &str) -> Result<ResolvedImage, StepError> {
        let root = Path::new(directory);
        let digest = layout_digest(root, &self.platform)?;
        let manifest_bytes = self.import(root, digest)?;
        let manifest: ImageManifest = document(&manifest_bytes, directory)?;
        let config = self.import(root, manifest.config.digest)?;
        for layer in &manifest.layers {
            let path = layout_blob(root, layer.digest);
            if !self.store.holds(layer) {
                import_file(&self.store, &path, layer.digest)?;
            }
            self.blobs.add_file(layer.digest, path);
        }
        image(source, digest, &manifest, &config)
    }

    fn import(&self, root: &Path, digest: Digest) -> Result<Vec<u8>, StepError> {
        if let Some(bytes) = self.store.blob(digest)? {
            return Ok(bytes);
        }
        import_file(&self.store, &layout_blob(root, digest), digest)?;
        Ok(self.store.blob(digest)?.unwrap_or_default())
    }

    /// The files of an image, listed; fetches layers whose index is not known.
    pub async fn files(&self, image: &ResolvedImage, progress: &Progress) -> Result<ImageFiles, StepError> {
        let slot = self.listed.slot(image.digest);
        let files = slot.get_or_try_init(|| self.stack(&image.layers, progress)).await?;
        Ok(files.clone())
    }

    /// The files of layers, lowest first; fetches those whose index is not known.
    pub async fn stack(&self, layers: &[Descriptor], progress: &Progress) -> Result<ImageFiles, StepError> {
        let wanted = layers.iter().map(|layer| self.index(layer, progress));
        let indexes = futures_util::future::try_join_all(wanted).await?;
        Ok(ImageFiles { tree: Tree::new(indexes), layers: layers.to_vec() })
    }

    /// The index of a layer blob, from memory, the store, or the blob itself.
    pub async fn index(&self, layer: &Descriptor, progress: &Progress) -> Result<Arc<LayerIndex>, StepError> {
        let slot = {
            let mut indexes = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
            indexes.entry(layer.digest).or_default().clone()
        };
        let index = slot
            .get_or_try_init(|| async {
                if let Some((_, encoded)) = self.store.index(&layer.digest)?
                    && let Ok(index) = postcard::from_bytes::<LayerIndex>(&encoded)
                {
                    return Ok(Arc::new(index));
                }
                let path = self.blobs.ensure(layer, progress).await?;
                let (media_type, digest, store) =
                    (layer.media_type.clone(), layer.digest, self.store.clone());
                tokio::task::spawn_blocking(move || index_file(&store, &path, &media_type, digest))
                    .await
                    .map_err(|e| StepError::new(format!("failed to index a layer: {e}")))?
            })
            .await?;
        Ok(index.clone())
    }

    /// Notes the index of a layer that was just made.
    pub fn remember(&self, blob: Digest, diff_id: DiffId, index: Arc<LayerIndex>) -> Result<(), StepError> {
        save_index(&self.store, blob, diff_id, &index)?;
        let mut indexes = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        indexes.insert(blob, Arc::new(OnceCell::new_with(Some(index))));
        Ok(())
    }
}

fn index_file(
    store: &Store,
    path: &Path,
    media_type: &str,
    digest: Digest,
) -> Result<Arc<LayerIndex>, StepError> {
    let file =
        File::open(path).map_err(|e| StepError::new(format!("failed to open `{}`: {e}", path.display())))?;
    let (index, diff_id) = index_layer(BufReader::with_capacity(1 << 18, file), media_type)
        .map_err(|e| StepError::new(format!("layer `{digest}`: {e}")))?;
    save_index(store, digest, diff_id, &index)?;
    Ok(Arc::new(index))
}

fn save_index(store: &Store, blob: Digest, diff_id: DiffId, index: &LayerIndex) -> Result<(), StepError> {
    let encoded = postcard::to_stdvec(index)
        .map_err(|e| StepError::new(format!("failed to encode the index of `{blob}`: {e}")))?;
    Ok(store.put_index(&blob, &diff_id.0, &encoded)?)
}

fn image(
    source: &UsedSource,
    digest: Digest,
    manifest: &ImageManifest,
    config: &[u8],
) -> Result<ResolvedImage, StepError> {
    let parsed: ImageConfig = document(config, &source.to_string())?;
    if parsed.rootfs.diff_ids.len() != manifest.layers.len() {
        return Err(StepError::new(format!(
            "`{source}` has {} layers but {} diff IDs",
            manifest.layers.len(),
            parsed.rootfs.diff_ids.len()
        )));
    }
    Ok(ResolvedImage { digest, config: parsed, layers: manifest.layers.clone() })
}

fn is_index(media_type: &str, bytes: &[u8]) -> bool {
    if media_type == MEDIA_INDEX || media_type == MEDIA_DOCKER_INDEX {
        return true;
    }
    serde_json::from_slice::<serde_json::Value>(bytes).is_ok_and(|v| v.get("manifests").is_some())
}

fn document<T: serde::de::DeserializeOwned>(bytes: &[u8], name: &str) -> Result<T, StepError> {
    serde_json::from_slice(bytes)
        .map_err(|e| StepError::new(format!("a document of `{name}` is malformed: {e}")))
}

fn layout_blob(root: &Path, digest: Digest) -> PathBuf {
    root.join("blobs/sha256").join(digest.hex())
}

/// The digest of the one image in an OCI layout that is for a platform.
///
/// # Errors
/// When the directory is no layout, or has no such image or several.
pub fn layout_digest(root: &Path, platform: &Platform) -> Result<Digest, StepError> {
    let path = root.join("index.json");
    let read = |path: &Path| {
        std::fs::read(path).map_err(|e| {
            StepError::new(format!("failed to read `{}`: {e}", path.display()))
                .help("`oci:DIR` names an OCI image layout, as `skopeo copy … oci:DIR` writes it")
        })
    };
    let mut index: ImageIndex = document(&read(&path)?, &path.display().to_string())?;
    for _ in 0..2 {
        let fits = |m: &&Descriptor| {
            m.platform.as_ref().is_none_or(|p| p.os == platform.os && p.architecture == platform.architecture)
        };
        let found: Vec<&Descriptor> = index.manifests.iter().filter(fits).collect();
        let [one] = found[..] else {
            return Err(StepError::new(format!(
                "`{}` has {} images for `{platform}`, one is wanted",
                root.display(),
                found.len()
            )));
        };
        if one.media_type != MEDIA_INDEX && one.media_type != MEDIA_DOCKER_INDEX {
            return Ok(one.digest);
        }
        let inner = layout_blob(root, one.digest);
        index = document(&read(&inner)?, &inner.display().to_string())?;
    }
    Err(StepError::new(format!("`{}` is an index of indexes, which is not supported", root.display())))
}
