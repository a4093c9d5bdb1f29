//! A hash of trees by content.

use std::collections::HashMap;

use super::entry::{Kind, Meta};
use super::tree::Node;
use super::{LayerError, Tree, TreePath};
use crate::oci::{Digest, Hasher};

/// Hashes the named trees: paths, types, modes, owners, extended attributes, link targets and
/// contents, no times. Symbolic links in the named paths are followed; how the files are split
/// into layers or linked to each other does not matter. A path that does not exist counts as such.
///
/// # Errors
/// When a path has `..`, or its links lead in a circle.
pub fn tree_digest(tree: &Tree, paths: &[String]) -> Result<Digest, LayerError> {
    let mut hasher = Hasher::new();
    hasher.field(b"railyard tree 1");
    for path in paths {
        let named = TreePath::parse(path)?;
        let real = tree.resolve(&named, true)?;
        hasher.field(named.as_bytes());
        let mut count: u64 = 0;
        for node in tree.walk(&real) {
            count += 1;
            add_node(&mut hasher, &node, node.path.strip_prefix(&real).unwrap_or_default());
        }
        // The number ends the list: what follows cannot be taken for one more node.
        hasher.field(b"").field(&count.to_le_bytes());
    }
    Ok(hasher.finish())
}

/// Hashes what [`super::ArtifactBuilder::copy`] takes over of each path: paths, types, modes, owners,
/// extended attributes, link targets, contents, *times*, and which names are one file. How the files
/// are split into layers does not matter. A path that does not exist counts as such.
///
/// # Errors
/// When a path has `..`, or its links lead in a circle.
pub fn copy_digest(tree: &Tree, path: &str) -> Result<Digest, LayerError> {
    let mut hasher = Hasher::new();
    hasher.field(b"railyard copy 1");
    let real = tree.resolve(&TreePath::parse(path)?, true)?;
    let mut names: HashMap<(usize, u64), u64> = HashMap::new();
    let mut count: u64 = 0;
    for node in tree.walk(&real) {
        count += 1;
        if node.is_dir() && node.path == real {
            // The destination's own metadata is not the source's.
            hasher.field(b"top");
            continue;
        }
        add_node(&mut hasher, &node, node.path.strip_prefix(&real).unwrap_or_default());
        hasher.field(&node.mtime.to_le_bytes());
        if let Kind::File { offset, .. } = node.kind {
            let first = *names.entry((node.layer, offset)).or_insert(count);
            hasher.field(&first.to_le_bytes());
        }
    }
    hasher.field(b"").field(&count.to_le_bytes());
    Ok(hasher.finish())
}

fn add_node(hasher: &mut Hasher, node: &Node, relative: &[u8]) {
    hasher.field(b"node").field(relative);
    add_meta(hasher, &node.meta);
    hasher.field(node.kind.word().as_bytes());
    match &node.kind {
        Kind::File { sha256, .. } => hasher.field(sha256.as_bytes()),
        Kind::Symlink { target } => hasher.field(target),
        Kind::HardLink { target } => hasher.field(target.as_bytes()),
        Kind::CharDevice { major, minor } => hasher.field(format!("c {major} {minor}").as_bytes()),
        Kind::BlockDevice { major, minor } => hasher.field(format!("b {major} {minor}").as_bytes()),
        Kind::Directory | Kind::Fifo | Kind::Whiteout | Kind::Opaque => hasher,
    };
}

/// Adds mode, owner and extended attributes.
pub(crate) fn add_meta(hasher: &mut Hasher, meta: &Meta) {
    let Meta { mode, uid, gid, xattrs } = meta;
    hasher.field(format!("{mode:o} {uid} {gid} {}", xattrs.len()).as_bytes());
    for xattr in xattrs {
        hasher.field(&xattr.name).field(&xattr.value);
    }
}
