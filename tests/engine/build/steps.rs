//! Limits of steps, directories that persist.

use crate::project::engine::docker;
use crate::project::registry::{file, project};

fn limited(limits: &str, script: &str) -> crate::project::Project {
    project(&format!(
        r#"
[layers.made]
run = {{ image = "$BASE", script = """{script}""", keep = ["/opt/made"], {limits} }}
[images.app]
base = "$BASE"
tags = ["1"]
layers = ["made"]
"#
    ))
}

#[test]
fn a_step_ends_at_its_timeout() {
    let project = limited("timeout = \"1s\"", "mkdir /opt/made; echo waiting; sleep 60");
    let begun = std::time::Instant::now();
    let (ended, _) = project.build(&["--push"], 1);
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
    ended.says(&["| waiting", "help: raise the step's `timeout`"]);
}

#[test]
fn a_step_ends_at_its_memory_limit() {
    let project = limited(
        "memory = \"32MiB\"",
        "mkdir /opt/made; head -c 300000000 /dev/zero | tail -c 299999999 >/opt/made/x",
    );
    project.build(&["--push"], 1).0.says(&["killed at its memory limit of 32 MiB", "help: raise `memory`"]);
}

#[test]
fn a_step_without_network_has_none() {
    let script = "mkdir /opt/made; ls /sys/class/net >/opt/made/net";
    let without = limited("network = \"none\"", script);
    without.push(&[]);
    assert_eq!(file(&without.fill("$REPO/app:1"), "opt/made/net"), "lo");
    let with = limited("network = \"bridge\"", script);
    with.push(&[]);
    assert_eq!(file(&with.fill("$REPO/app:1"), "opt/made/net"), "eth0\nlo");
}

#[test]
fn environment_user_workdir_and_shell_are_the_steps_own() {
    let project = limited(
        "env = { WHO = \"me\" }, user = \"12:34\", workdir = \"/tmp\", shell = [\"/bin/sh\", \"-euc\"]",
        "mkdir made; (id -u; id -g; echo $WHO $GREETING $PWD; echo ${UNSET-none}) >made/who; ln -s /tmp/made /tmp/link",
    );
    let text = project.read("builds.toml").replace("/opt/made", "/tmp/made");
    project.write("builds.toml", &text);
    project.push(&[]);
    assert_eq!(file(&project.fill("$REPO/app:1"), "tmp/made/who"), "12\n34\nme hello /tmp\nnone");
}

#[test]
fn a_cache_directory_persists_and_is_in_no_layer() {
    let mut project = limited(
        "cache = [\"/opt/made/cache\"]",
        "echo $RUN >>/opt/made/cache/runs; cp /opt/made/cache/runs /opt/made/seen",
    );
    let text =
        project.read("builds.toml").replace("name = \"t\"", &format!("name = \"{}\"", project.unique()));
    project.write("builds.toml", &text.replace("$RUN", "first"));
    project.push(&[]);
    assert_eq!(file(&project.fill("$REPO/app:1"), "opt/made/seen"), "first");
    project.store = "second".into();
    project.write("builds.toml", &text.replace("$RUN", "second"));
    project.push(&[]);
    let image = project.fill("$REPO/app:1");
    assert_eq!(file(&image, "opt/made/seen"), "first\nsecond");
    assert!(!crate::project::registry::paths(&image).contains(&"opt/made/cache/runs".to_owned()));
    let volumes = docker(&project.engine, &["volume", "ls", "--quiet"]);
    for volume in volumes.lines().filter(|v| v.starts_with("railyard-cache-")) {
        // Of this test or left behind by another: a volume in use is refused.
        crate::project::registry::attempt("docker", &["-H", &project.engine, "volume", "rm", volume]);
    }
}
