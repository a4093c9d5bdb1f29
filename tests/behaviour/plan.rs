//! `railyard plan --offline`: its forms, the choice of cells, the document's schema.

use std::collections::BTreeSet;

use crate::project::Project;
use serde_json::Value;

const MANIFEST: &str = r#"
schema = 1
[project]
name = "acme"
repository = "registry.test/acme"
[axes.runtime]
values = [{ name = "node20", base = "sam.test/node:20" }, { name = "node22", base = "sam.test/node:22" }]
[axes.region]
values = ["eu", "us"]
[layers.tool]
downloads = [{ url = "https://files.test/tool", path = "/opt/tool" }]
[layers.deps]
run = { image = "{{ runtime.base }}", script = "npm install", keep = ["/opt/deps"] }
[layers.region]
files = [{ path = "/etc/region", content = "{{ region }} \"quoted\" <tag>" }]
[checks.smoke]
script = "true"
[images.base]
axes = ["runtime"]
base = "{{ runtime.base }}"
tags = ["{{ runtime }}"]
setup = [{ script = "apt-get install \"git\"" }]
layers = ["tool", "deps"]
[images.app]
axes = ["runtime", "region"]
base = { image = "base" }
tags = ["{{ runtime }}-{{ region }}"]
layers = ["region"]
checks = ["abi", "smoke"]
"#;

fn plan(arguments: &[&str]) -> String {
    let all = [&["plan", "--offline"], arguments].concat();
    Project::new(MANIFEST).run(&all).code(0).out
}

fn document(arguments: &[&str]) -> Value {
    serde_json::from_str(&plan(&[&["--format", "json"], arguments].concat())).unwrap()
}

#[test]
fn the_table_shows_cells_steps_and_totals() {
    insta::assert_snapshot!("table", plan(&[]));
}

#[test]
fn equal_inputs_give_equal_bytes() {
    for format in ["json", "table", "dot", "mermaid", "html"] {
        assert_eq!(plan(&["--format", format]), plan(&["--format", format]), "{format}");
    }
}

#[test]
fn nothing_is_written() {
    let project = Project::new(MANIFEST);
    project.run(&["plan", "--offline"]).code(0);
    let mut names: Vec<_> =
        crate::project::listing(&project.path("")).into_iter().map(|(path, _)| path).collect();
    assert_eq!(names.pop(), Some(project.path("builds.toml")));
    assert!(names.is_empty(), "{names:?}");
    project.run(&["plan"]).code(3).says(&["sam.test/node:20", "plan --offline"]);
    assert!(!project.path("builds.lock").exists());
}

#[test]
fn the_document_follows_its_schema() {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/plan.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    let found = document(&[]);
    assert_eq!(problems(&schema, &schema, &found, "$"), Vec::<String>::new());
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/builds.toml");
    assert_eq!(problems(&schema, &schema, &document(&["--file", shipped]), "$"), Vec::<String>::new());

    // The checker finds mistakes.
    let broken = [
        ("/schema", Value::from(2)),
        ("/cells/0/chosen", Value::from("yes")),
        ("/steps/0/kind", Value::from("dance")),
        ("/steps/0/key", Value::from("sha256:12")),
        ("/totals/steps", Value::from(-1)),
        ("/totals/by_kind/resolve", Value::Null),
        ("/critical_path", Value::from(1)),
        ("/steps/0/reason", Value::Null),
        ("/inputs/images", Value::from("none")),
        ("/estimate/critical_path_seconds", Value::from("1 s")),
        ("/estimate/without_history/index", Value::from(-1)),
    ];
    for (place, value) in broken {
        let mut document = found.clone();
        *document.pointer_mut(place).unwrap() = value;
        assert_eq!(problems(&schema, &schema, &document, "$").len(), 1, "{place}");
    }
    let mut document = found.clone();
    document["steps"][0].as_object_mut().unwrap().remove("class");
    document["cells"][0]["extra"] = Value::from(1);
    document["totals"]["by_kind"]["dance"] = Value::from(1);
    assert_eq!(problems(&schema, &schema, &document, "$").len(), 3);
}

#[test]
fn the_document_of_a_plan_that_asked_follows_its_schema_too() {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/plan.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    let mut project = crate::project::registry::project(
        r#"
[axes.edition]
values = ["x", "y"]
[layers.edition]
files = [{ path = "/srv/edition", content = "{{ edition }}" }]
[images.app]
axes = ["edition"]
base = "$BASE"
tags = ["{{ edition }}"]
layers = ["edition"]
"#,
    );
    project.engine = crate::project::NO_ENGINE.into();
    project.push(&["--only", "edition=x"]);
    let text = project.read("builds.toml");
    project.write("builds.toml", &text.replace("\"{{ edition }}\" }]", "\"{{ edition }}!\" }]"));
    for arguments in [&[][..], &["--if", "axis=edition+z"]] {
        let all = [&["plan", "--format", "json"], arguments].concat();
        let found: Value = serde_json::from_str(&project.run(&all).code(0).out).unwrap();
        assert_eq!(found["cells"][0]["status"], "stale");
        assert_eq!(found["cells"][1]["tags"][0]["digest"], Value::Null);
        assert_eq!(problems(&schema, &schema, &found, "$"), Vec::<String>::new());
        assert_eq!(project.run(&all).code(0).out, project.run(&all).code(0).out);
    }
}

/// Where a value is not as a schema says; of JSON Schema what the plan's schema uses.
fn problems(root: &Value, schema: &Value, value: &Value, place: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (keyword, rule) in schema.as_object().unwrap() {
        let good = match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" | "properties" => true,
            "$ref" => {
                let target = root.pointer(rule.as_str().unwrap().trim_start_matches('#')).unwrap();
                found.extend(problems(root, target, value, place));
                true
            }
            "const" => rule == value,
            "enum" => rule.as_array().unwrap().contains(value),
            "type" => match rule.as_str().unwrap() {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "boolean" => value.is_boolean(),
                "null" => value.is_null(),
                "integer" => value.is_i64() || value.is_u64(),
                "number" => value.is_number(),
                other => panic!("unknown type {other}"),
            },
            "anyOf" => {
                let rules = rule.as_array().unwrap();
                rules.iter().any(|rule| problems(root, rule, value, place).is_empty())
            }
            "minimum" => value.as_f64().is_none_or(|n| n >= rule.as_f64().unwrap()),
            "pattern" => value.as_str().is_none_or(|text| fits(rule.as_str().unwrap(), text)),
            "required" => {
                let missing =
                    rule.as_array().unwrap().iter().filter(|key| value.get(key.as_str().unwrap()).is_none());
                found.extend(missing.map(|key| format!("{place} lacks {key}")));
                true
            }
            "items" => {
                for (position, item) in value.as_array().into_iter().flatten().enumerate() {
                    found.extend(problems(root, rule, item, &format!("{place}[{position}]")));
                }
                true
            }
            "propertyNames" => {
                for key in value.as_object().into_iter().flat_map(|o| o.keys()) {
                    found.extend(problems(root, rule, &Value::from(key.as_str()), &format!("{place}.{key}")));
                }
                true
            }
            "additionalProperties" => {
                let known = |key: &String| schema.get("properties").is_some_and(|p| p.get(key).is_some());
                for (key, item) in value.as_object().into_iter().flatten().filter(|(key, _)| !known(key)) {
                    match rule {
                        Value::Bool(false) => found.push(format!("{place} has {key}")),
                        rule => found.extend(problems(root, rule, item, &format!("{place}.{key}"))),
                    }
                }
                true
            }
            other => panic!("the checker does not know `{other}`"),
        };
        if !good {
            found.push(format!("{place}: {value} breaks {keyword} {rule}"));
        }
    }
    for (key, rule) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if let Some(value) = value.get(key) {
            found.extend(problems(root, rule, value, &format!("{place}.{key}")));
        }
    }
    found
}

/// The two patterns of the schema.
fn fits(pattern: &str, text: &str) -> bool {
    let word = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
    match pattern {
        "^sha256:[0-9a-f]{64}$" => text.strip_prefix("sha256:").is_some_and(|digits| {
            digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        }),
        "^[a-z0-9]+/[a-z0-9]+(/[a-z0-9]+)?$" => {
            let parts: Vec<&str> = text.split('/').collect();
            (2..=3).contains(&parts.len()) && parts.into_iter().all(word)
        }
        other => panic!("the checker does not know the pattern {other}"),
    }
}

#[test]
fn steps_come_after_what_they_need_and_cells_name_their_steps() {
    let document = document(&[]);
    let steps = document["steps"].as_array().unwrap();
    for (position, step) in steps.iter().enumerate() {
        assert_eq!(step["id"], position);
        assert!(
            step["needs"].as_array().unwrap().iter().all(|n| n.as_u64().unwrap() < position as u64),
            "{step}"
        );
    }
    for cell in document["cells"].as_array().unwrap() {
        let assemble = &steps[cell["assemble"].as_u64().unwrap() as usize];
        assert_eq!((&assemble["kind"], &assemble["key"]), (&"assemble".into(), &cell["build_id"]));
    }
    let path: Vec<u64> =
        document["critical_path"].as_array().unwrap().iter().map(|s| s.as_u64().unwrap()).collect();
    for pair in path.windows(2) {
        let needs = steps[pair[1] as usize]["needs"].as_array().unwrap();
        assert!(needs.contains(&pair[0].into()), "{path:?}");
    }
    assert_eq!(document["totals"]["steps"], steps.len());
}

#[test]
fn shared_steps_are_distinct_once() {
    let document = document(&[]);
    let count = |kind: &str| document["totals"]["by_kind"][kind].as_u64().unwrap();
    assert_eq!((count("setup"), count("artifact"), count("assemble"), count("check")), (2, 5, 6, 4));
    let steps = document["steps"].as_array().unwrap();
    let tool = steps.iter().find(|s| s["label"] == "tool: download tool").expect("the download is a step");
    assert_eq!(tool["asked"], 2);
}

#[test]
fn the_built_in_check_stands_between_assembly_and_push() {
    let document = document(&[]);
    let steps = document["steps"].as_array().unwrap();
    let of = |kind: &str| steps.iter().filter(|s| s["kind"] == kind).collect::<Vec<_>>();
    assert_eq!((of("abi").len(), of("push").len()), (4, 6));
    for abi in of("abi") {
        assert_eq!(abi["class"], "cpu");
        let [assemble] = abi["needs"].as_array().unwrap().as_slice() else { panic!("{abi}") };
        assert_eq!(steps[assemble.as_u64().unwrap() as usize]["kind"], "assemble");
        let push = of("push").into_iter().find(|push| push["label"] == abi["label"]).unwrap();
        assert!(push["needs"].as_array().unwrap().contains(&abi["id"]), "{push}");
    }
}

#[test]
fn graphs_are_well_formed_and_have_every_edge() {
    let document = document(&[]);
    let edges: BTreeSet<(u64, u64)> = document["steps"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|s| {
            let id = s["id"].as_u64().unwrap();
            s["needs"].as_array().unwrap().iter().map(move |n| (n.as_u64().unwrap(), id))
        })
        .collect();
    let parsed = |text: &str, arrow: &str| -> BTreeSet<(u64, u64)> {
        let node = |text: &str| text.trim().trim_end_matches(';').strip_prefix('s')?.parse::<u64>().ok();
        text.lines()
            .filter_map(|line| line.split_once(arrow))
            .filter_map(|(a, b)| Some((node(a)?, node(b)?)))
            .collect()
    };
    let dot = plan(&["--format", "dot"]);
    assert!(dot.starts_with("digraph plan {\n") && dot.ends_with("}\n"), "{dot}");
    assert_eq!(parsed(&dot, " -> "), edges);
    for line in dot.lines().filter(|l| l.contains("label=")) {
        let quotes = line.replace("\\\\", "").replace("\\\"", "").matches('"').count();
        assert_eq!(quotes, 2, "{line}");
    }
    let mermaid = plan(&["--format", "mermaid"]);
    assert!(mermaid.starts_with("flowchart LR\n"), "{mermaid}");
    assert_eq!(parsed(&mermaid, " --> "), edges);
    for line in mermaid.lines().filter(|l| l.contains("[\"")) {
        assert_eq!(line.matches('"').count(), 2, "{line}");
    }
}

fn chosen(only: &[&str]) -> Vec<(String, bool)> {
    let arguments: Vec<&str> = only.iter().flat_map(|o| ["--only", o]).collect();
    let document = document(&arguments);
    let cells = document["cells"].as_array().unwrap().clone();
    cells.iter().map(|c| (c["name"].as_str().unwrap().to_owned(), c["chosen"].as_bool().unwrap())).collect()
}

#[test]
fn only_chooses_cells_and_takes_their_upstream_along() {
    let expected = |names: &[(&str, bool)]| -> Vec<(String, bool)> {
        names.iter().map(|(name, chosen)| ((*name).to_owned(), *chosen)).collect()
    };
    assert_eq!(
        chosen(&["image=app,runtime=*22,region=eu"]),
        expected(&[("base[runtime=node22]", false), ("app[runtime=node22,region=eu]", true)])
    );
    assert_eq!(chosen(&["image=base"]).len(), 2);
    assert_eq!(
        chosen(&["image=base,runtime=node20", "region=us,runtime=node20"]),
        expected(&[("base[runtime=node20]", true), ("app[runtime=node20,region=us]", true)])
    );
    let table = plan(&["--only", "region=us,runtime=node20"]);
    assert!(
        table.contains("base[runtime=node20]  registry.test/acme/base:node20  (needed by others)"),
        "{table}"
    );
    assert!(table.contains("\n1 cells ask for"), "{table}");
    // What is only needed is not delivered.
    let document = document(&["--only", "region=us,runtime=node20"]);
    assert_eq!(
        (&document["totals"]["by_kind"]["push"], &document["totals"]["by_kind"]["tag"]),
        (&1.into(), &1.into())
    );
}

#[test]
fn a_choice_that_cannot_be_meant_is_a_mistake() {
    let project = Project::new(MANIFEST);
    let said = |only: &str| project.run(&["plan", "--offline", "--only", only]).code(2).err;
    let unknown = said("runtme=node20");
    assert!(
        unknown.contains("`runtme` is neither `image` nor an axis")
            && unknown.contains("did you mean `runtime`?"),
        "{unknown}"
    );
    assert!(said("runtime=python*").contains("no cell matches `runtime=python*`"));
    assert!(said("app").contains("`app` is not `image=GLOB` or `AXIS=GLOB`"));
    assert!(said("runtime=[").contains("`[` is not a glob"));
}

#[test]
fn a_lock_makes_keys_final() {
    let project = Project::new(MANIFEST);
    let provisional = |project: &Project| {
        let text = project.run(&["plan", "--offline", "--format", "json"]).code(0).out;
        let document: Value = serde_json::from_str(&text).unwrap();
        document["steps"].as_array().unwrap().iter().filter(|s| s["provisional"] == true).count()
    };
    assert!(provisional(&project) > 10);
    let digit = |n: &str| format!("digest = \"sha256:{}\"\n", n.repeat(64));
    let image = |n: &str, digest: &str| {
        format!("[[image]]\nreference = \"sam.test/node:{n}\"\nplatform = \"linux/amd64\"\n{}", digit(digest))
    };
    let download = format!(
        "[[download]]\nurl = \"https://files.test/tool\"\nsha256 = \"{}\"\nsize = 3\n",
        "c".repeat(64)
    );
    project.write("builds.lock", &format!("version = 1\n{}{}{download}", image("20", "a"), image("22", "b")));
    assert_eq!(provisional(&project), 0);
}
