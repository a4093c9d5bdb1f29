//! Building again: what is current stays, what is lost comes back, equal locks give equal bytes.

use crate::mirror::proxy::{Fault, Proxy};
use crate::project::NO_ENGINE;
use crate::project::engine::run;
use crate::project::registry::{config, digest, manifest, project, setting, small_base, tool};

const MANIFEST: &str = r#"
[axes.flavour]
values = ["plain", "spicy"]
[layers.made]
run = { image = "$BASE", script = "mkdir -p /opt/made; echo made >/opt/made/file; sleep 0.1", keep = ["/opt/made"] }
[layers.own]
files = [{ path = "/etc/flavour", content = "{{ flavour }}" }]
[images.app]
axes = ["flavour"]
base = "$BASE"
tags = ["{{ flavour }}", "{{ flavour }}-too"]
layers = ["made", "own"]
env = { FLAVOUR = "{{ flavour }}" }
"#;

#[test]
fn a_second_build_changes_nothing_and_a_lost_tag_is_put_back() {
    let project = project(MANIFEST);
    let first = project.push(&[]);
    first.all("built");
    assert_eq!(first.steps("artifact"), 3);
    let reference = |tag: &str| project.fill(&format!("$REPO/app:{tag}"));
    for (tag, found) in [("plain", 0), ("plain-too", 0), ("spicy", 1), ("spicy-too", 1)] {
        assert_eq!(digest(&reference(tag)), Some(first.digests()[found].clone()), "{tag}");
    }
    let pulled =
        run(&project.engine, &reference("spicy"), "cat /opt/made/file /etc/flavour; echo $FLAVOUR $GREETING");
    assert_eq!(pulled, "made\nspicyspicy hello");
    assert_eq!(config(&reference("plain"))["config"]["Env"][2], "FLAVOUR=plain");

    let lock = project.read("builds.lock");
    let again = project.push(&[]);
    again.all("current");
    assert_eq!(again.digests(), first.digests());
    assert_eq!((again.number("/bytes_sent"), again.steps("artifact"), again.steps("place")), (0, 0, 0));
    assert_eq!(project.read("builds.lock"), lock);

    tool("crane", &["tag", &reference("spicy"), "plain-too"]);
    let image = project.fill(&format!("$REPO/app@{}", first.digests()[1]));
    tool("crane", &["delete", &image]);
    assert_eq!(digest(&reference("spicy")), None);
    let mended = project.push(&[]);
    mended.all("built");
    assert_eq!(mended.digests(), first.digests());
    for (tag, found) in [("plain", 0), ("plain-too", 0), ("spicy", 1), ("spicy-too", 1)] {
        assert_eq!(digest(&reference(tag)), Some(first.digests()[found].clone()), "{tag}");
    }
    assert_eq!(mended.steps("artifact"), 0);
}

#[test]
fn two_machines_with_one_lock_make_the_same_bytes() {
    let mut project = project(MANIFEST);
    let first = project.push(&["--no-cache"]);
    project.store = "another".into();
    let other = project.push(&["--no-cache", "--locked", "--repository", &project.fill("$REPO/other")]);
    other.all("built");
    assert_eq!(other.steps("artifact"), 3);
    assert_eq!(other.digests(), first.digests());
    let layers =
        |repository: &str| manifest(&project.fill(&format!("{repository}/app:plain")))["layers"].clone();
    assert_eq!(layers("$REPO"), layers("$REPO/other"));
}

const RANDOM: &str = r#"
[layers.random]
run = { image = "$BASE", script = "mkdir /opt/r; head -c 16 /dev/urandom >/opt/r/bytes", keep = ["/opt/r"] }
[images.app]
base = "$BASE"
tags = ["1"]
layers = ["random"]
"#;

#[test]
fn a_run_that_is_not_reproducible_is_named_and_refused_with_a_locked_lock() {
    let mut project = project(RANDOM);
    let first = project.push(&[]);
    let lock = project.read("builds.lock");
    assert!(lock.contains("[outputs]"), "{lock}");

    project.store = "another".into();
    let (ended, other) = project.build(&["--push"], 0);
    ended.says(&["note: the output of `random`", "the lock says sha256:"]);
    assert_ne!(other.digests(), first.digests());
    assert_eq!(project.read("builds.lock"), lock, "build moves nothing");

    project.store = "third".into();
    let tag = project.fill("$REPO/app:1");
    let before = digest(&tag);
    let (ended, refused) = project.build(&["--push", "--locked"], 1);
    ended.says(&["the output of `random`", "not reproducible"]);
    refused.all("failed");
    assert_eq!(digest(&tag), before);
}

#[test]
fn locked_refuses_an_incomplete_lock_and_names_what_is_missing() {
    let project = project(MANIFEST);
    let ended = project.run(&["build", "--push", "--locked"]).code(2);
    ended.says(&["--locked", "builds.lock", "lacks image `", &project.fill("$BASE"), "help:"]);
    assert!(!project.path("builds.lock").exists());
    assert_eq!(digest(&project.fill("$REPO/app:plain")), None);
}

#[test]
fn damaged_blobs_are_had_again_while_the_run_goes_on() {
    let project = project(MANIFEST);
    let first = project.build(&[], 0).1;
    // Every layer in the store, the base's own too, with one byte another.
    let mut damaged = 0;
    for (path, _) in crate::project::listing(&project.path("store/blobs")) {
        let mut bytes = std::fs::read(&path).unwrap();
        if !bytes.starts_with(b"{") {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            damaged += 1;
        }
    }
    assert!(damaged >= 3, "{damaged}");
    let (ended, report) = project.build(&["--push"], 0);
    report.all("built");
    assert_eq!(report.digests(), first.digests());
    ended.says(&["the stored blob `sha256:", "was damaged: it is dropped"]);
    for flavour in ["plain", "spicy"] {
        let reference = project.fill(&format!("$REPO/app:{flavour}"));
        tool("crane", &["validate", "--remote", &reference]);
    }
}

const BUILT: &str = r#"
[layers.own]
files = [{ path = "/opt/own", content = "own" }]
[images.lower]
base = "$PROXIED"
tags = ["1"]
layers = ["own"]
[images.upper]
tags = ["1"]
dockerfile = { context = ".", contexts = { lower = { image = "lower" } } }
"#;

#[test]
fn a_layer_that_the_bases_registry_refuses_is_no_lost_result() {
    let proxy = Proxy::start(&setting("RAILYARD_DEV_REGISTRY"));
    let mut project = project("");
    let (_, base) = small_base().split_once('/').unwrap();
    project.name("PROXIED", &format!("{}/{base}", proxy.host));
    let text = project.read("builds.toml");
    project.write("builds.toml", &format!("{text}{BUILT}"));
    project.write("Dockerfile", "FROM lower\nRUN echo upper >/opt/upper\n");
    project.write(".dockerignore", "*\n");
    project.run(&["build"]).code(0);
    let layer = manifest(small_base())["layers"][0]["digest"].as_str().unwrap().to_owned();
    std::fs::remove_file(project.path("store/blobs/sha256").join(&layer["sha256:".len()..])).unwrap();
    proxy.rule(move |line| line.ends_with(&layer).then_some(Fault::Answer(403)));
    // Nothing is built again, which would need that layer too.
    project.engine = NO_ENGINE.into();
    let ended = project.run(&["build", "--output", "oci:out"]).code(3);
    ended.says(&["failed to fetch blob", "access denied", "not now"]);
    proxy.mend();
    project.run(&["build", "--output", "oci:out"]).code(0);
}

const FORCED: &str = r#"
[layers.tool]
run = { image = "$BASE", script = "mkdir /opt/tool; echo tool >/opt/tool/file", keep = ["/opt/tool"] }
[layers.random]
run = { image = { image = "tools" }, script = "mkdir /opt/r; head -c 16 /dev/urandom >/opt/r/bytes", keep = ["/opt/r"] }
[images.tools]
base = "$BASE"
tags = ["1"]
layers = ["tool"]
[images.app]
base = "$BASE"
tags = ["1"]
layers = ["random"]
"#;

#[test]
fn what_is_forced_is_delivered_though_a_blob_is_made_again_meanwhile() {
    let project = project(FORCED);
    let first = project.push(&["--no-cache"]);
    let tools = manifest(&project.fill("$REPO/tools:1"));
    let layer = tools["layers"][1]["digest"].as_str().unwrap();
    let path = project.path("store/blobs/sha256").join(&layer["sha256:".len()..]);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (ended, second) = project.build(&["--push", "--no-cache", "--force", "random"], 0);
    ended.says(&["was damaged: it is dropped"]);
    assert_eq!(second.digests()[0], first.digests()[0]);
    assert_ne!(second.digests()[1], first.digests()[1]);
    assert_eq!(digest(&project.fill("$REPO/app:1")), Some(second.digests()[1].clone()));
    // What the store knows is what was delivered.
    let third = project.push(&["--no-cache"]);
    third.all("current");
    assert_eq!(third.digests(), second.digests());
}
