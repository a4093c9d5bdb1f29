//! Registries: a small trait, the HTTP client behind it, and a fake for faults.
//!
//! Speaks the OCI distribution specification 1.1. Retry, authentication and the request budget live
//! in the client; concurrency between blobs lives in the dispatcher.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::oci::{Descriptor, Digest, Reference, RepositoryName};

/// Bytes of a blob to upload.
#[derive(Debug, Clone)]
pub enum BlobSource {
    /// A file whose whole content is the blob.
    File(PathBuf),
    /// Bytes in memory.
    Bytes(Bytes),
}

/// How a blob came to be in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upload {
    /// It was there.
    Existed,
    /// The registry linked it from another of its repositories.
    Mounted,
    /// Its bytes were sent.
    Sent {
        /// How many.
        bytes: u64,
    },
}

/// Called with the number of bytes moved since the last call.
pub type Progress = Arc<dyn Fn(u64) + Send + Sync>;

/// What railyard asks of a registry. One value serves every registry host.
pub trait Registry: Send + Sync {
    /// `HEAD` of a manifest: its descriptor, or `None` where there is none.
    fn head<'a>(
        &'a self,
        reference: &'a Reference,
    ) -> BoxFuture<'a, Result<Option<Descriptor>, RegistryError>>;

    /// A manifest's (or index's) bytes, verified against the digest, or `None` where there is none.
    fn manifest<'a>(
        &'a self,
        reference: &'a Reference,
    ) -> BoxFuture<'a, Result<Option<(Descriptor, Bytes)>, RegistryError>>;

    /// Puts a manifest by tag or by digest; returns nothing as the caller knows the digest.
    fn put_manifest<'a>(
        &'a self,
        reference: &'a Reference,
        media_type: &'a str,
        bytes: Bytes,
    ) -> BoxFuture<'a, Result<(), RegistryError>>;

    /// Whether a repository has a blob.
    fn has_blob<'a>(
        &'a self,
        repository: &'a RepositoryName,
        digest: Digest,
    ) -> BoxFuture<'a, Result<bool, RegistryError>>;

    /// Brings a blob into a repository: `HEAD` first, then a mount from `mount_from` (same registry)
    /// where given, then an upload. With no `source`, a refused mount is [`RegistryErrorKind::NotMounted`].
    fn push_blob<'a>(
        &'a self,
        repository: &'a RepositoryName,
        descriptor: &'a Descriptor,
        mount_from: Option<&'a RepositoryName>,
        source: Option<BlobSource>,
        progress: Progress,
    ) -> BoxFuture<'a, Result<Upload, RegistryError>>;

    /// Fetches a blob into a new file at `target` (through a temporary beside it), verified by
    /// digest and size; resumes after a broken connection.
    fn fetch_blob<'a>(
        &'a self,
        repository: &'a RepositoryName,
        descriptor: &'a Descriptor,
        target: &'a std::path::Path,
        progress: Progress,
    ) -> BoxFuture<'a, Result<(), RegistryError>>;

    /// A small blob (a configuration) in memory, verified by digest.
    fn blob_bytes<'a>(
        &'a self,
        repository: &'a RepositoryName,
        descriptor: &'a Descriptor,
    ) -> BoxFuture<'a, Result<Bytes, RegistryError>>;

    /// All tags of a repository, through every page; empty where there is no repository.
    fn tags<'a>(
        &'a self,
        repository: &'a RepositoryName,
    ) -> BoxFuture<'a, Result<Vec<String>, RegistryError>>;
}

/// A request that failed for good, after retries.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action}: {kind}")]
pub struct RegistryError {
    /// What was tried, e.g. "push blob `sha256:…` to `localhost:5000/x`". Holds no credentials.
    pub action: String,
    /// Why it failed.
    pub kind: RegistryErrorKind,
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryErrorKind {
    /// No connection, or it broke.
    #[error("{0}")]
    Transport(String),
    /// An answer with an error status.
    #[error("the registry answered {status}: {message}")]
    Status {
        /// HTTP status.
        status: u16,
        /// The registry's own words, shortened.
        message: String,
    },
    /// 401 or 403, or a credential helper that failed.
    #[error("access denied: {0}")]
    Denied(String),
    /// The bytes are not what the digest says.
    #[error("digest mismatch: wanted {wanted}, got {got}")]
    Mismatch {
        /// Digest asked for.
        wanted: Digest,
        /// Digest of what came.
        got: Digest,
    },
    /// A mount was refused and there are no bytes to send.
    #[error("the registry did not mount the blob")]
    NotMounted,
    /// What was asked for is not there.
    #[error("not found")]
    NotFound,
    /// A document that does not parse.
    #[error("malformed document: {0}")]
    Malformed(String),
    /// A local file.
    #[error("local file `{path}`: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}
