//! The manifest's mirrors: their lists read, their images pinned by the lock.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt as _;

use super::exit::{Exit, say};
use super::interrupt::interruptible;
use super::load::Project;
use super::lock_file::change_lock;
use super::world::LockUse;
use crate::lock::Lock;
use crate::manifest::Sources;
use crate::matrix::ConcreteMirror;
use crate::mirror::{Listed, MirrorImage, clashes, read_list};
use crate::oci::{Digest, Reference};
use crate::registry::{Registry, RegistryError};

/// Tags looked up at a time.
const LOOKUPS: usize = 8;

/// The images of mirrors, in order, pinned where the lock has them. `to` stands in for the mirrors'
/// own targets.
///
/// # Errors
/// Lists that cannot be read, names that are none, and images that would go to one place, all at once.
pub fn images(
    mirrors: &[ConcreteMirror],
    sources: &Sources,
    directory: &Path,
    lock: &Lock,
    to: Option<&str>,
) -> Result<Vec<MirrorImage>, Exit> {
    let mut images = Vec::new();
    let mut problems = Vec::new();
    for mirror in mirrors {
        let mut listed: Vec<Listed> = Vec::new();
        for (name, at) in &mirror.images {
            let (line, column) = sources.line_column(*at);
            let place = format!("{}:{line}:{column}", sources.name(at.file));
            listed.push(Listed { name: name.clone(), place });
        }
        if let Some((file, at)) = &mirror.file {
            let path = directory.join(file);
            match std::fs::read_to_string(&path) {
                Ok(text) => listed.extend(read_list(&text, &path.display().to_string())),
                Err(error) => {
                    let (line, column) = sources.line_column(*at);
                    problems.push(format!(
                        "{}:{line}:{column}: failed to read `{}`: {error}",
                        sources.name(at.file),
                        path.display()
                    ));
                }
            }
        }
        let to = to.unwrap_or(&mirror.to);
        for image in named(&listed, mirror.from.as_deref(), to, &mut problems) {
            let referrers = mirror.referrers;
            images.push(MirrorImage { mirror: Some(mirror.name.clone()), referrers, ..image });
        }
    }
    finish(&mut images, problems)?;
    for image in &mut images {
        image.pinned = lock.mirrors.get(&image.source).copied();
    }
    Ok(images)
}

/// The images of a project's mirrors, pinned where the lock has them.
///
/// # Errors
/// See [`images`].
pub fn of(project: &Project) -> Result<Vec<MirrorImage>, Exit> {
    images(&project.mirrors, &project.manifest.sources, &project.directory, &project.lock, None)
}

/// The images of a project's mirrors, pinned.
///
/// # Errors
/// See [`images`] and [`complete`].
pub async fn pinned(
    project: &mut Project,
    registry: &Arc<dyn Registry>,
    usage: LockUse,
) -> Result<Vec<MirrorImage>, Exit> {
    let mut images = of(project)?;
    complete(&mut images, &mut project.lock, &project.lock_path, registry, usage).await?;
    Ok(images)
}

/// The images as inputs of a plan.
pub fn inputs(images: &[MirrorImage]) -> BTreeMap<String, Option<Digest>> {
    images.iter().map(|image| (image.source.to_string(), image.digest())).collect()
}

/// Images by their names; what is no name is noted with its place.
pub fn named(
    listed: &[Listed],
    from: Option<&str>,
    to: &str,
    problems: &mut Vec<String>,
) -> Vec<MirrorImage> {
    let images = listed.iter().filter_map(|listed| match MirrorImage::new(&listed.name, from, to) {
        Ok(image) => Some(image),
        Err(error) => {
            problems.push(format!("{}: {error}", listed.place));
            None
        }
    });
    images.collect()
}

/// Takes out what is listed twice.
///
/// # Errors
/// The problems so far, and images that would go to one place.
pub fn finish(images: &mut Vec<MirrorImage>, mut problems: Vec<String>) -> Result<(), Exit> {
    problems.extend(clashes(images));
    if problems.is_empty() {
        return Ok(());
    }
    Err(Exit::Usage(format!(
        "error: the list of images to mirror cannot be used\n  {}\n  help: correct the names; an image is `repository:tag`, `registry/repository:tag` or one with `@sha256:…`",
        problems.join("\n  ")
    )))
}

/// The images that the lock has nothing about.
fn missing(images: &[MirrorImage]) -> Vec<&MirrorImage> {
    images.iter().filter(|image| image.digest().is_none()).collect()
}

/// Pins what the lock lacks. What cannot be looked up stays open: copying it says why.
///
/// # Errors
/// With [`LockUse::Refuse`], when something is missing; when the lock cannot be written;
/// [`Exit::Interrupted`].
pub async fn complete(
    images: &mut [MirrorImage],
    lock: &mut Lock,
    lock_path: &Path,
    registry: &Arc<dyn Registry>,
    usage: LockUse,
) -> Result<(), Exit> {
    let open: BTreeSet<Reference> = missing(images).into_iter().map(|image| image.source.clone()).collect();
    if open.is_empty() {
        return Ok(());
    }
    if usage == LockUse::Refuse {
        let names: Vec<String> =
            open.iter().map(|reference| format!("mirrored image `{reference}`")).collect();
        return Err(Exit::Usage(format!(
            "error: --locked: the lock `{}` lacks {}\n  help: run `railyard mirror` or `railyard update` without --locked, and commit the lock",
            lock_path.display(),
            names.join(", ")
        )));
    }
    let found: Vec<(Reference, Digest)> = interruptible(async { Ok(look_up(registry, &open).await) })
        .await?
        .into_iter()
        .filter_map(|(reference, result)| Some((reference, result.ok()??)))
        .collect();
    if found.is_empty() {
        return Ok(());
    }
    for (reference, digest) in &found {
        let word = if usage == LockUse::Complete { "locked" } else { "looked up, not locked yet:" };
        say(&format!("{word} {reference} -> {digest}"));
    }
    let before = lock.clone();
    lock.mirrors.extend(found);
    if usage == LockUse::Complete {
        let after = &*lock;
        *lock = change_lock(lock_path, |lock| lock.add(&before, after))?;
    }
    for image in images.iter_mut().filter(|image| image.digest().is_none()) {
        image.pinned = lock.mirrors.get(&image.source).copied();
    }
    Ok(())
}

/// What tags mean now.
pub async fn look_up(
    registry: &Arc<dyn Registry>,
    references: &BTreeSet<Reference>,
) -> Vec<(Reference, Result<Option<Digest>, RegistryError>)> {
    let asked = references.iter().map(|reference| async move {
        let found = registry.head(reference).await;
        (reference.clone(), found.map(|found| found.map(|descriptor| descriptor.digest)))
    });
    futures_util::stream::iter(asked).buffered(LOOKUPS).collect().await
}
