//! Tags with the time of a run in them: `{{ timestamp }}`, outside every key.

use std::fmt;
use std::sync::Arc;

use minijinja::value::{Object, ObjectRepr};

use crate::oci::{Reference, RepositoryName};

/// Stands in rendered texts for the time that is not known before a run.
const STAMP: char = '\u{3}';

/// What people see in its place; a tag may have it, so that it is told apart by nothing but this.
pub(super) const SHOWN_TIMESTAMP: &str = "YYYYMMDDHHMMSS";

/// `{{ timestamp }}`: an object, so that no template can look into what is not known yet.
#[derive(Debug)]
pub(super) struct Timestamp;

impl Object for Timestamp {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{STAMP}")
    }
}

/// Whether a rendered text has the time of the run in it.
pub(super) fn mentions_timestamp(text: &str) -> bool {
    text.contains(STAMP)
}

/// Puts a time, `YYYYMMDDHHMMSS` in UTC, where a rendered text has `{{ timestamp }}`.
pub(super) fn fill_timestamp(text: &str, timestamp: &str) -> String {
    text.replace(STAMP, timestamp)
}

/// A tag with the time of a run in it. A new one is written where the newest has another image.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StampedTag {
    /// The repository.
    pub repository: RepositoryName,
    text: String,
}

impl StampedTag {
    /// A rendered tag that mentions the time.
    pub(super) fn new(repository: RepositoryName, text: &str) -> Self {
        Self { repository, text: text.to_owned() }
    }

    /// The tag at a time, `YYYYMMDDHHMMSS`.
    pub fn at(&self, timestamp: &str) -> Reference {
        self.repository.tag(&fill_timestamp(&self.text, timestamp))
    }

    /// The tag as it is shown where no time is known.
    pub fn shown(&self) -> Reference {
        self.at(SHOWN_TIMESTAMP)
    }

    /// The time in a tag that was made of this one.
    pub fn timestamp_of<'t>(&self, tag: &'t str) -> Option<&'t str> {
        let start = self.text.find(STAMP)?;
        let timestamp = tag.get(start..start + SHOWN_TIMESTAMP.len())?;
        let is_time = timestamp.bytes().all(|b| b.is_ascii_digit());
        (is_time && fill_timestamp(&self.text, timestamp) == tag).then_some(timestamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(text: &str) -> StampedTag {
        StampedTag::new("localhost:5000/acme/app".parse().unwrap(), &text.replace('@', &STAMP.to_string()))
    }

    #[test]
    fn a_time_is_put_in_and_found_again() {
        let stamped = tag("1.0-@-linux");
        let made = stamped.at("20250822194415");
        assert_eq!(made.to_string(), "localhost:5000/acme/app:1.0-20250822194415-linux");
        assert_eq!(stamped.timestamp_of(made.tag.as_deref().unwrap()), Some("20250822194415"));
        assert_eq!(stamped.shown().tag.as_deref(), Some("1.0-YYYYMMDDHHMMSS-linux"));
    }

    #[test]
    fn other_tags_have_no_time() {
        let stamped = tag("1.0-@-linux");
        for other in ["1.0-YYYYMMDDHHMMSS-linux", "1.0-2025082219441-linux", "1.0-20250822194415", "1.0", "é"]
        {
            assert_eq!(stamped.timestamp_of(other), None, "{other}");
        }
        let twice = tag("@-@");
        assert_eq!(twice.timestamp_of("20250822194415-20250822194415"), Some("20250822194415"));
        assert_eq!(twice.timestamp_of("20250822194415-20250822194416"), None);
    }
}
