//! Everything that talks to the outside, wired once.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::exit::{Exit, say};
use super::interrupt::{interruptible, listen};
use super::load::Project;
use super::lock_file::change_lock;
use super::settings::store_path;
use super::{ProjectArguments, access};
use crate::engine::{DockerEngine, Engine, PullCredentials};
use crate::manifest::Manifest;
use crate::plan::Plan;
use crate::registry::{Credential, Credentials, HttpRegistry, Registry, RegistryOptions};
use crate::run::{
    Blobs, Cache, CredentialLookup, Downloads, External, Freshness, Images, Knowledge, Pinner, Provenances,
    Sources, force_patterns,
};
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
    let (registry, credentials) = registry(manifest, arguments.directory());
    let engine: Arc<dyn Engine> = Arc::new(DockerEngine::connect(None).with_spool(store.temporary()));
    let blobs = Arc::new(Blobs::new(store.clone(), registry.clone()));
    let platform = manifest.project.platform.clone();
    let images = Arc::new(Images::new(store.clone(), registry.clone(), blobs.clone(), platform));
    let downloads = Arc::new(Downloads::new(store.clone(), blobs.traffic.clone()));
    Ok(World { store, registry, engine, blobs, images, downloads, credentials })
}

/// The registry client of a manifest's settings, and its credentials for an engine. Files are relative
/// to `directory`, the manifest's.
pub fn registry(manifest: &Manifest, directory: &Path) -> (Arc<dyn Registry>, CredentialLookup) {
    let options = RegistryOptions {
        settings: access::host_settings(manifest, directory),
        credentials: Credentials::docker().with_rules(access::rules(manifest, directory)),
        ..RegistryOptions::default()
    };
    let http = Arc::new(HttpRegistry::new(options));
    let credentials: CredentialLookup = {
        let http = http.clone();
        Arc::new(move |host| {
            let http = http.clone();
            Box::pin(async move {
                let found = http.pull_credentials(&host).await?;
                Ok(found.map(|credential| match credential {
                    Credential::Password { username, password } => {
                        PullCredentials { username, password: password.expose().to_owned() }
                    }
                    Credential::IdentityToken(token) => {
                        PullCredentials { username: String::new(), password: token.expose().to_owned() }
                    }
                }))
            })
        })
    };
    (http, credentials)
}

/// What completes the lock.
pub fn pinner(world: &World, transfers: usize) -> Pinner {
    Pinner { images: world.images.clone(), downloads: world.downloads.clone(), transfers }
}

/// What is done about inputs that the lock lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockUse {
    /// They are pinned, in the file too.
    Complete,
    /// They are refused.
    Refuse,
    /// They are pinned for this command only.
    Borrow,
    /// As [`LockUse::Borrow`]; what cannot be pinned stays open.
    Suppose,
}

/// Adds to the lock what is missing.
///
/// # Errors
/// What cannot be pinned, or is refused; [`Exit::Interrupted`].
pub async fn complete_lock(
    project: &mut Project,
    world: &World,
    usage: LockUse,
    transfers: usize,
) -> Result<(), Exit> {
    let external = External::of(&project.matrix, &project.chosen);
    let missing = external.missing(&project.lock);
    if missing.is_empty() {
        return Ok(());
    }
    if usage == LockUse::Refuse {
        return Err(Exit::Usage(format!(
            "error: --locked: the lock `{}` lacks {}\n  help: run `railyard build` or `railyard update` without --locked, and commit the lock",
            project.lock_path.display(),
            missing.join(", ")
        )));
    }
    let pinner = pinner(world, transfers);
    let mut added = BTreeSet::new();
    let mut result = Ok(());
    // What another process has pinned meanwhile counts, and may lack trees that are read here.
    while result.is_ok() && !external.missing(&project.lock).is_empty() {
        let before = project.lock.clone();
        let pinned = pinner.complete(&external, &mut project.lock);
        let pinned = interruptible(async { Ok(pinned.await) }).await?;
        if project.lock != before && usage == LockUse::Complete {
            let after = &project.lock;
            project.lock = change_lock(&project.lock_path, |lock| lock.add(&before, after))?;
        }
        result = pinned.map(|lines| added.extend(lines));
    }
    match result {
        Ok(()) => {}
        Err(errors) if usage == LockUse::Suppose => {
            errors.iter().for_each(|error| say(&format!("note: {}", error.message)));
            return Ok(());
        }
        Err(errors) if usage == LockUse::Borrow => {
            say("note: `railyard plan --offline` asks nobody");
            return Err(Exit::steps(&errors));
        }
        Err(errors) => return Err(Exit::steps(&errors)),
    }
    let word = if usage == LockUse::Complete { "locked" } else { "looked up, not locked yet:" };
    for line in added {
        say(&format!("{word} {line}"));
    }
    Ok(())
}

/// The runtime of a command, which hears interrupts from now on.
///
/// # Errors
/// When threads cannot be started.
pub fn runtime() -> Result<tokio::runtime::Runtime, Exit> {
    let runtime = listen().and_then(|()| tokio::runtime::Builder::new_multi_thread().enable_all().build());
    runtime.map_err(|e| Exit::Environment(format!("error: failed to start the runtime: {e}")))
}

impl World {
    /// The cache repository, where the project has one.
    pub fn cache(&self, project: &Project) -> Option<Cache> {
        let repository = project.matrix.cache.clone()?;
        Some(Cache::new(repository, self.registry.clone(), self.blobs.clone()))
    }

    /// Statements of what went into images.
    pub fn provenances(&self) -> Provenances {
        Provenances::new(self.registry.clone(), self.store.clone(), self.blobs.clone())
    }

    /// What is known of a plan's steps, here and in the cache repository.
    ///
    /// # Errors
    /// When the store or the cache repository cannot be read; [`Exit::Interrupted`].
    pub async fn look_up(
        &self,
        project: &Project,
        plan: &Plan,
        cache: Option<&Cache>,
        freshness: &Freshness,
    ) -> Result<Knowledge, Exit> {
        let sources = Sources {
            matrix: &project.matrix,
            plan,
            lock: &project.lock,
            store: &self.store,
            images: &self.images,
            blobs: &self.blobs,
            cache,
        };
        interruptible(async { sources.look_up(freshness).await.map_err(|e| Exit::steps(&[e])) }).await
    }
}

/// Which known results are not good enough now.
///
/// # Errors
/// A pattern of `--force` that is no glob or that nothing is named.
pub fn freshness(project: &Project, force: &[String], max_age: bool) -> Result<Freshness, Exit> {
    let force = force_patterns(force, &project.matrix, &project.chosen)
        .map_err(|e| Exit::Usage(format!("error: --force: {e}")))?;
    let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default();
    Ok(Freshness { now, max_age, force })
}
