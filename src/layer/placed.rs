//! Writing the blob of a placed layer.

use std::io::{Read, Write};
use std::path::Path;

use super::LayerError;
use super::blob::{Contents, LayerBlob, write_layer};
use super::codec::uncompress;
use super::copy::Ranges;
use super::entry::Kind;
use super::index::LayerIndex;
use super::place::Placement;
use super::spool::{Spool, SpoolReader};

/// Writes an artifact as it is placed. `stored` gives the artifact's blob; it is read once, and
/// passes through a temporary file in `spool_dir` only when links in the way change the order.
///
/// # Errors
/// When reading or writing fails, or the blob is not the index's.
pub fn write_placed(
    stored: impl Read,
    artifact: &LayerIndex,
    placement: &Placement,
    spool_dir: &Path,
    mut out: impl Write,
    level: u32,
) -> Result<LayerBlob, LayerError> {
    let entries = placement.apply(artifact)?;
    let stream = uncompress(stored, None)?;
    let mut read_up_to = 0;
    let in_order = entries.iter().all(|(entry, offset)| match entry.kind {
        Kind::File { link: None, .. } => {
            let behind = *offset >= read_up_to;
            read_up_to = *offset;
            behind
        }
        Kind::File { .. } => *offset <= read_up_to,
        _ => true,
    });
    if in_order {
        return write_layer(entries, &mut Ranges::new(stream), &mut out, level);
    }
    let mut spool = Spool::new(spool_dir)?;
    spool.begin().copy(stream, "the layer")?;
    write_layer(entries, &mut spool.reader()?, &mut out, level)
}

impl<R: Read> Contents for Ranges<R> {
    fn read(
        &mut self,
        source: u64,
        size: u64,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), LayerError>,
    ) -> Result<(), LayerError> {
        Ranges::read(self, source, size, sink)
    }
}

impl Contents for SpoolReader {
    fn read(
        &mut self,
        source: u64,
        size: u64,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), LayerError>,
    ) -> Result<(), LayerError> {
        self.range(source, size, sink)
    }
}
