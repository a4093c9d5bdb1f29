//! Why an image was not mirrored.

use crate::registry::{RegistryError, RegistryErrorKind, SETUP_HELP};

/// A failure about one image: a message, and where it is known what to do next.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct MirrorError {
    /// The error with its causes.
    pub message: String,
    /// What to do next.
    pub help: Option<String>,
    /// Whether a registry or credentials are at fault.
    pub environment: bool,
}

impl MirrorError {
    /// A failure of the image itself.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, environment: false }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl From<RegistryError> for MirrorError {
    fn from(error: RegistryError) -> Self {
        let (help, environment) = match &error.kind {
            RegistryErrorKind::Denied(_) => {
                (Some("log in to the registry (`docker login`), or check the account's rights"), true)
            }
            RegistryErrorKind::Transport(_) => (
                Some("check that the registry is up and its name is right; run again, what was sent stays"),
                true,
            ),
            RegistryErrorKind::Setup(_) => (Some(SETUP_HELP), true),
            RegistryErrorKind::Status { status: 429, .. } => {
                (Some("the registry limits requests: log in, or run again later; what was sent stays"), true)
            }
            _ => (None, false),
        };
        Self { message: error.to_string(), help: help.map(str::to_owned), environment }
    }
}
