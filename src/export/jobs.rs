//! A matrix divided into the jobs of a pipeline: one for each point of some axes.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;

use crate::manifest::Manifest;
use crate::matrix::{Cell, CellId, Matrix};

/// Names that the matrix of a pipeline has another meaning for.
const RESERVED: &[&str] = &["exclude", "include", "maxConcurrency", "nodeName"];

/// A point: axis and value.
pub(super) type Point = Vec<(String, String)>;

/// The jobs of a pipeline.
#[derive(Debug, Clone)]
pub struct Jobs {
    /// The project's name.
    pub project: String,
    /// The registry that is pushed to, as Docker's configuration names it.
    pub registry: String,
    /// Variables of the manifest with the values that it gives them, in order.
    pub variables: Vec<(String, String)>,
    /// Images that lack an axis of the division: built once, before the others.
    pub shared: Vec<String>,
    /// Images that have the axes, with the points that they have; images with equal points together.
    pub groups: Vec<Group>,
    /// Keys of outputs that images define.
    pub outputs: BTreeSet<String>,
}

/// Images that are built at the same points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The images.
    pub images: Vec<String>,
    /// Axis -> values, in order.
    pub axes: Vec<(String, Vec<String>)>,
    /// Points of the product that have no cell.
    pub exclude: Vec<Point>,
}

/// The texts of a manifest, to be carried along.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Path relative to the manifest's directory -> text; the manifest first, the lock last.
    pub files: Vec<(String, String)>,
}

/// Why a matrix cannot be divided so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobsError {
    /// No such axis.
    #[error("no chosen cell has the axis `{0}`")]
    UnknownAxis(String),
    /// The name has another meaning.
    #[error("the axis `{0}` cannot be one of a pipeline's matrix, which has another meaning for that name")]
    ReservedAxis(String),
    /// A value that cannot be handed on.
    #[error("the value `{1}` of the axis `{0}` cannot be handed on to `--only`")]
    Value(String, String),
    /// More jobs than the service makes of a matrix.
    #[error("the image `{image}` would have {count} jobs, of which GitHub makes {most} at most")]
    TooMany {
        /// The image.
        image: String,
        /// Points that have a cell.
        count: usize,
        /// What is allowed.
        most: usize,
    },
    /// The choice has another form.
    #[error(
        "of the image `{image}` only some cells at {point} are chosen, which jobs by these axes cannot be"
    )]
    Choice {
        /// The image.
        image: String,
        /// The point.
        point: String,
    },
}

/// Divides the chosen cells by these axes, or by one that suits them where none is named. Variables have
/// the manifest's own values: what is set from outside may be a credential.
///
/// # Errors
/// See [`JobsError`].
pub fn jobs(
    manifest: &Manifest,
    matrix: &Matrix,
    cells: &[CellId],
    axes: &[String],
) -> Result<Jobs, JobsError> {
    let chosen: Vec<&Cell> = cells.iter().map(|id| &matrix.cells[id.0]).collect();
    let axes = match axes {
        [] => usual_axis(manifest, &chosen).into_iter().collect(),
        axes => axes.to_vec(),
    };
    for axis in &axes {
        if !chosen.iter().any(|cell| value_of(cell, axis).is_some()) {
            return Err(JobsError::UnknownAxis(axis.clone()));
        }
        if RESERVED.contains(&axis.as_str()) {
            return Err(JobsError::ReservedAxis(axis.clone()));
        }
    }
    let mut shared: Vec<String> = Vec::new();
    let mut by_image: Vec<(String, Vec<Point>)> = Vec::new();
    let mut known: HashMap<String, HashSet<Point>> = HashMap::new();
    for cell in &chosen {
        let image = cell.image.to_string();
        match point(cell, &axes) {
            Some(point) if !axes.is_empty() => {
                for (axis, value) in &point {
                    if value.contains([',', '=', '*', '?', '[', '{', '"', '$', '`', '\\']) {
                        return Err(JobsError::Value(axis.clone(), value.clone()));
                    }
                }
                if !known.entry(image.clone()).or_default().insert(point.clone()) {
                    continue;
                }
                match by_image.iter_mut().find(|(known, _)| *known == image) {
                    Some((_, points)) => points.push(point),
                    None => by_image.push((image, vec![point])),
                }
            }
            _ if shared.contains(&image) => {}
            _ => shared.push(image),
        }
    }
    complete(matrix, cells, &axes, &shared, &known)?;
    let mut groups: Vec<(Vec<String>, Vec<Point>)> = Vec::new();
    for (image, points) in by_image {
        match groups.iter_mut().find(|(_, known)| *known == points) {
            Some((images, _)) => images.push(image),
            None => groups.push((vec![image], points)),
        }
    }
    let registry = chosen.iter().flat_map(|cell| &cell.references).next();
    let registry = match registry.map(|reference| reference.name.registry.as_str()) {
        // What Docker Hub is called in the configuration of Docker's clients.
        Some("docker.io") | None => "https://index.docker.io/v1/".to_owned(),
        Some(host) => host.to_owned(),
    };
    let outputs = chosen.iter().flat_map(|cell| &cell.outputs).map(|(key, _)| key.to_string());
    Ok(Jobs {
        project: matrix.project.clone(),
        registry,
        variables: manifest.vars.iter().map(|(name, value)| (name.clone(), value.value.clone())).collect(),
        shared,
        groups: groups.into_iter().map(|(images, points)| group(images, &axes, &points)).collect(),
        outputs: outputs.collect(),
    })
}

/// Of the axes that at least half of the cells have, the one that divides them furthest.
fn usual_axis(manifest: &Manifest, cells: &[&Cell]) -> Option<String> {
    let values = |axis: &str| -> Vec<&str> { cells.iter().filter_map(|cell| value_of(cell, axis)).collect() };
    let counted = manifest.axes.iter().filter_map(|axis| {
        let values = values(&axis.name.value);
        let distinct: BTreeSet<&str> = values.iter().copied().collect();
        (2 * values.len() >= cells.len() && !values.is_empty()).then_some((distinct.len(), &axis.name.value))
    });
    // The first of several that are equal.
    let best = counted.reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.map(|(_, axis)| axis.clone())
}

fn value_of<'c>(cell: &'c Cell, axis: &str) -> Option<&'c str> {
    cell.coordinates.iter().find(|(name, _)| &**name == axis).map(|(_, value)| &**value)
}

fn point(cell: &Cell, axes: &[String]) -> Option<Point> {
    axes.iter().map(|axis| Some((axis.clone(), value_of(cell, axis)?.to_owned()))).collect()
}

/// Whether `image=…,AXIS=…` chooses what was chosen.
fn complete(
    matrix: &Matrix,
    cells: &[CellId],
    axes: &[String],
    shared: &[String],
    points: &HashMap<String, HashSet<Point>>,
) -> Result<(), JobsError> {
    let chosen: BTreeSet<usize> = cells.iter().map(|id| id.0).collect();
    for (_, cell) in matrix.cells.iter().enumerate().filter(|(at, _)| !chosen.contains(at)) {
        let point = point(cell, axes).unwrap_or_default();
        let met = points.get(&*cell.image).is_some_and(|points| points.contains(&point));
        if met || shared.iter().any(|image| **image == *cell.image) {
            let mut text = String::new();
            for (axis, value) in &point {
                let _ = write!(text, "{}{axis}={value}", if text.is_empty() { "" } else { "," });
            }
            let point = if text.is_empty() { "no point".into() } else { format!("`{text}`") };
            return Err(JobsError::Choice { image: cell.image.to_string(), point });
        }
    }
    Ok(())
}

fn group(images: Vec<String>, names: &[String], points: &[Point]) -> Group {
    let mut axes: Vec<(String, Vec<String>)> = names.iter().map(|name| (name.clone(), Vec::new())).collect();
    let mut known: HashSet<(usize, String)> = HashSet::new();
    for point in points {
        for (at, ((_, values), (_, value))) in axes.iter_mut().zip(point).enumerate() {
            if known.insert((at, value.clone())) {
                values.push(value.clone());
            }
        }
    }
    let product = axes.iter().fold(vec![Point::new()], |points, (axis, values)| {
        let longer = |point: &Point, value: &String| {
            let mut point = point.clone();
            point.push((axis.clone(), value.clone()));
            point
        };
        points.iter().flat_map(|point| values.iter().map(move |value| longer(point, value))).collect()
    });
    let points: HashSet<&Point> = points.iter().collect();
    let exclude = product.into_iter().filter(|point| !points.contains(point)).collect();
    Group { images, axes, exclude }
}

impl Sources {
    /// Lines of shell that write the files; each between delimiters that it does not have.
    pub(super) fn written(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let directories: BTreeSet<&str> =
            self.files.iter().filter_map(|(path, _)| Some(path.rsplit_once('/')?.0)).collect();
        lines.extend(directories.iter().map(|directory| format!("mkdir -p '{directory}'")));
        for (path, text) in &self.files {
            let mut end = "END_OF_FILE".to_owned();
            while text.split('\n').any(|line| line == end) {
                end.push('_');
            }
            lines.push(format!("cat >'{path}' <<'{end}'"));
            // Only at `\n`: what stands before it belongs to the file.
            lines.extend(text.trim_end_matches('\n').split('\n').map(str::to_owned));
            lines.push(end);
            if text.starts_with("#!") {
                lines.push(format!("chmod +x '{path}'"));
            }
        }
        lines
    }
}
