//! Matrix + lock -> plan.

mod artifact;
mod deliver;
mod source;

use std::collections::{BTreeMap, HashMap};

use petgraph::graph::DiGraph;

pub(super) use self::source::cell_text;
use super::key::{self, Key};
use super::step::*;
use crate::lock::Lock;
use crate::matrix::{Cell, CellId, DockerfileId, Matrix, Source};
use crate::oci::Digest;

/// What the keys are made of beside the matrix.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// Pinned external inputs.
    pub lock: &'a Lock,
    /// Digests of the images in OCI layouts by directory, and of files of this machine by
    /// [`local_name`].
    pub layouts: &'a BTreeMap<String, Digest>,
    /// Time of creation for every image (`SOURCE_DATE_EPOCH`, RFC 3339); the base's otherwise.
    pub created: Option<&'a str>,
    /// Where finished images go.
    pub delivery: Delivery,
}

/// What a file of this machine is called among the inputs of a plan.
pub fn local_name(path: &str) -> String {
    format!("file:{path}")
}

/// Plans the cells that were chosen, and the upstream cells that they need.
///
/// `chosen` has one entry a cell of the matrix.
pub fn plan(matrix: &Matrix, chosen: &[bool], inputs: Inputs<'_>) -> Plan {
    let mut builder = Builder {
        matrix,
        inputs,
        graph: DiGraph::new(),
        by_key: HashMap::new(),
        cells: vec![None; matrix.cells.len()],
        artifacts: vec![None; matrix.layers.len()],
        dockerfiles: vec![None; matrix.dockerfiles.len()],
    };
    for (position, chosen) in chosen.iter().enumerate() {
        if *chosen {
            builder.cell(CellId(position), true);
        }
    }
    Plan { graph: builder.graph, cells: builder.cells }
}

/// What lies beneath the next layer.
#[derive(Clone)]
struct Beneath {
    key: Digest,
    provisional: bool,
    /// The step whose result it is; none for scratch.
    step: Option<StepId>,
    /// Steps that list the files of the base; needed by every layer above.
    base: Option<StepId>,
}

struct Builder<'a> {
    matrix: &'a Matrix,
    inputs: Inputs<'a>,
    graph: DiGraph<Step, ()>,
    by_key: HashMap<(&'static str, Digest), StepId>,
    cells: Vec<Option<CellSteps>>,
    artifacts: Vec<Option<StepId>>,
    dockerfiles: Vec<Option<StepId>>,
}

impl<'a> Builder<'a> {
    /// The step with this key, made on first demand; counts the demand.
    fn step(
        &mut self,
        key: Digest,
        kind: StepKind,
        class: Class,
        provisional: bool,
        needs: &[StepId],
        label: impl FnOnce() -> String,
    ) -> StepId {
        if let Some(id) = self.by_key.get(&(kind.name(), key)) {
            self.graph[petgraph::graph::NodeIndex::from(*id)].asked += 1;
            return *id;
        }
        let name = kind.name();
        let step = Step { kind, label: label(), key, provisional, class, asked: 1 };
        let node = self.graph.add_node(step);
        for need in needs {
            self.graph.update_edge((*need).into(), node, ());
        }
        self.by_key.insert((name, key), node.into());
        node.into()
    }

    fn ask_again(&mut self, id: StepId) {
        self.graph[petgraph::graph::NodeIndex::from(id)].asked += 1;
    }

    fn key(&self, kind: &str) -> Key {
        Key::new(kind, &self.matrix.platform)
    }

    fn provisional(&self, id: StepId) -> bool {
        self.graph[petgraph::graph::NodeIndex::from(id)].provisional
    }

    fn cell(&mut self, id: CellId, chosen: bool) -> CellSteps {
        if let Some(steps) = &mut self.cells[id.0] {
            if !chosen || steps.chosen {
                return steps.clone();
            }
            // Planned before as an upstream; now it is delivered too.
            let mut steps = steps.clone();
            steps.chosen = true;
            steps.last = self.deliver(id, &steps);
            self.cells[id.0] = Some(steps.clone());
            return steps;
        }
        let matrix = self.matrix;
        let cell = &matrix.cells[id.0];
        if let Source::Dockerfile(made) = &cell.base
            && let Some(step) = self.dockerfiles[made.0]
        {
            self.ask_again(step);
        }
        let mut beneath = self.base(&cell.base);
        let mut setup = Vec::new();
        for position in 0..cell.setup.len() {
            beneath = self.setup(id, cell, position, &beneath);
            setup.extend(beneath.step);
        }
        let mut places = Vec::new();
        let mut artifacts = Vec::new();
        for (position, layer) in cell.layers.iter().enumerate() {
            let artifact = self.artifact(*layer);
            artifacts.push(artifact);
            beneath = self.place(id, position, artifact, &beneath);
            places.extend(beneath.step);
        }
        let (assemble, identity) = self.assemble(id, cell, &beneath, &setup, &places);
        let build_id = self.graph[petgraph::graph::NodeIndex::from(assemble)].key;
        let mut steps = CellSteps {
            cell: id,
            chosen,
            build_id,
            identity,
            dockerfile: match &cell.base {
                Source::Dockerfile(made) => self.dockerfiles[made.0],
                _ => None,
            },
            setup,
            places,
            artifacts,
            assemble,
            last: vec![assemble],
        };
        if chosen {
            steps.last = self.deliver(id, &steps);
        }
        self.cells[id.0] = Some(steps.clone());
        steps
    }

    /// The build of a Dockerfile: needs all that it takes from.
    fn dockerfile(&mut self, id: DockerfileId) -> StepId {
        if let Some(step) = self.dockerfiles[id.0] {
            return step;
        }
        let matrix = self.matrix;
        let (made, recipe) = (&matrix.dockerfiles[id.0], matrix.recipe(id));
        let mut key = self.key("dockerfile");
        key::dockerfile(&mut key, &made.spec, recipe);
        let mut needs = Vec::new();
        let mut provisional = false;
        for source in &recipe.sources {
            let mut identity = self.identity(source);
            if let Source::Cell(cell) = source {
                // Its history is in what is built on it.
                identity.text = format!("cell:{}", self.cell(*cell, false).build_id);
            }
            key.text(&identity.text);
            provisional |= identity.provisional;
            needs.extend(self.known(source, &identity));
        }
        let label = || made.spec.label();
        let step =
            self.step(key.finish(), StepKind::Dockerfile(id), Class::Container, provisional, &needs, label);
        self.dockerfiles[id.0] = Some(step);
        step
    }

    fn base(&mut self, source: &Source) -> Beneath {
        let identity = self.identity(source);
        let step = self.listed(source, &identity);
        let mut key = self.key("base");
        key.text(&identity.text);
        Beneath { key: key.finish(), provisional: identity.provisional, step, base: step }
    }

    fn setup(&mut self, id: CellId, cell: &Cell, position: usize, beneath: &Beneath) -> Beneath {
        let command = &cell.setup[position];
        let mut key = self.key("setup");
        key.digest(&beneath.key);
        key::command(&mut key, command);
        let key = key.finish();
        let needs: Vec<StepId> = beneath.step.iter().chain(&beneath.base).copied().collect();
        let kind = StepKind::Setup { cell: id, position };
        let label = || format!("{} setup: {}", cell.name, last_line(&command.script));
        let step = self.step(key, kind, Class::Container, beneath.provisional, &needs, label);
        Beneath { key, provisional: beneath.provisional, step: Some(step), base: beneath.base }
    }

    fn place(&mut self, id: CellId, position: usize, artifact: StepId, beneath: &Beneath) -> Beneath {
        let node = &self.graph[petgraph::graph::NodeIndex::from(artifact)];
        let provisional = beneath.provisional || node.provisional;
        let mut key = self.key("place");
        key.digest(&beneath.key).digest(&node.key);
        let key = key.finish();
        let mut needs: Vec<StepId> = vec![artifact];
        needs.extend(beneath.step.iter().chain(&beneath.base));
        let kind = StepKind::Place { cell: id, position };
        let matrix = self.matrix;
        let cell = &matrix.cells[id.0];
        let label = || format!("{} on {}", matrix.layers[cell.layers[position].0].name, cell.name);
        let step = self.step(key, kind, Class::Cpu, provisional, &needs, label);
        Beneath { key, provisional, step: Some(step), base: beneath.base }
    }

    /// The step, and the identity of what it makes.
    fn assemble(
        &mut self,
        id: CellId,
        cell: &Cell,
        beneath: &Beneath,
        setup: &[StepId],
        places: &[StepId],
    ) -> (StepId, Digest) {
        let image = |created: Option<&str>| {
            let mut key = self.key("image");
            key.digest(&beneath.key).optional(created);
            key::config(&mut key, &cell.config);
            key
        };
        let mut key = image(self.inputs.created);
        let identity_key = match self.inputs.created {
            Some(_) => image(None).finish(),
            None => key.clone().finish(),
        };
        let matrix = self.matrix;
        let names: Vec<&str> = cell.layers.iter().map(|l| matrix.layers[l.0].name.as_str()).collect();
        if !names.is_empty() {
            key.text("history").list(names.into_iter());
        }
        if let Source::Cell(base) = &cell.base {
            key.text("base").digest(&self.cell(*base, false).build_id);
        }
        let identity = self.identity(&cell.base);
        let mut needs: Vec<StepId> = setup.iter().chain(places).copied().collect();
        needs.extend(self.known(&cell.base, &identity));
        let label = || cell.name.clone();
        let kind = StepKind::Assemble(id);
        let step = self.step(key.finish(), kind, Class::Cpu, beneath.provisional, &needs, label);
        (step, identity_key)
    }
}

/// The last line of a script that says something.
pub(super) fn last_line(script: &str) -> &str {
    let mut lines = script.lines().map(str::trim);
    lines.rfind(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or("")
}
