//! The tries of one action at a registry.

use std::time::Duration;

use super::RegistryErrorKind;
use super::budget::Budget;
use crate::http::{RetrySettings, TransportError};

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

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Self {
        RegistryErrorKind::from(error).into()
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
        let delay = self.settings.wait(self.failed, failure.retry_after, is_too_much);
        if is_too_much {
            budget.refused(delay);
        }
        tokio::time::sleep(delay).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
