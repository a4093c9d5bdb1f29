//! How cells stand, for people and programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::bytes;
use crate::oci::Digest;
use crate::plan::{Ingredients, LayerIngredient, Reason, Status, TagView};

/// What `status` says.
#[derive(Debug, Clone, Serialize)]
pub struct StatusDocument {
    /// The project's name.
    pub project: String,
    /// The chosen cells, in order of the matrix.
    pub cells: Vec<StatusCell>,
    /// Tags of railyard's that no cell has any more.
    pub orphaned: Vec<StatusOrphan>,
}

/// How a cell stands.
#[derive(Debug, Clone, Serialize)]
pub struct StatusCell {
    /// Its name.
    pub cell: String,
    /// The image's name in the manifest.
    pub image: String,
    /// In a word.
    pub status: Status,
    /// Digest of the image that it should have, where that is known without building.
    pub digest: Option<Digest>,
    /// What its tags have.
    pub tags: Vec<TagView>,
    /// Why it is not current.
    pub reasons: Vec<Reason>,
}

/// A tag that no cell has any more.
#[derive(Debug, Clone, Serialize)]
pub struct StatusOrphan {
    /// The tag.
    pub reference: String,
    /// What it has.
    pub digest: Digest,
    /// The cell that it was made for.
    pub cell: String,
}

/// What `explain` says of a cell.
#[derive(Debug, Clone, Serialize)]
pub struct CellExplained {
    /// What goes into it.
    #[serde(flatten)]
    pub ingredients: Ingredients,
    /// Its references.
    pub references: Vec<String>,
    /// Its checks.
    pub checks: Vec<String>,
    /// How it stands; none where nobody was asked.
    pub status: Option<Status>,
    /// Digest of the image that it should have, where that is known without building.
    pub digest: Option<Digest>,
    /// What its tags have.
    pub tags: Vec<TagView>,
    /// Why it is not current.
    pub reasons: Vec<Reason>,
    /// The layers as they are stored.
    #[serde(rename = "layer_blobs")]
    pub layers: Vec<LayerExplained>,
}

/// A layer of a cell.
#[derive(Debug, Clone, Serialize)]
pub struct LayerExplained {
    /// What goes into it.
    #[serde(flatten)]
    pub layer: LayerIngredient,
    /// Its blob, where it has been made.
    pub blob: Option<Digest>,
    /// The blob's size in bytes.
    pub size: Option<u64>,
    /// Other cells that list it.
    pub shared_by: Vec<String>,
}

/// The table of `status`.
pub fn status(document: &StatusDocument) -> String {
    let mut text = String::new();
    for cell in &document.cells {
        let digest = cell.digest.map_or_else(|| "-".to_owned(), |d| d.short().to_owned());
        let _ = writeln!(text, "{:<8} {digest:<12} {}", cell.status.name(), cell.cell);
        for reason in &cell.reasons {
            let _ = writeln!(text, "         {reason}");
        }
    }
    for orphan in &document.orphaned {
        let digest = orphan.digest.short();
        let _ = writeln!(text, "orphaned {digest:<12} {} (was {})", orphan.reference, orphan.cell);
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for cell in &document.cells {
        *counts.entry(cell.status.name()).or_default() += 1;
    }
    if !document.orphaned.is_empty() {
        counts.insert("orphaned", document.orphaned.len());
    }
    let counts: Vec<String> = counts.iter().map(|(name, n)| format!("{n} {name}")).collect();
    let _ = writeln!(text, "\n{}: {}", document.project, counts.join(", "));
    text
}

/// The text of `explain`.
pub fn explained(document: &CellExplained) -> String {
    let Ingredients { cell, build_id, base, setup, config, .. } = &document.ingredients;
    let mut text = format!("{cell}\n");
    for reference in &document.references {
        let _ = writeln!(text, "  goes to   {reference}");
    }
    if let Some(status) = document.status {
        let _ = writeln!(text, "  status    {}", status.name());
    }
    for reason in &document.reasons {
        let _ = writeln!(text, "            {reason}");
    }
    if let Some(digest) = document.digest {
        let _ = writeln!(text, "  image     {digest}");
    }
    for tag in &document.tags {
        let has = tag.digest.map_or_else(|| "nothing".to_owned(), |d| d.to_string());
        let _ = writeln!(text, "  tag has   {has}");
    }
    let _ = writeln!(text, "  build id  {build_id}");
    let _ = writeln!(text, "\nBASE");
    match base {
        None => text.push_str("  scratch\n"),
        Some(base) => {
            let digest = base.digest.map_or_else(|| "not locked yet".to_owned(), |d| d.to_string());
            let _ = writeln!(text, "  {}\n            {digest}", base.name);
        }
    }
    for (position, step) in setup.iter().enumerate() {
        let _ = writeln!(text, "  setup {}   {}", position + 1, step.script.lines().next().unwrap_or(""));
    }
    let _ = writeln!(text, "\nLAYERS");
    for layer in &document.layers {
        explain_layer(&mut text, layer);
    }
    if !config.is_empty() {
        let _ = writeln!(text, "\nCONFIGURATION");
    }
    for (name, value) in config {
        let _ = writeln!(text, "  {name} = {value}");
    }
    if !document.checks.is_empty() {
        let _ = writeln!(text, "\nCHECKS\n  {}", document.checks.join(", "));
    }
    text
}

fn explain_layer(text: &mut String, explained: &LayerExplained) {
    let LayerExplained { layer, blob, size, shared_by } = explained;
    let size = size.map_or_else(|| "not made yet".to_owned(), bytes);
    let _ = writeln!(text, "  {:<24} {size:>12}  key {}", layer.name, layer.key.short());
    if let Some(blob) = blob {
        let _ = writeln!(text, "    blob    {blob}");
    }
    for input in &layer.inputs {
        let digest = input.digest.map_or_else(|| "not locked yet".to_owned(), |d| d.short().to_owned());
        let from = input.url.as_deref().map(|url| format!(" {url}")).unwrap_or_default();
        let _ = writeln!(text, "    from    {}{from} ({digest})", input.name);
    }
    let sharers = match shared_by.as_slice() {
        [] => "this cell alone".to_owned(),
        [one] => one.clone(),
        [first, second] => format!("{first}, {second}"),
        [first, second, rest @ ..] => format!("{first}, {second} and {} more", rest.len()),
    };
    let _ = writeln!(text, "    shared  {sharers}");
}
