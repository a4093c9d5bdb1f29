//! Authentication of one host: the challenge it gave, and the tokens had for it.
//!
//! Sources: the distribution project's token specification (docs/spec/auth/token.md, oauth.md).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::Deserialize;
use url::Url;

use super::access::Account;
use super::answer::message;
use super::challenge::{Bearer, Challenge};
use super::credentials::CredentialCache;
use super::retry::Failure;
use super::{Credential, RegistryErrorKind, Secret};
use crate::http::Transport;
use crate::http::parse_retry_after;

/// Time before its end at which a token is no longer used.
const MARGIN: Duration = Duration::from_secs(10);
/// Most of a token document that is read, in bytes.
const TOKEN_BODY: usize = 1024 * 1024;

/// What a request may do, as a list of `repository:NAME:ACTIONS`, and the repository it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scopes {
    list: Vec<String>,
    /// The repository whose account is used.
    pub(super) repository: String,
    /// Whether it is written to.
    pub(super) writes: bool,
}

impl Scopes {
    /// Reading from a repository.
    pub(super) fn pull(repository: &str) -> Self {
        let list = vec![format!("repository:{repository}:pull")];
        Self { list, repository: repository.to_owned(), writes: false }
    }

    /// Reading from and writing to a repository.
    pub(super) fn push(repository: &str) -> Self {
        let list = vec![format!("repository:{repository}:pull,push")];
        Self { list, repository: repository.to_owned(), writes: true }
    }

    /// Reading from a second repository as well.
    pub(super) fn and_pull(mut self, repository: &str) -> Self {
        self.list.push(format!("repository:{repository}:pull"));
        self
    }

    /// These and what a challenge wants beside them.
    pub(super) fn and_wanted(&self, challenge: &Challenge) -> Self {
        let mut all = self.clone();
        if let Challenge::Bearer(Bearer { scope: Some(scope), .. }) = challenge {
            for wanted in scope.split_ascii_whitespace() {
                if !self.list.iter().any(|scope| covers(scope, wanted)) {
                    all.list.push(wanted.to_owned());
                }
            }
        }
        all
    }
}

/// Whether the scope `ours` allows all that `wanted` asks for.
fn covers(ours: &str, wanted: &str) -> bool {
    match (ours.rsplit_once(':'), wanted.rsplit_once(':')) {
        (Some((ours, may)), Some((wanted, asks))) => {
            ours == wanted && asks.split(',').all(|action| may.split(',').any(|allowed| allowed == action))
        }
        _ => ours == wanted,
    }
}

/// A ready `Authorization` header, and the secrets in it.
#[derive(Clone)]
pub(super) struct Authorization {
    header: HeaderValue,
    secrets: Vec<Secret>,
}

impl Authorization {
    fn new(scheme: &str, value: &Secret, within: Option<&Secret>) -> Result<Self, RegistryErrorKind> {
        let mut header = HeaderValue::try_from(format!("{scheme} {}", value.expose()))
            .map_err(|_| RegistryErrorKind::Denied("the credential does not fit into a header".into()))?;
        header.set_sensitive(true);
        Ok(Self { header, secrets: std::iter::once(value).chain(within).cloned().collect() })
    }

    /// Puts the header on a request.
    pub(super) fn apply(&self, request: RequestBuilder) -> RequestBuilder {
        request.header(AUTHORIZATION, self.header.clone())
    }

    /// Takes its secrets out of words that came from outside.
    pub(super) fn scrub(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| secret.scrub(&text))
    }
}

/// Builds the header for a user and password.
fn basic(credential: &Credential) -> Result<Option<Authorization>, RegistryErrorKind> {
    match credential {
        Credential::Password { username, password } => {
            let pair = format!("{username}:{}", password.expose());
            let encoded = Secret::new(base64::engine::general_purpose::STANDARD.encode(pair));
            Authorization::new("Basic", &encoded, Some(password)).map(Some)
        }
        Credential::IdentityToken(_) => Ok(None),
    }
}

#[derive(Clone)]
struct Token {
    value: Secret,
    expires: Instant,
}

type TokenSlot = tokio::sync::Mutex<Option<Token>>;

/// What is known of one host: unknown until its first 401.
#[derive(Default)]
pub(super) struct HostAuth {
    challenge: Mutex<Option<Challenge>>,
    tokens: Mutex<HashMap<(Account, String), Arc<TokenSlot>>>,
}

/// What authenticating needs from outside.
#[derive(Clone, Copy)]
pub(super) struct Access<'a> {
    pub(super) transport: &'a Transport,
    pub(super) credentials: &'a CredentialCache,
    /// Whose credential is used.
    pub(super) account: &'a Account,
    /// Its API.
    pub(super) base: &'a Url,
}

impl HostAuth {
    /// Remembers how the host wants to be authenticated with.
    pub(super) fn learn(&self, challenge: Challenge) {
        *self.challenge.lock().unwrap_or_else(PoisonError::into_inner) = Some(challenge);
    }

    /// Forgets what was refused: the token for `scopes`, and the credential.
    pub(super) async fn reject(&self, access: Access<'_>, scopes: &Scopes) {
        *self.slot(access.account, scopes).lock().await = None;
        access.credentials.forget(access.account).await;
    }

    /// What to send with a request: nothing while the host has not asked for anything.
    pub(super) async fn authorization(
        &self,
        access: Access<'_>,
        scopes: &Scopes,
    ) -> Result<Option<Authorization>, Failure> {
        let challenge = self.challenge.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match challenge {
            None => Ok(None),
            Some(Challenge::Basic) => match access.credentials.get(access.account, access.transport).await? {
                Some(credential) => Ok(basic(&credential)?),
                None => Ok(None),
            },
            Some(Challenge::Bearer(bearer)) => {
                let slot = self.slot(access.account, scopes);
                let mut token = slot.lock().await;
                if token.as_ref().is_none_or(|token| token.expires <= Instant::now()) {
                    *token = Some(fetch_token(access, &bearer, scopes).await?);
                }
                let value = token.as_ref().map(|token| Authorization::new("Bearer", &token.value, None));
                Ok(value.transpose()?)
            }
        }
    }

    fn slot(&self, account: &Account, scopes: &Scopes) -> Arc<TokenSlot> {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.entry((account.clone(), scopes.list.join(" "))).or_default().clone()
    }
}

/// Asks the token service for a token: by GET (with user and password, if there are any), or by
/// POST with an identity token.
async fn fetch_token(access: Access<'_>, bearer: &Bearer, scopes: &Scopes) -> Result<Token, Failure> {
    let denied = |why: &str| RegistryErrorKind::Denied(format!("the token service {why}"));
    let mut url = Url::parse(&bearer.realm).map_err(|_| denied("is no URL"))?;
    // Whoever can rewrite a challenge must not get credentials in the clear.
    if url.scheme() != "https" && !(url.scheme() == "http" && access.base.scheme() == "http") {
        return Err(denied("is not reached by HTTPS").into());
    }
    let credential = access.credentials.get(access.account, access.transport).await?;
    let request = match &credential {
        Some(Credential::IdentityToken(token)) => {
            let scope = scopes.list.join(" ");
            let form = [
                ("grant_type", "refresh_token"),
                ("service", bearer.service.as_deref().unwrap_or_default()),
                ("client_id", "railyard"),
                ("scope", &scope),
                ("refresh_token", token.expose()),
            ];
            access.transport.request(Method::POST, url)?.form(&form)
        }
        user => {
            let mut query = url.query_pairs_mut();
            if let Some(service) = &bearer.service {
                query.append_pair("service", service);
            }
            for scope in &scopes.list {
                query.append_pair("scope", scope);
            }
            if let Some(Credential::Password { username, .. }) = user {
                query.append_pair("account", username);
            }
            drop(query);
            let request = access.transport.request(Method::GET, url)?;
            match user.as_ref().map(basic).transpose()?.flatten() {
                Some(authorization) => authorization.apply(request),
                None => request,
            }
        }
    };
    let mut response = access.transport.send(request, None).await?;
    let status = response.status();
    let retry_after = response
        .headers()
        .get("retry-after")
        .and_then(|value| parse_retry_after(value.to_str().ok()?, SystemTime::now()));
    let (body, _) = access.transport.read(&mut response, TOKEN_BODY).await?;
    if !status.is_success() {
        let words = message(status, &body);
        let words = credential.as_ref().map_or(words.clone(), |known| known.secret().scrub(&words));
        return Err(refusal(status, &words, retry_after));
    }
    read_token(&body).ok_or_else(|| denied("answered no token").into())
}

fn refusal(status: StatusCode, words: &str, retry_after: Option<Duration>) -> Failure {
    let code = status.as_u16();
    let kind = if status.is_server_error() || matches!(code, 408 | 429) {
        RegistryErrorKind::Status { status: code, message: format!("{words} (token service)") }
    } else {
        RegistryErrorKind::Denied(format!("the token service answered {code}: {words}"))
    };
    Failure { kind, retry_after, restart: false }
}

fn read_token(body: &[u8]) -> Option<Token> {
    #[derive(Deserialize)]
    struct Document {
        #[serde(default)]
        token: Option<String>,
        #[serde(default)]
        access_token: Option<String>,
        #[serde(default)]
        expires_in: Option<u64>,
    }
    let document: Document = serde_json::from_slice(body).ok()?;
    let value = document.token.or(document.access_token).filter(|token| !token.is_empty())?;
    // The specification's default, and the least a service may say; a day is the most we believe.
    let lifetime = Duration::from_secs(document.expires_in.unwrap_or(60).clamp(60, 24 * 3600));
    Some(Token { value: Secret::new(value), expires: Instant::now() + lifetime - MARGIN })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_adds_only_scopes_not_yet_covered() {
        let challenge =
            |scope: &str| Challenge::Bearer(Bearer { scope: Some(scope.into()), ..Bearer::default() });
        let ours = Scopes::push("a/b").and_pull("c");
        assert_eq!(ours.and_wanted(&challenge("repository:a/b:pull repository:c:pull")), ours);
        let more = ours.and_wanted(&challenge("repository:a/b:delete"));
        assert_eq!(more.list.join(" "), "repository:a/b:pull,push repository:c:pull repository:a/b:delete");
        assert_eq!(ours.and_wanted(&Challenge::Basic), ours);
    }

    #[test]
    fn tokens_come_under_two_names_and_end() {
        let token = read_token(br#"{"token":"abc","expires_in":300}"#).unwrap();
        assert_eq!(token.value.expose(), "abc");
        let left = token.expires - Instant::now();
        assert!(left > Duration::from_secs(280) && left <= Duration::from_secs(290));
        let token = read_token(br#"{"access_token":"x","expires_in":1}"#).unwrap();
        assert!(token.expires > Instant::now() + Duration::from_secs(40));
        assert!(read_token(br#"{"token":""}"#).is_none());
        assert!(read_token(b"<html>").is_none());
    }

    #[test]
    fn the_header_is_scrubbed_from_foreign_words() {
        let credential = Credential::password("ann", "hunter22");
        let header = basic(&credential).unwrap().unwrap();
        assert_eq!(header.header.to_str().unwrap(), "Basic YW5uOmh1bnRlcjIy");
        assert_eq!(header.scrub("bad Basic YW5uOmh1bnRlcjIy hunter22"), "bad Basic … …");
        assert!(!format!("{:?}", header.header).contains("YW5"));
    }
}
