//! Why a request failed.

/// A request that failed for good: what was tried, and the server's own words. Holds no keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The error with its causes.
    pub message: String,
    /// What to do next.
    pub help: String,
}

impl ApiError {
    /// An error with its remedy.
    pub(super) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into() }
    }
}
