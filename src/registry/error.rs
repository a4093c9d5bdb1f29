//! What a failed request says.

use std::path::{Path, PathBuf};

use crate::http::{TransportError, may_pass};
use crate::oci::Digest;

/// A request that failed for good, after retries.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action}: {kind}")]
pub struct RegistryError {
    /// What was tried, e.g. "push blob `sha256:…` to `localhost:5000/x`". Holds no credentials.
    pub action: String,
    /// Why it failed.
    pub kind: RegistryErrorKind,
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryErrorKind {
    /// No connection, or it broke.
    #[error("{0}")]
    Transport(String),
    /// There is no client for the host: its file of certificates (`ca`) cannot be read.
    #[error("{0}")]
    Setup(String),
    /// An answer with an error status.
    #[error("the registry answered {status}: {message}")]
    Status {
        /// HTTP status.
        status: u16,
        /// The registry's own words, shortened.
        message: String,
    },
    /// 401 or 403, or a credential helper that failed.
    #[error("access denied: {0}")]
    Denied(String),
    /// The bytes are not what the digest says.
    #[error("digest mismatch: wanted {wanted}, got {got}")]
    Mismatch {
        /// Digest asked for.
        wanted: Digest,
        /// Digest of what came.
        got: Digest,
    },
    /// The registry lets no tag of the repository move.
    #[error("the tag is immutable: it has {has}, and the image is {wanted}")]
    Immutable {
        /// What the tag has.
        has: Digest,
        /// What it was to have.
        wanted: Digest,
    },
    /// A mount was refused and there are no bytes to send.
    #[error("the registry did not mount the blob")]
    NotMounted,
    /// What was asked for is not there.
    #[error("not found")]
    NotFound,
    /// A document that does not parse.
    #[error("malformed document: {0}")]
    Malformed(String),
    /// A local file.
    #[error("local file `{path}`: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

/// What to do where there is no client for a host.
pub const SETUP_HELP: &str = "correct `ca` of the registry under `[registries]`: it names a PEM file of certificates, \
                              relative to the manifest";

impl RegistryErrorKind {
    /// Whether the same request may succeed when sent again: connections that broke, 408, 429 and
    /// 5xx, except 501 and 505 which state a lasting lack.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Transport(_) => true,
            Self::Status { status, .. } => may_pass(*status),
            _ => false,
        }
    }

    /// Whether a registry refused to move a tag: ECR answers 400 TAG_INVALID, Harbor 412, others
    /// 403, 405 or 409; all say so in words.
    pub(super) fn is_about_immutable_tag(&self) -> bool {
        let words = match self {
            Self::Status { status: 400 | 405 | 409 | 412, message } => message,
            Self::Denied(words) => words,
            _ => return false,
        };
        words.contains("TAG_INVALID") || words.to_ascii_lowercase().contains("immutable")
    }

    /// This kind as the failure of `action`.
    pub(super) fn during(self, action: impl Into<String>) -> RegistryError {
        RegistryError { action: action.into(), kind: self }
    }

    /// Builds the kind for a local file that failed.
    pub(super) fn file(path: &Path, source: std::io::Error) -> Self {
        Self::File { path: path.to_owned(), source }
    }
}

impl From<TransportError> for RegistryErrorKind {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Setup(words) => Self::Setup(words),
            TransportError::Connect(words) | TransportError::Broken(words) => Self::Transport(words),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_retried() {
        let status = |status| RegistryErrorKind::Status { status, message: String::new() };
        for retried in [408, 429, 500, 502, 503, 504] {
            assert!(status(retried).is_retryable(), "{retried}");
        }
        for lasting in [400, 404, 405, 409, 416, 501, 505] {
            assert!(!status(lasting).is_retryable(), "{lasting}");
        }
        assert!(RegistryErrorKind::Transport("reset".into()).is_retryable());
        assert!(!RegistryErrorKind::Denied("no".into()).is_retryable());
        assert!(!RegistryErrorKind::NotMounted.is_retryable());
        let lasting = RegistryErrorKind::from(TransportError::Setup("failed to read `ca.pem`".into()));
        assert!(!lasting.is_retryable(), "{lasting}");
    }

    #[test]
    fn refusals_to_move_a_tag_are_told_from_others() {
        let status = |status, message: &str| RegistryErrorKind::Status { status, message: message.into() };
        let ecr = "TAG_INVALID: The image tag '1' already exists and cannot be overwritten because the tag is immutable.";
        assert!(status(400, ecr).is_about_immutable_tag());
        assert!(status(412, "PRECONDITION: matches an Immutable rule").is_about_immutable_tag());
        assert!(!status(400, "MANIFEST_INVALID: no").is_about_immutable_tag());
        assert!(!status(500, ecr).is_about_immutable_tag());
    }

    #[test]
    fn the_message_says_what_was_tried_and_why_it_failed() {
        let kind = RegistryErrorKind::Status { status: 403, message: "DENIED: no".into() };
        let error = kind.during("push blob `sha256:ab` to `localhost:5000/x`");
        assert_eq!(
            error.to_string(),
            "failed to push blob `sha256:ab` to `localhost:5000/x`: the registry answered 403: DENIED: no"
        );
    }
}
