//! The four requests of the API (`/ci/execution-config/…`).

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};
use url::Url;

use super::compare::Change;
use super::envelope::{Config, open};
use super::error::ApiError;
use crate::http::{ApiCredential, Http, HttpError, Request, RetrySettings, is_loopback};

/// How requests are sent.
#[derive(Debug, Clone, Copy)]
pub struct HttpSettings {
    /// Longest time of one try.
    pub timeout: Duration,
    /// Longest wait before the second try, unless the server says how long; doubles with each.
    pub wait: Duration,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(60), wait: Duration::from_millis(500) }
    }
}

/// What builds run on: each has a configuration of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Infrastructure {
    /// Kubernetes.
    K8,
    /// Virtual machines.
    Vm,
}

impl fmt::Display for Infrastructure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::K8 => "K8",
            Self::Vm => "VM",
        })
    }
}

/// The API of one account for one infrastructure.
pub struct ConfigApi {
    base: Url,
    account: String,
    infrastructure: Infrastructure,
    access: ApiCredential,
    http: Http,
    timeout: Duration,
}

impl ConfigApi {
    /// A client; contacts nobody. `base` is the gateway, e.g. `https://app.harness.io/gateway`.
    ///
    /// # Errors
    /// When `base` is no URL that a key may be sent to.
    pub fn new(
        base: &str,
        account: &str,
        infrastructure: Infrastructure,
        access: ApiCredential,
        settings: HttpSettings,
    ) -> Result<Self, ApiError> {
        let refused = |why: &str| ApiError::new(format!("the API's URL {why}"), "give --url https://…");
        // It may hold a password, so it is not shown.
        let base = Url::parse(base).map_err(|error| refused(&format!("is no URL: {error}")))?;
        if !base.username().is_empty() || base.password().is_some() {
            return Err(ApiError::new("the API's URL holds a user or password", "leave them out of --url"));
        }
        if base.scheme() != "https" && !(base.scheme() == "http" && is_loopback(&base)) {
            return Err(refused("is not https, so that the key would be sent in the clear"));
        }
        let HttpSettings { timeout, wait } = settings;
        let http = Http::new(RetrySettings { base: wait, ..RetrySettings::default() });
        Ok(Self { base, account: account.to_owned(), infrastructure, access, http, timeout })
    }

    /// The images that pipelines use where nothing else is set.
    ///
    /// # Errors
    /// When the API refuses or cannot be reached.
    pub async fn defaults(&self) -> Result<Config, ApiError> {
        let action = "read the default images (get-default-config)";
        self.config(action, self.url("get-default-config", None)).await
    }

    /// The images that the account's pipelines use; with `overrides_only` those that differ from the
    /// defaults.
    ///
    /// # Errors
    /// When the API refuses or cannot be reached.
    pub async fn customer(&self, overrides_only: bool) -> Result<Config, ApiError> {
        let action = "read the account's images (get-customer-config)";
        self.config(action, self.url("get-customer-config", Some(overrides_only))).await
    }

    /// Sets the images of fields.
    ///
    /// # Errors
    /// When the API refuses or cannot be reached; nobody knows then whether it did it.
    pub async fn update(&self, changes: &[Change]) -> Result<(), ApiError> {
        let body = Self::update_body(changes).to_string();
        self.post("set the account's images (update-config)", "update-config", &body).await
    }

    /// Sets fields back to their defaults.
    ///
    /// # Errors
    /// As [`ConfigApi::update`].
    pub async fn reset(&self, fields: &[String]) -> Result<(), ApiError> {
        let body = Self::reset_body(fields).to_string();
        self.post("set images back to the defaults (reset-config)", "reset-config", &body).await
    }

    /// What [`ConfigApi::update`] sends.
    pub fn update_body(changes: &[Change]) -> Value {
        changes.iter().map(|change| json!({ "field": change.field, "value": change.value })).collect()
    }

    /// What [`ConfigApi::reset`] sends.
    pub fn reset_body(fields: &[String]) -> Value {
        fields.iter().map(|field| json!({ "field": field })).collect()
    }

    /// Where a request goes, for people.
    pub fn address(&self, request: &str) -> String {
        self.url(request, None).to_string()
    }

    fn url(&self, request: &str, overrides_only: Option<bool>) -> Url {
        let mut url = self.base.clone();
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{path}/ci/execution-config/{request}"));
        url.query_pairs_mut()
            .append_pair("accountIdentifier", &self.account)
            .append_pair("infra", &self.infrastructure.to_string());
        if let Some(overrides_only) = overrides_only {
            url.query_pairs_mut().append_pair("overridesOnly", if overrides_only { "true" } else { "false" });
        }
        url
    }

    async fn config(&self, action: &str, url: Url) -> Result<Config, ApiError> {
        let data = self.ask(action, &url, None).await?;
        Config::of(data).map_err(|why| {
            let help = "check --url; the API may have changed";
            ApiError::new(self.access.scrub(&format!("failed to {action}: {why}")), help)
        })
    }

    async fn post(&self, action: &str, request: &str, body: &str) -> Result<(), ApiError> {
        self.ask(action, &self.url(request, None), Some(body)).await.map(|_| ())
    }

    async fn ask(&self, action: &str, url: &Url, body: Option<&str>) -> Result<Option<Value>, ApiError> {
        let failed = |error: HttpError| {
            let help = match error {
                HttpError::Credential => "set it without line ends",
                _ => "check --url and the network, then run again",
            };
            ApiError::new(self.access.scrub(&format!("failed to {action}: {error}")), help)
        };
        let request = match body {
            None => Request::get(url.clone()),
            Some(json) => Request::post(url.clone(), json),
        };
        let request = request.timeout(self.timeout).signed(&self.access).map_err(failed)?;
        let reply = self.http.send(&request).await.map_err(failed)?;
        let (status, body) = (reply.status.as_u16(), String::from_utf8_lossy(&reply.body));
        if (300..400).contains(&status) {
            let why = format!(
                "failed to {action}: the server answered {status}, a redirect, which is not followed"
            );
            return Err(ApiError::new(why, "give the address that it leads to with --url"));
        }
        open(action, status, &body)
            .map_err(|error| ApiError { message: self.access.scrub(&error.message), help: error.help })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_address_is_refused_for_does_not_show_it() {
        let key = || ApiCredential::Key(crate::http::Secret::new("k"));
        let new = |url| ConfigApi::new(url, "a", Infrastructure::K8, key(), HttpSettings::default());
        for url in
            ["http://ann:hunter22@h:port", "https://ann:hunter22@", "ann:hunter22@h", "ann.hunter22@h/x"]
        {
            let error = new(url).err().expect("it is refused").to_string();
            assert!(error.contains("the API's URL is no") && !error.contains("hunter22"), "{error}");
        }
    }
}
