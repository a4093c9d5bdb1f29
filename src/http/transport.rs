//! The HTTP clients beneath everything: sending with a watchdog, reading with a limit, and errors
//! without URLs (signed ones are credentials). Follows no redirect and repeats nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::{Certificate, Client, ClientBuilder, Method, RequestBuilder, Response, redirect};
use url::Url;

use super::address::{authority, is_loopback};
use super::error::causes;
use super::meter::Meter;

/// How many idle times a registry may take to store a blob it has received in full.
const COMMIT_PATIENCE: u32 = 5;

/// Why there is no answer, or none to its end. Holds no URL.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransportError {
    /// There is no client: a lasting lack, such as a file of certificates that is not there.
    #[error("{0}")]
    Setup(String),
    /// No connection: nothing was asked for.
    #[error("{0}")]
    Connect(String),
    /// The connection broke, or nothing moved on it.
    #[error("{0}")]
    Broken(String),
}

/// How a host's certificate is judged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// A PEM file with certificates of authorities that count beside this machine's.
    pub ca: Option<PathBuf>,
    /// Whether any certificate is taken.
    pub skip_verify: bool,
}

impl TlsSettings {
    /// Whether something is set.
    pub(crate) fn is_set(&self) -> bool {
        *self != Self::default()
    }
}

type ClientSlot = OnceLock<Result<Client, String>>;

/// A client for plain HTTP within this machine, which is reached without proxy and without loading
/// certificates; one for its HTTPS; one for all others; and one for each host with TLS settings of
/// its own.
#[derive(Default)]
pub(crate) struct Transport {
    direct: ClientSlot,
    local: ClientSlot,
    remote: ClientSlot,
    own: BTreeMap<String, (TlsSettings, ClientSlot)>,
    idle: Duration,
}

impl Transport {
    /// `idle` is the longest time without a byte in either direction, `own` are TLS settings by
    /// `host[:port]`.
    pub(crate) fn new(idle: Duration, own: impl Iterator<Item = (String, TlsSettings)>) -> Self {
        let own = own.map(|(host, tls)| (host, (tls, ClientSlot::default()))).collect();
        Self { idle, own, ..Self::default() }
    }

    /// Begins a request with the client for the URL's host.
    pub(crate) fn request(&self, method: Method, url: Url) -> Result<RequestBuilder, TransportError> {
        if url.scheme() == "https"
            && let Some((tls, slot)) = self.own.get(&authority(&url))
        {
            let is_local = is_loopback(&url);
            return begin(slot.get_or_init(|| build_own(tls, is_local)), method, url);
        }
        if is_loopback(&url) {
            if url.scheme() == "http" {
                return self.direct(method, url);
            }
            return begin(self.local.get_or_init(|| build(builder().no_proxy())), method, url);
        }
        begin(self.remote.get_or_init(|| build(builder())), method, url)
    }

    /// Begins a request that goes by no proxy, to a service of this machine or its cloud.
    pub(crate) fn direct(&self, method: Method, url: Url) -> Result<RequestBuilder, TransportError> {
        let make = || build(builder().no_proxy().tls_built_in_root_certs(false));
        begin(self.direct.get_or_init(make), method, url)
    }

    /// Sends, and gives up where nothing moves for the idle time; `upload` counts the body's bytes
    /// and knows how many there are.
    pub(crate) async fn send(
        &self,
        request: RequestBuilder,
        upload: Option<(&Meter, u64)>,
    ) -> Result<Response, TransportError> {
        let mut answer = std::pin::pin!(request.send());
        let mut patience = COMMIT_PATIENCE;
        loop {
            let before = upload.map_or(0, |(meter, _)| meter.position());
            match tokio::time::timeout(self.idle, &mut answer).await {
                Ok(answer) => return answer.map_err(broken),
                Err(_) => match upload {
                    Some((meter, _)) if meter.position() != before => {}
                    Some((meter, size)) if meter.position() >= size && patience > 1 => patience -= 1,
                    _ => return Err(self.stalled()),
                },
            }
        }
    }

    /// The next piece of a body.
    pub(crate) async fn chunk(&self, response: &mut Response) -> Result<Option<Bytes>, TransportError> {
        match tokio::time::timeout(self.idle, response.chunk()).await {
            Ok(chunk) => chunk.map_err(broken),
            Err(_) => Err(self.stalled()),
        }
    }

    /// Up to `limit` bytes of a body, and whether that was all.
    pub(crate) async fn read(
        &self,
        response: &mut Response,
        limit: usize,
    ) -> Result<(Bytes, bool), TransportError> {
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk(response).await? {
            let room = limit - body.len();
            if chunk.len() > room {
                body.extend_from_slice(&chunk[..room]);
                return Ok((body.freeze(), false));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((body.freeze(), true))
    }

    fn stalled(&self) -> TransportError {
        TransportError::Broken(format!("nothing moved for {} s", self.idle.as_secs_f32()))
    }
}

fn begin(
    client: &Result<Client, String>,
    method: Method,
    url: Url,
) -> Result<RequestBuilder, TransportError> {
    match client {
        Ok(client) => Ok(client.request(method, url)),
        Err(message) => Err(TransportError::Setup(message.clone())),
    }
}

fn build_own(tls: &TlsSettings, is_local: bool) -> Result<Client, String> {
    let mut builder = if is_local { builder().no_proxy() } else { builder() };
    if let Some(path) = &tls.ca {
        let name = path.display();
        let pem = std::fs::read(path).map_err(|error| format!("failed to read `{name}`: {error}"))?;
        let certificates = Certificate::from_pem_bundle(&pem).unwrap_or_default();
        if certificates.is_empty() {
            return Err(format!("`{name}` holds no certificates in PEM"));
        }
        builder = certificates.into_iter().fold(builder, ClientBuilder::add_root_certificate);
    }
    build(builder.danger_accept_invalid_certs(tls.skip_verify))
}

fn builder() -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("railyard/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .connect_timeout(Duration::from_secs(15))
        .pool_idle_timeout(Duration::from_secs(30))
        .referer(false)
}

fn build(builder: ClientBuilder) -> Result<Client, String> {
    builder.build().map_err(|error| causes(&error.without_url()))
}

fn broken(error: reqwest::Error) -> TransportError {
    let (is_connect, is_builder) = (error.is_connect(), error.is_builder());
    let words = causes(&error.without_url());
    match (is_connect, is_builder) {
        (true, _) => TransportError::Connect(words),
        (_, true) => TransportError::Setup(words),
        _ => TransportError::Broken(words),
    }
}
