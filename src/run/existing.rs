//! Tags that are there: which are moved, which stay, which must not have another image.

use super::error::StepError;
use crate::manifest::ExistingTags;
use crate::matrix::Cell;
use crate::oci::{Digest, Reference};
use crate::plan::{Reason, ReasonCode};

/// For each reference of a cell whether it is left as it is though it may have another image:
/// where tags are kept, a repository that has one of the cell's lasting tags stays untouched.
///
/// `found` is what each reference has, `image` what they should have, where that is known.
pub(super) fn kept(cell: &Cell, found: &[Option<Digest>], image: Option<Digest>) -> Vec<bool> {
    let is_other = |position: usize| found[position].is_some() && found[position] != image;
    let taken: Vec<&Reference> = (0..found.len())
        .filter(|n| cell.tags[*n].existing == ExistingTags::Keep && !cell.tags[*n].floating && is_other(*n))
        .map(|n| &cell.references[n])
        .collect();
    cell.references
        .iter()
        .zip(&cell.tags)
        .map(|(reference, tag)| {
            tag.existing == ExistingTags::Keep && taken.iter().any(|taken| taken.name == reference.name)
        })
        .collect()
}

/// Positions of the references that are to be moved to an image, with what they have.
///
/// # Errors
/// Where one of them must not be moved.
pub(super) fn behind(
    cell: &Cell,
    found: &[Option<Digest>],
    image: Digest,
) -> Result<Vec<(usize, Option<Digest>)>, StepError> {
    let kept = kept(cell, found, Some(image));
    let mut behind = Vec::new();
    for (position, has) in found.iter().enumerate().filter(|(n, has)| !kept[*n] && **has != Some(image)) {
        if let (ExistingTags::Refuse, Some(has)) = (cell.tags[position].existing, has) {
            let reference = &cell.references[position];
            return Err(StepError::new(format!(
                "`{reference}` must not move: it has {has}, and the image is {image}"
            ))
            .help("give the image another tag, or set `existing_tags = \"move\"` for it"));
        }
        behind.push((position, *has));
    }
    Ok(behind)
}

/// For each reference that has another image and must not move, why the cell will be refused.
pub(super) fn refused(cell: &Cell, found: &[Option<Digest>], image: Option<Digest>) -> Vec<Reason> {
    let tags = cell.references.iter().zip(&cell.tags).zip(found);
    let refused = tags.filter_map(|((reference, tag), has)| {
        let is_fixed = tag.existing == ExistingTags::Refuse && has.is_some() && *has != image;
        let text = |digest: &Digest| digest.to_string();
        is_fixed.then(|| {
            let reason = Reason::new(ReasonCode::TagFixed, reference.to_string());
            reason.moved(has.as_ref().map(text), image.as_ref().map(text))
        })
    });
    refused.collect()
}

/// What is said of references that stay as they are.
pub(super) fn notices(cell: &Cell, found: &[Option<Digest>], image: Digest) -> Vec<String> {
    let kept = kept(cell, found, Some(image));
    let stays = |position: usize| {
        let (reference, has) = (&cell.references[position], found[position]?);
        (kept[position] && has != image)
            .then(|| format!("`{reference}` is kept: it has {has}, and the image is {image}"))
    };
    (0..found.len()).filter_map(stays).collect()
}
