//! Harness Manager's API for the tag that upgraders put in place.
//!
//! `GET /ng/api/delegate-setup/latest-supported-version` and `PUT /ng/api/delegate-setup/override-delegate-tag`;
//! answers are `{"metaData": {}, "resource": …, "responseMessages": []}`.

use std::time::Duration;

use serde_json::Value;
use url::Url;

use super::DelegateError;
use crate::http::{ApiCredential, Http, HttpError, Request, is_loopback, shown};

/// Most of an answer that is read, in bytes.
const LIMIT: u64 = 1024 * 1024;
/// Longest time of one try.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The account, and the part of it, that a request is about.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// The account's id.
    pub account: String,
    /// The organisation, if not the whole account.
    pub organisation: Option<String>,
    /// The project, if not all of the organisation.
    pub project: Option<String>,
}

/// What is pinned, for how long.
#[derive(Debug, Clone)]
pub struct Override {
    /// Account, organisation, project.
    pub scope: Scope,
    /// The image with its tag, as upgraders get it.
    pub image: String,
    /// Only delegates with one of these tags; all unless given.
    pub tags: Vec<String>,
    /// Days that it lasts; Harness's own default unless given.
    pub days: Option<u32>,
    /// Whether it ends when Harness releases the next version.
    pub till_next_release: bool,
}

/// The newest versions that an account's delegates may have; `None` where the server names none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Latest {
    /// Of the full image.
    pub full: Option<String>,
    /// Of the minimal image.
    pub minimal: Option<String>,
}

/// Harness Manager.
pub struct Manager {
    base: Url,
    credential: Option<ApiCredential>,
    http: Http,
}

impl Manager {
    /// At a base URL; contacts nobody.
    ///
    /// # Errors
    /// What is no URL, holds a password, or would carry the credential in the clear.
    pub fn new(base: &str, credential: Option<ApiCredential>) -> Result<Self, DelegateError> {
        let refuse = |why: &str| {
            Err(DelegateError::new(
                format!("the URL of Harness Manager {why}"),
                "give e.g. `https://app.harness.io`",
            ))
        };
        let Ok(base) = Url::parse(base.trim_end_matches('/')) else { return refuse("is no URL") };
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
            return refuse("is neither http nor https");
        }
        if !base.username().is_empty() || base.password().is_some() {
            return refuse("holds a user or password");
        }
        if base.scheme() == "http" && credential.is_some() && !is_loopback(&base) {
            return refuse("is http: the key would be readable on its way");
        }
        Ok(Self { base, credential, http: Http::default() })
    }

    /// The request that asks for the newest supported versions.
    pub fn latest_url(&self, account: &str) -> Url {
        let scope = Scope { account: account.to_owned(), ..Scope::default() };
        self.url("latest-supported-version", &scope, &[])
    }

    /// The request that pins an image.
    pub fn override_url(&self, pin: &Override) -> Url {
        let mut query: Vec<(&str, String)> = vec![("delegateTag", pin.image.clone())];
        query.extend(pin.tags.iter().map(|tag| ("tags", tag.clone())));
        query.extend(pin.days.map(|days| ("validForDays", days.to_string())));
        query.push(("validTillNextRelease", pin.till_next_release.to_string()));
        self.url("override-delegate-tag", &pin.scope, &query)
    }

    fn url(&self, operation: &str, scope: &Scope, query: &[(&str, String)]) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!(
            "{}/ng/api/delegate-setup/{operation}",
            self.base.path().trim_end_matches('/')
        ));
        url.query_pairs_mut()
            .append_pair("accountIdentifier", &scope.account)
            .extend_pairs(scope.organisation.iter().map(|id| ("orgIdentifier", id)))
            .extend_pairs(scope.project.iter().map(|id| ("projectIdentifier", id)))
            .extend_pairs(query);
        url
    }

    /// The newest versions that an account's delegates may have.
    ///
    /// # Errors
    /// When the server cannot be asked or refuses.
    pub async fn latest(&self, account: &str) -> Result<Latest, DelegateError> {
        let answer = self.send("GET", Request::get, self.latest_url(account)).await?;
        let version = |key: &str| answer["resource"][key].as_str().map(|text| self.scrubbed(text));
        Ok(Latest {
            full: version("latestSupportedVersion"),
            minimal: version("latestSupportedMinimalVersion"),
        })
    }

    /// Pins an image; gives what the server says of it, if anything.
    ///
    /// # Errors
    /// When the server cannot be asked or refuses.
    pub async fn pin(&self, pin: &Override) -> Result<Option<String>, DelegateError> {
        let answer = self.send("PUT", Request::put, self.override_url(pin)).await?;
        Ok(answer["resource"].as_str().map(|text| self.scrubbed(text)))
    }

    async fn send(
        &self,
        method: &str,
        request: impl FnOnce(Url) -> Request,
        url: Url,
    ) -> Result<Value, DelegateError> {
        let place = format!("{method} {}", shown(url.as_str()));
        let fail = |why: String, help: &str| DelegateError::new(format!("{place}: {why}"), help);
        let failed = |error: HttpError| {
            let help = match error {
                HttpError::Credential => "set it to the key alone, without line ends",
                _ => "run again when the server is well, or give another `--url`",
            };
            fail(error.to_string(), help)
        };
        let mut request = request(url).limit(LIMIT).timeout(TIMEOUT);
        if let Some(credential) = &self.credential {
            request = request.signed(credential).map_err(failed)?;
        }
        let reply = self.http.send(&request).await.map_err(failed)?;
        let (status, body) = (reply.status, reply.body);
        let answer: Option<Value> = match body.iter().all(u8::is_ascii_whitespace) {
            true => Some(Value::Null),
            false => serde_json::from_slice(&body).ok(),
        };
        if !status.is_success() {
            let said = answer.as_ref().and_then(|answer| self.complaint(answer, true));
            let said = said.map(|said| format!(": {said}")).unwrap_or_default();
            let help = match status.as_u16() {
                401 | 403 => "check the key or token, its permissions, and the account's id",
                300..=399 => "give the URL that it redirects to by `--url`",
                _ => "check the account's id and the values",
            };
            return Err(fail(format!("the server answered {status}{said}"), help));
        }
        let Some(answer) = answer else {
            return Err(fail("the answer is no JSON".to_owned(), "check `--url`: is this Harness Manager?"));
        };
        match self.complaint(&answer, false) {
            Some(said) => {
                Err(fail(format!("the server refuses: {said}"), "check the account's id and the values"))
            }
            None => Ok(answer),
        }
    }

    /// What an answer complains of; with `any`, whatever it says.
    fn complaint(&self, answer: &Value, any: bool) -> Option<String> {
        let messages = answer["responseMessages"].as_array().into_iter().flatten();
        let bad = messages.filter(|message| any || message["level"] == "ERROR");
        let mut said: Vec<&str> = bad.filter_map(|message| message["message"].as_str()).collect();
        if any || matches!(answer["status"].as_str(), Some("ERROR" | "FAILURE")) {
            said.extend(answer["message"].as_str());
            if said.is_empty() && !any {
                said.push("it says no reason");
            }
        }
        (!said.is_empty()).then(|| self.scrubbed(&said.join("; ")))
    }

    /// Words from outside without the credential, on one line.
    fn scrubbed(&self, text: &str) -> String {
        let text =
            self.credential.as_ref().map_or_else(|| text.to_owned(), |credential| credential.scrub(text));
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Secret;

    #[test]
    fn requests_are_as_documented() {
        let manager = Manager::new("https://app.harness.io/gateway/", None).unwrap();
        assert_eq!(
            manager.latest_url("acc").as_str(),
            "https://app.harness.io/gateway/ng/api/delegate-setup/latest-supported-version?accountIdentifier=acc"
        );
        let pin = Override {
            scope: Scope { account: "acc".into(), organisation: Some("o".into()), project: None },
            image: "r.io/harness/delegate:1".into(),
            tags: vec!["a b".into(), "c".into()],
            days: Some(90),
            till_next_release: false,
        };
        assert_eq!(
            manager.override_url(&pin).as_str(),
            "https://app.harness.io/gateway/ng/api/delegate-setup/override-delegate-tag?accountIdentifier=acc\
             &orgIdentifier=o&delegateTag=r.io%2Fharness%2Fdelegate%3A1&tags=a+b&tags=c&validForDays=90\
             &validTillNextRelease=false"
        );
    }

    #[test]
    fn a_key_is_not_sent_in_the_clear() {
        let key = || Some(ApiCredential::Key(Secret::new("pat.secret")));
        assert!(Manager::new("http://harness.example.com", key()).is_err());
        assert!(Manager::new("http://harness.example.com", None).is_ok());
        assert!(Manager::new("http://127.0.0.1:8080", key()).is_ok());
        for bad in ["", "harness", "ftp://x", "https://user:word@harness.example.com"] {
            assert!(Manager::new(bad, None).is_err(), "{bad}");
        }
        assert!(!format!("{:?}", key()).contains("pat.secret"));
    }
}
