//! `--output`, and a store whose blobs were damaged: images out of files alone.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use serde_json::Value;

use crate::project::{Project, listing};

const MANIFEST: &str = r#"
schema = 1
[project]
name = "t"
repository = "localhost:1/acme"
[layers.own]
files = [{ path = "/etc/own", content = "a layer of files" }]
[images.app]
base = "scratch"
tags = ["1"]
layers = ["own"]
"#;

fn layout(project: &Project) -> Layout<'_> {
    Layout { project }
}

/// What is in the layout `out`.
struct Layout<'a> {
    project: &'a Project,
}

impl Layout<'_> {
    fn index(&self) -> Value {
        serde_json::from_str(&self.project.read("out/index.json")).unwrap()
    }

    fn blob(&self, descriptor: &Value) -> PathBuf {
        let hex = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        self.project.path("out/blobs/sha256").join(hex)
    }

    /// The descriptor of the one layer.
    fn layer(&self) -> Value {
        let index = self.index();
        let manifest = index["manifests"].as_array().unwrap().last().unwrap();
        let manifest: Value = serde_json::from_slice(&std::fs::read(self.blob(manifest)).unwrap()).unwrap();
        manifest["layers"][0].clone()
    }
}

fn build(project: &Project) {
    project.build(&["--output", "oci:out"], 0);
}

/// The layer's blob in the store.
fn stored(project: &Project) -> PathBuf {
    let layer = layout(project).layer();
    let hex = layer["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    project.path("store/blobs/sha256").join(hex)
}

#[test]
fn a_layout_is_for_everybody_and_apart_from_the_store() {
    let project = Project::new(MANIFEST);
    build(&project);
    for (path, _) in listing(&project.path("out")) {
        let meta = std::fs::metadata(&path).unwrap();
        assert_eq!(meta.permissions().mode() & 0o777, 0o644, "{}", path.display());
        assert_eq!(meta.nlink(), 1, "{}", path.display());
    }
    let blob = layout(&project).blob(&layout(&project).layer());
    let good = std::fs::read(&blob).unwrap();
    std::fs::write(&blob, b"cut").unwrap();
    assert_eq!(std::fs::read(stored(&project)).unwrap(), good);
    build(&project);
    assert_eq!(std::fs::read(&blob).unwrap(), good, "a truncated blob is written anew");
}

#[test]
fn what_is_in_a_layout_stays() {
    let project = Project::new(MANIFEST);
    build(&project);
    let index = project.path("out/index.json");
    let mut document = layout(&project).index();
    let digest = format!("sha512:{}", "a".repeat(128));
    let foreign =
        serde_json::json!({ "mediaType": "application/x", "digest": digest, "size": 1, "data": "eA==" });
    document["manifests"].as_array_mut().unwrap().insert(0, foreign.clone());
    document["annotations"] = serde_json::json!({ "a": "b" });
    std::fs::write(&index, document.to_string()).unwrap();
    build(&project);
    assert_eq!(layout(&project).index(), document);

    std::fs::write(&index, "{ no JSON").unwrap();
    let ended = project.run(&["build", "--output", "oci:out"]);
    assert_ne!(ended.code, Some(0));
    ended.says(&["out/index.json", "is no index of an OCI layout", "nothing was written over"]);
    assert_eq!(project.read("out/index.json"), "{ no JSON");
}

#[test]
fn a_damaged_blob_is_dropped_and_made_again() {
    let project = Project::new(MANIFEST);
    build(&project);
    let (path, good) = (stored(&project), std::fs::read(stored(&project)).unwrap());
    let mut longer = good.clone();
    longer.push(0);
    let mut other = good.clone();
    other[good.len() / 2] ^= 1;
    // Of another size it shows before anything runs, of the same size where it leaves the store.
    for damaged in [longer, other] {
        std::fs::remove_dir_all(project.path("out")).unwrap();
        std::fs::write(&path, &damaged).unwrap();
        let (ended, _) = project.build(&["--output", "oci:out", "--output", "docker-archive:out.tar"], 0);
        ended.says(&["the stored blob `sha256:", "was damaged: it is dropped"]);
        assert_eq!(std::fs::read(&path).unwrap(), good);
        let layer = layout(&project).layer();
        assert_eq!(std::fs::read(layout(&project).blob(&layer)).unwrap(), good);
        let archive = std::fs::read(project.path("out.tar")).unwrap();
        assert!(archive.windows(good.len()).any(|window| window == good));
    }
    let (ended, _) = project.build(&["--output", "oci:out"], 0);
    assert!(!ended.err.contains("damaged"), "{}", ended.err);
}
