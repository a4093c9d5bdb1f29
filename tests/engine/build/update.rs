//! The lock: only `update` moves what it holds.

use crate::project::registry::{bump, config, digest, project, push_layer, tool};
use crate::project::{NO_ENGINE, Project};

fn based() -> Project {
    let mut project = project("");
    project.engine = NO_ENGINE.into();
    let base = project.fill("$REPO/base:1");
    tool("crane", &["copy", &project.fill("$BASE"), &base]);
    let other = project.fill("$REPO/source:1");
    tool("crane", &["copy", &project.fill("$BASE"), &other]);
    let text = project.read("builds.toml");
    let images = r#"
[layers.copied]
copy = [{ from = "$REPO/source:1", paths = ["/etc/passwd"], to = "/srv/passwd" }]
[images.app]
base = "$REPO/base:1"
tags = ["1"]
layers = ["copied"]
"#;
    project.write("builds.toml", &format!("{text}{images}"));
    project
}

#[test]
fn a_base_that_moved_changes_nothing_until_update_says_so() {
    let project = based();
    let base = project.fill("$REPO/base:1");
    let first = project.push(&[]);
    let (old, lock) = (digest(&base).unwrap(), project.read("builds.lock"));
    assert!(lock.contains(&old), "{lock}");

    bump(&base, "7");
    let new = digest(&base).unwrap();
    assert_ne!(new, old);
    let same = project.push(&[]);
    same.all("current");
    assert_eq!(same.digests(), first.digests());
    assert_eq!(project.read("builds.lock"), lock);

    let line = format!("moved    {base}\n         {old}\n      -> {new}\n         touches 1 cell: app\n");
    assert_eq!(project.run(&["update", "--dry-run"]).code(0).out, line);
    assert_eq!(project.read("builds.lock"), lock, "--dry-run writes nothing");
    assert_eq!(project.run(&["update", "source"]).code(0).out, "nothing has moved\n");
    assert_eq!(project.run(&["update"]).code(0).out, line);
    let moved = project.read("builds.lock");
    assert_eq!(moved, lock.replacen(&old, &new, 1), "only the one entry");

    let rebased = project.push(&["--locked"]);
    rebased.all("built");
    assert_eq!(rebased.steps("artifact"), 0, "the copied layer does not know the base");
    let environment = config(&project.fill("$REPO/app:1"))["config"]["Env"].clone();
    assert!(environment.as_array().unwrap().contains(&"NONCE=7".into()), "{environment}");
    assert_eq!(project.run(&["update"]).code(0).out, "nothing has moved\n");
}

#[test]
fn update_drops_what_nothing_uses_and_adds_what_is_new() {
    let project = based();
    project.push(&[]);
    let text = project.read("builds.toml");
    let source = project.fill("$REPO/source:1");
    project.write("builds.toml", &text.replace("source:1", "source:2"));
    push_layer(&layer(&project), &project.fill("$REPO/source:2"));
    let added = digest(&project.fill("$REPO/source:2")).unwrap();
    let ended = project.run(&["update"]).code(0);
    assert_eq!(
        ended.out,
        project.fill(&format!(
            "removed  {source}\nadded    $REPO/source:2 {added}\n         touches 1 cell: app\n"
        ))
    );
    assert!(!project.read("builds.lock").contains("source:1"));
}

fn layer(project: &Project) -> std::path::PathBuf {
    let tar = project.path("layer.tar");
    let place = project.path("").display().to_string();
    tool(
        "sh",
        &["-c", "cd \"$1\" && mkdir etc && echo other >etc/passwd && tar -cf layer.tar etc", "sh", &place],
    );
    tar
}

#[test]
fn a_base_that_is_gone_leaves_the_lock_as_it_was() {
    let project = based();
    project.push(&[]);
    let lock = project.read("builds.lock");
    let image = project.fill(&format!("$REPO/base@{}", digest(&project.fill("$REPO/base:1")).unwrap()));
    tool("crane", &["delete", &image]);
    let ended = project.run(&["update"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.err.contains(&project.fill("$REPO/base:1")), "{}", ended.err);
    assert_eq!(project.read("builds.lock"), lock);
}
