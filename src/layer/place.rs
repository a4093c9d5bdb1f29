//! Placing an artifact on a tree: what must differ from the stored blob.

use std::collections::BTreeMap;

use super::digest::add_meta;
use super::entry::{Entry, Kind, Meta, Placing};
use super::index::LayerIndex;
use super::tree::{Directory, Found};
use super::{LayerError, Standing, Tree, TreePath};
use crate::oci::{Digest, Hasher};

/// How an artifact differs where it lies on a given tree. Small: only what differs is named, so
/// that places with equal differences share one blob.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Placement {
    /// Paths of the artifact that lead elsewhere, with all below them: symbolic links in the way.
    moved: BTreeMap<TreePath, TreePath>,
    /// Real path -> metadata that implied directories take from the tree.
    metadata: BTreeMap<TreePath, Meta>,
    /// Directories that hold what was moved, with the metadata they have.
    added: BTreeMap<TreePath, Meta>,
}

/// Where the sides of a conflict come from.
const BENEATH: &str = "in the image beneath";
const SAME_PLACE: &str = "of the layer, led to the same place";

/// An entry where it is placed, and the offset of its content in the artifact's tar.
pub(crate) type Placed = (Entry, u64);

/// Says how an artifact must differ to lie on a tree.
///
/// As `COPY` does: directories that exist keep their metadata where the artifact only implies
/// them; symbolic links to directories in the way are followed inside the tree; files replace
/// files and links. Subtrees that do not exist beneath are not looked at.
///
/// # Errors
/// [`LayerError::Conflict`] when a directory is where a file must go, or the reverse; it names both.
pub fn place(artifact: &LayerIndex, beneath: &Tree) -> Result<Placement, LayerError> {
    let mut placer = Placer { artifact, beneath, placement: Placement::default() };
    let root = beneath.find(&TreePath::root());
    let entries = artifact.entries();
    let own = entries.iter().take_while(|e| e.path.is_root()).count();
    if let Some(Found { node, directory: Some(directory) }) = root {
        if own > 0 && entries[0].is_implied() && !entries[0].meta.eq(&node.meta) {
            placer.placement.metadata.insert(TreePath::root(), node.meta);
        }
        placer.children(own, entries.len(), &TreePath::root(), &directory)?;
    }
    let placement = placer.placement;
    if !placement.moved.is_empty() {
        // Two paths may now be one: say so before anything is written.
        placement.apply(artifact)?;
    }
    Ok(placement)
}

struct Placer<'a> {
    artifact: &'a LayerIndex,
    beneath: &'a Tree,
    placement: Placement,
}

impl Placer<'_> {
    /// Places the direct children among the artifact's entries `start..end` in `directory`, whose
    /// real path is `real`.
    fn children(
        &mut self,
        start: usize,
        end: usize,
        real: &TreePath,
        directory: &Directory,
    ) -> Result<(), LayerError> {
        let artifact = self.artifact;
        let mut at = start;
        while at < end {
            let entry = &artifact.entries()[at];
            if !entry.kind.is_real() {
                at += 1;
                continue;
            }
            if let Some(found) = self.beneath.child(directory, entry.path.file_name()) {
                self.child(at, entry, real.join(entry.path.file_name()), found)?;
            }
            at = artifact.end(at);
        }
        Ok(())
    }

    /// Places an entry where `found` is, at `real`.
    fn child(&mut self, at: usize, entry: &Entry, real: TreePath, found: Found) -> Result<(), LayerError> {
        let is_link = matches!(found.node.kind, Kind::Symlink { .. });
        let follows = is_link && (entry.is_dir() || entry.placing == Placing::Through);
        let (real, found) = if follows {
            let target = self.beneath.resolve(&real, true)?;
            self.redirect(entry, &target)?;
            let found = self.beneath.find(&target);
            (target, found)
        } else {
            (real, Some(found))
        };
        match found {
            Some(Found { node, directory: Some(directory) }) if entry.is_dir() => {
                if entry.is_implied() && node.meta != entry.meta {
                    self.placement.metadata.insert(real.clone(), node.meta);
                }
                let below = at + self.own_entries(at);
                self.children(below, self.artifact.end(at), &real, &directory)
            }
            Some(found) if entry.is_dir() || found.directory.is_some() => {
                Err(conflict(&found.node.kind, &real, BENEATH, entry))
            }
            _ => Ok(()),
        }
    }

    /// How many entries have the path of the one at `at`, from there on.
    fn own_entries(&self, at: usize) -> usize {
        let entries = &self.artifact.entries()[at..];
        entries.iter().take_while(|e| e.path == entries[0].path).count()
    }

    fn redirect(&mut self, entry: &Entry, target: &TreePath) -> Result<(), LayerError> {
        self.placement.moved.insert(entry.path.clone(), target.clone());
        for dir in target.ancestors() {
            let meta = match self.beneath.get(&dir) {
                Some(node) if node.is_dir() => node.meta,
                Some(node) => return Err(conflict(&node.kind, &dir, BENEATH, entry)),
                None => Meta::default_dir(),
            };
            self.placement.added.insert(dir, meta);
        }
        Ok(())
    }
}

impl Placement {
    /// Whether the artifact's own blob is the layer.
    pub fn is_identity(&self) -> bool {
        self.moved.is_empty() && self.metadata.is_empty()
    }

    /// Whether every path of the artifact is where it was.
    pub fn keeps_paths(&self) -> bool {
        self.moved.is_empty()
    }

    /// The key of the placed layer: equal for equal differences of one artifact, and the same as
    /// of no other. `artifact` is the digest of the artifact's blob.
    pub fn key(&self, artifact: Digest) -> Digest {
        let mut hasher = Hasher::new();
        hasher.field(b"railyard placement 1").field(artifact.as_bytes());
        for (from, to) in &self.moved {
            hasher.field(b"moved").field(from.as_bytes()).field(to.as_bytes());
        }
        for (what, dirs) in [("metadata", &self.metadata), ("added", &self.added)] {
            for (path, meta) in dirs {
                hasher.field(what.as_bytes()).field(path.as_bytes());
                add_meta(&mut hasher, meta);
            }
        }
        hasher.finish()
    }

    /// What differs, for people: one line a path, in order.
    pub fn explain(&self) -> Vec<String> {
        let moved = self.moved.iter().map(|(from, to)| format!("`{from}` leads to `{to}`"));
        let metadata = self.metadata.iter().map(|(path, meta)| {
            format!("`{path}` keeps mode {:04o} and owner {}:{}", meta.mode, meta.uid, meta.gid)
        });
        moved.chain(metadata).collect()
    }

    /// Where a path of the artifact leads.
    pub fn real_path(&self, path: &TreePath) -> TreePath {
        if self.moved.is_empty() {
            return path.clone();
        }
        let mut dir = Some(path.clone());
        while let Some(at) = dir {
            if let Some(to) = self.moved.get(&at) {
                return to.join(path.strip_prefix(&at).unwrap_or_default());
            }
            dir = at.parent();
        }
        path.clone()
    }

    /// The artifact's entries where they are placed, in order.
    pub(crate) fn apply(&self, artifact: &LayerIndex) -> Result<Vec<Placed>, LayerError> {
        let placed = artifact.entries().iter().map(|entry| {
            let mut placed = entry.clone();
            placed.path = self.real_path(&entry.path);
            if entry.is_implied()
                && let Some(meta) = self.metadata.get(&placed.path)
            {
                placed.meta = meta.clone();
            }
            let source = if let Kind::File { offset, .. } = entry.kind { offset } else { 0 };
            (placed, source)
        });
        if self.moved.is_empty() {
            return Ok(placed.map(own).collect());
        }
        let mut merged: BTreeMap<(TreePath, u8), (Placed, &TreePath)> = BTreeMap::new();
        for (placed, origin) in placed.zip(artifact.entries()) {
            let key = (placed.0.path.clone(), placed.0.kind.rank());
            if let Some((there, path)) = merged.get(&key) {
                if !there.0.is_dir() || !placed.0.is_dir() {
                    return Err(conflict(&there.0.kind, path, SAME_PLACE, origin));
                }
                if placed.0.is_implied() {
                    continue;
                }
            }
            merged.insert(key, (placed, &origin.path));
        }
        for (path, meta) in &self.added {
            let dir = Entry::directory(path.clone(), meta.clone(), Placing::Implied);
            merged.entry((path.clone(), 1)).or_insert(((dir, 0), path));
        }
        let mut blocking: Option<(&Entry, &TreePath)> = None;
        for ((path, _), (placed, origin)) in &merged {
            if let Some((file, file_origin)) = blocking
                && path.starts_with(&file.path)
                && *path != file.path
            {
                let entry = Entry { path: (*origin).clone(), ..placed.0.clone() };
                return Err(conflict(&file.kind, file_origin, SAME_PLACE, &entry));
            }
            if placed.0.kind.is_real() && !placed.0.is_dir() {
                blocking = Some((&placed.0, origin));
            }
        }
        Ok(merged.into_values().map(|(placed, _)| own(placed)).collect())
    }
}

/// A placed entry is placed once and for all.
fn own((mut entry, source): Placed) -> Placed {
    entry.placing = Placing::Own;
    (entry, source)
}

fn conflict(there: &Kind, path: &TreePath, from: &str, entry: &Entry) -> LayerError {
    let standing = |kind: &Kind, path: &TreePath, from: &str| {
        Box::new(Standing { kind: kind.word(), path: path.clone(), from: from.to_owned() })
    };
    LayerError::Conflict {
        there: standing(there, path, from),
        wanted: standing(&entry.kind, &entry.path, "of the layer"),
    }
}
