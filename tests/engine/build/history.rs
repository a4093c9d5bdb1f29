//! What `history` tells of real builds: good, changed, failed, killed, two at once; estimates.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::project::Project;
use crate::project::registry::{attempt, project, tool};

const MANIFEST: &str = r#"
[limits]
containers = 1
[axes.n]
values = ["1", "2"]
[layers.made]
run = { image = "$BASE", script = "mkdir /opt/made; echo {{ n }} $WORD >/opt/made/n; $EXTRA", keep = ["/opt/made"], memory = "64MiB" }
[images.app]
axes = ["n"]
base = "$BASE"
tags = ["{{ n }}"]
layers = ["made"]
"#;

fn manifest(project: &Project, word: &str, extra: &str) {
    let head = "schema = 1\n[project]\nname = \"t\"\nrepository = \"$REPO\"\n";
    let text = MANIFEST.replace("$WORD", word).replace("$EXTRA", extra);
    project.write("builds.toml", &format!("{head}{text}"));
}

fn history(project: &Project, arguments: &[&str]) -> Value {
    let all = [&["history", "--format", "json"], arguments].concat();
    serde_json::from_str(&project.run(&all).code(0).out).unwrap()
}

fn texts(list: &Value, field: &str) -> Vec<String> {
    let text = |v: &Value| v[field].as_str().unwrap_or("null").to_owned();
    list.as_array().unwrap().iter().map(text).collect()
}

#[test]
fn builds_changes_and_failures_are_told() {
    let project = project("");
    manifest(&project, "one", "true");
    let first = project.push(&[]);
    project.push(&["--only", "n=1"]).all("current");
    manifest(&project, "two", "test {{ n }} = 1 || { echo no; exit 7; }");
    let (_, second) = project.build(&["--push"], 1);

    let runs = history(&project, &[]);
    assert_eq!(texts(&runs, "outcome"), ["failed", "succeeded", "succeeded"]);
    let count = |run: usize, field: &str| runs[run][field].as_u64().unwrap();
    assert_eq!((count(0, "built"), count(0, "failed")), (1, 1));
    assert_eq!((count(1, "current"), count(1, "cells"), count(1, "sent")), (1, 1, 0));
    assert_eq!((count(2, "built"), count(2, "sent")), (2, first.number("/bytes_sent")));
    assert_eq!(runs[1]["arguments"], serde_json::json!(["--push", "--only=n=1"]));
    assert_eq!(
        count(2, "steps"),
        first.0["steps_run"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum::<u64>()
    );

    // The changes of a cell, by its name, by a pattern with brackets, by its image.
    let digests = (first.digests()[0].clone(), second.0["cells"][0]["digest"].as_str().unwrap().to_owned());
    let changes = history(&project, &["app[n=1]"]);
    assert_eq!(texts(&changes, "outcome"), ["built", "built"]);
    assert_eq!(texts(&changes, "digest"), [digests.1.clone(), digests.0.clone()]);
    assert_eq!(texts(&changes, "previous"), [digests.0.clone(), "null".to_owned()]);
    assert_eq!(texts(&history(&project, &["app[n=1]", "--all"]), "outcome"), ["built", "current", "built"]);
    let failed = history(&project, &["app[n=2*"]);
    assert_eq!(texts(&failed, "outcome"), ["failed", "built"]);
    assert!(failed[0]["failure"].as_str().unwrap().contains("exit code 7"), "{failed}");
    assert_eq!(history(&project, &["app", "-n", "3"]).as_array().unwrap().len(), 3);
    let table = project.run(&["history", "app[n=1]"]).code(0).out;
    assert!(table.contains(&format!("{} -> {}", &digests.0[7..19], &digests.1[7..19])), "{table}");

    // The steps of a run in order of time, with times, bytes and failures.
    let id = runs[0]["id"].as_str().unwrap();
    let run = history(&project, &[id]);
    let steps = run["steps_begun"].as_array().unwrap();
    let number = |step: &Value, field: &str| step[field].as_f64().unwrap();
    assert!(steps.windows(2).all(|pair| number(&pair[0], "started") <= number(&pair[1], "started")));
    assert!(
        steps.iter().all(
            |s| number(s, "queued") <= number(s, "started") && number(s, "started") <= number(s, "ended")
        )
    );
    let broken: Vec<&Value> = steps.iter().filter(|s| s["outcome"] == "failed").collect();
    assert_eq!(broken.len(), 1);
    assert_eq!((&broken[0]["kind"], &broken[0]["name"]), (&"artifact".into(), &"made".into()));
    let push = steps.iter().find(|s| s["kind"] == "push").unwrap();
    assert!(push["sent"].as_u64().unwrap() > 0, "{push}");
    let made = steps.iter().find(|s| s["kind"] == "artifact" && s["outcome"] == "succeeded").unwrap();
    assert!(made["digest"].as_str().unwrap().starts_with("sha256:"), "{made}");
    let table = project.run(&["history", id]).code(0).prints(&["artifact made: ", "exit code 7"]).out;
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
}

#[test]
fn names_that_mean_nothing_are_an_error() {
    let project = project("");
    project.run(&["history"]).code(2).says(&["nothing has been built", "help:"]);
    manifest(&project, "one", "true");
    project.push(&["--only", "n=1"]);
    project
        .run(&["history", "app[n=3]"])
        .code(2)
        .says(&["neither a run nor a cell `app[n=3]`", "did you mean `app[n=1]`?"]);
    project.run(&["history", "[*"]).code(2).says(&["neither a run nor a cell `[*`"]);
}

#[test]
fn times_are_told_in_the_zone_of_the_user() {
    let mut project = project("");
    manifest(&project, "one", "true");
    project.push(&["--only", "n=1"]);
    project.set("TZ", "Asia/Kolkata");
    project.run(&["history"]).code(0).prints(&["+05:30"]);
}

#[test]
fn a_killed_run_leaves_what_it_had() {
    let project = project("");
    manifest(&project, "one", "test {{ n }} = 1 || sleep 300");
    let mut child = project
        .command(&["build", "--push", "--progress", "quiet"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let pushed = || {
        let runs = project.run(&["history", "--format", "json"]);
        runs.code == Some(0) && serde_json::from_str::<Value>(&runs.out).unwrap()[0]["built"] == 1
    };
    while !pushed() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the first cell was not built");
        std::thread::sleep(Duration::from_millis(100));
    }
    project.run(&["history"]).code(0).prints(&["  running"]);
    child.kill().unwrap();
    child.wait().unwrap();

    project.run(&["history"]).code(0).prints(&["interrupted or killed"]);
    let runs = history(&project, &[]);
    assert!(runs[0]["ended"].is_null() && runs[0]["outcome"].is_null(), "{runs}");
    let id = runs[0]["id"].as_str().unwrap();
    let steps = history(&project, &[id])["steps_begun"].as_array().unwrap().clone();
    let open: Vec<&Value> = steps.iter().filter(|s| s["outcome"].is_null()).collect();
    assert_eq!(open.len(), 1, "{steps:#?}");
    assert!(open[0]["label"].as_str().unwrap().contains("sleep 300") && open[0]["ended"].is_null());
    assert_eq!(texts(&history(&project, &["app"]), "cell"), ["app[n=1]"]);
    for container in crate::project::engine::labelled(&project.engine, &format!("io.railyard.run={id}")) {
        // The run of another test may be removing it.
        attempt("docker", &["-H", &project.engine, "rm", "--force", &container]);
    }
}

#[test]
fn two_processes_share_a_store() {
    let project = project("");
    manifest(&project, "one", "true");
    let start = |only: &str| {
        let mut command = project.command(&["build", "--push", "--progress", "plain", "--only", only]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for _ in 0..3 {
        let both = [start("n=1"), start("n=2")];
        for child in both {
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}");
            assert!(!said.contains("the history of this run"), "{said}");
        }
    }
    let runs = history(&project, &[]);
    assert_eq!(texts(&runs, "outcome"), ["succeeded"; 6]);
    assert_eq!(history(&project, &["app"]).as_array().unwrap().len(), 2);
    assert_eq!(history(&project, &["app", "--all"]).as_array().unwrap().len(), 6);
}

#[test]
fn secrets_are_not_in_the_history() {
    let mut project = project(
        r#"
[layers.made]
run = { image = "$BASE", script = "true", keep = ["/opt/$NAME"], secrets = { token = "TOKEN" } }
[images.app]
base = "$BASE"
tags = ["1"]
layers = ["made"]
"#,
    );
    // A failure that names the path to keep, which is the secret.
    project.set("TOKEN", "hush-hush-4711");
    project.name("NAME", "hush-hush-4711");
    let text = project.read("builds.toml");
    project.write("builds.toml", &text);
    project.build(&["--push"], 1);
    let run = history(&project, &[]);
    let id = run[0]["id"].as_str().unwrap();
    let failure = history(&project, &[id])["steps_begun"]
        .as_array()
        .unwrap()
        .iter()
        .find_map(|s| s["failure"].as_str().map(str::to_owned))
        .unwrap();
    assert!(failure.contains("/opt/***") && !failure.contains("hush"), "{failure}");
    assert!(!history(&project, &["app"])[0]["failure"].as_str().unwrap().contains("hush"));
}

#[test]
fn what_steps_took_is_the_estimate_of_the_next_run() {
    let project = project("");
    manifest(&project, "one", "sleep 1");
    let plan = || -> Value {
        let text = project.run(&["plan", "--format", "json"]).code(0).out;
        serde_json::from_str::<Value>(&text).unwrap()["estimate"].clone()
    };
    project.run(&["plan"]).code(0).prints(&["estimate: no history"]);
    let (ended, _) = project.build(&["--push"], 0);
    assert!(!ended.out.contains("estimated"), "{}", ended.out);

    manifest(&project, "two", "sleep 1");
    let estimate = plan();
    let seconds = estimate["seconds"].as_f64().unwrap();
    assert!((2.0..30.0).contains(&seconds), "two containers of a second, one at a time: {estimate:#}");
    assert_eq!((&estimate["containers"], &estimate["containers_at_once"]), (&2.into(), &1.into()));
    assert_eq!(estimate["memory_at_once"], 64 << 20);
    assert!(estimate["bytes_sent"].as_u64().unwrap() > 0);
    assert_eq!(estimate["without_history"], serde_json::json!({}));
    assert_eq!(estimate, plan(), "equal history, equal bytes");
    project
        .run(&["plan"])
        .code(0)
        .prints(&["estimate: ", "2 containers at most 1 at a time, 64 MiB peak, sends about "]);
    project.run(&["plan", "--offline"]).code(0).prints(&["estimate: ", "critical path"]);
    let (ended, _) = project.build(&["--push"], 0);
    assert!(ended.out.lines().any(|l| l.starts_with("took ") && l.contains(", estimated ")), "{}", ended.out);
    tool("crane", &["digest", &project.fill("$REPO/app:1")]);
}
