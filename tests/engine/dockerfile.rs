//! Images made by Dockerfiles, on every engine of `dev/env`, verified by pulling digests back.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::project::engine::{docker, engines, run};
use crate::project::registry::{
    attempt, bump, config, digest, file, manifest, paths, project, stand_in, tool,
};
use crate::project::{NO_ENGINE, Project, listing};

const MANIFEST: &str = r#"
[images.tool]
tags = ["1"]
labels = { team = "platform" }
dockerfile = { context = "tool", args = { GREETING = "good day" } }
[images.app]
tags = ["1"]
dockerfile = { context = "app", file = "build/Dockerfile", target = "out", contexts = { tool = { image = "tool" } } }
"#;

const TOOL: &str = r#"
ARG IMAGE=$BASE
FROM ${IMAGE}
ARG GREETING
LABEL org.opencontainers.image.title=tool
COPY . /srv/
RUN echo "$GREETING" >/opt/greeting && chmod 750 /opt/greeting && rm -r /srv/gone
ENV MODE=tool
"#;

const APP: &str = r#"
FROM tool AS made
RUN cat /opt/greeting /srv/data >/opt/both
FROM unreachable.invalid/nobody:1 AS other
FROM tool AS out
COPY --from=made /opt/both /opt/both
COPY --from=$BASE /etc/passwd /opt/passwd
COPY own /opt/own
WORKDIR /opt
ENTRYPOINT ["/bin/cat", "/opt/both", "/opt/own"]
"#;

fn write(project: &Project, name: &str, text: &str) {
    std::fs::create_dir_all(project.path(name).parent().unwrap()).unwrap();
    project.write(name, text);
}

fn two_images() -> Project {
    let project = project(MANIFEST);
    write(&project, "tool/Dockerfile", TOOL);
    write(&project, "tool/.dockerignore", "# comment\n*.log\n!keep.log\n.dockerignore\n");
    write(&project, "tool/data", "data\n");
    write(&project, "tool/gone", "gone\n");
    write(&project, "tool/drop.log", "drop\n");
    write(&project, "tool/keep.log", "keep\n");
    write(&project, "tool/bin/tool", "#!/bin/sh\n");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(project.path("tool/bin/tool"), mode).unwrap();
    write(&project, "app/build/Dockerfile", APP);
    write(&project, "app/own", "own\n");
    project
}

fn layers(image: &str) -> Vec<String> {
    let manifest = manifest(image);
    let layers = manifest["layers"].as_array().unwrap();
    layers.iter().map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn images_are_built_on_each_other_and_pushed_and_equal_on_every_engine() {
    let mut seen: Vec<(Vec<String>, Vec<String>)> = Vec::new();
    for engine in engines() {
        let mut project = two_images();
        project.engine = engine.clone();
        let report = project.push(&[]);
        report.all("built");
        assert_eq!(report.steps("dockerfile"), 2);
        let (tool, app) = (project.fill("$REPO/tool:1"), project.fill("$REPO/app:1"));

        assert_eq!(file(&tool, "opt/greeting"), "good day");
        assert_eq!(file(&tool, "srv/keep.log"), "keep");
        let found = paths(&tool);
        assert!(found.contains(&"srv/Dockerfile".into()), "{found:?}");
        for path in ["srv/drop.log", "srv/.dockerignore", "srv/gone"] {
            assert!(!found.contains(&path.into()), "{path} is in the image");
        }
        let configuration = config(&tool);
        assert_eq!(configuration["config"]["Labels"]["team"], "platform");
        assert_eq!(configuration["config"]["Labels"]["org.opencontainers.image.title"], "tool");
        assert_eq!(configuration["config"]["Labels"].as_object().unwrap().len(), 2, "{configuration}");
        let environment = configuration["config"]["Env"].to_string();
        assert!(environment.contains("MODE=tool") && environment.contains("GREETING=hello"), "{environment}");

        let base = layers(&project.fill("$BASE"));
        assert_eq!(layers(&tool)[..base.len()], base[..], "the base's own blobs come first");
        assert_eq!(layers(&app)[..layers(&tool).len()], layers(&tool)[..], "then those of the image beneath");
        assert_eq!(config(&app)["config"]["WorkingDir"], "/opt");
        assert_eq!(docker(&engine, &["run", "--rm", "--pull", "always", &app]), "good day\ndata\nown");
        let shown = run(&engine, &app, "ls -ln --time-style=+%Y /opt/greeting /srv/bin/tool /opt/passwd");
        assert!(shown.contains("-rwxr-x--- 1 0 0") && shown.contains("-rwxr-xr-x 1 0 0"), "{shown}");
        seen.push((layers(&tool), layers(&app)));

        // Nothing changed: no engine is asked, on this machine or on another.
        project.engine = NO_ENGINE.into();
        project.push(&[]).all("current");
        let names = docker(&engine, &["images", "--format", "{{.Repository}}"]);
        // Names hold the process that gave them, before a number of chance; other tests may be at work.
        let left =
            names.lines().filter_map(|name| name.strip_prefix("railyard.invalid/")?.rsplit('-').nth(1));
        let left: Vec<&str> = left.filter(|process| !Path::new("/proc").join(process).exists()).collect();
        assert!(left.is_empty(), "names were left in the engine: {names}");
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "engines made different layers: {seen:#?}");
}

#[test]
fn a_changed_file_rebuilds_what_depends_on_it() {
    let project = two_images();
    let first = project.push(&[]).digests();
    project.write("tool/drop.log", "other");
    project.push(&[]).all("current");
    project.write("app/own", "other\n");
    let ended = project.run(&["plan", "--format", "json"]).code(0);
    let plan: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    let reason = &plan["cells"][1]["reasons"][0];
    assert_eq!(
        (reason["code"].as_str(), reason["subject"].as_str()),
        (Some("dockerfile-changed"), Some("context"))
    );
    let steps = plan["steps"].as_array().unwrap();
    let built = steps.iter().filter(|step| step["kind"] == "dockerfile" && step["action"] == "run");
    let reasons: Vec<&str> = built.map(|step| step["reason"].as_str().unwrap()).collect();
    assert!(reasons.len() == 1 && reasons[0].starts_with("dockerfile-changed context: "), "{reasons:?}");
    let report = project.push(&[]);
    assert_eq!(report.steps("dockerfile"), 1);
    let second = report.digests();
    assert!(second[0] == first[0] && second[1] != first[1]);
    project.write("tool/data", "new data\n");
    let report = project.push(&[]);
    assert_eq!(report.steps("dockerfile"), 2);
    assert_eq!(file(&project.fill("$REPO/app:1"), "opt/both"), "good day\nnew data");
    // Labels are no part of a build.
    project.write("builds.toml", &project.read("builds.toml").replace("platform", "other"));
    let report = project.push(&[]);
    assert_eq!(report.steps("dockerfile"), 1, "only what is built on the labelled image");
}

#[test]
fn what_is_taken_from_outside_is_in_the_lock_and_a_move_is_a_reason() {
    let mut project = project(
        r#"
        [images.app]
        tags = ["1"]
        dockerfile = { context = "app" }
        "#,
    );
    let base = project.fill("$REPO/base:1");
    let other = project.fill("$REPO/other:1");
    for reference in [&base, &other] {
        tool("crane", &["copy", &project.fill("$BASE"), reference]);
    }
    project.name("MOVING", &base);
    project.name("OTHER", &other);
    write(
        &project,
        "app/Dockerfile",
        "FROM $MOVING\nCOPY --from=$OTHER /etc/passwd /opt/passwd\nRUN echo x >/opt/x\n",
    );
    project.push(&[]).all("built");
    let lock = project.read("builds.lock");
    assert!(lock.contains(&base) && lock.contains(&other) && lock.contains("[outputs]"), "{lock}");
    project.run(&["explain", "app"]).code(0).prints(&["\nLAYERS\n  Dockerfile", &format!("from    {other}")]);
    bump(&base, "2");
    // The lock decides.
    project.push(&[]).all("current");
    let pinned = digest(&other).unwrap();
    let updated = project.run(&["update"]).code(0);
    assert!(updated.out.contains(&base) && !updated.out.contains(&other), "{}", updated.out);
    let planned = project.run(&["plan"]).code(0);
    assert!(planned.out.contains("base-moved"), "{}", planned.out);
    project.push(&[]).all("built");
    assert!(config(&project.fill("$REPO/app:1"))["config"]["Env"].to_string().contains("NONCE=2"));
    bump(&other, "3");
    project.run(&["update"]).code(0);
    assert_ne!(digest(&other).unwrap(), pinned);
    project.run(&["plan"]).code(0).prints(&["source-moved"]);
}

const SECRET: &str = "v3ry-S3cret-of-a-build";

#[test]
fn a_secret_is_there_for_the_instruction_that_mounts_it_and_nowhere_else() {
    for engine in engines() {
        let mut project = project(
            r#"
            [images.app]
            tags = ["1"]
            dockerfile = { context = "app", secrets = { token = "TEST_TOKEN" } }
            "#,
        );
        project.engine = engine;
        // Of its own, so that the engine has not run it before.
        let dockerfile = format!(
            "FROM $BASE\nRUN --mount=type=secret,id=token : {}; echo it is $(cat /run/secrets/token); \
             od -An -tx1 /run/secrets/token | head -c 12 >/opt/first\n",
            project.unique()
        );
        write(&project, "app/Dockerfile", &dockerfile);
        let ended = project.run(&["build", "--push"]).code(3);
        ended.says(&["the secret `token` is not set", "set the environment variable `TEST_TOKEN`"]);
        project.set("TEST_TOKEN", SECRET);
        let (ended, report) = project.build(&["--push"], 0);
        report.all("built");
        assert!(ended.err.contains("it is ***"), "{}", ended.err);
        assert!(!ended.err.contains(SECRET) && !ended.out.contains(SECRET));
        let image = project.fill("$REPO/app:1");
        assert_eq!(file(&image, "opt/first").trim(), "76 33 72 79");
        let tar = project.path("image.tar");
        tool("crane", &["export", &image, tar.to_str().unwrap()]);
        let contains = |bytes: &[u8]| bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
        assert!(!contains(&std::fs::read(tar).unwrap()), "the secret is in a layer");
        assert!(!config(&image).to_string().contains(SECRET));
        for (path, _) in listing(&project.path("store")) {
            assert!(!contains(&std::fs::read(&path).unwrap()), "the secret is in {}", path.display());
        }
        project.set("TEST_TOKEN", "another");
        project.push(&[]).all("current");
    }
}

#[test]
fn mistakes_are_shown_with_file_and_line() {
    let project = project(
        "[images.app]\ntags = [\"1\"]\ndockerfile = { context = \"app\", args = { NOBODY = \"1\" } }\n",
    );
    write(&project, "app/Dockerfile", "FROM $BASE\nRUN true\nFOO bar\n");
    let ended = project.run(&["check"]).code(2);
    ended.says(&["app/Dockerfile:3:1", "unknown instruction `FOO`"]);
    write(&project, "app/Dockerfile", "FROM $BASE\nRUN true\n");
    project.run(&["check"]).code(2).says(&["sets `NOBODY`", "add `ARG` to the Dockerfile"]);
    write(&project, "app/Dockerfile", "FROM $BASE\nARG NOBODY\nRUN echo before; exit 7\n");
    let (ended, report) = project.build(&["--push"], 1);
    report.all("failed");
    ended.says(&["app/Dockerfile", "before", "exit code: 7"]);
    // What only the frontend knows to be wrong.
    write(&project, "app/Dockerfile", "FROM $BASE\nARG NOBODY\nEXPOSE x y z\nCOPY\n");
    let (ended, _) = project.build(&["--push"], 1);
    ended.says(&["app/Dockerfile", "line 4"]);
    let missing = "[images.b]\ntags = [\"b\"]\ndockerfile = { context = \"nowhere\" }\n";
    project.write("builds.toml", &(project.read("builds.toml") + missing));
    project.run(&["check"]).code(2).says(&["nowhere` is no directory"]);
}

#[test]
fn other_images_and_other_machines_build_on_what_a_dockerfile_made() {
    let mut project = two_images();
    let text = project.read("builds.toml")
        + "[cache]\nrepository = \"$REPO/cache\"\n[layers.top]\nfiles = [{ path = \"/opt/top\", content = \"top\" }]\n\
           copy = [{ image = \"tool\", paths = [\"/opt/greeting\"], to = \"/srv/greeting\" }]\n\
           [images.top]\nbase = { image = \"app\" }\nlayers = [\"top\"]\ntags = [\"1\"]\nchecks = [\"abi\", \"says\"]\n\
           [checks.says]\nscript = \"cat /opt/both /opt/top\"\nexpect = \"top\"\n";
    project.write("builds.toml", &text);
    let first = project.push(&[]);
    first.all("built");
    assert_eq!(file(&project.fill("$REPO/top:1"), "srv/greeting"), "good day");
    // Another machine: everything is known from the cache repository.
    project.store = "elsewhere".into();
    project.engine = NO_ENGINE.into();
    let again = project.push(&["--no-checks"]);
    again.all("current");
    assert_eq!(again.digests(), first.digests());
    assert!(attempt("crane", &["digest", &project.fill("$REPO/top:1")]).status.success());
}

#[test]
fn what_is_copied_keeps_its_times_and_what_is_made_has_the_same_in_every_build() {
    let project = project("[images.app]\ntags = [\"1\"]\ndockerfile = { context = \"app\" }\n");
    let from = stand_in("python3.11");
    write(
        &project,
        "app/Dockerfile",
        &format!(
            "FROM $BASE\nCOPY --from={from} /var/lang/bin/python3.11 /srv/python\nCOPY own /srv/own\nRUN date >/dev/null; echo x >/srv/made\n"
        ),
    );
    write(&project, "app/own", "own\n");
    let first = project.push(&[]).digests();
    let shown = run(
        &project.engine,
        &project.fill("$REPO/app:1"),
        "ls -l --time-style=+%Y /srv/own /srv/made /srv/python",
    );
    let year = |name: &str| {
        let line =
            shown.lines().find(|line| line.ends_with(name)).unwrap_or_else(|| panic!("{name}: {shown}"));
        line.split_whitespace().nth(5).unwrap().to_owned()
    };
    assert_eq!((year("/srv/own").as_str(), year("/srv/made").as_str()), ("1980", "1980"));
    assert!(("1981".."2025").contains(&year("/srv/python").as_str()), "{shown}");
    // Without the engine's cache the same layers are made again.
    let report = project.push(&["--force", "app"]);
    assert_eq!(report.steps("dockerfile"), 1);
    assert_eq!(report.digests(), first);
}

/// Whether a process of this machine, where the engines run, has this argument.
fn is_running(argument: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
        .any(|line| line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes()))
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn ctrl_c_ends_a_build_on_every_engine() {
    for (number, engine) in engines().into_iter().enumerate() {
        let mut project = project("[images.app]\ntags = [\"1\"]\ndockerfile = { context = \"app\" }\n");
        project.engine = engine;
        let argument = format!("4{number}77.{}", std::process::id());
        write(&project, "app/Dockerfile", &format!("FROM $BASE\nRUN sleep {argument}\n"));
        let mut command = project.command(&["build", "--push", "--progress", "plain"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for("RUN was not started", || is_running(&argument));
        for _ in 0..2 {
            tool("kill", &["-INT", &child.id().to_string()]);
            std::thread::sleep(Duration::from_millis(300));
        }
        assert_eq!(child.wait().unwrap().code(), Some(130));
        wait_for("RUN goes on", || !is_running(&argument));
    }
}

#[test]
fn the_shipped_images_are_built_on_every_engine() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (manifest, vars) = (root.join("builds.toml"), root.join("dev/stand-ins.toml"));
    for engine in engines() {
        let mut project = project("");
        project.engine = engine.clone();
        let repository = project.fill("$REPO");
        let files = ["--file", manifest.to_str().unwrap(), "--vars", vars.to_str().unwrap()];
        let chosen = ["--repository", &repository, "--only", "image=tooling", "--only", "image=runner"];
        let report = project.push(&[&files[..], &chosen, &["--no-cache"]].concat());
        report.all("built");
        assert_eq!((report.steps("dockerfile"), report.steps("check"), report.steps("abi")), (2, 1, 1));
        let image = format!("{repository}/runner:python3.11");
        let printed = docker(&engine, &["run", "--rm", "--pull", "always", &image]);
        assert!(printed.contains("\"python3\""), "{printed}");
        assert_eq!(config(&image)["config"]["WorkingDir"], "/workspace");
        let title = &config(&image)["config"]["Labels"]["org.opencontainers.image.title"];
        assert_eq!(title, "runner on python3.11");
    }
}

#[test]
fn another_time_of_creation_is_put_on_an_image_that_is_known() {
    let mut project = two_images();
    project.engine = engines().remove(0);
    let first = project.push(&[]);
    project.set("SOURCE_DATE_EPOCH", "1700000000");
    let only = ["--only", "image=tool"];
    let known = project.push(&only);
    assert_eq!(known.steps("dockerfile"), 0);
    assert_ne!(known.digests()[0], first.digests()[0]);
    let tool = project.fill("$REPO/tool:1");
    let configuration = config(&tool);
    assert_eq!(configuration["created"], "2023-11-14T22:13:20Z");
    let base = config(&project.fill("$BASE"))["history"].clone();
    let base = base.as_array().cloned().unwrap_or_default();
    let own = configuration["history"].as_array().unwrap();
    assert_eq!(own[..base.len()], base[..]);
    assert!(own[base.len()..].iter().all(|entry| entry["created"] == "2023-11-14T22:13:20Z"), "{own:?}");
    // Another machine, which builds it with that time, makes the same image.
    project.store = "another".into();
    let built = project.push(&only);
    assert_eq!((built.digests(), built.steps("dockerfile")), (known.digests(), 1));
}

#[test]
fn the_same_layer_again_is_what_it_changes_there() {
    for engine in engines() {
        let mut project = project("[images.app]\ntags = [\"1\"]\ndockerfile = { context = \"app\" }\n");
        project.engine = engine.clone();
        // What engines make to mount onto is there: RUN changes nothing else.
        for name in ["etc/hosts", "etc/resolv.conf"] {
            write(&project, &format!("app/root/{name}"), "");
        }
        for name in ["dev", "proc", "sys"] {
            std::fs::create_dir(project.path("app/root").join(name)).unwrap();
        }
        // Two pairs of equal layers, of which the first change nothing: the last does.
        let text = "FROM $BASE\nCOPY root /\nRUN true\nRUN true\n\
                    RUN chmod 755 /srv\nRUN chmod 700 /srv\nRUN chmod 755 /srv\n";
        write(&project, "app/Dockerfile", text);
        project.push(&[]).all("built");
        let app = project.fill("$REPO/app:1");
        let shown = run(&engine, &app, "ls -ld /srv");
        assert!(shown.starts_with("drwxr-xr-x"), "{shown}");
        tool("crane", &["validate", "--remote", &app]);
        let entries = config(&app)["history"].as_array().unwrap().clone();
        let layers_of = |entry: &&serde_json::Value| entry["empty_layer"] != true;
        assert_eq!(entries.iter().filter(layers_of).count(), layers(&app).len());
    }
}
