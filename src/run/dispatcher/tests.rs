//! A run with an engine and a registry that do as they are told.

use super::*;
use crate::engine::{FakeEngine, FakeRun};
use crate::lock::Lock;
use crate::oci::ImageConfig;
use crate::plan::{Delivery, Inputs, Known, plan};
use crate::registry::FakeRegistry;
use crate::run::{Blobs, Downloads, Images, Provenances, Services, Settings};
use crate::store::Store;

const MANIFEST: &str = r#"
schema = 1
[project]
name = "p"
repository = "r.example/p"
[layers.made]
run = { image = "r.example/b:1", script = "make it", keep = ["/x"] }
[images.app]
base = "scratch"
layers = ["made"]
tags = ["1"]
"#;

#[tokio::test]
async fn nothing_is_tried_again_after_an_interrupt() {
    let mut sources = crate::manifest::Sources::default();
    sources.add("builds.toml", MANIFEST);
    let manifest = crate::manifest::parse(sources).unwrap_or_else(|(_, found)| panic!("{found:?}"));
    let matrix = Arc::new(crate::matrix::expand(&manifest, &Default::default()).unwrap());
    let (lock, layouts) = (Arc::new(Lock::default()), Default::default());
    let inputs = Inputs { lock: &lock, layouts: &layouts, created: None, delivery: Delivery::default() };
    let plan = Arc::new(plan(&matrix, &[true], inputs));
    let actions = Actions::decide(&plan, &Known::default());
    let durations = Durations::new(&matrix, &plan, &actions, &Default::default());

    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(folder.path()).unwrap());
    let registry = Arc::new(FakeRegistry::new());
    let config = ImageConfig { os: "linux".into(), architecture: "amd64".into(), ..Default::default() };
    registry.insert_image(&"r.example/b:1".parse().unwrap(), config, &[]);
    let engine = Arc::new(FakeEngine::new().with(FakeRun::containing("make it").fails(9)));
    let blobs = Arc::new(Blobs::new(store.clone(), registry.clone()));
    let platform = matrix.platform.clone();
    let services = Services {
        store: store.clone(),
        registry: registry.clone(),
        engine: engine.clone(),
        images: Arc::new(Images::new(store.clone(), registry.clone(), blobs.clone(), platform)),
        blobs: blobs.clone(),
        downloads: Arc::new(Downloads::new(store.clone(), Arc::default())),
        cache: None,
        provenances: Arc::new(Provenances::new(registry, store, blobs)),
    };
    let settings = Settings {
        run_id: "r".into(),
        labels: BTreeMap::new(),
        logs: folder.path().join("logs"),
        timestamp: String::new(),
        created: None,
        locked: false,
        secrets: HashMap::new(),
        credentials: Arc::new(|_| Box::pin(async { Ok(None) })),
        level: 1,
        no_reuse: false,
        layouts: BTreeMap::new(),
        anew: HashMap::new(),
    };
    let (events, mut heard) = mpsc::unbounded_channel();
    let worker =
        Worker::new(matrix.clone(), plan.clone(), lock, services, HashMap::new(), settings, events.clone());
    let (press, presses) = mpsc::unbounded_channel();
    let pressing = tokio::spawn(async move {
        while let Some(event) = heard.recv().await {
            if matches!(event, Event::StepRetried { .. }) {
                press.send(()).unwrap();
            }
        }
    });
    let limits = Limits { containers: 1, transfers: 1, cpu: 1 };
    let behaviour = Behaviour { limits, fail_fast: false, durations };
    let begun = Instant::now();
    let end = dispatch(&matrix, &plan, &actions, Arc::new(worker), behaviour, events, presses).await;
    assert!(end.summary.interrupted && end.environment);
    assert_eq!(engine.requests().len(), 1);
    assert!(begun.elapsed() < super::super::retry::PAUSES[0], "the pause was waited for");
    pressing.await.unwrap();
}
