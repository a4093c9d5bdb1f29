//! How hard one host is worked: requests a second, and requests at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests a second, and how many may come at once after a pause.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rate {
    pub(super) per_second: f64,
    pub(super) burst: u32,
}

/// The budget of one host.
pub(super) struct Budget {
    permits: Arc<Semaphore>,
    bucket: Mutex<Bucket>,
}

impl Budget {
    /// A budget; no `rate` is no limit.
    pub(super) fn new(rate: Option<Rate>, concurrency: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(concurrency.max(1))),
            bucket: Mutex::new(Bucket::new(rate, Instant::now())),
        }
    }

    /// Waits for a request's turn. The permit is held until the answer has been read.
    pub(super) async fn acquire(&self) -> OwnedSemaphorePermit {
        let permit = self.permits.clone().acquire_owned().await.expect("the semaphore is never closed");
        loop {
            let now = Instant::now();
            let wait = self.with_bucket(|bucket| match bucket.paused_for(now) {
                Duration::ZERO => Err(bucket.reserve(now)),
                paused => Ok(paused),
            });
            match wait {
                Ok(paused) => tokio::time::sleep(paused).await,
                Err(turn) => {
                    tokio::time::sleep(turn).await;
                    return permit;
                }
            }
        }
    }

    /// Lets no request start for `time`.
    pub(super) fn pause(&self, time: Duration) {
        self.with_bucket(|bucket| bucket.pause(Instant::now() + time));
    }

    fn with_bucket<T>(&self, act: impl FnOnce(&mut Bucket) -> T) -> T {
        act(&mut self.bucket.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A token bucket, kept as the time at which it would be full again.
struct Bucket {
    interval: Duration,
    tolerance: Duration,
    full_at: Instant,
    paused_until: Instant,
}

impl Bucket {
    fn new(rate: Option<Rate>, now: Instant) -> Self {
        let interval = rate
            .filter(|rate| rate.per_second > 0.0)
            .and_then(|rate| Duration::try_from_secs_f64(1.0 / rate.per_second).ok())
            .unwrap_or_default();
        let spare = rate.map_or(0, |rate| rate.burst.saturating_sub(1));
        Self { interval, tolerance: interval.saturating_mul(spare), full_at: now, paused_until: now }
    }

    /// Takes a token and says how long to wait for it.
    fn reserve(&mut self, now: Instant) -> Duration {
        self.full_at = self.full_at.max(now);
        let wait = (self.full_at - now).saturating_sub(self.tolerance);
        self.full_at += self.interval;
        wait
    }

    fn pause(&mut self, until: Instant) {
        self.paused_until = self.paused_until.max(until);
    }

    fn paused_for(&self, now: Instant) -> Duration {
        self.paused_until.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_the_rest_is_spaced() {
        let now = Instant::now();
        let mut bucket = Bucket::new(Some(Rate { per_second: 10.0, burst: 3 }), now);
        let waits: Vec<u128> = (0..5).map(|_| bucket.reserve(now).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 100, 200]);
        let later = now + Duration::from_secs(10);
        assert_eq!(bucket.reserve(later), Duration::ZERO);
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        let now = Instant::now();
        let mut bucket = Bucket::new(None, now);
        assert!((0..1000).all(|_| bucket.reserve(now).is_zero()));
        let mut zero = Bucket::new(Some(Rate { per_second: 0.0, burst: 1 }), now);
        assert!((0..1000).all(|_| zero.reserve(now).is_zero()));
    }

    #[test]
    fn a_pause_only_grows() {
        let now = Instant::now();
        let mut bucket = Bucket::new(None, now);
        bucket.pause(now + Duration::from_secs(5));
        bucket.pause(now + Duration::from_secs(1));
        assert_eq!(bucket.paused_for(now), Duration::from_secs(5));
    }
}
