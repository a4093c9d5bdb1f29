//! Pulls: use what is there, join those who want the same, try again where that may help.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::query_parameters::CreateImageOptions;
use futures_util::StreamExt;
use futures_util::future::{BoxFuture, FutureExt, Shared, WeakShared};

use super::DockerEngine;
use super::failure::{failed, is_not_found};
use crate::engine::{EngineError, PullCredentials};
use crate::oci::{Platform, Reference};

/// Pauses between attempts.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(10)];

/// The outcome for all who wait for it.
type Outcome = Result<String, Arc<EngineError>>;

/// Pulls under way, by image and platform. Those who wait drive them; without any, they end.
#[derive(Default)]
pub(super) struct Pulls(Mutex<HashMap<String, WeakShared<BoxFuture<'static, Outcome>>>>);

impl Pulls {
    /// The pull under way for `key`, or a new one.
    fn join(
        &self,
        key: &str,
        begin: impl FnOnce() -> BoxFuture<'static, Outcome>,
    ) -> Shared<BoxFuture<'static, Outcome>> {
        let mut pulls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One that is over gives no strong reference any more, or is done.
        pulls.retain(|_, pull| pull.upgrade().is_some_and(|pull| pull.peek().is_none()));
        if let Some(pull) = pulls.get(key).and_then(WeakShared::upgrade) {
            return pull;
        }
        let pull = begin().shared();
        if let Some(weak) = pull.downgrade() {
            pulls.insert(key.to_owned(), weak);
        }
        pull
    }
}

impl DockerEngine {
    /// [`Engine::pull`](crate::engine::Engine::pull).
    pub(super) async fn pull_image(
        &self,
        reference: &Reference,
        platform: &Platform,
        credentials: Option<PullCredentials>,
    ) -> Result<String, EngineError> {
        let client = self.client().await?;
        let job = Pull {
            endpoint: self.endpoint.clone(),
            client: client.clone(),
            patient: self.patient_client().await?,
            name: reference.name.to_string(),
            registry: reference.name.registry.clone(),
            selector: reference.selector(),
            image: image_name(reference),
            platform: platform.clone(),
            credentials,
        };
        let key = format!("{} {platform}", job.image);
        let pull = self.pulls.join(&key, || async move { job.run().await.map_err(Arc::new) }.boxed());
        self.watched(client, async { pull.await.map_err(|error| error.repeat()) }).await
    }
}

/// As the engine knows it: with a digest, the tag is left out (an engine stores the image under the
/// digest alone and would not find it with both).
fn image_name(reference: &Reference) -> String {
    match &reference.digest {
        Some(digest) => format!("{}@{digest}", reference.name),
        None => format!("{}:{}", reference.name, reference.selector()),
    }
}

struct Pull {
    endpoint: String,
    client: Docker,
    patient: Docker,
    name: String,
    registry: String,
    selector: String,
    image: String,
    platform: Platform,
    credentials: Option<PullCredentials>,
}

impl Pull {
    async fn run(self) -> Result<String, EngineError> {
        if let Some(id) = self.present().await? {
            return Ok(id);
        }
        for pause in PAUSES.into_iter().map(Some).chain([None]) {
            match (self.attempt().await, pause) {
                (Ok(()), _) => break,
                (Err(error), Some(pause)) if error.is_retryable() => {
                    tokio::time::sleep(pause).await;
                }
                (Err(error), _) => return Err(error),
            }
        }
        self.present().await?.ok_or_else(|| EngineError::Request {
            action: self.action(),
            message: format!("what the registry has is not for `{}`", self.platform),
            retryable: false,
        })
    }

    fn action(&self) -> String {
        format!("pull `{}`", self.image)
    }

    /// The id of the image if the engine has it for the platform.
    async fn present(&self) -> Result<Option<String>, EngineError> {
        match self.client.inspect_image(&self.image).await {
            Ok(image) => {
                let fits = image.os.as_deref().is_none_or(|os| os == self.platform.os)
                    && image.architecture.as_deref().is_none_or(|a| a == self.platform.architecture);
                Ok(image.id.filter(|_| fits))
            }
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(failed(&self.endpoint, &format!("look up the image `{}`", self.image), &error)),
        }
    }

    async fn attempt(&self) -> Result<(), EngineError> {
        let options = CreateImageOptions {
            from_image: Some(self.name.clone()),
            tag: Some(self.selector.clone()),
            platform: self.platform.to_string(),
            ..Default::default()
        };
        let credentials = self.credentials.as_ref().map(|given| {
            let server = Some(self.registry.clone());
            if given.username.is_empty() {
                let identitytoken = Some(given.password.clone());
                DockerCredentials { identitytoken, serveraddress: server, ..Default::default() }
            } else {
                DockerCredentials {
                    username: Some(given.username.clone()),
                    password: Some(given.password.clone()),
                    serveraddress: server,
                    ..Default::default()
                }
            }
        });
        let mut progress = self.patient.create_image(Some(options), None, credentials);
        while let Some(step) = progress.next().await {
            step.map_err(|error| failed(&self.endpoint, &self.action(), &error))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn pulls_of_one_image_are_joined_and_later_ones_begin_anew() {
        let pulls = Pulls::default();
        let begun = Arc::new(AtomicUsize::new(0));
        let begin = || {
            let begun = Arc::clone(&begun);
            async move {
                let count = begun.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                Ok(count.to_string())
            }
            .boxed()
        };
        let (a, b, c) = tokio::join!(pulls.join("x", begin), pulls.join("x", begin), pulls.join("y", begin));
        assert_eq!((a.unwrap(), b.unwrap(), c.unwrap()), ("0".into(), "0".into(), "1".into()));
        assert_eq!(pulls.join("x", begin).await.unwrap(), "2");
    }

    #[test]
    fn the_tag_is_left_out_beside_a_digest() {
        let digest = crate::oci::Digest::of(b"");
        let reference: Reference = format!("debian:12@{digest}").parse().unwrap();
        assert_eq!(image_name(&reference), format!("docker.io/library/debian@{digest}"));
        assert_eq!(image_name(&"debian".parse().unwrap()), "docker.io/library/debian:latest");
    }
}
