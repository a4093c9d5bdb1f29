//! `export dockerfile` and `export bake`: what they need of lock and registries, and where they write.

use std::collections::BTreeMap;

use super::written::write;
use super::{DockerfileOptions, chosen};
use crate::cli::ProjectArguments;
use crate::cli::exit::{Exit, print, say};
use crate::cli::interrupt::interruptible;
use crate::cli::load::{Project, open};
use crate::cli::world::{LockUse, World, complete_lock, runtime, world};
use crate::cli::{build, versions};
use crate::export::{Exported, Inputs, Problem, bake, bases_with_users, dockerfiles};
use crate::matrix::CellId;
use crate::oci::Reference;
use crate::plan::UsedSource;

/// Both, which differ in what they render.
pub(super) fn docker(
    arguments: &ProjectArguments,
    options: &DockerfileOptions,
    is_bake: bool,
) -> Result<(), Exit> {
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        let mut loaded = open(arguments)?;
        versions::borrow(&mut loaded).await?;
        let mut project = loaded.expand()?;
        let cells = chosen(&project, &options.cells)?;
        let mut marks = vec![false; project.matrix.cells.len()];
        cells.iter().for_each(|id| marks[id.0] = true);
        project.chosen = marks;
        let world = world(arguments, &project.manifest)?;
        let transfers = build::limits(&project, None).transfers;
        complete_lock(&mut project, &world, LockUse::Borrow, transfers).await?;
        let users = interruptible(users(&project, &world, &cells)).await?;
        Ok((project, cells, users))
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    let (project, cells, users) = result?;
    let inputs = Inputs { lock: &project.lock, users: &users, link: options.link };
    let exported = match is_bake {
        true => bake(&project.matrix, &cells, inputs),
        false => dockerfiles(&project.matrix, &cells, inputs),
    };
    let Exported { files, notes } = exported.map_err(|problems| refused(&problems))?;
    notes.iter().for_each(|note| say(&format!("note: {note}")));
    let Some(out) = &options.out else {
        if let ([file], false) = (files.as_slice(), is_bake) {
            return print(&file.content);
        }
        return Err(Exit::Usage(format!(
            "error: the export has {} files\n  help: say where with --out DIR, or choose one cell that needs no files",
            files.len()
        )));
    };
    write(out, &files, options.force)?;
    let command = match is_bake {
        true => format!("docker buildx bake --file {0}/docker-bake.json, run in {0}", out.display()),
        false => format!("docker build {}", out.display()),
    };
    say(&format!("{} files written to `{}`; build them with {command}", files.len(), out.display()));
    Ok(())
}

fn refused(problems: &[Problem]) -> Exit {
    let lines: Vec<String> = problems.iter().map(|problem| format!("error: {problem}")).collect();
    Exit::Usage(format!("{}\n  help: leave these cells out with --only", lines.join("\n")))
}

/// The users of bases that setup steps leave and come back to.
async fn users(
    project: &Project,
    world: &World,
    cells: &[CellId],
) -> Result<BTreeMap<Reference, String>, Exit> {
    let mut users = BTreeMap::new();
    for reference in bases_with_users(&project.matrix, cells) {
        let pinned = project.lock.image(&reference, &project.matrix.platform).map(|image| image.digest);
        let image = world.images.resolve(&UsedSource::Reference(reference.clone()), pinned).await;
        let image = image.map_err(|e| Exit::steps(&[e]))?;
        users.insert(reference, image.config.config.user.clone().unwrap_or_default());
    }
    Ok(users)
}
