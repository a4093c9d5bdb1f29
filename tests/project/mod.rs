//! The harness of the behaviour tests: a project in a temporary directory, and the program run on it.
//!
//! Nothing here uses railyard's own library. What was pushed is read back by other programs (crane).

// The test binary without engines uses a part of it.
#![allow(dead_code)]

pub mod engine;
pub mod registry;

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where no engine is.
pub const NO_ENGINE: &str = "unix:///nonexistent/docker.sock";

/// A manifest in its directory, with a lock and a store of its own.
pub struct Project {
    directory: tempfile::TempDir,
    names: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    /// `DOCKER_HOST` of the program.
    pub engine: String,
    /// Name of the store's directory: another one is another machine.
    pub store: String,
}

/// How the program ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ended {
    /// Asserts an exit code; shows what was said otherwise.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    /// Asserts that standard error has these texts.
    #[track_caller]
    pub fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.err.contains(text), "standard error lacks `{text}`:\n{}", self.err);
        }
        self
    }

    /// Asserts that standard output has these texts.
    #[track_caller]
    pub fn prints(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.out.contains(text), "standard output lacks `{text}`:\n{}", self.out);
        }
        self
    }
}

impl Project {
    /// A project without anything outside.
    pub fn new(manifest: &str) -> Self {
        let project = Self {
            directory: tempfile::tempdir().unwrap(),
            names: Vec::new(),
            environment: Vec::new(),
            engine: NO_ENGINE.to_owned(),
            store: "store".to_owned(),
        };
        project.write("builds.toml", manifest);
        project
    }

    /// The directory's own name, in letters and digits.
    pub fn unique(&self) -> String {
        let name = self.directory.path().file_name().unwrap().to_str().unwrap();
        name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase()
    }

    /// A path in the project.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// From now on `$NAME` in written files stands for this text.
    pub fn name(&mut self, name: &str, text: &str) {
        self.names.push((format!("${name}"), text.to_owned()));
        self.names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    }

    /// Replaces names.
    pub fn fill(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    /// Writes a file of the project.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), self.fill(text)).unwrap();
    }

    /// Reads a file of the project.
    #[track_caller]
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Sets a variable of the program's environment.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// The program as a command, in the project's directory, with nothing of `RAILYARD_*` around.
    pub fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_railyard"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RAILYARD_")) {
            command.env_remove(name);
        }
        command
            .current_dir(self.directory.path())
            .args(arguments)
            .args(["--lock", "builds.lock", "--store", &self.store])
            .env("DOCKER_HOST", &self.engine)
            .env_remove("SOURCE_DATE_EPOCH")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(std::process::Stdio::null());
        command
    }

    /// Runs the program.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        let mut command = assert_cmd::Command::from_std(self.command(arguments));
        let output = command.timeout(Duration::from_secs(120)).output().unwrap();
        Ended {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// `build --push` with plain progress and a JSON report; gives the report too.
    #[track_caller]
    pub fn push(&self, arguments: &[&str]) -> Report {
        self.build(&[&["--push"], arguments].concat(), 0).1
    }

    /// `build` with plain progress and a JSON report.
    #[track_caller]
    pub fn build(&self, arguments: &[&str], code: i32) -> (Ended, Report) {
        let all = [&["build", "--progress", "plain", "--report", "json:report.json"], arguments].concat();
        let ended = self.run(&all).code(code);
        (ended, Report(serde_json::from_str(&self.read("report.json")).unwrap()))
    }
}

/// What `--report json:FILE` holds.
#[derive(Debug, Clone)]
pub struct Report(pub serde_json::Value);

impl Report {
    /// Cell -> outcome.
    pub fn outcomes(&self) -> Vec<(String, String)> {
        let text = |v: &serde_json::Value| v.as_str().unwrap_or("").to_owned();
        self.cells().iter().map(|c| (text(&c["cell"]), text(&c["outcome"]))).collect()
    }

    fn cells(&self) -> &Vec<serde_json::Value> {
        self.0["cells"].as_array().unwrap()
    }

    /// Digests of the cells, in order.
    #[track_caller]
    pub fn digests(&self) -> Vec<String> {
        self.cells().iter().map(|c| c["digest"].as_str().expect("the cell has a digest").to_owned()).collect()
    }

    /// Asserts that every cell ended so.
    #[track_caller]
    pub fn all(&self, outcome: &str) -> &Self {
        assert!(!self.cells().is_empty());
        assert!(self.outcomes().iter().all(|(_, found)| found == outcome), "{:#}", self.0);
        self
    }

    /// How many steps of a kind were carried out.
    pub fn steps(&self, kind: &str) -> u64 {
        self.0["steps_run"][kind].as_u64().unwrap_or(0)
    }

    /// A number of the report.
    #[track_caller]
    pub fn number(&self, pointer: &str) -> u64 {
        self.0
            .pointer(pointer)
            .and_then(serde_json::Value::as_u64)
            .unwrap_or_else(|| panic!("{pointer}: {:#}", self.0))
    }
}

/// Files of a directory with their content's length, for "nothing was written".
pub fn listing(directory: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    let mut stack = vec![directory.to_owned()];
    while let Some(next) = stack.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            let meta = entry.metadata().unwrap();
            if meta.is_dir() {
                stack.push(entry.path());
            } else {
                found.push((entry.path(), meta.len()));
            }
        }
    }
    found.sort();
    found
}
