//! What runs that died have left in the engine: found by labels, removed where it is certain that nobody
//! needs it.

use std::fmt;
use std::time::Duration;

use crate::engine::{Engine, EngineError, Leftover, LeftoverKind};
use crate::store::{Liveness, RUN_LABEL, Store};

/// The time limit of a container's command, in seconds.
pub(super) const TIMEOUT_LABEL: &str = "io.railyard.timeout";

/// How old something must be to be removed where its run cannot be asked: longer than a machine sleeps.
const STALE: Duration = Duration::from_secs(7 * 24 * 3600);

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Containers, running or not.
    pub containers: usize,
    /// Images, and names of images.
    pub images: usize,
    /// Temporary files of the store.
    pub files: usize,
}

impl Swept {
    /// Whether there was nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Swept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [(self.containers, "container"), (self.images, "image"), (self.files, "temporary file")];
        let words = counts.iter().filter(|(count, _)| *count > 0).map(|(count, noun)| match count {
            1 => format!("1 {noun}"),
            count => format!("{count} {noun}s"),
        });
        write!(f, "removed what killed runs left: {}", words.collect::<Vec<_>>().join(", "))
    }
}

/// Removes what dead runs left in the engine.
///
/// # Errors
/// When the engine cannot be asked, or refuses; what was removed until then stays removed.
pub async fn sweep_leftovers(
    engine: &dyn Engine,
    store: &Store,
    now: Duration,
) -> Result<Swept, EngineError> {
    let mut swept = Swept::default();
    for leftover in engine.leftovers(RUN_LABEL).await? {
        if !is_left(&leftover, store.liveness(&leftover.labels), now) {
            continue;
        }
        if engine.remove(&leftover).await? {
            match leftover.kind {
                LeftoverKind::Container { .. } => swept.containers += 1,
                LeftoverKind::Image => swept.images += 1,
            }
        }
    }
    Ok(swept)
}

/// Whether something may be removed; `now` is the time since 1970.
fn is_left(leftover: &Leftover, liveness: Liveness, now: Duration) -> bool {
    match liveness {
        Liveness::Alive => false,
        Liveness::Dead => true,
        Liveness::Unknown => {
            let age = now.saturating_sub(leftover.created);
            let limit = leftover.labels.get(TIMEOUT_LABEL).and_then(|seconds| seconds.parse().ok());
            match leftover.kind {
                // Without a limit nobody knows how long its command may take.
                LeftoverKind::Container { running: true } => {
                    limit.is_some_and(|seconds| age > STALE + Duration::from_secs(seconds))
                }
                LeftoverKind::Container { running: false } | LeftoverKind::Image => age > STALE,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::engine::{FakeCall, FakeEngine};

    const DAY: u64 = 24 * 3600;
    const NOW: Duration = Duration::from_secs(100 * DAY);

    fn leftover(id: &str, kind: LeftoverKind, labels: BTreeMap<String, String>, days: u64) -> Leftover {
        Leftover { id: id.to_owned(), kind, labels, created: NOW - Duration::from_secs(days * DAY) }
    }

    #[tokio::test]
    async fn what_a_dead_run_left_goes_and_what_a_live_one_has_stays() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let _guard = store.guard_run("live").unwrap();
        let running = LeftoverKind::Container { running: true };
        let ended = LeftoverKind::Container { running: false };
        let mut dead = store.run_labels("dead", true);
        dead.insert("io.railyard.process".into(), "4194999/1".into());
        let live = store.run_labels("live", true);
        let engine = FakeEngine::new().leaves(vec![
            leftover("dead-running", running, dead.clone(), 0),
            leftover("dead-ended", ended, dead.clone(), 0),
            leftover("dead-image", LeftoverKind::Image, dead, 0),
            leftover("live-running", running, live.clone(), 50),
            leftover("live-ended", ended, live.clone(), 50),
            leftover("live-image", LeftoverKind::Image, live, 50),
        ]);
        let swept = sweep_leftovers(&engine, &store, NOW).await.unwrap();
        assert_eq!(swept, Swept { containers: 2, images: 1, files: 0 });
        assert_eq!(swept.to_string(), "removed what killed runs left: 2 containers, 1 image");
        let removed: Vec<String> = engine
            .calls()
            .into_iter()
            .filter_map(|call| match call {
                FakeCall::Remove(id) => Some(id),
                _ => None,
            })
            .collect();
        assert_eq!(removed, ["dead-running", "dead-ended", "dead-image"]);
    }

    #[test]
    fn what_nobody_can_tell_goes_by_its_age() {
        let running = LeftoverKind::Container { running: true };
        let ended = LeftoverKind::Container { running: false };
        let of = |timeout: Option<u64>| {
            timeout.map(|seconds| (TIMEOUT_LABEL.to_owned(), seconds.to_string())).into_iter().collect()
        };
        let rows = [
            (ended, None, 6, false),
            (ended, None, 8, true),
            (LeftoverKind::Image, None, 6, false),
            (LeftoverKind::Image, None, 8, true),
            (running, None, 90, false),
            (running, Some(2 * DAY), 8, false),
            (running, Some(2 * DAY), 10, true),
        ];
        for (kind, timeout, days, want) in rows {
            let leftover = leftover("x", kind, of(timeout), days);
            assert_eq!(is_left(&leftover, Liveness::Unknown, NOW), want, "{kind:?} {timeout:?} {days}");
        }
    }
}
