//! A file for `docker buildx bake`: a target for each cell, over one Dockerfile whose stages they share.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::dockerfile::head;
use super::stages::{Inputs, Stages};
use super::{Exported, ExportedFile, Problem};
use crate::matrix::{CellId, Matrix};

/// As many targets as bake builds in one call without failing.
const AT_A_TIME: usize = 60;

/// `docker-bake.json`, `Dockerfile` and its files.
///
/// # Errors
/// What a Dockerfile cannot express; all at once.
pub fn bake(matrix: &Matrix, cells: &[CellId], inputs: Inputs<'_>) -> Result<Exported, Vec<Problem>> {
    let mut stages = Stages::new(matrix, inputs, cells);
    let mut targets = Map::new();
    let mut images: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut default = Vec::new();
    let mut problems = Vec::new();
    for id in cells {
        let cell = &matrix.cells[id.0];
        let stage = match stages.cell(*id) {
            Ok(stage) => stage,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        let mut target = json!({
            "description": cell.name,
            "context": ".",
            "dockerfile": "Dockerfile",
            "target": stage,
            "platforms": [matrix.platform.to_string()],
        });
        if cell.push {
            target["tags"] = cell.references.iter().map(ToString::to_string).collect();
            default.push(stage.clone());
        }
        images.entry(&cell.image).or_default().push(stage.clone());
        targets.insert(stage, target);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let secrets: Vec<Value> =
        stages.secrets.iter().map(|(file, variable)| json!(format!("id={file},env={variable}"))).collect();
    if !secrets.is_empty() {
        targets.values_mut().for_each(|target| target["secret"] = json!(secrets));
    }
    let mut exported = Exported::default();
    let mut groups = Map::new();
    groups.insert("default".into(), json!({"targets": default}));
    for (image, targets) in images {
        // A group and a target of one name are one to bake.
        groups.insert(format!("all-{}", super::text::slug(image)), json!({"targets": targets}));
    }
    if default.len() > AT_A_TIME {
        for (number, part) in default.chunks(AT_A_TIME).enumerate() {
            groups.insert(format!("part-{}", number + 1), json!({"targets": part}));
        }
        let parts = default.len().div_ceil(AT_A_TIME);
        exported.notes.push(format!(
            "bake fails with some hundred targets in one call: build the groups part-1 to part-{parts} one after another"
        ));
    }
    let document = json!({"group": groups, "target": targets});
    let content = serde_json::to_string_pretty(&document).expect("a JSON value is printable") + "\n";
    exported.files.push(ExportedFile { path: "docker-bake.json".into(), content, mode: 0o644 });
    exported.files.extend(stages.finish(&head(matrix)));
    Ok(exported)
}
