//! Blobs out of a repository: streamed to a file, hashed on the way and resumed where they break.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use reqwest::{Method, StatusCode};
use tempfile::TempPath;
use tokio::fs::File;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _, BufWriter};

use super::answer::Answer;
use super::auth::Scopes;
use super::client::{Call, HttpRegistry};
use super::host::Host;
use super::retry::{Attempts, Failure};
use super::{Progress, RegistryErrorKind};
use crate::http::Meter;
use crate::oci::{Descriptor, Digest, Hasher, RepositoryName};

/// Progress after which a download counts its tries anew, in bytes.
const PROGRESS: u64 = 1024 * 1024;

/// Bytes of a blob that have arrived.
struct Partial {
    file: BufWriter<File>,
    /// Removes the file when dropped.
    path: TempPath,
    hasher: Hasher,
    offset: u64,
    /// Whether the bytes come from more than one answer.
    is_joined: bool,
    meter: Meter,
}

impl HttpRegistry {
    /// Fetches a blob into a new file.
    pub(super) async fn download(
        &self,
        repository: &RepositoryName,
        descriptor: &Descriptor,
        target: &Path,
        progress: Progress,
    ) -> Result<(), RegistryErrorKind> {
        let host = self.host(repository)?;
        let mut partial = Partial::create(target, Meter::new(progress))?;
        let mut attempts = Attempts::new(&self.retry);
        loop {
            let before = partial.offset;
            match self.resume(&host, &repository.repository, descriptor, &mut partial).await {
                Ok(()) => break,
                Err(failure) => {
                    if partial.offset.saturating_sub(before) >= PROGRESS {
                        attempts.reset();
                    }
                    attempts.wait(&host.budget, failure).await?;
                }
            }
        }
        partial.keep(target).await
    }

    /// Fetches what is missing and verifies the whole.
    async fn resume(
        &self,
        host: &Host,
        repository: &str,
        descriptor: &Descriptor,
        partial: &mut Partial,
    ) -> Result<(), Failure> {
        if partial.offset < descriptor.size || descriptor.size == 0 {
            let mut call = blob_call(host, repository, descriptor);
            if partial.offset > 0 {
                call = call.header("range", format!("bytes={}-", partial.offset));
            }
            let answer = self.send(host, &call).await?;
            partial.take(answer, descriptor.size).await?;
        }
        if partial.offset < descriptor.size {
            let (got, wanted) = (partial.offset, descriptor.size);
            return Err(RegistryErrorKind::Transport(format!(
                "the blob ended after {got} of {wanted} bytes"
            ))
            .into());
        }
        let got = partial.hasher.clone().finish();
        if got != descriptor.digest {
            // Pieces that do not fit together are worth one more try as a whole.
            let restart = partial.is_joined;
            partial.clear().await?;
            let kind = RegistryErrorKind::Mismatch { wanted: descriptor.digest, got };
            return Err(Failure { restart, ..kind.into() });
        }
        Ok(())
    }

    /// A small blob in memory.
    pub(super) async fn read_blob(
        &self,
        repository: &RepositoryName,
        descriptor: &Descriptor,
    ) -> Result<Bytes, RegistryErrorKind> {
        let host = self.host(repository)?;
        let limit = usize::try_from(descriptor.size).unwrap_or(usize::MAX);
        let reply = self.call(&host, &blob_call(&host, &repository.repository, descriptor), limit).await?;
        if reply.status == StatusCode::NOT_FOUND {
            return Err(RegistryErrorKind::NotFound);
        }
        let got = Digest::of(&reply.body);
        if got != descriptor.digest {
            return Err(RegistryErrorKind::Mismatch { wanted: descriptor.digest, got });
        }
        if reply.body.len() != limit {
            let (got, wanted) = (reply.body.len(), descriptor.size);
            return Err(RegistryErrorKind::Malformed(format!(
                "the blob has {got} bytes, its descriptor says {wanted}"
            )));
        }
        Ok(reply.body)
    }
}

fn blob_call(host: &Host, repository: &str, descriptor: &Descriptor) -> Call {
    let url = host.url(repository, &format!("blobs/{}", descriptor.digest));
    Call::new(Method::GET, url, Scopes::pull(repository))
}

impl Partial {
    fn create(target: &Path, meter: Meter) -> Result<Self, RegistryErrorKind> {
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.map_or_else(|| PathBuf::from("."), Path::to_path_buf);
        let mut builder = tempfile::Builder::new();
        builder.prefix(".fetch-");
        #[cfg(unix)]
        {
            // Temporary files are private by default; a blob is as public as the umask lets it be.
            use std::os::unix::fs::PermissionsExt as _;
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let file = builder.tempfile_in(&folder).map_err(|error| RegistryErrorKind::file(&folder, error))?;
        let (file, path) = file.into_parts();
        let file = BufWriter::with_capacity(256 * 1024, File::from_std(file));
        Ok(Self { file, path, hasher: Hasher::new(), offset: 0, is_joined: false, meter })
    }

    /// Takes in one answer, from where it says it starts.
    async fn take(&mut self, mut answer: Answer<'_>, size: u64) -> Result<(), Failure> {
        match answer.status() {
            StatusCode::OK => self.clear().await?,
            StatusCode::PARTIAL_CONTENT if starts_at(answer.header("content-range")) == Some(self.offset) => {
                self.is_joined = self.offset > 0;
            }
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                self.clear().await?;
                let kind = RegistryErrorKind::Malformed("the registry answered another range".into());
                return Err(Failure { restart: true, ..kind.into() });
            }
            StatusCode::NOT_FOUND => return Err(RegistryErrorKind::NotFound.into()),
            _ => return Err(answer.failure().await),
        }
        while let Some(chunk) = answer.chunk().await? {
            if self.offset + chunk.len() as u64 > size {
                let kind = format!("the blob has more than the {size} bytes its descriptor says");
                return Err(RegistryErrorKind::Malformed(kind).into());
            }
            self.file.write_all(&chunk).await.map_err(|error| RegistryErrorKind::file(&self.path, error))?;
            self.hasher.update(&chunk);
            self.offset += chunk.len() as u64;
            self.meter.advance(chunk.len() as u64);
        }
        Ok(())
    }

    /// Starts over.
    async fn clear(&mut self) -> Result<(), RegistryErrorKind> {
        let cleared = async {
            self.file.flush().await?;
            self.file.get_mut().set_len(0).await?;
            self.file.get_mut().rewind().await
        };
        cleared.await.map_err(|error| RegistryErrorKind::file(&self.path, error))?;
        self.hasher = Hasher::new();
        self.offset = 0;
        self.is_joined = false;
        self.meter.restart(0);
        Ok(())
    }

    /// Gives the file its name.
    async fn keep(mut self, target: &Path) -> Result<(), RegistryErrorKind> {
        let failed = |error| RegistryErrorKind::file(target, error);
        self.file.flush().await.map_err(failed)?;
        self.path.persist(target).map_err(|error| failed(error.error))
    }
}

/// The first byte of a `Content-Range: bytes FIRST-LAST/SIZE`.
pub(super) fn starts_at(header: Option<&str>) -> Option<u64> {
    header?.trim().strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_say_where_they_start() {
        assert_eq!(starts_at(Some("bytes 10-19/20")), Some(10));
        assert_eq!(starts_at(Some("bytes 0-19/*")), Some(0));
        for bad in ["bytes */20", "10-19/20", "bytes x-1/2", ""] {
            assert_eq!(starts_at(Some(bad)), None, "{bad}");
        }
        assert_eq!(starts_at(None), None);
    }
}
