//! What refers to an image: signatures, attestations and the like, by the referrers API, by its
//! fallback tag (distribution specification, "Listing Referrers"), or by cosign's tags.

use bytes::Bytes;

use super::copy::{Copier, Way};
use super::document::{Pointers, read};
use super::{MirrorError, MirrorImage, Tally};
use crate::oci::{Descriptor, Digest, ImageIndex, MEDIA_INDEX, RepositoryName, to_canonical_json};
use crate::registry::Progress;

/// Endings of the tags under which cosign keeps what belongs to `sha256-DIGEST`.
const COSIGN: [&str; 3] = [".sig", ".att", ".sbom"];

impl Copier {
    /// Copies what refers to an image or to a manifest of its index. Returns how many were missing.
    ///
    /// # Errors
    /// When something of it is not there or cannot be moved.
    pub async fn copy_referrers(
        &self,
        image: &MirrorImage,
        digest: Digest,
        tally: &Tally,
        progress: &Progress,
    ) -> Result<u64, MirrorError> {
        let way = Way { from: &image.source.name, to: &image.target.name, tally, progress };
        let mut subjects = vec![digest];
        let whole = way.to.digest(digest);
        if let Some((_, bytes)) = self.registry.manifest(&whole).await?
            && let Pointers::Index(entries) = read(&bytes, &whole)?
        {
            subjects.extend(entries.iter().map(|entry| entry.digest));
        }
        let mut copied = 0;
        for subject in subjects {
            copied += self.listed(way, subject).await?;
            for ending in COSIGN {
                let tag = format!("{}{ending}", fallback_tag(subject));
                copied += self.tagged(way, &tag).await?;
            }
        }
        Ok(copied)
    }

    async fn tagged(&self, way: Way<'_>, tag: &str) -> Result<u64, MirrorError> {
        let Some(source) = self.registry.head(&way.from.tag(tag)).await? else { return Ok(0) };
        let target = way.to.tag(tag);
        if self.registry.head(&target).await?.is_some_and(|found| found.digest == source.digest) {
            return Ok(0);
        }
        self.copy_to(way, source.digest, &target).await?;
        Ok(1)
    }

    async fn listed(&self, way: Way<'_>, subject: Digest) -> Result<u64, MirrorError> {
        let (wanted, _) = self.list(way.from, subject).await?;
        if wanted.is_empty() {
            return Ok(0);
        }
        let (mut found, has_api) = self.list(way.to, subject).await?;
        let known: Vec<Digest> = found.iter().map(|referrer| referrer.digest).collect();
        let missing: Vec<Descriptor> =
            wanted.into_iter().filter(|referrer| !known.contains(&referrer.digest)).collect();
        for referrer in &missing {
            self.copy_to(way, referrer.digest, &way.to.digest(referrer.digest)).await?;
        }
        if !missing.is_empty() && !has_api {
            found.extend(missing.iter().cloned());
            let index = ImageIndex {
                schema_version: 2,
                media_type: Some(MEDIA_INDEX.into()),
                manifests: found,
                annotations: Default::default(),
            };
            let bytes = Bytes::from(to_canonical_json(&index));
            self.registry.put_manifest(&way.to.tag(&fallback_tag(subject)), MEDIA_INDEX, bytes).await?;
        }
        Ok(missing.len() as u64)
    }

    /// The referrers of a manifest, and whether the registry itself keeps them.
    async fn list(
        &self,
        repository: &RepositoryName,
        subject: Digest,
    ) -> Result<(Vec<Descriptor>, bool), MirrorError> {
        if let Some(found) = self.registry.referrers(repository, subject, None).await? {
            return Ok((found, true));
        }
        let Some((_, bytes)) = self.registry.manifest(&repository.tag(&fallback_tag(subject))).await? else {
            return Ok((Vec::new(), false));
        };
        let index: Option<ImageIndex> = serde_json::from_slice(&bytes).ok();
        Ok((index.map(|index| index.manifests).unwrap_or_default(), false))
    }
}

fn fallback_tag(subject: Digest) -> String {
    format!("sha256-{}", subject.hex())
}
