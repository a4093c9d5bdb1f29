//! Tags that are there already, and tags that a version becomes.

use super::servers::project;
use crate::mirror::proxy::Proxy;
use crate::project::Project;
use crate::project::registry::{digest, setting, tool};

const MANIFEST: &str = r#"
schema = 1
[project]
name = "p"
repository = "$REGISTRY/existing-$UNIQUE"
[registries."$REGISTRY/existing-$UNIQUE/kept"]
existing_tags = "keep"
[registries."$REGISTRY/existing-$UNIQUE/fixed"]
existing_tags = "refuse"
[layers.text]
files = [{ path = "/text", content = "$TEXT" }]
[images.kept]
base = "scratch"
tags = ["1", "$TAG"]
layers = ["text"]
[images.fixed]
extends = "kept"
tags = ["1"]
[images.moved]
extends = "kept"
name = "fixed/moved"
tags = ["latest"]
existing_tags = "move"
"#;

fn made() -> (Project, String) {
    let mut project = project("");
    let repository = format!("{}/existing-{}", setting("RAILYARD_DEV_REGISTRY"), project.unique());
    project.name("REGISTRY", &setting("RAILYARD_DEV_REGISTRY"));
    project.name("UNIQUE", &project.unique());
    (project, repository)
}

#[test]
fn a_tag_that_is_there_stays_or_refuses_or_moves() {
    let (project, repository) = made();
    let write = |text: &str, tag: &str| {
        project.write("builds.toml", &MANIFEST.replace("$TEXT", text).replace("$TAG", tag));
    };
    let of = |name: &str| digest(&format!("{repository}/{name}"));
    write("one", "2");
    project.push(&[]);
    let first = of("kept:1").unwrap();
    assert_eq!((of("fixed:1"), of("fixed/moved:latest")), (Some(first.clone()), Some(first.clone())));
    // Equal digests are success, wherever tags must not move.
    project.push(&[]);

    write("two", "3");
    let (ended, report) = project.build(&["--push"], 1);
    let moved = of("fixed/moved:latest").unwrap();
    assert_ne!(moved, first);
    assert_eq!(of("fixed:1"), Some(first.clone()));
    let ended = ended.says(&["fixed:1` must not move", &first, &moved]);
    // The repository that has `kept:1` is left alone, its new tag too.
    assert_eq!((of("kept:1"), of("kept:3")), (Some(first.clone()), None));
    assert!(
        ended.err.contains("kept:1` is kept") || report.0.to_string().contains("kept:1` is kept"),
        "{}",
        ended.err
    );
    let status = project.run(&["status", "--format", "json"]).code(0);
    let status: serde_json::Value = serde_json::from_str(&status.out).unwrap();
    let of_cell = |name: &str| {
        let cells = status["cells"].as_array().unwrap();
        cells.iter().find(|cell| cell["cell"] == name || cell["name"] == name).unwrap()["status"].clone()
    };
    assert_eq!((of_cell("kept"), of_cell("fixed")), ("current".into(), "stale".into()));
    // What will be refused is said before anything runs, also where the new digest is not known yet.
    let reasons = |known: bool| {
        let plan = project.run(&["plan", "--format", "json"]).code(0);
        let plan: serde_json::Value = serde_json::from_str(&plan.out).unwrap();
        let cell =
            plan["cells"].as_array().unwrap().iter().find(|cell| cell["name"] == "fixed").unwrap().clone();
        assert_eq!(cell["digest"].is_null(), !known, "{cell}");
        cell["reasons"].as_array().unwrap().iter().any(|reason| reason["code"] == "tag-fixed")
    };
    assert!(reasons(true));
    write("three", "3");
    assert!(reasons(false));
}

const VERSIONS: &str = r#"
schema = 1
[project]
name = "p"
repository = "$REGISTRY/existing-$UNIQUE"
[axes.app]
values = ["v1.2.3", "1.2.10", "1.3.0", "2.0.0-rc.1"]
[layers.text]
files = [{ path = "/text", content = "{{ app }}" }]
[images.versions]
axes = ["app"]
base = "scratch"
version_tags = ["{{ app }}", { version = "{{ app }}", prefix = "v", suffix = "-linux-amd64" }]
layers = ["text"]
"#;

#[test]
fn a_version_becomes_tags_and_the_highest_has_the_short_ones() {
    let (project, repository) = made();
    project.write("builds.toml", VERSIONS);
    project.push(&[]);
    let of = |tag: &str| digest(&format!("{repository}/versions:{tag}"));
    for (tag, same) in [
        ("1", "1.3.0"),
        ("1.3", "1.3.0"),
        ("1.2", "1.2.10"),
        ("v1.2-linux-amd64", "1.2.10"),
        ("v1-linux-amd64", "1.3.0"),
        ("v2.0.0-rc.1-linux-amd64", "2.0.0-rc.1"),
    ] {
        assert!(of(tag).is_some(), "{tag}");
        assert_eq!(of(tag), of(same), "{tag}");
    }
    assert!(of("1.2.3").is_some() && of("1.2.3") != of("1.2.10"));
    assert_eq!((of("2"), of("2.0"), of("v1.2.3")), (None, None, None));
    project.run(&["status", "--exit-code"]).code(0);
    // A new version takes the short tags over; the others keep their own.
    let before = of("1.3.0");
    project.write("builds.toml", &VERSIONS.replace("\"1.3.0\"", "\"1.3.0\", \"1.4.0\""));
    project.push(&[]);
    assert_eq!((of("1"), of("1.3"), of("1.3.0")), (of("1.4.0"), before.clone(), before));
}

/// Another run puts an image under the tags while this one is between its push and its tags.
#[test]
fn a_tag_that_came_during_the_run_stays_or_refuses() {
    let (project, repository) = made();
    let registry = setting("RAILYARD_DEV_REGISTRY");
    let other = crate::project::registry::small_base().to_owned();
    let proxy = Proxy::start(&registry);
    let through = format!("{}/existing-{}", proxy.host, project.unique());
    let manifest = MANIFEST.replace("$TEXT", "one").replace("$TAG", "2");
    project.write("builds.toml", &manifest.replace("$REGISTRY", &proxy.host));
    let mut left = vec!["kept", "fixed"];
    let place = repository.clone();
    proxy.rule(move |request| {
        left.retain(|name| {
            let pushed = request.starts_with("PUT") && request.contains(&format!("/{name}/manifests/sha256"));
            if pushed {
                tool("crane", &["copy", &other, &format!("{place}/{name}:1")]);
            }
            !pushed
        });
        None
    });
    let (ended, report) = project.build(&["--push"], 1);
    let of = |name: &str| digest(&format!("{repository}/{name}"));
    let other = digest(crate::project::registry::small_base());
    assert_eq!((of("kept:1"), of("kept:2"), of("fixed:1")), (other.clone(), None, other));
    let outcomes = report.outcomes();
    assert!(outcomes.contains(&("fixed".into(), "failed".into())), "{outcomes:?}");
    let ended = ended.says(&[&format!("`{through}/fixed:1` must not move")]);
    assert!(ended.err.contains(&format!("`{through}/kept:1` is kept")), "{}", ended.err);
    // What went into an image is said before a tag has it.
    let puts = proxy.requests("PUT");
    let at =
        |part: &str| puts.iter().position(|put| put.contains(part)).unwrap_or_else(|| panic!("{puts:?}"));
    assert!(at("/moved/manifests/sha256-") < at("/moved/manifests/latest"), "{puts:?}");
}
