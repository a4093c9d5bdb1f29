//! Exported pipelines, the import of others, and projects to start from; no engine, no network.

use std::path::Path;

use crate::project::{Ended, Project};
use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value, json};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A YAML document as JSON.
fn yaml(text: &str) -> Value {
    fn node<'a>(events: &mut impl Iterator<Item = Event<'a>>, event: Event<'a>) -> Value {
        match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) => match text.as_ref() {
                "true" => json!(true),
                "false" => json!(false),
                other => other.parse::<u64>().map_or_else(|_| json!(other), |number| json!(number)),
            },
            Event::Scalar(text, ..) => json!(text),
            Event::SequenceStart(..) => {
                let mut list = Vec::new();
                loop {
                    match events.next().unwrap() {
                        Event::SequenceEnd => return Value::Array(list),
                        event => list.push(node(events, event)),
                    }
                }
            }
            Event::MappingStart(..) => {
                let mut map = Map::new();
                loop {
                    match events.next().unwrap() {
                        Event::MappingEnd => return Value::Object(map),
                        key => {
                            let key = node(events, key).as_str().expect("keys are texts").to_owned();
                            let event = events.next().unwrap();
                            map.insert(key, node(events, event));
                        }
                    }
                }
            }
            other => panic!("{other:?}"),
        }
    }
    let events: Result<Vec<_>, _> =
        Parser::new_from_str(text).map(|event| event.map(|(event, _)| event)).collect();
    let mut events = events.unwrap().into_iter().skip_while(|e| !matches!(e, Event::MappingStart(..)));
    let first = events.next().unwrap();
    node(&mut events, first)
}

/// All values of a key, wherever it stands.
fn all<'v>(value: &'v Value, key: &str) -> Vec<&'v Value> {
    let inner: Vec<&Value> = match value {
        Value::Object(map) => map.values().collect(),
        Value::Array(list) => list.iter().collect(),
        _ => Vec::new(),
    };
    value.get(key).into_iter().chain(inner.into_iter().flat_map(|value| all(value, key))).collect()
}

fn shipped(words: &[&str]) -> Ended {
    let project = Project::new("");
    let manifest = format!("{ROOT}/builds.toml");
    project.run(&[words, &["--file", &manifest]].concat())
}

#[test]
fn the_exported_pipeline_has_the_form_that_harness_demands() {
    let exported = shipped(&[
        "export",
        "harness-pipeline",
        "--axis",
        "runtime",
        "--axis",
        "harness",
        "--concurrency",
        "3",
    ])
    .code(0)
    .out;
    let document = yaml(&exported);
    for identifier in all(&document, "identifier") {
        let text = identifier.as_str().unwrap();
        assert!(
            text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && text.len() <= 128,
            "{text}"
        );
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{text}");
    }
    let strategies = all(&document, "strategy");
    assert!(!strategies.is_empty());
    for strategy in &strategies {
        let keys: Vec<&String> = strategy.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["matrix"], "matrix, parallelism and repeat exclude each other");
        assert_eq!(strategy["matrix"]["maxConcurrency"], 3);
        assert_eq!(strategy["matrix"]["nodeName"], "<+matrix.runtime>_<+matrix.harness>");
        assert!(
            strategy["matrix"]["runtime"]
                .as_array()
                .is_some_and(|values| values.contains(&json!("python3.11")))
        );
    }
    let names: Vec<&str> = document["pipeline"]["variables"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"RAILYARD_IMAGE") && names.contains(&"sam"), "{names:?}");
    let environment = all(&document, "envVariables");
    assert!(
        environment.iter().any(
            |e| e["MATRIX_runtime"] == "<+matrix.runtime>" && e["VAR_sam"] == "<+pipeline.variables.sam>"
        )
    );
    let commands: Vec<&str> = all(&document, "command").into_iter().filter_map(Value::as_str).collect();
    assert!(
        commands.iter().any(
            |c| c.contains("--only \"image=serverless,runtime=$MATRIX_runtime,harness=$MATRIX_harness\"")
        )
    );
    assert!(commands.iter().all(|c| !c.contains("docker login")));
    assert_eq!(all(&document, "paths")[0], &json!(["railyard-junit.xml"]));
}

#[test]
fn the_exported_pipeline_is_valid_by_the_public_schema() {
    let Ok(schema) = std::env::var("RAILYARD_HARNESS_SCHEMA") else {
        eprintln!("skipped: RAILYARD_HARNESS_SCHEMA does not name v0/pipeline.json of harness-schema");
        return;
    };
    for words in [
        &["export", "harness-pipeline"][..],
        &["export", "harness-pipeline", "--codebase", "--axis", "harness", "--axis", "serverless"],
    ] {
        let exported = shipped(words).code(0).out;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipeline.json");
        std::fs::write(&path, yaml(&exported).to_string()).unwrap();
        let script = "import json, sys, jsonschema\n\
            schema, document = (json.load(open(path)) for path in sys.argv[1:])\n\
            errors = [f'{list(e.absolute_path)}: {e.message[:300]}' for e in jsonschema.Draft7Validator(schema).iter_errors(document)]\n\
            sys.exit('\\n'.join(errors) or None)";
        let output = std::process::Command::new("python3")
            .args(["-W", "ignore", "-c", script, &schema, path.to_str().unwrap()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn points_without_cells_are_excluded_and_images_without_the_axis_come_first() {
    let project = Project::new(
        "schema = 1\n[project]\nname = \"1.p\"\n[axes.a]\nvalues = [\"1\", \"2\"]\n[axes.b]\nvalues = [\"x\", \"y\"]\n\
         [images.both]\naxes = [\"a\", \"b\"]\ntags = [\"{{ a }}{{ b }}\"]\nbase = \"scratch\"\nexclude = [{ a = \"2\", b = \"y\" }]\n\
         [images.one]\naxes = [\"a\"]\ntags = [\"{{ a }}\"]\nbase = \"scratch\"\n",
    );
    let export = ["export", "harness-pipeline", "--axis", "a", "--axis", "b"];
    let document = yaml(&project.run(&export).code(0).out);
    let stages = document["pipeline"]["stages"].as_array().unwrap();
    assert_eq!(stages.len(), 2);
    assert_eq!(stages[0]["stage"]["identifier"], "shared");
    assert!(stages[0]["stage"].get("strategy").is_none());
    let matrix = &stages[1]["stage"]["strategy"]["matrix"];
    assert_eq!(matrix["a"], json!(["1", "2"]));
    assert_eq!(matrix["exclude"], json!([{"a": "2", "b": "y"}]));
    assert_eq!(document["pipeline"]["identifier"], "_1_p");
    project
        .run(&["export", "harness-pipeline", "--axis", "c"])
        .code(2)
        .says(&["no chosen cell has the axis `c`"]);
    let only = ["--only", "image=both,a=1,b=x", "--axis", "a"];
    project
        .run(&[&export[..2], &only].concat())
        .code(2)
        .says(&["of the image `both` only some cells at `a=1`"]);
    let workflow =
        yaml(&project.run(&["export", "github-actions", "--axis", "a", "--axis", "b"]).code(0).out);
    let build = &workflow["jobs"]["build"];
    assert_eq!(build["needs"], "shared");
    assert_eq!(build["strategy"]["matrix"]["exclude"], json!([{"a": "2", "b": "y"}]));
    assert_eq!(all(build, "MATRIX_a")[0], "${{ matrix.a }}");
}

#[test]
fn an_exported_pipeline_comes_back_as_the_same_manifest() {
    let project = Project::new("");
    let exported = shipped(&["export", "harness-pipeline"]).code(0).out;
    project.write("pipeline.yaml", &exported);
    let import = ["import", "harness-pipeline", "pipeline.yaml", "--out", "back"];
    let said =
        ["0 faults, 0 parts not carried over, 0 notes", "next: railyard check --file back/builds.toml"];
    project.run(&import).code(0).says(&said);
    assert_eq!(
        project.read("back/builds.toml"),
        std::fs::read_to_string(format!("{ROOT}/builds.toml")).unwrap()
    );
    let planned =
        project.run(&["plan", "--offline", "--format", "json", "--file", "back/builds.toml"]).code(0).out;
    assert_eq!(planned, shipped(&["plan", "--offline", "--format", "json"]).code(0).out);
    project.run(&import).code(2).says(&["would be written over", "--force"]);
    // Exported again it is the same pipeline.
    let again = project.run(&["export", "harness-pipeline", "--file", "back/builds.toml"]).code(0).out;
    assert_eq!(again, exported);
}

#[test]
fn values_from_outside_stay_out_of_exports() {
    let project = Project::new(
        "schema = 1\n[project]\nname = \"p\"\nrepository = \"registry.test/p\"\n[vars]\ntoken = \"none\"\n\
         [layers.file]\ndownloads = [{ urls = [\"https://host/f?token={{ vars.token }}\"], path = \"/f\", \
         sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\" }]\n\
         [images.app]\nbase = \"scratch\"\ntags = [\"1\"]\nlayers = [\"file\"]\n",
    );
    let set = ["--var", "token=hunter2"];
    for target in ["harness-pipeline", "github-actions"] {
        let ended = project.run(&[&["export", target], &set[..]].concat()).code(0);
        assert!(
            !ended.out.contains("hunter2") && !ended.err.contains("hunter2"),
            "{}{}",
            ended.out,
            ended.err
        );
        assert!(all(&yaml(&ended.out), "default").contains(&&json!("none")), "{}", ended.out);
        ended.says(&["note: values from outside", "`token`"]);
    }
    for target in ["dockerfile", "bake"] {
        let ended = project.run(&[&["export", target, "--out", target], &set[..]].concat()).code(2);
        assert!(!ended.err.contains("hunter2"), "{}", ended.err);
        ended.says(&["has a part from outside", "https://host/f?token=$token"]);
    }
}

#[test]
fn files_with_other_line_ends_are_carried_as_they_are() {
    let project = Project::new(
        "schema = 1\n[project]\nname = \"p\"\nrepository = \"registry.test/p\"\n\
         [images.app]\ntags = [\"1\"]\ndockerfile = { context = \"ctx\" }\n",
    );
    std::fs::create_dir(project.path("ctx")).unwrap();
    project.write("ctx/Dockerfile", "FROM scratch\nCOPY a /\n");
    project.write("ctx/a", "x\r\ny\r\n");
    project.write("pipeline.yaml", &project.run(&["export", "harness-pipeline"]).code(0).out);
    project.run(&["import", "harness-pipeline", "pipeline.yaml", "--out", "back"]).code(0);
    assert_eq!(project.read("back/ctx/a"), "x\r\ny\r\n");
    assert_eq!(project.read("back/ctx/Dockerfile"), "FROM scratch\nCOPY a /\n");
}

fn fixture(name: &str) -> (String, String) {
    let path = format!("{ROOT}/tests/pipelines/{name}.yaml");
    (std::fs::read_to_string(&path).unwrap(), path)
}

/// Asserts that a remark of this kind and text stands at the line that holds `part`.
#[track_caller]
fn remarked(ended: &Ended, (text, path): &(String, String), part: &str, remark: &str) {
    let line = text.lines().position(|line| line.contains(part)).expect("the fixture has it") + 1;
    let start = format!("{path}:{line}: {remark}");
    assert!(ended.err.contains(&start), "no `{start}` in\n{}", ended.err);
}

/// Imports a fixture; gives what was said, and the plan of the manifest.
fn imported(project: &Project, name: &str, inputs: &[&str]) -> (Ended, Value) {
    let path = format!("{ROOT}/tests/pipelines/{name}.yaml");
    let words = [&["import", "harness-pipeline", &path, "--out", name], inputs].concat();
    let ended = project.run(&words).code(0);
    let manifest = format!("{name}/builds.toml");
    let plan = project.run(&["plan", "--offline", "--format", "json", "--file", &manifest]).code(0).out;
    (ended, serde_json::from_str(&plan).unwrap())
}

fn references(plan: &Value) -> Vec<String> {
    let cells = plan["cells"].as_array().unwrap();
    cells
        .iter()
        .flat_map(|cell| cell["references"].as_array().unwrap())
        .map(|r| r.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_serverless_pipeline_becomes_a_manifest() {
    let project = Project::new("");
    let (ended, plan) = imported(&project, "serverless", &[]);
    let repository = "docker.io/acme/serverless-plugin";
    let expected = [
        format!("{repository}:python3.12-1.1.0-beta-linux-amd64"),
        format!("{repository}:python3.12-3.38.0-1.1.0-beta-linux-amd64"),
        format!("{repository}:python3.12-3.39.0-1.1.0-beta-linux-amd64"),
    ];
    assert_eq!(references(&plan), expected);
    let fixture = fixture("serverless");
    remarked(&ended, &fixture, "echo \"${DOCKER_PASSWORD}\"", "fault: a secret is printed");
    remarked(&ended, &fixture, "docker login -u", "fault: `docker login -p`");
    remarked(&ended, &fixture, "curl -L -o", "fault: `curl` without `--fail`");
    remarked(&ended, &fixture, "echo '#!/bin/bash' >", "fault: writes a stub");
    remarked(&ended, &fixture, "somebody/plugin-trial", "fault: the repository that is pushed to");
    remarked(&ended, &fixture, "| sed -n", "fault: a part of a reference is cut out");
    remarked(&ended, &fixture, "status: SUCCESS", "fault: says success");
    remarked(&ended, &fixture, "BUILD_BASE=${", "not carried over: the toggle `BUILD_BASE`");
    remarked(&ended, &fixture, "for i in", "not carried over: the loop that waits");
    let manifest = project.read("serverless/builds.toml");
    for part in [
        "copy = [{ from = \"{{ runtime.nodejs_base }}\", paths = [\"/var/lang\", \"/opt\"] }]",
        "paths = [\"/opt/harness/bin/harness-serverless-plugin\", \"/opt/harness/scripts/\"], chmod = \"a+x\"",
        "npm install -g --no-audit --no-fund serverless@{{ serverless }}",
        "extract = { members = [\"docker/docker\"] }",
        "go-template_linux_amd64\"]",
        "path = [\"/var/lang/bin\", \"/opt/bin\"]",
        "entrypoint = [\"/opt/harness/scripts/serverless-plugin.sh\"]",
        "SERVERLESS_VERSION = \"{{ serverless }}\"",
        "memory = \"4GiB\"\ncpus = 2\ntimeout = \"30m\"",
    ] {
        assert!(manifest.contains(part), "no `{part}` in\n{manifest}");
    }
    assert!(!manifest.contains("PASSWORD") && !manifest.contains("hub_token"), "{manifest}");
}

#[test]
fn inputs_are_given_by_name() {
    let project = Project::new("");
    let bases = "RUNTIME_BASE_IMAGE_VERSION=public.ecr.aws/sam/build-java21:1.140.0-20250605234711-x86_64,\
        public.ecr.aws/sam/build-ruby3.2:1.143.0-20250822194415-x86_64";
    let (_, plan) = imported(&project, "serverless", &["--set", bases, "--set", "SERVERLESS_VERSION=3.40.0"]);
    let references = references(&plan);
    assert!(
        references
            .contains(&"docker.io/acme/serverless-plugin:java21-3.40.0-1.1.0-beta-linux-amd64".to_owned()),
        "{references:?}"
    );
    assert_eq!(references.len(), 4);
}

#[test]
fn a_sam_pipeline_becomes_a_manifest() {
    let project = Project::new("");
    let (ended, plan) = imported(&project, "sam", &[]);
    assert_eq!(
        references(&plan),
        ["docker.io/acme/aws-sam-plugin:1.1.2-beta-python3.12-1.143.0-linux-amd64"]
    );
    let fixture = fixture("sam");
    remarked(&ended, &fixture, "until docker info", "fault: waits for the engine without an end");
    remarked(&ended, &fixture, "curl -s -L", "fault: `curl` without `--fail`");
    remarked(&ended, &fixture, "dockerd &", "fault: starts an engine inside the step");
    remarked(&ended, &fixture, "condition: \"false\"", "fault: the step `push again` is never run");
    remarked(&ended, &fixture, "- name: VCS_REF", "fault: the script never sets the output `VCS_REF`");
    remarked(&ended, &fixture, "docker build -t", "not carried over: the time in the tag");
    remarked(&ended, &fixture, "RUN if command -v apt-get", "note: a command taken over as it is");
    assert!(!ended.err.contains("a secret is printed"), "it goes to standard input: {}", ended.err);
    let manifest = project.read("sam/builds.toml");
    for part in [
        "apt-get install -y docker.io",
        "release/v0.4.5/bin/linux/amd64/go-template",
        "DOCKER_VERSION = \"26.0.1\"",
        "[images.aws-sam-plugin.outputs]\nTIMESTAMP = \"{{ timestamp }}\"\nVCS_REF = \"{{ revision }}\"\nSAM_RUNTIME = \"{{ runtime }}\"\nSAM_VERSION = \"{{ runtime.build }}\"",
    ] {
        assert!(manifest.contains(part), "no `{part}` in\n{manifest}");
    }
}

#[test]
fn what_is_no_pipeline_is_refused_with_its_place() {
    let project = Project::new("");
    project.write("broken.yaml", "pipeline:\n  name: [a\n  b: c\n");
    project.run(&["import", "harness-pipeline", "broken.yaml"]).code(2).says(&["error: broken.yaml:"]);
    project.write("other.yaml", "pipeline:\n  name: a\n  stages: []\n");
    project
        .run(&["import", "harness-pipeline", "other.yaml"])
        .code(2)
        .says(&["no step has a script with `docker build`", "railyard init"]);
}

#[test]
fn a_project_to_start_from_is_whole_and_overwrites_nothing() {
    let project = Project::new("");
    let init =
        ["init", "--family", "serverless", "--dir", "new", "--repository", "registry.example.com/team"];
    project.run(&init).code(0).says(&[
        "wrote new/builds.toml",
        "wrote new/matrices/serverless-plugin.toml",
        "next: railyard check --file new/builds.toml",
    ]);
    project.run(&["check", "--file", "new/builds.toml"]).code(0).prints(&["no mistakes"]);
    let plan = project.run(&["plan", "--offline", "--file", "new/builds.toml"]).code(0);
    assert!(plan.out.contains("registry.example.com/team/serverless-plugin:"), "{}", plan.out);
    std::fs::write(project.path("new/builds.toml"), "mine").unwrap();
    project.run(&init).code(2).says(&["`new/builds.toml`", "--force"]);
    assert_eq!(project.read("new/builds.toml"), "mine");
    project.run(&[&init[..], &["--force"]].concat()).code(0);
    assert!(project.read("new/builds.toml").contains("[project]"));
    project.run(&["init", "--dir", "other"]).code(2).says(&["give --family with any of serverless"]);
    project
        .run(&["init", "--family", "nothing", "--dir", "other"])
        .code(2)
        .says(&["there is no family `nothing`"]);
    assert!(!Path::new(&project.path("other")).exists());
}
