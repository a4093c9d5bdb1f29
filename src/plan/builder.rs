//! Matrix + lock -> plan.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use petgraph::graph::DiGraph;

use super::key::{self, Identity, Key};
use super::step::*;
use crate::lock::Lock;
use crate::matrix::{
    Cell, CellId, ConcreteContent, ConcreteCopy, ConcretePart, ConcreteRun, DockerfileId, LayerId, Matrix,
    Source,
};
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

    fn identity(&mut self, source: &Source) -> Identity {
        match source {
            Source::Scratch => Identity { text: "scratch".into(), provisional: false },
            Source::Reference(reference) => {
                let pinned =
                    reference.digest.or_else(|| self.inputs.lock.images.get(reference).map(|i| i.digest));
                match self.inputs.lock.images.get(reference).map(|i| i.digest).or(pinned) {
                    Some(digest) => Identity { text: digest.to_string(), provisional: false },
                    None => Identity { text: format!("unlocked:{reference}"), provisional: true },
                }
            }
            Source::Layout(directory) => match self.inputs.layouts.get(directory) {
                Some(digest) => Identity { text: digest.to_string(), provisional: false },
                None => Identity { text: format!("unlocked:oci:{directory}"), provisional: true },
            },
            Source::Cell(cell) => {
                let steps = self.cell(*cell, false);
                let provisional = self.provisional(steps.assemble);
                Identity { text: format!("cell:{}", steps.build_id), provisional }
            }
            Source::Dockerfile(id) => {
                let step = self.dockerfile(*id);
                let node = &self.graph[petgraph::graph::NodeIndex::from(step)];
                Identity { text: format!("dockerfile:{}", node.key), provisional: node.provisional }
            }
        }
    }

    fn provisional(&self, id: StepId) -> bool {
        self.graph[petgraph::graph::NodeIndex::from(id)].provisional
    }

    fn resolve(&mut self, source: &UsedSource, identity: &Identity) -> StepId {
        let mut key = self.key("resolve");
        key.text(&identity.text);
        let label = || source.to_string();
        self.step(
            key.finish(),
            StepKind::Resolve(source.clone()),
            Class::Transfer,
            identity.provisional,
            &[],
            label,
        )
    }

    fn index(&mut self, source: &UsedSource, identity: &Identity) -> StepId {
        let resolve = self.resolve(source, identity);
        let mut key = self.key("index");
        key.text(&identity.text);
        let label = || source.to_string();
        let kind = StepKind::Index(source.clone());
        self.step(key.finish(), kind, Class::Cpu, identity.provisional, &[resolve], label)
    }

    /// The step after which a source's files are listed.
    fn listed(&mut self, source: &Source, identity: &Identity) -> Option<StepId> {
        match source {
            Source::Scratch => None,
            Source::Reference(reference) => {
                Some(self.index(&UsedSource::Reference(reference.clone()), identity))
            }
            Source::Layout(directory) => Some(self.index(&UsedSource::Layout(directory.clone()), identity)),
            Source::Cell(cell) => Some(self.cell(*cell, false).assemble),
            Source::Dockerfile(id) => Some(self.dockerfile(*id)),
        }
    }

    /// The step after which a source can be named to the engine.
    fn known(&mut self, source: &Source, identity: &Identity) -> Option<StepId> {
        match source {
            Source::Scratch => None,
            Source::Reference(reference) => {
                Some(self.resolve(&UsedSource::Reference(reference.clone()), identity))
            }
            Source::Layout(directory) => Some(self.resolve(&UsedSource::Layout(directory.clone()), identity)),
            Source::Cell(cell) => Some(self.cell(*cell, false).assemble),
            Source::Dockerfile(id) => Some(self.dockerfile(*id)),
        }
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
        let assemble = self.assemble(id, cell, &beneath, &setup, &places);
        let build_id = self.graph[petgraph::graph::NodeIndex::from(assemble)].key;
        let mut steps = CellSteps {
            cell: id,
            chosen,
            build_id,
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
            let identity = self.identity(source);
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

    fn artifact(&mut self, id: LayerId) -> StepId {
        if let Some(step) = self.artifacts[id.0] {
            self.ask_again(step);
            return step;
        }
        let matrix = self.matrix;
        let layer = &matrix.layers[id.0];
        let mut key = self.key("artifact");
        let mut needs = Vec::new();
        let mut provisional = false;
        let (class, label) = match &layer.content {
            ConcreteContent::Run(run) => {
                let builder = self.builder_identity(run, &mut needs);
                provisional = builder.provisional;
                key::run(&mut key, run, &builder);
                (Class::Container, format!("{}: {}", layer.name, last_line(&run.command.script)))
            }
            ConcreteContent::Parts(parts) => {
                let mut class = Class::Transfer;
                for part in parts {
                    let identity = self.part_identity(part, &mut needs);
                    provisional |= identity.provisional;
                    key::part(&mut key, part, &identity);
                    if matches!(part, ConcretePart::Copy(_)) {
                        class = Class::Cpu;
                    }
                }
                (class, format!("{}: {}", layer.name, parts_label(parts)))
            }
        };
        let step = self.step(key.finish(), StepKind::Artifact(id), class, provisional, &needs, || label);
        self.artifacts[id.0] = Some(step);
        step
    }

    fn part_identity(&mut self, part: &ConcretePart, needs: &mut Vec<StepId>) -> Identity {
        match part {
            ConcretePart::Copy(copy) => {
                let identity = self.identity(&copy.from);
                needs.extend(self.listed(&copy.from, &identity));
                match (&copy.from, copied_text(self.inputs.lock, copy)) {
                    (_, Some(text)) => Identity { text, provisional: false },
                    (Source::Cell(cell), None) => {
                        let steps = self.cell(*cell, false);
                        Identity { text: files_text(&self.graph, &steps), ..identity }
                    }
                    (_, None) => identity,
                }
            }
            ConcretePart::Download(download) => {
                let locked = || self.inputs.lock.downloads.get(&download.urls[0]).map(|d| d.sha256);
                match download.sha256.or_else(locked) {
                    Some(sha256) => Identity { text: sha256.to_string(), provisional: false },
                    None => Identity { text: format!("unlocked:{}", download.urls[0]), provisional: true },
                }
            }
            ConcretePart::Local { source, .. } => match self.inputs.layouts.get(&local_name(source)) {
                Some(digest) => Identity { text: digest.to_string(), provisional: false },
                None => Identity { text: format!("unread:{source}"), provisional: true },
            },
            ConcretePart::File { .. } | ConcretePart::Dir { .. } => {
                Identity { text: String::new(), provisional: false }
            }
        }
    }

    /// The builder's digest, or with `reads` the digests of what is read of it, where the lock has them.
    fn builder_identity(&mut self, run: &ConcreteRun, needs: &mut Vec<StepId>) -> Identity {
        let identity = self.identity(&run.image);
        needs.extend(self.known(&run.image, &identity));
        match read_text(self.inputs.lock, run) {
            Some(text) => Identity { text, provisional: false },
            None => identity,
        }
    }

    fn assemble(
        &mut self,
        id: CellId,
        cell: &Cell,
        beneath: &Beneath,
        setup: &[StepId],
        places: &[StepId],
    ) -> StepId {
        let mut key = self.key("image");
        key.digest(&beneath.key).optional(self.inputs.created);
        key::config(&mut key, &cell.config);
        let identity = self.identity(&cell.base);
        let mut needs: Vec<StepId> = setup.iter().chain(places).copied().collect();
        needs.extend(self.known(&cell.base, &identity));
        let label = || cell.name.clone();
        self.step(key.finish(), StepKind::Assemble(id), Class::Cpu, beneath.provisional, &needs, label)
    }

    /// The gate, push or load, checks, tags: returns the last steps.
    fn deliver(&mut self, id: CellId, steps: &CellSteps) -> Vec<StepId> {
        let matrix = self.matrix;
        let cell = &matrix.cells[id.0];
        let delivery = self.inputs.delivery;
        let tagged = !(cell.references.is_empty() && cell.stamped.is_empty());
        let push = delivery.push && cell.push && tagged;
        let checks = delivery.checks && cell.checks.iter().any(|check| check.command.is_some());
        let provisional = self.provisional(steps.assemble);
        let mut finished = vec![steps.assemble];
        let mut last = vec![steps.assemble];
        if delivery.checks && cell.abi {
            let abi = self.abi(id, cell, steps);
            finished.push(abi);
            last.push(abi);
        }
        // What is judged by the files alone is judged before anything is delivered.
        for (position, check) in cell.checks.iter().enumerate().filter(|_| delivery.checks) {
            if check.command.is_none() {
                let step = self.check(id, steps, position, Class::Cpu, &[steps.assemble]);
                finished.push(step);
                last.push(step);
            }
        }
        let mut ready = steps.assemble;
        if push {
            ready = self.per_cell(id, "push", Class::Transfer, provisional, &finished);
            last[0] = ready;
        }
        let mut before_tags = vec![ready];
        let mut loaded = None;
        if delivery.load || (checks && !push) {
            let load = self.per_cell(id, "load", Class::Transfer, provisional, &finished);
            last.push(load);
            loaded = Some(load);
        }
        if checks {
            let needs: Vec<StepId> = [Some(ready), loaded].into_iter().flatten().collect();
            let run = cell.checks.iter().enumerate().filter(|(_, check)| check.command.is_some());
            for (position, _) in run {
                let step = self.check(id, steps, position, Class::Container, &needs);
                before_tags.push(step);
                last.push(step);
            }
        }
        if push {
            last.push(self.per_cell(id, "tag", Class::Transfer, provisional, &before_tags));
        }
        last
    }

    fn check(
        &mut self,
        id: CellId,
        steps: &CellSteps,
        position: usize,
        class: Class,
        needs: &[StepId],
    ) -> StepId {
        let matrix = self.matrix;
        let cell = &matrix.cells[id.0];
        let check = &cell.checks[position];
        let mut key = self.key("check");
        key.digest(&steps.build_id);
        key::check(&mut key, check);
        let kind = StepKind::Check { cell: id, position };
        let provisional = self.provisional(steps.assemble);
        let label = || format!("{} {}", check.name, cell.name);
        self.step(key.finish(), kind, class, provisional, needs, label)
    }

    /// The built-in check, which needs the finished image and nothing but its files.
    fn abi(&mut self, id: CellId, cell: &Cell, steps: &CellSteps) -> StepId {
        let mut key = self.key("abi");
        key.digest(&steps.build_id).number(u64::from(key::ABI_VERSION));
        let provisional = self.provisional(steps.assemble);
        let label = || cell.name.clone();
        self.step(key.finish(), StepKind::Abi(id), Class::Cpu, provisional, &[steps.assemble], label)
    }

    fn per_cell(
        &mut self,
        id: CellId,
        kind: &'static str,
        class: Class,
        provisional: bool,
        needs: &[StepId],
    ) -> StepId {
        let matrix = self.matrix;
        let mut key = self.key(kind);
        key.number(id.0 as u64);
        let kind = match kind {
            "push" => StepKind::Push(id),
            "load" => StepKind::Load(id),
            _ => StepKind::Tag(id),
        };
        self.step(key.finish(), kind, class, provisional, needs, || matrix.cells[id.0].name.clone())
    }
}

/// What is copied out of an image, where the lock has the digests of all of it.
pub(super) fn copied_text(lock: &Lock, copy: &ConcreteCopy) -> Option<String> {
    let Source::Reference(reference) = &copy.from else { return None };
    let image = lock.images.get(reference)?;
    let mut text = String::from("copies");
    for path in &copy.paths {
        let _ = write!(text, ";{path}={}", image.copies.get(path)?);
    }
    Some(text)
}

/// The files of a cell's image, whatever its configuration: what lies on top decides all beneath.
pub(super) fn files_text(graph: &DiGraph<Step, ()>, steps: &CellSteps) -> String {
    let top = steps.places.last().or(steps.setup.last());
    let key = top.map_or(steps.build_id, |step| graph[petgraph::graph::NodeIndex::from(*step)].key);
    format!("files:{key}")
}

/// What a run reads of its builder, where it says so and the lock has the digests of all of it.
pub(super) fn read_text(lock: &Lock, run: &ConcreteRun) -> Option<String> {
    let Source::Reference(reference) = &run.image else { return None };
    let image = lock.images.get(reference).filter(|_| !run.reads.is_empty())?;
    let mut text = format!("reads:{}", image.environment?);
    for path in &run.reads {
        let _ = write!(text, ";{path}={}", image.trees.get(path)?);
    }
    Some(text)
}

/// The last line of a script that says something.
pub(super) fn last_line(script: &str) -> &str {
    let mut lines = script.lines().map(str::trim);
    lines.rfind(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or("")
}

fn parts_label(parts: &[ConcretePart]) -> String {
    let labels: Vec<String> = parts
        .iter()
        .map(|part| match part {
            ConcretePart::Copy(copy) => {
                let from = match &copy.from {
                    Source::Reference(reference) => {
                        let repository = &reference.name.repository;
                        repository.rsplit('/').next().unwrap_or(repository).to_owned()
                    }
                    Source::Layout(directory) => directory.clone(),
                    Source::Cell(_) | Source::Dockerfile(_) => "the matrix".into(),
                    Source::Scratch => "scratch".into(),
                };
                format!("copy {} from {from}", copy.paths.join(" "))
            }
            ConcretePart::Download(download) => format!("download {}", download.name),
            ConcretePart::File { path, .. } | ConcretePart::Local { path, .. } => format!("file {path}"),
            ConcretePart::Dir { path, .. } => format!("dir {path}"),
        })
        .collect();
    labels.join(", ")
}
