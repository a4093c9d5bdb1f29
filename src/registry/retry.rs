//! When a failed request is sent again: exponential backoff with full jitter, and `Retry-After`.

use std::hash::{BuildHasher, Hasher as _, RandomState};
use std::time::{Duration, SystemTime};

use super::RegistryErrorKind;
use super::budget::Budget;

/// How often and how long after each other requests are tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetrySettings {
    /// Tries in all, at least 1. A download that moves on starts counting again.
    pub tries: u32,
    /// Longest wait before the second try; doubles with each further one.
    pub base: Duration,
    /// Longest wait of all, unless the registry asks for more.
    pub cap: Duration,
    /// Longest wait a registry can ask for (`Retry-After`).
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

/// One failed try.
#[derive(Debug)]
pub(super) struct Failure {
    /// Why.
    pub(super) kind: RegistryErrorKind,
    /// How long the registry asks to wait.
    pub(super) retry_after: Option<Duration>,
    /// Whether starting over may help although the kind is a lasting one (a lost upload session).
    pub(super) restart: bool,
}

impl Failure {
    fn is_retryable(&self) -> bool {
        self.restart || self.kind.is_retryable()
    }
}

impl From<RegistryErrorKind> for Failure {
    fn from(kind: RegistryErrorKind) -> Self {
        Self { kind, retry_after: None, restart: false }
    }
}

/// Counts the tries of one action and waits between them.
pub(super) struct Attempts<'a> {
    settings: &'a RetrySettings,
    failed: u32,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(settings: &'a RetrySettings) -> Self {
        Self { settings, failed: 0 }
    }

    /// Starts counting again, after progress.
    pub(super) fn reset(&mut self) {
        self.failed = 0;
    }

    /// Waits until the next try, or gives the reason back when there is none. A 429
    /// holds back the whole host.
    pub(super) async fn wait(&mut self, budget: &Budget, failure: Failure) -> Result<(), RegistryErrorKind> {
        self.failed += 1;
        if !failure.is_retryable() || self.failed >= self.settings.tries {
            return Err(failure.kind);
        }
        let is_too_much = matches!(failure.kind, RegistryErrorKind::Status { status: 429, .. });
        // Who is refused for haste and comes back within the second is refused again.
        let haste = is_too_much.then(|| Duration::from_secs(1 << (self.failed - 1).min(6)));
        let delay = delay(self.settings, self.failed, failure.retry_after.or(haste), random());
        if is_too_much {
            budget.refused(delay);
        }
        tokio::time::sleep(delay).await;
        Ok(())
    }
}

/// The wait after the `failed`th failure; `random` is in `0.0..1.0`.
fn delay(settings: &RetrySettings, failed: u32, retry_after: Option<Duration>, random: f64) -> Duration {
    match retry_after {
        // The jitter keeps all who were refused at once from coming back at once.
        Some(wanted) => wanted.min(settings.retry_after_cap) + settings.base.mul_f64(random),
        None => {
            let doubled = settings.base.saturating_mul(1 << failed.saturating_sub(1).min(16));
            doubled.min(settings.cap).mul_f64(random)
        }
    }
}

/// A number in `0.0..1.0`, from the seeds the standard library draws for its hash maps.
fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 11;
    bits as f64 / (1u64 << 53) as f64
}

/// Parses `Retry-After`: seconds, or an HTTP date (RFC 9110, 10.2.3). A past date is no wait.
pub(super) fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
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
        let longest = |failed| delay(&settings, failed, None, 1.0);
        assert_eq!(longest(1), Duration::from_millis(500));
        assert_eq!(longest(3), Duration::from_secs(2));
        assert_eq!(longest(30), Duration::from_secs(15));
        assert_eq!(delay(&settings, 3, None, 0.0), Duration::ZERO);
        assert!((0..100).map(|_| random()).all(|r| (0.0..1.0).contains(&r)));
        assert_ne!(random().to_bits(), random().to_bits());
    }

    #[test]
    fn the_registrys_wish_counts_up_to_its_own_cap() {
        let settings = RetrySettings::default();
        let wish = |seconds| delay(&settings, 1, Some(Duration::from_secs(seconds)), 0.0);
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

    #[tokio::test]
    async fn a_lasting_failure_and_the_last_try_end_it() {
        let settings = RetrySettings { tries: 2, base: Duration::ZERO, ..RetrySettings::default() };
        let budget = Budget::new(None, 1);
        let broken = || Failure::from(RegistryErrorKind::Transport("reset".into()));
        let mut attempts = Attempts::new(&settings);
        assert!(attempts.wait(&budget, RegistryErrorKind::NotFound.into()).await.is_err());
        let mut attempts = Attempts::new(&settings);
        assert!(attempts.wait(&budget, broken()).await.is_ok());
        assert!(attempts.wait(&budget, broken()).await.is_err());
        let lost = Failure { restart: true, ..RegistryErrorKind::NotFound.into() };
        assert!(Attempts::new(&settings).wait(&budget, lost).await.is_ok());
    }
}
