//! Which images differ, by one `HEAD` at each end.

use serde::Serialize;

use super::{MirrorError, MirrorImage};
use crate::oci::Digest;
use crate::registry::Registry;

/// A source tag that is not what it was pinned to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// What the lock says.
    pub pinned: Digest,
    /// What the tag has now; none where it is gone.
    pub now: Option<Digest>,
}

/// How an image stands at both ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surveyed {
    /// The digest that the target is to have.
    pub wanted: Digest,
    /// What the target has now.
    pub found: Option<Digest>,
    /// Where the source's tag is another than it was pinned to.
    pub moved: Option<Moved>,
}

impl Surveyed {
    /// Whether there is nothing to copy.
    pub fn is_current(&self) -> bool {
        self.found == Some(self.wanted)
    }
}

/// Looks an image up at its source and its target.
///
/// A pinned image needs its source only to tell whether the tag has moved: one that cannot be asked
/// is no failure here.
///
/// # Errors
/// When the target cannot be asked, or the source of an image that is not pinned.
pub async fn survey(registry: &dyn Registry, image: &MirrorImage) -> Result<Surveyed, MirrorError> {
    let by_tag = image.source.digest.is_none();
    let source = async {
        match image.digest() {
            Some(_) if !by_tag => Ok(None),
            _ => registry.head(&image.source).await,
        }
    };
    let (source, target) = futures_util::future::join(source, registry.head(&image.target)).await;
    let found = target?.map(|descriptor| descriptor.digest);
    if let Ok(Some(descriptor)) = &source
        && descriptor.media_type.starts_with("application/vnd.docker.distribution.manifest.v1+")
    {
        return Err(super::document::schema_1(&image.source));
    }
    let (wanted, moved) = match (image.digest(), source) {
        (Some(pinned), Ok(now)) => {
            let now = now.map(|descriptor| descriptor.digest);
            (pinned, (by_tag && now != Some(pinned)).then_some(Moved { pinned, now }))
        }
        (Some(pinned), Err(_)) => (pinned, None),
        (None, Ok(Some(now))) => (now.digest, None),
        (None, Ok(None)) => {
            return Err(MirrorError::new(format!("there is no image `{}`", image.source))
                .help("correct the name, or take it out of the list"));
        }
        (None, Err(error)) => return Err(error.into()),
    };
    Ok(Surveyed { wanted, found, moved })
}
