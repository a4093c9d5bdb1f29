//! The judges: real engines, through the Docker client.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::compare::{Image, Rules, config_of};
use super::flatten::{Files, Layer};

/// A running engine.
#[derive(Debug, Clone)]
pub struct Engine {
    /// Address of its socket.
    pub host: String,
    /// Its version.
    pub version: String,
}

/// Every engine of `dev/env`.
///
/// # Panics
/// When there is none.
pub fn engines() -> Vec<Engine> {
    let hosts = super::setting("RAILYARD_TEST_ENGINES");
    hosts.split_whitespace().map(Engine::connect).collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

impl Engine {
    fn connect(host: &str) -> Self {
        let mut engine = Self { host: host.to_owned(), version: String::new() };
        engine.version = engine.docker(&["version", "--format", "{{.Server.Version}}"]);
        engine
    }

    /// Whether the engine is of this major version or a later one.
    pub fn at_least(&self, major: u32) -> bool {
        self.version.split('.').next().and_then(|v| v.parse::<u32>().ok()).is_some_and(|v| v >= major)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(["-H", &self.host]).args(arguments).env("DOCKER_BUILDKIT", "1").stdin(Stdio::null());
        command
    }

    /// Runs the client and gives what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub fn docker(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("the docker client is in PATH (dev/env)");
        assert!(output.status.success(), "docker {arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Builds a Dockerfile by BuildKit.
    ///
    /// # Errors
    /// What the engine said when it refused.
    pub fn build(&self, reference: &str, context: &Path, target: &str) -> Result<(), String> {
        let context = context.to_str().unwrap();
        let mut arguments = vec!["build", "--progress", "plain", "--tag", reference];
        if !target.is_empty() {
            arguments.extend(["--target", target]);
        }
        arguments.push(context);
        let output = self.command(&arguments).output().expect("the docker client is in PATH (dev/env)");
        if output.status.success() { Ok(()) } else { Err(said(&output)) }
    }

    /// What a container of an image sees, as far as an export tells: without extended attributes.
    pub fn export(&self, reference: &str) -> Image {
        self.docker(&["pull", "--quiet", reference]);
        let container = self.docker(&["create", reference, "/nothing"]);
        let mut child = self.command(&["export", &container]).stdout(Stdio::piped()).spawn().unwrap();
        let mut files = Files::default();
        let mut tar = child.stdout.take().unwrap();
        Layer::read(&mut tar).apply(&mut files);
        std::io::copy(&mut tar, &mut std::io::sink()).unwrap();
        assert!(child.wait().unwrap().success());
        let config = self.docker(&["inspect", "--type", "image", "--format", "{{json .}}", reference]);
        let config: serde_json::Value = serde_json::from_str(&config).unwrap();
        let document = serde_json::json!({"config": config["Config"], "os": config["Os"], "architecture": config["Architecture"]});
        self.docker(&["rm", &container]);
        Image {
            digest: String::new(),
            tree: files.tree,
            implied: files.implied,
            config: config_of(&document),
        }
    }

    /// Forgets the images of these repositories, by their names alone: other tests may have the
    /// same images under others.
    pub fn forget(&self, repositories: &str) {
        let filter = format!("reference={repositories}");
        for format in ["{{.Repository}}:{{.Tag}}", "{{.Repository}}@{{.Digest}}"] {
            let arguments = ["images", "--all", "--digests", "--filter", &filter, "--format", format];
            let output = self.command(&arguments).output().expect("the docker client is in PATH (dev/env)");
            let listing = String::from_utf8_lossy(&output.stdout).into_owned();
            let references: Vec<&str> = listing.lines().filter(|line| !line.contains("<none>")).collect();
            if !references.is_empty() {
                // What has gone meanwhile is forgotten too.
                let _ = self.command(&[&["rmi"], &references[..]].concat()).output();
            }
        }
    }
}

/// What an engine puts into a container beside the image.
pub fn container_rules() -> Rules {
    let paths =
        [".dockerenv", "dev", "proc", "sys", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab"];
    Rules { paths: paths.map(str::to_owned).to_vec(), times: Vec::new(), xattrs: true }
}
