//! What is listed -> the versions that are wanted.

use semver::{Version, VersionReq};

use super::DiscoverError;
use crate::manifest::FoundVersion;
use crate::matrix::{Listing, Query};

/// A text that may be a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The version as it is written, with or without `v`.
    pub version: String,
    /// The whole tag that it was taken from, where tags were listed.
    pub tag: Option<String>,
}

impl Candidate {
    /// A version as it is listed.
    pub fn plain(version: &str) -> Self {
        Self { version: version.to_owned(), tag: None }
    }
}

/// The versions that are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// In ascending order; never empty.
    pub versions: Vec<FoundVersion>,
    /// Texts that are no versions and were passed over: how many, and one of them.
    pub skipped: Option<(usize, String)>,
}

/// Selects by requirement, pre-releases and number.
///
/// Versions are compared without a leading `v`. Of several texts that are one version (up to the
/// build metadata, which is part of a version here) the one that sorts last stays.
///
/// # Errors
/// When no version is left.
pub fn select(query: &Query, candidates: &[Candidate]) -> Result<Selected, DiscoverError> {
    let mut versions = Vec::new();
    let mut skipped: Option<(usize, String)> = None;
    for candidate in candidates {
        let text = candidate.version.strip_prefix('v').unwrap_or(&candidate.version);
        match Version::parse(text) {
            Ok(version) => versions.push((version, candidate)),
            Err(_) => skipped.get_or_insert_with(|| (0, candidate.version.clone())).0 += 1,
        }
    }
    let newest = versions.iter().max_by_key(|(version, _)| version).map(|(_, c)| c.version.clone());
    let listed = versions.len();
    versions.retain(|(version, _)| fulfils(&query.requirement, version, query.prereleases));
    versions.sort_by(|(a, x), (b, y)| (a, &x.tag, &x.version).cmp(&(b, &y.tag, &y.version)));
    let mut wanted: Vec<(Version, &Candidate)> = Vec::new();
    for (version, candidate) in versions {
        match wanted.last_mut() {
            Some(last) if last.0 == version => last.1 = candidate,
            _ => wanted.push((version, candidate)),
        }
    }
    let first = wanted.len() - query.newest.unwrap_or(wanted.len()).min(wanted.len());
    if wanted.is_empty() {
        return Err(nothing(query, listed, newest, skipped));
    }
    let versions = wanted
        .drain(first..)
        .map(|(_, candidate)| FoundVersion { name: candidate.version.clone(), tag: candidate.tag.clone() });
    Ok(Selected { versions: versions.collect(), skipped })
}

/// Whether a version fulfils a requirement. With `prereleases` a pre-release counts as its release.
fn fulfils(requirement: &VersionReq, version: &Version, prereleases: bool) -> bool {
    let release = Version::new(version.major, version.minor, version.patch);
    requirement.matches(version) || prereleases && requirement.matches(&release)
}

fn nothing(
    query: &Query,
    listed: usize,
    newest: Option<String>,
    skipped: Option<(usize, String)>,
) -> DiscoverError {
    let found = match (newest, skipped) {
        (Some(newest), _) => format!("there are {listed} versions, the newest is `{newest}`"),
        (None, Some((count, example))) => {
            format!("of {count} texts none is a semantic version, e.g. `{example}`")
        }
        (None, None) => "there is no version at all".to_owned(),
    };
    let help = match &query.listing {
        Listing::Tags(_, Some(_)) => "correct `versions`, or `pattern`, which must match whole tags",
        Listing::Tags(_, None) => {
            "correct `versions`, or give a `pattern` that takes the version out of the tags"
        }
        _ => {
            "correct `versions`; pre-releases count with `prereleases = true`, or where `versions` names one"
        }
    };
    let message = format!("`{}` lists none that fulfils `{}`: {found}", query.listing, query.requirement);
    DiscoverError::new(message, help)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(requirement: &str, newest: Option<usize>, prereleases: bool) -> Query {
        Query {
            key: "axes.x".into(),
            requirement: requirement.parse().unwrap(),
            newest,
            prereleases,
            listing: Listing::File("versions.txt".into()),
            at: Default::default(),
        }
    }

    fn names(query: &Query, listed: &[&str]) -> Vec<String> {
        let candidates: Vec<_> = listed.iter().map(|v| Candidate::plain(v)).collect();
        select(query, &candidates).unwrap().versions.into_iter().map(|v| v.name).collect()
    }

    #[test]
    fn versions_come_in_ascending_order_and_only_the_newest() {
        let listed = ["3.9.0", "v3.10.0", "3.38.0", "4.0.0", "3.39.1", "3.39.0"];
        assert_eq!(
            names(&query(">=3.10, <4", None, false), &listed),
            ["v3.10.0", "3.38.0", "3.39.0", "3.39.1"]
        );
        assert_eq!(names(&query(">=3.10, <4", Some(2), false), &listed), ["3.39.0", "3.39.1"]);
        assert_eq!(names(&query("*", Some(9), false), &listed).len(), 6);
    }

    #[test]
    fn prereleases_count_where_they_are_named_or_wanted() {
        let listed = ["1.0.0", "1.1.0-beta", "1.1.0-rc.1", "1.2.0-beta", "2.0.0-alpha"];
        assert_eq!(names(&query(">=1", None, false), &listed), ["1.0.0"]);
        assert_eq!(names(&query(">=1.1.0-beta", None, false), &listed), ["1.1.0-beta", "1.1.0-rc.1"]);
        assert_eq!(
            names(&query(">=1, <2", None, true), &listed),
            ["1.0.0", "1.1.0-beta", "1.1.0-rc.1", "1.2.0-beta"]
        );
    }

    #[test]
    fn one_version_is_one_value_and_build_metadata_is_part_of_it() {
        assert_eq!(
            names(&query("*", None, false), &["v1.0.0", "1.0.0", "1.0.0+b", "1.0.0+a"]),
            ["v1.0.0", "1.0.0+a", "1.0.0+b"]
        );
        let tagged = |day: &str| Candidate { version: "1.0.0".into(), tag: Some(format!("1.0.0-{day}")) };
        let found = select(&query("*", None, false), &[tagged("0902"), tagged("0901")]).unwrap();
        assert_eq!(found.versions.len(), 1);
        assert_eq!(found.versions[0].tag.as_deref(), Some("1.0.0-0902"));
    }

    #[test]
    fn what_is_no_version_is_counted() {
        let candidates: Vec<_> = ["latest", "1.2", "1.2.3", "01.2.3"].map(Candidate::plain).into();
        let found = select(&query("*", None, false), &candidates).unwrap();
        assert_eq!(found.skipped, Some((3, "latest".into())));
        let error = select(&query(">9", None, false), &candidates).unwrap_err();
        assert!(error.message.contains("the newest is `1.2.3`"), "{error}");
        let error = select(&query("*", None, false), &candidates[..2]).unwrap_err();
        assert!(error.message.contains("none is a semantic version, e.g. `latest`"), "{error}");
        assert!(select(&query("*", None, false), &[]).is_err());
    }
}
