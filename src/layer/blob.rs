//! Writing a layer's blob from entries and their contents.

use std::collections::HashMap;
use std::io::Write;

use super::archive::TarWriter;
use super::codec::LayerSink;
use super::entry::{Entry, Kind};
use super::index::LayerIndex;
use super::{LayerError, TreePath};
use crate::oci::{Descriptor, DiffId};

/// A layer that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerBlob {
    /// Media type (OCI, gzip), digest and size of the stored, compressed bytes.
    pub descriptor: Descriptor,
    /// Hash of the uncompressed tar.
    pub diff_id: DiffId,
    /// What the layer has; equal to what [`super::index_layer`] makes of the stored bytes.
    pub index: LayerIndex,
}

impl LayerBlob {
    /// Bytes of the uncompressed tar.
    pub fn uncompressed_size(&self) -> u64 {
        self.index.uncompressed_size()
    }
}

/// Where contents come from; `source` is what the entry was given with.
pub(crate) trait Contents {
    /// Hands the content of `source`, `size` bytes, to `sink`, piece by piece.
    fn read(
        &mut self,
        source: u64,
        size: u64,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), LayerError>,
    ) -> Result<(), LayerError>;
}

/// Writes entries as a gzip layer. They are in order, with all ancestors; `source` of a file names
/// its content, and files with the same source are one file: the first has the content, the
/// others become hard links to it.
pub(crate) fn write_layer(
    entries: Vec<(Entry, u64)>,
    contents: &mut dyn Contents,
    out: &mut dyn Write,
    level: u32,
) -> Result<LayerBlob, LayerError> {
    let error = |e| LayerError::io("write the layer", e);
    let mut tar = TarWriter::new(LayerSink::new(out, level));
    let mut first: HashMap<u64, (TreePath, u64)> = HashMap::new();
    let mut written = Vec::with_capacity(entries.len());
    for (mut entry, source) in entries {
        if let Kind::File { link, offset, .. } = &mut entry.kind {
            *link = None;
            if let Some((path, at)) = first.get(&source) {
                *link = Some(path.clone());
                *offset = *at;
            }
        }
        tar.entry(&entry).map_err(error)?;
        if let Kind::File { size, offset, link: None, .. } = &mut entry.kind {
            *offset = tar.position();
            first.insert(source, (entry.path.clone(), *offset));
            contents.read(source, *size, &mut |piece| tar.content(piece).map_err(error))?;
            if tar.position() - *offset != *size {
                return Err(LayerError::path(&entry.path, "its content has another size than its entry"));
            }
            tar.pad().map_err(error)?;
        }
        written.push(entry);
    }
    let (sink, size) = tar.finish().map_err(error)?;
    let (descriptor, diff_id) = sink.finish().map_err(error)?;
    Ok(LayerBlob { descriptor, diff_id, index: LayerIndex::of_sorted(written, size) })
}
