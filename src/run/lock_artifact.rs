//! The lock as an artifact beside the records of the cache repository.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::blobs::Blobs;
use super::error::StepError;
use crate::oci::{
    Descriptor, Digest, ImageManifest, MEDIA_EMPTY, MEDIA_MANIFEST, Reference, RepositoryName,
    to_canonical_json,
};
use crate::registry::Registry;

/// Type of the artifact and of its one layer, the lock's text.
const LOCK_TYPE: &str = "application/vnd.railyard.lock.v1+toml";
/// What clients take as the file's name.
const TITLE: &str = "org.opencontainers.image.title";

/// Pushes a lock's text under the tag `lock-PROJECT`; asks by `HEAD` first, and pushes only another
/// text. Returns where it was pushed to.
///
/// # Errors
/// What the registry says.
pub async fn publish_lock(
    registry: &Arc<dyn Registry>,
    blobs: &Blobs,
    repository: &RepositoryName,
    project: &str,
    text: String,
) -> Result<Option<Reference>, StepError> {
    let layer = Descriptor {
        annotations: BTreeMap::from([(TITLE.to_owned(), "builds.lock".to_owned())]),
        ..Descriptor::new(LOCK_TYPE, Digest::of(text.as_bytes()), text.len() as u64)
    };
    let empty = Descriptor::new(MEDIA_EMPTY, Digest::of(b"{}"), 2);
    let manifest = ImageManifest {
        artifact_type: Some(LOCK_TYPE.into()),
        ..ImageManifest::image(empty.clone(), vec![layer.clone()])
    };
    let bytes = Bytes::from(to_canonical_json(&manifest));
    let reference = repository.tag(&tag(project));
    if registry.head(&reference).await?.is_some_and(|found| found.digest == Digest::of(&bytes)) {
        return Ok(None);
    }
    blobs.push_bytes(repository, &empty, Bytes::from_static(b"{}")).await?;
    blobs.push_bytes(repository, &layer, Bytes::from(text)).await?;
    registry.put_manifest(&reference, MEDIA_MANIFEST, bytes).await?;
    Ok(Some(reference))
}

/// `lock-PROJECT`; what a tag cannot hold becomes `-`.
fn tag(project: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') { c } else { '-' };
    let name: String = project.chars().map(fits).take(120).collect();
    format!("lock-{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_a_tag() {
        let long = "x".repeat(300);
        for name in ["harness-images", "Größe / 2", long.as_str()] {
            let repository: RepositoryName = "localhost:5000/cache".parse().unwrap();
            let reference = repository.tag(&tag(name));
            assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference);
        }
        assert_eq!(tag("harness-images"), "lock-harness-images");
    }
}
