//! Delivery elsewhere than to a registry: the engine, a layout, an archive.

use crate::project::NO_ENGINE;
use crate::project::engine::{docker, engines};
use crate::project::registry::{digest, project, tool};

const MANIFEST: &str = r#"
[axes.n]
values = ["1", "2"]
[layers.own]
files = [{ path = "/etc/n", content = "number {{ n }}" }]
[images.app]
axes = ["n"]
base = "$BASE"
tags = ["{{ n }}"]
layers = ["own"]
cmd = ["/bin/cat", "/etc/n"]
"#;

#[test]
fn load_puts_the_images_into_every_engine() {
    let mut project = project(MANIFEST);
    for engine in engines() {
        project.engine = engine;
        let (_, report) = project.build(&["--load"], 0);
        assert_eq!(report.steps("load"), 2);
        for n in ["1", "2"] {
            let image = project.fill(&format!("$REPO/app:{n}"));
            let inspected =
                docker(&project.engine, &["image", "inspect", "--format", "{{json .Config.Cmd}}", &image]);
            assert_eq!(inspected, r#"["/bin/cat","/etc/n"]"#);
            assert_eq!(docker(&project.engine, &["run", "--rm", &image]), format!("number {n}"));
            docker(&project.engine, &["rmi", &image]);
        }
    }
    assert_eq!(digest(&project.fill("$REPO/app:1")), None, "nothing was pushed");
}

#[test]
fn outputs_are_read_by_other_programs() {
    let mut project = project(MANIFEST);
    let engine = std::mem::replace(&mut project.engine, NO_ENGINE.into());
    let report = project.build(&["--output", "oci:layout", "--output", "docker-archive:images.tar"], 0).1;
    let layout = project.path("layout").display().to_string();
    let name = project.fill("$REPO/app:2");
    let copied = format!("dir:{}", project.path("copied").display());
    tool("skopeo", &["copy", "--preserve-digests", &format!("oci:{layout}:{name}"), &copied]);
    let inspected = tool("skopeo", &["inspect", &format!("oci:{layout}:{name}")]);
    let inspected: serde_json::Value = serde_json::from_str(&inspected).unwrap();
    assert_eq!(inspected["Digest"], report.digests()[1]);
    assert_eq!(inspected["Layers"].as_array().unwrap().len(), 2);

    let archive = project.path("images.tar").display().to_string();
    let loaded = docker(&engine, &["load", "--input", &archive]);
    for n in ["1", "2"] {
        let image = project.fill(&format!("$REPO/app:{n}"));
        assert!(loaded.contains(&image), "{loaded}");
        assert_eq!(docker(&engine, &["run", "--rm", &image]), format!("number {n}"));
        docker(&engine, &["rmi", &image]);
    }
    // Again: the layout is added to, not doubled.
    project.build(&["--output", "oci:layout"], 0);
    let index: serde_json::Value = serde_json::from_str(&project.read("layout/index.json")).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2);
}

#[test]
fn an_output_of_another_form_is_a_mistake() {
    let project = project(MANIFEST);
    project.run(&["build", "--output", "tar:x"]).code(2).says(&["`--output tar:x` is neither `oci:DIR` nor"]);
    project.run(&["build", "--report", "xml:x"]).code(2).says(&["`--report xml:x` is neither"]);
}
