//! Tags with the time of the run in them: written when the image is another one, and only then.

use std::time::Duration;

use crate::project::registry::{digest, project, tool};
use crate::project::{NO_ENGINE, Project, Report};

const STABLE_AND_STAMPED: &str = r#"
[axes.edition]
values = ["x", "y"]
[layers.own]
files = [{ path = "/srv/own", content = "{{ edition }} $STATE" }]
[images.app]
axes = ["edition"]
base = "scratch"
tags = ["{{ edition }}", "{{ edition }}-{{ timestamp }}-linux"]
layers = ["own"]
"#;

/// A project that needs no engine, with `$STATE` as its content.
fn stamped(manifest: &str) -> Project {
    let mut project = project(manifest);
    project.engine = NO_ENGINE.into();
    project.write("builds.template", &project.read("builds.toml"));
    project
}

/// Rewrites the manifest for a state; a later run is another second.
fn state(project: &Project, state: &str) {
    let text = project.read("builds.template").replace("$STATE", state);
    project.write("builds.toml", &text);
}

fn later() {
    std::thread::sleep(Duration::from_millis(1100));
}

/// The tags of the image's repository that are no lists of referrers, in order.
fn tags(project: &Project) -> Vec<String> {
    let listed = tool("crane", &["ls", &project.fill("$REPO/app")]);
    let mut tags: Vec<String> =
        listed.lines().filter(|tag| !tag.starts_with("sha256-")).map(str::to_owned).collect();
    tags.sort();
    tags
}

/// The tag with a time that a run says a cell has.
fn stamp(report: &Report, cell: usize) -> String {
    let cell = &report.0["cells"][cell];
    let timestamp = cell["timestamp"].as_str().expect("the cell has a time");
    assert!(timestamp.len() == 14 && timestamp.bytes().all(|b| b.is_ascii_digit()), "{timestamp}");
    let references = cell["references"].as_array().unwrap();
    let found = references.iter().map(|r| r.as_str().unwrap()).find(|r| r.contains(timestamp));
    found.expect("a reference has the time").rsplit_once(':').unwrap().1.to_owned()
}

fn plan(project: &Project) -> String {
    project.run(&["plan", "--format", "json"]).code(0).out
}

fn statuses(project: &Project) -> Vec<String> {
    let plan: serde_json::Value = serde_json::from_str(&plan(project)).unwrap();
    let cells = plan["cells"].as_array().unwrap();
    cells.iter().map(|cell| cell["status"].as_str().unwrap_or("-").to_owned()).collect()
}

#[test]
fn a_tag_with_a_time_is_written_when_the_image_changed_and_only_then() {
    let mut project = stamped(STABLE_AND_STAMPED);
    state(&project, "1");
    let offline = project.run(&["plan", "--offline", "--format", "json"]).code(0).out;
    assert!(offline.contains(&project.fill("$REPO/app:x-YYYYMMDDHHMMSS-linux")), "{offline}");
    assert_eq!(statuses(&project), ["missing", "missing"]);

    let first = project.push(&[]);
    first.all("built");
    let (x, y) = (stamp(&first, 0), stamp(&first, 1));
    let mut all = vec!["x".to_owned(), x.clone(), "y".to_owned(), y.clone()];
    all.sort();
    assert_eq!(tags(&project), all);
    for (tag, want) in [("x", 0), (x.as_str(), 0), ("y", 1), (y.as_str(), 1)] {
        assert_eq!(digest(&project.fill(&format!("$REPO/app:{tag}"))).as_ref(), Some(&first.digests()[want]));
    }

    later();
    let before = tags(&project);
    let (one, two) = (plan(&project), plan(&project));
    assert_eq!(one, two, "the plan does not know the time");
    assert_eq!(statuses(&project), ["current", "current"]);
    let again = project.push(&[]);
    again.all("current");
    assert_eq!(
        (stamp(&again, 0), stamp(&again, 1)),
        (x.clone(), y.clone()),
        "the times are those of the tags"
    );
    assert_eq!(tags(&project), before);
    let status = project.run(&["status", "--exit-code"]).code(0).out;
    assert!(!status.contains("orphaned"), "{status}");

    // A machine without records makes the same image, and knows by the registry that it has its tag.
    project.store = "second".into();
    project.push(&["--locked"]).all("current");
    assert_eq!(tags(&project), before);

    // Another image gets another tag; the earlier one stays, and is nobody's orphan.
    later();
    state(&project, "2");
    assert_eq!(statuses(&project), ["stale", "stale"]);
    let second = project.push(&["--only", "edition=x"]);
    second.all("built");
    assert_ne!(stamp(&second, 0), x);
    let found = |tag: &str| digest(&project.fill(&format!("$REPO/app:{tag}")));
    assert_eq!(found(&stamp(&second, 0)).as_ref(), Some(&second.digests()[0]));
    assert_eq!(found(&x).as_ref(), Some(&first.digests()[0]));
    assert_eq!(tags(&project).len(), before.len() + 1);
    assert_eq!(statuses(&project), ["current", "stale"]);
    let status = project.run(&["status"]).code(0).out;
    assert!(!status.contains("orphaned"), "{status}");
    let explained = project.run(&["explain", &x]).code(0).out;
    assert!(explained.contains("app[edition=x]"), "{explained}");

    // The first state again is a change again.
    later();
    state(&project, "1");
    let third = project.push(&["--only", "edition=x"]);
    assert_eq!(third.digests(), first.digests()[..1]);
    assert!(stamp(&third, 0) > stamp(&second, 0));
}

#[test]
fn a_tag_with_a_time_may_be_the_only_one() {
    let project = stamped(
        r#"
[layers.own]
files = [{ path = "/srv/own", content = "$STATE" }]
[checks.state]
files = [{ path = "/srv/$STATE", absent = true }]
[images.app]
base = "scratch"
tags = ["1.0-{{ timestamp }}"]
layers = ["own"]
checks = ["state"]
"#,
    );
    state(&project, "good");
    let first = project.push(&[]);
    first.all("built");
    assert_eq!(tags(&project), [stamp(&first, 0)]);
    later();
    project.push(&[]).all("current");
    assert_eq!(tags(&project), [stamp(&first, 0)]);

    // A failed check writes none.
    state(&project, "own");
    let (_, refused) = project.build(&["--push"], 1);
    refused.all("failed");
    assert_eq!(refused.0["cells"][0]["references"][0], project.fill("$REPO/app:1.0-YYYYMMDDHHMMSS"));
    assert_eq!(tags(&project), [stamp(&first, 0)]);

    // What was deleted is written anew.
    state(&project, "good");
    tool("crane", &["delete", &project.fill(&format!("$REPO/app@{}", first.digests()[0]))]);
    assert_eq!(statuses(&project), ["missing"]);
    let anew = project.push(&[]);
    assert_eq!(anew.digests(), first.digests());
    assert!(stamp(&anew, 0) > stamp(&first, 0));
}

#[test]
fn a_stable_tag_that_somebody_moved_comes_back_without_a_new_time() {
    let project = stamped(STABLE_AND_STAMPED);
    state(&project, "1");
    let first = project.push(&["--only", "edition=x"]);
    let before = tags(&project);
    later();
    state(&project, "2");
    project.write(
        "builds.toml",
        &project.read("builds.toml").replace(", \"{{ edition }}-{{ timestamp }}-linux\"", ""),
    );
    project.push(&["--only", "edition=x"]).all("built");
    assert_eq!(tags(&project), before);
    state(&project, "1");
    let back = project.push(&["--only", "edition=x"]);
    back.all("built");
    assert_eq!((back.digests(), stamp(&back, 0)), (first.digests(), stamp(&first, 0)));
    assert_eq!(tags(&project), before);
}
