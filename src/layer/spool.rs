//! File contents on their way into a layer: one temporary file, contents one after the other.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::LayerError;
use crate::oci::{Digest, Hasher};

/// A temporary file of contents; deleted when dropped.
#[derive(Debug)]
pub(crate) struct Spool {
    out: BufWriter<File>,
    at: u64,
}

/// A content in a spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Content {
    pub offset: u64,
    pub size: u64,
    pub sha256: Digest,
}

/// A content being written.
pub(crate) struct Spooling<'s> {
    spool: &'s mut Spool,
    offset: u64,
    hasher: Hasher,
}

impl Spool {
    /// Opens a temporary file in `directory`.
    pub fn new(directory: &Path) -> Result<Self, LayerError> {
        let action = || format!("open a temporary file in `{}`", directory.display());
        let file = tempfile::tempfile_in(directory).map_err(|e| LayerError::io(action(), e))?;
        Ok(Self { out: BufWriter::with_capacity(256 << 10, file), at: 0 })
    }

    /// Begins a content.
    pub fn begin(&mut self) -> Spooling<'_> {
        let offset = self.at;
        Spooling { spool: self, offset, hasher: Hasher::new() }
    }

    /// Makes what was written readable.
    pub fn reader(self) -> Result<SpoolReader, LayerError> {
        let file =
            self.out.into_inner().map_err(|e| LayerError::io("write the spool file", e.into_error()))?;
        let file = BufReader::with_capacity(64 << 10, file);
        Ok(SpoolReader { file, at: u64::MAX, buffer: vec![0; 64 << 10] })
    }
}

impl Spooling<'_> {
    /// Adds bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), LayerError> {
        self.spool.out.write_all(bytes).map_err(|e| LayerError::io("write the spool file", e))?;
        self.spool.at += bytes.len() as u64;
        self.hasher.update(bytes);
        Ok(())
    }

    /// Adds all of a stream; `what` names it in errors.
    pub fn copy(&mut self, mut from: impl Read, what: &str) -> Result<(), LayerError> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => self.write(&buffer[..n])?,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(LayerError::io(format!("read {what}"), e)),
            }
        }
    }

    /// Ends the content.
    pub fn finish(self) -> Content {
        Content { offset: self.offset, size: self.spool.at - self.offset, sha256: self.hasher.finish() }
    }
}

/// Reads contents back.
#[derive(Debug)]
pub(crate) struct SpoolReader {
    file: BufReader<File>,
    /// Where the file is read next; it begins at its end.
    at: u64,
    buffer: Vec<u8>,
}

impl SpoolReader {
    /// Hands `size` bytes from `offset` on to `sink`, piece by piece.
    pub fn range(
        &mut self,
        offset: u64,
        size: u64,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), LayerError>,
    ) -> Result<(), LayerError> {
        let error = |e| LayerError::io("read the spool file", e);
        if self.at != offset {
            self.file.seek(SeekFrom::Start(offset)).map_err(error)?;
        }
        self.at = offset + size;
        let mut left = size;
        while left > 0 {
            let take = left.min(self.buffer.len() as u64) as usize;
            self.file.read_exact(&mut self.buffer[..take]).map_err(error)?;
            sink(&self.buffer[..take])?;
            left -= take as u64;
        }
        Ok(())
    }
}
