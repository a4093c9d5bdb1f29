//! Plain lines, for logs and pipes.

use std::collections::HashMap;
use std::io::Write;

use super::{Reporter, seconds};
use crate::event::{CellOutcome, Event, Outcome};
use crate::plan::{Class, StepId};

/// A line a step's start and end (of those worth one), every line of output with its step.
pub struct Plain<W: Write + Send> {
    out: W,
    labels: HashMap<StepId, (String, bool)>,
    done: usize,
    steps: usize,
}

impl<W: Write + Send> Plain<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out, labels: HashMap::new(), done: 0, steps: 0 }
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        // Nobody can be told that standard error is closed.
        let _ = writeln!(self.out, "{text}");
    }
}

impl<W: Write + Send> Reporter for Plain<W> {
    fn event(&mut self, event: &Event) {
        match event {
            Event::RunStarted { cells: 0, steps, .. } => self.steps = *steps,
            Event::RunStarted { cells, steps, .. } => {
                self.steps = *steps;
                self.line(format_args!("{cells} cells, {steps} steps to run"));
            }
            Event::StepStarted { step, kind, label, class, .. } => {
                let loud = *class == Class::Container || *kind == "mirror";
                if loud {
                    self.line(format_args!("#{} {kind} {label}", step.0));
                }
                self.labels.insert(*step, (format!("{kind} {label}"), loud));
            }
            Event::StepLine { step, line } => self.line(format_args!("#{} {line}", step.0)),
            Event::StepRetried { step, pause, why } => {
                self.line(format_args!("#{} is tried again in {} s: {why}", step.0, pause.as_secs()));
            }
            Event::StepBytes { .. } | Event::RunFinished { .. } => {}
            Event::StepFinished { step, outcome, duration, failure, .. } => {
                self.done += 1;
                let (label, loud) = self.labels.remove(step).unwrap_or_default();
                let time = seconds(duration.as_secs_f64());
                let (done, steps) = (self.done, self.steps);
                match outcome {
                    Outcome::Succeeded if loud || duration.as_secs() >= 1 => {
                        self.line(format_args!("#{} done in {time} [{done}/{steps}] {label}", step.0));
                    }
                    Outcome::Failed => {
                        let message = failure.as_ref().map_or("", |f| f.message.as_str());
                        self.line(format_args!("#{} FAILED after {time} {label}: {message}", step.0));
                    }
                    _ => {}
                }
            }
            Event::CellFinished(cell) => {
                let word = match cell.outcome {
                    CellOutcome::Built => "built",
                    CellOutcome::Current => return,
                    CellOutcome::Failed => "failed",
                    CellOutcome::Skipped => "skipped",
                };
                let digest = cell.digest.map(|d| format!(" {d}")).unwrap_or_default();
                self.line(format_args!("{word} {}{digest}", cell.cell));
            }
            Event::Notice(text) => self.line(format_args!("note: {text}")),
            Event::Interrupted => self.line(format_args!(
                "interrupted: nothing more is started; press Ctrl-C again to end what runs"
            )),
        }
    }

    fn finish(&mut self) {}
}
