//! What a run needs of its environment beside what it builds from: secrets of steps, credentials that the
//! manifest names. Looked at before anything starts, all at once.

use std::collections::BTreeMap;
use std::path::Path;

use super::access;
use super::exit::Exit;
use super::load::{Project, named, shown};
use crate::manifest::{AccessText, Diagnostic, Diagnostics, Location, RegistryAccess};
use crate::matrix::CellId;
use crate::mirror::MirrorImage;
use crate::oci::RepositoryName;
use crate::plan::{
    Action, Actions, NeededSecret, Plan, StepId, StepKind, UsedSource, cells_behind, needed_secrets,
};

/// What the environment lacks, each at its place in the manifest.
///
/// # Errors
/// All of it, rendered, if there is any.
pub fn demand(
    project: &Project,
    plan: &Plan,
    actions: &Actions,
    mirrored: &[MirrorImage],
    uses_cache: bool,
) -> Result<(), Exit> {
    let mut found = Diagnostics::default();
    for secret in unset_secrets(project, plan, actions) {
        let cells = cells(project, &secret.cells);
        found.push(
            Diagnostic::new("unset", secret.at, format!("the secret `{}` {}", secret.name, state(&secret)))
                .label(format!("for {cells}"))
                .help(format!("set the environment variable `{}`, and run again", secret.variable)),
        );
    }
    let places = reached(project, plan, actions, mirrored, uses_cache);
    found.0.extend(missing_credentials(project, plan, actions, &places));
    found.sort();
    if found.is_empty() {
        return Ok(());
    }
    let words = match found.0.len() {
        1 => "1 secret or credential is missing".to_owned(),
        n => format!("{n} secrets or credentials are missing"),
    };
    let text = shown(&project.manifest.sources, &found, false);
    Err(Exit::Environment(format!("{text}\nerror: {words}; no step was begun")))
}

/// One line for each secret that the run would lack.
pub fn notes(project: &Project, plan: &Plan, actions: &Actions) -> Vec<String> {
    let sources = &project.manifest.sources;
    let line = |secret: NeededSecret| {
        let (line, column) = sources.line_column(secret.at);
        format!(
            "note: the run will need `{}`, which {} here: the secret `{}` at {}:{line}:{column}, for {}",
            secret.variable,
            state(&secret),
            secret.name,
            sources.name(secret.at.file),
            cells(project, &secret.cells)
        )
    };
    unset_secrets(project, plan, actions).into_iter().map(line).collect()
}

fn unset_secrets(project: &Project, plan: &Plan, actions: &Actions) -> Vec<NeededSecret> {
    let mut needed = needed_secrets(&project.matrix, plan, actions);
    needed.retain(|secret| std::env::var(&secret.variable).is_err());
    needed
}

fn state(secret: &NeededSecret) -> &'static str {
    match std::env::var(&secret.variable) {
        Err(std::env::VarError::NotUnicode(_)) => "is no UTF-8",
        _ => "is not set",
    }
}

fn cells(project: &Project, cells: &[CellId]) -> String {
    named(cells.iter().map(|cell| project.matrix.cells[cell.0].name.as_str()))
}

/// Repositories that the run will talk to, by whether it writes there, with the steps that do.
type Reached = BTreeMap<(RepositoryName, bool), Vec<StepId>>;

fn reached(
    project: &Project,
    plan: &Plan,
    actions: &Actions,
    mirrored: &[MirrorImage],
    uses_cache: bool,
) -> Reached {
    let mut reached = Reached::new();
    for (id, step) in plan.steps().filter(|(id, _)| actions.of(*id) == Action::Run) {
        match &step.kind {
            StepKind::Push(cell) | StepKind::Tag(cell) => {
                for repository in project.matrix.cells[cell.0].repositories() {
                    reached.entry((repository, true)).or_default().push(id);
                }
            }
            StepKind::Resolve(UsedSource::Reference(source))
            | StepKind::Index(UsedSource::Reference(source)) => {
                reached.entry((source.name.clone(), false)).or_default().push(id);
            }
            _ => {}
        }
    }
    for image in mirrored {
        reached.entry((image.target.name.clone(), true)).or_default();
    }
    if let Some(cache) = project.matrix.cache.clone().filter(|_| uses_cache) {
        // What cannot be written there is a notice, not a failure.
        reached.entry((cache, false)).or_default();
    }
    reached
}

/// What is missing of the credentials that these repositories are reached with, once each.
fn missing_credentials(
    project: &Project,
    plan: &Plan,
    actions: &Actions,
    reached: &Reached,
) -> Vec<Diagnostic> {
    let rules = access::rules(&project.manifest, &project.directory);
    let mut users: BTreeMap<(String, bool), Vec<StepId>> = BTreeMap::new();
    for ((repository, writes), steps) in reached {
        if let Some(account) = rules.decides(&repository.registry, &repository.repository, *writes) {
            users.entry(account).or_default().extend(steps);
        }
    }
    let mut found = Vec::new();
    for ((prefix, pull), steps) in &users {
        let settings = &project.manifest.registries[prefix];
        let access = if *pull { &settings.pull } else { &settings.credentials };
        for (what, text) in access.iter().flat_map(texts) {
            let Some((at, why, help)) = missing(text, &project.directory) else { continue };
            let label = match cells(project, &cells_behind(plan, actions, steps)) {
                cells if cells.is_empty() => "for the cache or mirrored images".to_owned(),
                cells => format!("for {cells}"),
            };
            let message = format!("the {what} for `{prefix}`: {why}");
            found.push(Diagnostic::new("unset", at, message).label(label).help(help));
        }
    }
    found
}

/// Whether the credential that a repository is read with can be had.
pub fn readable(project: &Project, repository: &RepositoryName) -> bool {
    let rules = access::rules(&project.manifest, &project.directory);
    let Some((prefix, pull)) = rules.decides(&repository.registry, &repository.repository, false) else {
        return true;
    };
    let settings = &project.manifest.registries[&prefix];
    let access = if pull { &settings.pull } else { &settings.credentials };
    access.iter().flat_map(texts).all(|(_, text)| missing(text, &project.directory).is_none())
}

/// The texts of a credential that come from outside.
fn texts(access: &RegistryAccess) -> Vec<(&'static str, &AccessText)> {
    match access {
        RegistryAccess::Password { username, password } => {
            vec![("user name", username), ("password", password)]
        }
        RegistryAccess::IdentityToken(token) => vec![("identity token", token)],
        RegistryAccess::Ecr(ecr) => {
            let role = ecr.role.iter().map(|role| ("role", role));
            role.chain(ecr.external_id.iter().map(|id| ("external id", id))).collect()
        }
        RegistryAccess::Anonymous | RegistryAccess::Helper(_) | RegistryAccess::DockerConfig(_) => Vec::new(),
    }
}

/// Where a text is asked for, why it cannot be had, and what to do.
fn missing(text: &AccessText, directory: &Path) -> Option<(Location, String, String)> {
    match text {
        AccessText::Literal(_) => None,
        AccessText::Environment(name) => {
            let is_set = std::env::var(&name.value).is_ok_and(|value| !value.trim().is_empty());
            let why = format!("the environment variable `{}` is not set", name.value);
            (!is_set).then(|| (name.at, why, format!("set `{}`, or log in otherwise", name.value)))
        }
        AccessText::File(file) => {
            let path = directory.join(&file.value);
            let why = match std::fs::read_to_string(&path) {
                Ok(text) if !text.trim().is_empty() => return None,
                Ok(_) => format!("the file `{}` is empty", path.display()),
                Err(error) => format!("failed to read `{}`: {error}", path.display()),
            };
            Some((file.at, why, format!("write it to `{}`, or log in otherwise", path.display())))
        }
    }
}
