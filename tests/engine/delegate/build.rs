//! The shipped delegates, built, pushed and pulled.

use std::collections::{BTreeMap, BTreeSet};

use crate::project::Project;
use crate::project::engine::run;
use crate::project::registry::{attempt, config, digest, file, manifest, setting, tool};

const MATRIX: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/matrices/delegate.toml");
const MINIMAL: &str = "24.04.82804.minimal";

/// The shipped matrix in a project of its own, on the stand-ins; `change` has its text.
pub fn shipped(change: impl Fn(String) -> String) -> Project {
    let mut project =
        crate::project::registry::project("[vars]\nharness = \"$HARNESS\"\nharness_downloads = \"$FILES\"\n");
    project.name("HARNESS", &format!("{}/harness", setting("RAILYARD_DEV_REGISTRY")));
    let head = project.read("builds.toml");
    project.write("builds.toml", &head.replacen("[project]", "import = [\"delegate.toml\"]\n[project]", 1));
    let text = change(std::fs::read_to_string(MATRIX).unwrap());
    let text =
        text.replace("https://dl.k8s.io", "$FILES").replace("https://apt.releases.hashicorp.com/gpg", "");
    let line = text.lines().find(|line| line.starts_with("hashicorp_deb = ")).unwrap().to_owned();
    let local = "hashicorp_deb = \"deb [trusted=yes] file:/usr/share/railyard/hashicorp ./\"";
    project.write("delegate.toml", &text.replace(&line, local));
    project
}

/// Path -> mode and owner as `tar -tv` prints them, of an image's flattened layers.
#[track_caller]
fn listing(reference: &str) -> BTreeMap<String, String> {
    let directory = tempfile::tempdir().unwrap();
    let tar = directory.path().join("image.tar");
    tool("crane", &["export", reference, tar.to_str().unwrap()]);
    let listing = tool("tar", &["--numeric-owner", "-tvf", tar.to_str().unwrap()]);
    let entry = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (words[5].trim_matches('/').to_owned(), format!("{} {}", words[0], words[1]))
    };
    listing.lines().map(entry).collect()
}

fn layers(reference: &str) -> Vec<String> {
    let manifest = manifest(reference);
    manifest["layers"].as_array().unwrap().iter().map(|l| l["digest"].as_str().unwrap().to_owned()).collect()
}

fn path(config: &serde_json::Value) -> String {
    let env = config["config"]["Env"].as_array().unwrap();
    env.iter().find_map(|variable| variable.as_str().unwrap().strip_prefix("PATH=")).unwrap().to_owned()
}

/// Tool, version and program of each client tool that the full bundle lists.
const FULL: [(&str, &str, &str); 11] = [
    ("kubectl", "v1.24.3", "kubectl"),
    ("helm", "v3.8.0", "helm"),
    ("go-template", "v0.4.2", "go-template"),
    ("harness-pywinrm", "v0.4-dev", "harness-pywinrm"),
    ("chartmuseum", "v0.15.0", "chartmuseum"),
    ("tf-config-inspect", "v1.2", "terraform-config-inspect"),
    ("oc", "v4.2.16", "oc"),
    ("kustomize", "v4.5.4", "kustomize"),
    ("scm", "f1024c6b", "scm"),
    ("helm", "v2.13.1", "helm"),
    ("helm", "v3.1.2", "helm"),
];

#[test]
fn delegates_have_what_their_bundles_list() {
    let project = shipped(|text| text);
    let report = project.push(&[]);
    report.all("built");
    let image = |tag: &str| project.fill(&format!("$REPO/delegate:{tag}"));
    let base = format!("{}/harness/delegate:{MINIMAL}", setting("RAILYARD_DEV_REGISTRY"));
    let tags = [
        format!("{MINIMAL}-small"),
        format!("{MINIMAL}-full"),
        format!("{MINIMAL}-full-2026"),
        "24.04.82804-small".into(),
    ];
    let digests: Vec<String> = tags.iter().map(|tag| digest(&image(tag)).unwrap()).collect();
    assert_eq!(digests, report.digests(), "each cell has its tag");

    // Contents, modes, owners.
    let full = image(&tags[1]);
    let found = listing(&full);
    let tools = "opt/harness-delegate/client-tools";
    for (name, version, program) in FULL {
        assert_eq!(
            found[&format!("{tools}/{name}/{version}/{program}")],
            "-rwxrwxr-x 1001/0",
            "{name} {version}"
        );
        assert_eq!(found[&format!("{tools}/{name}/{version}")], "drwxrwxr-x 1001/0");
        assert_eq!(found[&format!("{tools}/{name}")], "drwxrwxr-x 1001/0");
    }
    let programs = found.iter().filter(|(path, kind)| path.starts_with(tools) && kind.starts_with('-'));
    assert_eq!(programs.count(), FULL.len(), "and nothing else");
    assert!(found.contains_key("usr/bin/git") && !found.contains_key("usr/bin/terraform"));
    let before = listing(&base);
    for (path, kind) in before.iter().filter(|(path, _)| path.starts_with("opt/harness-delegate")) {
        assert_eq!(found.get(path), Some(kind), "the base's own {path} is left as it is");
    }

    // Configuration: the base's user, command and directory; an entry of PATH for each tool.
    let (own, bases) = (config(&full), config(&base));
    assert_eq!(own["config"]["User"], "1001");
    for field in ["Cmd", "Entrypoint", "WorkingDir"] {
        assert_eq!(own["config"][field], bases["config"][field], "{field}");
    }
    let entries: Vec<String> =
        FULL[..9].iter().map(|(name, version, _)| format!("/{tools}/{name}/{version}")).collect();
    assert_eq!(path(&own), format!("{}:{}", entries.join(":"), path(&bases)));
    let small = image(&tags[0]);
    assert_eq!(config(&small)["config"]["User"], "harness");
    assert_eq!(path(&config(&small)), format!("/opt/harness-delegate/tools:{}", path(&bases)));
    let found = listing(&small);
    assert_eq!(found["opt/harness-delegate/tools/kubectl"], "-rwxrwxr-x 1001/0");
    assert!(found.contains_key("usr/bin/terraform") && found.contains_key("usr/bin/unzip"));
    assert!(!found.keys().any(|path| path.starts_with(tools)));

    // In a container: the user again, and what PATH finds.
    let script = "id -u; id -g; helm; terraform-config-inspect; git; command -v kubectl";
    let said = run(&project.engine, &full, script);
    let wanted = "1001\n0\nhelm v3.8.0 (stand-in)\nterraform-config-inspect v1.2 (stand-in)\ngit 2.39.2 (stand-in)\n\
                  /opt/harness-delegate/client-tools/kubectl/v1.24.3/kubectl";
    assert_eq!(said, wanted);
    let said = run(&project.engine, &small, "id -un; kubectl; terraform; unzip");
    assert_eq!(said, "harness\nkubectl v1.35.3 (stand-in)\nterraform 1.9.8 (stand-in)\nunzip 6.0 (stand-in)");

    // One blob for what several bundles list: the base, git, pywinrm, kustomize, helm v3.8.0.
    let blobs: Vec<BTreeSet<String>> =
        tags.iter().map(|tag| layers(&image(tag)).into_iter().collect()).collect();
    let base_layers = layers(&base).len();
    assert_eq!(blobs[1].intersection(&blobs[2]).count(), base_layers + 1 + 3);
    assert_eq!(layers(&full).len(), base_layers + 1 + FULL.len());
    assert_eq!(layers(&small).last(), layers(&image(&tags[3])).last(), "one kubectl on both bases");

    // Again: nothing is done.
    let again = project.push(&[]);
    again.all("current");
    assert_eq!([again.steps("setup"), again.steps("artifact"), again.steps("place")], [0, 0, 0]);
}

#[test]
fn a_delegate_that_group_0_cannot_write_gets_no_tag() {
    let mut project = shipped(|text| text);
    let base = format!("{}/harness/delegate:{MINIMAL}", setting("RAILYARD_DEV_REGISTRY"));
    let harness = project.fill("$REPO/harness");
    let own = format!("{harness}/delegate:{MINIMAL}");
    let script = "set -e; cd \"$1\"; mkdir -p opt/harness-delegate/config; chmod 775 opt/harness-delegate; chmod 755 opt/harness-delegate/config; \
                  tar --numeric-owner --owner=1001 --group=0 -cf layer.tar opt/harness-delegate";
    let place = tempfile::tempdir().unwrap();
    tool("sh", &["-c", script, "sh", place.path().to_str().unwrap()]);
    let tar = place.path().join("layer.tar");
    tool("crane", &["append", "-b", &base, "-f", tar.to_str().unwrap(), "-t", &own]);
    let from = format!("{}/harness", setting("RAILYARD_DEV_REGISTRY"));
    let text = project.read("builds.toml").replace(&from, &harness);
    project.write("builds.toml", &text);
    project.store = "other".into();
    let only = format!("delegate={MINIMAL},bundle=small");
    let (ended, _) = project.build(&["--push", "--only", &only], 1);
    ended.says(&["/opt/harness-delegate/config/: group 0 cannot write: drwxr-xr-x 1001:0"]);
    assert_eq!(digest(&project.fill(&format!("$REPO/delegate:{MINIMAL}-small"))), None);
}

#[test]
fn the_stable_version_is_looked_up_once_and_kept_in_the_lock() {
    let source = "version = { versions = \">=1.30\", source = { url = \"{{ vars.kubernetes }}/release/stable.txt\" } }";
    let project = shipped(|text| text.replace("version = \"v1.35.3\"", source));
    let only = ["--only", "bundle=small,delegate=*.minimal"];
    project
        .run(&[&["plan", "--offline"], &only[..]].concat())
        .code(2)
        .says(&["railyard update stable-kubectl"]);
    project.push(&[&only[..], &["--no-checks"]].concat()).all("built");
    let lock = project.read("builds.lock");
    assert!(lock.contains("tools.stable-kubectl") && lock.contains("v1.35.3"), "{lock}");
    let url = project.fill("$FILES/release/v1.35.3/bin/linux/amd64/kubectl");
    assert!(lock.contains(&url), "its sha256 is pinned: {lock}");
    let ended = project.run(&[&["build", "--push", "--locked", "--no-checks"], &only[..]].concat()).code(0);
    assert!(ended.out.contains("current"), "{}", ended.out);
    let manifest = project.run(&["delegate", "manifest", &format!("{MINIMAL}-small")]).code(0);
    let built = digest(&project.fill(&format!("$REPO/delegate:{MINIMAL}-small"))).unwrap();
    manifest.prints(&[&project.fill(&format!("image: $REPO/delegate@{built}"))]);
    let mistaken =
        project.run(&["delegate", "manifest", "delegate[delegate=24.04.82804.minimal,bundle=smal]"]);
    mistaken.code(2).says(&["help: did you mean `delegate[delegate=24.04.82804.minimal,bundle=small]`?"]);
    let absent = project.run(&["delegate", "manifest", &project.fill("$REPO/delegate:nothing")]);
    absent.code(2).says(&["the registry has no", "railyard build --push"]);
    assert!(!attempt("crane", &["digest", &project.fill("$REPO/delegate:nothing")]).status.success());
}

#[test]
fn commands_run_once_for_each_item_and_again_by_the_name_of_their_layer() {
    let project = crate::project::registry::project(
        r#"
[axes.list]
values = [{ name = "x", items = ["a", "b"] }, { name = "y", items = ["b"] }]
[layers.made]
each = "list.items"
run = { image = "$BASE", script = "mkdir -p /opt/made; echo {{ item }} >/opt/made/{{ item }}", keep = ["/opt/made/{{ item }}"] }
[images.app]
axes = ["list"]
base = "$BASE"
tags = ["{{ list }}"]
layers = ["made"]
"#,
    );
    assert_eq!(project.push(&[]).all("built").steps("artifact"), 2, "`b` is made for both");
    let image = |tag: &str| project.fill(&format!("$REPO/app:{tag}"));
    assert_eq!(file(&image("x"), "opt/made/a"), "a");
    assert_eq!(file(&image("y"), "opt/made/b"), "b");
    assert_eq!(layers(&image("x"))[2], layers(&image("y"))[1]);
    for (pattern, runs) in [("made", 2), ("made[b]", 1), ("made*", 2)] {
        let report = project.push(&["--force", pattern]);
        assert_eq!(report.all("current").steps("artifact"), runs, "{pattern}");
    }
}
