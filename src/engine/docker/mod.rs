//! Docker engines (20.10 and later) through bollard, with plain containers.
//!
//! [`DockerEngine`] is the main type. bollard's types stay in this folder. Nothing is contacted
//! before the first request.

mod archive;
mod buildkit;
mod changes;
mod container;
mod failure;
mod guard;
mod lines;
mod load;
mod pipe;
mod pull;
mod run;
mod script;
mod take;
mod watch;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::models::ContainerSummaryStateEnum as State;
use bollard::query_parameters::{
    ListContainersOptions, ListImagesOptions, RemoveContainerOptions, RemoveImageOptions,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::future::BoxFuture;
use tokio::sync::OnceCell;

use super::{
    BuildRequest, BuiltImage, Engine, EngineError, EngineInfo, Leftover, LeftoverKind, LineSink,
    PullCredentials, RunOutput, RunRequest, TarSink,
};
use crate::oci::{Digest, Platform, Reference};
use failure::failed;
use guard::Pending;
use pull::Pulls;

/// How long an engine may take to answer a request that is quick when it is well, unless told
/// otherwise.
const PATIENCE: Duration = Duration::from_secs(120);

/// For requests that take as long as the work behind them does; there [`watch`] notices an engine
/// that has stopped answering.
const UNLIMITED: Duration = Duration::from_secs(7 * 24 * 3600);

/// A Docker engine at a socket or TCP address.
pub struct DockerEngine {
    endpoint: String,
    patience: Duration,
    /// Where images are spooled that cannot be read as they stream by.
    spool: PathBuf,
    client: OnceCell<Docker>,
    cpus: OnceCell<u32>,
    pulls: Pulls,
    pending: Pending,
    /// Names that builds gave to images, to be taken back.
    names: std::sync::Mutex<std::collections::BTreeSet<String>>,
}

impl DockerEngine {
    /// An engine at `host` (`unix:///path`, `tcp://host:port`, `http://host:port`), or else at
    /// `DOCKER_HOST`, or else at the default socket. Contacts nothing: an address that is wrong
    /// shows at the first request.
    pub fn connect(host: Option<&str>) -> Self {
        let endpoint = host
            .map(str::to_owned)
            .or_else(|| std::env::var("DOCKER_HOST").ok())
            .filter(|host| !host.is_empty())
            .unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned());
        Self {
            endpoint,
            patience: PATIENCE,
            spool: std::env::temp_dir(),
            client: OnceCell::new(),
            cpus: OnceCell::new(),
            pulls: Pulls::default(),
            pending: Pending::default(),
            names: Default::default(),
        }
    }

    /// How long the engine may take to answer a request that is quick when it is well (two minutes
    /// unless set; whole seconds count). One that takes longer counts as unreachable. Requests that
    /// last as long as the work behind them have no limit, but end when it answers no pings beside
    /// them.
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience.max(Duration::from_secs(1));
        self
    }

    /// Where large temporary files go; the system's directory for them unless set.
    pub fn with_spool(mut self, directory: PathBuf) -> Self {
        self.spool = directory;
        self
    }

    /// Where the engine is.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The client, speaking the API version of the engine.
    async fn client(&self) -> Result<&Docker, EngineError> {
        self.client
            .get_or_try_init(|| async {
                let patience = self.patience.as_secs();
                let host = self.endpoint.as_str();
                let client = if host.starts_with("unix://") {
                    Docker::connect_with_unix(host, patience, API_DEFAULT_VERSION)
                } else if host.starts_with("tcp://") || host.starts_with("http://") {
                    Docker::connect_with_http(host, patience, API_DEFAULT_VERSION)
                } else {
                    Err(bollard::errors::Error::UnsupportedURISchemeError { uri: host.to_owned() })
                };
                match client {
                    Ok(client) => client.negotiate_version().await,
                    Err(error) => Err(error),
                }
                .map_err(|error| self.failed("ask for the API version", &error))
            })
            .await
    }

    /// The client for requests that last as long as the work behind them.
    async fn patient_client(&self) -> Result<Docker, EngineError> {
        Ok(self.client().await?.clone().with_timeout(UNLIMITED))
    }

    async fn ask_info(&self) -> Result<EngineInfo, EngineError> {
        let info = self
            .client()
            .await?
            .info()
            .await
            .map_err(|error| self.failed("ask what the engine is", &error))?;
        Ok(EngineInfo {
            endpoint: self.endpoint.clone(),
            version: info.server_version.unwrap_or_default(),
            cpus: info.ncpu.and_then(|n| u32::try_from(n).ok()).unwrap_or(1),
            memory: info.mem_total.and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
        })
    }

    /// How many CPUs the engine has, asked once.
    async fn cpus(&self) -> Result<u32, EngineError> {
        self.cpus.get_or_try_init(|| async { Ok(self.ask_info().await?.cpus) }).await.copied()
    }

    fn failed(&self, action: &str, error: &bollard::errors::Error) -> EngineError {
        failed(&self.endpoint, action, error)
    }

    async fn remove_labelled(&self, labels: &BTreeMap<String, String>) -> Result<usize, EngineError> {
        let wanted = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mut removed = 0;
        for leftover in self.labelled(wanted).await? {
            removed += usize::from(self.remove_leftover(&leftover).await?);
        }
        Ok(removed)
    }

    /// Containers and unnamed images with all these labels, each `name` or `name=value`.
    async fn labelled(&self, wanted: Vec<String>) -> Result<Vec<Leftover>, EngineError> {
        let client = self.client().await?;
        let mut filters = HashMap::from([("label".to_owned(), wanted)]);
        let options =
            ListContainersOptions { all: true, filters: Some(filters.clone()), ..Default::default() };
        let containers = client
            .list_containers(Some(options))
            .await
            .map_err(|error| self.failed("list leftover containers", &error))?;
        filters.insert("dangling".to_owned(), vec!["true".to_owned()]);
        let options = ListImagesOptions { filters: Some(filters), ..Default::default() };
        let images = client
            .list_images(Some(options))
            .await
            .map_err(|error| self.failed("list leftover images", &error))?;
        let since = |seconds: i64| Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        let containers = containers.into_iter().filter_map(|container| {
            let state = container.state;
            let ended = matches!(state, Some(State::CREATED | State::EXITED | State::DEAD | State::REMOVING));
            Some(Leftover {
                id: container.id?,
                kind: LeftoverKind::Container { running: !ended },
                labels: container.labels.unwrap_or_default().into_iter().collect(),
                created: since(container.created.unwrap_or(i64::MAX)),
            })
        });
        let images = images.into_iter().map(|image| Leftover {
            id: image.id,
            kind: LeftoverKind::Image,
            labels: image.labels.into_iter().collect(),
            created: since(image.created),
        });
        Ok(containers.chain(images).collect())
    }

    async fn remove_leftover(&self, leftover: &Leftover) -> Result<bool, EngineError> {
        let client = self.client().await?;
        let id = &leftover.id;
        let (what, result) = match leftover.kind {
            LeftoverKind::Container { .. } => {
                let options = RemoveContainerOptions { force: true, v: true, ..Default::default() };
                ("container", client.remove_container(id, Some(options)).await)
            }
            LeftoverKind::Image => {
                let options = RemoveImageOptions { force: true, noprune: true, ..Default::default() };
                ("image", client.remove_image(id, Some(options), None).await.map(drop))
            }
        };
        match result {
            Ok(()) => Ok(true),
            // Somebody else is at it.
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 404 | 409, .. }) => {
                Ok(false)
            }
            Err(error) => Err(self.failed(&format!("remove the {what} `{id}`"), &error)),
        }
    }
}

impl Engine for DockerEngine {
    fn info(&self) -> BoxFuture<'_, Result<EngineInfo, EngineError>> {
        Box::pin(self.ask_info())
    }

    fn pull<'a>(
        &'a self,
        reference: &'a Reference,
        platform: &'a Platform,
        credentials: Option<PullCredentials>,
    ) -> BoxFuture<'a, Result<String, EngineError>> {
        Box::pin(self.pull_image(reference, platform, credentials))
    }

    fn load<'a>(&'a self, archive: &'a Path, config: Digest) -> BoxFuture<'a, Result<String, EngineError>> {
        Box::pin(self.load_image(archive, config))
    }

    fn run<'a>(
        &'a self,
        request: RunRequest,
        lines: LineSink,
        tar: TarSink,
    ) -> BoxFuture<'a, Result<RunOutput, EngineError>> {
        Box::pin(self.run_container(request, lines, tar))
    }

    fn build<'a>(
        &'a self,
        request: BuildRequest,
        lines: LineSink,
    ) -> BoxFuture<'a, Result<BuiltImage, EngineError>> {
        Box::pin(self.build_dockerfile(request, lines))
    }

    fn sweep<'a>(
        &'a self,
        labels: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<usize, EngineError>> {
        Box::pin(self.remove_labelled(labels))
    }

    fn leftovers<'a>(&'a self, label: &'a str) -> BoxFuture<'a, Result<Vec<Leftover>, EngineError>> {
        Box::pin(self.labelled(vec![label.to_owned()]))
    }

    fn remove<'a>(&'a self, leftover: &'a Leftover) -> BoxFuture<'a, Result<bool, EngineError>> {
        Box::pin(self.remove_leftover(leftover))
    }

    fn settle(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.forget_names().await;
            self.pending.settle().await;
        })
    }
}
