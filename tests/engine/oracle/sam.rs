//! The shipped SAM plugin images against the Dockerfile that the pipelines write for them: an older base,
//! a newer one and one with Node.js; all paths compared.

use std::fmt::Write;

use crate::support::compare::{Rules, assert_equal};
use crate::support::engine::engines;
use crate::support::lab::{Case, Lab};

const SAM: &str = "1.143.0";
const STAMP: &str = "20250822194415";
const VERSION: &str = "1.1.2-beta";
const RUNTIMES: [&str; 3] = ["python3.11", "nodejs22.x", "ruby3.2"];

/// One Dockerfile with a stage for each image. The client is the static one, go-template a file of
/// the context.
fn dockerfile() -> String {
    let mut text = format!("FROM $registry/harness/aws-sam-plugin:{VERSION}-base-image AS harness\n");
    for runtime in RUNTIMES {
        writeln!(text, "FROM $registry/sam/build-{runtime}:{SAM}-{STAMP}-x86_64 AS {runtime}").unwrap();
        text += "ENV HARNESS_GO_PLUGIN_VERSION=v0.4.5
ENV DOCKER_VERSION=26.0.1
ENV INSTALL_GO_TEMPLATE_BINARY=true
ENV UNIFIED_PIPELINE=false
COPY docker /usr/local/bin/docker
RUN mkdir -p /opt/harness && mkdir -m 777 /opt/harness/bin /opt/harness/scripts /opt/harness/client-tools
COPY --from=harness /opt/harness/bin/harness-sam-plugin /opt/harness/bin/harness-sam-plugin
COPY --from=harness /opt/harness/scripts/ /opt/harness/scripts/
RUN chmod +x /opt/harness/bin/harness-sam-plugin /opt/harness/scripts/sam-plugin.sh
COPY go-template /opt/harness/client-tools/go-template
ENTRYPOINT [\"/opt/harness/scripts/sam-plugin.sh\"]
";
    }
    text
}

#[test]
fn the_sam_plugin_images_are_those_of_the_pipelines_dockerfile() {
    let mut lab = Lab::new("sam");
    let registry = lab.registry.host.clone();
    let files = crate::support::setting("RAILYARD_DEV_FILES");
    lab.name("registry", &registry);
    let archive = lab.registry.download(&format!("{files}/linux/static/stable/x86_64/docker-26.0.1.tgz"));
    let docker = crate::support::fixture::member(&archive, "docker/docker");
    let template = "public/shared/tools/go-template/release/v0.4.5/bin/linux/amd64/go-template";
    let template = lab.registry.download(&format!("{files}/{template}"));

    let engines = engines();
    let only = RUNTIMES.map(|runtime| format!("image=sam,sam_base={runtime}"));
    lab.push_shipped(engines.last().unwrap(), &only, &[]);
    // Files of the context have the time at which they were written.
    let times = ["/usr/local/bin/docker", "/opt/harness/client-tools"].map(str::to_owned).to_vec();
    let rules = Rules { times, ..Rules::default() };
    for engine in &engines {
        let dockerfile = dockerfile();
        let context = lab.context(&Case {
            dockerfile: &dockerfile,
            context: vec![("docker", docker.clone(), 0o755), ("go-template", template.clone(), 0o755)],
            ..Case::default()
        });
        for runtime in RUNTIMES {
            let expected = lab.built(&context, runtime, engine, &format!("expected-{runtime}"));
            let tag = format!("{runtime}-{SAM}-{VERSION}-linux-amd64");
            let found = lab.pull(&format!("{}/aws-sam-plugin", lab.path), &tag);
            assert_equal(&expected, &found, &rules, &format!("engine {}, {tag}", engine.version));
        }
    }
}
