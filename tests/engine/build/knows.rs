//! A plan that knows: how the tags stand, why, and what is to be done about it.

use serde_json::Value;

use crate::project::registry::{bump, digest, project, push_layer, tool};
use crate::project::{Ended, NO_ENGINE, Project};

const MATRIX: &str = r#"
[axes.system]
values = [{ name = "a", base = "$REPO/base-a:1" }, { name = "b", base = "$REPO/base-b:1" }]
[axes.edition]
values = ["x", "y"]
[layers.edition]
files = [{ path = "/srv/edition", content = "{{ edition }} 1" }]
[layers.tools]
copy = [{ from = "$REPO/base-a:1", paths = ["/etc/passwd"], to = "/srv/tools/passwd" }]
[images.app]
axes = ["system", "edition"]
base = "{{ system.base }}"
tags = ["{{ system }}-{{ edition }}"]
layers = ["edition", "tools"]
"#;

/// Files only, on two bases of the project's own; no engine.
fn matrix() -> Project {
    let mut project = project("");
    project.engine = NO_ENGINE.into();
    for base in ["a", "b"] {
        tool("crane", &["copy", &project.fill("$BASE"), &project.fill(&format!("$REPO/base-{base}:1"))]);
    }
    bump(&project.fill("$REPO/base-b:1"), "b");
    edit(&project, "", "");
    project
}

/// The matrix with a text replaced.
fn edit(project: &Project, from: &str, to: &str) {
    let head = "schema = 1\n[project]\nname = \"t\"\nrepository = \"$REPO\"\n";
    assert!(MATRIX.contains(from));
    project.write("builds.toml", &format!("{head}{}", MATRIX.replace(from, to)));
}

fn json(ended: Ended) -> Value {
    serde_json::from_str(&ended.code(0).out).unwrap()
}

/// Cell -> status and codes of the reasons.
fn statuses(document: &Value) -> Vec<(String, String, Vec<String>)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let cells = document["cells"].as_array().unwrap().iter();
    cells
        .map(|cell| {
            let name = cell.get("cell").or(cell.get("name")).unwrap();
            let reasons = cell["reasons"].as_array().cloned().unwrap_or_default();
            (text(name), text(&cell["status"]), reasons.iter().map(|r| text(&r["code"])).collect())
        })
        .collect()
}

/// The cells that are not current, with the codes.
#[track_caller]
fn stale(project: &Project) -> Vec<(String, Vec<String>)> {
    let status = json(project.run(&["status", "--format", "json"]));
    let plan = json(project.run(&["plan", "--format", "json"]));
    let (status, plan) = (statuses(&status), statuses(&plan));
    assert_eq!(status, plan, "status and plan agree");
    status
        .into_iter()
        .filter(|(_, status, _)| status != "current")
        .map(|(cell, status, codes)| (format!("{cell} {status}"), codes))
        .collect()
}

fn named(cells: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
    let owned = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect();
    cells.iter().map(|(cell, codes)| ((*cell).to_owned(), owned(codes))).collect()
}

#[test]
fn a_new_matrix_is_missing_then_current_on_a_machine_without_state_too() {
    let mut project = matrix();
    let none: &[&str] = &["never-built"];
    let all = [
        "app[system=a,edition=x]",
        "app[system=a,edition=y]",
        "app[system=b,edition=x]",
        "app[system=b,edition=y]",
    ];
    let missing: Vec<String> = all.iter().map(|cell| format!("{cell} missing")).collect();
    let missing: Vec<(&str, &[&str])> = missing.iter().map(|cell| (cell.as_str(), none)).collect();
    assert_eq!(stale(&project), named(&missing));
    assert!(!project.path("builds.lock").exists(), "status and plan write no lock");

    project.push(&[]);
    assert_eq!(stale(&project), []);
    let plan = json(project.run(&["plan", "--format", "json"]));
    assert_eq!(plan["totals"]["run"], 0, "{:#}", plan["totals"]);

    // Without records the statements in the registry still say what the images are made of.
    project.store = "elsewhere".into();
    for (_, status, codes) in statuses(&json(project.run(&["status", "--format", "json"]))) {
        assert_eq!((status.as_str(), codes), ("stale", vec!["unrecorded".to_owned()]));
    }
}

#[test]
fn what_changed_is_named_with_old_and_new() {
    let project = matrix();
    project.push(&[]);

    edit(&project, "{{ edition }} 1", "{{ edition }} {% if edition == 'x' %}1{% else %}2{% endif %}");
    let layer: &[&str] = &["layer-changed"];
    assert_eq!(
        stale(&project),
        named(&[("app[system=a,edition=y] stale", layer), ("app[system=b,edition=y] stale", layer)])
    );

    edit(&project, "layers = [", "env = { MODE = \"{{ system }}\" }\nlayers = [");
    let plan = json(project.run(&["plan", "--format", "json", "--only", "system=a,edition=x"]));
    let reason = &plan["cells"][0]["reasons"][0];
    assert_eq!(
        (&reason["code"], &reason["subject"], &reason["new"]),
        (&"config-changed".into(), &"env.MODE".into(), &"a".into())
    );

    edit(&project, "[\"x\", \"y\"]", "[\"x\", \"y\", \"z\"]");
    let added: &[&str] = &["version-added"];
    assert_eq!(
        stale(&project),
        named(&[("app[system=a,edition=z] missing", added), ("app[system=b,edition=z] missing", added)])
    );

    edit(&project, "[\"x\", \"y\"]", "[\"x\"]");
    let status = json(project.run(&["status", "--format", "json"]));
    let orphaned: Vec<&str> =
        status["orphaned"].as_array().unwrap().iter().map(|o| o["cell"].as_str().unwrap()).collect();
    assert_eq!(orphaned, ["app[system=a,edition=y]", "app[system=b,edition=y]"]);
    project.run(&["status", "--exit-code"]).code(1).prints(&["orphaned"]);
}

#[test]
fn a_base_that_moved_concerns_the_cells_on_it_and_copies_only_by_what_is_copied() {
    let project = matrix();
    project.push(&[]);
    let base = project.fill("$REPO/base-a:1");
    let old = digest(&base).unwrap();

    let before = project.run(&["plan", "--if", &format!("base={base}"), "--format", "json"]);
    assert_eq!(json(before)["what_if"]["changed"], Value::Array(Vec::new()), "nothing has moved yet");
    bump(&base, "7");
    let new = digest(&base).unwrap();
    assert_eq!(stale(&project), [], "the lock has not moved");

    let supposed = json(project.run(&["plan", "--if", &format!("base={base}"), "--format", "json"]));
    let on_a = ["app[system=a,edition=x]", "app[system=a,edition=y]"];
    assert_eq!(supposed["what_if"]["changed"], Value::from(on_a.to_vec()), "the copied file is the same");
    assert_eq!(supposed["what_if"]["untouched"], 2);
    let exact = format!("base={base}@{new}");
    let exact = json(project.run(&["plan", "--if", &exact, "--format", "json"]));
    assert_eq!(exact["what_if"]["changed"], supposed["what_if"]["changed"]);

    project.run(&["update"]).code(0);
    let moved: &[&str] = &["base-moved"];
    assert_eq!(
        stale(&project),
        named(&[("app[system=a,edition=x] stale", moved), ("app[system=a,edition=y] stale", moved)])
    );
    let plan = json(project.run(&["plan", "--format", "json"]));
    let reason = &plan["cells"][0]["reasons"][0];
    assert_eq!((&reason["old"], &reason["new"]), (&Value::from(old), &Value::from(new)));
    let built = project.push(&[]);
    assert_eq!(built.steps("artifact"), 0);
    let outcomes: Vec<String> = built.outcomes().into_iter().map(|(_, outcome)| outcome).collect();
    assert_eq!(outcomes, ["built", "built", "current", "current"]);
    assert_eq!(&built.0["cells"][0]["reasons"][0], reason, "the run says the same");
    assert_eq!(built.0["cells"][2]["reasons"], Value::Array(Vec::new()));
    project.run(&["history", "app[system=a,edition=x]"]).code(0).prints(&["base-moved"]);
}

#[test]
fn equal_files_in_other_layers_are_equal_trees() {
    let mut project = project("");
    project.engine = NO_ENGINE.into();
    let directory = tempfile::tempdir().unwrap();
    let script = r#"
        cd "$1"; mkdir -p tree/opt/a tree/opt/b; echo 1 >tree/opt/a/one; echo 2 >tree/opt/b/two
        pack() { tar --sort=name --mtime=@1600000000 --owner=0 --group=0 --numeric-owner -cf "$@"; }
        pack whole.tar -C tree opt; pack first.tar -C tree --no-recursion opt opt/a opt/a/one
        pack second.tar -C tree --no-recursion opt opt/b opt/b/two
    "#;
    tool("sh", &["-ec", script, "sh", directory.path().to_str().unwrap()]);
    let source = project.fill("$REPO/source:1");
    push_layer(&directory.path().join("whole.tar"), &source);
    let head = "schema = 1\n[project]\nname = \"t\"\nrepository = \"$REPO\"\n";
    let manifest = r#"
[layers.copied]
copy = [{ from = "$REPO/source:1", paths = ["/opt"] }]
[images.app]
base = "scratch"
tags = ["1"]
layers = ["copied"]
"#;
    project.write("builds.toml", &format!("{head}{manifest}"));
    let first = project.push(&[]);

    let split = directory.path().join("first.tar");
    push_layer(&split, &source);
    tool(
        "crane",
        &[
            "append",
            "-b",
            &source,
            "-f",
            directory.path().join("second.tar").to_str().unwrap(),
            "-t",
            &source,
        ],
    );
    project.run(&["update"]).code(0).prints(&["moved"]);
    assert_eq!(stale(&project), []);
    let again = project.push(&[]);
    again.all("current");
    assert_eq!((again.digests(), again.steps("artifact")), (first.digests(), 0));
}

#[test]
fn tags_that_were_moved_or_deleted_behind_its_back_are_noticed() {
    let project = matrix();
    project.push(&[]);
    let tag = |name: &str| project.fill(&format!("$REPO/app:{name}"));
    tool("crane", &["tag", &tag("a-x"), "b-x"]);
    tool("crane", &["copy", &project.fill("$BASE"), &tag("a-y")]);
    assert_eq!(
        stale(&project),
        named(&[
            ("app[system=a,edition=y] foreign", &["foreign"]),
            ("app[system=b,edition=x] stale", &["tag-moved"]),
        ])
    );
    let built = project.push(&[]);
    assert_eq!(built.0["cells"][2]["outcome"], "built");
    assert_eq!(stale(&project), []);
}

#[test]
fn a_kept_plan_is_built_and_a_drifted_one_is_refused() {
    let project = matrix();
    project.push(&["--only", "system=a"]);
    project.run(&["plan", "--only", "system=b", "--out", "plan.json"]).code(0);
    project.run(&["plan", "--only", "system=b", "--out", "again.json"]).code(0);
    assert_eq!(project.read("plan.json"), project.read("again.json"), "byte-identical between runs");

    bump(&project.fill("$REPO/base-b:1"), "8");
    project.run(&["update", "base-b"]).code(0);
    let lock = project.read("builds.lock");
    let refused = project.run(&["build", "--push", "--plan", "plan.json"]).code(2);
    let base = project.fill("image $REPO/base-b:1: sha256:");
    refused.says(&[&base, "cell app[system=b,edition=x]: would be another image", "nothing was built"]);
    assert_eq!(digest(&project.fill("$REPO/app:b-x")), None);
    assert_eq!(project.read("builds.lock"), lock);

    project.run(&["plan", "--only", "system=b", "--out", "plan.json"]).code(0);
    edit(&project, "{{ edition }} 1", "{{ edition }} 3");
    let refused = project.run(&["build", "--push", "--plan", "plan.json"]).code(2);
    refused.says(&["layer edition: file /srv/edition: made otherwise"]);
    edit(&project, "", "");
    let report = project.push(&["--plan", "plan.json"]);
    let cells: Vec<String> = report.outcomes().into_iter().map(|(cell, _)| cell).collect();
    assert_eq!(cells, ["app[system=b,edition=x]", "app[system=b,edition=y]"]);

    project.write("broken.json", "{}");
    project.run(&["build", "--plan", "broken.json"]).code(2).says(&["`broken.json`", "plan --out"]);
}

#[test]
fn explain_tells_what_goes_in_and_who_shares_it() {
    let project = matrix();
    project.push(&["--only", "system=a"]);
    let text = project.run(&["explain", "app[system=a,edition=x]"]).code(0);
    let base = project.fill("$REPO/base-a:1");
    text.prints(
        &["current", &base, "edition", "app[system=b,edition=x]", "CONFIGURATION"]
            .map(|t| if t == "CONFIGURATION" { "tools" } else { t }),
    );
    let json = json(project.run(&["explain", "a-x", "--format", "json"]));
    assert_eq!(json["cell"], "app[system=a,edition=x]", "one of its tags names it too");
    assert_eq!(json["layer_blobs"][1]["shared_by"].as_array().unwrap().len(), 3);
    assert!(json["layer_blobs"][1]["size"].as_u64().unwrap() > 0);
    project
        .run(&["explain", "app[system=a,edition=q]"])
        .code(2)
        .says(&["did you mean `app[system=a,edition="]);
}

#[test]
fn suppositions_that_mean_nothing_are_refused() {
    let project = matrix();
    project.push(&[]);
    for (change, said) in [
        ("base=nowhere.test/x", "no chosen cell takes from it"),
        ("axis=planet+mars", "there is no such axis"),
        ("axis=edition+x", "the axis has this value"),
        ("axis=edition-q", "the axis has no such value"),
        ("tool=drill@2", "there is no such tool"),
        ("moon=full", "`base=REFERENCE`"),
    ] {
        project.run(&["plan", "--if", change]).code(2).says(&[change, said]);
    }
    let plan = json(project.run(&["plan", "--offline", "--if", "axis=edition-y", "--format", "json"]));
    assert_eq!(
        plan["what_if"]["removed"],
        Value::from(vec!["app[system=a,edition=y]", "app[system=b,edition=y]"])
    );
    project.run(&["plan", "--if", "axis=edition+z"]).code(0).prints(&[
        "IF axis=edition+z",
        "2 would come",
        "come     app[system=a,edition=z]",
    ]);
}

#[test]
fn the_statement_of_an_image_is_a_referrer_that_others_can_read() {
    let project = matrix();
    let report = project.push(&["--only", "system=a,edition=x"]);
    let image = report.digests().remove(0);
    let list = project.fill(&format!("$REPO/app:{}", image.replace(':', "-")));
    let index: Value = serde_json::from_str(&tool("crane", &["manifest", &list])).unwrap();
    assert_eq!(index["manifests"][0]["artifactType"], "application/vnd.in-toto+json");
    let referrer = project.fill(&format!("$REPO/app@{}", index["manifests"][0]["digest"].as_str().unwrap()));
    let manifest: Value = serde_json::from_str(&tool("crane", &["manifest", &referrer])).unwrap();
    assert_eq!(manifest["subject"]["digest"], Value::from(image.clone()));
    let blob = project.fill(&format!("$REPO/app@{}", manifest["layers"][0]["digest"].as_str().unwrap()));
    let statement: Value = serde_json::from_str(&tool("crane", &["blob", &blob])).unwrap();
    assert_eq!(statement["predicateType"], "https://slsa.dev/provenance/v1");
    assert_eq!(statement["subject"][0]["digest"]["sha256"], image.trim_start_matches("sha256:"));
    let build = &statement["predicate"]["buildDefinition"];
    assert_eq!(build["externalParameters"]["axes"]["system"], "a");
    assert!(
        build["resolvedDependencies"]
            .as_array()
            .unwrap()
            .iter()
            .any(|d| d["name"] == project.fill("$REPO/base-a:1"))
    );
}

const RUNS: &str = r#"
[layers.made]
max_age = "1s"
run = { image = "$BASE", script = "echo ran; cat /etc/passwd >/opt/made", keep = ["/opt/made"] }
[layers.file]
files = [{ path = "/srv/x", content = "x" }]
[checks.smoke]
script = "cat /opt/made"
[images.app]
base = "$BASE"
tags = ["1"]
layers = ["made", "file"]
checks = ["smoke"]
"#;

#[test]
fn a_result_that_is_too_old_is_made_again_and_equal_bytes_change_nothing_above() {
    let project = project(RUNS);
    let first = project.push(&[]);
    assert_eq!(first.steps("artifact"), 2);
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let plan = json(project.run(&["plan", "--format", "json"]));
    assert_eq!(plan["cells"][0]["reasons"][0]["code"], "too-old");
    let locked = project.push(&["--locked"]);
    assert_eq!((locked.steps("artifact"), locked.steps("check")), (0, 0), "a lock explains everything");
    let again = project.push(&[]);
    again.all("current");
    assert_eq!(again.steps("artifact"), 1, "the run alone");
    assert_eq!(again.digests(), first.digests());
    assert_eq!(again.number("/bytes_sent"), 0);
}

#[test]
fn forced_commands_run_again_with_the_reason_said() {
    let project = project(
        &RUNS
            .replace("max_age = \"1s\"\n", "")
            .replace("cat /etc/passwd", "cat /proc/sys/kernel/random/uuid"),
    );
    let first = project.push(&[]);
    let lock = project.read("builds.lock");
    let plan = json(project.run(&["plan", "--force", "made", "--format", "json"]));
    assert_eq!(plan["cells"][0]["reasons"][0], serde_json::json!({ "code": "forced", "subject": "made" }));
    let forced = project.push(&["--force", "ma*"]);
    forced.all("built");
    assert_ne!(forced.digests(), first.digests(), "other bytes, another image");
    assert_ne!(project.read("builds.lock"), lock, "the lock has the new output");
    project.push(&["--locked"]).all("current");
    project
        .run(&["build", "--force", "nothing"])
        .code(2)
        .says(&["no layer, image or cell is named `nothing`"]);
    let refused = project.run(&["build", "--push", "--locked", "--force", "app"]).code(1);
    refused.says(&["not reproducible"]);
}
