//! Where a cell's image goes: destinations, names and tags -> references.

use std::collections::{HashMap, HashSet};
use std::str::FromStr;
use std::sync::Arc;

use super::Expansion;
use crate::manifest::{Diagnostic, ExistingTags, Image, Location, Template, VersionTag};
use crate::matrix::cell::{Cell, TagUse};
use crate::matrix::expand::Overrides;
use crate::matrix::stamp::{SHOWN_TIMESTAMP, StampedTag, fill_timestamp, mentions_timestamp};
use crate::matrix::tags::{Tag, Written, parse_version, shortened};
use crate::matrix::template::{Failed, Point};
use crate::oci::{Reference, RepositoryName};

/// Where the images of a project go.
pub(super) struct Destinations {
    /// Front parts of repositories, and where they are written.
    pub(super) prefixes: Result<Vec<(Arc<str>, Location)>, Failed>,
    /// Whether they are given from outside, and images have no say.
    overridden: bool,
}

/// The rendered tags of a cell, in all its repositories.
#[derive(Default)]
pub(super) struct References {
    pub references: Vec<Reference>,
    pub tags: Vec<TagUse>,
    pub stamped: Vec<StampedTag>,
}

impl<'m> Expansion<'m> {
    /// Where the images of the project go.
    pub(super) fn destinations(&mut self, overrides: &Overrides) -> Destinations {
        if let Some(text) = &overrides.repository {
            let prefixes = match RepositoryName::from_str(text) {
                Ok(_) => Ok(vec![(text.as_str().into(), Location::default())]),
                Err(error) => Err(self.error(Diagnostic {
                    code: "malformed-repository",
                    message: format!("the repository given from outside cannot be used: {error}"),
                    labels: Vec::new(),
                    help: Some("give a registry and a path, e.g. `localhost:5000/acme`".into()),
                })),
            };
            return Destinations { prefixes, overridden: true };
        }
        let project = &self.manifest.project;
        let templates: Vec<&Template> = project.repository.iter().chain(&project.destinations).collect();
        let prefixes: Vec<_> = templates.into_iter().map(|template| self.prefix(template, &[])).collect();
        Destinations { prefixes: prefixes.into_iter().collect(), overridden: false }
    }

    /// The front part of repositories.
    fn prefix(&mut self, template: &'m Template, point: &Point) -> Result<(Arc<str>, Location), Failed> {
        let text = self.renderer.render(template, point, &[])?;
        // A registry alone is a prefix too.
        if format!("{text}/x").parse::<RepositoryName>().is_err() {
            self.parse::<RepositoryName>(&text, template, "malformed-repository")?;
        }
        Ok((text, template.at))
    }

    /// A cell's repositories and tags, and what is done with each.
    pub(super) fn references(
        &mut self,
        image: &'m Image,
        point: &Point,
        destinations: &Destinations,
    ) -> Result<References, Failed> {
        let repositories = self.repositories(image, point, destinations);
        let tags = self.tags(image, point);
        let (repositories, tags) = (repositories?, tags?);
        let (mut found, mut written) = (References::default(), Written::default());
        for repository in &repositories {
            let own = image.existing_tags.as_ref().map(|rule| rule.value);
            let existing = own.unwrap_or_else(|| self.existing.of(repository));
            for tag in &tags {
                if existing == ExistingTags::Refuse && tag.floating && self.floating.insert(tag.at) {
                    self.refuse_floating(image, repository, tag);
                }
                if tag.stamped {
                    let stamped = StampedTag::new(repository.clone(), &tag.text);
                    written.stamped.push((stamped.shown(), tag.at));
                    found.stamped.push(stamped);
                    continue;
                }
                found.references.push(repository.tag(&tag.text));
                found.tags.push(TagUse { existing, floating: tag.version.is_some() });
                written.places.push(tag.at);
                written.versions.push(tag.version.clone());
            }
        }
        self.written = written;
        Ok(found)
    }

    /// The repositories of a cell, in order.
    fn repositories(
        &mut self,
        image: &'m Image,
        point: &Point,
        destinations: &Destinations,
    ) -> Result<Vec<RepositoryName>, Failed> {
        let name = self.renderer.render(&image.name, point, &[])?;
        let own = image.destinations.as_ref().filter(|_| !destinations.overridden);
        // Prefixes that have been reported; what follows them can still be looked at.
        let unknown = [("localhost".into(), image.name.at)];
        let project = destinations.prefixes.as_deref().unwrap_or(&unknown);
        let mut prefixes = Vec::new();
        match own {
            None => prefixes.extend_from_slice(project),
            Some(templates) => {
                for template in templates {
                    match template.text.as_str() {
                        "..." => prefixes.extend_from_slice(project),
                        _ => prefixes.push(self.prefix(template, point)?),
                    }
                }
            }
        }
        if prefixes.is_empty() {
            prefixes.push((self.manifest.project.name.value.as_str().into(), image.name.at));
        }
        let mut repositories: Vec<RepositoryName> = Vec::new();
        for (prefix, at) in prefixes {
            let text = format!("{prefix}/{name}");
            let repository = self.parse::<RepositoryName>(&text, &image.name, "malformed-name")?;
            if repositories.contains(&repository) {
                if self.repeated.insert(at) {
                    let message = format!("`{}` goes to `{repository}` twice", image.id.value);
                    let diagnostic = Diagnostic::new("duplicate-reference", at, message)
                        .label("this destination is there already")
                        .help("take one of them out");
                    self.error(diagnostic);
                }
                return Err(Failed);
            }
            repositories.push(repository);
        }
        Ok(repositories)
    }

    /// The tags of a cell, in order, each once.
    fn tags(&mut self, image: &'m Image, point: &Point) -> Result<Vec<Tag>, Failed> {
        let mut tags: Vec<Tag> = Vec::new();
        let (mut failed, mut empty) = (false, None);
        for template in &image.tags {
            match self.renderer.render_stamped(template, point) {
                Ok(text) if text.is_empty() && !template.is_literal() => empty = Some(template),
                Ok(text) => {
                    let stamped = mentions_timestamp(&text);
                    let mut moves = || &*text == "latest" || self.leaves_out_discovered(image, template);
                    let floating = !stamped && moves();
                    let tag = Tag { text, at: template.at, floating, stamped, version: None };
                    failed |= self.add_tag(&mut tags, tag, template).is_err();
                }
                Err(Failed) => failed = true,
            }
        }
        for version_tag in &image.version_tags {
            match self.version_tags(version_tag, point) {
                Ok(more) => {
                    for tag in more {
                        failed |= self.add_tag(&mut tags, tag, &version_tag.version).is_err();
                    }
                }
                Err(Failed) => failed = true,
            }
        }
        if let (Some(template), true, false) = (empty, tags.is_empty(), failed) {
            return Err(self.malformed_tag(template, ""));
        }
        if failed { Err(Failed) } else { Ok(tags) }
    }

    fn malformed_tag(&mut self, template: &'m Template, text: &str) -> Failed {
        let help = "a tag has up to 128 letters, digits, `_`, `.` or `-` and starts with no `.` or `-`";
        self.malformed(template, text, "malformed-tag", format!("`{text}` is not a tag"), help)
    }

    fn add_tag(&mut self, tags: &mut Vec<Tag>, tag: Tag, template: &'m Template) -> Result<(), Failed> {
        let text = tag.text.clone();
        if !is_tag(&fill_timestamp(&text, "00000000000000")) {
            return Err(self.malformed_tag(template, &fill_timestamp(&text, "{{ timestamp }}")));
        }
        if let Some(first) = tags.iter().find(|known| known.text == text) {
            if self.repeated.insert(tag.at) {
                let shown = fill_timestamp(&text, SHOWN_TIMESTAMP);
                let message = format!("this tag is `{shown}`, which the image has already");
                let diagnostic = Diagnostic::new("duplicate-reference", tag.at, message)
                    .also(first.at, "the first")
                    .help("take one of them out");
                self.error(diagnostic);
            }
            return Err(Failed);
        }
        tags.push(tag);
        Ok(())
    }

    fn version_tags(&mut self, tag: &'m VersionTag, point: &Point) -> Result<Vec<Tag>, Failed> {
        let text = self.renderer.render(&tag.version, point, &[])?;
        let Some(version) = parse_version(&text) else {
            let why = format!("`{text}` is not a semantic version");
            let help = "write all three numbers, e.g. `1.2.3`; other tags go into `tags`";
            return Err(self.malformed(&tag.version, &text, "malformed-version", why, help));
        };
        let mut around = |template: &'m Option<Template>| {
            template.as_ref().map_or(Ok("".into()), |template| self.renderer.render(template, point, &[]))
        };
        let (prefix, suffix) = (around(&tag.prefix)?, around(&tag.suffix)?);
        let made = shortened(&version).into_iter().map(|(text, floating)| Tag {
            text: format!("{prefix}{text}{suffix}").into(),
            at: tag.at,
            floating,
            stamped: false,
            version: floating.then(|| version.clone()),
        });
        Ok(made.collect())
    }

    /// Whether an image varies on a discovered axis that a tag does not mention.
    fn leaves_out_discovered(&mut self, image: &'m Image, tag: &'m Template) -> bool {
        let manifest = self.manifest;
        let discovered = |name: &str| {
            let position = manifest.axes.iter().position(|axis| axis.name.value == name)?;
            manifest.axes[position].discovery.as_ref().map(|_| position)
        };
        let mut axes = image.axes.iter().filter_map(|axis| discovered(&axis.value)).peekable();
        if axes.peek().is_none() {
            return false;
        }
        let mentioned = [self.renderer.axes_of(tag), self.renderer.axes_of(&image.name)].concat();
        axes.any(|axis| !mentioned.contains(&axis))
    }

    fn refuse_floating(&mut self, image: &Image, repository: &RepositoryName, tag: &Tag) {
        let why = match (&tag.version, &*tag.text) {
            (Some(version), text) => format!("`{text}` moves with every version after {version}"),
            (None, "latest") => "`latest` is there to be moved".to_owned(),
            (None, text) => format!("`{text}` does not mention an axis whose values are looked up"),
        };
        let message = format!("the tags of `{repository}` must not move, and {why}");
        let mut diagnostic = Diagnostic::new("floating-tag", tag.at, message).label("this tag floats");
        if let Some(rule) = &image.existing_tags {
            diagnostic = diagnostic.also(rule.at, "nothing is moved");
        }
        let help = "put the whole version into the tag, or set `existing_tags = \"move\"` for this image";
        self.error(diagnostic.help(help));
    }

    pub(super) fn duplicates(&mut self, cells: &[Cell], written: &[Written]) {
        let mut owners: HashMap<&Reference, (&Cell, Location)> = HashMap::new();
        let mut reported = HashSet::new();
        for (cell, written) in cells.iter().zip(written).filter(|(cell, _)| cell.push) {
            for (reference, at) in written.all(&cell.references) {
                let Some((other, before)) = owners.insert(reference, (cell, at)) else { continue };
                if !reported.insert((before, at)) {
                    continue;
                }
                let message =
                    format!("`{}` and `{}` both have the reference `{reference}`", other.name, cell.name);
                let mut diagnostic = Diagnostic::new("duplicate-reference", at, message)
                    .label("this tag")
                    .help("mention every axis of the image in its tags or its name");
                if before != at {
                    diagnostic =
                        diagnostic.also(before, "and this one").help("give one of them another tag or name");
                }
                self.renderer.diagnostics.push(diagnostic);
            }
        }
    }
}

fn is_tag(text: &str) -> bool {
    let parsed = format!("x:{text}").parse::<Reference>();
    parsed.is_ok_and(|r| r.tag.as_deref() == Some(text) && r.digest.is_none())
}
