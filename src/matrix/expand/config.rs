//! Commands, checks, configuration and outputs of cells.

use std::sync::Arc;

use super::Expansion;
use super::mentions::AxisCollector;
use crate::manifest::{Check, Command, Image, StepLimits, Template};
use crate::matrix::cell::{ConcreteCheck, ConcreteCommand, ConcreteFileCheck, ConfigSpec, Output};
use crate::matrix::outputs::{mentions_run, run_placeholders};
use crate::matrix::template::{Failed, Point};

impl<'m> Expansion<'m> {
    pub(super) fn shared_command(
        &mut self,
        command: &'m Command,
        point: &Point,
    ) -> Result<Arc<ConcreteCommand>, Failed> {
        let mut collector = AxisCollector { expansion: self, axes: Vec::new() };
        collector.command(command);
        let key = (command.at, collector.axes.iter().map(|axis| point[*axis]).collect::<Vec<_>>());
        if let Some(known) = self.commands.get(&key) {
            return Ok(known.clone());
        }
        let concrete = Arc::new(self.command(command, point)?);
        self.commands.insert(key, concrete.clone());
        Ok(concrete)
    }

    pub(super) fn command(&mut self, command: &'m Command, point: &Point) -> Result<ConcreteCommand, Failed> {
        let mut env = Vec::new();
        for (name, value) in &command.env {
            env.push((name.clone(), self.renderer.render(value, point, &[])?.to_string()));
        }
        let defaults = &self.manifest.limits.step;
        let own = &command.limits;
        let limits = StepLimits {
            memory: own.memory.or(defaults.memory),
            cpus: own.cpus.or(defaults.cpus),
            timeout: own.timeout.or(defaults.timeout),
            network: own.network.or(defaults.network),
        };
        Ok(ConcreteCommand {
            shell: command.shell.clone().unwrap_or_else(|| vec!["/bin/sh".into(), "-ec".into()]),
            script: self.renderer.render(&command.script, point, &[])?.to_string(),
            env,
            user: self.optional(command.user.as_ref(), point)?,
            workdir: command.workdir.as_ref().map(|w| self.path(w, point, &[])).transpose()?,
            cache: self.texts(&command.cache, point)?,
            secrets: command.secrets.iter().map(|(file, var)| (file.clone(), var.clone())).collect(),
            limits,
        })
    }

    pub(super) fn check(&mut self, name: &str, point: &Point) -> Result<Arc<ConcreteCheck>, Failed> {
        let check: &'m Check = self.manifest.checks.iter().find(|c| c.name.value == name).ok_or(Failed)?;
        let command = check.command.as_ref().map(|command| self.shared_command(command, point));
        let mut files = Vec::with_capacity(check.files.len());
        for file in &check.files {
            files.push(ConcreteFileCheck {
                path: self.path(&file.path, point, &[])?,
                kind: file.kind,
                mode: file.mode,
                owner: file.owner,
                absent: file.absent,
            });
        }
        Ok(Arc::new(ConcreteCheck {
            name: name.to_owned(),
            command: command.transpose()?.map(|command| (*command).clone()),
            exit: check.exit,
            expect: self.optional(check.expect.as_ref(), point)?,
            files,
            size: check.size,
        }))
    }

    pub(super) fn config(&mut self, image: &'m Image, point: &Point) -> Result<ConfigSpec, Failed> {
        let mut spec = ConfigSpec::default();
        for (name, value) in &image.env {
            spec.env.push((name.clone(), self.renderer.render(value, point, &[])?.to_string()));
        }
        for (name, value) in &image.labels {
            spec.labels.push((name.clone(), self.renderer.render(value, point, &[])?.to_string()));
        }
        for entry in &image.path {
            let Some(each) = &entry.each else {
                spec.path.push(self.path(&entry.path, point, &[])?);
                continue;
            };
            let mut paths = Vec::new();
            for item in self.items(each, point)?.iter() {
                self.renderer.set_item(Some(item.clone()));
                paths.push(self.path(&entry.path, point, &[]));
            }
            self.renderer.set_item(None);
            for path in paths {
                let path = path?;
                // Of several items in one directory the first counts.
                if !spec.path.contains(&path) {
                    spec.path.push(path);
                }
            }
        }
        spec.user = self.optional(image.user.as_ref(), point)?;
        spec.workdir = image.workdir.as_ref().map(|w| self.path(w, point, &[])).transpose()?;
        spec.entrypoint = self.argv(image.entrypoint.as_deref(), point)?;
        spec.cmd = self.argv(image.cmd.as_deref(), point)?;
        Ok(spec)
    }

    pub(super) fn outputs(&mut self, image: &'m Image, point: &Point) -> Result<Vec<Output>, Failed> {
        if image.outputs.is_empty() {
            return Ok(Vec::new());
        }
        let extra = run_placeholders();
        let rendered = image.outputs.iter().map(|(key, value)| {
            let extra = if mentions_run(&value.text) { &extra[..] } else { &[] };
            Ok((key.as_str().into(), self.renderer.render(value, point, extra)?))
        });
        rendered.collect()
    }

    fn argv(&mut self, argv: Option<&'m [Template]>, point: &Point) -> Result<Option<Vec<String>>, Failed> {
        let render =
            |this: &mut Self, t: &'m Template| this.renderer.render(t, point, &[]).map(|s| s.to_string());
        argv.map(|items| items.iter().map(|item| render(self, item)).collect()).transpose()
    }

    pub(super) fn texts(&mut self, templates: &'m [Template], point: &Point) -> Result<Vec<String>, Failed> {
        templates.iter().map(|t| self.path(t, point, &[])).collect()
    }

    pub(super) fn optional(
        &mut self,
        template: Option<&'m Template>,
        point: &Point,
    ) -> Result<Option<String>, Failed> {
        template.map(|t| self.renderer.render(t, point, &[]).map(|text| text.to_string())).transpose()
    }
}
