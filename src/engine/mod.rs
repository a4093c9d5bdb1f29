//! Engines: run a command in a container, hand out what it made.
//!
//! The trait is small so that [`FakeEngine`] can show faults that a real engine cannot be made to
//! show. [`DockerEngine`] speaks to Docker; bollard's types never leave it.

mod build;
mod docker;
mod error;
mod fake;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::oci::{Digest, Platform, Reference};

pub use build::{BuildRequest, BuiltImage};
pub use docker::DockerEngine;
pub use error::EngineError;
pub use fake::{FakeCall, FakeEngine, FakeRun};

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
    /// Whole command: shell and script; replaces the image's entrypoint and CMD. Empty in checks
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
    /// Longest run time of the command; collecting what it made does not count.
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
    /// These absolute paths with all beneath them. Links are taken as links. Cache volumes,
    /// secrets and the files an engine mounts (`/etc/hosts`, …) are left out; the directory of a
    /// mount point is not.
    Paths(Vec<String>),
    /// All that changed against the image, with OCI whiteouts, as the engine would commit it: mount
    /// points that the engine made are in it. A tar without entries when nothing changed.
    Changes,
}

/// Receives what a run made as one uncompressed tar, on a blocking thread.
///
/// Entry names (and the targets of hard links) are relative to the root of the container, without
/// `/` or `./` before them: `var/lang/bin/node`. The directories above a kept path have no entries.
/// Times are whole seconds. It is called once for a run that ended with code 0 and had something to
/// collect, never otherwise. What it took counts only when [`Engine::run`] returns `Ok`: a stream
/// that breaks off ends with an error, not with an early end of file.
pub type TarSink = Box<dyn FnOnce(&mut dyn Read) -> std::io::Result<()> + Send>;

/// What a line ends with of which the rest was dropped.
pub const CUT: char = '…';

/// Receives each line of output as it comes, without its line end. Of a line that is too long the rest
/// is dropped: it ends with [`CUT`].
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

/// Something in an engine that a run has made and may have left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Its id.
    pub id: String,
    /// What it is.
    pub kind: LeftoverKind,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// When it was created, since 1970, by the engine's clock.
    pub created: Duration,
}

/// What a [`Leftover`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftoverKind {
    /// A container.
    Container {
        /// Whether its command runs.
        running: bool,
    },
    /// An image without a name.
    Image,
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

    /// Runs a command. Dropping the future ends the container. It is removed in the background: see
    /// [`settle`](Self::settle).
    fn run<'a>(
        &'a self,
        request: RunRequest,
        lines: LineSink,
        tar: TarSink,
    ) -> BoxFuture<'a, Result<RunOutput, EngineError>>;

    /// Builds a Dockerfile. Dropping the future ends the build. The default builds none.
    fn build<'a>(
        &'a self,
        request: BuildRequest,
        lines: LineSink,
    ) -> BoxFuture<'a, Result<BuiltImage, EngineError>> {
        drop((request, lines));
        let error = EngineError::Build("this engine builds no Dockerfiles".to_owned());
        Box::pin(std::future::ready(Err(error)))
    }

    /// Removes containers (and unnamed images) that carry all these labels; returns how many. For
    /// leftovers.
    fn sweep<'a>(&'a self, labels: &'a BTreeMap<String, String>)
    -> BoxFuture<'a, Result<usize, EngineError>>;

    /// Containers and unnamed images that have a label, whatever its value; containers first.
    fn leftovers<'a>(&'a self, label: &'a str) -> BoxFuture<'a, Result<Vec<Leftover>, EngineError>>;

    /// Removes a container, running or not, or an image. `false`: somebody else has removed it, or uses it.
    fn remove<'a>(&'a self, leftover: &'a Leftover) -> BoxFuture<'a, Result<bool, EngineError>>;

    /// Waits until the containers of runs are gone. Call it before the process ends: a run that is over or
    /// dropped has only begun the removal.
    fn settle(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}
