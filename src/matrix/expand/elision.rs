//! Copies out of a cell's own base to the same path: left out while nothing before them can have changed
//! what the base has there.

use super::Expansion;
use crate::manifest::{Copy, Image, Layer, LayerContent, Part};
use crate::matrix::cell::{ConcreteContent, ConcreteLayer, ConcretePart, LayerId, Source, mentions_base_env};
use crate::matrix::template::{Failed, Point};

impl<'m> Expansion<'m> {
    /// For each part of a layer whether it is left out; `beneath` are the layers that the cell has so far.
    pub(super) fn elided(
        &mut self,
        layer: &'m Layer,
        point: &Point,
        base: Option<&Source>,
        user: &'m Image,
        beneath: &[LayerId],
    ) -> Result<Vec<bool>, Failed> {
        let LayerContent::Parts(parts) = &layer.content else { return Ok(Vec::new()) };
        if !self.wanted(layer.when.as_ref(), point)? {
            return Ok(Vec::new());
        }
        let mut elided = Vec::with_capacity(parts.len());
        for (at, part) in parts.iter().enumerate() {
            let hit = match (part, base) {
                (Part::Copy(copy), Some(base))
                    if copy.to.is_none()
                        && copy.chmod.is_none()
                        && copy.owner.is_none()
                        && self.wanted(copy.when.as_ref(), point)? =>
                {
                    self.source(&copy.from, copy.at, point, user)? == *base
                        && !self.is_changed(copy, (&parts[..at], &elided), point, user, beneath)?
                }
                _ => false,
            };
            elided.push(hit);
        }
        Ok(elided)
    }

    /// Whether one of the layers beneath, or a part before it in its own layer, may write what is copied.
    fn is_changed(
        &mut self,
        copy: &'m Copy,
        (before, elided): (&'m [Part], &[bool]),
        point: &Point,
        user: &'m Image,
        beneath: &[LayerId],
    ) -> Result<bool, Failed> {
        let paths = self.texts(&copy.paths, point)?;
        let changes = |layer: &ConcreteLayer| paths.iter().any(|path| writes(&layer.content, path));
        if beneath.iter().any(|layer| changes(&self.layers[layer.0])) {
            return Ok(true);
        }
        for (part, _) in before.iter().zip(elided).filter(|(_, elided)| !**elided) {
            let Some(part) = self.part(part, &user.id.value, point, user)? else { continue };
            if paths.iter().any(|path| part_writes(&part, path)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether a layer may write a path, or something below it.
fn writes(content: &ConcreteContent, path: &str) -> bool {
    match content {
        ConcreteContent::Parts(parts) => parts.iter().any(|part| part_writes(part, path)),
        ConcreteContent::Run(run) => run.keep.iter().any(|kept| overlap(kept, path)),
    }
}

fn part_writes(part: &ConcretePart, path: &str) -> bool {
    match part {
        ConcretePart::Copy(copy) => match &copy.to {
            Some(to) => overlap(to, path),
            None => copy.paths.iter().any(|copied| overlap(copied, path)),
        },
        ConcretePart::Download(download) => overlap(&download.path, path),
        ConcretePart::File { path: file, .. } | ConcretePart::Local { path: file, .. } => overlap(file, path),
        // It changes nothing of what it holds.
        ConcretePart::Dir { path: directory, .. } => is_within(directory, path),
    }
}

/// Whether one of two paths lies within the other.
fn overlap(a: &str, b: &str) -> bool {
    is_within(a, b) || is_within(b, a)
}

/// Whether a path is another one or lies below it; where one is not known yet, it may.
fn is_within(path: &str, directory: &str) -> bool {
    if mentions_base_env(path) || mentions_base_env(directory) {
        return true;
    }
    let mut within = components(path);
    components(directory).all(|part| within.next() == Some(part))
}

fn components(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !matches!(*part, "" | "."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_overlap_where_one_holds_the_other() {
        assert!(overlap("/opt", "/opt/x/y"));
        assert!(overlap("/opt/x/", "/opt"));
        assert!(overlap("/", "/opt"));
        assert!(overlap("/opt/./x", "//opt/x"));
        assert!(!overlap("/opt", "/opt2"));
        assert!(!overlap("/opt/a", "/opt/b"));
        assert!(overlap("\u{1}HOME\u{2}/x", "/opt"), "nobody knows yet where it is");
    }
}
