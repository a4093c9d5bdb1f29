//! The HTTP clients beneath everything: sending with a watchdog, reading with a limit, and errors
//! without URLs (signed ones are credentials).

use std::error::Error as _;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::{Client, ClientBuilder, Method, RequestBuilder, Response, redirect};
use url::Url;

use super::RegistryErrorKind;
use super::host::is_loopback_url;
use super::meter::Meter;
use super::retry::RetrySettings;

/// How many idle times a registry may take to store a blob it has received in full.
const COMMIT_PATIENCE: u32 = 5;

/// Two clients: this machine is reached without proxy and without loading certificates.
#[derive(Default)]
pub(super) struct Transport {
    direct: OnceLock<Result<Client, String>>,
    remote: OnceLock<Result<Client, String>>,
    idle: Duration,
}

impl Transport {
    pub(super) fn new(settings: &RetrySettings) -> Self {
        Self { idle: settings.idle, ..Self::default() }
    }

    /// Begins a request with the client for the URL's host.
    pub(super) fn request(&self, method: Method, url: Url) -> Result<RequestBuilder, RegistryErrorKind> {
        let client = if is_loopback_url(&url) {
            self.direct.get_or_init(|| build(builder().no_proxy().tls_built_in_root_certs(false)))
        } else {
            self.remote.get_or_init(|| build(builder()))
        };
        match client {
            Ok(client) => Ok(client.request(method, url)),
            Err(message) => Err(RegistryErrorKind::Transport(message.clone())),
        }
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
