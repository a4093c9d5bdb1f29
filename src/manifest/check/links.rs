//! Images that are built on, copied from or run in other images of the matrix.

use std::collections::BTreeSet;

use crate::manifest::{
    Diagnostic, Diagnostics, Image, ImageSource, LayerContent, Located, Location, Manifest, Part,
};

/// Checks that the images of the matrix need each other in no circle, and that every axis of an
/// image that is needed is also an axis of the one that needs it.
pub(in crate::manifest) fn links(manifest: &Manifest, unsure: &BTreeSet<String>, problems: &mut Diagnostics) {
    let links: Vec<Vec<Link<'_>>> = manifest.images.iter().map(|image| of_image(manifest, image)).collect();
    let known = |image: &Image| !unsure.contains(&image.id.value);
    for (image, links) in manifest.images.iter().zip(&links).filter(|(image, _)| known(image)) {
        for link in links.iter().filter(|link| known(&manifest.images[link.target])) {
            axes(manifest, image, link, problems);
        }
    }
    cycles(manifest, &links, problems);
}

/// A need of an image of the matrix.
struct Link<'a> {
    /// Index of the image that is needed.
    target: usize,
    /// Where it is named.
    name: &'a Located<String>,
    /// Where the layer through which it is needed is listed.
    layer: Option<&'a Located<String>>,
}

fn of_image<'a>(manifest: &'a Manifest, image: &'a Image) -> Vec<Link<'a>> {
    let mut links = Vec::new();
    let mut add = |source: &'a ImageSource, layer: Option<&'a Located<String>>| {
        if let ImageSource::Matrix(name) = source
            && let Some(target) = manifest.images.iter().position(|other| other.id.value == name.value)
        {
            links.push(Link { target, name, layer });
        }
    };
    add(&image.base, None);
    for (_, source) in image.dockerfile.iter().flat_map(|made| &made.contexts) {
        add(source, None);
    }
    for listed in &image.layers {
        let Some(layer) = manifest.layers.iter().find(|layer| layer.name.value == listed.value) else {
            continue;
        };
        match &layer.content {
            LayerContent::Run(run) => add(&run.image, Some(listed)),
            LayerContent::Parts(parts) => {
                for part in parts {
                    if let Part::Copy(copy) = part {
                        add(&copy.from, Some(listed));
                    }
                }
            }
        }
    }
    links
}

fn axes(manifest: &Manifest, image: &Image, link: &Link<'_>, problems: &mut Diagnostics) {
    let target = &manifest.images[link.target];
    let own: BTreeSet<&str> = image.axes.iter().map(|axis| axis.value.as_str()).collect();
    let mut missing: Vec<&str> =
        target.axes.iter().map(|axis| axis.value.as_str()).filter(|axis| !own.contains(axis)).collect();
    missing.dedup();
    if missing.is_empty() || target.id.value == image.id.value {
        return;
    }
    let (names, what) = (missing.join("`, `"), if missing.len() == 1 { "axis" } else { "axes" });
    let message = format!(
        "image `{}` needs `{}`, which varies on the {what} `{names}` that it does not have",
        image.id.value, target.id.value
    );
    let mut problem = Diagnostic::new("missing-axis", link.name.at, message)
        .label(format!("which cell of `{}` is meant?", target.id.value))
        .help(format!(
            "add `{names}` to `axes` of `{}`, or take it from an image without {}",
            image.id.value,
            if missing.len() == 1 { "this axis" } else { "these axes" }
        ));
    if let Some(layer) = link.layer {
        problem = problem.also(layer.at, format!("`{}` has this layer", image.id.value));
    }
    problems.push(problem);
}

/// Reports each circle once, from the image of it that is declared first.
fn cycles(manifest: &Manifest, links: &[Vec<Link<'_>>], problems: &mut Diagnostics) {
    let mut done = vec![false; links.len()];
    for start in 0..links.len() {
        // Depth first, without recursion: a path of images and the next link of each to follow.
        let mut path: Vec<(usize, usize)> = vec![(start, 0)];
        while let Some((image, next)) = path.last().copied() {
            let Some(link) = links[image].get(next) else {
                done[image] = true;
                path.pop();
                continue;
            };
            if let Some((_, next)) = path.last_mut() {
                *next += 1;
            }
            if let Some(first) = path.iter().position(|(seen, _)| *seen == link.target) {
                report(manifest, links, &path[first..], problems);
            } else if !done[link.target] {
                path.push((link.target, 0));
            }
        }
    }
}

fn report(
    manifest: &Manifest,
    links: &[Vec<Link<'_>>],
    cycle: &[(usize, usize)],
    problems: &mut Diagnostics,
) {
    let name = |image: usize| manifest.images[image].id.value.as_str();
    let Some(&(first, _)) = cycle.first() else { return };
    let path: Vec<&str> = cycle.iter().map(|(image, _)| name(*image)).chain([name(first)]).collect();
    let place = |(image, next): &(usize, usize)| -> Option<Location> {
        links[*image].get(next - 1).map(|l| l.name.at)
    };
    let mut places = cycle.iter().filter_map(place);
    let Some(at) = places.next() else { return };
    let mut seen = BTreeSet::from([at]);
    let problem = Diagnostic::new(
        "image-cycle",
        at,
        format!("images need each other: {}", path.join(" -> ")),
    )
    .label("needed here")
    .help(
        "an image can only use images that are finished before it: take the shared files from a third image",
    );
    let problem = places.fold(
        problem,
        |problem, at| {
            if seen.insert(at) { problem.also(at, "and here") } else { problem }
        },
    );
    problems.push(problem);
}
