//! What is known of the images, as data.

use std::collections::BTreeMap;

use globset::Glob;
use serde::Deserialize;

use super::calendar::Day;
use crate::mirror::{Support, SupportWindow};

const BUILT_IN: &str = include_str!("facts.toml");

/// What is wrong with a file of facts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FactsError(String);

/// What is published about the images.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Where the API is.
    pub url: String,
    /// On which days new images are published: `MON` or `MON#2`.
    published: Vec<String>,
    support: Vec<Rule>,
    /// Field -> the image that it stood for when this was written.
    pub fields: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    images: Vec<String>,
    releases: Option<u64>,
    why: Option<String>,
}

impl Facts {
    /// Those that railyard comes with.
    pub fn built_in() -> Self {
        Self::parse(BUILT_IN).expect("the facts that are built in are well-formed")
    }

    /// Reads facts.
    ///
    /// # Errors
    /// Unknown keys, days that are none, globs that are none.
    pub fn parse(text: &str) -> Result<Self, FactsError> {
        let facts: Self = toml::from_str(text).map_err(|error| FactsError(error.to_string()))?;
        for day in &facts.published {
            day.parse::<Day>().map_err(FactsError)?;
        }
        for glob in facts.support.iter().flat_map(|rule| &rule.images) {
            Glob::new(glob).map_err(|error| FactsError(format!("`{glob}` is no glob: {}", error.kind())))?;
        }
        Ok(facts)
    }

    /// The rule about a repository (`harness/ci-addon`).
    fn rule(&self, repository: &str) -> Option<&Rule> {
        let fits = |glob: &String| Glob::new(glob).is_ok_and(|g| g.compile_matcher().is_match(repository));
        self.support.iter().find(|rule| rule.images.iter().any(fits))
    }

    /// Whether anything is published about how long a repository's images are supported.
    pub fn knows(&self, repository: &str) -> bool {
        self.rule(repository).is_some()
    }

    /// How a tag of a repository stands by the tags that are known, all there are or some; `None`
    /// for images that nothing is known about.
    pub fn support(&self, repository: &str, tag: &str, known: &[String], all: bool) -> Option<Support> {
        let rule = self.rule(repository)?;
        Some(match rule.releases {
            Some(releases) => Support::judge(tag, known, all, SupportWindow { releases }),
            None => Support::unpublished(tag, known, rule.why.as_deref().unwrap_or("no window is published")),
        })
    }

    /// The day of the next publication, today's included.
    pub fn next_publication(&self, today: jiff::civil::Date) -> Option<jiff::civil::Date> {
        let days = self.published.iter().filter_map(|day| day.parse::<Day>().ok());
        days.filter_map(|day| day.next(today)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror::SupportState;

    #[test]
    fn what_is_built_in_is_well_formed() {
        let facts = Facts::built_in();
        assert_eq!(facts.fields.len(), 12);
        for image in facts.fields.values() {
            let reference: crate::oci::Reference = image.parse().unwrap();
            assert!(facts.knows(&reference.name.repository), "{image}");
        }
        assert!(!facts.knows("library/debian"));
    }

    #[test]
    fn windows_are_by_image() {
        let facts = Facts::built_in();
        let known = ["1.14.4".to_owned()];
        let state = |repository, tag| facts.support(repository, tag, &known, false).map(|s| s.state);
        assert_eq!(state("harness/ci-addon", "1.11.0"), Some(SupportState::OutOfWindow));
        assert_eq!(state("plugins/s3", "1.0.5"), Some(SupportState::Unknown));
        assert_eq!(state("acme/own", "1.0.5"), None);
    }

    #[test]
    fn publication_days_come_from_the_calendar() {
        let facts = Facts::built_in();
        let date = jiff::civil::date;
        assert_eq!(facts.next_publication(date(2026, 11, 21)), Some(date(2026, 11, 23)));
        assert_eq!(facts.next_publication(date(2026, 11, 23)), Some(date(2026, 11, 23)));
        assert_eq!(facts.next_publication(date(2026, 11, 24)), Some(date(2026, 12, 14)));
        let weekly = BUILT_IN.replace(r#"["MON#2", "MON#4"]"#, r#"["TUE"]"#);
        let weekly = Facts::parse(&weekly).unwrap();
        assert_eq!(weekly.next_publication(date(2026, 11, 21)), Some(date(2026, 11, 24)));
        assert!(Facts::parse(&BUILT_IN.replace("MON#2", "MON#9")).is_err());
        assert!(Facts::parse(&BUILT_IN.replace("releases", "release")).is_err());
    }
}
