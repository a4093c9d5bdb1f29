//! Where credentials come from: what was given, rules for repositories, then Docker's configuration
//! and its helpers, then AWS's for hosts of Amazon ECR.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use docker_credential::{CredentialRetrievalError, DockerCredential};

use super::access::{AccessRules, Account, CredentialSource, Variables};
use super::aws::{Aws, EcrHost};
use super::{Credential, RegistryErrorKind};
use crate::http::Transport;

/// How long a credential is used before its helper is asked again; those of clouds expire.
const TRUSTED_FOR: Duration = Duration::from_secs(15 * 60);

/// The sources of credentials, by registry host as in references (`docker.io`, `localhost:5000`).
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    given: BTreeMap<String, Credential>,
    docker_config: Option<PathBuf>,
    pub(super) rules: AccessRules,
    pub(super) variables: Variables,
    /// Whether AWS's credentials are looked for where a host is Amazon's and has no others.
    aws: bool,
}

impl Credentials {
    /// No credentials at all.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// Docker's configuration where Docker looks for it: `$DOCKER_CONFIG/config.json`, else
    /// `~/.docker/config.json`. That there is none is no error.
    pub fn docker() -> Self {
        let folder = std::env::var_os("DOCKER_CONFIG")
            .filter(|folder| !folder.is_empty())
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".docker")));
        let docker_config = folder.map(|folder| folder.join("config.json"));
        Self { docker_config, aws: true, ..Self::default() }
    }

    /// Docker's configuration at a path.
    pub fn docker_config(path: impl Into<PathBuf>) -> Self {
        Self { docker_config: Some(path.into()), ..Self::default() }
    }

    /// Adds a credential for a host, which goes before Docker's configuration.
    pub fn with(mut self, host: impl Into<String>, credential: Credential) -> Self {
        self.given.insert(host.into(), credential);
        self
    }

    /// Adds rules for repositories, which go before everything else.
    pub fn with_rules(mut self, rules: AccessRules) -> Self {
        self.rules = rules;
        self
    }

    /// Takes environment variables from here instead of the process.
    pub fn with_variables(mut self, variables: Variables) -> Self {
        self.variables = variables;
        self
    }

    /// Looks an account up.
    async fn find(
        self: &Arc<Self>,
        account: &Account,
        transport: &Transport,
    ) -> Result<Option<Credential>, RegistryErrorKind> {
        let aws = Aws { transport, variables: &self.variables };
        let read = |source: &super::TextSource, what| source.read(&self.variables, what, account.name());
        match self.rules.source(account) {
            None => {
                let host = account.host().to_owned();
                let found = self.apart(move |source| source.load(&host)).await?;
                if found.is_some() || !self.aws || EcrHost::parse(account.host()).is_none() {
                    return Ok(found);
                }
                aws.login(account.host(), None).await
            }
            Some(CredentialSource::Anonymous) => Ok(None),
            Some(CredentialSource::Password { username, password }) => {
                let username = read(username, "user name")?;
                let password = read(password, "password")?;
                Ok(Some(Credential::Password { username: username.expose().to_owned(), password }))
            }
            Some(CredentialSource::IdentityToken(token)) => {
                Ok(Some(Credential::IdentityToken(read(token, "identity token")?)))
            }
            Some(CredentialSource::Helper(helper)) => {
                let (host, helper) = (account.host().to_owned(), helper.clone());
                self.apart(move |_| load_from_helper(&helper, &host)).await
            }
            Some(CredentialSource::DockerConfig(path)) => {
                let (host, path) = (account.host().to_owned(), path.clone());
                self.apart(move |_| load_from_docker(&path, &host)).await
            }
            Some(CredentialSource::Ecr(access)) => aws.login(account.host(), Some(access)).await,
        }
    }

    /// Runs what blocks.
    async fn apart(
        self: &Arc<Self>,
        load: impl FnOnce(&Self) -> Result<Option<Credential>, RegistryErrorKind> + Send + 'static,
    ) -> Result<Option<Credential>, RegistryErrorKind> {
        let source = self.clone();
        tokio::task::spawn_blocking(move || load(&source))
            .await
            .map_err(|_| RegistryErrorKind::Denied("the credential helper was aborted".into()))?
    }

    /// Looks a host up. Blocks on credential helpers.
    fn load(&self, host: &str) -> Result<Option<Credential>, RegistryErrorKind> {
        if let Some(credential) = self.given.get(host) {
            return Ok(Some(credential.clone()));
        }
        match &self.docker_config {
            Some(path) => load_from_docker(path, host),
            None => Ok(None),
        }
    }
}

fn load_from_docker(path: &Path, host: &str) -> Result<Option<Credential>, RegistryErrorKind> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(RegistryErrorKind::file(path, error)),
    };
    read_docker(&text, path, host)
}

/// Asks `docker-credential-NAME`; that it has nothing for the host is an error, as it was named.
fn load_from_helper(helper: &str, host: &str) -> Result<Option<Credential>, RegistryErrorKind> {
    let text = serde_json::json!({ "credsStore": helper }).to_string();
    let found = read_docker(text.as_bytes(), Path::new("the manifest"), host)?;
    found.map(Some).ok_or_else(|| {
        RegistryErrorKind::Denied(format!("the credential helper `{helper}` has nothing for `{host}`"))
    })
}

fn read_docker(text: &[u8], path: &Path, host: &str) -> Result<Option<Credential>, RegistryErrorKind> {
    // `docker login` stores Docker Hub under the URL of its first API.
    let keys: &[&str] =
        if host == "docker.io" { &["https://index.docker.io/v1/", "docker.io"] } else { &[host] };
    for key in keys {
        match docker_credential::get_credential_from_reader(text, key) {
            Ok(DockerCredential::UsernamePassword(username, password)) => {
                return Ok(Some(Credential::password(username, password)));
            }
            Ok(DockerCredential::IdentityToken(token)) => {
                return Ok(Some(Credential::IdentityToken(super::Secret::new(token))));
            }
            Err(error) => {
                if let Some(problem) = describe(&error, path, key) {
                    return Err(RegistryErrorKind::Denied(problem));
                }
            }
        }
    }
    Ok(None)
}

/// Says what is wrong, or `None` where there just is no credential. What a helper prints is never
/// shown, as it may hold the secret.
fn describe(error: &CredentialRetrievalError, path: &Path, key: &str) -> Option<String> {
    use CredentialRetrievalError as E;
    let path = path.display();
    Some(match error {
        E::NoCredentialConfigured | E::ConfigNotFound => return None,
        // The helpers' protocol has no other sign for "none stored" than these words.
        E::HelperFailure { stdout, stderr, .. }
            if stdout.contains("credentials not found") || stderr.contains("credentials not found") =>
        {
            return None;
        }
        E::HelperFailure { helper, .. } => {
            format!("the credential helper failed; run `echo {key} | {helper} get` to see why")
        }
        E::HelperCommunicationError => {
            format!("the credential helper that `{path}` names for `{key}` cannot be run")
        }
        E::MalformedHelperResponse => {
            format!("the credential helper that `{path}` names for `{key}` answered no credential")
        }
        E::CredentialDecodingError | E::CredentialMismatchError => {
            format!("the entry for `{key}` in `{path}` is malformed; log in again")
        }
        E::ConfigReadError => format!("`{path}` is no Docker configuration"),
    })
}

/// Answers for each account, remembered for a while; helpers are asked once however many wait.
pub(super) struct CredentialCache {
    pub(super) source: Arc<Credentials>,
    accounts: Mutex<HashMap<Account, Arc<Slot>>>,
}

type Slot = tokio::sync::Mutex<Option<(Instant, Option<Credential>)>>;

impl CredentialCache {
    pub(super) fn new(source: Credentials) -> Self {
        Self { source: Arc::new(source), accounts: Mutex::default() }
    }

    /// The credential of an account, if it has one.
    pub(super) async fn get(
        &self,
        account: &Account,
        transport: &Transport,
    ) -> Result<Option<Credential>, RegistryErrorKind> {
        let slot = self.slot(account);
        let mut known = slot.lock().await;
        if let Some((since, credential)) = &*known
            && since.elapsed() < TRUSTED_FOR
        {
            return Ok(credential.clone());
        }
        let credential = self.source.find(account, transport).await?;
        *known = Some((Instant::now(), credential.clone()));
        Ok(credential)
    }

    /// Forgets a credential that was refused.
    pub(super) async fn forget(&self, account: &Account) {
        *self.slot(account).lock().await = None;
    }

    fn slot(&self, account: &Account) -> Arc<Slot> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.entry(account.clone()).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> (tempfile::TempDir, Credentials) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        (folder, Credentials::docker_config(path))
    }

    #[test]
    fn dockers_configuration_is_read_by_host() {
        // "ann:hunter22" and "bob:b:c"
        let (_folder, source) = config(
            r#"{"auths": {"https://index.docker.io/v1/": {"auth": "YW5uOmh1bnRlcjIy"},
                "localhost:5000": {"auth": "Ym9iOmI6Yw=="},
                "acr.example": {"auth": "eDo=", "identitytoken": "refresh"}}}"#,
        );
        assert_eq!(source.load("docker.io").unwrap(), Some(Credential::password("ann", "hunter22")));
        assert_eq!(source.load("localhost:5000").unwrap(), Some(Credential::password("bob", "b:c")));
        let token = Credential::IdentityToken(super::super::Secret::new("refresh"));
        assert_eq!(source.load("acr.example").unwrap(), Some(token));
        assert_eq!(source.load("ghcr.io").unwrap(), None);
        let given = source.with("ghcr.io", Credential::password("x", "y"));
        assert_eq!(given.load("ghcr.io").unwrap(), Some(Credential::password("x", "y")));
    }

    #[test]
    fn no_configuration_is_no_error_and_a_broken_one_is() {
        let folder = tempfile::tempdir().unwrap();
        let none = Credentials::docker_config(folder.path().join("config.json"));
        assert_eq!(none.load("docker.io").unwrap(), None);
        let (_folder, broken) = config("{");
        assert!(matches!(broken.load("docker.io"), Err(RegistryErrorKind::Denied(_))));
        let (_folder, missing) = config(r#"{"credsStore": "no-such-helper-here"}"#);
        assert!(missing.load("x.example").unwrap_err().to_string().contains("cannot be run"));
    }

    #[test]
    fn what_a_helper_prints_is_not_shown() {
        let error = CredentialRetrievalError::HelperFailure {
            helper: "docker-credential-x".into(),
            stdout: "hunter22".into(),
            stderr: "hunter22".into(),
        };
        let text = describe(&error, Path::new("/c"), "r.example").unwrap();
        assert!(text.contains("docker-credential-x get") && !text.contains("hunter22"));
    }
}
