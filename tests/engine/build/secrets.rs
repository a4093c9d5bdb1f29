//! Secrets reach the step that asks, and nothing else.

use crate::project::engine::docker;
use crate::project::listing;
use crate::project::registry::{config, file, manifest, project, tool};

const VALUE: &str = "s3cr3t-V4lue-of-the-test";

const MANIFEST: &str = r#"
[layers.made]
run = { image = "$BASE", script = """
mkdir /opt/made
echo the value is $(cat /run/secrets/token)
echo $(printf %08180d 0)$(cat /run/secrets/token)
cat /run/secrets/token | od -An -tx1 | head -c 12 >/opt/made/first
env >/opt/made/env
sleep 2
""", keep = ["/opt/made"], secrets = { token = "TEST_TOKEN" } }
[images.app]
base = "$BASE"
setup = [{ script = "test -s /run/secrets/token; ls /run/secrets >/etc/names", secrets = { token = "TEST_TOKEN" } }]
tags = ["1"]
layers = ["made"]
"#;

#[test]
fn a_secret_is_a_file_of_the_step_and_nowhere_else() {
    let mut project = project(MANIFEST);
    project.set("TEST_TOKEN", VALUE);
    let engine = project.engine.clone();
    let watcher = std::thread::spawn(move || {
        // While the steps run: what the engine shows of their containers.
        let mut seen = String::new();
        for _ in 0..20 {
            std::thread::sleep(std::time::Duration::from_millis(150));
            let ids = docker(&engine, &["ps", "--all", "--quiet", "--filter", "label=io.railyard.run"]);
            for id in ids.lines() {
                let arguments = ["-H", &engine, "inspect", id];
                seen +=
                    &String::from_utf8_lossy(&crate::project::registry::attempt("docker", &arguments).stdout);
            }
        }
        seen
    });
    let (ended, report) = project.build(&["--push"], 0);
    let seen = watcher.join().unwrap();
    let image = project.fill("$REPO/app:1");
    assert_eq!(file(&image, "opt/made/first").trim(), "73 33 63 72");
    assert_eq!(file(&image, "etc/names"), "token");
    assert!(!crate::project::registry::paths(&image).iter().any(|p| p.contains("secrets")));
    assert!(ended.err.contains("the value is ***"), "{}", ended.err);
    assert!(!ended.err.contains(&VALUE[..4]), "the beginning of the secret, where a long line is cut");
    assert!(seen.contains("io.railyard.run"), "no container of a run was seen");
    let plan = project.run(&["plan", "--offline", "--format", "json"]).code(0);
    let everything = [
        ("standard error", ended.err),
        ("standard output", ended.out),
        ("report", report.0.to_string()),
        ("docker inspect", seen),
        ("plan", plan.out),
        ("manifest", manifest(&image).to_string()),
        ("configuration", config(&image).to_string()),
        ("environment", file(&image, "opt/made/env")),
        ("lock", project.read("builds.lock")),
    ];
    for (name, text) in everything {
        assert!(!text.contains(VALUE), "the secret is in the {name}: {text}");
    }
    for (path, _) in listing(&project.path("store")) {
        let bytes = std::fs::read(&path).unwrap();
        let found = bytes.windows(VALUE.len()).any(|window| window == VALUE.as_bytes());
        assert!(!found, "the secret is in {}", path.display());
    }
    let tar = project.path("image.tar");
    tool("crane", &["export", &image, tar.to_str().unwrap()]);
    let bytes = std::fs::read(tar).unwrap();
    assert!(!bytes.windows(VALUE.len()).any(|window| window == VALUE.as_bytes()), "the secret is in a layer");
}

#[test]
fn missing_secrets_are_named_before_anything_starts() {
    let mut project = project(
        r#"
[layers.made]
run = { image = "$BASE", script = "mkdir /opt/made", keep = ["/opt/made"], secrets = { token = "TEST_TOKEN" } }
[layers.plain]
files = [{ path = "/etc/plain", content = "x" }]
[images.app]
base = "$BASE"
tags = ["1"]
setup = [{ script = "echo >/etc/set", secrets = { other = "OTHER_TOKEN" } }]
layers = ["made"]
[images.free]
base = "$BASE"
tags = ["1"]
layers = ["plain"]
"#,
    );
    let plan = project.run(&["plan"]).code(0);
    plan.says(&["note: the run will need `TEST_TOKEN`, which is not set here", "for app\n"]);
    let ended = project.run(&["build", "--push", "--progress", "plain"]).code(3).says(&[
        "the secret `token` is not set",
        "help: set the environment variable `TEST_TOKEN`",
        "the secret `other` is not set",
        "help: set the environment variable `OTHER_TOKEN`",
        "for app",
        "2 secrets or credentials are missing; no step was begun",
    ]);
    for key in ["secrets = { token", "secrets = { other"] {
        let text = project.read("builds.toml");
        let line = text.lines().position(|line| line.contains(key)).unwrap() + 1;
        assert!(ended.err.contains(&format!("builds.toml:{line}:")), "{}", ended.err);
    }
    assert_eq!(crate::project::registry::digest(&project.fill("$REPO/free:1")), None);
    // Neither do cells need one that were not asked for, nor results that are known.
    project.run(&["build", "--push", "--only", "image=free"]).code(0);
    project.set("TEST_TOKEN", VALUE);
    project.set("OTHER_TOKEN", VALUE);
    project.push(&[]);
    let unset = |command: &mut std::process::Command| {
        command.env_remove("TEST_TOKEN").env_remove("OTHER_TOKEN").output().unwrap()
    };
    let again = unset(&mut project.command(&["build", "--push"]));
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
}

#[test]
fn another_value_of_a_secret_rebuilds_nothing() {
    let mut project = project(MANIFEST);
    project.set("TEST_TOKEN", VALUE);
    project.push(&[]);
    project.set("TEST_TOKEN", "another");
    project.push(&[]).all("current");
}

const CHECKED: &str = r#"
[layers.made]
run = { image = "$BASE", script = "cat /run/secrets/token >/opt/made", keep = ["/opt/made"], secrets = { token = "TEST_TOKEN" } }
[images.app]
base = "$BASE"
tags = ["1"]
layers = ["made"]
checks = ["printed"]
[checks.printed]
script = "echo it is $(cat /opt/made), as wanted"
expect = "it is wanted, as wanted"
"#;

#[test]
fn what_a_check_prints_is_compared_before_secrets_are_masked() {
    let mut project = project(CHECKED);
    project.set("TEST_TOKEN", "wanted");
    let (ended, _) = project.build(&["--push"], 0);
    assert!(ended.err.contains("it is ***, as ***"), "{}", ended.err);
    let text = project.read("builds.toml").replace("expect = \"it is", "expect = \"it was");
    project.write("builds.toml", &text);
    let (ended, _) = project.build(&["--push", "--force", "made"], 1);
    ended.says(&["check `printed` did not print `it was ***, as ***`"]);
}
