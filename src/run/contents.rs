//! Checks of a finished image that need no container: its files, by the layers' indexes, and its size.

use std::sync::Arc;

use super::error::StepError;
use super::worker::{Worker, used};
use crate::layer::{Kind, LayerError, Node, Tree, TreePath};
use crate::manifest::{FileKind, SizeBudget};
use crate::matrix::{CellId, ConcreteCheck, ConcreteFileCheck, Source};
use crate::oci::Descriptor;
use crate::plan::StepId;

/// How many findings a failure names.
const NAMED: usize = 10;

impl Worker {
    /// Judges files and size of a finished image.
    ///
    /// # Errors
    /// All that is otherwise than the check demands.
    pub(super) async fn contents(
        self: &Arc<Self>,
        id: StepId,
        cell: CellId,
        check: &ConcreteCheck,
    ) -> Result<(), StepError> {
        let layers = self.image(cell)?.layers.clone();
        let mut findings = Vec::new();
        if !check.files.is_empty() {
            let files = self.images.stack(&layers, &self.progress(id)).await?;
            for wanted in &check.files {
                findings.extend(judge(&files.tree, wanted)?);
            }
        }
        if !check.size.is_empty() {
            let base = self.base_layers(cell, layers.len()).await?;
            findings.extend(weigh(&layers, base, check.size));
        }
        if findings.is_empty() {
            return Ok(());
        }
        let more = match findings.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!("\n    and {more} more"),
        };
        findings.truncate(NAMED);
        let message = format!("check `{}`: {}{more}", check.name, findings.join("\n    "));
        Err(StepError::new(message)
            .help("correct what makes the image, or the check; the image's tags were not moved"))
    }

    /// How many of an image's layers are its base's.
    async fn base_layers(&self, id: CellId, all: usize) -> Result<usize, StepError> {
        let cell = self.cell(id);
        let base = match &cell.base {
            Source::Dockerfile(made) => self.matrix.recipe(*made).base(),
            base => base,
        };
        Ok(match base {
            Source::Scratch | Source::Dockerfile(_) => 0,
            Source::Reference(_) | Source::Layout(_) => {
                self.resolved(&used(base)).await?.layers.len().min(all)
            }
            Source::Cell(base) => match self.finished_image(*base) {
                Some(image) => image.layers.len().min(all),
                // Of a setup step that changed nothing one layer of the base would count as added.
                None => all.saturating_sub(cell.layers.len() + cell.setup.len()),
            },
        })
    }
}

/// What is otherwise than wanted at a path.
fn judge(tree: &Tree, wanted: &ConcreteFileCheck) -> Result<Vec<String>, LayerError> {
    let path = TreePath::parse(&wanted.path)?;
    let found = tree.get(&tree.resolve(&path, false)?);
    let name = &wanted.path;
    let Some(node) = found else {
        let missing = || format!("`{name}` is not in the image{}", description(wanted));
        return Ok(if wanted.absent { Vec::new() } else { vec![missing()] });
    };
    if wanted.absent {
        return Ok(vec![format!("`{name}` is in the image, a {}; it must not be there", node.kind.word())]);
    }
    let mut findings = Vec::new();
    if let Some(kind) = wanted.kind
        && !is(&node, kind)
    {
        findings.push(format!("`{name}` is a {}, wanted is a {}", node.kind.word(), word(kind)));
    }
    if let Some(mode) = wanted.mode
        && node.meta.mode != mode
    {
        findings.push(format!("`{name}` has mode {:04o}, wanted is {mode:04o}", node.meta.mode));
    }
    if let Some(owner) = wanted.owner
        && (node.meta.uid, node.meta.gid) != (owner.uid, owner.gid)
    {
        let (uid, gid) = (node.meta.uid, node.meta.gid);
        findings.push(format!("`{name}` has owner {uid}:{gid}, wanted is {}:{}", owner.uid, owner.gid));
    }
    Ok(findings)
}

fn is(node: &Node, kind: FileKind) -> bool {
    match kind {
        FileKind::File => matches!(node.kind, Kind::File { .. }),
        FileKind::Directory => node.is_dir(),
        FileKind::Link => matches!(node.kind, Kind::Symlink { .. }),
    }
}

fn word(kind: FileKind) -> &'static str {
    match kind {
        FileKind::File => "file",
        FileKind::Directory => "directory",
        FileKind::Link => "symbolic link",
    }
}

/// `; wanted is a file with mode 0755 and owner 0:0`, as far as it is said.
fn description(wanted: &ConcreteFileCheck) -> String {
    let mut properties = Vec::new();
    properties.extend(wanted.mode.map(|mode| format!("mode {mode:04o}")));
    properties.extend(wanted.owner.map(|owner| format!("owner {}:{}", owner.uid, owner.gid)));
    let what = match (wanted.kind, properties.is_empty()) {
        (None, true) => return String::new(),
        (kind, true) => return format!("; wanted is a {}", kind.map_or("file", word)),
        (Some(kind), false) => format!("a {}", word(kind)),
        (None, false) => "something".to_owned(),
    };
    format!("; wanted is {what} with {}", properties.join(" and "))
}

/// What is larger than it may be.
fn weigh(layers: &[Descriptor], base: usize, budget: SizeBudget) -> Vec<String> {
    let sum = |layers: &[Descriptor]| layers.iter().map(|layer| layer.size).sum::<u64>();
    let over = |what: &str, found: u64, limit: Option<u64>| {
        let limit = limit.filter(|limit| found > *limit)?;
        Some(format!("{what} {} compressed, at most {} are allowed", bytes(found), bytes(limit)))
    };
    let image = over("the image has", sum(layers), budget.image);
    let added = over("the layers above the base have", sum(&layers[base..]), budget.added);
    image.into_iter().chain(added).collect()
}

/// `5242880 bytes (5.0 MiB)`.
fn bytes(bytes: u64) -> String {
    let (unit, size) = match bytes {
        0..1024 => return format!("{bytes} bytes"),
        1024..1_048_576 => ("KiB", 1024.0),
        1_048_576..1_073_741_824 => ("MiB", 1_048_576.0),
        _ => ("GiB", 1_073_741_824.0),
    };
    format!("{bytes} bytes ({:.1} {unit})", bytes as f64 / size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Owner;
    use crate::oci::{Digest, MEDIA_LAYER_GZIP};

    fn wanted(path: &str) -> ConcreteFileCheck {
        ConcreteFileCheck { path: path.into(), kind: None, mode: None, owner: None, absent: false }
    }

    #[test]
    fn what_is_not_there_is_described() {
        let tree = Tree::default();
        let file = ConcreteFileCheck {
            kind: Some(FileKind::File),
            mode: Some(0o755),
            owner: Some(Owner { uid: 1001, gid: 0 }),
            ..wanted("/opt/x")
        };
        let said = "`/opt/x` is not in the image; wanted is a file with mode 0755 and owner 1001:0";
        assert_eq!(judge(&tree, &file).unwrap(), [said]);
        assert_eq!(judge(&tree, &wanted("/opt/x")).unwrap(), ["`/opt/x` is not in the image"]);
        assert!(judge(&tree, &ConcreteFileCheck { absent: true, ..wanted("/opt/x") }).unwrap().is_empty());
        // The root is always there.
        let root = ConcreteFileCheck { absent: true, ..wanted("/") };
        assert_eq!(judge(&tree, &root).unwrap(), ["`/` is in the image, a directory; it must not be there"]);
        let root = ConcreteFileCheck { kind: Some(FileKind::Link), mode: Some(0o700), ..wanted("/") };
        assert_eq!(
            judge(&tree, &root).unwrap(),
            ["`/` is a directory, wanted is a symbolic link", "`/` has mode 0755, wanted is 0700"]
        );
    }

    #[test]
    fn budgets_are_of_all_layers_and_of_those_above_the_base() {
        let layer = |size| Descriptor::new(MEDIA_LAYER_GZIP, Digest::of(b"x"), size);
        let layers = [layer(2 << 20), layer(1500), layer(500)];
        let budget = |image, added| SizeBudget { image, added };
        assert!(weigh(&layers, 1, budget(Some((2 << 20) + 2000), Some(2000))).is_empty());
        assert_eq!(
            weigh(&layers, 1, budget(Some(2 << 20), Some(1024))),
            [
                "the image has 2099152 bytes (2.0 MiB) compressed, at most 2097152 bytes (2.0 MiB) are allowed",
                "the layers above the base have 2000 bytes (2.0 KiB) compressed, at most 1024 bytes (1.0 KiB) are allowed",
            ]
        );
    }
}
