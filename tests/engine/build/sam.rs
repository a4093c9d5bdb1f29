//! The shipped SAM plugin images, built, pulled and looked into.

use crate::project::engine::{engines, run};
use crate::project::registry::{config, digest, file, project, setting, stand_in, tool};
use crate::project::{Project, Report};

const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/builds.toml");
const SAM: &str = "1.143.0";
const VERSION: &str = "1.1.2-beta";

/// Arguments that point the shipped matrix at the stand-ins and at the project's repository.
fn arguments(project: &Project, vars: &[&str], only: &str) -> Vec<String> {
    let (registry, files) = (setting("RAILYARD_DEV_REGISTRY"), setting("RAILYARD_DEV_FILES"));
    let mut arguments = vec!["--file".to_owned(), MANIFEST.to_owned()];
    for var in [
        project.fill("target=$REPO"),
        format!("sam={registry}/sam"),
        format!("harness={registry}/harness"),
        format!("docker_downloads={files}"),
        format!("harness_downloads={files}"),
        format!("github={files}"),
    ]
    .into_iter()
    .chain(vars.iter().map(ToString::to_string))
    {
        arguments.extend(["--var".to_owned(), var]);
    }
    arguments.extend(["--only".to_owned(), only.to_owned()]);
    arguments
}

fn push(project: &Project, vars: &[&str], only: &str) -> Report {
    let arguments = arguments(project, vars, only);
    let report = project.push(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    report.all("built");
    report
}

/// Mode and owner of paths of an image, of its flattened layers: `drwxrwxrwx 0/0`.
fn listing(reference: &str) -> Vec<(String, String)> {
    let directory = tempfile::tempdir().unwrap();
    let tar = directory.path().join("image.tar");
    tool("crane", &["export", reference, tar.to_str().unwrap()]);
    let listed = tool("tar", &["--numeric-owner", "-tvf", tar.to_str().unwrap()]);
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (words[5].trim_end_matches('/').to_owned(), format!("{} {}", words[0], words[1]))
    };
    listed.lines().map(line).collect()
}

#[test]
fn every_runtime_has_the_plugin_the_client_and_the_right_tag() {
    let project = project("");
    let report = push(&project, &[], "image=sam");
    let cells: Vec<String> = report.outcomes().into_iter().map(|(cell, _)| cell).collect();
    let runtimes = ["nodejs18.x", "nodejs20.x", "nodejs22.x", "python3.11", "java17", "ruby3.2"];
    assert_eq!(cells, runtimes.map(|r| format!("sam[sam_base={r},sam_plugin={VERSION}]")));
    // What does not depend on the base is made once for all.
    assert_eq!(report.steps("artifact"), 4);
    assert_eq!(report.steps("check"), 12);
    for (runtime, image) in runtimes.iter().zip(report.digests()) {
        let tag = project.fill(&format!("$REPO/aws-sam-plugin:{runtime}-{SAM}-{VERSION}-linux-amd64"));
        assert_eq!(digest(&tag), Some(image), "{tag}");
        let (found, base) = (config(&tag), config(&stand_in(runtime)));
        let (found, base) = (&found["config"], &base["config"]);
        assert_eq!(found["Entrypoint"], serde_json::json!(["/opt/harness/scripts/sam-plugin.sh"]));
        assert_eq!((&found["User"], &found["WorkingDir"]), (&base["User"], &base["WorkingDir"]));
        assert_eq!(found["Cmd"], serde_json::Value::Null);
        let mut wanted = base["Env"].as_array().unwrap().clone();
        for variable in [
            "HARNESS_GO_PLUGIN_VERSION=v0.4.5",
            "DOCKER_VERSION=26.0.1",
            "INSTALL_GO_TEMPLATE_BINARY=true",
            "UNIFIED_PIPELINE=false",
        ] {
            wanted.push(variable.into());
        }
        assert_eq!(found["Env"].as_array().unwrap(), &wanted, "PATH is the base's");
    }

    let tag = project.fill(&format!("$REPO/aws-sam-plugin:python3.11-{SAM}-{VERSION}-linux-amd64"));
    let listing = listing(&tag);
    let of = |path: &str| {
        let found = listing.iter().find(|(known, _)| known == path);
        found.unwrap_or_else(|| panic!("{path} is not in the image")).1.as_str()
    };
    for directory in ["opt/harness/scripts", "opt/harness/bin", "opt/harness/client-tools"] {
        assert_eq!(of(directory), "drwxrwxrwx 0/0", "{directory}");
    }
    for program in [
        "opt/harness/bin/harness-sam-plugin",
        "opt/harness/scripts/sam-plugin.sh",
        "opt/harness/client-tools/go-template",
        "usr/local/bin/docker",
    ] {
        assert_eq!(of(program), "-rwxr-xr-x 0/0", "{program}");
    }
    assert!(
        file(&tag, "opt/harness/scripts/sam-plugin.sh").contains("exec /opt/harness/bin/harness-sam-plugin")
    );
    for engine in engines() {
        let said = run(&engine, &tag, "docker --version; /opt/harness/client-tools/go-template; id -u");
        assert_eq!(said, "Docker version 26.0.1, build d260a54\ngo-template v0.4.5 (stand-in)\n0");
        // The entrypoint is the script, which is the plugin.
        let said = tool("docker", &["-H", &engine, "run", "--rm", &tag]);
        assert_eq!(said, format!("harness-sam-plugin {VERSION}"));
    }
}

#[test]
fn the_tags_are_those_of_the_order_that_is_asked_for() {
    let project = project("");
    let only = "image=sam,sam_base=java17";
    let name = |tag: &str| project.fill(&format!("$REPO/aws-sam-plugin:{tag}"));
    let documented = name(&format!("{VERSION}-java17-{SAM}-linux-amd64"));
    let report = push(&project, &["sam_tags=documented"], only);
    assert_eq!(report.0["cells"][0]["references"], serde_json::json!([documented]));
    let image = digest(&documented).expect("it has its tag");

    // Only the time is new.
    let report = push(&project, &["sam_tags=scripted"], only);
    assert_eq!((report.steps("artifact"), report.steps("assemble")), (0, 0));
    let time = report.0["cells"][0]["timestamp"].as_str().unwrap();
    let stamped = format!("{documented}-{time}");
    assert_eq!(report.0["cells"][0]["references"], serde_json::json!([documented, stamped]));
    assert_eq!(digest(&stamped), Some(image));

    let arguments = arguments(&project, &["sam_tags=upside-down"], only);
    let arguments: Vec<&str> =
        ["check", "--plain"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
    project
        .run(&arguments[..arguments.len() - 2])
        .code(2)
        .says(&["`sam_tags` is published, documented or scripted"]);
}

#[test]
fn go_template_is_there_when_it_is_wanted() {
    let project = project("");
    for (vars, there) in [
        (["sam_install_go_template=false", "sam_unified_pipeline=false"], false),
        (["sam_install_go_template=true", "sam_unified_pipeline=true"], false),
    ] {
        push(&project, &vars, "image=sam,sam_base=ruby3.2");
        let tag = project.fill(&format!("$REPO/aws-sam-plugin:ruby3.2-{SAM}-{VERSION}-linux-amd64"));
        let found = listing(&tag).iter().any(|(path, _)| path == "opt/harness/client-tools/go-template");
        assert_eq!(found, there, "{vars:?}");
    }
}

/// The SAM plugin's matrix alone, with the variables that the shipped `builds.toml` declares.
fn alone() -> String {
    let vars = ["sam = \"s/sam\"", "harness = \"h\"", "github = \"http://g\""];
    let vars =
        vars.into_iter().chain(["docker_downloads = \"http://d\"", "harness_downloads = \"http://h\""]);
    let vars: String = vars.map(|line| format!("{line}\n")).collect();
    include_str!("../../../matrices/sam-plugin.toml").replacen("[vars]\n", &format!("[vars]\n{vars}"), 1)
}

#[test]
fn a_base_that_is_named_otherwise_says_what_it_lacks() {
    let project = Project::new("schema = 1\nimport = [\"sam.toml\"]\n[project]\nname = \"p\"\n");
    let broken = [
        ("build-nodejs18.x:1.143.0-20250822194415-x86_64", "node:1.143.0-20250822194415-x86_64"),
        ("build-nodejs20.x:1.143.0-20250822194415-x86_64", "build-nodejs20.x:latest"),
        ("build-nodejs22.x:1.143.0-20250822194415-x86_64", "build-nodejs22.x:1.143.0"),
        ("build-python3.11:1.143.0-20250822194415-x86_64", "build-python3.11:1.143.0-20250822194415-arm64"),
    ];
    let matrix = broken.iter().fold(alone(), |text, (good, bad)| text.replace(good, bad));
    project.write("sam.toml", &matrix);
    let mut ended = project.run(&["check", "--plain"]).code(2).says(&["4 mistakes in the manifest"]);
    let line = |bad: &str| matrix.lines().position(|line| line.contains(bad)).unwrap() + 1;
    let column = "  { name = \"nodejs18.x\", base = ".len() + 1;
    for ((_, bad), part) in broken.iter().zip(["runtime", "sam_version", "timestamp", "architecture"]) {
        let place = format!("sam.toml:{}:{column}: error[unparsed-text]", line(bad));
        ended = ended.says(&[&format!("{place}: `s/sam/{bad}` has no `{part}`")]);
    }

    project.write("sam.toml", &alone().replace("build-java17:", "build-java21:"));
    let ended = project.run(&["check", "--plain"]).code(2);
    ended.says(&["a rule rejects `sam[sam_base=java17,", "is of another runtime than `java17`"]);
}

/// A base named as a SAM image, with these programs in place of apt-get: each says how it is called and
/// leaves a Docker client.
fn base_with(project: &Project, managers: &[&str]) -> String {
    let scripts: String = managers
        .iter()
        .map(|manager| {
            format!(
                "{{ path = \"/usr/bin/{manager}\", mode = \"0755\", content = \"\"\"#!/bin/sh\n\
                 echo {manager} \"$@\" >>/called\nprintf '#!/bin/sh\\\\necho Docker version of {manager}\\\\n' >/usr/bin/docker\n\
                 chmod 755 /usr/bin/docker\n\"\"\" }},\n"
            )
        })
        .collect();
    let name = managers.first().unwrap_or(&"none");
    let layers =
        if managers.is_empty() { String::new() } else { format!("[layers.managers]\nfiles = [{scripts}]\n") };
    let listed = if managers.is_empty() { "" } else { "layers = [\"managers\"]\n" };
    project.write(
        "base.toml",
        &format!(
            "schema = 1\n[project]\nname = \"base\"\nrepository = \"$REPO/{name}\"\n{layers}\
             [images.build-python3_11]\nname = \"build-python3.11\"\nbase = \"{}\"\n\
             setup = [{{ script = \"rm -f /usr/bin/apt-get\" }}]\n{listed}tags = [\"1.143.0-20250822194415-x86_64\"]\n",
            stand_in("python3.11")
        ),
    );
    project.push(&["--file", "base.toml"]).all("built");
    project.fill(&format!("$REPO/{name}"))
}

#[test]
fn the_client_comes_by_the_package_manager_of_the_base() {
    let project = project("");
    let tag = project.fill(&format!("$REPO/aws-sam-plugin:python3.11-{SAM}-{VERSION}-linux-amd64"));
    let packages = "sam_docker=packages";
    // As on Amazon Linux 2023, where yum is another name of dnf.
    let managers: [&[&str]; 4] = [&["dnf", "yum"], &["yum"], &["microdnf"], &["apk"]];
    for there in managers {
        let manager = there[0];
        let sam = format!("sam={}", base_with(&project, there));
        push(&project, &[packages, &sam], "image=sam,sam_base=python3.11");
        let called = file(&tag, "called");
        let wanted = match manager {
            "apk" => "apk add --no-cache docker-cli".to_owned(),
            _ => format!("{manager} install -y docker-ce-cli\n{manager} clean all"),
        };
        assert_eq!(called, wanted);
        if manager != "apk" {
            let repository = file(&tag, "etc/yum.repos.d/docker-ce.repo");
            assert!(
                repository.contains("/linux/centos/9/x86_64/stable\nenabled=1\ngpgcheck=1\ngpgkey="),
                "{repository}"
            );
        }
        let there = listing(&tag).iter().any(|(path, _)| path == "usr/local/bin/docker");
        assert!(!there, "the static client is not there beside");
    }
    let sam = format!("sam={}", base_with(&project, &[]));
    let arguments = arguments(&project, &[packages, &sam], "image=sam,sam_base=python3.11");
    let (ended, report) = project
        .build(&["--push"].into_iter().chain(arguments.iter().map(String::as_str)).collect::<Vec<_>>(), 1);
    report.all("failed");
    ended.says(&["this base has no package manager that is known", "use sam_docker = \"static\""]);
}

#[test]
fn apt_installs_a_real_client() {
    let project = project("");
    push(&project, &["sam_docker=packages"], "image=sam,sam_base=python3.11");
    let tag = project.fill(&format!("$REPO/aws-sam-plugin:python3.11-{SAM}-{VERSION}-linux-amd64"));
    let said = run(&engines()[0], &tag, "command -v docker; docker --version; ls /var/lib/apt/lists");
    let mut lines = said.lines();
    assert_eq!(lines.next(), Some("/usr/bin/docker"));
    assert!(lines.next().is_some_and(|line| line.starts_with("Docker version 20.10")), "{said}");
    assert_eq!(lines.next(), None, "the lists of packages are gone");
}
