//! The built-in check `abi`, on stand-in bases with older and newer libraries. No engine is near.

use crate::project::registry::{digest, project, stand_in, tool};
use crate::project::{NO_ENGINE, Project, Report};

/// A project whose names `$OLD` (Debian 11), `$NEW` (Debian 12) and `$NODE` are stand-ins.
fn on_stand_ins(manifest: &str) -> Project {
    let mut project = project("");
    project.engine = NO_ENGINE.into();
    project.name("OLD", &stand_in("ruby3.2"));
    project.name("NEW", &stand_in("python3.11"));
    project.name("NODE", &stand_in("nodejs18.x"));
    let text = project.read("builds.toml");
    project.write("builds.toml", &format!("{text}{manifest}"));
    project
}

const COMPANIONS: &str = r#"
[axes.companion]
values = [{ name = "python", from = "$NEW" }, { name = "node", from = "$NODE" }]
[layers.lang]
copy = [{ from = "{{ companion.from }}", paths = ["/var/lang/bin"] }]
[images.app]
axes = ["companion"]
base = "$OLD"
tags = ["{{ companion }}"]
layers = ["lang"]
checks = ["abi"]
"#;

fn outcomes(report: &Report) -> Vec<String> {
    report.outcomes().into_iter().map(|(cell, outcome)| format!("{cell} {outcome}")).collect()
}

#[test]
fn a_companion_that_needs_newer_libraries_is_refused_and_one_that_fits_goes_on() {
    let project = on_stand_ins(COMPANIONS);
    let (ended, report) = project.build(&["--push"], 1);
    assert_eq!(outcomes(&report), ["app[companion=python] failed", "app[companion=node] built"]);
    let words = [
        "`app[companion=python]` does not fit its base: `/var/lang/bin/python3.11` needs GLIBC_2.35, \
         the base offers up to GLIBC_2.31",
        "copied from `$NEW`, which has debian 12, glibc 2.36, GLIBCXX_3.4.30",
        "the base is `$OLD`, which has debian 11, glibc 2.31, GLIBCXX_3.4.28",
        "help: take it from a companion built on an older system, or keep the previous base",
        "note: files copied from `$NODE` (debian 12, glibc 2.36, GLIBCXX_3.4.30) fit the base `$OLD`",
    ];
    let words: Vec<String> = words.iter().map(|word| project.fill(word)).collect();
    ended.says(&words.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!((report.steps("abi"), report.steps("push"), report.steps("load")), (2, 1, 0));
    let refused = report.0["cells"][0]["digest"].as_str().expect("it was assembled");
    assert_eq!(digest(&project.fill("$REPO/app:python")), None);
    assert_eq!(digest(&project.fill(&format!("$REPO/app@{refused}"))), None, "nothing of it is pushed");
    assert!(digest(&project.fill("$REPO/app:node")).is_some());

    // What has passed is remembered, what has failed is judged again.
    let (_, again) = project.build(&["--push"], 1);
    assert_eq!(outcomes(&again), ["app[companion=python] failed", "app[companion=node] current"]);
    assert_eq!(again.steps("abi"), 1);
    let unchecked = project.push(&["--no-checks"]);
    assert_eq!(outcomes(&unchecked), ["app[companion=python] built", "app[companion=node] current"]);
    assert_eq!(unchecked.steps("abi"), 0);
}

#[test]
fn a_base_without_a_library_that_a_program_needs_is_refused() {
    let project = on_stand_ins(&COMPANIONS.replace("base = \"$OLD\"", "base = \"$BASE\""));
    let (ended, report) = project.build(&["--only", "companion=node"], 1);
    report.all("failed");
    ended.says(&[
        "`/var/lang/bin/node` needs `libdl.so.2` (GLIBC_2.2.5), `libstdc++.so.6` (CXXABI_1.3.9 and GLIBCXX_",
        ", which the image does not have",
        "help: use a base that has it, add it in `setup`, or keep the previous base",
    ]);
}

#[test]
fn a_base_that_moves_to_an_older_system_is_not_used() {
    let project = on_stand_ins(
        r#"
[layers.lang]
copy = [{ from = "$NEW", paths = ["/var/lang/bin"], to = "/opt/lang/bin" }]
[images.app]
base = "$REPO/base:1"
tags = ["1"]
layers = ["lang"]
checks = ["abi"]
[images.derived]
base = { image = "app" }
tags = ["1"]
env = { DERIVED = "1" }
checks = ["abi"]
"#,
    );
    let base = project.fill("$REPO/base:1");
    tool("crane", &["copy", &stand_in("nodejs18.x"), &base]);
    let first = project.push(&[]);
    first.all("built");
    let lock = project.read("builds.lock");
    tool("crane", &["copy", &stand_in("ruby3.2"), &base]);
    project.run(&["update"]).code(0);
    let (ended, moved) = project.build(&["--push"], 1);
    moved.all("failed");
    ended.says(&["`/opt/lang/bin/python3.11` needs GLIBC_2.3", "`railyard update` moved it"]);
    assert_eq!(moved.steps("artifact"), 0);
    for (name, before) in ["app", "derived"].iter().zip(first.digests()) {
        assert_eq!(digest(&project.fill(&format!("$REPO/{name}:1"))), Some(before), "{name}");
    }
    project.write("builds.lock", &lock);
    project.push(&["--locked"]).all("current");
}

#[test]
fn a_second_machine_takes_the_judgement_from_the_cache_repository() {
    let mut project = on_stand_ins(
        r#"
[cache]
repository = "$REPO/cache"
[layers.own]
copy = [{ from = "$BASE", paths = ["/bin/cat"], to = "/opt/cat" }]
[images.app]
base = "$BASE"
tags = ["1"]
layers = ["own"]
checks = ["abi"]
"#,
    );
    let first = project.push(&[]);
    assert_eq!(first.steps("abi"), 1);
    project.store = "second".into();
    let second = project.push(&["--locked"]);
    assert_eq!((second.steps("abi"), second.steps("assemble"), second.steps("index")), (0, 0, 0));
    assert_eq!(second.digests(), first.digests());
}
