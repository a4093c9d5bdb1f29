//! [`Http`]: a request sent until it is answered for good, its answer bounded in time and size.

use std::time::SystemTime;

use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use url::Url;

use super::address::redirected;
use super::error::HttpError;
use super::request::Request;
use super::retry::{RetrySettings, parse_retry_after};
use super::transport::Transport;

/// Redirects followed for one request.
const REDIRECTS: usize = 10;

/// Takes in the body of an answer.
pub trait Sink: Send {
    /// Begins anew: what came of an earlier try does not count.
    ///
    /// # Errors
    /// In words; nothing is tried again then.
    fn start(&mut self) -> Result<(), String>;

    /// Takes the next bytes.
    ///
    /// # Errors
    /// As [`Sink::start`].
    fn write(&mut self, bytes: &[u8]) -> Result<(), String>;
}

impl Sink for Vec<u8> {
    fn start(&mut self) -> Result<(), String> {
        self.clear();
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

/// An answer that was read, whatever its status.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// Where it came from, after redirects.
    pub url: Url,
    /// The body; empty where it went into a [`Sink`].
    pub body: Vec<u8>,
    headers: HeaderMap,
}

impl Reply {
    /// A header that is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A client; keeps its connections. This machine is reached without proxy, others as the
/// environment says (`HTTPS_PROXY`, `NO_PROXY`).
pub struct Http {
    transport: Transport,
    retry: RetrySettings,
}

impl Default for Http {
    fn default() -> Self {
        Self::new(RetrySettings::default())
    }
}

impl Http {
    /// A client that tries as often as `retry` says. Contacts nobody.
    pub fn new(retry: RetrySettings) -> Self {
        Self { transport: Transport::new(retry.idle, std::iter::empty()), retry }
    }

    /// Sends until there is an answer that another try would not change, whatever its status.
    ///
    /// # Errors
    /// When there is no answer, or none that can be read.
    pub async fn send(&self, request: &Request) -> Result<Reply, HttpError> {
        self.try_all(request, None).await
    }

    /// [`Http::send`], and success or nothing.
    ///
    /// # Errors
    /// As [`Http::send`], and for any other status.
    pub async fn fetch(&self, request: &Request) -> Result<Reply, HttpError> {
        successful(self.send(request).await?)
    }

    /// [`Http::fetch`] with the body handed on as it comes.
    ///
    /// # Errors
    /// As [`Http::fetch`], and when the sink fails.
    pub async fn fetch_into(&self, request: &Request, sink: &mut dyn Sink) -> Result<Reply, HttpError> {
        successful(self.try_all(request, Some(sink)).await?)
    }

    async fn try_all(&self, request: &Request, mut sink: Option<&mut dyn Sink>) -> Result<Reply, HttpError> {
        for failed in 1.. {
            let is_last = failed >= self.retry.tries;
            let tried = self.try_once(request, sink.as_mut().map(|sink| &mut **sink as &mut dyn Sink)).await;
            let wait = match tried {
                Ok(reply) if is_last || !request.may_pass(reply.status) => return Ok(reply),
                Ok(reply) => {
                    let asked = reply.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
                    let asked = asked.and_then(|value| parse_retry_after(value, SystemTime::now()));
                    self.retry.wait(failed, asked, reply.status == StatusCode::TOO_MANY_REQUESTS)
                }
                Err(error) if is_last || !error.may_pass(request.reads()) => return Err(error),
                Err(_) => self.retry.wait(failed, None, false),
            };
            tokio::time::sleep(wait).await;
        }
        unreachable!("the loop ends at the last try")
    }

    async fn try_once(&self, request: &Request, sink: Option<&mut dyn Sink>) -> Result<Reply, HttpError> {
        let answer = async {
            let (url, response) = self.follow(request).await?;
            self.read(request, url, response, sink).await
        };
        match request.timeout {
            None => answer.await,
            Some(time) => tokio::time::timeout(time, answer).await.unwrap_or(Err(HttpError::Slow(time))),
        }
    }

    /// Sends once, and on to where redirects lead.
    async fn follow(&self, request: &Request) -> Result<(Url, Response), HttpError> {
        let follows = request.reads() && request.credential.is_none();
        let mut url = request.url.clone();
        for _ in 0..=REDIRECTS {
            let mut sent = self.transport.request(request.method.clone(), url.clone())?;
            if let Some((name, value)) = &request.credential {
                sent = sent.header(name, value);
            }
            if let Some(json) = &request.json {
                sent = sent.header(CONTENT_TYPE, "application/json").body(json.clone());
            }
            let response = self.transport.send(sent, None).await?;
            let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let Some(location) = location.filter(|_| follows && is_redirect) else {
                return Ok((url, response));
            };
            let next = redirected(&request.url, &url, location, |_| false).map_err(HttpError::Redirect)?;
            url = with_user_of(&request.url, next);
        }
        Err(HttpError::Redirect("leads to another one, and so on"))
    }

    async fn read(
        &self,
        request: &Request,
        url: Url,
        mut response: Response,
        sink: Option<&mut dyn Sink>,
    ) -> Result<Reply, HttpError> {
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        let sink = match sink {
            Some(_) if !status.is_success() => return Ok(Reply { status, url, body, headers }),
            Some(sink) => sink,
            None => &mut body,
        };
        if response.content_length().is_some_and(|length| length > request.limit) {
            return Err(HttpError::TooLong(request.limit));
        }
        sink.start().map_err(HttpError::Sink)?;
        let mut left = request.limit;
        while let Some(chunk) = self.transport.chunk(&mut response).await? {
            left = left.checked_sub(chunk.len() as u64).ok_or(HttpError::TooLong(request.limit))?;
            sink.write(&chunk).map_err(HttpError::Sink)?;
        }
        Ok(Reply { status, url, body, headers })
    }
}

fn successful(reply: Reply) -> Result<Reply, HttpError> {
    if reply.status.is_success() { Ok(reply) } else { Err(HttpError::Status(reply.status)) }
}

/// A redirect's target with the user and password of where the request began, if that is its origin.
fn with_user_of(from: &Url, mut to: Url) -> Url {
    if from.origin() == to.origin() && to.username().is_empty() && to.password().is_none() {
        // Only URLs without a host can have none.
        let _ = to.set_username(from.username());
        let _ = to.set_password(from.password());
    }
    to
}
