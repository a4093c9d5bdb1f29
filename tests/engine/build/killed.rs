//! A killed run leaves a container and files behind: the next one removes them, and leaves live ones alone.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::project::engine::{docker, engines};
use crate::project::registry::{project, tool};
use crate::project::{Ended, Project};

const MANIFEST: &str = r#"
[layers.made]
run = { image = "$BASE", script = "mkdir /opt/made; echo $NONCE >/opt/made/n; sleep $SLEEP", keep = ["/opt/made"] }
[images.app]
base = "$BASE"
tags = ["1"]
layers = ["made"]
"#;

/// A project whose one step takes so long.
fn sleeping(engine: &str, sleep: &str) -> Project {
    let mut project = project("");
    project.engine = engine.to_owned();
    let nonce = project.unique();
    project.name("NONCE", &nonce);
    let text = project.read("builds.toml");
    project.write("builds.toml", &format!("{text}{}", MANIFEST.replace("$SLEEP", sleep)));
    project
}

/// Begins a build and waits for its container.
fn begin(project: &Project) -> (Child, String) {
    let mut command = project.command(&["build", "--progress", "plain"]);
    let child = command.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    let mut container = None;
    while container.is_none() && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(100));
        container = containers(project, &child).pop();
    }
    (child, container.expect("no container was started"))
}

/// The running containers of a process.
fn containers(project: &Project, child: &Child) -> Vec<String> {
    let format = "{{.ID}} {{.Label \"io.railyard.run\"}}";
    let filters = ["--filter", "label=io.railyard.run", "--filter", "status=running"];
    let listing = docker(&project.engine, &[&["ps", "--format", format], &filters[..]].concat());
    let process = format!("-{}-", child.id());
    let own = listing.lines().filter(|line| line.contains(&process));
    own.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

fn kill(child: &mut Child) {
    tool("kill", &["-KILL", &child.id().to_string()]);
    child.wait().unwrap();
}

/// Lets the step end at once, and builds.
fn again(project: &Project) -> Ended {
    let text = project.read("builds.toml").replace("sleep 600", "sleep 0");
    project.write("builds.toml", &text);
    project.run(&["build", "--progress", "plain"]).code(0)
}

#[test]
fn the_next_run_removes_what_a_killed_one_left() {
    for engine in engines() {
        let project = sleeping(&engine, "600");
        let (mut child, _) = begin(&project);
        kill(&mut child);
        std::fs::write(project.path("store/tmp/.tmpHalf"), "half").unwrap();
        // Its container may be removed by any run on this host, such as that of another test.
        again(&project).says(&["removed what killed runs left: ", "1 temporary file"]);
        assert_eq!(containers(&project, &child), [] as [&str; 0]);
        assert!(!project.path("store/tmp/.tmpHalf").exists());
        // There is nothing left to say.
        assert!(!again(&project).err.contains("killed runs"));
    }
}

#[test]
fn live_runs_of_this_store_and_of_others_are_left_alone() {
    for engine in engines() {
        let killed = sleeping(&engine, "600");
        let (mut dead, _) = begin(&killed);
        kill(&mut dead);
        let (other, mut own) = (sleeping(&engine, "600"), sleeping(&engine, "600"));
        own.store = killed.path("store").to_str().unwrap().to_owned();
        let (mut elsewhere, first) = begin(&other);
        let (mut here, second) = begin(&own);
        let writes = killed.path("store/tmp/.tmpOfALiveRun");
        std::fs::write(&writes, "half").unwrap();
        again(&killed);
        assert_eq!(containers(&killed, &dead), [] as [&str; 0]);
        assert_eq!(containers(&other, &elsewhere), [first]);
        assert_eq!(containers(&own, &here), [second]);
        assert!(writes.exists());
        for child in [&mut elsewhere, &mut here] {
            tool("kill", &["-TERM", &child.id().to_string()]);
            child.wait().unwrap();
        }
    }
}
