//! How a build ends: nobody reads, somebody interrupts.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::project::Project;
use crate::server::Server;

const HEAD: &str = "schema = 1\n[project]\nname = \"acme\"\nrepository = \"localhost:1/acme\"\n";
const LAYER: &str = "[layers.made]\nfiles = [{ path = \"/made\", content = \"x\" }]\n";

fn made(more: &str) -> Project {
    let image = "[images.app]\nbase = \"scratch\"\ntags = [\"1\"]\nlayers = [\"made\"]\n";
    Project::new(&format!("{HEAD}{LAYER}{image}{more}"))
}

/// A project whose one cell fails without any engine.
fn failing() -> Project {
    made("checks = [\"there\"]\n[checks.there]\nfiles = [{ path = \"/none\" }]\n")
}

const BUILD: &[&str] = &[
    "build",
    "--progress",
    "quiet",
    "--report",
    "junit:junit.xml",
    "--report",
    "json:report.json",
    "--artifact-file",
    "artifact.json",
];

/// Runs a build whose standard output goes where nobody reads it.
fn unread(project: &Project, out: impl Into<Stdio>) -> (Option<i32>, String) {
    let mut command = project.command(BUILD);
    command.env("GITHUB_OUTPUT", project.path("outputs")).stdout(out).stderr(Stdio::piped());
    let output = command.spawn().unwrap().wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

fn full() -> Stdio {
    std::fs::File::options().write(true).open("/dev/full").unwrap().into()
}

#[test]
fn a_build_that_fails_says_so_though_nobody_reads() {
    for out in [closed(), full()] {
        let project = failing();
        let (code, said) = unread(&project, out);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("/none"), "{said}");
        assert!(project.read("junit.xml").contains("<failure"));
        assert!(project.read("report.json").contains("\"failed\""));
        assert!(project.path("artifact.json").exists() && project.path("outputs").exists());
    }
}

#[test]
fn a_good_build_leaves_everything_though_nobody_reads() {
    for (out, wanted) in [(closed(), 0), (full(), 3)] {
        let project = made("");
        let (code, said) = unread(&project, out);
        assert_eq!(code, Some(wanted), "{said}");
        assert_eq!(said.contains("failed to write to standard output"), wanted == 3, "{said}");
        assert!(project.read("report.json").contains("\"built\""));
        for file in ["junit.xml", "artifact.json", "outputs"] {
            assert!(project.path(file).exists(), "{file}");
        }
    }
}

#[test]
fn every_report_is_written_that_can_be() {
    let project = made("");
    let words = ["build", "--report", "json:no/where.json", "--report", "junit:junit.xml"];
    project.run(&words).code(3).says(&["failed to write `no/where.json`"]);
    assert!(project.path("junit.xml").exists());
}

fn signal(child: &Child, name: &str) {
    let sent = std::process::Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Waits for the end of a build, kills it after `patience`.
fn end(mut child: Child, patience: Duration) -> Option<i32> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if begun.elapsed() > patience {
            child.kill().unwrap();
            child.wait().unwrap();
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_build_that_waits_for_the_cache_repository_is_interrupted_at_once() {
    for name in ["-INT", "-TERM"] {
        // Long enough that the test would see a command that waits for it.
        let server = Server::start(|_| {
            std::thread::sleep(Duration::from_secs(600));
            None
        });
        let project = made(&format!("[cache]\nrepository = \"{}/cache\"\n", server.address));
        let mut command = project.command(&["build", "--progress", "quiet"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        server.asked();
        signal(&child, name);
        assert_eq!(end(child, Duration::from_secs(20)), Some(130), "{name}");
    }
}

#[test]
fn the_second_interrupt_ends_a_command_that_cannot_hear_the_first() {
    // A pipe that nobody empties keeps the command writing.
    let name = "x".repeat(100);
    let image = |n| format!("[images.{name}{n}]\nbase = \"scratch\"\ntags = [\"1\"]\n");
    let many: String = (0..1000).map(image).collect();
    let project = Project::new(&format!("{HEAD}{many}"));
    let mut command = project.command(&["build", "--progress", "quiet", "--report", "json:report.json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while !project.path("report.json").exists() {
        assert!(begun.elapsed() < Duration::from_secs(100), "no report");
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_millis(500));
    signal(&child, "-INT");
    std::thread::sleep(Duration::from_millis(500));
    signal(&child, "-INT");
    assert_eq!(end(child, Duration::from_secs(20)), Some(130));
}

/// A registry that never answers about images named `stuck`, and has nothing else.
fn stuck() -> Server {
    Server::start(|path| {
        if path.contains("stuck") {
            std::thread::sleep(Duration::from_secs(600));
        }
        None
    })
}

/// Interrupts a command once it has asked for both of its images and given the one up; how it ended.
fn interrupted_at(server: &Server, mut command: std::process::Command) -> (Option<i32>, String) {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut seen: [bool; 2] = [false, false];
    while seen != [true, true] {
        let path = server.asked();
        seen[0] |= path.contains("stuck");
        seen[1] |= path.starts_with("/v2/up/gone/");
    }
    // So long that the failure has been heard.
    std::thread::sleep(Duration::from_millis(500));
    signal(&child, "-INT");
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn an_interrupt_of_mirroring_is_recorded_and_what_was_finished_is_told() {
    let server = stuck();
    let digest = format!("sha256:{}", "1".repeat(64));
    let images = ["gone", "stuck"].map(|name| format!("{}/up/{name}@{digest}", server.address));
    let mirror = format!(
        "[mirrors.ci]\nto = \"{}/acme\"\nimages = [\"{}\", \"{}\"]\n",
        server.address, images[0], images[1]
    );
    let project = made(&format!("push = false\n{mirror}"));
    let outcomes = |images: &serde_json::Value| {
        let images = images.as_array().unwrap();
        images.iter().map(|image| image["outcome"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };

    let words = ["build", "--push", "--progress", "quiet", "--report", "json:report.json"];
    let (code, printed) = interrupted_at(&server, project.command(&words));
    assert_eq!(code, Some(130), "{printed}");
    assert!(printed.contains("FAILED") && printed.contains("skipped  "), "{printed}");
    let report: serde_json::Value = serde_json::from_str(&project.read("report.json")).unwrap();
    assert_eq!(outcomes(&report["mirrors"]), ["failed", "skipped"]);
    assert_eq!(report["interrupted"], true);
    let history = project.run(&["history", "--format", "json"]).code(0).out;
    let history: serde_json::Value = serde_json::from_str(&history).unwrap();
    assert!(history.to_string().contains("\"outcome\":\"interrupted\""), "{history:#}");

    let words = ["mirror", "--progress", "quiet", "--format", "json"];
    let (code, printed) = interrupted_at(&server, project.command(&words));
    assert_eq!(code, Some(130), "{printed}");
    let document: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(outcomes(&document["images"]), ["failed", "skipped"]);
}
