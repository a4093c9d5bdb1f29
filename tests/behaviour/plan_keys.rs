//! What is in the keys of steps, and what is not.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::project::Project;

/// A plan's document of this manifest.
fn document(manifest: &str) -> Value {
    let head = "schema = 1\n[project]\nname = \"keys\"\nrepository = \"registry.test/keys\"\n";
    let project = Project::new(&format!("{head}{manifest}"));
    serde_json::from_str(&project.run(&["plan", "--offline", "--format", "json"]).code(0).out).unwrap()
}

fn steps<'d>(document: &'d Value, kind: &str) -> Vec<&'d Value> {
    document["steps"].as_array().unwrap().iter().filter(|step| step["kind"] == kind).collect()
}

fn keys(document: &Value, kind: &str) -> Vec<String> {
    steps(document, kind).iter().map(|step| step["key"].to_string()).collect()
}

/// Cell -> build id.
fn build_ids(document: &Value) -> BTreeMap<String, String> {
    let cells = document["cells"].as_array().unwrap().iter();
    cells.map(|cell| (cell["name"].to_string(), cell["build_id"].to_string())).collect()
}

const NAMED: &str = r#"
[layers.first]
files = [{ path = "/etc/first", content = "1" }]
[layers.made]
run = { image = { image = "builder" }, script = "true", keep = ["/etc/first"] }
[layers.copied]
copy = [{ image = "builder", paths = ["/etc/first"], to = "/etc/copied" }]
[images.builder]
base = "base.test/debian:12"
tags = ["1"]
layers = ["first"]
[images.above]
base = { image = "builder" }
setup = [{ script = "true" }]
tags = ["1"]
layers = ["copied"]
[images.user]
base = "scratch"
tags = ["1"]
layers = ["made"]
"#;

#[test]
fn the_name_of_a_layer_is_in_the_images_that_have_it_in_their_history_and_in_nothing_else() {
    let before = document(NAMED);
    let after =
        document(&NAMED.replace("layers.first", "layers.renamed").replace("\"first\"", "\"renamed\""));
    for kind in ["artifact", "setup", "place"] {
        assert_eq!(keys(&before, kind), keys(&after, kind), "{kind}");
    }
    let (before, after) = (build_ids(&before), build_ids(&after));
    let moved: Vec<&String> = before.keys().filter(|cell| before[*cell] != after[*cell]).collect();
    assert_eq!(moved, ["\"above\"", "\"builder\""]);
}

#[test]
fn images_of_equal_files_by_other_names_are_two_and_share_the_layer() {
    let document = document(
        r#"
[layers.x]
files = [{ path = "/etc/file", content = "same" }]
[layers.y]
files = [{ path = "/etc/file", content = "same" }]
[images.a]
base = "scratch"
tags = ["1"]
layers = ["x"]
[images.b]
base = "scratch"
tags = ["1"]
layers = ["y"]
[images.c]
base = "scratch"
tags = ["1"]
layers = ["x"]
"#,
    );
    let count = |kind: &str| steps(&document, kind).len();
    assert_eq!((count("artifact"), count("place"), count("assemble")), (1, 1, 2));
    let ids = build_ids(&document);
    assert_ne!(ids["\"a\""], ids["\"b\""]);
    assert_eq!(ids["\"a\""], ids["\"c\""]);
}

#[test]
fn the_file_that_a_url_names_is_in_the_key_where_a_path_is_a_directory() {
    let key = |path: &str, file: &str| {
        let sha256 = "0123456789abcdef".repeat(4);
        let document = document(&format!(
            "[layers.tool]\ndownloads = [{{ url = \"https://files.test/{file}\", sha256 = \"{sha256}\", \
             path = \"{path}\" }}]\n[images.app]\nbase = \"scratch\"\ntags = [\"1\"]\nlayers = [\"tool\"]\n"
        ));
        keys(&document, "artifact")
    };
    assert_ne!(key("/opt/bin/", "tool-a"), key("/opt/bin/", "tool-b"));
    assert_eq!(key("/opt/bin/", "tool-a?mirror=2"), key("/opt/bin/tool-a", "v1/other"));
    assert_eq!(key("/opt/bin/tool", "tool-a"), key("/opt/bin/tool", "tool-b"));
}

#[test]
fn a_download_into_a_directory_needs_a_name() {
    let project = Project::new(
        "schema = 1\n[project]\nname = \"keys\"\nrepository = \"registry.test/keys\"\n[layers.tool]\n\
         downloads = [{ url = \"https://files.test/\", path = \"/opt/bin/\" }]\n\
         [images.app]\nbase = \"scratch\"\ntags = [\"1\"]\nlayers = [\"tool\"]\n",
    );
    project.run(&["check"]).code(2).says(&["`/opt/bin/` is a directory, and the URL names no file"]);
}

#[test]
fn a_check_comes_behind_its_own_cells_delivery_whatever_other_cell_has_the_image() {
    let document = document(
        r#"
[checks.smoke]
script = "true"
[images.a]
base = "base.test/debian:12"
tags = ["1"]
checks = ["smoke"]
[images.b]
base = "base.test/debian:12"
tags = ["1"]
checks = ["smoke"]
"#,
    );
    assert_eq!(steps(&document, "assemble").len(), 1);
    let (pushes, tags) = (steps(&document, "push"), steps(&document, "tag"));
    assert_eq!(tags.len(), 2);
    let all = document["steps"].as_array().unwrap();
    for tag in tags {
        let mut beneath = vec![tag];
        let mut found = Vec::new();
        while let Some(step) = beneath.pop() {
            found.extend(pushes.iter().filter(|push| push["id"] == step["id"]).map(|push| &push["label"]));
            let needs = step["needs"].as_array().unwrap().iter();
            beneath.extend(needs.map(|need| &all[need.as_u64().unwrap() as usize]));
        }
        found.dedup();
        assert_eq!(found, [&tag["label"]], "deliveries that {} waits for", tag["label"]);
    }
}
