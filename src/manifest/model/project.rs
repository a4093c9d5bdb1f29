//! What is said of a project as a whole: its destinations, registries and limits.

use std::time::Duration;

use crate::manifest::{Located, RegistryAccess, TagRule, Template};
use crate::oci::Platform;

/// `[project]`.
#[derive(Debug, Clone)]
pub struct Project {
    /// A name for people.
    pub name: Located<String>,
    /// Push prefix (registry and path), may use `vars`; an image's repository is `{repository}/{name}`.
    pub repository: Option<Template>,
    /// Further push prefixes, which may use `vars`.
    pub destinations: Vec<Template>,
    /// The one platform that is built; `linux/amd64` unless written.
    pub platform: Platform,
}

/// `[registries."host"]` or `[registries."host/path"]`.
#[derive(Debug, Clone, Default)]
pub struct RegistrySettings {
    /// Plain HTTP; loopback needs no mark.
    pub insecure: bool,
    /// Requests a second, at most.
    pub requests_per_second: Option<f64>,
    /// Concurrent requests, at most.
    pub concurrency: Option<usize>,
    /// A PEM file with authorities of certificates, relative to the manifest.
    pub ca: Option<String>,
    /// Whether any certificate is taken.
    pub skip_tls_verify: bool,
    /// Who railyard is there.
    pub credentials: Option<RegistryAccess>,
    /// Who railyard is there for reading, where that differs.
    pub pull: Option<RegistryAccess>,
    /// What happens to tags that are there.
    pub existing_tags: Option<TagRule>,
    /// Whether missing ECR repositories are created.
    pub create: bool,
    /// A file with a lifecycle policy for ECR repositories, relative to the manifest.
    pub lifecycle_policy: Option<String>,
}

/// `[limits]`; of `memory`, `cpus`, `timeout` and `network` a step's own value wins.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// Containers at a time.
    pub containers: Option<usize>,
    /// Transfers at a time.
    pub transfers: Option<usize>,
    /// CPU-bound tasks at a time.
    pub cpu: Option<usize>,
    /// Defaults of container steps.
    pub step: StepLimits,
}

/// Limits of one container step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StepLimits {
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// CPUs, e.g. 1.5.
    pub cpus: Option<f64>,
    /// Longest run time.
    pub timeout: Option<Duration>,
    /// Network of the container.
    pub network: Option<Network>,
}

/// Network mode of a container step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// The engine's default bridge.
    Bridge,
    /// The engine's own network.
    Host,
    /// None.
    None,
}
