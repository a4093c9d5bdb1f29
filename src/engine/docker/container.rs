//! A run request as the engine's container configuration.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, Mount, MountType, MountVolumeOptions,
};

use super::script::{SECRETS, Script};
use crate::engine::RunRequest;

/// Every container has this name inside: a random one would get into files now and then.
const HOSTNAME: &str = "railyard";

/// The configuration of the container for `request`, started with `script`.
///
/// `cpus` is how many the engine has: it refuses a limit above that.
pub(super) fn create_body(request: &RunRequest, script: &Script, cpus: u32) -> ContainerCreateBody {
    let (entrypoint, cmd) = match script.argv.split_first() {
        Some((first, rest)) => (Some(vec![first.clone()]), Some(rest.to_vec())),
        None => (None, None),
    };
    let stdin = !request.secrets.is_empty();
    ContainerCreateBody {
        image: Some(request.image.clone()),
        hostname: (request.network != "host").then(|| HOSTNAME.to_owned()),
        user: request.user.clone(),
        working_dir: request.workdir.clone(),
        env: Some(request.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        entrypoint,
        cmd,
        attach_stdin: Some(stdin),
        open_stdin: Some(stdin),
        stdin_once: Some(stdin),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(false),
        labels: Some(request.labels.clone().into_iter().collect()),
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..Default::default() }),
        host_config: Some(host_config(request, cpus)),
        ..Default::default()
    }
}

fn host_config(request: &RunRequest, cpus: u32) -> HostConfig {
    let memory = request.memory.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    let mounts = request.caches.iter().map(|(target, volume)| Mount {
        typ: Some(MountType::VOLUME),
        source: Some(volume.clone()),
        target: Some(target.clone()),
        volume_options: Some(MountVolumeOptions {
            // A cache begins empty, whatever the image has there.
            no_copy: Some(true),
            labels: Some(request.labels.clone().into_iter().collect()),
            ..Default::default()
        }),
        ..Default::default()
    });
    HostConfig {
        memory,
        // No swap beyond it.
        memory_swap: memory,
        nano_cpus: request.cpus.map(|limit| (limit.min(f64::from(cpus)) * 1e9) as i64),
        network_mode: Some(request.network.clone()),
        mounts: Some(mounts.collect()),
        tmpfs: (!request.secrets.is_empty()).then(|| secrets_tmpfs(request)),
        // The lines come through the attached streams; nothing is to be kept on the engine's disk.
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), ..Default::default() }),
        // Explicitly none: an engine-wide `init` would need a program that not every host has, and
        // leaves its mount point in the committed changes.
        init: Some(false),
        ..Default::default()
    }
}

/// In memory, only as large as needed. Everyone in the container may look up names in it, because
/// the user of the step may be any; the files are readable by that user alone.
fn secrets_tmpfs(request: &RunRequest) -> HashMap<String, String> {
    const PAGE: usize = 4096;
    let pages: usize = request.secrets.values().map(|value| value.0.len() / PAGE + 2).sum();
    let size = (pages + 16) * PAGE;
    HashMap::from([(SECRETS.to_owned(), format!("rw,noexec,nosuid,nodev,mode=1777,size={size}"))])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::engine::{Collect, SecretValue};

    #[test]
    fn limits_are_exact_and_no_secret_is_in_the_configuration() {
        let request = RunRequest {
            image: "sha256:0".into(),
            command: ["/bin/sh", "-c", "true"].map(String::from).into(),
            env: vec![("A".into(), "b=c".into())],
            user: None,
            workdir: None,
            memory: Some(64 << 20),
            cpus: Some(8.0),
            network: "none".into(),
            timeout: None,
            caches: BTreeMap::from([("/c".into(), "volume".into())]),
            secrets: BTreeMap::from([("t".into(), SecretValue("hunter2".into()))]),
            collect: Collect::Nothing,
            labels: BTreeMap::new(),
        };
        let body = create_body(&request, &Script::of(&request), 2);
        let host = body.host_config.clone().unwrap();
        assert_eq!((host.memory, host.memory_swap), (Some(64 << 20), Some(64 << 20)));
        assert_eq!(host.nano_cpus, Some(2_000_000_000));
        assert_eq!(body.env.as_deref(), Some(&["A=b=c".to_owned()][..]));
        assert!(!format!("{body:?}").contains("hunter2"));
    }
}
