//! Why versions could not be found.

use crate::matrix::Query;

/// Versions that could not be found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DiscoverError {
    /// What, with its causes.
    pub message: String,
    /// What to do next.
    pub help: String,
}

impl DiscoverError {
    pub(super) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into() }
    }

    /// Says whose versions were looked up.
    pub(super) fn of(self, query: &Query) -> Self {
        let message = format!("failed to look up the versions of {}: {}", query.subject(), self.message);
        Self { message, ..self }
    }
}
