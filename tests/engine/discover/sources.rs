//! Where versions are looked up, and what the commands do with what the lock lacks.

use super::server::Server;
use crate::project::registry::{file, project, setting};
use crate::project::{NO_ENGINE, Project};

/// Images of one axis `v`, discovered as given; each holds its version and, if it has one, its tag.
pub fn discovered(axis: &str) -> Project {
    let mut project = project(&format!(
        r#"
[axes.v]
{axis}
[layers.l]
files = [{{ path = "/version", content = "{{{{ v }}}} {{{{ v.tag if v.tag is defined else '' }}}}" }}]
[images.app]
axes = ["v"]
base = "scratch"
tags = ["{{{{ v }}}}"]
layers = ["l"]
"#
    ));
    project.engine = NO_ENGINE.into();
    project
}

/// The values of the lock, in order.
fn values(project: &Project) -> Vec<String> {
    let lock = project.read("builds.lock");
    let list = lock.split_once("values = [\n").unwrap().1.split_once("\n]").unwrap().0;
    list.lines().map(|line| line.trim().trim_matches(['"', ',']).to_owned()).collect()
}

#[test]
fn npm_lists_the_versions_of_a_package() {
    let project = discovered("versions = \">=3.38, <3.40\"\nsource = { npm = \"serverless\" }");
    project.run(&["update"]).code(0).prints(&["axis `v` (npm serverless: >=3.38, <3.40)", "3.38.0, 3.39.0"]);
    assert_eq!(values(&project), ["3.38.0", "3.39.0"]);
    project.push(&["--locked"]).all("built");
    assert_eq!(file(&project.fill("$REPO/app:3.39.0"), "version"), "3.39.0");
}

#[test]
fn npm_is_run_in_an_image_where_the_machine_has_none() {
    let image =
        format!("{}/sam/build-nodejs20.x:1.143.0-20250822194415-x86_64", setting("RAILYARD_DEV_REGISTRY"));
    let mut project = discovered(&format!(
        "versions = \">=3.38, <3.40\"\nsource = {{ npm = \"serverless\", image = \"{image}\" }}"
    ));
    project.set("PATH", project.path("none").to_str().unwrap());
    project.run(&["update"]).code(3).says(&[
        "npm is not installed here",
        "no container engine",
        "install npm",
    ]);
    assert!(!project.path("builds.lock").exists());
    project.engine = crate::project::engine::engines()[0].clone();
    project.run(&["update"]).code(0);
    assert_eq!(values(&project), ["3.38.0", "3.39.0"]);
    assert_eq!(crate::project::engine::labelled(&project.engine, "io.railyard.discover"), [""; 0]);
    let text = project.read("builds.toml");
    project.write("builds.toml", &text.replace(&format!(", image = \"{image}\""), ""));
    std::fs::remove_file(project.path("builds.lock")).unwrap();
    project.run(&["build"]).code(3).says(&["no image that has it is named", "image = \"…\""]);
}

#[test]
fn a_package_that_npm_does_not_know_is_named() {
    let project = discovered("versions = \"*\"\nsource = { npm = \"@railyard-test/no-such-package\" }");
    let ended = project.run(&["update"]).code(3);
    ended.says(&["failed to look up the versions of axis `v`", "npm", "help:"]);
    assert!(!project.path("builds.lock").exists());
}

#[test]
fn tags_of_a_registry_become_values_with_their_tag() {
    let registry = setting("RAILYARD_DEV_REGISTRY");
    let source = format!(
        "source = {{ tags = \"{registry}/harness/serverless-plugin\", pattern = \"(?<version>.+)-base-image\" }}"
    );
    let project = discovered(&format!("versions = \">=1\"\n{source}"));
    project.push(&[]).all("built");
    assert_eq!(values(&project), ["1.0.0"]);
    assert_eq!(file(&project.fill("$REPO/app:1.0.0"), "version"), "1.0.0 1.0.0-base-image");
    let named = discovered(&format!("versions = \">=1.0.0, >=1.1.0-beta\"\n{source}"));
    named.run(&["update"]).code(0);
    assert_eq!(values(&named), ["1.1.0-beta"]);
    let all = discovered(&format!("versions = \">=1\"\nprereleases = true\n{source}"));
    all.run(&["update"]).code(0);
    assert_eq!(values(&all), ["1.0.0", "1.1.0-beta"]);
    let newest = discovered(&format!("versions = \">=1\"\nprereleases = true\nnewest = 1\n{source}"));
    newest.push(&[]).all("built");
    assert_eq!(file(&newest.fill("$REPO/app:1.1.0-beta"), "version"), "1.1.0-beta 1.1.0-beta-base-image");
}

#[test]
fn every_page_of_tags_is_read() {
    let server = Server::start();
    let tags: Vec<String> = (0..9).map(|n| format!("1.{n}.0-2025082219441{n}-x86_64")).collect();
    let mut tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    tags.extend(["1.8.0-20250901000000-x86_64", "1.8.0-20250901000000-arm64", "latest"]);
    server.tags(&tags);
    let project = discovered(&format!(
        "versions = \">=1.3\"\nsource = {{ tags = \"{}/acme/app\", pattern = '(?<version>\\d+\\.\\d+\\.\\d+)-\\d+-x86_64' }}",
        server.host
    ));
    project.run(&["update"]).code(0);
    assert_eq!(server.requests("/tags/list"), 6, "twelve tags, two a page");
    assert_eq!(values(&project), ["1.3.0", "1.4.0", "1.5.0", "1.6.0", "1.7.0", "1.8.0"]);
    let lock = project.read("builds.lock");
    assert!(lock.contains("tags.\"1.8.0\" = \"1.8.0-20250901000000-x86_64\""), "the later of two: {lock}");
    assert!(!lock.contains("1.8.0-20250822"), "{lock}");
}

#[test]
fn files_and_servers_list_versions_too() {
    let mut server_project = discovered("versions = \">=1\"\nsource = { url = \"http://$HOST/stable.txt\" }");
    let server = Server::start();
    server_project.name("HOST", &server.host);
    server_project.write("builds.toml", &server_project.read("builds.toml"));
    server_project.run(&["update"]).code(3).says(&["404 Not Found", "help: correct `url`"]);
    server.put("stable.txt", "v1.31.0\n");
    server_project.push(&[]).all("built");
    assert_eq!(values(&server_project), ["v1.31.0"]);

    let project = discovered("versions = \">=1\"\nsource = { file = \"versions.txt\" }");
    project.run(&["build"]).code(3).says(&["failed to read `versions.txt`", "relative to the manifest"]);
    project.write("versions.txt", "# ours\n2.0.0\n1.0.0\nnext\n1.1\n0.9.0\n");
    project.run(&["build"]).code(0).says(&["passed over 2 that are no semantic versions, e.g. `next`"]);
    assert_eq!(values(&project), ["1.0.0", "2.0.0"]);
    project.write("versions.txt", "[\"1.0.0\", \"3.0.0\"]");
    project.run(&["update"]).code(0).prints(&["added    3.0.0", "removed  2.0.0"]);
    project.write("versions.txt", "0.1.0\n");
    let ended = project.run(&["update"]).code(3);
    ended.says(&["lists none that fulfils `>=1`: there are 1 versions, the newest is `0.1.0`", "help:"]);
    assert_eq!(values(&project), ["1.0.0", "3.0.0"], "a failed update leaves the lock as it was");
}

#[test]
fn only_commands_that_may_ask_do() {
    let project = discovered("versions = \">=1\"\nsource = { file = \"versions.txt\" }");
    project.write("versions.txt", "1.0.0\n");
    for command in [&["check"][..], &["plan", "--offline"]] {
        let ended = project.run(command).code(2);
        ended.says(&["has no versions for axis `v`", "builds.toml:7:12", "help: run `railyard update v`"]);
    }
    let locked = project.run(&["build", "--locked"]).code(2);
    locked.says(&["--locked: the lock `builds.lock` lacks versions of axis `v`", "railyard update"]);
    let ended = project.run(&["plan"]).code(0).prints(&["/app:1.0.0"]);
    ended.says(&["looked up for this plan only, the lock was not written: axis `v`: 1.0.0"]);
    assert!(!project.path("builds.lock").exists(), "plan does not write the lock");
    project.run(&["build"]).code(0).says(&["locked axis `v`: 1.0.0"]);
    project.run(&["check"]).code(0).prints(&["1 cells"]);

    let text = project.read("builds.toml");
    project.write("builds.toml", &text.replace(">=1", ">=1, <9"));
    let ended = project.run(&["check", "--plain"]).code(2);
    ended.says(&[
        "builds.toml:7:12: error[versions-not-locked]: the lock `builds.lock` has not these versions",
    ]);
    project.run(&["build", "--locked"]).code(2).says(&["lacks versions of axis `v`"]);
    project.run(&["build"]).code(0);
    assert!(project.read("builds.lock").contains("file versions.txt: >=1, <9"));
}

#[test]
fn rows_are_held_against_what_was_found() {
    let manifest = "versions = \">=1\"\nsource = { file = \"versions.txt\" }";
    let project = discovered(manifest);
    project.write("versions.txt", "1.0.0\n1.1.0\n");
    let text = project.read("builds.toml");
    project.write("builds.toml", &format!("{text}exclude = [{{ v = \"1.0.*\" }}, {{ v = \"7.*\" }}]\n"));
    project.run(&["plan"]).code(0).prints(&["1 cells ask"]);
    project.write("builds.toml", &format!("{text}include = [{{ v = \"1.2.0\" }}]\n"));
    let ended = project.run(&["build"]).code(2);
    ended.says(&["axis `v` has no value `1.2.0`", "what the lock has found for this", "railyard update v"]);
    let zipped = text.replace("[layers.l]", "[axes.w]\nvalues = [\"a\"]\n[layers.l]");
    let zipped = zipped.replace("axes = [\"v\"]", "axes = [\"v\", \"w\"]\nzip = [[\"v\", \"w\"]]");
    project.write("builds.toml", &zipped);
    project.run(&["build"]).code(2).says(&["zipped axes differ in length: `v` has 2 values"]);
}

#[test]
fn a_source_is_a_template_over_variables_and_no_axis() {
    let project = discovered("versions = \">=1\"\nsource = { file = \"{{ vars.list }}.txt\" }");
    let text = project.read("builds.toml");
    project.write("builds.toml", &format!("{text}[vars]\nlist = \"one\"\n"));
    project.write("one.txt", "1.0.0");
    project.write("two.txt", "2.0.0");
    project.run(&["plan"]).code(0).prints(&["/app:1.0.0"]);
    project.run(&["plan", "--var", "list=two"]).code(0).prints(&["/app:2.0.0"]);
    project.write("builds.toml", &text.replace("vars.list", "v"));
    project.run(&["check"]).code(2).says(&["axis-in-source", "no axis has a value here", "help:"]);
    project.write("builds.toml", &text);
    project.run(&["check"]).code(2).says(&["there is no variable `list`"]);
}

#[test]
fn a_tool_has_the_newest_version_that_is_found() {
    let server = Server::start();
    server.put("stable.txt", "v1.30.0\nv1.31.2\nv1.31.0\n");
    server.put("v1.31.2/kubectl", "kubectl 1.31.2");
    server.put("v1.32.0/kubectl", "kubectl 1.32.0");
    let mut project = project(&format!(
        r#"
[tools.kubectl]
version = {{ versions = ">=1.30", source = {{ url = "http://{host}/stable.txt" }} }}
url = "http://{host}/{{{{ version }}}}/kubectl"
path = "/bin/kubectl"
[layers.l]
tools = ["kubectl"]
[images.app]
base = "scratch"
tags = ["1"]
layers = ["l"]
"#,
        host = server.host
    ));
    project.engine = NO_ENGINE.into();
    project.run(&["check"]).code(2).says(&["has no versions for tool `kubectl`", "railyard update kubectl"]);
    project.push(&[]).all("built");
    assert_eq!(file(&project.fill("$REPO/app:1"), "bin/kubectl"), "kubectl 1.31.2");
    server.put("stable.txt", "v1.32.0\n");
    project.push(&[]).all("current");
    let ended = project.run(&["update", "kubectl"]).code(0);
    ended.prints(&[
        "moved    tool `kubectl`",
        "added    v1.32.0: touches 1 cell: app",
        "removed  v1.31.2: was in 1 cell: app",
    ]);
    project.push(&["--locked"]).all("built");
    assert_eq!(file(&project.fill("$REPO/app:1"), "bin/kubectl"), "kubectl 1.32.0");
}
