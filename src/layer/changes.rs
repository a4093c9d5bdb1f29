//! The layer of what a step on a base changed.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::path::Path;

use super::archive::{MemberKind, TarReader};
use super::blob::LayerBlob;
use super::codec::{Tap, uncompress};
use super::entry::{Entry, Kind, Placing};
use super::index::Indexer;
use super::staging::Staging;
use super::{LayerError, NORMALISED_MTIME, Tree, TreePath};

/// Files that engines put into containers.
const ENGINE_FILES: [&str; 4] = ["etc/resolv.conf", "etc/hosts", "etc/hostname", ".dockerenv"];
/// Directories that engines mount over, with all they hold.
const ENGINE_TREES: [&str; 4] = ["dev", "proc", "sys", "run/secrets"];

/// How changes become a layer.
#[derive(Debug)]
pub struct ChangesSpec<'a> {
    /// What the step ran on.
    pub beneath: &'a Tree,
    /// Directories that were mounted during the step (caches, secrets): where they are empty and
    /// did not exist, they and the empty directories made to hold them are dropped.
    pub mounts: &'a [TreePath],
    /// Where contents are spooled.
    pub spool_dir: &'a Path,
    /// The gzip level.
    pub level: u32,
    /// Modification times up to this one, in seconds since the epoch, are kept: those of files that
    /// are older than the step.
    pub keep_until: Option<i64>,
}

/// Makes a canonical layer of the tar of changes that an engine committed, compressed or not: whiteouts and opaque
/// marks kept, times [`NORMALISED_MTIME`] but for those that are to be kept, in order of path.
///
/// Dropped are the files and mount points that engines make (`/etc/resolv.conf`, `/etc/hosts`,
/// `/etc/hostname`, `/.dockerenv`; `/dev`, `/proc`, `/sys` and `/run/secrets` with all they hold),
/// empty mount points, and directories that hold no change and have the metadata they had.
/// The index of the result is empty when nothing was changed.
///
/// # Errors
/// When the tar is malformed or writing fails.
pub fn normalise_changes(
    changes: impl Read,
    spec: &ChangesSpec<'_>,
    mut out: impl Write,
) -> Result<LayerBlob, LayerError> {
    let mut staging = Staging::new(spec.spool_dir)?;
    let mut indexer = Indexer::default();
    // The content at each offset of the tar.
    let mut sources = HashMap::new();
    let mut tar = TarReader::new(Tap::new(uncompress(changes, None)?));
    while let Some(member) = tar.next_member()? {
        let mut sha256 = crate::oci::Digest::from([0; 32]);
        if member.kind == MemberKind::File {
            let mut spooling = staging.spool.begin();
            tar.content(|piece| spooling.write(piece))?;
            let content = spooling.finish();
            sha256 = content.sha256;
            sources.insert(member.offset, staging.content(content));
        }
        indexer.add(member, sha256)?;
    }
    let dropped = [ENGINE_FILES, ENGINE_TREES].concat();
    let dropped = dropped.iter().map(TreePath::parse).collect::<Result<Vec<_>, _>>()?;
    for mut entry in indexer.finish()? {
        if dropped.iter().any(|path| entry.path.starts_with(path)) {
            continue;
        }
        if entry.kind.is_real() && spec.keep_until.is_none_or(|until| entry.mtime > until) {
            entry.mtime = NORMALISED_MTIME;
        }
        let source = match entry.kind {
            Kind::File { offset, .. } => sources[&offset],
            _ => 0,
        };
        staging.insert(entry, source);
    }
    drop_mount_points(&mut staging, spec);
    drop_unchanged_directories(&mut staging, spec.beneath);
    staging.finish(&mut out, spec.level)
}

fn drop_mount_points(staging: &mut Staging, spec: &ChangesSpec<'_>) {
    let secrets = TreePath::parse("run/secrets").unwrap_or_default();
    for mount in spec.mounts.iter().chain([&secrets]) {
        let mut dirs: Vec<TreePath> = mount.ancestors().collect();
        dirs.push(mount.clone());
        for dir in dirs.iter().rev() {
            let made = staging.get(dir).is_none_or(|item| item.entry.is_dir());
            if !made || staging.has_below(dir) || spec.beneath.get(dir).is_some() {
                break;
            }
            if let Some(entry) = staging.get(dir).map(|item| item.entry.clone()) {
                staging.remove(&entry);
            }
        }
    }
}

/// Deepest first, so that a directory whose directories are dropped is looked at without them.
/// Implied directories get the metadata they have beneath.
fn drop_unchanged_directories(staging: &mut Staging, beneath: &Tree) {
    let dirs: Vec<Entry> = staging.items().rev().map(|i| &i.entry).filter(|e| e.is_dir()).cloned().collect();
    for mut dir in dirs {
        let there = beneath.get(&dir.path).filter(super::Node::is_dir);
        if let Some(there) = &there
            && dir.is_implied()
        {
            dir.meta = there.meta.clone();
        }
        dir.placing = Placing::Own;
        let same = there.is_some_and(|there| there.meta == dir.meta);
        // A mark at the path itself (replaced, opaque) is a change too.
        if same && !staging.has_below(&dir.path) && !staging.is_marked(&dir.path) {
            staging.remove(&dir);
        } else {
            staging.insert(dir, 0);
        }
    }
}
