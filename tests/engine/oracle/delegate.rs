//! The shipped delegates against Dockerfiles that a careful person would write.

use crate::support::compare::{Rules, assert_equal};
use crate::support::engine::engines;
use crate::support::lab::{Case, Lab};

const TAG: &str = "24.04.82804.minimal";
const HOME: &str = "/opt/harness-delegate";

/// Tool, version, program and URL of what the full bundle lists, in order; the first nine are in PATH.
const FULL: [(&str, &str, &str); 11] = [
    ("kubectl", "v1.24.3", "kubectl/release/v1.24.3/bin/linux/amd64/kubectl"),
    ("helm", "v3.8.0", "helm/release/v3.8.0/bin/linux/amd64/helm"),
    ("go-template", "v0.4.2", "go-template/release/v0.4.2/bin/linux/amd64/go-template"),
    ("harness-pywinrm", "v0.4-dev", "harness-pywinrm/release/v0.4-dev/bin/linux/amd64/harness-pywinrm"),
    ("chartmuseum", "v0.15.0", "chartmuseum/release/v0.15.0/bin/linux/amd64/chartmuseum"),
    ("tf-config-inspect", "v1.2", "terraform-config-inspect/v1.2/linux/amd64/terraform-config-inspect"),
    ("oc", "v4.2.16", "oc/release/v4.2.16/bin/linux/amd64/oc"),
    ("kustomize", "v4.5.4", "kustomize/release/v4.5.4/bin/linux/amd64/kustomize"),
    ("scm", "f1024c6b", "scm/release/f1024c6b/bin/linux/amd64/scm"),
    ("helm", "v2.13.1", "helm/release/v2.13.1/bin/linux/amd64/helm"),
    ("helm", "v3.1.2", "helm/release/v3.1.2/bin/linux/amd64/helm"),
];

const APT: &str = "export DEBIAN_FRONTEND=noninteractive; apt-get -q update && apt-get -q install -y --no-install-recommends";
const CLEAN: &str = "apt-get clean && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/cache/yum /var/cache/dnf";

fn dockerfile() -> String {
    let small = format!(
        "FROM $registry/harness/delegate:{TAG} AS small\nUSER 0\n\
         RUN {APT} unzip && echo 'deb [trusted=yes] file:/usr/share/railyard/hashicorp ./' >/etc/apt/sources.list.d/hashicorp.list \
         && apt-get -q update && apt-get -q install -y --no-install-recommends terraform && {CLEAN}\n\
         RUN mkdir {HOME}/tools && chmod 775 {HOME}/tools && chown 1001:0 {HOME}/tools\n\
         COPY --chown=1001:0 stable-kubectl {HOME}/tools/kubectl\n\
         ENV PATH={HOME}/tools:$PATH\nUSER harness\n"
    );
    let mut full =
        format!("FROM $registry/harness/delegate:{TAG} AS full\nUSER 0\nRUN {APT} git && {CLEAN}\n");
    let directories: Vec<String> =
        FULL.iter().map(|(tool, version, _)| format!("{HOME}/client-tools/{tool}/{version}")).collect();
    full += &format!(
        "RUN mkdir -p {} && chmod -R 775 {HOME}/client-tools && chown -R 1001:0 {HOME}/client-tools\n",
        directories.join(" ")
    );
    for ((tool, version, url), directory) in FULL.iter().zip(&directories) {
        let program = url.rsplit('/').next().unwrap();
        full += &format!("COPY --chown=1001:0 {tool}-{version} {directory}/{program}\n");
    }
    full += &format!("ENV PATH={}:$PATH\nUSER 1001\n", directories[..9].join(":"));
    small + &full
}

#[test]
fn the_shipped_delegates_are_those_of_careful_dockerfiles() {
    let mut lab = Lab::new("delegate");
    lab.name("registry", &lab.registry.host.clone());
    let files = crate::support::setting("RAILYARD_DEV_FILES");
    let downloads: Vec<(String, Vec<u8>)> = FULL
        .iter()
        .map(|(tool, version, url)| {
            let content = lab.registry.download(&format!("{files}/public/shared/tools/{url}"));
            (format!("{tool}-{version}"), content)
        })
        .collect();
    let stable = lab.registry.download(&format!("{files}/release/v1.35.3/bin/linux/amd64/kubectl"));
    let engines = engines();
    let vars = [
        ("kubernetes", files.as_str()),
        ("hashicorp_deb", "deb [trusted=yes] file:/usr/share/railyard/hashicorp ./"),
        ("hashicorp_key", ""),
    ];
    let only = ["small", "full"].map(|bundle| format!("image=delegate,delegate={TAG},bundle={bundle}"));
    lab.push_shipped(engines.last().unwrap(), &only, &vars);
    let dockerfile = dockerfile();
    let mut context = vec![("stable-kubectl", stable, 0o775)];
    context.extend(downloads.iter().map(|(name, content)| (name.as_str(), content.clone(), 0o775)));
    let context = lab.context(&Case { dockerfile: &dockerfile, context, ..Case::default() });
    for engine in &engines {
        for bundle in ["small", "full"] {
            let expected = lab.built(&context, bundle, engine, &format!("expected-{bundle}"));
            let found = lab.pull(&format!("{}/delegate", lab.path), &format!("{TAG}-{bundle}"));
            assert_equal(
                &expected,
                &found,
                &Rules::any_time(),
                &format!("engine {}, {bundle}", engine.version),
            );
        }
    }
}
