//! What cells need: other cells, images, the users of bases.

use std::collections::BTreeSet;

use crate::matrix::{Cell, CellId, ConcreteContent, ConcretePart, Matrix, Source};
use crate::oci::Reference;

/// The external bases of cells whose setup steps change the user, which is given back afterwards.
pub fn bases_with_users(matrix: &Matrix, cells: &[CellId]) -> BTreeSet<Reference> {
    let changes = |cell: &Cell| cell.setup.iter().any(|command| command.user.is_some());
    let needed = closure(matrix, cells);
    let bases =
        needed.into_iter().map(|id| &matrix.cells[id.0]).filter(|cell| changes(cell)).filter_map(|cell| {
            let mut base = &cell.base;
            while let Source::Cell(id) = base {
                base = &matrix.cells[id.0].base;
            }
            match base {
                Source::Reference(reference) => Some(reference.clone()),
                _ => None,
            }
        });
    bases.collect()
}

/// The cells and those that they need.
pub(super) fn closure(matrix: &Matrix, cells: &[CellId]) -> BTreeSet<CellId> {
    let mut found = BTreeSet::new();
    let mut stack = cells.to_vec();
    while let Some(id) = stack.pop() {
        if !found.insert(id) {
            continue;
        }
        for source in sources(matrix, &matrix.cells[id.0]) {
            if let Source::Cell(id) = source {
                stack.push(*id);
            }
        }
    }
    found
}

/// The images that a cell takes from: its base, those of its layers.
pub(super) fn sources<'m>(matrix: &'m Matrix, cell: &'m Cell) -> Vec<&'m Source> {
    let mut sources = vec![&cell.base];
    for layer in &cell.layers {
        match &matrix.layers[layer.0].content {
            ConcreteContent::Run(run) => sources.push(&run.image),
            ConcreteContent::Parts(parts) => sources.extend(parts.iter().filter_map(|part| match part {
                ConcretePart::Copy(copy) => Some(&copy.from),
                _ => None,
            })),
        }
    }
    sources
}
