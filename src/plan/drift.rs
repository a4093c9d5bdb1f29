//! A plan that was kept, and what has moved since.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::document::{InputsDocument, PLAN_SCHEMA};
use super::step::Plan;
use crate::matrix::Matrix;
use crate::oci::Digest;

/// What is read again of a plan's document.
#[derive(Debug, Clone, Deserialize)]
pub struct Planned {
    project: String,
    platform: String,
    cells: Vec<PlannedCell>,
    steps: Vec<PlannedStep>,
    inputs: InputsDocument,
}

#[derive(Debug, Clone, Deserialize)]
struct PlannedCell {
    name: String,
    build_id: Digest,
    references: Vec<String>,
    chosen: bool,
}

#[derive(Debug, Clone, Deserialize)]
struct PlannedStep {
    kind: String,
    label: String,
    key: Digest,
}

/// A document that is no plan of this version.
#[derive(Debug, thiserror::Error)]
pub enum PlannedError {
    /// No JSON, or fields are missing.
    #[error("it is no plan: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Another version of the schema.
    #[error("its schema is {0}, this railyard reads schema {PLAN_SCHEMA}")]
    Schema(u64),
    /// It says what would be, not what is.
    #[error("it was made with `--if`: it says what would be built, not what is to be")]
    WhatIf,
}

impl Planned {
    /// Reads the document that `plan --out` wrote.
    ///
    /// # Errors
    /// See [`PlannedError`].
    pub fn parse(text: &str) -> Result<Self, PlannedError> {
        #[derive(Deserialize)]
        struct Head {
            schema: u64,
            what_if: Option<serde::de::IgnoredAny>,
        }
        let head: Head = serde_json::from_str(text)?;
        if head.schema != u64::from(PLAN_SCHEMA) {
            return Err(PlannedError::Schema(head.schema));
        }
        if head.what_if.is_some() {
            return Err(PlannedError::WhatIf);
        }
        Ok(serde_json::from_str(text)?)
    }

    /// Names of the cells to build.
    pub fn chosen(&self) -> BTreeSet<&str> {
        self.cells.iter().filter(|c| c.chosen).map(|c| c.name.as_str()).collect()
    }

    /// Whether images are to be mirrored.
    pub fn mirrors(&self) -> bool {
        !self.inputs.mirrors.is_empty()
    }

    /// What is different now, for people; empty when nothing is.
    pub fn drift(&self, matrix: &Matrix, plan: &Plan, inputs: &InputsDocument) -> Vec<String> {
        let mut found = Vec::new();
        let platform = matrix.platform.to_string();
        if (&self.project, &self.platform) != (&matrix.project, &platform) {
            found.push(format!(
                "project: {} for {} -> {} for {platform}",
                self.project, self.platform, matrix.project
            ));
        }
        compare(&mut found, "image", &self.inputs.images, &inputs.images);
        compare(&mut found, "download", &self.inputs.downloads, &inputs.downloads);
        compare(&mut found, "mirrored image", &self.inputs.mirrors, &inputs.mirrors);
        if self.inputs.created != inputs.created {
            found.push("SOURCE_DATE_EPOCH".into());
        }
        self.steps(&mut found, plan);
        self.cells(&mut found, matrix, plan);
        found
    }

    /// Layers and setup steps that are made otherwise.
    fn steps(&self, found: &mut Vec<String>, plan: &Plan) {
        let made = |kind: &str| matches!(kind, "artifact" | "setup" | "dockerfile");
        let before: BTreeSet<(&str, &Digest)> =
            self.steps.iter().filter(|s| made(&s.kind)).map(|s| (s.label.as_str(), &s.key)).collect();
        let after: BTreeSet<(&str, &Digest)> = plan
            .steps()
            .filter(|(_, s)| made(s.kind.name()))
            .map(|(_, s)| (s.label.as_str(), &s.key))
            .collect();
        let labels = |a: &BTreeSet<(&str, &Digest)>, b: &BTreeSet<(&str, &Digest)>| -> BTreeSet<String> {
            a.difference(b).map(|(label, _)| (*label).to_owned()).collect()
        };
        let (gone, come) = (labels(&before, &after), labels(&after, &before));
        found.extend(gone.intersection(&come).map(|label| format!("layer {label}: made otherwise")));
        found.extend(gone.difference(&come).map(|label| format!("layer {label}: gone")));
        found.extend(come.difference(&gone).map(|label| format!("layer {label}: new")));
    }

    fn cells(&self, found: &mut Vec<String>, matrix: &Matrix, plan: &Plan) {
        let chosen = plan.cells.iter().flatten().filter(|steps| steps.chosen);
        let after: BTreeMap<&str, (Digest, Vec<String>)> = chosen
            .map(|steps| {
                let cell = &matrix.cells[steps.cell.0];
                let references = cell.shown_references().map(|r| r.to_string()).collect();
                (cell.name.as_str(), (steps.build_id, references))
            })
            .collect();
        for cell in self.cells.iter().filter(|c| c.chosen) {
            match after.get(cell.name.as_str()) {
                None => found.push(format!("cell {}: gone", cell.name)),
                Some((_, references)) if *references != cell.references => found.push(format!(
                    "cell {}: goes to {} -> {}",
                    cell.name,
                    cell.references.join(", "),
                    references.join(", ")
                )),
                Some((build_id, _)) if *build_id != cell.build_id => {
                    found.push(format!("cell {}: would be another image", cell.name));
                }
                Some(_) => {}
            }
        }
        let known = self.chosen();
        found.extend(
            after.keys().filter(|name| !known.contains(*name)).map(|name| format!("cell {name}: new")),
        );
    }
}

fn compare(
    found: &mut Vec<String>,
    what: &str,
    old: &BTreeMap<String, Option<Digest>>,
    new: &BTreeMap<String, Option<Digest>>,
) {
    let text = |digest: &Option<Digest>| digest.map_or_else(|| "not locked".to_owned(), |d| d.to_string());
    for (name, was) in old {
        match new.get(name) {
            None => found.push(format!("{what} {name}: not used any more")),
            Some(is) if is != was => {
                found.push(format!("{what} {name}: {} -> {}", text(was), text(is)));
            }
            Some(_) => {}
        }
    }
    let added = new.iter().filter(|(name, _)| !old.contains_key(*name));
    found.extend(added.map(|(name, is)| format!("{what} {name}: new, {}", text(is))));
}
