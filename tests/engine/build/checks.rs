//! Checks of files and sizes: judged by the layers alone, before anything is pushed.

use crate::project::engine::engines;
use crate::project::registry::{digest, manifest, project};
use crate::project::{NO_ENGINE, Project};

const TABLES: &str = r#"
[layers.own]
files = [{ path = "/opt/app/tool", content = "tool", mode = "0755", owner = "1001:0" }]
dirs = [{ path = "/opt/app/data", mode = "0775", owner = "1001:0" }]
"#;

const IMAGE: &str = r#"
[images.app]
base = "$BASE"
tags = ["1"]
layers = ["own"]
checks = ["layout"]
"#;

/// A project whose image `app` has one check, and no engine.
fn checked(check: &str) -> Project {
    let mut project = project(&format!("{TABLES}{IMAGE}\n[checks.layout]\n{check}\n"));
    project.engine = NO_ENGINE.into();
    project
}

#[test]
fn files_that_are_as_wanted_pass_and_are_known_to() {
    let project = checked(
        r#"
files = [
  { path = "/opt/app/tool", type = "file", mode = "0755", owner = "1001:0" },
  { path = "/opt/app/data/", type = "directory", mode = "0775" },
  { path = "/tmp", mode = "1777", owner = "0:0" },
  { path = "/opt/app/other", absent = true },
  { path = "/bin/sh" },
]
size = { image = "1GiB", added = "10KiB" }
"#,
    );
    let report = project.push(&[]);
    report.all("built");
    assert_eq!((report.steps("check"), report.steps("load")), (1, 0));
    let again = project.push(&[]);
    again.all("current");
    assert_eq!(again.steps("check"), 0);
    // Another check of the same image is another result.
    project.write("builds.toml", &project.read("builds.toml").replace("10KiB", "20KiB"));
    assert_eq!(project.push(&[]).steps("check"), 1);
}

#[test]
fn every_difference_is_named_and_nothing_is_pushed() {
    let project = checked(
        r#"
files = [
  { path = "/opt/app/tool", type = "directory", mode = "0775", owner = "0:0" },
  { path = "/opt/app/missing", type = "file", mode = "0644" },
  { path = "/opt/app/data", absent = true },
]
"#,
    );
    let (ended, report) = project.build(&["--push"], 1);
    report.all("failed");
    ended.says(&[
        "check `layout`: `/opt/app/tool` is a file, wanted is a directory\n",
        "`/opt/app/tool` has mode 0755, wanted is 0775\n",
        "`/opt/app/tool` has owner 1001:0, wanted is 0:0\n",
        "`/opt/app/missing` is not in the image; wanted is a file with mode 0644\n",
        "`/opt/app/data` is in the image, a directory; it must not be there\n",
        "the image's tags were not moved",
    ]);
    assert_eq!(report.steps("push"), 0);
    let refused = report.0["cells"][0]["digest"].as_str().expect("it was assembled");
    assert_eq!(digest(&project.fill(&format!("$REPO/app@{refused}"))), None);
    project.push(&["--no-checks"]).all("built");
}

#[test]
fn links_are_followed_but_for_the_last() {
    let mut project = project(&format!(
        r#"{TABLES}
[images.linked]
base = "$BASE"
setup = [{{ script = "ln -s app /opt/linked" }}]
push = false
[images.app]
base = {{ image = "linked" }}
tags = ["1"]
layers = ["own"]
checks = ["layout"]
[checks.layout]
files = [
  {{ path = "/opt/linked/tool", type = "file", mode = "0755" }},
  {{ path = "/opt/linked", type = "link" }},
]
size = {{ added = "1KiB" }}
"#
    ));
    project.engine = engines()[0].clone();
    let report = project.push(&[]);
    report.all("built");
    assert_eq!((report.steps("check"), report.steps("load")), (1, 0));
}

#[test]
fn budgets_are_held_against_the_registrys_own_sizes() {
    let project = checked("size = { image = \"1KiB\", added = \"1KB\" }");
    let reference = project.fill("$REPO/app:1");
    let (ended, report) = project.build(&["--push"], 1);
    report.all("failed");
    let unchecked = project.push(&["--no-checks"]);
    unchecked.all("built");
    let manifest = manifest(&reference);
    let sizes: Vec<u64> =
        manifest["layers"].as_array().unwrap().iter().map(|layer| layer["size"].as_u64().unwrap()).collect();
    let all: u64 = sizes.iter().sum();
    ended.says(&[
        &format!("check `layout`: the image has {all} bytes ("),
        "compressed, at most 1024 bytes (1.0 KiB) are allowed",
    ]);
    // To the byte.
    let (&base, own) = sizes.split_first().unwrap();
    let added: u64 = own.iter().sum();
    let budget = |image: u64, added: u64| {
        let text = project.read("builds.toml");
        let start = text.find("size = ").unwrap();
        let end = start + text[start..].find('\n').unwrap();
        let size = format!("size = {{ image = \"{image}\", added = \"{added}\" }}");
        project.write("builds.toml", &format!("{}{size}{}", &text[..start], &text[end..]));
    };
    budget(base + added, added);
    project.push(&[]).all("current");
    budget(base + added, added - 1);
    let (ended, _) = project.build(&["--push"], 1);
    ended.says(&[&format!("check `layout`: the layers above the base have {added} bytes")]);
}

#[test]
fn a_check_may_have_a_script_and_files_and_an_image_several_checks() {
    let mut project = checked(
        r#"
script = "test -x /opt/app/tool; echo fine"
expect = "fine"
files = [{ path = "/opt/app/tool", mode = "0700" }]
[checks.second]
script = "exit 3"
exit = 3
"#,
    );
    project.engine = engines()[0].clone();
    let text =
        project.read("builds.toml").replace("checks = [\"layout\"]", "checks = [\"layout\", \"second\"]");
    project.write("builds.toml", &text);
    let (ended, report) = project.build(&["--push"], 1);
    report.all("failed");
    ended.says(&["check `layout`: `/opt/app/tool` has mode 0755, wanted is 0700"]);
    assert_eq!(digest(&project.fill("$REPO/app:1")), None);
    project.write("builds.toml", &text.replace("0700", "0755"));
    let report = project.push(&[]);
    report.all("built");
    assert_eq!(report.steps("check"), 1, "the one that passed is known");
    assert!(digest(&project.fill("$REPO/app:1")).is_some());
}
