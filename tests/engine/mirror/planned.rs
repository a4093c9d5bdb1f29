//! Mirrors of the manifest: pinned by the lock, shown by `plan`, copied by `build --push`.

use crate::project::registry::{digest, project, setting, tool};
use crate::project::{NO_ENGINE, Project};

/// A project with one cell and two mirrored images, whose sources can be moved.
fn mirrored(extra: &str) -> Project {
    let mut project = project(&format!(
        r#"
[layers.l]
files = [{{ path = "/a", content = "a" }}]
[images.app]
base = "scratch"
tags = ["1"]
layers = ["l"]
[mirrors.ci-images]
from = "$SOURCE"
to = "$REPO"
images = ["plugins/gcs:1", "harness/drone-git:1.1.0-rootless"]
{extra}
"#
    ));
    project.engine = NO_ENGINE.into();
    let source = format!("{}/s-{}", setting("RAILYARD_DEV_REGISTRY"), project.unique());
    project.name("SOURCE", &source);
    project.write("builds.toml", &project.read("builds.toml"));
    for (from, to) in [
        ("plugins/gcs:1.2.6", "plugins/gcs:1"),
        ("harness/drone-git:1.1.0-rootless", "harness/drone-git:1.1.0-rootless"),
    ] {
        set(&project, from, to);
    }
    project
}

/// Puts a stand-in under a tag of the source.
#[track_caller]
fn set(project: &Project, from: &str, to: &str) {
    let registry = setting("RAILYARD_DEV_REGISTRY");
    tool("crane", &["copy", &format!("{registry}/upstream/{from}"), &project.fill(&format!("$SOURCE/{to}"))]);
}

#[test]
fn one_run_builds_and_mirrors() {
    let project = mirrored("");
    let plan = project.run(&["plan"]).code(0);
    let plan = plan.prints(&[
        "MIRRORED IMAGES",
        "copy     plugins/gcs:1  ",
        "copy     harness/drone-git:1.1.0-rootless",
    ]);
    assert!(plan.err.contains("looked up, not locked yet:"), "{}", plan.err);
    assert!(!project.path("builds.lock").exists());
    project.run(&["plan", "--offline"]).code(0).prints(&["unknown  plugins/gcs:1"]);
    project.run(&["build", "--push", "--locked"]).code(2).says(&["lacks mirrored image", "railyard mirror"]);

    let report = project.push(&[]);
    report.all("built");
    let mirrors = report.0["mirrors"].as_array().unwrap();
    assert_eq!(mirrors.iter().map(|m| m["outcome"].as_str().unwrap()).collect::<Vec<_>>(), ["copied"; 2]);
    for image in ["plugins/gcs:1", "harness/drone-git:1.1.0-rootless"] {
        let target = project.fill(&format!("$REPO/{image}"));
        assert_eq!(digest(&target), digest(&project.fill(&format!("$SOURCE/{image}"))), "{image}");
        super::second::pull_all(&target);
    }
    assert_eq!(project.read("builds.lock").matches("[[mirror]]").count(), 2);
    project.run(&["plan"]).code(0).prints(&["current  plugins/gcs:1"]);
    let (ended, again) = project.build(&["--push", "--locked"], 0);
    assert_eq!(again.0["mirrors"][0]["outcome"], "current");
    ended.prints(&["mirror  2 current; 0 B sent"]);
    // Chosen cells are built alone.
    let chosen = project.push(&["--only", "image=app"]);
    assert!(chosen.0.get("mirrors").is_none());
    project.run(&["build", "--push", "--report", "junit:junit.xml"]).code(0);
    assert!(
        project
            .read("junit.xml")
            .contains("<testcase classname=\"mirror ci-images\" name=\"plugins/gcs:1\"/>")
    );
}

#[test]
fn a_tag_that_moved_is_named_and_update_takes_it() {
    let project = mirrored("");
    project.run(&["mirror"]).code(0).says(&["locked "]).prints(&["copied   plugins/gcs:1", "2 copied"]);
    let target = project.fill("$REPO/plugins/gcs:1");
    let pinned = digest(&target).unwrap();
    set(&project, "plugins/gcs:1.3.0", "plugins/gcs:1");
    let moved = project.run(&["mirror", "--locked"]).code(0);
    moved.prints(&["current  plugins/gcs:1", "the source's tag has moved: locked", "railyard update"]);
    assert_eq!(digest(&target), Some(pinned.clone()));
    // What the lock says is copied anew where it has gone.
    tool("crane", &["copy", &project.fill("$SOURCE/harness/drone-git:1.1.0-rootless"), &target]);
    project.run(&["mirror"]).code(0).prints(&["copied   plugins/gcs:1", "the target had"]);
    assert_eq!(digest(&target), Some(pinned.clone()));
    project.run(&["plan"]).code(0).prints(&["the source's tag has moved to sha256:"]);

    // A plan that was kept holds mirrored images too.
    project.run(&["plan", "--out", "plan.json"]).code(0);
    project.run(&["build", "--push", "--plan", "plan.json"]).code(0).prints(&["mirror  2 current"]);
    let update = project.run(&["update", "plugins/gcs"]).code(0);
    update.prints(&["moved    mirrored image", "/plugins/gcs:1\n", &pinned]);
    let drift = project.run(&["build", "--push", "--plan", "plan.json"]).code(2);
    drift.says(&["mirrored image", &pinned, " -> sha256:"]);
    project.run(&["mirror", "--mirror", "ci-images"]).code(0).prints(&["copied   plugins/gcs:1"]);
    assert_eq!(digest(&target), digest(&project.fill("$SOURCE/plugins/gcs:1")));
    assert_ne!(digest(&target), Some(pinned));
    project.run(&["mirror", "--mirror", "none"]).code(2).says(&["there is no mirror `none`", "ci-images"]);
}

#[test]
fn an_image_that_is_not_there_fails_the_run_and_no_cell() {
    let project = mirrored("");
    let text =
        project.read("builds.toml").replace("\"plugins/gcs:1\"", "\"plugins/gcs:1\", \"plugins/none:1\"");
    project.write("builds.toml", &text);
    let (ended, report) = project.build(&["--push"], 1);
    ended.says(&["error: mirror plugins/none:1", "there is no image"]);
    report.all("built");
    assert_eq!(report.0["mirrors"][1]["outcome"], "failed");
    assert_eq!(report.0["mirrors"][2]["outcome"], "copied");
    project.run(&["plan"]).code(0).prints(&["unknown  plugins/none:1"]);
    project.run(&["update"]).code(3).says(&["there is no image", "take the image out of it"]);
}

#[test]
fn lists_in_files_and_mistakes_of_rendered_texts_have_places() {
    let project = mirrored("file = \"more.txt\"");
    project.run(&["check"]).code(2).says(&["builds.toml:", "failed to read `more.txt`"]);
    project.write("more.txt", "# more\nplugins/s3:1.0.5\nBad Name\nquay.io/plugins/gcs:1\n");
    project.run(&["check"]).code(2).says(&["more.txt:3: `Bad Name` is not", "both go to"]);
    project.write("more.txt", "plugins/gcs:1\n");
    project.run(&["check"]).code(0);
    let text = project.read("builds.toml");
    for (from, to, says) in [
        ("\"plugins/gcs:1\"", "\"{{ vars.none }}\"", "vars"),
        ("\"plugins/gcs:1\"", "\"plugins/{{ 'GCS' }}\"", "malformed-reference"),
        ("\"plugins/gcs:1\"", "\"plugins/gcs:{{ v }}\"", "axis-in-mirror"),
    ] {
        let with_axis = format!("{}\n[axes.v]\nvalues = [\"1\"]\n", text.replace(from, to));
        project.write("builds.toml", &with_axis);
        project.run(&["check"]).code(2).says(&[says, "help:"]);
    }
}
