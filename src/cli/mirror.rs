//! `mirror`: images of others copied into a registry.

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use tokio::sync::mpsc;

use super::ci_images::{ApiArguments, facts};
use super::exit::{Exit, first_of, print, say};
use super::interrupt::{interrupted, interruptible};
use super::load::{Loaded, open};
use super::world::{LockUse, registry, runtime};
use super::{DocumentFormat, Progress, ProjectArguments, mirrors};
use crate::ci_images::{Facts, HttpSettings, fetch_catalog};
use crate::manifest::{Manifest, Sources, parse};
use crate::mirror::{
    Listed, MirrorImage, MirrorOutcome, MirrorReport, MirrorSettings, MirrorTotals, Mirrored, planned,
    read_list, releases,
};
use crate::registry::Registry;
use crate::report;

/// Lists of tags asked for at a time.
const LISTS: usize = 8;

/// Options of `mirror`.
#[derive(Debug, Args)]
pub struct MirrorArguments {
    /// Images to copy, e.g. `harness/ci-addon:1.14.4`. With none here, in --list, --catalog or
    /// --ci-images: those of the manifest's mirrors.
    images: Vec<String>,
    /// A file with a reference a line, `-` for standard input; may be given several times.
    #[arg(long, value_name = "FILE")]
    list: Vec<PathBuf>,
    /// A catalog (JSON, or lines) on a server; of a name without a tag, the newest version is copied.
    #[arg(long, value_name = "URL")]
    catalog: Option<String>,
    /// The CI images of a Harness account, by its API: see `ci-images --help` for key and account.
    #[arg(long, value_enum, value_name = "WHICH")]
    ci_images: Option<CiImageList>,
    /// Only these mirrors of the manifest; may be given several times.
    #[arg(long = "mirror", value_name = "NAME")]
    mirrors: Vec<String>,
    /// Registry and path that the names are put behind, instead of the mirror's own.
    #[arg(long, value_name = "PREFIX", env = "RAILYARD_MIRROR_TO")]
    to: Option<String>,
    /// Registry and path of images that name no registry; `docker.io` unless given.
    #[arg(long, value_name = "PREFIX")]
    from: Option<String>,
    /// Copy signatures and other referrers too.
    #[arg(long)]
    referrers: bool,
    /// Say what would be copied, and copy nothing.
    #[arg(long)]
    dry_run: bool,
    /// Refuse to add to the lock.
    #[arg(long)]
    locked: bool,
    /// Begin nothing more after the first failure.
    #[arg(long)]
    fail_fast: bool,
    /// Blobs on their way at a time.
    #[arg(long, value_name = "N")]
    transfers: Option<usize>,
    /// The form of the output.
    #[arg(long, value_enum, default_value_t = DocumentFormat::Table)]
    format: DocumentFormat,
    /// How progress is shown.
    #[arg(long, value_enum, default_value_t = Progress::Auto)]
    progress: Progress,
    #[command(flatten)]
    api: ApiArguments,
}

/// Which of an account's images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CiImageList {
    /// The defaults.
    Default,
    /// Those in use: defaults with what the account has set.
    Current,
}

/// `railyard mirror`.
pub fn mirror(arguments: &ProjectArguments, options: &MirrorArguments) -> Result<(), Exit> {
    let loaded = arguments.file.exists().then(|| open(arguments)).transpose()?;
    let facts = facts(&options.api)?;
    let runtime = runtime()?;
    let result = runtime.block_on(mirror_async(arguments, options, loaded, &facts));
    if matches!(result, Err(Exit::Interrupted)) {
        say("interrupted: what was sent stays; run again to go on");
    }
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    result
}

async fn mirror_async(
    arguments: &ProjectArguments,
    options: &MirrorArguments,
    loaded: Option<Loaded>,
    facts: &Facts,
) -> Result<(), Exit> {
    let manifest = loaded.as_ref().map_or_else(bare_manifest, |loaded| loaded.manifest.clone());
    let (registry, _) = registry(&manifest, arguments.directory());
    let transfers = options.transfers.or(manifest.limits.transfers).unwrap_or(8);
    let is_listed = !options.images.is_empty()
        || !options.list.is_empty()
        || options.catalog.is_some()
        || options.ci_images.is_some();
    let images = async {
        if is_listed {
            listed(options, facts, &*registry).await
        } else {
            of_manifest(arguments, options, loaded, &registry).await
        }
    };
    let mut images = interruptible(images).await?;
    for image in &mut images {
        image.referrers |= options.referrers;
    }
    let Mirrored { mut reports, interrupted } = if options.dry_run {
        let reports = interruptible(async { Ok(planned(&*registry, &images).await) }).await?;
        Mirrored { reports, interrupted: false }
    } else {
        let settings = MirrorSettings { transfers, fail_fast: options.fail_fast };
        copy(&registry, &images, settings, options.progress).await
    };
    let judged = match interrupted {
        true => Err(Exit::Interrupted),
        false => {
            let judging = async {
                support(&*registry, &images, &mut reports, facts).await;
                Ok(())
            };
            interruptible(judging).await
        }
    };
    // What was copied is told also of a run that was interrupted.
    let printed = match options.format {
        DocumentFormat::Table => print(&report::mirrored(&reports)),
        DocumentFormat::Json => print(&report::mirrored_json(&reports)),
    };
    first_of([judged, conclude(&reports), printed])
}

/// Copies until the end or an interrupt, with progress on standard error.
pub async fn copy(
    registry: &Arc<dyn Registry>,
    images: &[MirrorImage],
    settings: MirrorSettings,
    progress: Progress,
) -> Mirrored {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let mut reporter = super::build::reporter(progress);
    let shown = std::thread::spawn(move || {
        while let Some(event) = receiver.blocking_recv() {
            reporter.event(&event);
        }
        reporter.finish();
    });
    let mirrored = crate::mirror::mirror(registry.clone(), images, settings, sender, interrupted()).await;
    // The sender has gone with the run.
    let _ = shown.join();
    mirrored
}

/// The exit code that reports stand for.
pub fn conclude(reports: &[MirrorReport]) -> Result<(), Exit> {
    let failed = MirrorTotals::of(reports).failed;
    if failed == 0 {
        return Ok(());
    }
    match reports.iter().any(|report| report.environment) {
        true => Err(Exit::Environment(format!(
            "error: {failed} of {} images were not mirrored; a registry or credentials are at fault",
            reports.len()
        ))),
        false => Err(Exit::Failed),
    }
}

/// The manifest of a directory that has none: every setting is its default.
pub fn bare_manifest() -> Manifest {
    let mut sources = Sources::default();
    sources.add("-", "schema = 1\n[project]\nname = \"mirror\"\n");
    parse(sources).unwrap_or_else(|_| unreachable!("this manifest is well-formed"))
}

/// The images of the manifest's mirrors, pinned.
async fn of_manifest(
    arguments: &ProjectArguments,
    options: &MirrorArguments,
    loaded: Option<Loaded>,
    registry: &Arc<dyn Registry>,
) -> Result<Vec<MirrorImage>, Exit> {
    let help =
        "name images, give --list, --catalog or --ci-images, or declare `[mirrors.NAME]` in the manifest";
    let Some(mut loaded) = loaded else {
        return Err(Exit::Usage(format!(
            "error: there is nothing to mirror: there is no manifest `{}`\n  help: {help}",
            arguments.file.display()
        )));
    };
    let known: Vec<String> = loaded.mirrors.iter().map(|mirror| mirror.name.clone()).collect();
    if let Some(unknown) = options.mirrors.iter().find(|name| !known.contains(name)) {
        return Err(Exit::Usage(format!(
            "error: --mirror: there is no mirror `{unknown}`\n  help: {}",
            if known.is_empty() {
                help.to_owned()
            } else {
                format!("the manifest has: {}", known.join(", "))
            }
        )));
    }
    if options.from.is_some() {
        return Err(Exit::Usage(
            "error: --from goes with images that are listed here\n  help: set `from` of the mirror, or a variable that it uses".into(),
        ));
    }
    loaded.mirrors.retain(|mirror| options.mirrors.is_empty() || options.mirrors.contains(&mirror.name));
    if loaded.mirrors.is_empty() {
        return Err(Exit::Usage(format!("error: there is nothing to mirror\n  help: {help}")));
    }
    let sources = &loaded.manifest.sources;
    let to = options.to.as_deref();
    let mut images = mirrors::images(&loaded.mirrors, sources, &loaded.directory, &loaded.lock, to)?;
    let usage = match (options.locked, options.dry_run) {
        (true, _) => LockUse::Refuse,
        (false, true) => LockUse::Borrow,
        (false, false) => LockUse::Complete,
    };
    mirrors::complete(&mut images, &mut loaded.lock, &loaded.lock_path, registry, usage).await?;
    Ok(images)
}

/// The images that the command line names, in order.
async fn listed(
    options: &MirrorArguments,
    facts: &Facts,
    registry: &dyn Registry,
) -> Result<Vec<MirrorImage>, Exit> {
    let Some(to) = options.to.as_deref() else {
        return Err(Exit::Usage(
            "error: it is not said where the images go\n  help: give --to PREFIX, e.g. `--to registry.example.com/acme`".into(),
        ));
    };
    if !options.mirrors.is_empty() || options.locked {
        return Err(Exit::Usage(
            "error: --mirror and --locked are about the manifest's mirrors; images are listed here too\n  help: leave one out".into(),
        ));
    }
    let place = "the command line".to_owned();
    let mut names: Vec<Listed> =
        options.images.iter().map(|name| Listed { name: name.clone(), place: place.clone() }).collect();
    for path in &options.list {
        names.extend(read_file(path)?);
    }
    if let Some(which) = options.ci_images {
        names.extend(of_account(which, options, facts).await?);
    }
    let mut problems = Vec::new();
    let mut images = mirrors::named(&names, options.from.as_deref(), to, &mut problems);
    if let Some(address) = &options.catalog {
        let settings = HttpSettings::default();
        let catalog = fetch_catalog(address, settings)
            .await
            .map_err(|error| Exit::Environment(format!("error: {error}\n  help: {}", error.help)))?;
        for listed in newest(catalog, options, to, registry).await? {
            images.extend(mirrors::named(&[listed], options.from.as_deref(), to, &mut problems));
        }
    }
    mirrors::finish(&mut images, problems)?;
    if images.is_empty() {
        return Err(Exit::Usage(
            "error: the lists hold no image\n  help: see that they are what you meant".into(),
        ));
    }
    Ok(images)
}

fn read_file(path: &std::path::Path) -> Result<Vec<Listed>, Exit> {
    let name = path.display().to_string();
    if name == "-" {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(|error| Exit::Usage(format!("error: --list: failed to read standard input: {error}")))?;
        return Ok(read_list(&text, "standard input"));
    }
    let text = std::fs::read_to_string(path)
        .map_err(|error| Exit::Usage(format!("error: --list: failed to read `{name}`: {error}")))?;
    Ok(read_list(&text, &name))
}

/// The images of an account's configuration; other values are passed over, and said.
async fn of_account(
    which: CiImageList,
    options: &MirrorArguments,
    facts: &Facts,
) -> Result<Vec<Listed>, Exit> {
    let api = options.api.connect(facts)?;
    let failed = super::ci_images::failed;
    let mut config = api.defaults().await.map_err(failed)?;
    if which == CiImageList::Current {
        let set = api.customer(true).await.map_err(failed)?.fields;
        config.fields.extend(set.into_iter().filter(|(_, value)| !value.is_null()));
    }
    let own = options.to.as_deref().map(|to| format!("{to}/"));
    let mut names = Vec::new();
    for (field, value) in &config.fields {
        match config.image(field) {
            Some(image) if own.as_ref().is_some_and(|own| image.starts_with(own)) => {
                say(&format!("note: field `{field}` is set to the mirror's own `{image}`"));
            }
            Some(image) => names.push(Listed { name: image.to_owned(), place: format!("field `{field}`") }),
            None => say(&format!("note: field `{field}` holds no image and is passed over: {value}")),
        }
    }
    Ok(names)
}

/// A catalog's names with tags: of one without, the newest version, else `latest`.
async fn newest(
    catalog: Vec<Listed>,
    options: &MirrorArguments,
    to: &str,
    registry: &dyn Registry,
) -> Result<Vec<Listed>, Exit> {
    let mut names = Vec::new();
    for Listed { name, place } in catalog {
        let Ok(image) = MirrorImage::new(&name, options.from.as_deref(), to) else {
            names.push(Listed { name, place });
            continue;
        };
        if image.source.tag.is_some() || image.source.digest.is_some() {
            names.push(Listed { name, place });
            continue;
        }
        let tags = registry.tags(&image.source.name).await;
        let tags = tags.map_err(|error| Exit::Environment(format!("error: {error}")))?;
        let tag = releases("1.0.0", &tags).1.unwrap_or_else(|| "latest".into());
        names.push(Listed { name: format!("{name}:{tag}"), place });
    }
    Ok(names)
}

/// How the versions stand, of images that something is published about.
async fn support(
    registry: &dyn Registry,
    images: &[MirrorImage],
    reports: &mut [MirrorReport],
    facts: &Facts,
) {
    use futures_util::StreamExt as _;
    let asked = images.iter().zip(reports.iter_mut()).filter_map(|(image, report)| {
        let tag = image.source.tag.clone().filter(|_| facts.knows(image.repository()))?;
        if report.outcome == MirrorOutcome::Skipped {
            return None;
        }
        Some(async move {
            let tags = registry.tags(&image.source.name).await.unwrap_or_default();
            report.support = facts.support(image.repository(), &tag, &tags, !tags.is_empty());
        })
    });
    futures_util::stream::iter(asked).buffer_unordered(LISTS).collect::<Vec<()>>().await;
}
