//! What `export` writes, built by engines, against the images that railyard makes.

use std::path::Path;
use std::process::Command;

use crate::support::compare::{Rules, assert_equal};
use crate::support::engine::Engine;
use crate::support::fixture::{Fixture, dir, file, symlink};
use crate::support::lab::{Case, Lab};

const HARNESS: &str = "1.1.0-beta";

/// Times of what commands write.
fn rules() -> Rules {
    let times = [
        "/var/lang/lib/node_modules/serverless",
        "/var/lang/bin/serverless",
        "/var/lang/bin/sls",
        "/usr/local/bin/docker",
        "/opt/harness/client-tools",
    ];
    Rules { times: times.map(str::to_owned).to_vec(), ..Rules::default() }
}

fn railyard(lab: &Lab, words: &[&str], arguments: &[String]) {
    let all: Vec<&str> = words.iter().copied().chain(arguments.iter().map(String::as_str)).collect();
    let ended = lab.railyard(&all, None);
    assert_eq!(ended.code, Some(0), "railyard {all:?}: {}", ended.said);
}

/// Runs the Docker client in a directory; packages of another hour do not count.
fn docker(engine: &Engine, directory: &Path, words: &[&str]) {
    let output = Command::new("docker")
        .args(["-H", &engine.host])
        .args(words)
        .current_dir(directory)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "docker {words:?} on {}: {said}", engine.version);
}

/// Pushes what an engine has under a reference of the lab to another repository, and compares it.
fn compare(lab: &Lab, engine: &Engine, tag: &str, rules: &Rules) {
    let host = &lab.registry.host;
    let found = lab.pull(&format!("{}/serverless-plugin", lab.path), tag);
    let repository = format!("{}/exported", lab.path);
    let exported = format!("{host}/{repository}:{tag}");
    engine.docker(&["tag", &format!("{host}/{}/serverless-plugin:{tag}", lab.path), &exported]);
    engine.docker(&["push", "--quiet", &exported]);
    let expected = lab.pull(&repository, tag);
    assert_equal(&expected, &found, rules, &format!("engine {}, {tag}", engine.version));
}

#[test]
fn the_shipped_images_are_those_of_the_exported_files() {
    let lab = Lab::new("export");
    let arguments = lab.shipped();
    let newest = lab.engines.last().unwrap();
    let only = |image: &str, runtime: &str| format!("image={image},runtime={runtime},harness={HARNESS}");
    let cells = [
        (format!("image=plugin,harness={HARNESS}"), format!("{HARNESS}-base-image")),
        (only("serverless-base", "python3.11"), format!("python3.11-{HARNESS}-linux-amd64")),
        (
            only("serverless", "ruby3.2") + ",serverless=3.39.0",
            format!("ruby3.2-3.39.0-{HARNESS}-linux-amd64"),
        ),
    ];
    let chosen: Vec<String> =
        cells.iter().flat_map(|(only, _)| ["--only".to_owned(), only.clone()]).collect();
    let all = [arguments.clone(), chosen].concat();
    lab.push_shipped(newest, &cells.clone().map(|(only, _)| only), &[]);

    let bake = lab.place("bake");
    railyard(&lab, &["export", "bake", "--out", bake.to_str().unwrap()], &all);
    docker(
        newest,
        &bake,
        &["buildx", "bake", "--set", "*.no-cache-filter=layer-serverless", "--progress", "plain"],
    );
    for (_, tag) in &cells {
        compare(&lab, newest, tag, &rules());
    }

    // Each by itself, on the oldest engine; npm has run enough.
    let oldest = &lab.engines[0];
    for (only, tag) in &cells[..2] {
        let place = lab.place(tag);
        let one = [arguments.clone(), vec!["--only".to_owned(), only.clone()]].concat();
        railyard(&lab, &["export", "dockerfile", "--out", place.to_str().unwrap()], &one);
        let reference = format!("{}/{}/serverless-plugin:{tag}", lab.registry.host, lab.path);
        docker(oldest, &place, &["build", "--tag", &reference, "."]);
        compare(&lab, oldest, tag, &rules());
    }
}

#[test]
fn every_kind_of_part_is_exported() {
    let mut lab = Lab::new("export-parts");
    let base = format!("{}/sam/build-python3.11:1.143.0-20250822194415-x86_64", lab.registry.host);
    lab.name("python", &base);
    lab.name("files", &crate::support::setting("RAILYARD_DEV_FILES"));
    let source = Fixture::new([
        dir("opt"),
        dir("opt/app").mode(0o711),
        file("opt/app/a file", "one").mode(0o640).owner(3, 4),
        file("opt/app/tool", "two").mode(0o600),
        symlink("opt/app/link", "tool"),
        dir("srv"),
        file("srv/x", "x"),
    ]);
    lab.push("source", &source);
    let case = Case {
        tables: r##"
[layers.copies]
copy = [
  { from = "$source", paths = ["/opt/app"] },
  { from = "$source", paths = ["/opt/app/a file"], to = "/etc/a copy", owner = "7:8", chmod = "0604" },
  { from = "$source", paths = ["/opt/app/tool", "/srv/"], to = "/many/", chmod = "u+x,g=rX" },
]
[layers.written]
files = [
  { path = "/etc/greeting", content = "hello $USER\n" },
  { path = "/usr/local/bin/hi", content = "#!/bin/sh\necho hi\n", mode = "0755", owner = "5:6" },
]
dirs = [{ path = "/srv", mode = "1777" }, { path = "/data/deep", mode = "0750", owner = "9:9" }]
[tools.docker]
urls = ["$files/linux/static/stable/x86_64/docker-20.10.24.tgz"]
path = "/usr/local/bin/docker"
extract = { members = ["docker/docker"] }
[tools.archive]
urls = ["$files/linux/static/stable/x86_64/docker-20.10.24.tgz"]
path = "/opt/unpacked"
extract = { strip = 1 }
owner = "11:12"
[tools.plain]
urls = ["$files/public/shared/tools/go-template/release/v0.4.5/bin/linux/amd64/go-template"]
path = "/opt/tools/go-template"
[layers.tools]
tools = ["docker", "archive", "plain"]
[layers.made]
run = { image = "$python", env = { WORD = "it's" }, workdir = "/tmp/work", script = """
mkdir -p /out/sub /usr/local/made
printf '%s' "$WORD $(pwd)" >/out/sub/word
ln -s sub/word /out/link
chmod 700 /out/sub
printf x >/usr/local/made/x
""", keep = ["/out/link", "/out/sub", "/usr/local/made"] }
[images.lower]
base = "$python"
setup = [
  { script = "echo one >/etc/one" },
  { script = "id -u >/tmp/two", user = "65534" },
  { script = "cat /tmp/two >/etc/three; rm /tmp/two" },
]
layers = ["copies"]
env = { LOWER = "yes" }
push = false
"##,
        image: r#"base = { image = "lower" }
layers = ["written", "tools", "made"]
path = ["/opt/tools"]
env = { QUOTED = 'a "b" $c \ d', OLD = "{{ base.env.LOWER }}!" }
labels = { "com.example.note" = "x y" }
user = "65534"
workdir = "/srv"
entrypoint = ["/bin/sh", "-c"]
cmd = ["echo $QUOTED"]
"#,
        runs: true,
        ..Case::default()
    };
    let found = lab.found(&case);
    let place = lab.place("dockerfile");
    railyard(&lab, &["export", "dockerfile", "found", "--out", place.to_str().unwrap()], &[]);
    for engine in &lab.engines {
        let expected = lab.built(&place, "", engine, "expected");
        assert_equal(&expected, &found, &Rules::any_time(), &format!("engine {}", engine.version));
    }
}

#[test]
fn what_a_dockerfile_cannot_say_is_refused() {
    let lab = Lab::new("export-refused");
    let manifest = "schema = 1\n[project]\nname = \"t\"\n[images.a]\ntags = [\"1\"]\nbase = \"scratch\"\nenv = { A = \"x\\ny\" }\n\
        [images.b]\ntags = [\"1\"]\nbase = \"scratch\"\nlayers = [\"d\"]\n[layers.d]\ndirs = [{ path = \"/d\" }]\n";
    std::fs::write(lab.place("builds.toml"), manifest).unwrap();
    let ended = lab.railyard(&["export", "bake", "--out", "here"], None);
    assert_eq!(ended.code, Some(2), "{}", ended.said);
    assert!(ended.said.contains("`a` cannot be exported: a value has several lines"), "{}", ended.said);
    assert!(ended.said.contains("`b` cannot be exported: it needs a step with a shell"), "{}", ended.said);
    assert!(!lab.place("here").exists());
}
