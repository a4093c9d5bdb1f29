//! The points of an image: product, zip, exclude, `when`, include.

use std::collections::HashSet;
use std::sync::Arc;

use globset::Glob;

use super::template::{ABSENT, Point, Renderer};
use crate::manifest::{Diagnostic, Image, Manifest, Row};

/// For each axis of the manifest the position of a value, or [`ABSENT`].
pub(super) type OwnedPoint = Vec<u16>;

/// Every point of an image, in order, each once.
pub(super) fn points<'m>(
    manifest: &'m Manifest,
    image: &'m Image,
    renderer: &mut Renderer<'m>,
) -> Vec<OwnedPoint> {
    let axes: Vec<usize> = image.axes.iter().filter_map(|a| position(manifest, &a.value)).collect();
    let excludes: Vec<Vec<(usize, HashSet<u16>)>> =
        image.exclude.iter().map(|row| excluded(manifest, row)).collect();
    let mut points = Vec::new();
    let mut seen = HashSet::new();
    let mut point = vec![ABSENT; manifest.axes.len()];
    let dimensions = dimensions(manifest, image, &axes);
    product(manifest, &dimensions, &mut point, &mut |point| {
        let out = excludes.iter().any(|row| row.iter().all(|(axis, values)| values.contains(&point[*axis])));
        if !out && seen.insert(point.to_vec()) {
            points.push(point.to_vec());
        }
    });
    for row in &image.include {
        let mut point = vec![ABSENT; manifest.axes.len()];
        for (axis, name) in &row.values {
            let Some(axis) = position(manifest, axis) else { continue };
            if let Some(value) = manifest.axes[axis].values.iter().position(|v| v.name.value == name.value) {
                point[axis] = value as u16;
            }
        }
        if seen.insert(point.clone()) {
            points.push(point);
        }
    }
    if points.is_empty() {
        let mut diagnostic =
            Diagnostic::new("no-cells", image.id.at, format!("`{}` has no cells left", image.id.value))
                .label("of this image")
                .help("exclude fewer, or take the image out");
        if let Some(row) = image.exclude.first() {
            diagnostic = diagnostic.also(row.at, "excluded here");
        }
        renderer.diagnostics.push(diagnostic);
    }
    if let Some(condition) = &image.when {
        points.retain(|point| renderer.holds(condition, point).unwrap_or(false));
    }
    points
}

/// Axis and value of a point, in the image's order of axes.
pub(super) fn coordinates(
    manifest: &Manifest,
    renderer: &Renderer<'_>,
    image: &Image,
    point: &Point,
) -> Vec<(Arc<str>, Arc<str>)> {
    let axes = image.axes.iter().filter_map(|name| Some((name, position(manifest, &name.value)?)));
    axes.map(|(name, axis)| (name.value.as_str().into(), renderer.value_name(axis, point[axis]))).collect()
}

/// `image[axis=value,…]`, or `image` without axes.
pub(super) fn cell_name(image: &str, coordinates: &[(Arc<str>, Arc<str>)]) -> String {
    if coordinates.is_empty() {
        return image.to_owned();
    }
    let values: Vec<String> = coordinates.iter().map(|(axis, value)| format!("{axis}={value}")).collect();
    format!("{image}[{}]", values.join(","))
}

fn position(manifest: &Manifest, axis: &str) -> Option<usize> {
    manifest.axes.iter().position(|a| a.name.value == axis)
}

fn excluded(manifest: &Manifest, row: &Row) -> Vec<(usize, HashSet<u16>)> {
    row.values
        .iter()
        .filter_map(|(axis, pattern)| {
            let axis = position(manifest, axis)?;
            let glob = Glob::new(&pattern.value).ok()?.compile_matcher();
            let names = manifest.axes[axis].values.iter().enumerate();
            let hits = names.filter(|(_, v)| glob.is_match(&v.name.value) || v.name.value == pattern.value);
            Some((axis, hits.map(|(i, _)| i as u16).collect()))
        })
        .collect()
}

/// Axes that advance together are one dimension, at the place of the first of them.
fn dimensions(manifest: &Manifest, image: &Image, axes: &[usize]) -> Vec<Vec<usize>> {
    let mut dimensions: Vec<Vec<usize>> = Vec::new();
    for axis in axes {
        let group = image
            .zip
            .iter()
            .find(|group| group.iter().any(|name| position(manifest, &name.value) == Some(*axis)));
        match group {
            None => dimensions.push(vec![*axis]),
            Some(group) => {
                let group: Vec<usize> = group.iter().filter_map(|n| position(manifest, &n.value)).collect();
                if !dimensions.contains(&group) {
                    dimensions.push(group);
                }
            }
        }
    }
    dimensions
}

fn product(
    manifest: &Manifest,
    dimensions: &[Vec<usize>],
    point: &mut OwnedPoint,
    visit: &mut impl FnMut(&[u16]),
) {
    let Some((first, rest)) = dimensions.split_first() else {
        visit(point);
        return;
    };
    let length = first.iter().map(|axis| manifest.axes[*axis].values.len()).min().unwrap_or(0);
    for value in 0..length {
        for axis in first {
            point[*axis] = value as u16;
        }
        product(manifest, rest, point, visit);
    }
    for axis in first {
        point[*axis] = ABSENT;
    }
}
