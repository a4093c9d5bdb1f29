//! Engines: run a command in a container, hand out what it made.
//!
//! The trait is small so that a fake can show faults that a real engine cannot be made to show.
//! bollard's types never leave [`docker`](self).

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::oci::{Digest, Platform, Reference};

/// What the engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// Where it was reached, e.g. `unix:///var/run/docker.sock`.
    pub endpoint: String,
    /// Server version, e.g. `28.5.2`.
    pub version: String,
    /// CPUs it has.
    pub cpus: u32,
    /// Memory it has, in bytes.
    pub memory: u64,
}

/// User and password for a pull; prints nothing.
#[derive(Clone)]
pub struct PullCredentials {
    /// User name; empty with an identity token.
    pub username: String,
    /// Password or identity token.
    pub password: String,
}

impl std::fmt::Debug for PullCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PullCredentials(…)")
    }
}

/// A command to run in a new container, which is removed afterwards whatever happens.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// Id of the image in the engine, from [`Engine::pull`] or [`Engine::load`].
    pub image: String,
    /// Whole command: shell and script; replaces the image's entrypoint and CMD. `None` in checks
    /// that start the image as it is.
    pub command: Vec<String>,
    /// Environment beside the image's.
    pub env: Vec<(String, String)>,
    /// User; the image's unless set.
    pub user: Option<String>,
    /// Working directory; the image's unless set.
    pub workdir: Option<String>,
    /// Memory limit in bytes.
    pub memory: Option<u64>,
    /// CPU limit.
    pub cpus: Option<f64>,
    /// `bridge`, `host` or `none`.
    pub network: String,
    /// Longest run time.
    pub timeout: Option<Duration>,
    /// Named volumes kept between runs: target directory -> volume name.
    pub caches: BTreeMap<String, String>,
    /// File name under `/run/secrets` -> value; passed by standard input into a tmpfs.
    pub secrets: BTreeMap<String, SecretValue>,
    /// What to hand out at the end of a run that succeeded.
    pub collect: Collect,
    /// Labels of the container, so that leftovers can be found.
    pub labels: BTreeMap<String, String>,
}

/// A secret's value; prints nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(pub String);

impl std::fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretValue(…)")
    }
}

/// What a run hands out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Collect {
    /// Nothing.
    Nothing,
    /// These absolute paths, as tar streams.
    Paths(Vec<String>),
    /// All that changed against the image, as one layer tar with OCI whiteouts.
    Changes,
}

/// Receives the tar streams of a run, on a blocking thread: the path asked for (empty for
/// [`Collect::Changes`]) and the stream. Entry names of a path's stream start with the last
/// component of that path, as in Docker's archive API.
pub type TarSink = Box<dyn FnMut(&str, &mut dyn Read) -> std::io::Result<()> + Send>;

/// Receives each line of output as it comes, without its line end.
pub type LineSink = Box<dyn Fn(&str) + Send + Sync>;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOutput {
    /// Exit code; what was asked for is collected only when it is 0.
    pub exit_code: i64,
    /// Killed for its memory limit.
    pub out_of_memory: bool,
    /// From start to exit.
    pub duration: Duration,
}

/// What railyard asks of a container engine.
pub trait Engine: Send + Sync {
    /// Asks what it is; fails when it does not answer.
    fn info(&self) -> BoxFuture<'_, Result<EngineInfo, EngineError>>;

    /// Makes an image available by digest and returns its id in the engine. Uses what is there.
    fn pull<'a>(
        &'a self,
        reference: &'a Reference,
        platform: &'a Platform,
        credentials: Option<PullCredentials>,
    ) -> BoxFuture<'a, Result<String, EngineError>>;

    /// Loads a docker-archive (or OCI archive that has a `manifest.json`) and returns the image's
    /// id. `config` is the digest of the image's configuration.
    fn load<'a>(&'a self, archive: &'a Path, config: Digest) -> BoxFuture<'a, Result<String, EngineError>>;

    /// Runs a command. Dropping the future ends the container and removes it.
    fn run<'a>(
        &'a self,
        request: RunRequest,
        lines: LineSink,
        tars: TarSink,
    ) -> BoxFuture<'a, Result<RunOutput, EngineError>>;

    /// Removes containers that carry all these labels; returns how many. For leftovers.
    fn sweep<'a>(&'a self, labels: &'a BTreeMap<String, String>)
    -> BoxFuture<'a, Result<usize, EngineError>>;
}

/// An engine that could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// It does not answer.
    #[error("no container engine answers at `{endpoint}`: {message}")]
    Unreachable {
        /// Where it was looked for.
        endpoint: String,
        /// Why.
        message: String,
    },
    /// A request failed.
    #[error("failed to {action}: {message}")]
    Request {
        /// What was tried.
        action: String,
        /// The engine's words.
        message: String,
        /// Whether trying again may help.
        retryable: bool,
    },
    /// The run took too long and was ended.
    #[error("timed out after {} s", .0.as_secs())]
    TimedOut(Duration),
    /// A path to collect is not there.
    #[error("`{0}` does not exist after the run")]
    NoSuchPath(String),
    /// The receiver of the tar streams failed.
    #[error("failed to take over the files: {0}")]
    Sink(std::io::Error),
}
