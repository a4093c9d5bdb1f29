//! `delegate`: the Kubernetes manifest of a delegate, and its pin at Harness Manager.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::ProjectArguments;
use super::exit::{Exit, print, say};
use super::harness::credential;
use super::interrupt::interruptible;
use super::load::{Project, load};
use super::world::{registry, runtime};
use crate::delegate::{DelegateError, Latest, Manager, Override, Rendering, Scope, Target, patch, render};
use crate::manifest::nearest;
use crate::matrix::Cell;
use crate::oci::Reference;
use crate::registry::{Credentials, HttpRegistry, Registry, RegistryOptions};

/// Commands about delegates.
#[derive(Debug, Subcommand)]
pub enum DelegateCommand {
    /// Prints a delegate's Kubernetes manifest for an image, or an existing one with the image in it.
    Manifest(ManifestArguments),
    /// Shows what pins an image for the upgraders of an account, and does it with --apply.
    Pin(PinArguments),
}

/// Options of `delegate manifest`.
#[derive(Debug, Args)]
pub struct ManifestArguments {
    /// The image: a cell, one of its tags, or a reference; its digest is asked of the registry unless
    /// the reference has it.
    image: String,
    /// Patch this manifest (`-`: standard input) and leave the rest of it as it is.
    #[arg(long, value_name = "FILE")]
    patch: Option<PathBuf>,
    /// Write the patched manifest back; secrets in it stay.
    #[arg(long, requires = "patch")]
    in_place: bool,
    /// The delegate's name; with --patch the workload's, where there are several.
    #[arg(long)]
    name: Option<String>,
    /// With --patch: the container's name.
    #[arg(long, default_value = "delegate", requires = "patch")]
    container: String,
    /// The namespace.
    #[arg(long, default_value = "harness-delegate-ng", conflicts_with = "patch")]
    namespace: String,
    /// The id of the Harness account.
    #[arg(long, env = "HARNESS_ACCOUNT_ID", default_value = "YOUR_ACCOUNT_ID", value_name = "ID")]
    account: String,
    /// Harness Manager; a `/gateway` behind its address does not count.
    #[arg(long, env = "HARNESS_URL", default_value = "https://app.harness.io", value_name = "URL")]
    manager: String,
    /// How many pods.
    #[arg(long, default_value_t = 1, value_name = "N", conflicts_with = "patch")]
    replicas: u32,
}

/// Options of `delegate pin`.
#[derive(Debug, Args)]
pub struct PinArguments {
    /// The image: a cell, one of its tags, or a reference.
    image: String,
    /// The id of the Harness account.
    #[arg(long, env = "HARNESS_ACCOUNT_ID", value_name = "ID")]
    account: String,
    /// The organisation, if not the whole account.
    #[arg(long, value_name = "ID")]
    org: Option<String>,
    /// The project, if not the whole organisation.
    #[arg(long, value_name = "ID", requires = "org")]
    project: Option<String>,
    /// Only delegates that have this tag; may be given several times.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Days that it lasts; 180 at Harness unless given.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..))]
    valid_for_days: Option<u32>,
    /// End it when Harness releases the next version.
    #[arg(long)]
    valid_till_next_release: bool,
    /// Harness Manager.
    #[arg(long, env = "HARNESS_URL", default_value = "https://app.harness.io", value_name = "URL")]
    url: String,
    /// Send it; otherwise it is only shown.
    #[arg(long)]
    apply: bool,
}

/// `railyard delegate`.
pub fn delegate(arguments: &ProjectArguments, command: &DelegateCommand) -> Result<(), Exit> {
    match command {
        DelegateCommand::Manifest(options) => manifest(arguments, options),
        DelegateCommand::Pin(options) => pin(arguments, options),
    }
}

fn manifest(arguments: &ProjectArguments, options: &ManifestArguments) -> Result<(), Exit> {
    let usage = |error: DelegateError| shown(&error, Exit::Usage);
    let Some(file) = &options.patch else {
        let (reference, named) = resolved(arguments, &options.image)?;
        warn_of_age(&named);
        let rendering = Rendering {
            image: &reference,
            name: options.name.as_deref().unwrap_or("custom-delegate"),
            namespace: &options.namespace,
            account: &options.account,
            manager: &options.manager,
            replicas: options.replicas,
        };
        return print(&render(&rendering).map_err(usage)?);
    };
    let place = file.display().to_string();
    let text = read(file)?;
    let (reference, named) = resolved(arguments, &options.image)?;
    warn_of_age(&named);
    let target = Target {
        image: &reference,
        name: options.name.as_deref(),
        container: &options.container,
        keep_secrets: options.in_place,
    };
    let patched = patch(&text, &target)
        .map_err(|error| Exit::Usage(format!("error: `{place}`: {error}\n  help: {}", error.help)))?;
    for change in &patched.changes {
        say(&format!("{place}, {change}"));
    }
    if patched.changes.is_empty() {
        say(&format!("{place}: nothing to change"));
    }
    for note in &patched.notes {
        say(&format!("note: {place}: {note}"));
    }
    match options.in_place {
        true if patched.changes.is_empty() => Ok(()),
        true => write(file, &patched.text),
        false => print(&patched.text),
    }
}

fn read(file: &Path) -> Result<String, Exit> {
    let place = file.display();
    let fail = |error: std::io::Error| Exit::Usage(format!("error: failed to read `{place}`: {error}"));
    if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(fail)?;
        return Ok(text);
    }
    std::fs::read_to_string(file).map_err(fail)
}

/// Writes a file whole or not at all, with the permissions that it has.
fn write(file: &Path, text: &str) -> Result<(), Exit> {
    if file.as_os_str() == "-" {
        return Err(Exit::Usage("error: --in-place: standard input is no file\n  help: name a file".into()));
    }
    let fail = |error: std::io::Error| {
        Exit::Environment(format!("error: failed to write `{}`: {error}", file.display()))
    };
    // A link stays one.
    let file = file.canonicalize().map_err(fail)?;
    let directory = file.parent().unwrap_or(Path::new("/"));
    let mut temporary = tempfile::NamedTempFile::new_in(directory).map_err(fail)?;
    temporary.write_all(text.as_bytes()).map_err(fail)?;
    let permissions = std::fs::metadata(&file).map_err(fail)?.permissions();
    temporary.as_file().set_permissions(permissions).map_err(fail)?;
    temporary.persist(&file).map_err(|error| fail(error.error))?;
    Ok(())
}

fn pin(arguments: &ProjectArguments, options: &PinArguments) -> Result<(), Exit> {
    let credential = credential()?;
    let signed = credential.is_some();
    if options.apply && !signed {
        return Err(Exit::Environment(
            "error: --apply: neither HARNESS_API_KEY nor HARNESS_TOKEN is set\n  help: set one of them in the \
             environment; neither is taken as an argument"
                .into(),
        ));
    }
    let manager = Manager::new(&options.url, credential).map_err(|error| shown(&error, Exit::Usage))?;
    let (by_digest, image) = resolved(arguments, &options.image)?;
    let pin = Override {
        scope: Scope {
            account: options.account.clone(),
            organisation: options.org.clone(),
            project: options.project.clone(),
        },
        image: image.to_string(),
        tags: options.tags.clone(),
        days: options.valid_for_days,
        till_next_release: options.valid_till_next_release,
    };
    let environment = |error: DelegateError| shown(&error, Exit::Environment);
    let digest = by_digest.digest.map(|digest| digest.to_string()).unwrap_or_default();
    say(&format!("{image} is {digest}"));
    warn_of_age(&image);
    runtime()?.block_on(interruptible(async {
        if signed {
            let latest = manager.latest(&options.account).await.map_err(environment)?;
            supported(&latest, &image);
        } else {
            say("note: neither HARNESS_API_KEY nor HARNESS_TOKEN is set: Harness was not asked what it supports");
        }
        if !options.apply {
            say("would send this; --apply sends it");
            return print(&format!("PUT {}\n", manager.override_url(&pin)));
        }
        let said = manager.pin(&pin).await.map_err(environment)?;
        print(&format!("{}\n", said.unwrap_or_else(|| format!("pinned {image}"))))
    }))
}

/// Says what Harness supports, and whether an image is older.
fn supported(latest: &Latest, image: &Reference) {
    let (Some(newest), minimal) = (latest.full.as_deref().or(latest.minimal.as_deref()), &latest.minimal)
    else {
        say("note: Harness names no supported version");
        return;
    };
    let minimal = minimal.as_ref().filter(|minimal| *minimal != newest);
    let minimal = minimal.map(|minimal| format!(", minimal {minimal}")).unwrap_or_default();
    say(&format!("latest supported version: {newest}{minimal}"));
    let own = image.tag.as_deref().and_then(version);
    if let (Some(own), Some(newest_version)) = (own, version(newest))
        && own > newest_version
    {
        say(&format!("warning: {image} is newer than {newest}, which Harness may not support yet"));
    }
}

/// Months after its release at which a delegate's version ends to be supported, and to work.
const SUPPORTED_MONTHS: u32 = 6;
const LIVING_MONTHS: u32 = 8;

/// Says of an image whose tag begins with a delegate's version that it is too old.
fn warn_of_age(image: &Reference) {
    let today = jiff::Zoned::now();
    let month = u32::try_from(i32::from(today.year()) * 12 + i32::from(today.month())).unwrap_or_default();
    if let Some(age) = image.tag.as_deref().and_then(version).and_then(|version| aged(version, month)) {
        say(&format!("warning: {image}: {age}"));
    }
}

/// What the age of a version means in a month (year * 12 + month), if it matters.
fn aged([year, month, _]: [u32; 3], now: u32) -> Option<String> {
    if year > 99 || !(1..=12).contains(&month) {
        return None;
    }
    let released = (2000 + year) * 12 + month;
    let named = |months: u32| format!("{}-{:02}", (months - 1) / 12, (months - 1) % 12 + 1);
    let (supported, living) = (released + SUPPORTED_MONTHS, released + LIVING_MONTHS);
    match now {
        _ if now > living => Some(format!(
            "Harness's version of {} is at its end of life since {}",
            named(released),
            named(living)
        )),
        _ if now > supported => {
            Some(format!("Harness supported its version of {} until {}", named(released), named(supported)))
        }
        _ => None,
    }
}

/// The `yy.mm.build` that a tag begins with.
fn version(tag: &str) -> Option<[u32; 3]> {
    let mut parts = tag.splitn(3, '.');
    let mut number = || {
        let part = parts.next()?;
        let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        part[..digits].parse().ok()
    };
    Some([number()?, number()?, number()?])
}

/// An image by its digest, and as it was named.
fn resolved(arguments: &ProjectArguments, text: &str) -> Result<(Reference, Reference), Exit> {
    let reference = text.contains('/').then(|| text.parse::<Reference>());
    if let Some(Ok(given)) = &reference
        && let Some(digest) = given.digest
    {
        return Ok((given.name.digest(digest), given.clone()));
    }
    let project = match (&reference, arguments.file.exists()) {
        // A reference needs no project: its mistakes are not this command's.
        (Some(Ok(_)), true) => load(arguments).ok(),
        (_, true) => Some(load(arguments)?),
        (Some(_), false) => None,
        (None, false) => {
            return Err(Exit::Usage(format!(
                "error: `{text}` is no reference, and there is no `{}` that could have such a cell\n  help: give \
                 `registry/repository:tag`",
                arguments.file.display()
            )));
        }
    };
    let cell = project.as_ref().map(|project| cell(project, text)).transpose()?.flatten();
    let named = match (cell, reference) {
        (Some(named), _) | (None, Some(Ok(named))) => named,
        (None, Some(Err(error))) => {
            return Err(Exit::Usage(format!("error: {error}\n  help: give `registry/repository:tag`")));
        }
        (None, None) => {
            let cells =
                project.iter().flat_map(|project| &project.matrix.cells).map(|cell| cell.name.as_str());
            let hint = nearest(text, cells)
                .map(|name| format!("\n  help: did you mean `{name}`?"))
                .unwrap_or_default();
            return Err(Exit::Usage(format!("error: there is no cell `{text}`{hint}")));
        }
    };
    let client: std::sync::Arc<dyn Registry> = match &project {
        Some(project) => registry(&project.manifest, arguments.directory()).0,
        None => std::sync::Arc::new(HttpRegistry::new(RegistryOptions {
            credentials: Credentials::docker(),
            ..RegistryOptions::default()
        })),
    };
    let found = runtime()?.block_on(interruptible(async {
        client.head(&named).await.map_err(|error| Exit::Environment(format!("error: {error}")))
    }))?;
    match found {
        Some(descriptor) => Ok((named.name.digest(descriptor.digest), named)),
        None => Err(Exit::Usage(format!(
            "error: the registry has no `{named}`\n  help: push it by `railyard build --push`, or give another tag"
        ))),
    }
}

/// A reference of a cell, by its name (the first one then), or as one of its tags.
///
/// # Errors
/// A tag that several cells have, and a cell that has none that stays: which image is meant nobody can tell.
fn cell(project: &Project, text: &str) -> Result<Option<Reference>, Exit> {
    let cells = &project.matrix.cells;
    if let Some(named) = cells.iter().find(|cell| cell.name == text) {
        let why = match named.stamped.first() {
            Some(stamped) => {
                format!("its tags have the time of a run; give a whole reference, like `{}`", stamped.shown())
            }
            None => "it has no tag; give a whole reference".to_owned(),
        };
        let untold = || {
            Exit::Usage(format!("error: which image of the cell `{text}` is meant is open\n  help: {why}"))
        };
        return named.references.first().cloned().map(Some).ok_or_else(untold);
    }
    let tagged: Vec<(&Cell, &Reference)> = cells
        .iter()
        .filter_map(|cell| {
            let is_meant = |r: &&Reference| r.tag.as_deref() == Some(text) || r.to_string() == text;
            cell.references.iter().find(is_meant).map(|reference| (cell, reference))
        })
        .collect();
    if tagged.len() > 1 {
        let list = |(cell, reference): &(&Cell, &Reference)| format!("\n    {}: {reference}", cell.name);
        let all: String = tagged.iter().map(list).collect();
        return Err(Exit::Usage(format!(
            "error: {} cells have the tag `{text}`\n  help: give the name of one, or a whole reference:{all}",
            tagged.len()
        )));
    }
    Ok(tagged.first().map(|(_, reference)| (*reference).clone()))
}

fn shown(error: &DelegateError, exit: fn(String) -> Exit) -> Exit {
    exit(format!("error: {error}\n  help: {}", error.help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_delegates_are_compared_by_their_numbers() {
        assert_eq!(version("24.04.82804.minimal-full"), Some([24, 4, 82804]));
        assert_eq!(version("24.04.82804"), Some([24, 4, 82804]));
        assert!(version("24.11.1") > version("24.04.82804"));
        assert_eq!(version("latest"), None);
        assert_eq!(version("1.2"), None);
    }

    #[test]
    fn a_version_is_supported_for_six_months_and_lives_for_eight() {
        let month = |year: u32, month: u32| year * 12 + month;
        assert_eq!(aged([24, 4, 82804], month(2024, 10)), None);
        let late = aged([24, 4, 82804], month(2024, 11)).unwrap();
        assert!(late.contains("of 2024-04 until 2024-10"), "{late}");
        let over = aged([24, 5, 1], month(2025, 2)).unwrap();
        assert!(over.contains("of 2024-05 is at its end of life since 2025-01"), "{over}");
        assert_eq!(aged([24, 13, 1], month(2030, 1)), None);
        assert_eq!(aged([u32::MAX, 1, 1], month(2030, 1)), None);
    }
}
