//! Where a random matrix is built: its manifest, its base images in the registry, its files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::model::{BaseImage, Model};
use super::wire::{Files, Wire};
use crate::project::{Ended, NO_ENGINE, Project, Report};
use crate::support::fixture::{Entry, dir, file, gzip, shell, tar_of};
use crate::support::registry::{LayerBlob, Registry, sha256};

/// A matrix and all around it.
pub struct World {
    project: Project,
    registry: Registry,
    wire: Wire,
    files: Files,
    path: String,
    engine: Option<crate::support::engine::Engine>,
    pub manifests: Vec<String>,
}

/// What `plan` says of a cell.
#[derive(Debug, Clone)]
pub struct Said {
    pub status: String,
    pub reasons: Vec<Reason>,
    /// Repository and tag, without the registry.
    pub tags: Vec<(String, String)>,
}

#[derive(Debug, Clone)]
pub struct Reason {
    pub code: String,
    pub subject: String,
    /// Subject, old and new.
    pub text: String,
}

/// What `plan --format json` says.
#[derive(Debug, Clone)]
pub struct Plan {
    pub cells: BTreeMap<String, Said>,
    pub document: Value,
}

/// Cell -> digests of its tags.
pub type Digests = BTreeMap<String, Vec<Option<String>>>;

impl World {
    /// With a registry path, a store and a lock of its own; with an engine where commands run.
    pub fn new(runs: bool) -> Self {
        let registry = Registry::connect();
        let wire = Wire::to(&registry.host);
        let (files, address) = Files::serve();
        let mut project = Project::new("");
        let path = format!("exact/{}", project.unique());
        project.name("REPO", &format!("{}/{path}", wire.host));
        project.name("FILES", &address);
        let engine = runs.then(|| crate::support::engine::engines().remove(0));
        project.engine = engine.as_ref().map_or(NO_ENGINE.to_owned(), |engine| engine.host.clone());
        Self { project, registry, wire, files, path, engine, manifests: Vec::new() }
    }

    /// Makes what the matrix takes from outside as it says, and writes its manifest.
    pub fn set(&mut self, model: &Model) {
        for (position, base) in model.bases.iter().enumerate() {
            let mut layers: Vec<LayerBlob> = base.layers().iter().map(|layer| blob(layer)).collect();
            if base.shell {
                let (diff_id, bytes) = shell_layer();
                layers.insert(0, LayerBlob { diff_id: diff_id.clone(), bytes: bytes.clone() });
            }
            self.registry.push(&format!("{}/base{position}", self.path), "1", &layers, &config(base));
        }
        for (name, content) in &model.served {
            self.files.put(name, content);
        }
        let rendered = model.render();
        let head = "schema = 1\n[project]\nname = \"exact\"\nrepository = \"$REPO\"\n";
        self.project.write("builds.toml", &format!("{head}{rendered}"));
        self.manifests.push(self.project.read("builds.toml"));
    }

    /// Replaces `$REPO` and `$FILES`.
    pub fn fill(&self, text: &str) -> String {
        self.project.fill(text)
    }

    pub fn railyard(&self, arguments: &[&str]) -> Ended {
        self.project.run(arguments).code(0)
    }

    /// `build --push`.
    pub fn build(&self) -> Report {
        self.project.push(&[])
    }

    /// `build --push --locked --no-cache` of some cells with an empty store.
    pub fn build_from_nothing(&mut self, only: &str) -> Report {
        let own = std::mem::replace(&mut self.project.store, "empty".to_owned());
        let report = self.project.push(&["--locked", "--no-cache", "--only", only]);
        self.project.store = own;
        report
    }

    /// `build --push`, and how many requests that write it made.
    pub fn build_counted(&self) -> (Report, usize) {
        let before = self.wire.writes();
        let report = self.build();
        (report, self.wire.writes() - before)
    }

    pub fn plan(&self, arguments: &[&str]) -> Plan {
        let ended = self.railyard(&[&["plan", "--format", "json"], arguments].concat());
        let document: Value = serde_json::from_str(&ended.out).unwrap();
        let cells = document["cells"].as_array().unwrap().iter();
        let cells = cells.map(|cell| (string(&cell["name"]), self.said(cell))).collect();
        Plan { cells, document }
    }

    /// What another machine says, which has the manifest, the lock and the registry.
    pub fn plan_elsewhere(&mut self) -> Plan {
        let own = std::mem::replace(&mut self.project.store, "another".to_owned());
        let plan = self.plan(&[]);
        self.project.store = own;
        plan
    }

    fn said(&self, cell: &Value) -> Said {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let reasons = list(&cell["reasons"]);
        let reasons = reasons.iter().map(|reason| {
            let texts = ["subject", "old", "new"].map(|field| string(&reason[field]));
            Reason { code: string(&reason["code"]), subject: texts[0].clone(), text: texts.join(" ") }
        });
        let tags = list(&cell["tags"]);
        let tags = tags.iter().map(|tag| {
            let reference = string(&tag["reference"]);
            let rest = reference.strip_prefix(&format!("{}/", self.wire.host)).expect("of this registry");
            let (repository, tag) = rest.rsplit_once(':').expect("it has a tag");
            (repository.to_owned(), tag.to_owned())
        });
        Said { status: string(&cell["status"]), reasons: reasons.collect(), tags: tags.collect() }
    }

    /// What the tags of a plan's cells have, as the registry says itself.
    pub fn digests(&self, plan: &Plan) -> Digests {
        let of = |said: &Said| said.tags.iter().map(|(r, t)| self.registry.digest(r, t)).collect();
        plan.cells.iter().map(|(name, said)| (name.clone(), of(said))).collect()
    }

    /// Deletes what a tag has; gives the tags that are gone with it.
    pub fn delete(&self, plan: &Plan, (repository, tag): &(String, String)) -> BTreeSet<String> {
        let digest = self.registry.digest(repository, tag).expect("it was built");
        let tags = plan.cells.values().flat_map(|said| &said.tags);
        let gone =
            tags.filter(|(r, t)| r == repository && self.registry.digest(r, t) == Some(digest.clone()));
        let gone = gone.map(|(repository, tag)| format!("{repository}:{tag}")).collect();
        self.registry.delete(repository, &digest);
        gone
    }

    /// Has a tag mean what another tag of the repository means.
    pub fn retag(&self, (repository, tag): &(String, String), other: &str) {
        let digest = self.registry.digest(repository, other).expect("it was built");
        self.registry.tag(repository, &digest, tag);
    }

    /// Puts an image under a tag that railyard did not make.
    pub fn usurp(&self, (repository, tag): &(String, String)) {
        let layer = blob(&[dir("foreign"), file("foreign/file", "foreign")]);
        self.registry.push(repository, tag, &[layer], &json!({}));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(engine) = &self.engine {
            engine.forget(&self.project.fill("$REPO/*"));
        }
    }
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn config(base: &BaseImage) -> Value {
    json!({ "Env": ["PATH=/bin", format!("OF_BASE={}", base.variable)], "Cmd": ["/bin/sh"] })
}

fn blob(entries: &[Entry]) -> LayerBlob {
    let tar = tar_of(entries);
    LayerBlob { diff_id: sha256(&tar), bytes: gzip(&tar) }
}

/// A layer in which commands run, made once.
fn shell_layer() -> &'static (String, Vec<u8>) {
    static LAYER: OnceLock<(String, Vec<u8>)> = OnceLock::new();
    LAYER.get_or_init(|| {
        let LayerBlob { diff_id, bytes } = blob(&shell());
        (diff_id, bytes)
    })
}
