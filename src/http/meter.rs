//! Counts the bytes of one transfer towards a progress callback.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Called with the number of bytes moved since the last call. Bytes moved again after a broken
/// connection are not counted twice.
pub type Progress = Arc<dyn Fn(u64) + Send + Sync>;

/// A position that may go back when a transfer restarts, reported only where it is furthest.
#[derive(Clone)]
pub(crate) struct Meter {
    progress: Progress,
    position: Arc<AtomicU64>,
    furthest: Arc<AtomicU64>,
}

impl Meter {
    pub(crate) fn new(progress: Progress) -> Self {
        Self { progress, position: Arc::default(), furthest: Arc::default() }
    }

    /// Goes (back) to `position`.
    pub(crate) fn restart(&self, position: u64) {
        self.position.store(position, Ordering::Relaxed);
    }

    /// Moves on by `bytes`.
    pub(crate) fn advance(&self, bytes: u64) {
        let position = self.position.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let before = self.furthest.fetch_max(position, Ordering::Relaxed);
        if position > before {
            (self.progress)(position - before);
        }
    }

    /// Where the transfer is.
    pub(crate) fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_moved_again_are_not_counted_again() {
        let total = Arc::new(AtomicU64::new(0));
        let sum = total.clone();
        let meter = Meter::new(Arc::new(move |n| {
            sum.fetch_add(n, Ordering::Relaxed);
        }));
        meter.advance(10);
        meter.restart(0);
        meter.advance(4);
        assert_eq!(total.load(Ordering::Relaxed), 10);
        meter.advance(8);
        assert_eq!((total.load(Ordering::Relaxed), meter.position()), (12, 12));
    }
}
