//! When a failed request is sent again: exponential backoff with full jitter, and `Retry-After`.

use std::hash::{BuildHasher, Hasher as _, RandomState};
use std::time::{Duration, SystemTime};

/// How often and how long after each other requests are tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetrySettings {
    /// Tries in all, at least 1. A transfer that moves on may start counting again.
    pub tries: u32,
    /// Longest wait before the second try; doubles with each further one.
    pub base: Duration,
    /// Longest wait of all, unless the server asks for more.
    pub cap: Duration,
    /// Longest wait a server can ask for (`Retry-After`).
    pub retry_after_cap: Duration,
    /// Longest time without a byte in either direction before a connection counts as broken.
    pub idle: Duration,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            tries: 5,
            base: Duration::from_millis(500),
            cap: Duration::from_secs(15),
            retry_after_cap: Duration::from_secs(60),
            idle: Duration::from_secs(60),
        }
    }
}

impl RetrySettings {
    /// The wait after the `failed`th failure: what the server asks for, else by the rule.
    /// `is_too_much` is a 429.
    pub(crate) fn wait(&self, failed: u32, retry_after: Option<Duration>, is_too_much: bool) -> Duration {
        // Who is refused for haste and comes back within the second is refused again.
        let haste = is_too_much.then(|| Duration::from_secs(1 << (failed.max(1) - 1).min(6)));
        self.delay(failed, retry_after.or(haste), random())
    }

    /// `random` is in `0.0..1.0`.
    fn delay(&self, failed: u32, retry_after: Option<Duration>, random: f64) -> Duration {
        match retry_after {
            // The jitter keeps all who were refused at once from coming back at once.
            Some(wanted) => wanted.min(self.retry_after_cap) + self.base.mul_f64(random),
            None => {
                let doubled = self.base.saturating_mul(1 << failed.saturating_sub(1).min(16));
                doubled.min(self.cap).mul_f64(random)
            }
        }
    }
}

/// A number in `0.0..1.0`, from the seeds the standard library draws for its hash maps.
fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 11;
    bits as f64 / (1u64 << 53) as f64
}

/// Whether a request that was answered so may succeed when sent again: 408, 429 and 5xx, except 501
/// and 505 which state a lasting lack.
pub(crate) fn may_pass(status: u16) -> bool {
    matches!(status, 408 | 429 | 500..=599) && !matches!(status, 501 | 505)
}

/// Parses `Retry-After`: seconds, or an HTTP date (RFC 9110, 10.2.3). A past date is no wait.
pub(crate) fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Some(SystemTime::from(date).duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_the_cap_and_is_jittered() {
        let settings = RetrySettings::default();
        let longest = |failed| settings.delay(failed, None, 1.0);
        assert_eq!(longest(1), Duration::from_millis(500));
        assert_eq!(longest(3), Duration::from_secs(2));
        assert_eq!(longest(30), Duration::from_secs(15));
        assert_eq!(settings.delay(3, None, 0.0), Duration::ZERO);
        assert!((0..100).map(|_| random()).all(|r| (0.0..1.0).contains(&r)));
        assert_ne!(random().to_bits(), random().to_bits());
    }

    #[test]
    fn the_servers_wish_counts_up_to_its_own_cap() {
        let settings = RetrySettings::default();
        let wish = |seconds| settings.delay(1, Some(Duration::from_secs(seconds)), 0.0);
        assert_eq!(wish(30), Duration::from_secs(30));
        assert_eq!(wish(6 * 3600), Duration::from_secs(60));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        assert_eq!(parse_retry_after(" 7 ", now), Some(Duration::from_secs(7)));
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(parse_retry_after(date, now), Some(Duration::from_secs(7)));
        assert_eq!(parse_retry_after(date, SystemTime::now()), Some(Duration::ZERO));
        assert_eq!(parse_retry_after("soon", now), None);
        assert_eq!(parse_retry_after("-3", now), None);
    }
}
