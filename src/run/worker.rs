//! Carries single steps out and holds their results, each written once.

mod sources;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures_util::future::BoxFuture;
use tokio::sync::{OnceCell, mpsc, watch};

pub(super) use self::sources::used;
use super::blobs::{Blobs, Once, Progress, is_making_again};
use super::cache::Cache;
use super::download::Downloads;
use super::error::StepError;
use super::existing::Found;
use super::images::{ImageFiles, Images};
use super::inspect::Inspector;
use super::log::{Masks, StepLog};
use super::provenance::Provenances;
use super::retry::{PAUSES, retried};
use super::stamp::Stamps;
use crate::engine::{Engine, PullCredentials, SecretValue};
use crate::event::{BlobCounts, Event};
use crate::lock::Lock;
use crate::matrix::{Cell, CellId, Matrix};
use crate::oci::{DiffId, Digest, Reference};
use crate::plan::{Anew, CellSteps, Plan, Reason, StepId, StepKind};
use crate::registry::{Registry, RegistryError};
use crate::store::{ImageRecord, LayerRecord, Outputs, Record, Store};

/// What a step reports when it has succeeded.
#[derive(Debug, Clone, Default)]
pub struct StepReport {
    /// Whether something outside is different now.
    pub changed: bool,
    /// What the cell's first tag pointed at before.
    pub previous: Option<Digest>,
    /// Why the cell's tags move.
    pub reasons: Vec<Reason>,
    /// Things the user should know.
    pub notices: Vec<String>,
    /// The cell's tags, those with a time as they are in this run.
    pub references: Vec<Reference>,
}

/// The result of a step.
#[derive(Debug, Clone)]
pub(super) enum StepValue {
    Layer(Box<LayerRecord>),
    Image(Box<ImageRecord>),
    /// The cell's tags with what they pointed at, and those of them that are to move.
    Pushed {
        tags: Vec<Found>,
        behind: Vec<Found>,
    },
    Engine(String),
}

/// Looks up the credentials with which the engine pulls from a repository; `None` where there are none.
pub type CredentialLookup =
    Arc<dyn Fn(String) -> BoxFuture<'static, Result<Option<PullCredentials>, RegistryError>> + Send + Sync>;

/// Settings of a run.
#[derive(Clone)]
pub struct Settings {
    /// Names the run.
    pub run_id: String,
    /// Labels of its containers: they say whose they are.
    pub labels: BTreeMap<String, String>,
    /// Where logs of steps go.
    pub logs: PathBuf,
    /// The time of the run for tags that have one: `YYYYMMDDHHMMSS` in UTC.
    pub timestamp: String,
    /// RFC 3339 time of creation of every image, from SOURCE_DATE_EPOCH.
    pub created: Option<String>,
    /// Whether the lock must explain everything.
    pub locked: bool,
    /// Values of secrets by name of the environment variable.
    pub secrets: HashMap<String, SecretValue>,
    /// Engine credentials.
    pub credentials: CredentialLookup,
    /// Compression level of gzip.
    pub level: u32,
    /// Whether results of earlier runs do not count.
    pub no_reuse: bool,
    /// Digests of the images in OCI layouts, by directory.
    pub layouts: BTreeMap<String, Digest>,
    /// Keys of steps that run again though their result is known: their outputs in the lock move.
    pub anew: HashMap<Digest, Anew>,
}

/// Everything a step needs.
pub struct Worker {
    pub(super) matrix: Arc<Matrix>,
    pub(super) plan: Arc<Plan>,
    pub(super) lock: Arc<Lock>,
    pub(super) store: Arc<Store>,
    pub(super) registry: Arc<dyn Registry>,
    pub(super) engine: Arc<dyn Engine>,
    pub(super) images: Arc<Images>,
    pub(super) blobs: Arc<Blobs>,
    pub(super) downloads: Arc<Downloads>,
    pub(super) cache: Option<Cache>,
    pub(super) provenances: Arc<Provenances>,
    pub(super) stamps: Stamps,
    pub(super) settings: Settings,
    masks: Masks,
    events: mpsc::UnboundedSender<Event>,
    /// Who hears of steps whose container has ended.
    releases: OnceLock<mpsc::UnboundedSender<StepId>>,
    /// Images that the engine pulls or has pulled, by reference.
    pub(super) pulls: Once<Reference, String>,
    values: Vec<OnceLock<StepValue>>,
    files: Vec<OnceCell<ImageFiles>>,
    logs: Mutex<HashMap<StepId, Arc<StepLog>>>,
    /// Placed layers by the key of their difference.
    pub(super) placements: Once<Digest, LayerRecord>,
    /// Checks that passed in this run, by the key of their result.
    pub(super) checks: Once<Digest, ()>,
    /// Artifacts that this run made and that are not in the cache repository yet.
    pub(super) unshared: Mutex<HashSet<StepId>>,
    /// What files are, by content.
    pub(super) inspector: Inspector,
    /// Notices that were given.
    said: Mutex<HashSet<String>>,
    /// Whether the engine has pulled or loaded an image in this run.
    pub(super) engine_answered: AtomicBool,
    /// Whether nothing more is begun, no further attempt of a step either.
    stop: watch::Sender<bool>,
    /// Diff IDs of the runs that were carried out, by key.
    outputs: Mutex<Vec<(Digest, DiffId)>>,
}

/// The services a worker works with.
pub struct Services {
    /// Local blobs and records.
    pub store: Arc<Store>,
    /// Registries.
    pub registry: Arc<dyn Registry>,
    /// The engine.
    pub engine: Arc<dyn Engine>,
    /// External images.
    pub images: Arc<Images>,
    /// Blobs.
    pub blobs: Arc<Blobs>,
    /// Downloads.
    pub downloads: Arc<Downloads>,
    /// The cache repository.
    pub cache: Option<Cache>,
    /// Statements of what went into images.
    pub provenances: Arc<Provenances>,
}

impl Worker {
    /// For one plan; `records` are the known results.
    pub fn new(
        matrix: Arc<Matrix>,
        plan: Arc<Plan>,
        lock: Arc<Lock>,
        services: Services,
        records: HashMap<StepId, Record>,
        settings: Settings,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        let steps = plan.graph.node_count();
        let inspector = Inspector::new(services.store.clone(), services.blobs.clone());
        let stamps = Stamps::new(services.registry.clone());
        let worker = Self {
            matrix,
            plan,
            lock,
            store: services.store,
            registry: services.registry,
            engine: services.engine,
            images: services.images,
            blobs: services.blobs,
            downloads: services.downloads,
            cache: services.cache,
            provenances: services.provenances,
            stamps,
            masks: Masks::new(settings.secrets.values().map(|secret| secret.0.as_str())),
            settings,
            events,
            releases: OnceLock::new(),
            pulls: Once::default(),
            values: (0..steps).map(|_| OnceLock::new()).collect(),
            files: (0..steps).map(|_| OnceCell::new()).collect(),
            logs: Mutex::default(),
            placements: Once::default(),
            checks: Once::default(),
            unshared: Mutex::default(),
            inspector,
            said: Mutex::default(),
            engine_answered: AtomicBool::new(false),
            stop: watch::Sender::new(false),
            outputs: Mutex::default(),
        };
        for (id, record) in records {
            match record {
                Record::Layer(layer) => worker.set(id, StepValue::Layer(layer)),
                Record::Image(image) => worker.set(id, StepValue::Image(image)),
                Record::Check(_) | Record::Statement(_) | Record::Tag(_) => {}
            }
        }
        worker
    }

    pub(super) fn set(&self, id: StepId, value: StepValue) {
        let is_first = self.values[id.0 as usize].set(value).is_ok();
        // A step ends once. What is made again for its blob stays what it was to the steps above.
        debug_assert!(is_first || is_making_again(), "a step has one result");
    }

    pub(super) fn value(&self, id: StepId) -> Option<&StepValue> {
        self.values[id.0 as usize].get()
    }

    pub(super) fn layer(&self, id: StepId) -> Result<&LayerRecord, StepError> {
        match self.value(id) {
            Some(StepValue::Layer(layer)) => Ok(layer),
            _ => Err(StepError::new(format!("the layer of `{}` is missing", self.plan.step(id).label))),
        }
    }

    pub(super) fn image(&self, cell: CellId) -> Result<&ImageRecord, StepError> {
        match self.value(self.steps(cell).assemble) {
            Some(StepValue::Image(image)) => Ok(image),
            _ => Err(StepError::new(format!("the image of `{}` is missing", self.cell(cell).name))),
        }
    }

    pub(super) fn cell(&self, id: CellId) -> &Cell {
        &self.matrix.cells[id.0]
    }

    pub(super) fn steps(&self, id: CellId) -> &CellSteps {
        self.plan.cells[id.0].as_ref().expect("steps belong to planned cells")
    }

    /// Digest of a cell's manifest, once assembled or known.
    pub fn image_digest(&self, assemble: StepId) -> Option<Digest> {
        match self.value(assemble) {
            Some(StepValue::Image(image)) => Some(image.manifest.digest),
            _ => None,
        }
    }

    /// Digest of the layer's blob or of the image's manifest that a step made.
    pub fn result_digest(&self, id: StepId) -> Option<Digest> {
        match self.value(id)? {
            StepValue::Layer(layer) => layer.blob.as_ref().map(|blob| blob.digest),
            StepValue::Image(image) => Some(image.manifest.digest),
            StepValue::Pushed { .. } | StepValue::Engine(_) => None,
        }
    }

    /// A text without the secrets of this run.
    pub fn mask(&self, text: &str) -> String {
        self.masks.apply(text)
    }

    /// What is to be said of stored blobs that were found damaged since the last call.
    pub fn dropped_blobs(&self) -> Vec<String> {
        self.store.take_dropped()
    }

    /// The images of cells that are assembled or known.
    pub fn finished_image(&self, cell: CellId) -> Option<ImageRecord> {
        let steps = self.plan.cells[cell.0].as_ref()?;
        match self.value(steps.assemble) {
            Some(StepValue::Image(image)) => Some((**image).clone()),
            _ => None,
        }
    }

    /// A finished cell's name, image and references.
    pub fn deliverable(&self, cell: CellId) -> Option<(String, ImageRecord, Vec<crate::oci::Reference>)> {
        let image = self.finished_image(cell)?;
        let cell = self.cell(cell);
        Some((cell.name.clone(), image, cell.references.clone()))
    }

    /// Bytes sent and fetched, and what happened to blobs.
    pub fn traffic(&self) -> (u64, u64, BlobCounts) {
        let traffic = &self.blobs.traffic;
        let get = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
        let blobs = BlobCounts {
            sent: get(&traffic.sent),
            mounted: get(&traffic.mounted),
            existed: get(&traffic.existed),
        };
        (get(&traffic.sent_bytes), get(&traffic.fetched_bytes), blobs)
    }

    /// Outputs by key: first of the commands that were carried out, then of those whose results from
    /// before are in the images.
    pub fn outputs(&self) -> Vec<(Digest, DiffId)> {
        let mut outputs = self.outputs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let chosen = self.plan.cells.iter().flatten().filter(|steps| steps.chosen);
        let images = chosen.filter_map(|steps| self.outputs_of(steps.assemble));
        outputs.extend(images.flat_map(Cow::into_owned).collect::<Outputs>());
        outputs
    }

    /// Whether a step of this key runs again though its result is known.
    pub fn is_anew(&self, key: &Digest) -> bool {
        self.settings.anew.contains_key(key)
    }

    pub(super) fn note_output(&self, key: Digest, diff_id: DiffId) {
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner).push((key, diff_id));
    }

    /// Whether a notice has not been given before in this run.
    pub(super) fn first_said(&self, text: &str) -> bool {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).insert(text.to_owned())
    }

    /// The log of a step that runs a container; made on first use.
    pub(super) fn log(&self, id: StepId) -> Arc<StepLog> {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let step = self.plan.step(id);
        let masks = self.masks.clone();
        logs.entry(id)
            .or_insert_with(|| {
                Arc::new(StepLog::new(&self.settings.logs, id, step.kind.name(), &step.label, masks))
            })
            .clone()
    }

    /// The last lines of a step's log, and where it is.
    pub fn log_of(&self, id: StepId) -> (Vec<String>, Option<PathBuf>) {
        let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.get(&id).map_or((Vec::new(), None), |log| (log.tail(), log.path()))
    }

    /// From now on steps whose container has ended are told to `releases`.
    pub(super) fn release_to(&self, releases: mpsc::UnboundedSender<StepId>) {
        let _ = self.releases.set(releases);
    }

    /// Tells that a step's container has ended, though the step has not: another may start.
    pub(super) fn release(&self, id: StepId) {
        if let Some(releases) = self.releases.get() {
            let _ = releases.send(id);
        }
    }

    /// From now on no step is tried again.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    pub(super) fn emit(&self) -> mpsc::UnboundedSender<Event> {
        self.events.clone()
    }

    /// Reports bytes that a step moves.
    pub(super) fn progress(&self, step: StepId) -> Progress {
        let events = self.events.clone();
        Arc::new(move |direction, bytes| {
            let _ = events.send(Event::StepBytes { step, direction, bytes });
        })
    }

    /// Carries a step out.
    ///
    /// # Errors
    /// Why it failed.
    pub async fn step(self: &Arc<Self>, id: StepId) -> Result<StepReport, StepError> {
        // One that never answered is not there; one that did comes back.
        let passes = |error: &StepError| error.transient && self.engine_answered.load(Ordering::Relaxed);
        let tell = |pause, error: &StepError| {
            let why = self.mask(&error.message);
            let _ = self.events.send(Event::StepRetried { step: id, pause, why });
        };
        retried(&PAUSES, self.stop.subscribe(), passes, tell, || self.attempt(id)).await
    }

    async fn attempt(self: &Arc<Self>, id: StepId) -> Result<StepReport, StepError> {
        match &self.plan.step(id).kind {
            StepKind::Resolve(source) => self.resolved(source).await.map(|_| StepReport::default()),
            StepKind::Index(source) => {
                let image = self.resolved(source).await?;
                self.images.files(&image, &self.progress(id)).await?;
                Ok(StepReport::default())
            }
            StepKind::Dockerfile(made) => self.build_dockerfile(id, *made).await,
            StepKind::Artifact(layer) => self.artifact(id, *layer).await,
            StepKind::Setup { cell, position } => self.setup(id, *cell, *position).await,
            StepKind::Place { cell, position } => self.place(id, *cell, *position).await,
            StepKind::Assemble(cell) => self.assemble(id, *cell).await,
            StepKind::Abi(cell) => self.abi(id, *cell).await,
            StepKind::Push(cell) => self.push(id, *cell).await,
            StepKind::Load(cell) => self.load(id, *cell).await,
            StepKind::Check { cell, position } => self.check(id, *cell, *position).await,
            StepKind::Tag(cell) => self.tag(*cell).await,
        }
    }
}
