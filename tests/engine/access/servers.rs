//! Servers that a test starts: registries, with passwords, tokens or certificates.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;

use crate::project::Project;

/// A program that ends with the test.
pub struct Running {
    child: Child,
    /// Host and port.
    pub host: String,
    /// Its files.
    pub directory: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It is ours: its process, by its handle.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that is free now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts a program and waits until it listens.
#[track_caller]
pub fn start(command: &mut Command, port: u16, directory: tempfile::TempDir) -> Running {
    let log = directory.path().join("log");
    let file = std::fs::File::create(&log).unwrap();
    let child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}; see dev/up and dev/env"));
    let host = format!("127.0.0.1:{port}");
    let running = Running { child, host, directory };
    let begun = Instant::now();
    while std::net::TcpStream::connect(&running.host).is_err() {
        let text = || std::fs::read_to_string(&log).unwrap_or_default();
        assert!(begun.elapsed() < Duration::from_secs(60), "{command:?} does not listen: {}", text());
        std::thread::sleep(Duration::from_millis(50));
    }
    running
}

/// A registry; `more` is further configuration, in which `$DIR` is its directory.
#[track_caller]
pub fn registry(directory: tempfile::TempDir, more: &str) -> Running {
    let port = free_port();
    let path = directory.path();
    let text = format!(
        "version: 0.1\nlog: {{level: warn, accesslog: {{disabled: true}}}}\n\
         storage:\n  filesystem: {{rootdirectory: $DIR/data}}\n  delete: {{enabled: true}}\n\
         http:\n  addr: 127.0.0.1:{port}\n{more}"
    );
    let config = path.join("config.yml");
    std::fs::write(&config, text.replace("$DIR", path.to_str().unwrap())).unwrap();
    let mut command = Command::new("docker-registry");
    start(command.arg("serve").arg(config), port, directory)
}

/// A registry that wants these users' passwords.
#[track_caller]
pub fn htpasswd(users: &[(&str, &str)]) -> Running {
    let directory = tempfile::tempdir().unwrap();
    let lines = users.iter().map(|(user, password)| {
        let script = "print crypt($ARGV[0], q($2b$05$abcdefghijklmnopqrstuu))";
        let output = Command::new("perl").args(["-e", script, "--", password]).output().unwrap();
        let hash = String::from_utf8(output.stdout).unwrap();
        assert!(hash.starts_with("$2b$"), "crypt knows no bcrypt here: {hash}");
        format!("{user}:{hash}\n")
    });
    std::fs::write(directory.path().join("users"), lines.collect::<String>()).unwrap();
    registry(directory, "auth:\n  htpasswd: {realm: test, path: $DIR/users}\n")
}

/// Runs a tool and asserts that it succeeds.
#[track_caller]
pub fn tool(name: &str, directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new(name).args(arguments).current_dir(directory).output();
    let output = output.unwrap_or_else(|e| panic!("{name}: {e}"));
    assert!(output.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What crane prints as a user; `None` where it fails.
pub fn crane(host: &str, user: &str, password: &str, arguments: &[&str]) -> Option<String> {
    let directory = tempfile::tempdir().unwrap();
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    let config = serde_json::json!({ "auths": { host: { "auth": auth } } });
    std::fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
    let output =
        Command::new("crane").args(arguments).env("DOCKER_CONFIG", directory.path()).output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

/// A project without credentials of its own around.
pub fn project(manifest: &str) -> Project {
    let mut project = Project::new(manifest);
    let home = project.path("home");
    std::fs::create_dir(&home).unwrap();
    project.set("HOME", home.to_str().unwrap());
    project.set("DOCKER_CONFIG", home.to_str().unwrap());
    project.set("AWS_EC2_METADATA_DISABLED", "true");
    project
}

/// Every file below a directory.
fn files(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => files(&entry.path(), into),
            false => into.push(entry.path()),
        }
    }
}

/// Asserts that secrets stand in none of a project's files (store, logs, lock, reports), but for
/// those named `secret…`, and not in what was said.
#[track_caller]
pub fn assert_secret(project: &Project, said: &[&str], secrets: &[&str]) {
    let mut all = Vec::new();
    files(&project.path("."), &mut all);
    assert!(all.iter().any(|path| path.starts_with(project.path("./store"))), "the store is looked at");
    for secret in secrets {
        for text in said {
            assert!(!text.contains(secret), "`{secret}` was said:\n{text}");
        }
        for path in &all {
            if path.file_name().unwrap().to_str().unwrap().starts_with("secret") {
                continue;
            }
            let bytes = std::fs::read(path).unwrap();
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "`{secret}` stands in {}", path.display());
        }
    }
}
