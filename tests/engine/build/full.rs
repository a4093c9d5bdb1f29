//! A store whose disk is full: every step that fills it says so, and is not tried again.

use std::path::PathBuf;

use crate::project::engine::engines;
use crate::project::registry::{project, tool};

const MANIFEST: &str = r#"
[layers.made]
run = { image = "$BASE", script = "head -c 60000000 /dev/urandom >/opt/big", keep = ["/opt/big"] }
[images.kept]
base = "$BASE"
tags = ["1"]
layers = ["made"]
[images.changed]
base = "$BASE"
tags = ["1"]
setup = [{ script = "head -c 60000000 /dev/urandom >/opt/big" }]
[images.built]
tags = ["1"]
dockerfile = { context = "." }
"#;

/// A file system of its own, while this lives.
struct Small(PathBuf);

impl Small {
    fn mount(path: PathBuf, size: &str) -> Self {
        std::fs::create_dir(&path).unwrap();
        let size = format!("size={size}");
        tool("mount", &["-t", "tmpfs", "-o", &size, "railyard-test", path.to_str().unwrap()]);
        Self(path)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        tool("umount", &["--lazy", self.0.to_str().unwrap()]);
    }
}

#[test]
fn a_full_disk_is_named_and_no_step_is_tried_again() {
    for engine in engines() {
        let mut project = project(MANIFEST);
        project.engine = engine;
        project.write("Dockerfile", "FROM $BASE\nRUN head -c 60000000 /dev/urandom >/opt/big\n");
        project.write(".dockerignore", "*\n");
        let _store = Small::mount(project.path("store"), "40m");
        for image in ["kept", "changed", "built"] {
            let (ended, report) = project.build(&["--only", &format!("image={image}")], 3);
            report.all("failed");
            assert!(!ended.err.contains("tried again"), "{image}: {}", ended.err);
            ended.says(&["No space left on device", "help: make room on the store's file system"]);
        }
    }
}
