//! The lock at the end of a build: what others added meanwhile is kept.

use crate::project::registry::project;

#[test]
fn builds_beside_each_other_keep_each_others_outputs() {
    let mut project = project(
        r#"
[axes.n]
values = ["1", "2"]
[layers.made]
run = { image = "$BASE", script = "mkdir /opt/made; echo {{ n }} $NONCE >/opt/made/n; sleep 3", keep = ["/opt/made"] }
[images.app]
axes = ["n"]
base = "$BASE"
tags = ["{{ n }}"]
layers = ["made"]
"#,
    );
    let nonce = project.unique();
    project.name("NONCE", &nonce);
    let text = project.read("builds.toml");
    project.write("builds.toml", &text);
    // The entries that both need are there before.
    project.run(&["update"]).code(0);
    let children: Vec<_> = ["n=1", "n=2"]
        .map(|only| project.command(&["build", "--progress", "quiet", "--only", only]).spawn().unwrap())
        .into();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let lock = project.read("builds.lock");
    let outputs = lock.split("[outputs]").nth(1).unwrap_or_default();
    assert_eq!(outputs.matches(" = ").count(), 2, "{lock}");
    project.run(&["build", "--locked"]).code(0);
}
