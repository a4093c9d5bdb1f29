//! The cache repository: records and their blobs, shared between machines.
//!
//! A record is an OCI artifact under the tag `k-` + key: its layers are the record's blobs, so that
//! the registry's garbage collection keeps them, and its text is an annotation. In an artifact's
//! stead a layer that it was placed as may be kept ([`StandIn`]): images have that blob anyway.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::blobs::{Blobs, Progress};
use super::error::StepError;
use crate::layer::Restoration;
use crate::oci::{
    Descriptor, Digest, ImageManifest, MEDIA_EMPTY, MEDIA_MANIFEST, RepositoryName, to_canonical_json,
};
use crate::registry::Registry;
use crate::store::Record;

const ARTIFACT_TYPE: &str = "application/vnd.railyard.record.v1+json";
const ANNOTATION: &str = "io.railyard.record";
const STAND_IN_ANNOTATION: &str = "io.railyard.stand-in";

/// A placed layer that is kept in its artifact's stead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandIn {
    /// The placed layer's blob.
    pub blob: Descriptor,
    /// How the artifact is had from it.
    pub restoration: Restoration,
    /// The gzip level of the artifact's blob.
    pub level: u32,
}

/// Records in a repository.
pub struct Cache {
    repository: RepositoryName,
    registry: Arc<dyn Registry>,
    blobs: Arc<Blobs>,
}

impl Cache {
    /// In a repository.
    pub fn new(repository: RepositoryName, registry: Arc<dyn Registry>, blobs: Arc<Blobs>) -> Self {
        Self { repository, registry, blobs }
    }

    /// Where it is.
    pub fn repository(&self) -> &RepositoryName {
        &self.repository
    }

    fn tag(key: &Digest) -> String {
        format!("k-{}", key.hex())
    }

    /// Looks a record up, and notes where its blobs are. It is not judged here, and not kept.
    pub async fn fetch(&self, key: &Digest) -> Result<Option<Record>, StepError> {
        let reference = self.repository.tag(&Self::tag(key));
        let Some((_, bytes)) = self.registry.manifest(&reference).await? else { return Ok(None) };
        let Ok(manifest) = serde_json::from_slice::<ImageManifest>(&bytes) else { return Ok(None) };
        if manifest.artifact_type.as_deref() != Some(ARTIFACT_TYPE) {
            return Ok(None);
        }
        let text = manifest.annotations.get(ANNOTATION).map(String::as_str).unwrap_or_default();
        let Ok(record) = serde_json::from_str::<Record>(text) else { return Ok(None) };
        for layer in &manifest.layers {
            self.blobs.add_origin(layer.digest, &self.repository);
        }
        let stand_in = manifest.annotations.get(STAND_IN_ANNOTATION);
        if let (Record::Layer(layer), Some(text)) = (&record, stand_in)
            && let (Some(blob), Ok(stand_in)) = (&layer.blob, serde_json::from_str(text))
        {
            self.blobs.add_stand_in(blob.digest, stand_in);
        }
        Ok(Some(record))
    }

    /// Shares a record and its blobs, or the layer that stands in for them.
    pub async fn publish(
        &self,
        key: &Digest,
        record: &Record,
        stand_in: Option<&StandIn>,
        progress: &Progress,
    ) -> Result<(), StepError> {
        let layers: Vec<Descriptor> = match (record, stand_in) {
            (Record::Layer(_), Some(stand_in)) => vec![stand_in.blob.clone()],
            (Record::Layer(layer), None) => layer.blob.iter().cloned().collect(),
            (Record::Image(image), _) => image.layers.clone(),
            (Record::Check(_) | Record::Statement(_) | Record::Tag(_), _) => Vec::new(),
        };
        for layer in &layers {
            self.blobs.push(&self.repository, layer, progress).await?;
        }
        let empty = Descriptor::new(MEDIA_EMPTY, Digest::of(b"{}"), 2);
        self.blobs.push_bytes(&self.repository, &empty, Bytes::from_static(b"{}")).await?;
        let text = serde_json::to_string(record).expect("records have no failing values");
        let mut annotations = BTreeMap::from([(ANNOTATION.to_owned(), text)]);
        if let Some(stand_in) = stand_in {
            let text = serde_json::to_string(stand_in).expect("stand-ins have no failing values");
            annotations.insert(STAND_IN_ANNOTATION.to_owned(), text);
        }
        let manifest = ImageManifest {
            artifact_type: Some(ARTIFACT_TYPE.into()),
            annotations,
            ..ImageManifest::image(empty, layers)
        };
        let bytes = Bytes::from(to_canonical_json(&manifest));
        let reference = self.repository.tag(&Self::tag(key));
        Ok(self.registry.put_manifest(&reference, MEDIA_MANIFEST, bytes).await?)
    }
}
