//! What refers to an image: signatures, attestations and the like, by the referrers API, by its
//! fallback tag (distribution specification, "Listing Referrers"), or by cosign's tags.

use bytes::Bytes;

use super::copy::{Copier, Way};
use super::document::{Pointers, read};
use super::{MirrorError, MirrorImage, Tally};
use crate::oci::{Descriptor, Digest, MEDIA_INDEX, OpenIndex, Reference, RepositoryName};
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
        let copied = self.copy_to(way, source.digest, &target).await;
        copied.map_err(|error| of_referrer(error, &way.from.tag(tag)))?;
        Ok(1)
    }

    async fn listed(&self, way: Way<'_>, subject: Digest) -> Result<u64, MirrorError> {
        let wanted = match self.list(way.from, subject).await? {
            Listed::Api(found) => found,
            Listed::Tag(index) => {
                let reference = way.from.tag(&fallback_tag(subject));
                let entries = index.descriptors().collect::<Result<Vec<_>, _>>();
                entries.map_err(|error| malformed(&reference, &error))?
            }
        };
        if wanted.is_empty() {
            return Ok(0);
        }
        let found = self.list(way.to, subject).await?;
        let known: Vec<Digest> = match &found {
            Listed::Api(found) => found.iter().map(|referrer| referrer.digest).collect(),
            Listed::Tag(index) => index.descriptors().flatten().map(|referrer| referrer.digest).collect(),
        };
        let missing: Vec<Descriptor> =
            wanted.into_iter().filter(|referrer| !known.contains(&referrer.digest)).collect();
        for referrer in &missing {
            let copied = self.copy_to(way, referrer.digest, &way.to.digest(referrer.digest)).await;
            copied.map_err(|error| of_referrer(error, &way.from.digest(referrer.digest)))?;
        }
        if let (Listed::Tag(mut index), false) = (found, missing.is_empty()) {
            for referrer in &missing {
                index.put(referrer, |entry| entry.digest == referrer.digest);
            }
            let reference = way.to.tag(&fallback_tag(subject));
            self.registry.put_manifest(&reference, MEDIA_INDEX, Bytes::from(index.to_json())).await?;
        }
        Ok(missing.len() as u64)
    }

    /// The referrers of a manifest.
    async fn list(&self, repository: &RepositoryName, subject: Digest) -> Result<Listed, MirrorError> {
        if let Some(found) = self.registry.referrers(repository, subject, None).await? {
            return Ok(Listed::Api(found));
        }
        let reference = repository.tag(&fallback_tag(subject));
        let Some((_, bytes)) = self.registry.manifest(&reference).await? else {
            return Ok(Listed::Tag(OpenIndex::default()));
        };
        OpenIndex::parse(&bytes).map(Listed::Tag).map_err(|error| malformed(&reference, &error))
    }
}

/// Where the referrers of a manifest are listed.
enum Listed {
    /// The registry keeps the list.
    Api(Vec<Descriptor>),
    /// Whoever adds to it keeps the list, under the fallback tag.
    Tag(OpenIndex),
}

fn of_referrer(error: MirrorError, referrer: &Reference) -> MirrorError {
    let message = format!("the referrer `{referrer}` was not copied: {}", error.message);
    let help = error.help.filter(|_| error.environment).unwrap_or_else(|| {
        "attach it anew at the source or take it out of the list of referrers there, or mirror without referrers".into()
    });
    MirrorError { message, help: Some(help), ..error }
}

fn malformed(list: &Reference, error: &serde_json::Error) -> MirrorError {
    MirrorError::new(format!("the list of referrers `{list}` cannot be read: {error}"))
        .help("nothing was written over: repair or delete that tag, or mirror without referrers")
}

fn fallback_tag(subject: Digest) -> String {
    format!("sha256-{}", subject.hex())
}
