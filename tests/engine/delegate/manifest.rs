//! `railyard delegate manifest`: from nothing, and an existing one with all else left as it is.

use railyard::delegate::{Patched, Target, patch};
use railyard::oci::Reference;
use serde_json::Value;

use crate::project::Project;

const IMAGE: &str = "registry.example.com/acme/delegate@sha256:1111111111111111111111111111111111111111111111111111111111111111";

const EXISTING: &str = r#"# ours
apiVersion: v1
kind: Secret
metadata: { name: team-token, namespace: delegates }
data:
  DELEGATE_TOKEN: "dG9wLXNlY3JldC10b2tlbg==" # rotated in May
---
apiVersion: apps/v1
kind: Deployment
metadata:
    name: team
    annotations:
        note: was top-secret-token, see dG9wLXNlY3JldC10b2tlbg==
spec:
    template:
        spec:
            containers:
            -   image: 'harness/delegate:24.01.1'   # ours, too
                name: delegate
                env:
                # why
                -   name: ACCOUNT_ID
                    value: abc
                -   name: NEXUS_PASSWORD
                    value: hunter2-hunter2
---

apiVersion: batch/v1beta1
kind: CronJob
metadata:
    name: team-upgrader-job
spec:
    schedule: "0 */1 * * *"
    suspend: false # not yet
    jobTemplate: {spec: {template: {spec: {containers: [{name: upgrader, image: 'harness/upgrader:latest'}]}}}}
---
apiVersion: batch/v1beta1
kind: CronJob
metadata:
    name: backup
spec:
    schedule: "0 1 * * *"
"#;

fn target(image: &Reference) -> Target<'_> {
    Target { image, name: None, container: "delegate", keep_secrets: true }
}

#[track_caller]
fn patched(text: &str) -> Patched {
    let image = IMAGE.parse().unwrap();
    let found = patch(text, &target(&image)).unwrap_or_else(|e| panic!("{e}"));
    let again = patch(&found.text, &target(&image)).unwrap();
    assert_eq!((again.changes, again.text.as_str()), (Vec::new(), found.text.as_str()), "once is enough");
    found
}

#[track_caller]
fn refused(text: &str) -> String {
    let image = IMAGE.parse().unwrap();
    let error = patch(text, &target(&image)).unwrap_err();
    assert!(!error.help.is_empty());
    error.message
}

#[test]
fn only_what_must_be_is_changed() {
    let found = patched(EXISTING);
    let expected = EXISTING
        .replace("'harness/delegate:24.01.1'", IMAGE)
        .replace(
            "-   name: ACCOUNT_ID",
            "- name: CLIENT_TOOLS_DOWNLOAD_DISABLED\n                  value: \"true\"\n                -   name: ACCOUNT_ID",
        )
        .replace("batch/v1beta1", "batch/v1")
        .replace("suspend: false", "suspend: true");
    assert_eq!(found.text, expected);
    let lines: Vec<&str> = found.changes.iter().map(|change| change.split(": ").next().unwrap()).collect();
    assert_eq!(lines, ["line 18", "line 20", "line 28", "line 34", "line 37"]);
}

#[test]
fn secrets_are_not_shown_wherever_they_stand() {
    let project = Project::new("");
    project.write("team.yaml", EXISTING);
    let ended = project.run(&["delegate", "manifest", IMAGE, "--patch", "team.yaml"]).code(0);
    for secret in ["dG9wLXNlY3JldC10b2tlbg", "top-secret-token", "hunter2"] {
        assert!(
            !ended.out.contains(secret) && !ended.err.contains(secret),
            "{secret}:\n{}\n{}",
            ended.out,
            ended.err
        );
    }
    let ended = ended.says(&[
        "team.yaml, line 18: image: registry.example.com/acme/delegate@sha256:1111",
        "`DELEGATE_TOKEN` of Secret `team-token` is a real value: `YOUR_DELEGATE_TOKEN` stands in its place",
        "variable `NEXUS_PASSWORD` in `team` is a real value",
    ]);
    let ended = ended.prints(&[
        "  DELEGATE_TOKEN: \"YOUR_DELEGATE_TOKEN\" # rotated in May\n",
        "        note: was YOUR_DELEGATE_TOKEN, see YOUR_DELEGATE_TOKEN\n",
        "                    value: \"YOUR_NEXUS_PASSWORD\"\n",
    ]);
    assert_eq!(project.read("team.yaml"), EXISTING, "the file itself is left alone");
    assert_eq!(ended.out.lines().count(), EXISTING.lines().count() + 2);
}

#[test]
fn secrets_behind_aliases_and_in_tables_of_settings_are_not_shown_either() {
    let project = Project::new("");
    let settings = "kind: ConfigMap\nmetadata: {name: s}\ndata:\n  DELEGATE_TOKEN: in-the-open\n  PLACE: input_data\n---\n";
    let secret = "kind: Secret\nmetadata: {name: t}\nstringData:\n  DB_PASSWORD: input_data_2024_real\n---\n";
    let pod = deployment(
        "      - name: delegate\n        image: x\n        env:\n        - name: NOTE\n          value: &tok behind-an-anchor\n        \
         - name: A_TOKEN\n          value: *tok\n        - name: B_TOKEN\n          value: *tok\n",
    );
    project.write("team.yaml", &format!("{settings}{secret}{pod}"));
    let ended = project.run(&["delegate", "manifest", IMAGE, "--patch", "team.yaml"]).code(0);
    for secret in ["behind-an-anchor", "in-the-open", "input_data_2024_real"] {
        assert!(!ended.out.contains(secret) && !ended.err.contains(secret), "{}\n{}", ended.out, ended.err);
    }
    ended.prints(&["PLACE: input_data\n", "value: *tok\n"]);
}

#[test]
fn a_tag_of_several_cells_is_not_guessed() {
    let project = Project::new("");
    project.write(
        "builds.toml",
        "schema = 1\n[project]\nname = \"p\"\nrepository = \"127.0.0.1:5000/p\"\n[images.a]\nbase = \"scratch\"\n\
         name = \"a\"\ntags = [\"1\"]\n[images.b]\nbase = \"scratch\"\nname = \"b\"\ntags = [\"1\"]\n",
    );
    project.run(&["delegate", "manifest", "1"]).code(2).says(&[
        "2 cells have the tag `1`",
        "a: 127.0.0.1:5000/p/a:1",
        "b: 127.0.0.1:5000/p/b:1",
    ]);
}

#[test]
fn secrets_of_several_lines_are_not_shown_either() {
    let project = Project::new("");
    let pod = "kind: Deployment\nmetadata: {name: d}\nspec:\n  template:\n    spec:\n      containers:\n      - name: delegate\n        \
               image: x\n        env:\n        - name: A_TOKEN\n          value: >-\n            folded-one\n            folded-two\n        \
               - {name: CLIENT_TOOLS_DOWNLOAD_DISABLED, value: 'true'}\n---\n";
    let secret = "kind: Secret\nmetadata: {name: s}\nstringData:\n  BLOCK: |\n    block-one\n    block-two\n  # after\n  PLAIN: \
                  plain-one\n    plain-two\n  QUOTED: \"quoted-one \\\n    quoted-two\" # kept\n  LAST: |-\n    last-one\n";
    project.write("team.yaml", &format!("{pod}{secret}"));
    let ended = project.run(&["delegate", "manifest", IMAGE, "--patch", "team.yaml"]).code(0);
    let wanted = format!("{pod}{secret}")
        .replace("image: x", &format!("image: {IMAGE}"))
        .replace("folded-one\n            folded-two", "YOUR_A_TOKEN")
        .replace("block-one\n    block-two", "YOUR_BLOCK")
        .replace("plain-one\n    plain-two", "\"YOUR_PLAIN\"")
        .replace("\"quoted-one \\\n    quoted-two\"", "\"YOUR_QUOTED\"")
        .replace("last-one", "YOUR_LAST");
    assert_eq!(ended.out, wanted);
    assert!(!ended.err.contains("-one"), "{}", ended.err);
}

#[test]
fn in_place_the_file_keeps_its_secrets_and_nothing_is_printed() {
    let project = Project::new("");
    project.write("team.yaml", EXISTING);
    let arguments = ["delegate", "manifest", IMAGE, "--patch", "team.yaml", "--in-place"];
    let ended = project.run(&arguments).code(0).says(&["is a real value: do not commit it"]);
    assert_eq!(ended.out, "");
    assert!(!ended.err.contains("dG9wLX") && !ended.err.contains("hunter2"), "{}", ended.err);
    let text = project.read("team.yaml");
    assert_eq!(text, patched(EXISTING).text);
    project.run(&arguments).code(0).says(&["team.yaml: nothing to change"]);
    assert_eq!(project.read("team.yaml"), text);
}

/// A Deployment with these lines in its container.
fn deployment(container: &str) -> String {
    format!(
        "kind: Deployment\nmetadata: {{name: d}}\nspec:\n  template:\n    spec:\n      containers:\n{container}"
    )
}

#[test]
fn what_is_missing_is_put_in() {
    for container in [
        "      - name: delegate\n",
        "      - name: delegate\n        image:\n        env:\n",
        "      - name: delegate\n        image: \"x\"\n        env: []\n",
        "      - {name: delegate, image: x}\n",
        "      - {name: delegate, image: x, env: [{name: A, value: b}]}\n",
        "      - name: delegate\n        env:\n        - name: CLIENT_TOOLS_DOWNLOAD_DISABLED\n",
        "      - name: delegate\n        env:\n        - name: CLIENT_TOOLS_DOWNLOAD_DISABLED\n          value: true\n",
        "      - name: delegate\n        env:\n        - {name: CLIENT_TOOLS_DOWNLOAD_DISABLED, value: 'false'}\n",
        "      - name: delegate\r\n        env:\r\n        - name: A\r\n          value: b\r\n",
        "      -\n        # first\n        name: delegate\n        image: x\n",
    ] {
        let text = patched(&deployment(container)).text;
        let value = &documents(&text)[0];
        let found = &value["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(found["image"], IMAGE, "{text}");
        let env = found["env"].as_array().unwrap();
        let flag = serde_json::json!({"name": "CLIENT_TOOLS_DOWNLOAD_DISABLED", "value": "true"});
        assert_eq!(env.iter().filter(|item| **item == flag).count(), 1, "{text}");
        assert_eq!(found["name"], "delegate");
        // The container's lines end as they did; the lines around it end by `\n` alone here.
        let ends = |text: &str| (text.matches("\r\n").count(), text.matches('\n').count());
        let ((before, all_before), (after, all_after)) = (ends(&deployment(container)), ends(&text));
        assert!(before == 0 && after == 0 || after - before == all_after - all_before, "{text:?}");
    }
}

/// The documents of a text, as YAML's core schema types them.
#[track_caller]
fn documents(text: &str) -> Vec<Value> {
    use saphyr_parser::{Event, Parser, ScalarStyle};
    let mut found = Vec::new();
    let mut open: Vec<(Value, Option<String>)> = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, _) = event.unwrap_or_else(|e| panic!("{e}:\n{text}"));
        let value = match event {
            Event::Scalar(word, ScalarStyle::Plain, ..) => match &*word {
                "~" | "" | "null" => Value::Null,
                "true" | "false" => Value::Bool(word == "true"),
                word => word.parse::<i64>().map_or_else(|_| Value::from(word), Value::from),
            },
            Event::Scalar(word, ..) => Value::from(&*word),
            Event::MappingStart(..) => {
                open.push((serde_json::json!({}), None));
                continue;
            }
            Event::SequenceStart(..) => {
                open.push((serde_json::json!([]), None));
                continue;
            }
            Event::MappingEnd | Event::SequenceEnd => open.pop().unwrap().0,
            _ => continue,
        };
        match open.last_mut() {
            None => found.push(value),
            Some((Value::Array(items), _)) => items.push(value),
            Some((table, key)) => match key.take() {
                None => *key = Some(value.as_str().unwrap().to_owned()),
                Some(key) => table[key] = value,
            },
        }
    }
    found
}

#[test]
fn lists_of_objects_and_stateful_sets_are_looked_into() {
    let text = "kind: List\nitems:\n- kind: StatefulSet\n  metadata:\n    name: d\n  spec:\n    template:\n      spec:\n        \
                containers:\n        - name: other\n          image: x\n";
    let found = patched(text);
    assert!(found.text.contains(&format!("image: {IMAGE}\n")), "{}", found.text);
    assert_eq!(found.notes, ["there is no CronJob of an upgrader in it"]);
}

#[test]
fn what_cannot_be_patched_is_refused_with_its_place() {
    assert!(refused("a: [\n").starts_with("line "));
    assert!(refused("").contains("no Deployment or StatefulSet"));
    assert!(refused("kind: Deployment\n").contains("no Deployment or StatefulSet"));
    let two = "      - name: a\n        image: x\n      - name: b\n        image: y\n";
    assert!(refused(&deployment(two)).contains("none of its 2 containers is called `delegate`"));
    let folded = "      - name: delegate\n        image: >-\n          x\n";
    assert_eq!(refused(&deployment(folded)), "line 8: `image` is no plain value");
    let alias =
        deployment("      - name: delegate\n        image: *i\n").replace("name: d}", "name: d, l: &i x}");
    assert_eq!(refused(&alias), "line 8: `image` is no plain value");
    let anchor = format!(
        "{}---\nkind: Pod\n",
        deployment("      - name: delegate\n        image: &i x\n        other: *i\n")
    );
    assert_eq!(refused(&anchor), "it is written in a way in which it cannot be changed here and there");
    let elsewhere = "      - name: delegate\n        image: x\n        env:\n        - name: CLIENT_TOOLS_DOWNLOAD_DISABLED\n          \
                     valueFrom: {configMapKeyRef: {name: c, key: k}}\n";
    assert!(
        refused(&deployment(elsewhere))
            .starts_with("line 10: CLIENT_TOOLS_DOWNLOAD_DISABLED comes from elsewhere")
    );
    let one = deployment("      - name: delegate\n        image: x\n");
    let several = format!("{one}---\n{}", one.replace("name: d}", "name: e}"));
    assert_eq!(refused(&several), "it has several delegates: `d` (line 7), `e` (line 16)");
    let image = IMAGE.parse().unwrap();
    let chosen = patch(&several, &Target { name: Some("e"), ..target(&image) }).unwrap();
    assert_eq!(chosen.text.matches(IMAGE).count(), 1);
    assert!(chosen.text.ends_with(&format!("image: {IMAGE}\n")), "{}", chosen.text);
}

#[test]
fn a_rendered_manifest_is_complete_and_needs_no_patch() {
    let project = Project::new("");
    let arguments =
        ["delegate", "manifest", IMAGE, "--name", "team-a", "--namespace", "delegates", "--account", "AbC_1"];
    let ended = project
        .run(&[&arguments[..], &["--manager", "https://harness.example.com/gratis/"]].concat())
        .code(0);
    assert_eq!(ended.err, "");
    let documents = documents(&ended.out);
    let kinds: Vec<&str> = documents.iter().map(|d| d["kind"].as_str().unwrap()).collect();
    let wanted = [
        "Namespace",
        "ClusterRoleBinding",
        "Secret",
        "Deployment",
        "Service",
        "Role",
        "RoleBinding",
        "ServiceAccount",
        "Secret",
        "ConfigMap",
        "CronJob",
    ];
    assert_eq!(kinds, wanted);
    for document in documents.iter().skip(2) {
        assert_eq!(document["metadata"]["namespace"], "delegates", "{document}");
    }
    let pod = &documents[3]["spec"]["template"]["spec"];
    assert_eq!(pod["terminationGracePeriodSeconds"], 600);
    let container = &pod["containers"][0];
    assert_eq!(container["image"], IMAGE);
    assert_eq!(
        container["livenessProbe"]["httpGet"],
        serde_json::json!({"path": "/api/health", "port": 3460, "scheme": "HTTP"})
    );
    assert_eq!(container["resources"]["limits"], serde_json::json!({"cpu": "0.5", "memory": "2048Mi"}));
    let variable = |name: &str| {
        let env = container["env"].as_array().unwrap();
        env.iter().find(|item| item["name"] == name).unwrap_or_else(|| panic!("{name}"))["value"].clone()
    };
    assert_eq!(variable("CLIENT_TOOLS_DOWNLOAD_DISABLED"), "true");
    assert_eq!(variable("ACCOUNT_ID"), "AbC_1");
    assert_eq!(variable("MANAGER_HOST_AND_PORT"), "https://harness.example.com/gratis");
    assert_eq!(documents[2]["data"]["DELEGATE_TOKEN"], "YOUR_DELEGATE_TOKEN");
    assert_eq!(documents[8]["data"]["UPGRADER_TOKEN"], "YOUR_DELEGATE_TOKEN");
    assert_eq!(documents[4]["spec"]["ports"][0]["port"], 8080);
    let job = &documents[10];
    assert_eq!((&job["apiVersion"], &job["spec"]["suspend"]), (&"batch/v1".into(), &true.into()));
    assert_eq!(job["spec"]["schedule"], "0 */1 * * *");
    project.write("team.yaml", &ended.out);
    let again = project.run(&["delegate", "manifest", IMAGE, "--patch", "team.yaml"]).code(0);
    let again = again.says(&["team.yaml: nothing to change"]);
    assert_eq!(again.out, ended.out);
}

#[test]
fn bad_values_are_refused() {
    let project = Project::new("");
    for (arguments, wanted) in [
        (["--name", "Team_A"], "--name: `Team_A` cannot be a name"),
        (["--name", "9"], "--name: `9` cannot be a name"),
        (["--namespace", "a\"b"], "--namespace: "),
        (["--account", "a b"], "--account: `a b` is no id"),
        (["--manager", "harness"], "--manager: `harness` is not the URL"),
        (["--patch", "nothing.yaml"], "failed to read `nothing.yaml`"),
    ] {
        let all = [&["delegate", "manifest", IMAGE], &arguments[..]].concat();
        let ended = project.run(&all).code(2).says(&["error: ", wanted]);
        assert_eq!(ended.out, "");
    }
    std::fs::remove_file(project.path("builds.toml")).unwrap();
    project.run(&["delegate", "manifest", "acme//x"]).code(2).says(&["is not an image reference", "help:"]);
    project.run(&["delegate", "manifest", IMAGE, "--in-place"]).code(2).says(&["--patch"]);
}
