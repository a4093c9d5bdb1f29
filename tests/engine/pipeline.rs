//! railyard as a step of a pipeline: settings, outputs, the artifact file, an engine that is late.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::project::registry::{digest, project};
use crate::project::{NO_ENGINE, Project};

const MANIFEST: &str = r#"
[axes.runtime]
values = [{ name = "a", build = "1.2.3" }, { name = "b", build = "1.2.4" }]
[layers.part]
files = [{ path = "/part", content = "{{ runtime }}" }]
[checks.works]
script = "test $(cat /part) != {{ vars.bad }}"
[images.app]
axes = ["runtime"]
tags = ["{{ runtime }}", "{{ runtime }}-latest"]
base = "$BASE"
layers = ["part"]
checks = ["works"]
[images.app.outputs]
TIMESTAMP = "{{ timestamp }}"
VCS_REF = "{{ revision }}"
SAM_RUNTIME = "{{ runtime }}"
SAM_VERSION = "{{ runtime.build }}"
NOTES = """one {{ runtime }}
two"""
[vars]
bad = "none"
"#;

/// Starts railyard as a plugin step does: without arguments, with settings.
fn step(project: &Project, settings: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_railyard"));
    for (name, _) in std::env::vars() {
        if ["RAILYARD_", "PLUGIN_", "DRONE_", "HARNESS_", "GITHUB_"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
        {
            command.env_remove(name);
        }
    }
    command
        .current_dir(project.path(""))
        .env("DOCKER_HOST", &project.engine)
        .env("PLUGIN_STORE", "store")
        .env("PLUGIN_PROGRESS", "plain")
        .envs(settings.iter().copied())
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[track_caller]
fn code(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{}", said(output));
    said(output)
}

/// The value of a key in a file of outputs.
fn value(text: &str, key: &str) -> Option<String> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=').map(str::to_owned))
}

#[test]
fn a_step_is_told_by_settings_and_tells_by_outputs() {
    let project = project(MANIFEST);
    project.write("drone", "BEFORE=1\n");
    let drone = project.path("drone");
    let github = project.path("github");
    let settings = [
        ("PLUGIN_PUSH", "true"),
        ("PLUGIN_MANIFEST", "builds.toml"),
        ("PLUGIN_ONLY", "image=app,runtime=a"),
        ("PLUGIN_ARTIFACT_FILE", "artifact.json"),
        ("PLUGIN_REPORT", "json:report.json,junit:junit.xml"),
        ("PLUGIN_WAIT_ENGINE", "60s"),
        ("PLUGIN_PUHS", "true"),
        ("DRONE_COMMIT_SHA", "0123abc"),
        ("DRONE_OUTPUT", drone.to_str().unwrap()),
        ("HARNESS_OUTPUT_FILE", drone.to_str().unwrap()),
        ("GITHUB_OUTPUT", github.to_str().unwrap()),
    ];
    let words = code(&step(&project, &settings), 0);
    assert!(
        words.contains("`PLUGIN_PUHS` is not known") && words.contains("did you mean `PLUGIN_PUSH`?"),
        "{words}"
    );
    let reference = project.fill("$REPO/app:a");
    let pushed = digest(&reference).expect("it is pushed");
    let lines = project.read("drone");
    let is = |key: &str, expected: &str| {
        assert_eq!(value(&lines, key).as_deref(), Some(expected), "{key}: {lines}")
    };
    is("BEFORE", "1");
    is("DIGEST", &pushed);
    is("DIGESTS", &pushed);
    is("IMAGE", &reference);
    is("TAGS", "a,a-latest");
    is("CELLS_BUILT", "1");
    is("CELLS_FAILED", "0");
    is("VCS_REF", "0123abc");
    is("SAM_RUNTIME", "a");
    is("SAM_VERSION", "1.2.3");
    is("NOTES", "one a two");
    assert_eq!(value(&lines, "TIMESTAMP").unwrap().len(), "20250822194415".len());
    assert_eq!(lines.matches("DIGEST=").count(), 1, "one file, though two variables name it: {lines}");
    let lines = project.read("github");
    assert!(lines.contains("NOTES<<RAILYARD_END\none a\ntwo\nRAILYARD_END\n"), "{lines}");
    let artifact: serde_json::Value = serde_json::from_str(&project.read("artifact.json")).unwrap();
    assert_eq!(artifact["kind"], "docker/v1");
    assert_eq!(artifact["data"]["registryType"], "Docker");
    let images = artifact["data"]["images"].as_array().unwrap();
    assert_eq!(images.len(), 2);
    assert_eq!((&images[0]["image"], &images[0]["digest"]), (&reference.into(), &pushed.clone().into()));
    assert!(project.read("junit.xml").contains("tests=\"1\" failures=\"0\""));

    // What later steps are told is part of no image: another revision is the same image.
    std::fs::remove_file(project.path("drone")).unwrap();
    let settings: Vec<_> = settings
        .into_iter()
        .map(|(name, value)| (name, if name == "DRONE_COMMIT_SHA" { "456def" } else { value }))
        .collect();
    code(&step(&project, &settings), 0);
    let lines = project.read("drone");
    assert_eq!(value(&lines, "VCS_REF").as_deref(), Some("456def"));
    assert_eq!(value(&lines, "DIGEST"), Some(pushed));
    assert_eq!(value(&lines, "CELLS_CURRENT").as_deref(), Some("1"));
}

#[test]
fn a_failed_cell_fails_the_step_and_is_in_no_list() {
    let project = project(MANIFEST);
    let drone = project.path("drone");
    let settings = [
        ("PLUGIN_PUSH", "true"),
        ("PLUGIN_VAR", "{\"bad\": \"b\"}"),
        ("PLUGIN_REPORT", "junit:junit.xml"),
        ("DRONE_OUTPUT", drone.to_str().unwrap()),
    ];
    code(&step(&project, &settings), 1);
    let lines = project.read("drone");
    assert_eq!(value(&lines, "CELLS_BUILT").as_deref(), Some("1"), "{lines}");
    assert_eq!(value(&lines, "CELLS_FAILED").as_deref(), Some("1"), "{lines}");
    assert_eq!(value(&lines, "DIGESTS"), digest(&project.fill("$REPO/app:a")), "{lines}");
    assert_eq!(value(&lines, "SAM_RUNTIME").as_deref(), Some("a"), "{lines}");
    assert_eq!(value(&lines, "DIGEST"), None, "of two cells neither is the one: {lines}");
    assert!(project.read("junit.xml").contains("tests=\"2\" failures=\"1\""));
    assert!(digest(&project.fill("$REPO/app:b")).is_none());
}

#[test]
fn several_cells_have_lists() {
    let project = project(MANIFEST);
    let drone = project.path("drone");
    code(&step(&project, &[("PLUGIN_PUSH", "1"), ("DRONE_OUTPUT", drone.to_str().unwrap())]), 0);
    let lines = project.read("drone");
    let digests = ["a", "b"].map(|tag| digest(&project.fill(&format!("$REPO/app:{tag}"))).unwrap()).join(",");
    assert_eq!(value(&lines, "DIGESTS"), Some(digests));
    assert_eq!(value(&lines, "SAM_RUNTIME").as_deref(), Some("a,b"));
    let images = project.fill("$REPO/app:a,$REPO/app:a-latest,$REPO/app:b,$REPO/app:b-latest");
    assert_eq!(value(&lines, "IMAGES"), Some(images));
}

#[test]
fn settings_that_mean_nothing_are_mistakes() {
    let project = Project::new("");
    let words = code(&step(&project, &[("PLUGIN_COMMAND", "bulid")]), 2);
    assert!(words.contains("there is no command `bulid`"), "{words}");
    let words = code(&step(&project, &[("PLUGIN_PUSH", "perhaps")]), 2);
    assert!(words.contains("`PLUGIN_PUSH` is `perhaps`"), "{words}");
    let words = code(&step(&project, &[("PLUGIN_WAIT_ENGINE", "60")]), 2);
    assert!(words.contains("`60` is not a duration"), "{words}");
    let schema = code(&step(&project, &[("PLUGIN_COMMAND", "schema")]), 0);
    assert!(schema.contains("\"outputs\""));
}

#[test]
fn an_engine_that_never_comes_ends_the_step() {
    let mut project = project(MANIFEST);
    project.engine = NO_ENGINE.to_owned();
    let began = Instant::now();
    let words = code(&step(&project, &[("PLUGIN_PUSH", "true"), ("PLUGIN_WAIT_ENGINE", "3s")]), 3);
    assert!(began.elapsed() >= Duration::from_secs(2), "{words}");
    assert!(
        words.contains("waiting for the engine, at most") && words.contains("no engine answered within 3 s"),
        "{words}"
    );
    assert!(words.contains("help: start one before this step"), "{words}");
    assert!(digest(&project.fill("$REPO/app:a")).is_none(), "nothing was pushed");
}

#[test]
fn an_engine_that_comes_late_is_waited_for() {
    let mut project = project(MANIFEST);
    let real = project.engine.strip_prefix("unix://").expect("the engine has a socket").to_owned();
    let late = project.path("docker.sock");
    project.engine = format!("unix://{}", late.display());
    let comes = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(4));
        std::os::unix::fs::symlink(real, late).unwrap();
    });
    let words = code(&step(&project, &[("PLUGIN_PUSH", "true"), ("PLUGIN_WAIT_ENGINE", "1m")]), 0);
    comes.join().unwrap();
    assert!(words.contains("waiting for the engine") && words.contains("answers after"), "{words}");
    assert!(digest(&project.fill("$REPO/app:a")).is_some());
}

#[test]
fn no_engine_is_waited_for_where_none_is_needed() {
    let mut project = project(MANIFEST);
    project.engine = NO_ENGINE.to_owned();
    let settings = [("PLUGIN_PUSH", "true"), ("PLUGIN_NO_CHECKS", "true"), ("PLUGIN_WAIT_ENGINE", "1h")];
    code(&step(&project, &settings), 0);
}

#[test]
fn an_imported_pipeline_is_built() {
    let project = project("");
    let files = crate::project::registry::setting("RAILYARD_DEV_FILES");
    let registry = crate::project::registry::setting("RAILYARD_DEV_REGISTRY");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pipelines/serverless.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.replace("https://download.docker.com", &files).replace("https://app.harness.io", &files);
    project.write("pipeline.yaml", &text);
    let inputs = [
        format!("RUNTIME_BASE_IMAGE_VERSION={}", crate::project::registry::stand_in("python3.11")),
        format!("NODEJS_BASE_IMAGE_VERSION={}", crate::project::registry::stand_in("nodejs18.x")),
        format!("SCRATCH_IMAGE={registry}/harness/serverless-plugin:1.1.0-beta-base-image"),
        project.fill("TARGET_REPO=$REPO/serverless-plugin"),
    ];
    let mut words = vec!["import", "harness-pipeline", "pipeline.yaml", "--out", "imported"];
    words.extend(inputs.iter().flat_map(|input| ["--set", input]));
    project.run(&words).code(0);
    // npm has run enough elsewhere.
    project.push(&["--file", "imported/builds.toml", "--only", "image=serverless-plugin-base"]).all("built");
    let reference = project.fill("$REPO/serverless-plugin:python3.11-1.1.0-beta-linux-amd64");
    let config = crate::project::registry::config(&reference);
    assert_eq!(config["config"]["Entrypoint"][0], "/opt/harness/scripts/serverless-plugin.sh");
    assert_eq!(config["config"]["User"], "root");
    assert!(
        config["config"]["Env"][0].as_str().unwrap().starts_with("PATH=/var/lang/bin:/opt/bin:"),
        "{config}"
    );
    let script = "node -v && docker --version && stat -c '%a %n' /opt/harness/* /usr/local/bin/docker \
        /opt/harness/client-tools/go-template /opt/harness/bin/harness-serverless-plugin";
    let seen = crate::project::engine::run(&project.engine, &reference, script);
    for line in [
        "777 /opt/harness/bin",
        "777 /opt/harness/scripts",
        "755 /usr/local/bin/docker",
        "755 /opt/harness/client-tools/go-template",
    ] {
        assert!(seen.contains(line), "{seen}");
    }
}
