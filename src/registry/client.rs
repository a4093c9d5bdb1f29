//! The HTTP client: one request with authentication, redirects and budget, and its repetition.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use reqwest::header::WWW_AUTHENTICATE;
use reqwest::{Method, StatusCode};
use tokio::sync::OnceCell;
use url::Url;

use super::answer::Answer;
use super::auth::{Access, Authorization, Scopes};
use super::credentials::CredentialCache;
use super::host::{Host, api_host};
use super::payload::Payload;
use super::retry::{Attempts, Failure};
use super::{
    BlobSource, Credential, Credentials, HostSettings, Progress, Registry, RegistryError, RegistryErrorKind,
    RetrySettings, TlsSettings, Upload, challenge,
};
use crate::http::Transport;
use crate::oci::{Descriptor, Digest, MEDIA_MANIFEST, Reference, RepositoryName};

/// Redirects followed for one request.
const REDIRECTS: usize = 5;

/// Settings by registry host, as in references (`localhost:5000`, `docker.io`).
pub(super) type RegistrySettings = BTreeMap<String, HostSettings>;

/// What an [`HttpRegistry`] is made of. The default is anonymous.
#[derive(Debug, Clone, Default)]
pub struct RegistryOptions {
    /// By registry host, as in references (`localhost:5000`, `docker.io`).
    pub settings: BTreeMap<String, HostSettings>,
    /// Where credentials come from.
    pub credentials: Credentials,
    /// How failed requests are repeated.
    pub retry: RetrySettings,
}

/// Registries by HTTP, as the OCI distribution specification 1.1 has it. Made once and shared:
/// connections, tokens and budgets are kept by host.
pub struct HttpRegistry {
    pub(super) settings: RegistrySettings,
    pub(super) retry: RetrySettings,
    pub(super) transport: Transport,
    pub(super) credentials: CredentialCache,
    hosts: Mutex<HashMap<String, Arc<Host>>>,
    pub(super) prepared: Mutex<HashMap<RepositoryName, Arc<OnceCell<()>>>>,
}

/// A request that can be sent several times.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) scopes: Scopes,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) payload: Payload,
}

impl Call {
    /// A call without headers or body.
    pub(super) fn new(method: Method, url: Url, scopes: Scopes) -> Self {
        Self { method, url, scopes, headers: Vec::new(), payload: Payload::Empty }
    }

    /// With a header.
    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With a body.
    pub(super) fn payload(mut self, payload: Payload) -> Self {
        self.payload = payload;
        self
    }
}

/// An answer that was read.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: reqwest::header::HeaderMap,
    pub(super) body: Bytes,
    /// What a 404 says, where it means more than that nothing is there.
    pub(super) refusal: Option<RegistryErrorKind>,
}

impl Reply {
    /// A header that is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl HttpRegistry {
    /// Makes a client. Contacts nobody.
    pub fn new(options: RegistryOptions) -> Self {
        Self {
            transport: Transport::new(options.retry.idle, own_tls(&options.settings)),
            settings: options.settings,
            retry: options.retry,
            credentials: CredentialCache::new(options.credentials),
            hosts: Mutex::default(),
            prepared: Mutex::default(),
        }
    }

    /// The credential for a repository, or a host (as in references), for an engine that pulls on
    /// its own.
    ///
    /// # Errors
    /// When Docker's configuration or its credential helper fails; that there is none is no error.
    pub async fn pull_credentials(&self, name: &str) -> Result<Option<Credential>, RegistryError> {
        let (host, repository) = name.split_once('/').unwrap_or((name, ""));
        let account = self.account(host, repository, false);
        let found = self.credentials.get(&account, &self.transport).await;
        found.map_err(|kind| kind.during(format!("find credentials for `{name}`")))
    }

    /// The host of a repository.
    pub(super) fn host(&self, repository: &RepositoryName) -> Result<Arc<Host>, RegistryErrorKind> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = hosts.get(&repository.registry) {
            return Ok(host.clone());
        }
        let host = Arc::new(Host::new(&repository.registry, &self.settings)?);
        hosts.insert(repository.registry.clone(), host.clone());
        Ok(host)
    }

    /// Sends until it succeeds, or answers 404, or has failed for good; reads the answer.
    pub(super) async fn call(
        &self,
        host: &Host,
        call: &Call,
        limit: usize,
    ) -> Result<Reply, RegistryErrorKind> {
        let mut attempts = Attempts::new(&self.retry);
        loop {
            match self.try_call(host, call, limit).await {
                Ok(reply) => return Ok(reply),
                Err(failure) => attempts.wait(&host.budget, failure).await?,
            }
        }
    }

    async fn try_call(&self, host: &Host, call: &Call, limit: usize) -> Result<Reply, Failure> {
        let mut answer = self.send(host, call).await?;
        let status = answer.status();
        let headers = answer.response.headers().clone();
        if status.is_success() {
            return Ok(Reply { status, headers, body: answer.body(limit).await?, refusal: None });
        }
        let failure = answer.failure().await;
        if status == StatusCode::NOT_FOUND {
            return Ok(Reply { status, headers, body: Bytes::new(), refusal: Some(failure.kind) });
        }
        Err(failure)
    }

    /// Sends once, and once more with what a 401 asks for. Any status is an answer.
    pub(super) async fn send(&self, host: &Host, call: &Call) -> Result<Answer<'_>, Failure> {
        let account = self.account(&host.name, &call.scopes.repository, call.scopes.writes);
        let access = Access {
            transport: &self.transport,
            credentials: &self.credentials,
            account: &account,
            base: &host.base,
        };
        let authorization = host.auth.authorization(access, &call.scopes).await?;
        let answer = self.follow(host, call, authorization).await?;
        if answer.status() != StatusCode::UNAUTHORIZED || !host.owns(answer.url()) {
            return Ok(answer);
        }
        let challenges = answer.response.headers().get_all(WWW_AUTHENTICATE);
        let Some(wanted) = challenge::choose(challenges.iter().filter_map(|value| value.to_str().ok()))
        else {
            return Ok(answer);
        };
        let scopes = call.scopes.and_wanted(&wanted);
        // Wanting more than was asked for says nothing against what was sent.
        if answer.authorization.is_some() && scopes == call.scopes {
            host.auth.reject(access, &scopes).await;
        }
        host.auth.learn(wanted);
        let was_anonymous = answer.authorization.is_none();
        match host.auth.authorization(access, &scopes).await? {
            None if was_anonymous => Ok(answer),
            authorization => {
                drop(answer.into_permit().await);
                self.follow(host, call, authorization).await
            }
        }
    }

    /// Sends once and follows redirects of reading requests. The `Authorization` header goes to the
    /// host itself only.
    async fn follow(
        &self,
        host: &Host,
        call: &Call,
        authorization: Option<Authorization>,
    ) -> Result<Answer<'_>, Failure> {
        let mut permit = host.budget.acquire().await;
        let mut url = call.url.clone();
        let mut hops = 0;
        loop {
            let mut request = self.transport.request(call.method.clone(), url.clone())?;
            for (name, value) in &call.headers {
                request = request.header(*name, value);
            }
            let authorization = authorization.clone().filter(|_| host.owns(&url));
            if let Some(authorization) = &authorization {
                request = authorization.apply(request);
            }
            let request = call.payload.attach(request).await?;
            let response = self.transport.send(request, call.payload.meter()).await;
            let response = response.map_err(|kind| call.payload.take_error().unwrap_or(kind.into()))?;
            let answer = Answer { response, transport: &self.transport, authorization, permit };
            if answer.status() != StatusCode::TOO_MANY_REQUESTS {
                host.budget.answered();
            }
            let reads = matches!(call.method, Method::GET | Method::HEAD);
            let is_redirect = matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            let target = answer.header("location").filter(|_| reads && is_redirect && hops < REDIRECTS);
            let Some(target) = target else { return Ok(answer) };
            url = host.resolve(&url, target, &self.settings)?;
            hops += 1;
            permit = answer.into_permit().await;
        }
    }
}

/// TLS settings by the host of the API.
fn own_tls(settings: &RegistrySettings) -> impl Iterator<Item = (String, TlsSettings)> + '_ {
    let own = settings.iter().filter(|(_, host)| host.tls.is_set());
    own.map(|(name, host)| (api_host(name).to_owned(), host.tls.clone()))
}

impl Registry for HttpRegistry {
    fn head<'a>(
        &'a self,
        reference: &'a Reference,
    ) -> BoxFuture<'a, Result<Option<Descriptor>, RegistryError>> {
        Box::pin(async move {
            self.head_manifest(reference)
                .await
                .map_err(|kind| kind.during(format!("look up manifest `{reference}`")))
        })
    }

    fn manifest<'a>(
        &'a self,
        reference: &'a Reference,
    ) -> BoxFuture<'a, Result<Option<(Descriptor, Bytes)>, RegistryError>> {
        Box::pin(async move {
            self.get_manifest(reference)
                .await
                .map_err(|kind| kind.during(format!("fetch manifest `{reference}`")))
        })
    }

    fn put_manifest<'a>(
        &'a self,
        reference: &'a Reference,
        media_type: &'a str,
        bytes: Bytes,
    ) -> BoxFuture<'a, Result<(), RegistryError>> {
        Box::pin(async move {
            self.push_manifest(reference, media_type, bytes)
                .await
                .map(|_| ())
                .map_err(|kind| kind.during(format!("push manifest `{reference}`")))
        })
    }

    fn has_blob<'a>(
        &'a self,
        repository: &'a RepositoryName,
        digest: Digest,
    ) -> BoxFuture<'a, Result<bool, RegistryError>> {
        Box::pin(async move {
            self.head_blob(repository, digest)
                .await
                .map_err(|kind| kind.during(format!("look up blob `{digest}` in `{repository}`")))
        })
    }

    fn push_blob<'a>(
        &'a self,
        repository: &'a RepositoryName,
        descriptor: &'a Descriptor,
        mount_from: Option<&'a RepositoryName>,
        source: Option<BlobSource>,
        progress: Progress,
    ) -> BoxFuture<'a, Result<Upload, RegistryError>> {
        Box::pin(async move {
            self.upload(repository, descriptor, mount_from, source, progress)
                .await
                .map_err(|kind| kind.during(format!("push blob `{}` to `{repository}`", descriptor.digest)))
        })
    }

    fn copy_blob<'a>(
        &'a self,
        from: &'a RepositoryName,
        to: &'a RepositoryName,
        descriptor: &'a Descriptor,
        mount_from: Option<&'a RepositoryName>,
        progress: Progress,
    ) -> BoxFuture<'a, Result<Upload, RegistryError>> {
        Box::pin(self.relay(from, to, descriptor, mount_from, progress))
    }

    fn fetch_blob<'a>(
        &'a self,
        repository: &'a RepositoryName,
        descriptor: &'a Descriptor,
        target: &'a Path,
        progress: Progress,
    ) -> BoxFuture<'a, Result<(), RegistryError>> {
        Box::pin(async move {
            self.download(repository, descriptor, target, progress).await.map_err(|kind| {
                kind.during(format!("fetch blob `{}` from `{repository}`", descriptor.digest))
            })
        })
    }

    fn blob_bytes<'a>(
        &'a self,
        repository: &'a RepositoryName,
        descriptor: &'a Descriptor,
    ) -> BoxFuture<'a, Result<Bytes, RegistryError>> {
        Box::pin(async move {
            self.read_blob(repository, descriptor).await.map_err(|kind| {
                kind.during(format!("fetch blob `{}` from `{repository}`", descriptor.digest))
            })
        })
    }

    fn tags<'a>(
        &'a self,
        repository: &'a RepositoryName,
    ) -> BoxFuture<'a, Result<Vec<String>, RegistryError>> {
        Box::pin(async move {
            self.list_tags(repository)
                .await
                .map_err(|kind| kind.during(format!("list the tags of `{repository}`")))
        })
    }

    fn put_referrer<'a>(
        &'a self,
        repository: &'a RepositoryName,
        bytes: Bytes,
    ) -> BoxFuture<'a, Result<bool, RegistryError>> {
        Box::pin(async move {
            let reference = repository.digest(Digest::of(&bytes));
            let put = self.push_manifest(&reference, MEDIA_MANIFEST, bytes).await;
            put.map_err(|kind| kind.during(format!("push manifest `{reference}`")))
        })
    }

    fn referrers<'a>(
        &'a self,
        repository: &'a RepositoryName,
        subject: Digest,
        artifact_type: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Option<Vec<Descriptor>>, RegistryError>> {
        Box::pin(async move {
            self.list_referrers(repository, subject, artifact_type)
                .await
                .map_err(|kind| kind.during(format!("list the referrers of `{subject}` in `{repository}`")))
        })
    }
}
