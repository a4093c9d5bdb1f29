//! The lock as an artifact in the cache repository.

use crate::project::NO_ENGINE;
use crate::project::registry::{digest, manifest, project, tool};

#[test]
fn a_good_push_keeps_the_lock_in_the_cache_repository() {
    let mut project = project(
        r#"
[cache]
repository = "$REPO/cache"
[axes.v]
versions = "*"
source = { file = "versions.txt" }
[images.app]
axes = ["v"]
base = "scratch"
tags = ["{{ v }}"]
"#,
    );
    project.engine = NO_ENGINE.into();
    project.write("versions.txt", "1.0.0");
    let (cache, kept) = (project.fill("$REPO/cache"), project.fill("$REPO/cache:lock-t"));
    project.build(&[], 0);
    assert_eq!(digest(&kept), None, "without --push nothing is pushed");
    let (ended, _) = project.build(&["--push", "--no-cache"], 0);
    assert!(!ended.err.contains("the lock is kept"), "{}", ended.err);
    assert_eq!(digest(&kept), None, "--no-cache does not fill it");

    let (ended, _) = project.build(&["--push"], 0);
    ended.says(&[&format!("the lock is kept as `{kept}`")]);
    let first = digest(&kept).unwrap();
    let document = manifest(&kept);
    let layer = &document["layers"][0];
    assert_eq!(document["artifactType"], "application/vnd.railyard.lock.v1+toml");
    assert_eq!(layer["mediaType"], "application/vnd.railyard.lock.v1+toml");
    assert_eq!(layer["annotations"]["org.opencontainers.image.title"], "builds.lock");
    let blob = tool("crane", &["blob", &format!("{cache}@{}", layer["digest"].as_str().unwrap())]);
    assert_eq!(blob, project.read("builds.lock").trim());

    let (ended, _) = project.build(&["--push"], 0);
    assert!(!ended.err.contains("the lock is kept"), "an equal lock is not pushed again: {}", ended.err);
    project.write("versions.txt", "1.0.0\n1.1.0");
    project.run(&["update"]).code(0);
    project.build(&["--push"], 0).0.says(&["the lock is kept"]);
    assert_ne!(digest(&kept).unwrap(), first);
}
