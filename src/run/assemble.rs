//! An image's configuration and manifest from its base, its layers and what the manifest says.
//!
//! Pure. Dockerfile's rules (decision 5): the result is compared with what an engine makes of an
//! equivalent Dockerfile.

use std::collections::BTreeMap;

use crate::matrix::{ConfigSpec, fill_base_env};
use crate::oci::{
    ContainerConfig, Descriptor, DiffId, Digest, History, ImageConfig, ImageManifest, MEDIA_CONFIG,
    MEDIA_DOCKER_LAYER_GZIP, MEDIA_LAYER_GZIP, MEDIA_MANIFEST, Platform, RootFs, to_canonical_json,
};
use crate::store::ImageRecord;

/// PATH where neither base nor manifest says one, as Docker sets it.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The most layers that containerd unpacks.
pub const MAX_LAYERS: usize = 127;

/// An image that cannot be assembled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssembleError {
    /// Triggers in the base, which only an engine's build could carry out.
    #[error("the base has ONBUILD triggers (`{0}`), which would be lost")]
    OnBuild(String),
    /// `{{ base.env.X }}` without that variable.
    #[error("`base.env.{0}`: the base has no such variable")]
    NoVariable(String),
    /// Too many layers.
    #[error("the image would have {0} layers, engines take at most {MAX_LAYERS}")]
    TooManyLayers(usize),
    /// A base for another platform.
    #[error("the base is for `{found}`, not for `{wanted}`")]
    Platform {
        /// The base's platform.
        found: String,
        /// The project's.
        wanted: String,
    },
}

/// A layer to put into an image.
#[derive(Debug, Clone)]
pub struct StackedLayer {
    /// The blob.
    pub blob: Descriptor,
    /// Its diff ID.
    pub diff_id: DiffId,
    /// What made it, for the history.
    pub created_by: String,
}

/// What an image is built on.
#[derive(Debug, Clone, Default)]
pub struct Base {
    /// Its configuration; `None` for scratch.
    pub config: Option<ImageConfig>,
    /// Its layer blobs, lowest first.
    pub layers: Vec<Descriptor>,
}

/// Makes the documents of an image.
///
/// # Errors
/// See [`AssembleError`].
pub fn assemble(
    base: &Base,
    layers: &[StackedLayer],
    spec: &ConfigSpec,
    platform: &Platform,
    created: Option<&str>,
) -> Result<ImageRecord, AssembleError> {
    let mut inherited = base.config.clone().unwrap_or_default();
    if base.config.is_none() {
        inherited.config.working_dir = Some("/".into());
    }
    if base.config.is_some()
        && (inherited.os != platform.os || inherited.architecture != platform.architecture)
    {
        return Err(AssembleError::Platform {
            found: format!("{}/{}", inherited.os, inherited.architecture),
            wanted: platform.to_string(),
        });
    }
    if let Some(trigger) = inherited.config.on_build.as_ref().and_then(|t| t.first()) {
        return Err(AssembleError::OnBuild(trigger.clone()));
    }
    let count = base.layers.len() + layers.len();
    if count > MAX_LAYERS {
        return Err(AssembleError::TooManyLayers(count));
    }
    let created = created.map(str::to_owned).or_else(|| inherited.created.clone());
    let mut diff_ids = inherited.rootfs.diff_ids.clone();
    diff_ids.extend(layers.iter().map(|l| l.diff_id));
    let mut history = inherited.history.clone();
    history.extend(layers.iter().map(|layer| History {
        created: created.clone(),
        created_by: Some(layer.created_by.clone()),
        comment: Some("railyard".into()),
        ..History::default()
    }));
    let config = ImageConfig {
        created,
        architecture: platform.architecture.clone(),
        variant: inherited.variant.clone().or_else(|| platform.variant.clone()),
        os: platform.os.clone(),
        config: container_config(inherited.config, spec)?,
        rootfs: RootFs { kind: "layers".into(), diff_ids },
        history,
    };
    let mut blobs: Vec<Descriptor> = base.layers.iter().map(as_oci).collect();
    blobs.extend(layers.iter().map(|l| l.blob.clone()));
    Ok(documents(&config, blobs))
}

/// An image of these layers, with its two documents.
pub(super) fn documents(config: &ImageConfig, layers: Vec<Descriptor>) -> ImageRecord {
    let config_json = to_canonical_json(config);
    let config = Descriptor::new(MEDIA_CONFIG, Digest::of(&config_json), config_json.len() as u64);
    let manifest_json = to_canonical_json(&ImageManifest::image(config.clone(), layers.clone()));
    let manifest = Descriptor::new(MEDIA_MANIFEST, Digest::of(&manifest_json), manifest_json.len() as u64);
    ImageRecord {
        manifest,
        config,
        layers,
        manifest_json: String::from_utf8(manifest_json).expect("JSON is UTF-8"),
        config_json: String::from_utf8(config_json).expect("JSON is UTF-8"),
        made: 0,
        outputs: None,
        inherited: None,
    }
}

/// A base's own blob under the OCI name of its media type, without annotations.
pub(super) fn as_oci(layer: &Descriptor) -> Descriptor {
    let media_type = match layer.media_type.as_str() {
        MEDIA_DOCKER_LAYER_GZIP => MEDIA_LAYER_GZIP,
        "application/vnd.docker.image.rootfs.diff.tar" => crate::oci::MEDIA_LAYER,
        "application/vnd.docker.image.rootfs.diff.tar.zstd" => crate::oci::MEDIA_LAYER_ZSTD,
        other => other,
    };
    Descriptor::new(media_type, layer.digest, layer.size)
}

fn container_config(inherited: ContainerConfig, spec: &ConfigSpec) -> Result<ContainerConfig, AssembleError> {
    let mut config = inherited;
    let base_env = config.env.clone().unwrap_or_default();
    let lookup = |name: &str| {
        let found = base_env.iter().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='));
        found.map(str::to_owned).or_else(|| (name == "PATH").then(|| DEFAULT_PATH.to_owned()))
    };
    let fill = |text: &str| fill_base_env(text, lookup).map_err(AssembleError::NoVariable);
    let mut env = base_env.clone();
    let base_path = lookup("PATH").expect("PATH has a default");
    if !spec.path.is_empty() || !env.iter().any(|e| e.starts_with("PATH=")) {
        let mut path = spec.path.iter().map(|p| fill(p)).collect::<Result<Vec<_>, _>>()?;
        path.push(base_path);
        set(&mut env, "PATH", &path.join(":"));
    }
    for (name, value) in &spec.env {
        set(&mut env, name, &fill(value)?);
    }
    config.env = Some(env);
    if let Some(user) = &spec.user {
        config.user = Some(fill(user)?);
    }
    if let Some(workdir) = &spec.workdir {
        config.working_dir = Some(join_workdir(config.working_dir.as_deref(), &fill(workdir)?));
    }
    let argv = |argv: &Option<Vec<String>>| {
        argv.as_ref().map(|a| a.iter().map(|t| fill(t)).collect::<Result<Vec<_>, _>>()).transpose()
    };
    if let Some(entrypoint) = argv(&spec.entrypoint)? {
        config.entrypoint = (!entrypoint.is_empty()).then_some(entrypoint);
        config.cmd = None;
    }
    if let Some(cmd) = argv(&spec.cmd)? {
        config.cmd = (!cmd.is_empty()).then_some(cmd);
    }
    let mut labels: BTreeMap<String, String> = config.labels.take().unwrap_or_default();
    labels.retain(|name, _| {
        !name.starts_with("org.opencontainers.image.") && !name.starts_with("io.railyard.")
    });
    for (name, value) in &spec.labels {
        labels.insert(name.clone(), fill(value)?);
    }
    config.labels = (!labels.is_empty()).then_some(labels);
    Ok(config)
}

/// Replaces a variable where it stands, or adds it at the end.
fn set(env: &mut Vec<String>, name: &str, value: &str) {
    let entry = format!("{name}={value}");
    match env.iter_mut().find(|e| e.strip_prefix(name).is_some_and(|rest| rest.starts_with('='))) {
        Some(slot) => *slot = entry,
        None => env.push(entry),
    }
}

/// As WORKDIR: a relative one continues the inherited one.
fn join_workdir(inherited: Option<&str>, workdir: &str) -> String {
    if workdir.starts_with('/') {
        return workdir.to_owned();
    }
    format!("{}/{workdir}", inherited.unwrap_or("/").trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(config: ContainerConfig) -> Base {
        let config = ImageConfig {
            architecture: "amd64".into(),
            os: "linux".into(),
            created: Some("2024-01-02T03:04:05Z".into()),
            config,
            ..ImageConfig::default()
        };
        Base { config: Some(config), layers: Vec::new() }
    }

    fn config_of(base: &Base, spec: &ConfigSpec) -> ContainerConfig {
        let image = assemble(base, &[], spec, &Platform::linux_amd64(), None).unwrap();
        serde_json::from_str::<ImageConfig>(&image.config_json).unwrap().config
    }

    #[test]
    fn an_entrypoint_clears_the_inherited_cmd_and_path_is_put_before_the_bases() {
        let base = base(ContainerConfig {
            env: Some(vec!["A=1".into(), "PATH=/x".into(), "B=2".into()]),
            cmd: Some(vec!["sh".into()]),
            labels: Some(
                [("org.opencontainers.image.title".into(), "t".into()), ("k".into(), "v".into())].into(),
            ),
            ..ContainerConfig::default()
        });
        let spec = ConfigSpec {
            path: vec!["/var/lang/bin".into()],
            env: vec![("A".into(), "3".into()), ("C".into(), "4".into())],
            entrypoint: Some(vec!["/e".into()]),
            ..ConfigSpec::default()
        };
        let config = config_of(&base, &spec);
        let env: Vec<String> = ["A=3", "PATH=/var/lang/bin:/x", "B=2", "C=4"].map(Into::into).into();
        assert_eq!(config.env, Some(env));
        assert_eq!((config.entrypoint, config.cmd), (Some(vec!["/e".to_owned()]), None));
        assert_eq!(config.labels.unwrap().into_keys().collect::<Vec<_>>(), ["k"]);
    }

    #[test]
    fn scratch_gets_dockers_path_and_directory_and_unknown_fields_of_a_base_survive() {
        let spec = ConfigSpec::default();
        let scratch = config_of(&Base::default(), &spec);
        assert_eq!(scratch.env, Some(vec![format!("PATH={DEFAULT_PATH}")]));
        assert_eq!(scratch.working_dir.as_deref(), Some("/"));
        let health = serde_json::json!({"Test": ["CMD", "true"]});
        let other = [("Healthcheck".to_owned(), health)];
        let base = base(ContainerConfig { other: other.into(), ..ContainerConfig::default() });
        assert!(config_of(&base, &spec).other.contains_key("Healthcheck"));
    }

    #[test]
    fn what_cannot_be_carried_out_is_refused() {
        let onbuild = base(ContainerConfig { on_build: Some(vec!["RUN x".into()]), ..Default::default() });
        let platform = Platform::linux_amd64();
        let spec = ConfigSpec::default();
        assert_eq!(
            assemble(&onbuild, &[], &spec, &platform, None),
            Err(AssembleError::OnBuild("RUN x".into()))
        );
        let other = "linux/arm64".parse().unwrap();
        assert!(matches!(
            assemble(&base(Default::default()), &[], &spec, &other, None),
            Err(AssembleError::Platform { .. })
        ));
    }
}
