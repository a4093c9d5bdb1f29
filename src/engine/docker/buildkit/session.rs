//! A session: what BuildKit may ask of us during a build. It gets the Dockerfile, the context, and
//! the secrets that its instructions name.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;

use bollard_buildkit_proto::health::health_check_response::ServingStatus;
use bollard_buildkit_proto::health::health_server::{Health, HealthServer};
use bollard_buildkit_proto::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
};
use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_server::{Secrets, SecretsServer};
use bollard_buildkit_proto::moby::buildkit::secrets::v1::{GetSecretRequest, GetSecretResponse};
use bollard_buildkit_proto::moby::filesync::packet::file_sync_server::FileSyncServer;
use futures_util::Stream;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tonic::codegen::{Service, http};
use tonic::{Request, Response, Status};

use super::connection::{Duplex, Ending, WINDOW};
use super::files::Files;
use crate::engine::SecretValue;

/// What a session offers, as it is announced.
pub(super) const METHODS: [&str; 3] = [
    "/grpc.health.v1.Health/Check",
    "/moby.filesync.v1.FileSync/DiffCopy",
    "/moby.buildkit.secrets.v1.Secrets/GetSecret",
];

/// Answers on a connection until it, or what is returned, ends.
pub(super) fn serve(stream: Box<dyn Duplex>, files: Files, secrets: BTreeMap<String, SecretValue>) -> Ending {
    let session = Session {
        files: FileSyncServer::new(files),
        secrets: SecretsServer::new(SecretStore(Arc::new(secrets))),
        health: HealthServer::new(Healthy),
    };
    Ending(tokio::spawn(async move {
        // BuildKit says in its own answer that a session broke off.
        let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .serve_connection(TokioIo::new(stream), session)
            .await;
    }))
}

#[derive(Clone)]
struct Session {
    files: FileSyncServer<Files>,
    secrets: SecretsServer<SecretStore>,
    health: HealthServer<Healthy>,
}

impl hyper::service::Service<http::Request<Incoming>> for Session {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: http::Request<Incoming>) -> Self::Future {
        let path = request.uri().path();
        if path.starts_with("/moby.filesync.v1.FileSync/") {
            Box::pin(self.files.clone().call(request))
        } else if path.starts_with("/moby.buildkit.secrets.v1.Secrets/") {
            Box::pin(self.secrets.clone().call(request))
        } else if path.starts_with("/grpc.health.v1.Health/") {
            Box::pin(self.health.clone().call(request))
        } else {
            let answer = Status::unimplemented(format!("`{path}` is not offered")).into_http();
            Box::pin(std::future::ready(Ok(answer)))
        }
    }
}

struct SecretStore(Arc<BTreeMap<String, SecretValue>>);

#[tonic::async_trait]
impl Secrets for SecretStore {
    async fn get_secret(
        &self,
        request: Request<GetSecretRequest>,
    ) -> Result<Response<GetSecretResponse>, Status> {
        let id = &request.get_ref().id;
        match self.0.get(id) {
            Some(value) => Ok(Response::new(GetSecretResponse { data: value.0.clone().into_bytes() })),
            None => Err(Status::not_found(format!("secret {id} not found: it is not one of `secrets`"))),
        }
    }
}

struct Healthy;

type Watched = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Health for Healthy {
    type WatchStream = Watched;

    async fn check(
        &self,
        _request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(HealthCheckResponse { status: ServingStatus::Serving as i32 }))
    }

    async fn list(
        &self,
        _request: Request<HealthListRequest>,
    ) -> Result<Response<HealthListResponse>, Status> {
        Err(Status::unimplemented("only check is offered"))
    }

    async fn watch(&self, _request: Request<HealthCheckRequest>) -> Result<Response<Watched>, Status> {
        Err(Status::unimplemented("only check is offered"))
    }
}
