//! Everything that talks to the outside, wired once.

use std::sync::Arc;

use super::ProjectArguments;
use super::exit::Exit;
use super::settings::store_path;
use crate::engine::{DockerEngine, Engine, PullCredentials};
use crate::manifest::Manifest;
use crate::registry::{Credential, Credentials, HostSettings, HttpRegistry, Registry, RegistryOptions};
use crate::run::{Blobs, CredentialLookup, Downloads, Images, Pinner};
use crate::store::Store;

/// Everything that talks to the outside.
pub struct World {
    /// The local store.
    pub store: Arc<Store>,
    /// Registries.
    pub registry: Arc<dyn Registry>,
    /// The engine.
    pub engine: Arc<dyn Engine>,
    /// Blobs of store and registries.
    pub blobs: Arc<Blobs>,
    /// Images from outside.
    pub images: Arc<Images>,
    /// Downloads.
    pub downloads: Arc<Downloads>,
    /// Credentials for the engine.
    pub credentials: CredentialLookup,
}

/// Opens the store and makes the clients, which contact nobody yet.
///
/// # Errors
/// When the store cannot be opened.
pub fn world(arguments: &ProjectArguments, manifest: &Manifest) -> Result<World, Exit> {
    let environment = |e: &dyn std::fmt::Display| Exit::Environment(format!("error: {e}"));
    let store = Arc::new(Store::open(&store_path(arguments)?).map_err(|e| environment(&e))?);
    let (registry, credentials) = registry(manifest);
    let engine: Arc<dyn Engine> = Arc::new(DockerEngine::connect(None));
    let blobs = Arc::new(Blobs::new(store.clone(), registry.clone()));
    let platform = manifest.project.platform.clone();
    let images = Arc::new(Images::new(store.clone(), registry.clone(), blobs.clone(), platform));
    let downloads = Arc::new(Downloads::new(store.clone(), blobs.traffic.clone()));
    Ok(World { store, registry, engine, blobs, images, downloads, credentials })
}

/// The registry client of a manifest's settings, and its credentials for an engine.
pub fn registry(manifest: &Manifest) -> (Arc<dyn Registry>, CredentialLookup) {
    let settings = manifest.registries.iter().map(|(host, s)| {
        let settings = HostSettings {
            insecure: s.insecure,
            requests_per_second: s.requests_per_second,
            concurrency: s.concurrency,
        };
        (host.clone(), settings)
    });
    let options = RegistryOptions {
        settings: settings.collect(),
        credentials: Credentials::docker(),
        ..RegistryOptions::default()
    };
    let http = Arc::new(HttpRegistry::new(options));
    let credentials: CredentialLookup = {
        let http = http.clone();
        Arc::new(move |host| {
            let http = http.clone();
            Box::pin(async move {
                // The registry client has reported a broken configuration where it needed one itself.
                Some(match http.pull_credentials(&host).await.ok()?? {
                    Credential::Password { username, password } => {
                        PullCredentials { username, password: password.expose().to_owned() }
                    }
                    Credential::IdentityToken(token) => {
                        PullCredentials { username: String::new(), password: token.expose().to_owned() }
                    }
                })
            })
        })
    };
    (http, credentials)
}

/// What completes the lock.
pub fn pinner(world: &World, transfers: usize) -> Pinner {
    Pinner {
        images: world.images.clone(),
        downloads: world.downloads.clone(),
        blobs: world.blobs.clone(),
        transfers,
    }
}

/// Carries work out until it ends, or Ctrl-C ends it.
///
/// # Errors
/// Those of the work; [`Exit::Interrupted`].
pub async fn interruptible<T>(work: impl Future<Output = Result<T, Exit>>) -> Result<T, Exit> {
    tokio::select! {
        result = work => result,
        _ = tokio::signal::ctrl_c() => Err(Exit::Interrupted),
    }
}

/// The runtime of a command.
///
/// # Errors
/// When threads cannot be started.
pub fn runtime() -> Result<tokio::runtime::Runtime, Exit> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Exit::Environment(format!("error: failed to start the runtime: {e}")))
}
