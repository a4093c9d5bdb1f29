//! Images that go to several registries: every blob once to each, tags last, all of them looked at.

use super::servers::{crane, htpasswd, project};

const PASSWORD: &str = "hunter22-of-ann";

const MANIFEST: &str = r#"
schema = 1
[project]
name = "p"
repository = "$ONE/acme"
destinations = ["$TWO/mirror/acme"]
[registries."$ONE"]
credentials = { username = "ann", password = { env = "ANN" } }
[registries."$TWO"]
credentials = { username = "bob", password = { env = "BOB" } }
[axes.n]
values = ["1", "2"]
[layers.shared]
files = [{ path = "/shared", content = "$TEXT" }]
[layers.own]
files = [{ path = "/own", content = "{{ n }}" }]
[images.app]
axes = ["n"]
base = "scratch"
tags = ["{{ n }}", "also-{{ n }}"]
layers = ["shared", "own"]
[images.local]
extends = "app"
destinations = ["$ONE/local"]
[images.more]
extends = "app"
destinations = ["...", "$TWO/more"]
"#;

#[test]
fn an_image_goes_to_all_destinations_and_is_current_only_where_all_have_it() {
    let one = htpasswd(&[("ann", PASSWORD)]);
    let two = htpasswd(&[("bob", "hunter23-of-bob")]);
    let mut project = project("");
    project.name("ONE", &one.host);
    project.name("TWO", &two.host);
    project.name("TEXT", "text");
    project.write("builds.toml", MANIFEST);
    project.set("ANN", PASSWORD);
    project.set("BOB", "hunter23-of-bob");
    let (_, report) = project.build(&["--push"], 0);
    let in_one = |name: &str| crane(&one.host, "ann", PASSWORD, &["digest", &format!("{}/{name}", one.host)]);
    let in_two =
        |name: &str| crane(&two.host, "bob", "hunter23-of-bob", &["digest", &format!("{}/{name}", two.host)]);
    let digest = in_one("acme/app:1").unwrap();
    for tag in ["app:1", "app:also-1", "more:1"] {
        assert_eq!(in_one(&format!("acme/{tag}")), Some(digest.clone()), "{tag}");
        assert_eq!(in_two(&format!("mirror/acme/{tag}")), Some(digest.clone()), "{tag}");
    }
    assert_eq!(in_one("local/local:1"), Some(digest.clone()));
    assert_eq!(in_two("more/more:2"), in_one("acme/app:2"));
    assert_eq!(
        (in_one("acme/local:1"), in_two("mirror/acme/local:1"), in_one("more/more:1")),
        (None, None, None)
    );
    // Three layer blobs, two configurations and the empty document are sent once to each registry
    // (and each statement); what else wants a blob gets it by a mount.
    let mounted = report.0["blobs"]["mounted"].as_u64().unwrap();
    assert!(mounted > 0, "{}", report.0["blobs"]);
    let references = &report.0["cells"][0]["references"];
    assert_eq!(references.as_array().unwrap().len(), 4, "{references}");

    project.run(&["status", "--exit-code"]).code(0);
    let history = project.run(&["history", "app[n=1]", "--format", "json"]).code(0);
    assert!(history.out.contains(&digest[7..19]), "{}", history.out);
    // One tag of one destination is lost: the cell is not current, and only that tag is put back.
    let lost = format!("{}/mirror/acme/app@{digest}", two.host);
    assert!(crane(&two.host, "bob", "hunter23-of-bob", &["delete", &lost]).is_some());
    project.run(&["status", "--exit-code"]).code(1);
    let (_, again) = project.build(&["--push"], 0);
    assert_eq!(in_two("mirror/acme/app:also-1"), Some(digest.clone()));
    // The statement about it; what the image is made of was there.
    assert_eq!(again.0["blobs"]["sent"], 1, "{}", again.0["blobs"]);

    // A repository given from outside stands for all of them.
    let elsewhere = format!("{}/elsewhere", one.host);
    project.run(&["build", "--push", "--repository", &elsewhere]).code(0);
    assert_eq!(in_one("elsewhere/more:1"), Some(digest));
    assert_eq!(in_two("elsewhere/more:1"), None);
}

#[test]
fn no_tag_moves_where_one_destination_cannot_be_reached() {
    let one = htpasswd(&[("ann", PASSWORD)]);
    let two = htpasswd(&[("bob", "hunter23-of-bob")]);
    let mut project = project("");
    project.name("ONE", &one.host);
    project.name("TWO", &two.host);
    project.name("TEXT", "other text");
    project.write("builds.toml", MANIFEST);
    project.set("ANN", PASSWORD);
    project.set("BOB", "wrong-password");
    project.run(&["build", "--push", "--only", "image=app"]).code(3).says(&["access denied"]);
    let tag = format!("{}/acme/app:1", one.host);
    assert_eq!(crane(&one.host, "ann", PASSWORD, &["digest", &tag]), None);
}
