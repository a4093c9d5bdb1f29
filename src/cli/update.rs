//! `update`: the lock moved to what its references mean now, and what that touches.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::exit::{Exit, first_of, print, say};
use super::interrupt::interruptible;
use super::load::{Loaded, Project, open};
use super::lock_file::change_lock;
use super::world::{pinner, runtime, world};
use super::{ProjectArguments, UpdateArguments, versions};
use crate::lock::{Lock, LockedVersions};
use crate::matrix::{CellId, ConcreteContent, ConcretePart, Matrix, Query, subject};
use crate::oci::Reference;
use crate::run::{External, StepError};

/// Cells that are named before the rest is counted.
const NAMED: usize = 3;

/// `railyard update`.
pub fn update(arguments: &ProjectArguments, update: &UpdateArguments) -> Result<(), Exit> {
    let loaded = open(arguments)?;
    let (path, before) = (loaded.lock_path.clone(), loaded.lock.clone());
    let runtime = runtime()?;
    let moved = runtime.block_on(moved(arguments, update, loaded));
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    let (after, text) = moved?;
    let changed = after != before;
    if changed && !update.dry_run {
        change_lock(&path, |lock| lock.apply(&before, &after))?;
    }
    let printed = print(if text.is_empty() { "nothing has moved\n" } else { &text });
    let then = match &update.then {
        Some(command) if changed => then(command, &path, &text),
        _ => Ok(()),
    };
    first_of([then, printed])
}

/// The lock as it would be now, and its moves for people.
async fn moved(
    arguments: &ProjectArguments,
    update: &UpdateArguments,
    mut loaded: Loaded,
) -> Result<(Lock, String), Exit> {
    let names = Names(&update.names);
    let before = loaded.lock.clone();
    let missing = loaded.missing();
    let asked: Vec<Query> =
        loaded.queries.iter().filter(|q| names.query(q) || missing.contains(q)).cloned().collect();
    let found = versions::look_up(&loaded.manifest, &loaded.directory, &asked).await?;
    loaded.lock.versions.extend(found);
    let earlier = loaded.expand_earlier(&before);
    let queries = loaded.queries.clone();
    let project = loaded.expand()?;
    let external = External::of(&project.matrix, &project.chosen);
    let tools = tools(&project.matrix);
    let mirrored = super::mirrors::of(&project)?;
    let mirrored =
        mirrored.into_iter().filter(|image| image.source.digest.is_none()).map(|image| image.source);
    let mirrored: BTreeSet<Reference> = mirrored.collect();
    names.check(&project, &queries, &external, &tools, &mirrored)?;
    let mut lock = project.lock.clone();
    lock.images.retain(|reference, _| {
        !(external.images.contains_key(reference) && names.text(&reference.to_string()))
    });
    lock.downloads.retain(|url, _| !(external.downloads.contains_key(url) && names.download(url, &tools)));
    let world = world(arguments, &project.manifest)?;
    let pinner = pinner(&world, 8);
    let completed = pinner.complete(&external, &mut lock);
    interruptible(async { completed.await.map_err(|errors| Exit::steps(&errors)) }).await?;
    move_mirrors(&mirrored, &names, &world, &mut lock).await?;
    // Entries that nothing uses any more go only when everything was looked at.
    if update.names.is_empty() && arguments.only.is_empty() {
        lock.mirrors.retain(|reference, _| mirrored.contains(reference));
        lock.images.retain(|reference, _| external.images.contains_key(reference));
        lock.downloads.retain(|url, _| external.downloads.contains_key(url));
        lock.versions.retain(|key, _| queries.iter().any(|query| query.key == *key));
    }
    let moves = Moves { before: &before, after: &lock, matrix: &project.matrix, earlier: earlier.as_ref() };
    let text = moves.text();
    Ok((lock, text))
}

/// Pins mirrored images to what their tags mean now.
async fn move_mirrors(
    mirrored: &BTreeSet<Reference>,
    names: &Names<'_>,
    world: &super::world::World,
    lock: &mut Lock,
) -> Result<(), Exit> {
    let wanted: BTreeSet<Reference> =
        mirrored.iter().filter(|reference| names.text(&reference.to_string())).cloned().collect();
    let found = interruptible(async { Ok(super::mirrors::look_up(&world.registry, &wanted).await) }).await?;
    let mut errors = Vec::new();
    for (reference, result) in found {
        match result {
            Ok(Some(digest)) => {
                lock.mirrors.insert(reference, digest);
            }
            Ok(None) => errors.push(
                StepError::new(format!("there is no image `{reference}`"))
                    .help("correct the mirror's list, or take the image out of it"),
            ),
            Err(error) => errors.push(error.into()),
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(Exit::steps(&errors)) }
}

/// What was named on the command line; everything where nothing was.
struct Names<'a>(&'a [String]);

impl Names<'_> {
    fn text(&self, text: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|name| text.contains(name.as_str()))
    }

    fn query(&self, query: &Query) -> bool {
        self.text(&query.listing.to_string()) || self.0.iter().any(|name| name == query.name())
    }

    fn download(&self, url: &str, tools: &BTreeMap<String, BTreeSet<String>>) -> bool {
        let of = |name: &String| tools.get(name).is_some_and(|urls| urls.contains(url));
        self.text(url) || self.0.iter().any(of)
    }

    /// Refuses a name that selects nothing: it is most likely misspelt.
    fn check(
        &self,
        project: &Project,
        queries: &[Query],
        external: &External,
        tools: &BTreeMap<String, BTreeSet<String>>,
        mirrored: &BTreeSet<Reference>,
    ) -> Result<(), Exit> {
        let images: Vec<String> = external.images.keys().map(ToString::to_string).collect();
        for name in self.0 {
            let alone = Names(std::slice::from_ref(name));
            let known = queries.iter().any(|query| alone.query(query))
                || images.iter().any(|reference| alone.text(reference))
                || mirrored.iter().any(|reference| alone.text(&reference.to_string()))
                || external.downloads.keys().any(|url| alone.download(url, tools));
            if !known {
                let axes = queries.iter().map(Query::name).chain(tools.keys().map(String::as_str));
                let axes: BTreeSet<&str> = axes.collect();
                return Err(Exit::Usage(format!(
                    "error: `{name}` is part of no reference or URL, and no discovered axis or tool, of `{}`\n  help: give a part of a reference{}",
                    project.matrix.project,
                    match axes.is_empty() {
                        true => String::new(),
                        false => format!(", or one of: {}", axes.into_iter().collect::<Vec<_>>().join(", ")),
                    }
                )));
            }
        }
        Ok(())
    }
}

/// The downloads of each tool, as the lock names them.
fn tools(matrix: &Matrix) -> BTreeMap<String, BTreeSet<String>> {
    let mut tools: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for layer in &matrix.layers {
        let ConcreteContent::Parts(parts) = &layer.content else { continue };
        for part in parts {
            if let ConcretePart::Download(download) = part {
                tools.entry(download.name.clone()).or_default().insert(download.shown.clone());
            }
        }
    }
    tools
}

/// What differs between two locks, and the cells that it touches.
struct Moves<'a> {
    before: &'a Lock,
    after: &'a Lock,
    matrix: &'a Matrix,
    /// The cells of the lock before, where they are known.
    earlier: Option<&'a Matrix>,
}

impl Moves<'_> {
    fn text(&self) -> String {
        let mut text = String::new();
        let keys: BTreeSet<&String> = self.before.versions.keys().chain(self.after.versions.keys()).collect();
        for key in keys {
            self.versions(&mut text, key);
        }
        self.mirrors(&mut text);
        let entries = |lock: &Lock| -> BTreeMap<String, String> {
            let images = lock.images.iter().map(|(r, i)| (r.to_string(), i.digest.to_string()));
            images.chain(lock.downloads.iter().map(|(url, d)| (url.clone(), d.sha256.to_string()))).collect()
        };
        let (old, new) = (entries(self.before), entries(self.after));
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        let differ = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
        let differ: Vec<&String> = differ.collect();
        if differ.is_empty() {
            return text;
        }
        let inputs = inputs(self.matrix);
        for name in differ {
            let _ = match (old.get(name), new.get(name)) {
                (Some(was), Some(is)) => writeln!(text, "moved    {name}\n         {was}\n      -> {is}"),
                (None, Some(is)) => writeln!(text, "added    {name} {is}"),
                (_, None) => writeln!(text, "removed  {name}"),
            };
            if new.contains_key(name) {
                let _ = writeln!(text, "         touches {}", cells(inputs.get(name).into_iter().flatten()));
            }
        }
        text
    }

    fn mirrors(&self, text: &mut String) {
        let (old, new) = (&self.before.mirrors, &self.after.mirrors);
        let references: BTreeSet<&Reference> = old.keys().chain(new.keys()).collect();
        for reference in references {
            let _ = match (old.get(reference), new.get(reference)) {
                (Some(was), Some(is)) if was == is => Ok(()),
                (Some(was), Some(is)) => {
                    writeln!(text, "moved    mirrored image {reference}\n         {was}\n      -> {is}")
                }
                (None, Some(is)) => writeln!(text, "added    mirrored image {reference} {is}"),
                (_, None) => writeln!(text, "removed  mirrored image {reference}"),
            };
        }
    }

    fn versions(&self, text: &mut String, key: &str) {
        let (old, new) = (self.before.versions.get(key), self.after.versions.get(key));
        let Some(new) = new else {
            let _ = writeln!(text, "removed  {}", subject(key));
            return;
        };
        if old == Some(new) {
            return;
        }
        let word = if old.is_some() { "moved  " } else { "added  " };
        let _ = writeln!(text, "{word}  {} ({})", subject(key), new.query);
        let known = |versions: Option<&LockedVersions>| -> Vec<(String, Option<String>)> {
            versions.iter().flat_map(|v| &v.found).map(|v| (v.name.clone(), v.tag.clone())).collect()
        };
        let (was, is) = (known(old), known(Some(new)));
        let added: Vec<&str> = is.iter().filter(|v| !was.contains(v)).map(|v| v.0.as_str()).collect();
        let removed: Vec<&str> = was.iter().filter(|v| !is.contains(v)).map(|v| v.0.as_str()).collect();
        if !added.is_empty() {
            let touched = with_versions(self.matrix, key, &added);
            let _ = writeln!(text, "         added    {}: touches {}", added.join(", "), cells(&touched));
        }
        if !removed.is_empty() {
            let gone = self.earlier.map(|matrix| with_versions(matrix, key, &removed)).unwrap_or_default();
            let _ = writeln!(text, "         removed  {}: was in {}", removed.join(", "), cells(&gone));
        }
        if added.is_empty() && removed.is_empty() {
            let _ = writeln!(text, "         the same versions");
        }
    }
}

/// Cells by each reference and URL that they take from, themselves or through other cells.
fn inputs(matrix: &Matrix) -> BTreeMap<String, Vec<String>> {
    let mut inputs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (position, cell) in matrix.cells.iter().enumerate() {
        let external = External::of_cell(matrix, CellId(position));
        let images = external.images.keys().map(ToString::to_string);
        for name in images.chain(external.downloads.into_keys()) {
            inputs.entry(name).or_default().push(cell.name.clone());
        }
    }
    inputs
}

/// Cells at these values of an axis, or with this tool.
fn with_versions(matrix: &Matrix, key: &str, versions: &[&str]) -> Vec<String> {
    let Some((kind, name)) = key.split_once('.') else { return Vec::new() };
    let urls = tools(matrix).remove(name).unwrap_or_default();
    let cells = matrix.cells.iter().enumerate().filter(|(position, cell)| {
        if kind == "tools" {
            let external = External::of_cell(matrix, CellId(*position));
            return external.downloads.keys().any(|url| urls.contains(url));
        }
        cell.coordinates.iter().any(|(axis, value)| **axis == *name && versions.contains(&&**value))
    });
    cells.map(|(_, cell)| cell.name.clone()).collect()
}

/// "2 cells: a, b", with at most a few of them named.
fn cells<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
    let count = match names.len() {
        0 => return "no cell".to_owned(),
        1 => "1 cell".to_owned(),
        n => format!("{n} cells"),
    };
    let more = names.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{count}: {}{more}", names[..names.len().min(NAMED)].join(", "))
}

/// Runs a command with the moves as its input.
fn then(command: &str, lock: &std::path::Path, moves: &str) -> Result<(), Exit> {
    use std::io::Write;
    let fail = |error: &dyn std::fmt::Display| {
        Exit::Environment(format!(
            "error: --then: failed to run `{command}`: {error}\n  help: the lock was written; run the command by hand"
        ))
    };
    let mut child = std::process::Command::new("/bin/sh")
        .args(["-c", command])
        .env("RAILYARD_LOCK", lock)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .map_err(|error| fail(&error))?;
    if let Some(mut input) = child.stdin.take() {
        // A command that does not read has closed its input.
        let _ = input.write_all(moves.as_bytes());
    }
    let status = child.wait().map_err(|error| fail(&error))?;
    if status.success() {
        return Ok(());
    }
    say(&format!(
        "error: --then: `{command}` ended with {status}\n  help: the lock was written; run the command by hand"
    ));
    Err(Exit::Failed)
}
