//! Compression and hashing around a layer's tar.

use std::io::{self, BufRead, BufReader, Read, Write};

use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};

use super::LayerError;
use crate::oci::{
    Descriptor, DiffId, Digest, Hasher, MEDIA_DOCKER_LAYER_GZIP, MEDIA_LAYER, MEDIA_LAYER_GZIP,
    MEDIA_LAYER_ZSTD,
};

/// Bytes read or written at a time.
pub(crate) const CHUNK: usize = 256 << 10;
const MEDIA_DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
const MEDIA_DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";

/// Compression of a stored layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Codec {
    Plain,
    Gzip,
    Zstd,
}

/// Uncompresses a layer: the codec is told by the first bytes, whatever the media type says, as
/// registries hold layers whose type is wrong and engines read them.
///
/// # Errors
/// When the media type is of no layer, or the stream cannot be read.
pub fn uncompress<'r>(
    stored: impl Read + 'r,
    media_type: Option<&str>,
) -> Result<Box<dyn Read + 'r>, LayerError> {
    if let Some(media_type) = media_type {
        declared(media_type)?;
    }
    let mut stored = BufReader::with_capacity(CHUNK, stored);
    let error = |e| LayerError::io("read the layer", e);
    let codec = sniff(stored.fill_buf().map_err(error)?);
    Ok(match codec {
        Codec::Plain => Box::new(stored),
        Codec::Gzip => Box::new(MultiGzDecoder::new(stored)),
        Codec::Zstd => Box::new(zstd::Decoder::with_buffer(stored).map_err(error)?),
    })
}

/// The codec that a media type says (OCI layer.md and Docker's; foreign layers count as theirs).
fn declared(media_type: &str) -> Result<Codec, LayerError> {
    let media_type =
        media_type.replace("layer.nondistributable.", "layer.").replace("rootfs.foreign.", "rootfs.");
    match media_type.as_str() {
        MEDIA_LAYER | MEDIA_DOCKER_LAYER => Ok(Codec::Plain),
        MEDIA_LAYER_GZIP | MEDIA_DOCKER_LAYER_GZIP => Ok(Codec::Gzip),
        MEDIA_LAYER_ZSTD | MEDIA_DOCKER_LAYER_ZSTD => Ok(Codec::Zstd),
        _ => Err(LayerError::MediaType(media_type)),
    }
}

/// The codec by magic number (RFC 1952; RFC 8878, also its skippable frames).
fn sniff(start: &[u8]) -> Codec {
    match start {
        [0x1f, 0x8b, ..] => Codec::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Codec::Zstd,
        _ => Codec::Plain,
    }
}

/// A buffered reader that hashes all that passes.
pub(crate) struct Tap<R> {
    input: R,
    buffer: Vec<u8>,
    at: usize,
    filled: usize,
    hasher: Hasher,
    total: u64,
}

impl<R: Read> Tap<R> {
    pub fn new(input: R) -> Self {
        Self { input, buffer: vec![0; CHUNK], at: 0, filled: 0, hasher: Hasher::new(), total: 0 }
    }

    /// The hash and number of all bytes read from the input.
    pub fn finish(self) -> (Digest, u64) {
        (self.hasher.finish(), self.total)
    }
}

impl<R: Read> BufRead for Tap<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.filled {
            self.at = 0;
            self.filled = 0;
            // Decoders give little at a time: fill the buffer, so that hashing gets long runs.
            while self.filled < self.buffer.len() {
                match self.input.read(&mut self.buffer[self.filled..]) {
                    Ok(0) => break,
                    Ok(n) => self.filled += n,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => return Err(e),
                }
            }
            self.hasher.update(&self.buffer[..self.filled]);
            self.total += self.filled as u64;
        }
        Ok(&self.buffer[self.at..self.filled])
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

impl<R: Read> Read for Tap<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let ready = self.fill_buf()?;
        let take = ready.len().min(buf.len());
        buf[..take].copy_from_slice(&ready[..take]);
        self.consume(take);
        Ok(take)
    }
}

/// A writer that hashes and counts all that passes.
pub(crate) struct HashingWriter<W> {
    out: W,
    hasher: Hasher,
    total: u64,
}

impl<W: Write> HashingWriter<W> {
    fn new(out: W) -> Self {
        Self { out, hasher: Hasher::new(), total: 0 }
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.out.write(buf)?;
        self.hasher.update(&buf[..n]);
        self.total += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// gzip into `out`, hashing both sides. The gzip header has neither name nor time and names no
/// system; the same bytes and level give the same blob with one version of the encoder.
pub(crate) struct LayerSink<W: Write> {
    gzip: io::BufWriter<HashingWriter<GzEncoder<HashingWriter<W>>>>,
}

impl<W: Write> LayerSink<W> {
    pub fn new(out: W, level: u32) -> Self {
        let stored = HashingWriter::new(out);
        let gzip =
            GzBuilder::new().mtime(0).operating_system(255).write(stored, Compression::new(level.min(9)));
        Self { gzip: io::BufWriter::with_capacity(CHUNK, HashingWriter::new(gzip)) }
    }

    /// Ends the blob.
    pub fn finish(self) -> io::Result<(Descriptor, DiffId)> {
        let plain = self.gzip.into_inner().map_err(io::IntoInnerError::into_error)?;
        let mut stored = plain.out.finish()?;
        stored.flush()?;
        let descriptor = Descriptor::new(MEDIA_LAYER_GZIP, stored.hasher.finish(), stored.total);
        Ok((descriptor, DiffId(plain.hasher.finish())))
    }
}

impl<W: Write> Write for LayerSink<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.gzip.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.gzip.flush()
    }
}
