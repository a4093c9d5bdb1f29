//! A second registry, for what goes from one to another; ended when it is dropped.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::project::registry::tool;

/// A registry of its own on loopback.
pub struct Second {
    /// `127.0.0.1:PORT`.
    pub host: String,
    process: Child,
    _data: tempfile::TempDir,
}

impl Second {
    /// Starts one, empty.
    pub fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let host = format!("127.0.0.1:{port}");
        let config = data.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\nhttp: {{addr: \"{host}\"}}\n",
            data.path().join("data").display()
        );
        std::fs::write(&config, text).unwrap();
        let process = Command::new("docker-registry")
            .args(["serve", config.to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("docker-registry is not in PATH (dev/env): {e}"));
        let second = Self { host, process, _data: data };
        let end = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(&second.host).is_err() {
            assert!(Instant::now() < end, "the second registry does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        second
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Pulls every platform of an image with skopeo, which verifies each blob, and gives the number of
/// files: manifests, configurations and layers.
#[track_caller]
pub fn pull_all(reference: &str) -> usize {
    let directory = tempfile::tempdir().unwrap();
    let target = format!("dir:{}", directory.path().join("image").display());
    let source = format!("docker://{reference}");
    tool("skopeo", &["copy", "--quiet", "--all", "--src-tls-verify=false", &source, &target]);
    std::fs::read_dir(directory.path().join("image")).unwrap().count()
}
