//! Blobs into a repository: looked up, mounted, or sent in one PUT (distribution specification,
//! "Pushing blobs": POST then PUT, and mounting from another repository).

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use url::Url;

use super::auth::Scopes;
use super::client::{Call, HttpRegistry};
use super::host::Host;
use super::payload::{BlobBody, Payload};
use super::retry::{Attempts, Failure};
use super::{BlobSource, Progress, RegistryErrorKind, Upload};
use crate::http::Meter;
use crate::oci::{Descriptor, RepositoryName};

/// Longest time given to cancelling an upload nobody needs.
const CANCEL: Duration = Duration::from_secs(10);

/// One blob on its way to one repository.
struct Push<'a> {
    registry: &'a HttpRegistry,
    host: Arc<Host>,
    repository: &'a str,
    descriptor: &'a Descriptor,
    mount_from: Option<&'a str>,
    source: Option<BlobSource>,
    meter: Meter,
}

/// What a POST led to.
enum Begun {
    Mounted,
    /// An upload waits for its bytes here.
    Session(Url),
}

impl HttpRegistry {
    /// Brings a blob into a repository. What fails for a while starts over, with a new look whether
    /// the blob has come to be there.
    pub(super) async fn upload(
        &self,
        repository: &RepositoryName,
        descriptor: &Descriptor,
        mount_from: Option<&RepositoryName>,
        source: Option<BlobSource>,
        progress: Progress,
    ) -> Result<Upload, RegistryErrorKind> {
        self.prepare(repository).await?;
        let account = |name: &RepositoryName| self.account(&name.registry, &name.repository, true);
        let push = Push {
            registry: self,
            host: self.host(repository)?,
            repository: &repository.repository,
            descriptor,
            mount_from: mount_from
                .filter(|from| from.registry == repository.registry && *from != repository)
                // One account's token says nothing about what another one may read.
                .filter(|from| account(from) == account(repository))
                .map(|from| from.repository.as_str()),
            source,
            meter: Meter::new(progress),
        };
        let mut attempts = Attempts::new(&self.retry);
        let mut was_sent = false;
        loop {
            match push.attempt(&mut was_sent).await {
                Ok(upload) => return Ok(upload),
                Err(failure) => attempts.wait(&push.host.budget, failure).await?,
            }
        }
    }
}

impl Push<'_> {
    /// `was_sent` says whether bytes were sent before; if so, a blob found is one of our own.
    async fn attempt(&self, was_sent: &mut bool) -> Result<Upload, Failure> {
        if self.exists().await? {
            let bytes = self.descriptor.size;
            return Ok(if *was_sent { Upload::Sent { bytes } } else { Upload::Existed });
        }
        let mounting = match self.mount_from {
            Some(from) => self.mount(from).await?,
            None => None,
        };
        let Some(source) = &self.source else {
            return match mounting {
                Some(Begun::Mounted) => Ok(Upload::Mounted),
                Some(Begun::Session(session)) => {
                    self.cancel(session).await;
                    Err(RegistryErrorKind::NotMounted.into())
                }
                None => Err(RegistryErrorKind::NotMounted.into()),
            };
        };
        let begun = match mounting {
            Some(begun) => begun,
            None => self.begin(self.uploads(), self.scopes()).await?,
        };
        match begun {
            Begun::Mounted => Ok(Upload::Mounted),
            Begun::Session(session) => {
                self.check_size(source).await?;
                *was_sent = true;
                self.send(session, source.clone()).await
            }
        }
    }

    async fn exists(&self) -> Result<bool, Failure> {
        let url = self.host.url(self.repository, &format!("blobs/{}", self.descriptor.digest));
        let answer = self.registry.send(&self.host, &Call::new(Method::HEAD, url, self.scopes())).await?;
        match answer.status() {
            status if status.is_success() => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(answer.failure().await),
        }
    }

    /// Asks for a mount. A lasting refusal is `None`, whatever it says: where it is about more than
    /// the mount, the upload that follows says so.
    async fn mount(&self, from: &str) -> Result<Option<Begun>, Failure> {
        let mut url = self.uploads();
        url.query_pairs_mut()
            .append_pair("mount", &self.descriptor.digest.to_string())
            .append_pair("from", from);
        match self.begin(url, self.scopes().and_pull(from)).await {
            Ok(begun) => Ok(Some(begun)),
            Err(failure) if failure.kind.is_retryable() => Err(failure),
            Err(_) => Ok(None),
        }
    }

    async fn begin(&self, url: Url, scopes: Scopes) -> Result<Begun, Failure> {
        let call = Call::new(Method::POST, url, scopes).header("content-length", "0");
        let answer = self.registry.send(&self.host, &call).await?;
        match answer.status() {
            StatusCode::CREATED => Ok(Begun::Mounted),
            StatusCode::ACCEPTED => {
                let location = answer.header("location").ok_or_else(|| {
                    RegistryErrorKind::Malformed("the registry began an upload without a location".into())
                })?;
                let session = self.host.resolve(answer.url(), location, &self.registry.settings)?;
                Ok(Begun::Session(session))
            }
            _ => Err(answer.failure().await),
        }
    }

    async fn send(&self, session: Url, source: BlobSource) -> Result<Upload, Failure> {
        let mut url = session.clone();
        url.query_pairs_mut().append_pair("digest", &self.descriptor.digest.to_string());
        let body = BlobBody::new(source, self.descriptor.size, self.meter.clone());
        let call = Call::new(Method::PUT, url, self.scopes())
            .header("content-type", "application/octet-stream")
            .payload(Payload::Blob(body));
        let answer = self.registry.send(&self.host, &call).await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(Upload::Sent { bytes: self.descriptor.size });
        }
        let mut failure = answer.failure().await;
        // The registry lost the upload, after a restart say: a new one may do.
        failure.restart = matches!(status.as_u16(), 404 | 416);
        self.cancel(session).await;
        Err(failure)
    }

    /// Ends an upload that nobody goes on with; registries also drop them in time.
    async fn cancel(&self, session: Url) {
        let call = Call::new(Method::DELETE, session, self.scopes());
        let _ = tokio::time::timeout(CANCEL, self.registry.send(&self.host, &call)).await;
    }

    async fn check_size(&self, source: &BlobSource) -> Result<(), RegistryErrorKind> {
        let (what, size) = match source {
            BlobSource::Stream(_) => return Ok(()),
            BlobSource::Bytes(bytes) => ("the blob".to_owned(), bytes.len() as u64),
            BlobSource::File(path) => {
                let known = tokio::fs::metadata(path).await;
                let known = known.map_err(|error| RegistryErrorKind::file(path, error))?;
                (format!("`{}`", path.display()), known.len())
            }
        };
        let wanted = self.descriptor.size;
        if size == wanted {
            return Ok(());
        }
        Err(RegistryErrorKind::Malformed(format!("{what} has {size} bytes, its descriptor says {wanted}")))
    }

    fn uploads(&self) -> Url {
        self.host.url(self.repository, "blobs/uploads/")
    }

    fn scopes(&self) -> Scopes {
        Scopes::push(self.repository)
    }
}
