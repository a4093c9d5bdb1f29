//! Images of the matrix as base, source and builder; setup chains; bases that are layouts.

use crate::project::engine::run;
use crate::project::registry::{config, digest, file, manifest, project, tool};

#[test]
fn an_image_of_the_matrix_is_base_source_and_builder() {
    let project = project(
        r#"
[axes.kind]
values = ["a", "b"]
[layers.own]
files = [{ path = "/etc/kind", content = "{{ kind }}\n" }]
[layers.copied]
copy = [{ image = "first", paths = ["/etc/kind"], to = "/srv/copied" }]
[layers.made]
run = { image = { image = "first" }, script = "mkdir /opt/made; cat /etc/kind >/opt/made/kind; echo $FIRST >>/opt/made/kind", keep = ["/opt/made"] }
[images.first]
axes = ["kind"]
base = "$BASE"
tags = ["{{ kind }}"]
layers = ["own"]
env = { FIRST = "of {{ kind }}" }
push = false
[images.second]
axes = ["kind"]
base = { image = "first" }
tags = ["{{ kind }}"]
layers = ["copied", "made"]
env = { SECOND = "{{ base.env.FIRST }}!" }
"#,
    );
    let report = project.push(&[]);
    assert_eq!(report.steps("push"), 2);
    assert_eq!(digest(&project.fill("$REPO/first:a")), None, "`push = false`");
    for kind in ["a", "b"] {
        let image = project.fill(&format!("$REPO/second:{kind}"));
        let said = run(&project.engine, &image, "cat /etc/kind /srv/copied /opt/made/kind; echo $SECOND");
        assert_eq!(said, format!("{kind}\n{kind}\n{kind}\nof {kind}\nof {kind}!"));
    }
}

#[test]
fn setup_steps_chain_and_run_once_for_all_cells() {
    let project = project(
        r#"
[axes.n]
values = ["1", "2"]
[layers.own]
files = [{ path = "/etc/n", content = "{{ n }}" }]
[images.app]
axes = ["n"]
base = "$BASE"
tags = ["{{ n }}"]
setup = [
  { script = "echo one >/etc/one; rm /bin/seq" },
  { script = "test -e /etc/one; test ! -e /bin/seq; cat /etc/one >/etc/two; echo two >>/etc/two" },
]
layers = ["own"]
"#,
    );
    let report = project.push(&[]);
    assert_eq!(report.steps("setup"), 2);
    let layers =
        |n: &str| manifest(&project.fill(&format!("$REPO/app:{n}")))["layers"].as_array().unwrap().clone();
    assert_eq!(layers("1").len(), 4);
    assert_eq!(layers("1")[..3], layers("2")[..3]);
    assert_ne!(layers("1")[3], layers("2")[3]);
    let said = run(
        &project.engine,
        &project.fill("$REPO/app:2"),
        "cat /etc/two /etc/n; test -e /bin/seq || test -e /run || echo .",
    );
    assert_eq!(said, "one\ntwo\n2.");
}

#[test]
fn an_oci_layout_is_a_base_and_a_builder() {
    let project = project(
        r#"
[layers.made]
run = { image = "oci:layout", script = "mkdir /opt/made; echo from the layout >/opt/made/file", keep = ["/opt/made"] }
[images.app]
base = "oci:layout"
tags = ["1"]
layers = ["made"]
"#,
    );
    let layout = format!("oci:{}:1", project.path("layout").display());
    tool("skopeo", &["copy", "--src-tls-verify=false", &project.fill("docker://$BASE"), &layout]);
    project.push(&[]).all("built");
    let image = project.fill("$REPO/app:1");
    assert_eq!(run(&project.engine, &image, "cat /opt/made/file"), "from the layout");
    assert_eq!(
        manifest(&image)["layers"][0]["digest"],
        manifest(&project.fill("$BASE"))["layers"][0]["digest"]
    );
    let ended = project.run(&["build"]).code(0);
    assert!(ended.out.contains("current"), "{}", ended.out);
    std::fs::remove_dir_all(project.path("layout")).unwrap();
    project.run(&["build"]).code(3).says(&["layout/index.json", "help: `oci:DIR` names an OCI image layout"]);
}

#[test]
fn a_scratch_image_has_only_what_it_lists() {
    let project = project(
        r#"
[layers.made]
run = { image = "$BASE", script = "mkdir -p /opt/made; echo x >/opt/made/x", keep = ["/opt/made"] }
[images.app]
base = "scratch"
tags = ["1"]
layers = ["made"]
cmd = ["/opt/made/x"]
"#,
    );
    project.push(&[]);
    let image = project.fill("$REPO/app:1");
    assert_eq!(file(&image, "opt/made/x"), "x");
    let config = config(&image);
    assert_eq!(config["config"]["Cmd"], serde_json::json!(["/opt/made/x"]));
    assert_eq!((&config["os"], &config["architecture"]), (&"linux".into(), &"amd64".into()));
    assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 1);
}
