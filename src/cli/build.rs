//! `build`: the lock completed, a plan, a run, its end.

mod outputs;
mod planned;

use std::hash::BuildHasher;
use std::io::IsTerminal;
use std::sync::Arc;

use tokio::sync::mpsc;

use self::outputs::{Output, Report, conclude, deliver, outputs, reports};
use self::planned::{planned, refuse_drift};
use super::exit::{Exit, print, say};
use super::load::{Loaded, Project, open, warn, write_lock};
use super::settings::{cpus, created, secrets};
use super::world::{LockUse, World, complete_lock, freshness, interruptible, runtime, world};
use super::{BuildArguments, Progress, ProjectArguments, mirrors, pipeline, versions};
use crate::event::Event;
use crate::mirror::{MirrorImage, MirrorReport, MirrorSettings};
use crate::plan::{Actions, Delivery, Durations, Estimate, Inputs, Limits, Wanted, plan};
use crate::report::{self, Bars, Plain, Quiet, Reporter};
use crate::run::{
    Behaviour, Knowledge, Recorder, RunEnd, Services, Settings, Worker, dispatch, measured, publish_lock,
};
use crate::store::{RunRow, StoreError};

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
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
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
    let limits = limits(&project, build.jobs);
    let usage = if build.locked { LockUse::Refuse } else { LockUse::Complete };
    interruptible(complete_lock(&mut project, &world, usage, limits.transfers)).await?;
    let mirrored = match build.push {
        true => interruptible(mirrors::pinned(&mut project, &world.registry, usage)).await?,
        false => Vec::new(),
    };
    let created = created()?;
    let layouts = super::prepared::layouts(&project)?;
    let delivery = Delivery { push: build.push, load: build.load, checks: !build.no_checks };
    let inputs = Inputs { lock: &project.lock, layouts: &layouts, created: created.as_deref(), delivery };
    let plan = Arc::new(plan(&project.matrix, &project.chosen, inputs));
    if let Some(planned) = &planned {
        refuse_drift(planned, &project, &plan, &layouts, created.as_deref(), &mirrored)?;
    }
    let matrix = Arc::new(project.matrix.clone());
    let cache = || world.cache(&project).filter(|_| !build.no_cache);
    let freshness = freshness(&project, &build.force, !build.locked)?;
    let knowledge = if build.no_reuse {
        Knowledge::default()
    } else {
        world.look_up(&project, &plan, cache().as_ref(), &freshness).await?
    };
    let Knowledge { known, records, anew } = knowledge;
    let actions = Actions::decide(&plan, &known);
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
    let reporter = reporter(build.progress);
    let shown = std::thread::spawn(move || show(reporter, recorder, receiver));
    let services = Services {
        store: world.store.clone(),
        registry: world.registry.clone(),
        engine: world.engine.clone(),
        images: world.images.clone(),
        blobs: world.blobs.clone(),
        downloads: world.downloads.clone(),
        cache: cache(),
        provenances: Arc::new(world.provenances()),
    };
    let lock = Arc::new(project.lock.clone());
    let worker = Worker::new(matrix.clone(), plan.clone(), lock, services, records, settings, sender.clone());
    let worker = Arc::new(worker);
    let interrupts = interrupts();
    let behaviour = Behaviour { limits, fail_fast: build.fail_fast, durations };
    let mut end = dispatch(&matrix, &plan, &actions, worker.clone(), behaviour, sender, interrupts).await;
    let labels = worker.labels();
    if end.summary.interrupted || !end.summary.failures.is_empty() {
        // Whatever an aborted step left; an engine that is gone has nothing left to sweep.
        let _ = world.engine.sweep(&labels).await;
    }
    world.engine.settle().await;
    let changed = record_outputs(&mut project, &worker);
    if changed && !build.locked {
        write_lock(&project.lock_path, &mut project.lock)?;
    }
    if build.push {
        keep_lock(&project, &world, build.no_cache, &end).await;
    }
    let delivered = deliver(&worker, &world, &plan, outputs, &mut end).await;
    drop(worker);
    if let Ok(Err(error)) = shown.join() {
        say(&format!("note: the history of this run is not complete: {error}"));
    }
    delivered?;
    let mirrored = mirror(build, &world, &mirrored, limits, &mut end).await;
    if !mirrored.is_empty() {
        print(&report::mirrored(&mirrored))?;
    }
    pipeline::hand_over(build, &matrix, &end.summary)?;
    conclude(build, outputs, reports, &end, &estimate)
}

/// Copies the mirrored images, once the cells are done; what fails is a failure of the run.
async fn mirror(
    build: &BuildArguments,
    world: &World,
    images: &[MirrorImage],
    limits: Limits,
    end: &mut RunEnd,
) -> Vec<MirrorReport> {
    let has_failed = build.fail_fast && !end.summary.failures.is_empty();
    if images.is_empty() || end.summary.interrupted || has_failed {
        return Vec::new();
    }
    let settings = MirrorSettings { transfers: limits.transfers, fail_fast: build.fail_fast };
    let mut interrupts = interrupts();
    let reports = tokio::select! {
        reports = super::mirror::copy(&world.registry, images, settings, build.progress) => reports,
        _ = interrupts.recv() => {
            end.summary.interrupted = true;
            return Vec::new();
        }
    };
    end.summary.failures.extend(reports.iter().filter_map(MirrorReport::failure));
    end.environment |= reports.iter().any(|report| report.environment);
    end.summary.mirrors = reports.iter().map(MirrorReport::summary).collect();
    reports
}

fn show(
    mut reporter: Box<dyn Reporter>,
    recorder: Recorder,
    mut receiver: mpsc::UnboundedReceiver<Event>,
) -> Result<(), StoreError> {
    while let Some(event) = receiver.blocking_recv() {
        reporter.event(&event);
        recorder.event(&event);
    }
    reporter.finish();
    recorder.finish()
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

/// The time, the process, and chance: machines that share an engine have equal processes, above all
/// where railyard runs in containers.
fn run_id() -> String {
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    let chance = std::hash::RandomState::new().hash_one(()) as u32;
    format!("{now}-{}-{chance:08x}", std::process::id())
}

/// Outputs of runs that the lock lacks, and those of runs that were to run anew.
fn record_outputs(project: &mut Project, worker: &Worker) -> bool {
    let mut changed = false;
    for (key, diff_id) in worker.outputs() {
        let anew = worker.is_anew(&key);
        let locked = project.lock.outputs.entry(key).or_insert_with(|| {
            changed = true;
            diff_id
        });
        if anew && *locked != diff_id {
            *locked = diff_id;
            changed = true;
        }
    }
    changed
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
