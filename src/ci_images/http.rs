//! Requests to the API and to catalogs: bounded in time and size, repeated where that may help.

use std::time::{Duration, SystemTime};

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LINK, RETRY_AFTER};
use reqwest::redirect;
use url::Url;

use super::api::Access;
use super::error::ApiError;
use crate::http::causes;
use crate::mirror::{Listed, read_catalog};

/// Most of an answer that is read, in bytes.
const LIMIT: usize = 16 * 1024 * 1024;
const TRIES: u32 = 4;
/// Longest wait that a server can ask for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pages of a catalog that are read before it is taken to run in circles.
const PAGES: usize = 1000;

/// How requests are sent.
#[derive(Debug, Clone, Copy)]
pub struct HttpSettings {
    /// Longest time of one try.
    pub timeout: Duration,
    /// Wait before the second try, unless the server says how long; doubles with each.
    pub wait: Duration,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(60), wait: Duration::from_millis(500) }
    }
}

/// An answer that was read, whatever its status.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: String,
    link: Option<String>,
}

/// A try that failed.
struct Failure {
    why: String,
    /// Whether the request has not been carried out, for all one knows.
    is_untouched: bool,
}

/// A client of one server.
#[derive(Debug, Clone)]
pub(super) struct Http {
    client: reqwest::Client,
    settings: HttpSettings,
}

impl Http {
    /// A client; redirects are not followed, as they would carry the key elsewhere.
    pub(super) fn new(settings: HttpSettings, access: Option<&Access>, url: &Url) -> Result<Self, ApiError> {
        let mut headers = HeaderMap::new();
        if let Some(access) = access {
            let (name, text) = match access {
                Access::Key(key) => (HeaderName::from_static("x-api-key"), key.expose().to_owned()),
                Access::Token(token) => (AUTHORIZATION, format!("Bearer {}", token.expose())),
            };
            let mut value = HeaderValue::from_str(&text).map_err(|_| {
                ApiError::new(
                    "the key or token has characters that no header can have",
                    "set it without line ends",
                )
            })?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("railyard/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .redirect(redirect::Policy::none())
            .connect_timeout(Duration::from_secs(20).min(settings.timeout))
            .timeout(settings.timeout);
        if is_loopback(url) {
            builder = builder.no_proxy();
        }
        let client = builder.build().expect("the TLS back end starts with built-in settings");
        Ok(Self { client, settings })
    }

    /// Sends until there is an answer that another try would not change; in words why there is none.
    /// With a body it is a POST, which changes something, else a GET.
    pub(super) async fn send(&self, url: &Url, body: Option<&str>) -> Result<Reply, String> {
        let reads = body.is_none();
        let mut wait = self.settings.wait;
        for attempt in 1.. {
            let last = attempt == TRIES;
            match self.once(url, body).await {
                Ok((reply, asked)) if is_passing(reads, reply.status) && !last => {
                    let random = self.settings.wait.mul_f64(f64::from(attempt) / f64::from(TRIES));
                    tokio::time::sleep(asked.map_or(wait, |asked| asked.min(PATIENCE) + random)).await;
                }
                Ok((reply, _)) => return Ok(reply),
                Err(failure) if last || !(reads || failure.is_untouched) => {
                    return Err(failure.why);
                }
                Err(_) => tokio::time::sleep(wait).await,
            }
            wait *= 2;
        }
        unreachable!("the loop ends at the last try")
    }

    async fn once(&self, url: &Url, body: Option<&str>) -> Result<(Reply, Option<Duration>), Failure> {
        let failed = |error: reqwest::Error| Failure {
            is_untouched: error.is_connect(),
            // Its URL names the account.
            why: causes(&error.without_url()),
        };
        let request = match body {
            None => self.client.get(url.clone()),
            Some(body) => {
                let post = self.client.post(url.clone()).header("content-type", "application/json");
                post.body(body.to_owned())
            }
        };
        let mut response = request.send().await.map_err(failed)?;
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let asked = header(RETRY_AFTER).and_then(retry_after);
        let link = header(LINK).map(str::to_owned);
        let status = response.status().as_u16();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > LIMIT {
                let why = format!("the answer has more than {LIMIT} bytes");
                return Err(Failure { why, is_untouched: false });
            }
        }
        let body = String::from_utf8_lossy(&bytes).into_owned();
        Ok((Reply { status, body, link }, asked))
    }
}

/// Whether a status may pass. What changes something is sent again only where the server says that
/// it did nothing.
fn is_passing(reads: bool, status: u16) -> bool {
    match status {
        429 | 503 => true,
        408 | 500 | 502 | 504 => reads,
        _ => false,
    }
}

/// Seconds, or an HTTP date.
fn retry_after(value: &str) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(value.trim()).ok()?.timestamp();
    Some(SystemTime::from(date).duration_since(SystemTime::now()).unwrap_or_default())
}

/// Whether a URL is on this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// The names in a catalog on a server, through every page.
///
/// # Errors
/// When it cannot be read, or is no catalog.
pub async fn fetch_catalog(address: &str, settings: HttpSettings) -> Result<Vec<Listed>, ApiError> {
    let failed = |why: &str| {
        let help = "correct --catalog, or list the images in a file (`--list`): Harness's own catalog has been retired";
        ApiError::new(format!("failed to read the catalog `{address}`: {why}"), help)
    };
    let mut url = Url::parse(address).map_err(|error| failed(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(failed("it is no http or https URL"));
    }
    let http = Http::new(settings, None, &url)?;
    let mut found = Vec::new();
    for _ in 0..PAGES {
        let reply = http.send(&url, None).await.map_err(|why| failed(&why))?;
        if reply.status != 200 {
            return Err(failed(&format!("the server answered {}", reply.status)));
        }
        found.extend(read_catalog(&reply.body, address).map_err(|why| failed(&why))?);
        match reply.link.as_deref().and_then(|link| next_page(link, &url)) {
            None => return Ok(found),
            Some(next) if next == url => break,
            Some(next) => url = next,
        }
    }
    Err(failed("its pages do not end"))
}

/// The page that a `Link` header names with `rel="next"`, on the catalog's own host.
fn next_page(header: &str, at: &Url) -> Option<Url> {
    let (target, parameters) = header.split_once('<')?.1.split_once('>')?;
    if !parameters.replace('"', "").to_ascii_lowercase().contains("rel=next") {
        return None;
    }
    let found = at.join(target).ok()?;
    let mut next = at.clone();
    next.set_path(found.path());
    next.set_query(found.query());
    Some(next)
}
