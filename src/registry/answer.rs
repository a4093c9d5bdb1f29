//! A registry's answer, and what it says when it refuses.

use std::time::SystemTime;

use bytes::Bytes;
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use url::Url;

use super::RegistryErrorKind;
use super::auth::Authorization;
use super::retry::Failure;
use crate::http::Transport;
use crate::http::parse_retry_after;

/// Most of an error's body that is read, in bytes.
const ERROR_BODY: usize = 64 * 1024;
/// Longest message made of it, in characters.
const MESSAGE: usize = 300;

/// An answer whose body has not been read. Holds its place in the host's budget.
pub(super) struct Answer<'a> {
    pub(super) response: Response,
    pub(super) transport: &'a Transport,
    pub(super) authorization: Option<Authorization>,
    pub(super) permit: OwnedSemaphorePermit,
}

impl Answer<'_> {
    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Where the answer came from.
    pub(super) fn url(&self) -> &Url {
        self.response.url()
    }

    /// A header that is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// The next piece of the body.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        Ok(self.transport.chunk(&mut self.response).await?)
    }

    /// The whole body, of at most `limit` bytes.
    pub(super) async fn body(&mut self, limit: usize) -> Result<Bytes, Failure> {
        match self.transport.read(&mut self.response, limit).await? {
            (body, true) => Ok(body),
            (_, false) => {
                Err(RegistryErrorKind::Malformed(format!("the answer has more than {limit} bytes")).into())
            }
        }
    }

    /// What there is of an error's body; one that breaks off still leaves the status.
    async fn error_body(&mut self) -> Bytes {
        self.transport.read(&mut self.response, ERROR_BODY).await.map(|(body, _)| body).unwrap_or_default()
    }

    /// Gives back the place in the budget, after reading the rest of a short body, so that the
    /// connection can be used again.
    pub(super) async fn into_permit(mut self) -> OwnedSemaphorePermit {
        self.error_body().await;
        self.permit
    }

    /// Turns the answer into the failure it stands for.
    pub(super) async fn failure(mut self) -> Failure {
        let status = self.status();
        let retry_after =
            self.header("retry-after").and_then(|value| parse_retry_after(value, SystemTime::now()));
        let body = self.error_body().await;
        let mut message = message(status, &body);
        if let Some(authorization) = &self.authorization {
            message = authorization.scrub(&message);
        } else if status == StatusCode::UNAUTHORIZED {
            message.push_str(" (asked without credentials)");
        }
        let kind = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                RegistryErrorKind::Denied(format!("the registry answered {}: {message}", status.as_u16()))
            }
            _ => RegistryErrorKind::Status { status: status.as_u16(), message },
        };
        Failure { kind, retry_after, restart: false }
    }
}

/// The registry's words in one short line: the OCI errors document (distribution specification,
/// "Error Codes"), a token service's `details`, or plain text; else the status' own name.
pub(super) fn message(status: StatusCode, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let words = from_document(body).unwrap_or_else(|| {
        let is_prose = !text.trim_start().starts_with(['<', '{', '[']);
        if is_prose { text.lines().next().unwrap_or_default().to_owned() } else { String::new() }
    });
    let clean: Vec<&str> = words.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    let clean = clean.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    match clean.char_indices().nth(MESSAGE) {
        Some((end, _)) => format!("{}…", &clean[..end]),
        None if clean.is_empty() => status.canonical_reason().unwrap_or("no reason given").to_owned(),
        None => clean,
    }
}

fn from_document(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Document {
        #[serde(default)]
        errors: Vec<Entry>,
        #[serde(default)]
        details: Option<String>,
        #[serde(default)]
        message: Option<String>,
    }
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        code: Option<String>,
        #[serde(default)]
        message: Option<String>,
    }
    let document: Document = serde_json::from_slice(body).ok()?;
    let entries: Vec<String> = document
        .errors
        .into_iter()
        .filter_map(|entry| match (entry.code, entry.message.filter(|m| !m.is_empty())) {
            (Some(code), Some(message)) => Some(format!("{code}: {message}")),
            (code, message) => message.or(code),
        })
        .collect();
    if entries.is_empty() { document.details.or(document.message) } else { Some(entries.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(body: &str) -> String {
        message(StatusCode::FORBIDDEN, body.as_bytes())
    }

    #[test]
    fn the_errors_document_becomes_a_line() {
        let body = r#"{"errors":[{"code":"DENIED","message":"requested access\n is denied","detail":[{"x":1}]},{"code":"X"}]}"#;
        assert_eq!(said(body), "DENIED: requested access is denied; X");
        assert_eq!(said(r#"{"details":"incorrect username or password"}"#), "incorrect username or password");
    }

    #[test]
    fn anything_else_is_shortened_or_dropped() {
        assert_eq!(said("<html><body>nginx</body></html>"), "Forbidden");
        assert_eq!(said(""), "Forbidden");
        assert_eq!(said(r#"{"errors":[]}"#), "Forbidden");
        assert_eq!(said("slow down\u{1b}[31m please\nmore"), "slow down [31m please");
        assert_eq!(said(&"é".repeat(1000)).chars().count(), 301);
    }
}
