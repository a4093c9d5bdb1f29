//! An artifact had again from a layer that it was placed as.

use std::io::{Read, Write};

use serde::{Deserialize, Serialize};

use super::blob::{LayerBlob, write_layer};
use super::codec::uncompress;
use super::copy::Ranges;
use super::entry::{Entry, Meta, Placing};
use super::index::LayerIndex;
use super::place::Placement;
use super::{LayerError, TreePath};

/// What a placed layer no longer says about its artifact. The artifact's blob need then not be kept
/// or sent beside the placed one: it is a few directories' metadata away from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restoration {
    marks: Vec<Mark>,
}

/// An entry of the artifact that gives way to what is beneath.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    path: TreePath,
    placing: Placing,
    meta: Meta,
}

/// The most marks that are worth carrying in a record.
const MOST_MARKS: usize = 64;

impl Restoration {
    /// How `artifact` is had again from where it was placed; `None` where links led parts of it elsewhere,
    /// or where that would take too many words.
    pub fn of(artifact: &LayerIndex, placement: &Placement) -> Option<Self> {
        if !placement.keeps_paths() {
            return None;
        }
        let gives_way = artifact.entries().iter().filter(|entry| entry.placing != Placing::Own);
        let marks: Vec<Mark> = gives_way
            .take(MOST_MARKS + 1)
            .map(|entry| Mark { path: entry.path.clone(), placing: entry.placing, meta: entry.meta.clone() })
            .collect();
        (marks.len() <= MOST_MARKS).then_some(Self { marks })
    }

    fn undo(&self, mut entry: Entry) -> Entry {
        let real = entry.kind.is_real();
        if let Some(mark) = self.marks.iter().find(|mark| real && mark.path == entry.path) {
            entry.placing = mark.placing;
            entry.meta = mark.meta.clone();
        }
        entry
    }
}

/// Writes the artifact that was placed as `placed`; `stored` gives that layer's blob. With the same gzip
/// level the blob is the artifact's own.
///
/// # Errors
/// When reading or writing fails, or the blob is not the index's.
pub fn write_restored(
    stored: impl Read,
    placed: &LayerIndex,
    restoration: &Restoration,
    mut out: impl Write,
    level: u32,
) -> Result<LayerBlob, LayerError> {
    let entries = placed.entries().iter().map(|entry| {
        let source = if let super::Kind::File { offset, .. } = entry.kind { offset } else { 0 };
        (restoration.undo(entry.clone()), source)
    });
    let mut contents = Ranges::new(uncompress(stored, None)?);
    write_layer(entries.collect(), &mut contents, &mut out, level)
}
