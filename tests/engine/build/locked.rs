//! Equal locks give equal bytes where commands do not: their outputs are pinned.

use crate::project::engine::engines;
use crate::project::registry::{digest, project, tool};
use crate::project::{NO_ENGINE, Project};

const RANDOM: &str = "cat /proc/sys/kernel/random/uuid";
const CACHE: &str = "[cache]\nrepository = \"$REPO/cache\"\n";

/// An image whose layer is another one each time that it is made.
fn random_layer(more: &str) -> Project {
    project(&format!(
        "{more}[layers.made]\nrun = {{ image = \"$BASE\", script = \"mkdir /opt/made; {RANDOM} >/opt/made/id\", \
         keep = [\"/opt/made\"] }}\n[images.app]\nbase = \"$BASE\"\ntags = [\"1\"]\nlayers = [\"made\"]\n"
    ))
}

fn tag(project: &Project) -> Option<String> {
    digest(&project.fill("$REPO/app:1"))
}

#[test]
fn an_image_with_another_output_than_the_lock_says_is_not_taken_from_the_store() {
    let mut project = random_layer("");
    project.push(&[]);
    std::fs::remove_file(project.path("builds.lock")).unwrap();
    project.store = "second".into();
    let second = project.push(&[]);
    project.store = "store".into();
    let (ended, _) = project.build(&["--push", "--locked"], 1);
    ended.says(&["the output of `made`", "the lock says", "is not reproducible"]);
    assert_eq!(tag(&project), Some(second.digests()[0].clone()), "the tag stays");
    project.store = "second".into();
    project.push(&["--locked"]).all("current");
}

#[test]
fn what_contradicts_the_lock_is_named_and_not_shared() {
    let mut project = random_layer(CACHE);
    let first = project.push(&[]);
    let lock = project.read("builds.lock");
    project.store = "another".into();
    let (ended, other) = project.build(&["--push", "--no-reuse"], 0);
    ended.says(&["note: the output of `made`", "the lock says"]);
    assert_ne!(other.digests(), first.digests());
    assert_eq!(tag(&project), Some(other.digests()[0].clone()));
    assert_eq!(project.read("builds.lock"), lock);
    // What the lock says is what everybody goes back to.
    let engine = std::mem::replace(&mut project.engine, NO_ENGINE.into());
    for store in ["fresh", "another", "store"] {
        project.store = store.into();
        let report = project.push(&["--locked"]);
        assert_eq!((report.digests(), report.steps("artifact")), (first.digests(), 0), "{store}");
        assert_eq!(tag(&project), Some(first.digests()[0].clone()), "{store}");
    }
    project.engine = engine;
}

#[test]
fn setup_steps_have_outputs_too() {
    let mut project = project(&format!(
        "[images.app]\nbase = \"$BASE\"\nsetup = [{{ script = \"{RANDOM} >/etc/id\" }}, {{ script = \"true\" }}]\n\
         tags = [\"1\"]\n"
    ));
    let first = project.push(&[]);
    let lock = project.read("builds.lock");
    let outputs = lock.split_once("[outputs]\n").expect("it has outputs").1;
    assert_eq!(outputs.lines().filter(|line| line.contains("sha256:")).count(), 2, "{lock}");
    let nothing = "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";
    assert!(outputs.contains(nothing), "a step that changes nothing says so: {lock}");
    project.store = "second".into();
    let (ended, _) = project.build(&["--push", "--locked"], 1);
    ended.says(&["the output of `app` (app setup: ", "the lock says"]);
    assert_eq!(tag(&project), Some(first.digests()[0].clone()), "the tag stays");
    project.store = "store".into();
    project.push(&["--locked"]).all("current");
}

#[test]
fn a_lock_that_was_lost_pins_what_the_images_have() {
    let mut project = random_layer("");
    project.push(&[]);
    let lock = project.read("builds.lock");
    std::fs::remove_file(project.path("builds.lock")).unwrap();
    project.engine = NO_ENGINE.into();
    project.push(&[]).all("current");
    assert_eq!(project.read("builds.lock"), lock);
}

#[test]
fn a_tag_that_must_not_move_fails_its_own_cell_and_not_one_with_an_equal_image() {
    let mut project = project(
        r#"
[checks.smoke]
script = "true"
[layers.file]
files = [{ path = "/etc/file", content = "$NONCE" }]
[images.fixed]
base = "$BASE"
tags = ["1"]
layers = ["file"]
checks = ["smoke"]
existing_tags = "refuse"
[images.free]
base = "$BASE"
tags = ["1"]
layers = ["file"]
checks = ["smoke"]
"#,
    );
    project.engine = engines().remove(0);
    tool("crane", &["copy", &project.fill("$BASE"), &project.fill("$REPO/fixed:1")]);
    let (ended, report) = project.build(&["--push"], 1);
    ended.says(&["must not move"]);
    let outcomes: Vec<String> = report.outcomes().into_iter().map(|(_, outcome)| outcome).collect();
    assert_eq!(outcomes, ["failed", "built"]);
    assert_eq!(digest(&project.fill("$REPO/free:1")), Some(report.digests()[1].clone()));
}
