//! Steps that failed for a passing fault of the engine are carried out again.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;

use super::error::StepError;

/// Pauses before further attempts of a step: an engine that restarts is back within them.
pub(super) const PAUSES: [Duration; 3] =
    [Duration::from_secs(2), Duration::from_secs(10), Duration::from_secs(30)];

/// Attempts until one succeeds, fails for good (`passes` says which faults pass), no pause is left, or
/// `stop` is set. `tell` hears of each further attempt before its pause.
pub(super) async fn retried<T, F>(
    pauses: &[Duration],
    mut stop: watch::Receiver<bool>,
    passes: impl Fn(&StepError) -> bool,
    tell: impl Fn(Duration, &StepError),
    mut attempt: impl FnMut() -> F,
) -> Result<T, StepError>
where
    F: Future<Output = Result<T, StepError>>,
{
    for pause in pauses {
        match attempt().await {
            Err(error) if passes(&error) && !*stop.borrow() => {
                tell(*pause, &error);
                tokio::select! {
                    () = tokio::time::sleep(*pause) => {}
                    Ok(_) = stop.wait_for(|stop| *stop) => return Err(error),
                }
            }
            ended => return ended,
        }
    }
    attempt().await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::engine::EngineError;

    /// Attempts, and how it ended, of a step that fails so often.
    async fn tried(failures: u32, error: impl Fn() -> EngineError) -> (u32, u32, bool) {
        let (attempts, told) = (Cell::new(0), Cell::new(0));
        let result = retried(
            &[Duration::ZERO; 3],
            watch::channel(false).1,
            |error| error.transient,
            |_, _| told.set(told.get() + 1),
            || {
                attempts.set(attempts.get() + 1);
                let fails = attempts.get() <= failures;
                let error = error();
                async move { if fails { Err(StepError::from(error)) } else { Ok(()) } }
            },
        );
        let ended = result.await.is_ok();
        (attempts.get(), told.get(), ended)
    }

    fn request(retryable: bool) -> EngineError {
        EngineError::Request { action: "run".into(), message: "reset".into(), retryable }
    }

    #[tokio::test]
    async fn passing_faults_are_tried_again_and_others_are_not() {
        assert_eq!(tried(0, || request(true)).await, (1, 0, true));
        assert_eq!(tried(2, || request(true)).await, (3, 2, true));
        assert_eq!(tried(9, || request(true)).await, (4, 3, false));
        assert_eq!(tried(9, || request(false)).await, (1, 0, false));
        assert_eq!(tried(9, || EngineError::TimedOut(Duration::ZERO)).await, (1, 0, false));
        let gone = || EngineError::Unreachable { endpoint: "e".into(), message: "refused".into() };
        assert_eq!(tried(1, gone).await, (2, 1, true));
    }

    #[tokio::test]
    async fn an_interrupt_ends_the_pause_and_the_attempts() {
        let (stop, stopped) = watch::channel(false);
        let attempts = Cell::new(0);
        let hours = [Duration::from_secs(3600); 2];
        let work = retried(
            &hours,
            stopped.clone(),
            |_| true,
            |_, _| assert!(stop.send(true).is_ok()),
            || {
                attempts.set(attempts.get() + 1);
                async { Err::<(), _>(StepError::from(request(true))) }
            },
        );
        let ended = tokio::time::timeout(Duration::from_secs(60), work).await.unwrap();
        assert!(ended.is_err_and(|error| error.transient));
        assert_eq!(attempts.get(), 1);
        // It came while the attempt went on: there is no pause.
        let work = retried(
            &hours,
            stopped,
            |_| true,
            |_, _| panic!("no attempt follows"),
            || async { Err::<(), _>(StepError::from(request(true))) },
        );
        assert!(work.await.is_err());
    }
}
