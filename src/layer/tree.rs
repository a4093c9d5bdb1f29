//! The merged view of layers: what a container on them would see.

use std::sync::Arc;

use super::entry::{Entry, Kind, Meta, Placing};
use super::index::LayerIndex;
use super::resolve::resolve;
use super::{LayerError, TreePath};

/// Layers merged as the OCI specification says (layer.md): upper entries replace lower ones,
/// directories merge, whiteouts and opaque marks hide what is beneath.
///
/// Cheap to clone and to stack on: nothing is merged before it is asked for.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// Lowest first.
    layers: Arc<[Arc<LayerIndex>]>,
}

/// A file, directory, link or device of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Where it is, without symbolic links.
    pub path: TreePath,
    /// What it is; never a whiteout. `HardLink` only when its target is missing.
    pub kind: Kind,
    /// Mode, owner, extended attributes.
    pub meta: Meta,
    /// Seconds since the epoch.
    pub mtime: i64,
    /// The layer that holds its content (0 is the lowest); of a directory, its metadata.
    pub layer: usize,
}

impl Node {
    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == Kind::Directory
    }
}

/// A directory of a tree: which part of which layer's entries lies beneath it.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    pub path: TreePath,
    /// Layers from the top, each with the range of entries strictly below the path.
    parts: Vec<Part>,
}

#[derive(Debug, Clone, Copy)]
struct Part {
    layer: usize,
    start: usize,
    end: usize,
}

/// What was found at a path.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub node: Node,
    /// Set for directories.
    pub directory: Option<Directory>,
}

impl Tree {
    /// The tree of some layers, lowest first.
    pub fn new(layers: Vec<Arc<LayerIndex>>) -> Self {
        Self { layers: layers.into() }
    }

    /// The tree with one more layer on top; what is beneath is shared.
    pub fn push(&self, layer: Arc<LayerIndex>) -> Self {
        Self { layers: self.layers.iter().cloned().chain([layer]).collect() }
    }

    /// The layers, lowest first.
    pub fn layers(&self) -> &[Arc<LayerIndex>] {
        &self.layers
    }

    /// What is at a path; symbolic links are not followed, neither in the last component nor
    /// before it. The root always exists.
    pub fn get(&self, path: &TreePath) -> Option<Node> {
        self.find(path).map(|found| found.node)
    }

    /// The path with symbolic links followed inside the root, `..` and absolute targets too; the
    /// last component's only with `follow_last`. What does not exist stays as it is written.
    ///
    /// # Errors
    /// [`LayerError::LinkLoop`] after 255 links.
    pub fn resolve(&self, path: &TreePath, follow_last: bool) -> Result<TreePath, LayerError> {
        resolve(path, follow_last, |at| match self.get(at)?.kind {
            Kind::Symlink { target } => Some(target),
            _ => None,
        })
    }

    /// What a directory holds directly, in order of name; nothing when it is no directory.
    pub fn children(&self, path: &TreePath) -> Vec<Node> {
        let directory = self.find(path).and_then(|found| found.directory);
        directory.map(|d| self.list(&d).into_iter().map(|f| f.node).collect()).unwrap_or_default()
    }

    /// What is at a path and below it, each directory directly before what it holds; links are
    /// not followed. Nothing when the path does not exist.
    pub fn walk(&self, path: &TreePath) -> Walk<'_> {
        Walk { tree: self, pending: self.find(path).into_iter().collect() }
    }

    /// The root as a directory.
    pub(crate) fn root(&self) -> Directory {
        let mut parts = Vec::new();
        for (layer, index) in self.layers.iter().enumerate().rev() {
            let entries = index.entries();
            let own = entries.iter().take_while(|e| e.path.is_root());
            let opaque = own.clone().any(|e| e.kind == Kind::Opaque);
            parts.push(Part { layer, start: own.count(), end: entries.len() });
            if opaque {
                break;
            }
        }
        Directory { path: TreePath::root(), parts }
    }

    /// What is at a path, with a handle on directories.
    pub(crate) fn find(&self, path: &TreePath) -> Option<Found> {
        let mut directory = self.root();
        if path.is_root() {
            return Some(Found { node: self.root_node(&directory), directory: Some(directory) });
        }
        let mut below = path.components().peekable();
        while let Some(name) = below.next() {
            let found = self.child(&directory, name)?;
            if below.peek().is_none() {
                return Some(found);
            }
            directory = found.directory?;
        }
        None
    }

    /// The entry of a name in a directory.
    pub(crate) fn child(&self, directory: &Directory, name: &[u8]) -> Option<Found> {
        let path = directory.path.join(name);
        let starts = directory.parts.iter().filter_map(|part| {
            let within = &self.layers[part.layer].entries()[part.start..part.end];
            let at = part.start + within.partition_point(|e| e.path < path);
            (at < part.end && self.layers[part.layer].entries()[at].path == path).then_some((*part, at))
        });
        self.merge(starts.collect())
    }

    /// What a directory holds directly, in order of name.
    pub(crate) fn list(&self, directory: &Directory) -> Vec<Found> {
        let mut heads: Vec<Part> = directory.parts.clone();
        let mut found = Vec::new();
        loop {
            heads.retain(|head| head.start < head.end);
            let path_of = |head: &Part| &self.layers[head.layer].entries()[head.start].path;
            let Some(first) = heads.iter().map(path_of).min() else { return found };
            let here: Vec<(Part, usize)> =
                heads.iter().filter(|h| path_of(h) == first).map(|h| (*h, h.start)).collect();
            for head in &mut heads {
                if here.iter().any(|(part, _)| part.layer == head.layer) {
                    head.start = self.layers[head.layer].end(head.start);
                }
            }
            found.extend(self.merge(here));
        }
    }

    /// Merges the entries of one path, each given by its part and its first place, top first.
    fn merge(&self, at: Vec<(Part, usize)>) -> Option<Found> {
        let mut node: Option<(Node, bool)> = None;
        let mut parts = Vec::new();
        // Below an opaque mark only the metadata of the directory itself still counts.
        let mut opaque = false;
        for (part, start) in at {
            let index = &self.layers[part.layer];
            let path = &index.entries()[start].path;
            let here = index.entries()[start..part.end].iter().take_while(|e| e.path == *path);
            if let Some(entry) = here.clone().find(|e| e.kind.is_real()) {
                if entry.is_dir() && !opaque {
                    parts.push(Part { start: start + here.clone().count(), end: index.end(start), ..part });
                }
                match &node {
                    None if !entry.is_dir() => {
                        let node = self.node(entry, part.layer);
                        return Some(Found { node, directory: None });
                    }
                    Some(_) if !entry.is_dir() => break,
                    Some((_, implied)) if !implied || entry.is_implied() => {}
                    _ => node = Some((self.node(entry, part.layer), entry.is_implied())),
                }
            }
            opaque |= here.clone().any(|e| e.kind == Kind::Opaque);
            let implied = node.as_ref().is_none_or(|(_, implied)| *implied);
            if here.clone().any(|e| e.kind == Kind::Whiteout) || (opaque && !implied) {
                break;
            }
        }
        let (node, _) = node?;
        let directory = Directory { path: node.path.clone(), parts };
        Some(Found { node, directory: Some(directory) })
    }

    fn node(&self, entry: &Entry, layer: usize) -> Node {
        if let Kind::HardLink { target } = &entry.kind
            && let Some(file) = self.linked(target, layer)
        {
            return Node { path: entry.path.clone(), ..file };
        }
        let Entry { path, kind, meta, mtime, .. } = entry.clone();
        Node { path, kind, meta, mtime, layer }
    }

    /// The file that a hard link of a layer leads to, in the layers beneath.
    fn linked(&self, target: &TreePath, layer: usize) -> Option<Node> {
        let beneath = Self::new(self.layers[..layer].to_vec());
        beneath.get(target).filter(|node| !node.is_dir() && !matches!(node.kind, Kind::HardLink { .. }))
    }

    fn root_node(&self, root: &Directory) -> Node {
        let entries = root.parts.iter().flat_map(|part| {
            let own = self.layers[part.layer].entries().iter().take_while(|e| e.path.is_root());
            own.filter(|e| e.is_dir() && e.placing != Placing::Implied).map(|e| (e, part.layer))
        });
        match entries.into_iter().next() {
            Some((entry, layer)) => self.node(entry, layer),
            None => Node {
                path: TreePath::root(),
                kind: Kind::Directory,
                meta: Meta::default_dir(),
                mtime: 0,
                layer: 0,
            },
        }
    }
}

/// Iterates over a subtree; see [`Tree::walk`].
#[derive(Debug)]
pub struct Walk<'t> {
    tree: &'t Tree,
    /// What comes next is last.
    pending: Vec<Found>,
}

impl Iterator for Walk<'_> {
    type Item = Node;

    fn next(&mut self) -> Option<Node> {
        let Found { node, directory } = self.pending.pop()?;
        if let Some(directory) = directory {
            self.pending.extend(self.tree.list(&directory).into_iter().rev());
        }
        Some(node)
    }
}
