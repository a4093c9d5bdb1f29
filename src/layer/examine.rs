//! What is known of files by their content: read once from a stored layer, then remembered.

use std::collections::HashMap;
use std::io::{Read, Seek, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::codec::uncompress;
use super::copy::Ranges;
use super::elf::{Elf, MAGIC, read_elf};
use super::entry::Kind;
use super::{LayerError, LayerIndex, Tree, TreePath};
use crate::oci::Digest;

/// Bytes of a file that are kept in memory; a larger one goes to a temporary file.
const IN_MEMORY: usize = 8 << 20;
/// Bytes of the smallest header of an ELF file.
const ELF_HEADER: u64 = 52;
/// The longest text that is taken.
const TEXT_LIMIT: u64 = 64 << 10;

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Facts {
    /// An ELF file.
    Elf(Elf),
    /// A short text, where one was asked for.
    Text(String),
    /// Nothing that matters here.
    Other,
}

/// Facts by the hash of the content.
pub type KnownFacts = HashMap<Digest, Facts>;

/// A regular file of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeFile {
    /// Where it is, links followed.
    pub path: TreePath,
    /// The layer that has it; 0 is the lowest.
    pub layer: usize,
    /// What to examine.
    pub examined: Examined,
}

impl TreeFile {
    /// The file that a path leads to, if it leads to one.
    pub fn find(tree: &Tree, path: &TreePath, text: bool) -> Option<Self> {
        let path = tree.resolve(path, true).ok()?;
        let node = tree.get(&path)?;
        let Kind::File { size, sha256, offset, .. } = node.kind else { return None };
        Some(Self { path, layer: node.layer, examined: Examined { sha256, size, offset, text } })
    }

    /// What it is as an ELF file, as far as that is known.
    pub fn elf<'f>(&self, known: &'f KnownFacts) -> Option<&'f Elf> {
        match known.get(&self.examined.sha256)? {
            Facts::Elf(elf) => Some(elf),
            _ => None,
        }
    }

    /// Its text, as far as that is known.
    pub fn text<'f>(&self, known: &'f KnownFacts) -> Option<&'f str> {
        match known.get(&self.examined.sha256)? {
            Facts::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// A file to examine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Examined {
    /// Hash of its content.
    pub sha256: Digest,
    /// Bytes of content.
    pub size: u64,
    /// Where the content begins in the layer's uncompressed tar.
    pub offset: u64,
    /// Whether its text is wanted.
    pub text: bool,
}

/// The regular files of a layer that are large enough to be ELF files.
pub fn elf_candidates(index: &LayerIndex) -> Vec<Examined> {
    let files = index.entries().iter().filter_map(|entry| match entry.kind {
        Kind::File { size, sha256, offset, .. } => Some(Examined { sha256, size, offset, text: false }),
        _ => None,
    });
    files.filter(|file| file.size >= ELF_HEADER).collect()
}

/// Examines files of one stored layer in one pass, front to back. Files larger than a few MiB wait
/// in `spool_dir` while they are read.
///
/// # Errors
/// When the layer cannot be read or is shorter than its index says.
pub fn examine(
    stored: impl Read,
    mut files: Vec<Examined>,
    spool_dir: &Path,
) -> Result<Vec<(Digest, Facts)>, LayerError> {
    files.sort_by_key(|file| (file.offset, file.sha256));
    files.dedup_by_key(|file| file.offset);
    let mut layer = Ranges::new(uncompress(stored, None)?);
    files.iter().map(|file| Ok((file.sha256, facts(&mut layer, file, spool_dir)?))).collect()
}

fn facts<R: Read>(layer: &mut Ranges<R>, file: &Examined, spool_dir: &Path) -> Result<Facts, LayerError> {
    if file.text {
        return text(layer, file);
    }
    let error = |e| LayerError::io("write a temporary file", e);
    let mut start = Vec::with_capacity(MAGIC.len());
    let mut spool = tempfile::spooled_tempfile_in(IN_MEMORY, spool_dir);
    layer.read(file.offset, file.size, &mut |piece| {
        let missing = MAGIC.len() - start.len();
        start.extend_from_slice(&piece[..missing.min(piece.len())]);
        if MAGIC.starts_with(&start) { spool.write_all(piece).map_err(error) } else { Ok(()) }
    })?;
    if start != MAGIC {
        return Ok(Facts::Other);
    }
    spool.rewind().map_err(error)?;
    Ok(read_elf(spool).map_or(Facts::Other, Facts::Elf))
}

fn text<R: Read>(layer: &mut Ranges<R>, file: &Examined) -> Result<Facts, LayerError> {
    let mut bytes = Vec::new();
    let size = file.size.min(TEXT_LIMIT);
    layer.read(file.offset, size, &mut |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(Facts::Text(String::from_utf8_lossy(&bytes).into_owned()))
}
