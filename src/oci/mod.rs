//! The OCI nouns: digests, references, platforms and image documents.
//!
//! Plain values with no IO. Image documents are our own serde types, not `oci-spec`'s: Docker's
//! extension fields of the image configuration (`Healthcheck`, `OnBuild`, `Shell`, …) must survive
//! a round trip, and the bytes of a document must not change with a dependency.

mod digest;
mod document;
mod open_index;
mod platform;
mod reference;

pub use digest::{DiffId, Digest, DigestError, Hasher};
pub use document::{
    ContainerConfig, Descriptor, History, ImageConfig, ImageIndex, ImageManifest, MEDIA_CONFIG,
    MEDIA_DOCKER_CONFIG, MEDIA_DOCKER_INDEX, MEDIA_DOCKER_LAYER_GZIP, MEDIA_DOCKER_MANIFEST, MEDIA_EMPTY,
    MEDIA_INDEX, MEDIA_LAYER, MEDIA_LAYER_GZIP, MEDIA_LAYER_ZSTD, MEDIA_MANIFEST, RootFs, to_canonical_json,
};
pub use open_index::OpenIndex;
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError, RepositoryName};
