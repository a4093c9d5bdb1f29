//! One table of a lock, read by its keys; what is wrong with it is noted with its place.

use std::fmt::Display;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::manifest::{Diagnostic, FileId, Location};

/// What to do about an entry that cannot be used.
pub(super) const REMEDY: &str =
    "restore the lock from version control, or remove the entry and run `railyard build`, which adds it anew";

/// The place of a range of bytes.
pub(super) fn at(range: std::ops::Range<usize>) -> Location {
    let offset = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Location { file: FileId(0), start: offset(range.start), end: offset(range.end) }
}

/// A table, and the mistakes found in the lock.
pub(super) struct Entry<'t, 'p> {
    /// For people, e.g. `[[image]]`.
    pub(super) what: &'static str,
    pub(super) table: &'t DeTable<'t>,
    pub(super) at: Location,
    pub(super) problems: &'p mut Vec<Diagnostic>,
}

impl<'t> Entry<'t, '_> {
    /// Reports keys other than these.
    pub(super) fn keys(&mut self, known: &[&str]) {
        for (key, _) in self.table {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let message = format!("unknown key `{name}` in {}", self.what);
                self.problems.push(
                    Diagnostic::new("lock-unknown-key", at(key.span()), message)
                        .label("not a key of this table")
                        .help(format!("remove it; its keys are {}", known.join(", "))),
                );
            }
        }
    }

    /// A value that must be there.
    pub(super) fn needed(&mut self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        let value = self.table.get(key);
        if value.is_none() {
            let message = format!("{} has no `{key}`", self.what);
            self.problems.push(
                Diagnostic::new("lock-missing-key", self.at, message)
                    .label(format!("`{key}` is missing here"))
                    .help(REMEDY),
            );
        }
        value
    }

    /// A text that must be there.
    pub(super) fn text(&mut self, key: &str) -> Option<(&'t str, Location)> {
        let value = self.needed(key)?;
        self.as_text(key, value)
    }

    /// A value that must be a text.
    pub(super) fn as_text(
        &mut self,
        key: &str,
        value: &'t Spanned<DeValue<'t>>,
    ) -> Option<(&'t str, Location)> {
        let place = at(value.span());
        match value.get_ref().as_str() {
            Some(text) => Some((text, place)),
            None => {
                self.wrong_type(key, place, "a text");
                None
            }
        }
    }

    /// A text that stands for a value and must be there.
    pub(super) fn value<T: FromStr>(&mut self, key: &str) -> Option<(T, Location)>
    where
        T::Err: Display,
    {
        let (text, place) = self.text(key)?;
        Some((self.parse(key, text, place)?, place))
    }

    /// What a text stands for.
    pub(super) fn parse<T: FromStr>(&mut self, key: &str, text: &str, place: Location) -> Option<T>
    where
        T::Err: Display,
    {
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.malformed(key, place, &error);
                None
            }
        }
    }

    /// The texts of a table of texts, which need not be there.
    pub(super) fn texts(
        &mut self,
        key: &'static str,
    ) -> Vec<(&'t Spanned<std::borrow::Cow<'t, str>>, &'t str, Location)> {
        let Some(value) = self.table.get(key) else { return Vec::new() };
        let Some(table) = value.get_ref().as_table() else {
            self.wrong_type(key, at(value.span()), "a table");
            return Vec::new();
        };
        let read = table.iter().filter_map(|(name, value)| {
            let (text, place) = self.as_text(key, value)?;
            Some((name, text, place))
        });
        read.collect()
    }

    /// Reports a value of another type.
    pub(super) fn wrong_type(&mut self, key: &str, place: Location, wanted: &str) {
        let message = format!("`{key}` of {} must be {wanted}", self.what);
        self.problems.push(
            Diagnostic::new("lock-wrong-type", place, message).label(format!("not {wanted}")).help(REMEDY),
        );
    }

    /// Reports a value that means nothing.
    pub(super) fn malformed(&mut self, key: &str, place: Location, why: &dyn Display) {
        let message = format!("`{key}` of {} cannot be used: {why}", self.what);
        self.problems.push(Diagnostic::new("lock-malformed", place, message).label("malformed").help(REMEDY));
    }

    /// Reports an entry that stands there twice.
    pub(super) fn twice(&mut self, name: &dyn Display, place: Location, first: Location) {
        self.problems.push(
            Diagnostic::new("lock-duplicate", place, format!("`{name}` stands there twice"))
                .label("again here")
                .also(first, "first here")
                .help("keep the entry that is right; a merge may have left both"),
        );
    }
}
