//! What a cell is built on, and what layers take from: images, Dockerfiles, cells upstream.

use super::Expansion;
use crate::manifest::{Diagnostic, DockerfileBuild, Image, ImageSource, Location};
use crate::matrix::cell::{DockerfileId, Source};
use crate::matrix::recipe::{ConcreteDockerfile, DockerfileSpec, NetworkName};
use crate::matrix::template::{ABSENT, Failed, Point};
use crate::oci::Reference;

impl<'m> Expansion<'m> {
    pub(super) fn source(
        &mut self,
        source: &'m ImageSource,
        at: Location,
        point: &Point,
        user: &'m Image,
    ) -> Result<Source, Failed> {
        match source {
            ImageSource::Scratch => Ok(Source::Scratch),
            ImageSource::Reference(template) => {
                let text = self.renderer.render(template, point, &[])?;
                if let Some(directory) = text.strip_prefix("oci:") {
                    return Ok(Source::Layout(directory.to_owned()));
                }
                self.parse::<Reference>(&text, template, "malformed-reference").map(Source::Reference)
            }
            ImageSource::Matrix(name) => self.upstream(name.value.as_str(), at, point, user),
        }
    }

    /// The Dockerfile of a cell, with everything rendered.
    pub(super) fn dockerfile(
        &mut self,
        made: &'m DockerfileBuild,
        point: &Point,
        user: &'m Image,
    ) -> Result<Source, Failed> {
        let mut args = Vec::new();
        for (name, value) in &made.args {
            args.push((name.value.clone(), self.renderer.render(value, point, &[])?.to_string()));
        }
        let mut contexts = Vec::new();
        for (name, source) in &made.contexts {
            contexts.push((name.value.clone(), self.source(source, name.at, point, user)?));
        }
        let context = self.renderer.render(&made.context, point, &[])?.to_string();
        let file = self.optional(made.file.as_ref(), point)?;
        let spec = DockerfileSpec {
            context,
            file: file.unwrap_or_else(|| "Dockerfile".to_owned()),
            target: self.optional(made.target.as_ref(), point)?,
            args,
            contexts,
            secrets: made.secrets.iter().map(|(id, variable)| (id.clone(), variable.value.clone())).collect(),
            network: NetworkName::of(made.network),
        };
        if let Some(known) = self.dockerfile_of.get(&spec) {
            return Ok(Source::Dockerfile(*known));
        }
        let id = DockerfileId(self.dockerfiles.len());
        let secrets_at = made.secrets.values().map(|variable| variable.at).collect();
        self.dockerfiles.push(ConcreteDockerfile {
            spec: spec.clone(),
            at: made.at,
            secrets_at,
            recipe: None,
        });
        self.dockerfile_of.insert(spec, id);
        Ok(Source::Dockerfile(id))
    }

    /// The cell of an upstream image at the axes that it shares with the point.
    fn upstream(
        &mut self,
        name: &str,
        at: Location,
        point: &Point,
        user: &'m Image,
    ) -> Result<Source, Failed> {
        let Some(position) = self.image_positions.get(name).copied() else { return Err(Failed) };
        let upstream = &self.manifest.images[position];
        let mut projected = vec![ABSENT; point.len()];
        for axis in &upstream.axes {
            let Some(index) = self.manifest.axes.iter().position(|a| a.name.value == axis.value) else {
                return Err(Failed);
            };
            if point[index] == ABSENT {
                let diagnostic = Diagnostic::new(
                    "upstream-axis",
                    at,
                    format!(
                        "`{name}` has the axis `{}`, which `{}` does not have",
                        axis.value, user.id.value
                    ),
                )
                .also(axis.at, "the axis of the image taken from")
                .help(format!("add `{}` to the axes of `{}`", axis.value, user.id.value));
                return Err(self.error(diagnostic));
            }
            projected[index] = point[index];
        }
        match self.cell_of.get(&(position, projected)) {
            Some(cell) => Ok(Source::Cell(*cell)),
            None => {
                let values: Vec<String> = upstream
                    .axes
                    .iter()
                    .filter_map(|axis| {
                        let at = self.manifest.axes.iter().position(|a| a.name.value == axis.value)?;
                        Some(format!("{}={}", axis.value, self.renderer.value_name(at, point[at])))
                    })
                    .collect();
                let diagnostic = Diagnostic::new(
                    "upstream-cell",
                    at,
                    format!(
                        "`{}` takes from `{name}[{}]`, which the matrix does not have",
                        user.id.value,
                        values.join(",")
                    ),
                )
                .also(upstream.id.at, "its rows leave that cell out")
                .help("exclude the cell here too, or include it there");
                Err(self.error(diagnostic))
            }
        }
    }
}
