//! What a run will cost, and what it did cost, in a line.

use super::{bytes, seconds};
use crate::event::Summary;
use crate::plan::Estimate;

/// `2 m 10 s (critical path 1 m 58 s), 6 containers, 2 at a time at most, …`.
pub fn estimate(estimate: &Estimate) -> String {
    if estimate.steps == 0 {
        return "nothing to run".to_owned();
    }
    let Some(wall) = estimate.seconds else { return "no history".to_owned() };
    let path = seconds(estimate.critical_path_seconds);
    let mut parts = vec![format!("{} (critical path {path})", seconds(wall)), containers(estimate)];
    if estimate.memory_at_once > 0 {
        parts.push(format!("{} peak{}", memory(estimate.memory_at_once), unlimited(estimate)));
    }
    parts.push(format!("sends about {}", bytes(estimate.bytes_sent)));
    if estimate.bytes_fetched > 0 {
        parts.push(format!("fetches about {}", bytes(estimate.bytes_fetched)));
    }
    let mut text = parts.join(", ");
    if estimate.unknown() > 0 {
        text.push_str(&format!("; {} of {} steps have no history", estimate.unknown(), estimate.steps));
    }
    text
}

fn memory(bytes: u64) -> String {
    match bytes as f64 / f64::from(1 << 20) {
        mib if mib < 1024.0 => format!("{mib:.0} MiB"),
        mib => format!("{:.1} GiB", mib / 1024.0),
    }
}

fn containers(estimate: &Estimate) -> String {
    match (estimate.containers, estimate.containers_at_once) {
        (0, _) => "no containers".to_owned(),
        (1, _) => "1 container".to_owned(),
        (count, most) => format!("{count} containers at most {most} at a time"),
    }
}

fn unlimited(estimate: &Estimate) -> String {
    match estimate.containers_without_memory_limit {
        0 => String::new(),
        count => format!(" ({count} without a limit)"),
    }
}

/// A line with what the run took and what was expected; empty where nothing was.
pub fn against_estimate(summary: &Summary, estimate: &Estimate) -> String {
    let Some(expected) = estimate.seconds.filter(|_| estimate.steps > 0) else { return String::new() };
    let unknown = match estimate.unknown() {
        0 => String::new(),
        count => format!(" ({count} of {} steps had no history)", estimate.steps),
    };
    format!("took {}, estimated {}{unknown}\n", seconds(summary.seconds), seconds(expected))
}
