//! The record of a run in the store, written as its events come; what records say about a plan.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::event::{CellOutcome, CellSummary, Direction, Event, Outcome};
use crate::plan::{Measure, Measured, StepId, Wanted, delivery_name};
use crate::store::{CellRow, RunGuard, RunNumber, RunRow, StepCost, StepRow, Store, StoreError};

/// How long events are gathered before they are written together.
const GATHER: Duration = Duration::from_millis(50);

/// How many events are written together at most.
const BATCH: usize = 2000;

/// Why the record of a run is not complete.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A fault of railyard's own.
    #[error("the thread that writes it panicked")]
    Panicked,
}

/// Writes a run to the store on a thread of its own.
pub struct Recorder {
    sender: Sender<Event>,
    /// Held to the end of the run, also when its record fails.
    guard: Option<RunGuard>,
    thread: JoinHandle<Result<(), StoreError>>,
}

impl Recorder {
    /// Begins the record of a run of which the beginning is known.
    pub fn start(store: Arc<Store>, run: RunRow) -> Self {
        let (sender, receiver) = channel();
        // Before the run makes anything: whoever finds that asks for the lock.
        let guard = store.guard_run(&run.id);
        let thread = std::thread::spawn(move || write(&store, run, &receiver));
        Self { sender, guard, thread }
    }

    /// Whether others can see that the run goes on.
    pub fn is_guarded(&self) -> bool {
        self.guard.is_some()
    }

    /// Takes one event, in order.
    pub fn event(&self, event: &Event) {
        if !matches!(event, Event::StepLine { .. } | Event::Notice(_)) {
            // A record that failed must not stop the run: `finish` tells.
            let _ = self.sender.send(event.clone());
        }
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// When the record is not complete.
    pub fn finish(self) -> Result<(), RecordError> {
        drop(self.sender);
        let result = self.thread.join();
        drop(self.guard);
        Ok(result.map_err(|_| RecordError::Panicked)??)
    }
}

fn write(store: &Store, run: RunRow, events: &Receiver<Event>) -> Result<(), StoreError> {
    let number = store.begin_run(&run)?;
    let mut log = RunLog { run, ..RunLog::default() };
    let mut open = true;
    while open {
        let Ok(first) = events.recv() else { break };
        log.take(first);
        let until = Instant::now() + GATHER;
        for _ in 1..BATCH {
            match events.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(event) => log.take(event),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => {
                    open = false;
                    break;
                }
            }
        }
        log.flush(store, number)?;
    }
    Ok(())
}

/// The rows of a run so far, and which are not written yet.
#[derive(Default)]
struct RunLog {
    run: RunRow,
    /// Steps that have not ended, or not been written since.
    steps: HashMap<StepId, StepRow>,
    changed: BTreeSet<StepId>,
    cells: Vec<CellRow>,
}

impl RunLog {
    fn take(&mut self, event: Event) {
        match event {
            Event::RunStarted { cells, steps, reused } => {
                self.run.cells = cells as u64;
                self.run.steps = steps as u64;
                self.run.steps_reused = reused as u64;
            }
            Event::StepStarted { step, kind, name, label, class, key, queued, started } => {
                let row = StepRow {
                    step: step.0,
                    key,
                    kind: kind.to_owned(),
                    name,
                    label,
                    class: class.name().to_owned(),
                    outcome: None,
                    queued: micros(queued),
                    started: micros(started),
                    ended: None,
                    sent: 0,
                    fetched: 0,
                    attempts: 1,
                    failure: None,
                    digest: None,
                };
                self.steps.insert(step, row);
                self.changed.insert(step);
            }
            Event::StepRetried { step, .. } => {
                if let Some(row) = self.steps.get_mut(&step) {
                    row.attempts += 1;
                    self.changed.insert(step);
                }
            }
            Event::StepBytes { step, direction, bytes } => self.moved(step, direction, bytes),
            Event::StepFinished { step, outcome, duration, failure, changed, digest } => {
                let Some(row) = self.steps.get_mut(&step) else {
                    self.run.steps_skipped += 1;
                    return;
                };
                if outcome == Outcome::Succeeded && matches!(row.kind.as_str(), "push" | "tag") {
                    row.name = delivery_name(changed).to_owned();
                }
                row.outcome = Some(outcome.name().to_owned());
                row.ended = Some(row.started + micros(duration));
                row.failure = failure.map(|failure| failure.message);
                row.digest = digest.filter(|_| outcome == Outcome::Succeeded);
                self.changed.insert(step);
            }
            Event::CellFinished(cell) => self.cell(cell),
            Event::Interrupted => self.run.interrupted = true,
            Event::RunFinished { duration, interrupted, bytes_sent, bytes_fetched } => {
                self.run.interrupted = interrupted;
                self.run.sent = bytes_sent;
                self.run.fetched = bytes_fetched;
                let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
                self.run.ended = Some(self.run.started.saturating_add(millis));
                let outcome = match (interrupted, self.run.failed) {
                    (true, _) => "interrupted",
                    (false, 0) => "succeeded",
                    (false, _) => "failed",
                };
                self.run.outcome = Some(outcome.to_owned());
            }
            Event::StepLine { .. } | Event::Notice(_) => {}
        }
    }

    fn moved(&mut self, step: StepId, direction: Direction, bytes: u64) {
        let Some(row) = self.steps.get_mut(&step) else { return };
        let (of_step, of_run) = match direction {
            Direction::Sent => (&mut row.sent, &mut self.run.sent),
            Direction::Fetched => (&mut row.fetched, &mut self.run.fetched),
        };
        *of_step += bytes;
        *of_run += bytes;
        self.changed.insert(step);
    }

    fn cell(&mut self, cell: CellSummary) {
        let count = match cell.outcome {
            CellOutcome::Built => &mut self.run.built,
            CellOutcome::Current => &mut self.run.current,
            CellOutcome::Failed => &mut self.run.failed,
            CellOutcome::Skipped => &mut self.run.skipped,
        };
        *count += 1;
        let reasons: Vec<String> = cell.reasons.iter().map(ToString::to_string).collect();
        self.cells.push(CellRow {
            cell: cell.cell,
            image: cell.image,
            outcome: cell.outcome.name().to_owned(),
            reason: (!reasons.is_empty()).then(|| reasons.join("; ")),
            failure: cell.failure,
            digest: cell.digest,
            previous: cell.previous,
            references: cell.references,
        });
    }

    fn flush(&mut self, store: &Store, number: RunNumber) -> Result<(), StoreError> {
        let steps: Vec<&StepRow> = self.changed.iter().filter_map(|step| self.steps.get(step)).collect();
        store.record_run(number, &self.run, &steps, &self.cells)?;
        self.steps.retain(|_, row| row.ended.is_none());
        self.changed.clear();
        self.cells.clear();
        Ok(())
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// What the store's records say about the steps of a project's plan.
///
/// # Errors
/// When the store fails.
pub fn measured(store: &Store, project: &str, wanted: &Wanted) -> Result<Measured, StoreError> {
    let mut measured = Measured::default();
    if !store.has_history()? {
        return Ok(measured);
    }
    for key in &wanted.keys {
        if let Some(cost) = store.last_cost(key)? {
            measured.keys.insert(*key, measure(cost));
        }
    }
    for group in &wanted.groups {
        let costs = store.recent_costs(project, group.kind, &group.name)?;
        let sample: Vec<Measure> = costs.into_iter().map(measure).collect();
        if let Some(typical) = Measure::typical(&sample) {
            measured.groups.insert(group.clone(), typical);
        }
    }
    Ok(measured)
}

fn measure(cost: StepCost) -> Measure {
    Measure { micros: cost.micros, sent: cost.sent, fetched: cost.fetched }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_whose_thread_panicked_is_not_complete() {
        let (sender, receiver) = channel::<Event>();
        let thread = std::thread::spawn(move || {
            drop(receiver);
            panic!("this is shown among the output of the test");
        });
        let recorder = Recorder { sender, guard: None, thread };
        assert!(matches!(recorder.finish(), Err(RecordError::Panicked)));
    }
}
