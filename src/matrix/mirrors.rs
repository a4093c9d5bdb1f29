//! The mirrors of a manifest, rendered. They belong to no cell.

use super::expand::Overrides;
use super::template::{Renderer, environment};
use crate::manifest::{Diagnostic, Diagnostics, Location, Manifest, Template};
use crate::oci::RepositoryName;

/// A mirror whose texts are rendered; the names in its file are not read yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConcreteMirror {
    /// Its name.
    pub name: String,
    /// The names of images, each with its place.
    pub images: Vec<(String, Location)>,
    /// A file with further names, relative to the manifest, and its place.
    pub file: Option<(String, Location)>,
    /// Where images that name no registry come from.
    pub from: Option<String>,
    /// What the names are put behind.
    pub to: String,
    /// Whether signatures and other referrers are copied too.
    pub referrers: bool,
}

/// The mirrors of a manifest, in order of declaration.
///
/// # Errors
/// Every text that cannot be rendered, or renders to something else than is wanted.
pub fn mirrors(manifest: &Manifest, overrides: &Overrides) -> Result<Vec<ConcreteMirror>, Diagnostics> {
    if manifest.mirrors.is_empty() {
        return Ok(Vec::new());
    }
    let environment = environment();
    let mut renderer = Renderer::new(&environment, manifest, &overrides.variables(manifest));
    // Mistakes in attributes are the expansion's to report.
    let known = renderer.diagnostics.0.len();
    let mut found = Vec::new();
    for mirror in &manifest.mirrors {
        let to = prefix(&mut renderer, &mirror.to);
        let from = mirror.from.as_ref().and_then(|from| prefix(&mut renderer, from));
        let file = mirror.file.as_ref().and_then(|file| Some((text(&mut renderer, file)?, file.at)));
        let images = mirror.images.iter().filter_map(|image| Some((text(&mut renderer, image)?, image.at)));
        let images: Vec<(String, Location)> = images.collect();
        let Some(to) = to else { continue };
        for (name, at) in &images {
            // What is wrong with a name alone, without where it comes from and goes to.
            if let Err(error) = name.parse::<crate::oci::Reference>() {
                refuse(&mut renderer, *at, "malformed-reference", &error.to_string());
            }
        }
        let name = mirror.name.value.clone();
        found.push(ConcreteMirror { name, images, file, from, to, referrers: mirror.referrers });
    }
    let mut problems = Diagnostics(renderer.diagnostics.0.split_off(known));
    problems.sort();
    if problems.is_empty() { Ok(found) } else { Err(problems) }
}

fn text<'m>(renderer: &mut Renderer<'m>, template: &'m Template) -> Option<String> {
    if !renderer.axes_of(template).is_empty() {
        let message = "a mirror belongs to no cell: no axis has a value here";
        let diagnostic = Diagnostic::new("axis-in-mirror", template.at, message)
            .help("write the text out; it may use `vars`, and rows as `axes.NAME[\"value\"]`");
        renderer.diagnostics.push(diagnostic);
        return None;
    }
    renderer.render(template, &[], &[]).ok().map(|text| text.to_string())
}

fn prefix<'m>(renderer: &mut Renderer<'m>, template: &'m Template) -> Option<String> {
    let text = text(renderer, template)?;
    match format!("{text}/x").parse::<RepositoryName>() {
        Ok(_) => Some(text),
        Err(_) => {
            let why = format!("`{text}` is not a registry and path that repositories can start with");
            refuse(renderer, template.at, "malformed-repository", &why);
            None
        }
    }
}

fn refuse(renderer: &mut Renderer<'_>, at: Location, code: &'static str, why: &str) {
    renderer
        .diagnostics
        .push(Diagnostic::new(code, at, why).help("check the template and the values that it takes"));
}
