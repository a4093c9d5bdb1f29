//! `build` and `update`: the lock completed, a plan, a run, its end.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::exit::{Exit, print, say};
use super::load::{Project, load, warn, write_lock};
use super::settings::{cpus, created, secrets, store_path};
use super::{BuildArguments, Progress, ProjectArguments};
use crate::engine::{DockerEngine, Engine, PullCredentials};
use crate::event::{CellOutcome, Event};
use crate::matrix::CellId;
use crate::oci::Reference;
use crate::plan::{Actions, Delivery, Inputs, plan};
use crate::registry::{Credential, Credentials, HostSettings, HttpRegistry, Registry, RegistryOptions};
use crate::report::{self, Bars, Plain, Quiet, Reporter};
use crate::run::{
    Behaviour, Blobs, Cache, CredentialLookup, Downloads, External, Images, Limits, Pinner, RunEnd, Services,
    Settings, StepError, Worker, dispatch, known_records, write_docker_archive, write_layout,
};
use crate::store::{ImageRecord, Store};

/// Where `--output` writes.
enum Output {
    Layout(PathBuf),
    Archive(PathBuf),
}

/// Where `--report` writes.
enum Report {
    Json(PathBuf),
    Junit(PathBuf),
}

fn outputs(arguments: &BuildArguments) -> Result<Vec<Output>, Exit> {
    let parse = |text: &String| match text.split_once(':') {
        Some(("oci", path)) if !path.is_empty() => Ok(Output::Layout(path.into())),
        Some(("docker-archive", path)) if !path.is_empty() => Ok(Output::Archive(path.into())),
        _ => Err(Exit::Usage(format!(
            "error: `--output {text}` is neither `oci:DIR` nor `docker-archive:FILE`"
        ))),
    };
    arguments.output.iter().map(parse).collect()
}

fn reports(arguments: &BuildArguments) -> Result<Vec<Report>, Exit> {
    let parse = |text: &String| match text.split_once(':') {
        Some(("json", path)) if !path.is_empty() => Ok(Report::Json(path.into())),
        Some(("junit", path)) if !path.is_empty() => Ok(Report::Junit(path.into())),
        _ => Err(Exit::Usage(format!("error: `--report {text}` is neither `json:FILE` nor `junit:FILE`"))),
    };
    arguments.report.iter().map(parse).collect()
}

fn limits(project: &Project, jobs: Option<usize>) -> Limits {
    let own = &project.manifest.limits;
    Limits {
        containers: jobs.or(own.containers).unwrap_or_else(cpus).max(1),
        transfers: own.transfers.unwrap_or(8).max(1),
        cpu: own.cpu.unwrap_or_else(cpus).max(1),
    }
}

/// Everything that talks to the outside.
struct World {
    store: Arc<Store>,
    registry: Arc<dyn Registry>,
    engine: Arc<dyn Engine>,
    blobs: Arc<Blobs>,
    images: Arc<Images>,
    downloads: Arc<Downloads>,
    credentials: CredentialLookup,
}

fn world(arguments: &ProjectArguments, project: &Project) -> Result<World, Exit> {
    let environment = |e: &dyn std::fmt::Display| Exit::Environment(format!("error: {e}"));
    let store = Arc::new(Store::open(&store_path(arguments)?).map_err(|e| environment(&e))?);
    let settings = project.manifest.registries.iter().map(|(host, s)| {
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
    let registry: Arc<dyn Registry> = http;
    let engine: Arc<dyn Engine> = Arc::new(DockerEngine::connect(None));
    let blobs = Arc::new(Blobs::new(store.clone(), registry.clone()));
    let platform = project.matrix.platform.clone();
    let images = Arc::new(Images::new(store.clone(), registry.clone(), blobs.clone(), platform));
    let downloads = Arc::new(Downloads::new(store.clone(), blobs.traffic.clone()));
    Ok(World { store, registry, engine, blobs, images, downloads, credentials })
}

fn runtime() -> Result<tokio::runtime::Runtime, Exit> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Exit::Environment(format!("error: failed to start the runtime: {e}")))
}

/// `railyard build`.
pub fn build(arguments: &ProjectArguments, build: &BuildArguments) -> Result<(), Exit> {
    let outputs = outputs(build)?;
    let reports = reports(build)?;
    let project = load(arguments)?;
    warn(&project);
    if build.push && project.manifest.project.repository.is_none() && arguments.repository.is_none() {
        return Err(Exit::Usage(
            "error: there is no repository to push to\n  help: set `repository` under `[project]`, or give --repository".into(),
        ));
    }
    let runtime = runtime()?;
    let result = runtime.block_on(build_async(arguments, build, project, &outputs, &reports));
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    result
}

async fn build_async(
    arguments: &ProjectArguments,
    build: &BuildArguments,
    mut project: Project,
    outputs: &[Output],
    reports: &[Report],
) -> Result<(), Exit> {
    let world = world(arguments, &project)?;
    let limits = limits(&project, build.jobs);
    complete_lock(&mut project, &world, build.locked, limits.transfers).await?;
    let created = created()?;
    let layouts = super::plan::layouts(&project)?;
    let delivery = Delivery { push: build.push, load: build.load, checks: !build.no_checks };
    let inputs = Inputs { lock: &project.lock, layouts: &layouts, created: created.as_deref(), delivery };
    let plan = Arc::new(plan(&project.matrix, &project.chosen, inputs));
    let matrix = Arc::new(project.matrix.clone());
    let cache = || {
        let repository = matrix.cache.clone().filter(|_| !build.no_cache)?;
        Some(Cache::new(repository, world.registry.clone(), world.blobs.clone(), world.store.clone()))
    };
    let (known, records) = if build.no_reuse {
        Default::default()
    } else {
        known_records(
            &matrix,
            &plan,
            &project.lock,
            &world.store,
            &world.images,
            &world.blobs,
            cache().as_ref(),
        )
        .await
        .map_err(|e| Exit::steps(&[e]))?
    };
    let actions = Actions::decide(&plan, &known);
    let run_id = run_id();
    let settings = Settings {
        run_id: run_id.clone(),
        logs: world.store.root().join("logs").join(&run_id),
        created,
        locked: build.locked,
        secrets: secrets(&matrix),
        credentials: world.credentials.clone(),
        level: 4,
    };
    let (sender, receiver) = mpsc::unbounded_channel();
    let reporter = reporter(build.progress);
    let shown = std::thread::spawn(move || show(reporter, receiver));
    let services = Services {
        store: world.store.clone(),
        registry: world.registry.clone(),
        engine: world.engine.clone(),
        images: world.images.clone(),
        blobs: world.blobs.clone(),
        downloads: world.downloads.clone(),
        cache: cache(),
    };
    let lock = Arc::new(project.lock.clone());
    let worker = Worker::new(matrix.clone(), plan.clone(), lock, services, records, settings, sender.clone());
    let worker = Arc::new(worker);
    let interrupts = interrupts();
    let behaviour = Behaviour { limits, fail_fast: build.fail_fast };
    let mut end = dispatch(&matrix, &plan, &actions, worker.clone(), behaviour, sender, interrupts).await;
    let labels = worker.labels();
    if end.summary.interrupted || !end.summary.failures.is_empty() {
        // Whatever an aborted step left; an engine that is gone has nothing left to sweep.
        let _ = world.engine.sweep(&labels).await;
    }
    world.engine.settle().await;
    let added = record_outputs(&mut project, &worker);
    if added && !build.locked {
        write_lock(&project.lock_path, &project.lock)?;
    }
    let delivered = deliver(&worker, &world, &plan, outputs, &mut end).await;
    drop(worker);
    let _ = shown.join();
    delivered?;
    conclude(build, outputs, reports, &end)
}

fn show(mut reporter: Box<dyn Reporter>, mut receiver: mpsc::UnboundedReceiver<Event>) {
    while let Some(event) = receiver.blocking_recv() {
        reporter.event(&event);
    }
    reporter.finish();
}

fn reporter(progress: Progress) -> Box<dyn Reporter> {
    let terminal = std::io::stderr().is_terminal();
    match progress {
        Progress::Quiet => Box::new(Quiet),
        Progress::Bars => Box::new(Bars::new()),
        Progress::Auto if terminal => Box::new(Bars::new()),
        Progress::Auto | Progress::Plain => Box::new(Plain::new(std::io::stderr())),
    }
}

/// Each Ctrl-C is a message; SIGTERM, behind which a SIGKILL may come, counts as two.
fn interrupts() -> mpsc::UnboundedReceiver<()> {
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
        let Ok(mut terminate) = terminate else { return };
        loop {
            tokio::select! {
                result = tokio::signal::ctrl_c() => if result.is_err() { return },
                _ = terminate.recv() => {
                    let _ = sender.send(());
                }
            }
            if sender.send(()).is_err() {
                return;
            }
        }
    });
    receiver
}

fn run_id() -> String {
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    format!("{now}-{}", std::process::id())
}

async fn complete_lock(
    project: &mut Project,
    world: &World,
    locked: bool,
    transfers: usize,
) -> Result<(), Exit> {
    let external = External::of(&project.matrix, &project.chosen);
    let missing = external.missing(&project.lock);
    if missing.is_empty() {
        return Ok(());
    }
    if locked {
        return Err(Exit::Usage(format!(
            "error: --locked: the lock `{}` lacks {}\n  help: run `railyard build` or `railyard update` without --locked, and commit the lock",
            project.lock_path.display(),
            missing.join(", ")
        )));
    }
    let pinner = pinner(world, transfers);
    let before = project.lock.clone();
    let result = pinner.complete(&external, &mut project.lock, &project.matrix.platform).await;
    if project.lock != before {
        write_lock(&project.lock_path, &project.lock)?;
    }
    let added = result.map_err(|errors| Exit::steps(&errors))?;
    for line in added {
        say(&format!("locked {line}"));
    }
    Ok(())
}

fn pinner(world: &World, transfers: usize) -> Pinner {
    Pinner {
        images: world.images.clone(),
        downloads: world.downloads.clone(),
        blobs: world.blobs.clone(),
        transfers,
    }
}

fn record_outputs(project: &mut Project, worker: &Worker) -> bool {
    let mut added = false;
    for (key, diff_id) in worker.outputs() {
        project.lock.outputs.entry(key).or_insert_with(|| {
            added = true;
            diff_id
        });
    }
    added
}

/// Writes `--output`s out of the store.
async fn deliver(
    worker: &Worker,
    world: &World,
    plan: &crate::plan::Plan,
    outputs: &[Output],
    end: &mut RunEnd,
) -> Result<(), Exit> {
    if outputs.is_empty() || end.summary.interrupted {
        return Ok(());
    }
    let good: Vec<&str> = end
        .summary
        .cells
        .iter()
        .filter(|c| matches!(c.outcome, CellOutcome::Built | CellOutcome::Current))
        .map(|c| c.cell.as_str())
        .collect();
    let images: Vec<(ImageRecord, Vec<Reference>)> = plan
        .cells
        .iter()
        .flatten()
        .filter(|c| c.chosen)
        .filter_map(|c| worker.deliverable(CellId(c.cell.0)))
        .filter(|(name, ..)| good.contains(&name.as_str()))
        .map(|(_, image, references)| (image, references))
        .collect();
    let progress: crate::registry::Progress = Arc::new(|_| {});
    for (image, _) in &images {
        for layer in &image.layers {
            world.blobs.ensure(layer, &progress).await.map_err(|e| Exit::steps(&[e]))?;
        }
    }
    for output in outputs {
        let result = match output {
            Output::Layout(path) => write_layout(&world.store, path, &images),
            Output::Archive(path) => write_docker_archive(&world.store, path, &images),
        };
        result.map_err(|e: StepError| Exit::steps(&[e]))?;
    }
    Ok(())
}

fn conclude(
    build: &BuildArguments,
    outputs: &[Output],
    reports: &[Report],
    end: &RunEnd,
) -> Result<(), Exit> {
    let summary = &end.summary;
    print(&report::summary(summary))?;
    let failures = report::failures(&summary.failures);
    if !failures.is_empty() {
        say(failures.trim_end());
    }
    for report in reports {
        let (path, text) = match report {
            Report::Json(path) => {
                (path, serde_json::to_string_pretty(summary).expect("summaries have string keys"))
            }
            Report::Junit(path) => (path, report::junit(summary)),
        };
        std::fs::write(path, text)
            .map_err(|e| Exit::Environment(format!("error: failed to write `{}`: {e}", path.display())))?;
    }
    if !build.push && !build.load && outputs.is_empty() {
        say("the images stay in railyard's store; give --push, --load or --output to deliver them");
    }
    if summary.interrupted {
        return Err(Exit::Interrupted);
    }
    if summary.failures.is_empty() {
        return Ok(());
    }
    if end.environment { Err(Exit::Environment(environment_words(summary))) } else { Err(Exit::Failed) }
}

fn environment_words(summary: &crate::event::Summary) -> String {
    let failed = summary.count(CellOutcome::Failed);
    format!("{failed} cells failed because of the environment; run again once it is mended, nothing is lost")
}

/// `railyard update`.
pub fn update(arguments: &ProjectArguments, names: &[String], dry_run: bool) -> Result<(), Exit> {
    let mut project = load(arguments)?;
    let runtime = runtime()?;
    runtime.block_on(async {
        let world = world(arguments, &project)?;
        let external = External::of(&project.matrix, &project.chosen);
        let wanted = |text: &str| names.is_empty() || names.iter().any(|name| text.contains(name.as_str()));
        let before = project.lock.clone();
        let mut lock = before.clone();
        lock.images.retain(|reference, _| {
            !(external.images.contains_key(reference) && wanted(&reference.to_string()))
        });
        lock.downloads.retain(|url, _| !(external.downloads.contains_key(url) && wanted(url)));
        let pinner = pinner(&world, 8);
        pinner
            .complete(&external, &mut lock, &project.matrix.platform)
            .await
            .map_err(|errors| Exit::steps(&errors))?;
        if names.is_empty() {
            // Entries that nothing uses any more go only when everything was looked at.
            let whole = arguments.only.is_empty();
            lock.images.retain(|reference, _| !whole || external.images.contains_key(reference));
            lock.downloads.retain(|url, _| !whole || external.downloads.contains_key(url));
        }
        let moves = moves(&before, &lock);
        project.lock = lock;
        if !dry_run && project.lock != before {
            write_lock(&project.lock_path, &project.lock)?;
        }
        let text = if moves.is_empty() { "nothing has moved\n".to_owned() } else { moves.join("\n") + "\n" };
        print(&text)
    })
}

fn moves(before: &crate::lock::Lock, after: &crate::lock::Lock) -> Vec<String> {
    let images = |lock: &crate::lock::Lock| -> HashMap<String, String> {
        let images = lock.images.iter().map(|(r, i)| (r.to_string(), i.digest.to_string()));
        images.chain(lock.downloads.iter().map(|(url, d)| (url.clone(), d.sha256.to_string()))).collect()
    };
    let (old, new) = (images(before), images(after));
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .filter_map(|name| match (old.get(name), new.get(name)) {
            (Some(was), Some(is)) if was == is => None,
            (Some(was), Some(is)) => Some(format!("moved    {name}\n         {was}\n      -> {is}")),
            (None, Some(is)) => Some(format!("added    {name} {is}")),
            (Some(_), None) => Some(format!("removed  {name}")),
            (None, None) => None,
        })
        .collect()
}
