//! What can go wrong with an engine.

use std::time::Duration;

/// An engine that could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// It does not answer.
    #[error("no container engine answers at `{endpoint}`: {message}")]
    Unreachable {
        /// Where it was looked for.
        endpoint: String,
        /// Why.
        message: String,
    },
    /// A request failed.
    #[error("failed to {action}: {message}")]
    Request {
        /// What was tried.
        action: String,
        /// The engine's words.
        message: String,
        /// Whether trying again may help.
        retryable: bool,
    },
    /// A Dockerfile could not be built; the engine's words.
    #[error("the build failed: {0}")]
    Build(String),
    /// The run took too long and was ended.
    #[error("timed out after {} s", .0.as_secs())]
    TimedOut(Duration),
    /// A path to collect is not there.
    #[error("`{0}` does not exist after the run")]
    NoSuchPath(String),
    /// The receiver of the tar streams failed.
    #[error("failed to take over the files: {0}")]
    Sink(std::io::Error),
}

impl EngineError {
    /// Whether trying again may help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Request { retryable: true, .. })
    }

    /// The same error once more, for those who shared the request that failed.
    pub(super) fn repeat(&self) -> Self {
        match self {
            Self::Unreachable { endpoint, message } => {
                Self::Unreachable { endpoint: endpoint.clone(), message: message.clone() }
            }
            Self::Request { action, message, retryable } => {
                Self::Request { action: action.clone(), message: message.clone(), retryable: *retryable }
            }
            Self::Build(message) => Self::Build(message.clone()),
            Self::TimedOut(limit) => Self::TimedOut(*limit),
            Self::NoSuchPath(path) => Self::NoSuchPath(path.clone()),
            Self::Sink(error) => Self::Sink(std::io::Error::new(error.kind(), error.to_string())),
        }
    }
}
