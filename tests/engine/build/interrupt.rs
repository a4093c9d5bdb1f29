//! Ctrl-C: once ends after what runs, twice at once; nothing is left behind.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::project::Project;
use crate::project::engine::{docker, labelled};
use crate::project::registry::{digest, project, tool};

const MANIFEST: &str = r#"
[axes.n]
values = ["1", "2"]
[layers.made]
run = { image = "$BASE", script = "mkdir /opt/made; echo {{ n }} $NONCE >/opt/made/n; sleep $SLEEP", keep = ["/opt/made"] }
[images.app]
axes = ["n"]
base = "$BASE"
tags = ["{{ n }}"]
layers = ["made"]
"#;

struct Running {
    project: Project,
    child: Child,
}

/// Starts a build of one container at a time and waits until the first runs.
fn start(sleep: &str) -> Running {
    let mut project = project("");
    let nonce = project.unique();
    project.name("NONCE", &nonce);
    project.name("SLEEP", sleep);
    let text = project.read("builds.toml");
    project.write("builds.toml", &format!("{text}{MANIFEST}"));
    let mut command = project.command(&[
        "build",
        "--push",
        "--progress",
        "plain",
        "--jobs",
        "1",
        "--report",
        "json:report.json",
    ]);
    let child = command.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let running = Running { project, child };
    let begun = Instant::now();
    while running.run().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(60), "no container was started");
        std::thread::sleep(Duration::from_millis(100));
    }
    running
}

impl Running {
    /// The label of the run, once a container of it is up.
    fn run(&self) -> Option<String> {
        let filters = ["--filter", "label=io.railyard.run", "--filter", "status=running"];
        let arguments = [&["ps", "--format", "{{.Label \"io.railyard.run\"}}"], &filters[..]].concat();
        let process = format!("-{}-", self.child.id());
        let listing = docker(&self.project.engine, &arguments);
        listing.lines().find(|run| run.contains(&process)).map(|run| format!("io.railyard.run={run}"))
    }

    fn interrupt(&self) {
        tool("kill", &["-INT", &self.child.id().to_string()]);
    }

    fn end(self) -> (Project, std::process::Output) {
        let output = self.child.wait_with_output().unwrap();
        (self.project, output)
    }
}

#[test]
fn the_first_interrupt_lets_what_runs_end_and_starts_nothing_more() {
    let running = start("3");
    let label = running.run().unwrap();
    running.interrupt();
    let (project, output) = running.end();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("interrupted"), "{said}");
    assert_eq!(labelled(&project.engine, &label), Vec::<String>::new());
    assert_eq!(digest(&project.fill("$REPO/app:2")), None);
    let report = project.read("report.json");
    assert!(report.contains("\"interrupted\": true"), "{report}");
    // What ended is not done again.
    let second = project.push(&[]);
    assert_eq!(second.steps("artifact"), 1);
    second.all("built");
}

#[test]
fn the_second_interrupt_ends_what_runs() {
    let running = start("300");
    let label = running.run().unwrap();
    let begun = Instant::now();
    running.interrupt();
    std::thread::sleep(Duration::from_millis(500));
    running.interrupt();
    let (project, output) = running.end();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}: {said}", begun.elapsed());
    assert_eq!(labelled(&project.engine, &label), Vec::<String>::new());
    assert_eq!(digest(&project.fill("$REPO/app:1")), None);
}
