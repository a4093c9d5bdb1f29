//! The one owner of a run's state: starts steps, hears of their ends, reports.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::{Id, JoinSet};

use super::error::StepError;
use super::worker::{StepReport, Worker};
use crate::event::{CellOutcome, CellSummary, Event, Failure, Outcome, Summary};
use crate::matrix::{Matrix, StampedTag};
use crate::plan::{Action, Actions, CellSteps, Durations, Limits, Plan, Schedule, StepId, step_name};

/// How a run behaves.
#[derive(Debug, Clone)]
pub struct Behaviour {
    /// Steps at a time, by class.
    pub limits: Limits,
    /// Start nothing more after the first failure.
    pub fail_fast: bool,
    /// What steps took before: the longest path is begun first.
    pub durations: Durations,
}

struct Dispatcher<'a> {
    matrix: &'a Matrix,
    plan: &'a Plan,
    worker: Arc<Worker>,
    events: mpsc::UnboundedSender<Event>,
    schedule: Schedule<'a>,
    begun: Instant,
    /// When steps of this run ended, since its beginning.
    ended: Vec<Duration>,
    outcomes: Vec<Option<Outcome>>,
    reports: Vec<Option<StepReport>>,
    failures: Vec<Failure>,
    notices: Vec<String>,
    failure_of: BTreeMap<StepId, String>,
    open_steps: Vec<u32>,
    /// The cells of which a step is one of the last.
    cells_of: HashMap<StepId, Vec<usize>>,
    cells: Vec<Option<CellSummary>>,
    seconds: BTreeMap<&'static str, f64>,
    run: BTreeMap<&'static str, usize>,
    environment: bool,
}

/// What a run came to.
#[derive(Debug)]
pub struct RunEnd {
    /// For people and reports.
    pub summary: Summary,
    /// Whether a failure was the environment's fault.
    pub environment: bool,
}

/// Carries a plan out. Each message on `interrupts` is one Ctrl-C: the first starts nothing more,
/// the second ends what runs.
pub async fn dispatch(
    matrix: &Matrix,
    plan: &Plan,
    actions: &Actions,
    worker: Arc<Worker>,
    behaviour: Behaviour,
    events: mpsc::UnboundedSender<Event>,
    mut interrupts: mpsc::UnboundedReceiver<()>,
) -> RunEnd {
    let steps = plan.graph.node_count();
    worker.make_good(actions);
    let mut dispatcher = Dispatcher {
        matrix,
        plan,
        worker,
        events,
        schedule: Schedule::new(plan, actions, behaviour.limits, &behaviour.durations),
        begun: Instant::now(),
        ended: vec![Duration::ZERO; steps],
        outcomes: vec![None; steps],
        reports: (0..steps).map(|_| None).collect(),
        failures: Vec::new(),
        notices: Vec::new(),
        failure_of: BTreeMap::new(),
        open_steps: Vec::new(),
        cells_of: HashMap::new(),
        cells: vec![None; plan.cells.len()],
        seconds: BTreeMap::new(),
        run: BTreeMap::new(),
        environment: false,
    };
    dispatcher.begin(actions);
    let mut tasks: JoinSet<Result<StepReport, StepError>> = JoinSet::new();
    let (released, mut releases) = mpsc::unbounded_channel();
    dispatcher.worker.release_to(released);
    // Ends with the run.
    let mut pulls = JoinSet::new();
    let (worker, runs) = (dispatcher.worker.clone(), dispatcher.schedule.longest_first(actions));
    pulls.spawn(async move { worker.pull_builders(runs).await });
    let mut running: HashMap<Id, (StepId, Instant)> = Default::default();
    let mut interruptions = 0;
    loop {
        while let Some(id) = dispatcher.schedule.start() {
            dispatcher.started(id);
            let worker = dispatcher.worker.clone();
            let handle = tasks.spawn(async move { worker.step(id).await });
            running.insert(handle.id(), (id, Instant::now()));
        }
        if dispatcher.schedule.is_over() {
            break;
        }
        tokio::select! {
            Some(ended) = tasks.join_next_with_id() => {
                let (task, result) = match ended {
                    Ok((task, result)) => (task, result),
                    Err(error) => {
                        let message = if error.is_cancelled() { "interrupted".to_owned() } else { format!("a step panicked: {error}") };
                        (error.id(), Err(StepError::new(message)))
                    }
                };
                let Some((id, started)) = running.remove(&task) else { continue };
                let failed = result.is_err();
                dispatcher.finished(id, result, started.elapsed(), interruptions > 1);
                if failed && behaviour.fail_fast {
                    dispatcher.schedule.stop();
                }
            }
            Some(id) = releases.recv() => {
                // It may have ended meanwhile.
                if running.values().any(|(step, _)| *step == id) {
                    dispatcher.schedule.release(id);
                }
            }
            Some(()) = interrupts.recv() => {
                interruptions += 1;
                dispatcher.schedule.stop();
                dispatcher.worker.stop();
                dispatcher.send(Event::Interrupted);
                if interruptions > 1 {
                    tasks.abort_all();
                }
            }
        }
    }
    dispatcher.end(interruptions > 0)
}

impl Dispatcher<'_> {
    fn send(&self, event: Event) {
        // A reporter that is gone must not stop the run.
        let _ = self.events.send(event);
    }

    /// Tells the user something, without secrets.
    fn notify(&mut self, notice: &str) {
        let notice = self.worker.mask(notice);
        self.send(Event::Notice(notice.clone()));
        self.notices.push(notice);
    }

    fn notify_of_dropped(&mut self) {
        for notice in self.worker.dropped_blobs() {
            self.notify(&notice);
        }
    }

    fn begin(&mut self, actions: &Actions) {
        for (id, _) in self.plan.steps() {
            if actions.of(id) != Action::Run {
                self.outcomes[id.0 as usize] = Some(Outcome::Reused);
            }
        }
        self.open_steps = self
            .plan
            .cells
            .iter()
            .map(|cell| {
                let last = cell.iter().flat_map(|c| &c.last);
                last.filter(|s| actions.of(**s) == Action::Run).count() as u32
            })
            .collect();
        for (position, cell) in self.plan.cells.iter().enumerate() {
            for step in cell.iter().filter(|c| c.chosen).flat_map(|c| &c.last) {
                if actions.of(*step) == Action::Run {
                    self.cells_of.entry(*step).or_default().push(position);
                }
            }
        }
        let cells = self.plan.cells.iter().flatten().filter(|c| c.chosen).count();
        let (steps, reused) = (actions.count(Action::Run), actions.count(Action::Reuse));
        self.send(Event::RunStarted { cells, steps, reused });
        self.notify_of_dropped();
        for position in 0..self.plan.cells.len() {
            if self.open_steps[position] == 0 {
                self.close_cell(position);
            }
        }
    }

    fn started(&mut self, id: StepId) {
        let step = self.plan.step(id);
        self.send(Event::StepStarted {
            step: id,
            kind: step.kind.name(),
            name: step_name(self.matrix, &step.kind).to_owned(),
            label: step.label.clone(),
            class: step.class,
            key: step.key,
            queued: self.plan.needs(id).iter().map(|n| self.ended[n.0 as usize]).max().unwrap_or_default(),
            started: self.begun.elapsed(),
        });
    }

    fn finished(
        &mut self,
        id: StepId,
        result: Result<StepReport, StepError>,
        duration: Duration,
        aborted: bool,
    ) {
        let kind = self.plan.step(id).kind.name();
        *self.seconds.entry(kind).or_default() += duration.as_secs_f64();
        *self.run.entry(kind).or_default() += 1;
        self.ended[id.0 as usize] = self.begun.elapsed();
        let changed = result.as_ref().is_ok_and(|report| report.changed);
        self.notify_of_dropped();
        let (outcome, failure) = match result {
            Ok(report) => {
                for notice in &report.notices {
                    self.notify(notice);
                }
                self.reports[id.0 as usize] = Some(report);
                (Outcome::Succeeded, None)
            }
            Err(_) if aborted => (Outcome::Cancelled, None),
            Err(error) => {
                self.environment |= error.environment;
                let failure = self.failure(id, error);
                self.failures.push(failure.clone());
                (Outcome::Failed, Some(failure))
            }
        };
        self.outcomes[id.0 as usize] = Some(outcome);
        if let Some(failure) = &failure {
            self.failure_of.insert(id, failure.message.clone());
        }
        let digest = self.worker.result_digest(id);
        self.send(Event::StepFinished { step: id, outcome, duration, failure, changed, digest });
        let lost = self.schedule.finish(id, outcome == Outcome::Succeeded);
        let cause = self.failure_of.get(&id).cloned();
        for step in &lost {
            let skipped = if outcome == Outcome::Cancelled { Outcome::Cancelled } else { Outcome::Skipped };
            self.outcomes[step.0 as usize] = Some(skipped);
            if let Some(cause) = &cause {
                self.failure_of.insert(*step, cause.clone());
            }
            self.send(Event::StepFinished {
                step: *step,
                outcome: skipped,
                duration: Duration::ZERO,
                failure: None,
                changed: false,
                digest: None,
            });
        }
        self.close_cells(id, &lost);
    }

    fn failure(&self, id: StepId, error: StepError) -> Failure {
        let (tail, log) = self.worker.log_of(id);
        Failure {
            step: self.plan.step(id).label.clone(),
            message: self.worker.mask(&error.message),
            help: error.help.map(|help| self.worker.mask(&help)),
            tail,
            log: log.map(|path| path.display().to_string()),
        }
    }

    /// Ends the cells whose last steps have all ended.
    fn close_cells(&mut self, id: StepId, lost: &[StepId]) {
        for step in [id].iter().chain(lost) {
            for position in self.cells_of.get(step).cloned().unwrap_or_default() {
                self.open_steps[position] -= 1;
                if self.open_steps[position] == 0 {
                    self.close_cell(position);
                }
            }
        }
    }

    fn close_cell(&mut self, position: usize) {
        let Some(steps) = &self.plan.cells[position] else { return };
        if !steps.chosen || self.cells[position].is_some() {
            return;
        }
        let summary = self.cell_summary(position, steps);
        self.send(Event::CellFinished(summary.clone()));
        self.cells[position] = Some(summary);
    }

    fn cell_summary(&self, position: usize, steps: &CellSteps) -> CellSummary {
        let cell = &self.matrix.cells[position];
        let outcomes: Vec<Option<Outcome>> = steps.last.iter().map(|s| self.outcomes[s.0 as usize]).collect();
        let failure = steps.last.iter().find_map(|s| self.failure_of.get(s).cloned());
        let reports = || steps.last.iter().filter_map(|s| self.reports[s.0 as usize].as_ref());
        let outcome = if outcomes.iter().any(|o| matches!(o, Some(Outcome::Failed | Outcome::Skipped))) {
            CellOutcome::Failed
        } else if outcomes.iter().any(|o| matches!(o, None | Some(Outcome::Cancelled))) {
            CellOutcome::Skipped
        } else if reports().any(|r| r.changed) {
            CellOutcome::Built
        } else {
            CellOutcome::Current
        };
        // Of what was not delivered it is not known which time its tags would have.
        let good = matches!(outcome, CellOutcome::Built | CellOutcome::Current);
        let references = reports().map(|report| &report.references).find(|r| good && !r.is_empty());
        let references = references.cloned().unwrap_or_else(|| cell.shown_references().collect());
        let time = |tag: &StampedTag| {
            let tags = references.iter().filter_map(|reference| reference.tag.as_deref());
            tags.filter_map(|text| tag.timestamp_of(text)).next().map(str::to_owned)
        };
        CellSummary {
            cell: cell.name.clone(),
            image: cell.image.to_string(),
            outcome,
            digest: self.worker.image_digest(steps.assemble),
            references: references.iter().map(ToString::to_string).collect(),
            timestamp: cell.stamped.iter().find_map(time),
            previous: reports().find_map(|r| r.previous),
            reasons: reports().flat_map(|r| r.reasons.iter().cloned()).collect(),
            failure,
        }
    }

    fn end(mut self, interrupted: bool) -> RunEnd {
        for position in 0..self.plan.cells.len() {
            self.close_cell(position);
        }
        let wall = self.begun.elapsed();
        let traffic = self.worker.traffic();
        self.send(Event::RunFinished {
            duration: wall,
            interrupted,
            bytes_sent: traffic.0,
            bytes_fetched: traffic.1,
        });
        let summary = Summary {
            project: self.matrix.project.clone(),
            cells: self.cells.into_iter().flatten().collect(),
            mirrors: Vec::new(),
            failures: self.failures,
            steps_asked: self.plan.asked(),
            steps: self.plan.graph.node_count(),
            steps_run: self.run,
            seconds_by_kind: self.seconds,
            bytes_sent: traffic.0,
            bytes_fetched: traffic.1,
            blobs: traffic.2,
            seconds: wall.as_secs_f64(),
            interrupted,
            notices: self.notices,
        };
        RunEnd { summary, environment: self.environment }
    }
}

#[cfg(test)]
mod tests;
