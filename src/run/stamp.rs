//! Tags with a time in them: which one is the newest, and what it has.
//!
//! The repository's own list of tags says which there are. It is the one witness that every machine
//! shares: a local record is of one machine, and a statement is attached before tags move.

use std::sync::Arc;

use super::blobs::Once;
use super::error::StepError;
use crate::matrix::{Cell, StampedTag};
use crate::oci::{Digest, Reference, RepositoryName};
use crate::registry::Registry;

/// Looks up tags with a time in them; each repository is listed once.
pub(super) struct Stamps {
    registry: Arc<dyn Registry>,
    listed: Once<RepositoryName, Arc<Vec<String>>>,
}

impl Stamps {
    pub fn new(registry: Arc<dyn Registry>) -> Self {
        Self { registry, listed: Once::default() }
    }

    /// The newest of the tags that were made of this one, with what it has.
    ///
    /// # Errors
    /// When the registry cannot be read.
    pub async fn newest(&self, stamped: &StampedTag) -> Result<Option<(Reference, Digest)>, StepError> {
        let slot = self.listed.slot(stamped.repository.clone());
        let tags = slot
            .get_or_try_init(|| async {
                Ok::<_, StepError>(Arc::new(self.registry.tags(&stamped.repository).await?))
            })
            .await?;
        let mut made: Vec<&str> = tags.iter().filter_map(|tag| stamped.timestamp_of(tag)).collect();
        made.sort_unstable();
        for timestamp in made.into_iter().rev() {
            let reference = stamped.at(timestamp);
            // A registry may list a tag that is deleted.
            if let Some(found) = self.registry.head(&reference).await? {
                return Ok(Some((reference, found.digest)));
            }
        }
        Ok(None)
    }

    /// The tags of a cell that have a time, each by its newest, with what that has. One that has never
    /// been written, or has another image than `wanted`, is named by `otherwise`.
    ///
    /// # Errors
    /// When the registry cannot be read.
    pub async fn tags(
        &self,
        cell: &Cell,
        wanted: Option<Digest>,
        otherwise: impl Fn(&StampedTag, Option<&Reference>) -> Reference,
    ) -> Result<Vec<(Reference, Option<Digest>)>, StepError> {
        let mut tags = Vec::new();
        for stamped in &cell.stamped {
            let (newest, found) = self.newest(stamped).await?.unzip();
            let reference = match newest {
                Some(newest) if found == wanted => newest,
                newest => otherwise(stamped, newest.as_ref()),
            };
            tags.push((reference, found));
        }
        Ok(tags)
    }
}
