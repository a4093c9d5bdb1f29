//! `railyard check`, `schema` and what every command says of a broken project.

use crate::project::Project;

const GOOD: &str = r#"
schema = 1
[project]
name = "acme"
[images.app]
base = "scratch"
tags = ["1"]
"#;

#[test]
fn a_good_manifest_is_counted() {
    let ended = Project::new(GOOD).run(&["check"]).code(0);
    assert_eq!(ended.out, "builds.toml: 1 images, 1 cells, no mistakes\n");
    assert_eq!(ended.err, "");
}

#[test]
fn mistakes_are_shown_all_at_once_one_line_each() {
    let project = Project::new(
        "schema = 1\n[project]\nname = \"acme\"\n[images.app]\nbase = \"scratch\"\ntgas = [\"1\"]\nlayers = [\"none\"]\n",
    );
    let ended = project.run(&["check", "--plain"]).code(2);
    assert_eq!(ended.out, "");
    let lines: Vec<&str> = ended.err.lines().collect();
    assert!(lines.len() >= 3, "{}", ended.err);
    assert_eq!(lines.last(), Some(&format!("{} mistakes in the manifest", lines.len() - 1).as_str()));
    for line in &lines[..lines.len() - 1] {
        let mut parts = line.splitn(4, ':');
        assert_eq!(parts.next(), Some("builds.toml"), "{line}");
        let numbers: Vec<usize> = parts.by_ref().take(2).map(|n| n.parse().unwrap()).collect();
        assert!(numbers.len() == 2 && numbers.iter().all(|n| *n > 0), "{line}");
        let rest = parts.next().unwrap();
        assert!(rest.starts_with(" error[") && rest.contains("(help: "), "{line}");
    }
    for wanted in [
        "builds.toml:6:1: error[unknown-key]",
        "did you mean `tags`?",
        "builds.toml:7:11: error[unknown-layer]",
    ] {
        assert!(ended.err.contains(wanted), "{wanted}: {}", ended.err);
    }
}

#[test]
fn mistakes_of_rendering_come_with_a_picture() {
    let project = Project::new(&GOOD.replace("\"1\"", "\"{{ nothing }}\""));
    let ended =
        project.run(&["check"]).code(2).says(&["`nothing` is not defined", "builds.toml:7:13", "help:"]);
    assert!(!ended.err.contains('\u{1b}'), "no colours into a pipe: {}", ended.err);
    for command in [&["plan", "--offline"][..], &["build"], &["update"]] {
        project.run(command).code(2).says(&["`nothing` is not defined"]);
    }
}

#[test]
fn a_missing_manifest_is_named() {
    let project = Project::new(GOOD);
    project.run(&["check", "--file", "none.toml"]).code(2).says(&[
        "failed to read `none.toml`",
        "help:",
        "--file",
    ]);
    std::fs::remove_file(project.path("builds.toml")).unwrap();
    project.run(&["check"]).code(2).says(&["failed to read `builds.toml`"]);
}

#[test]
fn imports_are_read_and_missing_ones_named() {
    let project = Project::new(&GOOD.replace("schema = 1", "schema = 1\nimport = [\"more/*.toml\"]"));
    std::fs::create_dir(project.path("more")).unwrap();
    project.run(&["check"]).code(2).says(&["no file matches `more/*.toml`", "help:"]);
    project.write("more/b.toml", "[images.b]\nbase = \"scratch\"\ntags = [\"2\"]\n");
    project.write("more/a.toml", "[images.a]\nbase = \"scratch\"\ntags = [\"2\"]\n");
    project.run(&["check"]).code(0).prints(&["3 images, 3 cells"]);
    project.write("more/a.toml", "[images.a]\nbase = \"scratch\"\ntags = [\"{{ x }}\"]\n");
    project
        .run(&["check", "--plain"])
        .code(2)
        .says(&["more/a.toml:3:13: error[undefined]: `x` is not defined"]);
}

#[test]
fn variables_from_outside_must_be_declared() {
    let project = Project::new(
        &GOOD.replace("[images", "[vars]\ntag = \"1\"\n[images").replace("[\"1\"]", "[\"{{ vars.tag }}\"]"),
    );
    project.run(&["check", "--var", "tag=2"]).code(0);
    project.run(&["plan", "--offline", "--var", "tag=2"]).code(0).prints(&["acme/app:2"]);
    project.write("vars.toml", "tag = \"3\"\n");
    project.run(&["plan", "--offline", "--vars", "vars.toml"]).code(0).prints(&["acme/app:3"]);
    project
        .run(&["plan", "--offline", "--vars", "vars.toml", "--var", "tag=4"])
        .code(0)
        .prints(&["acme/app:4"]);
    project
        .run(&["check", "--var", "tga=2"])
        .code(2)
        .says(&["`tga` is set from outside", "help: declare it"]);
    project.run(&["check", "--var", "tag"]).code(2).says(&["`--var tag` is not NAME=VALUE"]);
    project.write("vars.toml", "tag = 3\n");
    project.run(&["check", "--vars", "vars.toml"]).code(2).says(&["`vars.toml` is no file of"]);
}

#[test]
fn the_schema_is_json_schema() {
    let ended = Project::new(GOOD).run(&["schema"]).code(0);
    let schema: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert!(schema["$schema"].as_str().unwrap().contains("json-schema.org"), "{schema}");
    assert!(schema["properties"]["images"].is_object(), "{schema}");
}

#[test]
fn usage_mistakes_and_help() {
    let project = Project::new(GOOD);
    project.run(&["bild"]).code(2).says(&["build"]);
    project.run(&["--help"]).code(0).prints(&["check", "plan", "build", "update"]);
    project.run(&["completions", "bash"]).code(0).prints(&["railyard"]);
    let mut project = Project::new(GOOD);
    project.set("SOURCE_DATE_EPOCH", "yesterday");
    project.run(&["plan", "--offline"]).code(2).says(&["SOURCE_DATE_EPOCH is `yesterday`"]);
}

#[test]
fn the_shipped_matrix_has_no_mistake() {
    let root = env!("CARGO_MANIFEST_DIR");
    let project = Project::new(GOOD);
    let file = format!("{root}/builds.toml");
    project.run(&["check", "--file", &file]).code(0).prints(&["7 images, 49 cells, no mistakes"]);
    let ended = project.run(&["plan", "--offline", "--file", &file]).code(0).prints(&["49 cells ask for"]);
    let images = |name: &str| ended.out.lines().filter(|l| l.starts_with(&format!("build  {name}["))).count();
    assert_eq!((images("plugin"), images("serverless-base"), images("serverless")), (1, 12, 24));
    assert_eq!([images("sam"), images("delegate"), images("tooling"), images("runner")], [6, 4, 1, 1]);
}

#[test]
fn an_unlisted_pair_of_the_shipped_matrix_is_warned_of() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let project = Project::new(&text("builds.toml"));
    std::fs::create_dir(project.path("matrices")).unwrap();
    let matrix = text("matrices/serverless-plugin.toml");
    project.write("matrices/serverless-plugin.toml", &matrix);
    assert_eq!(project.run(&["check"]).code(0).err, "", "the shipped pairs are all listed");
    let row = matrix.lines().find(|line| line.contains("name = \"ruby3.2\"")).unwrap();
    let other = row.replace("node = \"nodejs18.x\"", "node = \"nodejs22.x\"");
    project.write("matrices/serverless-plugin.toml", &matrix.replace(row, &other));
    project.run(&["check"]).code(0).says(&[
        "warning: `ruby3.2` with Node.js of `nodejs22.x` is no pair that is known to work",
        "\n  in serverless-base[runtime=ruby3.2,harness=1.0.0], ",
        " and 1 more\n",
    ]);
    project.write("matrices/serverless-plugin.toml", &matrix.replace("  \"ruby3.2 with nodejs18.x\",\n", ""));
    project.run(&["check"]).code(0).says(&["warning: `ruby3.2` with Node.js of `nodejs18.x` is no pair"]);
}

const RULES: &str = r#"
schema = 1
[project]
name = "acme"
[axes.runtime]
values = [{ name = "node18", retired = true }, { name = "node20", retired = true }, { name = "node22", retired = false }]
[axes.n]
values = ["1", "2"]
[images.app]
axes = ["runtime", "n"]
base = "scratch"
tags = ["{{ runtime }}-{{ n }}"]
[images.plain]
base = "scratch"
tags = ["1"]
[[rules]]
when = "runtime.retired"
level = "warn"
message = "retired runtime"
"#;

#[test]
fn warnings_of_rules_are_said_once_with_their_cells() {
    let project = Project::new(RULES);
    let all = "warning: retired runtime\n  in app[runtime=node18,n=1], app[runtime=node18,n=2], \
               app[runtime=node20,n=1], app[runtime=node20,n=2]\n";
    assert_eq!(project.run(&["check"]).code(0).err, all);
    assert_eq!(project.run(&["plan", "--offline"]).code(0).err, all);
    project.run(&["build"]).code(0).says(&[all]);
    let chosen = project.run(&["plan", "--offline", "--only", "runtime=node20,n=2"]).code(0);
    assert_eq!(chosen.err, "warning: retired runtime\n  in app[runtime=node20,n=2]\n");
    assert_eq!(project.run(&["plan", "--offline", "--only", "runtime=node22"]).code(0).err, "");
    let each = RULES.replace("\"retired runtime\"", "\"{{ runtime.name }} is retired\"");
    project.write("builds.toml", &each);
    let err = project.run(&["check"]).code(0).err;
    assert_eq!(err.matches("warning: ").count(), 2, "{err}");
    assert!(err.contains("warning: node20 is retired\n  in app[runtime=node20,n=1], app["), "{err}");
}

#[test]
fn a_rule_that_rejects_is_a_mistake_until_the_cell_is_excluded() {
    let project = Project::new(&RULES.replace("\"warn\"", "\"reject\""));
    project.run(&["check"]).code(2).says(&[
        "a rule rejects `app[runtime=node18,n=1]`",
        "retired runtime",
        "builds.toml:17:8",
        "1 mistake in the manifest",
    ]);
    let text = project.read("builds.toml");
    let excluded = text.replace("tags = [\"{{ ", "exclude = [{ runtime = \"node[12][80]\" }]\ntags = [\"{{ ");
    project.write("builds.toml", &excluded);
    project.run(&["check"]).code(0).prints(&["2 images, 3 cells"]);
}
