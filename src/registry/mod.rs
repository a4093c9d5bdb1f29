//! Registries: a small trait, the HTTP client behind it, and a fake for faults.
//!
//! Speaks the OCI distribution specification 1.1. Retry, authentication and the request budget live
//! in the client; concurrency between blobs lives in the dispatcher.

mod access;
mod answer;
mod auth;
mod aws;
mod budget;
mod challenge;
mod client;
mod credentials;
mod download;
mod error;
mod fake;
mod host;
mod manifests;
mod payload;
mod prepare;
mod referrers;
mod relay;
mod retry;
mod secret;
mod upload;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::future::BoxFuture;

pub use crate::http::{Progress, RetrySettings, Secret, TlsSettings};
use crate::oci::{Descriptor, Digest, Reference, RepositoryName};

pub use access::{AccessRule, AccessRules, Creation, CredentialSource, EcrAccess, TextSource, Variables};
pub use client::{HttpRegistry, RegistryOptions};
pub use credentials::Credentials;
pub use error::{RegistryError, RegistryErrorKind, SETUP_HELP};
pub use fake::FakeRegistry;
pub use host::HostSettings;
pub use payload::BlobStream;
pub use secret::Credential;

/// Bytes of a blob to upload.
#[derive(Debug, Clone)]
pub enum BlobSource {
    /// A file whose whole content is the blob.
    File(PathBuf),
    /// Bytes in memory.
    Bytes(Bytes),
    /// Bytes that arrive from elsewhere, anew for each try.
    Stream(BlobStream),
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

    /// Brings a blob from one repository into another, of the same registry or another one: `HEAD`
    /// first, then a mount (from `mount_from`, or from `from` within one registry), then its bytes,
    /// which are not kept here.
    fn copy_blob<'a>(
        &'a self,
        from: &'a RepositoryName,
        to: &'a RepositoryName,
        descriptor: &'a Descriptor,
        mount_from: Option<&'a RepositoryName>,
        progress: Progress,
    ) -> BoxFuture<'a, Result<Upload, RegistryError>>;

    /// Fetches a blob into a new file at `target` (through a temporary beside it), verified by
    /// digest and size; resumes after a broken connection.
    fn fetch_blob<'a>(
        &'a self,
        repository: &'a RepositoryName,
        descriptor: &'a Descriptor,
        target: &'a Path,
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

    /// Puts a manifest that has a subject, by digest. Returns whether the registry lists it among
    /// the subject's referrers; where not, the caller keeps the list under the fallback tag.
    fn put_referrer<'a>(
        &'a self,
        repository: &'a RepositoryName,
        bytes: Bytes,
    ) -> BoxFuture<'a, Result<bool, RegistryError>>;

    /// The referrers of a manifest, of one artifact type or of all; `None` where the registry does
    /// not keep them.
    fn referrers<'a>(
        &'a self,
        repository: &'a RepositoryName,
        subject: Digest,
        artifact_type: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Option<Vec<Descriptor>>, RegistryError>>;
}
