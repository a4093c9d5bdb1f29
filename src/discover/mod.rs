//! Discovery: which versions there are, and which of them a manifest wants.
//!
//! A [`Query`] goes to whoever lists versions ([`Discoverer::find`]); what it lists is then judged
//! by [`select`], which is pure. Must not touch the lock or the manifest.

mod document;
mod error;
mod npm;
mod select;
mod tags;

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;

pub use error::DiscoverError;
pub use select::{Candidate, Selected, select};

use crate::engine::{Engine, PullCredentials};
use crate::matrix::{Listing, Query};
use crate::oci::Platform;
use crate::registry::{Registry, RegistryError};

/// Credentials of a registry by its host, for an engine that pulls on its own.
pub type PullLookup =
    Arc<dyn Fn(String) -> BoxFuture<'static, Result<Option<PullCredentials>, RegistryError>> + Send + Sync>;

/// Whom versions are asked of.
pub struct Discoverer {
    /// Registries, for tags.
    pub registry: Arc<dyn Registry>,
    /// An engine, for npm on machines without.
    pub engine: Arc<dyn Engine>,
    /// Credentials for the engine.
    pub credentials: PullLookup,
    /// The platform of images run by the engine.
    pub platform: Platform,
    /// Where relative files are, and where npm is run; the manifest's directory.
    pub directory: PathBuf,
}

impl Discoverer {
    /// The versions that a query wants, in ascending order; never none.
    ///
    /// # Errors
    /// When nobody can be asked, the answer cannot be read, or no version fulfils the requirement.
    pub async fn find(&self, query: &Query) -> Result<Selected, DiscoverError> {
        let listed = match &query.listing {
            Listing::Npm(package, image) => self.npm(package, image.as_ref()).await,
            Listing::Tags(repository, pattern) => self.tags(repository, pattern.as_deref()).await,
            Listing::Url(url, shown) => document::fetch(url, shown).await,
            Listing::File(path) => document::read(&self.directory.join(path)),
        };
        let candidates = listed.map_err(|error| error.of(query))?;
        select(query, &candidates).map_err(|error| error.of(query))
    }
}
