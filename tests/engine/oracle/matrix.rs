//! The shipped matrix against Dockerfiles that a careful person would write for the same images:
//! three runtimes, their base images and those with the Serverless Framework, all paths compared.

use std::fmt::Write;
use std::path::PathBuf;

use crate::support::compare::{Image, Rules, assert_equal};
use crate::support::engine::engines;
use crate::support::lab::{Case, Lab};

const SAM: &str = "1.143.0-20250822194415-x86_64";
const HARNESS: &str = "1.1.0-beta";
const SERVERLESS: &str = "3.39.0";

/// Runtime, the runtime whose Node.js it gets.
const RUNTIMES: [(&str, &str); 3] =
    [("python3.11", "nodejs18.x"), ("nodejs20.x", "nodejs20.x"), ("ruby3.2", "nodejs18.x")];

/// As the pipelines do it, but without leaving npm's cache and settings behind.
/// What an engine's build cache holds is of another hour, and packages move: `$hour` keeps it out.
const INSTALL: &str = "RUN : $hour && npm config set fetch-timeout 60000 && \\
    npm config set fetch-retry-mintimeout 20000 && \\
    npm config set fetch-retry-maxtimeout 120000 && \\
    { $npm || { sleep 10 && $npm; } || { sleep 30 && $npm; }; } && \\
    rm -r /root/.npm /root/.npmrc
";

/// What is the same on every base.
const COMMON: &str = "ENV PATH=/var/lang/bin:/opt/bin:$PATH
ENV HARNESS_GO_PLUGIN_VERSION=v0.4.5 INSTALL_GO_TEMPLATE_BINARY=true UNIFIED_PIPELINE=false
USER root
COPY docker /usr/local/bin/docker
RUN mkdir -p /opt/harness && mkdir -m 777 /opt/harness/scripts /opt/harness/bin /opt/harness/client-tools
COPY --from=harness /opt/harness/bin/harness-serverless-plugin /opt/harness/bin/
COPY --from=harness /opt/harness/scripts/ /opt/harness/scripts/
RUN chmod a+x /opt/harness/bin/harness-serverless-plugin /opt/harness/scripts/*
COPY go-template /opt/harness/client-tools/go-template
ENTRYPOINT [\"/opt/harness/scripts/serverless-plugin.sh\"]
";

/// One Dockerfile with a stage for each image: `plugin`, `RUNTIME-base` and `RUNTIME`. With
/// `shared`, npm runs in the companion once and bases share what it installs; without, it runs in
/// each image itself.
fn dockerfile(shared: bool) -> String {
    let mut text = format!("FROM $registry/harness/serverless-plugin:{HARNESS}-base-image AS harness\n");
    text += "FROM scratch AS plugin\nCOPY --from=harness /opt/harness/bin /opt/harness/bin\n\
        COPY --from=harness /opt/harness/scripts /opt/harness/scripts\n";
    for node in ["nodejs18.x", "nodejs20.x"] {
        writeln!(text, "FROM $registry/sam/build-{node}:{SAM} AS {node}").unwrap();
        writeln!(text, "FROM {node} AS serverless-{node}\n{INSTALL}").unwrap();
    }
    for (runtime, node) in RUNTIMES {
        writeln!(text, "FROM $registry/sam/build-{runtime}:{SAM} AS {runtime}-base").unwrap();
        if runtime != node {
            writeln!(text, "COPY --from={node} /var/lang /var/lang\nCOPY --from={node} /opt /opt").unwrap();
        }
        text += COMMON;
        writeln!(text, "FROM {runtime}-base AS {runtime}\nENV SERVERLESS_VERSION=$serverless").unwrap();
        if shared {
            let modules = "/var/lang/lib/node_modules/serverless";
            writeln!(text, "COPY --from=serverless-{node} {modules} {modules}").unwrap();
            let link = "ln -s ../lib/node_modules/serverless/bin/serverless.js /var/lang/bin";
            writeln!(text, "RUN {link}/serverless && {link}/sls").unwrap();
        } else {
            text += INSTALL;
        }
    }
    text
}

/// Each engine judges some of the images, so that npm runs no more than needed: foreign Node.js in
/// both ways, its own, an older base.
fn judged(engine: usize) -> &'static [&'static str] {
    match engine {
        0 => &["plugin", "python3.11-base", "nodejs20.x-base", "ruby3.2-base", "python3.11", "nodejs20.x"],
        _ => &["plugin", "python3.11-base", "nodejs20.x-base", "ruby3.2-base", "python3.11", "ruby3.2"],
    }
}

/// Times that are not those of a source: written by commands, or files of the Dockerfile's context.
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

/// What `--only` takes, of all that the engines judge.
fn cells() -> Vec<String> {
    let mut cells = vec![format!("image=plugin,harness={HARNESS}")];
    for (runtime, _) in RUNTIMES {
        for image in ["serverless-base".to_owned(), format!("serverless,serverless={SERVERLESS}")] {
            cells.push(format!("image={image},runtime={runtime},harness={HARNESS}"));
        }
    }
    cells
}

#[test]
fn the_shipped_images_are_those_of_careful_dockerfiles() {
    let mut lab = Lab::new("matrix");
    let registry = lab.registry.host.clone();
    let files = crate::support::setting("RAILYARD_DEV_FILES");
    lab.name("registry", &registry);
    lab.name("serverless", SERVERLESS);
    // A connection may break off.
    lab.name("npm", &format!("npm install -g --no-audit --no-fund serverless@{SERVERLESS}"));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    lab.name("hour", &now.as_nanos().to_string());
    let archive = lab.registry.download(&format!("{files}/linux/static/stable/x86_64/docker-20.10.24.tgz"));
    let docker = crate::support::fixture::member(&archive, "docker/docker");
    let template = "public/shared/tools/go-template/release/v0.4.5/bin/linux/amd64/go-template";
    let template = lab.registry.download(&format!("{files}/{template}"));

    let engines = engines();
    let contexts: Vec<PathBuf> = (0..engines.len())
        .map(|at| {
            let case = Case {
                dockerfile: &dockerfile(at != 0),
                context: vec![("docker", docker.clone(), 0o755), ("go-template", template.clone(), 0o755)],
                ..Case::default()
            };
            lab.context_at(&format!("context-{at}"), &case)
        })
        .collect();
    // All wait for npm most of the time.
    let expected: Vec<Vec<Image>> = std::thread::scope(|scope| {
        let lab = &lab;
        let judges: Vec<_> = engines
            .iter()
            .zip(&contexts)
            .enumerate()
            .map(|(at, (engine, context))| {
                let built =
                    move |stage: &&str| lab.built(context, stage, engine, &format!("expected-{stage}"));
                scope.spawn(move || judged(at).iter().map(built).collect())
            })
            .collect();
        lab.push_shipped(engines.last().unwrap(), &cells(), &[]);
        judges.into_iter().map(|judge| judge.join().unwrap()).collect()
    });
    for (at, engine) in engines.iter().enumerate() {
        for (stage, expected) in judged(at).iter().zip(&expected[at]) {
            let tag = match stage.strip_suffix("-base") {
                _ if *stage == "plugin" => format!("{HARNESS}-base-image"),
                Some(runtime) => format!("{runtime}-{HARNESS}-linux-amd64"),
                None => format!("{stage}-{SERVERLESS}-{HARNESS}-linux-amd64"),
            };
            let found = lab.pull(&format!("{}/serverless-plugin", lab.path), &tag);
            assert_equal(expected, &found, &rules(), &format!("engine {}, {tag}", engine.version));
        }
    }
}
