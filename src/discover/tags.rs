//! Tags of a repository as versions.

use regex::Regex;

use super::{Candidate, DiscoverError, Discoverer};
use crate::oci::RepositoryName;

impl Discoverer {
    /// The versions in the tags that a pattern matches whole; each tag, where there is none.
    pub(super) async fn tags(
        &self,
        repository: &RepositoryName,
        pattern: Option<&str>,
    ) -> Result<Vec<Candidate>, DiscoverError> {
        let tags = self.registry.tags(repository).await.map_err(|error| {
            DiscoverError::new(
                error.to_string(),
                "check that the registry is up and the repository's name is right, and log in where it wants that",
            )
        })?;
        if tags.is_empty() {
            return Err(DiscoverError::new(
                format!("there is no repository `{repository}`, or it has no tags"),
                "correct `tags`: a registry and a repository, without tag",
            ));
        }
        Ok(versions(tags, pattern))
    }
}

fn versions(tags: Vec<String>, pattern: Option<&str>) -> Vec<Candidate> {
    let Some(pattern) = pattern else {
        return tags.into_iter().map(|tag| Candidate { version: tag.clone(), tag: Some(tag) }).collect();
    };
    let whole = Regex::new(&format!("^(?:{pattern})$")).expect("the manifest's reader compiled it");
    tags.into_iter()
        .filter_map(|tag| {
            let version = whole.captures(&tag)?.name("version")?.as_str().to_owned();
            Some(Candidate { version, tag: Some(tag) })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(tags: &[&str], pattern: &str) -> Vec<(String, String)> {
        let tags = tags.iter().map(ToString::to_string).collect();
        let candidates = versions(tags, Some(pattern));
        candidates.into_iter().map(|c| (c.version, c.tag.unwrap_or_default())).collect()
    }

    fn pair(version: &str, tag: &str) -> (String, String) {
        (version.to_owned(), tag.to_owned())
    }

    #[test]
    fn patterns_match_whole_tags() {
        let tags = ["1.0.0-base-image", "1.1.0-beta-base-image", "old-1.0.0-base-image-2", "latest"];
        let pattern = r"(?<version>\d.*)-base-image";
        assert_eq!(
            found(&tags, pattern),
            [pair("1.0.0", "1.0.0-base-image"), pair("1.1.0-beta", "1.1.0-beta-base-image")]
        );
        // An alternative on top reaches over the whole tag too.
        assert_eq!(found(&["a", "xb"], "(?<version>a)|b"), [pair("a", "a")]);
    }

    #[test]
    fn dated_tags_lose_date_and_machine() {
        let tags = ["1.143.0-20250822194415-x86_64", "1.143.0-20250822194415-arm64", "latest-x86_64"];
        assert_eq!(found(&tags, r"(?<version>\d+\.\d+\.\d+)-\d+-x86_64"), [pair("1.143.0", tags[0])]);
    }
}
