//! How hard one host is worked: requests a second, and requests at once.
//!
//! A host that answers 429 is left alone for a while and then worked at half the rate, which grows
//! again with each answer until it is what was set.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The rate an unlimited host is taken to have been worked at when it first refuses, a second.
const FAST: f64 = 100.0;
/// The least rate a host is slowed down to, a second.
const SLOW: f64 = 1.0;
/// What each answer adds to a lowered rate, a second.
const RECOVERY: f64 = 0.05;
/// Refusals this close together are one: they answer requests already on their way.
const TOGETHER: Duration = Duration::from_secs(1);

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

    /// Takes note of a 429: lets no request start for `time`, and fewer afterwards.
    pub(super) fn refused(&self, time: Duration) {
        self.with_bucket(|bucket| {
            let now = Instant::now();
            bucket.pause(now + time);
            bucket.slow_down(now);
        });
    }

    /// Takes note of an answer other than 429.
    pub(super) fn answered(&self) {
        self.with_bucket(Bucket::speed_up);
    }

    fn with_bucket<T>(&self, act: impl FnOnce(&mut Bucket) -> T) -> T {
        act(&mut self.bucket.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A token bucket, kept as the time at which it would be full again.
struct Bucket {
    /// As set.
    rate: Option<Rate>,
    /// Requests a second after refusals, until they reach what is set.
    lowered: Option<f64>,
    lowered_at: Option<Instant>,
    full_at: Instant,
    paused_until: Instant,
}

impl Bucket {
    fn new(rate: Option<Rate>, now: Instant) -> Self {
        let rate = rate.filter(|rate| rate.per_second > 0.0);
        Self { rate, lowered: None, lowered_at: None, full_at: now, paused_until: now }
    }

    /// Takes a token and says how long to wait for it.
    fn reserve(&mut self, now: Instant) -> Duration {
        let (per_second, burst) = match (self.lowered, self.rate) {
            (Some(lowered), _) => (lowered, 1),
            (None, Some(rate)) => (rate.per_second, rate.burst),
            (None, None) => return Duration::ZERO,
        };
        let interval = Duration::try_from_secs_f64(1.0 / per_second).unwrap_or_default();
        self.full_at = self.full_at.max(now);
        let wait = (self.full_at - now).saturating_sub(interval.saturating_mul(burst.saturating_sub(1)));
        self.full_at += interval;
        wait
    }

    fn slow_down(&mut self, now: Instant) {
        if self.lowered_at.is_some_and(|before| now.saturating_duration_since(before) < TOGETHER) {
            return;
        }
        let least = SLOW.min(self.full_rate());
        self.lowered = Some((self.lowered.unwrap_or(self.full_rate()) / 2.0).max(least));
        self.lowered_at = Some(now);
    }

    fn speed_up(&mut self) {
        if let Some(lowered) = self.lowered {
            let raised = lowered + RECOVERY;
            self.lowered = (raised < self.full_rate()).then_some(raised);
        }
    }

    fn full_rate(&self) -> f64 {
        self.rate.map_or(FAST, |rate| rate.per_second)
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

    #[test]
    fn refusals_halve_the_rate_and_answers_raise_it_again() {
        let now = Instant::now();
        let mut bucket = Bucket::new(None, now);
        bucket.slow_down(now);
        bucket.slow_down(now + Duration::from_millis(10));
        let waits: Vec<u128> = (0..3).map(|_| bucket.reserve(now).as_millis()).collect();
        assert_eq!(waits, [0, 20, 40]);
        (0..20).for_each(|n| bucket.slow_down(now + Duration::from_secs(2 * n)));
        assert_eq!(bucket.lowered, Some(SLOW));
        (0..2000).for_each(|_| bucket.speed_up());
        assert_eq!(bucket.lowered, None);
    }
}
