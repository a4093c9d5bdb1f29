//! What a manifest or index points at, whatever else it says.

use serde::Deserialize;

use super::MirrorError;
use crate::oci::{
    Descriptor, Digest, MEDIA_DOCKER_INDEX, MEDIA_DOCKER_MANIFEST, MEDIA_INDEX, MEDIA_MANIFEST,
};

/// What a document points at.
#[derive(Debug)]
pub(super) enum Pointers {
    /// Manifests, in order.
    Index(Vec<Descriptor>),
    /// Blobs that the registry must have.
    Image(Vec<Descriptor>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u32,
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    media_type: String,
    digest: Digest,
    size: u64,
    /// Set where the publisher keeps the layer elsewhere.
    #[serde(default)]
    urls: Vec<String>,
}

impl Layer {
    /// Layers that may not be distributed are in no registry.
    fn is_elsewhere(&self) -> bool {
        !self.urls.is_empty()
            && (self.media_type.contains(".foreign.") || self.media_type.contains(".nondistributable."))
    }
}

/// Reads a document; `name` is for errors.
///
/// # Errors
/// For schema 1 manifests and what is no manifest.
pub(super) fn read(bytes: &[u8], name: &dyn std::fmt::Display) -> Result<Pointers, MirrorError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version {
        schema_version: u32,
    }
    if serde_json::from_slice::<Version>(bytes).is_ok_and(|version| version.schema_version == 1) {
        return Err(schema_1(name));
    }
    let document: Document = serde_json::from_slice(bytes)
        .map_err(|error| MirrorError::new(format!("the manifest of `{name}` is malformed: {error}")))?;
    if document.schema_version != 2 {
        let version = document.schema_version;
        return Err(MirrorError::new(format!("`{name}` has schema version {version}, which is not known")));
    }
    if let Some(manifests) = document.manifests {
        for manifest in &manifests {
            let known = [MEDIA_MANIFEST, MEDIA_DOCKER_MANIFEST, MEDIA_INDEX, MEDIA_DOCKER_INDEX];
            if !known.contains(&manifest.media_type.as_str()) {
                return Err(MirrorError::new(format!(
                    "the index `{name}` has an entry of type `{}`, which is not supported",
                    manifest.media_type
                )));
            }
        }
        return Ok(Pointers::Index(manifests));
    }
    let layers = document.layers.into_iter().filter(|layer| !layer.is_elsewhere());
    let layers = layers.map(|layer| Descriptor::new(&layer.media_type, layer.digest, layer.size));
    let mut blobs: Vec<Descriptor> = document.config.into_iter().chain(layers).collect();
    let mut seen = std::collections::HashSet::new();
    blobs.retain(|blob| seen.insert(blob.digest));
    Ok(Pointers::Image(blobs))
}

/// What is said of images that registries no longer take.
pub(super) fn schema_1(name: &dyn std::fmt::Display) -> MirrorError {
    MirrorError::new(format!("`{name}` is a Docker schema 1 image, whose digest does not survive a copy"))
        .help("ask its publisher for an image of schema 2 or OCI, or pull it and push it anew")
}

/// The platform of an index's entry for people; `None` for attestations and the like.
pub(super) fn platform(entry: &Descriptor) -> Option<String> {
    let platform = entry.platform.as_ref()?;
    let is_attestation = entry.annotations.contains_key("vnd.docker.reference.type");
    (!is_attestation && platform.os != "unknown").then(|| platform.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schema_1_is_refused_and_foreign_layers_are_left_out() {
        let old = br#"{"schemaVersion":1,"name":"a","tag":"b","fsLayers":[]}"#;
        assert!(read(old, &"a:b").unwrap_err().message.contains("schema 1"));
        let digest = Digest::of(b"x");
        let text = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"c","digest":"{digest}","size":1}},"layers":[
                {{"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip","digest":"{}","size":2,"urls":["https://x"]}},
                {{"mediaType":"l","digest":"{digest}","size":1}}]}}"#,
            Digest::of(b"y")
        );
        let Pointers::Image(blobs) = read(text.as_bytes(), &"x").unwrap() else { panic!() };
        assert_eq!(blobs.iter().map(|b| b.digest).collect::<Vec<_>>(), [digest]);
        let odd = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"text/plain","digest":"{digest}","size":1}}]}}"#
        );
        assert!(read(odd.as_bytes(), &"x").unwrap_err().message.contains("text/plain"));
    }
}
