//! Why a step failed.

use crate::engine::EngineError;
use crate::registry::{RegistryError, RegistryErrorKind, SETUP_HELP};
use crate::store::StoreError;

/// A step that failed: a message, and where it is known what to do next.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct StepError {
    /// The error with its causes.
    pub message: String,
    /// What to do next.
    pub help: Option<String>,
    /// Whether the environment (engine, registry, credentials) is at fault, not the cell.
    pub environment: bool,
    /// Whether an input is not what the lock says of it (gone, or other bytes).
    pub contradicts_lock: bool,
    /// Whether the same step may succeed when it is tried again.
    pub transient: bool,
}

impl StepError {
    /// A failure of the step itself.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: None,
            environment: false,
            contradicts_lock: false,
            transient: false,
        }
    }

    /// A failure with a file, whose cause may be a full disk.
    pub(super) fn of_file(message: impl Into<String>, cause: &std::io::Error) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        match cause.kind() {
            StorageFull | QuotaExceeded => Self { environment: true, ..Self::new(message) }.help(DISK_FULL),
            _ => Self::new(message),
        }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Says where the lock pins an input that is not what it says; other errors stay as they are.
    #[must_use]
    pub fn pinned_at(mut self, place: Option<&str>, name: &dyn std::fmt::Display) -> Self {
        if let Some(place) = place.filter(|_| self.contradicts_lock) {
            self.message = format!("{place}: {}", self.message);
            self.help = Some(format!(
                "find out why it changed; `railyard update {name}` pins what is there now, nothing was written over"
            ));
        }
        self
    }
}

/// What to do where the store's disk is full.
const DISK_FULL: &str = "make room on the store's file system, or give another with --store; then run again, \
                         what is done stays";

impl From<StoreError> for StepError {
    fn from(error: StoreError) -> Self {
        let help = error.is_storage_full().then(|| DISK_FULL.to_owned());
        Self { environment: true, help, ..Self::new(error.to_string()) }
    }
}

impl From<EngineError> for StepError {
    fn from(error: EngineError) -> Self {
        let (help, environment) = match &error {
            EngineError::Unreachable { .. } => (
                Some("start a Docker engine, or point DOCKER_HOST at one; running again goes on".to_owned()),
                true,
            ),
            EngineError::TimedOut(_) => {
                (Some("raise the step's `timeout`, or see its log".to_owned()), false)
            }
            EngineError::NoSuchPath(_) => {
                (Some("correct `keep`, or the script that should make the path".to_owned()), false)
            }
            EngineError::Request { retryable: true, .. } => (
                Some(
                    "the engine broke off: see that it is well and run again, what is done stays".to_owned(),
                ),
                true,
            ),
            EngineError::Sink(cause) => {
                let Self { help, environment, .. } = Self::of_file("", cause);
                (help, environment)
            }
            _ => (None, false),
        };
        let transient = error.is_retryable() || matches!(error, EngineError::Unreachable { .. });
        Self { help, environment, transient, ..Self::new(error.to_string()) }
    }
}

impl From<RegistryError> for StepError {
    fn from(error: RegistryError) -> Self {
        let (help, environment) = match &error.kind {
            RegistryErrorKind::File { source, .. } => return Self::of_file(error.to_string(), source),
            RegistryErrorKind::Denied(_) => (
                Some("log in to the registry (`docker login`), or check the account's rights".to_owned()),
                true,
            ),
            RegistryErrorKind::Transport(_) => {
                (Some("check that the registry is up and its name is right, then run again".to_owned()), true)
            }
            RegistryErrorKind::Setup(_) => (Some(SETUP_HELP.to_owned()), true),
            RegistryErrorKind::Immutable { .. } => {
                (Some("give the image another tag; nothing was moved in this repository".to_owned()), false)
            }
            _ => (None, false),
        };
        Self { help, environment, ..Self::new(error.to_string()) }
    }
}
