//! Layers of cells: each distinct one once, with everything rendered.

use std::sync::Arc;

use super::mentions::AxisCollector;
use super::{Expansion, Items};
use crate::manifest::{Chmod, Copy, FileEntry, Image, Layer, LayerContent, Owner, Part, Template};
use crate::matrix::cell::{
    ConcreteContent, ConcreteCopy, ConcreteLayer, ConcretePart, ConcreteRun, LayerId, Source,
};
use crate::matrix::template::{Failed, Point};

impl<'m> Expansion<'m> {
    /// Axes that decide a layer: those of its templates, its conditions and its upstream images.
    fn axes_of_layer(&mut self, position: usize) -> Vec<usize> {
        if let Some(axes) = self.layer_axes.get(&position) {
            return axes.clone();
        }
        let layer = &self.manifest.layers[position];
        let mut collector = AxisCollector { expansion: self, axes: Vec::new() };
        collector.layer(layer);
        let mut axes = collector.axes;
        axes.sort_unstable();
        axes.dedup();
        self.layer_axes.insert(position, axes.clone());
        axes
    }

    /// Adds a layer to those of a cell: none where it is left out, several where it stands for items of a
    /// list.
    pub(super) fn layers(
        &mut self,
        position: usize,
        point: &Point,
        base: Option<&Source>,
        user: &'m Image,
        layers: &mut Vec<LayerId>,
    ) -> Result<(), Failed> {
        let Some(each) = &self.manifest.layers[position].each else {
            let layer = self.layer(position, point, base, (user, &layers[..]), None)?;
            layers.extend(layer);
            return Ok(());
        };
        let items = self.items(each, point)?;
        let mut failed = false;
        for item in items.iter() {
            self.renderer.set_item(Some(item.clone()));
            match self.layer(position, point, base, (user, &layers[..]), Some(item.to_string())) {
                Ok(layer) => layers.extend(layer),
                Err(Failed) => failed = true,
            }
        }
        self.renderer.set_item(None);
        if failed { Err(Failed) } else { Ok(()) }
    }

    /// The items of a list at a point, each list evaluated once.
    pub(super) fn items(&mut self, each: &'m Template, point: &Point) -> Result<Items, Failed> {
        let axes = self.renderer.axes_of_condition(each);
        let key = (each.at, axes.iter().map(|axis| point[*axis]).collect::<Vec<_>>());
        if let Some(known) = self.lists.get(&key) {
            return known.clone();
        }
        let items = self.renderer.items(each, point).map(Arc::from);
        self.lists.insert(key, items.clone());
        items
    }

    fn layer(
        &mut self,
        position: usize,
        point: &Point,
        base: Option<&Source>,
        (user, beneath): (&'m Image, &[LayerId]),
        item: Option<String>,
    ) -> Result<Option<LayerId>, Failed> {
        let layer = &self.manifest.layers[position];
        let axes = self.axes_of_layer(position);
        let projected: Vec<u16> = axes.iter().map(|axis| point[*axis]).collect();
        let elided = self.elided(layer, point, base, user, beneath)?;
        let key = (position, projected, elided, item);
        if let Some(known) = self.memo.get(&key) {
            return *known;
        }
        let name = match &key.3 {
            Some(item) => format!("{}[{item}]", layer.name.value),
            None => layer.name.value.clone(),
        };
        let result = self.concrete_layer(layer, name, point, &key.2, user);
        let result = result.map(|layer| {
            layer.map(|layer| {
                self.layers.push(layer);
                LayerId(self.layers.len() - 1)
            })
        });
        self.memo.insert(key, result);
        result
    }

    /// Whether a condition holds; where there is none it does.
    pub(super) fn wanted(&mut self, condition: Option<&'m Template>, point: &Point) -> Result<bool, Failed> {
        condition.map_or(Ok(true), |condition| self.renderer.holds(condition, point))
    }

    fn concrete_layer(
        &mut self,
        layer: &'m Layer,
        name: String,
        point: &Point,
        elided: &[bool],
        user: &'m Image,
    ) -> Result<Option<ConcreteLayer>, Failed> {
        if !self.wanted(layer.when.as_ref(), point)? {
            return Ok(None);
        }
        let max_age = layer.max_age;
        let parts = match &layer.content {
            LayerContent::Parts(parts) => parts,
            LayerContent::Run(run) => {
                let image = self.source(&run.image, run.at, point, user);
                let keep = self.texts(&run.keep, point);
                let reads = self.texts(&run.reads, point);
                let command = self.command(&run.command, point)?;
                let run = ConcreteRun { image: image?, keep: keep?, reads: reads?, command };
                let content = ConcreteContent::Run(Box::new(run));
                return Ok(Some(ConcreteLayer { name, max_age, content }));
            }
        };
        let mut concrete = Vec::new();
        let mut failed = false;
        for (part, elided) in parts.iter().zip(elided) {
            if *elided {
                continue;
            }
            match self.part(part, &name, point, user) {
                Ok(Some(part)) => concrete.push(part),
                Ok(None) => {}
                Err(Failed) => failed = true,
            }
        }
        if failed {
            return Err(Failed);
        }
        Ok((!concrete.is_empty()).then_some(ConcreteLayer {
            name,
            max_age,
            content: ConcreteContent::Parts(concrete),
        }))
    }

    pub(super) fn part(
        &mut self,
        part: &'m Part,
        layer: &str,
        point: &Point,
        user: &'m Image,
    ) -> Result<Option<ConcretePart>, Failed> {
        Ok(Some(match part {
            Part::Copy(copy) => match self.copy(copy, point, user)? {
                Some(copy) => ConcretePart::Copy(copy),
                None => return Ok(None),
            },
            Part::Tool(tool) => match self.tool(tool, point)? {
                Some(download) => ConcretePart::Download(download),
                None => return Ok(None),
            },
            Part::Download(download) => {
                ConcretePart::Download(self.download(download, layer, 0o644, point, &[])?)
            }
            Part::File(FileEntry { source: Some(source), path, mode, owner, .. }) => ConcretePart::Local {
                path: self.path(path, point, &[])?,
                source: self.beside_manifest(source, point)?,
                mode: octal(mode.as_ref().map(|m| &m.value), 0o644),
                owner: owner.as_ref().map_or(ROOT, |o| o.value),
            },
            Part::File(file) => ConcretePart::File {
                path: self.path(&file.path, point, &[])?,
                content: self.renderer.render(&file.content, point, &[])?.to_string(),
                mode: octal(file.mode.as_ref().map(|m| &m.value), 0o644),
                owner: file.owner.as_ref().map_or(ROOT, |o| o.value),
            },
            Part::Dir(dir) => ConcretePart::Dir {
                path: self.path(&dir.path, point, &[])?,
                mode: octal(dir.mode.as_ref().map(|m| &m.value), 0o755),
                owner: dir.owner.as_ref().map_or(ROOT, |o| o.value),
            },
        }))
    }

    /// A path relative to the manifest as one of this machine.
    fn beside_manifest(&mut self, source: &'m Template, point: &Point) -> Result<String, Failed> {
        let text = self.renderer.render(source, point, &[])?;
        let main = self.manifest.sources.ids().next().map(|file| self.manifest.sources.name(file));
        let directory = main.and_then(|main| std::path::Path::new(main).parent());
        Ok(directory.unwrap_or(std::path::Path::new("")).join(&*text).display().to_string())
    }

    fn copy(
        &mut self,
        copy: &'m Copy,
        point: &Point,
        user: &'m Image,
    ) -> Result<Option<ConcreteCopy>, Failed> {
        if !self.wanted(copy.when.as_ref(), point)? {
            return Ok(None);
        }
        let from = self.source(&copy.from, copy.at, point, user);
        let mut paths = Vec::new();
        for path in &copy.paths {
            paths.push(self.path(path, point, &[])?);
        }
        let to = copy.to.as_ref().map(|to| self.path(to, point, &[])).transpose()?;
        Ok(Some(ConcreteCopy {
            from: from?,
            paths,
            to,
            chmod: copy.chmod.as_ref().map(|c| c.value.clone()),
            owner: copy.owner.as_ref().map(|o| o.value),
        }))
    }
}

pub(super) const ROOT: Owner = Owner { uid: 0, gid: 0 };

pub(super) fn octal(mode: Option<&Chmod>, default: u32) -> u32 {
    match mode {
        Some(mode) => mode.apply(default, false),
        None => default,
    }
}
