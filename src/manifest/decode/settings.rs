//! `[project]`, `[limits]` and the limits of steps.

use std::time::Duration;

use crate::manifest::reader::Fields;
use crate::manifest::{Limits, Located, Network, Project, StepLimits, values};
use crate::oci::Platform;

pub(super) fn project(fields: &Fields<'_>) -> Project {
    Project {
        name: fields.plain("name").unwrap_or_else(|| Located::new(String::new(), fields.at())),
        repository: fields.template("repository", values::repository_prefix),
        destinations: fields.templates("destinations", values::repository_prefix).unwrap_or_default(),
        platform: fields
            .value("platform", values::platform)
            .map_or_else(Platform::linux_amd64, |platform| platform.value),
    }
}

pub(super) fn limits(fields: &Fields<'_>) -> Limits {
    Limits {
        containers: fields.count("containers"),
        transfers: fields.count("transfers"),
        cpu: fields.count("cpu"),
        step: step_limits(fields),
    }
}

/// The four limits that any container step may have.
pub(super) fn step_limits(fields: &Fields<'_>) -> StepLimits {
    StepLimits {
        memory: fields.value("memory", values::size).map(|size| size.value),
        cpus: fields.number("cpus"),
        timeout: fields.value::<Duration>("timeout", values::duration).map(|timeout| timeout.value),
        network: network(fields),
    }
}

pub(super) fn network(fields: &Fields<'_>) -> Option<Network> {
    fields.located("network").and_then(|network| match network.value.as_str() {
        "bridge" => Some(Network::Bridge),
        "host" => Some(Network::Host),
        "none" => Some(Network::None),
        _ => None,
    })
}
