//! The HTTP clients beneath everything: sending with a watchdog, reading with a limit, and errors
//! without URLs (signed ones are credentials).

use std::collections::BTreeMap;
use std::error::Error as _;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::{Certificate, Client, ClientBuilder, Method, RequestBuilder, Response, redirect};
use url::Url;

use super::RegistryErrorKind;
use super::host::{authority, is_loopback_url};
use super::meter::Meter;
use super::retry::RetrySettings;

/// How many idle times a registry may take to store a blob it has received in full.
const COMMIT_PATIENCE: u32 = 5;

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
    pub(super) fn is_set(&self) -> bool {
        *self != Self::default()
    }
}

type ClientSlot = OnceLock<Result<Client, String>>;

/// Two clients, as this machine is reached without proxy and without loading certificates; and one
/// for each host with TLS settings of its own.
#[derive(Default)]
pub(super) struct Transport {
    direct: ClientSlot,
    remote: ClientSlot,
    own: BTreeMap<String, (TlsSettings, ClientSlot)>,
    idle: Duration,
}

impl Transport {
    /// `own` are TLS settings by `host[:port]`.
    pub(super) fn new(settings: &RetrySettings, own: impl Iterator<Item = (String, TlsSettings)>) -> Self {
        let own = own.map(|(host, tls)| (host, (tls, ClientSlot::default()))).collect();
        Self { idle: settings.idle, own, ..Self::default() }
    }

    /// Begins a request with the client for the URL's host.
    pub(super) fn request(&self, method: Method, url: Url) -> Result<RequestBuilder, RegistryErrorKind> {
        if url.scheme() == "https"
            && let Some((tls, slot)) = self.own.get(&authority(&url))
        {
            let is_local = is_loopback_url(&url);
            return begin(slot.get_or_init(|| build_own(tls, is_local)), method, url);
        }
        if is_loopback_url(&url) {
            return self.direct(method, url);
        }
        begin(self.remote.get_or_init(|| build(builder())), method, url)
    }

    /// Begins a request that goes by no proxy, to a service of this machine or its cloud.
    pub(super) fn direct(&self, method: Method, url: Url) -> Result<RequestBuilder, RegistryErrorKind> {
        let make = || build(builder().no_proxy().tls_built_in_root_certs(false));
        begin(self.direct.get_or_init(make), method, url)
    }

    /// Sends, and gives up where nothing moves for the idle time; `upload` counts the body's bytes
    /// and knows how many there are.
    pub(super) async fn send(
        &self,
        request: RequestBuilder,
        upload: Option<(&Meter, u64)>,
    ) -> Result<Response, RegistryErrorKind> {
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
    pub(super) async fn chunk(&self, response: &mut Response) -> Result<Option<Bytes>, RegistryErrorKind> {
        match tokio::time::timeout(self.idle, response.chunk()).await {
            Ok(chunk) => chunk.map_err(broken),
            Err(_) => Err(self.stalled()),
        }
    }

    /// Up to `limit` bytes of a body, and whether that was all.
    pub(super) async fn read(
        &self,
        response: &mut Response,
        limit: usize,
    ) -> Result<(Bytes, bool), RegistryErrorKind> {
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

    fn stalled(&self) -> RegistryErrorKind {
        RegistryErrorKind::Transport(format!("nothing moved for {} s", self.idle.as_secs_f32()))
    }
}

fn begin(
    client: &Result<Client, String>,
    method: Method,
    url: Url,
) -> Result<RequestBuilder, RegistryErrorKind> {
    match client {
        Ok(client) => Ok(client.request(method, url)),
        Err(message) => Err(RegistryErrorKind::Transport(message.clone())),
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
    builder.build().map_err(|error| describe(&error.without_url()))
}

fn broken(error: reqwest::Error) -> RegistryErrorKind {
    RegistryErrorKind::Transport(describe(&error.without_url()))
}

/// The error's own words and its innermost cause, which is the telling one.
fn describe(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    while let Some(inner) = cause.and_then(std::error::Error::source) {
        cause = Some(inner);
    }
    match cause {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
