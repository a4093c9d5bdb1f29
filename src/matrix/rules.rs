//! `[[rules]]`: what is said of cells for which a condition is true.

use std::collections::HashMap;

use super::cell::{CellId, Warning};
use super::product::{cell_name, coordinates};
use super::template::{Failed, Point, Renderer};
use crate::manifest::{Diagnostic, Image, Manifest, Rule, RuleLevel};

/// How many cells a mistake names.
const NAMED: usize = 5;

/// Judges every cell by every rule; `cells` has the position of the image and the point of each.
///
/// Rejected cells become mistakes, one for each text of a rule.
pub(super) fn judge<'m>(
    manifest: &'m Manifest,
    renderer: &mut Renderer<'m>,
    cells: &[(usize, &Point)],
) -> Vec<Warning> {
    let mut warnings: Vec<Warning> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for rule in &manifest.rules {
        for said in said(rule, manifest, renderer, cells) {
            match rule.level {
                RuleLevel::Reject => {
                    let diagnostic = rejected(rule, manifest, renderer, cells, &said);
                    renderer.diagnostics.push(diagnostic);
                }
                RuleLevel::Warn => match known.get(&said.text) {
                    Some(at) => warnings[*at].cells.extend(said.cells),
                    None => {
                        known.insert(said.text.clone(), warnings.len());
                        warnings.push(said);
                    }
                },
            }
        }
    }
    for warning in &mut warnings {
        warning.cells.sort_unstable();
        warning.cells.dedup();
    }
    warnings
}

/// What a rule says, each text once.
fn said<'m>(
    rule: &'m Rule,
    manifest: &'m Manifest,
    renderer: &mut Renderer<'m>,
    cells: &[(usize, &Point)],
) -> Vec<Warning> {
    let about: Vec<bool> = manifest.images.iter().map(|image| is_about(rule, image, renderer)).collect();
    let mut said: Vec<Warning> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for (position, (_, point)) in cells.iter().enumerate().filter(|(_, (image, _))| about[*image]) {
        // What cannot be rendered has been reported.
        let Ok(text) = speaks(rule, renderer, point) else { break };
        let Some(text) = text else { continue };
        match known.get(&text) {
            Some(at) => said[*at].cells.push(CellId(position)),
            None => {
                known.insert(text.clone(), said.len());
                said.push(Warning { text, cells: vec![CellId(position)] });
            }
        }
    }
    said
}

/// Whether a rule is about an image: it is listed, or has the axes that the rule mentions.
fn is_about<'m>(rule: &'m Rule, image: &'m Image, renderer: &mut Renderer<'m>) -> bool {
    if let Some(images) = &rule.images {
        return images.iter().any(|name| name.value == image.id.value);
    }
    let mut axes = renderer.axes_of_condition(&rule.when);
    axes.extend(renderer.axes_of(&rule.message));
    let names: Vec<&str> = axes.iter().map(|axis| renderer.axis_name(*axis)).collect();
    names.iter().all(|name| image.axes.iter().any(|axis| axis.value == *name))
}

/// The rule's message where it has something to say of a point.
fn speaks<'m>(rule: &'m Rule, renderer: &mut Renderer<'m>, point: &Point) -> Result<Option<String>, Failed> {
    if !renderer.holds(&rule.when, point)? {
        return Ok(None);
    }
    Ok(Some(renderer.render(&rule.message, point, &[])?.trim().to_owned()))
}

fn rejected(
    rule: &Rule,
    manifest: &Manifest,
    renderer: &Renderer<'_>,
    cells: &[(usize, &Point)],
    said: &Warning,
) -> Diagnostic {
    let name = |cell: &CellId| {
        let (image, point) = cells[cell.0];
        let image = &manifest.images[image];
        format!("`{}`", cell_name(&image.id.value, &coordinates(manifest, renderer, image, point)))
    };
    let shown: Vec<String> = said.cells.iter().take(NAMED).map(name).collect();
    let more = match said.cells.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let (image, _) = cells[said.cells[0].0];
    let message = format!("a rule rejects {}{more}: {}", shown.join(", "), said.text);
    Diagnostic::new("rejected-cell", rule.when.at, message)
        .label("true for these")
        .also(manifest.images[image].id.at, "the image")
        .help("exclude the cell, or give its axes values that the rule lets pass")
}
