//! What is asked for, and what it is signed with.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use url::Url;

use super::error::HttpError;
use super::retry::may_pass;
use super::secret::Secret;

/// Most of an answer that is read unless a request says otherwise, in bytes.
const LIMIT: u64 = 16 * 1024 * 1024;

/// What a request to an API is signed with; never printed.
#[derive(Debug, Clone)]
pub enum ApiCredential {
    /// `X-API-KEY`.
    Key(Secret),
    /// `Authorization: Bearer`.
    Bearer(Secret),
}

impl ApiCredential {
    /// Replaces the secret wherever it occurs in words that came from outside.
    pub(crate) fn scrub(&self, text: &str) -> String {
        let (Self::Key(secret) | Self::Bearer(secret)) = self;
        secret.scrub(text)
    }

    fn header(&self) -> Result<(HeaderName, HeaderValue), HttpError> {
        let (name, value) = match self {
            Self::Key(key) => (HeaderName::from_static("x-api-key"), HeaderValue::from_str(key.expose())),
            Self::Bearer(token) => {
                (AUTHORIZATION, HeaderValue::try_from(format!("Bearer {}", token.expose())))
            }
        };
        let mut value = value.map_err(|_| HttpError::Credential)?;
        value.set_sensitive(true);
        Ok((name, value))
    }
}

/// What is asked for. Without a credential redirects of a GET are followed; with one they are
/// answers like any other, as they would carry it elsewhere.
#[derive(Debug, Clone)]
pub struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) json: Option<String>,
    pub(super) credential: Option<(HeaderName, HeaderValue)>,
    pub(super) limit: u64,
    pub(super) timeout: Option<Duration>,
}

impl Request {
    fn new(method: Method, url: Url) -> Self {
        Self { method, url, json: None, credential: None, limit: LIMIT, timeout: None }
    }

    /// Reads. A user and password in the URL are sent to its own host alone.
    pub fn get(url: Url) -> Self {
        Self::new(Method::GET, url)
    }

    /// Changes something, by the URL alone.
    pub fn put(url: Url) -> Self {
        Self::new(Method::PUT, url)
    }

    /// Changes something, by a JSON document.
    pub fn post(url: Url, json: &str) -> Self {
        Self { json: Some(json.to_owned()), ..Self::new(Method::POST, url) }
    }

    /// With a credential.
    ///
    /// # Errors
    /// When it fits into no header.
    pub fn signed(self, credential: &ApiCredential) -> Result<Self, HttpError> {
        Ok(Self { credential: Some(credential.header()?), ..self })
    }

    /// Reads at most so many bytes of the answer; 16 MiB unless set.
    pub fn limit(self, bytes: u64) -> Self {
        Self { limit: bytes, ..self }
    }

    /// Gives each try so much time for the whole answer; else only a standstill ends one.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    pub(super) fn reads(&self) -> bool {
        self.method == Method::GET
    }

    /// Whether an answer may be another one after a while. What changes something is sent again only
    /// where the server says that it did nothing.
    pub(super) fn may_pass(&self, status: StatusCode) -> bool {
        may_pass(status.as_u16()) && (self.reads() || matches!(status.as_u16(), 429 | 503))
    }
}
