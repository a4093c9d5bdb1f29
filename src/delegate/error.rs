//! Why something around a delegate could not be done.

/// A failure, with what to do next. Its words hold no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DelegateError {
    /// What, with its causes.
    pub message: String,
    /// What to do next.
    pub help: String,
}

impl DelegateError {
    pub(super) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into() }
    }
}
