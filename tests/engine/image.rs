//! Files of this machine in images, and railyard's own image, which is made of one.

use crate::project::engine::docker;
use crate::project::registry::{digest, file, project, stand_in};
use crate::project::{NO_ENGINE, Project};

const MANIFEST: &str = r#"
[layers.part]
files = [{ path = "/etc/part", source = "parts/{{ vars.part }}", mode = "0640", owner = "3:4" }]
[images.app]
tags = ["1"]
base = "$BASE"
layers = ["part"]
[vars]
part = "one.bin"
"#;

fn with_part(content: &[u8]) -> Project {
    let mut project = project(MANIFEST);
    project.engine = NO_ENGINE.to_owned();
    std::fs::create_dir(project.path("parts")).unwrap();
    std::fs::write(project.path("parts/one.bin"), content).unwrap();
    project
}

#[test]
fn a_file_of_this_machine_is_part_of_the_key() {
    let project = with_part(b"one\n");
    let first = project.push(&[]);
    first.all("built");
    assert_eq!(file(&project.fill("$REPO/app:1"), "etc/part"), "one");
    project.push(&[]).all("current");
    std::fs::write(project.path("parts/one.bin"), "two\n").unwrap();
    let plan = project.run(&["plan"]).code(0);
    assert!(plan.out.contains("tool-moved") || plan.out.contains("/etc/part"), "{}", plan.out);
    let second = project.push(&[]);
    second.all("built");
    assert_ne!(first.digests(), second.digests());
    assert_eq!(file(&project.fill("$REPO/app:1"), "etc/part"), "two");
    // Equal content is an equal image, whatever the file is called.
    std::fs::write(project.path("parts/other.bin"), "one\n").unwrap();
    assert_eq!(project.push(&["--var", "part=other.bin"]).digests(), first.digests());
}

#[test]
fn a_file_that_is_missing_is_named_before_anything_is_built() {
    let project = with_part(b"one");
    let words = ["build", "--push", "--var", "part=none.bin"];
    project.run(&words).code(3).says(&["failed to open `parts/none.bin`", "help: `source` of `files`"]);
    assert!(digest(&project.fill("$REPO/app:1")).is_none());
    project.run(&["check", "--var", "part=none.bin"]).code(0);
    project
        .run(&["export", "bake", "--out", "bake"])
        .code(2)
        .says(&["it holds the file `parts/one.bin` of this machine"]);
    project
        .run(&["export", "harness-pipeline"])
        .code(2)
        .says(&["`parts/one.bin`, which a pipeline cannot carry along", "--codebase"]);
    project.run(&["export", "harness-pipeline", "--codebase"]).code(0).prints(&["cloneCodebase: true"]);
}

#[test]
fn railyards_own_image_is_built_by_railyard_and_runs() {
    let project = project("");
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/images/railyard.toml");
    let program = format!("program={}", env!("CARGO_BIN_EXE_railyard"));
    let base = format!("base={}", stand_in("python3.11"));
    let repository = project.fill("$REPO");
    let words = ["--file", manifest, "--repository", &repository, "--var", &program, "--var", &base];
    project.push(&words).all("built");
    let reference = format!("{repository}/railyard:0.1.0");
    let run =
        |words: &[&str]| docker(&project.engine, &[&["run", "--rm", "--pull", "always"], words].concat());
    assert_eq!(run(&[&reference, "--version"]), "railyard 0.1.0");
    // As a plugin step starts it: without arguments, with settings.
    assert!(run(&["--env", "PLUGIN_COMMAND=schema", &reference]).contains("\"$schema\""));
    docker(&project.engine, &["rmi", &reference]);
}
