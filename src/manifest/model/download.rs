//! Tools and downloads.

use crate::manifest::{Chmod, Discovery, Located, Location, Owner, Template};
use crate::oci::Digest;

/// `[tools.NAME]`: a versioned download.
#[derive(Debug, Clone)]
pub struct Tool {
    /// Its name.
    pub name: Located<String>,
    /// `{{ version }}` in the other templates; a layer's use may give another. `None` where it is
    /// discovered and not resolved yet.
    pub version: Option<Template>,
    /// Where its version comes from, unless it is written.
    pub discovery: Option<Discovery>,
    /// What is downloaded and where it goes.
    pub download: Download,
}

/// A download: mirrors in order of preference, one judge (sha256), one place.
#[derive(Debug, Clone)]
pub struct Download {
    /// Where it stands.
    pub at: Location,
    /// The mirrors, tried in order; at least one. `{{ version }}`, `{{ arch }}` and `{{ os }}` are defined.
    pub urls: Vec<Template>,
    /// 64 hexadecimal digits (with or without `sha256:`) of what is downloaded.
    pub sha256: Option<Template>,
    /// Absolute path in the image: of the file, or of the directory that an archive is extracted into.
    pub path: Template,
    /// Set when the download is an archive.
    pub extract: Option<Extract>,
    /// Permission bits of a file that is not extracted (default 0755 for tools, 0644 for downloads),
    /// or of everything extracted.
    pub mode: Option<Located<Chmod>>,
    /// Owner of all files; 0:0 unless set.
    pub owner: Option<Located<Owner>>,
}

/// What to take out of an archive.
#[derive(Debug, Clone)]
pub struct Extract {
    /// The archive's format.
    pub format: ArchiveFormat,
    /// Members to take (files or directories); all when empty. With exactly one file, `path` is
    /// that file's place unless it ends with `/`.
    pub members: Vec<Template>,
    /// Leading path components to drop.
    pub strip: usize,
}

/// Formats of archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveFormat {
    /// tar, plain.
    Tar,
    /// tar with gzip.
    TarGz,
    /// zip.
    Zip,
}

/// A literal sha256 as written in a manifest: bare digits or with `sha256:`.
///
/// # Errors
/// When it is neither.
pub fn parse_sha256(text: &str) -> Result<Digest, crate::oci::DigestError> {
    Digest::from_hex(text.strip_prefix("sha256:").unwrap_or(text))
}
