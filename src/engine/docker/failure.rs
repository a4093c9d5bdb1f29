//! bollard's errors in our words: what was tried, where, and whether trying again may help.

use bollard::errors::Error;

use crate::engine::EngineError;
use crate::http::causes;

/// Parts of an engine's message that speak of the moment, not of the request.
const TRANSIENT: [&str; 14] = [
    "timeout",
    "timed out",
    "connection re",
    "broken pipe",
    "eof",
    "temporar",
    "try again",
    "toomanyrequests",
    "too many requests",
    "resource busy",
    "service unavailable",
    "bad gateway",
    "internal server error",
    "deadline exceeded",
];

/// Turns an error of the action `action` (as in "failed to …") into ours.
pub(super) fn failed(endpoint: &str, action: &str, error: &Error) -> EngineError {
    match error {
        Error::SocketNotFoundError(_) => unreachable(endpoint, "there is no such socket"),
        Error::UnsupportedURISchemeError { .. } => {
            unreachable(endpoint, "only `unix://`, `tcp://` and `http://` addresses are supported")
        }
        Error::RequestTimeoutError => {
            unreachable(endpoint, &format!("it did not answer in time (while trying to {action})"))
        }
        Error::HyperLegacyError { err } if err.is_connect() => unreachable(endpoint, &causes(err)),
        Error::DockerResponseServerError { status_code, message } => EngineError::Request {
            action: format!("{action} on `{endpoint}`"),
            message: message.trim().to_owned(),
            retryable: matches!(status_code, 429 | 502..=504) || is_transient(message),
        },
        Error::DockerStreamError { error } => EngineError::Request {
            action: format!("{action} on `{endpoint}`"),
            message: error.trim().to_owned(),
            retryable: is_transient(error),
        },
        // The connection broke off.
        Error::HyperLegacyError { .. } | Error::HyperResponseError { .. } | Error::IOError { .. } => {
            EngineError::Request {
                action: format!("{action} on `{endpoint}`"),
                message: causes(error),
                retryable: true,
            }
        }
        other => EngineError::Request {
            action: format!("{action} on `{endpoint}`"),
            message: causes(other),
            retryable: false,
        },
    }
}

/// No engine there.
pub(super) fn unreachable(endpoint: &str, message: &str) -> EngineError {
    EngineError::Unreachable { endpoint: endpoint.to_owned(), message: message.to_owned() }
}

/// Whether the engine says that the thing asked for does not exist.
pub(super) fn is_not_found(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 404, .. })
}

fn is_transient(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    TRANSIENT.iter().any(|part| message.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(status_code: u16, message: &str) -> EngineError {
        failed(
            "unix:///x",
            "start the container",
            &Error::DockerResponseServerError { status_code, message: message.into() },
        )
    }

    #[test]
    fn messages_name_action_and_endpoint() {
        assert_eq!(
            server(409, "conflict\n").to_string(),
            "failed to start the container on `unix:///x`: conflict"
        );
    }

    #[test]
    fn only_faults_of_the_moment_are_retryable() {
        assert!(server(500, "Get \"https://x/v2/\": net/http: TLS handshake timeout").is_retryable());
        assert!(server(503, "").is_retryable());
        assert!(!server(500, "OCI runtime create failed: exec: \"x\": not found").is_retryable());
        assert!(!server(404, "manifest unknown").is_retryable());
    }
}
