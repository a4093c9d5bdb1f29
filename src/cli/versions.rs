//! Discovered versions: out of the lock, or looked up.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::exit::{Exit, say};
use super::interrupt::interruptible;
use super::load::Loaded;
use super::lock_file::change_lock;
use super::world::registry;
use crate::discover::Discoverer;
use crate::engine::DockerEngine;
use crate::lock::LockedVersions;
use crate::manifest::{FoundVersion, Manifest};
use crate::matrix::Query;

/// Looks up what the lock does not answer and adds it.
///
/// # Errors
/// When a lookup fails, the lock cannot be written, or `locked` is set and something is missing.
pub async fn complete(loaded: &mut Loaded, locked: bool) -> Result<(), Exit> {
    let missing = loaded.missing();
    if missing.is_empty() {
        return Ok(());
    }
    if locked {
        let names: Vec<String> =
            missing.iter().map(|query| format!("versions of {}", query.subject())).collect();
        return Err(Exit::Usage(format!(
            "error: --locked: the lock `{}` lacks {}\n  help: run `railyard update`, and commit the lock",
            loaded.lock_path.display(),
            names.join(", ")
        )));
    }
    let found = look_up(&loaded.manifest, &loaded.directory, &missing).await?;
    for (key, versions) in &found {
        say(&format!("locked {}: {}", crate::matrix::subject(key), names(&versions.found)));
    }
    let before = loaded.lock.clone();
    loaded.lock.versions.extend(found);
    let after = &loaded.lock;
    loaded.lock = change_lock(&loaded.lock_path, |lock| lock.add(&before, after))?;
    Ok(())
}

/// Looks up what the lock does not answer, for this command only.
///
/// # Errors
/// When a lookup fails.
pub async fn borrow(loaded: &mut Loaded) -> Result<(), Exit> {
    let missing = loaded.missing();
    if missing.is_empty() {
        return Ok(());
    }
    let found = look_up(&loaded.manifest, &loaded.directory, &missing).await?;
    for (key, versions) in &found {
        say(&format!(
            "looked up for this plan only, the lock was not written: {}: {}",
            crate::matrix::subject(key),
            names(&versions.found)
        ));
    }
    loaded.lock.versions.extend(found);
    Ok(())
}

/// Asks for the versions of all these queries.
///
/// # Errors
/// All lookups that failed, at once.
pub async fn look_up(
    manifest: &Manifest,
    directory: &Path,
    queries: &[Query],
) -> Result<BTreeMap<String, LockedVersions>, Exit> {
    let (registry, credentials) = registry(manifest, directory);
    let discoverer = Discoverer {
        registry,
        engine: Arc::new(DockerEngine::connect(None)),
        credentials,
        platform: manifest.project.platform.clone(),
        directory: directory.to_owned(),
    };
    let engine = discoverer.engine.clone();
    let discoverer = &discoverer;
    let asked = queries.iter().map(|query| async move { (query, discoverer.find(query).await) });
    let mut found = BTreeMap::new();
    let mut errors = Vec::new();
    let answers = interruptible(async { Ok(futures_util::future::join_all(asked).await) }).await;
    // A container whose answer nobody waits for any more is on its way out.
    engine.settle().await;
    for (query, result) in answers? {
        match result {
            Ok(selected) => {
                if let Some((count, example)) = selected.skipped {
                    say(&format!(
                        "{}: passed over {count} that are no semantic versions, e.g. `{example}`",
                        query.subject()
                    ));
                }
                let versions = LockedVersions { query: query.to_string(), found: selected.versions };
                found.insert(query.key.clone(), versions);
            }
            Err(error) => errors.push(format!("error: {error}\n  help: {}", error.help)),
        }
    }
    if errors.is_empty() { Ok(found) } else { Err(Exit::Environment(errors.join("\n"))) }
}

/// The names of versions, for people.
pub fn names(found: &[FoundVersion]) -> String {
    found.iter().map(|version| version.name.as_str()).collect::<Vec<_>>().join(", ")
}
