//! Dockerfiles built by the engine's BuildKit: a small client of its control service.
//!
//! A build has a session, in which BuildKit fetches what it needs (`session`, `files`), one `Solve`
//! with the engine's own Dockerfile frontend, and a stream of its progress. The finished image is
//! saved, and removed again. Everything ends with the future.

mod connection;
mod export;
mod files;
mod progress;
mod session;

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher as _};
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{RemoveImageOptions, TagImageOptions};
use bollard_buildkit_proto::moby::buildkit::v1::control_client::ControlClient;
use bollard_buildkit_proto::moby::buildkit::v1::{SolveRequest, StatusRequest};
use tonic::codegen::http::Uri;

use super::DockerEngine;
use super::guard::Guard;
use crate::engine::{BuildRequest, BuiltImage, EngineError, LineSink};
use crate::oci::Hasher;
use connection::{Link, upgrade};
use files::{CONTEXT_DIRECTORY, DOCKERFILE, DOCKERFILE_DIRECTORY, Files};
use progress::Progress;

/// The largest message that is read, in bytes.
const LARGEST_MESSAGE: usize = 16 << 20;
/// How long the last of a build's output is waited for.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Where BuildKit's exporter says what it made.
const IMAGE_ID: &str = "containerimage.digest";

impl DockerEngine {
    /// [`Engine::build`](crate::engine::Engine::build).
    pub(super) async fn build_dockerfile(
        &self,
        request: BuildRequest,
        lines: LineSink,
    ) -> Result<BuiltImage, EngineError> {
        let client = self.client().await?;
        let patient = self.patient_client().await?;
        self.watched(client, async {
            for (name, id) in &request.images {
                self.name_image(client, name, id).await?;
            }
            let id = self.solve(&request, lines).await?;
            let guard = Guard::image(client, &self.pending, &id);
            let built = self.exported(&patient, &id, &request).await;
            guard.remove().await;
            built
        })
        .await
    }

    /// Gives an image a name until [`Self::forget_names`].
    async fn name_image(&self, client: &Docker, name: &str, id: &str) -> Result<(), EngineError> {
        let (repo, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
        let options = TagImageOptions { repo: Some(repo.to_owned()), tag: Some(tag.to_owned()) };
        client
            .tag_image(id, Some(options))
            .await
            .map_err(|error| self.failed(&format!("name the image `{id}`"), &error))?;
        self.names.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(name.to_owned());
        Ok(())
    }

    /// Takes back the names that builds gave to images.
    pub(super) async fn forget_names(&self) {
        let names =
            std::mem::take(&mut *self.names.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        let Some(client) = self.client.get().filter(|_| !names.is_empty()) else { return };
        for name in names {
            let options = RemoveImageOptions { force: true, noprune: true, ..Default::default() };
            // A name that stays does no harm.
            let _ = client.remove_image(&name, Some(options), None).await;
        }
    }

    /// Builds, and gives the id of the image in the engine.
    async fn solve(&self, request: &BuildRequest, lines: LineSink) -> Result<String, EngineError> {
        let lost = |error: &dyn std::error::Error| EngineError::Request {
            action: format!("build a Dockerfile on `{}`", self.endpoint),
            message: error.to_string(),
            retryable: true,
        };
        let (session_id, build_id) = (random_id(), random_id());
        let files = Files {
            dockerfile: request.dockerfile.as_str().into(),
            context: request.context.clone(),
            mtime: request.mtime,
        };
        let mut headers = vec![
            ("X-Docker-Expose-Session-Uuid", session_id.clone()),
            ("X-Docker-Expose-Session-Name", "railyard".to_owned()),
            ("X-Docker-Expose-Session-Sharedkey", shared_key(request)),
        ];
        headers.extend(
            session::METHODS.map(|method| ("X-Docker-Expose-Session-Grpc-Method", method.to_owned())),
        );
        let stream = upgrade(&self.endpoint, "/session", &headers).await.map_err(|e| lost(&e))?;
        let _session = session::serve(stream, files, request.secrets.clone());
        let stream = upgrade(&self.endpoint, "/grpc", &[]).await.map_err(|e| lost(&e))?;
        let (link, _control) = Link::begin(stream).await.map_err(|e| lost(&e))?;
        let control = ControlClient::with_origin(link, Uri::from_static("http://engine"))
            .max_decoding_message_size(LARGEST_MESSAGE);

        let mut watcher = control.clone();
        let status = StatusRequest { r#ref: build_id.clone() };
        let watching = async move {
            let mut progress = Progress::new(lines);
            if let Ok(answer) = watcher.status(status).await {
                let mut messages = answer.into_inner();
                while let Ok(Some(message)) = messages.message().await {
                    progress.add(&message);
                }
            }
            progress.finish();
        };
        let mut solver = control;
        let solving = solver.solve(solve_request(request, build_id, session_id));
        let mut watching = std::pin::pin!(watching);
        let mut solving = std::pin::pin!(solving);
        let mut watched = false;
        let solved = loop {
            tokio::select! {
                solved = &mut solving => break solved,
                () = &mut watching, if !watched => watched = true,
            }
        };
        if !watched {
            let _ = tokio::time::timeout(LAST_WORDS, watching).await;
        }
        match solved {
            Ok(answer) => answer.into_inner().exporter_response.remove(IMAGE_ID).ok_or_else(|| {
                EngineError::Build("the engine does not say which image it has built".to_owned())
            }),
            Err(status) if status.code() == tonic::Code::Unavailable => Err(lost(&status)),
            Err(status) => Err(EngineError::Build(status.message().to_owned())),
        }
    }
}

fn solve_request(request: &BuildRequest, build_id: String, session: String) -> SolveRequest {
    let mut attributes: HashMap<String, String> = HashMap::new();
    let mut set = |name: &str, value: &str| drop(attributes.insert(name.to_owned(), value.to_owned()));
    set("filename", DOCKERFILE);
    set("platform", &request.platform.to_string());
    set("contextkey", CONTEXT_DIRECTORY);
    set("dockerfilekey", DOCKERFILE_DIRECTORY);
    if let Some(target) = &request.target {
        set("target", target);
    }
    if let Some(network) = request.network {
        set("force-network-mode", network);
    }
    if request.no_cache {
        set("no-cache", "");
    }
    for (name, value) in &request.args {
        set(&format!("build-arg:{name}"), value);
    }
    for (name, value) in &request.labels {
        set(&format!("label:{name}"), value);
    }
    let entitlements = match request.network {
        Some("host") => vec!["network.host".to_owned()],
        _ => Vec::new(),
    };
    SolveRequest {
        r#ref: build_id,
        session,
        frontend: "dockerfile.v0".to_owned(),
        frontend_attrs: attributes,
        exporter_deprecated: "moby".to_owned(),
        entitlements,
        ..SolveRequest::default()
    }
}

/// Sessions of one key share what BuildKit has fetched already, told apart by size and time alone:
/// so the key is that of all contents.
fn shared_key(request: &BuildRequest) -> String {
    let mut hasher = Hasher::new();
    hasher.field(request.dockerfile.as_bytes()).field(request.context.digest.as_bytes());
    format!("railyard-{}", hasher.finish().hex())
}

/// Text that no other build has.
fn random_id() -> String {
    let random = || std::collections::hash_map::RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", random(), random())
}
