//! What a run needs of its environment beside what it builds from: secrets of steps, credentials that the
//! manifest names. Looked at before anything starts, all at once.

use std::collections::BTreeMap;

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
use crate::registry::{Registry, Variables};

/// What the environment lacks, each at its place in the manifest.
///
/// # Errors
/// All of it, rendered, if there is any.
pub fn demand(
    project: &Project,
    plan: &Plan,
    actions: &Actions,
    mirrored: &[Use],
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

/// A repository, and whether it is written to: what an account is chosen by.
pub type Use = (RepositoryName, bool);

/// Repositories that the run will talk to, with the steps that do.
type Reached = BTreeMap<Use, Vec<StepId>>;

/// What mirroring will talk to: every target, and the sources of what has to be copied. Only where a source's
/// credential is missing is its target asked.
pub async fn mirror_uses(project: &Project, registry: &dyn Registry, images: &[MirrorImage]) -> Vec<Use> {
    let mut uses = Vec::new();
    for image in images {
        let (source, target) = (&image.source.name, &image.target.name);
        uses.extend([(target.clone(), false), (target.clone(), true)]);
        if !readable(project, source) && is_copied(registry, image).await {
            uses.push((source.clone(), false));
        }
    }
    uses
}

/// Whether an image will be read at its source, as far as that can be told.
async fn is_copied(registry: &dyn Registry, image: &MirrorImage) -> bool {
    match (image.digest(), image.referrers) {
        (Some(wanted), false) => {
            let found = registry.head(&image.target).await;
            !found.is_ok_and(|found| found.is_some_and(|found| found.digest == wanted))
        }
        _ => true,
    }
}

fn reached(project: &Project, plan: &Plan, actions: &Actions, mirrored: &[Use], uses_cache: bool) -> Reached {
    let mut reached = Reached::new();
    for (id, step) in plan.steps().filter(|(id, _)| actions.of(*id) == Action::Run) {
        match &step.kind {
            // Both begin with a look at what is there, which is a read.
            StepKind::Push(cell) | StepKind::Tag(cell) => {
                for repository in project.matrix.cells[cell.0].repositories() {
                    for writes in [false, true] {
                        reached.entry((repository.clone(), writes)).or_default().push(id);
                    }
                }
            }
            StepKind::Resolve(UsedSource::Reference(source))
            | StepKind::Index(UsedSource::Reference(source)) => {
                reached.entry((source.name.clone(), false)).or_default().push(id);
            }
            _ => {}
        }
    }
    for mirrored in mirrored {
        reached.entry(mirrored.clone()).or_default();
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
    let mut users: BTreeMap<Account, Vec<StepId>> = BTreeMap::new();
    for ((repository, writes), steps) in reached {
        if let Some(account) = rules.decides(&repository.registry, &repository.repository, *writes) {
            users.entry(account).or_default().extend(steps);
        }
    }
    let mut found = Vec::new();
    for (account, steps) in &users {
        for missing in missing(project, account) {
            let label = match cells(project, &cells_behind(plan, actions, steps)) {
                cells if cells.is_empty() => "for the cache or mirrored images".to_owned(),
                cells => format!("for {cells}"),
            };
            let Missing { what, at, why, help } = missing;
            let message = format!("the {what} for `{}`: {why}", account.0);
            found.push(Diagnostic::new("unset", at, message).label(label).help(help));
        }
    }
    found
}

/// Whether the credential that a repository is read with can be had.
pub fn readable(project: &Project, repository: &RepositoryName) -> bool {
    let rules = access::rules(&project.manifest, &project.directory);
    let account = rules.decides(&repository.registry, &repository.repository, false);
    account.is_none_or(|account| missing(project, &account).is_empty())
}

/// A prefix of `[registries]`, and whether its `pull` is meant.
type Account = (String, bool);

/// A text of a credential that cannot be had.
struct Missing {
    what: &'static str,
    at: Location,
    why: String,
    help: String,
}

fn missing(project: &Project, (prefix, pull): &Account) -> Vec<Missing> {
    let settings = &project.manifest.registries[prefix];
    let access = if *pull { &settings.pull } else { &settings.credentials };
    let missing = |(what, asked): (&'static str, &AccessText)| {
        let (at, remedy) = match asked {
            AccessText::Literal(_) => return None,
            AccessText::Environment(name) => (name.at, format!("set `{}`", name.value)),
            AccessText::File(file) => {
                let path = project.directory.join(&file.value);
                (file.at, format!("write it to `{}`", path.display()))
            }
        };
        let why = access::text(asked, &project.directory).missing(&Variables::default())?;
        Some(Missing { what, at, why, help: format!("{remedy}, or log in otherwise") })
    };
    access.iter().flat_map(texts).filter_map(missing).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ProjectArguments;
    use crate::cli::load::load;
    use crate::oci::ImageConfig;
    use crate::registry::FakeRegistry;

    #[tokio::test]
    async fn sources_are_read_where_something_is_copied() {
        let fake = FakeRegistry::new();
        let image = |name: &str| {
            let source: RepositoryName = format!("a.example/up/{name}").parse().unwrap();
            let made = fake.insert_image(&source.tag("1"), ImageConfig::default(), &[]);
            let image =
                MirrorImage::new(&format!("up/{name}@{}", made.digest), Some("a.example"), "b.example");
            image.unwrap()
        };
        let images = [image("new"), image("there"), MirrorImage { referrers: true, ..image("signed") }];
        for image in &images[1..] {
            fake.insert_image(&image.target, ImageConfig::default(), &[]);
        }
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("builds.toml");
        let manifest = |registries: &str| {
            let text = format!("schema = 1\n[project]\nname = \"p\"\n{registries}");
            std::fs::write(&file, text).unwrap();
            let (vars, only) = (Vec::new(), Vec::new());
            let (vars_file, repository, lock, store) = (None, None, None, None);
            load(&ProjectArguments { file: file.clone(), vars, vars_file, repository, lock, store, only })
                .unwrap()
        };
        let read = async |project: Project| {
            let uses = mirror_uses(&project, &fake, &images).await;
            let sources = uses.into_iter().filter(|(name, _)| name.registry == "a.example");
            sources.map(|(name, writes)| (name.to_string(), writes)).collect::<Vec<_>>()
        };
        assert_eq!(read(manifest("")).await, []);
        let unset =
            "[registries.\"a.example\"]\npull = { identity_token = { env = \"RAILYARD_TEST_UNSET\" } }\n";
        let wanted = ["a.example/up/new", "a.example/up/signed"].map(|name| (name.to_owned(), false));
        assert_eq!(read(manifest(unset)).await, wanted);
    }
}
