//! What `plan`, `status` and `explain` begin with: a plan, what is known of it, how the tags stand.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ProjectArguments;
use super::exit::Exit;
use super::interrupt::interruptible;
use super::load::{Project, load, open};
use super::settings::{created, store_path};
use super::suppose::Supposition;
use super::world::{LockUse, World, complete_lock, freshness, runtime, world};
use super::{mirrors, versions};
use crate::mirror::{MirrorReport, planned};
use crate::oci::Digest;
use crate::plan::{
    Actions, Delivery, Durations, Estimate, Inputs, Plan, PlanDocument, StepId, View, Wanted, plan,
};
use crate::run::{External, Knowledge, Orphan, Surveyor, measured, pin_layouts};
use crate::store::{Record, Store, StoreError};

/// How a plan is prepared.
#[derive(Default)]
pub struct Preparation {
    /// Ask nobody.
    pub offline: bool,
    /// Look for tags that no cell has.
    pub orphans: bool,
    /// Look at mirrored images.
    pub mirrors: bool,
    /// Commands that are to run again.
    pub force: Vec<String>,
    /// What is supposed to be otherwise.
    pub suppositions: Vec<Supposition>,
}

/// A plan and what is known about it.
pub struct Prepared {
    /// The project; its lock has been completed in memory only.
    pub project: Project,
    /// The plan.
    pub plan: Plan,
    /// What happens to each step.
    pub actions: Actions,
    /// What is known of the steps.
    pub knowledge: Knowledge,
    /// How the tags stand; empty where nobody was asked.
    pub view: View,
    /// Tags that no cell has.
    pub orphans: Vec<Orphan>,
    /// The store, where there is one or somebody was asked.
    pub store: Option<Arc<Store>>,
    layouts: BTreeMap<String, Digest>,
    created: Option<String>,
}

impl Prepared {
    /// What the plan was made with.
    pub fn inputs(&self) -> Inputs<'_> {
        inputs(&self.project, &self.layouts, self.created.as_deref())
    }

    /// The record of a step, whatever it was found good for.
    pub fn record(&self, step: StepId) -> Option<Record> {
        let known = self.knowledge.records.get(&step).cloned();
        known.or_else(|| self.store.as_ref()?.record(&self.plan.step(step).key).ok()?)
    }

    /// What the run will cost, by what the store remembers.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn estimate(&self) -> Result<Estimate, Exit> {
        let matrix = &self.project.matrix;
        let durations = match &self.store {
            Some(store) => {
                let wanted = Wanted::of(matrix, &self.plan, &self.actions);
                let found = measured(store, &matrix.project, &wanted).map_err(|e| failed(&e))?;
                Durations::new(matrix, &self.plan, &self.actions, &found)
            }
            None => Durations::default(),
        };
        let limits = super::build::limits(&self.project, None);
        Ok(Estimate::new(matrix, &self.plan, &self.actions, limits, &durations))
    }

    /// The plan as a document.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn document(&self) -> Result<PlanDocument, Exit> {
        let estimate = self.estimate()?;
        Ok(PlanDocument::new(&self.project.matrix, &self.plan, &self.actions, estimate, &self.view))
    }
}

fn inputs<'a>(
    project: &'a Project,
    layouts: &'a BTreeMap<String, Digest>,
    created: Option<&'a str>,
) -> Inputs<'a> {
    let delivery = Delivery { push: true, load: false, checks: true };
    Inputs { lock: &project.lock, layouts, created, delivery }
}

/// Prepares a plan; writes neither lock nor registry.
///
/// # Errors
/// A mistake in the manifest, the lock or the arguments; registries that do not answer.
pub fn prepare(arguments: &ProjectArguments, preparation: &Preparation) -> Result<Prepared, Exit> {
    if preparation.offline {
        return offline(arguments, preparation);
    }
    let runtime = runtime()?;
    let prepared = runtime.block_on(online(arguments, preparation));
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    prepared
}

fn offline(arguments: &ProjectArguments, preparation: &Preparation) -> Result<Prepared, Exit> {
    let mut project = match preparation.suppositions.as_slice() {
        [] => load(arguments)?,
        suppositions => supposed(arguments, suppositions)?,
    };
    suppose_lock(&mut project, &preparation.suppositions)?;
    let store = store(arguments)?.map(Arc::new);
    let (layouts, created) = (layouts(&project)?, created()?);
    let plan = plan(&project.matrix, &project.chosen, inputs(&project, &layouts, created.as_deref()));
    let knowledge = Knowledge::default();
    let actions = Actions::decide(&plan, &knowledge.known);
    let mut view = View { inputs: document(&project, &layouts, created.as_deref()), ..View::default() };
    if preparation.mirrors {
        let images = mirrors::of(&project)?;
        view.mirrors = images.iter().map(|image| MirrorReport::new(image).document()).collect();
        view.inputs.mirrors = mirrors::inputs(&images);
    }
    let orphans = Vec::new();
    let mut prepared = Prepared { project, plan, actions, knowledge, view, orphans, store, layouts, created };
    if !preparation.suppositions.is_empty() {
        let before = load(arguments)?;
        let inputs = inputs(&before, &prepared.layouts, prepared.created.as_deref());
        let plan = crate::plan::plan(&before.matrix, &before.chosen, inputs);
        prepared.view.what_if = Some(what_if(preparation, (&before, &plan), &prepared));
    }
    Ok(prepared)
}

async fn online(arguments: &ProjectArguments, preparation: &Preparation) -> Result<Prepared, Exit> {
    let mut before = completed(arguments, &[]).await?;
    let world = world(arguments, &before.manifest)?;
    complete(&mut before, &world, LockUse::Borrow).await?;
    let mut project = match preparation.suppositions.as_slice() {
        [] => before,
        suppositions => {
            let mut project = completed(arguments, suppositions).await?;
            // What is pinned for this command only must be the same on both sides.
            let locked = std::mem::take(&mut project.lock);
            project.lock = before.lock.clone();
            project.lock.versions = locked.versions;
            suppose_lock(&mut project, suppositions)?;
            complete(&mut project, &world, LockUse::Suppose).await?;
            let layouts = layouts(&before)?;
            let created = created()?;
            let inputs = inputs(&before, &layouts, created.as_deref());
            let plan = crate::plan::plan(&before.matrix, &before.chosen, inputs);
            let mut prepared = interruptible(asked(&world, project, preparation)).await?;
            prepared.view.what_if = Some(what_if(preparation, (&before, &plan), &prepared));
            return Ok(prepared);
        }
    };
    project.lock.places = Default::default();
    interruptible(asked(&world, project, preparation)).await
}

async fn completed(arguments: &ProjectArguments, suppositions: &[Supposition]) -> Result<Project, Exit> {
    let mut loaded = open(arguments)?;
    versions::borrow(&mut loaded).await?;
    for supposition in suppositions {
        supposition.apply_to_manifest(&mut loaded)?;
    }
    loaded.expand()
}

fn supposed(arguments: &ProjectArguments, suppositions: &[Supposition]) -> Result<Project, Exit> {
    load(arguments)?;
    let mut loaded = open(arguments)?;
    for supposition in suppositions {
        supposition.apply_to_manifest(&mut loaded)?;
    }
    loaded.expand()
}

fn suppose_lock(project: &mut Project, suppositions: &[Supposition]) -> Result<(), Exit> {
    let external = External::of(&project.matrix, &project.chosen);
    for supposition in suppositions {
        supposition.apply_to_lock(&mut project.lock, &project.matrix, &external)?;
    }
    Ok(())
}

async fn complete(project: &mut Project, world: &World, usage: LockUse) -> Result<(), Exit> {
    let transfers = super::build::limits(project, None).transfers;
    complete_lock(project, world, usage, transfers).await
}

/// Asks the records, the cache repository and the registries.
async fn asked(world: &World, mut project: Project, preparation: &Preparation) -> Result<Prepared, Exit> {
    let images = match preparation.mirrors {
        true => mirrors::pinned(&mut project, &world.registry, LockUse::Borrow).await?,
        false => Vec::new(),
    };
    let (layouts, created) = (layouts(&project)?, created()?);
    let inputs = inputs(&project, &layouts, created.as_deref());
    let plan = plan(&project.matrix, &project.chosen, inputs);
    let cache = world.cache(&project);
    let freshness = freshness(&project, &preparation.force, true)?;
    let knowledge = world.look_up(&project, &plan, cache.as_ref(), &freshness).await?;
    let provenances = world.provenances();
    let surveyor = Surveyor {
        matrix: &project.matrix,
        plan: &plan,
        inputs: &inputs,
        knowledge: &knowledge,
        store: &world.store,
        registry: world.registry.clone(),
        provenances: &provenances,
    };
    let survey = surveyor.survey().await.map_err(|e| asking(&e))?;
    let orphans = match preparation.orphans {
        true => surveyor.orphans().await.map_err(|e| asking(&e))?,
        false => Vec::new(),
    };
    let mut actions = Actions::decide(&plan, &knowledge.known);
    let settled = survey.settled(&plan);
    actions.settle(&settled);
    let mut view = View {
        cells: survey.cells,
        steps: survey.steps,
        settled,
        inputs: document(&project, &layouts, created.as_deref()),
        mirrors: Vec::new(),
        what_if: None,
    };
    view.inputs.mirrors = mirrors::inputs(&images);
    let mirrored = planned(&*world.registry, &images).await;
    view.mirrors = mirrored.iter().map(MirrorReport::document).collect();
    let store = Some(world.store.clone());
    Ok(Prepared { project, plan, actions, knowledge, view, orphans, store, layouts, created })
}

fn asking(error: &crate::run::StepError) -> Exit {
    let help = error.help.as_deref().unwrap_or("`railyard plan --offline` asks nobody");
    Exit::Environment(format!("error: {}\n  help: {help}", error.message))
}

fn document(
    project: &Project,
    layouts: &BTreeMap<String, Digest>,
    created: Option<&str>,
) -> crate::plan::InputsDocument {
    External::of(&project.matrix, &project.chosen).document(&project.lock, layouts, created)
}

fn what_if(preparation: &Preparation, before: (&Project, &Plan), after: &Prepared) -> crate::plan::WhatIf {
    let changes = preparation.suppositions.iter().map(ToString::to_string).collect();
    let before = (&before.0.matrix, before.1);
    crate::plan::WhatIf::compare(changes, before, (&after.project.matrix, &after.plan))
}

/// The local store, where there is one.
///
/// # Errors
/// When it cannot be opened.
pub fn store(arguments: &ProjectArguments) -> Result<Option<Store>, Exit> {
    let path = store_path(arguments)?;
    if !path.join("store.sqlite").exists() {
        return Ok(None);
    }
    Store::open(&path).map(Some).map_err(|e| failed(&e))
}

fn failed(error: &StoreError) -> Exit {
    Exit::Environment(format!("error: {error}"))
}

/// Digests of the images in OCI layouts that the chosen cells use.
///
/// # Errors
/// Every layout that cannot be read.
pub fn layouts(project: &Project) -> Result<BTreeMap<String, Digest>, Exit> {
    let external = External::of(&project.matrix, &project.chosen);
    pin_layouts(&external, &project.matrix.platform).map_err(|errors| Exit::steps(&errors))
}
