//! The axes that decide a layer: those that its templates mention.

use super::Expansion;
use crate::manifest::{Command, Download, ImageSource, Layer, LayerContent, Part, Template};

/// Walks a layer for the axes that decide it.
pub(super) struct AxisCollector<'a, 'm> {
    pub(super) expansion: &'a mut Expansion<'m>,
    pub(super) axes: Vec<usize>,
}

impl<'m> AxisCollector<'_, 'm> {
    fn template(&mut self, template: &'m Template) {
        let axes = self.expansion.renderer.axes_of(template);
        self.axes.extend(axes);
    }

    fn condition(&mut self, condition: Option<&'m Template>) {
        if let Some(condition) = condition {
            let axes = self.expansion.renderer.axes_of_condition(condition);
            self.axes.extend(axes);
        }
    }

    fn all<'t>(&mut self, templates: impl IntoIterator<Item = &'m Template>)
    where
        'm: 't,
    {
        for template in templates {
            self.template(template);
        }
    }

    fn source(&mut self, source: &'m ImageSource) {
        match source {
            ImageSource::Scratch => {}
            ImageSource::Reference(template) => self.template(template),
            ImageSource::Matrix(name) => {
                let manifest = self.expansion.manifest;
                let Some(position) = self.expansion.image_positions.get(name.value.as_str()) else { return };
                let axes = &manifest.images[*position].axes;
                self.axes.extend(
                    axes.iter().filter_map(|a| manifest.axes.iter().position(|x| x.name.value == a.value)),
                );
            }
        }
    }

    pub(super) fn command(&mut self, command: &'m Command) {
        self.template(&command.script);
        self.all(command.env.values());
        self.all(&command.user);
        self.all(&command.workdir);
        self.all(&command.cache);
    }

    fn download(&mut self, download: &'m Download) {
        self.all(&download.urls);
        self.all(&download.sha256);
        self.template(&download.path);
        if let Some(extract) = &download.extract {
            self.all(&extract.members);
        }
    }

    pub(super) fn layer(&mut self, layer: &'m Layer) {
        self.condition(layer.when.as_ref());
        match &layer.content {
            LayerContent::Run(run) => {
                self.source(&run.image);
                self.all(&run.keep);
                self.all(&run.reads);
                self.command(&run.command);
            }
            LayerContent::Parts(parts) => parts.iter().for_each(|part| self.part(part)),
        }
    }

    fn part(&mut self, part: &'m Part) {
        match part {
            Part::Copy(copy) => {
                self.condition(copy.when.as_ref());
                self.source(&copy.from);
                self.all(&copy.paths);
                self.all(&copy.to);
            }
            Part::Tool(tool_use) => {
                self.condition(tool_use.when.as_ref());
                self.all(&tool_use.version);
                let named = tool_use.tool.is_literal();
                if !named {
                    self.template(&tool_use.tool);
                }
                // Which one a template names is not known yet: it may be any.
                let manifest = self.expansion.manifest;
                for tool in manifest.tools.iter().filter(|t| !named || t.name.value == tool_use.tool.text) {
                    self.all(tool.version.iter().filter(|_| tool.discovery.is_none()));
                    self.download(&tool.download);
                }
            }
            Part::Download(download) => self.download(download),
            Part::File(file) => {
                self.template(&file.path);
                self.template(&file.content);
                self.all(&file.source);
            }
            Part::Dir(dir) => self.template(&dir.path),
        }
    }
}
