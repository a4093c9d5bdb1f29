//! Blobs out of one repository into another, without keeping them here.
//!
//! Between two registries the bytes are streamed: what the source sends is the body of the upload.
//! Where the source breaks off it is resumed; where the target does, the upload starts over.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt as _;
use reqwest::{Method, StatusCode};
use tokio::sync::mpsc;

use super::auth::Scopes;
use super::client::{Call, HttpRegistry};
use super::host::Host;
use super::payload::BlobStream;
use super::retry::{Attempts, Failure};
use super::{BlobSource, Progress, RegistryError, RegistryErrorKind, Upload};
use crate::oci::{Descriptor, Digest, Hasher, RepositoryName};

/// Pieces on their way between the two connections.
const PIECES: usize = 8;
/// Progress after which the source's tries are counted anew, in bytes.
const PROGRESS: u64 = 1024 * 1024;

/// Whoever takes the pieces of one upload.
type Sink = mpsc::Sender<io::Result<Bytes>>;

/// What of a blob has been handed on.
struct Flow {
    offset: u64,
    hasher: Hasher,
}

impl HttpRegistry {
    /// Brings a blob from one repository into another: looked up, mounted, or streamed.
    pub(super) async fn relay(
        &self,
        from: &RepositoryName,
        to: &RepositoryName,
        descriptor: &Descriptor,
        mount_from: Option<&RepositoryName>,
        progress: Progress,
    ) -> Result<Upload, RegistryError> {
        let pushing =
            |kind: RegistryErrorKind| kind.during(format!("push blob `{}` to `{to}`", descriptor.digest));
        if from.registry == to.registry {
            let mount_from = Some(mount_from.unwrap_or(from));
            let mounted = self.upload(to, descriptor, mount_from, None, progress.clone()).await;
            return match mounted {
                // Both ends would share one budget, and could wait for each other: by way of a file.
                Err(RegistryErrorKind::NotMounted) => self.relay_file(from, to, descriptor, progress).await,
                other => other.map_err(pushing),
            };
        }
        let (openings, mut opened) = mpsc::unbounded_channel::<Sink>();
        let stream = BlobStream(Arc::new(move || {
            let (sink, pieces) = mpsc::channel(PIECES);
            // It is received until the upload is over.
            let _ = openings.send(sink);
            futures_util::stream::unfold(pieces, |mut pieces| async {
                let piece = pieces.recv().await?;
                Some((piece, pieces))
            })
            .boxed()
        }));
        let broken: Mutex<Option<RegistryErrorKind>> = Mutex::default();
        let feed = async {
            while let Some(sink) = opened.recv().await {
                if let Err(kind) = self.feed(from, descriptor, &sink).await {
                    let words = io::Error::other(kind.to_string());
                    *broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(kind);
                    let _ = sink.send(Err(words)).await;
                }
            }
            std::future::pending().await
        };
        let upload = self.upload(to, descriptor, mount_from, Some(BlobSource::Stream(stream)), progress);
        let result = tokio::select! {
            result = upload => result,
            never = feed => never,
        };
        result.map_err(|kind| match broken.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(source) => source.during(format!("fetch blob `{}` from `{from}`", descriptor.digest)),
            None => pushing(kind),
        })
    }

    async fn relay_file(
        &self,
        from: &RepositoryName,
        to: &RepositoryName,
        descriptor: &Descriptor,
        progress: Progress,
    ) -> Result<Upload, RegistryError> {
        let action = || format!("copy blob `{}` from `{from}` to `{to}`", descriptor.digest);
        let temporary = std::env::temp_dir();
        let folder = tempfile::tempdir_in(&temporary)
            .map_err(|error| RegistryErrorKind::file(&temporary, error).during(action()))?;
        let path = folder.path().join("blob");
        let silent: Progress = Arc::new(|_| {});
        self.download(from, descriptor, &path, silent).await.map_err(|kind| kind.during(action()))?;
        let source = Some(BlobSource::File(path));
        self.upload(to, descriptor, None, source, progress).await.map_err(|kind| kind.during(action()))
    }

    /// Hands a blob on, from its beginning, until all is sent or the taker has gone.
    async fn feed(
        &self,
        from: &RepositoryName,
        descriptor: &Descriptor,
        sink: &Sink,
    ) -> Result<(), RegistryErrorKind> {
        let host = self.host(from)?;
        let mut flow = Flow { offset: 0, hasher: Hasher::new() };
        let mut attempts = Attempts::new(&self.retry);
        while flow.offset < descriptor.size && !sink.is_closed() {
            let before = flow.offset;
            if let Err(failure) = self.pour(&host, &from.repository, descriptor, &mut flow, sink).await {
                if flow.offset - before >= PROGRESS {
                    attempts.reset();
                }
                attempts.wait(&host.budget, failure).await?;
            }
        }
        Ok(())
    }

    /// Hands on what one answer has.
    async fn pour(
        &self,
        host: &Host,
        repository: &str,
        descriptor: &Descriptor,
        flow: &mut Flow,
        sink: &Sink,
    ) -> Result<(), Failure> {
        let size = descriptor.size;
        let url = host.url(repository, &format!("blobs/{}", descriptor.digest));
        let mut call = Call::new(Method::GET, url, Scopes::pull(repository));
        if flow.offset > 0 {
            call = call.header("range", format!("bytes={}-", flow.offset));
        }
        let mut answer = self.send(host, &call).await?;
        // A registry that knows no ranges sends the whole again.
        let mut skip = match answer.status() {
            StatusCode::OK => flow.offset,
            StatusCode::PARTIAL_CONTENT => {
                let range = answer.header("content-range");
                if super::download::starts_at(range) != Some(flow.offset) {
                    let kind = RegistryErrorKind::Malformed("the registry answered another range".into());
                    return Err(kind.into());
                }
                0
            }
            StatusCode::NOT_FOUND => return Err(RegistryErrorKind::NotFound.into()),
            _ => return Err(answer.failure().await),
        };
        while let Some(mut chunk) = answer.chunk().await? {
            if skip > 0 {
                let passed = skip.min(chunk.len() as u64);
                chunk = chunk.slice(passed as usize..);
                skip -= passed;
                if chunk.is_empty() {
                    continue;
                }
            }
            flow.hasher.update(&chunk);
            flow.offset += chunk.len() as u64;
            if flow.offset > size {
                let kind = format!("the blob has more than the {size} bytes its descriptor says");
                return Err(RegistryErrorKind::Malformed(kind).into());
            }
            // The last piece is held back until the whole is known to be right.
            if flow.offset == size {
                verify(descriptor.digest, &flow.hasher)?;
            }
            if sink.send(Ok(chunk)).await.is_err() {
                return Ok(());
            }
        }
        if flow.offset < size {
            let (got, wanted) = (flow.offset, size);
            let kind = RegistryErrorKind::Transport(format!("the blob ended after {got} of {wanted} bytes"));
            return Err(kind.into());
        }
        Ok(())
    }
}

fn verify(wanted: Digest, hasher: &Hasher) -> Result<(), RegistryErrorKind> {
    let got = hasher.clone().finish();
    if got == wanted { Ok(()) } else { Err(RegistryErrorKind::Mismatch { wanted, got }) }
}
