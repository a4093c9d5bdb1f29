//! A Dockerfile for each cell, with all that it needs, in a directory of its own.

use super::stages::{Inputs, Secret, Stages};
use super::text::Names;
use super::{Exported, ExportedFile, Problem};
use crate::matrix::{CellId, Matrix};

/// What a Dockerfile begins with.
pub(super) fn head(matrix: &Matrix) -> String {
    format!(
        "# Written by railyard from the project {}: change the manifest and export again.\n\
         # External images are those of the lock, by digest, for {}.\n",
        matrix.project.replace('\n', " "),
        matrix.platform
    )
}

/// The Dockerfiles of cells: of one cell `Dockerfile` and its files, of several each in a directory.
///
/// # Errors
/// What a Dockerfile cannot express; all at once.
pub fn dockerfiles(matrix: &Matrix, cells: &[CellId], inputs: Inputs<'_>) -> Result<Exported, Vec<Problem>> {
    let mut exported = Exported::default();
    let mut problems = Vec::new();
    let mut names = Names::default();
    for id in cells {
        let mut stages = Stages::new(matrix, inputs, &[*id]);
        if let Err(problem) = stages.cell(*id) {
            problems.push(problem);
            continue;
        }
        let directory = match cells.len() {
            1 => String::new(),
            _ => names.give(&matrix.cells[id.0].name) + "/",
        };
        for Secret { id: secret, variable, .. } in &stages.secrets {
            exported
                .notes
                .push(format!("{}: give `--secret id={secret},env={variable}`", matrix.cells[id.0].name));
        }
        let files = stages.finish(&head(matrix)).into_iter();
        exported
            .files
            .extend(files.map(|file| ExportedFile { path: format!("{directory}{}", file.path), ..file }));
    }
    if problems.is_empty() { Ok(exported) } else { Err(problems) }
}
