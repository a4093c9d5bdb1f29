//! Engines, asked through the Docker client.

use super::registry::{setting, tool};

/// Addresses of the engines of `dev/env`.
///
/// # Panics
/// When there is none.
pub fn engines() -> Vec<String> {
    setting("RAILYARD_TEST_ENGINES").split_whitespace().map(str::to_owned).collect()
}

/// Runs the client and gives what it printed.
#[track_caller]
pub fn docker(host: &str, arguments: &[&str]) -> String {
    tool("docker", &[&["-H", host], arguments].concat())
}

/// What a script prints in a new container of an image.
#[track_caller]
pub fn run(host: &str, image: &str, script: &str) -> String {
    docker(host, &["run", "--rm", "--pull", "always", "--entrypoint", "/bin/sh", image, "-c", script])
}

/// Ids of the containers with a label, running or not.
#[track_caller]
pub fn labelled(host: &str, label: &str) -> Vec<String> {
    let found = docker(host, &["ps", "--all", "--quiet", "--filter", &format!("label={label}")]);
    found.lines().map(str::to_owned).collect()
}
