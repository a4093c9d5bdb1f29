//! The development registry, asked through crane; a small base image.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use super::Project;

/// A setting of `dev/env`.
///
/// # Panics
/// When it is not set: tests that need it are never skipped.
pub fn setting(name: &str) -> String {
    match std::env::var(name) {
        Ok(value) if !value.trim().is_empty() => value,
        _ => panic!(
            "{name} is not set: bring the development environment up with dev/up, then eval \"$(dev/env)\""
        ),
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Runs a program of the development environment and gives what it printed.
///
/// # Panics
/// When it fails.
#[track_caller]
pub fn tool(name: &str, arguments: &[&str]) -> String {
    let output = attempt(name, arguments);
    assert!(output.status.success(), "{name} {arguments:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Runs a program of the development environment.
pub fn attempt(name: &str, arguments: &[&str]) -> Output {
    let missing = |e| panic!("{name} is not in PATH (dev/env): {e}");
    Command::new(name).args(arguments).stdin(Stdio::null()).output().unwrap_or_else(missing)
}

/// Digest of what a reference means, if anything.
pub fn digest(reference: &str) -> Option<String> {
    let output = attempt("crane", &["digest", reference]);
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

/// An image's manifest.
#[track_caller]
pub fn manifest(reference: &str) -> Value {
    serde_json::from_str(&tool("crane", &["manifest", reference])).unwrap()
}

/// An image's configuration.
#[track_caller]
pub fn config(reference: &str) -> Value {
    serde_json::from_str(&tool("crane", &["config", reference])).unwrap()
}

/// The text of a file of an image, taken out of its flattened layers.
#[track_caller]
pub fn file(reference: &str, path: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let tar = directory.path().join("image.tar");
    tool("crane", &["export", reference, tar.to_str().unwrap()]);
    tool("tar", &["-xOf", tar.to_str().unwrap(), path])
}

/// Paths of an image, of its flattened layers.
#[track_caller]
pub fn paths(reference: &str) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let tar = directory.path().join("image.tar");
    tool("crane", &["export", reference, tar.to_str().unwrap()]);
    let listing = tool("tar", &["-tf", tar.to_str().unwrap()]);
    listing.lines().map(|line| line.trim_end_matches('/').to_owned()).collect()
}

/// Programs of the small base.
const PROGRAMS: &str = "sh cat ls mkdir sleep head tail tar cp rm id od env chmod touch seq ln mv date";

/// A small base image with a shell: programs of this machine and their libraries, made once.
pub fn small_base() -> &'static str {
    static BASE: OnceLock<String> = OnceLock::new();
    BASE.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let script = r#"
            set -e
            cd "$1"
            mkdir -p extra/tmp extra/etc extra/root extra/opt extra/srv
            chmod 1777 extra/tmp
            echo root:x:0:0:root:/root:/bin/sh >extra/etc/passwd
            for p in $2; do echo "bin/$p"; ldd "/bin/$p" | grep -oE '/[^ ]+' | sed 's,^/,,'; done | sort -u >list
            tar --sort=name --mtime=@1600000000 --owner=0 --group=0 --numeric-owner -h \
              -cf base.tar -C extra tmp etc root opt srv -C / $(cat list)
            sha256sum base.tar | cut -c 1-16
        "#;
        let place = directory.path().to_str().unwrap();
        let sum = tool("sh", &["-c", script, "sh", place, PROGRAMS]);
        let reference = format!("{}/t-base/small:{sum}", setting("RAILYARD_DEV_REGISTRY"));
        if digest(&reference).is_none() {
            push_layer(&directory.path().join("base.tar"), &reference);
        }
        reference
    })
}

/// Pushes an image of one layer, for linux/amd64.
#[track_caller]
pub fn push_layer(tar: &Path, reference: &str) {
    let raw = format!("{reference}-raw");
    tool("crane", &["append", "--oci-empty-base", "-f", tar.to_str().unwrap(), "-t", &raw]);
    let environment = ["--env", "PATH=/bin", "--env", "GREETING=hello"];
    let arguments =
        [&["mutate", "--set-platform", "linux/amd64"], &environment[..], &["-t", reference, &raw]];
    tool("crane", &arguments.concat());
}

/// A stand-in of an AWS SAM build image.
pub fn stand_in(runtime: &str) -> String {
    let registry = setting("RAILYARD_DEV_REGISTRY");
    format!("{registry}/sam/build-{runtime}:1.143.0-20250822194415-x86_64")
}

/// Another image under a reference that moves: the same with one more variable.
#[track_caller]
pub fn bump(reference: &str, nonce: &str) {
    tool("crane", &["mutate", "--env", &format!("NONCE={nonce}"), "-t", reference, reference]);
}

/// A project that pushes to its own part of the development registry, built on the small base and
/// given the first engine. In its files `$REPO`, `$BASE` and `$FILES` have their meaning.
pub fn project(manifest: &str) -> Project {
    let mut project = Project::new("");
    let repository = format!("{}/t-{}", setting("RAILYARD_DEV_REGISTRY"), project.unique());
    project.name("REPO", &repository);
    project.name("BASE", small_base());
    project.name("FILES", &setting("RAILYARD_DEV_FILES"));
    project.engine = super::engine::engines()[0].clone();
    project.write(
        "builds.toml",
        &format!("schema = 1\n[project]\nname = \"t\"\nrepository = \"$REPO\"\n{manifest}"),
    );
    project
}
