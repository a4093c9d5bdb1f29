//! `update`: what moves, what that touches, and what is done afterwards.

use crate::project::registry::{bump, digest, file, project, tool};
use crate::project::{NO_ENGINE, Project};

/// Two discovered versions and two runtimes; a base, a builder, a copy, and an image over another.
fn family() -> Project {
    let mut project = project(
        r#"
[axes.v]
versions = ">=1"
source = { file = "versions.txt" }
[axes.runtime]
values = ["a", "b"]
[layers.copied]
copy = [{ from = "$REPO/source:1", paths = ["/etc/passwd"], to = "/srv/passwd" }]
[layers.version]
files = [{ path = "/srv/version", content = "{{ v }}" }]
[layers.taken]
copy = [{ image = "lower", paths = ["/srv/passwd"] }]
[images.lower]
axes = ["runtime"]
base = "scratch"
tags = ["{{ runtime }}"]
layers = ["copied"]
[images.upper]
axes = ["runtime", "v"]
base = "$REPO/base:1"
tags = ["{{ runtime }}-{{ v }}"]
layers = ["taken", "version"]
[images.alone]
base = "scratch"
tags = ["1"]
"#,
    );
    project.engine = NO_ENGINE.into();
    for name in ["base", "source"] {
        tool("crane", &["copy", &project.fill("$BASE"), &project.fill(&format!("$REPO/{name}:1"))]);
    }
    project.write("versions.txt", "1.0.0\n1.1.0\n");
    project
}

#[test]
fn a_new_version_waits_for_update_which_names_its_cells() {
    let project = family();
    project.push(&[]).all("built");
    let lock = project.read("builds.lock");
    project.write("versions.txt", "1.1.0\n1.2.0\n");
    project.push(&[]).all("current");
    assert_eq!(project.read("builds.lock"), lock, "build moves nothing");

    let moves = "moved    axis `v` (file versions.txt: >=1)\n         \
        added    1.2.0: touches 2 cells: upper[runtime=a,v=1.2.0], upper[runtime=b,v=1.2.0]\n         \
        removed  1.0.0: was in 2 cells: upper[runtime=a,v=1.0.0], upper[runtime=b,v=1.0.0]\n";
    assert_eq!(project.run(&["update", "--dry-run"]).code(0).out, moves);
    assert_eq!(project.read("builds.lock"), lock, "--dry-run writes nothing");
    assert_eq!(project.run(&["update", "source:1"]).code(0).out, "nothing has moved\n");
    assert_eq!(project.run(&["update", "v"]).code(0).out, moves);
    assert_eq!(project.run(&["update"]).code(0).out, "nothing has moved\n");

    let report = project.push(&["--locked"]);
    let built: Vec<String> = report
        .outcomes()
        .into_iter()
        .filter(|(_, outcome)| outcome == "built")
        .map(|(cell, _)| cell)
        .collect();
    assert_eq!(built, ["upper[runtime=a,v=1.2.0]", "upper[runtime=b,v=1.2.0]"]);
    assert_eq!(file(&project.fill("$REPO/upper:b-1.2.0"), "srv/version"), "1.2.0");
}

#[test]
fn a_moved_image_touches_those_that_use_it_through_others() {
    let project = family();
    project.push(&[]);
    let (base, source) = (project.fill("$REPO/base:1"), project.fill("$REPO/source:1"));
    bump(&source, "1");
    let ended = project.run(&["update"]).code(0);
    ended.prints(&[
        &format!("moved    {source}\n"),
        "touches 6 cells: lower[runtime=a], lower[runtime=b], upper[runtime=a,v=1.0.0] and 3 more\n",
    ]);
    bump(&base, "1");
    let ended = project.run(&["update", "base"]).code(0);
    assert!(ended.out.starts_with(&format!("moved    {base}\n")), "{}", ended.out);
    ended.prints(&[
        "touches 4 cells: upper[runtime=a,v=1.0.0], upper[runtime=a,v=1.1.0], upper[runtime=b,v=1.0.0] and 1 more\n",
    ]);
}

#[test]
fn a_name_that_selects_nothing_is_a_mistake() {
    let project = family();
    project.push(&[]);
    let lock = project.read("builds.lock");
    let ended = project.run(&["update", "bsae"]).code(2);
    ended.says(&["`bsae` is part of no reference or URL", "or one of: v"]);
    assert_eq!(project.read("builds.lock"), lock);
}

#[test]
fn a_command_follows_only_a_change() {
    let project = family();
    let then = "cat >moves.txt; echo \"$RAILYARD_LOCK\" >>moves.txt; cp \"$RAILYARD_LOCK\" kept.lock";
    project.run(&["update", "--then", then]).code(0);
    assert!(project.read("moves.txt").contains("added    1.0.0, 1.1.0: touches 4 cells"));
    assert!(project.read("moves.txt").ends_with("builds.lock\n"));
    assert_eq!(project.read("kept.lock"), project.read("builds.lock"));
    std::fs::remove_file(project.path("moves.txt")).unwrap();
    project.run(&["update", "--then", then]).code(0);
    assert!(!project.path("moves.txt").exists(), "nothing has moved");
    project.run(&["update", "--then", then, "--dry-run"]).code(2).says(&["--dry-run"]);

    bump(&project.fill("$REPO/base:1"), "2");
    let ended = project.run(&["update", "--then", "exit 7"]).code(1);
    ended.says(&["`exit 7` ended with exit status: 7", "the lock was written"]);
    assert!(project.read("builds.lock").contains(&digest(&project.fill("$REPO/base:1")).unwrap()));
}
