//! Paths inside an image: raw bytes, normalised, relative to the root.

use std::cmp::Ordering;
use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::LayerError;

/// A path in an image: no leading or trailing `/`, no empty, `.` or `..` component; the root is
/// empty. Bytes, because file names need not be UTF-8.
///
/// Ordered component by component, so that a directory comes directly before what it holds:
/// `a`, `a/b`, `a-b`.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct TreePath(Vec<u8>);

impl TreePath {
    /// The root.
    pub fn root() -> Self {
        Self::default()
    }

    /// Normalises `raw`: leading `/` and `./`, trailing `/`, repeated `/` and `.` components go.
    ///
    /// # Errors
    /// [`LayerError::Traversal`] when a component is `..`, [`LayerError::Archive`] when it has a
    /// NUL byte.
    pub fn parse(raw: impl AsRef<[u8]>) -> Result<Self, LayerError> {
        let raw = raw.as_ref();
        if raw.contains(&0) {
            return Err(LayerError::archive(raw, "the name has a NUL byte"));
        }
        let mut path = Vec::with_capacity(raw.len());
        for component in raw.split(|b| *b == b'/') {
            match component {
                b"" | b"." => {}
                b".." => return Err(LayerError::Traversal { path: lossy(raw) }),
                name => {
                    if !path.is_empty() {
                        path.push(b'/');
                    }
                    path.extend_from_slice(name);
                }
            }
        }
        Ok(Self(path))
    }

    /// The path's bytes; empty for the root.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The last component; empty for the root.
    pub fn file_name(&self) -> &[u8] {
        match self.0.iter().rposition(|b| *b == b'/') {
            Some(slash) => &self.0[slash + 1..],
            None => &self.0,
        }
    }

    /// The directory that holds it; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.0.is_empty() {
            return None;
        }
        let end = self.0.iter().rposition(|b| *b == b'/').unwrap_or(0);
        Some(Self(self.0[..end].to_vec()))
    }

    /// The directories above it, from the outermost to its parent, without the root.
    pub fn ancestors(&self) -> impl Iterator<Item = TreePath> + '_ {
        let slashes = self.0.iter().enumerate().filter(|(_, b)| **b == b'/');
        slashes.map(|(at, _)| Self(self.0[..at].to_vec()))
    }

    /// Its components, outermost first.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|b| *b == b'/').filter(|c| !c.is_empty())
    }

    /// The path of `name` (one component or several, already normal) in this directory.
    pub fn join(&self, name: &[u8]) -> Self {
        let mut path = Vec::with_capacity(self.0.len() + 1 + name.len());
        path.extend_from_slice(&self.0);
        if !path.is_empty() && !name.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        Self(path)
    }

    /// What is left of the path below `base`; `Some("")` for `base` itself.
    pub fn strip_prefix(&self, base: &TreePath) -> Option<&[u8]> {
        let rest = self.0.strip_prefix(base.0.as_slice())?;
        match (base.is_root(), rest) {
            (true, _) | (_, []) => Some(rest),
            (_, [b'/', below @ ..]) => Some(below),
            _ => None,
        }
    }

    /// Whether it is `base` or lies below it.
    pub fn starts_with(&self, base: &TreePath) -> bool {
        self.strip_prefix(base).is_some()
    }
}

/// Compares paths component by component.
pub(crate) fn compare(left: &[u8], right: &[u8]) -> Ordering {
    let common = left.iter().zip(right).position(|(l, r)| l != r);
    match common {
        None => left.len().cmp(&right.len()),
        Some(at) => match (left[at], right[at]) {
            (b'/', _) => Ordering::Less,
            (_, b'/') => Ordering::Greater,
            (l, r) => l.cmp(&r),
        },
    }
}

/// The path as people write it, with a leading `/`.
pub(crate) fn lossy(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    if text.starts_with('/') { text.into_owned() } else { format!("/{text}") }
}

impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0)
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl AsRef<[u8]> for TreePath {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&lossy(&self.0))
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for TreePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for TreePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(Bytes).map(Self)
    }
}

/// Serde adapter for byte strings that are no paths.
pub(crate) mod bytes {
    use super::Bytes;

    pub fn serialize<S: serde::Serializer>(value: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(value)
    }

    pub fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        deserializer.deserialize_byte_buf(Bytes)
    }
}

struct Bytes;

impl<'de> Visitor<'de> for Bytes {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Vec<u8>, E> {
        Ok(value.to_vec())
    }

    fn visit_byte_buf<E>(self, value: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u8>, A::Error> {
        let mut value = Vec::new();
        while let Some(byte) = seq.next_element()? {
            value.push(byte);
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::parse(text).unwrap()
    }

    #[test]
    fn names_are_normalised_and_dot_dot_is_refused() {
        for same in ["a/b", "/a/b", "./a/b", "a//b/", "/./a/./b/."] {
            assert_eq!(path(same).as_bytes(), b"a/b", "{same}");
        }
        assert!(path("./").is_root());
        assert!(matches!(TreePath::parse("a/../b"), Err(LayerError::Traversal { .. })));
    }

    #[test]
    fn a_directory_comes_directly_before_what_it_holds() {
        let mut paths: Vec<_> = ["a-b", "a", "a/b", "a.b", "a/b/c", ""].map(path).to_vec();
        paths.sort();
        assert_eq!(paths, ["", "a", "a/b", "a/b/c", "a-b", "a.b"].map(path));
    }

    #[test]
    fn prefixes_end_at_components() {
        assert_eq!(path("a/bc").strip_prefix(&path("a/b")), None);
        assert_eq!(path("a/b/c").strip_prefix(&path("a/b")), Some(&b"c"[..]));
        assert_eq!(path("a").strip_prefix(&TreePath::root()), Some(&b"a"[..]));
        assert_eq!(path("a/b/c").ancestors().collect::<Vec<_>>(), ["a", "a/b"].map(path));
    }
}
