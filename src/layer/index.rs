//! The index of a layer: what it has, without the content.

use std::collections::HashMap;
use std::io::Read;

use serde::{Deserialize, Serialize};

use super::archive::{Member, MemberKind, TarReader};
use super::codec::{Tap, uncompress};
use super::entry::{Entry, Kind, Meta, Placing};
use super::{LayerError, TreePath};
use crate::oci::{DiffId, Digest, Hasher};

/// What a layer has: entries in order of path, each directory directly before what it holds.
///
/// At one path there may be a whiteout, then a file or directory, then an opaque mark. Every
/// entry's ancestors are there: those that the tar does not have are [`Placing::Implied`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct LayerIndex {
    entries: Vec<Entry>,
    /// For each entry the place of the first one that is not at or below its path.
    ends: Vec<u32>,
    size: u64,
}

/// The serialised form.
#[derive(Serialize, Deserialize)]
struct Stored {
    size: u64,
    entries: Vec<Entry>,
}

impl From<Stored> for LayerIndex {
    fn from(stored: Stored) -> Self {
        Self::of_sorted(stored.entries, stored.size)
    }
}

impl From<LayerIndex> for Stored {
    fn from(index: LayerIndex) -> Self {
        Self { size: index.size, entries: index.entries }
    }
}

impl LayerIndex {
    /// Entries that are already in order, with all ancestors.
    pub(crate) fn of_sorted(entries: Vec<Entry>, size: u64) -> Self {
        let mut ends = vec![entries.len() as u32; entries.len()];
        let mut open: Vec<usize> = Vec::new();
        for (i, entry) in entries.iter().enumerate() {
            while let Some(top) = open.last().copied() {
                if entry.path.starts_with(&entries[top].path) {
                    break;
                }
                ends[top] = i as u32;
                open.pop();
            }
            open.push(i);
        }
        Self { entries, ends, size }
    }

    /// The entries in order of path.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Bytes of the uncompressed tar.
    pub fn uncompressed_size(&self) -> u64 {
        self.size
    }

    /// Whether the layer has nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The file, directory or link at a path; not a whiteout.
    pub fn get(&self, path: &TreePath) -> Option<&Entry> {
        let at = self.entries.partition_point(|e| e.path < *path);
        self.entries[at..].iter().take_while(|e| e.path == *path).find(|e| e.kind.is_real())
    }

    /// The place behind the last entry at or below that entry's path.
    pub(crate) fn end(&self, entry: usize) -> usize {
        self.ends[entry] as usize
    }
}

/// Indexes a stored layer in one pass; also the hash of its tar.
///
/// `media_type` is the descriptor's; the codec is told by the first bytes. Of several entries of
/// one path the last wins. Sizes are in bytes, times in seconds since the epoch.
///
/// # Errors
/// When the stream cannot be read, is no layer, or has a name with `..`.
pub fn index_layer(stored: impl Read, media_type: &str) -> Result<(LayerIndex, DiffId), LayerError> {
    let mut tar = TarReader::new(Tap::new(uncompress(stored, Some(media_type))?));
    let mut indexer = Indexer::default();
    while let Some(member) = tar.next_member()? {
        let mut hasher = Hasher::new();
        tar.content(|piece| {
            hasher.update(piece);
            Ok(())
        })?;
        let sha256 = if member.kind == MemberKind::File { hasher.finish() } else { Digest::from([0; 32]) };
        indexer.add(member, sha256)?;
    }
    let (digest, size) = tar.drain()?.finish();
    Ok((LayerIndex::of_sorted(indexer.finish()?, size), DiffId(digest)))
}

/// Turns tar members, in their order, into entries, in order of path.
#[derive(Default)]
pub(crate) struct Indexer {
    entries: Vec<Entry>,
    latest: HashMap<TreePath, usize>,
    early_links: Vec<usize>,
}

impl Indexer {
    /// Adds a member; `sha256` is of its content.
    pub fn add(&mut self, member: Member, sha256: Digest) -> Result<(), LayerError> {
        let Some((path, kind)) = classify(&member, sha256)? else { return Ok(()) };
        let mut meta = member.meta;
        if !kind.is_real() {
            meta = Meta::new(0, 0, 0);
        }
        let mtime = if kind.is_real() { member.mtime } else { 0 };
        let mut entry = Entry { path, kind, meta, mtime, placing: member.placing };
        if let Kind::HardLink { target } = &entry.kind {
            match self.latest.get(target).map(|at| &self.entries[*at]) {
                Some(file) if file.kind.is_real() && !file.is_dir() => link_to(&mut entry, file),
                _ => self.early_links.push(self.entries.len()),
            }
        }
        if entry.kind.is_real() {
            self.latest.insert(entry.path.clone(), self.entries.len());
        }
        self.entries.push(entry);
        Ok(())
    }

    /// The entries in order, one for each path and rank, with all ancestors.
    pub fn finish(mut self) -> Result<Vec<Entry>, LayerError> {
        self.resolve_early_links();
        self.unlink_replaced();
        let mut order: Vec<(usize, Entry)> = self.entries.into_iter().enumerate().collect();
        let key = |e: &Entry| e.kind.rank();
        order.sort_by(|(i, a), (j, b)| a.path.cmp(&b.path).then(key(a).cmp(&key(b))).then(j.cmp(i)));
        order.dedup_by(|(_, later), (_, kept)| later.path == kept.path && key(later) == key(kept));
        let mut entries: Vec<Entry> = Vec::with_capacity(order.len() + 16);
        // What is no directory, and when it came: nothing may lie beneath.
        let mut blocking: Option<(TreePath, usize)> = None;
        for (time, entry) in order {
            if let Some((path, since)) = &blocking
                && entry.path.starts_with(path)
                && entry.path != *path
            {
                if time < *since {
                    continue;
                }
                return Err(LayerError::path(&entry.path, format!("`{path}` is no directory")));
            }
            if entry.kind.is_real() && !entry.is_dir() {
                blocking = Some((entry.path.clone(), time));
            }
            insert_missing_parents(&mut entries, &entry);
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Links that came before their targets.
    fn resolve_early_links(&mut self) {
        for at in std::mem::take(&mut self.early_links) {
            // A link to a link that came early too: follow, but not in circles.
            let mut target = match &self.entries[at].kind {
                Kind::HardLink { target } => target.clone(),
                _ => continue,
            };
            for _ in 0..64 {
                let Some(found) = self.latest.get(&target).filter(|found| **found != at) else { break };
                let file = self.entries[*found].clone();
                match &file.kind {
                    Kind::HardLink { target: next } => target = next.clone(),
                    Kind::Directory => break,
                    _ => {
                        link_to(&mut self.entries[at], &file);
                        break;
                    }
                }
            }
        }
    }

    /// A link whose target was replaced later stands for itself.
    fn unlink_replaced(&mut self) {
        for at in 0..self.entries.len() {
            let Kind::File { offset, link: Some(target), .. } = &self.entries[at].kind else { continue };
            let now = self.latest.get(target).map(|found| &self.entries[*found].kind);
            let same = matches!(now, Some(Kind::File { offset: there, .. }) if there == offset);
            if !same && let Kind::File { link, .. } = &mut self.entries[at].kind {
                *link = None;
            }
        }
    }
}

/// Makes `entry` another name of `file`: one inode has one content and one set of metadata.
fn link_to(entry: &mut Entry, file: &Entry) {
    entry.kind = file.kind.clone();
    entry.meta = file.meta.clone();
    entry.mtime = file.mtime;
    if let Kind::File { link, .. } = &mut entry.kind {
        *link = Some(file.path.clone());
    }
}

/// Adds implied directories between the last entry and `next`, in place.
fn insert_missing_parents(entries: &mut Vec<Entry>, next: &Entry) {
    // An opaque mark stands behind its directory, everything else behind its parent.
    let holder = if next.kind == Kind::Opaque { Some(next.path.clone()) } else { next.path.parent() };
    let Some(parent) = holder.filter(|p| !p.is_root()) else { return };
    // In order, the last entry lies in the parent, or is it, exactly when the parent is there.
    if entries.last().is_some_and(|last| last.path.starts_with(&parent) && has_dir(entries, &parent)) {
        return;
    }
    for dir in parent.ancestors().chain([parent.clone()]) {
        if !has_dir(entries, &dir) {
            entries.push(Entry::directory(dir, Meta::default_dir(), Placing::Implied));
        }
    }
}

/// Whether the sorted entries have a directory at `path`.
fn has_dir(entries: &[Entry], path: &TreePath) -> bool {
    let at = entries.partition_point(|e| e.path < *path);
    entries[at..].iter().take_while(|e| e.path == *path).any(|e| e.kind.is_real())
}

/// A member's path and kind; `None` for the marks of aufs, which mean nothing.
fn classify(member: &Member, sha256: Digest) -> Result<Option<(TreePath, Kind)>, LayerError> {
    let path = TreePath::parse(&member.name)?;
    if let Some(hidden) = path.file_name().strip_prefix(b".wh.") {
        let parent = path.parent().unwrap_or_default();
        return match hidden {
            b".wh..opq" => Ok(Some((parent, Kind::Opaque))),
            b"" => Err(LayerError::archive(&member.name, "a whiteout without name")),
            aufs if aufs.starts_with(b".wh.") => Ok(None),
            name => Ok(Some((parent.join(name), Kind::Whiteout))),
        };
    }
    let kind = match member.kind {
        MemberKind::File => Kind::File { size: member.size, sha256, offset: member.offset, link: None },
        MemberKind::Directory => Kind::Directory,
        MemberKind::Symlink => Kind::Symlink { target: member.link.clone() },
        MemberKind::HardLink => Kind::HardLink { target: TreePath::parse(&member.link)? },
        MemberKind::CharDevice { major, minor } => Kind::CharDevice { major, minor },
        MemberKind::BlockDevice { major, minor } => Kind::BlockDevice { major, minor },
        MemberKind::Fifo => Kind::Fifo,
    };
    if path.is_root() && kind != Kind::Directory {
        return Err(LayerError::archive(&member.name, "the root is no directory"));
    }
    Ok(Some((path, kind)))
}
