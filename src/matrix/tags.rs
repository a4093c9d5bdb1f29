//! The tags of a cell: as they are written, and those that a version becomes.

use std::collections::HashMap;
use std::sync::Arc;

use semver::Version;

use super::cell::{Cell, TagUse};
use crate::manifest::{ExistingTags, Location, Manifest};
use crate::oci::{Reference, RepositoryName};

/// A tag of a cell, in every repository that the cell goes to.
#[derive(Debug, Clone)]
pub(super) struct Tag {
    /// Its text.
    pub text: Arc<str>,
    /// Where it is written.
    pub at: Location,
    /// Whether it is known that it will mean other images in time.
    pub floating: bool,
    /// Whether the time of the run is in it.
    pub stamped: bool,
    /// The version that it was shortened from: of several cells the highest has the tag.
    pub version: Option<Version>,
}

/// A semantic version, perhaps after a `v`.
pub(super) fn parse_version(text: &str) -> Option<Version> {
    Version::parse(text.strip_prefix('v').unwrap_or(text)).ok()
}

/// What a version becomes: the whole, and unless it is a pre-release two shorter ones that float.
pub(super) fn shortened(version: &Version) -> Vec<(String, bool)> {
    let mut tags = vec![(version.to_string(), false)];
    if version.pre.is_empty() {
        tags.push((format!("{}.{}", version.major, version.minor), true));
        tags.push((version.major.to_string(), true));
    }
    tags
}

/// What happens to tags that are there, by repository.
pub(super) struct ExistingRules<'m> {
    rules: Vec<(&'m str, ExistingTags)>,
}

impl<'m> ExistingRules<'m> {
    /// Those of a manifest's registries.
    pub fn new(manifest: &'m Manifest) -> Self {
        let rules = manifest.registries.iter();
        let rules = rules.filter_map(|(prefix, s)| Some((prefix.as_str(), s.existing_tags.as_ref()?.value)));
        Self { rules: rules.collect() }
    }

    /// The one with the longest prefix.
    pub fn of(&self, repository: &RepositoryName) -> ExistingTags {
        if self.rules.is_empty() {
            return ExistingTags::default();
        }
        let name = repository.to_string();
        let begins = |prefix: &str| {
            name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let fitting = self.rules.iter().filter(|(prefix, _)| begins(prefix));
        fitting.max_by_key(|(prefix, _)| prefix.len()).map(|(_, rule)| *rule).unwrap_or_default()
    }
}

/// What is remembered of a cell's references until all cells are known, in their order.
#[derive(Debug, Clone, Default)]
pub(super) struct Written {
    /// Where each is written.
    pub places: Vec<Location>,
    /// The versions of those that were shortened.
    pub versions: Vec<Option<Version>>,
    /// Tags with a time in them, as they are shown, and where each is written.
    pub stamped: Vec<(Reference, Location)>,
}

impl Written {
    /// A cell's references and where each is written, those with a time last.
    pub fn all<'a>(&'a self, references: &'a [Reference]) -> impl Iterator<Item = (&'a Reference, Location)> {
        let stamped = self.stamped.iter().map(|(reference, at)| (reference, *at));
        references.iter().zip(self.places.iter().copied()).chain(stamped)
    }
}

/// Leaves each shortened tag to the cell with the highest version.
pub(super) fn settle(cells: &mut [Cell], written: &mut [Written]) {
    if written.iter().all(|written| written.versions.iter().all(Option::is_none)) {
        return;
    }
    let mut highest: HashMap<Reference, Version> = HashMap::new();
    for (cell, written) in cells.iter().zip(written.iter()) {
        for (reference, version) in cell.references.iter().zip(&written.versions) {
            let Some(version) = version else { continue };
            match highest.get_mut(reference) {
                Some(known) if *known >= *version => {}
                Some(known) => *known = version.clone(),
                None => drop(highest.insert(reference.clone(), version.clone())),
            }
        }
    }
    for (cell, written) in cells.iter_mut().zip(written) {
        let keep: Vec<bool> = cell
            .references
            .iter()
            .zip(&written.versions)
            .map(|(reference, version)| version.as_ref().is_none_or(|v| highest.get(reference) == Some(v)))
            .collect();
        retain(&mut cell.references, &keep);
        retain::<TagUse>(&mut cell.tags, &keep);
        retain(&mut written.places, &keep);
        retain(&mut written.versions, &keep);
    }
}

fn retain<T>(list: &mut Vec<T>, keep: &[bool]) {
    let mut kept = keep.iter();
    list.retain(|_| kept.next().copied().unwrap_or(true));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_shortened_unless_it_is_a_pre_release() {
        let of = |text: &str| shortened(&parse_version(text).unwrap());
        let want = [("1.2.3", false), ("1.2", true), ("1", true)].map(|(t, f)| (t.to_owned(), f));
        assert_eq!(of("v1.2.3"), want);
        assert_eq!(of("2.0.0-rc.1"), [("2.0.0-rc.1".to_owned(), false)]);
        assert!(parse_version("1.2").is_none() && parse_version("latest").is_none());
    }
}
