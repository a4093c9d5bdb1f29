//! Images that Dockerfiles make: built by the engine, taken over layer by layer.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::sync::Arc;
use std::time::SystemTime;

use super::assemble::{MAX_LAYERS, as_oci, documents};
use super::deliver::{blocking, file_error};
use super::error::StepError;
use super::images::ImageFiles;
use super::worker::{StepReport, StepValue, Worker, used};
use crate::dockerfile::taken_by_trigger;
use crate::engine::{BuildRequest, BuiltImage, LineSink, SecretValue};
use crate::event::Event;
use crate::layer::{ChangesSpec, LayerBlob, NORMALISED_MTIME, Tree, normalise_changes};
use crate::matrix::{CellId, ConfigSpec, DockerfileId, NetworkName, Recipe, Source, fill_base_env};
use crate::oci::{Descriptor, DiffId, Digest, History, ImageConfig};
use crate::plan::StepId;
use crate::store::{ImageRecord, Store};

/// The host of the names that images have in the engine during a build: there is none.
const HOST: &str = "railyard.invalid";
/// Labels that only the engine's copy has.
const OWN_LABELS: &str = "io.railyard.";

/// What the sources of a Dockerfile bring along.
#[derive(Default)]
struct Sources {
    /// Names for the time of the build -> ids in the engine.
    images: BTreeMap<String, String>,
    /// Their layers' blobs.
    layers: HashMap<DiffId, Descriptor>,
    /// Configuration of what the stage that is built begins with.
    base: Option<ImageConfig>,
    /// When the last of them was created, in seconds since the epoch: what is younger was made by the
    /// build.
    created: Option<i64>,
}

impl Worker {
    /// Builds a Dockerfile's image.
    pub(super) async fn build_dockerfile(
        self: &Arc<Self>,
        id: StepId,
        made: DockerfileId,
    ) -> Result<StepReport, StepError> {
        let matrix = self.matrix.clone();
        let (spec, recipe) = (&matrix.dockerfiles[made.0].spec, matrix.recipe(made));
        let secrets = self.secrets(&spec.secrets)?;
        let sources = self.sources(id, recipe).await?;
        let name = |source: &Source| self.build_name(source);
        let dockerfile = recipe.dockerfile.renamed(|written| {
            let position = recipe.dockerfile.names.iter().position(|name| name == written)?;
            Some(name(&recipe.sources[position]))
        });
        let mut labels = self.labels();
        labels.insert(format!("{OWN_LABELS}step"), format!("{}-{}", self.settings.run_id, id.0));
        let request = BuildRequest {
            dockerfile,
            context: recipe.context.clone(),
            mtime: NORMALISED_MTIME,
            images: sources.images.clone(),
            target: spec.target.clone(),
            args: spec.args.clone(),
            platform: matrix.platform.clone(),
            network: spec.network.map(|network| match network {
                NetworkName::Host => "host",
                NetworkName::None => "none",
            }),
            no_cache: self.is_anew(&self.plan.step(id).key),
            secrets,
            labels,
            known: sources.layers.keys().copied().collect(),
            spool: self.store.temporary(),
        };
        let written: Vec<(String, String)> = recipe
            .dockerfile
            .names
            .iter()
            .zip(&recipe.sources)
            .map(|(written, source)| (name(source), written.text.clone()))
            .collect();
        let lines = self.build_lines(id, written.clone());
        let built = self.engine.build(request, lines).await.map_err(|error| {
            let error = StepError::from(error);
            let message = as_written(&error.message, &written);
            let message = format!("`{}`: {message}", spec.label());
            let error = StepError { message, ..error };
            // What is wrong with the engine or the disk has its own.
            match error.help {
                Some(_) => error,
                None => error.help(
                    "see the end of its output, and the whole of it in the log; lines are those of the Dockerfile",
                ),
            }
        })?;
        let image = self.take_over(id, built, &sources).await?;
        let mut report = StepReport::default();
        if let Some(chain) = chain_id(&image) {
            self.compare_output(id, &spec.label(), chain, &mut report)?;
        }
        self.keep_image(id, image)?;
        self.share_result(id, &mut report).await;
        Ok(report)
    }

    /// Assembles a cell that is made by a Dockerfile: its image with the manifest's labels and the
    /// time of creation that was asked for.
    pub(super) async fn assemble_built(
        self: &Arc<Self>,
        id: StepId,
        cell: CellId,
    ) -> Result<StepReport, StepError> {
        let built = self.steps(cell).dockerfile.and_then(|step| self.value(step));
        let Some(StepValue::Image(built)) = built else {
            return Err(StepError::new(format!("the build of `{}` is missing", self.cell(cell).name)));
        };
        let image = finished(built, &self.cell(cell).config, self.settings.created.as_deref())?;
        self.keep_assembled(id, image).await
    }

    fn secrets(&self, wanted: &[(String, String)]) -> Result<BTreeMap<String, SecretValue>, StepError> {
        let found = wanted.iter().map(|(id, variable)| {
            let value = self.settings.secrets.get(variable).ok_or_else(|| {
                StepError::new(format!("the secret `{id}` is not set"))
                    .help(format!("set the environment variable `{variable}`"))
            })?;
            Ok((id.clone(), value.clone()))
        });
        found.collect()
    }

    /// The name of a source in the engine, which no other run has.
    fn build_name(&self, source: &Source) -> String {
        let hash = Digest::of(self.source_name(source).as_bytes()).short();
        format!("{HOST}/{}:{hash}", self.settings.run_id.to_lowercase())
    }

    /// Brings what a Dockerfile takes from into the engine.
    async fn sources(self: &Arc<Self>, id: StepId, recipe: &Recipe) -> Result<Sources, StepError> {
        let mut sources = Sources::default();
        for source in recipe.distinct_sources() {
            let (engine_id, config, layers) = match source {
                Source::Cell(cell) => {
                    let image = self.image(*cell)?.clone();
                    let engine_id = self.load_image(id, &image, &[]).await?;
                    (engine_id, config_of(&image)?, image.layers)
                }
                source => {
                    let engine_id = self.engine_image(id, source, &[]).await?;
                    let image = self.resolved(&used(source)).await?;
                    (engine_id, image.config.clone(), image.layers.clone())
                }
            };
            sources.images.insert(self.build_name(source), engine_id);
            sources.layers.extend(config.rootfs.diff_ids.iter().copied().zip(layers.iter().map(as_oci)));
            if recipe.begins_with(source)
                && let Some(error) = refused_trigger(&config, &self.source_name(source))
            {
                return Err(error);
            }
            let created = config.created.as_deref().and_then(|text| text.parse::<jiff::Timestamp>().ok());
            sources.created = sources.created.max(created.map(jiff::Timestamp::as_second));
            if source == recipe.base() {
                sources.base = Some(config);
            }
        }
        Ok(sources)
    }

    /// The output of a build, with images named as in the Dockerfile.
    fn build_lines(&self, id: StepId, written: Vec<(String, String)>) -> LineSink {
        let (log, events) = (self.log(id), self.emit());
        Box::new(move |line| {
            let line = log.line(&as_written(line, &written));
            let _ = events.send(Event::StepLine { step: id, line });
        })
    }

    /// Layers into the store: the sources' own blobs, and what is new, made canonical.
    async fn take_over(
        self: &Arc<Self>,
        id: StepId,
        built: BuiltImage,
        sources: &Sources,
    ) -> Result<ImageRecord, StepError> {
        let progress = self.progress(id);
        let mut config: ImageConfig = serde_json::from_slice(&built.config).map_err(|e| {
            StepError::new(format!("the configuration that the engine wrote is malformed: {e}"))
        })?;
        let mut files = ImageFiles { tree: Tree::default(), layers: Vec::new() };
        let mut diff_ids = Vec::new();
        let mut empty = Vec::new();
        for built_id in built.layers {
            let (blob, diff_id) = match (sources.layers.get(&built_id), built.files.get(&built_id)) {
                (Some(known), _) => (known.clone(), built_id),
                (None, Some(file)) => {
                    // The same layer again may change something else: other files lie beneath it.
                    let (store, level, beneath) =
                        (self.store.clone(), self.settings.level, files.tree.clone());
                    let (until, path) = (sources.created, file.path().to_owned());
                    let blob = blocking(move || canonical(&store, &path, &beneath, level, until)).await?;
                    let Some(blob) = blob else {
                        empty.push(true);
                        continue;
                    };
                    let layer = (blob.descriptor, blob.diff_id);
                    self.images.remember(layer.0.digest, layer.1, Arc::new(blob.index))?;
                    layer
                }
                (None, None) => return Err(StepError::new("the engine left a layer out")),
            };
            files.tree = files.tree.push(self.images.index(&blob, &progress).await?);
            files.layers.push(blob);
            diff_ids.push(diff_id);
            empty.push(false);
        }
        if diff_ids.len() > MAX_LAYERS {
            let count = diff_ids.len();
            return Err(StepError::new(format!(
                "the image has {count} layers, engines take at most {MAX_LAYERS}"
            ))
            .help("join RUN instructions"));
        }
        let base = sources.base.clone().unwrap_or_default();
        // Another time that is asked for is none of the build's: it is set in what is made of it.
        config.created = base.created;
        let inherited = settle_history(&mut config.history, &base.history, &empty, config.created.as_deref());
        config.rootfs.diff_ids = diff_ids;
        if let Some(labels) = &mut config.config.labels {
            labels.retain(|name, _| !name.starts_with(OWN_LABELS));
        }
        config.config.labels = config.config.labels.filter(|labels| !labels.is_empty());
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let made = now.as_secs();
        Ok(ImageRecord { made, inherited: Some(inherited), ..documents(&config, files.layers) })
    }
}

/// A trigger that the engine would do in a stage on this image and that takes from others: these are
/// not among the sources, so nothing pins them.
fn refused_trigger(config: &ImageConfig, name: &str) -> Option<StepError> {
    let triggers = config.config.on_build.iter().flatten();
    let (trigger, taken) = triggers.filter_map(|t| Some((t, taken_by_trigger(t)?))).next()?;
    let message =
        format!("`{name}` has the ONBUILD trigger `{trigger}`, which takes from `{taken}` unpinned");
    Some(
        StepError::new(message)
            .help("begin with an image without such triggers, and write what they do into the Dockerfile"),
    )
}

/// A layer of the engine's as a canonical blob in the store; `None` where it changes nothing.
fn canonical(
    store: &Store,
    layer: &std::path::Path,
    beneath: &Tree,
    level: u32,
    keep_until: Option<i64>,
) -> Result<Option<LayerBlob>, StepError> {
    let file = File::open(layer).map_err(|e| file_error("open", layer, &e))?;
    let temporary = store.temporary_file()?;
    let mut out = BufWriter::with_capacity(1 << 18, temporary.as_file());
    let spool_dir = store.temporary();
    let spec = ChangesSpec { beneath, mounts: &[], spool_dir: &spool_dir, level, keep_until };
    let blob = normalise_changes(BufReader::with_capacity(1 << 18, file), &spec, &mut out)?;
    out.flush().map_err(|e| file_error("write", temporary.path(), &e))?;
    drop(out);
    if blob.index.is_empty() {
        return Ok(None);
    }
    store.put_file(temporary, blob.descriptor.digest)?;
    Ok(Some(blob))
}

/// Gives new entries the image's time, and marks those whose layer was left out. Returns how many are
/// the base's.
fn settle_history(history: &mut [History], base: &[History], empty: &[bool], created: Option<&str>) -> usize {
    let inherited = if history.starts_with(base) { base.len() } else { 0 };
    let mut layers = empty.iter();
    for (position, entry) in history.iter_mut().enumerate() {
        if !entry.empty_layer && layers.next() == Some(&true) {
            entry.empty_layer = true;
        }
        if position >= inherited {
            entry.created = created.map(str::to_owned);
        }
    }
    inherited
}

/// The image with further labels, and as created when it was asked for.
fn finished(built: &ImageRecord, spec: &ConfigSpec, created: Option<&str>) -> Result<ImageRecord, StepError> {
    let mut config = config_of(built)?;
    if let Some(created) = created {
        config.created = Some(created.to_owned());
        for entry in config.history.iter_mut().skip(built.inherited.unwrap_or_default()) {
            entry.created = Some(created.to_owned());
        }
    }
    let env = config.config.env.clone().unwrap_or_default();
    let lookup = |name: &str| {
        env.iter().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
    };
    for (name, value) in &spec.labels {
        let value = fill_base_env(value, lookup)
            .map_err(|name| StepError::new(format!("`base.env.{name}`: the image has no such variable")))?;
        config.config.labels.get_or_insert_default().insert(name.clone(), value);
    }
    Ok(documents(&config, built.layers.clone()))
}

fn config_of(image: &ImageRecord) -> Result<ImageConfig, StepError> {
    serde_json::from_str(&image.config_json)
        .map_err(|e| StepError::new(format!("a recorded configuration is malformed: {e}")))
}

/// One hash of all layers (OCI's chain ID): what the lock pins of a build.
pub(super) fn chain_id(image: &ImageRecord) -> Option<DiffId> {
    let config: ImageConfig = serde_json::from_str(&image.config_json).ok()?;
    let mut layers = config.rootfs.diff_ids.into_iter();
    let first = layers.next()?;
    Some(layers.fold(first, |chain, layer| DiffId(Digest::of(format!("{} {}", chain.0, layer.0).as_bytes()))))
}

/// The names that the Dockerfile has for images instead of those in the engine.
fn as_written(text: &str, written: &[(String, String)]) -> String {
    if !text.contains(HOST) {
        return text.to_owned();
    }
    written.iter().fold(text.to_owned(), |text, (name, written)| text.replace(name, written))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(by: &str, empty: bool) -> History {
        History {
            created: Some("now".into()),
            created_by: Some(by.into()),
            empty_layer: empty,
            ..History::default()
        }
    }

    #[test]
    fn new_history_has_the_images_time_and_lost_layers_are_marked() {
        let base = vec![entry("base", false), entry("env", true)];
        let mut history = base.clone();
        history.extend([entry("workdir", false), entry("run", false)]);
        assert_eq!(settle_history(&mut history, &base, &[false, true, false], Some("then")), 2);
        assert_eq!(history[..2], base[..]);
        assert!(history[2].empty_layer && !history[3].empty_layer);
        assert!(history[2..].iter().all(|entry| entry.created.as_deref() == Some("then")));
    }

    #[test]
    fn triggers_of_a_base_that_take_from_other_images_are_refused() {
        let with = |triggers: &[&str]| {
            let mut config = ImageConfig::default();
            config.config.on_build = Some(triggers.iter().map(|t| (*t).to_owned()).collect());
            refused_trigger(&config, "base:1").map(|error| error.message)
        };
        assert_eq!(with(&["COPY . /app", "RUN make"]), None);
        assert_eq!(
            with(&["RUN make", "COPY --from=tool:1 / /"]).as_deref(),
            Some(
                "`base:1` has the ONBUILD trigger `COPY --from=tool:1 / /`, which takes from `tool:1` unpinned"
            )
        );
    }

    #[test]
    fn the_time_that_is_asked_for_is_put_on_what_a_build_made_and_on_nothing_else() {
        let config = ImageConfig {
            created: Some("base".into()),
            history: vec![entry("base", false), entry("run", false)],
            ..ImageConfig::default()
        };
        let built = ImageRecord { inherited: Some(1), ..documents(&config, Vec::new()) };
        let made = |created| {
            let image = finished(&built, &ConfigSpec::default(), created).unwrap();
            (image.manifest.digest, config_of(&image).unwrap())
        };
        assert_eq!(made(None), (built.manifest.digest, config));
        let (digest, config) = made(Some("asked"));
        assert_ne!(digest, built.manifest.digest);
        assert_eq!(config.created.as_deref(), Some("asked"));
        let times: Vec<_> = config.history.iter().map(|entry| entry.created.as_deref().unwrap()).collect();
        assert_eq!(times, ["now", "asked"]);
    }

    #[test]
    fn images_are_named_as_they_are_written() {
        let written = [("railyard.invalid/r:1".to_owned(), "debian:12".to_owned())];
        assert_eq!(as_written("FROM railyard.invalid/r:1@x", &written), "FROM debian:12@x");
    }
}
