//! A file for `docker buildx bake`: a target for each cell, over one Dockerfile whose stages they share.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::dockerfile::head;
use super::stages::{Inputs, Stages};
use super::{Exported, ExportedFile, Problem};
use crate::matrix::{Cell, CellId, Matrix};

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
    let mut exported = Exported::default();
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
            exported.notes.extend(stamped(cell, &stage));
        }
        if cell.push && !cell.references.is_empty() {
            target["tags"] = cell.references.iter().map(ToString::to_string).collect();
            default.push(stage.clone());
        }
        images.entry(&cell.image).or_default().push(stage.clone());
        targets.insert(stage, target);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let secrets: Vec<Value> = stages
        .secrets
        .iter()
        .map(|secret| json!(format!("id={},env={}", secret.id, secret.variable)))
        .collect();
    if !secrets.is_empty() {
        targets.values_mut().for_each(|target| target["secret"] = json!(secrets));
    }
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

/// What is said of tags that hold the time of a run, which a bake file cannot say.
fn stamped(cell: &Cell, target: &str) -> Option<String> {
    let tags: Vec<String> = cell.stamped.iter().map(|tag| format!("`{}`", tag.shown())).collect();
    let what = match (tags.is_empty(), cell.references.is_empty()) {
        (true, _) => return None,
        (false, false) => "its other tags are exported".to_owned(),
        (false, true) => format!(
            "it has no other, so the target `{target}` is not in the group default; \
             name a tag with --set {target}.tags=REFERENCE"
        ),
    };
    Some(format!("{}: a bake file has no time of the run for {}: {what}", cell.name, tags.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::Lock;
    use crate::manifest::{Sources, parse};
    use crate::matrix::{Overrides, expand};

    /// The bake file, the Dockerfile and the notes for all cells of a manifest.
    fn exported(images: &str) -> (Value, String, Vec<String>) {
        let head = "schema = 1\n[project]\nname = \"p\"\nrepository = \"localhost:5000/p\"\n";
        let mut sources = Sources::default();
        sources.add("builds.toml".to_owned(), format!("{head}{images}"));
        let manifest = parse(sources).unwrap_or_else(|(_, found)| panic!("{found:?}"));
        let matrix = expand(&manifest, &Overrides::default()).unwrap();
        let mut lock = Lock::default();
        let image = crate::lock::LockedImage {
            platform: matrix.platform.clone(),
            digest: crate::oci::Digest::of(b"base"),
            trees: BTreeMap::new(),
            copies: BTreeMap::new(),
            environment: None,
        };
        lock.images.insert("debian:12".parse().unwrap(), image);
        let cells: Vec<CellId> = (0..matrix.cells.len()).map(CellId).collect();
        let users = BTreeMap::new();
        let inputs = Inputs { lock: &lock, users: &users, link: false };
        let exported = bake(&matrix, &cells, inputs).unwrap();
        let document = serde_json::from_str(&exported.files[0].content).unwrap();
        (document, exported.files[1].content.clone(), exported.notes)
    }

    #[test]
    fn a_secret_is_known_by_file_and_variable_and_readable_by_the_commands_user() {
        let layer = |name: &str, more: &str| {
            format!(
                "[layers.{name}]\nrun = {{ image = \"debian:12\", script = \"{name}\", keep = [\"/{name}\"], {more} }}\n"
            )
        };
        let (document, dockerfile, _) = exported(&format!(
            "{}{}{}[images.app]\ntags = [\"1\"]\nbase = \"debian:12\"\nlayers = [\"a\", \"b\", \"c\"]\n",
            layer("a", "secrets = { npmrc = \"NPM_A\" }"),
            layer("b", "user = \"1001\", secrets = { npmrc = \"NPM_B\" }"),
            layer("c", "secrets = { npmrc = \"NPM_A\" }"),
        ));
        let secrets = json!(["id=npmrc,env=NPM_A", "id=npmrc-2,env=NPM_B"]);
        assert_eq!(document["target"]["app"]["secret"], secrets);
        let mounts: Vec<&str> = dockerfile
            .lines()
            .filter_map(|line| line.strip_prefix("RUN --mount=")?.split(' ').next())
            .collect();
        let first = "type=secret,id=npmrc,mode=0444";
        let second = "type=secret,id=npmrc-2,target=/run/secrets/npmrc,mode=0444";
        assert_eq!(mounts, [first, second, first]);
    }

    #[test]
    fn a_target_that_has_only_tags_with_a_time_is_named_and_not_built_unasked() {
        let (document, _, notes) = exported(
            "[images.app]\ntags = [\"1\", \"1-{{ timestamp }}\"]\nbase = \"debian:12\"\n\
             [images.timed]\ntags = [\"t-{{ timestamp }}\"]\nbase = \"debian:12\"\n",
        );
        assert_eq!(document["group"]["default"]["targets"], json!(["app"]));
        assert_eq!(document["target"]["app"]["tags"], json!(["localhost:5000/p/app:1"]));
        assert_eq!(document["target"]["timed"].get("tags"), None);
        let [app, timed] = notes.as_slice() else { panic!("{notes:?}") };
        assert!(app.starts_with("app: ") && app.ends_with("its other tags are exported"), "{app}");
        assert!(timed.contains("--set timed.tags=REFERENCE"), "{timed}");
    }
}
