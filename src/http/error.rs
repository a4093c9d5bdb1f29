//! Why there is no answer, in one line.

use std::time::Duration;

use reqwest::StatusCode;

use super::transport::TransportError;

/// Why something could not be fetched. Holds neither URL nor credential.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No answer, or one that broke off.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// No whole answer within the request's time.
    #[error("there was no whole answer within {} s", .0.as_secs_f32())]
    Slow(Duration),
    /// Another status than success.
    #[error("the server answered {0}")]
    Status(StatusCode),
    /// A body of more bytes than are read.
    #[error("the answer has more than {0} bytes")]
    TooLong(u64),
    /// A redirect that is not followed.
    #[error("the server's redirect {0}")]
    Redirect(&'static str),
    /// A key or token that fits into no header.
    #[error("the key or token has characters that no header can have")]
    Credential,
    /// Whoever takes the body in has failed.
    #[error("{0}")]
    Sink(String),
}

impl HttpError {
    /// Whether another try may help; `reads` tells that the request changes nothing.
    pub(super) fn may_pass(&self, reads: bool) -> bool {
        match self {
            Self::Transport(TransportError::Connect(_)) => true,
            Self::Transport(TransportError::Broken(_)) | Self::Slow(_) => reads,
            _ => false,
        }
    }
}

/// An error with its causes, each said once; of an HTTP client's errors the outermost says little.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{words}")]
    struct Chained {
        words: &'static str,
        source: Option<Box<Chained>>,
    }

    #[test]
    fn every_cause_is_said_once() {
        let chained = |words, source: Option<Chained>| Chained { words, source: source.map(Box::new) };
        let inner = chained("refused", None);
        let middle = chained("connect: refused", Some(inner));
        let outer = chained("request failed", Some(chained("request failed", Some(middle))));
        assert_eq!(causes(&outer), "request failed: connect: refused");
    }
}
