//! `build`: the lock completed, a plan, a run, its end.

mod outputs;
mod planned;

use std::hash::BuildHasher;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use self::outputs::{Output, Report, conclude, deliver, outputs, reports, write_reports};
use self::planned::{planned, refuse_drift, refuse_open};
use super::exit::{Exit, first_of, print, say};
use super::interrupt::{CLEANUP, interruptible, is_aborted, presses, running};
use super::load::{Loaded, Project, open, warn};
use super::lock_file::change_lock;
use super::settings::{cpus, created, secrets};
use super::world::{LockUse, World, complete_lock, freshness, runtime, world};
use super::{BuildArguments, Progress, ProjectArguments, mirrors, needed, pipeline, versions};
use crate::engine::Engine;
use crate::event::{Event, Summary};
use crate::mirror::{MirrorImage, MirrorReport, MirrorSettings};
use crate::plan::{Actions, Delivery, Durations, Estimate, Inputs, Limits, Wanted, plan};
use crate::report::{self, Bars, Plain, Quiet, Reporter};
use crate::run::{
    Behaviour, Cache, Knowledge, RecordError, Recorder, RunEnd, Services, Settings, Swept, Worker, dispatch,
    measured, publish_lock, sweep_leftovers,
};
use crate::store::{RunRow, Store};

/// How long the engine may take to remove what a run left.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many steps may run at a time.
pub fn limits(project: &Project, jobs: Option<usize>) -> Limits {
    let own = &project.manifest.limits;
    Limits {
        containers: jobs.or(own.containers).unwrap_or_else(cpus).max(1),
        transfers: own.transfers.unwrap_or(8).max(1),
        cpu: own.cpu.unwrap_or_else(cpus).max(1),
    }
}

/// `railyard build`.
pub fn build(arguments: &ProjectArguments, build: &BuildArguments) -> Result<(), Exit> {
    let outputs = outputs(build)?;
    let reports = reports(build)?;
    let loaded = open(arguments)?;
    if build.push && loaded.manifest.project.repository.is_none() && arguments.repository.is_none() {
        return Err(Exit::Usage(
            "error: there is no repository to push to\n  help: set `repository` under `[project]`, or give --repository".into(),
        ));
    }
    let runtime = runtime()?;
    let result = runtime.block_on(build_async(arguments, build, loaded, &outputs, &reports));
    runtime.shutdown_timeout(Duration::from_secs(5));
    result
}

async fn build_async(
    arguments: &ProjectArguments,
    build: &BuildArguments,
    mut loaded: Loaded,
    outputs: &[Output],
    reports: &[Report],
) -> Result<(), Exit> {
    versions::complete(&mut loaded, build.locked).await?;
    let mut project = loaded.expand()?;
    warn(&project);
    let planned = build.plan.as_deref().map(|path| planned(path, arguments, &mut project)).transpose()?;
    let world = world(arguments, &project.manifest)?;
    let files = world.store.sweep_temporary();
    let limits = limits(&project, build.jobs);
    let usage = if build.locked { LockUse::Refuse } else { LockUse::Complete };
    complete_lock(&mut project, &world, usage, limits.transfers).await?;
    let mirrored = match build.push {
        true => mirrors::pinned(&mut project, &world.registry, usage).await?,
        false => Vec::new(),
    };
    let created = created()?;
    let layouts = super::prepared::layouts(&project)?;
    let delivery = Delivery { push: build.push, load: build.load, checks: !build.no_checks };
    let inputs = Inputs { lock: &project.lock, layouts: &layouts, created: created.as_deref(), delivery };
    let plan = Arc::new(plan(&project.matrix, &project.chosen, inputs));
    if build.locked {
        refuse_open(&project, &plan)?;
    }
    if let Some(planned) = &planned {
        refuse_drift(planned, &project, &plan, &layouts, created.as_deref(), &mirrored)?;
    }
    let matrix = Arc::new(project.matrix.clone());
    let freshness = freshness(&project, &build.force, !build.locked)?;
    let shared = world.cache(&project).filter(|_| !build.no_cache);
    // Where its credential is missing all that is missing is told below.
    let readable = |cache: &&Cache| needed::readable(&project, cache.repository());
    let knowledge = if build.no_reuse {
        Knowledge::default()
    } else {
        world.look_up(&project, &plan, shared.as_ref().filter(readable), &freshness).await?
    };
    let Knowledge { known, records, anew } = knowledge;
    let actions = Actions::decide(&plan, &known);
    let mirroring = async { Ok(needed::mirror_uses(&project, &*world.registry, &mirrored).await) };
    let mirroring = interruptible(mirroring).await?;
    needed::demand(&project, &plan, &actions, &mirroring, shared.is_some())?;
    let found = measured(&world.store, &matrix.project, &Wanted::of(&matrix, &plan, &actions))
        .map_err(|e| Exit::Environment(format!("error: {e}")))?;
    let durations = Durations::new(&matrix, &plan, &actions, &found);
    let estimate = Estimate::new(&matrix, &plan, &actions, limits, &durations);
    if let Some(patience) = build.wait_engine
        && pipeline::needs_engine(&plan, &actions)
    {
        interruptible(pipeline::wait_for_engine(&*world.engine, patience)).await?;
    }
    let run_id = run_id();
    let begun = Instant::now();
    let recorder = Recorder::start(
        world.store.clone(),
        RunRow {
            id: run_id.clone(),
            project: matrix.project.clone(),
            manifest: arguments.file.display().to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            arguments: super::history::recorded_arguments(arguments, build),
            estimated: estimate.seconds.map(|seconds| (seconds * 1e6) as u64),
            started: jiff::Timestamp::now().as_millisecond(),
            ..RunRow::default()
        },
    );
    let settings = Settings {
        run_id: run_id.clone(),
        labels: world.store.run_labels(&run_id, recorder.is_guarded()),
        logs: world.store.root().join("logs").join(&run_id),
        timestamp: jiff::Timestamp::now().strftime("%Y%m%d%H%M%S").to_string(),
        created,
        locked: build.locked,
        secrets: secrets(&matrix),
        credentials: world.credentials.clone(),
        level: 4,
        no_reuse: build.no_reuse,
        layouts: layouts.clone(),
        anew: anew.iter().map(|(id, why)| (plan.step(*id).key, *why)).collect(),
    };
    let (sender, receiver) = mpsc::unbounded_channel();
    let asks = pipeline::needs_engine(&plan, &actions);
    let sweeping =
        tokio::spawn(sweep(world.engine.clone(), world.store.clone(), asks, files, sender.clone()));
    let reporter = reporter(build.progress);
    let shown = std::thread::spawn(move || show(reporter, recorder, receiver));
    let services = Services {
        store: world.store.clone(),
        registry: world.registry.clone(),
        engine: world.engine.clone(),
        images: world.images.clone(),
        blobs: world.blobs.clone(),
        downloads: world.downloads.clone(),
        cache: shared,
        provenances: Arc::new(world.provenances()),
    };
    let lock = Arc::new(project.lock.clone());
    let worker = Worker::new(matrix.clone(), plan.clone(), lock, services, records, settings, sender.clone());
    let worker = Arc::new(worker);
    let behaviour = Behaviour { limits, fail_fast: build.fail_fast, durations };
    let is_running = running();
    let mut end = dispatch(&matrix, &plan, &actions, worker.clone(), behaviour, sender, presses()).await;
    clear_up(&world, &worker, &end).await;
    finish_sweep(sweeping).await;
    drop(is_running);
    let ended_well = !end.summary.interrupted;
    // From here on every part is carried out, whatever becomes of the others.
    let locked = record_outputs(&mut project, &worker, build.locked);
    if build.push {
        let kept = keep_lock(&project, &world, build.no_cache, &end);
        let kept = async {
            kept.await;
            Ok(())
        };
        end.summary.interrupted |= interruptible(kept).await.is_err();
    }
    let delivered = interruptible(deliver(&worker, &world, &plan, outputs, &end)).await;
    let delivered = note_interrupt(&mut end, delivered);
    drop(worker);
    // Mirroring has a display of its own.
    let recorder = shown.join().map_err(|_| RecordError::Panicked);
    let mirrored = mirror(build, &world, &mirrored, limits, &mut end).await;
    let after = ended_well.then(|| begun.elapsed());
    if let Err(error) = recorder.and_then(|recorder| finish_record(recorder, &end.summary, after)) {
        say(&format!("note: the history of this run is not complete: {error}"));
    }
    let handed_over = pipeline::hand_over(build, &matrix, &end.summary);
    let reported = write_reports(reports, &end.summary);
    let printed = match mirrored.is_empty() {
        true => Ok(()),
        false => print(&report::mirrored(&mirrored)),
    };
    let concluded = conclude(build, outputs, &end, &estimate);
    first_of([concluded, locked, delivered, handed_over, reported, printed])
}

/// Removes what the run left in the engine, in bounded time: one that does not answer keeps nobody.
async fn clear_up(world: &World, worker: &Worker, end: &RunEnd) {
    let labels = worker.labels();
    let work = async {
        if end.summary.interrupted || !end.summary.failures.is_empty() {
            // Whatever an aborted step left; an engine that is gone has nothing left to sweep.
            let _ = world.engine.sweep(&labels).await;
        }
        world.engine.settle().await;
    };
    let aborted = async {
        let mut presses = presses();
        while !is_aborted() && presses.recv().await.is_some() {}
        tokio::time::sleep(CLEANUP).await;
    };
    let is_done = tokio::select! {
        biased;
        () = work => true,
        () = tokio::time::sleep(PATIENCE) => false,
        () = aborted => false,
    };
    if !is_done {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        say(&format!(
            "note: the engine has not removed all containers of this run\n  help: `docker ps --all --filter label={}` lists them",
            labels.join(" --filter label=")
        ));
    }
}

/// Ends the record of a run. The steps' own end is in it; an interrupt `after` that is the end of the run.
fn finish_record(recorder: Recorder, summary: &Summary, after: Option<Duration>) -> Result<(), RecordError> {
    if let Some(duration) = after.filter(|_| summary.interrupted) {
        recorder.event(&Event::RunFinished {
            duration,
            interrupted: true,
            bytes_sent: summary.bytes_sent,
            bytes_fetched: summary.bytes_fetched,
        });
    }
    recorder.finish()
}

/// An interrupt of what follows the steps is one of the run.
fn note_interrupt(end: &mut RunEnd, result: Result<(), Exit>) -> Result<(), Exit> {
    match result {
        Err(Exit::Interrupted) => {
            end.summary.interrupted = true;
            Ok(())
        }
        other => other,
    }
}

/// How long a run that is over waits for the sweep of what others left.
const SWEEP_REST: Duration = Duration::from_secs(10);

/// Removes what killed runs left, beside the run, and says so.
async fn sweep(
    engine: Arc<dyn Engine>,
    store: Arc<Store>,
    asks: bool,
    files: usize,
    events: mpsc::UnboundedSender<Event>,
) {
    let now = jiff::Timestamp::now().as_second();
    let now = Duration::from_secs(u64::try_from(now).unwrap_or_default());
    // What cannot be swept is left to a later run; what is wrong with the engine the run itself tells.
    let swept = if asks { sweep_leftovers(&*engine, &store, now).await } else { Ok(Swept::default()) };
    let swept = Swept { files, ..swept.unwrap_or_default() };
    if !swept.is_empty() {
        let _ = events.send(Event::Notice(swept.to_string()));
    }
}

async fn finish_sweep(mut sweeping: tokio::task::JoinHandle<()>) {
    if tokio::time::timeout(SWEEP_REST, &mut sweeping).await.is_err() {
        sweeping.abort();
        // It holds a sender of events: the reporter ends when that is gone.
        let _ = sweeping.await;
    }
}

/// Copies the mirrored images, once the cells are done; what fails is a failure of the run, and what an
/// interrupt leaves over is said to be skipped.
async fn mirror(
    build: &BuildArguments,
    world: &World,
    images: &[MirrorImage],
    limits: Limits,
    end: &mut RunEnd,
) -> Vec<MirrorReport> {
    let has_failed = build.fail_fast && !end.summary.failures.is_empty();
    let reports = if end.summary.interrupted || has_failed {
        images.iter().map(MirrorReport::new).collect()
    } else if images.is_empty() {
        Vec::new()
    } else {
        let settings = MirrorSettings { transfers: limits.transfers, fail_fast: build.fail_fast };
        let mirrored = super::mirror::copy(&world.registry, images, settings, build.progress).await;
        end.summary.interrupted |= mirrored.interrupted;
        mirrored.reports
    };
    end.summary.failures.extend(reports.iter().filter_map(MirrorReport::failure));
    end.environment |= reports.iter().any(|report| report.environment);
    end.summary.mirrors = reports.iter().map(MirrorReport::summary).collect();
    reports
}

/// Shows and records a run as it goes on; its record is not ended with its events.
fn show(
    mut reporter: Box<dyn Reporter>,
    recorder: Recorder,
    mut receiver: mpsc::UnboundedReceiver<Event>,
) -> Recorder {
    while let Some(event) = receiver.blocking_recv() {
        reporter.event(&event);
        recorder.event(&event);
    }
    reporter.finish();
    recorder
}

/// Shows a run on standard error.
pub fn reporter(progress: Progress) -> Box<dyn Reporter> {
    let terminal = std::io::stderr().is_terminal();
    match progress {
        Progress::Quiet => Box::new(Quiet),
        Progress::Bars => Box::new(Bars::new()),
        Progress::Auto if terminal => Box::new(Bars::new()),
        Progress::Auto | Progress::Plain => Box::new(Plain::new(std::io::stderr())),
    }
}

/// The time, the process, and chance: machines that share an engine have equal processes, above all
/// where railyard runs in containers.
fn run_id() -> String {
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    let chance = std::hash::RandomState::new().hash_one(()) as u32;
    format!("{now}-{}-{chance:08x}", std::process::id())
}

/// Adds the outputs of runs that the lock lacks, and those of runs that were to run anew, to the lock and,
/// unless that is only to be read, to its file.
fn record_outputs(project: &mut Project, worker: &Worker, locked: bool) -> Result<(), Exit> {
    let before = project.lock.clone();
    for (key, diff_id) in worker.outputs() {
        let anew = worker.is_anew(&key);
        let locked = project.lock.outputs.entry(key).or_insert(diff_id);
        if anew {
            *locked = diff_id;
        }
    }
    if locked || project.lock == before {
        return Ok(());
    }
    // The lock of this run stays what it was made with; in the file only the outputs are added.
    change_lock(&project.lock_path, |lock| lock.add(&before, &project.lock)).map(drop)
}

/// Puts the lock of a good run into the cache repository; a failure is worth a notice, not the run.
async fn keep_lock(project: &Project, world: &World, no_cache: bool, end: &RunEnd) {
    let Some(repository) = project.matrix.cache.as_ref().filter(|_| !no_cache) else { return };
    if end.summary.interrupted || !end.summary.failures.is_empty() {
        return;
    }
    let text = project.lock.render();
    match publish_lock(&world.registry, &world.blobs, repository, &project.matrix.project, text).await {
        Ok(None) => {}
        Ok(Some(reference)) => say(&format!("the lock is kept as `{reference}`")),
        Err(error) => say(&format!("the lock is not kept in the cache repository: {error}")),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn runs_of_one_second_and_process_have_names_of_their_own() {
        let names: std::collections::HashSet<String> = (0..32).map(|_| super::run_id()).collect();
        assert_eq!(names.len(), 32);
    }
}
