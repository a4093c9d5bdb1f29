//! Tags that are there: which are moved, which stay, which must not have another image.

use super::error::StepError;
use crate::manifest::ExistingTags;
use crate::matrix::Cell;
use crate::oci::{Digest, Reference, RepositoryName};
use crate::plan::{Reason, ReasonCode};

/// A tag of a cell with what it has; first the cell's references, then its tags with a time.
pub(super) type Found = (Reference, Option<Digest>);

/// For each tag of a cell whether it is left as it is though it may have another image:
/// where tags are kept, a repository that has one of the cell's lasting tags stays untouched.
///
/// `image` is what they should have, where that is known.
pub(super) fn kept(cell: &Cell, found: &[Found], image: Option<Digest>) -> Vec<bool> {
    let is_other = |has: Option<Digest>| has.is_some() && has != image;
    let taken: Vec<&RepositoryName> = found
        .iter()
        .zip(&cell.tags)
        .filter(|((_, has), tag)| tag.existing == ExistingTags::Keep && !tag.floating && is_other(*has))
        .map(|((reference, _), _)| &reference.name)
        .collect();
    let keeps =
        |position: usize| cell.tags.get(position).is_none_or(|tag| tag.existing == ExistingTags::Keep);
    let tags = found.iter().enumerate();
    tags.map(|(position, (reference, _))| keeps(position) && taken.contains(&&reference.name)).collect()
}

/// The tags that are to be moved to an image, with what they have.
///
/// # Errors
/// Where one of them must not be moved.
pub(super) fn behind(cell: &Cell, found: &[Found], image: Digest) -> Result<Vec<Found>, StepError> {
    let kept = kept(cell, found, Some(image));
    let mut behind = Vec::new();
    for (position, (reference, has)) in found.iter().enumerate() {
        if kept[position] || *has == Some(image) {
            continue;
        }
        // A tag with a time is a new one.
        let existing = cell.tags.get(position).map(|tag| tag.existing);
        if let (Some(ExistingTags::Refuse), Some(has)) = (existing, has) {
            return Err(StepError::new(format!(
                "`{reference}` must not move: it has {has}, and the image is {image}"
            ))
            .help("give the image another tag, or set `existing_tags = \"move\"` for it"));
        }
        behind.push((reference.clone(), *has));
    }
    Ok(behind)
}

/// For each reference that has another image and must not move, why the cell will be refused.
pub(super) fn refused(cell: &Cell, found: &[Found], image: Option<Digest>) -> Vec<Reason> {
    let tags = cell.references.iter().zip(&cell.tags).zip(found);
    let refused = tags.filter_map(|((reference, tag), (_, has))| {
        let is_fixed = tag.existing == ExistingTags::Refuse && has.is_some() && *has != image;
        let text = |digest: &Digest| digest.to_string();
        is_fixed.then(|| {
            let reason = Reason::new(ReasonCode::TagFixed, reference.to_string());
            reason.moved(has.as_ref().map(text), image.as_ref().map(text))
        })
    });
    refused.collect()
}

/// What is said of tags that stay as they are.
pub(super) fn notices(cell: &Cell, found: &[Found], image: Digest) -> Vec<String> {
    let kept = kept(cell, found, Some(image));
    let stays = |((reference, has), kept): (&Found, bool)| {
        let has = has.filter(|has| kept && *has != image)?;
        Some(format!("`{reference}` is kept: it has {has}, and the image is {image}"))
    };
    found.iter().zip(kept).filter_map(stays).collect()
}
