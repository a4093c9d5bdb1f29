//! Whether a version is among the releases that its publisher still supports.
//!
//! A release is major and minor (`1.14`), a patch is a fix of it. Which images have a window, and
//! how wide it is, is data: [`SupportWindow`].

use std::collections::BTreeSet;
use std::fmt;

use semver::Version;
use serde::Serialize;

/// Major and minor of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    /// Major.
    pub major: u64,
    /// Minor.
    pub minor: u64,
}

/// How many of the latest releases are supported: 3 is latest, latest-1 and latest-2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SupportWindow {
    /// How many.
    pub releases: u64,
}

/// How a tag stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SupportState {
    /// Among the supported releases.
    Supported,
    /// Older than those.
    OutOfWindow,
    /// It cannot be told.
    Unknown,
}

/// How a tag stands, against the newest that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Support {
    /// How.
    pub state: SupportState,
    /// Releases between it and the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behind: Option<u64>,
    /// The newest tag that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<String>,
    /// Why it cannot be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A tag as a version of three numbers, and what follows them (`-rootless`).
fn parse(tag: &str) -> Option<(Version, &str)> {
    let text = tag.strip_prefix('v').unwrap_or(tag);
    let version = Version::parse(text).ok()?;
    let flavour = text.find(['-', '+']).map_or("", |at| &text[at..]);
    Some((Version::new(version.major, version.minor, version.patch), flavour))
}

/// The releases of tags that have the flavour of `tag`, and the newest of these tags.
pub fn releases(tag: &str, tags: &[String]) -> (BTreeSet<Release>, Option<String>) {
    let flavour = parse(tag).map_or("", |(_, flavour)| flavour);
    let same = tags.iter().filter_map(|tag| Some((parse(tag)?, tag)));
    let mut same: Vec<(Version, &String)> =
        same.filter(|((_, other), _)| *other == flavour).map(|((version, _), tag)| (version, tag)).collect();
    same.sort();
    let newest = same.last().map(|(_, tag)| (*tag).clone());
    (same.iter().map(|(version, _)| Release { major: version.major, minor: version.minor }).collect(), newest)
}

impl Support {
    /// Judges a tag by the tags that are known; `all` says whether these are all there are.
    pub fn judge(tag: &str, known: &[String], all: bool, window: SupportWindow) -> Self {
        let (releases, newest) = releases(tag, known);
        let unknown = |why: &str| Self {
            state: SupportState::Unknown,
            behind: None,
            newest: newest.clone(),
            why: Some(why.to_owned()),
        };
        let Some((version, _)) = parse(tag) else {
            return unknown("its tag is no version of three numbers");
        };
        let Some(last) = releases.last().copied() else { return unknown("no other version is known") };
        let own = Release { major: version.major, minor: version.minor };
        let behind = if all {
            releases.iter().filter(|release| **release > own).count() as u64
        } else if own >= last {
            0
        } else if own.major == last.major {
            // Minors are consecutive where nothing is left out.
            last.minor - own.minor
        } else {
            return unknown("the releases between are not known");
        };
        let supported = behind < window.releases;
        Self {
            state: if supported { SupportState::Supported } else { SupportState::OutOfWindow },
            behind: Some(behind),
            newest,
            why: None,
        }
    }

    /// An image that nothing is published about.
    pub fn unpublished(tag: &str, known: &[String], why: &str) -> Self {
        let (_, newest) = releases(tag, known);
        Self { state: SupportState::Unknown, behind: None, newest, why: Some(why.to_owned()) }
    }
}

impl fmt::Display for Support {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let newest = self.newest.as_deref().map(|tag| format!(", newest known {tag}")).unwrap_or_default();
        match (self.state, self.behind) {
            (SupportState::Supported, Some(0)) => write!(f, "supported, the latest release{newest}"),
            (SupportState::Supported, behind) => {
                write!(f, "supported, latest-{}{newest}", behind.unwrap_or_default())
            }
            (SupportState::OutOfWindow, behind) => {
                write!(f, "out of window, {} releases behind{newest}", behind.unwrap_or_default())
            }
            (SupportState::Unknown, _) => {
                write!(f, "support unknown: {}{newest}", self.why.as_deref().unwrap_or("nothing is known"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: SupportWindow = SupportWindow { releases: 3 };

    fn judged(tag: &str, known: &[&str], all: bool) -> (SupportState, Option<u64>, Option<String>) {
        let known: Vec<String> = known.iter().map(|tag| (*tag).to_owned()).collect();
        let support = Support::judge(tag, &known, all, WINDOW);
        (support.state, support.behind, support.newest)
    }

    #[test]
    fn the_latest_three_releases_are_supported_whatever_their_patch() {
        use SupportState::*;
        let known = ["1.14.4", "1.14.5", "1.13.0", "1.12.9", "1.10.0", "latest", "1.20.0-rootless"];
        let newest = Some("1.14.5".to_owned());
        for (tag, state, behind) in [
            ("1.14.4", Supported, Some(0)),
            ("1.12.0", Supported, Some(2)),
            ("1.10.0", OutOfWindow, Some(3)),
            ("1.15.0", Supported, Some(0)),
            ("latest", Unknown, None),
        ] {
            assert_eq!(judged(tag, &known, true), (state, behind, newest.clone()), "{tag}");
        }
    }

    #[test]
    fn a_single_known_release_is_counted_from_by_its_number() {
        use SupportState::*;
        let newest = Some("1.14.4".to_owned());
        assert_eq!(judged("1.12.0", &["1.14.4"], false), (Supported, Some(2), newest.clone()));
        assert_eq!(judged("1.11.0", &["1.14.4"], false), (OutOfWindow, Some(3), newest.clone()));
        assert_eq!(judged("0.9.0", &["1.14.4"], false), (Unknown, None, newest));
        assert_eq!(judged("1.0.0", &[], false).0, Unknown);
    }

    #[test]
    fn flavours_are_compared_with_their_own() {
        let known = ["1.1.0-rootless", "1.9.0"];
        assert_eq!(judged("1.1.0-rootless", &known, true).2.as_deref(), Some("1.1.0-rootless"));
    }
}
