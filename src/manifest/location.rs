//! Where a value stands: file and byte range.

use std::ops::Range;

/// A file of the manifest, by its position in [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FileId(pub u16);

/// A byte range in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Location {
    /// The file.
    pub file: FileId,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Location {
    /// The byte range.
    pub fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub at: Location,
}

impl<T> Located<T> {
    /// Puts a value at a place.
    pub fn new(value: T, at: Location) -> Self {
        Self { value, at }
    }
}

/// The texts that a manifest was read from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    files: Vec<(String, String)>,
}

impl Sources {
    /// Adds a file by its name as shown to the user, and its text.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<String>) -> FileId {
        let id = FileId(u16::try_from(self.files.len()).expect("fewer than 65,536 manifest files"));
        self.files.push((name.into(), text.into()));
        id
    }

    /// Every file in the order of its addition.
    pub fn ids(&self) -> impl Iterator<Item = FileId> + use<> {
        (0..self.files.len()).map(|i| FileId(i as u16))
    }

    /// The name of a file.
    pub fn name(&self, file: FileId) -> &str {
        &self.files[usize::from(file.0)].0
    }

    /// The text of a file.
    pub fn text(&self, file: FileId) -> &str {
        &self.files[usize::from(file.0)].1
    }

    /// Makes a text between quotes unreadable, so that no diagnostic shows it.
    pub(super) fn mask(&mut self, at: Location) {
        let text = &mut self.files[usize::from(at.file.0)].1;
        let Some(part) = text.get(at.range()) else { return };
        let masked: String = part
            .chars()
            .map(|c| match c {
                '"' | '\'' | '\n' | '\r' => c.to_string(),
                // As many bytes as before: places stay what they are.
                other => "*".repeat(other.len_utf8()),
            })
            .collect();
        text.replace_range(at.range(), &masked);
    }

    /// Line and column of a location's start, both from 1; the column counts characters.
    pub fn line_column(&self, at: Location) -> (usize, usize) {
        let text = self.text(at.file);
        let before = &text[..boundary(text, at.start as usize)];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        (line, column)
    }
}

/// The last boundary of a character at or before an offset; the end where it lies beyond.
pub(super) fn boundary(text: &str, offset: usize) -> usize {
    let offset = offset.min(text.len());
    (0..=offset).rev().find(|n| text.is_char_boundary(*n)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_in_characters() {
        let mut sources = Sources::default();
        let file = sources.add("a.toml", "é = 1\nb = 2");
        let place = |start| sources.line_column(Location { file, start, end: start });
        assert_eq!(place(0), (1, 1));
        assert_eq!(place(1), (1, 1));
        assert_eq!(place(3), (1, 3));
        assert_eq!(place(7), (2, 1));
        assert_eq!(place(99), (2, 6));
    }
}
