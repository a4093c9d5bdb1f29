//! A Harness CI pipeline that runs `railyard build`, a job for each point of some axes.

use super::jobs::{Group, Jobs, Sources};
use super::yaml::{Node, identifier};

/// What is decided beside the matrix.
#[derive(Debug, Clone)]
pub struct HarnessSettings {
    /// Jobs of a matrix at a time.
    pub concurrency: u64,
    /// The texts that the pipeline carries along; without them it clones the codebase.
    pub sources: Option<Sources>,
    /// The manifest's path in the codebase, or among the texts.
    pub manifest: String,
}

/// An input that is asked for at each run.
const INPUT: &str = "<+input>";

/// The pipeline as YAML.
pub fn harness_pipeline(jobs: &Jobs, settings: &HarnessSettings) -> String {
    let mut stages = Vec::new();
    if !jobs.shared.is_empty() {
        stages.push(stage("shared", "shared images", jobs, settings, &jobs.shared, None));
    }
    for (number, group) in jobs.groups.iter().enumerate() {
        let (id, name) = match jobs.groups.len() {
            1 => ("build".to_owned(), "build".to_owned()),
            _ => (format!("build_{}", number + 1), format!("build {}", number + 1)),
        };
        stages.push(stage(&id, &name, jobs, settings, &group.images, Some(group)));
    }
    let mut pipeline = vec![
        ("name", Node::text(name_of(&jobs.project))),
        ("identifier", Node::text(identifier(&jobs.project))),
        ("projectIdentifier", Node::text("your_project")),
        ("orgIdentifier", Node::text("default")),
        ("tags", Node::map::<&str>([])),
    ];
    if settings.sources.is_none() {
        let build = Node::text(INPUT);
        let codebase = Node::map([
            ("connectorRef", Node::text(INPUT)),
            ("repoName", Node::text(INPUT)),
            ("build", build),
        ]);
        pipeline.push(("properties", Node::map([("ci", Node::map([("codebase", codebase)]))])));
    }
    pipeline.push(("stages", Node::List(stages)));
    pipeline.push(("variables", Node::List(variables(jobs))));
    let head =
        "# Written by railyard. Set projectIdentifier and orgIdentifier; inputs are asked for at each run.\n";
    format!("{head}{}", Node::map([("pipeline", Node::map(pipeline))]).render())
}

/// Letters, digits, `_`, `-`, `.` and blanks: what names may have.
fn name_of(text: &str) -> String {
    let clean: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() || "_-. ".contains(c) { c } else { '_' }).collect();
    clean.chars().take(120).collect()
}

fn variables(jobs: &Jobs) -> Vec<Node> {
    let variable = |name: &str, kind: &str, description: &str, default: Option<&str>| {
        let mut pairs = vec![
            ("name", Node::text(name)),
            ("type", Node::text(kind)),
            ("description", Node::text(description)),
            ("required", Node::Bool(default.is_none())),
        ];
        pairs.extend(default.map(|default| ("default", Node::text(default))));
        pairs.push(("value", Node::text(INPUT)));
        Node::map(pairs)
    };
    let mut variables = vec![
        variable("RAILYARD_IMAGE", "String", "Image that has railyard", None),
        variable("DOCKER_REGISTRY", "String", "Registry of the user below", Some(&jobs.registry)),
        variable("DOCKER_USERNAME", "String", "User of the registry, empty for none", Some("")),
        variable("DOCKER_PASSWORD", "Secret", "Password or token of the user", None),
    ];
    variables.extend(jobs.variables.iter().map(|(name, value)| {
        variable(name, "String", &format!("Variable {name} of the manifest"), Some(value))
    }));
    variables
}

fn stage(
    id: &str,
    name: &str,
    jobs: &Jobs,
    settings: &HarnessSettings,
    images: &[String],
    group: Option<&Group>,
) -> Node {
    let infrastructure = Node::map([
        ("type", Node::text("KubernetesDirect")),
        (
            "spec",
            Node::map([
                ("connectorRef", Node::text(INPUT)),
                ("namespace", Node::text(INPUT)),
                ("automountServiceAccountToken", Node::Bool(false)),
                ("os", Node::text("Linux")),
            ]),
        ),
    ]);
    let steps = Node::List(vec![engine(), run(jobs, settings, images, group)]);
    let spec = Node::map([
        ("cloneCodebase", Node::Bool(settings.sources.is_none())),
        ("sharedPaths", Node::texts(["/var/run", "/var/lib/docker"])),
        ("infrastructure", infrastructure),
        ("execution", Node::map([("steps", steps)])),
    ]);
    let mut stage = vec![
        ("name", Node::text(name)),
        ("identifier", Node::text(id)),
        ("description", Node::text("")),
        ("type", Node::text("CI")),
        ("spec", spec),
    ];
    if let Some(group) = group {
        stage.push(("strategy", strategy(group, settings.concurrency)));
    }
    Node::map([("stage", Node::map(stage))])
}

fn strategy(group: &Group, concurrency: u64) -> Node {
    let mut matrix: Vec<(&str, Node)> =
        group.axes.iter().map(|(axis, values)| (axis.as_str(), Node::texts(values))).collect();
    if !group.exclude.is_empty() {
        let row = |point: &Vec<(String, String)>| {
            Node::map(point.iter().map(|(axis, value)| (axis.as_str(), Node::text(value))))
        };
        matrix.push(("exclude", Node::List(group.exclude.iter().map(row).collect())));
    }
    let names: Vec<String> = group.axes.iter().map(|(axis, _)| format!("<+matrix.{axis}>")).collect();
    matrix.push(("nodeName", Node::text(names.join("_"))));
    matrix.push(("maxConcurrency", Node::Number(concurrency)));
    Node::map([("matrix", Node::map(matrix))])
}

/// The engine beside the build; its socket lies on a shared path.
fn engine() -> Node {
    let spec = Node::map([
        ("connectorRef", Node::text(INPUT)),
        ("image", Node::text("docker:28-dind")),
        ("shell", Node::text("Sh")),
        ("privileged", Node::Bool(true)),
    ]);
    let step = Node::map([
        ("type", Node::text("Background")),
        ("name", Node::text("engine")),
        ("identifier", Node::text("engine")),
        ("spec", spec),
    ]);
    Node::map([("step", step)])
}

fn run(jobs: &Jobs, settings: &HarnessSettings, images: &[String], group: Option<&Group>) -> Node {
    let expression = |name: &str| Node::text(format!("<+pipeline.variables.{name}>"));
    let mut environment: Vec<(String, Node)> = vec![
        ("DOCKER_CONFIG".into(), Node::text("/tmp/docker-config")),
        ("DOCKER_REGISTRY".into(), expression("DOCKER_REGISTRY")),
        ("DOCKER_USERNAME".into(), expression("DOCKER_USERNAME")),
        ("DOCKER_PASSWORD".into(), expression("DOCKER_PASSWORD")),
    ];
    environment.extend(jobs.variables.iter().map(|(name, _)| (format!("VAR_{name}"), expression(name))));
    let axes = group.map(|group| group.axes.as_slice()).unwrap_or_default();
    environment.extend(
        axes.iter().map(|(axis, _)| (format!("MATRIX_{axis}"), Node::text(format!("<+matrix.{axis}>")))),
    );
    let limits = Node::map([("memory", Node::text("4Gi")), ("cpu", Node::text("2000m"))]);
    let keys = ["IMAGES", "DIGESTS", "CELLS_BUILT", "CELLS_CURRENT", "CELLS_FAILED"];
    let keys = keys.into_iter().map(str::to_owned).chain(jobs.outputs.iter().cloned());
    let outputs = keys
        .map(|key| {
            Node::map([
                ("name", Node::text(&key)),
                ("type", Node::text("String")),
                ("value", Node::text(&key)),
            ])
        })
        .collect();
    let report = Node::map([
        ("type", Node::text("JUnit")),
        ("spec", Node::map([("paths", Node::texts(["railyard-junit.xml"]))])),
    ]);
    let spec = Node::map([
        ("connectorRef", Node::text(INPUT)),
        ("image", expression("RAILYARD_IMAGE")),
        ("shell", Node::text("Sh")),
        ("command", Node::Block(command(jobs, settings, images, axes))),
        ("reports", report),
        ("envVariables", Node::Map(environment)),
        ("outputVariables", Node::List(outputs)),
        ("resources", Node::map([("limits", limits)])),
    ]);
    let step = Node::map([
        ("type", Node::text("Run")),
        ("name", Node::text("railyard build")),
        ("identifier", Node::text("railyard_build")),
        ("spec", spec),
        ("timeout", Node::text("2h")),
    ]);
    Node::map([("step", step)])
}

fn command(
    jobs: &Jobs,
    settings: &HarnessSettings,
    images: &[String],
    axes: &[(String, Vec<String>)],
) -> String {
    let mut lines = vec!["set -e".to_owned()];
    lines.extend(sign_in());
    lines.extend(settings.sources.iter().flat_map(Sources::written));
    lines.push(build(jobs, &settings.manifest, images, axes));
    lines.join("\n")
}

/// Lines of shell that write Docker's configuration; nothing secret becomes an argument of a program.
pub(super) fn sign_in() -> Vec<String> {
    [
        "if [ -n \"$DOCKER_USERNAME\" ]; then",
        "  (umask 077 && mkdir -p \"$DOCKER_CONFIG\" && printf '{\"auths\":{\"%s\":{\"auth\":\"%s\"}}}' \"$DOCKER_REGISTRY\" \\",
        "    \"$(printf '%s:%s' \"$DOCKER_USERNAME\" \"$DOCKER_PASSWORD\" | base64 | tr -d '\\n')\" >\"$DOCKER_CONFIG/config.json\")",
        "fi",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// The command that builds a job's cells; variables and axes come from the environment.
pub(super) fn build(
    jobs: &Jobs,
    manifest: &str,
    images: &[String],
    axes: &[(String, Vec<String>)],
) -> String {
    let mut words = vec![
        "railyard build --push --wait-engine 60s --progress plain".to_owned(),
        format!("--file '{manifest}'"),
        "--report junit:railyard-junit.xml".to_owned(),
    ];
    words.extend(jobs.variables.iter().map(|(name, _)| format!("--var \"{name}=$VAR_{name}\"")));
    let point: String = axes.iter().map(|(axis, _)| format!(",{axis}=$MATRIX_{axis}")).collect();
    words.extend(images.iter().map(|image| format!("--only \"image={image}{point}\"")));
    words.join(" \\\n  ")
}
