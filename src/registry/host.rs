//! One registry host: where its API is, how it is reached and how hard it may be worked.

use url::Url;

use super::RegistryErrorKind;
use super::auth::HostAuth;
use super::budget::{Budget, Rate};
use super::client::RegistrySettings;
use crate::http::{TlsSettings, is_loopback as is_loopback_url, redirected};

/// Requests at once where nothing else is set.
const CONCURRENCY: usize = 8;

/// What is set for one registry host. The default asks for sensible values by host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HostSettings {
    /// Speak plain HTTP. Loopback hosts always do.
    pub insecure: bool,
    /// Most requests a second, 0 for no limit; twice as many may come at once after a pause. By
    /// default no limit on loopback, 5 on `public.ecr.aws` (which documents 1 anonymous pull a
    /// second, a pull being several requests), else 100. A registry that answers 429 is worked more
    /// slowly whatever is set here.
    pub requests_per_second: Option<f64>,
    /// Most requests at once, transfers included; 8 by default.
    pub concurrency: Option<usize>,
    /// How its certificate is judged. With any, a loopback host is reached by HTTPS too.
    pub tls: TlsSettings,
}

/// A registry host in use.
pub(super) struct Host {
    /// As in references, e.g. `docker.io`.
    pub(super) name: String,
    /// `scheme://host[:port]/` of its API.
    pub(super) base: Url,
    pub(super) budget: Budget,
    pub(super) auth: HostAuth,
}

impl Host {
    pub(super) fn new(name: &str, settings: &RegistrySettings) -> Result<Self, RegistryErrorKind> {
        let api = api_host(name);
        let set = settings.get(name).cloned().unwrap_or_default();
        let plain = set.insecure || (is_loopback(api) && !set.tls.is_set());
        let scheme = if plain { "http" } else { "https" };
        let base = Url::parse(&format!("{scheme}://{api}/"))
            .map_err(|error| RegistryErrorKind::Malformed(format!("registry host `{name}`: {error}")))?;
        let rate = match set.requests_per_second {
            Some(per_second) => Some(Rate { per_second, burst: (per_second * 2.0).ceil() as u32 }),
            None if is_loopback(api) => None,
            None if name == "public.ecr.aws" => Some(Rate { per_second: 5.0, burst: 20 }),
            None => Some(Rate { per_second: 100.0, burst: 200 }),
        };
        Ok(Self {
            name: name.to_owned(),
            base,
            budget: Budget::new(rate, set.concurrency.unwrap_or(CONCURRENCY)),
            auth: HostAuth::default(),
        })
    }

    /// The URL of `path` below `/v2/REPOSITORY/`.
    pub(super) fn url(&self, repository: &str, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("v2/{repository}/{path}"));
        url
    }

    /// Whether `url` is on this host's own origin, the only one that sees its credentials.
    pub(super) fn owns(&self, url: &Url) -> bool {
        self.base.origin() == url.origin()
    }

    /// Resolves the target of a `Location` header met at `at`; to plain HTTP it leads only from it, or
    /// where the settings allow it for the target.
    pub(super) fn resolve(
        &self,
        at: &Url,
        location: &str,
        settings: &RegistrySettings,
    ) -> Result<Url, RegistryErrorKind> {
        let is_insecure = |authority: &str| settings.get(authority).is_some_and(|host| host.insecure);
        redirected(&self.base, at, location, is_insecure)
            .map_err(|why| RegistryErrorKind::Malformed(format!("the registry's redirect {why}")))
    }
}

/// The host of a registry's API.
pub(super) fn api_host(name: &str) -> &str {
    if name == "docker.io" { "registry-1.docker.io" } else { name }
}

/// Whether `host[:port]` is this machine: `localhost`, 127.0.0.0/8 or `[::1]`.
fn is_loopback(authority: &str) -> bool {
    Url::parse(&format!("http://{authority}/")).is_ok_and(|url| is_loopback_url(&url))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insecure(name: &str) -> RegistrySettings {
        RegistrySettings::from([(name.into(), HostSettings { insecure: true, ..HostSettings::default() })])
    }

    #[test]
    fn plain_http_is_for_loopback_and_for_hosts_marked_so() {
        let settings = insecure("plain.example:5000");
        for (name, base) in [
            ("docker.io", "https://registry-1.docker.io/"),
            ("ghcr.io", "https://ghcr.io/"),
            ("localhost:5000", "http://localhost:5000/"),
            ("127.3.2.1:5000", "http://127.3.2.1:5000/"),
            ("[::1]:5000", "http://[::1]:5000/"),
            ("128.0.0.1:5000", "https://128.0.0.1:5000/"),
            ("localhost.example", "https://localhost.example/"),
            ("plain.example:5000", "http://plain.example:5000/"),
            ("plain.example", "https://plain.example/"),
        ] {
            assert_eq!(Host::new(name, &settings).unwrap().base.as_str(), base);
        }
    }

    #[test]
    fn locations_stay_encrypted() {
        let none = RegistrySettings::new();
        let host = Host::new("r.example:5000", &none).unwrap();
        let at = host.url("a/b", "blobs/uploads/");
        let resolve = |location: &str| host.resolve(&at, location, &none).map(String::from);
        let want = "https://r.example:5000/v2/a/b/blobs/uploads/1?_state=a%2Bb";
        assert_eq!(resolve("/v2/a/b/blobs/uploads/1?_state=a%2Bb").unwrap(), want);
        assert_eq!(resolve("http://r.example:5000/v2/a/b/blobs/uploads/1?_state=a%2Bb").unwrap(), want);
        assert_eq!(resolve("https://cdn.example/x").unwrap(), "https://cdn.example/x");
        for refused in ["http://cdn.example/x", "http://localhost:1/x", "file:///etc/passwd", "http://"] {
            assert!(resolve(refused).is_err(), "{refused}");
        }
        assert!(host.resolve(&at, "http://cdn.example/x", &insecure("cdn.example")).is_ok());
    }
}
