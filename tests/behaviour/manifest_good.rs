//! A manifest that covers the whole grammar is decoded as it is written.

use std::time::Duration;

use railyard::manifest::{
    self, AccessText, ArchiveFormat, Attribute, Chmod, Copy, ExistingTags, FileKind, FoundVersion,
    ImageSource, LayerContent, Manifest, Network, Owner, Part, RegistryAccess, Sources, Template,
    VersionSource,
};

fn read(path: &str) -> String {
    std::fs::read_to_string(format!("{}/tests/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn parse(files: &[(&str, &str)]) -> Manifest {
    let mut sources = Sources::default();
    for (name, text) in files {
        sources.add(*name, *text);
    }
    manifest::parse(sources).unwrap_or_else(|(sources, problems)| {
        panic!("{}", manifest::render(&sources, &problems, false, 100));
    })
}

fn serverless() -> Manifest {
    let (main, shared) = (read("good/serverless.toml"), read("good/shared.toml"));
    parse(&[("serverless.toml", &main), ("shared.toml", &shared)])
}

fn texts(templates: &[Template]) -> Vec<&str> {
    templates.iter().map(|template| template.text.as_str()).collect()
}

fn named<'a, T>(all: &'a [T], name: &str, of: impl Fn(&T) -> &str) -> &'a T {
    all.iter().find(|item| of(item) == name).unwrap()
}

#[test]
fn settings() {
    let manifest = serverless();
    assert_eq!(manifest.project.name.value, "harness-images");
    assert_eq!(manifest.project.repository.unwrap().text, "{{ vars.registry }}/acme");
    assert_eq!(manifest.project.platform.to_string(), "linux/amd64");
    assert_eq!(manifest.cache.unwrap().text, "{{ vars.registry }}/acme/railyard-cache");
    assert_eq!(manifest.vars["plugin"].value, "v0.4.5");
    let local = &manifest.registries["localhost:5000"];
    assert!(local.insecure);
    assert_eq!((local.requests_per_second, local.concurrency), (Some(2.5), Some(4)));
    assert_eq!(manifest.registries["public.ecr.aws"].requests_per_second, Some(1.0));
    let account = &manifest.registries["012345678901.dkr.ecr.eu-central-1.amazonaws.com"];
    assert!(account.create && account.lifecycle_policy.is_some() && account.pull.is_some());
    assert_eq!(account.existing_tags.as_ref().unwrap().value, ExistingTags::Refuse);
    let Some(RegistryAccess::Ecr(ecr)) = &account.credentials else { panic!("{account:?}") };
    assert_eq!(ecr.account.as_deref(), Some("012345678901"));
    assert!(matches!(&ecr.external_id, Some(AccessText::Environment(name)) if name.value == "EXTERNAL_ID"));
    let team = &manifest.registries["registry.example.com/team"];
    assert!(matches!(team.credentials, Some(RegistryAccess::IdentityToken(AccessText::Environment(_)))));
    assert!(matches!(team.pull, Some(RegistryAccess::DockerConfig(_))));
    assert_eq!(texts(&manifest.project.destinations), ["registry.example.com/{{ vars.mirror }}"]);
    let derived = named(&manifest.images, "derived", |i| &i.id.value);
    assert_eq!(derived.version_tags.len(), 2);
    assert_eq!(texts(derived.destinations.as_ref().unwrap()), ["...", "{{ vars.registry }}/derived"]);
    let limits = manifest.limits;
    assert_eq!((limits.containers, limits.transfers, limits.cpu), (Some(2), Some(8), Some(2)));
    assert_eq!(limits.step.memory, Some(4 << 30));
    assert_eq!(limits.step.cpus, Some(2.0));
    assert_eq!(limits.step.timeout, Some(Duration::from_secs(1800)));
    assert_eq!(limits.step.network, Some(Network::Bridge));
}

#[test]
fn axes_keep_their_order_and_attributes() {
    let manifest = serverless();
    let names: Vec<&str> = manifest.axes.iter().map(|axis| axis.name.value.as_str()).collect();
    assert_eq!(names, ["runtime", "harness", "serverless", "sam", "cli", "local"]);
    let node = &manifest.axes[0].values[1];
    assert_eq!(node.name.value, "nodejs20.x");
    assert!(matches!(&node.attributes["family"], Attribute::Text(t) if t.text == "node"));
    assert!(matches!(node.attributes["major"], Attribute::Integer(20)));
    assert!(matches!(node.attributes["weight"], Attribute::Float(f) if f == 1.5));
    assert!(matches!(node.attributes["current"], Attribute::Bool(true)));
    assert!(matches!(&node.attributes["aliases"], Attribute::List(list) if list.len() == 2));
    assert!(!node.attributes.contains_key("name"));
    let values: Vec<&str> = manifest.axes[2].values.iter().map(|value| value.name.value.as_str()).collect();
    assert_eq!(values, ["3.39.0", "3.40.0"]);
}

#[test]
fn discovered_versions_become_values_with_their_tags() {
    let mut manifest = serverless();
    let sam = manifest.axes[3].discovery.clone().unwrap();
    assert!(sam.prereleases && sam.newest == Some(2) && manifest.axes[3].values.is_empty());
    assert!(matches!(&sam.source, VersionSource::Tags { pattern: Some(_), .. }));
    let cli = manifest.axes[4].discovery.as_ref().unwrap();
    assert!(
        matches!(&cli.source, VersionSource::Npm { package, image: Some(_) } if package.value == "serverless")
    );
    let found =
        |name: &str, tag: Option<&str>| FoundVersion { name: name.into(), tag: tag.map(str::to_owned) };
    let versions = [
        (
            "axes.sam",
            vec![found("1.142.0", Some("1.142.0-1-x86_64")), found("1.143.0", Some("1.143.0-1-x86_64"))],
        ),
        ("tools.kubectl", vec![found("v1.31.0", None)]),
    ];
    manifest.resolve(&versions.map(|(key, found)| (key.to_owned(), found)).into()).unwrap();
    let values = &manifest.axes[3].values;
    assert_eq!(values.iter().map(|v| v.name.value.as_str()).collect::<Vec<_>>(), ["1.142.0", "1.143.0"]);
    assert!(matches!(&values[1].attributes["tag"], Attribute::Literal(tag) if tag == "1.143.0-1-x86_64"));
    let kubectl = named(&manifest.tools, "kubectl", |t| &t.name.value);
    assert_eq!(kubectl.version.as_ref().unwrap().text, "v1.31.0");
    assert!(manifest.axes[4].values.is_empty(), "what was not found stays open");
}

#[test]
fn tools_and_downloads() {
    let manifest = serverless();
    let template = &named(&manifest.tools, "go-template", |t| &t.name.value).download;
    assert_eq!(template.urls.len(), 2);
    assert_eq!(template.mode.as_ref().unwrap().value, Chmod::Octal(0o775));
    assert_eq!(template.owner.as_ref().unwrap().value, Owner { uid: 1001, gid: 0 });
    let docker = named(&manifest.tools, "docker-cli", |t| &t.name.value);
    assert_eq!(docker.version.as_ref().unwrap().text, "20.10.24");
    let extract = docker.download.extract.as_ref().unwrap();
    assert_eq!((extract.format, extract.strip), (ArchiveFormat::TarGz, 1));
    assert_eq!(texts(&extract.members), ["docker/docker"]);
    let LayerContent::Parts(parts) = &named(&manifest.layers, "plugin-binaries", |l| &l.name.value).content
    else {
        panic!()
    };
    let [Part::Download(zip), Part::Download(notice)] = parts.as_slice() else { panic!() };
    assert_eq!(zip.extract.as_ref().unwrap().format, ArchiveFormat::Zip);
    assert_eq!(notice.owner.as_ref().unwrap().value, Owner { uid: 0, gid: 0 });
}

#[test]
fn layers_of_parts_are_in_order() {
    let manifest = serverless();
    let layer = named(&manifest.layers, "harness-serverless", |l| &l.name.value);
    assert_eq!(layer.when.as_ref().unwrap().text, "harness != '1.0.0'");
    let LayerContent::Parts(parts) = &layer.content else { panic!() };
    let [
        Part::Copy(upstream),
        Part::Copy(extra),
        Part::Tool(docker),
        Part::Tool(go),
        Part::File(motd),
        Part::Dir(dir),
    ] = parts.as_slice()
    else {
        panic!("{parts:?}")
    };
    assert!(matches!(&upstream.from, ImageSource::Matrix(name) if name.value == "harness-base"));
    assert_eq!(upstream.chmod.as_ref().unwrap().value.apply(0o644, false), 0o755);
    let Copy { from: ImageSource::Reference(from), to: Some(to), when: Some(when), .. } = extra else {
        panic!()
    };
    assert_eq!((from.text.as_str(), to.text.as_str()), ("oci:layouts/extra", "/opt/extra/"));
    assert_eq!(when.text, "runtime.family == \"node\"");
    assert_eq!((docker.tool.text.as_str(), docker.version.is_none()), ("docker-cli", true));
    assert_eq!(go.version.as_ref().unwrap().text, "{{ vars.plugin }}");
    assert_eq!(motd.content.text, "Runtime {{ runtime }},\nharness {{ harness }}\n");
    assert_eq!(dir.mode.as_ref().unwrap().value, Chmod::Octal(0o777));
}

#[test]
fn layers_of_a_run() {
    let manifest = serverless();
    let LayerContent::Run(run) = &named(&manifest.layers, "serverless", |l| &l.name.value).content else {
        panic!()
    };
    assert!(
        matches!(&run.image, ImageSource::Reference(t) if t.text == "{{ axes.runtime[runtime.node].base }}")
    );
    assert_eq!(texts(&run.reads), ["/var/lang"]);
    assert_eq!(run.keep.len(), 2);
    let command = &run.command;
    assert_eq!(command.shell.as_deref().unwrap(), ["/bin/bash", "-ec"]);
    assert_eq!(command.env["NPM_CONFIG_FETCH_TIMEOUT"].text, "60000");
    assert_eq!(command.secrets["npmrc"].value, "NPM_TOKEN");
    assert_eq!(texts(&command.cache), ["/root/.npm"]);
    assert_eq!(command.limits.memory, Some(2_000_000_000));
    assert_eq!(command.limits.timeout, Some(Duration::from_secs(5400)));
    assert_eq!(command.limits.network, Some(Network::Host));
    let LayerContent::Run(run) = &named(&manifest.layers, "from-tooling", |l| &l.name.value).content else {
        panic!()
    };
    assert!(matches!(&run.image, ImageSource::Matrix(name) if name.value == "tooling"));
}

#[test]
fn images_inherit_what_they_do_not_write() {
    let manifest = serverless();
    let names: Vec<&str> = manifest.images.iter().map(|image| image.id.value.as_str()).collect();
    assert_eq!(names, ["harness-base", "serverless-base", "serverless", "derived", "tooling", "composed"]);
    let image = named(&manifest.images, "serverless", |i| &i.id.value);
    let layers: Vec<&str> = image.layers.iter().map(|layer| layer.value.as_str()).collect();
    assert_eq!(layers, ["node", "harness-serverless", "serverless"]);
    let checks: Vec<&str> = image.checks.iter().map(|check| check.value.as_str()).collect();
    assert_eq!(checks, ["abi", "smoke", "version"]);
    let env: Vec<(&str, &str)> = image.env.iter().map(|(n, t)| (n.as_str(), t.text.as_str())).collect();
    assert_eq!(
        env,
        [
            ("HARNESS_GO_PLUGIN_VERSION", "{{ vars.plugin }}"),
            ("UNIFIED_PIPELINE", "true"),
            ("SERVERLESS_VERSION", "{{ serverless }}")
        ]
    );
    let path: Vec<&str> = image.path.iter().map(|entry| entry.path.text.as_str()).collect();
    assert_eq!(path, ["/opt/serverless/bin", "/opt/{{ item }}/bin", "/var/lang/bin", "/opt/bin"]);
    assert_eq!(image.labels.len(), 2);
    assert_eq!(image.name.text, "serverless-plugin");
    assert!(matches!(&image.base, ImageSource::Reference(t) if t.text == "{{ runtime.base }}"));
    assert_eq!(image.setup.len(), 1);
    assert_eq!(texts(image.entrypoint.as_deref().unwrap()), ["/opt/harness/scripts/serverless-plugin.sh"]);
    assert_eq!(image.cmd.as_ref().map(Vec::len), Some(0));
    assert!(image.include.is_empty() && image.exclude.len() == 1 && image.zip.len() == 1 && image.push);
    assert_eq!(image.when.as_ref().unwrap().text, "runtime.base is defined");
    let base = named(&manifest.images, "harness-base", |i| &i.id.value);
    assert!(matches!(base.base, ImageSource::Scratch) && !base.push);
    let derived = named(&manifest.images, "derived", |i| &i.id.value);
    assert!(derived.axes.is_empty() && derived.name.text == "derived");
}

#[test]
fn a_dockerfile_takes_the_place_of_a_base() {
    let manifest = serverless();
    let composed = named(&manifest.images, "composed", |i| &i.id.value);
    let made = composed.dockerfile.as_ref().unwrap();
    assert_eq!(made.context.text, "images/composed");
    assert_eq!(made.args[0].0.value, "VERSION");
    assert!(matches!(&made.contexts[0].1, ImageSource::Matrix(name) if name.value == "tooling"));
    assert!(matches!(&made.contexts[1].1, ImageSource::Reference(t) if t.text == "debian:12"));
    assert_eq!(made.secrets["token"].value, "NPM_TOKEN");
    assert!(matches!(composed.base, ImageSource::Scratch) && composed.layers.is_empty());
}

#[test]
fn checks_have_commands() {
    let manifest = serverless();
    let smoke = named(&manifest.checks, "smoke", |c| &c.name.value);
    assert_eq!((smoke.exit, smoke.expect.as_ref().unwrap().text.as_str()), (0, "{{ serverless }}"));
    let command = smoke.command.as_ref().unwrap();
    assert_eq!(command.limits.network, Some(Network::None));
    let [directory, absent] = smoke.files.as_slice() else { panic!("{:?}", smoke.files) };
    assert_eq!(directory.path.text, "/opt/harness/{{ harness }}");
    assert_eq!((directory.kind, directory.mode), (Some(FileKind::Directory), Some(0o777)));
    assert_eq!(directory.owner, Some(Owner { uid: 1001, gid: 0 }));
    assert!(absent.absent && absent.mode.is_none() && !directory.absent);
    assert_eq!((smoke.size.image, smoke.size.added), (Some(2 << 30), Some(500_000_000)));
    let version = named(&manifest.checks, "version", |c| &c.name.value);
    assert_eq!(version.command.as_ref().unwrap().script.text, "test -n \"$SERVERLESS_VERSION\"");
    assert!(version.files.is_empty() && version.size.is_empty());
}

#[test]
fn an_entrypoint_clears_inherited_arguments() {
    let text = r#"
        schema = 1
        project = { name = "acme" }
        images.a = { base = "debian:12", tags = ["1"], entrypoint = ["/a"], cmd = ["x"] }
        images.b = { extends = "a", tags = ["2"], entrypoint = [] }
        images.c = { extends = "b", tags = ["3"], cmd = ["y"] }
        images.d = { extends = "a", tags = ["4"] }
    "#;
    let manifest = parse(&[("a.toml", text)]);
    let cmd = |name| named(&manifest.images, name, |i| &i.id.value).cmd.as_deref().map(texts);
    assert_eq!(cmd("b"), None);
    assert_eq!(cmd("c"), Some(vec!["y"]));
    assert_eq!(cmd("d"), Some(vec!["x"]));
    assert_eq!(named(&manifest.images, "c", |i| &i.id.value).entrypoint.as_deref().map(texts), Some(vec![]));
}

#[test]
fn globs_of_imports_are_read_without_parsing_the_rest() {
    let globs = manifest::imports(&read("good/serverless.toml"));
    assert_eq!(globs.iter().map(|glob| glob.value.as_str()).collect::<Vec<_>>(), ["shared/*.toml"]);
    assert!(manifest::imports("import = [3, \"a\"]").len() == 1);
    assert!(manifest::imports("import = [").is_empty());
}

#[test]
fn places_inside_templates_are_found() {
    let manifest = serverless();
    let template = &named(&manifest.images, "serverless", |i| &i.id.value).tags[0];
    let start = template.text.find("harness").unwrap();
    let place = template.place(&manifest.sources, start..start + 7);
    assert_eq!(&manifest.sources.text(place.file)[place.range()], "harness");
}

#[test]
fn mistakes_of_rendering_are_no_mistakes_of_the_manifest() {
    let dir = format!("{}/tests/bad-matrix", env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            parse(&[(path.to_str().unwrap(), &std::fs::read_to_string(&path).unwrap())]);
            count += 1;
        }
    }
    assert!(count >= 10);
}

#[test]
fn mirrors() {
    let manifest = serverless();
    let mirror = named(&manifest.mirrors, "ci-images", |mirror| &mirror.name.value);
    assert_eq!(texts(&mirror.images), ["harness/ci-addon:1.14.4", "quay.io/acme/tool:{{ vars.plugin }}"]);
    assert_eq!(mirror.to.text, "{{ vars.registry }}/acme");
    assert_eq!(mirror.from.as_ref().unwrap().text, "docker.io");
    assert_eq!((mirror.file.as_ref().unwrap().text.as_str(), mirror.referrers), ("ci-images.txt", true));
}
