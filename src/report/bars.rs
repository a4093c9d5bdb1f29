//! Bars on a terminal: a line a running step, a bar for the whole.

use std::collections::HashMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Reporter, bytes};
use crate::event::{CellOutcome, Event, Outcome};
use crate::plan::StepId;

struct Line {
    bar: ProgressBar,
    title: String,
    bytes: u64,
}

/// A line a running step with its last output line and time; one bar for all steps.
pub struct Bars {
    group: MultiProgress,
    whole: ProgressBar,
    lines: HashMap<StepId, Line>,
    counts: [usize; 4],
}

impl Bars {
    /// On standard error.
    pub fn new() -> Self {
        let group = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        let whole = group.add(ProgressBar::new(0));
        let style = ProgressStyle::with_template("{bar:24.cyan/dim} {pos}/{len} steps  {elapsed}  {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        whole.set_style(style);
        whole.enable_steady_tick(Duration::from_millis(200));
        Self { group, whole, lines: HashMap::new(), counts: [0; 4] }
    }

    fn say(&self, text: &str) {
        // Drawing fails only with the terminal itself.
        let _ = self.group.println(text);
    }

    fn counts(&self) -> String {
        let [built, current, failed, skipped] = self.counts;
        let mut text = format!("cells: {built} built, {current} current");
        if failed + skipped > 0 {
            text.push_str(&format!(", {failed} failed, {skipped} skipped"));
        }
        text
    }
}

impl Default for Bars {
    fn default() -> Self {
        Self::new()
    }
}

impl Reporter for Bars {
    fn event(&mut self, event: &Event) {
        match event {
            Event::RunStarted { cells, steps, .. } => {
                self.whole.set_length(*steps as u64);
                if *cells > 0 {
                    self.whole.set_message(self.counts());
                }
            }
            Event::StepStarted { step, kind, label, .. } => {
                let bar = self.group.insert_before(&self.whole, ProgressBar::new_spinner());
                let style =
                    ProgressStyle::with_template("{spinner:.green} {elapsed:>4} {prefix} {wide_msg:.dim}")
                        .unwrap_or_else(|_| ProgressStyle::default_spinner());
                bar.set_style(style);
                bar.set_prefix(format!("{kind} {}", shorten(label, 56)));
                bar.enable_steady_tick(Duration::from_millis(200));
                self.lines.insert(*step, Line { bar, title: format!("{kind} {label}"), bytes: 0 });
            }
            Event::StepLine { step, line } => {
                if let Some(shown) = self.lines.get(step) {
                    shown.bar.set_message(console_safe(line));
                }
            }
            Event::StepRetried { step, pause, why } => {
                if let Some(shown) = self.lines.get(step) {
                    let text = format!("tried again in {} s: {why}", pause.as_secs());
                    shown.bar.set_message(console_safe(&text));
                }
            }
            Event::StepBytes { step, bytes: count, .. } => {
                if let Some(shown) = self.lines.get_mut(step) {
                    shown.bytes += count;
                    shown.bar.set_message(bytes(shown.bytes));
                }
            }
            Event::StepFinished { step, outcome, failure, .. } => {
                if let Some(line) = self.lines.remove(step) {
                    line.bar.finish_and_clear();
                    if *outcome == Outcome::Failed {
                        let message = failure.as_ref().map_or("", |f| f.message.as_str());
                        self.say(&format!("✗ {}: {message}", line.title));
                    }
                }
                self.whole.inc(1);
            }
            Event::CellFinished(cell) => {
                let slot = match cell.outcome {
                    CellOutcome::Built => 0,
                    CellOutcome::Current => 1,
                    CellOutcome::Failed => 2,
                    CellOutcome::Skipped => 3,
                };
                self.counts[slot] += 1;
                self.whole.set_message(self.counts());
            }
            Event::Notice(text) => self.say(&format!("note: {text}")),
            Event::RunFinished { .. } => {}
            Event::Interrupted => {
                self.say("interrupted: nothing more is started; press Ctrl-C again to end what runs");
            }
        }
    }

    fn finish(&mut self) {
        for line in self.lines.values() {
            line.bar.finish_and_clear();
        }
        self.whole.finish_and_clear();
    }
}

fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

/// A container's line without control characters, which would move the cursor.
fn console_safe(line: &str) -> String {
    line.chars().filter(|c| !c.is_control()).collect()
}
