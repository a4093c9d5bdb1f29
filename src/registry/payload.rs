//! Request bodies that can be sent again.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _, stream};
use reqwest::header::CONTENT_LENGTH;
use reqwest::{Body, RequestBuilder};
use tokio_util::io::ReaderStream;

use super::{BlobSource, RegistryErrorKind};
use crate::http::Meter;

/// Bytes handed over at once.
const PIECE: usize = 128 * 1024;

/// Bytes of a blob that arrive from elsewhere: each call gives them from the beginning.
#[derive(Clone)]
pub struct BlobStream(pub Arc<dyn Fn() -> BoxStream<'static, io::Result<Bytes>> + Send + Sync>);

impl std::fmt::Debug for BlobStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BlobStream")
    }
}

/// The body of a request.
pub(super) enum Payload {
    /// None.
    Empty,
    /// A document.
    Bytes(Bytes),
    /// A blob, streamed and counted.
    Blob(BlobBody),
}

/// A blob on its way.
pub(super) struct BlobBody {
    source: BlobSource,
    size: u64,
    meter: Meter,
    /// A local file that failed half-way looks like a broken connection; here is the true reason.
    error: Arc<Mutex<Option<io::Error>>>,
}

impl BlobBody {
    /// A body of `size` bytes.
    pub(super) fn new(source: BlobSource, size: u64, meter: Meter) -> Self {
        Self { source, size, meter, error: Arc::default() }
    }

    async fn open(&self) -> Result<Body, RegistryErrorKind> {
        self.meter.restart(0);
        match &self.source {
            BlobSource::Bytes(bytes) => {
                let pieces = (0..bytes.len()).step_by(PIECE);
                let pieces: Vec<io::Result<Bytes>> =
                    pieces.map(|at| Ok(bytes.slice(at..bytes.len().min(at + PIECE)))).collect();
                Ok(self.counted(stream::iter(pieces)))
            }
            BlobSource::File(path) => {
                let failed = |error| RegistryErrorKind::file(path, error);
                let file = tokio::fs::File::open(path).await.map_err(failed)?;
                Ok(self.counted(ReaderStream::with_capacity(file, PIECE)))
            }
            BlobSource::Stream(stream) => Ok(self.counted((stream.0)())),
        }
    }

    fn counted(&self, pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Body {
        let (meter, slot) = (self.meter.clone(), self.error.clone());
        Body::wrap_stream(pieces.map(move |piece| match piece {
            Ok(piece) => {
                meter.advance(piece.len() as u64);
                Ok(piece)
            }
            Err(error) => {
                let kind = error.kind();
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Err(io::Error::from(kind))
            }
        }))
    }

    fn path(&self) -> &Path {
        match &self.source {
            BlobSource::File(path) => path,
            BlobSource::Bytes(_) | BlobSource::Stream(_) => Path::new(""),
        }
    }
}

impl Payload {
    /// Puts the body, from its beginning, on a request.
    pub(super) async fn attach(&self, request: RequestBuilder) -> Result<RequestBuilder, RegistryErrorKind> {
        Ok(match self {
            Self::Empty => request,
            Self::Bytes(bytes) => request.body(bytes.clone()),
            // A stream of unknown length would go out in chunks, which many registries refuse.
            Self::Blob(blob) => request.header(CONTENT_LENGTH, blob.size).body(blob.open().await?),
        })
    }

    /// The counter of a streamed body, and its size in bytes.
    pub(super) fn meter(&self) -> Option<(&Meter, u64)> {
        match self {
            Self::Blob(blob) => Some((&blob.meter, blob.size)),
            Self::Empty | Self::Bytes(_) => None,
        }
    }

    /// The local reason for which sending broke off.
    pub(super) fn take_error(&self) -> Option<RegistryErrorKind> {
        let Self::Blob(blob) = self else { return None };
        let error = blob.error.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(RegistryErrorKind::file(blob.path(), error))
    }
}
