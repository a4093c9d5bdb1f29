//! One case: a matrix, a change, and what `plan` said against what came to be.

use std::collections::BTreeSet;

use super::change::{Change, Kind, change};
use super::dice::Dice;
use super::generate::model;
use super::model::{Base, Content, Model};
use super::world::{Digests, Plan, Reason, Said, World};

/// A case before it is judged.
pub struct Case {
    dice: Dice,
    model: Model,
    change: Change,
    world: World,
    plan: Option<Plan>,
    runs: bool,
}

/// What was found.
#[derive(Debug)]
pub struct Judged {
    pub kind: Kind,
    pub cells: usize,
    pub named: usize,
    /// Cells that were named although no byte changed, which cannot be known before building.
    pub spared: usize,
}

const NAMED: [&str; 3] = ["stale", "missing", "foreign"];

impl Plan {
    fn named(&self) -> BTreeSet<String> {
        let named = self.cells.iter().filter(|(_, said)| NAMED.contains(&said.status.as_str()));
        named.map(|(name, _)| name.clone()).collect()
    }
}

/// The image of a cell: `i3` of `i3[a0=v1]`.
fn image_of(cell: &str) -> usize {
    let name = cell.split('[').next().unwrap_or(cell);
    name.strip_prefix('i').and_then(|position| position.parse().ok()).expect("images are i0, i1, …")
}

impl Case {
    /// The case of a seed; its change is of the kind whose turn it is, or of the next possible one.
    pub fn new(seed: u64, turn: usize, kinds: &[Kind], runs: bool) -> Self {
        let mut dice = Dice::new(seed);
        let mut world = World::new(runs);
        let mut model = model(&mut dice, runs);
        world.set(&model);
        let mut possible = (0..).map(|more| kinds[(turn + more) % kinds.len()]);
        let change = possible.find_map(|kind| change(kind, &mut model, &mut dice));
        Self { dice, model, change: change.expect("tags can always be moved"), world, plan: None, runs }
    }

    /// What a failure is understood by.
    pub fn describe(&self) -> String {
        let mut text = format!("change: {}\n", self.change.text);
        for (when, manifest) in ["before", "after"].iter().zip(&self.world.manifests) {
            text += &format!("---- {when}\n{manifest}");
        }
        for (cell, said) in self.plan.iter().flat_map(|plan| &plan.cells) {
            text += &format!("plan: {cell}: {} {:?}\n", said.status, said.reasons);
        }
        text
    }

    /// Builds, changes, plans, builds.
    pub fn judge(&mut self) -> Judged {
        self.world.build().all("built");
        let begun = self.world.plan(&[]);
        assert_eq!(begun.named(), BTreeSet::new(), "everything was just built");
        self.make_change(&begun);
        let supposed = self.suppose_base();
        if self.change.kind.needs_update() {
            self.world.railyard(&["update"]);
        }
        let plan = self.world.plan(&[]);
        self.plan = Some(plan.clone());
        if self.model.cache {
            self.same_elsewhere(&plan);
        }
        let before = self.world.digests(&plan);
        self.world.build();
        let after = self.world.digests(&plan);
        let spared = self.compare(&plan, &before, &after);
        if let Some(supposed) = supposed {
            self.same_cells(&supposed, &plan);
        }
        self.settled();
        if !self.runs {
            self.same_from_nothing();
        }
        Judged { kind: self.change.kind, cells: plan.cells.len(), named: plan.named().len(), spared }
    }

    /// Makes the change in the manifest and around it; where axes or tools are supposed to be other
    /// ones, asks about that in between.
    fn make_change(&mut self, begun: &Plan) {
        match self.change.kind {
            Kind::TagDeleted | Kind::TagMoved | Kind::TagForeign => self.tamper(begun),
            Kind::ValueAdded | Kind::ValueRemoved => {
                let suppose = self.change.suppose.take();
                let supposed = suppose.map(|text| self.world.plan(&["--if", &text]));
                self.world.set(&self.model);
                if let Some(supposed) = supposed {
                    let plan = self.world.plan(&[]);
                    self.same_cells(&supposed, &plan);
                }
            }
            _ => self.world.set(&self.model),
        }
    }

    /// What `plan --if` says of a base or a download that has moved, before the lock knows.
    fn suppose_base(&self) -> Option<Plan> {
        let suppose = self.world.fill(self.change.suppose.as_ref()?);
        Some(self.world.plan(&["--if", &suppose]))
    }

    fn tamper(&mut self, begun: &Plan) {
        let tags: Vec<(String, String)> = begun.cells.values().flat_map(|said| said.tags.clone()).collect();
        let Some(victim) = self.dice.pick(&tags) else { return };
        let digests = self.world.digests(begun);
        let mine: Option<String> =
            begun.cells.iter().find(|(_, said)| said.tags.contains(&victim)).map(|(name, _)| name.clone());
        let mine = &digests[&mine.expect("a tag belongs to a cell")];
        self.change.subjects = vec![format!("{}:{}", victim.0, victim.1)];
        let others = begun.cells.iter().filter(|(name, said)| {
            digests[*name] != *mine && said.tags.iter().any(|(repository, _)| *repository == victim.0)
        });
        let others: Vec<String> = others.map(|(_, said)| said.tags[0].1.clone()).collect();
        match (self.change.kind, self.dice.pick(&others)) {
            (Kind::TagMoved, Some(other)) => self.world.retag(&victim, &other),
            (Kind::TagDeleted, _) => {
                self.change.subjects = self.world.delete(begun, &victim).into_iter().collect();
            }
            _ => {
                self.change.kind = Kind::TagForeign;
                self.world.usurp(&victim);
            }
        }
    }

    /// Compares what was named with what changed; gives how many cells were named for nothing.
    fn compare(&self, plan: &Plan, before: &Digests, after: &Digests) -> usize {
        let changed: BTreeSet<String> =
            before.iter().filter(|(name, had)| after[*name] != **had).map(|(name, _)| name.clone()).collect();
        let named = plan.named();
        let missed: Vec<&String> = changed.difference(&named).collect();
        assert!(missed.is_empty(), "changed and not named: {missed:?}");
        for cell in &named {
            self.reasons(&plan.cells[cell], cell, &named);
        }
        let idle: Vec<&String> = named.difference(&changed).collect();
        for cell in &idle {
            let reasons = &plan.cells[*cell].reasons;
            let excused = reasons.iter().all(|reason| self.excuses(cell, reason, &changed));
            assert!(excused, "named and not changed: {cell}: {reasons:?}");
        }
        for (cell, digests) in after {
            assert!(
                digests.iter().all(|digest| *digest == digests[0] && digest.is_some()),
                "{cell}: {digests:?}"
            );
        }
        idle.len()
    }

    /// Whether a reason may be given although no byte changes: because a command may do anything
    /// with what changed, because files of an image that is yet to be built are copied, or because
    /// something is set again that a base of the matrix sets.
    fn excuses(&self, cell: &str, reason: &Reason, changed: &BTreeSet<String>) -> bool {
        let layers = self.model.all_layers(image_of(cell));
        let runs = layers.iter().any(|at| match &self.model.layers[*at].content {
            Content::Run(run) => !run.reads || self.change.kind == Kind::BaseVariable,
            Content::Parts(_) => false,
        });
        match reason.code.as_str() {
            "layer-changed" => self.change.kind == Kind::Comment,
            "source-moved" => runs,
            "upstream-changed" => {
                let upstream = image_of(&reason.subject);
                let is_base =
                    matches!(self.model.base(image_of(cell)), Base::Image(base) if *base == upstream);
                let is_config = self.change.kind == Kind::Config;
                let sets = || self.model.sets(image_of(cell), &self.change.subjects[0]);
                match is_base {
                    // What the base says is replaced, or the base did not change either.
                    true => is_config && sets() || !changed.contains(&reason.subject),
                    false => !is_config,
                }
            }
            _ => false,
        }
    }

    /// Reasons are of codes that fit the change, and one of them mentions what changed.
    fn reasons(&self, said: &Said, cell: &str, named: &BTreeSet<String>) {
        let codes = self.change.kind.codes();
        let subjects: Vec<String> =
            self.change.subjects.iter().map(|subject| self.world.fill(subject)).collect();
        let hidden = |cell: &str| !self.model.images[image_of(cell)].push;
        let tells = |reason: &Reason| match reason.code.as_str() {
            "upstream-changed" => named.contains(&reason.subject) || hidden(&reason.subject),
            _ => subjects.iter().any(|subject| reason.text.contains(subject.as_str())),
        };
        let fits =
            |reason: &Reason| reason.code == "upstream-changed" || codes.contains(&reason.code.as_str());
        assert!(!said.reasons.is_empty(), "{cell} is {} for no reason", said.status);
        assert!(said.reasons.iter().all(fits), "{cell}: wanted {codes:?}, found {:?}", said.reasons);
        assert!(
            said.reasons.iter().any(tells),
            "{cell}: none mentions any of {subjects:?}: {:?}",
            said.reasons
        );
    }

    /// `plan --if` named the cells that `plan` names once it has happened.
    fn same_cells(&self, supposed: &Plan, plan: &Plan) {
        let what_if = &supposed.document["what_if"];
        let list = |field: &str| -> Vec<String> {
            let cells = what_if[field].as_array().expect("it is a list");
            cells.iter().map(|cell| cell.as_str().expect("cells are named").to_owned()).collect()
        };
        let pushed = |cell: &String| self.model.images[image_of(cell)].push;
        let foreseen: BTreeSet<String> =
            list("changed").into_iter().chain(list("added")).filter(pushed).collect();
        assert_eq!(foreseen, plan.named(), "`plan --if` on the left, `plan` on the right");
        assert_eq!(list("removed").is_empty(), self.change.kind != Kind::ValueRemoved);
    }

    /// Another machine with the same cache repository names the same cells, for reasons that it has
    /// from the registry; what a tag had before, only this machine knows.
    fn same_elsewhere(&mut self, plan: &Plan) {
        let other = self.world.plan_elsewhere();
        assert_eq!(other.named(), plan.named(), "another machine on the left");
        if !matches!(self.change.kind, Kind::TagDeleted | Kind::TagMoved) {
            for cell in plan.named() {
                self.reasons(&other.cells[&cell], &cell, &plan.named());
            }
        }
    }

    /// A machine that has nothing but manifest and lock makes the same images of the cells that it is
    /// asked for.
    fn same_from_nothing(&mut self) {
        let images: Vec<usize> =
            (0..self.model.images.len()).filter(|at| self.model.images[*at].push).collect();
        if let Some(image) = self.dice.pick(&images) {
            self.world.build_from_nothing(&format!("image=i{image}")).all("current");
        }
    }

    /// After the build everything is current, and one more writes nothing.
    fn settled(&self) {
        let plan = self.world.plan(&[]);
        let rest: Vec<_> = plan.cells.iter().filter(|(_, said)| said.status != "current").collect();
        assert!(rest.is_empty(), "after the build: {rest:?}");
        let (report, writes) = self.world.build_counted();
        report.all("current");
        assert_eq!((report.number("/bytes_sent"), writes), (0, 0), "bytes and requests of an idle build");
    }
}
