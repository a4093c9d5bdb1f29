//! Where the list of images comes from, and what is wrong with one.

use std::io::Write as _;
use std::process::Stdio;

use super::api::{Answer, Api};
use super::copy::{bare, mirror, outcomes, upstream};
use crate::project::registry::setting;

#[test]
fn lists_come_from_files_standard_input_and_catalogs() {
    let (project, upstream) = (bare(), upstream());
    let to = format!("{}/t-{}", setting("RAILYARD_DEV_REGISTRY"), project.unique());
    project.write("a.txt", "# ours\nplugins/s3:1.0.5   # uploads\n\nplugins/gcs:1.2.6\n");
    let dry = ["--dry-run", "--to", &to, "--from", &upstream];
    let document = mirror(&project, 0, &[&dry[..], &["--list", "a.txt", "plugins/s3:1.0.5"]].concat());
    let names: Vec<&str> =
        document["images"].as_array().unwrap().iter().map(|image| image["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["plugins/s3:1.0.5", "plugins/gcs:1.2.6"], "listed twice is once");

    let arguments = [&["mirror"], &dry[..], &["--list", "-"]].concat();
    let mut child = project.command(&arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"plugins/cache:1.3.8\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("copy     plugins/cache:1.3.8 -> "));

    // A catalog without tags: the newest version, else `latest`.
    let api = Api::start();
    api.answer(
        "/registry/_catalog",
        Answer::json(
            200,
            r#"{"repositories":["harness/ci-addon","harness/sto-plugin","plugins/gcs:1.2.6"]}"#,
        ),
    );
    let address = format!("http://{}/registry/_catalog", api.host);
    let document = mirror(&project, 0, &[&dry[..], &["--catalog", &address]].concat());
    let names: Vec<&str> =
        document["images"].as_array().unwrap().iter().map(|image| image["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["harness/ci-addon:1.14.4", "harness/sto-plugin:latest", "plugins/gcs:1.2.6"]);
    api.answer("/registry/_catalog", Answer::json(200, "<html>gone</html>"));
    let failed = project.run(&[&["mirror"], &dry[..], &["--catalog", &address]].concat());
    failed.code(3).says(&["failed to read the catalog", "a web page", "help:", "--list"]);
}

#[test]
fn a_list_that_cannot_be_used_is_refused_with_every_place() {
    let project = bare();
    project.write("a.txt", "plugins/s3:1.0.5\nPlugins S3\n\nquay.io/plugins/s3:1.0.5\n");
    let ended = project.run(&["mirror", "--to", "r.example/acme", "--list", "a.txt", "a//b"]).code(2);
    ended.says(&[
        "a.txt:2: `Plugins S3` is not an image reference",
        "the command line: `a//b` is not",
        "`docker.io/plugins/s3:1.0.5` and `quay.io/plugins/s3:1.0.5` both go to `r.example/acme/plugins/s3:1.0.5`",
        "help:",
    ]);
    project.run(&["mirror", "a/b:1"]).code(2).says(&["it is not said where the images go", "--to"]);
    project.run(&["mirror"]).code(2).says(&["there is no manifest `builds.toml`"]);
    project
        .run(&["mirror", "--to", "r.example", "--list", "none.txt"])
        .code(2)
        .says(&["failed to read `none.txt`"]);
}

#[test]
fn images_of_a_private_registry_keep_their_platforms_when_mirrored_by_digest() {
    let (project, upstream) = (bare(), upstream());
    let to = format!("{}/t-{}", setting("RAILYARD_DEV_REGISTRY"), project.unique());
    let digest = crate::project::registry::digest(&format!("{upstream}/harness/ci-addon:1.13.2")).unwrap();
    let listed = format!("harness/ci-addon@{digest}");
    let document = mirror(&project, 0, &["--to", &to, "--from", &upstream, &listed]);
    assert_eq!(outcomes(&document), ["copied"]);
    assert_eq!(crate::project::registry::digest(&format!("{to}/{listed}")), Some(digest));
}
