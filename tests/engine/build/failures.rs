//! What fails, what goes on beside it, and what is said.

use crate::project::NO_ENGINE;
use crate::project::registry::{digest, project};

const THREE: &str = r#"
[axes.kind]
values = ["bad", "good"]
[layers.made]
run = { image = "$BASE", script = """
for n in $(seq 1 30); do echo "line $n of {{ kind }}"; done
mkdir -p /opt/made
test {{ kind }} = good
""", keep = ["/opt/made"] }
[images.app]
axes = ["kind"]
base = "$BASE"
tags = ["{{ kind }}"]
layers = ["made"]
[images.derived]
axes = ["kind"]
base = { image = "app" }
tags = ["{{ kind }}"]
env = { DERIVED = "1" }
"#;

#[test]
fn a_failing_script_takes_only_its_dependents_down() {
    let project = project(THREE);
    let (ended, report) = project.build(&["--push"], 1);
    let outcomes = report.outcomes();
    let found: Vec<(&str, &str)> = outcomes.iter().map(|(c, o)| (c.as_str(), o.as_str())).collect();
    assert_eq!(
        found,
        [
            ("app[kind=bad]", "failed"),
            ("app[kind=good]", "built"),
            ("derived[kind=bad]", "failed"),
            ("derived[kind=good]", "built")
        ]
    );
    for (name, tagged) in
        [("app:good", true), ("derived:good", true), ("app:bad", false), ("derived:bad", false)]
    {
        assert_eq!(digest(&project.fill(&format!("$REPO/{name}"))).is_some(), tagged, "{name}");
    }
    let ended = ended.prints(&["FAILED   app[kind=bad]", "cells   2 built, 0 current, 2 failed, 0 skipped"]);
    let failure = ended.err.split("\nerror: ").nth(1).expect("a failure is shown at the end").to_owned();
    assert!(failure.contains("ended with exit code 1"), "{failure}");
    assert!(failure.contains("  | line 30 of bad") && failure.contains("  | line 11 of bad"), "{failure}");
    assert!(!failure.contains("| line 10 of bad"), "{failure}");
    let log = failure.lines().find_map(|l| l.trim().strip_prefix("log: ")).expect("the log is named");
    let log = std::fs::read_to_string(project.path(log)).unwrap();
    assert!(log.starts_with("line 1 of bad\n") && log.ends_with("line 30 of bad\n"), "{log}");
}

#[test]
fn fail_fast_starts_nothing_more() {
    let project = project(
        r#"
[axes.n]
values = ["0", "1", "2", "3", "4", "5"]
[layers.made]
run = { image = "$BASE", script = "mkdir /opt/x; test {{ n }} != 0; sleep 1", keep = ["/opt/x"] }
[images.app]
axes = ["n"]
base = "$BASE"
tags = ["{{ n }}"]
layers = ["made"]
"#,
    );
    let (_, report) = project.build(&["--push", "--fail-fast", "--jobs", "1"], 1);
    let outcomes: Vec<String> = report.outcomes().into_iter().map(|(_, outcome)| outcome).collect();
    assert_eq!(outcomes, ["failed", "skipped", "skipped", "skipped", "skipped", "skipped"]);
    assert_eq!(report.steps("artifact"), 1);
}

const CHECKED: &str = r#"
[layers.own]
files = [{ path = "/etc/state", content = "$STATE" }]
[checks.state]
script = "cat /etc/state; test $(cat /etc/state) != bad"
expect = "state is"
[images.app]
base = "$BASE"
tags = ["1"]
layers = ["own"]
checks = ["state"]
"#;

#[test]
fn a_failing_check_leaves_the_tag_where_it_was() {
    let mut project = project("");
    let manifest = format!("schema = 1\n[project]\nname = \"t\"\nrepository = \"$REPO\"\n{CHECKED}");
    let write = |project: &crate::project::Project, state: &str| {
        project.write("builds.toml", &manifest.replace("$STATE", state).replace("state is", state));
    };
    write(&project, "good");
    let first = project.push(&[]);
    assert_eq!(first.steps("check"), 1);
    let tag = project.fill("$REPO/app:1");
    assert_eq!(digest(&tag).as_ref(), Some(&first.digests()[0]));

    write(&project, "bad");
    let (ended, report) = project.build(&["--push"], 1);
    ended.says(&["check `state` ended with exit code 1, wanted is 0", "  | bad", "tags were not moved"]);
    report.all("failed");
    assert_eq!(digest(&tag).as_ref(), Some(&first.digests()[0]));

    project.write("builds.toml", &manifest.replace("$STATE", "odd"));
    let (ended, report) = project.build(&["--push"], 1);
    ended.says(&["check `state` did not print `state is`"]);
    report.all("failed");
    assert_eq!(digest(&tag).as_ref(), Some(&first.digests()[0]));

    let unchecked = project.push(&["--no-checks"]);
    assert_eq!(digest(&tag).as_ref(), Some(&unchecked.digests()[0]));
    project.engine = NO_ENGINE.into();
    write(&project, "good");
    project.push(&[]).all("built");
}

#[test]
fn an_engine_that_is_needed_and_gone_is_the_environments_fault() {
    let mut project = project(THREE);
    project.engine = NO_ENGINE.into();
    let (ended, report) = project.build(&["--push"], 3);
    ended.says(&["/nonexistent/docker.sock", "help: start a Docker engine, or point DOCKER_HOST at one"]);
    report.all("failed");
}

#[test]
fn a_registry_that_is_gone_is_the_environments_fault() {
    let mut project = project("[images.app]\nbase = \"127.0.0.1:9/none:1\"\ntags = [\"1\"]\n");
    project.engine = NO_ENGINE.into();
    project.run(&["build"]).code(3).says(&["127.0.0.1:9", "help: check that the registry is up"]);
}

#[test]
fn the_junit_report_has_a_case_a_cell() {
    let project = project(THREE);
    project.build(&["--push", "--report", "junit:junit.xml"], 1);
    let text = project.read("junit.xml");
    let elements = elements(&text);
    let count = |name: &str| elements.iter().filter(|e| e.as_str() == name).count();
    assert_eq!((count("testcase"), count("failure"), count("testsuite")), (4, 2, 1));
    assert!(text.contains("tests=\"4\" failures=\"2\" skipped=\"0\""), "{text}");
    assert!(text.contains("name=\"app[kind=bad]\""), "{text}");
}

/// Names of the elements of a document, which must be well formed.
fn elements(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Vec<String> = Vec::new();
    let mut rest = text.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>").expect("a declaration");
    while let Some(start) = rest.find('<') {
        assert!(!rest[..start].contains('>'), "a bare `>` in {:?}", &rest[..start]);
        let end = start + rest[start..].find('>').expect("tags are closed");
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name));
            continue;
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        let name = tag.trim_end_matches('/').split(' ').next().unwrap().to_owned();
        found.push(name.clone());
        if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} {rest:?}");
    found
}

const PULLED: &str = r#"
[layers.made]
run = { image = "$BASE", script = "echo made >/opt/made", keep = ["/opt/made"] }
[images.app]
base = "scratch"
tags = ["1"]
layers = ["made"]
"#;

#[test]
fn a_broken_credential_of_a_pull_is_told_and_not_left_out() {
    let mut project = project(PULLED);
    let base = project.fill("$BASE");
    let (host, _) = base.split_once('/').unwrap();
    std::fs::create_dir(project.path("docker")).unwrap();
    let helpers = format!("{{\"credHelpers\": {{\"{host}\": \"absent-of-the-test\"}}}}");
    std::fs::write(project.path("docker/config.json"), helpers).unwrap();
    let directory = project.path("docker").display().to_string();
    project.set("DOCKER_CONFIG", &directory);
    let (ended, report) = project.build(&[], 3);
    report.all("failed");
    ended.says(&["failed to find credentials for `", "docker/config.json` names", "cannot be run"]);
}
